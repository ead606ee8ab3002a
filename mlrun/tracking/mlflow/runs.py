"""Calls about runs: their life, and what is logged to them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from mlrun.tracking.mlflow import experiments, ledger, search
from mlrun.tracking.mlflow.calls import (
    LONGEST_KEY,
    LONGEST_PARAM,
    Fields,
    Service,
    checked_key,
    checked_tags,
    checked_text,
    invalid,
    missing,
    new_id,
    page,
    pairs,
    viewed,
    whole,
)
from mlrun.tracking.mlflow.ledger import Point, points

if TYPE_CHECKING:
    from mlrun.tracking.mlflow.ledger import Change, Row

NAME, PARENT, SOURCE, NOTE = (
    "mlflow.runName",
    "mlflow.parentRunId",
    "mlflow.source.type",
    "mlflow.note.content",
)
_MODELS = "mlflow.log-model.history"
_MOST = {"metrics": 1000, "params": 100, "tags": 100}  # in one batch, as in MLflow
_STATUS = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")


# --- life ---------------------------------------------------------------------------------------------


def row(
    run_id: str, name: str, experiment: str, *, user: str, started: int, uri: str, tags: dict[str, str]
) -> Row:
    """A run that has just begun."""
    return {
        "run_id": run_id, "name": name, "experiment_id": experiment, "user": user, "status": "RUNNING",
        "started": started, "ended": None, "artifact_uri": uri, "lifecycle_stage": "active", "begun": True,
        "params": {}, "given": [], "tags": tags, "datasets": [], "used": [], "made": [],
    }  # fmt: skip


def before_it_begins(service: Service, now: int) -> Change:
    """The run itself, known from the start so that its id leads somewhere; no client has opened it yet."""
    main = service.main
    tags = dict(main.tags) | {NAME: main.name} | ({"mlflow.user": main.user} if main.user else {})
    known = row(
        main.id, main.name, "0", user=main.user, started=now, uri=_uri(service, "0", main.id), tags=tags
    )
    parameters = dict(main.parameters)
    return ledger.put(
        "runs", main.id, {**known, "begun": False, "params": parameters, "given": list(parameters)}
    )


def create(service: Service, call: Fields) -> Row:
    """The first run that is no step of another becomes the run itself; all others are further ones."""
    experiment = experiments.found(service, call.text("experiment_id", "0"))
    if experiment["lifecycle_stage"] != "active":
        raise invalid(f"The experiment {experiment['experiment_id']} must be in the 'active' state.")
    tags = checked_tags(call.pairs("tags"))
    asked = call.maybe("run_name") or ""
    if asked and tags.get(NAME, asked) != asked:
        raise invalid(f"Both 'run_name' argument and '{NAME}' tag are specified, but with different values.")
    main = service.find("runs", service.main.id, "no run")
    is_main = not main["begun"] and PARENT not in tags and tags.get(SOURCE) != "PROJECT"
    run_id = main["run_id"] if is_main else new_id()
    count = len(service.ledger.tables.rows("runs"))
    name = asked or tags.get(NAME) or (main["name"] if is_main else f"{service.main.name}-{count + 1}")
    now = service.now()
    made = row(
        run_id,
        name,
        experiment["experiment_id"],
        user=call.text("user_id", "") or tags.get("mlflow.user", ""),
        started=call.number("start_time", 0) or now,
        uri=_uri(service, experiment["experiment_id"], run_id),
        tags={**(main["tags"] if is_main else {}), **tags, NAME: name},
    )
    if is_main:
        made |= {"params": main["params"], "given": main["given"]}
    service.ledger.write("runs/create", now, ledger.put("runs", run_id, made))
    return {"run": shown(service, made)}


def get(service: Service, call: Fields) -> Row:
    return {"run": shown(service, found(service, call))}


def update(service: Service, call: Fields) -> Row:
    run = _active(service, call)
    status = call.text("status", run["status"])
    if status.isdigit():
        status = dict(enumerate(_STATUS, start=1)).get(int(status), "RUNNING")
    if status not in _STATUS:
        raise invalid(f"Invalid run status '{status}'.")
    ended = call.number("end_time", 0) or run["ended"]
    name = call.text("run_name", "") or run["name"]
    changes = [
        *_begin(service, run),
        ledger.alter("runs", run["run_id"], status=status, ended=ended, name=name),
    ]
    if name != run["name"]:
        changes.append(ledger.merge("runs", run["run_id"], "tags", {NAME: name}))
    service.ledger.write("runs/update", service.now(), *changes)
    return {"run_info": _info(run)}


def delete(service: Service, call: Fields) -> Row:
    return _stage(service, call, "deleted")


def restore(service: Service, call: Fields) -> Row:
    return _stage(service, call, "active")


def _stage(service: Service, call: Fields, stage: str) -> Row:
    change = ledger.alter("runs", found(service, call)["run_id"], lifecycle_stage=stage)
    service.ledger.write(f"runs/{stage}", service.now(), change)
    return {}


# --- what is logged -----------------------------------------------------------------------------------


def log_metric(service: Service, call: Fields) -> Row:
    run = _active(service, call)
    _log(service, "runs/log-metric", run, points=[_point(call)])
    return {}


def log_parameter(service: Service, call: Fields) -> Row:
    run = _active(service, call)
    _log(service, "runs/log-parameter", run, params={call.text("key"): call.text("value", "")})
    return {}


def set_tag(service: Service, call: Fields) -> Row:
    run = _active(service, call)
    _log(service, "runs/set-tag", run, tags={call.text("key"): call.text("value", "")})
    return {}


def delete_tag(service: Service, call: Fields) -> Row:
    run, key = _active(service, call), call.text("key")
    if key not in run["tags"]:
        raise missing(f"No tag with name: {key} in run with id {run['run_id']}")
    service.ledger.write(
        "runs/delete-tag", service.now(), ledger.merge("runs", run["run_id"], "tags", {key: None})
    )
    return {}


def log_batch(service: Service, call: Fields) -> Row:
    run = _active(service, call)
    parts = {name: call.parts(name) for name in _MOST}
    for name, most in (*_MOST.items(), ("metrics, params, and tags", 1000)):
        count = len(parts[name]) if name in parts else sum(len(entries) for entries in parts.values())
        if count > most:
            raise invalid(
                f"A batch logging request can contain at most {most} {name}. Got {count} {name}. Please split"
                f" up {name} across multiple requests and try again."
            )
    keys = [part.text("key") for part in parts["params"]]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise invalid(f"Duplicate parameter keys have been submitted: {twice}.")
    _log(
        service,
        "runs/log-batch",
        run,
        points=[_point(part) for part in parts["metrics"]],
        params={part.text("key"): part.text("value", "") for part in parts["params"]},
        tags={part.text("key"): part.text("value", "") for part in parts["tags"]},
    )
    return {}


def log_model(service: Service, call: Fields) -> Row:
    """As clients before 3.0 note a model: its `MLmodel` as JSON, one after the other in a tag."""
    run = _active(service, call)
    try:
        model = json.loads(call.text("model_json"))
        history = json.loads(run["tags"].get(_MODELS, "[]"))
        text = json.dumps([*history, model])
    except (ValueError, TypeError):
        raise invalid("Malformed model info: it is no JSON.") from None
    change = ledger.merge("runs", run["run_id"], "tags", {_MODELS: text})
    service.ledger.write("runs/log-model", service.now(), *_begin(service, run), change)
    return {}


def log_inputs(service: Service, call: Fields) -> Row:
    run = _active(service, call)
    datasets = [_dataset(part) for part in call.parts("datasets")]
    used = [part.text("model_id") for part in call.parts("models")]
    known = {(each["dataset"]["name"], each["dataset"]["digest"]) for each in run["datasets"]}
    new = [each for each in datasets if (each["dataset"]["name"], each["dataset"]["digest"]) not in known]
    changes = [
        ledger.add("runs", run["run_id"], "datasets", new),
        ledger.add("runs", run["run_id"], "used", [each for each in used if each not in run["used"]]),
    ]
    service.ledger.write("runs/log-inputs", service.now(), *_begin(service, run), *changes)
    return {}


def log_outputs(service: Service, call: Fields) -> Row:
    run = _active(service, call)
    made = [
        {"model_id": part.text("model_id"), "step": part.number("step", 0)} for part in call.parts("models")
    ]
    change = ledger.add("runs", run["run_id"], "made", made)
    service.ledger.write("runs/outputs", service.now(), *_begin(service, run), change)
    return {}


def _log(
    service: Service,
    call: str,
    run: Row,
    *,
    points: list[Point] | None = None,
    params: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    run_id = run["run_id"]
    changes = _begin(service, run)
    if params:
        new = _new_params(run, params)
        changes += [ledger.merge("runs", run_id, "params", new)] if new else []
        given = [key for key in run["given"] if key not in new]
        changes += [ledger.alter("runs", run_id, given=given)] if given != run["given"] else []
    if tags:
        changes.append(ledger.merge("runs", run_id, "tags", checked_tags(tags)))
        if NAME in tags:
            changes.append(ledger.alter("runs", run_id, name=tags[NAME]))
    if changes:
        service.ledger.write(call, service.now(), *changes)
    if points:
        service.ledger.log(run_id, points)


def _new_params(run: Row, params: dict[str, str]) -> dict[str, str]:
    """Those that the run does not have yet; what the project gave may be told once more, otherwise spelt."""
    params = {checked_key(key, "key"): text[:LONGEST_PARAM] for key, text in params.items()}
    for key, text in params.items():
        earlier = run["params"].get(key)
        if earlier not in {None, text} and key not in run["given"]:
            raise invalid(
                f"Changing param values is not allowed. Param with key='{key}' was already logged with"
                f" value='{earlier}' for run ID='{run['run_id']}'. Attempted logging new value '{text}'."
            )
    return {key: text for key, text in params.items() if run["params"].get(key) != text}


def _point(call: Fields) -> Point:
    key = checked_key(call.text("key"), "name")
    if not key.isprintable():
        raise invalid(f"Invalid value for parameter 'name': {key[:100]!r}.")
    found = call.given.get("value")
    try:
        if isinstance(found, bool) or not isinstance(found, int | float | str):
            raise ValueError  # noqa: TRY004  a value in a message, not an argument of ours
        number = float(found)  # proto3's JSON writes NaN and Infinity as texts
    except (ValueError, OverflowError):
        raise invalid(
            f"Invalid value for parameter 'value' of metric '{key}': it must be a number."
        ) from None
    timestamp = call.number("timestamp", 0)
    if timestamp < 0:
        raise invalid(f"Invalid value for parameter 'timestamp' of metric '{key}': it must not be negative.")
    return Point(
        key,
        number,
        timestamp,
        call.number("step", 0),
        call.maybe("model_id") or None,
        call.maybe("dataset_name") or None,
        call.maybe("dataset_digest") or None,
    )


def _dataset(call: Fields) -> Row:
    dataset = call.part("dataset")
    known: Row = {
        "name": checked_text(dataset.text("name"), "name", 2 * LONGEST_KEY),
        "digest": checked_text(dataset.text("digest"), "digest", LONGEST_KEY),
        "source_type": dataset.text("source_type", ""),
        "source": dataset.text("source", ""),
    }
    for name in ("schema", "profile"):
        text = dataset.maybe(name)
        known |= {name: text} if text is not None else {}
    return {"tags": pairs(call.pairs("tags")), "dataset": known}


# --- reading ------------------------------------------------------------------------------------------


def search_runs(service: Service, call: Fields) -> Row:
    wanted = set(call.texts("experiment_ids"))
    rows = [run for run in service.rows("runs") if _experiment(service, run) in wanted and run["begun"]]
    rows = viewed(rows, call.text("run_view_type", "ACTIVE_ONLY"))

    def look(run: Row, kind: str, key: str) -> str | float | None:
        it: str | float | None = _look(service, run, kind, key)
        return it

    rows = search.chosen(rows, call.maybe("filter"), look)
    rows = search.ordered(rows, [*call.texts("order_by"), "start_time DESC", "run_id"], look)
    shown_rows, further = page(rows, call, default=1000, largest=50_000)
    return {"runs": [shown(service, run) for run in shown_rows], **further}


def history(service: Service, call: Fields) -> Row:
    """All values of a metric; a page's token is the byte in the series behind the last one."""
    run, key = found(service, call), call.text("metric_key")
    most = call.number("max_results", 0)
    start = whole(call.maybe("page_token") or 0, "page_token")
    rows: list[Row] = []
    for position, point in points(service.ledger.folder.series(run["run_id"]), start=start, key=key):
        rows.append(metric(point))
        if len(rows) == most:
            return {"metrics": rows, "next_page_token": str(position)}
    return {"metrics": rows}


def history_of_many(service: Service, call: Fields) -> Row:
    """The values of a metric in several runs."""
    key, most = call.text("metric_key"), call.number("max_results", 25_000)
    wanted = call.texts("run_ids") or call.texts("run_id")
    first, last = call.number("start_step", -(2**62)), call.number("end_step", 2**62)
    rows: list[Row] = []
    for run_id in wanted:
        found(service, Fields({"run_id": run_id}))
        for _, point in points(service.ledger.folder.series(run_id), key=key):
            if first <= point.step <= last and len(rows) < most:
                rows.append({**metric(point), "run_id": run_id})
    return {"metrics": rows}


def search_datasets(service: Service, call: Fields) -> Row:
    wanted = set(call.texts("experiment_ids"))
    summaries: list[Row] = []
    for run in service.rows("runs"):
        for each in run["datasets"] if run["experiment_id"] in wanted else ():
            context = next((tag["value"] for tag in each["tags"] if tag["key"] == "mlflow.data.context"), "")
            summary = {
                "experiment_id": run["experiment_id"],
                "name": each["dataset"]["name"],
                "digest": each["dataset"]["digest"],
                "context": context,
            }
            summaries += [summary] if summary not in summaries else []
    return {"dataset_summaries": summaries}


def found(service: Service, call: Fields) -> Row:
    """The run that a call is about; old clients call its id otherwise. Raises Refused."""
    run_id = call.maybe("run_id") or call.text("run_uuid")
    return service.find("runs", run_id, f"Run with id={run_id} not found")


def shown(service: Service, run: Row) -> Row:
    """As clients want to see it."""
    latest = service.ledger.latest.get(run["run_id"], {})
    return {
        "info": _info(run) | {"experiment_id": _experiment(service, run)},
        "data": {
            "metrics": [metric(point) for point in latest.values()],
            "params": pairs(run["params"]),
            "tags": pairs(run["tags"]),
        },
        "inputs": {
            "dataset_inputs": run["datasets"],
            "model_inputs": [{"model_id": each} for each in run["used"]],
        },
        "outputs": {"model_outputs": run["made"]},
    }


def metric(point: Point) -> Row:
    """A value as clients want to see it."""
    extras = {"model_id": point.model, "dataset_name": point.dataset, "dataset_digest": point.digest}
    shown: Row = {
        "key": point.key, "value": number(point.value), "timestamp": point.timestamp, "step": point.step,
    }  # fmt: skip
    return shown | {name: text for name, text in extras.items() if text is not None}


def number(it: float) -> float | str:
    """As proto3's JSON has it."""
    if math.isfinite(it):
        return it
    return "NaN" if it != it else "Infinity" if it > 0 else "-Infinity"


def _info(run: Row) -> Row:
    info: Row = {
        "run_id": run["run_id"], "run_uuid": run["run_id"], "run_name": run["name"],
        "experiment_id": run["experiment_id"], "user_id": run["user"], "status": run["status"],
        "start_time": run["started"], "artifact_uri": run["artifact_uri"],
        "lifecycle_stage": run["lifecycle_stage"],
    }  # fmt: skip
    return info | ({"end_time": run["ended"]} if run["ended"] else {})


def _experiment(service: Service, run: Row) -> str:
    """Of a run that has not begun, the one that was last asked for: clients insist that the two agree."""
    experiment: str = run["experiment_id"] if run["begun"] else service.sought
    return experiment


def _begin(service: Service, run: Row) -> list[Change]:
    """What turns the announced run into one that has begun, where it is that one."""
    if run["begun"]:
        return []
    experiment = service.sought
    uri = _uri(service, experiment, run["run_id"])
    return [
        ledger.alter(
            "runs",
            run["run_id"],
            begun=True,
            experiment_id=experiment,
            artifact_uri=uri,
            started=service.now(),
        )
    ]


def _uri(service: Service, experiment_id: str, run_id: str) -> str:
    """Below our own base, or where the experiment says that its artifacts are to lie."""
    location: str = experiments.found(service, experiment_id)["artifact_location"]
    return (
        f"{location}/{run_id}" if location == service.base else f"{location.rstrip('/')}/{run_id}/artifacts"
    )


def _active(service: Service, call: Fields) -> Row:
    run = found(service, call)
    if run["lifecycle_stage"] != "active":
        raise invalid(
            f"The run {run['run_id']} must be in the 'active' state, and is in '{run['lifecycle_stage']}'."
        )
    return run


_ATTRIBUTES = {
    "run_id": "run_id", "run_name": "name", "run name": "name", "Run name": "name", "name": "name",
    "status": "status", "artifact_uri": "artifact_uri", "user_id": "user", "user": "user",
    "start_time": "started", "created": "started", "Created": "started", "end_time": "ended",
    "experiment_id": "experiment_id", "lifecycle_stage": "lifecycle_stage",
}  # fmt: skip


def _look(service: Service, run: Row, kind: str, key: str) -> Any:
    if kind == "metric":
        point = service.ledger.latest.get(run["run_id"], {}).get(key)
        return None if point is None else point.value
    if kind in {"param", "tag"}:
        return run[f"{kind}s"].get(key)
    if kind == "dataset":
        return _look_at_datasets(run, key)
    if kind == "attribute" and key == "duration":
        return None if not run["ended"] else run["ended"] - run["started"]
    if kind != "attribute" or key not in _ATTRIBUTES:
        raise invalid(f"Invalid attribute key '{key}' specified. Valid keys are {sorted(_ATTRIBUTES)}.")
    return run[_ATTRIBUTES[key]]


def _look_at_datasets(run: Row, key: str) -> str | None:
    """Of the first data set: rarely has a run two of which one is looked for."""
    if key == "context":
        tags = (tag for each in run["datasets"] for tag in each["tags"])
        return next((tag["value"] for tag in tags if tag["key"] == "mlflow.data.context"), None)
    return next((each["dataset"].get(key) for each in run["datasets"]), None)
