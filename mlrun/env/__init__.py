"""Environments: what a project asks for, and a place that answers it.

In come an `EnvironmentRequest` and the project's folder; out goes an `Environment`: where it is, how to
enter it, its lock and its packages. Projects and runs that resolve to the same share one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from mlrun.env.values import Asked, Collected, Entry, Plan, Site
from mlrun.model import Finding

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.env.values import Builder
    from mlrun.files import Cache
    from mlrun.model import Caller, Digest, Environment, EnvironmentRequest, EnvKind, Narrator

__all__ = [
    "Asked", "Collected", "Entry", "Plan",
    "changed", "collect_garbage", "ensure", "find", "listing", "plan", "read", "remove",
]  # fmt: skip

BUILDERS = {"venv": "mlrun.env.venv", "system": "mlrun.env.system"}
MANAGERS: dict[str, EnvKind] = {
    "auto": "venv",
    "venv": "venv",
    "virtualenv": "venv",
    "uv": "venv",
    "system": "system",
    "local": "system",
}
"""Names for `--env-manager`, MLflow's among them."""


def read(request: EnvironmentRequest, directory: Path, *, manager: str | None) -> Asked:
    """What the project asks of its environment; nothing is resolved.

    Raises UsageError for an unknown manager, ProjectError where a file is missing or makes no sense,
    EnvironmentBuildError (`docker-not-yet`, `conda-not-yet`) for what cannot be built yet.
    """
    kind = _kind(request, manager)
    if kind == "system":
        return Asked(kind="system", summary="the caller's own environment")
    from mlrun.env.asked import read_asked

    return read_asked(request, directory)


def plan(asked: Asked, *, directory: Path, tree: str, cache: Cache, caller: Caller) -> Plan:
    """What `ensure` would do: reuse or build, with what. Builds nothing and uses no network.

    Raises EnvironmentBuildError where no interpreter fits.
    """
    site = Site(directory=directory, tree=tree, cache=cache, caller=caller)
    return _builder(asked.kind).plan(asked, site)


def ensure(
    asked: Asked,
    *,
    directory: Path,
    tree: str,
    cache: Cache,
    caller: Caller,
    narrator: Narrator,
    refresh: bool = False,
) -> Environment:
    """The environment for a project in `directory`, whose git tree id is `tree`.

    With `refresh` it is resolved anew. Safe to call from many processes at once, and to kill.
    Raises EnvironmentBuildError.
    """
    site = Site(directory=directory, tree=tree, cache=cache, caller=caller)
    return _builder(asked.kind).ensure(asked, site, narrator=narrator, refresh=refresh)


def changed(environment: Environment) -> tuple[Finding, ...]:
    """Whether a program has installed or removed something: then the next run builds it anew."""
    from mlrun.env.shelf import distributions_in, read_built

    if environment.kind != "venv" or environment.location is None:
        return ()
    built = read_built(environment.location)
    if built is None or distributions_in(environment.location) == built.distributions:
        return ()
    return (
        Finding(
            level="warning",
            code="environment-changed",
            message="the program installed or removed packages, so the record's lock is not all that it used",
            hint="name them in the project's requirements; the next run starts from the lock again",
        ),
    )


def listing(cache: Cache) -> tuple[Entry, ...]:
    """The environments that have been built, the last used first."""
    from mlrun.env import shelf

    return shelf.listing(cache)


def find(cache: Cache, prefix: str) -> Entry:
    """The environment whose key starts so. Raises UsageError where none or several do."""
    from mlrun.env import shelf

    return shelf.find(cache, prefix)


def remove(cache: Cache, key: Digest) -> None:
    """Remove an environment; that no run uses it is the caller's care."""
    from mlrun.env import shelf

    shelf.remove(cache, key)


def collect_garbage(cache: Cache, *, keep_days: float, now: float, keep: frozenset[str]) -> Collected:
    """Remove environments not used for `keep_days`, but those whose keys are in `keep`."""
    from mlrun.env import shelf

    return shelf.collect_garbage(cache, keep_days=keep_days, now=now, keep=keep)


def _builder(kind: EnvKind) -> Builder:
    return cast("Builder", importlib.import_module(BUILDERS[kind]))


def _kind(request: EnvironmentRequest, manager: str | None) -> EnvKind:
    from mlrun.errors import EnvironmentBuildError

    if request.key == "docker_env":  # as in MLflow, whatever the manager
        raise EnvironmentBuildError(
            "the project asks for a container (`docker_env`); containers come in a later release",
            hint="name a `python_env` instead",
            code="docker-not-yet",
            place=request.place,
        )
    if manager is None:
        return "venv"
    if manager in MANAGERS:
        return MANAGERS[manager]
    if manager in ("docker", "conda"):
        raise EnvironmentBuildError(
            f"environments of the kind `{manager}` come in a later release",
            hint="`--env-manager venv` builds from PyPI, `--env-manager system` uses what is there",
            code=f"{manager}-not-yet",
        )
    from mlrun.errors import UsageError
    from mlrun.yamlfile import closest

    near = closest(manager, MANAGERS)
    raise UsageError(
        f"there is no environment manager `{manager}`; there are: {', '.join(MANAGERS)}",
        hint=f"did you mean `{near}`?" if near else None,
        code="unknown-env-manager",
    )
