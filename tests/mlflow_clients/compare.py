"""What two servers know after the same script, made comparable: without ids, times, places and order."""

from __future__ import annotations

import json
from typing import Any

TIMES = {
    "start_time", "end_time", "creation_time", "last_update_time", "creation_timestamp", "timestamp",
    "last_updated_timestamp", "creation_timestamp_ms", "last_updated_timestamp_ms",
}  # fmt: skip
PLACES = {"artifact_location", "artifact_uri"}
_LEFT_OUT = {*PLACES, "aliases"}  # a list of versions lacks theirs there; those of the model tell as much
_CHANCE = {"mlflow.source.git.commit", "mlflow.modelVersions"}
"""Tags that the moment decides; and one in which MLflow's server notes what its client has noted already."""
_MORE = ("registrations", "model_id")
"""What our answers tell of models and their versions, and the server's of 3.17 leave out."""
_LARGEST = 1.7976931348623157e308  # what a database keeps of infinity


def comparable(known: dict[str, Any]) -> dict[str, Any]:
    """The same for two servers that tell a client the same."""
    names = {each["experiment_id"]: each["name"] for each in known["experiments"]}
    runs = {each["info"]["run_id"]: each["info"]["run_name"] for each in known["runs"]}
    models = {each["info"]["model_id"]: each["info"]["name"] for each in known["logged"]}
    known_ids = {
        **{key: f"run {name}" for key, name in runs.items()},
        **{key: f"model {it}" for key, it in models.items()},
    }

    def plain(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            entries = {name: plain(it, name) for name, it in value.items() if name not in _LEFT_OUT}
            return {name: it for name, it in entries.items() if it not in ("", [], {}, None, 0)}
        if isinstance(value, list):
            kept = [each for each in value if not (isinstance(each, dict) and each.get("key") in _CHANCE)]
            return sorted((plain(each, key) for each in kept), key=_order)
        if key in TIMES:
            return bool(int(value))
        if key == "experiment_id":
            return names[value]
        if value == _LARGEST:
            return "Infinity"
        if isinstance(value, str):
            for one, other in known_ids.items():
                value = value.replace(one, other)
            for place in ("mlflow-artifacts:", "file:"):
                if value.startswith(place):
                    return (
                        "…" + value[value.rindex("run ") :].replace("/artifacts/", "/")
                        if "run " in value
                        else "…"
                    )
        return value

    return {
        "experiments": {each["name"]: plain(each) for each in known["experiments"]},
        "runs": {each["info"]["run_name"]: plain(each) for each in known["runs"]},
        "aliases": [each.get("aliases", []) for each in known["models"]],
        **{name: plain(known.get(name, [])) for name in ("models", "versions", "logged")},
        "found": known["found"],
        "refusals": known["refusals"],
    }


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two values differ, a line each."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            line
            for key in sorted({*one, *other}, key=str)
            for line in differences(one.get(key), other.get(key), f"{path}.{key}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            line
            for index, pair in enumerate(zip(one, other, strict=True))
            for line in differences(*pair, f"{path}[{index}]")
        ]
    return [] if one == other else [f"{path}: {one!r} here, {other!r} there"]


def beyond(found: list[str]) -> list[str]:
    """Differences but for those where we merely tell more."""
    return [
        line for line in found if not (line.partition(":")[0].endswith(_MORE) and line.endswith("None there"))
    ]


def _order(value: Any) -> tuple[str, str]:
    """By what tells things apart, then by all of it."""
    facts = value if isinstance(value, dict) else {}
    first = next((str(facts[name]) for name in ("path", "version", "key", "name") if name in facts), "")
    return first, json.dumps(value, sort_keys=True)
