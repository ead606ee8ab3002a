"""The command line: what is typed comes in, values go down, text and an exit code come out.

The only room that prints, colours, reads the process's environment, and ends the process. Each command is
a file of its own, found through `COMMANDS`; only the one that was typed is imported, and typer with it.
`mlrun run`, typed all day, is parsed by `fast` where its arguments are plain, which spares typer's import.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys

COMMANDS: dict[str, tuple[str, str, str]] = {
    # name: (module, group in the help, what it does)
    "run": ("mlrun.cli.run", "Run", "run a project from a directory or a git URL, and record it"),
    "exec": ("mlrun.cli.exec", "Run", "run a command in the environment of a project or a past run"),
    "shell": ("mlrun.cli.shell", "Run", "open a shell in such an environment"),
    "reproduce": ("mlrun.cli.reproduce", "Run", "repeat a past run, and say whether the same comes out"),
    "resume": ("mlrun.cli.resume", "Run", "go on with a pipeline that failed or was broken off"),
    "status": ("mlrun.cli.status", "Run", "would running a project again change anything"),
    "dag": ("mlrun.cli.dag", "Project", "draw which entry points need which, and how each stands"),
    "check": ("mlrun.cli.check", "Project", "lint a project file without running it"),
    "lock": ("mlrun.cli.lock", "Project", "write a project's whole environment down beside it"),
    "init": ("mlrun.cli.init", "Project", "write an MLproject from what lies in a directory"),
    "runs": ("mlrun.cli.runs", "Records", "list, filter and compare runs"),
    "show": ("mlrun.cli.show", "Records", "show one run: when, what, with which data and code"),
    "diff": ("mlrun.cli.diff", "Records", "say what differs between two runs, and what explains it"),
    "compare": ("mlrun.cli.compare", "Records", "put many runs side by side: what varies, and which is best"),
    "verify": ("mlrun.cli.verify", "Records", "are records and stored files still what was recorded"),
    "lineage": ("mlrun.cli.lineage", "Records", "where a file or a run comes from, and what came of it"),
    "plot": ("mlrun.cli.plot", "Records", "draw metrics: in the terminal, SVG, HTML, PNG"),
    "logs": ("mlrun.cli.logs", "Records", "print what a run printed, or follow it"),
    "get": ("mlrun.cli.get", "Records", "copy a run's outputs out of the store"),
    "rm": ("mlrun.cli.rm", "Records", "remove runs"),
    "data": ("mlrun.cli.data", "Records", "hash data, compare it, see what has changed since a run"),
    "doctor": ("mlrun.cli.doctor", "Upkeep", "what this machine can do, and what a project lacks"),
    "gc": ("mlrun.cli.gc", "Upkeep", "free the space of what no record needs"),
    "env": ("mlrun.cli.env", "Upkeep", "list, show, compare and remove built environments"),
}


def main() -> None:
    """The console script."""
    gc.set_threshold(_OBJECTS)
    try:
        _open_streams()
        code = dispatch(sys.argv[1:])
        _settle_stderr()
        _leave(code)
    except KeyboardInterrupt:  # while modules are still loading, or a second one while the first is told
        sys.exit(130)


_OBJECTS = 200_000
"""So many new ones make the collector look for circles: Python's own 700 are reached by imports alone. With
`_leave`, this brought a warm run from 79 to 67 ms of CPU (measured November 2026, Python 3.11)."""


def _leave(code: int) -> None:
    """End the process without taking the interpreter apart, which takes time and does nothing.

    What is registered for the end is done; where other threads run, or something cannot be written out, it
    ends as any Python does.
    """
    threading = sys.modules.get("threading")
    if threading is None or threading.active_count() == 1:
        atexit._run_exitfuncs()  # noqa: SLF001
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            sys.exit(code)
        os._exit(code)
    sys.exit(code)


def _open_streams() -> None:
    """Make the standard streams fit to be written to.

    Closed ones are given to /dev/null, or the next file that is opened would take their place.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        name = ("stdin", "stdout", "stderr")[descriptor]
        stream = open(descriptor, "w" if descriptor else "r", closefd=False)  # noqa: SIM115  for good
        setattr(sys, name, stream)
    os.close(descriptor)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Behind a pipe is a program, which expects UTF-8 whatever the locale. What is no text (file names may
        # hold any bytes) or what a terminal cannot show is escaped, as JSON would.
        encoding = sys.stdout.encoding if sys.stdout.isatty() else "utf-8"
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")


def _settle_stderr() -> None:
    """What stderr could not take (a full disk) must not become the exit code at the interpreter's end."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def dispatch(argv: list[str]) -> int:
    """Run one command line and return its exit code."""
    from mlrun.cli.boundary import guarded

    return guarded(argv[0] if argv else "--help", argv[1:])
