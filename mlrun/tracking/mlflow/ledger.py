"""What clients have told us: a few tables in memory, each change of which is on disk before it counts.

A change is one of five small operations on a row; a request writes all of its changes as one line of
`journal.jsonl`. Reading those lines again gives the same tables, so that nothing is lost with the process.
Metric points, of which there may be millions, go to a file for each run instead, in the form that
`mlrun.tracking.metrics` reads; the tables know the last of each only.
"""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Row = dict[str, Any]
"""Facts about one thing, as JSON: its own fields, and `tags`, `params`, `aliases` by name."""

Change = tuple[str, str, str, str, Any]
"""Operation, table, row, field (or nothing), and what it takes."""

TABLES = ("experiments", "runs", "models", "registered", "versions", "traces", "unknown")


def put(table: str, key: str, row: Row) -> Change:
    """A new row, or another in its place."""
    return ("put", table, key, "", row)


def alter(table: str, key: str, **fields: object) -> Change:
    """Some fields of a row."""
    return ("alter", table, key, "", fields)


def merge(table: str, key: str, field: str, entries: Row) -> Change:
    """Entries of a field that is a mapping; None removes one."""
    return ("merge", table, key, field, entries)


def add(table: str, key: str, field: str, entries: list[Any]) -> Change:
    """More entries of a field that is a list."""
    return ("add", table, key, field, entries)


def drop(table: str, key: str) -> Change:
    """No such row any more."""
    return ("drop", table, key, "", None)


@positional_value
class Folder:
    """The files of an endpoint."""

    root: Path

    @property
    def journal(self) -> Path:
        return self.root / "journal.jsonl"

    @property
    def artifacts(self) -> Path:
        """A folder for each run and each logged model, named by its id."""
        return self.root / "artifacts"

    def series(self, of: str) -> Path:
        """The points of a run, or of a logged model, by its id."""
        return self.root / "series" / f"{of}.jsonl"

    def prepare(self) -> None:
        """Make the folders. Raises OSError."""
        self.artifacts.mkdir(parents=True, exist_ok=True)
        (self.root / "series").mkdir(exist_ok=True)


class Tables:
    """The state itself: rows by table and key, in the order in which they came."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Row]] = {table: {} for table in TABLES}

    def find(self, table: str, key: str) -> Row | None:
        return self._rows[table].get(key)

    def rows(self, table: str) -> dict[str, Row]:
        return self._rows[table]

    def apply(self, change: Change) -> None:
        """Raises KeyError or ValueError for a change that makes no sense."""
        operation, table, key, field, it = change
        rows = self._rows[table]
        if operation == "put":
            rows[key] = it
        elif operation == "alter":
            rows[key].update(it)
        elif operation == "merge":
            entries = rows[key][field]
            entries.update(it)
            for name in [name for name, entry in it.items() if entry is None]:
                del entries[name]
        elif operation == "add":
            rows[key][field].extend(it)
        elif operation == "drop":
            rows.pop(key, None)
        else:
            raise ValueError(operation)


def replay(folder: Folder) -> Tables:
    """The tables as the journal tells; what a kill cut short is left out.

    Raises OSError where there is a journal and it cannot be read.
    """
    tables = Tables()
    try:
        lines = folder.journal.open(encoding="utf-8", errors="surrogatepass")
    except FileNotFoundError:
        return tables
    with lines:
        for line in lines:
            try:
                for change in json.loads(line)["changes"]:
                    tables.apply(tuple(change))
            except (ValueError, KeyError, TypeError):
                continue
    return tables


# --- series -------------------------------------------------------------------------------------------


class Point(NamedTuple):
    """One value of a metric, as MLflow has it: `timestamp` in milliseconds since the epoch."""

    key: str
    value: float
    timestamp: int
    step: int
    model: str | None = None
    dataset: str | None = None
    digest: str | None = None

    def line(self) -> str:
        """As a line of a series; the names behind `time` are MLflow's own and mean nothing to others."""
        facts: Row = {
            "name": self.key, "value": self.value, "step": self.step, "time": self.timestamp / 1000,
        }  # fmt: skip
        extras = {"model_id": self.model, "dataset_name": self.dataset, "dataset_digest": self.digest}
        facts |= {name: text for name, text in extras.items() if text is not None}
        return json.dumps(facts) + "\n"

    @property
    def moment(self) -> tuple[int, int]:
        return self.step, self.timestamp

    def beats(self, other: Point) -> bool:
        """Whether this is the later one: by step, then time, then value, as in MLflow."""
        if self.moment == other.moment:
            return not self.value < other.value
        return self.moment > other.moment

    def bare(self) -> Point:
        """Of the run alone."""
        return self if self.model is None else self._replace(model=None, dataset=None, digest=None)


def points(path: Path, *, start: int = 0, key: str | None = None) -> Iterator[tuple[int, Point]]:
    """The points of a series from a byte on, each with the byte after it; those of one metric, if named.

    Raises OSError.
    """
    mark = None if key is None else json.dumps({"name": key})[1:-1].encode()
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        position = file.seek(start)
        for line in file:
            position += len(line)
            if mark is not None and mark not in line:
                continue
            try:
                point = _point(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue
            if key is None or point.key == key:
                yield position, point


def _point(line: Row) -> Point:
    return Point(
        line["name"],
        float(line["value"]),
        round(line.get("time", 0) * 1000),
        int(line.get("step", 0)),
        line.get("model_id"),
        line.get("dataset_name"),
        line.get("dataset_digest"),
    )


# --- writing ------------------------------------------------------------------------------------------


class Ledger:
    """Tables that are written as they change. `lock` is held by whoever reads and then writes."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.tables = Tables()
        self.lock = threading.RLock()
        self.latest: dict[str, dict[str, Point]] = {}
        """The last point of each metric, by run."""
        self.of_models: dict[str, dict[tuple[str, str | None, str | None], tuple[str, Point]]] = {}
        """The last point of each metric and data set, with its run, by logged model."""
        self._ties: dict[tuple[str, str], set[str]] = {}
        """All values at the moment of the last point, by run and metric."""
        self._journal = _Appended(folder.journal)

    def write(self, call: str, now: int, *changes: Change) -> None:
        """Put changes on disk, then into effect, all or none. Raises OSError."""
        entry = {"at": now, "call": call, "changes": changes}
        with self.lock:
            self._journal.append(json.dumps(entry, separators=(",", ":")) + "\n")
            for change in changes:
                self.tables.apply(change)

    def log(self, run_id: str, told: list[Point]) -> None:
        """Append points to a run's series, and to those of their logged models. Raises OSError.

        What is told again word for word counts once, as in MLflow: clients since 3.0 repeat a run's metrics
        to say which model they are of.
        """
        with self.lock:
            for model in {point.model for point in told if point.model is not None}:
                self._log_for_model(run_id, model, [point for point in told if point.model == model])
            fresh = self._fresh(run_id, told)
            self._append(run_id, fresh)
            latest = self.latest.setdefault(run_id, {})
            for point in fresh:
                earlier = latest.get(point.key)
                ties = self._ties.setdefault((run_id, point.key), set())
                if earlier is None or point.moment >= earlier.moment:
                    if earlier is not None and point.moment > earlier.moment:
                        ties.clear()
                    ties.add(repr(point.value))
                if earlier is None or point.beats(earlier):
                    latest[point.key] = point

    def _fresh(self, run_id: str, told: list[Point]) -> list[Point]:
        """Without what the series has already, and without models.

        What came at the latest moment is remembered; earlier points are looked up where they may be repeats.
        """
        latest = self.latest.get(run_id, {})
        fresh: list[Point] = []
        doubtful: list[Point] = []
        for point in dict.fromkeys(told):
            last, bare = latest.get(point.key), point.bare()
            if (
                last is None
                or bare.moment > last.moment
                or (point.model is None and bare.moment < last.moment)
            ):
                fresh.append(bare)
            elif bare.moment < last.moment:
                doubtful.append(bare)
            elif repr(bare.value) not in self._ties[run_id, bare.key]:
                fresh.append(bare)
        if doubtful:
            wanted = {str(point) for point in doubtful}
            known = {text for _, each in points(self.folder.series(run_id)) if (text := str(each)) in wanted}
            fresh += [point for point in doubtful if str(point) not in known]
        return fresh

    def _log_for_model(self, run_id: str, model: str, told: list[Point]) -> None:
        if self.tables.find("models", model) is None:
            return
        self._append(model, told)
        mine = self.of_models.setdefault(model, {})
        for point in told:
            key = (point.key, point.dataset, point.digest)
            earlier = mine.get(key)
            if earlier is None or point.beats(earlier[1]):
                mine[key] = (run_id, point)

    def _append(self, name: str, new: list[Point]) -> None:
        if new:
            series = _Appended(self.folder.series(name))
            try:
                series.append("".join(point.line() for point in new))
            finally:
                series.close()

    def close(self) -> None:
        self._journal.close()


class _Appended:
    """A file of lines, each written whole or, where the disk is full, not at all."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def append(self, text: str) -> None:
        data = memoryview(text.encode("utf-8", "surrogatepass"))
        size = os.fstat(self._descriptor).st_size
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise

    def close(self) -> None:
        os.close(self._descriptor)
