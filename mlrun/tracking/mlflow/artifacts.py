"""Files through the endpoint, for clients that cannot reach our folder: listing, up- and download, removal.

A path is walked part by part without following symbolic links, since a program in a container may have
made one there that leads out of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from mlrun.tracking.mlflow.calls import invalid, missing, new_id
from mlrun.tracking.mlflow.http import Body, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlrun.tracking.mlflow.ledger import Row

_PIECE = 1 << 20  # bytes
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OURS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EACCES,
}  # fmt: skip
"""What is wrong with our disk, not with a path."""
_PARTIAL = ".mlrun-upload-"


def parts(path: str) -> tuple[str, ...]:
    """The names in a path below our folder. Raises Refused for one that leads out of it."""
    names = path.strip("/").split("/") if path.strip("/") else []
    if path.startswith("//") or any(name in {"", ".", ".."} or "\0" in name for name in names):
        raise invalid(f"Invalid path: {path[:200]!r}")
    return tuple(names)


def upload(root: Path, path: tuple[str, ...], body: Body) -> None:
    """Write a body to a file, which appears when it is whole. Raises Refused, Malformed, OSError."""
    if not path:
        raise invalid("Invalid path: it names no file")
    with _told(path), _folder(root, path[:-1], make=True) as folder:
        temporary = f"{_PARTIAL}{new_id()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o644, dir_fd=folder)
        try:
            try:
                while piece := body.read(_PIECE):
                    view = memoryview(piece)
                    while view:
                        view = view[os.write(descriptor, view) :]
            finally:
                os.close(descriptor)
            os.rename(temporary, path[-1], src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise


def download(root: Path, path: tuple[str, ...]) -> Reply:
    """A file. Raises Refused, OSError."""
    if not path:
        raise missing("No such artifact: ''")
    with _told(path), _folder(root, path[:-1]) as folder:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path[-1], flags, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise missing(f"No such artifact: '{'/'.join(path)}'")
    return Reply(kind="application/octet-stream", file=os.fdopen(descriptor, "rb"))


def listing(root: Path, path: tuple[str, ...]) -> list[Row]:
    """What lies in a folder, sorted by name; nothing where there is none. Raises Refused, OSError."""
    rows: list[Row] = []
    try:
        with _folder(root, path) as folder:
            for name in sorted(os.listdir(folder)):
                if name.startswith(_PARTIAL):
                    continue
                facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    rows.append({"path": name, "is_dir": True})
                else:
                    rows.append({"path": name, "is_dir": False, "file_size": facts.st_size})
    except (FileNotFoundError, NotADirectoryError):
        return []
    return rows


def remove(root: Path, path: tuple[str, ...]) -> None:
    """Remove a file, or a folder with all in it. Raises Refused, OSError."""
    if not path:
        raise invalid("Invalid path: it names everything")
    with _told(path), _folder(root, path[:-1]) as folder:
        _remove(folder, path[-1])


def _remove(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in {errno.EISDIR, errno.EPERM}:
            raise
        below = os.open(name, _FOLDER, dir_fd=folder)
        try:
            for entry in os.listdir(below):
                _remove(below, entry)
        finally:
            os.close(below)
        os.rmdir(name, dir_fd=folder)


@contextlib.contextmanager
def _folder(root: Path, path: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
    descriptor = os.open(root, _FOLDER)
    try:
        for name in path:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=descriptor)
            below = os.open(name, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _told(path: tuple[str, ...]) -> Iterator[None]:
    """What the file system will not have, said as the protocol does; a full disk is another matter."""
    try:
        yield
    except FileNotFoundError:
        raise missing(f"No such artifact: '{'/'.join(path)}'") from None
    except OSError as error:
        if error.errno in _OURS:
            raise
        raise invalid(f"Invalid path: {'/'.join(path)[:200]!r}: {error.strerror}") from None
