"""Digests of values, bytes and files: BLAKE3, always tagged with the algorithm's name."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from blake3 import blake3

from mlrun.model import Digest

if TYPE_CHECKING:
    from pathlib import Path

TAG = "blake3:"
_CHUNK = 4 << 20  # bytes; the quickest size of those tried, for one core as for several


def of_bytes(data: bytes) -> Digest:
    """The digest of some bytes."""
    return Digest(TAG + blake3(data).hexdigest())


def of_file(path: str | Path) -> Digest:
    """The digest of a file's content.

    Raises OSError where it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return of_descriptor(descriptor)
    finally:
        os.close(descriptor)


def of_descriptor(descriptor: int) -> Digest:
    """The digest of what is left to read of an open file, with all cores where that is much.

    It is read, not mapped: a mapping dies with us when somebody shortens the file meanwhile, and its
    pages count as our memory. Raises OSError.
    """
    size = os.fstat(descriptor).st_size
    if size < _CHUNK:
        data = os.read(descriptor, size + 1)
        if len(data) == size:  # the usual case: one read, one update
            return of_bytes(data)
        hasher = blake3(data)
    else:
        hasher = blake3(max_threads=blake3.AUTO)
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    while count := os.readv(descriptor, [buffer]):
        hasher.update(view[:count])
    return Digest(TAG + hasher.hexdigest())


def of_value(value: object) -> Digest:
    """The digest of a JSON-able value, by its canonical form."""
    return of_bytes(canonical_json(value))


def canonical_json(value: object) -> bytes:
    """One value, one text: sorted keys, no blanks, UTF-8, no NaN. A contract: digests rest on it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def hex_of(digest: Digest | str) -> str:
    """The hexadecimal part of a tagged digest.

    Raises ValueError for a digest of another algorithm.
    """
    if not digest.startswith(TAG):
        raise ValueError(f"not a {TAG} digest: {digest}")
    return digest[len(TAG) :]
