"""What went into a run and what came out of it: files and folders, found by name and told by content.

A file is its digest. A folder is the digest of its manifest, a list of all that lies in it. Nothing that
changes or vanishes while we look makes us fail: it is told as a finding.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlrun import digest
from mlrun.errors import ParameterError
from mlrun.model import Artifact, Digest, Finding
from mlrun.value import positional_value, replace, value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPMessage, HTTPResponse
    from typing import IO
    from urllib.request import OpenerDirector, Request

    from mlrun.model import DataSpec

MANIFEST = "mlrun/manifest/v1"
"""The format of a folder's manifest.

Canonical JSON: `{"entries": […], "format": "mlrun/manifest/v1"}`, entries sorted by `path` (relative, `/`
between parts; bytes that are no UTF-8 as surrogates). A file has `mode` (`100644`, `100755`), `size` and
`digest`; a link `mode` `120000` and `target`; a folder in which nothing lies `mode` `040000`.
"""

MAX_DOWNLOAD = 100 << 30
"""Bytes that a `path` parameter's URL may answer with."""


@value
class Found:
    """One input or output: `contents` are the files to keep, `manifest` what a folder's digest is of."""

    artifact: Artifact
    contents: tuple[tuple[Digest, Path], ...] = ()
    manifest: bytes | None = None
    findings: tuple[Finding, ...] = ()


@value
class Collected:
    """All that a set of declarations names. The findings include those of what was found."""

    found: tuple[Found, ...] = ()
    findings: tuple[Finding, ...] = ()


def describe(path: Path, *, shown: str, kind: str, declared: bool, parameter: str | None = None) -> Found:
    """A file or folder by its content; `shown` is the path that the record tells.

    What cannot be read has no digest, and a finding says why.
    """
    artifact = Artifact(
        path=shown, kind=kind, digest=None, size=0, files=0, declared=declared, parameter=parameter
    )
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        return Found(artifact=artifact, findings=(_unread(shown, problem),))
    if stat.S_ISDIR(mode):
        return _describe_folder(path, artifact)
    entry = _describe_file(os.fspath(path))
    if entry.problem is not None:
        return Found(artifact=artifact, findings=(_unread(shown, entry.problem),))
    artifact = replace(artifact, digest=entry.digest, size=entry.size, files=1)
    return Found(artifact=artifact, contents=((entry.digest, path),))


def collect(
    specs: tuple[DataSpec, ...],
    directory: Path,
    *,
    required: bool,
    role: Literal["input", "output"] = "output",
) -> Collected:
    """Find and describe what is declared: files, folders, and patterns with `*`, `?`, `[…]` and `**`.

    A path that exists is taken by its word, whatever letters it has. What is missing is an error among
    the findings where it is `required` (`missing-input`, `missing-output`), and else nothing.
    """
    found: dict[str, Found] = {}
    findings: list[Finding] = []
    for spec, path in _by_word_first(specs, directory):
        if path is None:
            findings += [_missing(spec, role)] if required else []
            continue
        shown = _shown(path, directory)
        if shown not in found:
            found[shown] = describe(path, shown=shown, kind=spec.kind, declared=True)
            findings += [replace(finding, place=spec.place) for finding in found[shown].findings]
    return Collected(found=tuple(found.values()), findings=tuple(findings))


# --- finding by name ----------------------------------------------------------------------------------


def _by_word_first(specs: tuple[DataSpec, ...], directory: Path) -> Iterator[tuple[DataSpec, Path | None]]:
    """Specs with each path that they name, or None; patterns last, so that they get only the rest."""
    patterns = []
    for spec in specs:
        path = Path(os.path.normpath(directory / spec.path.replace("\0", "")))
        if os.path.exists(path):
            yield spec, path
        elif re.search(_MAGIC, spec.path):
            patterns.append(spec)
        else:
            yield spec, None
    for spec in patterns:
        matches = sorted(_matches(spec.path, directory))
        for match in matches:
            yield spec, Path(match)
        if not matches:
            yield spec, None


_MAGIC = r"[*?[]"


def _matches(pattern: str, directory: Path) -> Iterator[str]:
    """What a pattern names. As in a shell `*` passes over hidden names; `**` names files only."""
    parts = os.path.normpath(directory / pattern).split(os.sep)
    fixed = next(at for at, part in enumerate(parts) if re.search(_MAGIC, part))
    root, magic = os.sep.join(parts[:fixed]) or os.sep, parts[fixed:]
    deep = "**" in magic
    wanted = re.compile(_expression(magic), re.DOTALL)
    for name, kind in _walk(root, depth=None if deep else len(magic)):
        if not (deep and kind == "folder") and wanted.fullmatch(name):
            yield os.path.join(root, name)


def _expression(parts: list[str]) -> str:
    """The regular expression of a pattern's parts."""
    texts = []
    for part in parts:
        if part == "**":
            texts.append(r"(?:(?!\.)[^/]+/)*" if part is not parts[-1] else r"(?:(?!\.)[^/]+/)*(?!\.)[^/]+")
        else:
            hidden = "" if part.startswith(".") else r"(?!\.)"
            texts.append(hidden + re.sub(_PIECES, _piece, part) + "/")
    return "".join(texts).removesuffix("/")


_PIECES = r"(?s:\*+|\?|\[(!?)(\]?[^\]]*)\]|.)"


def _piece(match: re.Match[str]) -> str:
    if match[0][0] == "*":
        return "[^/]*"
    if match[0] == "?":
        return "[^/]"
    if match[2] is None:
        return re.escape(match[0])
    inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", match[2])
    return f"(?!/)[{'^' if match[1] else ''}{inside}]"


def _walk(
    root: str, *, depth: int | None = None, troubles: list[str] | None = None
) -> Iterator[tuple[str, Literal["file", "folder", "link"]]]:
    """Everything below a folder by its relative path. Links are told and not followed.

    Folders that cannot be listed are added to `troubles`, with the reason.
    """
    folders = [("", 1)]
    while folders:
        folder, level = folders.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as listing:
                entries = [(folder + entry.name, _kind(entry)) for entry in listing]
        except OSError as error:
            if troubles is not None:
                troubles.append(f"`{folder or root}`: {error.strerror}")
            continue
        yield from entries
        if depth is None or level < depth:
            folders += [(f"{name}/", level + 1) for name, kind in entries if kind == "folder"]


def _kind(entry: os.DirEntry[str]) -> Literal["file", "folder", "link"]:
    if entry.is_symlink():
        return "link"
    return "folder" if entry.is_dir(follow_symlinks=False) else "file"


def _shown(path: Path, directory: Path) -> str:
    """Relative where it lies in the project, else absolute."""
    relative = os.path.relpath(path, directory)
    return str(path) if relative.split(os.sep)[0] == ".." else relative


def _missing(spec: DataSpec, role: str) -> Finding:
    hint = (
        "a folder or pattern that matches nothing counts as missing" if re.search(_MAGIC, spec.path) else None
    )
    done = "is not there" if role == "input" else "was not written"
    return Finding(
        level="error",
        code=f"missing-{role}",
        message=f"{role} `{spec.path}` {done}",
        place=spec.place,
        hint=hint,
    )


# --- content ------------------------------------------------------------------------------------------


@positional_value
class _Entry:
    """A file as read; `problem` says why it could not be."""

    digest: Digest
    size: int = 0
    executable: bool = False
    problem: str | None = None


_NO_DIGEST = Digest("")


def _describe_file(path: str) -> _Entry:
    """Read a file; once more if it changed meanwhile, and then no more."""
    entry = _read_file(path)
    return entry if entry.problem != _CHANGED else _read_file(path)


_CHANGED = "it changed while it was read"


def _read_file(path: str) -> _Entry:
    try:
        # A pipe in place of a file must not hold us.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return _Entry(_NO_DIGEST, problem=error.strerror or str(error))
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return _Entry(_NO_DIGEST, problem="it is neither a file nor a folder")
        its_digest = digest.of_descriptor(descriptor)
        after = os.fstat(descriptor)
    except OSError as error:
        return _Entry(_NO_DIGEST, problem=error.strerror or str(error))
    finally:
        os.close(descriptor)
    if (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    ):
        return _Entry(_NO_DIGEST, problem=_CHANGED)
    return _Entry(its_digest, after.st_size, executable=bool(after.st_mode & stat.S_IXUSR))


def _describe_folder(root: Path, artifact: Artifact) -> Found:
    entries: list[dict[str, object]] = []
    contents: list[tuple[Digest, Path]] = []
    troubles: list[str] = []
    size = 0
    for name, kind in _leaves(os.fspath(root), troubles):
        path = os.path.join(root, name)
        if kind == "folder":
            entries.append({"path": name, "mode": "040000"})
        elif kind == "link":
            entries.append({"path": name, "mode": "120000", "target": _target(path)})
        elif (entry := _describe_file(path)).problem is not None:
            troubles.append(f"`{name}`: {entry.problem}")
        else:
            mode = "100755" if entry.executable else "100644"
            entries.append({"path": name, "mode": mode, "size": entry.size, "digest": entry.digest})
            contents.append((entry.digest, Path(path)))
            size += entry.size
    manifest = digest.canonical_json({"format": MANIFEST, "entries": entries})
    return Found(
        artifact=replace(
            artifact, digest=digest.of_bytes(manifest), size=size, files=len(contents), tree=True
        ),
        contents=tuple(contents),
        manifest=manifest,
        findings=(*_unread_within(artifact.path, troubles), *_links_out(artifact.path, root, entries)),
    )


def _leaves(root: str, troubles: list[str]) -> list[tuple[str, Literal["file", "folder", "link"]]]:
    """All below a folder but the folders in which something lies, sorted."""
    below = sorted(_walk(root, troubles=troubles))
    parents = {name.rpartition("/")[0] for name, _ in below}
    return [(name, kind) for name, kind in below if kind != "folder" or name not in parents]


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _links_out(shown: str, root: Path, entries: list[dict[str, object]]) -> tuple[Finding, ...]:
    """Links are kept as links, so that what lies behind one that leads out is not part of the digest."""
    outside = [
        str(entry["path"])
        for entry in entries
        if "target" in entry
        and _shown(Path(os.path.normpath(root / str(entry["path"]) / ".." / str(entry["target"]))), root)[:1]
        == os.sep
    ]
    if not outside:
        return ()
    message = f"what {len(outside)} links in `{shown}` lead to is not recorded, such as `{outside[0]}`"
    return (Finding(level="warning", code="link-outside", message=message),)


def _unread_within(shown: str, troubles: list[str]) -> tuple[Finding, ...]:
    if not troubles:
        return ()
    message = f"{len(troubles)} files in `{shown}` are not recorded, such as {troubles[0]}"
    return (Finding(level="warning", code="unreadable-file", message=message),)


def _unread(shown: str, problem: str) -> Finding:
    return Finding(level="warning", code="unreadable-file", message=f"`{shown}` has no digest: {problem}")


# --- downloads ----------------------------------------------------------------------------------------


def download(url: str, destination_folder: Path) -> Path:
    """Fetch an http(s) URL into a folder of its own below `destination_folder`, under the URL's last name.

    A half-fetched file never bears the final name. Raises ParameterError (`download-failed`).
    """
    from http.client import HTTPException
    from urllib.parse import unquote, urlsplit

    folder = destination_folder / digest.hex_of(digest.of_bytes(os.fsencode(url)))[:16]
    try:
        name = re.sub(r"[\x00-\x1f/]", "_", unquote(os.path.basename(urlsplit(url).path))) or "download"
        final = folder / (name if name not in (".", "..") else "download")
        folder.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(f".part.{os.getpid()}")
        try:
            with _open(url) as response, open(partial, "wb") as file:
                _copy(response, file)
            os.replace(partial, final)
        finally:
            partial.unlink(missing_ok=True)
    except (OSError, HTTPException, ValueError) as error:
        raise ParameterError(
            f"cannot download {_masked(url)}: {_masked(_reason(error))}",
            hint="fetch it yourself and give the local path",
            code="download-failed",
        ) from error
    return final


def _reason(error: Exception) -> str:
    from urllib.error import HTTPError, URLError

    if isinstance(error, HTTPError):
        error.close()  # it holds the connection
        return f"HTTP {error.code}, {error.reason}"
    return str(error.reason if isinstance(error, URLError) else error)


def _open(url: str) -> HTTPResponse:
    """Ask for a URL. Its credentials go into a header, and not along with a redirect."""
    from base64 import b64encode
    from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit
    from urllib.request import Request

    parts = urlsplit(url)
    credentials, _, host = parts.netloc.rpartition("@")
    request = Request(urlunsplit(parts._replace(netloc=host)))  # noqa: S310  the opener knows two schemes
    request.add_header("User-Agent", "mlrun")
    request.add_header("Accept-Encoding", "identity")
    if credentials:
        token = b64encode(unquote_to_bytes(credentials)).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    response: HTTPResponse = _opener().open(request, timeout=60)
    return response


def _opener() -> OpenerDirector:
    """An opener for http and https alone, whatever a server redirects to."""
    from urllib import request

    class OnlyHttp(request.HTTPRedirectHandler):
        def redirect_request(
            self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
        ) -> Request | None:
            if not newurl.startswith(("http://", "https://")):
                fp.close()
                raise ValueError(f"it redirects to {newurl.partition(':')[0]}:")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.UnknownHandler(),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        request.HTTPDefaultErrorHandler(),
        OnlyHttp(),
        request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _copy(response: HTTPResponse, file: IO[bytes]) -> None:
    """Copy a body and see that it is whole. Raises ValueError."""
    announced = response.headers.get("Content-Length")
    length = int(announced) if announced is not None and announced.isdigit() else None
    done = 0
    while chunk := response.read(1 << 20):
        done += len(chunk)
        if done > MAX_DOWNLOAD:
            raise ValueError(f"it is larger than {MAX_DOWNLOAD >> 30} GiB")
        file.write(chunk)
    if length is not None and done != length:
        raise ValueError(f"it broke off after {done:,} of {length:,} bytes")


def _masked(text: str) -> str:
    """No credentials, and nothing of a query: signed URLs carry their keys there."""
    return re.sub(r"\?[^\s]*", "?…", re.sub(r"//[^/@\s]*@", "//***@", text))
