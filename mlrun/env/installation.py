"""From a lock to a virtual environment, in a scratch folder that will be renamed."""

from __future__ import annotations

import os
import re
import shlex
import time
from typing import TYPE_CHECKING

from mlrun.env.lock import canonical, without_packages
from mlrun.env.shelf import Built, distributions_in, stamp_of, utc, write_built
from mlrun.files import write_atomic
from mlrun.model import Package

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mlrun.env.interpreters import Interpreter
    from mlrun.env.resolution import Local, Resolved
    from mlrun.env.uv import Uv

_DIST_INFO = re.compile(r"(?P<name>.+)-(?P<version>[^-]+)\.(dist|egg)-info$")


def install(
    resolved: Resolved, interpreter: Interpreter, tool: Uv, location: Path, *, asked: str, platform: str
) -> None:
    """Make the environment at `location`, with its lock and what is to be known of it beside.

    It can be moved afterwards. Hashes are checked by uv. Raises EnvironmentBuildError.
    """
    tool = tool.for_locks()
    tool.must(
        "create the environment",
        *("venv", "--quiet", "--relocatable", "--no-project", "--prompt", "mlrun"),
        *("--python", interpreter.path, location),
    )
    python = location / "bin/python"
    if resolved.lock.count:
        lock = location / "pylock.toml"
        lock.touch(mode=0o600)
        built = frozenset(canonical(wheel.name.split("-")[0]) for wheel in resolved.wheels)
        lock.write_text(without_packages(resolved.lock.installable, built), "utf-8")
        tool.must("install its packages", "pip", "sync", "--python", python, *tool.flags, lock)
    for wheel in resolved.wheels:
        name, version, *_ = wheel.name.split("-")
        found = ("--no-index", "--find-links", wheel.parent, f"{name}=={version}")
        tool.must(f"install {name}", "pip", "install", "--python", python, "--no-deps", *found)
    for local in resolved.local:
        source = _source_of(local, tool.index_flags)
        tool.must(f"install {local.name}", "pip", "install", "--python", python, "--no-deps", *source)
    if not (location / "bin/pip").exists():
        give_pip(location, tool.program)
    (location / "pylock.toml").unlink(missing_ok=True)
    write_atomic(location / "pylock.toml", resolved.lock.text.encode())
    (location / ".last-used").touch()
    write_built(
        location,
        Built(
            python=interpreter.version,
            interpreter=interpreter.path,
            stamp=stamp_of(location),
            platform=platform,
            created=utc(time.time()),
            asked=asked,
            packages=tuple(
                packages_in((location / "lib").glob("python*/site-packages"), resolved.lock.sources)
            ),
            distributions=distributions_in(location),
        ),
    )


def give_pip(location: Path, program: str) -> None:
    """A `pip` that acts on this environment, by uv: without one, a command's `pip install` would reach the
    caller's own pip, and change the caller's Python."""
    text = f'#!/bin/sh\nVIRTUAL_ENV=$(dirname "$0")/.. exec {shlex.quote(program)} pip "$@"\n'
    for name in ("pip", "pip3"):
        write_atomic(location / "bin" / name, text.encode(), mode=0o755)


def _source_of(local: Local, index_flags: tuple[str, ...]) -> tuple[str | Path, ...]:
    """A wheel is found by name in its folder, so that nothing records the scratch path it came from."""
    if local.wheel is None:
        return (*index_flags, "--editable", local.folder)
    version = local.wheel.name.split("-")[1]
    return ("--no-index", "--find-links", local.wheel.parent, f"{local.name}=={version}")


def packages_in(folders: Iterable[Path], sources: Mapping[tuple[str, str], str]) -> list[Package]:
    """The distributions installed in some folders, by name; the first folder that has one counts.

    A folder that is not there, or not ours to look at (another user's site-packages), holds none.
    """
    found: dict[str, Package] = {}
    for folder in folders:
        for entry in _names_in(folder):
            if match := _DIST_INFO.match(entry):
                name, version = canonical(match["name"]), match["version"]
                found.setdefault(
                    name, Package(name=name, version=version, source=sources.get((name, version)))
                )
    return [found[name] for name in sorted(found)]


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
