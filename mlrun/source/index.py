"""Trees from indexes of our own: the user's index is copied, never written."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mlrun.source.git import Git


@contextlib.contextmanager
def scratch_index(place: Path, source: Path) -> Iterator[Path]:
    """A private copy of an index, with its stat data; `git` may lock and replace it as it likes.

    It keeps the index's own time: by it git knows which entries are too young for their stat data to be
    trusted (Documentation/technical/racy-git.txt), and reads those again.
    """
    place.mkdir(parents=True, exist_ok=True)
    index = place / f"index.{os.getpid()}.{time.monotonic_ns()}"
    try:
        with contextlib.suppress(FileNotFoundError), open(source, "rb") as original:
            with open(index, "wb") as copy:
                while block := original.read(1 << 20):
                    copy.write(block)
            status = os.fstat(original.fileno())
            os.utime(index, ns=(status.st_atime_ns, status.st_mtime_ns))
        yield index
    finally:
        index.unlink(missing_ok=True)


def bring_up_to_date(
    git: Git, present: tuple[str, ...], gone: tuple[str, ...], nested: tuple[str, ...], *, keep: bool
) -> list[str]:
    """Take paths out of the index and hash others into it; what cannot be read stays out and is returned.

    Only with `keep` is what is hashed also copied into git's objects.
    """
    unreadable = [path for path in present if not _is_readable(git.directory / path)]
    added = sorted({*present, *(path for path in nested if _has_commit(git, path))} - set(unreadable))
    if gone:
        git.read("update-index", "--force-remove", "-z", "--stdin", stdin=_terminated(gone))
    if added:
        how = () if keep else ("--info-only",)
        options = ("--add", "--remove", "--replace", *how)
        git.read("update-index", *options, "-z", "--stdin", stdin=_terminated(added))
    return unreadable


def write_tree(git: Git, *, keep: bool) -> str:
    """The tree that the index describes."""
    return git.read("write-tree", *(() if keep else ("--missing-ok",))).text


def _terminated(paths: Iterable[str]) -> bytes:
    return os.fsencode("".join(f"{path}\0" for path in paths))


def _is_readable(path: Path) -> bool:
    return os.path.islink(path) or not os.path.exists(path) or os.access(path, os.R_OK)


def _has_commit(git: Git, path: str) -> bool:
    return git.ask("-C", path, "rev-parse", "--quiet", "--verify", "HEAD").exit_code == 0
