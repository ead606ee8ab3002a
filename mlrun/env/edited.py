"""Whether somebody has edited what is installed: by the hashes that each package brings along, its RECORD
(https://packaging.python.org/en/latest/specifications/recording-installed-packages/).

Only files that were written since the environment was built are read, so that a look is one at their times.
Bytecode is not looked at: Python writes it anew as it likes.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def edited(location: Path) -> tuple[str, ...]:
    """The files of a built environment's packages that are not what was installed, relative to it."""
    try:
        built = os.stat(location / ".complete").st_mtime_ns
    except OSError:
        return ()
    return tuple(
        os.path.relpath(path, location)
        for path, its_hash in _recorded(location)
        if _is_newer(path, built) and not fits(path, its_hash)
    )


def unlike(location: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some files that are not what their package says, whenever they were written."""
    known = {os.path.relpath(path, location): its_hash for path, its_hash in _recorded(location)}
    return tuple(name for name in names if name in known and not fits(f"{location}/{name}", known[name]))


def fits(path: str, its_hash: str) -> bool:
    """Whether a file has the hash that a RECORD says: `sha256=` and then base64, without the padding."""
    kind, _, text = its_hash.partition("=")
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, kind).digest()
    except (OSError, ValueError):
        return not os.path.lexists(path)  # a kind that nobody knows says nothing
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode() == text.rstrip("=")


def _is_newer(path: str, moment: int) -> bool:
    try:
        return os.stat(path).st_mtime_ns > moment
    except OSError:
        return False


def _recorded(location: Path) -> Iterator[tuple[str, str]]:
    for record in location.glob("lib/python*/site-packages/*.dist-info/RECORD"):
        site = os.path.dirname(os.path.dirname(record))
        with open(record, encoding="utf-8", errors="surrogateescape", newline="") as file:
            for row in csv.reader(file):
                if len(row) > 1 and row[1] and not row[0].startswith(("..", "/")) and row[0][-4:] != ".pyc":
                    yield f"{site}/{row[0]}", row[1]
