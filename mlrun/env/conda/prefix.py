"""What a conda prefix needs besides its packages: pip's part, and the variables that activating it sets."""

from __future__ import annotations

import json
import os
import re
import tomllib
from typing import TYPE_CHECKING, Any

from mlrun.env.conda.lock import LocalFolder
from mlrun.env.lock import canonical, read_lock
from mlrun.model import Package
from mlrun.process import capture
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlrun.env.conda.lock import CondaLock
    from mlrun.env.uv import Uv
    from mlrun.env.values import Asked, Site

_VARIABLES = "variables.json"
_NOT_SET_BY_SCRIPTS = frozenset({"_", "PWD", "OLDPWD", "SHLVL", "PATH", "PS1"})
_SCRIPT = 'for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do . "$script"; done >&2; env -0'
_PATIENCE = 60.0
"""Seconds that the scripts of packages may take."""


@value
class AddedByPip:
    """What pip put into a prefix: a `pylock.toml` of it, and local projects."""

    lock: str = ""
    folders: tuple[LocalFolder, ...] = ()


# --- pip's part ---------------------------------------------------------------------------------------


def wants_pip(asked: Asked) -> bool:
    """Whether there is anything for pip to install."""
    return bool(asked.requirements or asked.local or asked.build_requirements)


def add_by_pip(asked: Asked, site: Site, tool: Uv, prefix: Path, scratch: Path) -> AddedByPip:
    """Install the `pip:` section beside what conda has installed, which counts as far as it fits.

    Raises EnvironmentBuildError.
    """
    from mlrun.env.resolution import stage

    before = set(_distributions(prefix))
    lines = [item.text for item in (*asked.requirements, *asked.build_requirements)]
    staged = [stage(item, site, scratch / f"local-{number}") for number, item in enumerate(asked.local)]
    lines += [each.line for each in staged]
    arguments = [*_install(prefix), "--requirements", "-", *tool.flags]
    if asked.constraints:
        constraints = scratch / "constraints.txt"
        constraints.write_text("".join(f"{item.text}\n" for item in asked.constraints), "utf-8")
        arguments += ["--constraints", str(constraints)]
    tool.must("install the `pip:` section", *arguments, stdin="".join(f"{line}\n" for line in lines))
    origins = {str(each.path): each.origin for each in staged}
    return _locked(set(_distributions(prefix)) - before, site, tool, prefix, scratch, origins)


def add_from_lock(added: AddedByPip, site: Site, tool: Uv, prefix: Path, scratch: Path) -> None:
    """Install again what pip had put into a prefix. Raises EnvironmentBuildError."""
    tool = tool.for_locks()
    if added.lock:
        lock = scratch / "pylock.toml"
        lock.write_text(added.lock, "utf-8")
        arguments = (*_install(prefix), "--no-deps", "--requirements", str(lock), *tool.flags)
        tool.must("install what pip had added", *arguments)
    for folder in added.folders:
        path = os.path.normpath(site.directory / folder.path)
        source = ("--editable", path) if folder.editable else (path,)
        arguments = (*_install(prefix), "--no-deps", *tool.index_flags, *source)
        tool.must(f"install {folder.path}", *arguments)


def _install(prefix: Path) -> tuple[str, ...]:
    python = str(prefix / "bin/python")
    return ("pip", "install", "--quiet", "--break-system-packages", "--python", python)


def _locked(
    added: set[tuple[str, str, Path]],
    site: Site,
    tool: Uv,
    prefix: Path,
    scratch: Path,
    origins: Mapping[str, str],
) -> AddedByPip:
    """The lock of some distributions, by the URLs that they say they come from, else by name and version."""
    lines, folders = [], []
    for name, version, info in sorted(added):
        origin = _origin(info)
        if origin is not None and "dir_info" in origin:
            path = re.sub(r"^file://", "", str(origin["url"]))
            where = os.path.relpath(origins.get(path, path), site.directory)
            folders.append(LocalFolder(path=where, editable=bool(origin["dir_info"].get("editable"))))
        else:
            lines.append(f"{name} @ {_url(origin)}" if origin else f"{name}=={version}")
    if not lines:
        return AddedByPip(folders=tuple(folders))
    output = scratch / "pylock.toml"
    tool.must(
        "lock what pip installed",
        *("pip", "compile", "-", "--no-deps", "--no-header", "--quiet", "--generate-hashes"),
        *("--format", "pylock.toml", "--python", str(prefix / "bin/python"), *tool.flags),
        *("--output-file", output),
        stdin="".join(f"{line}\n" for line in lines),
    )
    text = output.read_text("utf-8")
    lock = read_lock(text, beside=scratch, directory=site.directory, origins={}, indexes={})
    return AddedByPip(lock=lock.text, folders=tuple(folders))


def _url(origin: Mapping[str, object]) -> str:
    vcs = origin.get("vcs_info")
    if isinstance(vcs, dict):
        return f"{vcs['vcs']}+{origin['url']}@{vcs['commit_id']}"
    return str(origin["url"])


def _origin(info: Path) -> dict[str, dict[str, object]] | None:
    """Where a distribution says it comes from, if not from an index (PEP 610)."""
    try:
        found = json.loads((info / "direct_url.json").read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _distributions(prefix: Path) -> Iterator[tuple[str, str, Path]]:
    for folder in sorted((prefix / "lib").glob("python*/site-packages")):
        for info in sorted(folder.glob("*.dist-info")):
            name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
            yield canonical(name), version, info


def packages_of(lock: CondaLock) -> list[Package]:
    """What pip has added, by its lock, and where each came from."""
    packages = tomllib.loads(lock.pip).get("packages", ()) if lock.pip else ()
    found = [
        Package(
            name=canonical(package["name"]), version=str(package.get("version", "")), source=_source(package)
        )
        for package in packages
    ]
    return [*found, *(Package(name=folder.path, version="", source=folder.path) for folder in lock.folders)]


def _source(package: Mapping[str, Any]) -> str | None:
    for kind in ("vcs", "archive"):
        if url := package.get(kind, {}).get("url"):
            return str(url)
    return package.get("index")


# --- activation ---------------------------------------------------------------------------------------


def note_variables(prefix: Path, inherited: Mapping[str, str]) -> None:
    """Keep what activating sets, so that entering starts no process.

    First what packages and users have noted as data (`etc/conda/env_vars.d/*.json`, `conda-meta/state`),
    then what the scripts in `activate.d` change, run once by bash. A script that fails changes nothing.
    """
    found: dict[str, str] = {}
    for path in (*sorted((prefix / "etc/conda/env_vars.d").glob("*.json")), prefix / "conda-meta/state"):
        found.update(_noted(path))
    if any((prefix / "etc/conda/activate.d").glob("*.sh")):
        found.update(_set_by_scripts(prefix, {**inherited, **found}))
    (prefix / _VARIABLES).write_text(json.dumps(found, indent=1), "utf-8")


def variables(prefix: Path) -> tuple[tuple[str, str], ...]:
    """All variables to set for a program in a prefix, but PATH."""
    return (
        ("CONDA_PREFIX", str(prefix)),
        ("CONDA_DEFAULT_ENV", str(prefix)),
        ("CONDA_SHLVL", "1"),
        *_noted(prefix / _VARIABLES).items(),
    )


def _noted(path: Path) -> dict[str, str]:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    values = values.get("env_vars", values) if isinstance(values, dict) else {}
    return {name: text for name, text in values.items() if isinstance(text, str)}


def _set_by_scripts(prefix: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    before = {
        **inherited,
        **dict(variables(prefix)),
        "PATH": os.pathsep.join((str(prefix / "bin"), inherited.get("PATH", os.defpath))),
    }
    said = capture(["bash", "--norc", "-c", _SCRIPT], variables=before, cwd=prefix, timeout=_PATIENCE)
    pairs = (
        entry.partition("=") for entry in said.stdout.decode("utf-8", "replace").split("\0") if "=" in entry
    )
    after = {name: text for name, _, text in pairs}
    return {
        name: text
        for name, text in after.items()
        if before.get(name) != text and name not in _NOT_SET_BY_SCRIPTS and not name.startswith("BASH_FUNC_")
    }
