"""A pipeline as text: its graph in lanes from top to bottom, as DOT, as Mermaid; the steps of a record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from mlrun.views import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlrun.model import RunRecord, StepFacts

_WIDEST = 24  # lanes; what is wider is told by names instead
_COLOURS = {"cached": "#d5e8d4", "stale": "#fff2cc", "failed": "#f8cecc", "never run": "#f5f5f5"}


class Linked(Protocol):
    """Something with a name that comes after others."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> tuple[str, ...]: ...


def drawn(steps: Sequence[Linked]) -> list[str]:
    """For each step, the lines that lead to it and a dot; steps come after those that they need.

    A lane belongs to a step, from its dot down to the last that needs it.
    """
    left = {step.name: sum(step.name in other.needs for other in steps) for step in steps}
    lanes: list[str | None] = []
    rows = []
    for step in steps:
        feeding = [at for at, owner in enumerate(lanes) if owner in step.needs]
        for at in feeding:
            left[str(lanes[at])] -= 1
        after = [owner if owner is not None and left[owner] else None for owner in lanes]
        first = feeding[-1] + 1 if feeding else 0
        place = next((at for at in range(first, len(lanes)) if lanes[at] is None), len(lanes))
        rows.append(_row(lanes, after, feeding, place))
        lanes = after + [None] * (place + 1 - len(after))
        lanes[place] = step.name if left[step.name] else None
        while lanes and lanes[-1] is None:
            lanes.pop()
    if any(len(row) > 2 * _WIDEST for row in rows):
        return ["●" for _ in steps]
    width = max(map(len, rows), default=0)
    return [row.ljust(width) for row in rows]


def _row(lanes: list[str | None], after: list[str | None], feeding: list[int], place: int) -> str:
    text = ""
    for at in range(max(place, len(lanes) - 1) + 1):
        owner = lanes[at] if at < len(lanes) else None
        inside = bool(feeding) and feeding[0] < at < place
        if at == place:
            mark = "●"
        elif at in feeding:
            goes_on = after[at] is not None
            mark = ("┼" if goes_on else "┴") if at > feeding[0] else ("├" if goes_on else "└")
        elif inside:
            mark = "─" if owner is None else "│"
        else:
            mark = "│" if owner is not None else " "
        text += mark + ("─" if feeding and feeding[0] <= at < place else " ")
    return text.rstrip()


# --- a project's steps as they stand ------------------------------------------------------------------


class Standing(Linked, Protocol):
    """A step with its state; see `mlrun.orchestration.states`."""

    @property
    def state(self) -> str: ...

    @property
    def why(self) -> str | None: ...

    @property
    def last(self) -> Last | None: ...

    @property
    def links(self) -> Sequence[Link]: ...


class Last(Protocol):
    @property
    def run(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def status(self) -> str: ...

    @property
    def started_at(self) -> str: ...


class Link(Protocol):
    @property
    def maker(self) -> str: ...

    @property
    def path(self) -> str | None: ...


def lines(steps: Sequence[Standing]) -> list[tuple[str, str, str]]:
    """For each step: the drawing and its name, its state, and the rest."""
    drawing = drawn(steps)
    wide = max((len(step.name) for step in steps), default=0)
    plain = all(mark == "●" for mark in drawing) and any(step.needs for step in steps)
    found = []
    for mark, step in zip(drawing, steps, strict=True):
        rest = [f"{words.local_time(step.last.started_at)}  {step.last.name}"] if step.last else []
        rest += [step.why] if step.why else []
        rest += [f"after {', '.join(step.needs)}"] if plain and step.needs else []
        found.append((f"{mark} {step.name.ljust(wide)}", step.state, "  ".join(rest)))
    return found


def as_json(steps: Sequence[Standing]) -> list[dict[str, object]]:
    """For machines."""
    return [
        {
            "step": step.name,
            "state": step.state,
            "why": step.why,
            "needs": list(step.needs),
            "links": [{"step": link.maker, "path": link.path} for link in step.links],
            "last": None
            if step.last is None
            else {
                "run": step.last.run,
                "name": step.last.name,
                "status": step.last.status,
                "started_at": step.last.started_at,
            },
        }
        for step in steps
    ]


def dot(steps: Sequence[Standing]) -> str:
    """For Graphviz: `mlrun dag --dot | dot -Tsvg`."""
    rows = ["digraph pipeline {", '  node [shape=box, style="rounded,filled", fillcolor=white];']
    for step in steps:
        label = _quoted(f"{step.name}\n{step.state}")
        rows.append(f"  {_quoted(step.name)} [label={label}, fillcolor={_quoted(_colour(step.state))}];")
    for step in steps:
        for need in step.needs:
            files = ", ".join(link.path for link in step.links if link.maker == need and link.path)
            label = f" [label={_quoted(files)}]" if files else ""
            rows.append(f"  {_quoted(need)} -> {_quoted(step.name)}{label};")
    return "\n".join([*rows, "}"]) + "\n"


def mermaid(steps: Sequence[Standing]) -> str:
    """For Markdown: GitHub and others draw it."""
    numbers = {step.name: f"s{number}" for number, step in enumerate(steps)}
    rows = ["flowchart TD"]
    rows += [f"  {numbers[step.name]}[{_escaped(step.name, step.state)}]" for step in steps]
    for step in steps:
        for need in step.needs:
            files = ", ".join(link.path for link in step.links if link.maker == need and link.path)
            label = f"|{_escaped(files)}|" if files else ""
            rows.append(f"  {numbers[need]} -->{label} {numbers[step.name]}")
    rows += [f"  style {numbers[step.name]} fill:{_colour(step.state)}" for step in steps]
    return "\n".join(rows) + "\n"


def _colour(state: str) -> str:
    return _COLOURS.get(state, "#ffffff")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _escaped(*texts: str) -> str:
    """Mermaid takes a quoted label, with entities for what would end it."""
    entities = str.maketrans({"&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;"})
    return '"' + "<br/>".join(text.translate(entities) for text in texts) + '"'


# --- the steps of a record ----------------------------------------------------------------------------


def of_record(record: RunRecord) -> list[str]:
    """Each step of a pipeline with its state, how long it took, and its run."""
    drawing = drawn(record.steps)
    wide = max((len(step.name) for step in record.steps), default=0)
    states = max((len(step.state) for step in record.steps), default=0)
    found = []
    for mark, step in zip(drawing, record.steps, strict=True):
        name, state = step.name.ljust(wide), step.state.ljust(states)
        found.append(f"{mark} {name}  {state}  {_took(step).rjust(8)}  {_run(step)}".rstrip())
    return found


def _took(step: StepFacts) -> str:
    return words.duration(step.duration_s) if step.duration_s is not None else ""


def _run(step: StepFacts) -> str:
    return "" if step.state in ("waiting", "skipped") else step.run[:12]
