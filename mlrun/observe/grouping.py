"""Many files of one folder are one thing: a data set, not ten thousand lines in a record.

A folder is taken as a whole when at least `MANY` files, and folders with files, of it are concerned; the
folder above several such where nothing else lies beside them (`data/train`, `data/test`), or above so many
files of one ending (`train/cat/*.png`, `train/dog/*.png`); and one whose name says that it is one thing
(`model.zarr`). A folder that holds more than data (the project's own, a home) is never a whole: there, files
of one ending are.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlrun.value import draft, field, positional_value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

MANY = 20
"""From so many files on a folder is one entry."""
AT_MOST = 200
"""More entries than that are grouped with lower thresholds, down to two files."""


_ONE_THING = (".zarr", ".parquet", ".n5", ".lance", ".delta")
"""Endings of folders that are files of a kind."""


@positional_value
class Group:
    """`names` are paths below `folder`; a single file is a group of its own, with its folder.

    `pattern` says which files of the folder are meant, where it is not the folder as a whole (`*.csv`).
    """

    folder: str
    names: tuple[str, ...]
    pattern: str | None = None

    @property
    def is_single(self) -> bool:
        return len(self.names) == 1 and self.pattern is None

    @property
    def path(self) -> str:
        """What it is called: a file, a folder, or a pattern."""
        if self.is_single:
            return os.path.join(self.folder, self.names[0])
        return os.path.join(self.folder, self.pattern) if self.pattern else self.folder


def by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    """Absolute paths as the names that lie in each folder, all in order."""
    found: dict[str, list[str]] = {}
    for path in sorted(set(paths)):
        folder, _, name = path.rpartition("/")
        found.setdefault(folder, []).append(name)
    return found


def grouped(files: Mapping[str, Sequence[str]], *, never: Collection[str]) -> tuple[Group, ...]:
    """Files by their folders as few entries, sorted; `never` are folders that are no data set as a whole."""
    many = MANY
    while True:
        groups = _grouped(files, never, many)
        if len(groups) <= AT_MOST or many <= 2:
            return tuple(sorted(groups, key=lambda group: group.path))
        many //= 2


@draft
class _Folder:
    path: str
    files: Sequence[str] = ()
    """Names."""
    folders: dict[str, _Folder] = field(default_factory=dict)
    whole: bool = False

    @property
    def is_set(self) -> bool:
        """Whether all that lies in it is one whole."""
        return self.whole or (not self.files and [each.is_set for each in self.folders.values()] == [True])

    def all_files(self) -> Sequence[str]:
        """Their names below this folder, in order."""
        if not self.folders:
            return self.files
        within = [f"{name}/{each}" for name, folder in self.folders.items() for each in folder.all_files()]
        return sorted([*self.files, *within])


def _grouped(files: Mapping[str, Sequence[str]], never: Collection[str], many: int) -> list[Group]:
    top = _Folder("/")
    found = {"": top}
    for folder, names in files.items():
        _folder(folder, found).files = names
    _judge(top, never, many)
    return list(_groups(top, never, many))


def _folder(path: str, found: dict[str, _Folder]) -> _Folder:
    if path not in found:
        found[path] = _Folder(path)
        above, _, name = path.rpartition("/")
        _folder(above, found).folders[name] = found[path]
    return found[path]


def _judge(folder: _Folder, never: Collection[str], many: int) -> None:
    for each in folder.folders.values():
        _judge(each, never, many)
    if folder.path in never or folder.path.count("/") < 2:
        return
    folder.whole = (
        len(folder.files) + len(folder.folders) >= many
        or folder.path.endswith(_ONE_THING)
        or (len(folder.folders) > 1 and not folder.files and _is_above_sets(folder, many))
    )


def _is_above_sets(folder: _Folder, many: int) -> bool:
    """Whether all that lies below it are sets, or so many files of one ending."""
    if all(each.is_set for each in folder.folders.values()):
        return True
    files = folder.all_files()
    return len(files) >= many and len({os.path.splitext(name)[1] for name in files}) == 1


def _groups(folder: _Folder, never: Collection[str], many: int) -> Iterator[Group]:
    if folder.whole:
        yield Group(folder.path, tuple(folder.all_files()))
        return
    endings: dict[str, list[str]] = {}
    for name in folder.files:
        endings.setdefault(os.path.splitext(name)[1], []).append(name)
    for ending, names in endings.items():
        if len(names) >= many and (folder.path in never or folder.path.count("/") < 2):
            yield Group(folder.path, tuple(names), f"*{ending}")
        else:
            yield from (Group(folder.path, (name,)) for name in names)
    for each in folder.folders.values():
        yield from _groups(each, never, many)
