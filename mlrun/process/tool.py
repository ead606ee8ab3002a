"""Run a tool quietly to its end; its output is a value."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import TYPE_CHECKING

from mlrun.errors import ProcessError
from mlrun.process.signals import Held
from mlrun.process.spawn import NOTHING, exit_code, spawn
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL for a tool that we no longer want: it may hold a lock file."""

_CHUNK = 1 << 16


@value
class Captured:
    """What a tool left behind. `exit_code` is 128+n after signal n, as in a shell."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text, without the last line's end."""
        return self.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


def capture(
    argv: Sequence[str],
    *,
    variables: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes | None = None,
    timeout: float | None = None,
    on_stderr: Callable[[bytes], None] | None = None,
) -> Captured:
    """Run a tool quietly to its end, in a session of its own.

    `variables` is its whole environment; its PATH decides which tool. `on_stderr` sees standard error as
    it comes (for progress); it is captured all the same. If we are interrupted, the tool's whole group is
    ended first. Raises ProcessError where it cannot be started (`code` tells: `command-not-found`,
    `not-executable`, `no-such-folder`) or does not end within `timeout` seconds (`tool-timeout`).
    """
    return capture_all(argv, [stdin], variables=variables, cwd=cwd, timeout=timeout, on_stderr=on_stderr)[0]


def capture_all(
    argv: Sequence[str],
    stdins: Sequence[bytes | None],
    *,
    variables: Mapping[str, str],
    cwd: Path | None = None,
    timeout: float | None = None,
    on_stderr: Callable[[bytes], None] | None = None,
) -> list[Captured]:
    """Run a tool once for each of `stdins`, all at once; otherwise as `capture`."""
    talks = [_Conversation(stdin, on_stderr) for stdin in stdins]
    pids: list[int] = []
    held = Held()
    try:
        try:
            for talk in talks:
                pids.append(spawn(argv, variables=variables, cwd=cwd, streams=talk.theirs))  # noqa: PERF401  all that were started must be ended
            held.release()
            _hold(talks, timeout)
            statuses = [os.waitpid(pid, 0)[1] for pid in pids]
        except BaseException:
            for pid in pids:
                _end(pid)
            raise
    except TimeoutError:
        raise ProcessError(
            f"`{argv[0]}` did not end within {timeout:g} seconds", code="tool-timeout"
        ) from None
    finally:
        for talk in talks:
            talk.close()
        held.release()
    return [
        Captured(exit_code=exit_code(status), stdout=bytes(talk.stdout), stderr=bytes(talk.stderr))
        for talk, status in zip(talks, statuses, strict=True)
    ]


class _Conversation:
    """Three pipes, fed and drained at once, so that none of them can block the tool."""

    def __init__(self, stdin: bytes | None, on_stderr: Callable[[bytes], None] | None) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._on_stderr = on_stderr
        self._left = memoryview(stdin or b"")
        self._out, out = os.pipe()
        self._err, err = os.pipe()
        self._in: int | None = None
        self.theirs: tuple[int | str, int, int] = (NOTHING, out, err)
        self._open = {self._out, self._err, out, err}
        self._listening: set[int] = set()
        if stdin is not None:
            reader, self._in = os.pipe()
            os.set_blocking(self._in, False)
            self._open |= {reader, self._in}
            self.theirs = (reader, out, err)

    def begin(self) -> None:
        """The tool has its ends; ours of them would keep it waiting."""
        for descriptor in self.theirs:
            if isinstance(descriptor, int):
                self._close(descriptor)
        self._listening = {self._out, self._err}

    def readers(self) -> set[int]:
        """What may still come; empty when the tool has closed its ends."""
        return self._listening

    def writers(self) -> list[int]:
        return [self._in] if self._in is not None and self._in in self._open else []

    def serve(self, readable: Sequence[int], writable: Sequence[int]) -> None:
        """Take and give what can be had and taken now; what is not ours is left."""
        for sink in self.writers():
            if sink in writable:
                self._feed(sink)
        done = [source for source in readable if source in self._listening and not self._drain(source)]
        self._listening.difference_update(done)

    def _drain(self, source: int) -> bool:
        """Take what there is; False at the end."""
        chunk = os.read(source, _CHUNK)
        if source == self._out:
            self.stdout += chunk
        else:
            self.stderr += chunk
            if chunk and self._on_stderr is not None:
                self._on_stderr(chunk)
        return bool(chunk)

    def _feed(self, sink: int) -> None:
        try:
            self._left = self._left[os.write(sink, self._left[:_CHUNK]) :]
        except BrokenPipeError:  # it has read all that it wants
            self._left = self._left[:0]
        if not self._left:
            self._close(sink)

    def _close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)

    def close(self) -> None:
        for descriptor in tuple(self._open):
            self._close(descriptor)


def _hold(talks: Sequence[_Conversation], timeout: float | None) -> None:
    """Talk until the tools have closed their ends; raises TimeoutError."""
    deadline = None if timeout is None else time.monotonic() + timeout
    for talk in talks:
        talk.begin()
    while listening := [source for talk in talks for source in talk.readers()]:
        patience = None if deadline is None else max(0.0, deadline - time.monotonic())
        writing = [sink for talk in talks for sink in talk.writers()]
        readable, writable, _ = select.select(listening, writing, (), patience)
        if not readable and not writable:
            raise TimeoutError
        for talk in talks:
            talk.serve(readable, writable)


def _end(pid: int) -> None:
    """Stop a tool and all of its group, gently if it hurries."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.killpg(pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline and os.waitpid(pid, os.WNOHANG) == (0, 0):
            time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
