"""Calls about logged models: for clients since 3.0 a model is a thing of its own, not a path in a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.tracking.mlflow import experiments, ledger, runs, search
from mlrun.tracking.mlflow.calls import (
    LONGEST_PARAM,
    Fields,
    Service,
    checked_key,
    checked_tags,
    invalid,
    missing,
    new_id,
    page,
    pairs,
)

if TYPE_CHECKING:
    from mlrun.tracking.mlflow.ledger import Point, Row

_STATUS = ("LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED")


def create(service: Service, call: Fields) -> Row:
    experiment = experiments.found(service, call.text("experiment_id", "0"))
    model_id, now = f"m-{new_id()}", service.now()
    location = experiment["artifact_location"]
    ours = location == service.base
    model = {
        "model_id": model_id,
        "experiment_id": experiment["experiment_id"],
        "name": call.text("name", "") or f"{service.main.name}-model-{len(service.rows('models')) + 1}",
        "model_type": call.text("model_type", ""),
        "source_run_id": call.text("source_run_id", ""),
        "artifact_uri": f"{location}/{model_id}"
        if ours
        else f"{location.rstrip('/')}/models/{model_id}/artifacts",
        "status": "LOGGED_MODEL_PENDING",
        "created": now,
        "updated": now,
        "params": _params(call),
        "tags": checked_tags(call.pairs("tags")),
    }
    service.ledger.write("logged-models", now, ledger.put("models", model_id, model))
    return {"model": shown(service, model)}


def get(service: Service, call: Fields) -> Row:
    return {"model": shown(service, found(service, call.text("model_id")))}


def finalize(service: Service, call: Fields) -> Row:
    model, status = found(service, call.text("model_id")), call.text("status")
    if status not in _STATUS:
        raise invalid(f"Invalid model status: {status}")
    now = service.now()
    service.ledger.write(
        "logged-models/finalize", now, ledger.alter("models", model["model_id"], status=status, updated=now)
    )
    return {"model": shown(service, model)}


def delete(service: Service, call: Fields) -> Row:
    model = found(service, call.text("model_id"))
    service.ledger.write("logged-models/delete", service.now(), ledger.drop("models", model["model_id"]))
    return {}


def set_tags(service: Service, call: Fields) -> Row:
    model = found(service, call.text("model_id"))
    tags = checked_tags(call.pairs("tags"))
    service.ledger.write(
        "logged-models/tags", service.now(), ledger.merge("models", model["model_id"], "tags", dict(tags))
    )
    return {"model": shown(service, model)}


def delete_tag(service: Service, call: Fields) -> Row:
    model, key = found(service, call.text("model_id")), call.text("tag_key")
    if key not in model["tags"]:
        raise missing(f"No tag with key '{key}' found for model with ID '{model['model_id']}'.")
    service.ledger.write(
        "logged-models/tags", service.now(), ledger.merge("models", model["model_id"], "tags", {key: None})
    )
    return {}


def log_params(service: Service, call: Fields) -> Row:
    model = found(service, call.text("model_id"))
    service.ledger.write(
        "logged-models/params",
        service.now(),
        ledger.merge("models", model["model_id"], "params", _params(call)),
    )
    return {}


def search_models(service: Service, call: Fields) -> Row:
    wanted = set(call.texts("experiment_ids"))
    rows = [row for row in service.rows("models") if not wanted or row["experiment_id"] in wanted]

    def look(row: Row, kind: str, key: str) -> str | float | None:
        return _look(service, row, kind, key)

    order = [
        f"{_quoted(part.text('field_name'))} {'DESC' if part.given.get('ascending') is False else 'ASC'}"
        for part in call.parts("order_by")
    ]
    rows = search.chosen(rows, call.maybe("filter"), look)
    rows = search.ordered(rows, [*order, "creation_timestamp DESC"], look)
    shown_rows, further = page(rows, call, default=100, largest=50_000)
    return {"models": [shown(service, row) for row in shown_rows], **further}


def found(service: Service, model_id: str) -> Row:
    """Raises Refused."""
    return service.find("models", model_id, f"Logged model with ID '{model_id}' not found.")


def shown(service: Service, model: Row) -> Row:
    """As clients want to see it."""
    info: Row = {
        "model_id": model["model_id"],
        "experiment_id": model["experiment_id"],
        "name": model["name"],
        "creation_timestamp_ms": model["created"],
        "last_updated_timestamp_ms": model["updated"],
        "artifact_uri": model["artifact_uri"],
        "status": model["status"],
        "model_type": model["model_type"],
        "source_run_id": model["source_run_id"],
        "tags": pairs(model["tags"]),
        "registrations": [
            {"name": version["name"], "version": version["version"]}
            for version in service.rows("versions")
            if version["model_id"] == model["model_id"]
        ],
    }
    return {"info": info, "data": {"params": pairs(model["params"]), "metrics": _metrics(service, model)}}


def _metrics(service: Service, model: Row) -> list[Row]:
    logged = service.ledger.of_models.get(model["model_id"], {})
    return [{**runs.metric(point), "run_id": run_id} for run_id, point in logged.values()]


def _params(call: Fields) -> dict[str, str]:
    return {checked_key(key, "key"): text[:LONGEST_PARAM] for key, text in call.pairs("params").items()}


_ATTRIBUTES = {
    "name": "name", "model_name": "name", "model_id": "model_id", "model_type": "model_type",
    "status": "status",
    "source_run_id": "source_run_id", "experiment_id": "experiment_id",
    "creation_timestamp": "created", "creation_time": "created", "creation_timestamp_ms": "created",
    "last_updated_timestamp": "updated", "last_updated_timestamp_ms": "updated",
    "last_updated_time": "updated",
}  # fmt: skip


def _look(service: Service, model: Row, kind: str, key: str) -> str | float | None:
    it: str | float | None
    if kind == "metric":
        logged: list[Point] = [
            point
            for _, point in service.ledger.of_models.get(model["model_id"], {}).values()
            if point.key == key
        ]
        return logged[-1].value if logged else None
    if kind in {"param", "tag"}:
        it = model[f"{kind}s"].get(key)
        return it
    if kind != "attribute" or key not in _ATTRIBUTES:
        raise invalid(f"Invalid attribute key '{key}' specified.")
    it = model[_ATTRIBUTES[key]]
    if key == "status":
        return str(it).removeprefix("LOGGED_MODEL_")
    return it


def _quoted(name: str) -> str:
    kind, dot, key = name.partition(".")
    return f"{kind}.`{key}`" if dot else name
