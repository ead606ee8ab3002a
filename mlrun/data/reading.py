"""One file's bytes into a digest, with what proves later that it is still the same file.

Runs as a script too: a child that reads many small files for us, since threads cannot (opening a file holds
the interpreter's lock). It imports nothing of ours, so that it starts at once. It takes paths on its standard
input, each ended by a NUL, and answers with one `ANSWER` a path; every `BATCH` files it tells so on stderr.
"""

from __future__ import annotations

import os
import stat
import struct
import sys

from blake3 import blake3

ANSWER = struct.Struct("<32s5q")
"""Digest, inode, size, mtime and ctime in ns, mode; with an inode of -1, the size is a problem's number."""
BATCH = 500
SMALL = 1 << 20
"""Bytes up to which a file is read in one piece."""

CHANGED, SPECIAL = -1, -2
"""Problems that have no errno."""

Stamp = tuple[int, int, int, int, int]
"""Inode, size, mtime and ctime in ns, mode. The clock that writes ctime cannot be set back by a program."""


def stamp_of(status: os.stat_result) -> Stamp:
    """What changes when a file's content does."""
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode)


def problem_of(number: int) -> str:
    """Why a file has no digest."""
    if number == CHANGED:
        return "it changed while it was read"
    return "it is neither a file nor a folder" if number == SPECIAL else os.strerror(number)


def read_small(path: str | bytes, hasher: blake3) -> tuple[bytes, Stamp] | int | None:
    """Digest and stamp of a file of up to `SMALL` bytes; a problem's number; or None where it is larger.

    Starting the `hasher` anew costs half of what making one does.
    """
    try:
        # A pipe in place of a file must not hold us.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return error.errno or CHANGED
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return SPECIAL
        if before.st_size > SMALL:
            return None
        content = os.read(descriptor, before.st_size + 1)
        after = stamp_of(os.fstat(descriptor))
    except OSError as error:
        return error.errno or CHANGED
    finally:
        os.close(descriptor)
    if len(content) != before.st_size or stamp_of(before) != after:
        return CHANGED
    hasher.reset()
    return hasher.update(content).digest(), after


def _serve() -> None:
    answers, hasher = bytearray(), blake3()
    for number, path in enumerate(sys.stdin.buffer.read().split(b"\0")[:-1], 1):
        found = read_small(path, hasher)
        if isinstance(found, tuple):
            answers += ANSWER.pack(found[0], *found[1])
        else:
            answers += ANSWER.pack(b"", -1, CHANGED if found is None else found, 0, 0, 0)
        if number % BATCH == 0:
            os.write(2, b".")
    sys.stdout.buffer.write(answers)


if __name__ == "__main__":
    _serve()
