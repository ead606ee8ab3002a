"""Whether the process of a run still lives: it holds the lock of the run's file `alive`."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from mlrun.files import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_READ_ONLY = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextlib.contextmanager
def freed(path: Path) -> Iterator[bool]:
    """Whether nobody holds the lock; if so, it is held within.

    Where that cannot be told (no permission, a file system without locks), the run is taken for alive.
    """
    try:
        descriptor = _open(path)
    except FileNotFoundError:
        yield True
        return
    except OSError:
        yield False
        return
    try:
        yield _take(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """For writing where we may: locks of network file systems insist on it."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _take(descriptor: int) -> bool:
    try:
        return try_lock(descriptor)
    except OSError:
        return False
