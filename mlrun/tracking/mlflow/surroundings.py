"""The variables by which a client finds the endpoint, and what of its caller's would lead it elsewhere."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # since 3.2 clients report to their vendor
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # addresses that lead nowhere when the run is over
    "MLFLOW_ALLOW_FILE_STORE": "true",  # else 3.18 refuses a store in files that the code asks for by name
}
_PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


def settings(host: str, port: int, token: str, variables: Mapping[str, str]) -> dict[str, str]:
    """What to set for the program. What the caller has set for clients in general is left to them."""
    address = f"[{host}]" if ":" in host else host
    ours = {"MLFLOW_TRACKING_URI": f"http://{address}:{port}", "MLFLOW_TRACKING_TOKEN": token}
    ours |= {name: text for name, text in _QUIET.items() if name not in variables}
    if any(variables.get(name) for name in _PROXIES):
        known = variables.get("no_proxy") or variables.get("NO_PROXY") or ""
        passed = known if known == "*" else ",".join(filter(None, (known, host, "localhost")))
        ours |= {"no_proxy": passed, "NO_PROXY": passed}
    return ours


def credentials(variables: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Names and passwords that clients show instead of a token: variables, else `~/.mlflow/credentials`."""
    name, password = variables.get("MLFLOW_TRACKING_USERNAME"), variables.get("MLFLOW_TRACKING_PASSWORD")
    if name and password:
        return ((name, password),)
    home = variables.get("HOME")
    path = os.path.join(home, ".mlflow", "credentials") if home else ""
    if not path or not os.path.isfile(path):
        return ()
    from configparser import ConfigParser, Error

    parser = ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (Error, OSError, ValueError):
        return ()
    section = parser["mlflow"] if parser.has_section("mlflow") else {}
    pair = (
        name or section.get("mlflow_tracking_username"),
        password or section.get("mlflow_tracking_password"),
    )
    return ((pair[0], pair[1]),) if pair[0] and pair[1] else ()


_ADDRESS = re.compile(rb"http://(?:localhost|127\.0\.0\.1|0\.0\.0\.0):(\d{4,5})\b")
_TEXTS = (".py", ".yaml", ".yml", ".json", ".toml", ".ini", ".cfg", ".sh", ".env", "mlproject")
_MOST, _LARGEST = 2000, 1 << 20  # files, bytes of one


def named_ports(directory: Path) -> tuple[int, ...]:
    """Ports of loopback at which a project's files expect a tracking server that they don't start."""
    found: set[int] = set()
    for text in _texts(directory):
        if b"mlflow server" in text or b"mlflow ui" in text:
            return ()
        if b"mlflow" in text.lower():
            found |= {int(port) for port in _ADDRESS.findall(text)}
    return tuple(sorted(port for port in found if 1024 <= port < 1 << 16))


def _texts(directory: Path) -> Iterator[bytes]:
    read = 0
    for base, folders, names in os.walk(directory):
        folders[:] = [
            name for name in folders if not name.startswith(".") and name not in {"mlruns", "node_modules"}
        ]
        for name in names:
            path = os.path.join(base, name)
            if name.lower().endswith(_TEXTS) and os.path.isfile(path) and os.path.getsize(path) <= _LARGEST:
                read += 1
                if read > _MOST:
                    return
                try:
                    with open(path, "rb") as file:
                        yield file.read()
                except OSError:
                    continue
