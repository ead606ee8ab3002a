"""Starting a child with `posix_spawn`: as quick as `subprocess`, without its 5 ms of import.

A child leads a session of its own: a signal can reach all of its group, no terminal interrupts it behind
our back, and a tool cannot stop to ask for a password at a terminal that nobody watches.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from mlrun.errors import ProcessError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

NOTHING = "/dev/null"

IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_FOLDER = os.O_CLOEXEC | os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)


def spawn(
    argv: Sequence[str],
    *,
    variables: Mapping[str, str],
    cwd: Path | None,
    streams: tuple[int | str, int | str, int | str],
    session: bool = True,
    group: bool = False,
    umask: int | None = None,
) -> int:
    """Start a program and return its process id, which names its group and its session too.

    Without a `session` of its own it stays in ours, and in our process group unless it gets a `group` of its
    own. `umask` is the mask of the files that it makes, None for ours.

    `streams` become its standard input, output and error: a descriptor of ours, or the path of a device to
    open. The first terminal opened so becomes its controlling one on Linux; on macOS it may get none, and
    only misses `/dev/tty`. Raises ProcessError, see `capture`.
    """
    actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = []
    for number, given in enumerate(streams):
        if isinstance(given, str):
            actions.append((os.POSIX_SPAWN_OPEN, number, given, os.O_RDWR, 0))
        elif given != number:
            actions.append((os.POSIX_SPAWN_DUP2, given, number))
    grouped: dict[str, Any] = {"setpgroup": 0} if group else {}
    with inside(cwd), masked(umask), refusals_told(argv[0]):
        return os.posix_spawn(
            find_program(argv[0], variables),
            tuple(argv),
            variables,
            file_actions=actions,
            setsid=session,
            setsigdef=IGNORED_BY_PYTHON,
            **grouped,
        )


@contextlib.contextmanager
def refusals_told(command: str) -> Iterator[None]:
    """Why a command cannot be started, as a ProcessError."""
    try:
        yield
    except FileNotFoundError as error:
        raise ProcessError(f"cannot find the command `{command}`", code="command-not-found") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ProcessError(f"cannot run `{command}`: {reason}", code="not-executable") from error


def exit_code(status: int) -> int:
    """What a shell would report for a wait status: 128+n after signal n."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def inside(directory: Path | None) -> Iterator[None]:
    """Be in a directory for as long as a spawn takes: `posix_spawn` itself cannot change it."""
    if directory is None:
        yield
        return
    try:
        there = os.open(directory, _FOLDER)
    except OSError as error:
        raise ProcessError(f"cannot enter {directory}: {error.strerror}", code="no-such-folder") from error
    here = os.open(".", _FOLDER)
    try:
        os.fchdir(there)
        yield
    finally:
        os.fchdir(here)
        os.close(here)
        os.close(there)


@contextlib.contextmanager
def masked(umask: int | None) -> Iterator[None]:
    """Have a mask for as long as a spawn takes: `posix_spawn` itself cannot set it."""
    if umask is None:
        yield
        return
    ours = os.umask(umask)
    try:
        yield
    finally:
        os.umask(ours)


def umask() -> int:
    """Our own mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def find_program(command: str, variables: Mapping[str, str]) -> str:
    """The file that a shell would run; the search path is the child's, not ours."""
    if "/" in command:
        return command
    for folder in variables.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder or ".", command)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    raise FileNotFoundError(command)
