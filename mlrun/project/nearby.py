"""A file that a project names and that is not there: the one that was surely meant."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from mlrun.pattern import pattern

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PLAUSIBLE = pattern(r"(.*[-_])?(conda|environment|env)([-_].*)?\.ya?ml|python[-_]env\.ya?ml", re.IGNORECASE)
_LIST = pattern(r"requirements\.txt", re.IGNORECASE)


def nearby(path: str, directory: Path) -> tuple[str, ...]:
    """Files that may have been meant by a path that leads nowhere, relative to the project's folder.

    One where it is clear which, several where it is not: those of the same name but for its letters and its
    ending; those of the same name in the folders around; then what else describes an environment there, in
    the project's folder before the top of its checkout.
    """
    folder, _, name = path.replace("\\", "/").rpartition("/")
    beside = os.path.join(directory, folder)
    alike = [os.path.join(beside, it) for it in _files(beside) if _letters(it) == _letters(name)]
    tops = list(dict.fromkeys([str(directory), _top(directory)]))
    around = [
        os.path.join(where, it)
        for where in _around(tops)
        for it in _files(where)
        if _letters(it) == _letters(name)
    ]
    others = [
        [os.path.join(top, it) for it in _files(top) if pattern.fullmatch(it)]
        for pattern in (_PLAUSIBLE, _LIST)
        for top in tops
    ]
    found = next((group for group in (alike, around, *others) if group), [])
    return tuple(dict.fromkeys(os.path.relpath(it, directory).replace(os.sep, "/") for it in found))


def _letters(name: str) -> str:
    """A file's name without what people vary in it: `Conda-Env.yml` is `condaenv.yaml`."""
    stem, ending = os.path.splitext(name.lower())
    return re.sub(r"[-_. ]", "", stem) + (".yaml" if ending == ".yml" else ending)


def _files(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_file())
    except OSError:
        return []


def _around(tops: list[str]) -> Iterator[str]:
    """The project's folder, the top of its checkout, and the folders in them."""
    for top in tops:
        yield top
        try:
            names = sorted(entry.name for entry in os.scandir(top) if entry.is_dir())
        except OSError:
            names = []
        yield from (os.path.join(top, name) for name in names if not name.startswith("."))


def _top(directory: Path) -> str:
    """The top of the checkout that a folder lies in."""
    for folder in (directory, *directory.parents):
        if (folder / ".git").exists():
            return str(folder)
    return str(directory)
