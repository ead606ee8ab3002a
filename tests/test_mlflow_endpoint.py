"""The tracking endpoint for MLflow's clients: by sockets, and (slow) by real clients beside a real server."""

# ruff: noqa: E501  tables of cases

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlrun.model import Digest, Environment, Metric, Package
from mlrun.tracking import metrics
from mlrun.tracking import mlflow as tracking
from mlrun.tracking.mlflow.values import RunIdentity
from tests.mlflow_clients.compare import beyond, comparable, differences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlrun.tracking.mlflow.values import Endpoint, Reported

MAIN = "5e" * 16
API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


_OPEN: list[http.client.HTTPConnection] = []


class Client:
    """One connection to an endpoint, kept open as clients do."""

    def __init__(self, endpoint: Endpoint, *, authorization: str | None = None) -> None:
        self.token = endpoint.variables["MLFLOW_TRACKING_TOKEN"]
        self.authorization = f"Bearer {self.token}" if authorization is None else authorization
        self.connection = http.client.HTTPConnection("127.0.0.1", endpoint.ports[0], timeout=60)
        _OPEN.append(self.connection)

    def raw(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        if self.authorization:
            headers["Authorization"] = self.authorization
        self.connection.request(method, path, body, headers, encode_chunked="Transfer-Encoding" in headers)
        with self.connection.getresponse() as answer:
            return answer.status, answer.read()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        status, content = self.raw(method, path if path.startswith("/") else API + path, data)
        return status, json.loads(content or b"{}")

    def post(self, path: str, **fields: Any) -> Any:
        status, answer = self.ask("POST", path, fields)
        assert status == 200, answer
        return answer

    def get(self, path: str) -> Any:
        status, answer = self.ask("GET", path)
        assert status == 200, answer
        return answer

    def refusal(self, method: str, path: str, **fields: Any) -> str:
        status, answer = self.ask(method, path, fields)
        assert status >= 400
        return str(answer["error_code"])

    def start(self, **fields: Any) -> str:
        fields = {"experiment_id": "0", "start_time": 1763712000000, **fields}
        return str(self.post("runs/create", **fields)["run"]["info"]["run_id"])


class Place:
    """An endpoint's folder, and whoever speaks to it."""

    def __init__(self, folder: Path, endpoint: Endpoint) -> None:
        self.folder, self.endpoint = folder, endpoint
        self.client = Client(endpoint)

    def collect(self) -> Reported:
        return tracking.collect(self.folder)


@contextlib.contextmanager
def opened(folder: Path, variables: Mapping[str, str] | None = None, **options: Any) -> Iterator[Place]:
    run = RunIdentity(
        id=MAIN, name="calm-fox", user="ada", parameters=options.pop("parameters", (("alpha", "0.50"),))
    )
    with tracking.serve(folder, run=run, variables=variables or {}, **options) as endpoint:
        place = Place(folder, endpoint)
        try:
            yield place
        finally:
            while _OPEN:
                _OPEN.pop().close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with opened(tmp_path / "endpoint") as found:
        yield found


@pytest.fixture
def client(place: Place) -> Client:
    return place.client


# --- when, and with what ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packages", "variables", "expected"),
    [
        (("numpy", "mlflow"), {}, True),
        (("mlflow_skinny",), {}, True),
        (("numpy",), {}, False),
        ((), {}, False),
        (("mlflow",), {"MLFLOW_TRACKING_URI": "http://example.org"}, False),
        (("mlflow",), {"MLFLOW_TRACKING_URI": ""}, True),
        (("mlflow",), {"DATABRICKS_RUNTIME_VERSION": "15.4"}, False),
    ],
)
def test_it_is_wanted_where_a_client_is_and_no_server_is_named(
    packages: tuple[str, ...], variables: dict[str, str], *, expected: bool
) -> None:
    held = tuple(Package(name=name, version="1") for name in packages)
    environment = Environment(kind="venv", key="blake3:00", packages=held)  # type: ignore[arg-type]
    assert tracking.wanted(environment, variables) is expected


def test_where_nobody_knows_what_a_container_holds_it_is_wanted() -> None:
    assert tracking.wanted(Environment(kind="docker", key=Digest("blake3:00")), {})


def test_nothing_is_imported_before_it_is_wanted() -> None:
    code = "import sys, mlrun.tracking.mlflow; print([n for n in sys.modules if n.startswith('mlrun.tracking.mlflow.')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_proxy_is_passed_by(tmp_path: Path) -> None:
    with opened(tmp_path, {"HTTP_PROXY": "http://proxy:3128", "no_proxy": "intra.example"}) as place:
        assert place.endpoint.variables["no_proxy"] == "intra.example,127.0.0.1,localhost"
        assert place.endpoint.variables["NO_PROXY"] == place.endpoint.variables["no_proxy"]


def test_what_the_caller_set_for_clients_stays(tmp_path: Path) -> None:
    with opened(tmp_path, {"MLFLOW_TRACKING_TOKEN": "mine", "MLFLOW_ALLOW_FILE_STORE": "false"}) as place:
        assert place.endpoint.variables["MLFLOW_TRACKING_TOKEN"] == "mine"
        assert "MLFLOW_ALLOW_FILE_STORE" not in place.endpoint.variables


def test_ports_that_a_project_expects_a_server_at(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text('import mlflow\nmlflow.set_tracking_uri("http://localhost:5000")\n')
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.yaml").write_text(
        "mlflow:\n  uri: http://127.0.0.1:8080/\n  other: http://10.0.0.1:99\n"
    )
    (tmp_path / "app.py").write_text('serve("http://localhost:7777")\n')
    assert tracking.named_ports(tmp_path) == (5000, 8080)
    (tmp_path / "go.sh").write_text("mlflow server --port 5000 &\npython train.py\n")
    assert tracking.named_ports(tmp_path) == ()


def test_it_listens_at_named_ports_that_are_free(tmp_path: Path) -> None:
    with socket.socket() as taken, socket.socket() as free:
        taken.bind(("127.0.0.1", 0))
        free.bind(("127.0.0.1", 0))
        ports = (taken.getsockname()[1], free.getsockname()[1])
        free.close()
        with opened(tmp_path, also=ports) as place:
            assert place.endpoint.ports[1:] == (ports[1],)


def test_when_it_is_closed_nobody_answers(tmp_path: Path) -> None:
    before = threading.active_count()
    with opened(tmp_path) as place:
        place.client.get("experiments/get?experiment_id=0")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", place.endpoint.ports[0]))
    assert threading.active_count() == before


# --- who may ------------------------------------------------------------------------------------------


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "shown", ["", "Bearer x", "Bearer", basic("mlrun", "x"), "Basic !", "Digest y", "Bearer \xff"]
)
@pytest.mark.parametrize("path", [API + "experiments/get?experiment_id=0", FILES + "/x", "/", "/metrics"])
def test_a_stranger_hears_only_that_he_is_one(place: Place, shown: str, path: str) -> None:
    status, answer = Client(place.endpoint, authorization=shown).ask("GET", path)
    assert (status, answer["error_code"]) == (401, "PERMISSION_DENIED")


def test_strangers_who_never_end_their_question_leave_room_for_others(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlrun.tracking.mlflow.http._MOST", 4)
    assert place.client.get("experiments/get?experiment_id=0")
    with contextlib.ExitStack() as stack:
        strangers = []
        for _ in range(8):
            one = socket.create_connection(("127.0.0.1", place.endpoint.ports[0]), timeout=20)
            stack.enter_context(one)
            one.sendall(b"GET / HTTP/1.1\r\nX")
            strangers.append(one)
        assert strangers[0].recv(1 << 12) == b""
        assert Client(place.endpoint).get("experiments/get?experiment_id=0")


def test_a_stranger_writes_nothing(place: Place) -> None:
    stranger = Client(place.endpoint, authorization="Bearer x")
    assert stranger.raw("PUT", FILES + "/x/evil.txt", b"evil" * 10)[0] == 401
    assert not list((place.folder / "artifacts").iterdir())


def test_holders_of_the_token_by_either_scheme(place: Place) -> None:
    for shown in (
        f"Bearer {place.client.token}",
        f"bearer {place.client.token}",
        basic("any", place.client.token),
    ):
        assert (
            Client(place.endpoint, authorization=shown).ask("GET", "experiments/get?experiment_id=0")[0]
            == 200
        )


def test_credentials_that_clients_show_instead_will_do(tmp_path: Path) -> None:
    variables = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "p:w"}
    with opened(tmp_path / "a", variables) as place:
        assert (
            Client(place.endpoint, authorization=basic("ada", "p:w")).ask("POST", "runs/create", {})[0] == 200
        )
        assert (
            Client(place.endpoint, authorization=basic("ada", "p")).ask("POST", "runs/create", {})[0] == 401
        )
    (tmp_path / ".mlflow").mkdir()
    file = "[mlflow]\nmlflow_tracking_username = eve\nmlflow_tracking_password = 100%s\n"
    (tmp_path / ".mlflow" / "credentials").write_text(file)
    with opened(tmp_path / "b", {"HOME": str(tmp_path)}) as place:
        assert (
            Client(place.endpoint, authorization=basic("eve", "100%s")).ask("POST", "runs/create", {})[0]
            == 200
        )


def test_the_token_is_in_no_file(place: Place) -> None:
    run = place.client.start()
    place.client.refusal("POST", "runs/" + place.client.token[:5])
    place.client.post("runs/log-metric", run_id=run, key="m", value=1, timestamp=1)
    texts = [path.read_bytes() for path in place.folder.rglob("*") if path.is_file()]
    assert texts
    assert not any(place.client.token.encode() in text for text in texts)


@pytest.mark.parametrize("path", ["/health", "/version"])
def test_clients_look_for_a_pulse_without_a_token(place: Place, path: str) -> None:
    assert Client(place.endpoint, authorization="").raw("GET", path)[0] == 200


# --- whose run ----------------------------------------------------------------------------------------


def test_the_first_run_is_the_run_itself_and_others_are_others(place: Place) -> None:
    step = place.client.start(tags=[{"key": "mlflow.source.type", "value": "PROJECT"}])
    first = place.client.start(run_name="first")
    nested = place.client.start(tags=[{"key": "mlflow.parentRunId", "value": first}])
    place.client.start()
    reported = place.collect()
    assert first == MAIN != step
    assert reported.main is not None
    assert (reported.main.name, reported.main.status, reported.main.params) == (
        "first",
        "running",
        (("alpha", "0.50"),),
    )
    assert [(run.id, run.parent, run.name) for run in reported.others[:2]] == [
        (step, None, "calm-fox-2"),
        (nested, MAIN, "calm-fox-3"),
    ]


def test_without_a_word_there_is_no_run(place: Place) -> None:
    assert place.collect().main is None
    assert place.client.post("runs/search", experiment_ids=["0"])["runs"] == []


def test_a_run_taken_up_by_its_id_is_in_the_experiment_that_was_asked_for(place: Place) -> None:
    other = place.client.post("experiments/create", name="mine")["experiment_id"]
    assert place.client.get(f"runs/get?run_id={MAIN}")["run"]["info"]["experiment_id"] == other
    place.client.post("runs/update", run_id=MAIN, status="RUNNING")
    place.client.post("experiments/create", name="later")
    assert place.client.get(f"runs/get?run_id={MAIN}")["run"]["info"]["experiment_id"] == other
    reported = place.collect().main
    assert reported is not None
    assert reported.experiment == "mine"


def test_a_parameter_of_the_project_may_be_logged_in_another_spelling(client: Client) -> None:
    run = client.start()
    client.post("runs/log-parameter", run_id=run, key="alpha", value="0.5")
    assert (
        client.refusal("POST", "runs/log-parameter", run_id=run, key="alpha", value="0.6")
        == "INVALID_PARAMETER_VALUE"
    )
    assert client.get(f"runs/get?run_id={run}")["run"]["data"]["params"] == [{"key": "alpha", "value": "0.5"}]


def test_the_end_of_a_run(place: Place) -> None:
    run = place.client.start()
    place.client.post("runs/update", run_id=run, status="FAILED", end_time=1763712001500)
    main = place.collect().main
    assert main is not None
    assert (main.status, main.started_at, main.ended_at) == (
        "failed",
        "2025-11-21T08:00:00.000Z",
        "2025-11-21T08:00:01.500Z",
    )


# --- what is logged -----------------------------------------------------------------------------------


def test_metrics_as_mlflow_counts_them(place: Place) -> None:
    run = place.client.start()
    logged = [
        ("loss", 3.0, 5, 9),
        ("loss", 1.0, 9, 2),
        ("loss", 2.0, 7, 2),
        ("nan", "NaN", 1, 0),
        ("inf", "-Infinity", 1, 0),
    ]
    entries = [{"key": key, "value": it, "timestamp": at, "step": step} for key, it, at, step in logged]
    place.client.post("runs/log-batch", run_id=run, metrics=entries)
    place.client.post("runs/log-batch", run_id=run, metrics=entries[:1])  # the same word for word counts once
    shown = {
        each["key"]: each["value"]
        for each in place.client.get(f"runs/get?run_id={run}")["run"]["data"]["metrics"]
    }
    assert shown == {"loss": 3.0, "nan": "NaN", "inf": "-Infinity"}
    main = place.collect().main
    assert main is not None
    assert main.metrics[0] == Metric(name="loss", last=3.0, minimum=1.0, maximum=3.0, count=3, last_step=9)
    assert math.isnan(main.metrics[1].last)
    assert main.series is not None
    assert {each.name: each.count for each in metrics.read_series(main.series).metrics} == {
        "loss": 3,
        "nan": 1,
        "inf": 1,
    }


def test_a_history_in_pages(client: Client) -> None:
    run = client.start()
    for start in range(0, 20_000, 1000):
        batch = [
            {"key": "abc"[i % 3], "value": i / 2, "timestamp": i, "step": i}
            for i in range(start, start + 1000)
        ]
        client.post("runs/log-batch", run_id=run, metrics=batch)
    found: list[float] = []
    token = ""
    while True:
        page = client.get(
            f"metrics/get-history?run_id={run}&metric_key=b&max_results=3000&page_token={token}"
        )
        found += [each["value"] for each in page["metrics"]]
        token = page.get("next_page_token")
        if not token:
            break
    assert found == [i / 2 for i in range(20_000) if i % 3 == 1]


def test_many_at_once_lose_nothing(place: Place) -> None:
    run = place.client.start()

    def log(worker: int) -> None:
        mine = Client(place.endpoint)
        for step in range(100):
            mine.post(
                "runs/log-metric", run_id=run, key="m", value=worker, timestamp=step, step=step * 10 + worker
            )
            mine.post("runs/set-tag", run_id=run, key=f"{worker}.{step}", value="x")
        mine.connection.close()

    threads = [threading.Thread(target=log, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    main = place.collect().main
    assert main is not None
    assert (main.metrics[0].count, main.metrics[0].last_step) == (800, 997)
    assert len([name for name, _ in main.tags if "." in name and not name.startswith("mlflow")]) == 800


@pytest.mark.parametrize("key", ["", "../up", "/abs", "a/../b", "a\nb", "a\0b", "x" * 251, ".", "a//b"])
@pytest.mark.parametrize("call", ["log-metric", "log-parameter", "set-tag"])
def test_names_that_are_none(client: Client, call: str, key: str) -> None:
    run = client.start()
    fields = {"run_id": run, "key": key, "value": 1 if call == "log-metric" else "1", "timestamp": 1}
    assert client.refusal("POST", f"runs/{call}", **fields) == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"7", b'"x"', b"\xff", b"[" * 100_000, b'{"run_id": [], "metrics": 3}', b'{"run_id": {"a": 1}}',
        b'{"run_id": true}', b'{"metrics": [1]}', b"",
    ],
)  # fmt: skip
def test_bodies_that_make_no_sense(client: Client, body: bytes) -> None:
    status, answer = client.raw("POST", API + "runs/log-batch", body)
    assert status == 400, answer
    client.get("experiments/get?experiment_id=0")


@pytest.mark.parametrize("value", [None, True, [], {}, "abc", ""])
def test_values_that_are_no_number(client: Client, value: Any) -> None:
    run = client.start()
    code = client.refusal("POST", "runs/log-metric", run_id=run, key="m", value=value, timestamp=1)
    assert code == "INVALID_PARAMETER_VALUE"


@pytest.mark.parametrize(("name", "count"), [("metrics", 1001), ("params", 101), ("tags", 101)])
def test_batches_have_the_limits_that_clients_know(client: Client, name: str, count: int) -> None:
    run = client.start()
    entries = [
        {"key": str(i), "value": 1 if name == "metrics" else "1", "timestamp": 1} for i in range(count)
    ]
    assert (
        client.refusal("POST", "runs/log-batch", run_id=run, **{name: entries}) == "INVALID_PARAMETER_VALUE"
    )


def test_data_sets_once_each(place: Place) -> None:
    run = place.client.start()
    tag = {"key": "mlflow.data.context", "value": "training"}
    dataset = {"name": "iris", "digest": "ab", "source_type": "local", "source": "{}", "profile": "{}"}
    for _ in range(2):
        place.client.post("runs/log-inputs", run_id=run, datasets=[{"tags": [tag], "dataset": dataset}])
    main = place.collect().main
    assert main is not None
    assert [(each.name, each.digest, each.context, each.schema) for each in main.datasets] == [
        ("iris", "ab", "training", None)
    ]


def test_models_and_versions(place: Place) -> None:
    client = place.client
    run = client.start()
    model = client.post("logged-models", experiment_id="0", name="net", source_run_id=run)["model"]["info"]
    client.post("registered-models/create", name="churn")
    version = client.post("model-versions/create", name="churn", source=f"models:/{model['model_id']}")[
        "model_version"
    ]
    client.post("registered-models/alias", name="churn", alias="best", version="1")
    client.post("model-versions/create", name="churn", source="s3://bucket/model")
    assert version["run_id"] == run
    reported = place.collect()
    assert [(each.id, each.name, each.status, each.run) for each in reported.models] == [
        (model["model_id"], "net", "PENDING", run)
    ]
    assert [(each.version, each.folder, each.aliases) for each in reported.versions] == [
        ("1", place.folder / "artifacts" / model["model_id"], ("best",)),
        ("2", None, ()),
    ]


def test_unknown_calls_are_refused_and_noted_once(place: Place) -> None:
    for _ in range(3):
        assert place.client.refusal("POST", "webhooks/create") == "ENDPOINT_NOT_FOUND"
    assert place.collect().unknown == ("POST /api/2.0/mlflow/webhooks/create",)


@pytest.mark.parametrize("prefix", ["/api/2.0/mlflow/", "/api/2.0/preview/mlflow/", "/ajax-api/2.0/mlflow/"])
def test_the_same_by_other_addresses(client: Client, prefix: str) -> None:
    assert (
        client.get(prefix + "experiments/get-by-name?experiment_name=Default")["experiment"]["experiment_id"]
        == "0"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "abc"), ("metrics.m < 2", "ab"), ("metrics.m >= 1 AND params.p = 'x'", "b"), ("params.p != 'x'", "a"),
        ("tags.`k k` = 'v'", "c"), ('tags."k k" = "v"', "c"), ("run_name LIKE 'a%'", "a"), ("run_name ILIKE 'A_'", ""),
        ("attributes.run_name IN ('a', 'c')", "ac"), ("attributes.run_name NOT IN ('a')", "bc"),
        ("params.p IS NULL", "c"), ("params.p is not null", "ab"), ("metrics.m = -0.5", "a"), ("metrics.m > 1e-3", "bc"),
        ("start_time > 1763712000001", "c"), ("params.q.r/s = '1'", "c"), ("tags.no = 'x'", ""),
    ],
)  # fmt: skip
def test_runs_by_what_they_are(client: Client, text: str, expected: str) -> None:
    for number, (name, value, params) in enumerate(
        [("a", -0.5, {"p": "y"}), ("b", 1, {"p": "x"}), ("c", 7, {"q.r/s": "1"})]
    ):
        tags = [{"key": "k k", "value": "v"}] if name == "c" else []
        run = client.start(run_name=name, start_time=1763712000000 + number, tags=tags)
        pairs = [{"key": key, "value": it} for key, it in params.items()]
        client.post(
            "runs/log-batch", run_id=run, metrics=[{"key": "m", "value": value, "timestamp": 1}], params=pairs
        )
    found = client.post("runs/search", experiment_ids=["0"], filter=text, order_by=["metrics.m ASC"])["runs"]
    assert "".join(each["info"]["run_name"] for each in found) == expected


@pytest.mark.parametrize(
    "text",
    ["a", "a b", "metrics.m", "metrics.m = 'x'", "params.p < 'x'", "a = 1 or b = 2", "x.y = 1", "params.p = 'x", "=", "(", "a IN 3"],
)  # fmt: skip
def test_filters_that_make_no_sense(client: Client, text: str) -> None:
    client.start()
    assert (
        client.refusal("POST", "runs/search", experiment_ids=["0"], filter=text) == "INVALID_PARAMETER_VALUE"
    )


# --- files --------------------------------------------------------------------------------------------


def test_files_come_whole_and_go_back(place: Place) -> None:
    data = os.urandom(5 << 20)
    path = f"{FILES}/{MAIN}/sub%20dir/%C3%BC%25%3F.bin"
    assert place.client.raw("PUT", path, data)[0] == 200
    assert (place.folder / "artifacts" / MAIN / "sub dir" / "ü%?.bin").read_bytes() == data
    assert place.client.raw("GET", path) == (200, data)
    assert place.client.raw("HEAD", path) == (200, b"")
    place.client.start()
    assert place.client.get(f"artifacts/list?run_id={MAIN}&path=sub%20dir")["files"] == [
        {"path": "sub dir/ü%?.bin", "is_dir": False, "file_size": 5 << 20}
    ]
    assert place.client.get(f"{FILES}?path={MAIN}")["files"] == [{"path": "sub dir", "is_dir": True}]
    main = place.collect().main
    assert main is not None
    assert main.artifacts == ("sub dir/ü%?.bin",)
    assert place.client.raw("DELETE", f"{FILES}/{MAIN}/sub%20dir")[0] == 200
    assert place.client.raw("GET", path)[0] == 404


def test_a_body_in_chunks(place: Place) -> None:
    pieces = [b"a" * 70_000, b"b", b"c" * 3]
    assert (
        place.client.raw("PUT", f"{FILES}/x/y.bin", iter(pieces), **{"Transfer-Encoding": "chunked"})[0]
        == 200
    )
    assert (place.folder / "artifacts" / "x" / "y.bin").read_bytes() == b"".join(pieces)


@pytest.mark.parametrize(
    "path",
    ["/../x", "/%2e%2e/x", "/a/%2e%2e/%2e%2e/x", "//etc/x", "/a//b", "/a/./b", "/a%00b", "/a/%2e%2e", "/" + "n" * 300, "/"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_paths_that_lead_out_are_refused(place: Place, method: str, path: str) -> None:
    before = sorted(place.folder.parent.rglob("*"))
    assert place.client.raw(method, FILES + path, b"evil" if method == "PUT" else None)[0] in {400, 404}
    assert sorted(place.folder.parent.rglob("*")) == before


def test_links_are_not_followed(place: Place, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    (place.folder / "artifacts" / "link").symlink_to(secret)
    (place.folder / "artifacts" / "file").symlink_to(secret / "key")
    assert place.client.raw("GET", f"{FILES}/link/key")[0] == 400
    assert place.client.raw("GET", f"{FILES}/file")[0] == 400
    assert place.client.raw("PUT", f"{FILES}/link/evil", b"x")[0] == 400
    assert place.client.get(f"{FILES}?path=link") == {"files": []}
    assert place.client.raw("DELETE", f"{FILES}/link")[0] == 200
    assert [path.name for path in secret.iterdir()] == ["key"]


def test_an_upload_that_is_cut_off_leaves_nothing(place: Place) -> None:
    head = f"PUT {FILES}/x/y HTTP/1.1\r\nAuthorization: Bearer {place.client.token}\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection(("127.0.0.1", place.endpoint.ports[0])) as peer:
        peer.sendall(head.encode() + b"only this")
        peer.shutdown(socket.SHUT_WR)
        assert b" 400 " in peer.recv(1 << 16)
    assert list((place.folder / "artifacts" / "x").iterdir()) == []


def test_a_full_disk_is_told_and_what_was_written_stays_whole(tmp_path: Path) -> None:
    """The program decides; a limit on the size of files stands in for the disk's end."""
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from tests.test_mlflow_endpoint import MAIN, opened, FILES
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with opened(Path({str(tmp_path)!r})) as place:
    run = place.client.start()
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    print(place.client.raw("PUT", FILES + "/x/y", b"x" * 100_000)[0])
    codes = [place.client.ask("POST", "runs/set-tag", {{"run_id": run, "key": str(i), "value": "v" * 1000}})[0] for i in range(50)]
    codes += [place.client.ask("POST", "runs/log-batch", {{"run_id": run, "metrics": [
        {{"key": str(i), "value": 1, "timestamp": 1}} for i in range(900)]}})[0]]
    print(sorted(set(codes)), codes[0], codes[-1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    main = place.collect().main
    print(len(main.tags) - 2 == codes.count(200), main.metrics)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines() == ["507", "[200, 507] 200 507", "True ()"], result.stderr


# --- the wire -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"G=T / HTTP/1.1\r\n\r\n", b"GET x HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"GET / HTTP/1.1\r\n folded: x\r\n\r\n", b"GET / HTTP/1.1\r\na : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000, b"GET /" + b"x" * 100_000,
    ],
    ids=range(16),
)  # fmt: skip
def test_what_is_no_http_is_refused_and_hurts_nobody(place: Place, message: bytes) -> None:
    with socket.create_connection(("127.0.0.1", place.endpoint.ports[0])) as peer:
        peer.settimeout(30)
        with contextlib.suppress(ConnectionError):
            peer.sendall(message)
            peer.shutdown(socket.SHUT_WR)
            assert peer.recv(12) in {b"HTTP/1.1 400", b"HTTP/1.1 431"}
    place.client.get("experiments/get?experiment_id=0")


def test_a_bad_chunk_ends_the_connection(place: Place) -> None:
    head = f"POST {API}runs/search HTTP/1.1\r\nAuthorization: Bearer {place.client.token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", place.endpoint.ports[0])) as peer:
        peer.sendall(head.encode() + b"zz\r\n")
        assert peer.recv(12) == b"HTTP/1.1 400"
        while peer.recv(1 << 16):
            pass


def test_a_body_waits_for_leave_where_it_asks_for_it(place: Place) -> None:
    head = (
        f"PUT {FILES}/x/y HTTP/1.1\r\nAuthorization: Bearer {place.client.token}\r\n"
        "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", place.endpoint.ports[0])) as peer:
        peer.sendall(head.encode())
        assert peer.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(b"abc")
        assert peer.recv(12) == b"HTTP/1.1 200"
    assert (place.folder / "artifacts" / "x" / "y").read_bytes() == b"abc"


def test_several_requests_at_once_are_answered_in_turn(place: Place) -> None:
    one = (
        f"GET {API}experiments/get?experiment_id=0 HTTP/1.1\r\nAuthorization: Bearer {place.client.token}\r\n"
    )
    with socket.create_connection(("127.0.0.1", place.endpoint.ports[0])) as peer:
        peer.sendall((one + "\r\n" + one + "Connection: close\r\n\r\n").encode())
        answer = b""
        while piece := peer.recv(1 << 16):
            answer += piece
    assert answer.count(b"HTTP/1.1 200 OK") == 2


# --- whatever happens ---------------------------------------------------------------------------------


def test_all_that_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    code = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from tests.test_mlflow_endpoint import opened
with opened(Path({str(tmp_path)!r})) as place:
    run = place.client.start(run_name="doomed")
    for step in range(10**9):
        place.client.post("runs/log-metric", run_id=run, key="m", value=step, timestamp=step, step=step)
        place.client.post("runs/log-parameter", run_id=run, key=f"p{{step}}", value="x")
        print(step, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 50:
            pass
        process.send_signal(signal.SIGKILL)
        last = max([50, *(int(line) for line in process.stdout.read().splitlines() if line.isdigit())])
    main = tracking.collect(tmp_path).main
    assert main is not None
    assert (main.name, main.status) == ("doomed", "running")
    assert main.metrics[0].count >= last + 1
    assert len(main.params) - 1 >= last + 1


def test_there_is_nothing_where_there_was_no_endpoint(tmp_path: Path) -> None:
    assert tracking.collect(tmp_path / "none") == tracking.collect(tmp_path)


def test_a_folder_with_a_hostile_name(hostile_path: Path) -> None:
    with opened(hostile_path) as place:
        run = place.client.post("runs/create")["run"]["info"]
        assert run["artifact_uri"] == str(hostile_path / "artifacts" / MAIN)


# --- real clients -------------------------------------------------------------------------------------

CLIENTS = Path(__file__).parent / "mlflow_clients"
OLD = ("mlflow-skinny==1.30.0", "setuptools<70")
MIDDLE = ("mlflow-skinny==2.22.0",)
NEW = ("mlflow==3.17.2", "scikit-learn")


def environment(folder: Path, *requirements: str) -> dict[str, str]:
    """Variables of a new environment, as one would activate it."""
    from uv import find_uv_bin

    uv = find_uv_bin()
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, folder], check=True)
    subprocess.run([uv, "pip", "install", "-q", "-p", folder / "bin" / "python", *requirements], check=True)
    kept = {name: os.getenv(name, "") for name in ("HOME", "LANG") if os.getenv(name)}
    return {**kept, "PATH": f"{folder / 'bin'}:{os.defpath}", "PYTHONWARNINGS": "ignore"}


def python(variables: Mapping[str, str], *arguments: object, cwd: Path) -> str:
    cwd.mkdir(exist_ok=True)
    command = ["python", *map(str, arguments)]
    result = subprocess.run(
        command, env=dict(variables), cwd=cwd, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@contextlib.contextmanager
def real_server(folder: Path, variables: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """MLflow's own server with SQLite, and the variables by which its clients find it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir()
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [
        "mlflow",
        "server",
        "--backend-store-uri",
        "sqlite:///m.db",
        "--artifacts-destination",
        "./files",
    ]
    command += ["--port", str(port), "--workers", "1"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**variables, **quiet}, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 180
            while True:
                with contextlib.suppress(OSError):
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                    connection.request("GET", "/health")
                    connection.getresponse().read()
                    connection.close()
                    break
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
            yield {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", **quiet}
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.slow
def test_every_call_of_three_generations_of_clients_is_kept_as_by_a_real_server(tmp_path: Path) -> None:
    new = environment(tmp_path / "new", *NEW)
    clients: list[tuple[dict[str, str], tuple[str, ...]]] = [
        (new, ()),
        (environment(tmp_path / "middle", *MIDDLE), ()),
    ]
    clients += [(environment(tmp_path / "old", *OLD), ("--no-registry",))]
    script = CLIENTS / "every_call.py"
    with real_server(tmp_path / "server", new) as server:
        for variables, options in clients:
            with opened(
                tmp_path / f"endpoint{len(list(tmp_path.iterdir()))}", shared=False, parameters=()
            ) as place:
                ours = {**variables, **place.endpoint.variables}
                python(ours, script, tmp_path / "ours.json", *options, cwd=tmp_path / "cwd")
            python({**variables, **server}, script, tmp_path / "theirs.json", *options, cwd=tmp_path / "cwd")
            known = [
                comparable(json.loads((tmp_path / name).read_text())) for name in ("ours.json", "theirs.json")
            ]
            assert differences(known[0], known[1]) == []
            assert place.collect().unknown == ()
        assert list((tmp_path / "cwd").iterdir()) == []
        with opened(tmp_path / "endpoint") as place:
            cost: list[list[float]] = [[], []]
            for _ in range(3):  # in turns, the best of each: a busy machine slows one alone
                for sample, where in zip(cost, (place.endpoint.variables, server), strict=True):
                    said = python({**new, **where}, CLIENTS / "overhead.py", 20, cwd=tmp_path / "cwd")
                    sample.append(float(said.split()[0]))
    assert min(cost[0]) <= min(cost[1]), "a logged metric costs at most what it does with MLflow's own server"


@pytest.mark.slow
def test_models_figures_data_sets_and_traces_are_kept_as_by_a_real_server(tmp_path: Path) -> None:
    new = environment(tmp_path / "new", *NEW)
    scripts, known = tmp_path / "scripts", {}
    shutil.copytree(CLIENTS, scripts)  # out of any repository, whose commit would be noted
    with (
        real_server(tmp_path / "server", new) as server,
        opened(tmp_path / "endpoint", shared=False, parameters=()) as place,
    ):
        for name, where in (("ours", place.endpoint.variables), ("theirs", server)):
            out = tmp_path / f"{name}.json"
            python({**new, **where}, scripts / "whole_models.py", out, cwd=tmp_path / "cwd")
            known[name] = json.loads(out.read_text())
    assert beyond(differences(comparable(known["ours"]), comparable(known["theirs"]))) == []
    assert known["ours"]["found"]["model"]["MLmodel"]["signature"]
    assert known["ours"]["found"]["traces"]
    reported = place.collect()
    assert reported.unknown == ()
    assert all((model.folder / "MLmodel").is_file() for model in reported.models)
    assert list((tmp_path / "cwd").iterdir()) == []


@pytest.mark.slow
def test_the_registry_of_clients_before_2(tmp_path: Path) -> None:
    old = environment(tmp_path / "old", *OLD)
    with opened(tmp_path / "endpoint") as place:
        python(
            {**old, **place.endpoint.variables},
            CLIENTS / "every_call.py",
            tmp_path / "out.json",
            cwd=tmp_path / "cwd",
        )
    known = json.loads((tmp_path / "out.json").read_text())
    assert [each["name"] for each in known["models"]] == ["v1.another", "v1.churn"]
    assert sorted((each["version"], each["current_stage"]) for each in known["versions"]) == [
        ("1", "Archived"),
        ("2", "Production"),
    ]
    assert list((tmp_path / "cwd").iterdir()) == []


@pytest.mark.slow
def test_a_model_a_step_and_a_store_of_ones_own(tmp_path: Path) -> None:
    new = environment(tmp_path / "new", *NEW)
    with opened(tmp_path / "endpoint") as place:
        python({**new, **place.endpoint.variables}, CLIENTS / "train.py", cwd=tmp_path / "cwd")
    reported = place.collect()
    assert reported.main is not None
    assert (reported.main.experiment, reported.main.status) == ("wine", "finished")
    assert dict(reported.main.params)["alpha"] == "0.3"
    assert {each.name for each in reported.main.metrics} >= {"training_r2_score"}
    assert "training" in {each.context for each in reported.main.datasets}
    [step] = reported.others
    assert (step.parent, step.artifacts, dict(step.params)) == (MAIN, ("done.txt",), {"n": "3"})
    assert [(each.name, each.status, each.run) for each in reported.models] == [("model", "READY", MAIN)]
    assert (reported.models[0].folder / "MLmodel").is_file()
    assert [(each.name, each.aliases) for each in reported.versions] == [("ridge", ("champion",))]
    assert (reported.traces, reported.unknown) == (1, ())
    assert [path.name for path in (tmp_path / "cwd").iterdir()] == ["mine"]
