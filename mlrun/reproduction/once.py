"""One run repeated once: made ready, run, and held against the original."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlrun import difference, judgement, runner, source
from mlrun.errors import ParameterError
from mlrun.model import Caller, RunRequest, Tolerance
from mlrun.recording import Past
from mlrun.reproduction.readiness import prepared
from mlrun.reproduction.values import Part, Ready, Repetition, Reproduction
from mlrun.store.names import new_id
from mlrun.value import replace

if TYPE_CHECKING:
    from mlrun.difference import Cause
    from mlrun.model import BoundParameter, RunRecord
    from mlrun.reproduction.values import Wanted
    from mlrun.runner import Stage
    from mlrun.store import Store

_OBSERVED = {"shim": "shim", "strace": "strace", "python-only": "python", "off": "off"}
_MANAGERS = {"system": "system", "conda": "conda"}


def looked_at(original: RunRecord, wanted: Wanted, stage: Stage, store: Store, part: Part) -> Reproduction:
    """Whether it could be repeated: nothing is run. Raises ParameterError for a parameter that it has not."""
    _check_parameters(wanted, original)
    with prepared(original, wanted, stage, store, new_id(), part) as ready:
        reasons = tuple(ready.reasons)
    if ready.snapshot is not None and not reasons and ready.environment is not None:
        source.release(ready.snapshot, cache=stage.cache)
    return Reproduction(original=original, reasons=reasons)


def repeated(
    original: RunRecord,
    wanted: Wanted,
    stage: Stage,
    store: Store,
    part: Part,
    *,
    run_id: str | None = None,
) -> Reproduction:
    """One repetition, or every reason why there can be none. Raises MlrunError."""
    _check_parameters(wanted, original)
    found = Reproduction(original=original, changed=changed(wanted, original), flowing=part.before)
    with prepared(original, wanted, stage, store, run_id or new_id(), part) as ready:
        if ready.reasons or ready.environment is None or ready.snapshot is None:
            return replace(found, reasons=tuple(ready.reasons), notes=tuple(ready.notes))
        record = _run(ready, original, wanted, stage, part)
    tolerance = _tolerance(wanted, ready)
    items = judgement.judge(
        original, record, store=store, tolerance=tolerance, checkouts=stage.cache.checkouts
    )
    causes = _causes(original, record, store, stage) if judgement.verdict_of(items) != "identical" else ()
    return replace(
        found,
        repetitions=(Repetition(record=record, items=items, causes=causes),),
        notes=tuple(ready.notes),
        tolerance=tolerance,
    )


def gathered(found: tuple[Reproduction, ...], stage: Stage, store: Store) -> Reproduction:
    """Several repetitions of one run as one, compared with each other as well."""
    last = found[-1]
    repetitions = tuple(it for each in found for it in each.repetitions)
    records = tuple(it.record for it in repetitions if it.record.status != "killed")
    spread = judgement.spread(records, store=store, tolerance=last.tolerance, checkouts=stage.cache.checkouts)
    return replace(last, repetitions=repetitions, spread=spread)


def _run(ready: Ready, original: RunRecord, wanted: Wanted, stage: Stage, part: Part) -> RunRecord:
    assert ready.environment is not None
    assert ready.snapshot is not None
    past = Past(
        run_id=original.id,
        environment=ready.environment,
        determinism=original.determinism,
        named=tuple((it.run, it.path) for it in original.inputs if it.run is not None),
        pipeline=part.whole,
    )
    declared = {name: text for name, text in original.env_vars if text is not None}
    variables = {**stage.caller.variables, **declared}
    # Paths that were given relative to the project then are looked for in the checkout now.
    caller = Caller(directory=str(ready.snapshot.directory), variables=variables)
    return runner.run_again(
        past,
        _request(ready, original, wanted, stage),
        ready.snapshot,
        replace(stage, caller=caller),
        run_id=ready.run_id,
        placed=frozenset(ready.placed),
    )


def _causes(original: RunRecord, record: RunRecord, store: Store, stage: Stage) -> tuple[Cause, ...]:
    """What went in otherwise. A parameter that the program logged came out of it, as a metric does."""
    went_in = [
        replace(each, parameters=tuple(it for it in each.parameters if it.origin != "logged"))
        for each in (original, record)
    ]
    found = difference.difference(*went_in, store=store, cache=stage.cache, caller=stage.caller)
    same_command = _without_place(original, stage) == _without_place(record, stage)
    return tuple(cause for cause in found.causes if cause.kind != "command" or not same_command)


def _without_place(record: RunRecord, stage: Stage) -> str:
    """The command without the folder that it ran in."""
    text = record.command.text if record.command else ""
    ids = (record.id, *(run for kind, run in record.parents if kind == "pipeline"))
    for each in ids:
        text = text.replace(str(stage.cache.checkouts / each), ".")
    return text.replace(record.source.directory, ".") if record.source else text


def _tolerance(wanted: Wanted, ready: Ready) -> Tolerance:
    said = ready.tolerance
    return Tolerance(
        rtol=said.rtol if wanted.rtol is None else wanted.rtol,
        atol=said.atol if wanted.atol is None else wanted.atol,
    )


# --- what is asked ------------------------------------------------------------------------------------


def _check_parameters(wanted: Wanted, original: RunRecord) -> None:
    known = [parameter.name for parameter in original.parameters if parameter.origin != "logged"]
    for name, _ in wanted.parameters:
        if name not in known:
            raise ParameterError(
                f"the run has no parameter `{name}`: there are {', '.join(known) or 'none'}",
                code="no-such-parameter",
            )


def changed(wanted: Wanted, original: RunRecord) -> tuple[str, ...]:
    """The parameters that are to be otherwise; what a secret one was is not known."""
    was = {parameter.name: parameter for parameter in original.parameters}
    return tuple(name for name, text in wanted.parameters if not was[name].secret and was[name].value != text)


def _as_given(parameter: BoundParameter, text: str, ready: Ready, stage: Stage) -> str:
    """A path that the source does not hold is one from where the caller stands."""
    assert ready.snapshot is not None
    here = os.path.join(stage.caller.directory, text)
    if parameter.kind != "path" or (ready.snapshot.directory / text).exists() or not os.path.exists(here):
        return text
    return os.path.abspath(here)


def _request(ready: Ready, original: RunRecord, wanted: Wanted, stage: Stage) -> RunRequest:
    """The request of the original, with paths as they are now."""
    given = dict(wanted.parameters)
    by_hand: list[tuple[str, str]] = []
    by_file: list[tuple[str, str]] = []
    for parameter in original.parameters:
        if parameter.origin == "logged":
            continue
        if parameter.name in given:
            by_hand.append((parameter.name, _as_given(parameter, given[parameter.name], ready, stage)))
            continue
        text = ready.paths.get(parameter.name)
        if text is None and parameter.origin == "default":
            continue
        pairs = by_file if parameter.origin == "params file" else by_hand
        pairs.append((parameter.name, parameter.value if text is None else text))
    assert original.environment is not None
    return RunRequest(
        target=original.target,
        entry_point=original.entry_point,
        parameters=tuple(by_hand),
        file_parameters=tuple(by_file),
        env_manager=_MANAGERS.get(original.environment.kind),
        name=wanted.name,
        tags=original.tags,
        observe=_OBSERVED.get(original.observed or "", "auto"),
    )
