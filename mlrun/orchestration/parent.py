"""The record of a pipeline as a whole: what was asked, which steps it had, and how it came out."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from mlrun import recording, source
from mlrun.model import BoundParameter, Failure, StepFacts
from mlrun.pipelines.given import addressed
from mlrun.pipelines.paths import overlap
from mlrun.pipelines.schedule import GOOD
from mlrun.recording import Prepared
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlrun.env import Asked
    from mlrun.errors import MlrunError
    from mlrun.model import Artifact, Caller, Metric, Origin, Parameter, RunRecord, Status
    from mlrun.pipelines.schedule import Schedule
    from mlrun.pipelines.values import Plan
    from mlrun.runner import Taken
    from mlrun.store import Store

CANNOT = 125
"""The exit code of a step that mlrun could not do its part for."""
_TIMED_OUT = 124


def prepared(taken: Taken, plan: Plan, asked: Asked) -> Prepared:
    """The pipeline as one run: the request of its last step, and the outputs of all."""
    last = plan.step(plan.entry_point)
    outputs = tuple(dict.fromkeys(output for step in plan.steps for output in step.spec.outputs))
    findings = tuple(dict.fromkeys(found for step in plan.steps for found in step.spec.findings))
    return Prepared(
        run_id=taken.run_id,
        request=taken.request,
        snapshot=taken.snapshot,
        project=taken.project,
        spec=replace(last.spec, outputs=outputs, findings=findings),
        asked=asked,
    )


def opened(
    whole: Prepared, plan: Plan, ids: Mapping[str, str], *, name: str, caller: Caller, store: Store
) -> RunRecord:
    """The record of a pipeline that is about to begin."""
    record = recording.open_record(whole, name=name, caller=caller, store=store)
    return replace(
        record,
        command=None,
        env_vars=(),
        parameters=tuple(_parameters(whole, plan)),
        steps=tuple(StepFacts(name=step.name, run=ids[step.name], needs=step.needs) for step in plan.steps),
    )


def _parameters(whole: Prepared, plan: Plan) -> Iterator[BoundParameter]:
    """Those of the last step, and what was given for others, called as it was."""
    seen = set()
    for parameter in whole.shown_parameters:
        seen.add(parameter.name)
        yield parameter
    given: list[tuple[str, str, Origin]] = [(*pair, "command line") for pair in whole.request.parameters]
    given += [(*pair, "params file") for pair in whole.request.file_parameters]
    for name, text, origin in given:
        if name in seen:
            continue
        seen.add(name)
        declared = _declared(name, plan)
        shown = source.without_credentials(text)
        yield BoundParameter(
            name=name,
            value=shown,
            text=shown,
            kind=declared.kind if declared else "string",
            origin=origin,
            secret=bool(declared and declared.secret),
        )


def _declared(name: str, plan: Plan) -> Parameter | None:
    """What is meant by `alpha`, or by `train.alpha`; secret, if it is so anywhere."""
    step, own = addressed(name, [each.name for each in plan.steps])
    found = [
        it
        for each in plan.steps
        for it in each.entry_point.parameters
        if it.name == name or (each.name == step and it.name == own)
    ]
    return next((it for it in found if it.secret), found[0] if found else None)


def closed(
    record: RunRecord,
    schedule: Schedule,
    steps: Mapping[str, RunRecord],
    *,
    failures: Mapping[str, MlrunError],
    seconds: float,
    interrupted_by: str | None,
    timed_out: bool,
) -> RunRecord:
    """The record of a pipeline that is over; `steps` are the records there are, by name.

    `failures` are those of steps that mlrun could not do its part for.
    """
    facts = tuple(
        replace(it, state=schedule.state(it.name), duration_s=took(steps.get(it.name))) for it in record.steps
    )
    status: Status
    error: Failure | None
    if interrupted_by:
        status, code, error = _interrupted(record, schedule, steps, interrupted_by)
    elif timed_out:
        failure = Failure(code="timed-out", message="ended by its time-out", hint=_again(record))
        status, code, error = "killed", _TIMED_OUT, failure
    elif schedule.first_bad is not None:
        status, code, error = _failed(record, schedule, steps, failures)
    else:
        everything_cached = schedule.count("cached") == len(schedule.plan.steps)
        status, code, error = ("cached" if everything_cached else "finished"), 0, None
    return replace(
        record,
        status=status,
        exit_code=code,
        signal=interrupted_by,
        error=error,
        ended_at=recording.utc(time.time()),
        duration_s=round(seconds, 6),
        steps=facts,
        inputs=tuple(inputs_of(record, steps)),
        metrics=tuple(metrics_of(record, steps)),
    )


def took(record: RunRecord | None) -> float | None:
    """The seconds of a step that was run."""
    return record.duration_s if record and record.status != "cached" else None


def inputs_of(record: RunRecord, steps: Mapping[str, RunRecord]) -> Iterator[Artifact]:
    """What went in from outside: the declared inputs of steps that no step made."""
    ran = [steps[step.name] for step in record.steps if step.name in steps]
    made = {it.path for each in ran for it in each.outputs}
    found = {it.path: it for each in ran for it in each.inputs if it.declared}
    rest = {path: it for path, it in found.items() if path not in made}
    yield from (it for path, it in rest.items() if not any(overlap(path, other) for other in made))


def metrics_of(record: RunRecord, steps: Mapping[str, RunRecord]) -> Iterator[Metric]:
    """What the steps measured; where two have a name in common, the later one's."""
    found: dict[str, Metric] = {}
    for step in record.steps:
        if step.name in steps and steps[step.name].status in GOOD:
            found |= {metric.name: metric for metric in steps[step.name].metrics}
    yield from found.values()


def _interrupted(
    record: RunRecord, schedule: Schedule, steps: Mapping[str, RunRecord], interrupted_by: str
) -> tuple[Status, int, Failure | None]:
    name = schedule.first_bad
    bad = steps.get(name) if name else None
    number = int(getattr(signal, interrupted_by, signal.SIGINT))
    message = f"ended by {interrupted_by}" + (f" during `{name}`" if name else "")
    failure = Failure(code="interrupted", message=message, hint=_again(record))
    return "killed", (bad and bad.exit_code) or 128 + number, failure


def _failed(
    record: RunRecord,
    schedule: Schedule,
    steps: Mapping[str, RunRecord],
    failures: Mapping[str, MlrunError],
) -> tuple[Status, int, Failure | None]:
    name = schedule.first_bad or ""
    bad, failure = steps.get(name), failures.get(name)
    if failure is not None:
        how = f"failed: {failure}"
    elif bad is not None and bad.error is not None:
        how = f"failed: {bad.error.message}"
    elif bad is not None and bad.exit_code:
        how = f"failed with exit code {bad.exit_code}"
    else:
        how = f"was {schedule.state(name)}"
    skipped = schedule.count("skipped")
    message = f"step `{name}` {how}" + (f"; not run: {skipped}" if skipped else "")
    code = (bad and bad.exit_code) or CANNOT
    return "failed", code, Failure(code="step-failed", message=message, hint=_again(record))


def _again(record: RunRecord) -> str:
    return f"`mlrun resume {record.id[:8]}` goes on from there"
