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
    from collections.abc import Iterable, Iterator
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

    def series(self, run_id: str) -> Path:
        return self.root / "series" / f"{run_id}.jsonl"

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

    def beats(self, other: Point) -> bool:
        """Whether this is the later one: by step, then time, then value, as in MLflow."""
        mine, yours = (self.step, self.timestamp), (other.step, other.timestamp)
        return mine > yours or (mine == yours and not self.value < other.value)


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
        self._journal = _Appended(folder.journal)

    def write(self, call: str, now: int, *changes: Change) -> None:
        """Put changes on disk, then into effect, all or none. Raises OSError."""
        entry = {"at": now, "call": call, "changes": changes}
        with self.lock:
            self._journal.append(json.dumps(entry, separators=(",", ":")) + "\n")
            for change in changes:
                self.tables.apply(change)

    def log(self, run_id: str, new: Iterable[Point]) -> None:
        """Append points to a run's series. Raises OSError."""
        kept = tuple(new)
        if not kept:
            return
        with self.lock:
            series = _Appended(self.folder.series(run_id))
            try:
                series.append("".join(point.line() for point in kept))
            finally:
                series.close()
            latest = self.latest.setdefault(run_id, {})
            for point in kept:
                earlier = latest.get(point.key)
                if earlier is None or point.beats(earlier):
                    latest[point.key] = point
                if point.model is not None:
                    self._log_for_model(run_id, point, point.model)

    def _log_for_model(self, run_id: str, point: Point, model: str) -> None:
        mine = self.of_models.setdefault(model, {})
        key = (point.key, point.dataset, point.digest)
        earlier = mine.get(key)
        if earlier is None or point.beats(earlier[1]):
            mine[key] = (run_id, point)

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
