"""A past run, repeated: put together again from what its record names, run in a clean place, and compared.

    may it be repeated? every reason why not → its source, environment, inputs → run → output by output

Nothing is asked anew that the record answers: the environment comes from its lock, inputs by digest.
Nothing of the original is touched; a repetition is a run of its own, with `parents.reproduces`. Of a pipeline
every step is repeated (`steps`); a run by itself, and each of those, here (`once`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.errors import UsageError
from mlrun.reproduction import steps
from mlrun.reproduction.once import gathered, repeated
from mlrun.reproduction.values import Part, Repetition, Reproduction, Reproductions, Verdict, Wanted
from mlrun.store import Store

if TYPE_CHECKING:
    from mlrun.model import RunRecord
    from mlrun.runner import Stage

__all__ = ["Repetition", "Reproduction", "Reproductions", "Verdict", "Wanted", "reproduce"]


def reproduce(wanted: Wanted, stage: Stage) -> Reproduction | Reproductions:
    """Repeat a run and compare. Raises MlrunError where mlrun itself cannot do its part."""
    if wanted.runs < 1:
        raise UsageError("`--runs` must be one or more")
    stage.home.prepare()
    stage.cache.prepare()
    store = Store(stage.home, stage.teller)
    original = store.load(store.find(wanted.run))
    if original.steps:
        return steps.reproduce(original, wanted, stage, store)
    return _reproduce(original, wanted, stage, store)


def _reproduce(original: RunRecord, wanted: Wanted, stage: Stage, store: Store) -> Reproduction:
    found: list[Reproduction] = []
    part = Part(beside=steps.beside(original, store))
    for _ in range(wanted.runs):
        found.append(repeated(original, wanted, stage, store, part))
        if any(each.record.status == "killed" for each in found[-1].repetitions):
            break  # Ctrl-C is meant for us as well
        if found[-1].reasons:
            break
    return gathered(tuple(found), stage, store)
