"""What came out of two runs, and what differs between any two: time, memory, who and when."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mlrun.difference.items import change_of, pair, seen_by, text_item
from mlrun.difference.values import Item, Section
from mlrun.tracking.meaning import judged
from mlrun.views import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlrun.model import Artifact, Metric, RunRecord


def status(before: RunRecord, after: RunRecord) -> Section:
    """How they ended."""
    running = [record.name for record in (before, after) if record.status == "running"]
    if running:
        verb = "is" if len(running) == 1 else "are"
        return Section(kind="status", missing=f"{' and '.join(running)} {verb} still running")
    ours, theirs = (None if it.error is None else it.error.message for it in (before, after))
    endings = [("finished" if it.status == "cached" else it.status) for it in (before, after)]
    return pair(
        "status",
        [
            text_item("status", *endings),
            text_item("exit code", before.exit_code, after.exit_code),
            text_item("signal", before.signal, after.signal),
            text_item("error", ours, theirs),
        ],
    )


def metrics(before: RunRecord, after: RunRecord) -> Section:
    """The last values; better or worse for names whose meaning is common."""
    ours = {metric.name: metric for metric in before.metrics}
    theirs = {metric.name: metric for metric in after.metrics}
    names = sorted({*ours, *theirs})
    same = sum(
        name in ours and name in theirs and _equal(ours[name].last, theirs[name].last) for name in names
    )
    return pair(
        "metrics", (_metric(ours.get(name), theirs.get(name)) for name in names), facts=(("same", same),)
    )


def _metric(before: Metric | None, after: Metric | None) -> Item | None:
    known = before or after
    assert known is not None
    a = None if before is None else before.last
    b = None if after is None else after.last
    if a is not None and b is not None and _equal(a, b):
        return None
    note, facts = _moved(known.name, a, b)
    return Item(
        name=known.name,
        change=change_of(a, b),
        before=_digits(a, b),
        after=_digits(b, a),
        note=note,
        facts=(("before_value", a), ("after_value", b), *facts),
    )


def _moved(name: str, a: float | None, b: float | None) -> tuple[str | None, tuple[tuple[str, object], ...]]:
    """By how much, and whether for the better."""
    if a is None or b is None or not math.isfinite(b - a):
        return None, ()
    delta = b - a
    percent = 100 * delta / abs(a) if a else None
    verdict = judged(name, delta)
    parts = [f"{delta:+.6g}"]
    parts += [f"{percent:+.2f} %"] if percent is not None else []
    parts += [verdict] if verdict else []
    return ", ".join(parts), (("delta", delta), ("percent", percent), ("verdict", verdict))


def _digits(value: float | None, other: float | None) -> str | None:
    """Six digits, or all where six would not tell the two apart."""
    if value is None:
        return None
    short = f"{value:.6g}"
    return repr(value) if other is not None and short == f"{other:.6g}" else short


def _equal(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def outputs(before: RunRecord, after: RunRecord) -> Section:
    """By digest; a metrics file that differs only because the metrics do is told with them."""
    ours = {output.path: output for output in before.outputs}
    theirs = {output.path: output for output in after.outputs}
    if seen_by(before, "outputs") != seen_by(after, "outputs"):
        lone = ours.keys() ^ theirs.keys()
        ours, theirs = (
            {path: it for path, it in side.items() if it.declared or path not in lone}
            for side in (ours, theirs)
        )
    names = sorted({*ours, *theirs})
    same = sum(
        name in ours and name in theirs and ours[name].digest == theirs[name].digest is not None
        for name in names
    )
    items = (_output(ours.get(name), theirs.get(name)) for name in names)
    return pair("outputs", items, facts=(("same", same),))


def _output(before: Artifact | None, after: Artifact | None) -> Item | None:
    known = before or after
    assert known is not None
    facts = tuple(
        (f"{side}_{name}", None if it is None else getattr(it, name))
        for side, it in (("before", before), ("after", after))
        for name in ("digest", "size")
    )
    if before and after:
        if before.digest == after.digest is not None:
            return None
        if before.digest is None or after.digest is None:
            return Item(name=known.path, change="unknown", note="it could not be read", facts=facts)
    return Item(
        name=known.path,
        change=change_of(before, after),
        before=f"{words.size(before.size)}, {before.digest}" if before else None,
        after=f"{words.size(after.size)}, {after.digest}" if after else None,
        note=known.kind if known.kind != "file" else None,
        because="metrics" if known.kind == "metrics" else None,
        facts=facts,
    )


# --- aside --------------------------------------------------------------------------------------------


def cost(before: RunRecord, after: RunRecord) -> Section:
    """Time and memory, which differ between any two runs."""
    items = [_cost("duration_s", before.duration_s, after.duration_s, words.duration)]
    ours, theirs = before.resources, after.resources
    if ours and theirs:
        memory = (ours.max_rss_bytes, theirs.max_rss_bytes)
        items.append(_cost("cpu_s", ours.cpu_s, theirs.cpu_s, words.duration))
        items.append(_cost("max_rss_bytes", *memory, lambda count: words.size(round(count))))
    return pair("cost", items)


def _cost(name: str, a: float | None, b: float | None, shown: Callable[[float], str]) -> Item | None:
    if any(it is not None and not math.isfinite(it) for it in (a, b)):
        shown = repr
    return text_item(
        name,
        None if a is None else shown(a),
        None if b is None else shown(b),
        note=f"{100 * (b - a) / a:+.0f} %" if a and b is not None else None,
        facts=(("before_value", a), ("after_value", b)),
    )


def circumstances(before: RunRecord, after: RunRecord) -> Section:
    """Who, when, where from."""
    return pair(
        "circumstances",
        [
            text_item(name.replace("_", " "), getattr(before, name) or None, getattr(after, name) or None)
            for name in ("started_at", "target", "user", "trigger", "mlrun_version")
        ]
        + [
            text_item("host", before.host and before.host.name, after.host and after.host.name),
            text_item("tags", _tags(before), _tags(after)),
        ],
    )


def _tags(record: RunRecord) -> str | None:
    return ", ".join(f"{name}={text}" for name, text in record.tags) or None
