"""Containers, on a real engine, as a user has them: a command line, a project, an image.

The engine and the image come from `docker_engine`; nothing is fetched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlrun.determinism import THREADS
from mlrun.env.containers import context, dockerfile, engine, options, provision, volumes
from mlrun.env.containers.images import has_registry, repository_of
from mlrun.errors import EnvironmentBuildError, UsageError
from mlrun.model import Caller
from tests.docker_engine import base, containers, docker_client
from tests.shells import Shell
from tests.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["base", "docker_client"]  # fixtures

SECRET = "s3cr3t-v4lue"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def shell(tmp_path: Path, project: Path, warm_cache: Path) -> Shell:
    return Shell(tmp_path, project, warm_cache)


@pytest.fixture
def engine_is_clean(docker_client: Any) -> Iterator[None]:
    """Whatever a test does, no container of mlrun is left; those of tests beside us do not count."""
    before = set(_ids(docker_client))
    yield
    assert _soon(lambda: not _idle(docker_client, set(_ids(docker_client)) - before))


def _soon(holds: Callable[[], bool]) -> bool:
    """Whether something holds before long: what tests beside us do passes, what we left stays."""
    deadline = time.monotonic() + 120
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds()


def _idle(client: Any, ids: set[str]) -> list[str]:
    return [each for each in ids if not _is_running(client, each)]


def _ids(client: Any) -> list[str]:
    found = client.api.containers(all=True, filters={"label": "mlrun.maker"})
    return [each["Id"] for each in found]


def _is_running(client: Any, container: str) -> bool:
    from docker.errors import NotFound

    try:
        return bool(client.api.inspect_container(container)["State"]["Running"])
    except NotFound:
        return True  # another's, gone since


def write(project: Path, image: str, command: str, *, docker: str = "", more: str = "") -> None:
    head = f"name: boxed\ndocker_env:\n  image: {image}\n{docker}entry_points:\n  main:\n{more}"
    (project / "MLproject").write_text(f"{head}    command: {json.dumps(command)}\n")


def script(project: Path, text: str) -> None:
    (project / "program.py").write_text(text)


# --- what needs no engine -------------------------------------------------------------------------------


def caller(directory: Path, **variables: str) -> Caller:
    return Caller(directory=str(directory), variables={"HOME": "/home/ada", **variables})


@pytest.mark.parametrize(
    ("text", "source", "target", "read_only"),
    [
        ("/a:/b", "/a", "/b", False),
        ("/a:/b:ro", "/a", "/b", True),
        ("$DATA/x:/b", "/srv/x", "/b", False),
        ("${DATA}:/b/", "/srv", "/b", False),
        ("~/d:/d", "/home/ada/d", "/d", False),
        ("./sub:/d", "PROJECT/sub", "/d", False),
        ("../up:/d", "PROJECT/../up", "/d", False),
        ("$(pwd)/x:/d", "PROJECT/x", "/d", False),
        ("$PWD:/d:ro,z", "PROJECT", "/d", True),
        ("named:/d", "named", "/d", False),
        ("/only", None, "/only", False),
    ],
)
def test_volumes_are_read_as_docker_reads_them(
    project: Path, text: str, source: str | None, target: str, read_only: bool
) -> None:
    found = volumes.read(text, directory=project, caller=caller(project, DATA="/srv"))
    wanted = None if source is None else os.path.normpath(source.replace("PROJECT", str(project)))
    assert (found.source, found.target, found.read_only) == (wanted, target, read_only)
    assert volumes.read(found.as_text(), directory=project, caller=caller(project)) == found


def test_a_folder_of_the_project_is_meant_rather_than_a_volume_of_its_name(project: Path) -> None:
    (project / "data").mkdir()
    found = volumes.read("data:/d", directory=project, caller=caller(project))
    assert found.source == str(project / "data")


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("$NOPE/x:/d", "unset-variable", "NOPE"),
        ("/a:relative", "bad-volume", "absolute"),
        ("/a:/b:ro:x", "bad-volume", "three"),
        ("/a:/b:readonly", "bad-volume", "readonly"),
        (":/b", "bad-volume", "nothing"),
    ],
)
def test_a_wrong_volume_is_explained(project: Path, text: str, code: str, words: str) -> None:
    with pytest.raises(EnvironmentBuildError) as caught:
        volumes.read(text, directory=project, caller=caller(project))
    assert caught.value.code == code
    assert words in caught.value.message


def test_a_missing_folder_is_an_error_unless_only_mlflow_would_look_into_it(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    store = volumes.Volume(source=missing, target="/mlflow/tmp/mlruns")
    kept, said = volumes.existing([store, volumes.Volume(source=str(tmp_path), target="/d")], place=None)
    assert [volume.target for volume in kept] == ["/d"]
    assert missing in said[0]
    with pytest.raises(EnvironmentBuildError) as caught:
        volumes.existing([volumes.Volume(source=missing, target="/data")], place=None)
    assert caught.value.code == "no-such-volume"


def settings() -> options.Settings:
    return {"mounts": [], "environment": {}, "image": "x"}


@pytest.mark.parametrize(
    ("given", "key", "expected"),
    [
        (("gpus", "all"), "device_requests", -1),
        (("memory", "512m"), "mem_limit", 512 * 1024**2),
        (("m", "1.5g"), "mem_limit", int(1.5 * 1024**3)),
        (("cpus", "0.5"), "nano_cpus", 500_000_000),
        (("network", "host"), "network_mode", "host"),
        (("net", "none"), "network_mode", "none"),
        (("u", "1:2"), "user", "1:2"),
        (("shm-size", "64m"), "shm_size", 64 * 1024**2),
        (("privileged", None), "privileged", True),
        (("add-host", "db:10.0.0.1"), "extra_hosts", {"db": "10.0.0.1"}),
        (("entrypoint", "tini --"), "entrypoint", ["tini", "--"]),
        (("entrypoint", ""), "entrypoint", [""]),
        (("ulimit", "nofile=1024:2048"), "ulimits", [{"Name": "nofile", "Soft": 1024, "Hard": 2048}]),
        (("p", "127.0.0.1:8080:80"), "ports", {"80/tcp": ["127.0.0.1", 8080]}),
        (("publish", "8080:80/udp"), "ports", {"80/udp": 8080}),
    ],
)
def test_options_of_docker_run(
    project: Path, given: tuple[str, str | None], key: str, expected: object
) -> None:
    found = settings()
    options.apply((given,), found, directory=project, caller=caller(project))
    assert (found[key][0]["Count"] if key == "device_requests" else found[key]) == expected


def test_options_that_are_given_again_add_up(project: Path) -> None:
    found = settings()
    (project / "vars").write_text("# these\nA=from file\nHOME\nNOPE\n")
    arguments = (
        ("v", "/a:/b"), ("volume", "/c:/d:ro"), ("e", "A=1"), ("env", "HOME"), ("cap-add", "SYS_PTRACE"),
        ("cap-add", "NET_ADMIN"), ("rm", None), ("t", None), ("env-file", "vars"),
    )  # fmt: skip
    options.apply(arguments, found, directory=project, caller=caller(project))
    assert [mount["Target"] for mount in found["mounts"]] == ["/b", "/d"]
    assert found["environment"] == {"A": "from file", "HOME": "/home/ada"}
    assert found["cap_add"] == ["SYS_PTRACE", "NET_ADMIN"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("memroy", "2g"), "did you mean `memory`?"),
        (("name", "x"), "after the run"),
        (("d", None), "waits"),
        (("memory", "much"), "512m"),
        (("memory", None), "needs a value"),
        (("cpus", "some"), "number of cores"),
        (("env", "NOPE"), "not set"),
    ],
)
def test_wrong_options_are_explained(project: Path, given: tuple[str, str | None], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        options.apply((given,), settings(), directory=project, caller=caller(project))
    assert words in f"{caught.value.message} {caught.value.hint}"


def test_the_engine_is_where_docker_would_look(tmp_path: Path) -> None:
    assert engine.address(caller(tmp_path, DOCKER_HOST="unix:///x.sock")).url == "unix:///x.sock"
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").touch()
    secure = engine.address(
        caller(tmp_path, DOCKER_HOST="tcp://h:2376", DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(tmp_path))
    )
    assert (secure.secure, secure.verify, len(secure.tls)) == (True, True, 3)
    assert engine.Address.from_json(json.loads(json.dumps(secure.as_json()))) == secure


def test_a_context_names_the_engine(tmp_path: Path) -> None:
    inside = tmp_path / "contexts/meta" / hashlib.sha256(b"far").hexdigest()
    inside.mkdir(parents=True)
    (inside / "meta.json").write_text(json.dumps({"Endpoints": {"docker": {"Host": "tcp://far:2375"}}}))
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "far"}))
    assert engine.address(caller(tmp_path, DOCKER_CONFIG=str(tmp_path))).url == "tcp://far:2375"
    with pytest.raises(EnvironmentBuildError) as caught:
        engine.address(caller(tmp_path, DOCKER_CONFIG=str(tmp_path), DOCKER_CONTEXT="nope"))
    assert caught.value.code == "no-engine"


def test_a_dockerfile_is_understood_as_far_as_needed() -> None:
    text = (
        "# syntax=docker/dockerfile:1\nARG TAG=3\nFROM python:$TAG AS build\n\nRUN a \\\n  # why\n  b\n"
        "RUN <<EOF\nFROM nothing\nEOF\nFROM --platform=linux/amd64 debian:12\nCOPY --from=build /x /x\n"
    )
    assert [each.line for each in dockerfile.instructions(text)] == [2, 3, 5, 8, 11, 12]
    assert dockerfile.instructions(text)[2].text == "RUN a b"
    assert dockerfile.bases(text) == ("debian:12",)
    assert dockerfile.line_of("COPY --from=build /x", text) == 12


def test_a_context_leaves_out_what_it_is_told_to(tmp_path: Path) -> None:
    for name in ("a.py", "data/big.bin", "data/small.csv", ".git/index", "Dockerfile", "sub/.git"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".dockerignore").write_text("# not these\ndata/*\n!data/small.csv\nDockerfile\n")
    found = context.files(tmp_path, keep=["Dockerfile"])
    assert found == [".dockerignore", "Dockerfile", "a.py", "data", "data/small.csv", "sub"]
    before = context.digest_of(tmp_path, found)
    os.utime(tmp_path / "a.py", (1, 1))
    assert context.digest_of(tmp_path, found) == before
    (tmp_path / "a.py").write_text("changed")
    assert context.digest_of(tmp_path, found) != before


def test_names_of_images() -> None:
    assert repository_of("host:5000/team/image:tag@sha256:0") == "host:5000/team/image"
    assert repository_of("host:5000/image") == "host:5000/image"
    assert [has_registry(name) for name in ("ghcr.io/a/b", "localhost/a", "h:5000/a", "a/b", "a")] == [
        True, True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("docker_host", "code"), [("unix:///no/such.sock", "no-engine"), ("tcp://127.0.0.1:1", "no-engine")]
)
def test_a_missing_engine_is_one_clear_message(
    shell: Shell, project: Path, docker_host: str, code: str
) -> None:
    write(project, "busybox", "true")
    shell.variables["DOCKER_HOST"] = docker_host
    done = shell.mlrun("run", ".")
    assert done.returncode == 125
    assert "container engine" in done.stderr
    assert "Traceback" not in done.stderr
    assert shell.show()["error"]["code"] == code


# --- on an engine ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("engine_is_clean")
class TestInTheContainer:
    def test_a_run_is_recorded_as_in_a_venv(self, shell: Shell, project: Path, base: str) -> None:
        (project / "in.csv").write_text("1\n")
        script(
            project,
            "import json, os, sys\n"
            "open('out.txt', 'w').write(open(sys.argv[1]).read())\n"
            "with open(os.environ['MLRUN_METRICS'], 'a') as f: f.write(json.dumps({'loss': 0.5}) + '\\n')\n"
            "print(os.getcwd())\n",
        )
        write(
            project,
            base,
            "python program.py {data}",
            more="    parameters: {data: {type: path, default: in.csv}}\n    outputs: [out.txt]\n",
        )
        record = shell.record(".")
        assert (record["status"], record["metrics"]["loss"]["last"]) == ("finished", 0.5)
        assert record["inputs"][0]["digest"] == record["outputs"][0]["digest"]
        environment = record["environment"]
        assert environment["kind"] == "docker"
        assert environment["image"]["name"] == base
        assert environment["image"]["id"].startswith("sha256:")
        assert environment["image"]["platform"].startswith("linux/")
        assert shell.mlrun("logs").stdout == f"{project}\n"

    def test_output_comes_apart_and_byte_for_byte(self, shell: Shell, project: Path, base: str) -> None:
        script(
            project,
            "import os\nevery = bytes(range(256))\n"
            "for _ in range(40): os.write(1, every * 100)\nos.write(2, every[::-1])\n",
        )
        write(project, base, "python program.py")
        done = subprocess.run(
            shell.argv("run", ".", "-q"), cwd=project, env=shell.variables, capture_output=True
        )
        assert done.returncode == 0
        assert done.stdout == bytes(range(256)) * 4000
        assert done.stderr == bytes(range(256))[::-1]

    def test_input_passes(self, shell: Shell, project: Path, base: str) -> None:
        write(project, base, "wc -c")
        assert shell.mlrun("run", ".", "-q", input="x" * 100_000).stdout == "100000\n"

    @pytest.mark.parametrize(
        ("command", "code"),
        [("exit 7", 7), ("no-such-program", 127), ("/etc/passwd", 126), ("kill -9 $$", 137)],
    )
    def test_the_exit_code_is_the_programs_own(
        self, shell: Shell, project: Path, base: str, command: str, code: int
    ) -> None:
        write(project, base, command)
        assert shell.mlrun("run", ".").returncode == code
        assert shell.show()["exit_code"] == code

    def test_hostile_values_get_in_and_nothing_else_does(
        self, shell: Shell, project: Path, base: str
    ) -> None:
        hostile = 'it\'s "$(touch /tmp/x)" `id`\n; && | ü *'
        script(project, "import json, os, sys\nprint(json.dumps([sys.argv[1:], dict(os.environ)]))\n")
        write(
            project,
            base,
            "python program.py {text} && true",
            docker='  environment: [COPIED, [NEW, "n v"], [ODD, "a\\n$(id) \'"], [EMPTY, ""]]\n',
            more='    parameters: {text: string}\n    env: {MODE: "{text}"}\n',
        )
        shell.variables.update(COPIED="c d", NOT_DECLARED=SECRET)
        done = shell.mlrun("run", ".", "-q", "-P", f"text={hostile}")
        arguments, variables = json.loads(done.stdout)
        assert arguments == [hostile]
        assert (variables["COPIED"], variables["NEW"], variables["ODD"]) == ("c d", "n v", "a\n$(id) '")
        assert (variables["EMPTY"], variables["MODE"]) == ("", hostile)
        assert SECRET not in done.stdout
        ours = {"COPIED", "NEW", "ODD", "EMPTY", "MODE", "MLRUN_RUN_ID", "MLRUN_METRICS", "PYTHONUNBUFFERED"}
        its_own = {"PATH", "HOME", "HOSTNAME", "PWD", "SHLVL", "_"}
        for_watching = {"DO_NOT_TRACK", "LD_PRELOAD", "PYTHONPATH"}
        for_repeating = {"PYTHONHASHSEED", "CUBLAS_WORKSPACE_CONFIG", "SOURCE_DATE_EPOCH", *THREADS}
        told = (
            {name for name in variables if not name.startswith(("MLFLOW_", "MLRUN_OBSERVE"))}
            - for_watching
            - for_repeating
        )
        assert told == ours | its_own
        recorded = shell.show()["env_vars"]
        assert (recorded["NEW"], recorded["COPIED"]) == ("n v", None)
        assert set(recorded) == {"COPIED", "NEW", "ODD", "EMPTY", "MODE"}

    def test_all_missing_variables_are_named_before_the_start(
        self, shell: Shell, project: Path, base: str
    ) -> None:
        write(project, base, "true", docker="  environment: [NOPE_A, [B, b], NOPE_C]\n")
        done = shell.mlrun("run", ".")
        assert done.returncode == 125
        assert "NOPE_A, NOPE_C" in done.stderr
        assert "MLproject:2:1" in done.stderr
        assert shell.show()["error"]["code"] == "unset-variable"

    def test_the_tracking_server_of_its_author_is_not_asked_for(
        self, shell: Shell, project: Path, base: str
    ) -> None:
        names = "MLFLOW_TRACKING_URI, MLFLOW_TRACKING_PASSWORD"
        write(project, base, "true", docker=f"  environment: [{names}]\n")
        done = shell.mlrun("run", ".")
        assert done.returncode == 0, done.stderr
        shell.variables["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"
        done = shell.mlrun("run", ".")
        assert done.returncode == 125
        assert "not set: MLFLOW_TRACKING_PASSWORD" in done.stderr

    def test_the_shell_is_the_containers(self, shell: Shell, project: Path, base: str) -> None:
        """MLflow joins the command into the host's shell, where everything after `&&` runs as the user."""
        write(
            project, base, "test -f /.dockerenv && echo inside && [[ -f /.dockerenv ]] && cat ../beside.txt"
        )
        (project.parent / "beside.txt").write_text("not of the project\n")
        assert shell.mlrun("run", ".", "-q").stdout == "inside\n"

    def test_a_project_in_a_repository_sees_all_of_it(self, shell: Shell, project: Path, base: str) -> None:
        inner = project / "models"
        inner.mkdir()
        (project / "shared.txt").write_text("shared\n")
        write(inner, base, "cat ../shared.txt /mlflow/projects/code/own.txt")
        (inner / "own.txt").write_text("own\n")
        for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
            subprocess.run(["git", *arguments], cwd=project, check=True)
        assert shell.mlrun("run", "models", "-q").stdout == "shared\nown\n"

    def test_a_path_from_elsewhere_is_mounted_to_be_read(
        self, shell: Shell, project: Path, base: str, tmp_path: Path
    ) -> None:
        data = tmp_path / "elsewhere" / "data set.csv"
        data.parent.mkdir()
        data.write_text("far\n")
        write(project, base, "cat {data}; echo x >> {data}", more="    parameters: {data: path}\n")
        done = shell.mlrun("run", ".", "-q", "-P", f"data={data}")
        assert done.stdout == "far\n"
        assert data.read_text() == "far\n"

    def test_volumes_are_mounted(self, shell: Shell, project: Path, base: str, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data/x").write_text("x\n")
        (project / "own").mkdir()
        (project / "own/y").write_text("y\n")
        write(
            project,
            base,
            "cat /data/x /own/y /extra/x; echo z > /own/z; echo no > /data/no",
            docker='  volumes: ["$DATA:/data:ro", "own:/own"]\n',
        )
        shell.variables["DATA"] = str(tmp_path / "data")
        done = shell.mlrun("run", ".", "-q", "-A", f"v={tmp_path / 'data'}:/extra:ro")
        assert done.stdout == "x\ny\nx\n"
        assert (project / "own/z").read_text() == "z\n"
        assert not (tmp_path / "data/no").exists()

    def test_limits_are_passed_and_the_cost_is_measured(self, shell: Shell, project: Path, base: str) -> None:
        script(
            project,
            "import time\nx = b'x' * 30_000_000\nend = time.time() + 1.2\nwhile time.time() < end: pass\n",
        )
        write(project, base, "python program.py", more="    resources: {cpus: 1.5, memory: 200MiB}\n")
        assert shell.mlrun("run", ".").returncode == 0
        cost = shell.show()["resources"]
        assert cost["max_rss_bytes"] > 30_000_000
        assert cost["cpu_s"] > 0.1

    def test_over_the_limit_of_memory_is_said(self, shell: Shell, project: Path, base: str) -> None:
        script(project, "x = bytearray(400 * 1024 ** 2)\nprint(len(x))\n")
        write(project, base, "exec python program.py", more="    resources: {memory: 64MiB}\n")
        done = shell.mlrun("run", ".")
        assert done.returncode == 137
        assert "the container ran out of memory (64.0 MiB)" in done.stderr
        assert shell.show()["error"]["code"] == "out-of-memory"

    def test_a_gpu_that_no_driver_serves_is_one_clear_error(
        self, shell: Shell, project: Path, base: str, docker_client: Any
    ) -> None:
        if "nvidia" in docker_client.info().get("Runtimes", {}):
            pytest.skip("this machine has GPUs")
        write(project, base, "true", more="    resources: {gpus: 1}\n")
        done = shell.mlrun("run", ".")
        assert done.returncode == 125
        assert "no driver for GPUs" in done.stderr
        assert shell.show()["error"]["code"] == "no-gpu-driver"

    def test_a_terminal_reaches_the_program(self, shell: Shell, project: Path, base: str) -> None:
        script(
            project,
            "import os, sys, time\n"
            "while os.get_terminal_size().columns != 77: time.sleep(0.01)\n"
            "print(all(os.isatty(n) for n in range(3)), os.get_terminal_size().columns)\n"
            "print('you said', input())\n",
        )
        write(project, base, "python program.py", more="    timeout: 30s\n")
        shown = _in_terminal(shell, ["run", "."], columns=77, keys=b"hello\r")
        assert "True 77\r\n" in shown
        assert shown.count("hello") == 2  # what was typed, and what was said to it: one terminal echoes
        assert "you said hello\r\n" in shown
        assert shell.mlrun("logs").stdout.count("\r") == 0

    def test_ctrl_c_in_a_terminal(self, shell: Shell, project: Path, base: str) -> None:
        script(project, "import time\nprint('True ', flush=True)\ntime.sleep(60)\n")
        write(project, base, "python program.py && echo never")
        shown = _in_terminal(shell, ["run", "."], columns=80, keys=b"\x03")
        assert "KeyboardInterrupt" in shown
        assert "\r\nnever" not in shown
        record = shell.show()
        assert (record["status"], record["signal"]) == ("killed", "SIGINT")

    def test_a_command_has_the_users_own_terminal(self, shell: Shell, project: Path, base: str) -> None:
        script(project, "print('True ', flush=True)\nprint('you said', input())\n")
        write(project, base, "true")
        arguments = ["exec", ".", "--", "python", "program.py"]
        assert "you said hello\r\n" in _in_terminal(shell, arguments, columns=80, keys=b"hello\r")

    def test_links_out_of_the_project_are_said(
        self, shell: Shell, project: Path, base: str, tmp_path: Path
    ) -> None:
        (tmp_path / "far").mkdir()
        (project / "data").symlink_to(tmp_path / "far")
        (project / "own").symlink_to("MLproject")
        write(project, base, "ls data/")
        done = shell.mlrun("run", ".")
        assert done.returncode != 0
        assert f"`data` leads to {tmp_path / 'far'}, which the container does not see" in done.stderr
        assert "`own`" not in done.stderr


def _in_terminal(shell: Shell, arguments: list[str], *, columns: int, keys: bytes) -> str:
    """What a terminal of that width shows of a run; the keys are typed once the program has said `True `.

    Afterwards the terminal is as it was.
    """
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    before = termios.tcgetattr(ours)
    child = subprocess.Popen(
        shell.argv(*arguments), cwd=shell.cwd, env=shell.variables | {"TERM": "xterm"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    too_long = threading.Timer(60, child.kill)
    too_long.start()
    shown, typed = b"", False
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:
            break
        shown += chunk
        if not typed and b"True " in shown:
            os.write(ours, keys)
            typed = True
    child.wait()
    too_long.cancel()
    assert termios.tcgetattr(ours) == before
    os.close(ours)
    return shown.decode()


@pytest.mark.slow
@pytest.mark.usefixtures("engine_is_clean")
class TestHowItEnds:
    @pytest.mark.parametrize(
        ("number", "joined"), [(signal.SIGINT, "&&"), (signal.SIGTERM, "&&"), (signal.SIGTERM, ";")]
    )
    def test_a_signal_reaches_all_of_it(
        self, shell: Shell, project: Path, base: str, number: signal.Signals, joined: str
    ) -> None:
        """And whoever listens has the time to end as it likes, before the container goes with its shell."""
        script(
            project,
            "import signal, sys, time\n"
            "def told(*_):\n    time.sleep(1)\n    print('told', flush=True)\n    sys.exit(3)\n"
            f"signal.signal({int(number)}, told)\n"
            "print('ready', flush=True)\ntime.sleep(60)\n",
        )
        write(project, base, f"python program.py {joined} echo never")
        with shell.start("run", ".", "-q") as run:
            assert run.stdout is not None
            assert run.stdout.readline() == "ready\n"
            run.send_signal(number)
            out, _ = run.communicate(timeout=60)
        assert out == "told\n"
        record = shell.show()
        assert (record["status"], record["signal"]) == ("killed", number.name)

    def test_time_is_up_for_who_does_not_listen(self, shell: Shell, project: Path, base: str) -> None:
        write(project, base, "trap '' TERM INT; sleep 60; sleep 60")
        assert shell.mlrun("run", ".", "--timeout", "1").returncode == 124
        assert shell.show()["error"]["code"] == "timed-out"

    def test_after_kill_the_container_goes_too(
        self, shell: Shell, project: Path, base: str, docker_client: Any
    ) -> None:
        """We and our helper are killed at once: nobody can tidy up, so the next run does."""
        write(project, base, "echo ready; sleep 300")
        with shell.start("run", ".", "-q") as run:
            assert run.stdout is not None
            assert run.stdout.readline() == "ready\n"
            record = next(shell.home.runs.glob("*/*/record.json"))
            name = f"mlrun-{json.loads(record.read_text())['id']}"
            for pid in _children_of(run.pid):
                os.kill(pid, signal.SIGKILL)
            run.kill()
            run.communicate()
        write(project, base, "true")
        assert shell.mlrun("run", ".").returncode == 0
        assert name not in containers(docker_client)

    def test_the_container_does_not_outlive_mlrun(
        self, shell: Shell, project: Path, base: str, docker_client: Any
    ) -> None:
        write(project, base, "echo ready; sleep 300")
        with shell.start("run", ".", "-q") as run:
            assert run.stdout is not None
            assert run.stdout.readline() == "ready\n"
            record = next(shell.home.runs.glob("*/*/record.json"))
            name = f"mlrun-{json.loads(record.read_text())['id']}"
            run.kill()
            run.communicate()
        assert _soon(lambda: name not in containers(docker_client))


def _children_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in found.stdout.split()]


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("uid", [1234, 4321])
def test_files_belong_to_who_asked(docker_client: Any, base: str, uid: int) -> None:
    """1234 is known to the image and has a home there, 4321 has neither."""
    socket_group = os.stat("/var/run/docker.sock").st_gid
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = folder / "project"
        project.mkdir()
        script(
            project,
            "import getpass, os, pathlib\nprint(os.getuid(), os.getgid(), getpass.getuser())\n"
            "(pathlib.Path.home() / 'kept').write_text('x')\npathlib.Path('made/deep').mkdir(parents=True)\n"
            "pathlib.Path('made/deep/file').write_text('x')\n",
        )
        write(project, base, "python program.py", more="    outputs: [made]\n")
        for path in (folder, *folder.rglob("*")):
            os.chown(path, uid, uid)
        shell = Shell(folder, project)
        shell.variables["HOME"] = str(folder)
        # The interpreter may lie in root's home: to find it there is all that this user may more than others.
        become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={socket_group}"]
        become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        done = subprocess.run(
            [*become, *shell.argv("run", ".", "-q")],
            cwd=project,
            env=shell.variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[:2] == [str(uid), str(uid)]
        made = project / "made/deep/file"
        assert (made.stat().st_uid, made.stat().st_gid) == (uid, uid)


@pytest.fixture
def images_go(docker_client: Any, shell: Shell, base: str) -> Iterator[None]:
    """What the runs of a test had built is removed after it."""
    from docker.errors import APIError

    kept = docker_client.images.get(base).id
    yield
    records = (json.loads(path.read_text()) for path in shell.home.runs.glob("*/*/record.json"))
    images = {(record["environment"].get("image") or {}).get("id") for record in records} - {kept, None}
    for image in images:
        with contextlib.suppress(APIError):
            docker_client.images.remove(image, force=True)


@pytest.mark.slow
@pytest.mark.usefixtures("engine_is_clean", "images_go")
class TestImages:
    @pytest.fixture(params=["classic", "buildkit"])
    def builder(self, request: pytest.FixtureRequest, shell: Shell) -> str:
        """Both builders, where the docker program knows BuildKit."""
        if request.param == "classic":
            shell.variables["DOCKER_BUILDKIT"] = "0"
            return "classic builder"
        for folder in ("/usr/bin", *shell.variables["PATH"].split(os.pathsep)):
            program = os.path.join(folder, "docker")
            if os.path.exists(program) and _knows_buildkit(program):
                shell.variables["PATH"] = f"{folder}{os.pathsep}{shell.variables['PATH']}"
                return "BuildKit"
        pytest.skip("no docker program that knows BuildKit")

    def test_a_dockerfile_is_built_once_a_content(
        self, shell: Shell, project: Path, base: str, builder: str, tmp_path: Path
    ) -> None:
        (project / "docker").mkdir()
        (project / "docker/Dockerfile").write_text(
            f"FROM {base}\nCOPY version.txt /\nRUN cat /version.txt > /made\n"
        )
        text = f"one {tmp_path}"
        (project / "version.txt").write_text(text)
        (project / "MLproject").write_text(
            "docker_env: {build: ., dockerfile: docker/Dockerfile}\n"
            "entry_points: {main: {command: cat /made}}\n"
        )
        first = shell.mlrun("run", ".")
        assert (first.returncode, first.stdout) == (0, text), first.stderr
        assert builder in first.stderr
        image = shell.show()["environment"]["image"]
        again = shell.mlrun("run", ".")
        assert "building" not in again.stderr
        assert shell.show()["environment"]["image"] == image
        (project / "version.txt").write_text(f"two {tmp_path}")
        assert shell.mlrun("run", ".", "--skip-image-build").stdout == text
        assert shell.mlrun("run", ".").stdout == f"two {tmp_path}"

    @pytest.mark.usefixtures("builder")
    def test_a_build_that_fails_names_the_line(
        self, shell: Shell, project: Path, base: str, docker_client: Any
    ) -> None:
        nameless = _nameless(docker_client)
        (project / "Dockerfile").write_text(
            f"FROM {base}\n# a comment\nRUN echo made {project} && \\\n  cat /nope\n"
        )
        (project / "MLproject").write_text("docker_env: {build: .}\nentry_points: {main: {command: ls}}\n")
        done = shell.mlrun("run", ".")
        assert done.returncode == 125
        assert "Dockerfile:3:1: cannot build the image" in done.stderr
        assert "can't open '/nope'" in done.stderr
        log = Path(done.stderr.partition("the whole log: ")[2].splitlines()[0])
        assert "nope" in log.read_text()
        (project / "Dockerfile").write_text(f"FROM {base}\nRUNN x\n")
        assert (
            "Dockerfile:2:1: cannot build the image: unknown instruction: RUNN"
            in shell.mlrun("run", ".").stderr
        )
        assert _soon(lambda: _nameless(docker_client) <= nameless)

    def test_an_image_that_its_readers_are_told_to_build(
        self, shell: Shell, project: Path, base: str
    ) -> None:
        (project / "Dockerfile").write_text(f"FROM {base}\nRUN echo built > /made\n")
        write(project, "no-such-image-of-mlrun", "cat /made")
        shell.variables["DOCKER_BUILDKIT"] = "0"
        done = shell.mlrun("run", ".")
        assert (done.returncode, done.stdout) == (0, "built\n"), done.stderr
        record = shell.show()
        assert "built from the project's Dockerfile" in record["environment"]["adaptations"][0]
        (project / "Dockerfile").unlink()
        done = shell.mlrun("run", ".")
        assert done.returncode == 125
        assert "cannot pull the image no-such-image-of-mlrun" in done.stderr
        assert shell.show()["error"]["code"] in ("pull-failed", "no-image")

    @pytest.mark.parametrize(
        ("image", "code"), [("Bad_NAME", "bad-image-name"), ("127.0.0.1:9/x", "pull-failed"),
                            ("sha256:" + "0" * 64, "no-image")],
    )  # fmt: skip
    def test_an_image_that_cannot_be_had(self, shell: Shell, project: Path, image: str, code: str) -> None:
        write(project, image, "true")
        assert shell.mlrun("run", ".").returncode == 125
        assert shell.show()["error"]["code"] == code

    def test_without_bash_the_shell_is_sh(self, shell: Shell, project: Path, base: str) -> None:
        (project / "Dockerfile").write_text(f"FROM {base}\nRUN rm /bin/bash\n")
        (project / "MLproject").write_text(
            'docker_env: {build: .}\nentry_points: {main: {command: "echo $0; exit 4"}}\n'
        )
        shell.variables["DOCKER_BUILDKIT"] = "0"
        done = shell.mlrun("run", ".", "-q")
        assert (done.returncode, done.stdout) == (4, "sh\n")

    def test_the_project_is_copied_when_asked(
        self, shell: Shell, project: Path, base: str, docker_client: Any
    ) -> None:
        (project / "in.txt").write_text("in\n")
        script(
            project,
            "import os\nopen('in.txt', 'a').write('changed\\n')\n"
            "os.makedirs('a/b')\nopen('a/b/c', 'w').write('c')\n",
        )
        write(
            project,
            base,
            "cat /mlflow/projects/code/in.txt && pwd && python program.py && mount",
            more="    outputs: [a]\n",
        )
        done = shell.mlrun("run", ".", "--build-image", "-q")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"in\n{project}\n")
        assert f" {project} " not in done.stdout
        assert (project / "a/b/c").read_text() == "c"
        assert (project / "in.txt").read_text() == "in\nchanged\n"
        assert "a" in [item["path"] for item in shell.show()["outputs"]]
        for image in docker_client.images.list(name="mlrun-project-boxed"):
            docker_client.images.remove(image.id, force=True)

    def test_a_venv_runs_in_a_container(self, shell: Shell, project: Path, base: str, tmp_path: Path) -> None:
        make_wheel(tmp_path / "wheels", "tool", "1.0")
        (project / "local").mkdir()
        (project / "MLproject").write_text(
            f"environment: {{python: '{'.'.join(map(str, sys.version_info[:2]))}',"
            " requirements: requirements.txt}\n"
            "entry_points: {main: {command: 'test -f /.dockerenv && tool && which python'}}\n"
        )
        (project / "requirements.txt").write_text(f"--no-index\n--find-links {tmp_path / 'wheels'}\ntool\n")
        shell.variables["MLRUN_DOCKER_IMAGE"] = base
        done = shell.mlrun("run", ".", "--env-manager", "docker")
        assert (done.returncode, done.stdout) == (0, "tool 1.0\n/opt/mlrun/env/bin/python\n"), done.stderr
        record = shell.show()
        assert record["environment"]["kind"] == "docker"
        assert record["environment"]["lock"].startswith("blake3:")
        assert [each["name"] for each in record["environment"]["packages"]] == ["tool"]
        again = shell.mlrun("run", ".", "--env-manager", "docker")
        assert "reused" in again.stderr

    def test_one_goes_back_into_the_image_of_a_run(
        self, shell: Shell, project: Path, base: str, docker_client: Any
    ) -> None:
        (project / "Dockerfile").write_text(f"FROM {base}\nRUN echo {project} > /made\n")
        (project / "MLproject").write_text("docker_env: {build: .}\nentry_points: {main: {command: ls}}\n")
        shell.variables["DOCKER_BUILDKIT"] = "0"
        assert shell.mlrun("run", ".").returncode == 0
        (project / "Dockerfile").write_text(f"FROM {base}\nRUN echo other > /made\n")
        done = shell.mlrun("exec", "latest", "--", "cat", "/made")
        assert (done.returncode, done.stdout) == (0, f"{project}\n"), done.stderr
        docker_client.images.remove(shell.show()["environment"]["image"]["id"], force=True)
        done = shell.mlrun("exec", "latest", "--", "cat", "/made")
        assert done.returncode == 125
        assert "is no longer on this engine" in done.stderr

    def test_an_image_of_another_python_is_refused(self, shell: Shell, project: Path, base: str) -> None:
        other = next(
            (it for it in ("3.12", "3.10", "3.13") if shutil.which(f"python{it}") and it not in base), None
        )
        if other is None:
            pytest.skip("this machine has one Python")
        (project / "MLproject").write_text(
            f"environment: {{python: '{other}'}}\nentry_points: {{main: {{command: ls}}}}\n"
        )
        shell.variables["MLRUN_DOCKER_IMAGE"] = base
        assert shell.mlrun("run", ".", "--env-manager", "docker").returncode == 125
        assert shell.show()["error"]["code"] == "wrong-python"


@pytest.mark.parametrize("text", ["", "[]", '{"sha256:0": "x"}', '{"sha256:0": null}', '{"sha256:0": ["3"]}'])
def test_spoilt_notes_on_the_pythons_of_images_are_no_notes(tmp_path: Path, text: str) -> None:
    notes = tmp_path / "image-pythons.json"
    notes.write_text(text)
    assert provision._read(notes) == {}


def _knows_buildkit(program: str) -> bool:
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    old = "version 20." in version or "version 19." in version
    return old or subprocess.run([program, "buildx", "version"], capture_output=True).returncode == 0


def _nameless(client: Any) -> set[str]:
    return {image["Id"] for image in client.api.images(filters={"dangling": True})}
