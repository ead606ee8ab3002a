"""Virtual environments, resolved into a lock and built with uv.

An environment is found in two steps, neither of which starts a process: a digest of all that decides what
will be resolved leads to the answer of last time, and that to an environment by its own key, a digest of
its lock, interpreter, platform and local projects. So projects that resolve to the same share one.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import digest
from mlrun.env.interpreters import Interpreter, Probes, choose, first_on_path
from mlrun.env.pip_settings import fingerprint
from mlrun.env.shelf import Answer, Built, Shelf, shorten, utc
from mlrun.env.values import Plan, stays_editable, will_be_removed
from mlrun.errors import EnvironmentBuildError
from mlrun.files import build_once, locked, remove_tree
from mlrun.model import Environment
from mlrun.pattern import pattern
from mlrun.value import positional_value, replace

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from mlrun.env.attempts import Attempt
    from mlrun.env.resolution import Resolved
    from mlrun.env.uv import Uv
    from mlrun.env.values import Asked, LocalProject, Site
    from mlrun.model import Digest, Narrator

FORMAT = 2
"""Raised when environments of an older mlrun should not be used any more."""

_METADATA = pattern(r"pyproject\.toml|setup\.(py|cfg)|.*\.(txt|in)")
_COPIED = pattern(rb"\b(directory|path|workspace)\s*=")
_COPIED_FROM_CHECKOUT = pattern(rb"\b(directory|path|workspace|editable)\s*=")


def plan(asked: Asked, site: Site) -> Plan:
    """Whether there is an environment already, else with what one would be built."""
    shelf = Shelf(site.cache)
    answer = shelf.answer(request_key(asked, site))
    built = shelf.built(answer.key) if answer else None
    if answer and built:
        count = len(built.packages)
        return Plan(
            kind="venv",
            action="reuse",
            summary=asked.summary,
            python=built.python,
            packages=count,
            as_of=answer.as_of,
            as_of_why=answer.as_of_why,
            key=answer.key,
            held=built.packages,
        )
    from mlrun.env.pythons import first_choice

    as_of = site.day.as_of
    choice = first_choice(asked.python, as_of=as_of, caller=site.caller, probes=Probes(shelf.probes))
    return Plan(
        kind="venv",
        action="build",
        summary=asked.summary,
        python=choice.interpreter.version,
        as_of=as_of,
        as_of_why=site.day.why if as_of else None,
    )


def ensure(asked: Asked, site: Site, *, narrator: Narrator, refresh: bool) -> Environment:
    """The environment that answers what is asked: found, or resolved and built.

    Raises EnvironmentBuildError.
    """
    shelf = Shelf(site.cache)
    request = request_key(asked, site)
    if not refresh and (found := _found(shelf, request, asked)):
        return found
    site.cache.prepare()
    build = _Build(asked, site, shelf, request, narrator)
    with locked(shelf.request_lock(request), waiting=build.waiting):
        if not refresh and (found := _found(shelf, request, asked)):
            return found
        return build.run()


def request_key(asked: Asked, site: Site) -> Digest:
    """The digest of all that decides what will be resolved."""
    python = asked.python or ""
    as_of = None if asked.lock else site.day.as_of
    if as_of is None and (not python.replace(".", "").isdigit() or python.count(".") == 0):
        python = f"{python} {first_on_path(site.caller)}"  # any will do: then the caller's own decides
    return digest.of_value(
        {
            "format": FORMAT,
            "platform": platform_name(),
            "python": python,
            "as_of": as_of,
            "requirements": [item.text for item in asked.requirements],
            "constraints": [item.text for item in asked.constraints],
            "build": [item.text for item in asked.build_requirements],
            "options": [fingerprint_option(value) for value in asked.options],
            "files": [(name, _digest_of(site.directory / name)) for name in _deciding_files(asked)],
            "local": [
                (item.path, item.editable, item.extras, _local_state(site, item)) for item in asked.local
            ],
            "tree": site.tree if _names_local_source(asked, site) else None,
            # What published code imports may be added to its list.
            "imports": as_of and (site.tree, _digest_of(site.directory / "MLproject")),
            "settings": fingerprint(site.caller),
        }
    )


def fingerprint_option(option: tuple[str, str]) -> str:
    from mlrun.env.pip_settings import without_credentials

    return f"{option[0]}={without_credentials(option[1])}"


def platform_name() -> str:
    """`linux-x86_64`."""
    return f"{sys.platform}-{os.uname().machine}"


def _deciding_files(asked: Asked) -> list[str]:
    """Files that uv itself will read; of the others every line that counts is in `asked`."""
    names = [name for name in (asked.lock, asked.manifest) if name]
    return [*names, "pyproject.toml", "uv.toml"]


def _digest_of(path: Path) -> str | None:
    try:
        return digest.of_file(path)
    except OSError:
        return None


def _local_state(site: Site, item: LocalProject) -> object:
    """What of a local project can change what is built: all of it, or where it is editable its metadata."""
    full = Path(os.path.normpath(site.directory / item.path))
    if full.is_file():
        return digest.of_file(full)
    if stays_editable(item.editable, site):
        names = [name for name in sorted(os.listdir(full)) if _METADATA.fullmatch(name)]
        return str(full), [(name, _digest_of(full / name)) for name in names]
    if full == site.directory or site.directory in full.parents:
        return site.tree
    from mlrun.env.resolution import digest_of_folder

    return digest_of_folder(full)


def _names_local_source(asked: Asked, site: Site) -> bool:
    """Whether a lock or manifest leads to source in the project that will be copied into the environment."""
    pattern = _COPIED_FROM_CHECKOUT if will_be_removed(site) else _COPIED
    for name in (asked.lock, asked.manifest):
        if name and pattern.search((site.directory / name).read_bytes()):
            return True
    return False


def _found(shelf: Shelf, request: Digest, asked: Asked) -> Environment | None:
    answer = shelf.answer(request)
    built = shelf.built(answer.key) if answer else None
    if answer is None or built is None:
        return None
    shelf.touch(answer.key)
    return _environment(shelf, answer, built, asked, reused=True)


def _environment(shelf: Shelf, answer: Answer, built: Built, asked: Asked, *, reused: bool) -> Environment:
    location = shelf.location(answer.key)
    return Environment(
        kind="venv",
        key=answer.key,
        location=location,
        path=(str(location / "bin"),),
        variables=(*(asked.conda.variables if asked.conda else ()), ("VIRTUAL_ENV", str(location))),
        asked=asked.summary,
        python=built.python,
        python_asked=asked.python,
        platform=built.platform,
        lock=location / "pylock.toml",
        lock_digest=answer.lock_digest,
        lock_kind="pylock.toml",
        resolved_at=answer.resolved_at,
        as_of=answer.as_of,
        as_of_why=answer.as_of_why,
        adaptations=answer.adaptations,
        packages=built.packages,
        reused=reused,
        findings=answer.findings,
    )


# --- building -----------------------------------------------------------------------------------------


@positional_value
class _Build:
    """One resolution and, if nobody has built what it leads to, one build. The request's lock is held."""

    asked: Asked
    site: Site
    shelf: Shelf
    request: Digest
    narrator: Narrator

    def run(self) -> Environment:
        """The first way that leads to an environment."""
        from mlrun.env.attempts import PATIENCE, Failure, attempts, in_vain

        started = time.monotonic()
        self._download_python()
        probes = Probes(self.shelf.probes)
        ways = attempts(self.asked, self._site, probes, self._smaller)
        failures: list[Failure] = []
        transcript: list[str] = []
        attempt = next(ways)
        self._announce(attempt)
        while True:
            try:
                environment = self._tried(attempt, transcript)
            except EnvironmentBuildError as error:
                failures.append(Failure(attempt=attempt, error=error))
            else:
                seconds = 0.0 if environment.reused else time.monotonic() - started
                return replace(environment, build_seconds=seconds)
            turned = self._next(ways, failures[-1].error)
            if turned is None or time.monotonic() - started > PATIENCE:
                log = str(self.shelf.keep_log(self.request, transcript))
                raise in_vain(failures, self.asked, self._site, probes, log=log) from failures[0].error
            attempt = turned

    def _next(
        self, ways: Generator[Attempt, EnvironmentBuildError, None], error: EnvironmentBuildError
    ) -> Attempt | None:
        """The way to turn to after a failure."""
        try:
            attempt = ways.send(error)
        except StopIteration:
            return None
        from mlrun.env.attempts import in_short

        self.narrator.say(f"{in_short(error)}; trying {attempt.turned}")
        return attempt

    def _announce(self, attempt: Attempt) -> None:
        python = attempt.choice.interpreter.version
        wanted = self.asked.summary.partition(": ")[2].partition(", Python ")[0]
        self.narrator.say(f"building environment: Python {python}, {wanted}")
        if attempt.day.as_of:
            self.narrator.say(f"packages as of {attempt.day.as_of[:10]}, {attempt.day.why}")
        elif self.site.day.as_of:
            self.narrator.say(f"{self.asked.lock} is taken as it is: no day counts for it")

    @property
    def _site(self) -> Site:
        """A lock is of its own day."""
        return replace(self.site, day=replace(self.site.day, as_of=None)) if self.asked.lock else self.site

    def _tried(self, attempt: Attempt, transcript: list[str]) -> Environment:
        """One way, to its end. Raises EnvironmentBuildError."""
        from mlrun.env import resolution, uv
        from mlrun.env.attempts import OLD_TOOLS, described

        site = replace(self._site, day=attempt.day)
        tool = uv.prepare(attempt.asked, site)
        scratch = self.shelf.scratch(self.request)
        try:
            scratch.mkdir(parents=True, mode=0o700)
            if attempt.old_tools:
                tool.constrain_builds(OLD_TOOLS, scratch)
            self.narrator.progress("resolving", None)
            interpreter = attempt.choice.interpreter
            resolved = resolution.resolve(attempt.asked, site, tool, interpreter, scratch, pip=attempt.pip)
            return self._built(resolved, attempt, tool)
        finally:
            transcript += [f"# {described(attempt)}", *tool.transcript]
            remove_tree(scratch, trash=self.site.cache.trash)

    def _smaller(self) -> Iterator[Asked]:
        """What is asked, cut down to what the code imports, and loosened."""
        from mlrun.env.asking.reduction import shrinking

        return shrinking(self.asked, self._site)

    def waiting(self, _seconds: float) -> None:
        """Say why nothing happens."""
        self.narrator.say("waiting for another mlrun that builds the same environment")

    def _download_python(self) -> None:
        """uv fetches one that is missing, for those who have told it that it may."""
        downloads = self.site.caller.variables.get("UV_PYTHON_DOWNLOADS", "never")
        wanted = self.asked.python
        if downloads in ("never", "manual", "false", "0") or not wanted:
            return
        try:
            choose(wanted, caller=self.site.caller, probes=Probes(self.shelf.probes))
        except EnvironmentBuildError:
            from mlrun.env import uv

            tool = uv.prepare(self.asked, self.site)
            self.narrator.say(f"downloading Python {wanted}")
            tool.must(f"download Python {wanted}", "python", "install", wanted)

    def _built(self, resolved: Resolved, attempt: Attempt, tool: Uv) -> Environment:
        """Build it unless it is there."""
        from mlrun.env.installation import install

        interpreter = attempt.choice.interpreter
        key = self._key(resolved, interpreter)
        final, lock = self.shelf.location(key), self.shelf.build_lock(key)
        with locked(lock, waiting=self.waiting):
            if final.exists() and self.shelf.built(key) is None:
                remove_tree(final, trash=self.site.cache.trash)  # its interpreter has gone

        def build(scratch: Path) -> None:
            self.narrator.progress(f"installing {resolved.lock.count} packages", None)
            install(resolved, interpreter, tool, scratch, asked=self.asked.summary, platform=platform_name())

        was_built = build_once(
            final,
            lock=lock,
            temporary=self.site.cache.temporary,
            trash=self.site.cache.trash,
            build=build,
            waiting=self.waiting,
        )
        answer = Answer(
            key=key,
            resolved_at=utc(time.time()),
            lock_digest=digest.of_bytes(resolved.lock.text.encode()),
            findings=attempt.choice.findings,
            as_of=attempt.day.as_of,
            as_of_why=attempt.day.why if attempt.day.as_of else None,
            adaptations=tuple(
                dict.fromkeys((*attempt.asked.adaptations, *attempt.adaptations, *resolved.adaptations))
            ),
        )
        self.shelf.remember(self.request, answer)
        self.shelf.touch(key)
        built = self.shelf.built(key)
        if built is None:
            raise EnvironmentBuildError(f"the environment {key} vanished while it was built")
        return _environment(self.shelf, answer, built, self.asked, reused=not was_built)

    def _key(self, resolved: Resolved, interpreter: Interpreter) -> Digest:
        return shorten(
            digest.of_value(
                {
                    "format": FORMAT,
                    "lock": resolved.lock.text,
                    "python": [interpreter.implementation, interpreter.version],
                    "platform": platform_name(),
                    "local": [local.identity for local in resolved.local],
                }
            )
        )
