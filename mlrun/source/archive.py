"""Zip archives: fetched within a limit, and unpacked so that nothing lands outside the folder.

The format's own list of members is what is checked, before anything is written; sizes are checked again while
unpacking, since the list may lie.
"""

from __future__ import annotations

import stat
import zlib
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile

from mlrun.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO
    from urllib.request import Request
    from zipfile import ZipInfo

    from mlrun.model import Narrator
    from mlrun.source.target import Target

_MOST_MEMBERS = 100_000
_MOST_BYTES = 8 << 30
_CHUNK = 1 << 20
_TIMEOUT = 60.0  # seconds without a byte


def fetch(target: Target, destination: Path, *, narrator: Narrator) -> None:
    """Download an archive.

    Raises SourceError.
    """
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    url = target.location
    narrator.say(f"downloading {url}")
    try:
        with urlopen(_request(target), timeout=_TIMEOUT) as answer, open(destination, "xb") as file:  # noqa: S310 - http(s) only, by the target's grammar
            total = int(answer.headers.get("Content-Length") or 0)
            done = 0
            for count in _copied(answer, file, _MOST_BYTES):
                done += count
                narrator.progress(f"downloading {url}", min(done / total, 1.0) if total else None)
    except HTTPError as error:
        error.close()
        code = "source-access-refused" if error.code in (401, 403) else "source-not-found"
        raise SourceError(f"`{url}` answers {error.code} {error.reason}", code=code) from error
    except URLError as error:
        raise SourceError(
            f"cannot reach `{url}`: {error.reason}",
            hint="check the address and the network",
            code="source-unreachable",
        ) from error
    except (OSError, HTTPException, ValueError) as error:
        raise SourceError(f"the download of `{url}` broke off: {error}", code="source-broken-off") from error


def _request(target: Target) -> Request:
    from base64 import b64encode
    from urllib.request import Request

    request = Request(target.location)  # noqa: S310 - http(s) only, by the target's grammar
    if target.credentials is not None:
        pair = f"{target.credentials.username}:{target.credentials.password or ''}"
        # Unredirected: another host must not be sent what was meant for this one.
        request.add_unredirected_header("Authorization", f"Basic {b64encode(pair.encode()).decode()}")
    return request


def unpack(archive: Path, destination: Path) -> None:
    """Unpack into an existing folder.

    Raises SourceError for what is no zip archive, and for one that would write outside the folder, through
    links, without end, or a repository's configuration.
    """
    try:
        with ZipFile(archive) as opened:
            members = opened.infolist()
            _check(members)
            left = _MOST_BYTES
            for member in members:
                left -= _unpack_member(opened, member, destination, left)
    except (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise SourceError(f"cannot unpack {archive}: {error}", code="bad-archive") from error


def _check(members: list[ZipInfo]) -> None:
    if len(members) > _MOST_MEMBERS:
        raise SourceError(
            f"the archive has {len(members)} members, more than {_MOST_MEMBERS}", code="archive-too-large"
        )
    if sum(member.file_size for member in members) > _MOST_BYTES:
        raise SourceError(
            f"the archive unpacks to more than {_MOST_BYTES >> 30} GiB", code="archive-too-large"
        )
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if parts[0] == "" or ":" in parts[0] or ".." in parts or ".git" in map(str.lower, parts):
            raise _unsafe(member, "a path that leads elsewhere")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _unsafe(member, "neither a file nor a folder")


def _unsafe(member: ZipInfo, why: str) -> SourceError:
    return SourceError(
        f"the archive is not safe to unpack: `{member.filename[:200]!r}` is {why}", code="unsafe-archive"
    )


def _unpack_member(archive: ZipFile, member: ZipInfo, destination: Path, left: int) -> int:
    path = destination / member.filename
    if member.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with archive.open(member) as reader, open(path, "xb") as writer:
        size = sum(_copied(reader, writer, left))
    if member.external_attr >> 16 & stat.S_IXUSR:
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return size


def _copied(reader: IO[bytes], writer: IO[bytes], limit: int) -> Iterator[int]:
    """Copy, telling of every piece how long it was."""
    total = 0
    while chunk := reader.read(_CHUNK):
        total += len(chunk)
        if total > limit:
            raise SourceError(f"the archive is larger than {_MOST_BYTES >> 30} GiB", code="archive-too-large")
        writer.write(chunk)
        yield len(chunk)
