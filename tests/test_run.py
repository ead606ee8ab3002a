"""`mlrun run` as a user types it: a real command line, real git, real programs, a home of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.shells import Shell

ROOT = Path(__file__).parent.parent
SECRET = "s3cr3t-v4lue"
NEEDS_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk to write to")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def shell(tmp_path: Path, project: Path, warm_cache: Path) -> Shell:
    return Shell(tmp_path, project, warm_cache)


def write(project: Path, command: str, more: str = "", *, git: bool = False) -> None:
    head = "name: demo\nenvironment: {requirements: []}\nentry_points:\n  main:\n"
    (project / "MLproject").write_text(f"{head}{more}    command: {json.dumps(command)}\n")
    if git:
        for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "first"]):
            subprocess.run(["git", *arguments], cwd=project, check=True)


def test_a_run_leaves_a_whole_record(shell: Shell, project: Path) -> None:
    (project / "in.csv").write_text("a,b\n1,2\n")
    write(
        project,
        "cp {data} out.csv; echo '{{\"rmse\": {alpha}}}' > m.json; echo said",
        more=(
            "    parameters:\n"
            "      data: {type: path, default: in.csv}\n"
            "      alpha: {type: float, default: 0.5}\n"
            "    outputs: [out.csv, {path: m.json, kind: metrics}]\n    env: {MODE: fast}\n"
        ),
        git=True,
    )
    record = shell.record(".", "-P", "alpha=0.25", "--name", "first", "--tag", "who=ada")
    assert (record["status"], record["exit_code"], record["project"]) == ("finished", 0, "demo")
    assert record["parameters"]["alpha"]["value"] == "0.25"
    assert record["parameters"]["alpha"]["from"] == "command line"
    assert record["metrics"]["rmse"]["last"] == 0.25
    assert [item["path"] for item in record["inputs"]] == ["in.csv"]
    assert [item["path"] for item in record["outputs"]] == ["out.csv", "m.json"]
    assert record["inputs"][0]["digest"] == record["outputs"][0]["digest"]
    head = subprocess.run(
        ["git", "rev-parse", "HEAD", "HEAD^{tree}"], cwd=project, capture_output=True, text=True
    )
    assert [record["source"]["commit"], record["source"]["tree"]] == head.stdout.split()
    assert record["source"]["dirty"] is False
    assert record["env_vars"]["MODE"] == "fast"
    assert record["env_vars"]["PATH"] is None
    assert record["tags"] == {"who": "ada"}
    assert record["resources"]["wall_s"] > 0
    assert record["environment"]["lock"].startswith("blake3:")
    assert shell.mlrun("logs", "first").stdout == "said\n"
    assert shell.show("first") == record
    assert shell.mlrun("get", "first", "out.csv", "-o", "-").stdout == "a,b\n1,2\n"


def test_a_folder_that_was_made_can_be_had_back(shell: Shell, project: Path) -> None:
    write(project, "mkdir -p figures/a && echo x > figures/a/b.txt", "    outputs: [figures]\n")
    assert [item["tree"] for item in shell.record(".")["outputs"]] == [True]
    done = shell.mlrun("get", "latest", "figures", "-o", "copy")
    assert (done.returncode, done.stdout, done.stderr) == (0, "copy\n", "")
    assert (project / "copy/a/b.txt").read_text() == "x\n"
    assert "error: `-o -` takes one file" in shell.mlrun("get", "latest", "figures", "-o", "-").stderr
    nowhere = shell.mlrun("get", "latest", "figures", "-o", "MLproject/copy")
    assert (nowhere.returncode, nowhere.stderr.splitlines()[1]) == (1, "hint: `-o FOLDER` puts it elsewhere")
    inside = shell.mlrun("get", "latest", "figures/a/b.txt")
    assert inside.stderr.splitlines()[1].startswith("hint: it lies in the output `figures`: `mlrun get ")


def test_json_prints_the_record_on_stdout_and_nothing_else(shell: Shell, project: Path) -> None:
    write(project, "echo out; echo err >&2")
    done = shell.mlrun("run", ".", "--json")
    assert json.loads(done.stdout)["status"] == "finished"
    assert "out\n" in done.stderr
    assert "err\n" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_trouble(shell: Shell, project: Path, closed: str) -> None:
    write(project, "echo said; echo more >&2")
    script = f"{sys.executable} -m mlrun run . {closed}"
    subprocess.run(["bash", "-c", script], cwd=project, env=shell.variables, timeout=60, check=True)
    assert sorted(shell.mlrun("logs").stdout.splitlines()) == ["more", "said"]


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("no-such-program", 127), ("kill -9 $$", 137)])
def test_the_exit_code_is_the_programs_own(shell: Shell, project: Path, command: str, code: int) -> None:
    write(project, command)
    assert shell.mlrun("run", ".").returncode == code
    assert shell.show()["exit_code"] == code


def test_a_time_out_ends_the_run_with_124(shell: Shell, project: Path) -> None:
    write(project, "sleep 60")
    assert shell.mlrun("run", ".", "--timeout", "0.3").returncode == 124
    record = shell.show()
    assert (record["status"], record["error"]["code"]) == ("killed", "timed-out")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-P", "alpah=1"], 125, "did you mean `alpha`?"),
        (["-P", "alpha"], 2, "NAME=VALUE"),
        (["-e", "mian"], 125, "did you mean `main`?"),
        (["--timeout", "soon"], 2, "duration"),
        (["--env-manager", "vnev"], 2, "venv"),
        (["-b", "kubernetes"], 2, "local"),
        (["--nope"], 2, "--nope"),
    ],
)
def test_wrong_requests_get_one_clear_message(
    shell: Shell, project: Path, arguments: list[str], code: int, message: str
) -> None:
    write(project, "true {alpha}", more="    parameters: {alpha: {type: float, default: 1}}\n")
    done = shell.mlrun("run", ".", *arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(shell.home.runs.glob("*/*/record.json")) if shell.home.runs.exists() else True


def test_a_missing_project_and_a_bad_file_are_told_with_their_place(shell: Shell, project: Path) -> None:
    assert "no such directory" in shell.mlrun("run", "nowhere").stderr
    (project / "MLproject").write_text("name: x\nentry_points:\n  main:\n    comand: ls\n")
    done = shell.mlrun("run", ".")
    assert done.returncode == 125
    assert "MLproject:4:5" in done.stderr
    assert "`command`" in done.stderr


def test_a_dirty_tree_is_kept_whole(shell: Shell, project: Path) -> None:
    write(project, "true", git=True)
    (project / "new file.txt").write_text("new\n")
    write(project, "echo changed")
    record = shell.record(".")
    assert record["source"]["dirty"] is True
    assert [file["path"] for file in record["source"]["untracked"]] == ["new file.txt"]
    patch = shell.home.object(record["source"]["patch"].removeprefix("blake3:")).read_text()
    assert '+    command: "echo changed"' in patch


def test_isolated_runs_elsewhere_and_keeps_what_was_neither_declared_nor_seen(
    shell: Shell, project: Path
) -> None:
    write(project, "echo x > made.txt; pwd", git=True)
    done = shell.mlrun("run", ".", "--isolated", "--no-observe")
    assert shell.show()["source"]["directory"] == str(project)
    assert done.returncode == 0
    assert not (project / "made.txt").exists()
    assert "made.txt" in done.stderr
    assert (Path(done.stdout.strip()) / "made.txt").read_text() == "x\n"


def test_a_git_url_runs_from_a_checkout_that_goes(shell: Shell, project: Path, tmp_path: Path) -> None:
    (project / "lib").mkdir()
    (project / "lib/__init__.py").write_text("x = 1\n")
    write(project, "pwd; python -c 'import lib; print(lib.__cached__)'", git=True)
    first = shell.mlrun("run", f"file://{project}@main")
    assert first.returncode == 0, first.stderr
    folder, bytecode = first.stdout.split()
    assert bytecode.startswith(f"{folder}/lib/__pycache__/")
    assert not Path(folder).exists()
    assert "stay in" not in first.stderr
    record = shell.show()
    assert record["source"]["kind"] == "git"
    assert record["source"]["branch"] == "main"


def test_a_project_without_a_name_has_that_of_its_folder_or_repository(
    shell: Shell, project: Path, tmp_path: Path
) -> None:
    write(project, "true", git=True)
    (project / "MLproject").write_text((project / "MLproject").read_text().replace("name: demo\n", ""))
    subprocess.run(["git", "commit", "-qam", "nameless"], cwd=project, check=True)
    clone = tmp_path / "my-copy"
    subprocess.run(["git", "clone", "-q", str(project), str(clone)], check=True)
    assert shell.record(str(clone))["project"] == "my-copy"
    assert shell.record(str(clone), "--isolated")["project"] == "my-copy"
    assert shell.record(f"file://{project}", "-v", "main")["project"] == "project"


def test_a_dry_run_does_nothing(tmp_path: Path, project: Path) -> None:
    shell = Shell(tmp_path, project)
    write(project, "touch ran")
    plan = json.loads(shell.mlrun("run", ".", "--dry-run", "--json").stdout)
    assert plan["command"] == "touch ran"
    assert plan["environment"]["action"] == "build"
    assert not (project / "ran").exists()
    assert shell.mlrun("runs").stdout == ""


def test_no_secret_reaches_anything_of_ours(shell: Shell, project: Path) -> None:
    write(
        project,
        'test "$TOKEN" = {key}',
        more="    parameters: {key: {type: string, secret: true}}\n    env: {TOKEN: '{key}'}\n",
    )
    shell.variables["MY_PASSWORD"] = SECRET
    done = shell.mlrun("run", ".", "-P", f"key={SECRET}")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr + shell.mlrun("show").stdout + shell.mlrun("runs", "--csv").stdout
    assert SECRET not in said + shell.mlrun("run", ".", "-P", f"key={SECRET}", "--dry-run").stdout
    for path in shell.home.root.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_no_credentials_of_an_address_reach_anything_of_ours(shell: Shell, project: Path) -> None:
    write(
        project,
        "test {db} = postgres://ada:$PW@host/db && test -n {extra}",
        more="    parameters: {db: uri, extra: {type: string, default: ''}}\n    env: {DB: '{db}'}\n",
    )
    shell.variables["PW"] = SECRET
    given = ["-P", f"db=postgres://ada:{SECRET}@host/db", "-P", f"extra=see https://h/x?token={SECRET}&a=1"]
    record = shell.record(".", *given)
    assert record["parameters"]["db"]["value"] == "postgres://ada@host/db"
    assert record["env_vars"]["DB"] == "postgres://ada@host/db"
    done = shell.mlrun("run", ".", *given)
    said = done.stdout + done.stderr + shell.mlrun("run", ".", *given, "--dry-run").stdout
    assert SECRET not in said + shell.mlrun("run", ".", *given, "--dry-run", "--json").stdout
    for path in shell.home.root.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_metrics_come_from_any_language(shell: Shell, project: Path) -> None:
    line = '{{\\"name\\": \\"loss\\", \\"value\\": 0.$s, \\"step\\": $s}}'
    write(project, f'for s in 1 2 3; do echo "{line}" >> "$MLRUN_METRICS"; done')
    assert shell.record(".")["metrics"]["loss"] == {
        "last": 0.3,
        "min": 0.1,
        "max": 0.3,
        "count": 3,
        "step": 3,
    }
    assert shell.mlrun("runs", "--where", "metrics.loss < 0.31", "--json").stdout.count('"id"') == 1
    assert shell.mlrun("runs", "--where", "metrics.loss < 0.2", "--json").stdout.count('"id"') == 0


@pytest.mark.parametrize(("command", "outputs"), [("true", ["m.json"]), ("false", [])])
def test_the_metrics_of_an_earlier_run_are_not_this_one_s(
    shell: Shell, project: Path, command: str, outputs: list[str]
) -> None:
    (project / "m.json").write_text('{"rmse": 0.5}')
    write(project, command, "    outputs: [{path: m.json, kind: metrics}]\n")
    shell.mlrun("run", ".")
    record = shell.show()
    assert [item["path"] for item in record["outputs"]] == outputs
    assert record["metrics"] == {}
    assert len(record["warnings"]) == len(outputs)


def test_quiet_prints_nothing_but_the_programs_own_output(shell: Shell, project: Path) -> None:
    write(project, "echo out; echo err >&2", "    outputs: [never.made]\n")
    done = shell.mlrun("run", ".", "-q")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert len(shell.show()["warnings"]) == 1


def test_a_command_of_many_lines_is_one_line_an_event(shell: Shell, project: Path) -> None:
    write(project, "echo one\necho two\n")
    done = shell.mlrun("run", ".")
    assert "mlrun: command: echo one\\necho two\n" in done.stderr
    assert done.stdout == "one\ntwo\n"


def test_a_declared_input_must_be_there_before_anything_runs(shell: Shell, project: Path) -> None:
    write(project, "touch ran", more="    inputs: [data.csv]\n")
    done = shell.mlrun("run", ".")
    assert done.returncode == 125
    assert "input `data.csv` is not there" in done.stderr
    assert not (project / "ran").exists()
    assert shell.show()["error"]["code"] == "missing-input"


def test_what_is_no_file_is_told_once_and_not_called_kept(shell: Shell, project: Path) -> None:
    os.mkfifo(project / "feed")
    write(project, "mkfifo pipe", more="    inputs: [feed]\n    outputs: [pipe]\n")
    record = shell.record(".")
    assert [(item["digest"], item["stored"]) for item in record["outputs"]] == [(None, False)]
    assert record["warnings"] == [
        f"`{name}` has no digest: it is neither a file nor a folder" for name in ("feed", "pipe")
    ]


def test_an_output_that_was_not_made_is_said(shell: Shell, project: Path) -> None:
    write(project, "true", more="    outputs: [model.pkl, old.txt]\n")
    (project / "old.txt").write_text("from before")
    record = shell.record(".")
    assert [item["path"] for item in record["outputs"]] == ["old.txt"]
    assert any("model.pkl" in warning for warning in record["warnings"])
    assert any("old.txt" in warning and "before" in warning for warning in record["warnings"])


def test_an_environment_that_cannot_be_built_is_recorded_as_a_failure(shell: Shell, project: Path) -> None:
    write(project, "true")
    (project / "MLproject").write_text(
        "environment: {requirements: ['no-such-package-of-ours==1.0']}\n"
        "entry_points: {main: {command: 'true'}}\n"
    )
    done = shell.mlrun("run", ".", "--env-manager", "venv")
    assert done.returncode == 125
    assert "no-such-package-of-ours" in done.stderr
    record = shell.show()
    assert record["status"] == "failed"
    assert record["exit_code"] is None
    assert "no-such-package-of-ours" in record["error"]["message"]


@pytest.mark.slow
def test_pip_in_a_command_reaches_the_runs_own_environment_and_is_said(shell: Shell, project: Path) -> None:
    write(project, "pip install -q six==1.16.0 && python -c 'import six; print(six.__file__)'")
    first = shell.mlrun("run", ".")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith(shell.variables["MLRUN_CACHE"])
    assert any("installed or removed packages" in warning for warning in shell.show()["warnings"])
    write(project, "python -c 'import six'")
    assert shell.mlrun("run", ".").returncode == 1, "the next run starts from the lock again"


def wait_until(true: Any) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_program_and_the_record_says_so(
    shell: Shell, project: Path, number: signal.Signals
) -> None:
    write(project, "echo $$ > pid; sleep 100 & sleep 100")
    child = shell.start("run", ".")
    wait_until((project / "pid").exists)
    time.sleep(0.2)
    child.send_signal(number)
    child.communicate(timeout=60)
    assert child.returncode == 128 + number
    record = shell.show()
    assert (record["status"], record["signal"]) == ("killed", number.name)
    assert not Path(f"/proc/{(project / 'pid').read_text().strip()}").exists()


@pytest.mark.slow
def test_what_the_program_did_stays_true_when_its_recording_is_interrupted(
    shell: Shell, project: Path
) -> None:
    write(project, "echo $$ > pid; head -c 300M /dev/zero > big; exit 3", more="    outputs: [big]\n")
    child = shell.start("run", ".")
    wait_until((project / "big").exists)
    pid = (project / "pid").read_text().strip()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    # Its output is being kept, or was kept at once.
    wait_until(lambda: any(shell.home.temporary.iterdir()) or child.poll() is not None)
    child.terminate()
    child.communicate(timeout=60)
    record = shell.show()
    assert (record["status"], record["exit_code"], record["signal"]) == ("failed", 3, None)
    assert record["resources"]["wall_s"] > 0


def test_a_run_whose_mlrun_was_killed_is_lost_and_keeps_its_log(shell: Shell, project: Path) -> None:
    (project / "loss").write_text('{"name": "loss", "value": 0.25}\n')
    write(project, "echo so far; cat loss >> $MLRUN_METRICS; touch ready; sleep 5")
    child = shell.start("run", ".")
    wait_until((project / "ready").exists)
    assert shell.show()["status"] == "running"
    child.kill()
    child.communicate(timeout=60)
    assert "lost" in shell.mlrun("runs").stdout
    assert shell.show()["error"]["code"] == "lost"
    assert "loss = 0.25" in shell.mlrun("show").stdout
    assert shell.mlrun("logs").stdout == "so far\n"


@pytest.mark.slow
def test_a_log_is_followed_to_its_end(shell: Shell, project: Path) -> None:
    write(project, "echo one; touch ready; sleep 1; echo two")
    child = shell.start("run", ".")
    wait_until((project / "ready").exists)
    assert shell.mlrun("logs", "-f").stdout == "one\ntwo\n"
    child.communicate(timeout=60)


@pytest.mark.slow
def test_twenty_at_once_on_a_cold_cache_build_one_environment(tmp_path: Path, project: Path) -> None:
    shell = Shell(tmp_path / "cold", project)
    write(project, "python -c 'import six; print(six.__version__)'")
    text = (project / "MLproject").read_text().replace("requirements: []", "requirements: [six==1.16.0]")
    (project / "MLproject").write_text(text)
    children = [shell.start("run", ".") for _ in range(20)]
    results = [(*child.communicate(timeout=240), child.returncode) for child in children]
    assert {(out, code) for out, _, code in results} == {("1.16.0\n", 0)}, results[0]
    assert sum("built in" in err for _, err, _ in results) == 1
    assert len(json.loads(shell.mlrun("env", "ls", "--json").stdout)) == 1
    assert len(json.loads(shell.mlrun("runs", "-n", "0", "--json").stdout)) == 20


@pytest.mark.slow
@pytest.mark.parametrize("example", ["wine", "any-language"])
def test_the_examples_run(shell: Shell, tmp_path: Path, example: str) -> None:
    import shutil

    copy = tmp_path / example
    shutil.copytree(ROOT / "examples" / example, copy)
    record = shell.record(str(copy))
    assert record["status"] == "finished"
    assert record["metrics"]
    assert all(item["stored"] for item in record["outputs"])
    assert record["warnings"] == []


@pytest.mark.slow
def test_nothing_of_others_reaches_the_terminal_as_a_command(shell: Shell, project: Path) -> None:
    red = "\x1b[31m\u202e"
    entry_points = {f"m{red}": {"command": "true {x}"}}
    (project / "MLproject").write_text(json.dumps({"name": red, "entry_points": entry_points}))
    for arguments in (["run", "."], ["check"], ["run", ".", "-e", f"m{red}"], ["run", f"no{red}"], [red]):
        done = shell.mlrun(*arguments)
        assert done.returncode
        assert not {"\x1b", "\u202e"} & set(done.stdout + done.stderr), arguments
    write(project, "true")
    shell.mlrun("run", ".", "--name", red, "-P", f"x={red}", "--tag", f"a{red}={red}")
    for arguments in (["show"], ["runs"], ["show", red], ["show", f"no{red}"]):
        done = shell.mlrun(*arguments)
        assert not {"\x1b", "\u202e"} & set(done.stdout + done.stderr), arguments


@NEEDS_FULL
def test_a_full_disk_behind_stderr_ends_no_run(shell: Shell, project: Path) -> None:
    write(project, "echo out; echo err >&2", more="    outputs: [missing]\n")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            shell.argv("run", "."), cwd=project, env=shell.variables, stdout=subprocess.PIPE, stderr=full
        )
    assert (done.returncode, done.stdout) == (0, b"out\n")
    assert shell.show()["status"] == "finished"
    assert shell.mlrun("logs").stdout == "out\nerr\n"


@NEEDS_FULL
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["runs", "--csv"], ["run", ".", "--json"]])
def test_a_full_disk_behind_stdout_is_one_clear_message(
    shell: Shell, project: Path, arguments: list[str]
) -> None:
    write(project, "true")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            shell.argv(*arguments),
            cwd=project,
            env=shell.variables,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode in (1, 125)
    assert done.stderr.splitlines()[-1] == "error: No space left on device"


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8:strict"])
@pytest.mark.parametrize(
    "arguments",
    [["run", "."], ["run", ".", "--json"], ["run", "{text}", "--json"], ["run", ".", "--dry-run", "--json"]],
)
def test_any_text_can_be_printed_in_any_locale(
    shell: Shell, project: Path, encoding: str, arguments: list[str]
) -> None:
    text = os.fsdecode("ü…".encode() + b"\xff")
    write(project, "true")
    shell.variables["PYTHONIOENCODING"] = encoding
    parameter = ["-P", f"x={text}"] if arguments[1] == "." else []
    words = [word.replace("{text}", text) for word in arguments]
    done = shell.mlrun(*words, *parameter, errors="replace")
    assert done.returncode in (0, 125)
    assert "bug" not in done.stderr
    if "--json" in arguments:
        assert json.dumps(json.loads(done.stdout)).count(json.dumps(text)[1:-1])
    for listing in (["runs"], ["runs", "--csv"], ["show"]):
        assert "bug" not in shell.mlrun(*listing, errors="replace").stderr


# --- packages of a day --------------------------------------------------------------------------------


def commit_of(project: Path, day: str) -> None:
    dates = {"GIT_AUTHOR_DATE": f"{day}T09:00:00Z", "GIT_COMMITTER_DATE": f"{day}T09:00:00Z"}
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", *arguments], cwd=project, check=True, env={**os.environ, **dates})  # noqa: TID251  the test's own


@pytest.mark.slow
def test_a_commit_gets_the_packages_of_its_day(shell: Shell, project: Path) -> None:
    (project / "requirements.txt").write_text("six\n")
    (project / "MLproject").write_text("entry_points: {main: {command: \"python -c 'import six'\"}}\n")
    commit_of(project, "2020-05-20")
    there = shell.record(".", "-v", "main")["environment"]
    assert (there["as_of"], there["as_of_why"]) == ("2020-05-20T09:00:00Z", "the commit's date")
    assert [(each["name"], each["version"]) for each in there["packages"] if each["name"] == "six"] == [
        ("six", "1.14.0")
    ]
    here = shell.record(".", "--as-of", "2019-06-01")["environment"]
    assert [each["version"] for each in here["packages"] if each["name"] == "six"] == ["1.12.0"]
    now = shell.record(".")["environment"]
    assert now["as_of"] is None
    assert [each["version"] for each in now["packages"] if each["name"] == "six"] > ["1.16"]
