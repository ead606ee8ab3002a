"""Folders as Python lists and reads them: where little lies in them, or there is no compiler for `native`."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

from mlrun.data import reading, trees
from mlrun.data.reading import ANSWER, CHANGED, SPECIAL, stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlrun.data.reading import Stamp
    from mlrun.data.trees import Entry, Tree
    from mlrun.process import Captured

_EMPTY: Stamp = (0, 0, 0, 0, stat.S_IFDIR)
"""Of folders only the mode: their stamps change with what lies in them."""

File = tuple[bytes, "Stamp"]
"""A digest as 32 bytes, and the stamp of the file that it is of."""


def walk(root: str) -> Tree:
    """Everything below a folder, with stamps. Links are told and not followed."""
    entries: list[Entry] = []
    folders = [b""]
    top = os.fsencode(root)
    while folders:
        folder = folders.pop()
        before = len(entries) + len(folders)
        try:
            with os.scandir(os.path.join(top, folder)) as found:
                for each in found:
                    if each.is_dir(follow_symlinks=False):
                        folders.append(folder + each.name + b"/")
                    else:
                        entries.append(_entry(folder + each.name, each))
        except OSError as error:
            stamp = _problem(error, stat.S_IFDIR if folder else 0)
            entries.append((folder[:-1], stamp, b""))
        else:
            if folder and len(entries) + len(folders) == before:
                entries.append((folder[:-1], _EMPTY, b""))
    entries.sort()
    return trees.of_entries(entries)


def _entry(name: bytes, found: os.DirEntry[bytes]) -> Entry:
    try:
        stamp = stamp_of(found.stat(follow_symlinks=False))
        return name, stamp, os.readlink(found.path) if found.is_symlink() else b""
    except OSError as error:
        return name, _problem(error), b""


def those(root: str, names: Sequence[bytes]) -> Tree:
    """Files of a folder, with stamps; `names` are in the order of their bytes."""
    entries: list[Entry] = []
    for name in names:
        try:
            status = os.stat(os.path.join(os.fsencode(root), name))
        except OSError as error:
            entries.append((name, _problem(error), b""))
            continue
        entries.append((name, _EMPTY if stat.S_ISDIR(status.st_mode) else stamp_of(status), b""))
    return trees.of_entries(entries)


def _problem(error: OSError, mode: int = 0) -> Stamp:
    return (trees.NONE, error.errno or CHANGED, 0, 0, mode)


def known_and_unread(tree: Tree, known: Tree | None) -> tuple[list[tuple[int, File | int]], list[int]]:
    """Of a tree without digests: what can be told without reading, and the indexes of what must be read."""
    found: list[tuple[int, File | int]] = []
    unread: list[int] = []
    names, stamps = tree.split_names(), tree.stamps
    old = {} if known is None else {name: at for at, name in enumerate(known.split_names())}
    for at, mode in enumerate(stamps[trees.MODE :: trees.STAMP]):
        if stat.S_ISDIR(mode) or stat.S_ISLNK(mode) or stamps[at * trees.STAMP] == trees.NONE:
            continue
        before = old.get(names[at])
        if not stat.S_ISREG(mode):
            found.append((at, SPECIAL))
        elif known is None or before is None or _stamp(known, before) != (stamp := _stamp(tree, at)):
            unread.append(at)
        else:
            found.append((at, (known.digests[before * 32 : before * 32 + 32], stamp)))
    return found, unread


def _stamp(tree: Tree, at: int) -> Stamp:
    inode, size, mtime, ctime, mode = tree.stamps[at * trees.STAMP : (at + 1) * trees.STAMP]
    return inode, size, mtime, ctime, mode


def in_children(
    root: str, names: Sequence[bytes], children: int, told: Callable[[int], None] | None
) -> list[File | int]:
    """Small files, read by several processes; what these cannot answer is told as changed."""
    from pathlib import Path

    from mlrun.process import capture_all

    each = -(-len(names) // children)
    shares = [names[at : at + each] for at in range(0, len(names), each)]
    asked = capture_all(
        [sys.executable, "-I", reading.__file__],
        [b"".join(name + b"\0" for name in share) for share in shares],
        variables={},
        cwd=Path(root),
        on_stderr=lambda dots: told(reading.BATCH * len(dots)) if told else None,
    )
    pairs = zip(shares, asked, strict=True)
    return [answer for share, said in pairs for answer in _answers(said, len(share))]


def _answers(said: Captured, count: int) -> list[File | int]:
    """What a child answered; from one that fell, that all is still to be read."""
    if said.exit_code != 0 or len(said.stdout) != ANSWER.size * count:
        return [CHANGED] * count
    return [
        size if inode == -1 else (content, (inode, size, mtime, ctime, mode))
        for content, inode, size, mtime, ctime, mode in ANSWER.iter_unpack(said.stdout)
    ]
