"""From a request to the call that answers it: who may ask, what is asked, and how a refusal reads.

The table is MLflow's REST interface as its clients from 0.9 to 3.18 use it.
"""

from __future__ import annotations

import binascii
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from mlrun.digest import of_bytes
from mlrun.tracking.mlflow import artifacts, experiments, ledger, logged_models, registry, runs, traces
from mlrun.tracking.mlflow.calls import STATUS, Fields, Refused, Service
from mlrun.tracking.mlflow.http import Malformed, Reply, Request
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlrun.tracking.mlflow.ledger import Row

    Call = Callable[[Service, Fields], Row]

_LARGEST = 64 << 20  # bytes of a call's JSON: a batch is a megabyte at most, a data set's profile 16
_PREFIX = re.compile(r"/(?:ajax-)?api/(?:2\.0/preview/mlflow|(?P<version>[23]\.0)/mlflow)/(?P<rest>.+)")
_FILES = re.compile(r"/(?:ajax-)?api/2\.0/mlflow-artifacts/artifacts(?P<path>/.*)?")
_VERSION = "3.3.0"
"""Of the interface: later clients send spans as protobuf to those who call themselves newer, else as JSON."""

_CALLS: dict[str, Call] = {
    "POST experiments/create": experiments.create,
    "GET experiments/get": experiments.get,
    "GET experiments/get-by-name": experiments.get_by_name,
    "GET experiments/list": experiments.list_experiments,
    "POST experiments/search": experiments.search_experiments,
    "GET experiments/search": experiments.search_experiments,
    "POST experiments/delete": experiments.delete,
    "POST experiments/restore": experiments.restore,
    "POST experiments/update": experiments.update,
    "POST experiments/set-experiment-tag": experiments.set_tag,
    "POST experiments/delete-experiment-tag": experiments.delete_tag,
    "POST experiments/search-datasets": runs.search_datasets,
    "POST runs/create": runs.create,
    "GET runs/get": runs.get,
    "POST runs/update": runs.update,
    "POST runs/delete": runs.delete,
    "POST runs/restore": runs.restore,
    "POST runs/search": runs.search_runs,
    "POST runs/log-metric": runs.log_metric,
    "POST runs/log-parameter": runs.log_parameter,
    "POST runs/log-batch": runs.log_batch,
    "POST runs/log-model": runs.log_model,
    "POST runs/log-inputs": runs.log_inputs,
    "POST runs/outputs": runs.log_outputs,
    "POST runs/set-tag": runs.set_tag,
    "POST runs/delete-tag": runs.delete_tag,
    "GET metrics/get-history": runs.history,
    "GET metrics/get-history-bulk": runs.history_of_many,
    "GET metrics/get-history-bulk-interval": runs.history_of_many,
    "POST logged-models": logged_models.create,
    "POST logged-models/search": logged_models.search_models,
    "GET logged-models/{model_id}": logged_models.get,
    "PATCH logged-models/{model_id}": logged_models.finalize,
    "DELETE logged-models/{model_id}": logged_models.delete,
    "PATCH logged-models/{model_id}/tags": logged_models.set_tags,
    "DELETE logged-models/{model_id}/tags/{tag_key}": logged_models.delete_tag,
    "POST logged-models/{model_id}/params": logged_models.log_params,
    "POST registered-models/create": registry.create_model,
    "GET registered-models/get": registry.get_model,
    "POST registered-models/rename": registry.rename_model,
    "PATCH registered-models/update": registry.update_model,
    "DELETE registered-models/delete": registry.delete_model,
    "GET registered-models/search": registry.search_models,
    "GET registered-models/list": registry.list_models,
    "GET registered-models/get-latest-versions": registry.latest_versions,
    "POST registered-models/get-latest-versions": registry.latest_versions,
    "POST registered-models/set-tag": registry.set_model_tag,
    "DELETE registered-models/delete-tag": registry.delete_model_tag,
    "POST registered-models/alias": registry.set_alias,
    "DELETE registered-models/alias": registry.delete_alias,
    "GET registered-models/alias": registry.get_by_alias,
    "POST model-versions/create": registry.create_version,
    "GET model-versions/get": registry.get_version,
    "PATCH model-versions/update": registry.update_version,
    "POST model-versions/transition-stage": registry.transition,
    "DELETE model-versions/delete": registry.delete_version,
    "GET model-versions/search": registry.search_versions,
    "GET model-versions/get-download-uri": registry.download_uri,
    "POST model-versions/set-tag": registry.set_version_tag,
    "DELETE model-versions/delete-tag": registry.delete_version_tag,
    "POST traces/delete-traces": traces.delete,
    "POST traces/link-to-run": traces.link_to_run,
    "PATCH traces/{trace_id}/tags": traces.set_tag,
    "DELETE traces/{trace_id}/tags": traces.delete_tag,
}
_CALLS_BY_VERSION: dict[str, dict[str, Call]] = {
    "2.0": {
        "POST traces": traces.start_v2,
        "GET traces": traces.search_v2,
        "PATCH traces/{trace_id}": traces.end_v2,
        "GET traces/{trace_id}/info": traces.get_v2,
    },
    "3.0": {
        "POST traces": traces.start,
        "POST traces/search": traces.search_traces,
        "GET traces/{trace_id}": traces.get,
        "POST traces/{trace_id}/assessments": traces.assess,
    },
}
_UNLOCKED = {
    "GET metrics/get-history",
    "GET metrics/get-history-bulk",
    "GET metrics/get-history-bulk-interval",
}
"""They read a file that only grows, perhaps a long one."""


@positional_value
class Access:
    """Who may ask: whoever shows the token, or a name and password that the caller had set for clients."""

    token: str
    pairs: tuple[tuple[str, str], ...] = ()

    def allows(self, authorization: str) -> bool:
        scheme, _, shown = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return _same(shown.strip(), self.token)
        if scheme.lower() != "basic":
            return False
        try:
            name, _, password = binascii.a2b_base64(shown).decode().partition(":")
        except ValueError:
            return False
        expected = [f"{user}:{secret}" for user, secret in self.pairs]
        return _same(password, self.token) or any(_same(f"{name}:{password}", pair) for pair in expected)


class Router:
    """The handler of an endpoint's server."""

    def __init__(self, service: Service, access: Access) -> None:
        self._service = service
        self._access = access
        self._root: Path = service.ledger.folder.artifacts

    def __call__(self, request: Request) -> Reply:
        """Raises Malformed where the request cannot be read to its end."""
        if request.path in {"/health", "/version"}:
            text = "OK" if request.path == "/health" else _VERSION
            return Reply(content=text.encode(), kind="text/plain; charset=utf-8", trusted=False)
        if not self._access.allows(request.headers.get("authorization", "")):
            return _stranger()
        try:
            return self._answer(request)
        except Refused as refusal:
            return _refused(refusal)
        except OSError as error:
            return _refused(Refused("IO_ERROR", f"mlrun cannot write it down: {error.strerror}"))
        except (Malformed, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  a bug of ours must not take the program's run with it
            self._note(f"{request.method} {unquote(request.path)} ({type(error).__name__})")
            return _refused(Refused("FEATURE_DISABLED", f"mlrun's endpoint failed: {type(error).__name__}"))

    def _answer(self, request: Request) -> Reply:
        files = _FILES.fullmatch(request.path)
        if files is not None:
            return self._files(request, unquote(files["path"] or "", errors="surrogateescape"))
        method = "GET" if request.method == "HEAD" else request.method
        match = _PREFIX.fullmatch(request.path)
        if match is not None and match["rest"] == "server-info":
            return _json(_SERVER)
        if match is not None and match["rest"] == "artifacts/list" and method == "GET":
            return self._listed(self._fields(request))
        found = None if match is None else _find(method, match["version"] or "2.0", match["rest"])
        if found is None:
            return self._unknown(request)
        call, key, parts = found
        fields = self._fields(request, parts)
        if key in _UNLOCKED:
            return _json(call(self._service, fields))
        with self._service.ledger.lock:
            return _json(call(self._service, fields))

    def _fields(self, request: Request, parts: dict[str, str] | None = None) -> Fields:
        """What is in the query, over it what is in the body, over both what is in the path."""
        given: Row = dict(parse_qs(request.query, keep_blank_values=True, errors="surrogateescape"))
        data = request.body.whole(_LARGEST)
        if data.strip():
            try:
                body = json.loads(data)
            except (ValueError, RecursionError):
                raise Refused("BAD_REQUEST", "The body is no JSON.") from None
            if not isinstance(body, dict):
                raise Refused("BAD_REQUEST", "The body is no JSON object.")
            given |= body
        return Fields(given | (parts or {}))

    def _files(self, request: Request, path: str) -> Reply:
        if request.method == "PUT":
            artifacts.upload(self._root, artifacts.parts(path), request.body)
            return _json({})
        if request.method == "DELETE":
            artifacts.remove(self._root, artifacts.parts(path))
            return _json({})
        if request.method not in {"GET", "HEAD"}:
            return self._unknown(request)
        if path.strip("/"):
            return artifacts.download(self._root, artifacts.parts(path))
        below = artifacts.parts(self._fields(request).text("path", ""))
        return _json({"files": artifacts.listing(self._root, below)})

    def _listed(self, call: Fields) -> Reply:
        """A run's artifacts, by the run and not by their place."""
        with self._service.ledger.lock:
            run = runs.found(self._service, call)
        path = artifacts.parts(call.text("path", ""))
        rows = artifacts.listing(self._root, (run["run_id"], *path))
        files = [{**row, "path": "/".join((*path, row["path"]))} for row in rows]
        return _json({"root_uri": run["artifact_uri"], "files": files})

    def _unknown(self, request: Request) -> Reply:
        name = f"{request.method} {unquote(request.path)}"
        self._note(name)
        return _refused(
            Refused("ENDPOINT_NOT_FOUND", f"mlrun's tracking endpoint does not know {name[:300]}")
        )

    def _note(self, name: str) -> None:
        """Once of each, and not without end."""
        book, key = self._service.ledger, name[:300]
        with book.lock:
            known = book.tables.rows("unknown")
            if key not in known and len(known) < 100:
                try:
                    book.write("unknown", self._service.now(), ledger.put("unknown", key, {}))
                except OSError:
                    return


_SERVER: Row = {
    "store_type": "SqlStore",
    "workspaces_enabled": False,
    "trace_archival_enabled": False,
    "multipart_uploads_enabled": False,
    "multipart_downloads_enabled": False,
    "artifact_serving_enabled": True,
}


def _find(method: str, version: str, path: str) -> tuple[Call, str, dict[str, str]] | None:
    """The call of a path, its key in the table, and what its placeholders stand for."""
    names = path.strip("/").split("/")
    tables = (_CALLS_BY_VERSION[version], _CALLS)
    for table in tables:
        key = f"{method} {'/'.join(names)}"
        if key in table:
            return table[key], key, {}
    for table in tables:
        for key, call in table.items():
            if "{" not in key:
                continue
            parts = _match(f"{method} {'/'.join(names)}".split("/"), key.split("/"))
            if parts is not None:
                return call, key, parts
    return None


def _match(names: list[str], pattern: list[str]) -> dict[str, str] | None:
    if len(names) != len(pattern):
        return None
    parts: dict[str, str] = {}
    for name, expected in zip(names, pattern, strict=True):
        if expected.startswith("{"):
            parts[expected[1:-1]] = unquote(name)
        elif name != expected:
            return None
    return parts


def _same(one: str, other: str) -> bool:
    """Compared by digest: how long that takes says nothing of the secret."""
    return of_bytes(one.encode("utf-8", "surrogatepass")) == of_bytes(other.encode("utf-8", "surrogatepass"))


def _json(row: Row) -> Reply:
    return Reply(content=json.dumps(row).encode())


def _refused(refusal: Refused) -> Reply:
    content = json.dumps({"error_code": refusal.code, "message": refusal.message}).encode()
    return Reply(status=STATUS[refusal.code], content=content)


def _stranger() -> Reply:
    message = (
        "This is the tracking endpoint of a run of mlrun. It serves that run only, whose variables hold the"
        " token (MLFLOW_TRACKING_TOKEN)."
    )
    reply = _refused(Refused("PERMISSION_DENIED", message))
    reply.headers = (("WWW-Authenticate", 'Bearer realm="mlrun"'),)
    reply.trusted = False
    return reply
