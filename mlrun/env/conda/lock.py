"""The lock of a conda environment: one text that conda, mamba and micromamba take as it is.

    # mlrun-conda-lock: 1
    # platform: linux-64
    # python: 3.11.7
    # pip-folder: . (editable)             a local project, relative to the project's folder
    @EXPLICIT                              conda's explicit list: a URL a package, with its hash
    https://conda.anaconda.org/conda-forge/linux-64/python-3.11.7-h_0.conda#sha256:…
    #| lock-version = "1.0"                what pip adds, as a pylock.toml (PEP 751), a comment a line
    #| …

A URL ends in `#sha256:…`, or in `#` and an MD5 where a channel serves no more than that. Credentials and
the tokens of private channels (`/t/<token>/`) are left out.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from mlrun.env.pip_settings import without_credentials
from mlrun.errors import EnvironmentBuildError
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE_NAME = "conda-lock.txt"
KIND = "conda-explicit"

_HEADER = "# mlrun-conda-lock: 1"
_PIP = "#| "
_FOLDER = re.compile(r"# pip-folder: (?P<path>.+?)(?P<editable> \(editable\))?")
_PACKAGE = re.compile(
    r"(?P<url>\S+/(?P<subdir>[^/\s]+)/(?P<name>[^/\s]+)-(?P<version>[^-/\s]+)-(?P<build>[^-/\s]+?)(?:\.tar\.bz2|\.conda))"
    r"(?:#(?:sha256:)?(?P<hash>[0-9a-f]{32,64}))?"
)
_TOKEN = re.compile(r"/t/[\w-]+/")


@value
class CondaPackage:
    """One package of an explicit list. `hash` is a SHA-256 or, by its length, an MD5, in hex."""

    name: str
    version: str
    build: str
    subdir: str
    url: str
    hash: str | None = None

    @property
    def line(self) -> str:
        url = public(self.url)
        return f"{url}#{'sha256:' if len(self.hash) == 64 else ''}{self.hash}" if self.hash else url

    @property
    def channel(self) -> str:
        """The URL of the channel that serves it."""
        return self.url.rsplit("/", 2)[0]


@value
class LocalFolder:
    """A local project that pip installed; `path` is relative to the project's folder."""

    path: str
    editable: bool


@value
class CondaLock:
    """What a conda environment holds; `pip` is the text of a `pylock.toml`, empty where pip adds nothing."""

    platform: str
    packages: tuple[CondaPackage, ...]
    python: str = ""
    pip: str = ""
    folders: tuple[LocalFolder, ...] = ()


def write(lock: CondaLock) -> str:
    """The lock as text."""
    lines = [_HEADER, f"# platform: {lock.platform}"]
    lines += [f"# python: {lock.python}"] if lock.python else []
    lines += [f"# pip-folder: {it.path}{' (editable)' if it.editable else ''}" for it in lock.folders]
    lines += ["@EXPLICIT", *(package.line for package in lock.packages)]
    lines += [f"{_PIP}{line}".rstrip() for line in lock.pip.splitlines()]
    return "\n".join(lines) + "\n"


def read(text: str, *, shown: str) -> CondaLock:
    """Understand a lock, ours or a plain explicit list; messages call it `shown`.

    Raises EnvironmentBuildError (`bad-lock`).
    """
    header: dict[str, str] = {}
    packages: list[CondaPackage] = []
    folders: list[LocalFolder] = []
    pip: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(_PIP.rstrip()):
            pip.append(line.removeprefix(_PIP) if line.startswith(_PIP) else "")
        elif folder := _FOLDER.fullmatch(line):
            folders.append(LocalFolder(path=folder["path"], editable=bool(folder["editable"])))
        elif line.startswith("#"):
            key, _, said = line.lstrip("# ").partition(": ")
            header[key] = said.strip()
        elif line.strip() and line.strip() != "@EXPLICIT":
            packages.append(_package(line.strip(), f"{shown}:{number}"))
    if not packages:
        raise EnvironmentBuildError(f"{shown} is no explicit list of conda packages", code="bad-lock")
    return CondaLock(
        platform=header.get("platform", ""),
        packages=tuple(packages),
        python=header.get("python", ""),
        pip="\n".join(pip) + "\n" if pip else "",
        folders=tuple(folders),
    )


def _package(line: str, place: str) -> CondaPackage:
    match = _PACKAGE.fullmatch(line)
    if match is None or (match["hash"] and len(match["hash"]) not in (32, 64)):
        raise EnvironmentBuildError(f"{place}: `{line}` is no conda package", code="bad-lock")
    return CondaPackage(**match.groupdict())


def installed(prefix: Path) -> tuple[CondaPackage, ...]:
    """What a conda prefix holds, from what every tool notes in its `conda-meta`, by name.

    Raises EnvironmentBuildError (`bad-prefix`) where a note is spoilt.
    """
    found = []
    for path in sorted((prefix / "conda-meta").glob("*.json")):
        try:
            note = json.loads(path.read_bytes())
            package = of_note(note)
        except (ValueError, KeyError, TypeError) as error:
            raise EnvironmentBuildError(f"{path} is spoilt: {error}", code="bad-prefix") from error
        found.append(package)
    return tuple(sorted(found, key=lambda package: package.name))


def of_note(note: dict[str, object]) -> CondaPackage:
    """A package by conda's own keys. Raises KeyError."""
    sum_ = note.get("sha256") or note.get("md5")
    url = str(note["url"])
    return CondaPackage(
        name=str(note["name"]),
        version=str(note["version"]),
        build=str(note.get("build") or note.get("build_string") or "0"),
        subdir=str(note.get("subdir") or url.rsplit("/", 2)[-2]),
        url=url,
        hash=str(sum_) if sum_ else None,
    )


def public(url: str) -> str:
    """A URL without what opens a private channel."""
    return _TOKEN.sub("/", without_credentials(url))


def python_of(packages: Iterable[CondaPackage]) -> str:
    """The version of the Python among some packages; empty where there is none."""
    return next((package.version for package in packages if package.name == "python"), "")
