"""What has changed in a folder since a moment, by looking at all of it: where nothing else could see."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_AT_MOST = 50_000
"""Entries that are looked at."""
_PASSED = frozenset((".git", ".hg", "__pycache__", "node_modules", ".venv", "venv", ".tox", ".dvc"))


def changed(root: Path, *, since: int) -> tuple[str, ...]:
    """Regular files below a folder that were made or changed since (ns since 1970, by their own clock)."""
    found: list[str] = []
    folders, looked_at = [os.path.realpath(root)], 0
    while folders and looked_at < _AT_MOST:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    looked_at += 1
                    if entry.is_dir(follow_symlinks=False):
                        folders += [] if entry.name in _PASSED else [entry.path]
                        continue
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode) and status.st_ctime_ns >= since:
                        found.append(entry.path)
        except OSError:
            continue
    return tuple(found)
