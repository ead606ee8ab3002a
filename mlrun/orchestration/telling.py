"""What is told of a pipeline: each step says only what was not said before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.views import words

if TYPE_CHECKING:
    from mlrun.model import Finding, StepState
    from mlrun.pipelines.schedule import Schedule
    from mlrun.runner import Teller

_ONCE = frozenset(("source", "environment", "adapted"))
_LISTED = 6  # cached steps that are named


class StepTeller:
    """A teller for a step: what holds for all steps is told by the first, and warnings once.

    With `brief` only warnings and events are told: somebody else tells the rest, or nobody could follow it.
    """

    def __init__(self, teller: Teller, *, brief: bool = False) -> None:
        self._teller = teller
        self._brief = brief
        self._told: set[tuple[str, str]] = set()

    def say(self, text: str) -> None:
        self._teller.say(text)

    def progress(self, task: str, done: float | None) -> None:
        self._teller.progress(task, done)

    def fact(self, label: str, text: str) -> None:
        if self._brief or (label in _ONCE and self._is_old(label, text)):
            return
        self._teller.fact(label, text)

    def warn(self, finding: Finding) -> None:
        if not self._is_old("warning", finding.message):
            self._teller.warn(finding)

    def output_begins(self) -> None:
        if not self._brief:
            self._teller.output_begins()

    def output_ends(self) -> None:
        if not self._brief:
            self._teller.output_ends()

    def pause(self) -> None:
        self._teller.pause()

    def close(self) -> None:
        self._teller.close()

    def _is_old(self, label: str, text: str) -> bool:
        if label == "source" and any(known == "source" for known, _ in self._told):
            return True  # what the steps write changes the tree's name
        if (label, text) in self._told:
            return True
        self._told.add((label, text))
        return False


class Noted:
    """A teller that keeps to itself what is told: of a look that may lead to nothing."""

    def __init__(self) -> None:
        self.why = ""
        self.findings: list[Finding] = []

    def say(self, text: str) -> None:
        pass

    def progress(self, task: str, done: float | None) -> None:
        pass

    def fact(self, label: str, text: str) -> None:
        if label == "cache" and text.startswith("not "):  # else there was none that might have done
            self.why = text

    def warn(self, finding: Finding) -> None:
        if finding.code == "output-replaced":
            self.findings.append(finding)

    def output_begins(self) -> None:
        pass

    def output_ends(self) -> None:
        pass

    def pause(self) -> None:
        pass

    def close(self) -> None:
        pass


class Story:
    """The pipeline's own lines. Cached steps are gathered: often they are nearly all, and come at once."""

    def __init__(self, teller: Teller, schedule: Schedule) -> None:
        self._teller = teller
        self._schedule = schedule
        self._cached: list[str] = []

    def begins(self, name: str) -> None:
        self.flush()
        place = self._schedule.count("finished", "cached", "failed", "killed", "lost", "running")
        self._teller.fact(f"step {place}/{len(self._schedule.plan.steps)}", name)

    def ended(self, name: str, state: StepState, seconds: float | None, detail: str) -> None:
        if state == "cached":
            self._cached.append(name)
            return
        self.flush()
        took = f" in {words.duration(seconds)}" if seconds is not None else ""
        self._teller.fact(state, f"{name}{took}{f', {detail}' if detail else ''}")

    def flush(self) -> None:
        """Tell of the cached steps so far."""
        if not self._cached:
            return
        shown = ", ".join(self._cached[:_LISTED])
        more = len(self._cached) - _LISTED
        self._teller.fact("cached", shown + (f", and {more} more" if more > 0 else ""))
        self._cached = []

    def goes_on(self) -> None:
        """A passing line on a terminal: how far the whole is."""
        schedule = self._schedule
        total = len(schedule.plan.steps)
        over = schedule.count("finished", "cached", "failed", "killed", "lost", "skipped")
        counts = [
            f"{number} {word}"
            for word, number in (
                ("cached", schedule.count("cached")),
                ("finished", schedule.count("finished")),
                ("failed", schedule.count("failed", "killed", "lost")),
            )
            if number
        ]
        running = ", ".join(schedule.running())
        text = f"step {min(over + 1, total)}/{total}: {running}"
        self._teller.progress(f"{text} ({', '.join(counts)})" if counts else text, over / total)
