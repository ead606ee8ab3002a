"""Many runs side by side: only what varies between them, the best of each metric, means over seeds.

A column stands for one parameter, metric, input, or other fact, and is there only if the runs differ in it.
With grouping, runs of one entry point that share the named parameters become one row, whose metrics are means
with their sample standard deviation (n − 1); where the runs of a group differ in another fact, the cell says
in how many ways.
"""

from __future__ import annotations

import contextlib
import difflib
import math
from typing import TYPE_CHECKING

from mlrun.errors import StoreError, UsageError
from mlrun.tracking.meaning import direction_of
from mlrun.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mlrun.model import BoundParameter, RunRecord
    from mlrun.store import Store

_SEEDS = frozenset({"seed", "random_seed", "random_state", "rng_seed", "randomseed", "randomstate"})
_FACTS = ("project", "entry_point", "status", "code", "python", "environment", "image", "cpu")


@value
class Column:
    """One thing that varies. `kind` is `params`, `data`, `metrics`, or `fact`.

    `better` is -1 for a metric of which less is better, 1 for more, 0 where the name does not tell.
    """

    kind: str
    name: str
    better: int = 0

    @property
    def key(self) -> str:
        """As in `--where`: `params.alpha`, `metrics.rmse`, `status`."""
        return self.name if self.kind == "fact" else f"{self.kind}.{self.name}"


@value
class Cell:
    """What a row has in a column.

    `text` is None where it has nothing; `number`, `sd` and `count` belong to metrics: mean, sample standard
    deviation (None for a single run), and how many runs had the metric.
    """

    text: str | None = None
    number: float | None = None
    sd: float | None = None
    count: int = 0
    best: bool = False


@value
class Row:
    """A run, or a group of them."""

    runs: tuple[tuple[str, str], ...]
    cells: tuple[Cell, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its runs."""
        return tuple(run_id for run_id, _ in self.runs)


@value
class Comparison:
    """The table. `shared` is what all runs have in common, by column key: parameters, facts, metrics."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    grouped_by: tuple[str, ...] = ()
    shared: tuple[tuple[str, str], ...] = ()
    runs: int = 0


def with_defaults(records: Sequence[RunRecord], store: Store) -> list[RunRecord]:
    """The runs, pipelines with those values of their steps that another one was given.

    `rows` is told where all steps that have it have the same in every run; else each step's own is, as it is
    where `prepare.rows` was given.
    """
    steps = {record.id: _steps(record, store) for record in records if record.steps}
    every = {(step, it.name): it for own in steps.values() for step, its in own for it in its}
    named = dict.fromkeys(
        it.name for record in records for it in record.parameters if it.origin not in ("default", "logged")
    )
    split = {name for name in named if any(not _agree(name, own) for own in steps.values())}
    wanted = dict.fromkeys(
        each
        for name in named
        for each in ([f"{step}.{own}" for step, own in every if own == name] if name in split else [name])
    )
    return [
        _with_values(record, steps[record.id], wanted, split) if record.id in steps else record
        for record in records
    ]


_Steps = list[tuple[str, tuple["BoundParameter", ...]]]


def _steps(record: RunRecord, store: Store) -> _Steps:
    found: _Steps = []
    for step in record.steps:
        with contextlib.suppress(StoreError):
            found.append((step.name, store.load(step.run).parameters))
    return found


def _agree(name: str, steps: _Steps) -> bool:
    return len({it.value for _, its in steps for it in its if it.name == name}) < 2


def _with_values(
    record: RunRecord, steps: _Steps, wanted: Iterable[str], split: Collection[str]
) -> RunRecord:
    found = {it.name: it for it in record.parameters if it.name not in split}
    values = {it.name: it for _, its in steps for it in its}
    values |= {f"{step}.{it.name}": it for step, its in steps for it in its}
    more = {name: replace(values[name], name=name) for name in wanted if name in values}
    return replace(record, parameters=tuple((more | found).values()))


def compare(
    records: Sequence[RunRecord], *, group_by: tuple[str, ...] = (), metrics: tuple[str, ...] = ()
) -> Comparison:
    """Put runs side by side.

    `group_by` names the parameters that identify a group; a seed (`seed`, `random_state`, …) among them
    stands for all parameters that vary but the seeds. `metrics` (`NAME`, `NAME:min`, `NAME:max`) are those
    to show, all that vary where none is named; the rows are sorted by the first, the best on top, else
    runs by the time of start and groups by their parameters. Raises UsageError for a name that no run has.
    """
    records = sorted(records, key=lambda record: (record.started_at, record.id))
    tables = [_values(record) for record in records]
    wanted = [_wanted(text, records) for text in metrics]
    columns, shared = _columns(tables, records, wanted)
    groups = _groups(records, tables, _keys(group_by, records, columns))
    rows = [_row(members, columns) for members in groups]
    rows = _best_marked(columns, rows)
    return Comparison(
        columns=columns,
        rows=tuple(_sorted(columns, rows, wanted)),
        grouped_by=group_by,
        shared=shared,
        runs=len(records),
    )


Values = dict[tuple[str, str], str]
"""Texts by kind and name."""


def _values(record: RunRecord) -> Values:
    """What a run has, but for its metrics."""
    found: Values = {
        ("fact", "project"): record.project,
        ("fact", "entry_point"): record.entry_point,
        ("fact", "status"): record.status,
    }
    source, environment = record.source, record.environment
    if source is not None:
        commit = source.commit[:9] if source.commit else ""
        dirty = "" if commit and not source.dirty else f"+{source.tree[:7]}"
        found["fact", "code"] = f"{commit}{dirty}"
    if environment is not None:
        found |= {
            ("fact", name): text
            for name, text in (
                ("python", environment.python),
                ("environment", environment.key and _short(environment.key)),
                ("image", environment.image and _short(environment.image.digest or environment.image.id)),
            )
            if text
        }
    if record.host is not None and record.host.cpu:
        found["fact", "cpu"] = record.host.cpu
    found |= {  # whether secret ones are the same, no record can tell
        ("params", parameter.name): parameter.value for parameter in record.parameters if not parameter.secret
    }
    found |= {("data", item.name): _short(item.digest) for item in record.inputs if item.digest}
    return found


def _short(digest: str) -> str:
    return digest.partition(":")[2][:12] if ":" in digest else digest[:12]


# --- columns ------------------------------------------------------------------------------------------


def _wanted(text: str, records: Sequence[RunRecord]) -> Column:
    known = dict.fromkeys(metric.name for record in records for metric in record.metrics)
    name, _, way = text.rpartition(":")
    if name and way in ("min", "max") and text not in known:
        better = -1 if way == "min" else 1
    else:
        name, better = text, direction_of(text)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1) or list(known)[:5]
        hint = f"there are {', '.join(f'`{each}`' for each in near)}" if near else "they have no metrics"
        raise UsageError(f"none of these runs has a metric `{name}`", hint=hint)
    return Column(kind="metrics", name=name, better=better)


def _columns(
    tables: Sequence[Values], records: Sequence[RunRecord], wanted: list[Column]
) -> tuple[tuple[Column, ...], tuple[tuple[str, str], ...]]:
    """The columns that vary, and what all runs have in common."""
    every = dict.fromkeys(key for table in tables for key in table)
    order = {name: at for at, name in enumerate(_FACTS)}
    kinds = ("fact", "params", "data")
    columns, shared = [], []
    for kind, name in sorted(every, key=lambda key: (kinds.index(key[0]), order.get(key[1], 99), key[1])):
        column = Column(kind=kind, name=name)
        texts = {table.get((kind, name)) for table in tables}
        if len(texts) > 1 or (len(tables) == 1 and kind == "params"):
            columns.append(column)
        else:
            shared.append((column.key, tables[0][kind, name]))
    metrics, same = _metrics(records)
    if wanted:
        return (*columns, *wanted), tuple(shared)
    return (*columns, *metrics), (*shared, *same)


def _metrics(records: Sequence[RunRecord]) -> tuple[list[Column], list[tuple[str, str]]]:
    """Those that vary, and the values of the others."""
    values: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for record in records:
        for metric in record.metrics:
            values.setdefault(metric.name, set()).add(repr(metric.last))
            counts[metric.name] = counts.get(metric.name, 0) + 1
    varying = [
        name
        for name, texts in values.items()
        if len(texts) > 1 or counts[name] < len(records) or len(records) == 1
    ]
    columns = [Column(kind="metrics", name=name, better=direction_of(name)) for name in varying]
    return columns, [(f"metrics.{name}", min(texts)) for name, texts in values.items() if name not in varying]


# --- groups -------------------------------------------------------------------------------------------

Member = tuple["RunRecord", Values]


def _keys(
    group_by: tuple[str, ...], records: Sequence[RunRecord], columns: tuple[Column, ...]
) -> list[str] | None:
    """The parameters that identify a group; None for no groups."""
    if not group_by:
        return None
    known = dict.fromkeys(parameter.name for record in records for parameter in record.parameters)
    for name in group_by:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1) or list(known)[:5]
            hint = f"there are {', '.join(f'`{each}`' for each in near)}" if near else None
            raise UsageError(f"none of these runs has a parameter `{name}`", hint=hint)
    named = [name for name in group_by if name.lower() not in _SEEDS]
    if len(named) == len(group_by):
        return named
    varying = [column.name for column in columns if column.kind == "params"]
    return [*named, *(name for name in varying if name.lower() not in _SEEDS and name not in named)]


def _groups(
    records: Sequence[RunRecord], tables: Sequence[Values], keys: list[str] | None
) -> list[list[Member]]:
    members = list(zip(records, tables, strict=True))
    if keys is None:
        return [[member] for member in members]
    groups: dict[tuple[str | None, ...], list[Member]] = {}
    for record, table in members:
        values = (table.get(("params", key)) for key in keys)
        # A mean over runs of different programs says nothing.
        groups.setdefault((*values, record.project, record.entry_point), []).append((record, table))
    return [groups[values] for values in sorted(groups, key=lambda values: [*map(_rank, values)])]


def _rank(text: str | None) -> tuple[int, float, str]:
    """Numbers by size, then texts, then nothing."""
    if text is None:
        return 2, 0.0, ""
    try:
        number = float(text)
    except ValueError:
        return 1, 0.0, text
    return (1, 0.0, text) if math.isnan(number) else (0, number, text)


def _row(members: list[Member], columns: tuple[Column, ...]) -> Row:
    metrics = [{metric.name: metric.last for metric in record.metrics} for record, _ in members]
    tables = [table for _, table in members]
    return Row(
        runs=tuple((record.id, record.name) for record, _ in members),
        cells=tuple(
            _metric(column, metrics) if column.kind == "metrics" else _text(column, tables)
            for column in columns
        ),
    )


def _text(column: Column, tables: Sequence[Values]) -> Cell:
    texts = dict.fromkeys(table.get((column.kind, column.name)) for table in tables)
    return Cell(text=next(iter(texts)) if len(texts) == 1 else f"{len(texts)} different")


def _metric(column: Column, metrics: Sequence[Mapping[str, float]]) -> Cell:
    values = [measured[column.name] for measured in metrics if column.name in measured]
    if not values:
        return Cell()
    mean, sd = _mean_and_sd(values)
    return Cell(number=mean, sd=sd, count=len(values))


def _mean_and_sd(values: list[float]) -> tuple[float, float | None]:
    if len(values) == 1:
        return values[0], None
    if not all(map(math.isfinite, values)):
        return sum(values) / len(values), math.nan
    import statistics

    return statistics.fmean(values), statistics.stdev(values)


# --- order --------------------------------------------------------------------------------------------


def _best_marked(columns: tuple[Column, ...], rows: list[Row]) -> list[Row]:
    """Mark the best of each metric, all of them where several are equal; nothing where all are."""
    marked: set[tuple[int, int]] = set()
    for at, column in enumerate(columns):
        numbers = {
            number: cell.number
            for number, row in enumerate(rows)
            if (cell := row.cells[at]).number is not None and not math.isnan(cell.number)
        }
        if not column.better or len(set(numbers.values())) < 2:
            continue
        best = max(numbers.values(), key=lambda value: value * column.better)
        marked |= {(number, at) for number, value in numbers.items() if value == best}
    return [
        Row(
            runs=row.runs,
            cells=tuple(
                replace(cell, best=True) if (number, at) in marked else cell
                for at, cell in enumerate(row.cells)
            ),
        )
        for number, row in enumerate(rows)
    ]


def _sorted(columns: tuple[Column, ...], rows: list[Row], wanted: list[Column]) -> list[Row]:
    """By the first metric that was asked for, the best on top; runs that lack it come last."""
    if not wanted:
        return rows
    at = columns.index(wanted[0])
    sign = -wanted[0].better or 1

    def key(row: Row) -> tuple[bool, float]:
        number = row.cells[at].number
        lacking = number is None or math.isnan(number)
        return lacking, 0.0 if number is None or lacking else number * sign

    return sorted(rows, key=key)
