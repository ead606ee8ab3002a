"""Fetching http(s) URLs that `path` parameters name."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from mlrun import digest
from mlrun.errors import ParameterError

if TYPE_CHECKING:
    from http.client import HTTPMessage, HTTPResponse
    from pathlib import Path
    from typing import IO
    from urllib.request import OpenerDirector, Request

MAX_DOWNLOAD = 100 << 30
"""Bytes that a `path` parameter's URL may answer with."""


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
