"""A pipeline repeated: its steps one by one, each from what those before it had made then.

    what is given, for which step? → which steps come out anew → may all be repeated? → each in turn

A step whose parameters are to be otherwise comes out anew, and so does all that has something from it: there
the new outputs go in. The repetition has a record of the whole with a child a step, as the original has.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from mlrun import __version__, host, recording, source
from mlrun.errors import MlrunError, ParameterError
from mlrun.model import BoundParameter, EntryPoint, Failure, Parameter, Project, RunRequest
from mlrun.orchestration import parent
from mlrun.orchestration.telling import StepTeller
from mlrun.pipelines import given
from mlrun.pipelines.paths import overlap
from mlrun.reproduction.once import changed, gathered, looked_at, repeated
from mlrun.reproduction.values import Part, Reproduction, Reproductions, reason
from mlrun.store.names import new_id, new_name
from mlrun.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlrun.model import Artifact, RunRecord, StepFacts, StepState
    from mlrun.reproduction.values import Wanted
    from mlrun.runner import Stage
    from mlrun.store import Store

_TIMED_OUT = 124


@value
class _Step:
    """A step with what is given for it; `before` are those that come out anew and of which it has some."""

    name: str
    record: RunRecord
    wanted: Wanted
    before: tuple[str, ...] = ()
    beside: tuple[Artifact, ...] = ()

    @property
    def is_anew(self) -> bool:
        """Whether it is meant to come out otherwise."""
        return bool(self.before or changed(self.wanted, self.record))


def reproduce(original: RunRecord, wanted: Wanted, stage: Stage, store: Store) -> Reproductions:
    """Repeat a pipeline and compare step by step. Raises MlrunError where mlrun cannot do its part."""
    stage = replace(stage, teller=StepTeller(stage.teller))
    there = set(store.ids())
    named = [(facts, store.load(facts.run)) for facts in original.steps if facts.run in there]
    steps = _linked(tuple(_given(original, wanted, named)), {facts.name: facts for facts, _ in named})
    known = {step.name: step for step in steps}
    altered = tuple(f"{it.name}.{name}" for it in steps for name in changed(it.wanted, it.record))
    # All are looked at before the first is run: a step that cannot be repeated may come after hours.
    seen = [looked_at(it.record, it.wanted, stage, store, _part(it, known)) for it in steps]
    hindered = tuple(each for each in seen if each.reasons)
    if hindered:
        return Reproductions(original=original, steps=hindered, changed=altered)
    wholes: list[_Whole] = []
    for _ in range(wanted.runs):
        wholes.append(_Whole(original, wanted, known, stage, store))
        wholes[-1].carry_out()
        if wholes[-1].interrupted_by:
            break
    found = ([whole.found[it.name] for whole in wholes if it.name in whole.found] for it in steps)
    return Reproductions(
        original=original,
        steps=tuple(gathered(tuple(each), stage, store) for each in found if each),
        records=tuple(whole.record for whole in wholes),
        changed=altered,
    )


# --- what is given, and for whom ----------------------------------------------------------------------


def _given(original: RunRecord, wanted: Wanted, named: list[tuple[StepFacts, RunRecord]]) -> Iterator[_Step]:
    """Each step with the parameters that are for it, by the rules of `mlrun run`; see `pipelines.given`."""
    entry_points = [_entry_point(facts.name, record) for facts, record in named]
    project = Project(entry_points=tuple(entry_points))
    request = RunRequest(target=".", entry_point=original.entry_point, parameters=wanted.parameters)
    given.check(request, entry_points, project)
    _refuse_unknown(original, request, entry_points)
    for entry_point, (facts, record) in zip(entry_points, named, strict=True):
        own = given.request_of(entry_point, request, project).parameters
        yield _Step(
            name=facts.name, record=record, wanted=replace(wanted, run=record.id, parameters=own, runs=1)
        )


def _refuse_unknown(original: RunRecord, request: RunRequest, entry_points: list[EntryPoint]) -> None:
    """A repetition is given nothing that the run did not have. Raises ParameterError."""
    whole = [f"{it.name}.{one.name}" for it in entry_points for one in it.parameters]
    known = {*whole, *(one.name for it in entry_points for one in it.parameters)}
    for name, _ in request.parameters:
        if name not in known:
            raise ParameterError(
                f"no step of `{original.name}` has a parameter `{name}`: "
                f"there {'are' if whole else 'is'} {', '.join(whole) or 'none'}",
                code="no-such-parameter",
            )


def _entry_point(name: str, record: RunRecord) -> EntryPoint:
    """As far as its record tells: every parameter that is declared has a value."""
    names = (it.name for it in record.parameters if it.origin != "logged")
    return EntryPoint(name=name, command="", parameters=tuple(Parameter(name=it) for it in names))


def _linked(steps: tuple[_Step, ...], facts: dict[str, StepFacts]) -> tuple[_Step, ...]:
    """With those of which each has something: by its needs, or by the files that it was seen to read."""
    found: dict[str, _Step] = {}
    for step in steps:
        near = [it for it in found.values() if it.name in facts[step.name].needs or _reads(step, it)]
        far = {name for it in near for name in it.before} | {it.name for it in near if it.is_anew}
        before = tuple(name for name in found if name in far)
        same = {name: it.record for name, it in found.items() if name not in before}
        lay_there = _beside(step.record, facts[step.name], facts, same)
        found[step.name] = replace(step, before=before, beside=lay_there)
    return tuple(found.values())


def beside(original: RunRecord, store: Store) -> tuple[Artifact, ...]:
    """What the steps that a step needs had made, as far as nobody knows whether it read that."""
    run = dict(original.parents).get("pipeline")
    if run is None or _is_seen(original):
        return ()
    try:
        facts = {it.name: it for it in store.load(run).steps}
        own = next(it for it in facts.values() if it.run == original.id)
    except (MlrunError, StopIteration):
        return ()
    records = {}
    for name, it in facts.items():
        with contextlib.suppress(MlrunError):
            records[name] = store.load(it.run)
    return _beside(original, own, facts, records)


def _beside(
    record: RunRecord, own: StepFacts, facts: dict[str, StepFacts], records: dict[str, RunRecord]
) -> tuple[Artifact, ...]:
    if _is_seen(record):
        return ()
    needed, waiting = set[str](), [own]
    while waiting:
        more = [name for name in waiting.pop().needs if name in facts and name not in needed]
        needed |= set(more)
        waiting += [facts[name] for name in more]
    return tuple(it for name in facts if name in needed and name in records for it in records[name].outputs)


def _is_seen(record: RunRecord) -> bool:
    """Whether all that its program read is among its inputs."""
    watched = record.observed in ("shim", "strace")
    return watched and not any(" is not seen: " in warning for warning in record.warnings)


def _reads(step: _Step, other: _Step) -> bool:
    return any(overlap(one.path, two.path) for one in step.record.inputs for two in other.record.outputs)


def _part(step: _Step, steps: dict[str, _Step], whole: _Whole | None = None) -> Part:
    """A step's place in the whole that is repeated; None before anything has run."""
    records = whole.records if whole else {}
    return Part(
        whole=whole.record.id if whole else None,
        before=step.before,
        then=tuple(it for name in step.before for it in steps[name].record.outputs),
        now=tuple(it for name in step.before if name in records for it in records[name].outputs),
        beside=step.beside,
    )


# --- one repetition of the whole ----------------------------------------------------------------------


class _Whole:
    """One repetition on its way: `found` is what came of its steps so far."""

    def __init__(
        self, original: RunRecord, wanted: Wanted, steps: dict[str, _Step], stage: Stage, store: Store
    ) -> None:
        self.original = original
        self.wanted = wanted
        self.steps = steps
        self.stage = stage
        self.store = store
        self.found: dict[str, Reproduction] = {}
        self.interrupted_by: str | None = None
        self.record = self._opened()

    @property
    def records(self) -> dict[str, RunRecord]:
        """Those of the steps that have run."""
        return {name: each.repetitions[0].record for name, each in self.found.items() if each.repetitions}

    def carry_out(self) -> None:
        """Raises KeyboardInterrupt; what mlrun cannot do for a step is that step's own affair."""
        began = time.monotonic()
        with self.store.create(self.record):
            try:
                for number, step in enumerate(self.steps.values(), 1):
                    self.stage.teller.fact(f"step {number}/{len(self.steps)}", step.name)
                    self.found[step.name] = self._repeated(step)
                    if self.interrupted_by:
                        break
            except BaseException as error:
                self.store.save(recording.break_off(self.record, error))
                raise
            self.record = self._closed(time.monotonic() - began)
            self.store.save(self.record)

    def _repeated(self, step: _Step) -> Reproduction:
        hindrance = self._hindrance(step)
        if hindrance is not None:
            text = f"{hindrance}, and it goes on from what that makes anew"
            return Reproduction(
                original=step.record,
                reasons=(reason("step-failed", text),),
                changed=changed(step.wanted, step.record),
                flowing=step.before,
            )
        wanted = replace(step.wanted, name=f"{self.record.name}/{step.name}")
        run_id = next(it.run for it in self.record.steps if it.name == step.name)
        part = _part(step, self.steps, self)
        try:
            found = repeated(step.record, wanted, self.stage, self.store, part, run_id=run_id)
        except MlrunError as error:
            why = reason(error.code, str(error), error.hint)
            return Reproduction(original=step.record, reasons=(why,))
        for each in found.repetitions:
            if _was_interrupted(each.record):
                self.interrupted_by = each.record.signal
        return found

    def _hindrance(self, step: _Step) -> str | None:
        for name in step.before:
            record = self.records.get(name)
            if record is None:
                return f"`{name}` could not be repeated"
            if record.status != "finished":
                return f"`{name}` ended with exit code {record.exit_code}"
        return None

    # --- its record

    def _opened(self) -> RunRecord:
        original, variables = self.original, self.stage.caller.variables
        ci = host.ci(variables)
        return replace(
            original,
            id=new_id(),
            name=self.wanted.name or new_name(),
            status="running",
            started_at=recording.utc(time.time()),
            ended_at=None,
            duration_s=None,
            exit_code=None,
            signal=None,
            error=None,
            mlrun_version=__version__,
            user=host.user(variables),
            host=host.describe(),
            ci=ci,
            trigger="ci" if ci else "cli",
            parameters=_parameters(original, self.wanted, self.steps),
            parents=(("reproduces", original.id),),
            inputs=(),
            outputs=(),
            metrics=(),
            warnings=(),
            steps=tuple(
                replace(it, run=new_id(), state="waiting", duration_s=None)
                for it in original.steps
                if it.name in self.steps
            ),
            options=(),
        )

    def _closed(self, seconds: float) -> RunRecord:
        records = self.records
        facts = tuple(
            replace(it, state=self._state(it.name), duration_s=parent.took(records.get(it.name)))
            for it in self.record.steps
        )
        bad = next((it for it in facts if it.state != "finished"), None)
        code, error = 0, None
        if bad is not None:
            own = records[bad.name].exit_code if bad.name in records else None
            code = own or parent.CANNOT
            how = f"ended with exit code {own}" if own else f"was {bad.state}"
            error = Failure(code="step-failed", message=f"step `{bad.name}` {how}")
        return replace(
            self.record,
            status="killed" if self.interrupted_by else "failed" if bad else "finished",
            exit_code=code,
            signal=self.interrupted_by,
            error=error,
            ended_at=recording.utc(time.time()),
            duration_s=round(seconds, 6),
            steps=facts,
            inputs=tuple(parent.inputs_of(self.record, records)),
            metrics=tuple(parent.metrics_of(self.record, records)),
        )

    def _state(self, name: str) -> StepState:
        if name in self.records:
            status = self.records[name].status
            return "lost" if status == "running" else status
        return "failed" if name in self.found and not self._hindrance(self.steps[name]) else "skipped"


def _was_interrupted(record: RunRecord) -> bool:
    """By somebody who meant us as well, and not by a time limit of its own."""
    return record.signal in ("SIGINT", "SIGTERM", "SIGHUP") and record.exit_code != _TIMED_OUT


def _parameters(original: RunRecord, wanted: Wanted, steps: dict[str, _Step]) -> tuple[BoundParameter, ...]:
    """Those of the original with what is given now, called as it is given."""
    found = {it.name: it for it in original.parameters}
    for name, text in wanted.parameters:
        step, own = given.addressed(name, steps)
        meant = [
            it
            for each in steps.values()
            for it in each.record.parameters
            if it.name == name or (each.name == step and it.name == own)
        ]
        secret = any(it.secret for it in meant)
        shown = "***" if secret else source.without_credentials(text)
        kind = meant[0].kind if meant else "string"
        found[name] = BoundParameter(
            name=name, value=shown, text=shown, kind=kind, origin="command line", secret=secret
        )
    return tuple(found.values())
