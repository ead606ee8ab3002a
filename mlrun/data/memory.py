"""What files were like when they were last read, so that what has not changed need not be read again.

One file a folder (or large file) in the cache, named by its path: the stamps of all that lay in it, and
their digests. A stamp proves that content is the same, but for one case, which git's index knows as "racy":
a file written twice within one tick of the file system's clock, once before and once after we read it, has
one stamp. So a stamp counts only if it was `_PROVEN_AFTER` old when the file was read; younger ones are kept
as none, and those files are read again next time.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from array import array
from typing import TYPE_CHECKING

from blake3 import blake3

from mlrun.files import remove_tree, write_atomic
from mlrun.value import value

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.files import Cache

_PROVEN_AFTER = 2_000_000_000
"""Nanoseconds; the coarsest file systems in use (FAT) count in steps of two seconds."""
_MAGIC = b"mlrun/stat/v1\n"
_LENGTHS = struct.Struct("<32s5q")  # digest of the whole, its size and files; bytes of names, stamps, digests
_STAMP = 5
_DIGEST = 32
_UNPROVEN = array("q", (-1,) * _STAMP)


@value
class Remembered:
    """The content of a folder as it was: `digest` is that of the whole (its manifest, or the file's own).

    `names` are relative, in the order in which they were listed; `stamps` has five numbers for each, -1 where
    they prove nothing; `digests` 32 bytes for each, zeros for what is no file.
    """

    digest: bytes
    size: int
    files: int
    names: list[str]
    stamps: array[int]
    digests: bytes

    def by_name(self) -> dict[str, tuple[array[int], bytes]]:
        """Stamp and digest of each name."""
        return {
            name: (
                self.stamps[at * _STAMP : (at + 1) * _STAMP],
                self.digests[at * _DIGEST : (at + 1) * _DIGEST],
            )
            for at, name in enumerate(self.names)
        }


def recall(cache: Cache, root: str) -> Remembered | None:
    """What is remembered of a path; None where there is nothing, or it is damaged."""
    try:
        data = _file(cache, root).read_bytes()
    except OSError:
        return None
    body, checksum = data[:-_DIGEST], data[-_DIGEST:]
    if not body.startswith(_MAGIC) or blake3(body).digest() != checksum:
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
    names = os.fsdecode(parts[0]).split("\0")[:-1]
    return Remembered(digest=digest, size=size, files=files, names=names, stamps=stamps, digests=parts[2])


def remember(cache: Cache, root: str, content: Remembered, *, read_at: int) -> None:
    """Keep it for the next time, where that can be done; `read_at` is when the reading began, ns."""
    stamps = array("q", content.stamps)
    proven = read_at - _PROVEN_AFTER
    for at in range(0, len(stamps), _STAMP):
        if max(stamps[at + 2], stamps[at + 3]) >= proven:
            stamps[at : at + _STAMP] = _UNPROVEN
    names = b"".join(os.fsencode(name) + b"\0" for name in content.names)
    parts = (names, stamps.tobytes(), content.digests)
    lengths = [len(part) for part in parts]
    body = b"".join((_MAGIC, _LENGTHS.pack(content.digest, content.size, content.files, *lengths), *parts))
    with contextlib.suppress(OSError):
        file = _file(cache, root)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, body + blake3(body).digest())


def collect_garbage(cache: Cache, *, older_than: float) -> tuple[int, int]:
    """Forget what was last learned before a time; how many, and how many bytes that freed."""
    removed = freed = 0
    with contextlib.suppress(FileNotFoundError):
        for file in list(cache.stamps.iterdir()):
            with contextlib.suppress(OSError):
                status = file.stat()
                if status.st_mtime < older_than:
                    remove_tree(file, trash=cache.trash)
                    removed, freed = removed + 1, freed + status.st_size
    return removed, freed


def now_ns() -> int:
    """The clock that files are stamped with, or near it."""
    return time.time_ns()


def _file(cache: Cache, root: str) -> Path:
    return cache.stamps / blake3(os.fsencode(os.path.realpath(root))).hexdigest()[:32]
