"""What the program prints on its way to us, to the log, and on to whoever listens."""

from __future__ import annotations

import os
import select
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 1 << 16


class Log:
    """The file that keeps every byte. It may fail (a full disk): that is told once, and stops no run."""

    def __init__(self, path: Path) -> None:
        self.error: str | None = None
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            self.error = error.strerror

    def write(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        try:
            while view and self.error is None:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            self.error = error.strerror

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


class Stream:
    """One of the program's outputs. Nothing is read while our reader has not taken what came before.

    A reader that has gone, or cannot write, is forgotten; the log goes on.
    """

    def __init__(self, source: int, sink: int, log: Log) -> None:
        self.source = source
        self.sink = sink
        self.open = True
        self._log = log
        self._pending = memoryview(b"")
        self._is_file = False
        self._listening = True
        try:
            self._is_file = stat.S_ISREG(os.fstat(sink).st_mode)
        except OSError:  # our caller closed it
            self._listening = False

    @property
    def waits_for_reader(self) -> bool:
        return bool(self._pending)

    def read(self) -> None:
        """Take what there is, keep it, and pass it on."""
        try:
            chunk = os.read(self.source, _CHUNK)
        except OSError:  # how a terminal without programs ends on Linux
            chunk = b""
        if not chunk:
            self.open = False
            return
        self._log.write(chunk)
        if self._listening:
            self._pending = memoryview(chunk)
            self.write()

    def write(self) -> None:
        """Pass on as much as the reader takes without making us wait: a signal could not wake us."""
        try:
            while self._pending and self._is_ready():
                size = len(self._pending) if self._is_file else select.PIPE_BUF
                self._pending = self._pending[os.write(self.sink, self._pending[:size]) :]
        except OSError:
            self._listening = False
            self._pending = memoryview(b"")

    def _is_ready(self) -> bool:
        return self._is_file or bool(select.select((), (self.sink,), (), 0)[1])
