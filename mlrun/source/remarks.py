"""What is worth saying about a working tree: what a snapshot of it does not hold."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlrun.model import Finding

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.source.git import Git


def of_nested(paths: tuple[str, ...]) -> list[Finding]:
    """Repositories within, which git does not look into."""
    return [
        Finding(
            level="warning",
            code="nested-repository",
            message=f"`{path}` is a git repository of its own: the snapshot does not hold its files",
        )
        for path in paths
    ]


def of_unreadable(paths: list[str]) -> list[Finding]:
    """Files that the snapshot had to leave out."""
    return [
        Finding(
            level="warning",
            code="unreadable-file",
            message=f"`{path}` cannot be read, so the snapshot is without it",
        )
        for path in paths
    ]


def of_submodules(git: Git, dirty: tuple[str, ...]) -> list[Finding]:
    """Those that are not checked out, and those that hold changes of their own."""
    if not (git.directory / ".gitmodules").is_file():
        return []
    missing = [path for path, _ in gitlinks(git) if not (git.directory / path / ".git").exists()]
    return [
        *(
            Finding(
                level="warning",
                code="submodule-missing",
                message=f"the submodule `{path}` is not checked out",
                hint="run `git submodule update --init --recursive`",
            )
            for path in missing
        ),
        *(
            Finding(
                level="warning",
                code="submodule-dirty",
                message=f"the submodule `{path}` has changes that the snapshot does not hold",
                hint="commit them there",
            )
            for path in dirty
        ),
    ]


def gitlinks(git: Git) -> list[tuple[str, str]]:
    """The paths and commits of the submodules that the index names."""
    rows = git.read("ls-files", "-s", "-z").stdout.split(b"\0")
    links = [row.partition(b"\t") for row in rows if row.startswith(b"160000 ")]
    return [(os.fsdecode(path), facts.split()[1].decode()) for facts, _, path in links]


def of_lfs(git: Git) -> list[Finding]:
    """Say it where files of Git LFS are only pointers to what was not downloaded."""
    try:
        uses_lfs = b"filter=lfs" in (git.directory / ".gitattributes").read_bytes()
    except OSError:
        return []
    if not uses_lfs:
        return []
    paths = git.ask("ls-files", "-z", "--", ":(top,attr:filter=lfs)").stdout.split(b"\0")
    pointers = [
        os.fsdecode(path) for path in paths if path and _is_pointer(git.directory / os.fsdecode(path))
    ]
    if not pointers:
        return []
    more = f" and {len(pointers) - 1} more" if len(pointers) > 1 else ""
    return [
        Finding(
            level="warning",
            code="lfs-pointer",
            message=f"`{pointers[0]}`{more} is a Git LFS pointer, its content is not here",
            hint="install git-lfs and run `git lfs pull`",
        )
    ]


def _is_pointer(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.read(1025)
    except OSError:
        return False
    return len(head) <= 1024 and head.startswith(b"version https://git-lfs")
