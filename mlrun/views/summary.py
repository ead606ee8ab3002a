"""The few lines around a run: what is going to run, how it ended, what to type next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.views import words

if TYPE_CHECKING:
    from mlrun.model import Environment, Results, RunRecord, Snapshot

_SHOWN = 8  # metrics or outputs; the rest is a command away
_WIDTH = 100  # letters of such a line


def source_line(name: str, snapshot: Snapshot) -> str:
    """What, which commit, and whether it differs."""
    parts = [name]
    if snapshot.url and snapshot.kind == "git":
        parts.append(snapshot.url)
    if snapshot.commit:
        parts.append(f"{snapshot.branch or snapshot.version or 'detached'} {snapshot.commit[:9]}")
    else:
        parts.append(f"tree {snapshot.tree[:9]}")
    if snapshot.dirty:
        parts.append("with uncommitted changes")
    return "  ".join(parts)


def environment_line(environment: Environment) -> str:
    """Kind, interpreter, packages, and whether it was there."""
    parts: list[str] = [environment.kind]
    if environment.python:
        parts.append(f"Python {environment.python}")
    if environment.packages:
        parts.append(words.plural(len(environment.packages), "package"))
    if environment.image:
        parts.append(environment.image.name)
    if environment.as_of:
        parts.append(f"as of {environment.as_of[:10]}")
    if environment.kind != "system":
        built = f"built in {words.duration(environment.build_seconds)}"
        parts.append("reused" if environment.reused else built)
    return ", ".join(parts)


def cached_line(original: Results, *, now: float) -> str:
    """Which run stands in, how old it is (`now` is in seconds since 1970), and what is saved by it."""
    since = words.seconds_since(original.ended_at or original.started_at, now=now)
    ago = f", {words.ago(since)}" if since is not None else ""
    return f"from {original.name}{ago}; saved {words.duration(original.duration_s or 0.0)}"


def summary(record: RunRecord) -> list[tuple[str, str]]:
    """Labels and texts, in the order to print them."""
    lines: list[tuple[str, str]] = []
    if record.status != "cached" or record.steps:  # else that was said, with the run that stands in
        lines.append((record.status, _ending(record)))
    if record.metrics:
        shown = [f"{metric.name} {words.number(metric.last)}" for metric in record.metrics[:_SHOWN]]
        lines.append(("metrics", _some(shown, len(record.metrics))))
    if record.outputs:
        shown = [
            f"{words.cut(output.path, _WIDTH)} {words.size(output.size)}"
            for output in record.outputs[:_SHOWN]
        ]
        lines.append(("outputs", _some(shown, len(record.outputs))))
    lines.append(("run", f"{record.name}  {record.id[:12]}"))
    lines.append(("next", _next(record)))
    return lines


def _ending(record: RunRecord) -> str:
    parts = [f"in {words.duration(record.duration_s or 0.0)}"]
    if record.steps:
        parts.append(_counted([step.state for step in record.steps]))
    if record.exit_code:
        parts.append(f"exit code {record.exit_code}")
    if record.error:
        parts.append(record.error.message)
    return ", ".join(parts)


def _counted(states: list[str]) -> str:
    """Of a pipeline: `5 steps: 3 cached, 2 finished`."""
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states))]
    return f"{words.plural(len(states), 'step')}: {', '.join(counts)}"


def _some(texts: list[str], count: int) -> str:
    """As many as a line has room for, one at least, and how many more there are of `count`."""
    shown = texts[:1]
    for text in texts[1:]:
        if len(" · ".join((*shown, text))) > _WIDTH:
            break
        shown.append(text)
    more = count - len(shown)
    return " · ".join(shown) + (f" · … and {more} more" if more else "")


def _next(record: RunRecord) -> str:
    short = record.id[:8]
    if record.status in ("finished", "cached"):
        return (
            f"mlrun get {short}"
            if record.outputs and record.source and record.source.kind == "git"
            else f"mlrun show {short}"
        )
    return f"mlrun resume {short}" if record.steps else f"mlrun logs {short}"
