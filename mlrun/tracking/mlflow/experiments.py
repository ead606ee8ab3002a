"""Calls about experiments: names under which runs are gathered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.tracking.mlflow import ledger, search
from mlrun.tracking.mlflow.calls import (
    Fields,
    Refused,
    Service,
    checked_tags,
    checked_text,
    invalid,
    missing,
    page,
    pairs,
    viewed,
)

if TYPE_CHECKING:
    from mlrun.tracking.mlflow.ledger import Change, Row

_LONGEST_NAME, _LONGEST_TAG = 500, 20_000
_MOST = 50_000  # on a page


def row(experiment_id: str, name: str, *, location: str, now: int, tags: dict[str, str]) -> Change:
    """A new experiment."""
    return ledger.put(
        "experiments",
        experiment_id,
        {
            "experiment_id": experiment_id,
            "name": name,
            "artifact_location": location,
            "lifecycle_stage": "active",
            "creation_time": now,
            "last_update_time": now,
            "tags": tags,
        },
    )


def create(service: Service, call: Fields) -> Row:
    name = call.text("name", "")
    if not name.strip():
        raise invalid(f"Invalid experiment name: '{name}'")
    checked_text(name, "name", _LONGEST_NAME)
    location = call.text("artifact_location", "")
    if location.startswith("runs:"):
        raise invalid(f"Artifact location cannot be a runs:/ URI. Given: '{location}'")
    tags = checked_tags(call.pairs("tags"), longest=_LONGEST_TAG)
    known = _named(service, name)
    if known is not None:
        deleted = " It is in the 'deleted' state." if known["lifecycle_stage"] == "deleted" else ""
        raise Refused("RESOURCE_ALREADY_EXISTS", f"Experiment(name={name}) already exists.{deleted}")
    numbers = [int(key) for key in service.ledger.tables.rows("experiments") if key.isdigit()]
    experiment_id = str(max(numbers, default=0) + 1)
    now = service.now()
    service.ledger.write(
        "experiments/create",
        now,
        row(experiment_id, name, location=location or service.base, now=now, tags=tags),
    )
    service.sought = experiment_id
    return {"experiment_id": experiment_id}


def get(service: Service, call: Fields) -> Row:
    experiment = found(service, call.text("experiment_id"))
    service.sought = experiment["experiment_id"]
    return {"experiment": shown(experiment)}


def get_by_name(service: Service, call: Fields) -> Row:
    name = call.text("experiment_name")
    experiment = _named(service, name)
    if experiment is None:
        raise missing(f"Could not find experiment with name '{name}'")
    service.sought = experiment["experiment_id"]
    return {"experiment": shown(experiment)}


def search_experiments(service: Service, call: Fields) -> Row:
    rows = viewed(service.rows("experiments"), call.text("view_type", "ACTIVE_ONLY"))
    rows = search.chosen(rows, call.maybe("filter"), _look)
    rows = search.ordered(rows, call.texts("order_by") or ["creation_time DESC", "experiment_id DESC"], _look)
    shown_rows, further = page(rows, call, default=1000, largest=_MOST)
    return {"experiments": [shown(each) for each in shown_rows], **further}


def list_experiments(service: Service, call: Fields) -> Row:
    """As clients before 2.0 ask."""
    rows = viewed(service.rows("experiments"), call.text("view_type", "ACTIVE_ONLY"))
    shown_rows, further = page(rows, call, default=_MOST, largest=_MOST)
    return {"experiments": [shown(each) for each in shown_rows], **further}


def delete(service: Service, call: Fields) -> Row:
    return _stage(service, call, "deleted")


def restore(service: Service, call: Fields) -> Row:
    return _stage(service, call, "active")


def update(service: Service, call: Fields) -> Row:
    experiment = found(service, call.text("experiment_id"))
    name = call.text("new_name")
    checked_text(name, "name", _LONGEST_NAME)
    other = _named(service, name)
    if other is not None and other is not experiment:
        raise Refused("RESOURCE_ALREADY_EXISTS", f"Experiment(name={name}) already exists.")
    return _write(service, "experiments/update", experiment, name=name)


def set_tag(service: Service, call: Fields) -> Row:
    experiment = _active(service, call)
    tags = checked_tags({call.text("key"): call.text("value", "")}, longest=_LONGEST_TAG)
    change = ledger.merge("experiments", experiment["experiment_id"], "tags", tags)
    service.ledger.write("experiments/set-experiment-tag", service.now(), change)
    return {}


def delete_tag(service: Service, call: Fields) -> Row:
    experiment, key = _active(service, call), call.text("key")
    if key not in experiment["tags"]:
        raise missing(f"No tag with name: {key} in experiment with id {experiment['experiment_id']}")
    change = ledger.merge("experiments", experiment["experiment_id"], "tags", {key: None})
    service.ledger.write("experiments/delete-experiment-tag", service.now(), change)
    return {}


def found(service: Service, experiment_id: str) -> Row:
    """Raises Refused."""
    return service.find("experiments", experiment_id, f"No Experiment with id={experiment_id} exists")


def shown(experiment: Row) -> Row:
    """As clients want to see it."""
    return {**experiment, "tags": pairs(experiment["tags"]), "workspace": "default"}


def _active(service: Service, call: Fields) -> Row:
    experiment = found(service, call.text("experiment_id"))
    if experiment["lifecycle_stage"] != "active":
        raise invalid(f"The experiment {experiment['experiment_id']} must be in the 'active' state.")
    return experiment


def _named(service: Service, name: str) -> Row | None:
    return next((each for each in service.rows("experiments") if each["name"] == name), None)


def _stage(service: Service, call: Fields, stage: str) -> Row:
    experiment = found(service, call.text("experiment_id"))
    return _write(service, f"experiments/{stage}", experiment, lifecycle_stage=stage)


def _write(service: Service, call: str, experiment: Row, **fields: str) -> Row:
    now = service.now()
    change = ledger.alter("experiments", experiment["experiment_id"], last_update_time=now, **fields)
    service.ledger.write(call, now, change)
    return {}


def _look(experiment: Row, kind: str, key: str) -> str | float | None:
    if kind == "tag":
        tag: str | None = experiment["tags"].get(key)
        return tag
    if kind != "attribute" or key not in {"name", "experiment_id", "creation_time", "last_update_time"}:
        raise invalid(f"Invalid attribute key '{key}' specified.")
    it: str | float = experiment[key]
    return int(it) if key == "experiment_id" and str(it).isdigit() else it
