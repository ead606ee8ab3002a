"""The one place where a failure becomes a message and an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from typing import TYPE_CHECKING

from mlrun.cli import COMMANDS
from mlrun.errors import MlrunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

CANNOT = 125  # `mlrun run` could not do its part, as in `docker run`
UNCERTAIN = 2  # a verb that judges could not tell
FAILED = 1  # any other command
BUG = 70  # EX_SOFTWARE of sysexits(3)

_SHORTAGES = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
)
"""What the machine lacks, whatever we were doing: no bug of ours."""


class Interrupted(KeyboardInterrupt):
    """Another signal than Ctrl-C's told us to end while no program of the user's was running."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def guarded(name: str, arguments: list[str]) -> int:
    """Run a command; whatever goes wrong becomes one clear message."""
    return attended(lambda: _invoke(name, arguments), name, arguments)


def attended(work: Callable[[], int], name: str = "run", arguments: Sequence[str] = ()) -> int:
    """Do some work as the command of that name."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    try:
        code = work()
        sys.stdout.flush()
    except MlrunError as error:
        complain(error, as_json="--json" in arguments)
        return exit_code_of(" ".join((name, *arguments[:1])) if name in ("env", "data") else name, error)
    except Interrupted as interruption:
        tell(f"mlrun: ended by {signal.Signals(interruption.number).name}")
        return 128 + interruption.number
    except KeyboardInterrupt:
        tell("\nmlrun: interrupted")
        return 128 + signal.SIGINT
    except BrokenPipeError:  # the reader has gone (`| head`)
        _give_up_stdout()
        return 128 + signal.SIGPIPE
    except Exception as error:  # noqa: BLE001  the last resort
        shortage = _shortage(error)
        if shortage is None:
            return _report_bug(name, error)
        _give_up_stdout()
        complain(shortage)
        return exit_code_of(name, shortage)
    return code


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is given
    raise Interrupted(number)


def _invoke(name: str, arguments: list[str]) -> int:
    if name == "help" and arguments and arguments[0] in COMMANDS:
        name, arguments = arguments[0], ["--help"]
    if name not in COMMANDS:
        from mlrun.cli.help import answer

        return answer([name, *arguments])
    if name == "run":
        from mlrun.cli import fast

        options = fast.parse(arguments)
        if options is not None:
            from mlrun.cli.execute import execute

            return execute(options)
    if name == "data":
        from mlrun.cli import hashing

        asked = hashing.plain(arguments)
        if asked is not None:
            return hashing.hash_paths(asked[0], as_json=asked[1])
    from importlib import import_module

    from mlrun.cli.typed import invoke

    return invoke(import_module(COMMANDS[name][0]), name, arguments)


def _give_up_stdout() -> None:
    """Keep the interpreter from trying once more, at its end, to write what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _shortage(error: Exception) -> MlrunError | None:
    if not isinstance(error, OSError) or error.errno not in _SHORTAGES:
        return None
    what = f"{error.filename}: " if error.filename else ""
    return MlrunError(f"{what}{error.strerror}", code="system")


_EXIT_CODES = {
    **dict.fromkeys(("run", "exec", "shell"), CANNOT),
    **dict.fromkeys(
        (
            *("check", "diff", "doctor", "lock", "env diff", "data diff", "data status"),
            *("reproduce", "verify", "status"),
        ),
        UNCERTAIN,
    ),
}


def exit_code_of(name: str, error: MlrunError) -> int:
    """The documented exit code of a failure in this command."""
    if isinstance(error, UsageError):
        return 2
    return _EXIT_CODES.get(name, FAILED)


def complain(error: MlrunError, *, as_json: bool = False) -> None:
    """Write a failure to stderr; for machines also as JSON on stdout."""
    from mlrun.cli.console import printable

    lines = [f"error: {printable(str(error))}"]
    lines += [f"  {printable(line)}" for line in error.details]
    if error.hint:
        lines.append(f"hint: {printable(error.hint)}")
    sys.stdout.flush()
    tell("\n".join(lines))
    if as_json:
        import json

        answer = {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "place": str(error.place) if error.place else None,
            "details": list(error.details),
        }
        sys.stdout.write(json.dumps({"error": answer}, indent=2, ensure_ascii=False) + "\n")


def tell(text: str) -> None:
    """Write to stderr; if nobody takes it, the exit code still says how it went."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{text}\n")


def _report_bug(name: str, error: Exception) -> int:
    """Keep the traceback in a file, since a person cannot use it and we can."""
    import platform
    import tempfile
    import traceback

    from mlrun import __version__
    from mlrun.cli.console import printable

    text = "".join(traceback.format_exception(error))
    report = f"mlrun {__version__}, {platform.platform()}, Python {platform.python_version()}\n"
    report += f"command: mlrun {name}\n\n{text}"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="mlrun-bug-", suffix=".txt", delete=False) as file:
            file.write(report)
        where = f"the details are in {file.name}"
    except OSError:
        where = report
    tell(f"error: a bug in mlrun: {type(error).__name__}: {printable(str(error))}\nhint: report it; {where}")
    return BUG
