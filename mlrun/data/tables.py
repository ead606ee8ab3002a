"""Small tables that went into runs, kept in the cache for a while: which rows have changed can be told only
while both are at hand, and data that git ignores is edited in place.

They are there to be compared and for nothing else: a repetition takes its data from the store, or from where
it lies, and says so where that has changed.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from mlrun import digest
from mlrun.files import copy_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mlrun.files import Cache
    from mlrun.model import Digest

KEEP_UP_TO = 16 << 20
"""Bytes of one table, and of those of one folder."""


def keep(cache: Cache, files: Iterable[tuple[Digest, Path]]) -> None:
    """Copies of those of some tables that are small, where that can be done."""
    left = KEEP_UP_TO
    for its_digest, path in files:
        place = _place(cache, its_digest)
        if place.exists():
            continue
        with contextlib.suppress(OSError):
            left -= path.stat().st_size
            if left < 0:
                return
            _copy(path, place, its_digest, cache)


def find(cache: Cache, its_digest: Digest) -> Path | None:
    """The copy of a table; None where there is none, or it is not what it was."""
    place = _place(cache, its_digest)
    with contextlib.suppress(OSError):
        if digest.of_file(place) == its_digest:
            return place
    return None


def _place(cache: Cache, its_digest: Digest) -> Path:
    return cache.tables / digest.hex_of(its_digest)


def _copy(path: Path, place: Path, its_digest: Digest, cache: Cache) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = cache.temporary / f"table.{os.getpid()}.{time.monotonic_ns()}"
    try:
        copy_file(path, scratch)
        if digest.of_file(scratch) == its_digest:  # it may be changing
            os.chmod(scratch, 0o600)
            os.replace(scratch, place)
    finally:
        scratch.unlink(missing_ok=True)
