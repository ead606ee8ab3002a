"""Blobs by digest: kept once, whole, and read-only.

An object's bytes are copied to a temporary name, hashed there (the source may change while it is copied),
synced, made read-only and renamed; so what stands under a digest has been checked. A directory is kept as
its manifest (`mlrun/manifest/v1`, see `data.py`). A manifest may come from anywhere: nothing that it says is
written outside the folder that it is unpacked into.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from typing import TYPE_CHECKING

from mlrun import digest as digests
from mlrun.errors import StoreError
from mlrun.files import copy_file
from mlrun.model import Digest
from mlrun.pattern import pattern
from mlrun.store.trouble import told
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from mlrun.files import Home

_MANIFEST = "mlrun/manifest/v1"
_HEXADECIMAL = pattern(r"[0-9a-f]{64}")


class Objects:
    """The object store of one home. Everything that touches the disk raises StoreError."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def put_bytes(self, data: bytes) -> Digest:
        """Keep some bytes."""
        its_digest = digests.of_bytes(data)
        self._put(its_digest, lambda scratch: _write(scratch, data))
        return its_digest

    def put_file(self, path: Path, its_digest: Digest) -> bool:
        """Keep a file's content under the digest that it has; False where it was there already.

        Raises StoreError `changed-file` where the content is not (any longer) what the digest says.
        """

        def copy(scratch: Path) -> None:
            try:
                copy_file(path, scratch)
            except FileNotFoundError:
                raise _changed(path, "vanished") from None
            if digests.of_file(scratch) != its_digest:
                raise _changed(path, "changed")

        return self._put(its_digest, copy)

    def has(self, its_digest: Digest) -> bool:
        """Whether the bytes are kept."""
        hexadecimal = _hexadecimal_of(its_digest)  # asked often: no Path is made of it
        return os.path.isfile(f"{self._home.root}/objects/{hexadecimal[:2]}/{hexadecimal[2:]}")

    def has_files_of(self, manifest: Digest) -> bool:
        """Whether all files of a directory are kept; of what only went into a run, the list alone is.

        Raises StoreError: `no-such-object`, `bad-manifest`.
        """
        return all(entry.digest is None or self.has(entry.digest) for entry in self.entries(manifest))

    def open(self, its_digest: Digest) -> BinaryIO:
        """The bytes, for reading.

        Raises StoreError `no-such-object`.
        """
        with self._found(its_digest):
            return open(self._path(its_digest), "rb")

    def read_bytes(self, its_digest: Digest) -> bytes:
        """All the bytes at once, checked. Raises StoreError: `no-such-object`, `damaged-object`."""
        with self.open(its_digest) as file:
            data = file.read()
        if digests.of_bytes(data) != its_digest:
            raise _damaged(its_digest)
        return data

    def verify(self, its_digest: Digest) -> bool:
        """Whether the kept bytes are still those that the digest says; see `open`."""
        with self._found(its_digest):
            return digests.of_file(self._path(its_digest)) == its_digest

    def fetch(self, its_digest: Digest, destination: Path, *, force: bool = False) -> None:
        """Copy an object out, checked and writable.

        Raises StoreError: `exists` where something is there and not `force`, `damaged-object`.
        """
        self._fetch(its_digest, destination, executable=False, force=force)

    def fetch_tree(self, manifest: Digest, destination: Path, *, force: bool = False) -> None:
        """Copy a directory out. With `force`, files that are there are replaced, others left alone.

        Raises StoreError: `exists`, `damaged-object`, `bad-manifest`.
        """
        entries = _entries(self.read_bytes(manifest), manifest)
        if not force and os.path.lexists(destination) and not _is_empty_folder(destination):
            raise _exists(destination)
        with told(f"write to {destination}"):
            destination.mkdir(parents=True, exist_ok=True)
        # Links come last: no file can then be written through one of them.
        for entry in sorted(entries, key=lambda entry: entry.target is not None):
            path = _safe_path(destination, entry.path)
            if entry.digest is not None:
                self._fetch(entry.digest, path, executable=entry.executable, force=force)
            elif entry.target:
                _link(entry.target, path, force=force)
            elif entry.target is None:
                with told(f"write to {destination}"):
                    path.mkdir(exist_ok=True)

    def entries(self, manifest: Digest) -> tuple[Entry, ...]:
        """What a directory's manifest lists. Raises StoreError: `no-such-object`, `bad-manifest`."""
        return tuple(_entries(self.read_bytes(manifest), manifest))

    # --- one object ---------------------------------------------------------------------------------

    def _path(self, its_digest: Digest) -> Path:
        return self._home.object(_hexadecimal_of(its_digest))

    def _put(self, its_digest: Digest, fill: Callable[[Path], None]) -> bool:
        final = self._path(its_digest)
        if _renewed(final):
            return False
        scratch = self._home.temporary / f"object.{os.getpid()}.{time.monotonic_ns()}"
        try:
            with told(f"store {its_digest}"):
                fill(scratch)
                _seal(scratch)
                final.parent.mkdir(exist_ok=True)
                # No sync of the folder: the record's own, later, carries this rename with it where the
                # file system keeps its journal in order, and elsewhere `verify` finds what is missing.
                os.rename(scratch, final)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(scratch)
        return True

    def _fetch(self, its_digest: Digest, destination: Path, *, executable: bool, force: bool) -> None:
        if os.path.lexists(destination) and not force:
            raise _exists(destination)
        scratch = destination.with_name(f".mlrun.{os.getpid()}.{time.monotonic_ns()}")
        try:
            with self._found(its_digest), told(f"write {destination}"):
                copy_file(self._path(its_digest), scratch)
                if digests.of_file(scratch) != its_digest:
                    raise _damaged(its_digest)
                scratch.chmod((0o777 if executable else 0o666) & ~_umask())
                os.replace(scratch, destination)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(scratch)

    @contextlib.contextmanager
    def _found(self, its_digest: Digest) -> Iterator[None]:
        path = self._path(its_digest)
        if not path.is_file():
            raise StoreError(
                f"the store has no object {its_digest}",
                hint="it was never stored, or has been removed from outside",
                code="no-such-object",
            )
        with told(f"read {path}"):
            yield


def _hexadecimal_of(its_digest: Digest) -> str:
    try:
        hexadecimal = digests.hex_of(its_digest)
    except ValueError as error:
        raise StoreError(str(error), code="no-such-object") from None
    if _HEXADECIMAL.fullmatch(hexadecimal) is None:
        raise StoreError(f"not a digest: {its_digest}", code="no-such-object")
    return hexadecimal


def _write(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)


def _seal(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o444)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _renewed(path: Path) -> bool:
    """Whether the object is there; if so it is made young, so that no garbage collection takes it now."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
    return True


def _changed(path: Path, how: str) -> StoreError:
    return StoreError(
        f"{path} {how} while it was being stored",
        hint="run again once nothing writes to it",
        code="changed-file",
    )


def _damaged(its_digest: Digest) -> StoreError:
    return StoreError(
        f"object {its_digest} is damaged", hint="restore it from a backup", code="damaged-object"
    )


def _umask() -> int:
    """The process's mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _exists(path: Path) -> StoreError:
    return StoreError(f"{path} is there already", hint="`--force` overwrites it", code="exists")


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


# --- manifests ----------------------------------------------------------------------------------------


@positional_value
class Entry:
    """One line of a manifest: a file (`digest`), a link (`target`), or else an empty folder.

    The target is empty where the link could not be read; there is then nothing to make.
    """

    path: str
    digest: Digest | None
    target: str | None
    executable: bool


def _entries(data: bytes, manifest: Digest) -> list[Entry]:
    """The entries of a manifest, each checked before anything is written."""
    try:
        value = json.loads(data)
        if value["format"] != _MANIFEST:
            raise ValueError(f"its format is `{value['format']}`, not `{_MANIFEST}`")
        return [_entry(item) for item in value["entries"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StoreError(
            f"object {manifest} is no manifest of a directory: {error}", code="bad-manifest"
        ) from error


def _entry(item: dict[str, object]) -> Entry:
    path, digest, target = item["path"], item.get("digest"), item.get("target")
    if not isinstance(path, str) or not _is_inside(path):
        raise ValueError(f"`{path}` leads out of the folder")
    if not isinstance(digest, str | None) or not isinstance(target, str | None):
        raise TypeError(f"`{path}` has a digest or target that is no text")
    if target is not None and "\0" in target:
        raise ValueError(f"`{path}` links to what is no path")
    executable = str(item.get("mode", "")).endswith("755")
    return Entry(path, None if digest is None else Digest(digest), target, executable)


def _is_inside(path: str) -> bool:
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def _safe_path(destination: Path, relative: str) -> Path:
    """Where an entry goes, its folders made; none of them may be a link, which could lead anywhere."""
    *folders, name = relative.split("/")
    place = destination
    with told(f"write to {destination}"):
        for folder in folders:
            place /= folder
            with contextlib.suppress(FileExistsError):
                place.mkdir()
            if not stat.S_ISDIR(place.lstat().st_mode):
                raise StoreError(f"{place} is not a folder", hint="remove it, and try again", code="exists")
    return place / name


def _link(target: str, path: Path, *, force: bool) -> None:
    with told(f"write {path}"):
        if os.path.lexists(path):
            if not force:
                raise _exists(path)
            os.unlink(path)
        os.symlink(target, path)
