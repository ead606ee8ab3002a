"""Which paths a project's words for files mean: a path, a folder with all that lies in it, or a pattern."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from mlrun.pattern import pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PIECES = pattern(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]/]*\]|.", re.DOTALL)
_MAGIC = pattern(r"[*?[]")


def covering(words: Iterable[str]) -> Callable[[str], bool]:
    """Whether a relative path is one of those that the words mean."""
    plain: set[str] = set()
    patterns = []
    for word in words:
        path = os.path.normpath(word)
        plain.add(path)  # what exists is taken by its word, whatever letters it has
        if _MAGIC.search(path):
            patterns.append(_expression(path))

    def covers(path: str) -> bool:
        if path in plain or "." in plain:
            return True
        at = path.rfind("/")
        while at > 0:
            if path[:at] in plain:
                return True
            at = path.rfind("/", 0, at)
        return any(pattern.fullmatch(path) for pattern in patterns)

    return covers


@lru_cache(maxsize=1024)
def _expression(path: str) -> re.Pattern[str]:
    """Of a pattern; hidden names are not passed over, and what lies below is meant too."""
    return re.compile("".join(_piece(piece) for piece in _PIECES.findall(path)) + "(?:/.*)?", re.DOTALL)


def _piece(piece: str) -> str:
    match piece:
        case "**/":
            return "(?:.*/)?"
        case "**":
            return ".*"
        case "*":
            return "[^/]*"
        case "?":
            return "[^/]"
    if len(piece) > 2 and piece[0] == "[":
        negated = piece[1] == "!"
        inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", piece[2 if negated else 1 : -1])
        return f"(?!/)[{'^' if negated else ''}{inside}]"
    return re.escape(piece)
