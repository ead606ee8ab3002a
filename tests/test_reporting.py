"""A program that logs through MLflow's own client, and the records that come of it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from mlrun.files import Home
from tests.test_run import Shell

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


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(SCRIPT)
    (project / "MLproject").write_text(
        "name: demo\n"
        'environment: {python: ">=3.9", requirements: [mlflow-skinny==2.22.0]}\n'
        "entry_points:\n  main:\n    parameters: {alpha: {type: float, default: 0.5}}\n"
        "    command: python train.py\n".replace("\\\n", "\n")
    )
    return Shell(tmp_path, project)


@pytest.mark.slow
def test_what_is_logged_is_recorded(shell: Shell) -> None:
    record = shell.record(".")
    parameters = {name: (each["value"], each["from"]) for name, each in record["parameters"].items()}
    assert parameters == {"alpha": ("0.5", "default"), "depth": ("4", "logged")}
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
    assert [output["path"] for output in inner["outputs"]] == ["c.txt"]
    assert shell.mlrun("get", "inner", "c.txt", "-o", "got").returncode == 0
    assert sorted(path.name for path in shell.cwd.iterdir()) == ["MLproject", "got", "train.py"]


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


@pytest.mark.slow
def test_a_store_of_its_own_is_pointed_out(shell: Shell) -> None:
    script = (shell.cwd / "train.py").read_text()
    (shell.cwd / "train.py").write_text(
        script.replace("mlflow.set_exp", "mlflow.set_tracking_uri('file:./mlruns')\nmlflow.set_exp")
    )
    done = shell.mlrun("run", ".")
    assert done.returncode == 0, done.stderr
    assert "into a store of its own, such as `mlruns" in done.stderr
