"""A run record as JSON, `mlrun/record/v1`, field by field.

Written out by hand so that a renamed field of a value is never a silent change of the format. Reading
ignores fields that it does not know and takes any minor version (`v1.3`); another major version is refused.
Numbers that JSON lacks are the texts `NaN`, `Infinity`, `-Infinity`; bytes that are no UTF-8 are kept as
lone surrogates, escaped. A secret parameter's value is never written.
"""

from __future__ import annotations

import json
import math
import re
from json.encoder import encode_basestring as _quoted
from typing import TYPE_CHECKING, TypeVar, cast, get_args

from mlrun import digest
from mlrun.errors import StoreError
from mlrun.model import (
    Artifact,
    BoundParameter,
    CiFacts,
    CommandFacts,
    Determinism,
    Digest,
    EnvironmentFacts,
    Failure,
    HostFacts,
    Image,
    Metric,
    Origin,
    Package,
    Results,
    RunRecord,
    RunRow,
    SourceFacts,
    Status,
    StepFacts,
    StepState,
    StoredFile,
    Usage,
)
from mlrun.pattern import pattern
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SCHEMA = "mlrun/record/v1"
MASK = "***"
STATUSES: tuple[str, ...] = get_args(Status)

_ORIGINS: tuple[str, ...] = get_args(Origin)
_STEP_STATES: tuple[str, ...] = get_args(StepState)
_VERSION = pattern(r"mlrun/record/v(\d{1,9})(?:\.\d+)*")
_MAJOR = 1
_BUNDLE = "mlrun/bundle/v1"
_ALIKE = ("source", "environment", "env_vars", "determinism", "host")
"""What the steps of a pipeline have in common."""
_LINE = 100  # an object or list that holds no other stays on one line up to this many characters
_WIDEST_INTEGER = 2**63
_ODD_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_compact = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_NESTS = (dict, list)

Json = dict[str, object]
T = TypeVar("T")


def encode(record: RunRecord) -> bytes:
    """The bytes of `record.json`."""
    return _written(to_json(record))


def bundled(records: Iterable[RunRecord]) -> bytes:
    """Many records in few bytes: what they have in common stands there once. Above them, their digest."""
    parts: list[object] = []
    places: dict[int, int] = {}
    contents = []
    for record in records:
        content = to_json(record)
        for name in _ALIKE:
            if part := content[name]:
                if id(part) not in places:
                    places[id(part)] = len(parts)
                    parts.append(part)
                content[name] = places[id(part)]
        contents.append(content)
    text = _compact({"schema": _BUNDLE, "parts": parts, "records": contents})
    body = text.encode("utf-8", "backslashreplace")
    return f"{digest.of_bytes(body)}\n".encode() + body


@positional_value
class Unbundled:
    """A record of a bundle."""

    content: Json

    @property
    def id(self) -> str:
        return cast("str", self.content["id"])

    @property
    def data(self) -> bytes:
        """The bytes of its `record.json`."""
        return _written(self.content)

    @property
    def series_of(self) -> str | None:
        """The run whose series of metrics it shares."""
        parents = cast("dict[str, str]", self.content["parents"])
        return parents.get("cached_from") if self.content["metrics"] else None


def unbundled(data: bytes) -> Iterator[Unbundled]:
    """The records of a bundle. Raises ValueError for a damaged one, StoreError for a later mlrun's."""
    its_digest, _, body = data.partition(b"\n")
    if its_digest != digest.of_bytes(body).encode():
        raise _NotARecordError("it is not what was written")
    content = json.loads(body)
    if content["schema"] != _BUNDLE:
        raise StoreError(
            f"it is written in `{content['schema']}`, which is newer than this mlrun knows",
            code="newer-record",
        )
    parts = content["parts"]
    _forget_parts(len(parts))
    for part in parts:
        _texts[id(part)] = _Part(part, part)
    for each in content["records"]:
        yield Unbundled(each | {name: parts[each[name]] for name in _ALIKE if isinstance(each[name], int)})


def _written(content: Json) -> bytes:
    lines, canonical = [], {}
    for name, value in content.items():
        if isinstance(value, _NESTS) and value:
            text = _laid_out_once(value, "  ")
            canonical[name] = _canonical(value)
        else:
            text = canonical[name] = _scalar(value)
        lines.append(f'  "{name}": {text}')
    lines.append(f'  "digest": "{_digest_of(canonical)}"')
    # `backslashreplace` writes a lone surrogate as `\udc80`, which is just how JSON escapes it.
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("utf-8", "backslashreplace")


def sealed(content: Json) -> Json:
    """A record's JSON with the digest of all the rest at its end, by which a later change is noticed."""
    rest = {name: value for name, value in content.items() if name != "digest"}
    return rest | {"digest": digest.of_value(rest)}


def _digest_of(canonical: dict[str, str]) -> Digest:
    """The same digest, from the canonical text of each field."""
    text = ",".join([f"{_quoted(name)}:{canonical[name]}" for name in sorted(canonical)])
    return digest.of_bytes(f"{{{text}}}".encode("utf-8", "surrogatepass"))


def _canonical(value: object) -> str:
    """`digest.canonical_text` of a part, of what records have in common once."""
    part = _texts.get(id(value))
    if part is None or part.json is not value:
        return digest.canonical_text(value)
    if part.canonical is None:
        part.canonical = digest.canonical_text(value)
    return part.canonical


def is_unedited(data: bytes) -> bool | None:
    """Whether the bytes of a `record.json` are what was written; None where they bear no digest.

    How they are laid out does not matter. Raises ValueError for what is no JSON object.
    """
    content = json.loads(data.decode("utf-8"))
    if not isinstance(content, dict):
        raise _NotARecordError("it must be an object")
    if content.get("digest") is None:
        return None
    return bool(sealed(content)["digest"] == content["digest"])


def dumps(record: RunRecord) -> str:
    """The text of `record.json`, which can be printed."""
    return encode(record).decode("utf-8")


def decode(data: bytes, *, file: str) -> RunRecord:
    """The record in the bytes of `file`.

    Raises StoreError: `corrupt-record` where it is none, `newer-record` where its format is of a later
    major version than this mlrun knows.
    """
    try:
        fields = _Fields(json.loads(data.decode("utf-8")), "")
        _check_version(fields, file)
        return _record(fields)
    except (ValueError, RecursionError, OverflowError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise StoreError(
            f"{file} is not a readable run record: {reason}",
            hint="put back the file from a backup, or remove the run's folder; its log may still be read",
            code="corrupt-record",
        ) from error


def results_of(record: RunRecord) -> Results:
    """Of a record, what counts for those that the run stands in for."""
    return Results(
        id=record.id,
        name=record.name,
        started_at=record.started_at,
        ended_at=record.ended_at,
        duration_s=record.duration_s,
        parameters=tuple(it for it in record.parameters if it.origin == "logged"),
        inputs=tuple(it for it in record.inputs if not it.declared),
        outputs=record.outputs,
        metrics=record.metrics,
        series=record.series,
        observed=record.observed,
    )


def results_to_json(results: Results) -> Json:
    """Results as a JSON value, named as in the record."""
    return {
        "id": results.id,
        "name": results.name,
        "started_at": results.started_at,
        "ended_at": results.ended_at,
        "duration_s": _number(results.duration_s),
        "parameters": {it.name: _parameter_to_json(it) for it in results.parameters},
        "inputs": [_artifact_to_json(it) for it in results.inputs],
        "outputs": [_artifact_to_json(it) for it in results.outputs],
        "metrics": {it.name: _metric_to_json(it) for it in results.metrics},
        "series": results.series,
        "observed": results.observed,
    }


def results(value: object) -> Results:
    """The same read again. Raises ValueError."""
    fields = _Fields(value, "results")
    return Results(
        id=fields.text("id"),
        name=fields.text("name"),
        started_at=fields.text("started_at"),
        ended_at=fields.maybe_text("ended_at"),
        duration_s=fields.maybe_number("duration_s"),
        parameters=tuple([_parameter(name, part) for name, part in fields.named("parameters")]),
        inputs=tuple([_artifact(part) for part in fields.each("inputs")]),
        outputs=tuple([_artifact(part) for part in fields.each("outputs")]),
        metrics=tuple([_metric(name, part) for name, part in fields.named("metrics")]),
        series=fields.maybe_digest("series"),
        observed=fields.maybe_text("observed"),
    )


def row_to_json(row: RunRow) -> Json:
    """One line of a list as a JSON-able value, named as in the record; metrics may be NaN."""
    return {
        "id": row.id,
        "name": row.name,
        "tags": dict(row.tags),
        "project": row.project,
        "target": row.target,
        "entry_point": row.entry_point,
        "user": row.user,
        "status": row.status,
        "exit_code": row.exit_code,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "duration_s": row.duration_s,
        "commit": row.commit,
        "branch": row.branch,
        "dirty": row.dirty,
        "parameters": dict(row.params),
        "metrics": dict(row.metrics),
    }


# --- writing ------------------------------------------------------------------------------------------


def to_json(record: RunRecord) -> Json:
    """The record as a JSON value, in the order in which it is written."""
    return {
        "schema": SCHEMA,
        "id": record.id,
        "name": record.name,
        "tags": dict(record.tags),
        "project": record.project,
        "target": record.target,
        "entry_point": record.entry_point,
        "user": record.user,
        "status": record.status,
        "exit_code": record.exit_code,
        "signal": record.signal,
        "error": _error_to_json(record.error) if record.error else None,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "duration_s": _number(record.duration_s),
        "source": _shared(record.source, _source_to_json),
        "command": _command_to_json(record.command) if record.command else None,
        "parameters": {parameter.name: _parameter_to_json(parameter) for parameter in record.parameters},
        "environment": _shared(record.environment, _environment_to_json),
        "env_vars": _shared(record.env_vars, dict),
        "determinism": _shared(record.determinism, _determinism_to_json),
        "inputs": [_artifact_to_json(artifact) for artifact in record.inputs],
        "outputs": [_artifact_to_json(artifact) for artifact in record.outputs],
        "metrics": {metric.name: _metric_to_json(metric) for metric in record.metrics},
        "resources": _resources_to_json(record.resources) if record.resources else None,
        "host": _shared(record.host, _host_to_json),
        "ci": _ci_to_json(record.ci) if record.ci else None,
        "trigger": record.trigger,
        "parents": dict(record.parents),
        "observed": record.observed,
        "cache_key": record.cache_key,
        "log": record.log,
        **({"series": record.series} if record.series else {}),
        **({"steps": [_step_to_json(step) for step in record.steps]} if record.steps else {}),
        **({"options": dict(record.options)} if record.options else {}),
        "warnings": list(record.warnings),
        "mlrun_version": record.mlrun_version,
    }


class _Part:
    """What some records of one process have in common: the steps of a pipeline, by the hundred."""

    def __init__(self, value: object, json: Json) -> None:
        self.value = value  # held, so that no other can have its identity
        self.json = json
        self.text: str | None = None
        self.canonical: str | None = None


def _forget_parts(new: int) -> None:
    """Make room for some more."""
    if len(_texts) + new > _MOST_PARTS:
        _parts.clear()
        _texts.clear()


_parts: dict[int, _Part] = {}
_texts: dict[int, _Part] = {}
"""The same by the identity of their JSON."""
_MOST_PARTS = 64


def _shared(value: T | None, to_json: Callable[[T], Json]) -> Json | None:
    """The JSON of a part; of the very same value, the very same."""
    if value is None:
        return None
    part = _parts.get(id(value))
    if part is None or part.value is not value:
        _forget_parts(1)
        part = _parts[id(value)] = _Part(value, to_json(value))
        _texts[id(part.json)] = part
    return part.json


def _error_to_json(error: Failure) -> Json:
    return {"code": error.code, "message": error.message, "hint": error.hint}


def _source_to_json(source: SourceFacts) -> Json:
    return {
        "kind": source.kind,
        "url": source.url,
        "version": source.version,
        "commit": source.commit,
        "branch": source.branch,
        "tree": source.tree,
        "dirty": source.dirty,
        "patch": source.patch,
        "untracked": [_file_to_json(file) for file in source.untracked],
        "directory": source.directory,
        "subdirectory": source.subdirectory,
    }


def _file_to_json(file: StoredFile) -> Json:
    return {
        "path": file.path,
        "mode": file.mode,
        "digest": file.digest,
        "size": file.size,
        "stored": file.stored,
    }


def _command_to_json(command: CommandFacts) -> Json:
    return {"text": command.text, "argv": list(command.argv), "cwd": command.cwd}


def _parameter_to_json(parameter: BoundParameter) -> Json:
    """`passed` is what the command saw, where that is not what the user wrote."""
    shown: Json = {
        "value": MASK if parameter.secret else parameter.value,
        "type": parameter.kind,
        "from": parameter.origin,
    }
    if parameter.secret:
        shown["secret"] = True
    elif parameter.text != parameter.value:
        shown["passed"] = parameter.text
    return shown


def _environment_to_json(environment: EnvironmentFacts) -> Json:
    return {
        "kind": environment.kind,
        "python": environment.python,
        "python_asked": environment.python_asked,
        "platform": environment.platform,
        "key": environment.key,
        "lock": environment.lock,
        "lock_kind": environment.lock_kind,
        "resolved_at": environment.resolved_at,
        "as_of": environment.as_of,
        "as_of_why": environment.as_of_why,
        "adaptations": list(environment.adaptations),
        "image": _image_to_json(environment.image) if environment.image else None,
        "asked": environment.asked,
        "reused": environment.reused,
        "build_seconds": _number(environment.build_seconds),
        "packages": [
            {"name": package.name, "version": package.version, "source": package.source}
            for package in environment.packages
        ],
    }


def _image_to_json(image: Image) -> Json:
    return {"name": image.name, "id": image.id, "platform": image.platform, "digest": image.digest}


def _artifact_to_json(artifact: Artifact) -> Json:
    return {
        "path": artifact.path,
        "kind": artifact.kind,
        "digest": artifact.digest,
        "size": artifact.size,
        "files": artifact.files,
        "tree": artifact.tree,
        "declared": artifact.declared,
        "stored": artifact.stored,
        "parameter": artifact.parameter,
        **({"run": artifact.run} if artifact.run else {}),
        **({"reference": artifact.reference} if artifact.reference else {}),
        **({"executable": True} if artifact.executable else {}),
    }


def _determinism_to_json(determinism: Determinism) -> Json:
    return {
        "on": determinism.on,
        "variables": dict(determinism.variables),
        "found": dict(determinism.found),
        "umask": None if determinism.umask is None else f"{determinism.umask:03o}",
    }


def _step_to_json(step: StepFacts) -> Json:
    return {
        "name": step.name,
        "state": step.state,
        "run": step.run,
        "needs": list(step.needs),
        "duration_s": _number(step.duration_s),
    }


def _metric_to_json(metric: Metric) -> Json:
    return {
        "last": _number(metric.last),
        "min": _number(metric.minimum),
        "max": _number(metric.maximum),
        "count": metric.count,
        "step": metric.last_step,
        **({"origin": metric.origin} if metric.origin else {}),
    }


def _resources_to_json(usage: Usage) -> Json:
    return {
        "wall_s": _number(usage.wall_s),
        "cpu_s": _number(usage.cpu_s),
        "max_rss_bytes": usage.max_rss_bytes,
    }


def _host_to_json(host: HostFacts) -> Json:
    return {
        "name": host.name,
        "os": host.os,
        "machine": host.machine,
        "cpu": host.cpu,
        "cores": host.cores,
        "memory": host.memory,
        "gpus": list(host.gpus),
    }


def _ci_to_json(ci: CiFacts) -> Json:
    return {"provider": ci.provider, "run_url": ci.run_url, "facts": dict(ci.facts)}


def _number(value: float | None) -> float | str | None:
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _laid_out(value: object, indent: str = "") -> str:
    """Indented JSON in which a short leaf object stays on one line, as a person would write it."""
    if not isinstance(value, _NESTS) or not value:
        return _scalar(value)
    inner = indent + "  "
    items: Iterable[object] = value.values() if isinstance(value, dict) else value
    if indent and _holds_no_other(items):
        line = _compact(value)
        if len(line) <= _LINE:
            return line
    if isinstance(value, dict):
        lines = [
            f"{inner}{_quoted(key)}: {_quoted(item) if type(item) is str else _laid_out_once(item, inner)}"
            for key, item in value.items()
        ]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + _laid_out(item, inner) for item in value) + f"\n{indent}]"


def _holds_no_other(items: Iterable[object]) -> bool:
    for item in items:  # noqa: SIM110  a generator costs twice as much
        if item and isinstance(item, _NESTS):
            return False
    return True


def _laid_out_once(value: object, indent: str) -> str:
    if not isinstance(value, _NESTS) or not value:
        return _scalar(value)
    part = _texts.get(id(value))
    if part is None or part.json is not value:
        return _laid_out(value, indent)
    if part.text is None:
        part.text = _laid_out(value, indent)
    return part.text


def _scalar(value: object) -> str:
    """What the encoder makes of it, for the usual kinds without its preparations."""
    kind = type(value)
    if kind is str:
        return _quoted(cast("str", value))
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    return repr(value) if kind is int else _compact(value)


# --- reading ------------------------------------------------------------------------------------------


class _NotARecordError(ValueError):
    """The JSON is not what a record must be."""


_read_before: dict[str, tuple[object, object]] = {}


class _Fields:
    """A JSON object being read: each method takes one field and insists on its type; null is absent."""

    def __init__(self, value: object, place: str) -> None:
        if not isinstance(value, dict):
            raise _NotARecordError(f"`{place}` must be an object" if place else "it must be an object")
        self._values: Json = value
        self._place = place

    def text(self, name: str, default: str | None = None) -> str:
        value = self._values.get(name)
        if isinstance(value, str):
            return value
        if value is not None:
            raise _NotARecordError(f"`{self._path(name)}` must be text")
        if default is None:
            raise _NotARecordError(f"`{self._path(name)}` is missing")
        return default

    def maybe_text(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is None or isinstance(value, str):
            return value
        raise _NotARecordError(f"`{self._path(name)}` must be text")

    def maybe_digest(self, name: str) -> Digest | None:
        return cast("Digest | None", self.maybe_text(name))

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name)
        if value not in allowed:
            raise _NotARecordError(f"`{self._path(name)}` must be one of {', '.join(allowed)}, not `{value}`")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self._of(name, bool, "true or false")
        return default if value is None else bool(value)

    def integer(self, name: str, default: int) -> int:
        value = self.maybe_integer(name)
        return default if value is None else value

    def maybe_integer(self, name: str) -> int | None:
        value = self._of(name, int, "a whole number")
        if isinstance(value, bool) or (isinstance(value, int) and abs(value) >= _WIDEST_INTEGER):
            raise _NotARecordError(f"`{self._path(name)}` must be a whole number of at most 64 bits")
        return cast("int | None", value)

    def number(self, name: str) -> float:
        value = self.maybe_number(name)
        if value is None:
            raise _NotARecordError(f"`{self._path(name)}` is missing")
        return value

    def maybe_number(self, name: str) -> float | None:
        value = self._values.get(name)
        if isinstance(value, str) and value in _ODD_NUMBERS:
            return _ODD_NUMBERS[value]
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise _NotARecordError(f"`{self._path(name)}` must be a number")
        return None if value is None else float(value)

    def texts(self, name: str) -> tuple[str, ...]:
        values = self._list(name)
        if not all(isinstance(value, str) for value in values):
            raise _NotARecordError(f"`{self._path(name)}` must hold texts")
        return tuple(cast("list[str]", values))

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        fields = self.part(name)
        return tuple([(key, fields.text(key)) for key in fields.names()]) if fields else ()

    def maybe_pairs(self, name: str) -> tuple[tuple[str, str | None], ...]:
        fields = self.part(name)
        return tuple([(key, fields.maybe_text(key)) for key in fields.names()]) if fields else ()

    def alike(self, name: str, read: Callable[[_Fields, str], T]) -> T:
        """A part that many records have in common: what is as it was in the one before is read once."""
        value, before = self._values.get(name), _read_before.get(name)
        if before is not None and before[0] == value:
            return cast("T", before[1])
        found = read(self, name)
        _read_before[name] = (value, found)
        return found

    def part(self, name: str) -> _Fields | None:
        value = self._values.get(name)
        return None if value is None else _Fields(value, self._path(name))

    def required_part(self, name: str) -> _Fields:
        return _Fields(self._values.get(name), self._path(name))

    def each(self, name: str) -> list[_Fields]:
        return [_Fields(item, f"{self._path(name)}[{index}]") for index, item in enumerate(self._list(name))]

    def named(self, name: str) -> list[tuple[str, _Fields]]:
        if self._values.get(name) in (None, {}):
            return []
        fields = self.required_part(name)
        return [(key, fields.required_part(key)) for key in fields.names()]

    def names(self) -> list[str]:
        return list(self._values)

    def _list(self, name: str) -> list[object]:
        return cast("list[object]", self._of(name, list, "a list") or [])

    def _of(self, name: str, wanted: type, words: str) -> object:
        value = self._values.get(name)
        if value is not None and not isinstance(value, wanted):
            raise _NotARecordError(f"`{self._path(name)}` must be {words}")
        return value

    def _path(self, name: str) -> str:
        return f"{self._place}.{name}" if self._place else name


def _check_version(fields: _Fields, file: str) -> None:
    schema = fields.text("schema")
    if schema == SCHEMA:
        return
    version = _VERSION.fullmatch(schema)
    if version is None:
        raise _NotARecordError(f"its schema is `{schema}`, not `{SCHEMA}`")
    if int(version[1]) > _MAJOR:
        raise StoreError(
            f"{file} is written in `{schema}`, which is newer than this mlrun knows (`{SCHEMA}`)",
            hint="upgrade mlrun",
            code="newer-record",
        )


def _record(fields: _Fields) -> RunRecord:
    return RunRecord(
        id=fields.text("id"),
        name=fields.text("name"),
        status=cast("Status", fields.one_of("status", STATUSES)),
        project=fields.text("project"),
        target=fields.text("target"),
        entry_point=fields.text("entry_point"),
        started_at=fields.text("started_at"),
        mlrun_version=fields.text("mlrun_version"),
        tags=fields.pairs("tags"),
        user=fields.maybe_text("user"),
        ended_at=fields.maybe_text("ended_at"),
        duration_s=fields.maybe_number("duration_s"),
        exit_code=fields.maybe_integer("exit_code"),
        signal=fields.maybe_text("signal"),
        error=_error(fields.part("error")),
        source=fields.alike("source", lambda its, name: _source(its.part(name))),
        command=_command(fields.part("command")),
        parameters=tuple(_parameter(name, part) for name, part in fields.named("parameters")),
        environment=fields.alike("environment", lambda its, name: _environment(its.part(name))),
        env_vars=fields.alike("env_vars", _Fields.maybe_pairs),
        inputs=tuple(_artifact(part) for part in fields.each("inputs")),
        outputs=tuple(_artifact(part) for part in fields.each("outputs")),
        metrics=tuple(_metric(name, part) for name, part in fields.named("metrics")),
        resources=_resources(fields.part("resources")),
        host=fields.alike("host", lambda its, name: _host(its.part(name))),
        ci=_ci(fields.part("ci")),
        trigger=fields.text("trigger", "cli"),
        parents=fields.pairs("parents"),
        warnings=fields.texts("warnings"),
        observed=fields.maybe_text("observed"),
        cache_key=fields.maybe_digest("cache_key"),
        log=fields.maybe_digest("log"),
        series=fields.maybe_digest("series"),
        determinism=fields.alike("determinism", lambda its, name: _determinism(its.part(name))),
        steps=tuple(_step(part) for part in fields.each("steps")),
        options=fields.pairs("options"),
    )


def _error(fields: _Fields | None) -> Failure | None:
    if fields is None:
        return None
    return Failure(code=fields.text("code"), message=fields.text("message"), hint=fields.maybe_text("hint"))


def _source(fields: _Fields | None) -> SourceFacts | None:
    if fields is None:
        return None
    return SourceFacts(
        kind=fields.text("kind"),
        tree=fields.text("tree"),
        directory=fields.text("directory"),
        subdirectory=fields.text("subdirectory", ""),
        url=fields.maybe_text("url"),
        version=fields.maybe_text("version"),
        commit=fields.maybe_text("commit"),
        branch=fields.maybe_text("branch"),
        dirty=fields.flag("dirty"),
        patch=fields.maybe_digest("patch"),
        untracked=tuple(_file(part) for part in fields.each("untracked")),
    )


def _file(fields: _Fields) -> StoredFile:
    return StoredFile(
        path=fields.text("path"),
        mode=fields.text("mode"),
        digest=Digest(fields.text("digest")),
        size=fields.integer("size", 0),
        stored=fields.flag("stored", default=True),
    )


def _command(fields: _Fields | None) -> CommandFacts | None:
    if fields is None:
        return None
    return CommandFacts(text=fields.text("text"), argv=fields.texts("argv"), cwd=fields.text("cwd"))


def _parameter(name: str, fields: _Fields) -> BoundParameter:
    value = fields.text("value")
    return BoundParameter(
        name=name,
        value=value,
        text=fields.text("passed", value),
        kind=fields.text("type"),
        origin=cast("Origin", fields.one_of("from", _ORIGINS)),
        secret=fields.flag("secret"),
    )


def _environment(fields: _Fields | None) -> EnvironmentFacts | None:
    if fields is None:
        return None
    return EnvironmentFacts(
        kind=fields.text("kind"),
        key=fields.maybe_digest("key"),
        asked=fields.text("asked", ""),
        python=fields.maybe_text("python"),
        python_asked=fields.maybe_text("python_asked"),
        platform=fields.text("platform", ""),
        lock=fields.maybe_digest("lock"),
        lock_kind=fields.maybe_text("lock_kind"),
        resolved_at=fields.maybe_text("resolved_at"),
        as_of=fields.maybe_text("as_of"),
        as_of_why=fields.maybe_text("as_of_why"),
        adaptations=fields.texts("adaptations"),
        image=_image(fields.part("image")),
        reused=fields.flag("reused"),
        build_seconds=fields.maybe_number("build_seconds") or 0.0,
        packages=tuple(_package(part) for part in fields.each("packages")),
    )


def _image(fields: _Fields | None) -> Image | None:
    if fields is None:
        return None
    return Image(
        name=fields.text("name"),
        id=fields.text("id"),
        platform=fields.text("platform", ""),
        digest=fields.maybe_text("digest"),
    )


def _package(fields: _Fields) -> Package:
    return Package(
        name=fields.text("name"), version=fields.text("version"), source=fields.maybe_text("source")
    )


def _artifact(fields: _Fields) -> Artifact:
    return Artifact(
        path=fields.text("path"),
        kind=fields.text("kind"),
        digest=fields.maybe_digest("digest"),
        size=fields.integer("size", 0),
        files=fields.integer("files", 1),
        tree=fields.flag("tree"),
        declared=fields.flag("declared", default=True),
        stored=fields.flag("stored"),
        parameter=fields.maybe_text("parameter"),
        run=fields.maybe_text("run"),
        reference=fields.maybe_text("reference"),
        executable=fields.flag("executable"),
    )


def _determinism(fields: _Fields | None) -> Determinism | None:
    if fields is None:
        return None
    umask = fields.maybe_text("umask")
    if umask is not None and not re.fullmatch(r"[0-7]{3,4}", umask):
        raise _NotARecordError("`determinism.umask` must be an octal number of three digits")
    return Determinism(
        on=fields.flag("on", default=True),
        variables=fields.pairs("variables"),
        found=fields.pairs("found"),
        umask=None if umask is None else int(umask, 8),
    )


def _step(fields: _Fields) -> StepFacts:
    return StepFacts(
        name=fields.text("name"),
        run=fields.text("run"),
        needs=fields.texts("needs"),
        state=cast("StepState", fields.one_of("state", _STEP_STATES)),
        duration_s=fields.maybe_number("duration_s"),
    )


def _metric(name: str, fields: _Fields) -> Metric:
    return Metric(
        name=name,
        last=fields.number("last"),
        minimum=fields.number("min"),
        maximum=fields.number("max"),
        count=fields.integer("count", 1),
        last_step=fields.maybe_integer("step"),
        origin=fields.maybe_text("origin"),
    )


def _resources(fields: _Fields | None) -> Usage | None:
    if fields is None:
        return None
    return Usage(
        wall_s=fields.number("wall_s"),
        cpu_s=fields.number("cpu_s"),
        max_rss_bytes=fields.integer("max_rss_bytes", 0),
    )


def _host(fields: _Fields | None) -> HostFacts | None:
    if fields is None:
        return None
    return HostFacts(
        name=fields.text("name"),
        os=fields.text("os"),
        machine=fields.text("machine"),
        cpu=fields.maybe_text("cpu"),
        cores=fields.maybe_integer("cores"),
        memory=fields.maybe_integer("memory"),
        gpus=fields.texts("gpus"),
    )


def _ci(fields: _Fields | None) -> CiFacts | None:
    if fields is None:
        return None
    return CiFacts(
        provider=fields.text("provider"), run_url=fields.maybe_text("run_url"), facts=fields.pairs("facts")
    )
