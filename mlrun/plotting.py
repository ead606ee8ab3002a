"""The series of metrics of runs, thinned out to what can be seen."""

from __future__ import annotations

import math
from array import array
from operator import itemgetter
from typing import TYPE_CHECKING, Literal

from mlrun.errors import UsageError
from mlrun.tracking import metrics
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlrun.files import Home
    from mlrun.model import Metric, RunRecord
    from mlrun.tracking.metrics import Point

Axis = Literal["step", "time", "relative"]

COLUMNS = 1000
"""Columns of a picture for which points are kept: of those in one column the lowest and the highest."""


@value
class Series:
    """One curve. `xs` are steps, seconds since 1970, or seconds since the first point, ascending.

    `count` are the points that there were; `odd` of them were no finite number (or, on a logarithmic
    axis, not positive) and are left out.
    """

    run: str
    run_name: str
    metric: str
    xs: Sequence[float]
    ys: Sequence[float]
    count: int
    odd: int = 0
    last: float = math.nan


def sources(home: Home, record: RunRecord) -> tuple[Path, ...]:
    """The files of a run's series; those that came through MLflow join the others at the run's end.

    Of a cached step that nobody could give a folder, as in a store that may only be read, they are where its
    original has them.
    """
    paths = home.run(record.id)
    if record.status == "cached" and not paths.root.exists():
        paths = home.run(dict(record.parents).get("cached_from", record.id))
    if record.status not in ("running", "lost"):
        return (paths.metrics,)
    return (paths.metrics, paths.mlflow / "series" / f"{record.id}.jsonl")


def latest(home: Home, record: RunRecord) -> dict[str, Point]:
    """The last point of each metric of a run that may still go on."""
    found: dict[str, Point] = {}
    for path in sources(home, record):
        found |= metrics.latest(path)
    return found


def so_far(home: Home, record: RunRecord) -> tuple[Metric, ...]:
    """The metrics of a run without an end (it goes on, or was lost), whose record holds none of them yet."""
    return metrics.merge(metrics.read_series(path) for path in sources(home, record) if path.exists()).metrics


def load(
    home: Home,
    record: RunRecord,
    *,
    names: Sequence[str] | None,
    x: Axis = "step",
    log: bool = False,
    smooth: int = 1,
    columns: int = COLUMNS,
) -> tuple[Series, ...]:
    """The series of a run, those of `names` only; means are taken of `smooth` points."""
    found: dict[str, tuple[array[float], array[float]]] = {}
    wanted = None if names is None else frozenset(names)
    for path in sources(home, record):
        if path.exists():
            for point in metrics.points_of(path):
                if wanted is None or point.name in wanted:
                    xs, ys = found.setdefault(point.name, (array("d"), array("d")))
                    at = point.step if x == "step" else point.time
                    xs.append(float(len(xs) if at is None else at))
                    ys.append(point.value)
    return tuple(
        _series(record, name, xs, ys, relative=x == "relative", log=log, smooth=smooth, columns=columns)
        for name, (xs, ys) in found.items()
    )


def _series(
    record: RunRecord,
    name: str,
    xs: array[float],
    ys: array[float],
    *,
    relative: bool,
    log: bool,
    smooth: int,
    columns: int,
) -> Series:
    lowest = 0.0 if log else -math.inf
    pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if lowest < y < math.inf]
    pairs.sort(key=itemgetter(0))
    if relative and pairs:
        pairs = [(x - pairs[0][0], y) for x, y in pairs]
    kept = thinned(_smoothed(pairs, smooth), columns)
    return Series(
        run=record.id,
        run_name=record.name,
        metric=name,
        xs=tuple(x for x, _ in kept),
        ys=tuple(y for _, y in kept),
        count=len(xs),
        odd=len(xs) - len(pairs),
        last=ys[-1] if ys else math.nan,
    )


def _smoothed(pairs: list[tuple[float, float]], over: int) -> list[tuple[float, float]]:
    """The mean of each point and those before it.

    What a sum loses beside a huge number is kept apart: else nothing would be left of it once that has gone.
    """
    if over <= 1:
        return pairs
    smooth: list[tuple[float, float]] = []
    total = lost = 0.0
    for at, (x, y) in enumerate(pairs):
        for part in (y / over, -pairs[at - over][1] / over) if at >= over else (y / over,):
            larger = total + part
            lost += (total - larger) + part if abs(total) >= abs(part) else (part - larger) + total
            total = larger
        smooth.append((x, (total + lost) * (over / min(over, at + 1))))
    return smooth


def thinned(pairs: list[tuple[float, float]], columns: int) -> list[tuple[float, float]]:
    """First, lowest, highest and last point of each column: they draw the same picture."""
    if len(pairs) <= 4 * columns:
        return pairs
    first, width = pairs[0][0], (pairs[-1][0] - pairs[0][0]) or 1.0
    kept: list[tuple[float, float]] = []
    column: list[tuple[float, float]] = []
    number = 0
    for pair in pairs:
        its_number = int((pair[0] - first) / width * columns)
        if its_number != number and column:
            kept += _corners(column)
            column = []
        number = its_number
        column.append(pair)
    return kept + _corners(column)


def _corners(column: list[tuple[float, float]]) -> list[tuple[float, float]]:
    low = min(range(len(column)), key=lambda at: column[at][1])
    high = max(range(len(column)), key=lambda at: column[at][1])
    return [column[at] for at in sorted({0, low, high, len(column) - 1})]


def chosen(records: Sequence[RunRecord], available: Sequence[Series], names: Sequence[str]) -> list[str]:
    """The metrics to draw: those asked for, else the first that has most steps.

    Raises UsageError `no-such-metric`, with what may be meant.
    """
    known = list(dict.fromkeys(series.metric for series in available))
    if not known:
        which = f"run {records[0].id[:8]}" if len(records) == 1 else "none of these runs"
        has = "has no metrics" if len(records) == 1 else "has metrics"
        raise UsageError(
            f"{which} {has}",
            hint="write JSON lines into the file that MLRUN_METRICS names, or log them through MLflow",
            code="no-such-metric",
        )
    for name in names:
        if name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else "there are: " + ", ".join(known[:20])
            raise UsageError(f"no metric is called `{name}`", hint=hint, code="no-such-metric")
    if names:
        return list(names)
    return [max(available, key=lambda series: min(series.count, 2)).metric]
