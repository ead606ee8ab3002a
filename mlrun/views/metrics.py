"""The metrics of a run as a table: last, lowest, highest, steps, and the course in a few blocks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mlrun.views import table, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlrun.plotting import Series
    from mlrun.tracking.metrics import Point

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 24


def lines(found: Sequence[Series], *, unicode: bool = True) -> list[str]:
    """One line a metric, under a heading."""
    rows = [
        [
            series.metric,
            words.number(series.last),
            words.number(min(series.ys, default=math.nan)),
            words.number(max(series.ys, default=math.nan)),
            f"{series.count:,}",
            sparkline(series.ys) if unicode else "",
        ]
        for series in found
    ]
    return table.aligned(
        ["metric", "last", "min", "max", "points", "course"], rows, right=frozenset({1, 2, 3, 4})
    )


def sparkline(values: Sequence[float], width: int = _WIDTH) -> str:
    """A course in blocks; one in the middle where nothing varies."""
    if not values:
        return ""
    means = []
    for at in range(min(width, len(values))):
        start, end = (len(values) * (at + each) // min(width, len(values)) for each in (0, 1))
        means.append(math.fsum(value / (end - start) for value in values[start:end]))
    low, high = min(means), max(means)
    if not high > low:
        return _BLOCKS[3] * len(means)
    span = high / 2 - low / 2  # halves: the whole may be more than a float holds
    return "".join(_BLOCKS[min(7, max(0, int((mean / 2 - low / 2) / span * 7.999)))] for mean in means)


def as_json(found: Sequence[Series]) -> list[dict[str, object]]:
    """For machines."""
    return [
        {
            "name": series.metric,
            "last": series.last,
            "min": min(series.ys, default=math.nan),
            "max": max(series.ys, default=math.nan),
            "points": series.count,
            "not_finite": series.odd,
        }
        for series in found
    ]


def latest(points: Mapping[str, Point], *, most: int = 6) -> str:
    """In one line: `step 12  loss 0.31  rmse 0.7`."""
    steps = [point.step for point in points.values() if point.step is not None]
    parts = [f"step {max(steps):,}"] if steps else []
    parts += [f"{name} {words.number(point.value)}" for name, point in list(points.items())[:most]]
    parts += [f"and {len(points) - most} more"] if len(points) > most else []
    return "  ".join(parts)
