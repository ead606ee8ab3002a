"""`pylock.toml` (PEP 751): what uv wrote, made fit to keep, and what it says of each package.

The kept text holds no credentials and no path of this machine: what is local is named relative to the
project, as if the lock lay beside it.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from mlrun.env.pip_settings import without_credentials
from mlrun.model import EnvironmentFacts, Package
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_SEPARATOR = "\n[[packages]]\n"
PYPI_FILES = "https://files.pythonhosted.org/"
PYPI = "https://pypi.org/simple"
_DAY = re.compile(r'^\[tool\.mlrun\]\nas-of = "([^"]+)"', re.MULTILINE)
_NOTES = re.compile(r"^\[tool\.mlrun\]\n(?:[^\[\n].*\n?|\n)*", re.MULTILINE)
_LOCKED = re.compile(r'^name = "([^"]+)"\nversion = "([^"]+)"', re.MULTILINE)
_FILES = re.compile(r"^(sdist|wheels) = ", re.MULTILINE)
_FILE = re.compile(r"^(?:sdist|wheels) = [\s\S]*?\burl = \"([^\"]+)\"", re.MULTILINE)

Indexes = dict[tuple[str, str], str]
"""URLs of indexes by (name, version) of what they serve."""


@value
class Folder:
    """A local project in a lock: its distribution's name, and the absolute path of its folder."""

    name: str
    path: str
    editable: bool


@value
class Lock:
    """A lock in its two forms.

    `text` is to be kept. `installable` is for uv: as it came, without the folders, which are installed apart
    (they have no hash). `sources` says by (name, version) what served a package.
    """

    text: str
    installable: str
    folders: tuple[Folder, ...]
    sources: Mapping[tuple[str, str], str]
    count: int


def read_lock(
    text: str, *, beside: Path, directory: Path, origins: Mapping[str, str], indexes: Indexes
) -> Lock:
    """Understand a lock that uv wrote into the folder `beside`, and add the indexes that it leaves out.

    `origins` maps the absolute paths of copies that it was resolved from to those of the originals;
    `directory` is the project's. Raises ValueError (tomllib.TOMLDecodeError) for what is no lock.
    """
    import tomllib

    header, *blocks = text.split(_SEPARATOR)
    kept, installable = [header], [header]
    folders: list[Folder] = []
    sources: dict[tuple[str, str], str] = {}

    def absolute(path: str) -> str:
        full = os.path.normpath(os.path.join(beside, path))
        return origins.get(full, full)

    for block in blocks:
        package = tomllib.loads("[[packages]]\n" + block)["packages"][0]
        name_and_version = canonical(package["name"]), str(package.get("version", ""))
        index = _index(package, indexes.get(name_and_version))
        if index and "index" not in package:
            block = _with_index(block, index)
        kept.append(_portable(block, package, lambda path: os.path.relpath(absolute(path), directory)))
        if isinstance(package.get("directory"), dict):
            folder = package["directory"]
            path, editable = absolute(folder["path"]), bool(folder.get("editable"))
            folders.append(Folder(name=package["name"], path=path, editable=editable))
        else:
            installable.append(_portable(block, package, absolute, keep_credentials=True))
        if source := index or _source(package):
            sources[name_and_version] = without_credentials(source)
    return Lock(
        text=_SEPARATOR.join(kept).rstrip() + "\n",
        installable=_SEPARATOR.join(installable).rstrip() + "\n",
        folders=tuple(folders),
        sources=sources,
        count=len(installable) - 1,
    )


def with_day(text: str, as_of: str | None) -> str:
    """The lock with the day noted whose tools are to build what has no wheel; as it is where all have one."""
    header, *blocks = text.split(_SEPARATOR)
    from_source = any(not re.search(r"^(wheels|directory) = ", block, re.MULTILINE) for block in blocks)
    if as_of is None or not from_source or _DAY.search(header):
        return text
    return _SEPARATOR.join([f"{header.rstrip()}\n\n[tool.mlrun]\nas-of = {toml_text(as_of)}\n", *blocks])


def day_of(text: str) -> str | None:
    """The day that a lock of ours notes."""
    found = _DAY.search(text.split(_SEPARATOR)[0])
    return found[1] if found else None


def with_notes(text: str, notes: Mapping[str, str | None]) -> str:
    """The lock with a table `[tool.mlrun]` of what it was made from; an `as-of` stands first in it."""
    header, *blocks = without_notes(text).split(_SEPARATOR)
    given = {"as-of": day_of(header), **notes}
    lines = [f"{name} = {toml_text(note)}" for name, note in given.items() if note is not None]
    table = "\n".join(["[tool.mlrun]", *lines])
    return _SEPARATOR.join([f"{_NOTES.sub('', header).rstrip()}\n\n{table}\n", *blocks])


def notes_in(text: str) -> dict[str, str] | None:
    """What `mlrun lock` noted in a lock; None for a lock that it did not write.

    Raises ValueError (tomllib.TOMLDecodeError) for what is no TOML.
    """
    import tomllib

    tools = tomllib.loads(text).get("tool")
    ours = tools.get("mlrun") if isinstance(tools, dict) else None
    if not isinstance(ours, dict) or "asked" not in ours:
        return None
    return {name: note for name, note in ours.items() if isinstance(note, str)}


def facts_in(text: str) -> EnvironmentFacts:
    """What a lock says of its environment. Raises ValueError for what is no lock."""
    import tomllib

    values = tomllib.loads(text)
    packages = values.get("packages", [])
    if "lock-version" not in values or not isinstance(packages, list):
        raise ValueError("it has no `lock-version`")
    notes = notes_in(text) or {}
    try:
        held = [
            Package(
                name=canonical(package["name"]),
                version=str(package.get("version", "")),
                source=_origin(package),
            )
            for package in packages
        ]
    except (TypeError, KeyError, AttributeError):
        raise ValueError("its packages have no names") from None
    return EnvironmentFacts(
        kind="venv",
        python=notes.get("python"),
        platform=notes.get("platform", ""),
        as_of=notes.get("as-of"),
        packages=tuple(sorted(held, key=lambda package: package.name)),
    )


def files_here(text: str) -> list[str]:
    """The packages of a lock that are files of this machine outside the project, or folders outside it."""
    import tomllib

    found = []
    for package in tomllib.loads(text).get("packages", []):
        elsewhere = str(package.get("directory", {}).get("path", "")).startswith(("/", "../"))
        if elsewhere or _first_file(package).startswith("file:"):
            found.append(str(package["name"]))
    return found


def _origin(package: dict[str, Any]) -> str | None:
    index = _index(package, None) or _source(package)
    return without_credentials(index) if index else None


def without_notes(text: str) -> str:
    """The lock without what `mlrun lock` notes in it, so that one environment serves before and after."""
    header, *blocks = text.split(_SEPARATOR)
    bare = _SEPARATOR.join([_NOTES.sub("", header).rstrip() + "\n", *blocks])
    return with_day(bare, day_of(text))


def versions_in(text: str) -> dict[str, str]:
    """The locked versions by name."""
    return {canonical(name): version for name, version in _LOCKED.findall(text)}


def without_wheels(text: str) -> list[tuple[str, str]]:
    """Name and version of what a lock can only build from source."""
    blocks = text.split(_SEPARATOR)[1:]
    unbuilt = [block for block in blocks if re.search(r"^sdist = ", block, re.MULTILINE)]
    return [
        (canonical(found[1]), found[2])
        for block in unbuilt
        if not re.search(r"^wheels = ", block, re.MULTILINE) and (found := _LOCKED.search(block))
    ]


def without_packages(text: str, names: frozenset[str]) -> str:
    """The lock without some packages, by canonical name."""
    header, *blocks = text.split(_SEPARATOR)
    kept = [block for block in blocks if canonical(block.split('"', 2)[1]) not in names]
    return _SEPARATOR.join([header, *kept]).rstrip() + "\n"


def canonical(name: str) -> str:
    """A distribution's name in the one spelling of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _portable(
    block: str, package: dict[str, Any], rewrite: Callable[[str], str], *, keep_credentials: bool = False
) -> str:
    for kind in ("directory", "archive", "vcs"):
        path = package[kind].get("path") if isinstance(package.get(kind), dict) else None
        if path is not None:
            block = block.replace(f"path = {toml_text(path)}", f"path = {toml_text(rewrite(path))}", 1)
    return block if keep_credentials else without_credentials(block)


def _with_index(block: str, index: str) -> str:
    return _FILES.sub(lambda match: f"index = {toml_text(index)}\n{match[0]}", block, count=1)


def toml_text(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False)


def first_files(text: str) -> list[tuple[tuple[str, str], str]]:
    """Name, version and the first file's URL of what a lock takes from indexes or folders of files."""
    found = []
    for block in text.split(_SEPARATOR)[1:]:
        named = _LOCKED.search(block)
        file = _FILE.search(block)
        if named and file:
            found.append(((canonical(named[1]), named[2]), file[1]))
    return found


def _index(package: dict[str, Any], served_by: str | None) -> str | None:
    """The index: as the lock says, or uv, or the place of the files. A folder of files is none."""
    if index := package.get("index") or served_by:
        return str(index) if "://" in index else None
    return PYPI if _first_file(package).startswith(PYPI_FILES) else None


def _source(package: dict[str, Any]) -> str | None:
    """For what no index serves: the repository, the archive, or the folder of its files."""
    for kind in ("vcs", "archive"):
        if url := package.get(kind, {}).get("url"):
            return str(url)
    return _first_file(package).rpartition("/")[0] or None


def _first_file(package: dict[str, Any]) -> str:
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
    return next((str(file["url"]) for file in files if "url" in file), "")
