"""The steps of a pipeline's record as they are by now: the record itself says so only when all is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.errors import StoreError
from mlrun.value import replace

if TYPE_CHECKING:
    from mlrun.model import RunRecord, StepFacts
    from mlrun.store import Store


def as_of_now(record: RunRecord, store: Store) -> RunRecord:
    """A pipeline in progress, or one that died, with the states that its steps' own records tell."""
    if all(step.state not in ("waiting", "running") for step in record.steps):
        return record
    over = record.status != "running"
    return replace(record, steps=tuple(_as_of_now(step, store, over=over) for step in record.steps))


def _as_of_now(step: StepFacts, store: Store, *, over: bool) -> StepFacts:
    try:
        found = store.load(step.run)
    except StoreError:
        return replace(step, state="skipped") if over else step
    return replace(step, state=found.status, duration_s=found.duration_s)
