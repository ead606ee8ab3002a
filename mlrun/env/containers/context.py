"""A folder on its way into an image: which files go, their digest, and the archive of them."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
import tempfile
from typing import TYPE_CHECKING, BinaryIO

from mlrun import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

IGNORE = ".dockerignore"

_NEVER = (".git", "**/.git")
"""No part of what a project is; it changes with every `git status`."""


def files(folder: Path, *, ignore: str = IGNORE, keep: Sequence[str] = ()) -> list[str]:
    """The paths below a folder that its `.dockerignore` lets pass, folders among them, in a fixed order.

    `ignore` names the file of patterns; what is in `keep` goes whatever it says.
    """
    from docker.utils.build import exclude_paths

    patterns = [*_NEVER, *_patterns(folder / ignore), *(f"!{path}" for path in keep)]
    return sorted(exclude_paths(str(folder), patterns, dockerfile=keep[0] if keep else IGNORE))


def _patterns(path: Path) -> Iterator[str]:
    try:
        text = path.read_text("utf-8-sig", "replace")
    except OSError:
        return
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip()


def digest_of(folder: Path, paths: Sequence[str]) -> str:
    """The digest of files by path, kind, permission and content; not by time or owner."""
    return digest.of_value([(path, *_state(folder / path)) for path in paths])


def _state(path: Path) -> tuple[str, ...]:
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return "link", os.readlink(path)
        if stat.S_ISREG(status.st_mode):
            return "program" if status.st_mode & 0o111 else "file", digest.of_file(path)
    except OSError:
        return ("gone",)
    return ("folder",)


@contextlib.contextmanager
def archive(
    folder: Path,
    paths: Sequence[str],
    *,
    scratch: Path,
    under: str = "",
    own: Callable[[tarfile.TarInfo], tarfile.TarInfo] | None = None,
    more: dict[str, bytes] | None = None,
    links: dict[str, str] | None = None,
    folders: Sequence[str] = (),
) -> Iterator[BinaryIO]:
    """A tar archive in a nameless file of `scratch`, read from its start.

    The paths stand below `under`; `own` may change each member; `more` are further files with their
    content, `links` symbolic links with their targets, `folders` further folders.
    """
    with tempfile.TemporaryFile(dir=scratch) as buffer:
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name in folders:
                member = tarfile.TarInfo(name)
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile((own or _of_root)(member))
            for path in paths:
                _add(tar, folder / path, os.path.join(under, path), own or _of_root)
            for name, content in (more or {}).items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o644
                tar.addfile((own or _of_root)(member), io.BytesIO(content))
            for name, target in (links or {}).items():
                member = tarfile.TarInfo(name)
                member.type, member.linkname = tarfile.SYMTYPE, target
                tar.addfile((own or _of_root)(member))
        buffer.seek(0)
        yield buffer


def _add(
    tar: tarfile.TarFile, path: Path, name: str, own: Callable[[tarfile.TarInfo], tarfile.TarInfo]
) -> None:
    try:
        member = tar.gettarinfo(str(path), arcname=name)
        if member is None or not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
            return  # a socket, a pipe
        if member.islnk():  # a second name of a file; whether the first goes too does not matter
            member.type, member.size = tarfile.REGTYPE, path.stat().st_size
        if member.isfile():
            with path.open("rb") as content:
                tar.addfile(own(member), content)
        else:
            tar.addfile(own(member))
    except FileNotFoundError:  # gone meanwhile
        return


def owned_by(uid: int, gid: int) -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
    """What makes every member of an archive somebody's."""

    def own(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid, member.gid, member.uname, member.gname = uid, gid, "", ""
        return member

    return own


_of_root = owned_by(0, 0)
