"""The caller's own environment: nothing is built, but what is there is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import digest
from mlrun.env.installation import packages_in
from mlrun.env.interpreters import Interpreter, Probes, first_on_path
from mlrun.env.shelf import Shelf, shorten
from mlrun.env.values import Plan
from mlrun.env.venv import platform_name
from mlrun.model import Environment

if TYPE_CHECKING:
    from mlrun.env.values import Asked, Site
    from mlrun.model import Narrator


def plan(asked: Asked, site: Site) -> Plan:
    """Nothing to do."""
    python = _python(site)
    version = python.version if python else None
    return Plan(kind="system", action="none", summary=asked.summary, python=version)


def ensure(asked: Asked, site: Site, *, narrator: Narrator, refresh: bool) -> Environment:  # noqa: ARG001  the protocol
    """The Python that the caller types `python` for, if any, with its packages."""
    python = _python(site)
    packages = tuple(packages_in((Path(folder) for folder in python.folders), {})) if python else ()
    held = [(package.name, package.version) for package in packages]
    known = {
        "python": (python.path, python.version) if python else None,
        "packages": held,
        "platform": platform_name(),
    }
    return Environment(
        kind="system",
        key=shorten(digest.of_value(known)),
        asked=asked.summary,
        python=python.version if python else None,
        platform=platform_name(),
        packages=packages,
        reused=True,
    )


def _python(site: Site) -> Interpreter | None:
    path = first_on_path(site.caller)
    return Probes(Shelf(site.cache).probes).ask(path, site.caller.variables) if path else None
