"""Signals as bytes to read: they wake the one loop that also watches the program and its output."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_WATCHED = (*_ENDING, signal.SIGCHLD, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)


class Signals:
    """While open, signals to us do nothing but make `descriptor` readable.

    What our caller ignores stays ignored (`nohup`, a script's background job), but for the news of a
    child's end. On leaving, everything is as it was.
    """

    def __enter__(self) -> Self:
        self.descriptor, self._sink = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._sink, False)
        self._wakeup = signal.set_wakeup_fd(self._sink, warn_on_full_buffer=False)
        self._previous = {
            number: signal.signal(number, _do_nothing)
            for number in _WATCHED
            if number == signal.SIGCHLD or signal.getsignal(number) != signal.SIG_IGN
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self.descriptor)
        os.close(self._sink)

    def read(self) -> bytes:
        """The numbers of the signals that came since the last call, in order."""
        try:
            return os.read(self.descriptor, 4096)
        except BlockingIOError:
            return b""


class Held:
    """From its making to `release`, signals that would interrupt us wait, and then act as they would have.

    Without it an interruption could fall between a child's birth and our knowing its number: nobody would
    end that child. Only the main thread is ever interrupted; in another one this does nothing.
    """

    def __init__(self) -> None:
        self._came: list[tuple[int, FrameType | None]] = []
        self._previous: dict[int, Callable[[int, FrameType | None], object]] = {}
        with contextlib.suppress(ValueError):  # not the main thread
            for number in _ENDING:
                handler = signal.getsignal(number)
                if callable(handler):
                    signal.signal(number, self._note)
                    self._previous[number] = handler

    def release(self) -> None:
        """Raises what a signal's own handler raises, if one came. A second call does nothing."""
        previous, self._previous = self._previous, {}
        for number, handler in previous.items():
            signal.signal(number, handler)
        came, self._came = self._came, []
        for number, frame in came:
            previous[number](number, frame)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came.append((number, frame))


def stop_ourselves(*, with_our_group: bool) -> None:
    """Stop as Ctrl-Z would; returns when we are continued, or at once where nobody could continue us."""
    handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(0 if with_our_group else os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, handler)


def name_of(number: int) -> str:
    """`SIGTERM`; real-time signals have only numbers."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass
