"""What a snapshot's tree lists, and what lies beside it that the tree does not hold."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from mlrun import files
from mlrun.source import directory as directories
from mlrun.source.git import local_git, quoted_path
from mlrun.value import replace

if TYPE_CHECKING:
    from mlrun.files import Cache
    from mlrun.model import Caller, Snapshot
    from mlrun.source.git import Git


class Listed(tuple[str, str, str]):
    """A file of a tree: its path relative to the top, git's mode and id (of a submodule, its commit).

    There may be a hundred thousand, so they are tuples; by hand, since to make a `NamedTuple` takes 1 ms.
    """

    __slots__ = ()

    @property
    def path(self) -> str:
        return self[0]

    @property
    def mode(self) -> str:
        return self[1]

    @property
    def id(self) -> str:
        return self[2]


def listed(snapshot: Snapshot, *, caller: Caller, cache: Cache) -> tuple[Listed, ...]:
    """Every file of a snapshot's tree, by path; a tree that has been listed before is not asked for again.

    Raises SourceError where git cannot tell.
    """
    memory = cache.snapshots / "listings" / snapshot.tree
    with contextlib.suppress(OSError):
        return _understood(memory.read_bytes())
    said = _git(snapshot, caller, cache).read("ls-tree", "-r", "-z", "--full-tree", snapshot.tree)
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(memory, said.stdout)
    return _understood(said.stdout)


def _understood(said: bytes) -> tuple[Listed, ...]:
    found = []
    for line in os.fsdecode(said).split("\0")[:-1]:
        facts, _, path = line.partition("\t")
        mode, _, its_id = facts.split(" ")
        found.append(Listed((path, mode, its_id)))
    return tuple(found)


def ignored(snapshot: Snapshot, *, caller: Caller, cache: Cache) -> tuple[str, ...]:
    """What lies in the project's folder and is no part of the tree by git's rules: paths relative to that
    folder, a folder that is ignored as a whole with a `/` at its end and nothing of what lies in it.

    Raises SourceError where git cannot tell.
    """
    git = replace(_git(snapshot, caller, cache), directory=snapshot.directory)
    said = git.read("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    return tuple(path for path in os.fsdecode(said.stdout).split("\0") if path)


def overlooked(snapshot: Snapshot, *, caller: Caller, cache: Cache) -> tuple[str, ...]:
    """Files of the tree that git was told not to look at (`git update-index --skip-worktree`, or
    `--assume-unchanged`): they may hold anything by now. Paths relative to the project's folder.

    Raises SourceError where git cannot tell.
    """
    git = replace(_git(snapshot, caller, cache), directory=snapshot.directory)
    said = git.read("ls-files", "-z", "-v")
    rows = os.fsdecode(said.stdout).split("\0")
    return tuple(row[2:] for row in rows if row[:1] == "S" or row[:1].islower())


def _git(snapshot: Snapshot, caller: Caller, cache: Cache) -> Git:
    """git, where it finds the snapshot's tree: in the repository, or with what we hashed beside it."""
    root = snapshot.root
    if snapshot.temporary:
        return local_git(root, caller.variables)
    place = directories.place_of(snapshot.directory, cache)
    if snapshot.commit is None and (place / "HEAD").exists():
        git = local_git(root, caller.variables, GIT_DIR=str(place), GIT_WORK_TREE=str(root))
        return replace(git, settings=("core.excludesFile=/dev/null", "core.bare=false"))
    more = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": quoted_path(place / "objects")}
    return local_git(root, caller.variables, **more)
