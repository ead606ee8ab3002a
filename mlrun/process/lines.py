"""The lines between a program and us: pipes, or a terminal, and what is carried over them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlrun.process.spawn import NOTHING
from mlrun.process.streams import Stream

if TYPE_CHECKING:
    import signal

    from mlrun.process.streams import Log
    from mlrun.process.terminal import Terminal

_STDIN = 0


class Lines:
    """`ends` are the program's standard streams, as `spawn` wants them."""

    def __init__(self, stdout: int, stderr: int, *, terminal: bool, log: Log) -> None:
        self.streams: list[Stream] = []
        self._log = log
        self._theirs: list[int] = []
        screens = [sink for sink in (stdout, stderr) if terminal and os.isatty(sink)]
        self._terminal = _open_terminal(screens[0]) if screens else None
        if self._terminal is not None:
            self.streams.append(Stream(self._terminal.descriptor, screens[0], log))
        out = self._end_for(stdout, screens)
        err = out if _is_same(stdout, stderr) else self._end_for(stderr, screens)
        self.ends = (self._stdin(), out, err)

    def _end_for(self, sink: int, screens: list[int]) -> int | str:
        if self._terminal is not None and sink in screens:
            return self._terminal.path
        reader, writer = os.pipe()
        self._theirs.append(writer)
        self.streams.append(Stream(reader, sink, self._log))
        return writer

    def _stdin(self) -> int | str:
        """Ours, unless the program has a terminal of its own, or the keyboard is somebody else's now."""
        if not os.isatty(_STDIN):
            return _STDIN
        if self._terminal is not None:
            return self._terminal.path
        from mlrun.process.terminal import in_foreground

        return _STDIN if in_foreground(_STDIN) else NOTHING

    def started(self) -> None:
        """The program has its ends: let go of ours, so that we see when it closes them."""
        for descriptor in self._theirs:
            os.close(descriptor)
        self._theirs.clear()
        if self._terminal is not None:
            self._terminal.started()
            self._terminal.lend()

    @property
    def are_open(self) -> bool:
        return any(stream.open or stream.waits_for_reader for stream in self.streams)

    @property
    def wait_for_reader(self) -> bool:
        return any(stream.waits_for_reader for stream in self.streams)

    def readers(self) -> list[int]:
        """Descriptors that are worth waking up for when something can be read from them."""
        waiting = [stream.source for stream in self.streams if stream.open and not stream.waits_for_reader]
        if self._terminal is not None and self._terminal.keyboard is not None and self._terminal.listens:
            waiting.append(self._terminal.keyboard)
        return waiting

    def writers(self) -> list[int]:
        """The same for writing."""
        waiting = [stream.sink for stream in self.streams if stream.waits_for_reader]
        if self._terminal is not None and self._terminal.waits_for_program:
            waiting.append(self._terminal.descriptor)
        return waiting

    def carry(self, readable: list[int], writable: list[int]) -> bool:
        """Move what can be moved of the program's output; whether there was any."""
        moved = False
        for stream in self.streams:
            if stream.waits_for_reader:
                if stream.sink in writable:
                    stream.write()
                    moved = True
            elif stream.open and stream.source in readable:
                stream.read()
                moved = True
        return moved

    def carry_keys(self, readable: list[int], writable: list[int]) -> list[signal.Signals]:
        """Move what was typed; the signals that it stands for."""
        terminal = self._terminal
        if terminal is None:
            return []
        if terminal.waits_for_program and terminal.descriptor in writable:
            terminal.write_keys()
        return terminal.read_keys() if terminal.keyboard in readable else []

    def resize(self) -> bool:
        """Pass our window's size on; False where there is no window."""
        if self._terminal is None:
            return False
        self._terminal.resize()
        return True

    def lend(self) -> None:
        if self._terminal is not None:
            self._terminal.lend()

    def take_back(self) -> None:
        if self._terminal is not None:
            self._terminal.take_back()

    def close(self) -> None:
        if self._terminal is not None:
            self._terminal.close()
        for stream in self.streams:
            if self._terminal is None or stream.source != self._terminal.descriptor:
                os.close(stream.source)
        for descriptor in self._theirs:
            os.close(descriptor)


def _open_terminal(screen: int) -> Terminal | None:
    """A terminal for the program, or None where the system has none to give: then pipes serve."""
    from mlrun.process.terminal import Terminal

    try:
        return Terminal(screen, _STDIN if os.isatty(_STDIN) else None)
    except OSError:
        return None


def _is_same(one: int, other: int) -> bool:
    """Whether two descriptors lead to the same place: one pipe then keeps the order of what is printed."""
    try:
        return one == other or os.path.sameopenfile(one, other)
    except OSError:
        return False
