"""A terminal with a program in it, held from the other end: what a person would see and type."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PATIENCE = 30.0
_ESCAPES = re.compile(rb"\x1b(?:\[[0-9;?<>=]*[A-Za-z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[=>()][0-9A-Z]?)")


class Terminal:
    """Starts a program as the leader of a session on a terminal of its own."""

    def __init__(self, argv: Sequence[str], *, variables: Mapping[str, str], cwd: Path) -> None:
        self.pid, self._keyboard = pty.fork()
        if self.pid == 0:
            with contextlib.suppress(OSError):
                os.fchdir(os.open(cwd, os.O_RDONLY))
                os.execve(argv[0], list(argv), dict(variables))
            os._exit(70)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._keyboard, text.encode())

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in what is shown from now on; what comes before it is gone then."""
        deadline = time.monotonic() + _PATIENCE
        while (found := re.search(pattern, self.shown)) is None:
            assert self._read(deadline), f"waited for {pattern!r}, saw: {self.shown!r}"
        self.shown = self.shown[found.end() :]
        return found

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._keyboard], (), (), max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            chunk = os.read(self._keyboard, 1 << 16)
        except OSError:  # Linux: the last one has closed its end
            return False
        self._answer(chunk)
        self.shown += _ESCAPES.sub(b"", chunk).decode("utf-8", "replace")
        return bool(chunk)

    def _answer(self, chunk: bytes) -> None:
        """What a terminal answers to those who ask what it is (fish waits for it)."""
        if b"\x1b[c" in chunk or b"\x1b[0c" in chunk:
            os.write(self._keyboard, b"\x1b[?62;22c")

    def end(self) -> int:
        """Wait for the program's end; its exit code."""
        deadline = time.monotonic() + _PATIENCE
        while self._read(deadline):
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self._keyboard)
        return os.waitstatus_to_exitcode(status)
