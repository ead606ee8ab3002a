"""A program that logs through MLflow's own client, and the records that come of it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mlrun import reporting
from mlrun.files import Home
from mlrun.model import Digest, Environment
from mlrun.store import Store
from mlrun.value import replace
from tests import docker_engine
from tests.shells import Shell
from tests.test_mlflow_endpoint import MAIN, opened
from tests.test_store import record

SCRIPT = """
import mlflow, os, sys

mlflow.set_experiment("wine")
with mlflow.start_run():
    mlflow.log_param("alpha", "0.50")
    mlflow.log_param("depth", 4)
    mlflow.set_tag("team", "red")
    for step in range(3):
        mlflow.log_metric("loss", 1.0 / (step + 1), step=step)
    mlflow.log_text("hello", "notes/a.txt")
    mlflow.log_dict({"a": 1}, "b.json")
    with mlflow.start_run(run_name="inner", nested=True):
        mlflow.log_metric("loss", 9.0)
        mlflow.log_text("inner", "c.txt")
"""

WITH_SECRETS = """
import json, mlflow, os
from mlflow.entities import Dataset, DatasetInput

with mlflow.start_run() as run:
    mlflow.log_param("source", "https://ada:hunter2@host/wine.csv")
    mlflow.set_tag("store", "s3://key:hunter2@bucket/a")
    facts = json.dumps({"url": "https://ada:hunter2@host/wine.csv"})
    dataset = Dataset(name="wine", digest="ab", source_type="http", source=facts)
    other = Dataset(name="made", digest="cd", source_type="code", source='{"tags": {"a": "b"}}')
    inputs = [DatasetInput(dataset=dataset), DatasetInput(dataset=other)]
    mlflow.MlflowClient().log_inputs(run.info.run_id, inputs)
"""


@pytest.fixture
def shell(tmp_path: Path, warm_cache: Path) -> Shell:
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(SCRIPT)
    (project / "MLproject").write_text(
        "name: demo\n"
        'environment: {python: ">=3.9", requirements: [mlflow-skinny==2.22.0]}\n'
        "entry_points:\n  main:\n    parameters: {alpha: {type: float, default: 0.5}}\n"
        "    command: python train.py\n".replace("\\\n", "\n")
    )
    return Shell(tmp_path, project, warm_cache)


@pytest.mark.slow
def test_what_is_logged_is_recorded(shell: Shell) -> None:
    record = shell.record(".")
    parameters = {name: (each["value"], each["from"]) for name, each in record["parameters"].items()}
    assert parameters == {
        "alpha": ("0.5", "default"),
        "depth": ("4", "logged"),
    }
    assert record["tags"] == {"experiment": "wine", "team": "red"}
    (loss,) = [metric for name, metric in record["metrics"].items() if name == "loss"]
    assert (loss["last"], loss["min"], loss["count"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3), 3)
    assert [(output["path"], output["kind"]) for output in record["outputs"]] == [
        ("b.json", "artifact"),
        ("notes", "artifact"),
    ]
    lines = Home(shell.home.root).run(record["id"]).metrics.read_text().splitlines()
    series = [json.loads(line) for line in lines]
    assert [point["step"] for point in series] == [0, 1, 2]
    inner = shell.show("inner")
    assert (inner["parents"], inner["status"]) == ({"nested": record["id"]}, "finished")
    assert 0 <= inner["duration_s"] <= record["duration_s"] + 1
    assert [output["path"] for output in inner["outputs"]] == ["c.txt"]
    assert shell.mlrun("get", "inner", "c.txt", "-o", "got").returncode == 0
    assert shell.mlrun("verify", "inner").returncode == 0
    assert sorted(path.name for path in shell.cwd.iterdir()) == ["MLproject", "got", "train.py"]


@pytest.mark.slow
def test_passwords_in_addresses_are_not_recorded_and_data_sets_have_names(shell: Shell) -> None:
    (shell.cwd / "train.py").write_text(WITH_SECRETS)
    record = shell.record(".")
    assert record["parameters"]["source"]["value"] == "https://host/wine.csv"
    assert record["tags"] == {"store": "s3://key@bucket/a"}
    assert [each["path"] for each in record["inputs"]] == ["https://host/wine.csv", "made"]
    assert shell.mlrun("data", "status").returncode == 0
    folder = Home(shell.home.root).run(record["id"]).root
    assert not [path for path in folder.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]


@pytest.mark.slow
def test_a_server_of_the_users_own_is_left_to_them(shell: Shell, tmp_path: Path) -> None:
    shell.variables["MLFLOW_TRACKING_URI"] = (tmp_path / "own").as_uri()
    record = shell.record(".")
    assert record["tags"] == {"mlflow.tracking_uri": (tmp_path / "own").as_uri()}
    assert record["metrics"] == {}
    assert list((tmp_path / "own").rglob("loss"))


@pytest.mark.slow
def test_a_workflow_of_mlflow_runs_its_steps_without_conda(shell: Shell) -> None:
    (shell.cwd / "conda.yaml").write_text(
        "name: steps\nchannels: [defaults]\n"
        "dependencies: [python>=3.9, pip, {pip: [mlflow-skinny==2.9.2, 'setuptools<81']}]\n"
    )
    (shell.cwd / "MLproject").write_text(
        "name: flow\nconda_env: conda.yaml\nentry_points:\n"
        "  main: {command: python flow.py}\n"
        "  step:\n    parameters: {size: int}\n    command: python step.py {size}\n"
    )
    (shell.cwd / "flow.py").write_text(
        "import mlflow\n"
        "with mlflow.start_run():\n"
        "    step = mlflow.run('.', 'step', parameters={'size': 3})\n"
        "    said = mlflow.tracking.MlflowClient().get_run(step.run_id)\n"
        "    mlflow.log_metric('from_step', said.data.metrics['size'])\n"
    )
    (shell.cwd / "step.py").write_text(
        "import mlflow, sys\nwith mlflow.start_run():\n    mlflow.log_metric('size', float(sys.argv[1]))\n"
    )
    variables = shell.variables
    variables["PATH"] = ":".join(
        folder for folder in variables["PATH"].split(":") if not (Path(folder) / "conda").exists()
    )
    record = shell.record(".")
    assert record["metrics"]["from_step"]["last"] == 3
    (step,) = [
        each for each in json.loads(shell.mlrun("runs", "--json").stdout) if each["entry_point"] == "step"
    ]
    assert (step["status"], step["metrics"]) == ("finished", {"size": 3})
    assert shell.show(step["id"])["parents"] == {"nested": record["id"]}


@pytest.mark.slow
def test_a_server_that_the_code_names_and_nobody_runs_is_answered_for(shell: Shell) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = (shell.cwd / "train.py").read_text()
    (shell.cwd / "train.py").write_text(
        script.replace(
            "mlflow.set_exp", f"mlflow.set_tracking_uri('http://localhost:{port}')\nmlflow.set_exp"
        )
    )
    done = shell.mlrun("run", ".", "--name", "outer")
    assert done.returncode == 0, done.stderr
    assert f"a tracking server at port {port}" in done.stderr
    assert shell.show()["name"] == "outer"
    assert shell.show()["metrics"]["loss"]["count"] == 3


OWN_STORE = """
import os, sys, time

def put(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)

def run(run_id, name, status, tags, began):
    folder = "mlruns/1/" + run_id
    put(folder + "/meta.yaml", "run_id: %s\\nrun_name: %s\\nstatus: %d\\nstart_time: %d\\nend_time: %d\\n"
        "lifecycle_stage: active\\n" % (run_id, name, status, began, began + 500))
    for key, text in {**tags, "team": "red"}.items():
        put(folder + "/tags/" + key, text)
    return folder

now = int(time.time() * 1000)
put("mlruns/1/meta.yaml", "experiment_id: '1'\\nname: wine\\n")
put("mlruns/0/meta.yaml", "experiment_id: '0'\\nname: Default\\n")
main = run("ab" * 16, "outer", 3, {}, now)
put(main + "/params/deep/alpha", "0.5")
put(main + "/params/bad\\nname", "x")
put(main + "/metrics/loss", "%d 1.0 0\\n%d 0.25 2\\nnonsense\\n%d nan 1\\n" % (now, now, now))
put(main + "/artifacts/model/MLmodel", "flavors: {}\\n")
put(main + "/artifacts/notes.txt", "hello")
os.symlink("/etc/hostname", main + "/params/link")
child = run("cd" * 16, "inner", 4, {"mlflow.parentRunId": "ab" * 16}, now + 1)
put(child + "/metrics/loss", "%d 9.0 0\\n" % now)
run("ef" * 16, "of last year", 3, {}, now - 10**9)
put("mlruns/1/" + "77" * 16 + "/meta.yaml", "[" * 200)
"""


def test_runs_in_a_store_of_the_programs_own_are_read_back(shell: Shell) -> None:
    (shell.cwd / "train.py").write_text(OWN_STORE)
    (shell.cwd / "MLproject").write_text("entry_points: {main: {command: python3 train.py}}\n")
    record = shell.record(".", "--env-manager", "system")
    assert record["tags"] == {
        "mlflow.tracking_uri": str(shell.cwd / "mlruns"),
        "experiment": "wine",
        "team": "red",
    }
    assert {name: each["value"] for name, each in record["parameters"].items()} == {"deep/alpha": "0.5"}
    loss = record["metrics"]["loss"]
    assert (loss["last"], loss["step"], loss["count"]) == (0.25, 2, 3)
    assert [(output["path"], output["kind"]) for output in record["outputs"]] == [
        ("model", "model"),
        ("notes.txt", "artifact"),
    ]
    assert (record["inputs"], record["warnings"]) == ([], [])
    inner = shell.show("inner")
    assert (inner["id"], inner["status"]) == ("cd" * 16, "failed")
    assert inner["parents"] == {"nested": record["id"]}
    assert len(json.loads(shell.mlrun("runs", "--json").stdout)) == 2
    assert (shell.cwd / "mlruns" / "1" / ("ab" * 16) / "metrics" / "loss").read_text().count("\n") == 4
    shutil.rmtree(shell.cwd / "mlruns")
    again = shell.record(".", "--env-manager", "system", "--no-observe")
    assert (again["metrics"], again["tags"]) == ({}, {})


@pytest.mark.slow
@pytest.mark.parametrize(
    "client", ["mlflow-skinny==1.30.0", "mlflow-skinny==2.22.0", "mlflow-skinny==3.17.2"]
)
def test_what_real_clients_log_into_files_of_their_own_is_read_back(client: str, shell: Shell) -> None:
    script = (shell.cwd / "train.py").read_text()
    own = 'os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"\nmlflow.set_tracking_uri("file:./mlruns")\n'
    (shell.cwd / "train.py").write_text(script.replace("mlflow.set_exp", f"{own}mlflow.set_exp"))
    project = (shell.cwd / "MLproject").read_text()
    (shell.cwd / "MLproject").write_text(
        project.replace("mlflow-skinny==2.22.0", f"{client}, 'setuptools<70'")
    )
    record = shell.record(".")
    assert record["tags"]["experiment"] == "wine"
    parameters = {name: (each["value"], each["from"]) for name, each in record["parameters"].items()}
    assert parameters == {"alpha": ("0.5", "default"), "depth": ("4", "logged")}
    assert (record["metrics"]["loss"]["count"], record["metrics"]["loss"]["step"]) == (3, 2)
    assert [(output["path"], output["kind"]) for output in record["outputs"]] == [
        ("b.json", "artifact"),
        ("notes", "artifact"),
    ]
    inner = shell.show("inner")
    assert (inner["parents"], inner["metrics"]["loss"]["last"]) == ({"nested": record["id"]}, 9)
    assert len(list((shell.cwd / "mlruns").rglob("loss"))) == 2


@pytest.mark.slow
def test_a_database_of_its_own_is_pointed_out(shell: Shell) -> None:
    script = "import sqlite3\nsqlite3.connect('mlflow.db').execute('CREATE TABLE runs (id)')\n"
    (shell.cwd / "train.py").write_text(script)
    done = shell.mlrun("run", ".", "--env-manager", "system")
    assert done.returncode == 0, done.stderr
    assert "into a store of its own, such as `mlflow.db" in done.stderr
    another = script.replace("mlflow.db", "my.sqlite")
    (shell.cwd / "train.py").write_text(another)
    assert "such as `my.sqlite" not in shell.mlrun("run", ".", "--env-manager", "system").stderr
    (shell.cwd / "train.py").write_text(another.replace("my.sq", "own.sq").replace("runs", "latest_metrics"))
    assert "such as `own.sqlite" in shell.mlrun("run", ".", "--env-manager", "system").stderr


def test_a_further_run_that_cannot_be_recorded_costs_nothing_else(home: Home) -> None:
    run = replace(record(1), id=MAIN)
    store = Store(home)
    store.create(run).close()
    with opened(home.run(MAIN).mlflow) as place:
        place.client.post("runs/log-metric", run_id=MAIN, key="loss", value=0.5, timestamp=1, step=0)
        further = place.client.start(run_name="inner")
        place.client.start(run_name="another")
    (home.runs / further[:2]).write_text("in the way")
    environment = Environment(kind="venv", key=Digest("blake3:00"))
    whole, (finding, *_) = reporting.with_reported(run, environment, store, variables={})
    assert [metric.name for metric in whole.metrics] == ["loss"]
    assert "`inner` and 1 more, logged through MLflow, is not recorded" in finding.message
    assert home.run(MAIN).mlflow.is_dir()  # it is all that there is of them


def test_a_disk_that_is_full_costs_neither_the_record_nor_what_was_told(shell: Shell, tmp_path: Path) -> None:
    """On a small disk of its own, which needs a namespace of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size=3m none {disk} && exec "$0" "$@"'
    alone = ["unshare", "-rm", "sh", "-c", mount]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces here")
    write = """echo '{{"name": "m", "value": 1}}' >> "$MLRUN_METRICS\""""
    fill = f"cat /dev/zero > {disk}/filled 2> /dev/null || true"
    (shell.cwd / "MLproject").write_text(
        json.dumps(
            {"entry_points": {"main": {"command": f"{write}; {fill}; head -c 200000 /dev/zero > out.txt"}}}
        )
    )
    variables = {**shell.variables, "MLRUN_HOME": str(disk / "home")}
    mlrun = f"{sys.executable} -m mlrun"
    said = f"{mlrun} run . --env-manager system; rm {disk}/filled; {mlrun} show latest --json"
    done = subprocess.run(
        [*alone, "sh", "-c", said], cwd=shell.cwd, env=variables, capture_output=True, text=True, timeout=60
    )
    record = json.loads(done.stdout)
    assert "status" in record, done.stdout + done.stderr
    assert (record["status"], record["metrics"]["m"]["last"]) == ("finished", 1)
    assert any("no room to note" in warning or "not kept" in warning for warning in record["warnings"])
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_is_logged_in_a_container_is_recorded_too(shell: Shell, tmp_path: Path) -> None:
    from uv import find_uv_bin

    client = docker_engine.connect()
    image = docker_engine.base_image(client)
    client.close()
    packages = tmp_path / "site-packages"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    install = [find_uv_bin(), "pip", "install", "-q", "--target", str(packages), "--python-version", version]
    subprocess.run([*install, "mlflow-skinny==1.30.0", "setuptools<70"], check=True)
    environment = {
        "image": image,
        "volumes": [f"{packages}:/site-packages"],
        "environment": [["PYTHONPATH", "/site-packages"], ["GIT_PYTHON_REFRESH", "quiet"]],
    }
    entry_points = {"main": {"command": "python3 train.py"}}
    (shell.cwd / "MLproject").write_text(
        json.dumps({"docker_env": environment, "entry_points": entry_points})
    )
    record = shell.record(".")
    assert (record["tags"]["experiment"], record["metrics"]["loss"]["count"]) == ("wine", 3)
    assert [(output["path"], output["kind"]) for output in record["outputs"]] == [
        ("b.json", "artifact"),
        ("notes", "artifact"),
    ]
    assert shell.show("inner")["parents"] == {"nested": record["id"]}
    assert shell.mlrun("get", "inner", "c.txt", "-o", "got").returncode == 0
    assert sorted(path.name for path in shell.cwd.iterdir()) == ["MLproject", "got", "train.py"]


def test_a_command_that_names_the_run_is_told_it(shell: Shell) -> None:
    (shell.cwd / "MLproject").write_text(
        "entry_points:\n"
        "  main: {command: 'echo $MLFLOW_RUN_ID of $MLFLOW_EXPERIMENT_ID > told'}\n"
        "  other: {command: 'env > told'}\n"
    )
    record = shell.record(".", "--env-manager", "system")
    assert (shell.cwd / "told").read_text() == f"{record['id']} of 0\n"
    shell.record(".", "-e", "other", "--env-manager", "system")
    assert "MLFLOW_RUN_ID" not in (shell.cwd / "told").read_text()
