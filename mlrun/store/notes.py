"""Notes that a record may have changed: how the index learns of runs without being opened by them.

Who writes or removes a record leaves a note, an empty file that stays locked while that goes on; who
reads the index next takes in the records named by notes, then removes the notes. So a run costs no
database work, and however its process dies, its note (whose lock the kernel has freed) is still there.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from mlrun.files import is_locked, try_lock
from mlrun.pattern import pattern
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlrun.files import Home

_ID = pattern(r"[0-9a-f]{32}")
_NAME = pattern(r"([0-9a-f]{32})\.\d+\.(\d{1,30})")


@positional_value
class Note:
    """One note; `run_id` names the run whose record may have changed."""

    run_id: str
    path: Path

    def is_due(self) -> bool:
        """Whether the change has ended. Ask before reading the record."""
        return not is_locked(self.path)


@contextlib.contextmanager
def noted(home: Home, run_id: str) -> Iterator[None]:
    """The span in which the run's record is written or removed.

    Raises OSError.
    """
    name = f"{run_id}.{os.getpid()}.{time.monotonic_ns()}"
    hidden = home.temporary / name
    descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        # Locked before it can be seen, so that no reader ever takes it for due too early.
        try_lock(descriptor)
        _publish(hidden, _folder(home) / name)
        yield
    finally:
        os.close(descriptor)


def outstanding(home: Home) -> list[Note]:
    """The notes that nobody has dealt with yet, in the order in which they were left."""
    try:
        names = os.listdir(_folder(home))
    except FileNotFoundError:
        return []
    matches = [match for match in map(_NAME.fullmatch, names) if match]
    matches.sort(key=lambda match: int(match[2]))
    return [Note(match[1], _folder(home) / match[0]) for match in matches]


def is_id(text: str) -> bool:
    """Whether a text is a whole run id."""
    return _ID.fullmatch(text) is not None


def _folder(home: Home) -> Path:
    return home.unindexed


def _publish(hidden: Path, note: Path) -> None:
    try:
        os.rename(hidden, note)
    except FileNotFoundError:
        note.parent.mkdir(exist_ok=True)
        os.rename(hidden, note)
