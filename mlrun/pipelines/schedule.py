"""What may start next: the states of a plan's steps while it is carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.value import draft, field

if TYPE_CHECKING:
    from mlrun.model import StepState
    from mlrun.pipelines.values import Plan

GOOD: frozenset[StepState] = frozenset(("finished", "cached"))
_OVER: frozenset[StepState] = frozenset(("finished", "cached", "failed", "killed", "lost", "skipped"))


@draft
class Schedule:
    """The steps of a plan with their states, filled in as they begin and end.

    After a failure nothing more starts, or with `keep_going` only what does not depend on what failed.
    """

    plan: Plan
    keep_going: bool = False
    states: dict[str, StepState] = field(default_factory=dict)
    halted: bool = False
    first: int = 0
    """The steps before it are no longer waiting."""

    def state(self, name: str) -> StepState:
        return self.states.get(name, "waiting")

    def next(self) -> str | None:
        """The first step that can start; None where there is none, for now or for good."""
        if self.halted:
            return None
        steps = self.plan.steps
        while self.first < len(steps) and self.state(steps[self.first].name) != "waiting":
            self.first += 1
        for step in steps[self.first :]:
            if self.state(step.name) == "waiting" and all(self.state(it) in GOOD for it in step.needs):
                return step.name
        return None

    def begun(self, name: str) -> None:
        self.states[name] = "running"

    def ended(self, name: str, state: StepState) -> None:
        """A step is over. What depends on one that is not good is skipped."""
        self.states[name] = state
        if state in GOOD:
            return
        self.halted = self.halted or not self.keep_going
        for step in self.plan.steps:  # in order: what is skipped takes along what needs it
            bad = any(self.state(it) in _OVER - GOOD for it in step.needs)
            if self.state(step.name) == "waiting" and bad:
                self.states[step.name] = "skipped"

    def halt(self) -> None:
        """Nothing more is to start."""
        self.halted = True

    def close(self) -> None:
        """It is over: what has not started will not."""
        for step in self.plan.steps:
            if self.state(step.name) == "waiting":
                self.states[step.name] = "skipped"

    def count(self, *states: StepState) -> int:
        return sum(self.state(step.name) in states for step in self.plan.steps)

    def running(self) -> list[str]:
        return [step.name for step in self.plan.steps if self.state(step.name) == "running"]

    @property
    def first_bad(self) -> str | None:
        """The step that failed first, as far as that can be told: by the order of the plan."""
        bad: tuple[StepState, ...] = ("failed", "killed", "lost")
        return next((step.name for step in self.plan.steps if self.state(step.name) in bad), None)
