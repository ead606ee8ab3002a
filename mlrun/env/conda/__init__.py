"""Real conda environments, by py-rattler or by a conda program of the machine.

A prefix cannot be moved, since paths are written into it: it is built where it will stay, under the lock of
its key, and counts when its marker is written, last. What was interrupted has none and is built anew.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mlrun import digest
from mlrun.env.conda import lock as conda_lock
from mlrun.env.conda import prefix as conda_prefix
from mlrun.env.conda import tools as conda_tools
from mlrun.env.shelf import Answer, Shelf, shorten, utc
from mlrun.env.values import Plan
from mlrun.errors import EnvironmentBuildError
from mlrun.files import locked, remove_tree, write_atomic
from mlrun.model import Environment, EnvironmentRequest
from mlrun.value import positional_value, replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlrun.env.conda.building import Chosen, Works
    from mlrun.env.shelf import Built
    from mlrun.env.values import Asked, Site
    from mlrun.model import Digest, EnvironmentFacts, Narrator

FORMAT = 1
"""Raised when environments of an older mlrun should not be used any more."""

_MARKER = ".complete"
_WITHOUT_ANSWER = frozenset({"no-channel", "cannot-resolve", "conda-failed"})
_NOBODY = digest.of_bytes(b"conda has no answer")


def plan(asked: Asked, site: Site) -> Plan:
    """Whether there is such a prefix already. Raises EnvironmentBuildError (`no-conda`)."""
    from mlrun.env import venv

    shelf = Shelf(site.cache)
    answer = shelf.answer(_request_key(asked, site))
    built = shelf.built(answer.key) if answer else None
    if answer and built:
        return Plan(
            kind="conda",
            action="reuse",
            summary=asked.summary,
            python=built.python,
            packages=len(built.packages),
            key=answer.key,
            held=built.packages,
        )
    if _given_up(shelf, _request_key(asked, site)):
        return venv.plan(_translated(asked, site), site)
    conda_tools.must_find(site.caller)
    return Plan(kind="conda", action="build", summary=asked.summary, python=asked.python)


def ensure(asked: Asked, site: Site, *, narrator: Narrator, refresh: bool) -> Environment:
    """The prefix that answers a conda file: found, or solved and built.

    Where nobody asked for conda by name, and its channels have no answer, the packages are taken from PyPI.
    Raises EnvironmentBuildError.
    """
    assert asked.conda is not None
    shelf = Shelf(site.cache)
    request = _request_key(asked, site)
    if not refresh and (found := _found(shelf, request, asked, site)):
        return found
    if not refresh and (said := _given_up(shelf, request)):
        return _from_pypi(asked, site, said, narrator=narrator)
    build = _Build(asked, site, shelf, narrator, _works(asked, site, narrator))
    try:
        with locked(shelf.request_lock(request), waiting=build.waiting):
            if not refresh and (found := _found(shelf, request, asked, site)):
                return found
            return build.from_file(request, refresh=refresh)
    except EnvironmentBuildError as error:
        if asked.conda.by_hand or error.code not in _WITHOUT_ANSWER:
            raise
        said = f"packages of PyPI instead of conda's: {error.message}"
        narrator.say(said)
        environment = _from_pypi(asked, site, said, narrator=narrator)
        # So that the next run does not ask again; `--refresh-env` does.
        answer = Answer(key=_NOBODY, resolved_at=utc(time.time()), lock_digest=_NOBODY, adaptations=(said,))
        shelf.remember(request, answer)
        return environment


def _given_up(shelf: Shelf, request: Digest) -> str | None:
    """Why conda had no answer to this request, if it was asked lately."""
    answer = shelf.answer(request)
    return answer.adaptations[0] if answer is not None and answer.key == _NOBODY else None


def _from_pypi(asked: Asked, site: Site, said: str, *, narrator: Narrator) -> Environment:
    """The conda file as a virtual environment. Raises EnvironmentBuildError."""
    from mlrun.env import venv

    environment = venv.ensure(_translated(asked, site), site, narrator=narrator, refresh=False)
    return replace(environment, adaptations=(said, *environment.adaptations))


def _translated(asked: Asked, site: Site) -> Asked:
    assert asked.conda is not None
    from mlrun.env.asking.asked import read_asked
    from mlrun.env.asking.conda_translate import as_translated

    request = EnvironmentRequest(key="conda_env", path=asked.conda.path)
    return as_translated(read_asked(request, site.directory, translate=True), site.caller)


def restore(facts: EnvironmentFacts, lock: str | None, site: Site, *, narrator: Narrator) -> Environment:
    """The prefix of a run, by its record: the one that is there, or one built again without a solve.

    Raises EnvironmentBuildError (`no-lock`, `no-conda`, `other-platform`).
    """
    from mlrun.env.values import Asked

    shelf = Shelf(site.cache)
    asked = Asked(kind="conda", summary=facts.asked, python=facts.python_asked)
    answer = Answer(
        key=facts.key or digest.of_bytes(b""),
        resolved_at=facts.resolved_at or "",
        lock_digest=facts.lock or digest.of_bytes(b""),
        as_of=facts.as_of,
        adaptations=facts.adaptations,
    )
    if facts.key and (built := shelf.built(facts.key)):
        shelf.touch(facts.key)
        return _environment(shelf, answer, built, asked, site, reused=True)
    if lock is None:
        raise EnvironmentBuildError("the run's record has no lock to build from", code="no-lock")
    return _Build(asked, site, shelf, narrator, _works(asked, site, narrator)).from_lock(lock, answer)


def _works(asked: Asked, site: Site, narrator: Narrator) -> Works:
    """Raises EnvironmentBuildError (`no-conda`)."""
    from mlrun.env import uv
    from mlrun.env.conda.building import Works

    tool = conda_tools.must_find(site.caller)
    site.cache.prepare()
    return Works(asked, site, tool, uv.prepare(asked, site), narrator)


def _request_key(asked: Asked, site: Site) -> Digest:
    """The digest of all that decides what will be solved."""
    assert asked.conda is not None
    from mlrun.env import venv

    return digest.of_value(
        {
            "format": FORMAT,
            "kind": "conda",
            "specs": [item.text for item in asked.conda.specs],
            "channels": [conda_lock.public(channel) for channel in asked.conda.channels],
            # Which Python is on PATH is no matter here, where conda brings its own.
            "pip": venv.request_key(replace(asked, python="0.0"), site),
        }
    )


def _found(shelf: Shelf, request: Digest, asked: Asked, site: Site) -> Environment | None:
    answer = shelf.answer(request)
    built = shelf.built(answer.key) if answer else None
    if answer is None or built is None:
        return None
    shelf.touch(answer.key)
    return _environment(shelf, answer, built, asked, site, reused=True)


def _environment(
    shelf: Shelf, answer: Answer, built: Built, asked: Asked, site: Site, *, reused: bool
) -> Environment:
    location = shelf.location(answer.key)
    declared = asked.conda.variables if asked.conda is not None else ()
    return Environment(
        kind="conda",
        key=answer.key,
        location=location,
        path=(str(location / "bin"),),
        variables=(*conda_prefix.variables(location), *declared),
        asked=asked.summary,
        python=built.python or None,
        python_asked=asked.python,
        platform=built.platform,
        lock=location / conda_lock.FILE_NAME,
        lock_digest=answer.lock_digest,
        lock_kind=conda_lock.KIND,
        resolved_at=answer.resolved_at,
        as_of=answer.as_of,
        as_of_why=site.day.why if answer.as_of else None,
        adaptations=answer.adaptations,
        packages=built.packages,
        reused=reused,
        findings=answer.findings,
    )


# --- building -----------------------------------------------------------------------------------------


@positional_value
class _Build:
    """One prefix to be had: which, where, and once."""

    asked: Asked
    site: Site
    shelf: Shelf
    narrator: Narrator
    works: Works

    def waiting(self, _seconds: float) -> None:
        """Say why nothing happens."""
        self.narrator.say("waiting for another mlrun that builds the same environment")

    def from_file(self, request: Digest, *, refresh: bool) -> Environment:
        """Solve, build, and keep which prefix answers the request, whose lock is held."""
        started = time.monotonic()
        wanted = self.asked.summary.partition(": ")[2]
        self.narrator.say(f"building conda environment with {self.works.tool.name}: {wanted}")
        try:
            chosen = self.works.choose()
            key = _key(request, chosen, wants_pip=conda_prefix.wants_pip(self.asked), refresh=refresh)
            was_built = self._once(key, lambda prefix: self.works.fill(prefix, chosen))
        except EnvironmentBuildError as error:
            raise self._with_log(error, request) from error
        answer = Answer(
            key=key,
            resolved_at=utc(time.time()),
            lock_digest=self._lock_digest(key),
            as_of=chosen.as_of,
            adaptations=(*self.asked.adaptations, *chosen.adaptations),
        )
        self.shelf.remember(request, answer)
        return self._finished(answer, started=started, was_built=was_built)

    def from_lock(self, text: str, answer: Answer) -> Environment:
        """Build what a lock holds, without a solve."""
        started = time.monotonic()
        lock = conda_lock.read(text, shown="the run's lock")
        key = shorten(digest.of_value({"format": FORMAT, "kind": "conda", "lock": text}))
        self.narrator.say(f"building conda environment with {self.works.tool.name}: the run's lock")
        try:
            was_built = self._once(key, lambda prefix: self.works.fill_from_lock(prefix, lock))
        except EnvironmentBuildError as error:
            raise self._with_log(error, key) from error
        answer = replace(answer, key=key, lock_digest=self._lock_digest(key))
        return self._finished(answer, started=started, was_built=was_built)

    def _once(self, key: Digest, fill: Callable[[Path], None]) -> bool:
        """Make the prefix unless it is there; True if it was built now."""
        prefix, trash = self.shelf.location(key), self.site.cache.trash
        with locked(self.shelf.build_lock(key), waiting=self.waiting):
            if self.shelf.built(key) is not None:
                return False
            if prefix.exists():  # what a build that was killed has left
                remove_tree(prefix, trash=trash)
            prefix.parent.mkdir(parents=True, exist_ok=True)
            try:
                fill(prefix)
                write_atomic(prefix / _MARKER, b"", sync=True)
            except BaseException:
                remove_tree(prefix, trash=trash)
                raise
        return True

    def _finished(self, answer: Answer, *, started: float, was_built: bool) -> Environment:
        self.shelf.touch(answer.key)
        built = self.shelf.built(answer.key)
        if built is None:
            raise EnvironmentBuildError(f"the environment {answer.key} vanished while it was built")
        environment = _environment(self.shelf, answer, built, self.asked, self.site, reused=not was_built)
        return replace(environment, build_seconds=time.monotonic() - started if was_built else 0.0)

    def _lock_digest(self, key: Digest) -> Digest:
        return digest.of_file(self.shelf.location(key) / conda_lock.FILE_NAME)

    def _with_log(self, error: EnvironmentBuildError, request: Digest) -> EnvironmentBuildError:
        transcript = [*self.works.transcript, *self.works.uv.transcript]
        if not transcript:
            return error
        log = self.shelf.keep_log(request, transcript)
        return EnvironmentBuildError(
            error.message,
            hint=error.hint,
            code=error.code,
            place=error.place,
            details=(*error.details, f"the whole log: {log}"),
        )


def _key(request: Digest, chosen: Chosen, *, wants_pip: bool, refresh: bool) -> Digest:
    """By what is in it; what is only known once it is built goes by the request that it answers."""
    unknown = wants_pip or chosen.packages is None
    packages = [package.line for package in chosen.packages or ()]
    return shorten(
        digest.of_value(
            {
                "format": FORMAT,
                "kind": "conda",
                "packages": packages,
                "request": request if unknown else None,
                "resolved": time.time_ns() if unknown and refresh else None,
            }
        )
    )
