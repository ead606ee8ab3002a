"""What no record refers to any more.

Marking reads every record and every manifest as bytes and keeps whatever digest stands anywhere in them:
so nothing is lost through a record that is damaged or newer than this mlrun. What is younger than an hour
stays: a run that goes on may have stored it and not yet written its record.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun.files import empty_trash, is_locked, locked, remove_tree
from mlrun.store.index import run_ids
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlrun.files import Home

GRACE_SECONDS = 3600.0

_DIGEST = re.compile(rb"blake3:([0-9a-f]{64})")
_PIECE = 1 << 20
_OVERLAP = 71  # one byte less than a digest: what may stand across two pieces


def collect(home: Home, *, grace: float = GRACE_SECONDS) -> tuple[int, int]:
    """Remove what nothing refers to; the number of objects removed, and their bytes.

    Raises OSError.
    """
    with locked(home.garbage_lock):
        young = time.time() - grace
        needed = _needed(home)
        count = size = 0
        for hexadecimal, path in _objects(home):
            if hexadecimal not in needed:
                freed = _remove_object(path, home, young)
                if freed is not None:
                    count, size = count + 1, size + freed
        _remove_leftovers(home, young)
        empty_trash(home.trash)
    return count, size


def _needed(home: Home) -> set[str]:
    """Every digest in a record, and in the manifests that records name."""
    needed: set[str] = set()
    waiting = {found for path in _bundles(home) for found in _digests_in(path)}  # before they are laid out
    waiting |= {found for run_id in run_ids(home) for found in _digests_in(home.run(run_id).record)}
    while waiting:
        hexadecimal = waiting.pop()
        needed.add(hexadecimal)
        path = home.object(hexadecimal)
        if _may_be_manifest(path):
            waiting |= set(_digests_in(path)) - needed
    return needed


def _bundles(home: Home) -> list[Path]:
    """Damaged ones, too. Raises OSError where they cannot be listed."""
    return list(home.bundles.iterdir()) if home.bundles.is_dir() else []


def _may_be_manifest(path: Path) -> bool:
    """Manifests are JSON objects; a model of gigabytes is not searched for digests."""
    try:
        with open(path, "rb") as file:
            return file.read(1) == b"{"
    except OSError:
        return False


def _digests_in(path: Path) -> Iterator[str]:
    kept = b""
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        while piece := file.read(_PIECE):
            for match in _DIGEST.finditer(kept + piece):
                yield match[1].decode()
            kept = (kept + piece)[-_OVERLAP:]


def _objects(home: Home) -> Iterator[tuple[str, Path]]:
    with contextlib.suppress(FileNotFoundError):
        for shard in os.listdir(home.objects):
            with contextlib.suppress(NotADirectoryError):
                for rest in os.listdir(home.objects / shard):
                    yield shard + rest, home.objects / shard / rest


def _remove_object(path: Path, home: Home, young: float) -> int | None:
    """The bytes freed, or None where the object is, or has just become, young.

    A run that needs an object it finds here makes it young first (`Objects`): so the age is looked at
    again once the object is out of sight, and it is put back if that has happened meanwhile.
    """
    hidden = home.temporary / f"unneeded.{os.getpid()}.{time.monotonic_ns()}"
    try:
        if path.stat().st_mtime > young:
            return None
        os.rename(path, hidden)
    except FileNotFoundError:
        return None
    status = hidden.stat()
    if status.st_mtime > young:
        os.rename(hidden, path)
        return None
    os.unlink(hidden)
    return status.st_size


def _remove_leftovers(home: Home, young: float) -> None:
    """What processes left behind that were killed: half-written files, runs that never got a record."""
    half_written = (path for path in _bundles(home) if path.name.startswith("."))
    for path in (*(home.temporary / name for name in os.listdir(home.temporary)), *half_written):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime <= young:
                remove_tree(path, trash=home.trash)
    for run_id in run_ids(home):
        paths = home.run(run_id)
        with contextlib.suppress(FileNotFoundError):
            if (
                not paths.record.exists()
                and paths.root.stat().st_mtime <= young
                and not is_locked(paths.alive)
            ):
                remove_tree(paths.root, trash=home.trash)
                continue
            for path in paths.root.glob(".*.json.*"):  # `write_atomic` had not come to rename it
                if path.stat().st_mtime <= young:
                    path.unlink()


@value
class Sizes:
    """How much there is; sizes in bytes."""

    runs: int
    run_bytes: int
    objects: int
    object_bytes: int
    index_bytes: int


def sizes(home: Home) -> Sizes:
    """What a store takes on disk."""
    ids = list(run_ids(home))
    objects = [_size(path) for _, path in _objects(home)]
    index = (home.index.with_name(home.index.name + suffix) for suffix in ("", "-wal", "-shm"))
    return Sizes(
        runs=len(ids),
        run_bytes=sum(_folder_size(home.run(run_id).root) for run_id in ids),
        objects=len(objects),
        object_bytes=sum(objects),
        index_bytes=sum(map(_size, index)),
    )


def _folder_size(folder: Path) -> int:
    return sum(_size(Path(path, name)) for path, _, names in os.walk(folder) for name in names)


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.lstat().st_size
    return 0
