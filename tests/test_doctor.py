"""`mlrun doctor`: a real machine, machines made poor, and projects that want too much."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from mlrun.doctor import Check, Diagnosis
from mlrun.doctor.registry import refused
from mlrun.doctor.values import Needs
from mlrun.views import doctor as view
from tests.docker_engine import docker_client
from tests.shells import Shell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["docker_client"]  # a fixture

CODES = {
    *("mlrun", "git", "bash", "pythons", "uv", "registry", "conda", "docker", "compiler"),
    *("home", "cache", "store", "encoding"),
}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    project = tmp_path / "project"
    project.mkdir()
    return Shell(tmp_path, project)


def checks(shell: Shell, *arguments: str, code: int) -> dict[str, dict[str, Any]]:
    """The machine's checks by code; those of the project under `project`."""
    done = shell.mlrun("doctor", *arguments, "--json")
    assert done.returncode == code, (done.stdout, done.stderr)
    answer = json.loads(done.stdout)
    assert answer["fine"] is (code == 0)
    found = {it["code"]: it for it in answer["machine"]}
    found["project"] = {it["code"]: it for it in answer["project"]["checks"]} if answer["project"] else {}
    return found


def project(shell: Shell, text: str) -> None:
    (shell.cwd / "MLproject").write_text(f"name: demo\n{text}")


def test_this_machine(shell: Shell) -> None:
    found = checks(shell, "--offline", code=0)
    assert found.keys() - {"project"} == CODES
    assert {found[code]["state"] for code in ("mlrun", "git", "bash", "pythons", "uv", "home", "cache")} == {
        "ok"
    }
    assert found["registry"] == {
        "code": "registry",
        "state": "skipped",
        "needed": False,
        "text": "--offline",
        "hint": None,
        "details": [],
    }
    assert found["store"]["text"] == "no runs yet"
    lines = shell.mlrun("doctor", "--offline").stdout.splitlines()
    assert lines[0] == "this machine"
    assert lines[-1] == "all that mlrun needs is there"
    assert not shell.home.root.exists()


@pytest.mark.slow
def test_what_is_missing_is_lacking_only_where_it_is_needed(shell: Shell, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "sh", "uname"):
        (tools / name).symlink_to(shutil.which(name) or "")
    shell.variables |= {"PATH": str(tools), "DOCKER_HOST": f"unix://{tmp_path}/none.sock", "CC": ""}
    found = checks(shell, "--offline", code=1)
    assert (found["git"]["state"], found["git"]["needed"]) == ("lacking", True)
    assert "apt install git" in found["git"]["hint"]
    assert (found["docker"]["state"], found["docker"]["needed"]) == ("absent", False)
    assert found["compiler"]["state"] == "absent"
    shown = shell.mlrun("doctor", "--offline").stdout
    assert "lacking  git" in shown
    assert shown.splitlines()[-1] == "1 thing that mlrun needs is lacking"


@pytest.mark.slow
def test_a_project_that_wants_a_container_needs_an_engine(shell: Shell, tmp_path: Path) -> None:
    project(
        shell,
        "docker_env: {image: tool, environment: [SOME_TOKEN, [A, b]]}\n"
        "entry_points: {main: {command: 'true'}}\n",
    )
    shell.variables["DOCKER_HOST"] = f"unix://{tmp_path}/none.sock"
    found = checks(shell, ".", "--offline", code=1)
    assert (found["docker"]["state"], found["docker"]["needed"]) == ("lacking", True)
    assert found["project"]["environment"]["state"] == "lacking"
    assert found["project"]["variable"]["text"] == "`docker_env` copies SOME_TOKEN, which is not set"
    assert found["project"]["variable"]["hint"] == "`export SOME_TOKEN=…`"


def test_what_a_project_needs(shell: Shell) -> None:
    project(
        shell,
        """\
environment: {python: "3.99", requirements: []}
entry_points:
  prepare: {command: 'true', outputs: [data/clean.csv]}
  main:
    parameters: {alpha: float, raw: {type: path, default: raw.csv}, day: {type: string, default: monday}}
    inputs: [data/clean.csv, "in/{day}.csv", "in/{alpha}.csv", MLproject]
    resources: {gpus: 64, memory: 900TiB}
    command: 'true'
""",
    )
    done = shell.mlrun("doctor", ".", "--offline")
    assert done.returncode == 1
    below = done.stdout.partition("the project demo\n")[2]
    assert [line.split(maxsplit=1)[0] for line in below.splitlines() if line[:1].isalpha()] == [
        "lacking",  # environment
        "note",  # parameter
        *["lacking"] * 5,  # three inputs, memory, GPUs
    ]
    for text in (
        "no Python 3.99 is installed",
        "`uv python install 3.99`",
        "to be given: alpha (float)",
        "→ `mlrun run -P alpha=…`",
        "the input data/clean.csv is not there",
        "→ `mlrun run . -e prepare` makes it",
        "the input in/monday.csv is not there",
        "the input raw.csv is not there",
        "the project asks for 64 GPUs, and here is ",
        "the project asks for 900.0 TiB, and here is ",
    ):
        assert text in below, text
    assert below.splitlines()[-1] == "6 things that the project needs are lacking"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entry_points: [\n", "MLproject:"),
        ("python_env: nowhere.yaml\nentry_points: {main: {command: 'true'}}\n", "nowhere.yaml"),
    ],
)
def test_a_project_that_cannot_be_read_is_what_is_lacking(shell: Shell, text: str, message: str) -> None:
    project(shell, text)
    found = checks(shell, ".", "--offline", code=1)
    assert found["project"]["project"]["state"] == "lacking"
    assert message in found["project"]["project"]["text"]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["nowhere", "https://127.0.0.1:1/a/b.git", "x\ny", ""])
def test_a_target_that_is_not_there_is_what_is_lacking(shell: Shell, target: str) -> None:
    found = checks(shell, target, "--offline", code=1)
    assert found["project"]["project"]["state"] == "lacking"


@pytest.mark.slow
def test_an_unknown_entry_point_is_said(shell: Shell) -> None:
    project(shell, "environment: {requirements: []}\nentry_points: {main: {command: 'true'}}\n")
    found = checks(shell, ".", "-e", "train", "--offline", code=1)
    assert found["project"]["entry-point"]["text"] == "no entry point `train`; there are: main"
    assert shell.mlrun("doctor", "-e", "train").returncode == 2


@pytest.mark.slow
def test_places_that_cannot_be_written(shell: Shell, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        shell.variables["MLRUN_HOME"] = "/proc/nowhere/home"
    else:
        (tmp_path / "closed").mkdir(mode=0o500)
        shell.variables["MLRUN_HOME"] = str(tmp_path / "closed/home")
    done = shell.mlrun("doctor", "--offline", "--json")
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["machine"]


# --- the registry -------------------------------------------------------------------------------------


class Index(BaseHTTPRequestHandler):
    """Refuses, as its server says."""

    def do_GET(self) -> None:
        self.send_response(self.server.status)  # type: ignore[attr-defined]  # set below
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def index(shell: Shell) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://ada:s3cret@127.0.0.1:{server.server_port}/simple"
    shell.variables |= {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": url,
        "DOCKER_HOST": "unix:///nowhere",
        "UV_FIND_LINKS": "",
    }
    for name in (
        "PIP_FIND_LINKS",
        "UV_INDEX_URL",
        "UV_DEFAULT_INDEX",
        "PIP_EXTRA_INDEX_URL",
        "UV_EXTRA_INDEX_URL",
        "UV_INDEX",
    ):
        shell.variables.pop(name, None)
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "state", "said"),
    [(404, "ok", "/simple"), (401, "lacking", "it refuses your credentials"), (403, "lacking", "refuses")],
)
def test_what_an_index_answers(
    shell: Shell, index: ThreadingHTTPServer, status: int, state: str, said: str
) -> None:
    index.status = status  # type: ignore[attr-defined]  # read by the handler
    done = shell.mlrun("doctor", "--json")
    found = {it["code"]: it for it in json.loads(done.stdout)["machine"]}["registry"]
    assert (found["state"], said in found["text"]) == (state, True), found
    assert "s3cret" not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_dead_index_is_said(shell: Shell, index: ThreadingHTTPServer) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shell.variables["PIP_INDEX_URL"] = f"http://ada:s3cret@127.0.0.1:{port}/simple"
    done = shell.mlrun("doctor")
    assert done.returncode == 1
    assert f"http://127.0.0.1:{port}/simple: it cannot be reached" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("url", ["nonsense", "https://", "http://[", "a b"])
def test_an_index_that_is_none_is_said(shell: Shell, index: ThreadingHTTPServer, url: str) -> None:
    shell.variables["PIP_INDEX_URL"] = url
    done = shell.mlrun("doctor")
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("complaint", "words"),
    [
        ("invalid peer certificate: UnknownIssuer", "its certificate is not trusted"),
        ("dns error: failed to lookup address information", "its name is not known here"),
        ("Failed to fetch: operation timed out", "it does not answer in time"),
    ],
)
def test_what_refusals_mean(complaint: str, words: str) -> None:
    check = refused("https://index/simple", complaint)
    assert (check.state, check.text) == ("absent", f"https://index/simple: {words}")
    assert check.hint


@pytest.mark.slow
def test_an_engine_that_runs_is_named(shell: Shell, docker_client: Any) -> None:
    found = checks(shell, "--offline", code=0)["docker"]
    assert found["state"] == "ok"
    assert docker_client.version()["Version"] in found["text"]


@pytest.mark.slow
def test_the_registry_of_this_machine_answers(shell: Shell) -> None:
    assert checks(shell, code=0)["registry"]["state"] == "ok"


# --- the verdict --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([("ok", True)], 0),
        ([("absent", False), ("note", False), ("skipped", True)], 0),
        ([("unknown", False)], 0),
        ([("unknown", True)], 2),
        ([("unknown", True), ("lacking", True)], 1),
    ],
)
def test_the_exit_code(states: list[tuple[Any, bool]], code: int) -> None:
    made = tuple(
        Check(code=f"c{number}", state=state, text="", needed=needed)
        for number, (state, needed) in enumerate(states)
    )
    assert Diagnosis(machine=made).exit_code == code
    assert Diagnosis(machine=(), project=Needs(name="p", checks=made)).exit_code == code


def test_details_are_shown_where_they_help() -> None:
    fine = Check(code="a", state="ok", text="fine", hint="never mind", details=("more",))
    bad = Check(code="b", state="lacking", text="bad", hint="do it", details=("why",))
    shown = "\n".join(
        state + text for state, text in view.lines(Diagnosis(machine=(fine, bad)), verbose=False)
    )
    assert "never mind" not in shown
    assert "more" not in shown
    assert "why" in shown
    assert "→ do it" in shown
    all_of_it = view.lines(Diagnosis(machine=(fine,)), verbose=True)
    assert any("more" in text for _, text in all_of_it)
