"""A package index on this machine that shows what the caller's indexes held on a day.

pip knows no day, so it is pointed here. The pages are those of the simple repository API, in HTML
(https://packaging.python.org/en/latest/specifications/simple-repository-api/), made from the answers of
the caller's own indexes, in JSON or in HTML, without the files uploaded after the day. Files themselves are
fetched from where they lie.

A file whose index gives no upload time (a folder, most private servers) is shown only where no index gives
one for any file of that name: what is known to a private index alone stays available.
"""

from __future__ import annotations

import base64
import contextlib
import html
import http.client
import http.server
import json
import os
import re
import secrets
import socketserver
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from mlrun.env.lock import canonical
from mlrun.env.pip_settings import without_credentials
from mlrun.value import field, replace, value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PYPI = "https://pypi.org/simple"

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
_ARCHIVE = re.compile(r"\.(whl|zip|tar\.gz|tar\.bz2|tgz)$")
_SDIST = re.compile(r"(?P<name>.+)-(?P<version>[^-]+)\.(zip|tar\.gz|tar\.bz2|tgz)$")
_SECONDS = 30.0
_TRIES = 3
_LARGEST = 256 << 20  # bytes of a page; the largest of PyPI has some 30 MB
_PAUSE = 10.0  # seconds that an index which is asked too often may have us wait


@value
class File:
    """One file of a package, as an index shows it. `uploaded` is UTC text, None where the index is silent."""

    name: str
    url: str
    version: str
    hashes: tuple[tuple[str, str], ...] = ()
    requires_python: str | None = None
    yanked: str | None = None
    uploaded: str | None = None
    metadata: str | None = None

    @property
    def is_wheel(self) -> bool:
        return self.name.endswith(".whl")


@value
class Upstream:
    """The caller's indexes and how they are reached: URLs that may hold credentials, folders of files.

    `proxies` are by scheme; `certificates` is a file of them, `insecure` names hosts whose own are not looked
    at. `seconds` is how long an answer may take.
    """

    indexes: tuple[str, ...] = (PYPI,)
    folders: tuple[str, ...] = ()
    certificates: str | None = None
    client_certificate: str | None = None
    insecure: frozenset[str] = frozenset()
    proxies: tuple[tuple[str, str], ...] = ()
    seconds: float = _SECONDS


def upstream_for(variables: Mapping[str, str], *, no_index: bool) -> Upstream:
    """The caller's indexes from the variables that uv is given (pip's settings are among them)."""
    default = variables.get("UV_DEFAULT_INDEX") or variables.get("UV_INDEX_URL") or PYPI
    extra = (variables.get("UV_EXTRA_INDEX_URL", "") + " " + variables.get("UV_INDEX", "")).split()
    links = [link for link in variables.get("UV_FIND_LINKS", "").split(",") if link]
    schemes = (("https", "HTTPS_PROXY"), ("http", "HTTP_PROXY"), ("no", "NO_PROXY"))
    return Upstream(
        indexes=() if no_index else tuple(re.sub(r"^[\w-]+=(?=\w+:)", "", url) for url in (default, *extra)),
        folders=tuple(links),
        certificates=variables.get("SSL_CERT_FILE") or None,
        client_certificate=variables.get("SSL_CLIENT_CERT") or None,
        insecure=frozenset(variables.get("UV_INSECURE_HOST", "").replace(",", " ").split()),
        proxies=tuple(
            (scheme, found)
            for scheme, name in schemes
            if (found := variables.get(name) or variables.get(name.lower()))
        ),
        seconds=_seconds(variables.get("UV_HTTP_TIMEOUT")),
    )


def _seconds(text: str | None) -> float:
    try:
        return float(text or _SECONDS)
    except ValueError:
        return _SECONDS


@value
class _Known:
    """What was fetched; of each package once."""

    files: dict[str, tuple[File, ...]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


class Loopback:
    """The index, while it is open: `url` for pip, `files` for what it showed.

    Bound to this machine alone, under a path that nobody can guess.
    """

    def __init__(self, upstream: Upstream, as_of: str | None) -> None:
        self._upstream = upstream
        self._as_of = as_of
        self._opener = _opener(upstream)
        self._known = _Known()
        self._locks: dict[str, threading.Lock] = {}
        self._token = secrets.token_urlsafe(16)
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{self._token}/simple/"

    @property
    def failures(self) -> tuple[str, ...]:
        """What could not be fetched, a line each."""
        return tuple(self._known.failures)

    def files(self, name: str) -> tuple[File, ...]:
        """The files of a package on that day. Raises nothing: what cannot be fetched is in `failures`."""
        name = canonical(name)
        with self._locks.setdefault(name, threading.Lock()):
            if name not in self._known.files:
                self._known.files[name] = on_day(self._fetched(name), self._as_of)
            return self._known.files[name]

    def _fetched(self, name: str) -> tuple[File, ...]:
        found: list[File] = []
        for index in self._upstream.indexes:
            try:
                found += _page(index, name, self._opener, self._upstream.seconds)
            except (OSError, ValueError) as error:
                self._known.failures.append(f"{without_credentials(index)}: {name}: {error}")
        for folder in self._upstream.folders:
            with contextlib.suppress(OSError, ValueError):
                found += _folder(folder, name, self._opener, self._upstream.seconds)
        return tuple({file.name: file for file in reversed(found)}.values())

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = [urllib.parse.unquote(part) for part in self.path.split("?")[0].split("/") if part]
                wanted = len(parts) == 3 and secrets.compare_digest(parts[0], index._token)
                files = index.files(parts[2]) if wanted and parts[1] == "simple" else ()
                body = _as_page(parts[2], files) if files else b"not found\n"
                self.send_response(200 if files else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up early is no error of ours."""


def on_day(files: tuple[File, ...], as_of: str | None) -> tuple[File, ...]:
    """Those that were there: all without a day, else those uploaded by then, or all where none has a time."""
    if as_of is None or all(file.uploaded is None for file in files):
        return files
    return tuple(file for file in files if file.uploaded is not None and file.uploaded[:19] + "Z" <= as_of)


# --- what an index says -------------------------------------------------------------------------------


def _page(index: str, name: str, opener: urllib.request.OpenerDirector, seconds: float) -> Iterator[File]:
    """The files of a package, none where the index does not know it."""
    url = f"{index.rstrip('/')}/{name}/"
    if index.startswith("file:"):
        folder = urllib.parse.unquote(urllib.parse.urlsplit(index).path)
        page = os.path.join(folder, name, "index.html")
        if os.path.exists(page):
            with open(page, encoding="utf-8", errors="replace") as file:
                yield from _from_html(file.read(), f"{url}index.html")
        return
    answer = _get(url, opener, seconds)
    if answer is None:
        return
    kind, text, final = answer
    found = _from_json(text, final) if "json" in kind else _from_html(text, final)
    yield from (replace(file, url=_with_account(file.url, index)) for file in found)


def _with_account(url: str, index: str) -> str:
    """pip gets a file where it lies, with the account of its index where that is the same host."""
    account, at, host = urllib.parse.urlsplit(index).netloc.rpartition("@")
    if not at or urllib.parse.urlsplit(url).netloc != host:
        return url
    return url.replace("://", f"://{account}@", 1)


def _get(url: str, opener: urllib.request.OpenerDirector, seconds: float) -> tuple[str, str, str] | None:
    """Content type, text and final URL; None for what is not there. Raises OSError."""
    parts = urllib.parse.urlsplit(url)
    headers = {"Accept": _ACCEPT, "Accept-Encoding": "gzip", "User-Agent": "mlrun"}
    request = urllib.request.Request(without_credentials(url), headers=headers)  # noqa: S310  of the caller's
    if parts.username:
        account = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        secret = "Basic " + base64.b64encode(account.encode()).decode()
        request.add_unredirected_header("Authorization", secret)
    for attempt in range(_TRIES):
        try:
            with opener.open(request, timeout=seconds) as response:
                body = _body(response)
                return response.headers.get("Content-Type", ""), body.decode("utf-8", "replace"), response.url
        except urllib.error.HTTPError as error:
            # Storage services refuse what they do not have, as PyTorch's index does.
            if error.code in (404, 410) or (error.code == 403 and not parts.username):
                return None
            if (error.code < 500 and error.code != 429) or attempt + 1 == _TRIES:
                raise
            if error.code == 429:
                time.sleep(_pause(error.headers.get("Retry-After")))
        except (OSError, http.client.HTTPException, EOFError, zlib.error) as error:
            if attempt + 1 == _TRIES:
                raise error if isinstance(error, OSError) else OSError(f"no sound answer: {error}") from error
    return None


def _body(response: http.client.HTTPResponse) -> bytes:
    """All of an answer, unpacked. Raises OSError, EOFError, zlib.error; ValueError for an endless one."""
    packed = response.headers.get("Content-Encoding") == "gzip"
    unpacker = zlib.decompressobj(wbits=31) if packed else None
    body = bytearray()
    while piece := response.read(1 << 20):
        body += unpacker.decompress(piece, _LARGEST - len(body) + 1) if unpacker else piece
        if len(body) > _LARGEST:
            raise ValueError(f"a page of more than {_LARGEST >> 20} MiB")
    if response.length or (unpacker and not unpacker.eof):
        raise EOFError("it ends too early")
    return bytes(body)


def _pause(wanted: str | None) -> float:
    return min(float(wanted), _PAUSE) if wanted and wanted.isdigit() else 1.0


def _opener(upstream: Upstream) -> urllib.request.OpenerDirector:
    context = ssl.create_default_context(cafile=upstream.certificates)
    if upstream.client_certificate:
        context.load_cert_chain(upstream.client_certificate)
    careless = ssl.create_default_context()
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE

    class Secure(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> Any:
            host = request.host.partition(":")[0]
            trusted = {host, request.host} & upstream.insecure
            self._context = careless if trusted else context
            return super().https_open(request)

    return urllib.request.build_opener(
        urllib.request.ProxyHandler(dict(upstream.proxies)), Secure(context=context)
    )


def _from_json(text: str, url: str) -> Iterator[File]:
    """The files of a page. Raises ValueError where it is none."""
    try:
        for entry in json.loads(text).get("files", ()):
            yield from _entry(entry, url)
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no page of a package index ({type(error).__name__}: {error})") from error


def _entry(entry: dict[str, Any], url: str) -> Iterator[File]:
    uploaded, yanked = entry.get("upload-time"), entry.get("yanked", False)
    metadata = entry.get("core-metadata", entry.get("dist-info-metadata"))
    requires_python = entry.get("requires-python")
    yield from _file(
        name=str(entry["filename"]),
        url=urllib.parse.urljoin(url, str(entry["url"])),
        hashes=tuple(sorted((str(kind), str(digest)) for kind, digest in entry["hashes"].items())),
        requires_python=str(requires_python) if requires_python else None,
        yanked=None if yanked is False else "" if yanked is True else str(yanked),
        uploaded=str(uploaded) if uploaded else None,
        metadata=_metadata_hash(metadata),
    )


def _metadata_hash(metadata: object) -> str | None:
    if isinstance(metadata, dict):
        return next((f"{kind}={digest}" for kind, digest in metadata.items()), "true")
    return "true" if metadata is True else None


def _from_html(text: str, url: str) -> Iterator[File]:
    reader = _Anchors()
    reader.feed(text)
    for attributes, name in reader.found:
        full = urllib.parse.urljoin(url, attributes.get("href") or "")
        bare, _, fragment = full.partition("#")
        kind, _, digest = fragment.partition("=")
        yield from _file(
            name=name.strip() or urllib.parse.unquote(bare.rpartition("/")[2]),
            url=bare,
            hashes=((kind, digest),) if re.fullmatch(r"(sha\d+|md5)", kind) and digest else (),
            requires_python=attributes.get("data-requires-python") or None,
            yanked=(attributes["data-yanked"] or "") if "data-yanked" in attributes else None,
            uploaded=attributes.get("data-upload-time") or None,
            metadata=attributes.get("data-core-metadata") or attributes.get("data-dist-info-metadata"),
        )


class _Anchors(HTMLParser):
    """Links with their attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[dict[str, str | None], str]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append((dict(attrs), ""))
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "a"

    def handle_data(self, data: str) -> None:
        if self._inside:
            attributes, text = self.found[-1]
            self.found[-1] = (attributes, text + data)


def _folder(folder: str, name: str, opener: urllib.request.OpenerDirector, seconds: float) -> Iterator[File]:
    """Of a flat folder, or a page of links, the files of one package."""
    if folder.startswith(("http:", "https:")):
        answer = _get(folder, opener, seconds)
        found = list(_from_html(answer[1], answer[2])) if answer else []
    else:
        path = urllib.parse.unquote(urllib.parse.urlsplit(folder).path) if "://" in folder else folder
        path = os.path.abspath(os.path.expanduser(path))
        url = f"file://{urllib.parse.quote(path)}/"
        found = [
            each for entry in sorted(os.listdir(path)) for each in _file(name=entry, url=url + _quoted(entry))
        ]
    yield from (file for file in found if canonical(_name_of(file.name)) == name)


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _file(*, name: str, url: str, **facts: Any) -> Iterator[File]:
    """The file, unless it is none that can be installed (an egg, an installer, a signature)."""
    if _ARCHIVE.search(name) and (version := _version_of(name)):
        yield File(name=name, url=url, version=version, **facts)


def _version_of(name: str) -> str | None:
    if name.endswith(".whl"):
        parts = name.removesuffix(".whl").split("-")
        return parts[1] if len(parts) in (5, 6) else None
    match = _SDIST.match(name)
    return match["version"] if match else None


def _name_of(name: str) -> str:
    match = _SDIST.match(name)
    return match["name"] if match and not name.endswith(".whl") else name.partition("-")[0]


# --- what pip is shown --------------------------------------------------------------------------------


def _as_page(name: str, files: tuple[File, ...]) -> bytes:
    lines = ["<!DOCTYPE html><html><head><title>", html.escape(name), "</title></head><body>\n"]
    for file in files:
        kind, digest = preferred_hash(file) or ("", "")
        attributes = {
            "href": file.url + (f"#{kind}={digest}" if digest else ""),
            "data-requires-python": file.requires_python,
            "data-yanked": file.yanked,
            "data-core-metadata": file.metadata,
            "data-dist-info-metadata": file.metadata,
        }
        shown = " ".join(
            f'{key}="{html.escape(text)}"' for key, text in attributes.items() if text is not None
        )
        lines.append(f"<a {shown}>{html.escape(file.name)}</a><br/>\n")
    return ("".join(lines) + "</body></html>\n").encode()


def preferred_hash(file: File) -> tuple[str, str] | None:
    """The strongest that pip and uv know."""
    known = dict(file.hashes)
    return next(((kind, known[kind]) for kind in ("sha256", "sha512", "sha384") if kind in known), None)
