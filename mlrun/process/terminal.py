"""Our terminal, lent to a program: it gets a terminal of its own (a pty), and we carry what passes.

The program's terminal is a copy of ours but for one thing: it does not turn `\\n` into `\\r\\n`, so that what
arrives here is what was printed, byte for byte. Ours does it as ever. While the program runs, ours passes
keys on unread (no echo, no lines: the program's terminal does both), but keeps its output processing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import termios
from typing import Any

_CHUNK = 1 << 12
_INPUT, _OUTPUT, _LOCAL, _CONTROLS = 0, 1, 3, 6  # places in what `termios.tcgetattr` returns
_SIGNALS = ((termios.VINTR, signal.SIGINT), (termios.VQUIT, signal.SIGQUIT), (termios.VSUSP, signal.SIGTSTP))


class Terminal:
    """A pty whose size and settings are those of `screen`; keys come from `keyboard` where it is given."""

    def __init__(self, screen: int, keyboard: int | None) -> None:
        """Raises OSError where the system has no pty to give."""
        self.keyboard = keyboard
        self._screen = screen
        self._ours: list[Any] | None = None
        self._typed = b""
        self.descriptor, self._slave = os.openpty()
        self.path = os.ttyname(self._slave)
        os.set_blocking(self.descriptor, False)
        self.resize()
        with contextlib.suppress(termios.error):
            settings = termios.tcgetattr(screen)
            settings[_OUTPUT] &= ~termios.OPOST
            termios.tcsetattr(self._slave, termios.TCSANOW, settings)

    def started(self) -> None:
        """The program has its side open: let go of ours, so that its end shows."""
        os.close(self._slave)
        self._slave = -1

    def resize(self) -> None:
        """Pass the size of our terminal on; the kernel tells the program."""
        with contextlib.suppress(termios.error):
            termios.tcsetwinsize(self.descriptor, termios.tcgetwinsize(self._screen))

    def lend(self) -> None:
        """Pass keys on from now on, if it is us that the keyboard belongs to."""
        if self.keyboard is None or self._ours is not None or not in_foreground(self.keyboard):
            return
        with contextlib.suppress(termios.error):
            ours = termios.tcgetattr(self.keyboard)
            raw = termios.tcgetattr(self.keyboard)
            raw[_INPUT] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR | termios.IXON | termios.ISTRIP)
            raw[_LOCAL] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
            raw[_CONTROLS][termios.VMIN] = 1
            raw[_CONTROLS][termios.VTIME] = 0
            termios.tcsetattr(self.keyboard, termios.TCSADRAIN, raw)
            self._ours = ours

    def take_back(self) -> None:
        """Give our terminal its own settings again (a background process may not touch it)."""
        if self._ours is not None and self.keyboard is not None and in_foreground(self.keyboard):
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self.keyboard, termios.TCSANOW, self._ours)
        self._ours = None

    def close(self) -> None:
        self.take_back()
        os.close(self.descriptor)
        if self._slave >= 0:
            os.close(self._slave)

    @property
    def listens(self) -> bool:
        """Whether we should read the keyboard now."""
        return self._ours is not None and not self._typed

    @property
    def waits_for_program(self) -> bool:
        return bool(self._typed)

    def read_keys(self) -> list[signal.Signals]:
        """Pass on what was typed, but for the keys that mean a signal: those signals are returned."""
        assert self.keyboard is not None
        try:
            typed = os.read(self.keyboard, _CHUNK)
        except OSError:
            typed = b""
        if not typed:
            self.take_back()
            self.keyboard = None
        meanings = self._signal_keys()
        meant = [meanings[key] for key in _single_bytes(typed) if key in meanings]
        self._typed += b"".join(key for key in _single_bytes(typed) if key not in meanings)
        self.write_keys()
        return meant

    def write_keys(self) -> None:
        try:
            self._typed = self._typed[os.write(self.descriptor, self._typed) :]
        except BlockingIOError:
            return
        except OSError:  # nobody is there to read it
            self._typed = b""

    def _signal_keys(self) -> dict[bytes, signal.Signals]:
        try:
            settings = termios.tcgetattr(self.descriptor)
        except termios.error:
            return {}
        if not settings[_LOCAL] & termios.ISIG:
            return {}
        controls = settings[_CONTROLS]
        return {controls[place]: number for place, number in _SIGNALS if controls[place] != b"\0"}


def in_foreground(terminal: int) -> bool:
    """Whether a terminal takes us for the one in charge; one that does not control us has no say."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return True


def _single_bytes(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]
