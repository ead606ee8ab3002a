"""The content of a directory that is no repository, by a private repository beside it.

Its index stays, so that a second look costs stats only. `.gitignore` files in the directory count;
environments and caches of tools are left out besides.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from mlrun import files
from mlrun.source import remarks
from mlrun.source.git import Git, local_git
from mlrun.source.index import bring_up_to_date, scratch_index, write_tree
from mlrun.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlrun.model import Finding

_LEFT_OUT = ("__pycache__", ".mypy_cache", ".pytest_cache", ".ipynb_checkpoints", "node_modules")
_ENVIRONMENT_MARK = "pyvenv.cfg"


@value
class Contents:
    """What a plain directory holds."""

    tree: str
    files: tuple[str, ...]
    findings: tuple[Finding, ...]


def contents(place: Path, directory: Path, *, variables: Mapping[str, str], keep: bool) -> Contents:
    """The contents of a plain directory, by a private repository at `place`.

    Its index is updated in a copy and renamed back, so that two at once do not meet.
    """
    kept = place / ("index" if keep else "index-hashed")
    git = _private_git(place, directory, variables)
    with scratch_index(place, kept) as index:
        ours = replace(git, variables={**git.variables, "GIT_INDEX_FILE": str(index)})
        listed = _listed(ours)
        present, gone = _differences(ours, listed)
        nested = tuple(sorted(listed.nested))
        unreadable = bring_up_to_date(ours, present, gone, nested, keep=keep)
        tree = write_tree(ours, keep=keep)
        with contextlib.suppress(FileNotFoundError):  # an empty directory has no index
            os.replace(index, kept)
    return Contents(
        tree=tree,
        files=tuple(sorted((listed.known | set(present)) - set(gone) - set(unreadable))),
        findings=(*remarks.of_nested(nested), *remarks.of_unreadable(unreadable)),
    )


@value
class _Listed:
    """What the index knows, what changed or is new, and nested repositories."""

    known: frozenset[str]
    changed: frozenset[str]
    nested: frozenset[str]


def _differences(git: Git, listed: _Listed) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What has to be hashed, and what must leave the index: gone, ignored by now, or an environment's."""
    environments = tuple(
        path.removesuffix(_ENVIRONMENT_MARK)
        for path in listed.known | listed.changed
        if path.endswith(f"/{_ENVIRONMENT_MARK}")
    )
    ignored = _paths(git.read("ls-files", "-z", "-c", "-i", "--exclude-standard", *_excludes()).stdout)
    gone = {path for path in listed.known if path in ignored or path.startswith(environments)}
    gone |= {path for path in listed.changed & listed.known if not _holds_content(git.directory / path)}
    present = {path for path in listed.changed - gone if not path.startswith(environments)}
    return tuple(sorted(present)), tuple(sorted(gone))


def _holds_content(path: Path) -> bool:
    """Not so what is gone, and a pipe or a socket, of which git knows nothing."""
    return os.path.islink(path) or os.path.isfile(path) or os.path.isdir(path)


def _listed(git: Git) -> _Listed:
    git.ask("update-index", "-q", "--refresh")
    said = git.read("ls-files", "-z", "-t", "-c", "-m", "-d", "-o", "--exclude-standard", *_excludes())
    known: set[str] = set()
    changed: set[str] = set()
    nested: set[str] = set()
    for entry in os.fsdecode(said.stdout).split("\0")[:-1]:
        tag, path = entry[0], entry[2:]
        if path.endswith("/"):
            nested.add(path.rstrip("/"))
        elif tag == "H":
            known.add(path)
        else:
            changed.add(path)
    return _Listed(known=frozenset(known), changed=frozenset(changed), nested=frozenset(nested))


def _excludes() -> list[str]:
    return [f"--exclude={name}/" for name in _LEFT_OUT]


def _paths(data: bytes) -> set[str]:
    return {os.fsdecode(path) for path in data.split(b"\0") if path}


def _private_git(place: Path, directory: Path, variables: Mapping[str, str]) -> Git:
    """git with a repository of ours beside the directory; only the directory's own ignore files count."""
    for part in ("objects", "refs"):
        (place / part).mkdir(parents=True, exist_ok=True)
    if not (place / "HEAD").exists():
        files.write_atomic(place / "HEAD", b"ref: refs/heads/main\n")
    git = local_git(directory, variables, GIT_DIR=str(place), GIT_WORK_TREE=str(directory))
    return replace(git, settings=("core.excludesFile=/dev/null", "core.bare=false"))
