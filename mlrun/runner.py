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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlrun import (
    caching,
    data,
    determinism,
    env,
    files,
    host,
    observing,
    pipelines,
    process,
    project,
    recording,
    reporting,
    resolve,
    source,
    standin,
)
from mlrun.errors import MlrunError
from mlrun.model import Job, Narrator
from mlrun.recording import Past, Prepared
from mlrun.store import Store
from mlrun.store.names import new_id, new_name
from mlrun.value import draft, field, replace, value
from mlrun.views import record as record_view
from mlrun.views import summary
from mlrun.yamlfile import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from mlrun.env import Plan
    from mlrun.files import Cache, Home, RunPaths
    from mlrun.model import (
        Artifact,
        Caller,
        Determinism,
        Environment,
        EnvironmentFacts,
        Finding,
        Outcome,
        Project,
        RunRecord,
        RunRequest,
        RunSpec,
        Snapshot,
    )


_LAST_WORDS = 16 * 1024
"""Bytes of a failed program's output that are looked at."""
NOT_AT_HAND = "its environment or its inputs are not there yet"
"""Why nothing can be looked for in the cache as yet."""


class Teller(Narrator, Protocol):
    """Who tells a person how the run goes on: the rooms' events, and the runner's facts under a label."""

    def fact(self, label: str, text: str) -> None:
        """`source`, `wine  main 3f2a91c07`."""

    def warn(self, finding: Finding) -> None:
        """Something that a person should know and can live with."""

    def output_begins(self) -> None:
        """From here on the terminal is the program's."""

    def output_ends(self) -> None:
        """The program has ended."""

    def pause(self) -> None:
        """Others are about to write to the terminal: leave nothing there that they would write into."""

    def close(self) -> None:
        """Leave the terminal as it was."""


@value
class Stage:
    """Where a run takes place: who asks, the folders of ours, who tells, and where the output goes.

    `stdout` and `stderr` are file descriptors; `terminal` says whether they are one.
    """

    caller: Caller
    home: Home
    cache: Cache
    teller: Teller
    stdout: int = 1
    stderr: int = 2
    terminal: bool = False


@value
class Taken:
    """A source, pinned, and its project file understood: `run_id` names the run, and a checkout of ours."""

    run_id: str
    request: RunRequest
    snapshot: Snapshot
    project: Project

    @property
    def may_have_steps(self) -> bool:
        """Whether what is asked for could need other entry points: then it is `orchestration`'s affair."""
        return pipelines.may_be_one(self.project, self.request.entry_point)


def take(request: RunRequest, stage: Stage) -> Taken:
    """Find and pin what a request names; a checkout of ours is to be run, or released, by the caller."""
    stage = replace(stage, caller=observing.unobserved(stage.caller))
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
        snapshot = prepared.snapshot
        return prepared, env.plan(
            prepared.asked,
            directory=snapshot.directory,
            tree=snapshot.tree,
            cache=stage.cache,
            caller=stage.caller,
            day=_day(prepared, stage),
        )


def run(taken: Taken, stage: Stage) -> RunRecord:
    """Run a project and return its record, whatever the program's own exit code.

    Raises MlrunError where mlrun cannot do its part; if the record was open by then, it says so too.
    """
    stage = replace(stage, caller=observing.unobserved(stage.caller))
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


@draft
class Common:
    """What steps have in common that are looked for and not run, learned by the first of them.

    `records` were opened for the source as it is now, by the variables that their entry points set; the rest
    is the environment's.
    """

    records: dict[object, RunRecord] = field(default_factory=dict)
    environment: Environment | None = None
    facts: EnvironmentFacts | None = None
    determinism: dict[object, Determinism] = field(default_factory=dict)


def spared(prepared: Prepared, stage: Stage, site: caching.Site, common: Common) -> RunRecord | None:
    """The record of a step that need not be run, its outputs put back; None where it has to be.

    The record is not synced to the disk: after a power cut the step may have to be looked for again.
    """
    began = time.monotonic()
    ready = _at_hand_for_step(prepared, stage, site, common)
    found = ready and _spared(*ready, prepared, site, stage, began=began)
    return _added(found, partial(site.store.add, of_pipeline=True), site) if found else None


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
    inputs = _with_their_runs(inputs, prepared, stage)
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
    with store.create(record):
        try:
            record, environment = ready or _ready(record, prepared, store, stage)
            if ready is None and (spared := _spared(record, environment, prepared, site, stage, began=began)):
                return _added(spared, store.save, site)
            store.save(record)
            wanted = _wanted_later(record, environment, prepared, site)
            before = recording.stamps(prepared.spec.outputs, prepared.snapshot.directory)
            watch = _watch(prepared, environment, stage)
            outcome = _execute(record, prepared, environment, watch, store=store, stage=stage)
            record = recording.with_outcome(record, outcome, prepared.spec)
            observed = _observed(record, watch, prepared, store, stage)
            record, seen = observed.record, (*observed.findings, *_taken_away(wanted, observed))
            kept |= observed.kept
            record, findings = recording.close_record(
                record, prepared, outcome, before=before, kept=kept, store=store, caller=stage.caller
            )
            told = _told(environment, prepared, stage)
            record, noticed = reporting.with_reported(record, environment, store, variables=told)
            record, found = reporting.with_files(
                record, store, written=observed.written, directory=prepared.snapshot.directory
            )
            noticed = (*noticed, *found)
            record = recording.with_warnings(record, (*noticed, *seen))
            changed = (*env.changed(environment), *_advice(record, prepared, environment, store, stage))
            if wanted is not None:
                record, unkept = _kept_for_later(record, wanted, observed, (*findings, *changed), stage)
                changed = (*changed, *unkept)
            record = recording.with_warnings(record, changed)
            record = recording.with_series(record, store)
            store.save(record)
        except BaseException as error:
            store.save(recording.break_off(record, error))
            raise
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
    snapshot = prepared.snapshot
    try:
        plan = env.plan(
            prepared.asked,
            directory=snapshot.directory,
            tree=snapshot.tree,
            cache=stage.cache,
            caller=stage.caller,
            day=_day(prepared, stage),
        )
        return None if plan.action == "build" else _ready(record, prepared, store, stage)
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
        stage.teller.fact("cached", summary.cached_line(found.record, now=now))
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


def _taken_away(wanted: _Wanted | None, observed: observing.Observed) -> tuple[Finding, ...]:
    """What earlier runs left among the outputs of one that others may be spared by."""
    if wanted is None or observed.record.status != "finished":
        return ()
    return caching.take_away(
        observed.record, wanted.case, wanted.site, seen=observed.seen, since=wanted.since
    )


def _kept_for_later(
    record: RunRecord,
    wanted: _Wanted,
    observed: observing.Observed,
    findings: tuple[Finding, ...],
    stage: Stage,
) -> tuple[RunRecord, tuple[Finding, ...]]:
    """A run that has ended well, noted so that it can stand in for the next; else what keeps it from that."""
    if record.status != "finished" or (wanted.key is None and not wanted.case.prepared.spec.cache):
        return record, ()
    spoilt = [each.message for each in findings if each.code in _SPOILING]
    why_not = wanted.why_not or (spoilt[0] if spoilt else None)
    if wanted.key is None or why_not is not None:
        return record, (caching.not_kept(why_not or ""),)
    snapshot = wanted.case.prepared.snapshot
    try:
        now = source.look_again(snapshot, caller=stage.caller, cache=stage.cache)
    except MlrunError as error:
        return record, (caching.not_kept(error.message),)
    kept, finding = caching.keep(
        record, wanted.case, wanted.key, wanted.site.renewed(now), seen=observed.seen, since=wanted.since
    )
    record = replace(record, cache_key=wanted.key.digest) if kept else record
    return record, (finding,) if finding else ()


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
    inputs = _with_their_runs(inputs, prepared, stage)
    for artifact in inputs:
        stage.teller.fact("input", record_view.artifact(artifact))
    _warn(stage, findings)
    record = recording.with_environment(replace(record, inputs=inputs), environment, store)
    record = replace(record, determinism=_determinism(prepared, environment, stage))
    return recording.with_warnings(record, findings), environment


def _with_their_runs(inputs: tuple[Artifact, ...], prepared: Prepared, stage: Stage) -> tuple[Artifact, ...]:
    """What was named as a run's output knows of which, and how."""
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
    given = _given(prepared, environment, stage)
    umask = None if contained else process.umask()
    if past is not None and past.determinism is not None:
        again = determinism.again(past.determinism, given, declared=dict(spec.variables))
        return replace(again, umask=again.umask if not contained else None)
    if not spec.deterministic:
        return determinism.switched_off(given, umask=umask)
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
    return determinism.chosen(wanted, given, declared=dict(spec.variables), umask=umask)


def _given(prepared: Prepared, environment: Environment, stage: Stage) -> dict[str, str]:
    """The variables that others give the program: the caller, the environment, the project."""
    given = {**_told(environment, prepared, stage), **dict(environment.variables)}
    container = prepared.asked.container
    for name, text in container.variables if container else ():
        if text is not None or name in stage.caller.variables:
            given[name] = stage.caller.variables.get(name, "") if text is None else text
    return given | dict(prepared.spec.variables)


def _day(prepared: Prepared, stage: Stage) -> env.Day:
    """Whose packages: only what is pinned to a commit, or asked to be, is taken to its commit's day."""
    request, snapshot = prepared.request, prepared.snapshot
    pinned = snapshot.kind == "git" or request.version is not None
    if request.as_of == "now" or (request.as_of == "auto" and not pinned):
        return env.NOW
    committed_at = source.committed_at(snapshot, caller=stage.caller)
    return env.choose_day(prepared.asked, request.as_of, committed_at=committed_at)


def _watch(prepared: Prepared, environment: Environment, stage: Stage) -> observing.Watch:
    return observing.begin(prepared, environment, home=stage.home, cache=stage.cache, caller=stage.caller)


def _observed(
    record: RunRecord, watch: observing.Watch, prepared: Prepared, store: Store, stage: Stage
) -> observing.Observed:
    return observing.with_observed(
        record, watch, prepared, store, caller=stage.caller, cache=stage.cache, narrator=stage.teller
    )


def _execute(
    record: RunRecord,
    prepared: Prepared,
    environment: Environment,
    watch: observing.Watch,
    *,
    store: Store,
    stage: Stage,
) -> Outcome:
    """The program itself, which has the terminal until it ends."""
    paths = store.home.run(record.id)
    stage.teller.fact("command", prepared.shown_command)
    stage.teller.output_begins()
    job = _job(prepared.spec, prepared.snapshot, environment, paths, caller=stage.caller, run_id=record.id)
    told, arguments = _told(environment, prepared, stage), prepared.request.docker_args
    host = None
    if reporting.is_wanted(environment, told):
        host = env.address_of_ours(environment, stage.caller, arguments)
    steps = standin.variables(stage.cache, environment, job.variables) if host else {}
    listening = reporting.listening(
        record,
        paths,
        variables=told,
        host=host,
        directory=prepared.snapshot.directory,
        narrator=stage.teller,
    )
    with listening as settings:
        settings = {**_pinned(record, job.variables), **settings, **steps}
        settings |= observing.variables(watch, job.variables)
        umask = record.determinism.umask if record.determinism else None
        job = replace(job, variables=_changed(job.variables, settings), umask=umask)
        visit = _visit(prepared, paths, stage, settings)
        try:
            outcome = process.run(
                observing.watched(watch, env.enter(environment, job, visit)),
                stdout=stage.stdout,
                stderr=stage.stderr,
                terminal=stage.terminal,
            )
        finally:
            env.leave(environment, visit)
    stage.teller.output_ends()
    return env.amended(environment, visit, outcome)


def _pinned(record: RunRecord, given: Mapping[str, str]) -> Mapping[str, str | None]:
    """What is set so that the run can be repeated; None takes a variable away."""
    return determinism.settings(record.determinism, given) if record.determinism else {}


def _told(environment: Environment, prepared: Prepared, stage: Stage) -> Mapping[str, str]:
    """Of the caller's variables those that the program sees: into a container come only the declared ones."""
    callers = {} if environment.kind == "docker" else stage.caller.variables
    return {**callers, **dict(prepared.spec.variables)}


def _changed(variables: Mapping[str, str], settings: Mapping[str, str | None]) -> Mapping[str, str]:
    kept = {name: text for name, text in variables.items() if name not in settings}
    return kept | {name: text for name, text in settings.items() if text is not None}


def _advice(
    record: RunRecord, prepared: Prepared, environment: Environment, store: Store, stage: Stage
) -> tuple[Finding, ...]:
    """After a failure: what its last words say of the environment."""
    if record.status != "failed":
        return ()
    from mlrun.advice import advise

    snapshot = prepared.snapshot
    try:
        tail = files.tail(store.home.run(record.id).log, _LAST_WORDS)
        committed_at = source.committed_at(snapshot, caller=stage.caller)
    except (OSError, MlrunError):
        return ()
    packages = {package.name for package in environment.packages}
    found = advise(
        tail.decode("utf-8", "replace").replace(f"{snapshot.directory}/", ""),
        packages=packages,
        as_of=environment.as_of,
        committed_at=committed_at,
        target=record.target,
        there=lambda path: (snapshot.directory / path).exists(),
        find=lambda module: _folders_of(module, snapshot.directory),
    )
    return () if found is None else (found,)


def _folders_of(module: str, directory: Path) -> tuple[str, ...]:
    """In which folders of the project a module of its own lies."""
    found = [
        *directory.rglob(f"{module}.py"),
        *(it.parent for it in directory.rglob(f"{module}/__init__.py")),
    ]
    return tuple(sorted({str(path.parent.relative_to(directory)) for path in found}))


def _visit(
    prepared: Prepared, paths: RunPaths, stage: Stage, settings: Mapping[str, str | None]
) -> env.Visit:
    """What gets into a container: what the project declares, and what is ours; nothing of the caller's."""
    snapshot, request = prepared.snapshot, prepared.request
    ours = (("MLRUN_RUN_ID", prepared.run_id), ("MLRUN_METRICS", str(paths.metrics)))
    return env.Visit(
        run_id=prepared.run_id,
        name=prepared.name,
        tree=snapshot.tree,
        root=snapshot.root,
        directory=snapshot.directory,
        run_folder=paths.root,
        caller=stage.caller,
        cache=stage.cache,
        variables=tuple(_changed(dict((*prepared.spec.variables, *ours)), settings).items()),
        resources=prepared.spec.resources,
        arguments=request.docker_args,
        paths=_inputs_elsewhere(prepared),
        build_image=request.build_image,
        skip_image_build=request.skip_image_build,
    )


def _warn(stage: Stage, findings: tuple[Finding, ...]) -> None:
    for finding in findings:
        stage.teller.warn(finding)


def _job(
    spec: RunSpec,
    snapshot: Snapshot,
    environment: Environment,
    paths: RunPaths,
    *,
    caller: Caller,
    run_id: str,
) -> Job:
    """The child's place: the caller's variables, over them the environment's, over both the project's."""
    variables = dict(caller.variables)
    for name in ("PYTHONHOME", "__PYVENV_LAUNCHER__"):
        variables.pop(name, None)
    # Into a pipe Python holds its output back; live output, and a log that no kill cuts, are worth more.
    variables.setdefault("PYTHONUNBUFFERED", "1")
    variables.update(environment.variables)
    if environment.path:
        variables["PATH"] = os.pathsep.join((*environment.path, variables.get("PATH", os.defpath)))
    variables.update(spec.variables)
    variables["MLRUN_RUN_ID"] = run_id
    variables["MLRUN_METRICS"] = str(paths.metrics)
    return Job(
        argv=spec.argv, cwd=snapshot.directory, variables=variables, log=paths.log, timeout=spec.timeout
    )


def _inputs_elsewhere(prepared: Prepared) -> tuple[Path, ...]:
    """What goes in from outside the checkout, as absolute paths."""
    spec, snapshot = prepared.spec, prepared.snapshot
    named = [parameter.text for parameter in spec.parameters if parameter.kind == "path"]
    named += [item.path for item in spec.inputs]
    paths = dict.fromkeys(Path(os.path.normpath(snapshot.directory / text)) for text in named if text)
    return tuple(path for path in paths if snapshot.root not in (path, *path.parents) and path.exists())


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
