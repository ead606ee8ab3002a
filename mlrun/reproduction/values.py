"""A repetition as it is asked for, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mlrun import judgement
from mlrun.model import Finding, Tolerance
from mlrun.value import draft, field, value

if TYPE_CHECKING:
    from mlrun.difference import Cause
    from mlrun.judgement import Item
    from mlrun.model import Artifact, Environment, RunRecord, Snapshot

Verdict = Literal["identical", "equal", "close", "different", "unknown", "impossible"]


@value
class Wanted:
    """What is asked: a run, what is to be otherwise, and how good is good enough (None: as the project says).

    `secrets` and other parameters are (name, text) pairs, as given by `-P`.
    """

    run: str
    parameters: tuple[tuple[str, str], ...] = ()
    rtol: float | None = None
    atol: float | None = None
    runs: int = 1
    allow_changed_data: bool = False
    allow_overwrite: bool = False
    name: str | None = None


@value
class Repetition:
    """One repetition: its record, and how it compares with the original; `causes` are what may explain it."""

    record: RunRecord
    items: tuple[Item, ...] = ()
    causes: tuple[Cause, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """How it compares as a whole."""
        return judgement.verdict_of(self.items)


@value
class Reproduction:
    """What came of it. `reasons` are why the run cannot be repeated: then nothing was run.

    `changed` are the parameters that were to be otherwise, `flowing` the steps before this one whose new
    outputs went in instead of those of then; `spread` is how the repetitions differ among themselves, where
    there are several; `notes` are what was different from the start.
    """

    original: RunRecord
    reasons: tuple[Finding, ...] = ()
    repetitions: tuple[Repetition, ...] = ()
    spread: tuple[Item, ...] = ()
    changed: tuple[str, ...] = ()
    flowing: tuple[str, ...] = ()
    notes: tuple[Finding, ...] = ()
    tolerance: Tolerance = field(default_factory=Tolerance)

    @property
    def verdict(self) -> Verdict:
        """The worst of all repetitions."""
        if self.reasons:
            return "impossible"
        found = [repetition.verdict for repetition in self.repetitions]
        order: tuple[Verdict, ...] = ("identical", "equal", "close", "unknown", "different")
        return max(found, key=order.index, default="unknown")

    @property
    def among_themselves(self) -> Verdict:
        """How several repetitions compare with each other."""
        return judgement.verdict_of(self.spread)


@value
class Reproductions:
    """A pipeline whose steps were repeated one by one: `records` are those of the wholes, one a repetition.

    Where one of the steps cannot be repeated nothing is run, and `steps` are those that cannot. `changed` are
    the parameters that were to be otherwise, each as `STEP.NAME`.
    """

    original: RunRecord
    steps: tuple[Reproduction, ...]
    records: tuple[RunRecord, ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of all steps."""
        order: tuple[Verdict, ...] = ("identical", "equal", "close", "unknown", "impossible", "different")
        return max((step.verdict for step in self.steps), key=order.index, default="unknown")


@value
class Part:
    """A run as a step of a pipeline that is repeated, called `whole`; of a run by itself neither is set.

    `before` are steps whose new outputs go in: `then` is what they had made, `now` what they made instead, in
    the order in which they ran. `beside` is what other steps that it needs had made: it goes in where nobody
    saw what the program read.
    """

    whole: str | None = None
    before: tuple[str, ...] = ()
    then: tuple[Artifact, ...] = ()
    now: tuple[Artifact, ...] = ()
    beside: tuple[Artifact, ...] = ()


@draft
class Ready:
    """What a repetition needs, as far as it could be had; `reasons` say what could not.

    `paths` are the new places of path parameters, `placed` the files put into the checkout, or
    taken out of it, relative to it.
    """

    run_id: str
    snapshot: Snapshot | None = None
    environment: Environment | None = None
    tolerance: Tolerance = field(default_factory=Tolerance)
    paths: dict[str, str] = field(default_factory=dict)
    placed: set[str] = field(default_factory=set)
    reasons: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)


def reason(code: str, message: str, hint: str | None = None) -> Finding:
    """Why a run cannot be repeated."""
    return Finding(level="error", code=code, message=message, hint=hint)


def note(code: str, message: str) -> Finding:
    """What is otherwise than it was then, and may be."""
    return Finding(level="warning", code=code, message=message)
