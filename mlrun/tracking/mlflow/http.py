"""A small HTTP/1.1 server: sockets and threads, nothing imported that mlrun has not loaded already.

It knows of messages (RFC 9110, 9112) what the clients of a tracking server need: connections that stay
open, bodies by length or in chunks that go to disk as they come, `Expect: 100-continue`, HEAD. What is
malformed is answered with 400 and ends the connection. What is in a message is the handler's affair.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, BinaryIO

from mlrun.value import draft, value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LONGEST_HEAD = 64 << 10  # bytes, of all lines together
_DRAINED = 1 << 20  # bytes of a body nobody wanted that are read so that the connection can go on
_STRANGER = 30.0  # seconds that one who has shown no token may keep us waiting
_MOST = 400  # connections; a process may commonly hold 1,024 files
_REASONS = {
    200: "OK", 204: "No Content", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found",
    405: "Method Not Allowed", 413: "Content Too Large", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 507: "Insufficient Storage",
}  # fmt: skip


class Malformed(Exception):  # noqa: N818  what it is, not that it is one
    """What arrived is no HTTP/1.1 message, or too long a one."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class Body:
    """What follows a request's head, read once and piecewise."""

    def __init__(
        self, reader: BinaryIO, *, length: int, chunked: bool, ready: Callable[[], None] | None
    ) -> None:
        self._reader = reader
        self._left = length
        self._chunked = chunked
        self._ready = ready
        self.ended = not chunked and length == 0
        self.length = None if chunked else length

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, none at the end. Raises Malformed where it is cut off, OSError."""
        if self.ended:
            return b""
        if self._ready is not None:  # whoever expects `100 Continue` gets it now
            self._ready()
            self._ready = None
        if self._chunked and self._left == 0:
            self._next_chunk()
            if self.ended:
                return b""
        data = self._reader.read(min(size, self._left))
        if not data:
            raise Malformed("the body ends too early")
        self._left -= len(data)
        if self._left == 0:
            if self._chunked:
                self._line()
            else:
                self.ended = True
        return data

    def whole(self, limit: int) -> bytes:
        """All of it. Raises Malformed where it is longer than `limit` bytes or cut off, OSError."""
        pieces = bytearray()
        while piece := self.read(1 << 20):
            pieces += piece
            if len(pieces) > limit:
                raise Malformed(f"a body may have {limit >> 20} MiB", status=413)
        return bytes(pieces)

    def drain(self) -> bool:
        """Pass over what nobody read; False where that is too much, or would have to be asked for."""
        if self._ready is not None:
            return self.ended
        passed = 0
        while not self.ended and passed < _DRAINED:
            passed += len(self.read(64 << 10))
        return self.ended

    def _next_chunk(self) -> None:
        size = self._line().split(b";")[0].strip()
        if not size or len(size) > 15 or not all(digit in b"0123456789abcdefABCDEF" for digit in size):
            raise Malformed("a chunk without a size")
        self._left = int(size, 16)
        if self._left == 0:
            while self._line():  # trailers say nothing that we need
                pass
            self.ended = True

    def _line(self) -> bytes:
        line = self._reader.readline(1 << 12)
        if not line.endswith(b"\n"):
            raise Malformed("the body ends too early")
        return line.rstrip(b"\r\n")


@value
class Request:
    """A request's head, and its body still to be read; `path` and `query` as sent, percent signs and all."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: Body


@draft
class Reply:
    """An answer. `file` (an open one, closed when sent) stands in for `content`; `trusted` ends suspicion."""

    status: int = 200
    content: bytes = b""
    kind: str = "application/json"
    file: BinaryIO | None = None
    headers: tuple[tuple[str, str], ...] = ()
    trusted: bool = True


class Server:
    """Answers on some sockets until it is closed; a thread for each connection."""

    def __init__(self, handler: Callable[[Request], Reply]) -> None:
        self._handler = handler
        self._listeners: list[socket.socket] = []
        self._connections: dict[_Connection, None] = {}  # the oldest first
        self._lock = threading.Lock()
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._accept, name="mlflow-endpoint", daemon=True)

    def listen(self, host: str, port: int = 0) -> int:
        """Listen at an address, at any free port for 0; returns the port. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(128)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
        self._listeners.append(listener)
        return int(listener.getsockname()[1])

    def start(self) -> None:
        """From here on requests are answered."""
        self._thread.start()

    def close(self, *, patience: float = 5.0) -> None:
        """Listen no more, let answers under way be finished for some seconds, and hang up."""
        os.close(self._waker)
        if self._thread.ident is not None:
            self._thread.join()
        os.close(self._wake)
        for listener in self._listeners:
            listener.close()
        with self._lock:
            connections = tuple(self._connections)
        deadline = time.monotonic() + patience
        for connection in connections:
            connection.hang_up(deadline)

    def _accept(self) -> None:
        poll = select.poll()
        sources = {listener.fileno(): listener for listener in self._listeners}
        for descriptor in (*sources, self._wake):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self._wake in ready:
                return
            for descriptor in ready:
                try:
                    peer, _ = sources[descriptor].accept()
                except BlockingIOError:
                    continue
                except OSError:  # no descriptors left, or the peer has gone
                    time.sleep(0.05)
                    continue
                self._converse(peer)

    def _converse(self, peer: socket.socket) -> None:
        connection = _Connection(peer, self._handler)
        with self._lock:
            if len(self._connections) >= _MOST and (spare := self._spare()) is not None:
                spare.cut()  # clients open a new one when they find theirs closed
                del self._connections[spare]
            self._connections[connection] = None

        def live() -> None:
            try:
                connection.live()
            finally:
                with self._lock:
                    self._connections.pop(connection, None)

        connection.thread = threading.Thread(target=live, name="mlflow-client", daemon=True)
        try:
            connection.thread.start()
        except RuntimeError:  # no more threads
            peer.close()
            with self._lock:
                self._connections.pop(connection, None)

    def _spare(self) -> _Connection | None:
        """Whom to hang up on where there are too many: one who asks nothing, else a stranger."""
        for spare in (lambda one: one.idle, lambda one: not one.trusted):
            if found := next(filter(spare, self._connections), None):
                return found
        return None


class _Connection:
    """One peer, request after request."""

    def __init__(self, peer: socket.socket, handler: Callable[[Request], Reply]) -> None:
        self._peer = peer
        self._handler = handler
        self._reader: BinaryIO = peer.makefile("rb")
        self.idle = True
        self.trusted = False
        self.thread: threading.Thread | None = None
        peer.settimeout(_STRANGER)
        with contextlib.suppress(OSError):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def live(self) -> None:
        try:
            while self._exchange():
                self.idle = True
        except (OSError, ValueError):  # it hung up, kept us waiting, or was hung up on
            pass
        finally:
            self.idle = True  # nobody need wait for what is left of it
            self._end()

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self._peer.shutdown(socket.SHUT_RDWR)

    def hang_up(self, deadline: float) -> None:
        while not self.idle and time.monotonic() < deadline:
            time.sleep(0.01)
        self.cut()
        if self.thread is not None:
            self.thread.join(max(0.0, deadline - time.monotonic()))

    def _exchange(self) -> bool:
        """One request and its answer; whether another may follow."""
        try:
            request = self._request()
            if request is None:
                return False
            reply = self._handler(request)
            stays = request.headers["connection"] != "close" and self._passed_over(request.body)
        except Malformed as problem:
            reply, stays, request = _refusal(problem), False, None
        if reply.trusted:
            self.trusted = True
            self._peer.settimeout(None)
        self._send(reply, method=request.method if request else "GET", stays=stays)
        return stays

    def _passed_over(self, body: Body) -> bool:
        try:
            return body.drain()
        except Malformed:
            return False

    def _request(self) -> Request | None:
        """The next request; None at the end. Raises Malformed, OSError."""
        budget = _LONGEST_HEAD
        line = self._reader.readline(budget)
        while line in {b"\r\n", b"\n"}:
            line = self._reader.readline(budget)
        if not line:
            return None
        self.idle = False
        lines: list[str] = []
        while line not in {b"\r\n", b"\n"}:
            budget -= len(line)
            if budget <= 0:
                raise Malformed("the request's head is too long", status=431)
            if not line.endswith(b"\n"):
                raise Malformed("the request's head ends too early")
            lines.append(line.rstrip(b"\r\n").decode("latin-1"))
            line = self._reader.readline(budget)
        method, target, version = _start(lines[0])
        headers = _headers(lines[1:])
        waits = headers.get("connection", "").lower()
        keeps = "close" not in waits and (version != "HTTP/1.0" or "keep-alive" in waits)
        headers["connection"] = "keep-alive" if keeps else "close"
        path, _, query = target.partition("?")
        return Request(method=method, path=path, query=query, headers=headers, body=self._body(headers))

    def _body(self, headers: dict[str, str]) -> Body:
        expects = headers.get("expect", "").lower() == "100-continue"
        coding = headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length", "0")
        if coding and (coding != "chunked" or "content-length" in headers):
            raise Malformed(f"transfer coding `{coding}` beside a length, or not known")
        if not length.isascii() or not length.isdigit() or len(length) > 18:
            raise Malformed("a length that is no number")
        return Body(
            self._reader,
            length=int(length) if not coding else 0,
            chunked=bool(coding),
            ready=self._go_on if expects else None,
        )

    def _go_on(self) -> None:
        self._peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _send(self, reply: Reply, *, method: str, stays: bool) -> None:
        size = len(reply.content) if reply.file is None else os.fstat(reply.file.fileno()).st_size
        head = [
            f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Other')}",
            f"Content-Type: {reply.kind}",
            f"Content-Length: {size}",
            f"Connection: {'keep-alive' if stays else 'close'}",
            *(f"{name}: {text}" for name, text in reply.headers),
        ]
        data = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")
        if method == "HEAD":
            self._peer.sendall(data)
        elif reply.file is None:
            self._peer.sendall(data + reply.content)
        else:
            self._peer.sendall(data)
            self._peer.sendfile(reply.file, count=size or None)
        if reply.file is not None:
            reply.file.close()

    def _end(self) -> None:
        """Close so that the last answer is not lost: a reset would overtake it where something is unread."""
        with contextlib.suppress(OSError, ValueError):
            self._peer.shutdown(socket.SHUT_WR)
            self._peer.settimeout(2.0)
            deadline = time.monotonic() + 2.0
            while time.monotonic() < deadline and self._peer.recv(64 << 10):
                pass
        with contextlib.suppress(OSError, ValueError):
            self._reader.close()
        self._peer.close()


def _start(line: str) -> tuple[str, str, str]:
    words = line.split(" ")
    if len(words) != 3 or not words[0].isalpha() or words[2] not in {"HTTP/1.1", "HTTP/1.0"}:
        raise Malformed("no request line of HTTP/1.1")
    method, target, version = words
    if target.lower().startswith("http://"):  # as proxies are asked
        target = "/" + target[7:].partition("/")[2]
    if not target.startswith("/") or not target.isascii() or not target.isprintable():
        raise Malformed("no path in the request line")
    return method.upper(), target, version


def _headers(lines: Sequence[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, text = line.partition(":")
        name = name.lower()
        if not colon or not name or not name.isascii() or name != name.strip() or " " in name:
            raise Malformed("a header without a name")
        text = text.strip(" \t")
        if name in {"content-length", "transfer-encoding", "authorization"} and name in headers:
            raise Malformed(f"two of `{name}`")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def _refusal(problem: Malformed) -> Reply:
    text = problem.message.replace('"', "'")
    content = f'{{"error_code": "BAD_REQUEST", "message": "{text}"}}'.encode()
    return Reply(status=problem.status, content=content, trusted=False)
