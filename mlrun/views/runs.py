"""Many runs as columns: which ones tell them apart, and what stands in each cell.

A column is named as in `--where`: `id`, `status`, `params.alpha`, `metrics.rmse`, ….
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.views import table, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlrun.model import RunRow

_FIRST = ("id", "name", "started", "status", "duration")
_EXACT = ("id", "name", "project", "entry_point", "status", "started", "ended", "duration", "commit", "dirty")


def telling_columns(rows: Sequence[RunRow], *, limit: int) -> list[str]:
    """The fixed columns, the project and entry point where they differ, and what varies of the rest."""
    columns = list(_FIRST)
    columns += [name for name in ("project", "entry_point") if len({getattr(row, name) for row in rows}) > 1]
    columns += [f"params.{name}" for name in table.varying([dict(row.params) for row in rows], limit=limit)]
    measured = [{name: repr(value) for name, value in row.metrics} for row in rows]
    return columns + [f"metrics.{name}" for name in table.varying(measured, limit=limit)]


def every_column(rows: Sequence[RunRow]) -> list[str]:
    """All columns, each parameter and metric that any of the runs has."""
    params = dict.fromkeys(name for row in rows for name, _ in row.params)
    metrics = dict.fromkeys(name for row in rows for name, _ in row.metrics)
    return [*_EXACT, *(f"params.{name}" for name in params), *(f"metrics.{name}" for name in metrics)]


def chosen(columns: str) -> list[str]:
    """The columns named on the command line, the id before them."""
    names = [name.strip() for name in columns.split(",") if name.strip()]
    return names if "id" in names else ["id", *names]


def heading(column: str) -> str:
    """`params.alpha` is headed `alpha`."""
    return (
        column.partition(".")[2] if column.startswith(("params.", "metrics.")) else column.replace("_", " ")
    )


def is_number(column: str, rows: Sequence[RunRow]) -> bool:
    """Whether a column's cells should end in line."""
    return (
        column.startswith("metrics.")
        or column == "duration"
        or (
            column.startswith("params.")
            and all(_is_float(dict(row.params).get(column[7:], "0")) for row in rows)
        )
    )


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def cells(row: RunRow, columns: Sequence[str], *, exact: bool = False) -> list[str]:
    """One row; `exact` for machines: whole ids, UTC times, all digits."""
    params, metrics, tags = dict(row.params), dict(row.metrics), dict(row.tags)
    return [_cell(row, column, params, metrics, tags, exact=exact) for column in columns]


def _cell(
    row: RunRow,
    column: str,
    params: dict[str, str],
    metrics: dict[str, float],
    tags: dict[str, str],
    *,
    exact: bool,
) -> str:
    kind, _, name = column.partition(".")
    if kind == "params":
        return params.get(name, "")
    if kind == "metrics":
        value = metrics.get(name)
        return "" if value is None else repr(value) if exact else words.number(value)
    if kind == "tags":
        return tags.get(name, "")
    return _fact(row, column, exact=exact)


def _fact(row: RunRow, column: str, *, exact: bool) -> str:
    if column == "id":
        return row.id if exact else row.id[:8]
    if column in ("started", "ended"):
        text = row.started_at if column == "started" else row.ended_at
        return "" if text is None else text if exact else words.local_time(text)
    if column == "duration":
        seconds = row.duration_s
        return "" if seconds is None else repr(seconds) if exact else words.duration(seconds)
    if column == "dirty":
        return "yes" if row.dirty else "no"
    if column == "commit":
        return (row.commit or "") if exact else (row.commit or "")[:9]
    value = getattr(row, column, None)
    return "" if value is None else str(value)
