"""What files were like when they were last read, so that what has not changed need not be read again.

One file a folder (or large file) in the cache, named by its path: a magic line; the whole's digest, size and
number of files; the lengths of a tree's four parts (`trees`); these; and the checksum of all that. `tree.c`
reads and writes it too.

A stamp proves that content is the same, but for one case, which git's index knows as "racy": a file written
twice within one tick of the file system's clock, once before and once after we read it, has one stamp. So a
stamp counts only if it was `PROVEN_AFTER` old when the reading began; younger ones are kept as none, and
those files are read again next time.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from array import array
from typing import TYPE_CHECKING

from blake3 import blake3

from mlrun.data.trees import CTIME, DIGEST, MTIME, STAMP, Tree
from mlrun.files import remove_tree, write_atomic
from mlrun.value import value

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.files import Cache

PROVEN_AFTER = 2_000_000_000
"""Nanoseconds; the coarsest file systems in use (FAT) count in steps of two seconds."""
_MAGIC = b"mlrun/stat/v2\n"
_LENGTHS = struct.Struct("<32s6q")  # digest of the whole, its size and files; bytes of the tree's four parts
_UNPROVEN = -1
BYTES_A_NAME = STAMP * 8 + DIGEST
"""What is kept of a name, and a little more."""


@value
class Remembered:
    """The content of a folder as it was: `digest` is that of the whole (its manifest, or the file's own).

    In the stamps of the `tree`, a ctime of -1 proves nothing.
    """

    digest: bytes
    size: int
    files: int
    tree: Tree


def recall(cache: Cache, root: str) -> Remembered | None:
    """What is remembered of a path; None where there is nothing, or it is damaged."""
    return load(place(cache, root))


def load(file: Path) -> Remembered | None:
    """What a file remembers; None where there is none, or it is damaged."""
    try:
        data = memoryview(file.read_bytes())
    except OSError:
        return None
    body, checksum = data[:-DIGEST], data[-DIGEST:]
    if body[: len(_MAGIC)] != _MAGIC or blake3(body).digest() != checksum:
        return None
    at = len(_MAGIC)
    digest, size, files, *lengths = _LENGTHS.unpack_from(body, at)
    at += _LENGTHS.size
    parts = []
    for length in lengths:
        parts.append(body[at : at + length])
        at += length
    stamps = array("q")
    stamps.frombytes(parts[1])
    tree = Tree(bytes(parts[0]), stamps, bytes(parts[2]), bytes(parts[3]))
    return Remembered(digest=digest, size=size, files=files, tree=tree)


def remember(cache: Cache, root: str, content: Remembered, *, read_at: int) -> None:
    """Keep it for the next time, where that can be done; `read_at` is when the reading began, ns."""
    tree = content.tree
    stamps = _proven(tree.stamps, read_at - PROVEN_AFTER)
    parts = (tree.names, stamps.tobytes(), tree.digests, tree.targets)
    lengths = [len(part) for part in parts]
    body = b"".join((_MAGIC, _LENGTHS.pack(content.digest, content.size, content.files, *lengths), *parts))
    with contextlib.suppress(OSError):
        file = place(cache, root)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, body + blake3(body).digest())


def _proven(stamps: array[int], before: int) -> array[int]:
    """The stamps, without the ctime of those that are too young to prove anything."""
    columns = stamps[MTIME::STAMP], stamps[CTIME::STAMP]
    if max(max(column, default=0) for column in columns) < before:
        return stamps
    stamps = array("q", stamps)
    for at, times in enumerate(zip(*columns, strict=True)):
        if max(times) >= before:
            stamps[at * STAMP + CTIME] = _UNPROVEN
    return stamps


def adopt(file: Path, place: Path) -> None:
    """Keep what another has written."""
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, place)


def collect_garbage(cache: Cache, *, older_than: float) -> tuple[int, int]:
    """Forget what was last learned, and tables that were kept, before a time; how many, and how many bytes
    that freed."""
    removed = freed = 0
    for folder in (cache.stamps, cache.tables):
        with contextlib.suppress(FileNotFoundError):
            for file in list(folder.iterdir()):
                with contextlib.suppress(OSError):
                    status = file.stat()
                    if status.st_mtime < older_than:
                        remove_tree(file, trash=cache.trash)
                        removed, freed = removed + 1, freed + status.st_size
    return removed, freed


def now_ns() -> int:
    """The clock that files are stamped with, or near it."""
    return time.time_ns()


def place(cache: Cache, root: str) -> Path:
    """The file that remembers a path."""
    return cache.stamps / blake3(os.fsencode(os.path.realpath(root))).hexdigest()[:32]
