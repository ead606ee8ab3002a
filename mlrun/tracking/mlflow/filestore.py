"""Runs that a program logged into a file store of its own (`mlruns/`), read back; nothing there is touched.

    mlruns/<experiment>/meta.yaml                        its name
    mlruns/<experiment>/<run>/meta.yaml                  name, times, status (1 running, 3 finished, 4 failed,
                                                         5 killed)
    mlruns/<experiment>/<run>/params/<key>  tags/<key>   one text a file
    mlruns/<experiment>/<run>/metrics/<key>              `timestamp value step`, one point a line
    mlruns/<experiment>/<run>/artifacts/
    mlruns/<experiment>/<run>/inputs/<id>/meta.yaml      which data set: ../../datasets/<source_id>/meta.yaml
    mlruns/<experiment>/models/<model>/{meta.yaml,artifacts/}     from 3.0 on

So does mlflow/store/tracking/file_store.py of MLflow 1.30, 2.22 and 3.17. SQLite stores are left alone: their
tables change with each version.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlrun import yamlfile
from mlrun.errors import MlrunError
from mlrun.tracking.metrics import is_name
from mlrun.tracking.mlflow import runs
from mlrun.tracking.mlflow.collected import files_below, sums_of, time_of
from mlrun.tracking.mlflow.ledger import Point
from mlrun.tracking.mlflow.values import Dataset, Model, Reported, Run
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlrun.tracking.mlflow.values import Status

_META = re.compile(r".*/[0-9a-f]{32}/meta\.yaml", re.DOTALL)
_STATUS: dict[object, Status] = {3: "finished", 4: "failed", 5: "killed"}
_LARGEST = 1 << 16  # bytes of a text that is read; MLflow allows some thousands


def roots(written: Iterable[str]) -> tuple[Path, ...]:
    """The file stores in which runs lie whose files these are."""
    experiments = {Path(path).parent.parent for path in written if _META.fullmatch(path)}
    # Other tools may have folders alike, and data sets are called as runs are.
    return tuple(sorted({each.parent for each in experiments if "experiment_id" in _meta(each)}))


def collect(written: Iterable[str], scratch: Path, *, since: str) -> Reported:
    """The runs among written files that were begun `since` (UTC text), as if they had been told to us.

    The first that is no part of another is `main`. Points of metrics are written into `scratch`, a folder.
    Raises OSError where that cannot be done; what is no run is passed over.
    """
    metas = sorted({path for path in written if _META.fullmatch(path)})
    found = [run for path in metas if (run := _run(Path(path).parent, scratch)) is not None]
    new = sorted((run for run in found if _begun(run) >= since), key=_begun)
    main = next((run for run in new if run.parent is None), None)
    folders = {Path(path).parent.parent for path in metas}
    models = [model for folder in sorted(folders) for model in _models(folder)]
    return Reported(
        main=main,
        others=tuple(
            replace(run, parent=None) if main is not None and run.parent == main.id else run
            for run in new
            if run is not main
        ),
        models=(*models, *(model for run in new for model in _models_of(run))),
    )


def _begun(run: Run) -> str:
    return run.started_at or ""


def _run(folder: Path, scratch: Path) -> Run | None:
    meta = _meta(folder)
    if meta.get("run_id", meta.get("run_uuid")) != folder.name:
        return None
    tags = dict(_texts(folder / "tags"))
    series = scratch / f"{folder.name}.jsonl"
    _write_series(folder / "metrics", series)
    return Run(
        id=folder.name,
        name=str(meta.get("run_name") or meta.get("name") or tags.get("mlflow.runName") or folder.name),
        status=_STATUS.get(meta.get("status"), "running"),
        experiment=str(_meta(folder.parent).get("name", "")),
        folder=folder / "artifacts",
        parent=tags.get(runs.PARENT),
        user=str(meta.get("user_id", "")),
        started_at=time_of(_milliseconds(meta.get("start_time"))),
        ended_at=time_of(_milliseconds(meta.get("end_time"))),
        deleted=meta.get("lifecycle_stage") == "deleted",
        note=tags.get(runs.NOTE),
        params=tuple(_texts(folder / "params")),
        tags=tuple(tags.items()),
        metrics=sums_of(series),
        series=series,
        artifacts=tuple(files_below(folder / "artifacts")),
        datasets=tuple(_datasets(folder)),
        made=tuple(entry.name for entry in _entries(folder / "outputs")),
    )


def _meta(folder: Path) -> dict[str, Any]:
    """A `meta.yaml`; nothing where there is none, or it is no mapping."""
    path = folder / "meta.yaml"
    try:
        if path.stat().st_size > _LARGEST:
            return {}
        found = yamlfile.load(path)
    except (OSError, MlrunError):
        return {}
    return found if isinstance(found, dict) else {}


def _milliseconds(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Names and contents of the files below a folder."""
    for name in files_below(folder):
        path = folder / name
        if is_name(name) and path.stat().st_size <= _LARGEST:
            yield name, path.read_bytes().decode("utf-8", "replace")


def _write_series(folder: Path, series: Path) -> None:
    series.parent.mkdir(parents=True, exist_ok=True)
    with series.open("w", encoding="utf-8") as file:
        for name in filter(is_name, files_below(folder)):
            with open(folder / name, encoding="utf-8", errors="replace") as lines:
                file.writelines(point.line() for line in lines if (point := _point(name, line)) is not None)


def _point(name: str, line: str) -> Point | None:
    """A line of a metric's file: without a step in the first versions, with more behind it in the latest."""
    words = line.split()
    try:
        timestamp, value, step = int(words[0]), float(words[1]), int(words[2]) if len(words) > 2 else 0
    except (ValueError, IndexError):
        return None
    return Point(name, value, timestamp, step) if max(abs(step), abs(timestamp)) < 2**63 else None


def _datasets(folder: Path) -> Iterator[Dataset]:
    for entry in _entries(folder / "inputs"):
        said = _meta(entry)
        named = str(said.get("source_id", ""))
        facts = _meta(folder.parent / "datasets" / named) if re.fullmatch(r"\w+", named) else {}
        if facts.get("name"):
            tags = said.get("tags")
            yield Dataset(
                name=str(facts["name"]),
                digest=str(facts.get("digest", "")),
                source_type=str(facts.get("source_type", "")),
                source=str(facts.get("source", "")),
                schema=facts.get("schema"),
                profile=facts.get("profile"),
                context=str(tags.get("mlflow.data.context", "")) if isinstance(tags, dict) else None,
            )


def _models(experiment: Path) -> Iterator[Model]:
    for entry in _entries(experiment / "models"):
        meta = _meta(entry)
        if (entry / "artifacts").is_dir() and meta.get("model_id") == entry.name:
            run = meta.get("source_run_id")
            yield Model(
                folder=entry / "artifacts",
                run=str(run) if run else None,
                name=str(meta.get("name", "")),
                id=entry.name,
            )


def _models_of(run: Run) -> Iterator[Model]:
    """Models among a run's artifacts, as versions before 3 keep them."""
    for path in run.artifacts:
        below, _, name = path.rpartition("/")
        if name == "MLmodel":
            yield Model(folder=run.folder / below, run=run.id, name=below or "model")


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink())
    except OSError:
        return []
