"""Whether packages can be had: uv itself is asked for one, with the settings that a run would give it.

Another client would judge by other certificates, other credentials and another proxy than those that count.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import process
from mlrun.doctor.values import Check
from mlrun.errors import ProcessError

if TYPE_CHECKING:
    from mlrun.scene import Desk

_PATIENCE = 10.0
"""Seconds until we stop waiting."""
_PROBE = "pip\n"
"""A package that any index of Python packages is likely to serve; that one has none does not matter."""
_PYPI = "https://pypi.org/simple"
_SIGNS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("UnknownIssuer", "invalid peer certificate", "CERTIFICATE_VERIFY_FAILED", "certificate"),
        "its certificate is not trusted",
        "`pip config set global.cert FILE` with your authority's certificate, or SSL_CERT_FILE=FILE",
    ),
    (
        ("401", "403", "Unauthorized", "Forbidden"),
        "it refuses your credentials",
        "put them into the index's URL, `~/.netrc`, or a keyring (pip's settings are used)",
    ),
    (
        ("dns error", "failed to lookup"),
        "its name is not known here",
        "check the network, and the index: `pip config list`",
    ),
    (
        ("timed out", "operation timed out"),
        "it does not answer in time",
        "check the network, the proxy (HTTPS_PROXY), and the index: `pip config list`",
    ),
    (
        ("Connect", "connection refused", "error sending request", "tcp connect"),
        "it cannot be reached",
        "check the network, the proxy (HTTPS_PROXY), and the index: `pip config list`",
    ),
)


def registry(desk: Desk) -> Check:
    """Ask every index for one package."""
    from mlrun.env import uv
    from mlrun.env.pip_settings import without_credentials
    from mlrun.env.values import Asked, Site

    site = Site(directory=Path("/"), tree="", cache=desk.cache, caller=desk.caller)
    tool = uv.prepare(Asked(kind="venv", summary=""), site)
    where = _where(tool.variables)
    if "--no-index" in tool.flags:
        links = tool.variables.get("UV_FIND_LINKS")
        text = (
            f"no index is used; files from {links}" if links else "no index is used, and no folder of files"
        )
        return Check(code="registry", state="ok" if links else "absent", text=without_credentials(text))
    for place in _indexes(tool.variables):
        if "://" not in place and not os.path.exists(place):
            hint = "`pip config list` shows what is set; PIP_INDEX_URL and UV_DEFAULT_INDEX count more"
            text = f"the index `{without_credentials(place)}` is neither a URL nor a folder that is there"
            return Check(code="registry", state="absent", text=text, hint=hint)
    variables = {**tool.variables, "UV_HTTP_TIMEOUT": "5", "UV_HTTP_RETRIES": "0"}
    arguments = ("pip", "compile", "-", "--no-deps", "--no-cache", "--quiet", "--no-header", "--no-annotate")
    try:
        said = process.capture(
            (tool.program, "--directory", "/", *arguments),
            variables=variables,
            stdin=_PROBE.encode(),
            timeout=_PATIENCE,
        )
    except ProcessError as error:
        if error.code != "tool-timeout":
            raise
        return refused(where, "timed out")
    if said.exit_code == 0:
        return Check(code="registry", state="ok", text=where)
    return refused(where, without_credentials(said.stderr.decode("utf-8", "replace")))


def refused(where: str, complaint: str) -> Check:
    """What uv's complaint means. An index that only lacks the package has answered."""
    for signs, sentence, hint in _SIGNS:
        if any(sign in complaint for sign in signs):
            text = f"{where}: {sentence}"
            return Check(code="registry", state="absent", text=text, hint=hint, details=_lines(complaint))
    if "not found in the package registry" in complaint or "No solution found" in complaint:
        return Check(code="registry", state="ok", text=where)
    return Check(
        code="registry", state="unknown", text=f"{where}: no telling", details=_lines(complaint), needed=True
    )


def _lines(complaint: str) -> tuple[str, ...]:
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    return tuple(lines[-4:])


def _indexes(variables: dict[str, str]) -> list[str]:
    """The indexes that are asked; one may be written `name=URL`."""
    first = variables.get("UV_DEFAULT_INDEX") or variables.get("UV_INDEX_URL") or _PYPI
    extra = (variables.get("UV_INDEX") or variables.get("UV_EXTRA_INDEX_URL") or "").split()
    return [url.partition("=")[2] if "=" in url.partition("://")[0] else url for url in (first, *extra)]


def _where(variables: dict[str, str]) -> str:
    """What is asked, without credentials."""
    from mlrun.env.pip_settings import without_credentials

    links = [f"files from {variables['UV_FIND_LINKS']}"] if variables.get("UV_FIND_LINKS") else []
    return without_credentials(", ".join((*_indexes(variables), *links)))
