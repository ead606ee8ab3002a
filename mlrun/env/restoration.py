"""An environment of the past, by its run's record and lock: the one that is there, or one built again.

A lock is kept as if it lay beside the project: what it names by path is looked for in the project's folder.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import digest
from mlrun.env.shelf import Shelf
from mlrun.env.values import Asked
from mlrun.errors import EnvironmentBuildError
from mlrun.files import write_atomic
from mlrun.model import Environment, Finding
from mlrun.value import replace

if TYPE_CHECKING:
    from mlrun.env.values import Restorer, Site
    from mlrun.model import EnvironmentFacts, Narrator

_FOLDER = re.compile(r"^\[packages\.directory\]|^directory\s*=|^# pip-folder: ", re.MULTILINE)
_PATH = re.compile(r'\bpath = ("(?:[^"\\]|\\.)*")')
_EDITABLE = re.compile(r"\beditable\s*=\s*true\b")


def names_source(lock: str) -> bool:
    """Whether a lock holds projects by their folders: then the source is needed to build from it."""
    return bool(_FOLDER.search(lock))


def restore(
    facts: EnvironmentFacts, lock: str | None, site: Site, *, was: str | None = None, narrator: Narrator
) -> Environment:
    """See `mlrun.env.restore`."""
    if facts.kind == "system":
        return _system(facts, site, narrator)
    if facts.key is None:
        raise EnvironmentBuildError(
            "the run ended before its environment was ready, so there is none to go back to",
            hint="give the project instead of the run",
            code="no-environment",
        )
    if facts.kind != "venv":
        return _of_other_kind(facts, lock, site, narrator)
    if lock is None:
        raise EnvironmentBuildError("the run's record has no lock to build from", code="no-lock")
    return _venv(facts, lock, site, was, narrator)


def _venv(facts: EnvironmentFacts, lock: str, site: Site, was: str | None, narrator: Narrator) -> Environment:
    """An editable project is a link to where it was, so such an environment is never taken as it stands."""
    edited = _set_aside(facts, site)
    environment = None if _EDITABLE.search(lock) else _as_it_is(facts, site)
    if environment is None:
        from mlrun.env import venv

        folders, outside = _folders(lock, site, was)
        if outside and len(outside) == len(folders) and was is not None:
            site = replace(site, directory=Path(was))  # a lock with paths is told by how these are written
        asked = Asked(
            kind="venv",
            summary=facts.asked or "a run's lock",
            python=facts.python,
            python_from="the run's record",
            lock=_as_file(lock, folders, site),
        )
        environment = venv.ensure(asked, site, narrator=narrator, refresh=False)
        _check_outside(facts, environment, lock, outside)
        _check_edited(environment, edited)
    return replace(
        environment,
        asked=facts.asked,
        python_asked=facts.python_asked,
        as_of=facts.as_of,
        as_of_why=facts.as_of_why,
        resolved_at=facts.resolved_at or environment.resolved_at,
        adaptations=facts.adaptations,
        findings=(*environment.findings, *_other_platform(facts, environment), *_built_again(edited)),
    )


def _set_aside(facts: EnvironmentFacts, site: Site) -> tuple[str, ...]:
    """What somebody has edited is no environment to repeat a run in: it does not count as built any more."""
    from mlrun.env.edited import edited

    assert facts.key is not None
    location = Shelf(site.cache).location(facts.key)
    found = edited(location)
    if found:
        (location / ".complete").unlink(missing_ok=True)
    return found


def _check_edited(environment: Environment, edited: tuple[str, ...]) -> None:
    """Where uv links files into environments, it has the edited ones itself."""
    from mlrun.env.edited import unlike

    still = unlike(environment.location, edited) if environment.location else ()
    if still:
        os.utime(f"{environment.location}/.complete", (0, 0))  # the next look is at all files, whatever age
        raise EnvironmentBuildError(
            f"`{still[0]}`, a file of its packages, was edited, in uv's cache too",
            hint="`uv cache clean` lets them be fetched anew",
            code="package-edited",
        )


def _built_again(edited: tuple[str, ...]) -> tuple[Finding, ...]:
    if not edited:
        return ()
    message = f"`{edited[0]}`, a file of its packages, was edited, so the environment is built again"
    return (Finding(level="warning", code="environment-edited", message=message),)


def _as_it_is(facts: EnvironmentFacts, site: Site) -> Environment | None:
    """The very environment of the run, if it is still whole."""
    assert facts.key is not None
    shelf = Shelf(site.cache)
    built = shelf.built(facts.key)
    if built is None:
        return None
    shelf.touch(facts.key)
    location = shelf.location(facts.key)
    return Environment(
        kind="venv",
        key=facts.key,
        location=location,
        path=(str(location / "bin"),),
        variables=(("VIRTUAL_ENV", str(location)),),
        python=built.python,
        platform=built.platform,
        lock=location / "pylock.toml",
        lock_digest=facts.lock,
        lock_kind=facts.lock_kind,
        packages=built.packages,
        reused=True,
    )


def _folders(lock: str, site: Site, was: str | None) -> tuple[dict[str, str], list[str]]:
    """Where the paths of a lock lead: into the run's source, else to where they did then; and the latter's
    names."""
    found, outside = {}, []
    for quoted in dict.fromkeys(_PATH.findall(lock)):
        name = json.loads(quoted)
        here = os.path.normpath(os.path.join(site.directory, name))
        then = os.path.normpath(os.path.join(was or site.directory, name))
        found[quoted] = here if os.path.exists(here) else then
        outside += [] if os.path.exists(here) else [name]
        if not os.path.exists(found[quoted]):
            raise EnvironmentBuildError(
                f"`{name}`, of which its environment was made, is gone, and no record holds it",
                hint=f"put it back at {then}",
                code="local-project-gone",
            )
    return found, outside


def _check_outside(facts: EnvironmentFacts, environment: Environment, lock: str, outside: list[str]) -> None:
    """What was built from outside the source has to be what it was; of an editable one the reads tell."""
    if outside and environment.key != facts.key and not _EDITABLE.search(lock):
        raise EnvironmentBuildError(
            f"`{outside[0]}`, of which its environment was made, cannot be told to be what it was",
            hint="no record holds what lies outside a run's source: put it back as it was then",
            code="local-project-changed",
        )


def _as_file(lock: str, folders: dict[str, str], site: Site) -> str:
    """The lock where a resolver can read it, with absolute paths; its name tells its content."""
    data = _PATH.sub(lambda found: _absolute(folders[found[1]]), lock).encode()
    folder = site.cache.environments / "locks"
    path = folder / f"pylock.{digest.hex_of(digest.of_bytes(data))[:32]}.toml"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    return str(path)


def _absolute(path: str) -> str:
    return f"path = {json.dumps(path, ensure_ascii=False)}"


def _system(facts: EnvironmentFacts, site: Site, narrator: Narrator) -> Environment:
    from mlrun.env import system

    asked = Asked(kind="system", summary=facts.asked)
    environment = system.ensure(asked, site, narrator=narrator, refresh=False)
    if environment.key == facts.key:
        return environment
    message = (
        f"the run used the caller's own environment (Python {facts.python}, {len(facts.packages)} packages), "
        f"which is no longer the same: now Python {environment.python}, {len(environment.packages)} packages"
    )
    return replace(environment, findings=(Finding(level="warning", code="other-system", message=message),))


def _of_other_kind(facts: EnvironmentFacts, lock: str | None, site: Site, narrator: Narrator) -> Environment:
    from mlrun.env import BUILDERS

    builder: Restorer | None = None
    if facts.kind in BUILDERS:
        module = importlib.import_module(BUILDERS[facts.kind])
        builder = module if hasattr(module, "restore") else None
    if builder is None:
        raise EnvironmentBuildError(
            f"this release cannot build a {facts.kind} environment again from a run's record",
            hint="give the project instead of the run",
            code="cannot-restore",
        )
    return builder.restore(facts, lock, site, narrator=narrator)


def _other_platform(facts: EnvironmentFacts, environment: Environment) -> tuple[Finding, ...]:
    if facts.platform == environment.platform:
        return ()
    message = f"the lock was made on {facts.platform}, and this is {environment.platform}"
    return (Finding(level="warning", code="other-platform", message=message),)
