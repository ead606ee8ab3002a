"""Would running a project again change anything: what is there now, held against its last good run.

    which entry points → would the cache stand in for each? → if not, why: a record is made up of what would
    be recorded if the same were asked again, and compared as two runs are

The cache is asked by the code that asks it in a run, so that a pipeline's steps stand as they would run.
Files that the program made, code that does not count for it, and what only says what the record knows by
itself (an environment file, a README) are no reason to run again; what they lead to is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import (
    caching,
    data,
    determinism,
    difference,
    host,
    process,
    recording,
    resolve,
    runner,
    scene,
    source,
)
from mlrun.difference.causes import words
from mlrun.errors import MlrunError
from mlrun.model import RunRequest
from mlrun.orchestration.telling import Noted
from mlrun.pipelines.paths import overlap
from mlrun.recording import Prepared
from mlrun.staleness.environment import asked_as_then, entered
from mlrun.staleness.parts import MASK, Here, last_good, parts
from mlrun.staleness.values import Cause, State, Status
from mlrun.store.names import new_id
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlrun.difference import Difference
    from mlrun.model import Artifact, Determinism, EnvironmentFacts, RunRecord
    from mlrun.scene import Desk, Scene, Wanted
    from mlrun.staleness.parts import Part

__all__ = ["Cause", "State", "Status", "status"]

_KINDS = ("data", "code", "parameters", "packages", "python", "variables", "image", "command")
_NO_DATA = ("no-such-path", "no-such-output", "output-gone", "no-such-run")
_NAMED = 4  # files of a note


def status(
    wanted: Wanted,
    desk: Desk,
    *,
    entry_point: str | None = None,
    every: bool = False,
    parameters: tuple[tuple[str, str], ...] = (),
) -> tuple[Status, ...]:
    """Look at an entry point and those that it needs, or at `every` one of a project's.

    Where none is named, `main` is meant, or all where there is no such. Raises MlrunError.
    """
    desk.home.prepare()
    run_id = new_id()
    found = scene.understand(wanted, desk, run_id=run_id)
    try:
        names = [it.name for it in found.project.entry_points]
        target = None if every else entry_point or ("main" if "main" in names or not names else None)
        looking = _Looking(found, wanted, desk, run_id)
        return tuple(looking.at(part) for part in parts(found, desk, target, parameters))
    finally:
        source.release(found.snapshot, cache=desk.cache)


class _Looking:
    """One call of `status`: what is learned of the source serves each entry point."""

    def __init__(self, found: Scene, wanted: Wanted, desk: Desk, run_id: str) -> None:
        self.found = found
        self.wanted = wanted
        self.desk = desk
        self.run_id = run_id
        self.stage = runner.Stage(caller=desk.caller, home=desk.home, cache=desk.cache, teller=Noted())
        self.site = caching.Site(found.snapshot, desk.store, caller=desk.caller, cache=desk.cache)
        self.commons: dict[str, runner.Common] = {}
        self.returned: list[Artifact] = []
        self.to_run: set[str] = set()
        self.unsettled: set[str] = set()

    def at(self, part: Part) -> Status:
        """One entry point, after those that it needs."""
        found = self._at(part)
        if found.causes or part.name in self.to_run:
            self.unsettled.add(part.name)
        return found

    def _at(self, part: Part) -> Status:
        last = part.last or last_good(self.found, self.desk, part.name)
        if last is None:
            self.to_run.add(part.name)
            return Status(entry_point=part.name, unknown=("it has never run to a good end here",))
        known = Status(entry_point=part.name, run=last.id, name=last.name, started_at=last.started_at)
        try:
            prepared = self._prepared(part, last)
        except MlrunError as error:
            self.to_run.add(part.name)
            kind = "data" if error.code in _NO_DATA else "command"
            cause = Cause(kind=kind, name=part.name, text=f"it cannot run as it did: {error.message}")
            return replace(known, causes=(cause,))
        waiting = tuple(_after(maker) for maker in _makers(part) if maker in self.to_run)
        found = caching.Miss() if waiting else self._cached(part, prepared)
        if isinstance(found, caching.Hit):
            past = found.results
            self.returned += [it for it in past.outputs if it.declared]
            if past.id not in (last.id, dict(last.parents).get("cached_from")):
                # The last one was otherwise; an earlier one was as it is now.
                known = replace(known, run=past.id, name=past.name, started_at=past.started_at)
            return replace(known, causes=tuple(self._put_back(found)))
        told = self._compared(part, prepared, last, known, found)
        if part.is_step and not (waiting or told.causes or told.unknown):
            told = _uncached(part, prepared, found, told)
        if waiting or told.causes:
            self.to_run.add(part.name)
        return replace(told, causes=(*waiting, *told.causes))

    def _prepared(self, part: Part, last: RunRecord) -> Prepared:
        """What would be asked, with the parameters of then and the defaults of now. Raises MlrunError."""
        request = replace(part.request or _asked_by_itself(part, last), target=self.wanted.target)
        request = replace(request, version=self.wanted.version, timeout=None)
        files = Here(self.found.snapshot, self.desk, made=part.made)
        return Prepared(
            run_id=self.run_id,
            request=request,
            snapshot=self.found.snapshot,
            project=self.found.project,
            spec=resolve.resolve(self.found.project, request, files=files),
            asked=asked_as_then(self.found, self.wanted, self.desk, last),
        )

    # --- the cache

    def _cached(self, part: Part, prepared: Prepared) -> caching.Hit | caching.Miss:
        """What a run would find there."""
        entry_point = next((it for it in prepared.project.entry_points if it.name == part.name), None)
        wanted = entry_point is not None and entry_point.cache is not False
        if not wanted or prepared.request.cache is False or _is_masked(prepared):
            return caching.Miss()
        spec = replace(prepared.spec, cache=True)
        common = self.commons.setdefault(prepared.asked.kind, runner.Common())
        try:
            return runner.look(
                replace(prepared, spec=spec), self.stage, self.site, common, before=self.returned
            )
        except MlrunError as error:
            return caching.Miss(why=error.message)

    def _put_back(self, hit: caching.Hit) -> Iterator[Cause]:
        """The run would be spared, and this would change."""
        for each in hit.returns if not self.found.snapshot.temporary else ():
            how = "has changed since" if each.replaces else "is gone"
            text = f"{each.path} {how}, and would be put back"
            yield Cause(kind="outputs", name=each.path, text=text)

    # --- the last run

    def _compared(
        self, part: Part, prepared: Prepared, last: RunRecord, known: Status, miss: caching.Miss
    ) -> Status:
        """What would be recorded now, held against what was; and what lies there of what was made."""
        environment = entered(self.found, self.desk, prepared.asked, last)
        now, missing = self._as_if_run(prepared, last, environment.facts, part.made)
        desk = self.desk
        compared = difference.difference(last, now, store=desk.store, cache=desk.cache, caller=desk.caller)
        changed, unknown = environment.told(last, compared)
        causes = (*missing, *self._causes(compared, part, prepared, now), *changed)
        if part.is_step and miss.why and miss.why != runner.NOT_AT_HAND and not (causes or unknown):
            causes = (Cause(kind="cache", name=part.name, text=miss.why),)
        return replace(
            known,
            causes=(*causes, *self._lost(last)),
            unknown=(*_untold(compared), *unknown),
            notes=self._notes(compared, prepared, now),
        )

    def _lost(self, last: RunRecord) -> Iterator[Cause]:
        """What the last run made, and is not there as it made it."""
        if self.found.snapshot.temporary:
            return
        for output in last.outputs:
            if not output.declared or output.digest is None:
                continue
            found = _again(output, self.found.snapshot.directory, self.site.reader)
            if found is None or found.digest != output.digest:
                how = "is gone" if found is None else "has changed since"
                yield Cause(kind="outputs", name=output.path, text=f"{output.path} {how}")

    def _as_if_run(
        self,
        prepared: Prepared,
        last: RunRecord,
        environment: EnvironmentFacts | None,
        made: frozenset[str],
    ) -> tuple[RunRecord, tuple[Cause, ...]]:
        """The record that a run would have now, as far as it goes in; the rest is the last one's."""
        now = recording.open_record(prepared, name="now", caller=self.desk.caller, store=self.desk.store)
        declared = {name for name, text in now.env_vars if text is not None}
        declared |= {name for name, _ in prepared.spec.variables}
        kept = {name: text for name, text in last.env_vars if text is None or name in declared}
        variables = tuple((kept | {name: text for name, text in now.env_vars if name in declared}).items())
        reader = data.Reader(self.desk.cache, self.desk.teller)
        missing: tuple[Cause, ...] = ()
        try:
            inputs = runner.with_their_runs(_inputs(prepared, last, made, reader), prepared, self.stage)
        except MlrunError as error:
            inputs = last.inputs
            missing = (Cause(kind="data", name="inputs", text=error.message),)
        seen = {item.path for item in inputs}
        directory = prepared.snapshot.directory
        others = (item for item in last.inputs if item.path not in seen and not item.reference)
        again = (_again(item, directory, reader) for item in others)
        return replace(
            now,
            status=last.status,
            exit_code=last.exit_code,
            environment=environment,
            env_vars=variables,
            inputs=(*inputs, *(item for item in again if item is not None)),
            outputs=last.outputs,
            metrics=last.metrics,
            parameters=(*now.parameters, *(it for it in last.parameters if it.origin == "logged")),
            host=last.host,
            observed=last.observed,
            determinism=self._settings(prepared, last),
        ), missing

    def _settings(self, prepared: Prepared, last: RunRecord) -> Determinism | None:
        """What it would get so that it can be repeated, but for a container, which has an image's."""
        if last.determinism is None or (last.environment and last.environment.kind == "docker"):
            return last.determinism
        spec, was = prepared.spec, dict(last.determinism.variables)
        given = {**self.desk.caller.variables, **dict(spec.variables)}
        umask = process.umask()
        if not spec.deterministic:
            return determinism.switched_off(given, umask=umask)
        threads = determinism.threads_of(host.cores(), cpus=spec.resources.cpus)
        wanted = determinism.defaults(
            committed=None, threads=threads, locale=host.utf8_locale(), contained=False
        )
        epoch = {name: text for name, text in was.items() if name == "SOURCE_DATE_EPOCH"}
        return determinism.chosen(wanted | epoch, given, declared=dict(spec.variables), umask=umask)

    # --- what counts

    def _causes(
        self, compared: Difference, part: Part, prepared: Prepared, now: RunRecord
    ) -> Iterator[Cause]:
        for kind in _KINDS:
            for item in compared.section(kind).different:
                if item.because is not None or (kind == "parameters" and _is_secret(item.name, compared)):
                    continue
                if kind == "data" and self._will_be_made(item.name, part):
                    continue
                if kind == "code" and not self._counts(item.name, prepared, now):
                    continue
                yield Cause(kind=kind, name=item.name, text=words(kind, item))

    def _will_be_made(self, path: str, part: Part) -> bool:
        """Or put back, before this one runs."""
        made = any(overlap(path, each) for each in part.made)
        return made and any(maker in self.unsettled for maker in _makers(part))

    def _counts(self, path: str, prepared: Prepared, now: RunRecord) -> bool:
        """Whether a path of the source is of the code that counts, by the rule of the cache."""
        if path == "tree":  # which files differ cannot be told
            return True
        folder = prepared.snapshot.subdirectory
        if folder and not path.startswith(f"{folder}/"):
            return False
        counts = caching.counting(prepared, (it.path for it in now.inputs if it.declared))
        return counts(path[len(folder) + 1 :] if folder else path)

    def _notes(self, compared: Difference, prepared: Prepared, now: RunRecord) -> tuple[str, ...]:
        found = [f"{it.name} {it.change}, which is no code" for it in compared.section("project").different]
        aside = [
            it.name
            for it in compared.section("code").different
            if it.because is None and not self._counts(it.name, prepared, now)
            if "__pycache__" not in it.name.split("/")  # Python's own affair
        ]
        if aside:
            more = f", and {len(aside) - _NAMED} more" if len(aside) > _NAMED else ""
            found.append(f"changed, and not of its code: {', '.join(aside[:_NAMED])}{more}")
        return tuple(found)


def _uncached(part: Part, prepared: Prepared, miss: caching.Miss, told: Status) -> Status:
    """A step for which nothing is known to have changed, and that would run nevertheless."""
    if _is_masked(prepared):
        return told
    if miss.why == runner.NOT_AT_HAND:
        return replace(told, unknown=(miss.why,))
    entry_point = next(it for it in prepared.project.entry_points if it.name == part.name)
    text = "it is not to be cached, and runs whenever it is needed"
    if entry_point.cache is not False:
        text = "it would run again: no earlier run can stand in for it"
    return replace(told, causes=(Cause(kind="cache", name=part.name, text=text),))


def _asked_by_itself(part: Part, last: RunRecord) -> RunRequest:
    """What was asked of it then, with what is given now."""
    given = dict(part.given)
    for parameter in last.parameters:
        if parameter.origin in ("default", "logged") or parameter.name in given or parameter.secret:
            continue
        moved = parameter.kind == "path" and os.path.exists(parameter.text)
        given[parameter.name] = parameter.text if moved else parameter.value
    for parameter in last.parameters:  # its value is in no record, and what it is does not count
        if parameter.secret and parameter.origin != "default":
            given.setdefault(parameter.name, MASK)
    return RunRequest(target=".", entry_point=part.name, parameters=tuple(given.items()))


def _makers(part: Part) -> tuple[str, ...]:
    return tuple(dict.fromkeys(link.maker for link in part.links))


def _after(maker: str) -> Cause:
    return Cause(kind="needs", name=maker, text=f"`{maker}` has to run")


def _is_masked(prepared: Prepared) -> bool:
    """Whether a secret value is not known, so that nobody can say which earlier run is the same."""
    return any(it.secret and it.value == MASK for it in prepared.spec.parameters)


def _again(artifact: Artifact, directory: Path, reader: data.Reader) -> Artifact | None:
    """Something as it is now; None where it is gone. Of some files of a folder, those are asked."""
    path = Path(directory, artifact.path)
    if artifact.digest is None or any(mark in artifact.path for mark in "*?["):
        return artifact
    if not path.exists():
        return None
    found = data.describe(
        path,
        shown=artifact.path,
        kind=artifact.kind,
        declared=artifact.declared,
        parameter=artifact.parameter,
        reader=reader,
        contents=False,
    )
    return found.artifact


def _inputs(
    prepared: Prepared, last: RunRecord, made: frozenset[str], reader: data.Reader
) -> tuple[Artifact, ...]:
    """The inputs as they are; what entry points before this one make and is not there, as it was.

    Whether that would be made otherwise is theirs to tell. Raises MlrunError.
    """
    try:
        return recording.inputs(prepared, reader)[0]
    except MlrunError:
        if not made:
            raise
    spec, directory = prepared.spec, prepared.snapshot.directory
    inputs = tuple(it for it in spec.inputs if os.path.normpath(it.path) not in made)
    parameters = tuple(
        it for it in spec.parameters if os.path.relpath(directory / it.text, directory) not in made
    )
    others = recording.inputs(
        replace(prepared, spec=replace(spec, inputs=inputs, parameters=parameters)), reader
    )
    there = {it.path for it in others[0]}
    return (*others[0], *(it for it in last.inputs if it.declared and it.path not in there))


def _is_secret(name: str, compared: Difference) -> bool:
    return any(it.name == name and it.secret for it in compared.before.parameters)


def _untold(compared: Difference) -> tuple[str, ...]:
    sections = [compared.section(kind) for kind in _KINDS]
    return tuple(section.missing for section in sections if section.missing)
