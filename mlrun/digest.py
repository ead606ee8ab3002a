"""Digests of values, bytes and files: BLAKE3, always tagged with the algorithm's name."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING

from blake3 import blake3

from mlrun.model import Digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TAG = "blake3:"
_canonical = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode
_CHUNK = 4 << 20  # bytes; the quickest size of those tried, for one core as for several
_LARGE = 32 << 20  # bytes from which a file is mapped
_WINDOW = 256 << 20  # bytes that are mapped at once
_F_SETSIG = 10  # linux/fcntl.h


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


def of_descriptor(descriptor: int, *, progress: Callable[[int], None] | None = None) -> Digest:
    """The digest of an open file, not yet read from, with all cores where it is large.

    `progress` is told the bytes that are done since the last call, where there are many.

    Raises OSError.
    """
    size = os.fstat(descriptor).st_size
    if size >= _LARGE and (mapped := _of_mapping(descriptor, size, progress)):
        return mapped
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
        if progress:
            progress(count)
    return Digest(TAG + hasher.hexdigest())


def _of_mapping(descriptor: int, size: int, progress: Callable[[int], None] | None) -> Digest | None:
    """The same without copying the file, a third quicker; None where that would not be safe.

    Who shortens a mapped file kills its reader. A lease (Linux, fcntl(2)) makes others wait before they open
    the file for writing or shorten it; we are told, finish the window at hand (40 ms) and let go. It cannot
    be had for files of others, open for writing, or on most network file systems.
    """
    if sys.platform != "linux":
        return None
    import fcntl
    import mmap
    import signal

    try:
        # Its default is SIGIO, which ends a process; SIGURG is ignored by default.
        fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return None
    try:
        if os.fstat(descriptor).st_size != size:
            return None
        hasher = blake3(max_threads=blake3.AUTO)
        for offset in range(0, size, _WINDOW):
            length = min(_WINDOW, size - offset)
            with mmap.mmap(descriptor, length, prot=mmap.PROT_READ, offset=offset) as window:
                hasher.update(window)
            if progress:
                progress(length)
            if fcntl.fcntl(descriptor, fcntl.F_GETLEASE) != fcntl.F_RDLCK:
                return None  # somebody waits to write: read it with the rest of the world
    except (OSError, ValueError):
        return None
    finally:
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Digest(TAG + hasher.hexdigest())


def of_value(value: object) -> Digest:
    """The digest of a JSON-able value, by its canonical form."""
    return of_bytes(canonical_json(value))


def canonical_json(value: object) -> bytes:
    """One value, one text: sorted keys, no blanks, UTF-8, no NaN. A contract: digests rest on it."""
    return canonical_text(value).encode("utf-8", "surrogatepass")


def canonical_text(value: object) -> str:
    """The same before it is bytes."""
    return _canonical(value)


def hex_of(digest: Digest | str) -> str:
    """The hexadecimal part of a tagged digest.

    Raises ValueError for a digest of another algorithm.
    """
    if not digest.startswith(TAG):
        raise ValueError(f"not a {TAG} digest: {digest}")
    return digest[len(TAG) :]
