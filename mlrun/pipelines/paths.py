"""Whether two declared paths can mean the same file: equal, one in the other's folder, or by their patterns.

Paths are relative to the project (`data/clean.csv`, `data`, `parts/*.csv`), those that leave it absolute.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from mlrun.data.names import by_word_first, is_pattern
from mlrun.model import DataSpec
from mlrun.pattern import pattern

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TOKENS = pattern(r"\*\*/?|\*|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)
_BELOW = ("/", "**")
_ANY = ("*", "**", "**/")


def plain(path: str, directory: str) -> str:
    """The one form of a path, relative to the project's `directory` where it lies in it."""
    full = os.path.normpath(os.path.join(directory, path))
    if full == directory:
        return "."
    return full[len(directory) + 1 :] if full.startswith(f"{directory}{os.sep}") else full


def looking_in(directory: Path) -> Callable[[str], bool]:
    """Whether a path or pattern, relative to a directory, names something that exists."""

    def is_there(path: str) -> bool:
        return any(found for _, found in by_word_first((DataSpec(path=path),), directory))

    return is_there


def overlap(one: str, other: str) -> bool:
    """Whether two paths can mean the same file; a path may be that of a folder, and stands for all in it."""
    if "." in (one, other):
        return not (os.path.isabs(one) or os.path.isabs(other))
    if is_pattern(one) or is_pattern(other):
        return _patterns_overlap(one, other)
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


@lru_cache(maxsize=4096)
def _patterns_overlap(one: str, other: str) -> bool:
    left, right = tuple(_TOKENS.findall(one)), tuple(_TOKENS.findall(other))
    return _meet(left, right) or _meet((*left, *_BELOW), right) or _meet(left, (*right, *_BELOW))


def _meet(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """Whether some path is taken by both."""

    @cache
    def meet(at: int, to: int) -> bool:
        if at == len(left) and to == len(right):
            return True
        mine, yours = left[at : at + 1], right[to : to + 1]
        if mine and mine[0] in _ANY:
            return meet(at + 1, to) or (_eats(mine[0], yours) and meet(at, to + 1))
        if yours and yours[0] in _ANY:
            return meet(at, to + 1) or (_eats(yours[0], mine) and meet(at + 1, to))
        return bool(mine and yours and _same(mine[0], yours[0]) and meet(at + 1, to + 1))

    return meet(0, 0)


def _eats(many: str, other: tuple[str, ...]) -> bool:
    return bool(other) and (many != "*" or other[0] != "/")


def _same(one: str, other: str) -> bool:
    """Whether two single letters, of which either may be `?` or `[…]`, can be the same."""
    loose = [letter for letter in (one, other) if letter == "?" or len(letter) > 1]
    exact = [letter for letter in (one, other) if letter not in loose]
    if not loose:
        return one == other
    return not exact or (exact[0] != "/" and fnmatchcase(exact[0], loose[0]))
