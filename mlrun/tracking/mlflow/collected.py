"""What a run reported, read back from the endpoint's folder, after a kill too: all is there as it came."""

from __future__ import annotations

import math
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mlrun.model import Metric
from mlrun.tracking.mlflow import runs
from mlrun.tracking.mlflow.ledger import Folder, points, replay
from mlrun.tracking.mlflow.values import Dataset, Model, ModelVersion, Reported, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlrun.tracking.mlflow.ledger import Point, Row, Tables
    from mlrun.tracking.mlflow.values import Status

_STATUS: dict[str, Status] = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "killed"}


def collect(root: Path) -> Reported:
    """All that came through the endpoint whose folder this is; nothing where there was none.

    Raises OSError where there is something that cannot be read.
    """
    folder = Folder(root)
    tables = replay(folder)
    found = [_run(folder, tables, row) for row in tables.rows("runs").values() if row["begun"]]
    announced = next(iter(tables.rows("runs")), None)
    return Reported(
        main=next((run for run in found if run.id == announced), None),
        others=tuple(run for run in found if run.id != announced),
        models=tuple(_models(folder, tables)),
        versions=tuple(_version(folder, tables, row) for row in tables.rows("versions").values()),
        traces=len(tables.rows("traces")),
        unknown=tuple(tables.rows("unknown")),
    )


def _run(folder: Folder, tables: Tables, row: Row) -> Run:
    series, own = folder.series(row["run_id"]), folder.artifacts / row["run_id"]
    experiment = tables.find("experiments", row["experiment_id"]) or {"name": row["experiment_id"]}
    return Run(
        id=row["run_id"],
        name=row["name"],
        status=_STATUS.get(row["status"], "running"),
        experiment=experiment["name"],
        folder=own,
        parent=row["tags"].get(runs.PARENT),
        user=row["user"],
        started_at=time_of(row["started"]),
        ended_at=time_of(row["ended"]),
        deleted=row["lifecycle_stage"] == "deleted",
        note=row["tags"].get(runs.NOTE),
        params=tuple(row["params"].items()),
        tags=tuple(row["tags"].items()),
        metrics=sums_of(series),
        series=series if series.exists() else None,
        artifacts=tuple(files_below(own)),
        datasets=tuple(_dataset(each) for each in row["datasets"]),
        used=tuple(row["used"]),
        made=tuple(each["model_id"] for each in row["made"]),
    )


def sums_of(series: Path) -> tuple[Metric, ...]:
    """Sums of each metric; the last value is MLflow's: the one of the highest step, then the latest."""
    sums: dict[str, _Sum] = {}
    for _, point in points(series):
        total = sums.get(point.key)
        if total is None:
            sums[point.key] = _Sum(point)
        else:
            total.add(point)
    return tuple(total.metric() for total in sums.values())


class _Sum:
    __slots__ = ("count", "highest", "last", "lowest")

    def __init__(self, point: Point) -> None:
        self.last = point
        self.count, self.lowest, self.highest = 0, math.inf, -math.inf
        self.add(point)

    def add(self, point: Point) -> None:
        self.count += 1
        if point.beats(self.last):
            self.last = point
        if point.value < self.lowest:  # NaN is neither
            self.lowest = point.value
        if point.value > self.highest:
            self.highest = point.value

    def metric(self) -> Metric:
        only_nan = self.lowest > self.highest
        return Metric(
            name=self.last.key,
            last=self.last.value,
            minimum=math.nan if only_nan else self.lowest,
            maximum=math.nan if only_nan else self.highest,
            count=self.count,
            last_step=self.last.step,
        )


def _dataset(row: Row) -> Dataset:
    facts = row["dataset"]
    context = next((tag["value"] for tag in row["tags"] if tag["key"] == "mlflow.data.context"), None)
    return Dataset(
        name=facts["name"],
        digest=facts["digest"],
        source_type=facts["source_type"],
        source=facts["source"],
        schema=facts.get("schema"),
        profile=facts.get("profile"),
        context=context,
    )


def _models(folder: Folder, tables: Tables) -> Iterator[Model]:
    """Folders with an `MLmodel`: logged models, and those among the artifacts of runs."""
    for row in tables.rows("models").values():
        yield Model(
            folder=_local(folder, row["artifact_uri"]) or folder.artifacts / row["model_id"],
            run=row["source_run_id"] or None,
            name=row["name"],
            id=row["model_id"],
            status=row["status"].removeprefix("LOGGED_MODEL_"),
            params=tuple(row["params"].items()),
            tags=tuple(row["tags"].items()),
        )
    for run_id in tables.rows("runs"):
        own = folder.artifacts / run_id
        for path in files_below(own):
            if path.rpartition("/")[2] == "MLmodel":
                below = path.rpartition("/")[0]
                yield Model(folder=own / below, run=run_id, name=below or "model")


def _version(folder: Folder, tables: Tables, row: Row) -> ModelVersion:
    aliases = (tables.find("registered", row["name"]) or {"aliases": {}})["aliases"]
    return ModelVersion(
        name=row["name"],
        version=row["version"],
        source=row["source"],
        run=row["run_id"] or None,
        folder=_local(folder, row["location"]),
        stage=None if row["stage"] == "None" else row["stage"],
        aliases=tuple(alias for alias, version in aliases.items() if version == row["version"]),
        tags=tuple(row["tags"].items()),
        description=row["description"],
    )


def _local(folder: Folder, uri: str) -> Path | None:
    """The folder of ours that a URI names, None for any other."""
    parts = urlsplit(uri)
    if parts.scheme == "mlflow-artifacts":
        path = folder.artifacts / unquote(parts.path).strip("/")
    elif uri.startswith("/"):
        path = Path(uri)
    elif parts.scheme in {"", "file"} and parts.netloc in {"", "localhost"}:
        path = folder.artifacts / unquote(parts.path)
    else:
        return None
    normal = os.path.normpath(path)
    inside = os.path.commonpath((normal, folder.artifacts)) == str(folder.artifacts)
    return folder.artifacts / normal if inside and normal != str(folder.artifacts) else None


def files_below(root: Path) -> list[str]:
    """Every file below, sorted; links are not followed, uploads that were cut off are left out."""
    found: list[str] = []
    for base, folders, names in os.walk(root):
        folders.sort()
        for name in names:
            path = os.path.join(base, name)
            if os.path.isfile(path) and not os.path.islink(path) and not name.startswith(".mlrun-upload-"):
                found.append(os.path.relpath(path, root))
    return sorted(found)


def time_of(milliseconds: int | None) -> str | None:
    """`2026-11-21T08:00:00.123Z`."""
    if not milliseconds:
        return None
    try:
        text = datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return None
    return text.replace("+00:00", "Z")
