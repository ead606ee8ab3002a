"""Calls of the model registry: names, versions, stages and aliases. It lives as long as the run does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrun.tracking.mlflow import ledger, search
from mlrun.tracking.mlflow.calls import (
    LONGEST_KEY,
    LONGEST_REGISTRY_TAG,
    Fields,
    Refused,
    Service,
    checked_tags,
    checked_text,
    invalid,
    page,
    pairs,
)

if TYPE_CHECKING:
    from mlrun.tracking.mlflow.ledger import Row

_NO_PROMPT = {"mlflow.prompt.is_prompt": "false"}
"""Clients look for models by asking for those that are not marked as prompts."""
_STAGES = ("None", "Staging", "Production", "Archived")


# --- registered models --------------------------------------------------------------------------------


def create_model(service: Service, call: Fields) -> Row:
    name = call.text("name", "")
    if not name.strip() or "/" in name or ":" in name or name in {".", ".."}:
        raise invalid(f"Invalid model name '{name}'. Names cannot be empty, or contain '/' or ':'.")
    checked_text(name, "name", LONGEST_KEY)
    if service.ledger.tables.find("registered", name) is not None:
        raise Refused("RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists.")
    now = service.now()
    model = {
        "name": name,
        "description": call.text("description", ""),
        "created": now,
        "updated": now,
        "tags": checked_tags(call.pairs("tags"), longest=LONGEST_REGISTRY_TAG),
        "aliases": {},
        "count": 0,
    }
    service.ledger.write("registered-models/create", now, ledger.put("registered", name, model))
    return {"registered_model": _model_shown(service, model)}


def get_model(service: Service, call: Fields) -> Row:
    return {"registered_model": _model_shown(service, _model(service, call))}


def update_model(service: Service, call: Fields) -> Row:
    model, now = _model(service, call), service.now()
    change = ledger.alter("registered", model["name"], description=call.text("description", ""), updated=now)
    service.ledger.write("registered-models/update", now, change)
    return {"registered_model": _model_shown(service, model)}


def rename_model(service: Service, call: Fields) -> Row:
    model, name, now = _model(service, call), call.text("new_name"), service.now()
    if service.ledger.tables.find("registered", name) is not None:
        raise Refused("RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists.")
    changes = [
        ledger.drop("registered", model["name"]),
        ledger.put("registered", name, {**model, "name": name, "updated": now}),
    ]
    for version in _versions(service, model["name"]):
        changes.append(ledger.drop("versions", _key(version["name"], version["version"])))
        changes.append(ledger.put("versions", _key(name, version["version"]), {**version, "name": name}))
    service.ledger.write("registered-models/rename", now, *changes)
    return get_model(service, Fields({"name": name}))


def delete_model(service: Service, call: Fields) -> Row:
    model = _model(service, call)
    changes = [
        ledger.drop("versions", _key(each["name"], each["version"]))
        for each in _versions(service, model["name"])
    ]
    service.ledger.write(
        "registered-models/delete", service.now(), *changes, ledger.drop("registered", model["name"])
    )
    return {}


def search_models(service: Service, call: Fields) -> Row:
    def look(model: Row, kind: str, key: str) -> str | float | None:
        it: str | float | None
        if kind == "tag":
            it = model["tags"].get(key, _NO_PROMPT.get(key))
            return it
        fields = {"name": "name", "creation_timestamp": "created", "last_updated_timestamp": "updated"}
        fields |= {"timestamp": "updated"}
        if kind != "attribute" or key not in fields:
            raise invalid(f"Invalid attribute key '{key}' specified.")
        it = model[fields[key]]
        return it

    rows = search.chosen(service.rows("registered"), call.maybe("filter"), look)
    rows = search.ordered(rows, [*call.texts("order_by"), "name"], look)
    shown, further = page(rows, call, default=100, largest=1000)
    return {"registered_models": [_model_shown(service, each) for each in shown], **further}


def list_models(service: Service, call: Fields) -> Row:
    """As clients before 2.0 ask."""
    shown, further = page(service.rows("registered"), call, default=100, largest=50_000)
    return {"registered_models": [_model_shown(service, each) for each in shown], **further}


def latest_versions(service: Service, call: Fields) -> Row:
    model = _model(service, call)
    stages = [_stage(each) for each in call.texts("stages")] or list(_STAGES)
    latest = [each for each in _latest(service, model["name"]) if each["stage"] in stages]
    return {"model_versions": [_version_shown(service, each) for each in latest]}


def set_model_tag(service: Service, call: Fields) -> Row:
    model = _model(service, call)
    tags = checked_tags({call.text("key"): call.text("value", "")}, longest=LONGEST_REGISTRY_TAG)
    change = ledger.merge("registered", model["name"], "tags", dict(tags))
    service.ledger.write("registered-models/set-tag", service.now(), change)
    return {}


def delete_model_tag(service: Service, call: Fields) -> Row:
    model, key = _model(service, call), call.text("key")
    if key in model["tags"]:
        change = ledger.merge("registered", model["name"], "tags", {key: None})
        service.ledger.write("registered-models/delete-tag", service.now(), change)
    return {}


def set_alias(service: Service, call: Fields) -> Row:
    version, alias = _version(service, call), call.text("alias")
    if not re.fullmatch(r"[\w-]{1,255}", alias):
        raise invalid(
            f"Invalid alias name: '{alias}'. Names may only contain alphanumerics, underscores and dashes."
        )
    if alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
        raise invalid(f"Alias name '{alias}' is reserved.")
    change = ledger.merge("registered", version["name"], "aliases", {alias: version["version"]})
    service.ledger.write("registered-models/alias", service.now(), change)
    return {}


def delete_alias(service: Service, call: Fields) -> Row:
    model, alias = _model(service, call), call.text("alias")
    if alias in model["aliases"]:
        change = ledger.merge("registered", model["name"], "aliases", {alias: None})
        service.ledger.write("registered-models/alias", service.now(), change)
    return {}


def get_by_alias(service: Service, call: Fields) -> Row:
    model, alias = _model(service, call), call.text("alias")
    version = model["aliases"].get(alias)
    if version is None:
        raise Refused("INVALID_PARAMETER_VALUE", f"Registered model alias {alias} not found.")
    return get_version(service, Fields({"name": model["name"], "version": version}))


# --- versions -----------------------------------------------------------------------------------------


def create_version(service: Service, call: Fields) -> Row:
    model, now = _model(service, call), service.now()
    number, source = str(model["count"] + 1), call.text("source")
    model_id = call.text("model_id", "") or _model_id(source)
    version = {
        "name": model["name"],
        "version": number,
        "source": source,
        "location": _location(service, source),
        "run_id": call.text("run_id", "") or _run_of(service, model_id),
        "run_link": call.text("run_link", ""),
        "model_id": model_id,
        "description": call.text("description", ""),
        "stage": "None",
        "created": now,
        "updated": now,
        "tags": checked_tags(call.pairs("tags"), longest=LONGEST_REGISTRY_TAG),
    }
    service.ledger.write(
        "model-versions/create",
        now,
        ledger.put("versions", _key(model["name"], number), version),
        ledger.alter("registered", model["name"], count=model["count"] + 1, updated=now),
    )
    return {"model_version": _version_shown(service, version)}


def get_version(service: Service, call: Fields) -> Row:
    return {"model_version": _version_shown(service, _version(service, call))}


def update_version(service: Service, call: Fields) -> Row:
    version, now = _version(service, call), service.now()
    change = ledger.alter("versions", _key_of(version), description=call.text("description", ""), updated=now)
    service.ledger.write("model-versions/update", now, change)
    return {"model_version": _version_shown(service, version)}


def transition(service: Service, call: Fields) -> Row:
    version, stage, now = _version(service, call), _stage(call.text("stage")), service.now()
    changes = [ledger.alter("versions", _key_of(version), stage=stage, updated=now)]
    if call.flag("archive_existing_versions"):
        changes += [
            ledger.alter("versions", _key_of(other), stage="Archived", updated=now)
            for other in _versions(service, version["name"])
            if other is not version and other["stage"] == stage
        ]
    changes.append(ledger.alter("registered", version["name"], updated=now))
    service.ledger.write("model-versions/transition-stage", now, *changes)
    return {"model_version": _version_shown(service, version)}


def delete_version(service: Service, call: Fields) -> Row:
    version = _version(service, call)
    aliases = _model(service, call)["aliases"]
    gone = {alias: None for alias, number in aliases.items() if number == version["version"]}
    service.ledger.write(
        "model-versions/delete",
        service.now(),
        ledger.merge("registered", version["name"], "aliases", gone),
        ledger.drop("versions", _key_of(version)),
    )
    return {}


def search_versions(service: Service, call: Fields) -> Row:
    fields = {
        "name": "name", "version_number": "version", "version": "version", "run_id": "run_id",
        "source_path": "source", "source": "source", "creation_timestamp": "created",
        "last_updated_timestamp": "updated", "current_stage": "stage", "model_id": "model_id",
    }  # fmt: skip

    def look(version: Row, kind: str, key: str) -> str | float | None:
        it: str | float | None
        if kind == "tag":
            it = version["tags"].get(key, _NO_PROMPT.get(key))
            return it
        if kind != "attribute" or key not in fields:
            raise invalid(f"Invalid attribute key '{key}' specified.")
        it = version[fields[key]]
        return int(it) if fields[key] == "version" and it is not None else it

    rows = search.chosen(service.rows("versions"), call.maybe("filter"), look)
    order = call.texts("order_by") or ["last_updated_timestamp DESC", "name", "version_number DESC"]
    shown, further = page(search.ordered(rows, order, look), call, default=10_000, largest=200_000)
    return {"model_versions": [_version_shown(service, each) for each in shown], **further}


def download_uri(service: Service, call: Fields) -> Row:
    return {"artifact_uri": _version(service, call)["location"]}


def set_version_tag(service: Service, call: Fields) -> Row:
    version = _version(service, call)
    tags = checked_tags({call.text("key"): call.text("value", "")}, longest=LONGEST_REGISTRY_TAG)
    change = ledger.merge("versions", _key_of(version), "tags", dict(tags))
    service.ledger.write("model-versions/set-tag", service.now(), change)
    return {}


def delete_version_tag(service: Service, call: Fields) -> Row:
    version, key = _version(service, call), call.text("key")
    if key in version["tags"]:
        change = ledger.merge("versions", _key_of(version), "tags", {key: None})
        service.ledger.write("model-versions/delete-tag", service.now(), change)
    return {}


# --- within -------------------------------------------------------------------------------------------


def _key(name: str, version: str) -> str:
    return f"{name}/{version}"


def _key_of(version: Row) -> str:
    return _key(version["name"], version["version"])


def _model(service: Service, call: Fields) -> Row:
    name = call.text("name")
    return service.find("registered", name, f"Registered Model with name={name} not found")


def _version(service: Service, call: Fields) -> Row:
    name, version = call.text("name"), call.text("version")
    return service.find(
        "versions", _key(name, version), f"Model Version (name={name}, version={version}) not found"
    )


def _versions(service: Service, name: str) -> list[Row]:
    return [version for version in service.rows("versions") if version["name"] == name]


def _latest(service: Service, name: str) -> list[Row]:
    latest = {version["stage"]: version for version in _versions(service, name)}
    return list(latest.values())


def _stage(asked: str) -> str:
    stage = next((stage for stage in _STAGES if stage.lower() == asked.lower()), None)
    if stage is None:
        raise invalid(f"Invalid Model Version stage: {asked}. Value must be one of {', '.join(_STAGES)}.")
    return stage


def _model_id(source: str) -> str:
    name = source.removeprefix("models:/")
    return name if source.startswith("models:/m-") and "/" not in name else ""


def _run_of(service: Service, model_id: str) -> str:
    model = service.ledger.tables.find("models", model_id)
    return model["source_run_id"] if model is not None else ""


def _location(service: Service, source: str) -> str:
    """Where the files of a source are."""
    scheme, _, rest = source.partition(":")
    head, _, path = rest.lstrip("/").partition("/")
    location: str
    if scheme == "runs":
        run = service.find("runs", head, f"Run with id={head} not found")
        location = run["artifact_uri"]
        return f"{location}/{path}" if path else location
    if scheme != "models":
        return source
    if not path:
        model = service.find("models", head, f"Logged model with ID '{head}' not found.")
        location = model["artifact_uri"]
        return location
    version = service.find(
        "versions", _key(head, path), f"Model Version (name={head}, version={path}) not found"
    )
    location = version["location"]
    return location


def _model_shown(service: Service, model: Row) -> Row:
    return {
        "name": model["name"],
        "creation_timestamp": model["created"],
        "last_updated_timestamp": model["updated"],
        "description": model["description"],
        "latest_versions": [_version_shown(service, version) for version in _latest(service, model["name"])],
        "tags": pairs(model["tags"]),
        "aliases": [{"alias": alias, "version": number} for alias, number in model["aliases"].items()],
    }


def _version_shown(service: Service, version: Row) -> Row:
    aliases = (service.ledger.tables.find("registered", version["name"]) or {"aliases": {}})["aliases"]
    shown: Row = {
        "name": version["name"],
        "version": version["version"],
        "creation_timestamp": version["created"],
        "last_updated_timestamp": version["updated"],
        "current_stage": version["stage"],
        "description": version["description"],
        "source": version["source"],
        "run_id": version["run_id"],
        "run_link": version["run_link"],
        "status": "READY",
        "tags": pairs(version["tags"]),
        "aliases": [alias for alias, number in aliases.items() if number == version["version"]],
    }
    return shown | ({"model_id": version["model_id"]} if version["model_id"] else {})
