"""Errors of the file system, said as errors of the store."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING

from mlrun.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Turn an OSError into a StoreError that begins with `cannot <what>`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise StoreError(
                f"cannot {what}: no space left", hint="free some space; `mlrun gc` may help", code="disk-full"
            ) from error
        if error.errno in _FORBIDDEN:
            raise StoreError(
                f"cannot {what}: {reason}",
                hint="set MLRUN_HOME to a folder that you can write to",
                code="store-not-writable",
            ) from error
        raise StoreError(f"cannot {what}: {reason}") from error
