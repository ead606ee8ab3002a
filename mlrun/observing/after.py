"""Once the program has ended: what was seen becomes inputs and outputs of the record."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlrun.observe import INCOMPLETE, rules
from mlrun.observe import events as logs
from mlrun.observe.meaning import understood
from mlrun.observing.inputs import Inputs
from mlrun.observing.outputs import Outputs, is_of_another_step
from mlrun.observing.surroundings import Surroundings
from mlrun.observing.values import PYTHON, STRACE, Observed
from mlrun.value import replace

if TYPE_CHECKING:
    from mlrun import data
    from mlrun.files import Cache
    from mlrun.model import Caller, RunRecord
    from mlrun.observe.events import Event
    from mlrun.observe.meaning import Seen
    from mlrun.observing.values import Watch
    from mlrun.recording import Prepared
    from mlrun.store import Store


def described(
    record: RunRecord,
    watch: Watch,
    seen: Seen,
    prepared: Prepared,
    store: Store,
    reader: data.Reader,
    caller: Caller,
    cache: Cache,
) -> Observed:
    """The record with the files that were seen; those that the run made are put into the store."""
    around = Surroundings(prepared, caller)
    inputs = Inputs(record, around, store, reader, caller, cache)
    outputs = Outputs(record, prepared, around, store, reader)
    record = replace(
        record,
        inputs=(*record.inputs, *inputs.of(seen)),
        outputs=(*record.outputs, *outputs.of(seen.writes)),
    )
    return Observed(
        record,
        (*inputs.findings, *outputs.findings),
        frozenset(outputs.kept),
        seen.writes,
        seen.singled(inputs.unlike) if watch.looks else None,
    )


def seen(watch: Watch, how: str, prepared: Prepared, *, is_step: bool) -> Seen:
    """What the program did, by its log; what the log cannot tell of files that are new or other than before.

    Whose those are nobody saw: a step's may be another's that runs beside it, which declares them.
    """
    if how == STRACE:
        from mlrun.observe import strace

        log = logs.Log(list(strace.read(watch.folder, str(prepared.snapshot.directory))))
    else:
        log = logs.read(watch.folder)
    if watch.mounts is not None:
        log = logs.Log([_out_of_container(event, watch.mounts) for event in log.all()])
    more: tuple[str, ...] = ()
    partly = how == PYTHON or (watch.folder / INCOMPLETE).exists()
    if partly or any(event.kind == "S" for event in log.events):
        from mlrun.observe.walk import changed

        more = changed(prepared.snapshot.root, since=watch.since)
    its_rules = watch.rules if watch.mounts is None else _rules_of_mounted(watch.mounts)
    more = tuple(
        path
        for path in more
        if its_rules.wants(path) and not (is_step and is_of_another_step(path, prepared))
    )
    return understood(log, rules=its_rules, since=watch.since, more_writes=more)


def _out_of_container(event: Event, mounts: tuple[tuple[str, str], ...]) -> Event:
    return event._replace(path=_outside(event.path, mounts), second=_outside(event.second, mounts))


def _outside(path: str, mounts: tuple[tuple[str, str], ...]) -> str:
    for there, here in mounts:
        if path == there or path.startswith(f"{there}/"):
            return here + path[len(there) :]
    return path


def _rules_of_mounted(mounts: tuple[tuple[str, str], ...]) -> rules.Rules:
    return rules.in_container(wanted=tuple(os.path.realpath(here) for _, here in mounts), unwanted=())
