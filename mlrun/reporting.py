"""What a program says of itself through MLflow: listened to while it runs, and made part of the record after.

Metrics, parameters and tags join the record's own; artifacts and models become outputs, data sets inputs;
each further run that the code opens becomes a record of its own, whose parent is this one.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import data, digest, source
from mlrun.errors import StoreError
from mlrun.files import remove_tree
from mlrun.model import Artifact, BoundParameter, Finding
from mlrun.pattern import pattern
from mlrun.tracking import mlflow
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mlrun.files import RunPaths
    from mlrun.model import Environment, Narrator, RunRecord
    from mlrun.store import Store
    from mlrun.tracking.mlflow.values import Dataset, Model, Reported, Run

_ID = pattern(r"[0-9a-f]{32}")
_OWN_STORES = pattern(r"(.*/)?(mlruns(/.*)?|mlflow\.db)")
_SCHEMA = pattern(rb'CREATE TABLE "?latest_metrics')
_SCHEMA_WITHIN = 2 << 20
"""Bytes of a database that are searched."""
_LOOPBACK = "127.0.0.1"
_STORE_TAG = "mlflow.tracking_uri"
_DEFAULT_EXPERIMENT = "Default"
_DEFAULT_EXPERIMENT_ID = "0"


def is_wanted(environment: Environment, variables: Mapping[str, str]) -> bool:
    """Whether a program that sees these variables may log through MLflow, and to no server of its own."""
    return mlflow.wanted(environment, variables)


@contextlib.contextmanager
def listening(
    record: RunRecord,
    paths: RunPaths,
    *,
    variables: Mapping[str, str],
    host: str | None,
    directory: Path,
    narrator: Narrator,
) -> Iterator[dict[str, str | None]]:
    """Answer MLflow's clients for the length of a run; yields the variables to set, or (None) to remove.

    `host` is the address at which the program can reach us; None where nobody is to listen. Where the files
    in `directory` expect a server at a port of this machine, and nobody is there, we are, and say so.
    """
    if host is None:
        yield {} if mlflow.logs_elsewhere(variables) else _named_by(record)
        return
    from mlrun.tracking.mlflow.values import RunIdentity

    identity = RunIdentity(
        id=record.id,
        name=record.name,
        user=record.user or "",
        tags=tuple(_tags_of_project(record)),
        parameters=tuple((each.name, each.value) for each in record.parameters if not each.secret),
    )
    with contextlib.ExitStack() as stack:
        shared = host == _LOOPBACK
        also = mlflow.named_ports(directory) if shared else ()
        serving = mlflow.serve(
            paths.mlflow, run=identity, variables=variables, host=host, shared=shared, also=also
        )
        try:
            endpoint = stack.enter_context(serving)
        except OSError:  # the address is not this machine's: an engine in a virtual machine
            yield {}
            return
        for port in endpoint.ports[1:]:
            narrator.say(
                f"the code expects a tracking server at port {port}, where none is: mlrun answers there"
            )
        settings: dict[str, str | None] = dict.fromkeys(endpoint.unset)
        yield settings | dict(endpoint.variables) | _named_by(record)


def _named_by(record: RunRecord) -> dict[str, str | None]:
    """Which run it is, by MLflow's variables, for a command that names them.

    Others are not told: it would mislead a script that chooses a store of its own.
    """
    command = record.command.text if record.command else ""
    ids = {"MLFLOW_RUN_ID": record.id, "MLFLOW_EXPERIMENT_ID": _DEFAULT_EXPERIMENT_ID}
    return {name: text for name, text in ids.items() if name in command}


def _tags_of_project(record: RunRecord) -> Iterator[tuple[str, str]]:
    yield "mlflow.source.type", "PROJECT"
    yield "mlflow.source.name", record.target
    yield "mlflow.project.entryPoint", record.entry_point
    if record.source and record.source.commit:
        yield "mlflow.source.git.commit", record.source.commit


def with_reported(
    record: RunRecord, environment: Environment, store: Store, *, variables: Mapping[str, str]
) -> tuple[RunRecord, tuple[Finding, ...]]:
    """The record with what was reported, and what is worth a warning; further runs get records of their own.

    `variables` are those that the program saw. Raises StoreError where the store cannot be written.
    """
    elsewhere = variables.get("MLFLOW_TRACKING_URI")
    if elsewhere and mlflow.wanted(environment, {}):
        link = (_STORE_TAG, source.without_credentials(elsewhere))
        return replace(record, tags=(*record.tags, link)), ()
    paths = store.home.run(record.id)
    if not paths.mlflow.is_dir():
        return record, ()
    reported = mlflow.collect(paths.mlflow)
    keeper = _Keeper(store)
    record = _taken_over(record, reported, store, keeper)
    if not keeper.findings:  # else it is all that there is of some file
        mlflow.forget(paths.mlflow, trash=store.home.trash)
    return record, tuple(keeper.findings)


def with_files(
    record: RunRecord, store: Store, *, written: Iterable[str], directory: Path
) -> tuple[RunRecord, tuple[Finding, ...]]:
    """The record with what the program logged into files for other tools, and what is worth a warning.

    `written` are the files that it was seen to write; where nobody looked, its declared outputs are searched.
    """
    written = tuple(written)
    record, from_store = _with_own_store(record, store, written, directory)
    record, findings = _with_curves(record, store, written, directory)
    return record, (*from_store, *findings, *_logged_elsewhere(record, directory))


def _with_own_store(
    record: RunRecord, store: Store, written: tuple[str, ...], directory: Path
) -> tuple[RunRecord, tuple[Finding, ...]]:
    """With the new runs that the program logged into MLflow's files itself; these are read, and left alone.

    What MLflow keeps in such a folder besides artifacts is no output of its own then.
    """
    if not any(path.endswith("/meta.yaml") for path in written) or _is_linked(record):
        return record, ()
    from mlrun.tracking.mlflow import filestore

    roots = filestore.roots(written)
    if not roots:
        return record, ()
    scratch = store.home.run(record.id).root / "file-store"
    keeper = _Keeper(store)
    try:
        reported = filestore.collect(written, scratch, since=record.started_at)
        if reported.main is None:
            return record, ()
        if record.metrics or any(each.origin == "logged" for each in record.parameters):
            others = (reported.main, *reported.others)  # the run itself has logged elsewhere
            reported = replace(reported, main=None, others=others)
        record = replace(
            record,
            inputs=tuple(each for each in record.inputs if not _is_bookkeeping(each, roots, directory)),
            outputs=tuple(each for each in record.outputs if not _lies_in(each, roots, directory)),
            tags=(*record.tags, *((_STORE_TAG, str(root)) for root in roots[:1])),
        )
        record = _taken_over(record, reported, store, keeper)
    except OSError as error:
        note = f"what the program logged into `{roots[0]}` is not in this record: {error.strerror}"
        return record, (Finding(level="warning", code="logged-elsewhere", message=note),)
    finally:
        remove_tree(scratch, trash=store.home.trash)
    return record, tuple(keeper.findings)


def _is_linked(record: RunRecord) -> bool:
    """Whether the user has named a store, or server, for what is logged: then it is theirs."""
    return any(name == _STORE_TAG for name, _ in record.tags)


def _lies_in(artifact: Artifact, roots: tuple[Path, ...], directory: Path) -> bool:
    path = Path(os.path.normpath(directory / artifact.path))
    return not artifact.declared and any(root == path or root in path.parents for root in roots)


def _is_bookkeeping(artifact: Artifact, roots: tuple[Path, ...], directory: Path) -> bool:
    """Models and files of earlier runs are data; what MLflow notes beside them is not."""
    return _lies_in(artifact, roots, directory) and "/artifacts/" not in artifact.path


def _taken_over(record: RunRecord, reported: Reported, store: Store, keeper: _Keeper) -> RunRecord:
    """The record with its own MLflow run, if there is one; the others get records of their own."""
    if reported.main is not None:
        record = _joined(record, reported.main, reported, keeper)
        try:
            _keep_series(reported.main, store.home.run(record.id))
        except OSError as error:
            keeper.warn(f"the course of metrics logged through MLflow is not kept: {error.strerror}")
    others = [
        run for run in reported.others if _ID.fullmatch(run.id) and not store.home.run(run.id).root.exists()
    ]
    for at, run in enumerate(others):
        try:
            with store.create(_child(record, run, reported, keeper)):
                _keep_series(run, store.home.run(run.id))
        except (OSError, StoreError) as error:
            more = f" and {len(others) - at - 1} more" if len(others) - at > 1 else ""
            what = f"the run `{run.name or run.id}`{more}, logged through MLflow,"
            keeper.warn(f"{what} is not recorded: {error}")
            break
    return record


def _with_curves(
    record: RunRecord, store: Store, written: Iterable[str], directory: Path
) -> tuple[RunRecord, tuple[Finding, ...]]:
    """With the scalars in TensorBoard's event files, but for those that are known from elsewhere."""
    files = [path for path in written if "tfevents" in path]
    if record.observed == "off":
        import calendar

        began = calendar.timegm(time.strptime(record.started_at[:19], "%Y-%m-%dT%H:%M:%S"))
        found_in = (path for output in record.outputs for path in _within(directory / output.path))
        files = [path for path in found_in if os.stat(path).st_mtime >= began]
    if not files:
        return record, ()
    from mlrun.tracking import tensorboard

    names = [metric.name for metric in record.metrics]
    try:
        found = tensorboard.read(
            (Path(path) for path in files if tensorboard.is_event_file(path)),
            store.home.run(record.id).metrics,
            known=names,
        )
    except OSError as error:
        note = f"what the program logged for TensorBoard is not in this record: {error.strerror}"
        return record, (Finding(level="warning", code="run", message=note),)
    return replace(record, metrics=(*record.metrics, *found.metrics)), found.findings


def _within(output: Path) -> Iterator[str]:
    """The event files that an output is, or holds."""
    for folder, _, names in os.walk(output):
        yield from (os.path.join(folder, name) for name in names if "tfevents" in name)
    if "tfevents" in output.name:
        yield str(output)


def _logged_elsewhere(record: RunRecord, directory: Path) -> tuple[Finding, ...]:
    """A warning where the program logged through MLflow to files of its own, as its outputs tell."""
    if record.metrics:
        return ()
    stores = [
        output.path
        for output in record.outputs
        if _OWN_STORES.fullmatch(output.path) or _is_store(directory / output.path, output)
    ]
    if not stores:
        return ()
    return (
        Finding(
            level="warning",
            code="logged-elsewhere",
            message=f"the program logged through MLflow into a store of its own, such as `{stores[0]}`:"
            " its metrics are not in this record",
            hint="without `set_tracking_uri` in the code, they would be",
        ),
    )


def _is_store(path: Path, output: Artifact) -> bool:
    """Whether it is a database of MLflow's, by the text of its schema, which stands near its beginning."""
    if output.tree or not path.name.endswith((".db", ".sqlite", ".sqlite3")):
        return False
    try:
        with open(path, "rb") as file:
            start = file.read(_SCHEMA_WITHIN)
    except OSError:
        return False
    return start.startswith(b"SQLite format 3\0") and _SCHEMA.search(start) is not None


def _keep_series(run: Run, paths: RunPaths) -> None:
    """Its points, behind those that the program has told otherwise; moved, since they may be many."""
    if run.series is not None and not paths.metrics.exists():
        run.series.replace(paths.metrics)
    elif run.series is not None:
        with open(run.series, "rb") as series, open(paths.metrics, "ab") as whole:
            whole.writelines(series)


def _joined(record: RunRecord, run: Run, reported: Reported, keeper: _Keeper) -> RunRecord:
    """A record with all that its MLflow run holds; what the project itself declares comes first."""
    declared = {parameter.name for parameter in record.parameters}
    parameters = tuple(
        BoundParameter(name=name, value=text, text=text, kind="string", origin="logged")
        for name, text in _without_credentials(run.params)
        if name not in declared
    )
    known = {metric.name for metric in record.metrics}
    return replace(
        record,
        parameters=(*record.parameters, *parameters),
        metrics=(*record.metrics, *(metric for metric in run.metrics if metric.name not in known)),
        tags=(*record.tags, *_tags(run, {name for name, _ in record.tags})),
        outputs=(*record.outputs, *keeper.artifacts(run, _models_of(run, reported))),
        inputs=(*record.inputs, *keeper.datasets(run)),
    )


def _child(record: RunRecord, run: Run, reported: Reported, keeper: _Keeper) -> RunRecord:
    """A further run of the same program, with the same code and environment."""
    began, ended = run.started_at or record.started_at, run.ended_at or record.ended_at
    bare = replace(
        record,
        id=run.id,
        name=run.name or record.name,
        entry_point=dict(run.tags).get("mlflow.project.entryPoint", record.entry_point),
        status=run.status if run.status != "running" else record.status,
        started_at=began,
        ended_at=ended,
        duration_s=_seconds_between(began, ended),
        parameters=(),
        metrics=(),
        tags=(),
        inputs=(),
        outputs=(),
        warnings=(),
        resources=None,
        log=None,  # what was printed is with the run itself
        series=digest.of_file(run.series) if run.series is not None else None,
        trigger="mlflow",
        parents=(("nested", run.parent or record.id),),
    )
    return _joined(bare, run, reported, keeper)


def _tags(run: Run, known: set[str]) -> Iterator[tuple[str, str]]:
    if run.experiment and run.experiment != _DEFAULT_EXPERIMENT and "experiment" not in known:
        yield "experiment", run.experiment
    if run.note and "note" not in known:
        yield "note", source.without_credentials(run.note)
    yield from (
        (name, text)
        for name, text in _without_credentials(run.tags)
        if not name.startswith("mlflow.") and name not in known
    )


def _seconds_between(began: str, ended: str | None) -> float | None:
    from datetime import datetime

    try:
        seconds = (datetime.fromisoformat(ended or "") - datetime.fromisoformat(began)).total_seconds()
    except (ValueError, TypeError):
        return None
    return seconds if seconds >= 0 else None


def _without_credentials(texts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return ((name, source.without_credentials(text)) for name, text in texts)


def _models_of(run: Run, reported: Reported) -> tuple[Model, ...]:
    return tuple(model for model in reported.models if model.run == run.id or model.id in run.made)


class _Keeper:
    """Takes files into the object store; what it could not take is a finding."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.findings: list[Finding] = []

    def warn(self, note: str) -> None:
        self.findings.append(Finding(level="warning", code="run", message=note))

    def artifacts(self, run: Run, models: tuple[Model, ...]) -> Iterator[Artifact]:
        """Each top-level file or folder of what was logged; models whole."""
        folders = {model.folder: model.name for model in models}
        for folder, name in folders.items():
            if folder.is_dir():
                yield self._kept(folder, f"{name or folder.name}", "model")
        for entry in _entries(run.folder):
            if entry not in folders and not any(entry in folder.parents for folder in folders):
                yield self._kept(entry, entry.name, "artifact")

    def datasets(self, run: Run) -> Iterator[Artifact]:
        """What the code says it used: local files by their content, the rest by name."""
        for each in run.datasets:
            path = _path_of(each)
            if path is not None:
                described = data.describe(
                    path, shown=str(path), kind="dataset", declared=True, contents=False
                )
                yield described.artifact
            else:
                shown = source.without_credentials(_address_of(each) or each.name)
                yield Artifact(path=shown, kind="dataset", digest=None, size=0, files=0)

    def _kept(self, path: Path, shown: str, kind: str) -> Artifact:
        found = data.describe(path, shown=shown, kind=kind, declared=False)
        try:
            for its_digest, file in found.contents:
                self._store.objects.put_file(file, its_digest)
            if found.manifest is not None:
                self._store.objects.put_bytes(found.manifest)
        except (OSError, StoreError) as error:
            note = f"`{shown}`, logged through MLflow, is not kept in the store: {error}"
            self.findings.append(Finding(level="warning", code="output-not-kept", message=note))
            return found.artifact
        self.findings += found.findings
        return replace(found.artifact, stored=found.artifact.digest is not None)


def _entries(folder: Path) -> Iterable[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return ()


def _address_of(dataset: Dataset) -> str:
    """Where a data set says that it comes from (MLflow's kinds of sources call it by these names), or
    nothing."""
    try:
        facts = json.loads(dataset.source)
    except ValueError:
        return dataset.source
    found = (
        [facts.get(key) for key in ("uri", "url", "path", "table_name")] if isinstance(facts, dict) else []
    )
    return next((text for text in found if isinstance(text, str) and text), "")


def _path_of(dataset: Dataset) -> Path | None:
    """The local file that a data set was read from, if it says so and it is there."""
    from urllib.parse import unquote, urlsplit

    uri = _address_of(dataset)
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    path = unquote(parts.path) if parts.scheme == "file" else "" if parts.scheme else uri
    return Path(path) if path and os.path.isabs(path) and os.path.exists(path) else None
