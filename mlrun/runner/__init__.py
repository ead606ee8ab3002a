"""The story of a run, and the only file that knows its order.

    take the source → read the project → resolve the request → open the record
      → ensure the environment → describe the inputs → run → close the record
                                                      └─▶ an earlier run stands in: put back what it made

Each step takes values and returns values. What a failure leaves behind is decided here: before the record
is open, nothing; after it, a record that says what went wrong.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from mlrun import (
    caching,
    data,
    determinism,
    env,
    host,
    process,
    project,
    recording,
    resolve,
    source,
)
from mlrun.errors import MlrunError
from mlrun.observe import unobserved
from mlrun.recording import Past, Prepared
from mlrun.runner.values import Common, Stage, Taken, Teller
from mlrun.runner.variables import given
from mlrun.store import Store
from mlrun.store.names import new_id, new_name
from mlrun.value import replace, value
from mlrun.views import summary
from mlrun.yamlfile import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from mlrun.caching.values import Guard
    from mlrun.env import Plan
    from mlrun.model import Artifact, Determinism, Environment, Finding, RunRecord, RunRequest, Snapshot
    from mlrun.observing import Observed


__all__ = [
    "NOT_AT_HAND", "Common", "Stage", "Taken", "Teller",
    "asked", "look", "plan", "run", "run_again", "spared", "step", "take",
]  # fmt: skip

NOT_AT_HAND = "its environment or its inputs are not there yet"
"""Why nothing can be looked for in the cache as yet."""


def take(request: RunRequest, stage: Stage) -> Taken:
    """Find and pin what a request names; a checkout of ours is to be run, or released, by the caller."""
    stage = replace(stage, caller=unobserved(stage.caller))
    stage.cache.prepare()
    run_id = new_id()
    snapshot = source.take(
        request.target,
        version=request.version,
        isolated=request.isolated,
        caller=stage.caller,
        cache=stage.cache,
        run_id=run_id,
        narrator=stage.teller,
    )
    try:
        understood = project.read(snapshot.directory, memory=Memory(stage.cache.texts))
    except BaseException:
        source.release(snapshot, cache=stage.cache)
        raise
    return Taken(run_id=run_id, request=request, snapshot=snapshot, project=understood)


def plan(taken: Taken, stage: Stage) -> tuple[Prepared, Plan]:
    """What `run` would do; nothing is built, run or recorded (a git URL is fetched into the cache)."""
    with _prepared(taken, stage) as prepared:
        return prepared, _planned(prepared, stage)


def _planned(prepared: Prepared, stage: Stage) -> Plan:
    """What there is of its environment. Raises MlrunError."""
    return env.plan(
        prepared.asked,
        directory=prepared.snapshot.directory,
        tree=prepared.snapshot.tree,
        cache=stage.cache,
        caller=stage.caller,
        day=_day(prepared, stage),
    )


def run(taken: Taken, stage: Stage) -> RunRecord:
    """Run a project and return its record, whatever the program's own exit code.

    Raises MlrunError where mlrun cannot do its part; if the record was open by then, it says so too.
    """
    stage = replace(stage, caller=unobserved(stage.caller))
    stage.home.prepare()
    store = Store(stage.home, stage.teller)
    kept: set[str] = set()
    with _prepared(taken, stage, kept) as prepared:
        return _recorded(prepared, kept, store, stage)


def step(prepared: Prepared, stage: Stage, *, site: caching.Site | None = None) -> RunRecord:
    """Run one step of a pipeline, in a source that others use as well and that stays; see `run`.

    `site` is what earlier steps have learned of the source, for as long as none of them was really run.
    """
    return _recorded(prepared, set(), Store(stage.home, stage.teller), stage, site=site)


def spared(prepared: Prepared, stage: Stage, site: caching.Site, common: Common) -> RunRecord | None:
    """The record of a step that need not be run, its outputs put back; None where it has to be.

    It is the caller's to keep: `Store.add_together`.
    """
    began = time.monotonic()
    ready = _at_hand_for_step(prepared, stage, site, common)
    found = ready and _spared(*ready, prepared, site, stage, began=began)
    return found[0] if found else None


def _at_hand_for_step(
    prepared: Prepared, stage: Stage, site: caching.Site, common: Common
) -> tuple[RunRecord, Environment] | None:
    """As `_at_hand`, but that what steps have in common is found out once."""
    name, spec = prepared.request.name or new_name(), prepared.spec
    variables = (spec.variables, *(it.text for it in spec.parameters if it.secret))
    record = recording.open_record(
        prepared, name=name, caller=stage.caller, store=site.store, like=common.records.get(variables)
    )
    common.records.setdefault(variables, record)
    if common.environment is None:
        ready = _at_hand(record, prepared, site.store, stage)
        if ready is not None:
            common.facts, common.environment = ready[0].environment, ready[1]
        return ready
    try:
        inputs, findings = recording.inputs(prepared, site.reader)
    except MlrunError:
        return None
    kind = (spec.variables, spec.deterministic, spec.resources.cpus)
    if kind not in common.determinism:
        common.determinism[kind] = _determinism(prepared, common.environment, stage)
    inputs = with_their_runs(inputs, prepared, stage)
    record = replace(record, inputs=inputs, environment=common.facts, determinism=common.determinism[kind])
    findings = (*common.environment.findings, *findings)
    return recording.with_warnings(record, findings), common.environment


def look(
    prepared: Prepared,
    stage: Stage,
    site: caching.Site,
    common: Common,
    *,
    before: Sequence[Artifact] = (),
) -> caching.Hit | caching.Miss:
    """What `spared` would find: nothing is put back or recorded. Raises StoreError, SourceError.

    `before` are outputs that would have been put back by then.
    """
    spec, returned = prepared.spec, caching.foreseen(prepared, before, site)
    there = tuple(it for it in spec.inputs if it not in returned)
    rest = replace(prepared, spec=replace(spec, inputs=there))
    ready = _at_hand_for_step(rest, stage, site, common)
    if ready is None:
        return caching.Miss(why=NOT_AT_HAND)
    record, environment = ready
    named = (caching.as_foreseen(it, before, site) for it in record.inputs)
    inputs = (*named, *(each for found in returned.values() for each in found))
    case = _case(replace(record, inputs=inputs), environment, prepared)
    why_none = caching.why_none(case)
    if why_none is not None:
        return caching.Miss(why=why_none)
    return caching.look(case, caching.key_of(case, site), site)


def run_again(
    past: Past,
    request: RunRequest,
    snapshot: Snapshot,
    stage: Stage,
    *,
    run_id: str,
    placed: Collection[str] = (),
) -> RunRecord:
    """Run a source that was put together again, in the environment of the run that it is from; see `run`.

    `snapshot` is a checkout called `run_id`, which goes afterwards as any other; `placed` are the files that
    were put into it besides, relative to its root.
    """
    stage.home.prepare()
    kept = set(placed)
    prepared = None
    try:
        understood = project.read(snapshot.directory)
        taken = Taken(run_id=run_id, request=request, snapshot=snapshot, project=understood)
        prepared = _understood(taken, stage, past=past)
        return _recorded(prepared, kept, Store(stage.home, stage.teller), stage)
    finally:
        _release(snapshot, prepared, kept, stage)


def _recorded(
    prepared: Prepared, kept: set[str], store: Store, stage: Stage, *, site: caching.Site | None = None
) -> RunRecord:
    """What is prepared, run; `kept` is given the files of its checkout that are in the store by then."""
    began = time.monotonic()
    _warn(stage, prepared.findings)
    stage.teller.fact("source", summary.source_line(prepared.name, prepared.snapshot))
    record = recording.open_record(prepared, name=new_name(), caller=stage.caller, store=store)
    site = site or caching.Site(prepared.snapshot, store, caller=stage.caller, cache=stage.cache)
    ready = _at_hand(record, prepared, store, stage)
    if ready is not None and (spared := _spared(*ready, prepared, site, stage, began=began)):
        return _added(spared, store.add, site)
    from mlrun.runner import execution

    with store.create(record):
        try:
            record, environment = ready or _ready(record, prepared, store, stage)
            if ready is None and (spared := _spared(record, environment, prepared, site, stage, began=began)):
                return _added(spared, store.save, site)
            store.save(record)
            wanted = _wanted_later(record, environment, prepared, site)
            before = recording.stamps(prepared.spec.outputs, prepared.snapshot.directory)
            watch = execution.watch(prepared, environment, stage)
            outcome = execution.execute(record, prepared, environment, watch, store=store, stage=stage)
            record = recording.with_outcome(record, outcome, prepared.spec)
            observed = execution.observed(record, watch, prepared, store, stage)
            record, seen = observed.record, (*observed.findings, *_taken_away(wanted, observed))
            kept |= observed.kept
            record, findings = recording.close_record(
                record, prepared, outcome, before=before, kept=kept, store=store, caller=stage.caller
            )
            record, noticed = execution.with_reports(
                record, observed.written, prepared, environment, store, stage
            )
            record = recording.with_series(recording.with_warnings(record, (*noticed, *seen)), store)
            changed = (
                *env.changed(environment),
                *execution.advice(record, prepared, environment, store, stage),
            )
            guard = None
            if wanted is not None:
                record, guard, unkept = _guarded(record, wanted, observed, (*findings, *changed), stage)
                changed = (*changed, *unkept)
            record = recording.with_warnings(record, changed)
            store.save(record)
        except BaseException as error:
            store.save(recording.break_off(record, error))
            raise
        if guard is not None:
            changed = (*changed, *caching.keep(record, guard, site))
    _warn(stage, (*findings, *noticed, *seen, *changed))
    return record


# --- an earlier run in place of this one ------------------------------------------------------------------


def _at_hand(
    record: RunRecord, prepared: Prepared, store: Store, stage: Stage
) -> tuple[RunRecord, Environment] | None:
    """Of a run that may be spared, all that there is to know before its record is open: where nothing has to
    be built for it, and nothing is wrong with it."""
    if not prepared.spec.cache or prepared.past or prepared.request.refresh_environment:
        return None
    try:
        to_build = _planned(prepared, stage).action == "build"
        return None if to_build else _ready(record, prepared, store, stage)
    except MlrunError:
        return None  # it will be said once the record is open


def _spared(
    record: RunRecord,
    environment: Environment,
    prepared: Prepared,
    site: caching.Site,
    stage: Stage,
    *,
    began: float,
) -> tuple[RunRecord, caching.Hit] | None:
    """The record of a run that need not be made, its outputs put back; None where it has to be."""
    if not prepared.spec.cache or prepared.past:
        return None
    case = _case(record, environment, prepared)
    try:
        if caching.why_none(case) is not None:
            return None  # said after the run
        key = caching.key_of(case, site)
        found = caching.look(case, key, site)
        if isinstance(found, caching.Miss):
            stage.teller.fact("cache", found.why or "no earlier run is the same")
            return None
        replaced = caching.put_back(found, site)
    except (MlrunError, OSError) as error:
        stage.teller.fact("cache", f"nothing is taken from it: {error}")
        return None
    now = time.time()
    record = caching.cached(record, found, key, ended_at=recording.utc(now), seconds=time.monotonic() - began)
    if not prepared.pipeline:  # which tells it of all its steps together
        stage.teller.fact("cached", summary.cached_line(found.results, now=now))
    _warn(stage, replaced)
    return recording.with_warnings(record, replaced), found


def _added(
    spared: tuple[RunRecord, caching.Hit], add: Callable[[RunRecord], None], site: caching.Site
) -> RunRecord:
    record, hit = spared
    add(record)
    caching.share_series(record, hit, site)
    return record


@value
class _Wanted:
    """A run that others may be spared by: what is known of it before its program starts, and when that is, by
    the clock that files are stamped with (ns since 1970)."""

    case: caching.Case
    key: caching.Key | None
    why_not: str | None
    site: caching.Site
    since: int


def _case(record: RunRecord, environment: Environment, prepared: Prepared) -> caching.Case:
    return caching.Case(
        prepared=prepared,
        environment=environment,
        inputs=record.inputs,
        determinism=record.determinism,
    )


def _wanted_later(
    record: RunRecord, environment: Environment, prepared: Prepared, site: caching.Site
) -> _Wanted | None:
    """A run without the cache is as good for later ones as any other, if they want it."""
    if prepared.past or not (prepared.spec.cache or prepared.request.cache is False):
        return None
    case = _case(record, environment, prepared)
    why_not, key = caching.why_none(case), None
    if why_not is None:
        try:
            key = caching.key_of(case, site)
        except (MlrunError, OSError) as error:
            why_not = str(error)
    since = os.stat(site.store.home.run(record.id).record).st_ctime_ns
    return _Wanted(case=case, key=key, why_not=why_not, site=site, since=since)


def _taken_away(wanted: _Wanted | None, observed: Observed) -> tuple[Finding, ...]:
    """What earlier runs left among the outputs of one that others may be spared by."""
    if wanted is None or observed.record.status != "finished":
        return ()
    return caching.take_away(
        observed.record, wanted.case, wanted.site, seen=observed.seen, since=wanted.since
    )


def _guarded(
    record: RunRecord,
    wanted: _Wanted,
    observed: Observed,
    findings: tuple[Finding, ...],
    stage: Stage,
) -> tuple[RunRecord, Guard | None, tuple[Finding, ...]]:
    """A run that has ended well, with the guard by which it can stand in for the next; else what keeps it
    from that."""
    if record.status != "finished" or (wanted.key is None and not wanted.case.prepared.spec.cache):
        return record, None, ()
    spoilt = [each.message for each in findings if each.code in _SPOILING]
    why_not = wanted.why_not or (spoilt[0] if spoilt else None)
    if wanted.key is None or why_not is not None:
        return record, None, (caching.not_kept(why_not or ""),)
    snapshot = wanted.case.prepared.snapshot
    try:
        now = source.look_again(snapshot, caller=stage.caller, cache=stage.cache)
    except MlrunError as error:
        return record, None, (caching.not_kept(error.message),)
    guard, finding = caching.guarded(
        record, wanted.case, wanted.key, wanted.site.renewed(now), seen=observed.seen, since=wanted.since
    )
    record = replace(record, cache_key=wanted.key.digest) if guard is not None else record
    return record, guard, (finding,) if finding else ()


_SPOILING = frozenset(
    ("missing-output", "stale-output", "output-not-kept", "unreadable-file", "environment-changed")
)
"""What may be said of a run that has ended well, and cannot stand in for another."""


@contextlib.contextmanager
def _prepared(taken: Taken, stage: Stage, kept: Collection[str] = ()) -> Iterator[Prepared]:
    """Source, project and request, understood; a checkout of ours goes when the run is over.

    `kept` are, by then, files of the checkout that are in the store, relative to its root.
    """
    prepared = None
    try:
        prepared = _understood(taken, stage)
        yield prepared
    finally:
        _release(taken.snapshot, prepared, kept, stage)


def _release(snapshot: Snapshot, prepared: Prepared | None, kept: Collection[str], stage: Stage) -> None:
    """What a program wrote and no output declares would be lost with the checkout."""
    if prepared is None or not recording.left_behind(prepared, kept, caller=stage.caller):
        source.release(snapshot, cache=stage.cache)


def _understood(taken: Taken, stage: Stage, *, past: Past | None = None) -> Prepared:
    """The request, resolved; of a repetition, the environment is what it was, whatever the project asks."""
    files = Files(taken.snapshot.directory, stage, taken.run_id, past)
    return Prepared(
        run_id=taken.run_id,
        request=taken.request,
        snapshot=taken.snapshot,
        project=taken.project,
        spec=resolve.resolve(taken.project, taken.request, files=files),
        asked=asked(taken, stage) if past is None else _asked_then(taken, stage, past),
        past=past,
    )


def _asked_then(taken: Taken, stage: Stage, past: Past) -> env.Asked:
    """As the project says now; where it names what lay outside it and is gone, as the environment is."""
    try:
        return asked(taken, stage)
    except MlrunError:
        return env.Asked(kind=past.environment.kind, summary=past.environment.asked)


def asked(taken: Taken, stage: Stage) -> env.Asked:
    """What the project asks of its environment."""
    return env.read(
        taken.project.environment,
        taken.snapshot.directory,
        manager=taken.request.env_manager,
        root=taken.snapshot.root,
        caller=stage.caller,
        skip_image_build=taken.request.skip_image_build,
        memory=Memory(stage.cache.texts),
    )


def _ready(
    record: RunRecord, prepared: Prepared, store: Store, stage: Stage
) -> tuple[RunRecord, Environment]:
    """The environment and the inputs, to be recorded before the program can change them."""
    environment = prepared.past.environment if prepared.past else _environment(prepared, stage)
    for text in environment.adaptations:
        stage.teller.fact("adapted", text)
    stage.teller.fact("environment", summary.environment_line(environment))
    told = environment.adaptations  # some rooms note them as warnings too
    _warn(stage, tuple(finding for finding in environment.findings if finding.message not in told))
    reader = data.Reader(stage.cache, stage.teller)
    inputs, findings = recording.inputs(prepared, reader)
    recording.keep_lists(inputs, prepared.snapshot.directory, reader, store, stage.cache)
    inputs = with_their_runs(inputs, prepared, stage)
    if inputs:
        from mlrun.views import record as record_view

        for artifact in inputs:
            stage.teller.fact("input", record_view.artifact(artifact))
    _warn(stage, findings)
    record = recording.with_environment(replace(record, inputs=inputs), environment, store)
    record = replace(record, determinism=_determinism(prepared, environment, stage))
    return recording.with_warnings(record, findings), environment


def with_their_runs(inputs: tuple[Artifact, ...], prepared: Prepared, stage: Stage) -> tuple[Artifact, ...]:
    """What was named as a run's output knows of which, and how."""
    if not any(os.path.isabs(it.path) for it in inputs):
        return inputs
    place = str(stage.cache.inputs)
    if not any(it.path.startswith(place) for it in inputs):
        return inputs
    from mlrun import references

    said = {it.text: it.value for it in prepared.spec.parameters if references.is_reference(it.value)}
    said |= {it.path: it.reference for it in prepared.spec.inputs if it.reference}
    runs = {it.path: references.run_of(it.path, stage.cache) for it in inputs}
    return tuple(
        replace(it, run=runs[it.path], reference=said.get(it.path)) if runs[it.path] else it for it in inputs
    )


def _environment(prepared: Prepared, stage: Stage) -> Environment:
    snapshot = prepared.snapshot
    return env.ensure(
        prepared.asked,
        directory=snapshot.directory,
        tree=snapshot.tree,
        cache=stage.cache,
        caller=stage.caller,
        narrator=stage.teller,
        refresh=prepared.request.refresh_environment,
        day=_day(prepared, stage),
    )


def _determinism(prepared: Prepared, environment: Environment, stage: Stage) -> Determinism:
    """What the run gets so that it can be repeated."""
    spec, past = prepared.spec, prepared.past
    contained = environment.kind == "docker"
    variables = given(prepared, environment, stage)
    umask = None if contained else process.umask()
    if past is not None and past.determinism is not None:
        again = determinism.again(past.determinism, variables, declared=dict(spec.variables))
        return replace(again, umask=again.umask if not contained else None)
    if not spec.deterministic:
        return determinism.switched_off(variables, umask=umask)
    try:
        committed = source.committed(prepared.snapshot, caller=stage.caller)
    except MlrunError:
        committed = None
    wanted = determinism.defaults(
        committed=committed,
        threads=determinism.threads_of(host.cores(), cpus=spec.resources.cpus),
        locale=host.utf8_locale(),
        contained=contained,
    )
    return determinism.chosen(wanted, variables, declared=dict(spec.variables), umask=umask)


def _day(prepared: Prepared, stage: Stage) -> env.Day:
    """Whose packages: only what is pinned to a commit, or asked to be, is taken to its commit's day."""
    request, snapshot = prepared.request, prepared.snapshot
    pinned = snapshot.kind == "git" or request.version is not None
    if request.as_of == "now" or (request.as_of == "auto" and not pinned):
        return env.NOW
    committed_at = source.committed_at(snapshot, caller=stage.caller)
    return env.choose_day(prepared.asked, request.as_of, committed_at=committed_at)


def _warn(stage: Stage, findings: tuple[Finding, ...]) -> None:
    for finding in findings:
        stage.teller.warn(finding)


class Files:
    """What `resolve` may know of the file system."""

    def __init__(self, directory: Path, stage: Stage, run_id: str, past: Past | None = None) -> None:
        self._named = past.named if past else ()
        self.project_directory = str(directory)
        self.caller_directory = stage.caller.directory
        self._home, self._cache = stage.home, stage.cache
        self._downloads = stage.cache.checkouts / f"{run_id}.downloads"
        self._teller = stage.teller

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def download(self, url: str) -> str:
        from mlrun import references

        if references.is_reference(url):
            store = Store(self._home, self._teller)
            return str(references.fetched(url, store, self._cache, then=self._named))
        self._teller.say(f"downloading {source.without_credentials(url)}")
        return str(data.download(url, self._downloads))
