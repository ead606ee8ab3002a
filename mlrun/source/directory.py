"""Pin a directory where it lies: name its exact content by a git tree, and write nothing into it.

A clean repository costs one `git status` (and two more commands the first time that a commit is seen). What
differs from the commit is hashed into a copy of the index that lies, like every object we make, in the cache.
A directory that is no repository gets a private index there, so that a second look costs stats only.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import digest, files
from mlrun.errors import SourceError
from mlrun.model import Snapshot
from mlrun.source import remarks
from mlrun.source.git import Git, local_git, quoted_path, refusal
from mlrun.source.index import bring_up_to_date, scratch_index, write_tree
from mlrun.source.target import without_credentials
from mlrun.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlrun.files import Cache

_DIFF = (
    *("diff", "--binary", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames"),
    *("--submodule=short", "--ignore-submodules=dirty", "--src-prefix=a/", "--dst-prefix=b/"),
    *("-O/dev/null", "HEAD"),
)
_LEFT_BY_TOOLS = frozenset(("__pycache__", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache"))
_DIFF_SETTINGS = ("diff.autoRefreshIndex=false", "diff.suppressBlankEmpty=false")


@value
class Pinned:
    """A snapshot in place, and where the objects of its tree are (only if they were kept)."""

    snapshot: Snapshot
    objects: tuple[Path, ...]


def pin(directory: Path, *, variables: Mapping[str, str], cache: Cache, keep: bool = False) -> Pinned:
    """Name what is really there in a directory, by git's rules of what belongs to it.

    With `keep`, the content is kept in the cache so that the tree can be checked out.
    Raises SourceError.
    """
    root = find_root(directory)
    if root is not None:
        pinned = _pin_repository(directory, root, variables=variables, cache=cache, keep=keep)
        if pinned is not None:
            return pinned
    return _pin_plain(directory, variables=variables, cache=cache, keep=keep)


def find_root(directory: Path) -> Path | None:
    """The nearest folder above that looks like the top of a git working tree; git has the last word."""
    for folder in (directory, *directory.parents):
        mark = folder / ".git"
        if mark.is_file() or (mark / "HEAD").exists():
            return folder
    return None


def _pin_plain(directory: Path, *, variables: Mapping[str, str], cache: Cache, keep: bool) -> Pinned:
    from mlrun.source import plain

    place = place_of(directory, cache)
    held = plain.contents(place, directory, variables=variables, keep=keep)
    snapshot = Snapshot(
        kind="directory", root=directory, tree=held.tree, untracked=held.files, findings=held.findings
    )
    return Pinned(snapshot=snapshot, objects=(place / "objects",))


def place_of(directory: Path, cache: Cache) -> Path:
    """Our folder for what is known of a directory; touched, for it is in use."""
    place = cache.snapshots / digest.hex_of(digest.of_bytes(os.fsencode(directory)))[:32]
    try:
        os.utime(place)
    except FileNotFoundError:
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(
                f"cannot write to the cache at {place}: {error.strerror}", code="cache-not-writable"
            ) from error
    return place


# --- a git repository ---------------------------------------------------------------------------------


@value
class _Facts:
    """What stays true of a project folder while HEAD and the repository's configuration do.

    `tracked` tells whether the commit holds the folder; `stamp` which configuration was read.
    """

    commit: str
    tree: str
    committed: int
    url: str | None
    tracked: bool
    stamp: list[int]


@value
class _Status:
    """`git status`, understood: paths by what has to be done to pin them."""

    commit: str | None
    branch: str | None
    changed: tuple[str, ...]
    deleted: tuple[str, ...]
    untracked: tuple[str, ...]
    nested: tuple[str, ...]
    submodules: tuple[str, ...]
    clean: bool


def _pin_repository(
    directory: Path, root: Path, *, variables: Mapping[str, str], cache: Cache, keep: bool
) -> Pinned | None:
    """None where git sees no repository, or one that ignores this directory."""
    git = local_git(root, variables)
    status = _status(git)
    if status is None:
        return None
    status = replace(status, submodules=tuple(it for it in status.submodules if _holds_changes(git, it)))
    place = place_of(directory, cache)
    subdirectory = "" if directory == root else directory.relative_to(root).as_posix()
    facts = _facts(git, place, status.commit, subdirectory)
    if subdirectory and not (facts and facts.tracked) and not _mentions(status, subdirectory):
        return None
    findings = [
        *remarks.of_nested(status.nested),
        *remarks.of_submodules(git, status.submodules),
        *remarks.of_lfs(git),
    ]
    tree, objects = facts.tree if facts else None, objects_of(git)
    patch = None
    if tree is None or not status.clean:
        patch = _patch(git) if status.commit and not status.clean else None
        tree, unreadable = _hashed(git, status, place, keep=keep)
        findings += remarks.of_unreadable(unreadable)
    snapshot = Snapshot(
        kind="directory",
        root=root,
        tree=tree,
        subdirectory=subdirectory,
        url=facts.url if facts else None,
        commit=status.commit,
        branch=status.branch,
        dirty=bool(facts and (tree != facts.tree or status.submodules)),
        patch=patch or None,
        untracked=status.untracked if status.commit else _all_files(git, status),
        findings=tuple(findings),
        committed=facts.committed if facts else None,
    )
    return Pinned(snapshot=snapshot, objects=(objects, place / "objects"))


def _status(git: Git) -> _Status | None:
    """One command tells commit, branch, edits and untracked files; None where there is no repository."""
    said = git.ask(
        *("status", "--porcelain=v2", "-z", "--branch", "--no-ahead-behind", "--no-renames"),
        *("--untracked-files=all", "--ignore-submodules=none"),
    )
    if said.exit_code != 0:
        if b"not a git repository" in said.stderr:
            return None
        raise refusal(f"git cannot tell the state of {git.directory}", said)
    return _understood(os.fsdecode(said.stdout).split("\0")[:-1])


def _holds_changes(git: Git, submodule: str) -> bool:
    """Whether more differs in a submodule than what tools left there when its code was run."""
    inner = replace(git, directory=git.directory / submodule)
    said = inner.ask("status", "--porcelain", "-z", "--untracked-files=all", "--ignore-submodules=none")
    entries = os.fsdecode(said.stdout).split("\0")[:-1]
    return said.exit_code != 0 or any(
        not entry.startswith("?? ") or _LEFT_BY_TOOLS.isdisjoint(entry[3:].split("/")) for entry in entries
    )


def _understood(entries: list[str]) -> _Status:
    headers: dict[str, str] = {}
    changed: list[str] = []
    deleted: list[str] = []
    untracked: list[str] = []
    nested: list[str] = []
    submodules: list[str] = []
    for entry in entries:
        if entry.startswith("# "):
            name, _, value = entry[2:].partition(" ")
            headers[name] = value
        elif entry.startswith("? "):
            (nested if entry.endswith("/") else untracked).append(entry[2:].rstrip("/"))
        else:
            fields = entry.split(" ", 8 if entry[0] == "1" else 10)
            _, letters, module = fields[:3]
            path = fields[-1]
            if module[0] == "S" and module[2:] != "..":
                submodules.append(path)
            if letters[1] == "D":
                deleted.append(path)
            elif letters[1] != "." or entry[0] == "u":
                changed.append(path)
    branch = headers.get("branch.head")
    commit = headers.get("branch.oid")
    return _Status(
        commit=None if commit == "(initial)" else commit,
        branch=None if branch == "(detached)" else branch,
        changed=tuple(changed),
        deleted=tuple(deleted),
        untracked=tuple(untracked),
        nested=tuple(nested),
        submodules=tuple(submodules),
        clean=all(entry.startswith("# ") for entry in entries),
    )


def _mentions(status: _Status, subdirectory: str) -> bool:
    paths = (*status.changed, *status.untracked, *status.nested)
    return any(path == subdirectory or path.startswith(subdirectory + "/") for path in paths)


def _facts(git: Git, place: Path, commit: str | None, subdirectory: str) -> _Facts | None:
    """Tree and address of a commit: remembered, since the first never changes and the second has a stamp."""
    if commit is None:
        return None
    stamp = _stamp(git.directory / ".git/config")
    with contextlib.suppress(OSError, ValueError, TypeError):
        facts = _Facts(**json.loads((place / "facts.json").read_bytes()))
        if (facts.commit, facts.stamp) == (commit, stamp):
            return facts
    tree, committed = git.read("show", "-s", "--no-show-signature", "--format=%T %ct", commit).text.split()
    url = git.ask("config", "--get", "remote.origin.url").text
    inside = f"{commit}:{subdirectory}"
    facts = _Facts(
        commit=commit,
        tree=tree,
        committed=int(committed),
        url=without_credentials(url) or None,
        tracked=not subdirectory or git.ask("rev-parse", "--quiet", "--verify", inside).exit_code == 0,
        stamp=stamp,
    )
    if stamp:
        files.write_atomic(place / "facts.json", json.dumps(vars(facts)).encode())
    return facts


def _stamp(path: Path) -> list[int]:
    """Changes whenever the file does; empty where it is elsewhere (a linked working tree)."""
    try:
        status = os.stat(path)
    except OSError:
        return []
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _patch(git: Git) -> bytes:
    plain = replace(git, settings=(*git.settings, *_DIFF_SETTINGS))
    return plain.read(*_DIFF).stdout


def _all_files(git: Git, status: _Status) -> tuple[str, ...]:
    """Where there is no commit yet, what is staged is untracked too."""
    staged = git.read("ls-files", "-z").stdout.split(b"\0")
    names = {os.fsdecode(path) for path in staged if path} | set(status.untracked)
    return tuple(sorted(names - set(status.deleted)))


# --- hashing ------------------------------------------------------------------------------------------


def _hashed(git: Git, status: _Status, place: Path, *, keep: bool) -> tuple[str, list[str]]:
    """The tree of a working tree: its index, copied, brought up to date with what `status` found.

    Every changed or untracked file is hashed; only with `keep` is it copied too.
    """
    with scratch_index(place, Path(_git_path(git, "index"))) as index:
        ours = _with_our_index(git, index, place)
        present = (*status.changed, *status.untracked)
        unreadable = bring_up_to_date(ours, present, status.deleted, status.nested, keep=keep)
        return write_tree(ours, keep=keep), unreadable


def _with_our_index(git: Git, index: Path, place: Path) -> Git:
    """New objects go to the cache; the repository's own are read only."""
    objects = place / "objects"
    objects.mkdir(parents=True, exist_ok=True)
    more = {
        "GIT_INDEX_FILE": str(index),
        "GIT_OBJECT_DIRECTORY": str(objects),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": quoted_path(objects_of(git)),
    }
    return replace(git, variables={**git.variables, **more})


def objects_of(git: Git) -> Path:
    """Where a working tree's repository keeps its objects."""
    plain = git.directory / ".git/objects"
    return plain if plain.is_dir() else Path(_git_path(git, "objects"))


def _git_path(git: Git, name: str) -> str:
    plain = git.directory / ".git"
    if plain.is_dir():
        return str(plain / name)
    return os.path.join(git.directory, git.read("rev-parse", "--git-path", name).text)
