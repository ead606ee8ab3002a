"""A narrator for tests. Imports nothing: processes that tests start use it too."""

from __future__ import annotations


class Quiet:
    """A narrator that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, task: str, done: float | None) -> None:
        pass
