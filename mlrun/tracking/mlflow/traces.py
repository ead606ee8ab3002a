"""Calls about traces: kept as they come, so that code which makes them goes on; their spans are artifacts.

Clients before 3.0 have one form of what is known of a trace, later ones another; a trace of either is
shown in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.tracking.mlflow import experiments, ledger, runs, search
from mlrun.tracking.mlflow.calls import Fields, Service, checked_tags, invalid, new_id, page, pairs

if TYPE_CHECKING:
    from mlrun.tracking.mlflow.ledger import Row

_LOCATION = "mlflow.artifactLocation"
_STATES = {"STATE_UNSPECIFIED": "TRACE_STATUS_UNSPECIFIED"}


# --- since 3.0 ----------------------------------------------------------------------------------------


def start(service: Service, call: Fields) -> Row:
    info = call.part("trace").part("trace_info")
    experiment_id = info.part("trace_location").part("mlflow_experiment").text("experiment_id", "0")
    experiments.found(service, experiment_id)
    trace_id = info.text("trace_id", "") or f"tr-{new_id()}"
    trace = _row(
        service,
        trace_id,
        experiment_id,
        began=_milliseconds(info.text("request_time", "")),
        tags=info.pairs("tags"),
        metadata=info.pairs("trace_metadata"),
    )
    kept = ("client_request_id", "request_preview", "response_preview", "request_time", "execution_duration")
    trace |= {name: text for name in kept if (text := info.maybe(name)) is not None}
    trace |= {"state": info.text("state", "OK"), "took": _duration(info.text("execution_duration", "0s"))}
    service.ledger.write("traces", service.now(), ledger.put("traces", trace_id, trace))
    return {"trace": {"trace_info": _shown(trace)}}


def get(service: Service, call: Fields) -> Row:
    return {"trace": {"trace_info": _shown(_found(service, call))}}


def search_traces(service: Service, call: Fields) -> Row:
    wanted = {each.part("mlflow_experiment").text("experiment_id", "") for each in call.parts("locations")}
    shown, further = _searched(service, call, wanted)
    return {"traces": [_shown(trace) for trace in shown], **further}


def assess(service: Service, call: Fields) -> Row:
    trace = _found(service, call)
    assessment = {**call.part("assessment").given, "assessment_id": f"a-{new_id()}"}
    service.ledger.write(
        "traces/assessments",
        service.now(),
        ledger.add("traces", trace["trace_id"], "assessments", [assessment]),
    )
    return {"assessment": assessment}


# --- before 3.0 ---------------------------------------------------------------------------------------


def start_v2(service: Service, call: Fields) -> Row:
    experiment_id = call.text("experiment_id", "0")
    experiments.found(service, experiment_id)
    trace = _row(
        service,
        f"tr-{new_id()}",
        experiment_id,
        began=call.number("timestamp_ms", 0),
        tags=call.pairs("tags"),
        metadata=call.pairs("request_metadata"),
    )
    service.ledger.write("traces", service.now(), ledger.put("traces", trace["trace_id"], trace))
    return {"trace_info": _shown_v2(trace)}


def end_v2(service: Service, call: Fields) -> Row:
    trace = _found(service, call)
    key = trace["trace_id"]
    service.ledger.write(
        "traces/end",
        service.now(),
        ledger.alter(
            "traces",
            key,
            state=call.text("status", "OK"),
            took=max(0, call.number("timestamp_ms", trace["began"]) - trace["began"]),
        ),
        ledger.merge("traces", key, "metadata", dict(call.pairs("request_metadata"))),
        ledger.merge("traces", key, "tags", dict(checked_tags(call.pairs("tags")))),
    )
    return {"trace_info": _shown_v2(trace)}


def get_v2(service: Service, call: Fields) -> Row:
    return {"trace_info": _shown_v2(_found(service, call))}


def search_v2(service: Service, call: Fields) -> Row:
    shown, further = _searched(service, call, set(call.texts("experiment_ids")))
    return {"traces": [_shown_v2(trace) for trace in shown], **further}


# --- both ---------------------------------------------------------------------------------------------


def set_tag(service: Service, call: Fields) -> Row:
    tags = checked_tags({call.text("key"): call.text("value", "")})
    change = ledger.merge("traces", _found(service, call)["trace_id"], "tags", dict(tags))
    service.ledger.write("traces/tags", service.now(), change)
    return {}


def delete_tag(service: Service, call: Fields) -> Row:
    trace, key = _found(service, call), call.text("key")
    if key in trace["tags"]:
        change = ledger.merge("traces", trace["trace_id"], "tags", {key: None})
        service.ledger.write("traces/tags", service.now(), change)
    return {}


def delete(service: Service, call: Fields) -> Row:
    experiment_id = call.text("experiment_id")
    wanted = set(call.texts("request_ids")) | set(call.texts("trace_ids"))
    before, most = call.number("max_timestamp_millis", 0), call.number("max_traces", 10**9)
    gone = [
        trace["trace_id"]
        for trace in service.rows("traces")
        if trace["experiment_id"] == experiment_id
        and (trace["trace_id"] in wanted or (before and trace["began"] <= before))
    ][:most]
    changes = [ledger.drop("traces", trace_id) for trace_id in gone]
    service.ledger.write("traces/delete-traces", service.now(), *changes)
    return {"traces_deleted": len(gone)}


def link_to_run(service: Service, call: Fields) -> Row:
    run = runs.found(service, call)
    changes = [
        ledger.merge("traces", trace_id, "metadata", {"mlflow.sourceRun": run["run_id"]})
        for trace_id in call.texts("trace_ids")
        if service.ledger.tables.find("traces", trace_id) is not None
    ]
    service.ledger.write("traces/link-to-run", service.now(), *changes)
    return {}


def _row(
    service: Service,
    trace_id: str,
    experiment_id: str,
    *,
    began: int,
    tags: dict[str, str],
    metadata: dict[str, str],
) -> Row:
    if not trace_id.replace("-", "").isalnum() or len(trace_id) > 100:  # it names a folder of ours
        raise invalid(f"Invalid trace ID: '{trace_id[:100]}'")
    return {
        "trace_id": trace_id,
        "experiment_id": experiment_id,
        "began": began,
        "took": 0,
        "state": "IN_PROGRESS",
        "metadata": metadata,
        "tags": {**checked_tags(tags), _LOCATION: f"{service.base}/{trace_id}"},
        "assessments": [],
    }


def _found(service: Service, call: Fields) -> Row:
    trace_id = call.maybe("trace_id") or call.text("request_id")
    return service.find("traces", trace_id, f"Trace with ID '{trace_id}' not found.")


def _searched(service: Service, call: Fields, wanted: set[str]) -> tuple[list[Row], Row]:
    rows = [trace for trace in service.rows("traces") if trace["experiment_id"] in wanted]
    rows = search.chosen(rows, call.maybe("filter"), _look)
    rows = search.ordered(rows, [*call.texts("order_by"), "timestamp_ms DESC"], _look)
    return page(rows, call, default=100, largest=50_000)


def _look(trace: Row, kind: str, key: str) -> str | float | None:
    it: str | float | None
    if kind in {"tag", "metadata"}:
        it = trace["tags" if kind == "tag" else "metadata"].get(key)
        return it
    fields = {
        "timestamp_ms": "began", "timestamp": "began", "request_time": "began", "execution_time_ms": "took",
        "execution_time": "took", "execution_duration": "took", "status": "state", "state": "state",
        "trace_id": "trace_id", "request_id": "trace_id", "experiment_id": "experiment_id",
    }  # fmt: skip
    if key == "run_id":
        it = trace["metadata"].get("mlflow.sourceRun")
        return it
    if key == "name":
        it = trace["tags"].get("mlflow.traceName")
        return it
    if kind != "attribute" or key not in fields:
        raise invalid(f"Invalid attribute key '{key}' specified.")
    it = trace[fields[key]]
    return it


def _shown(trace: Row) -> Row:
    kept = ("client_request_id", "request_preview", "response_preview")
    return {
        "trace_id": trace["trace_id"],
        "trace_location": {
            "type": "MLFLOW_EXPERIMENT",
            "mlflow_experiment": {"experiment_id": trace["experiment_id"]},
        },
        "request_time": trace.get("request_time") or _text_of(trace["began"]),
        "execution_duration": trace.get("execution_duration") or f"{trace['took'] / 1000:.3f}s",
        "state": trace["state"],
        "trace_metadata": trace["metadata"],
        "tags": trace["tags"],
        "assessments": trace["assessments"],
        **{name: trace[name] for name in kept if name in trace},
    }


def _shown_v2(trace: Row) -> Row:
    return {
        "request_id": trace["trace_id"],
        "experiment_id": trace["experiment_id"],
        "timestamp_ms": trace["began"],
        "execution_time_ms": trace["took"],
        "status": _STATES.get(trace["state"], trace["state"]),
        "request_metadata": pairs(trace["metadata"]),
        "tags": pairs(trace["tags"]),
    }


def _milliseconds(text: str) -> int:
    """Milliseconds since the epoch of `2026-11-21T08:00:00.123Z`; 0 for what is none."""
    from datetime import datetime

    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0


def _text_of(milliseconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _duration(text: str) -> int:
    """Milliseconds of `1.5s`."""
    try:
        return round(float(text.removesuffix("s")) * 1000)
    except (ValueError, OverflowError):
        return 0
