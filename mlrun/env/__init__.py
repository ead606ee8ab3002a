"""Environments: what a project asks for, and a place that answers it.

In come an `EnvironmentRequest` and the project's folder; out goes an `Environment`: where it is, how to
enter it, its lock and its packages. Projects and runs that resolve to the same share one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from mlrun.env.values import NOW, Asked, Collected, Container, Day, Entry, Plan, Site, Visit
from mlrun.errors import UsageError
from mlrun.model import Finding
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlrun.env.interpreters import Interpreter
    from mlrun.env.values import Builder
    from mlrun.files import Cache
    from mlrun.model import (
        Caller,
        Digest,
        Environment,
        EnvironmentFacts,
        EnvironmentRequest,
        EnvKind,
        Job,
        Narrator,
        Outcome,
    )
    from mlrun.yamlfile import Memory

__all__ = [
    "NOW", "Asked", "Collected", "Day", "Entry", "Plan", "Visit",
    "address_of_ours", "amended", "changed", "choose_day", "collect_garbage", "ensure", "enter", "find",
    "installed_pythons", "leave", "listing", "names_source", "plan", "read", "remove", "restore", "variables",
]  # fmt: skip

BUILDERS = {
    "venv": "mlrun.env.venv",
    "system": "mlrun.env.system",
    "conda": "mlrun.env.conda",
    "docker": "mlrun.env.docker",
}
MANAGERS: dict[str, EnvKind | None] = {
    "auto": None,
    "venv": "venv",
    "virtualenv": "venv",
    "uv": "venv",
    "system": "system",
    "local": "system",
    "conda": "conda",
    "docker": "docker",
}
"""Names for `--env-manager`, MLflow's among them."""


def read(
    request: EnvironmentRequest,
    directory: Path,
    *,
    manager: str | None,
    root: Path | None = None,
    caller: Caller | None = None,
    locked: bool = True,
    skip_image_build: bool = False,
    memory: Memory | None = None,
) -> Asked:
    """What the project asks of its environment; nothing is resolved.

    `root` is the top of the checkout, where files are looked for that the project's own folder lacks.
    `caller` tells whether conda is at hand; without one, what it would build is read as for a venv.
    With `locked`, a lock that mlrun wrote beside the project counts more than what it was made from; with
    `skip_image_build`, an image that was built earlier is taken as it is. `memory` is for the YAML.
    Raises UsageError for an unknown manager, ProjectError where a file is missing or makes no sense,
    EnvironmentBuildError for what this kind of environment cannot give.
    """
    kind = _kind(request, manager)
    if kind == "system":
        return Asked(kind="system", summary="the caller's own environment")
    if request.key == "docker_env":
        from mlrun.env.docker import read_container

        asked = read_container(request, skip_build=skip_image_build)
        return asked if manager in (None, "auto", "docker") else _still_docker(asked, manager)
    from mlrun.env.asking.asked import read_asked

    if kind == "conda" or (kind is None and _conda_is_at_hand(request, caller)):
        from mlrun.env.asking.conda_translate import as_conda

        asked = read_asked(request, directory, root=root, translate=False, locked=locked)
        if (for_conda := as_conda(asked, by_hand=kind == "conda")) is not None:
            return for_conda
        if kind == "conda":
            raise UsageError(
                f"`--env-manager conda` needs a conda file, and this project has none: {asked.summary}",
                hint="`--env-manager venv` builds what it names",
                code="no-conda-file",
            )
        if asked.conda is None:
            return asked
    asked = read_asked(request, directory, root=root, translate=True, locked=locked, memory=memory)
    if asked.conda is not None:
        from mlrun.env.asking.conda_translate import as_translated

        asked = as_translated(asked, caller)
    if kind == "docker":
        declared = asked.conda.variables if asked.conda is not None else ()
        return replace(asked, kind="docker", container=Container(variables=declared))
    return asked


def choose_day(asked: Asked, wanted: str, *, committed_at: str | None) -> Day:
    """The day whose packages are to be installed: `wanted` is `auto`, `now`, `commit` or a date.

    `committed_at` is the date of the commit that runs, None where the source is not one commit. Raises
    UsageError for what is no date, and for `commit` where there is none.
    """
    from mlrun.env.as_of import choose_day as chosen

    return chosen(asked, wanted, committed_at=committed_at)


def plan(asked: Asked, *, directory: Path, tree: str, cache: Cache, caller: Caller, day: Day = NOW) -> Plan:
    """What `ensure` would do: reuse or build, with what. Builds nothing and uses no network.

    Raises EnvironmentBuildError where no interpreter fits.
    """
    site = Site(directory=directory, tree=tree, cache=cache, caller=caller, day=day)
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
    day: Day = NOW,
) -> Environment:
    """The environment for a project in `directory`, whose git tree id is `tree`, with packages of a `day`.

    With `refresh` it is resolved anew. Safe to call from many processes at once, and to kill.
    Raises EnvironmentBuildError.
    """
    site = Site(directory=directory, tree=tree, cache=cache, caller=caller, day=day)
    return _builder(asked.kind).ensure(asked, site, narrator=narrator, refresh=refresh)


def restore(
    facts: EnvironmentFacts,
    lock: str | None,
    *,
    directory: Path,
    was: str | None = None,
    tree: str,
    cache: Cache,
    caller: Caller,
    narrator: Narrator,
) -> Environment:
    """The environment of a past run, from its record: the one that is there, else built from its lock's text.

    What the lock names by path is looked for in `directory`, which holds the run's own source, then as seen
    from where that `was`. Raises EnvironmentBuildError: `no-environment` where the run had none, `no-lock`,
    `cannot-restore`, `local-project-gone`, `local-project-changed`.
    """
    from mlrun.env import restoration

    site = Site(directory=directory, tree=tree, cache=cache, caller=caller)
    return restoration.restore(facts, lock, site, was=was, narrator=narrator)


def names_source(lock: str) -> bool:
    """Whether a lock's text holds projects by their folders, so that it is built with the source at hand."""
    from mlrun.env import restoration

    return restoration.names_source(lock)


def variables(environment: Environment, inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of a program in an environment: the caller's, over them the environment's own."""
    found = {name: value for name, value in inherited.items() if name not in _MISLEADING}
    found.update(environment.variables)
    if environment.path:
        found["PATH"] = os.pathsep.join((*environment.path, inherited.get("PATH", os.defpath)))
    return found


_MISLEADING = frozenset({"PYTHONHOME", "__PYVENV_LAUNCHER__"})
"""Variables that would send an environment's Python to the packages of another."""


def installed_pythons(cache: Cache, caller: Caller) -> tuple[Interpreter, ...]:
    """The Pythons of this machine, the newest first."""
    from mlrun.env.interpreters import Probes, installed
    from mlrun.env.shelf import Shelf

    return tuple(installed(caller, Probes(Shelf(cache).probes)))


def enter(environment: Environment, job: Job, visit: Visit) -> Job:
    """The job as it is to be started so that it runs in the environment. Raises EnvironmentBuildError."""
    if environment.kind != "docker":
        return job
    from mlrun.env.docker import enter as entered

    return entered(environment, job, visit)


def address_of_ours(
    environment: Environment, caller: Caller, arguments: tuple[tuple[str, str | None], ...]
) -> str | None:
    """At which address what runs in an environment can reach a server of ours; None where it cannot.

    `arguments` are those of `docker run`.
    """
    if environment.kind != "docker":
        return "127.0.0.1"
    from mlrun.env.containers.network import address_for

    return address_for(caller, arguments)


def amended(environment: Environment, visit: Visit, outcome: Outcome) -> Outcome:
    """The outcome with what is known of what ran in the environment, rather than of what we started."""
    if environment.kind != "docker":
        return outcome
    from mlrun.env.docker import amended as known

    return known(outcome, visit)


def leave(environment: Environment, visit: Visit) -> None:
    """After a job's end, whatever it was: nothing of it is left running."""
    if environment.kind == "docker":
        from mlrun.env.docker import leave as left

        left(environment, visit)


def changed(environment: Environment) -> tuple[Finding, ...]:
    """Whether a program has installed or removed something: then the next run builds it anew."""
    from mlrun.env.shelf import distributions_in, read_built

    if environment.kind not in ("venv", "conda") or environment.location is None:
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
    return cast("Builder", __import__(BUILDERS[kind], fromlist=["plan"]))  # `importlib` itself takes 0.2 ms


def _kind(request: EnvironmentRequest, manager: str | None) -> EnvKind | None:
    """The kind that was decided by hand or by the project; None where it depends on what there is."""
    if manager is not None and manager not in MANAGERS:
        from mlrun.yamlfile import closest

        near = closest(manager, MANAGERS)
        raise UsageError(
            f"there is no environment manager `{manager}`; there are: {', '.join(MANAGERS)}",
            hint=f"did you mean `{near}`?" if near else None,
            code="unknown-env-manager",
        )
    if request.key == "docker_env":  # as in MLflow, whatever the manager
        return "docker"
    return MANAGERS[manager] if manager is not None else None


def _still_docker(asked: Asked, manager: str) -> Asked:
    place = asked.container.place if asked.container else None
    found = Finding(
        level="warning",
        code="env-manager-ignored",
        message=f"`--env-manager {manager}` does not count for a `docker_env`, as in MLflow",
        place=place,
        hint="to run it without a container, name a `python_env` in its place",
    )
    return replace(asked, findings=(*asked.findings, found))


def _conda_is_at_hand(request: EnvironmentRequest, caller: Caller | None) -> bool:
    """Whether there is a conda, should this be a conda file."""
    if caller is None or request.key == "python_env" or (request.key == "environment" and not request.path):
        return False
    from mlrun.env.conda.tools import find as found

    return found(caller) is not None
