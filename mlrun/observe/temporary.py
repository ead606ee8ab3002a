"""What a program left in a folder for temporary files, under a name that chance made up: nobody looks for it.

What makes such names (Python's `tempfile`, `mktemp`, R) makes them for its user alone, mode 0700 or 0600.
What was there before the run may have been made for it, and counts; only where a file system tells when it
was born, that can be told apart.
"""

from __future__ import annotations

import os
import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_BY_CHANCE = re.compile(r"tmp[a-z0-9_]{8}(\.[\w.]+)?|tmp\.[A-Za-z0-9]{10}|Rtmp[A-Za-z0-9]{6}")

# Of statx(2), which Python does not offer: constants and offsets of `struct statx`, the same on all machines.
_HERE, _NO_FOLLOW, _BIRTH_TIME = -100, 0x100, 0x800
_MASK, _BIRTH, _SIZE = struct.Struct("I"), struct.Struct("qI"), 256
_BIRTH_AT = 80


def left_behind(paths: Iterable[str], folders: tuple[str, ...], *, since: int) -> frozenset[str]:
    """Of real paths, those below what was made so in one of the folders after `since`, ns since 1970."""
    verdicts: dict[str, bool] = {}

    def is_left(path: str) -> bool:
        for folder in folders:
            if path.startswith(f"{folder}/"):
                name = path[len(folder) + 1 :].partition("/")[0]
                place = f"{folder}/{name}"
                if place not in verdicts:
                    verdicts[place] = _BY_CHANCE.fullmatch(name) is not None and _is_its_own(place, since)
                if verdicts[place]:
                    return True
        return False

    return frozenset(filter(is_left, paths))


def _is_its_own(place: str, since: int) -> bool:
    try:
        status = os.lstat(place)
    except OSError:
        return False
    return status.st_mode & 0o077 == 0 and status.st_ctime_ns >= since and _born(place) >= since


def _born(path: str) -> int:
    """When something was made, ns since 1970; 0 where nobody knows."""
    import ctypes

    try:
        statx = ctypes.CDLL(None).statx
    except (OSError, AttributeError):
        return 0
    told = ctypes.create_string_buffer(_SIZE)
    if statx(_HERE, os.fsencode(path), _NO_FOLLOW, _BIRTH_TIME, told) != 0:
        return 0
    if not _MASK.unpack_from(told)[0] & _BIRTH_TIME:
        return 0
    seconds, rest = _BIRTH.unpack_from(told, _BIRTH_AT)
    return int(seconds) * 1_000_000_000 + int(rest)
