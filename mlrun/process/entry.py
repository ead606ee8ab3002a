"""Give our terminal to a program of the user's, and keep nothing of what it prints.

`become` ends us: the program takes our place, with our process id. `attend` starts it beside us, in our
session and process group as system(3) does, for those who have to tidy up after it.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from mlrun.process.spawn import IGNORED_BY_PYTHON, exit_code, find_program, inside, refusals_told, spawn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import FrameType

_TYPED = (signal.SIGINT, signal.SIGQUIT)
"""The terminal sends these to the program as well: what they mean is for it to decide."""
_SENT = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""These reach only us, so they are passed on."""


def become(argv: Sequence[str], *, variables: Mapping[str, str], cwd: Path) -> NoReturn:
    """Be replaced by a program: its signals, its exit code and its terminal are then its own.

    Raises ProcessError where it cannot be started: see `capture`.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with inside(cwd), refusals_told(argv[0]):
        program = find_program(argv[0], variables)
        for number in IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execve(program, tuple(argv), variables)  # noqa: S606  no shell is meant
        finally:
            for number in IGNORED_BY_PYTHON:
                signal.signal(number, signal.SIG_IGN)


def attend(argv: Sequence[str], *, variables: Mapping[str, str], cwd: Path) -> int:
    """Run a program on our standard streams; what a shell would report of its end is returned.

    Meanwhile what is typed is the program's affair, and signals to us are passed on to it. Raises
    ProcessError where it cannot be started: see `capture`.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = 0

    def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is given
        if pid and number not in _TYPED:
            os.kill(pid, number)

    previous = {number: signal.getsignal(number) for number in (*_TYPED, *_SENT)}
    watched = [number for number, handler in previous.items() if handler != signal.SIG_IGN]
    try:
        for number in watched:
            signal.signal(number, pass_on)
        pid = spawn(argv, variables=variables, cwd=cwd, streams=(0, 1, 2), session=False)
        _, status = os.waitpid(pid, 0)
    finally:
        for number in watched:
            signal.signal(number, previous[number])
    return exit_code(status)
