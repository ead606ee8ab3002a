"""Package indexes of hand-made wheels on this machine, that say when a file was uploaded or do not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from mlrun.env.lock import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Index:
    """The wheels in a folder, under `url`; `uploaded` are times by file name, `asked` the paths asked for.

    With `account` (`ada:s3cret`) nobody else is served. With `json` false the pages are HTML without times.
    """

    def __init__(self, folder: Path, *, account: str | None = None, as_json: bool = True) -> None:
        self.folder = folder
        self.uploaded: dict[str, str] = {}
        self.yanked: dict[str, str] = {}
        self.requires_python: dict[str, str] = {}
        self.account = account
        self.as_json = as_json
        self.asked: list[str] = []
        self.broken = 0
        self.port = 0

    @property
    def url(self) -> str:
        account = f"{self.account}@" if self.account else ""
        return f"http://{account}127.0.0.1:{self.port}/simple"

    def page(self, name: str) -> tuple[str, bytes] | None:
        """Content type and text of a package's page."""
        found = [path for path in sorted(self.folder.glob("*.*")) if canonical(_name(path.name)) == name]
        if not found:
            return None
        if not self.as_json:
            lines = [f'<a href="/files/{path.name}">{path.name}</a>' for path in found]
            return "text/html", "\n".join(lines).encode()
        files = [self._entry(path) for path in found]
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": files, "versions": []}
        return "application/vnd.pypi.simple.v1+json", json.dumps(page).encode()

    def _entry(self, path: Path) -> dict[str, object]:
        entry: dict[str, object] = {
            "filename": path.name,
            "url": f"http://127.0.0.1:{self.port}/files/{path.name}",
            "hashes": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        }
        if path.name in self.uploaded:
            entry["upload-time"] = self.uploaded[path.name]
        if path.name in self.yanked:
            entry["yanked"] = self.yanked[path.name]
        if path.name in self.requires_python:
            entry["requires-python"] = self.requires_python[path.name]
        return entry


def _name(file: str) -> str:
    return file.rpartition("-")[0] if not file.endswith(".whl") else file.partition("-")[0]


@contextlib.contextmanager
def serving(index: Index) -> Iterator[Index]:
    """The index, reachable."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            index.asked.append(self.path)
            account = b64encode((index.account or "").encode()).decode()
            if index.broken:
                index.broken -= 1
                return self._answer(503, "text/plain", b"later")
            if index.account and self.headers.get("Authorization") != f"Basic {account}":
                return self._answer(401, "text/plain", b"who?")
            parts = self.path.strip("/").split("/")
            if parts[0] == "files" and (path := index.folder / parts[-1]).exists():
                return self._answer(200, "application/octet-stream", path.read_bytes())
            page = index.page(parts[-1]) if parts[0] == "simple" else None
            return self._answer(200, *page) if page else self._answer(404, "text/plain", b"no")

        do_HEAD = do_GET  # noqa: N815  the name is the server's

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", "Basic")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        index.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield index
        server.shutdown()
        thread.join()
