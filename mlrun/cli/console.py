"""What a person sees while something goes on: narration on stderr, in colour on a terminal only."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.progress import Progress, TaskID

    from mlrun.model import Finding

_LABEL = 12  # columns
_PATIENCE = 0.3  # seconds before something that goes on is worth a bar
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_STATUS_STYLES = {
    "finished": "green",
    "cached": "green",
    "running": "cyan",
    "failed": "red",
    "killed": "red",
    "lost": "yellow",
}


def has_colour(stream: TextIO, variables: Mapping[str, str]) -> bool:
    """Whether colour is wanted there: a terminal, and neither NO_COLOR nor TERM=dumb (https://no-color.org)."""
    return stream.isatty() and not variables.get("NO_COLOR") and variables.get("TERM") != "dumb"


def styled(text: str, style: str, *, colour: bool) -> str:
    """The text in a style of `_STYLES`, where colour is wanted."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if colour and style in _STYLES else text


def status_style(status: str) -> str:
    """Green for good, red for bad; the word itself is always printed too."""
    return _STATUS_STYLES.get(status, "bold")


def printable(text: str) -> str:
    """Text of others (paths, URLs, parameters) without what a terminal would obey."""
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)


class Console:
    """Tells a run's story on stderr: aligned on a terminal, one line an event elsewhere, nothing if quiet."""

    def __init__(self, variables: Mapping[str, str], *, quiet: bool = False) -> None:
        self._stream = sys.stderr
        self._quiet = quiet
        self._terminal = self._stream.isatty()
        self._colour = has_colour(self._stream, variables)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._since = 0.0

    # --- the rooms' events

    def say(self, text: str) -> None:
        self._line("", text)

    def progress(self, task: str, done: float | None) -> None:
        if self._quiet or not self._terminal or not self._has_lasted():
            return
        if self._progress is None:
            self._progress = _new_progress()
            self._task = self._progress.add_task("", total=None)
            self._progress.start()
        assert self._task is not None
        self._progress.update(
            self._task,
            description=printable(task),
            total=None if done is None else 1.0,
            completed=done or 0.0,
        )

    # --- the runner's

    def fact(self, label: str, text: str) -> None:
        first, *others = text.rstrip("\n").split("\n") if self._terminal else [text.rstrip("\n")]
        self._line(label, first)
        for line in others:  # of a command
            self._line("", line)

    def warn(self, finding: Finding) -> None:
        where = f"{finding.place}: " if finding.place else ""
        hint = f" ({finding.hint})" if finding.hint else ""
        self._line("warning", f"{where}{finding.message}{hint}", style="yellow")

    def output_begins(self) -> None:
        self._end_progress()
        if self._terminal and not self._quiet:
            self._write(styled("─" * min(60, _width()), "dim", colour=self._colour))

    def output_ends(self) -> None:
        if self._terminal and not self._quiet:
            self._write(styled("─" * min(60, _width()), "dim", colour=self._colour))

    def pause(self) -> None:
        self._end_progress()

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._end_progress()

    # --- how

    def _has_lasted(self) -> bool:
        """What is over at once needs no bar (nor the import of what draws it)."""
        self._since = self._since or time.monotonic()
        return time.monotonic() - self._since > _PATIENCE

    def _line(self, label: str, text: str, style: str = "bold") -> None:
        self._end_progress()
        if self._quiet:
            return
        text = printable(text)
        if self._terminal:
            self._write(f"{styled(label.ljust(_LABEL), style, colour=self._colour)} {text}".rstrip())
        else:
            self._write(f"mlrun: {label}: {text}" if label else f"mlrun: {text}")

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a listener who has gone, or whose disk is full, ends no run
            sys.stdout.flush()
            self._stream.write(line + "\n")
            self._stream.flush()

    def _end_progress(self) -> None:
        self._since = 0.0
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _new_progress() -> Progress:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        console=RichConsole(stderr=True),
        transient=True,
    )


def longest_path(stream: TextIO) -> int | None:
    """How many letters of a path a line on a terminal has room for, beside what else it says; else None."""
    if not stream.isatty():
        return None
    try:
        return max(40, os.get_terminal_size(stream.fileno()).columns - 50)
    except OSError:
        return None


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return 80
