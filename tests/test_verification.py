"""Records and objects looked after: every kind of damage is found, and what is lost by it is said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.shells import Shell

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = """
name: kept
environment: {requirements: []}
entry_points:
  main:
    outputs: [model.bin, plots]
    command: mkdir -p plots && echo a > plots/a.txt && echo b > plots/b.txt && echo model > model.bin
"""


@pytest.fixture
def shell(tmp_path: Path, warm_cache: Path) -> Shell:
    project = tmp_path / "project"
    project.mkdir()
    (project / "MLproject").write_text(PROJECT)
    return Shell(tmp_path, project, warm_cache)


def verify(shell: Shell, *words: str, code: int) -> dict[str, Any]:
    done = shell.ask("verify", *words, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def troubles(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(it["what"], it["state"]) for run in found["runs"] for it in run["troubles"]]


def object_of(shell: Shell, digest: str) -> Path:
    return shell.home.object(digest.removeprefix("blake3:"))


def test_intact_damaged_and_missing(shell: Shell) -> None:
    record = shell.record(".", "--env-manager", "system")
    found = verify(shell, code=0)
    # MLproject, model, plots and two in it, the log
    assert (found["state"], found["runs"][0]["checked"]) == ("intact", 6)
    model, plots = (output["digest"] for output in record["outputs"])
    manifest = json.loads(object_of(shell, plots).read_bytes())
    inside = object_of(shell, manifest["entries"][1]["digest"])
    inside.chmod(0o644)
    inside.write_text("c\n")
    object_of(shell, model).unlink()
    shell.home.run(record["id"]).log.write_text("cut off")
    object_of(shell, record["source"]["untracked"][0]["digest"]).unlink()
    found = verify(shell, code=1)
    assert troubles(found) == [
        ("the untracked file `MLproject`", "missing"),
        ("output `model.bin`", "missing"),
        ("output `plots`: `b.txt`", "damaged"),
        ("the log", "damaged"),
    ]
    assert "cannot be repeated" in found["runs"][0]["troubles"][0]["lost"]
    assert "model.bin` is missing" in shell.mlrun("verify").stdout


def test_a_record_edited_by_hand_is_noticed_however_it_is_laid_out(shell: Shell) -> None:
    record = shell.record(".", "--env-manager", "system")
    path = shell.home.run(record["id"]).record
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content))  # only another layout
    assert verify(shell, code=0)["state"] == "intact"
    content["exit_code"] = 1
    path.write_text(json.dumps(content))
    assert troubles(verify(shell, code=1)) == [("the record: changed since mlrun wrote it", "edited")]
    for words in (("show",), ("diff", "latest")):
        said = shell.ask(*words).stderr
        assert f"warning: the record of {record['name']} was changed since mlrun wrote it" in said
    del content["digest"]
    path.write_text(json.dumps(content))
    assert [state for _, state in troubles(verify(shell, code=2))] == ["no-digest"]
    path.write_text(json.dumps(content).replace("mlrun/record/v1", "mlrun/record/v9"))
    found = verify(shell, record["id"], code=2)
    assert [state for _, state in troubles(found)] == ["newer"]
    path.write_text("{")
    assert [state for _, state in troubles(verify(shell, record["id"], code=1))] == ["unreadable"]


@pytest.mark.slow
def test_all_runs_and_only_the_damaged_are_shown(shell: Shell) -> None:
    first = shell.record(".", "--env-manager", "system")
    second = shell.record(".", "--env-manager", "system")
    path = shell.home.run(first["id"]).record
    path.write_text(path.read_text().replace('"finished"', '"failed"'))
    found = verify(shell, "--all", code=1)
    assert {run["id"]: run["state"] for run in found["runs"]} == {
        first["id"]: "damaged",
        second["id"]: "intact",
    }
    text = shell.mlrun("verify", "--all").stdout
    assert text.startswith("1 of 2 runs intact, 1 damaged")
    assert second["name"] not in text
    assert shell.mlrun("verify", "--all", "latest").returncode == 2


@pytest.mark.slow
def test_the_steps_of_a_pipeline_are_looked_after_with_it(shell: Shell) -> None:
    (shell.cwd / "MLproject").write_text(
        "name: both\nentry_points:\n  prepare: {outputs: [a.txt], command: echo a > a.txt}\n"
        "  main: {inputs: [a.txt], outputs: [b.txt], command: cat a.txt a.txt > b.txt}\n"
    )
    shell.record(".", "--env-manager", "system", "--name", "both")
    made = shell.show("both/prepare")["outputs"][0]
    assert [run["name"] for run in verify(shell, "both", code=0)["runs"]] == [
        "both",
        "both/prepare",
        "both/main",
    ]
    object_of(shell, made["digest"]).unlink()
    assert ("output `a.txt`", "missing") in troubles(verify(shell, "both", code=1))


def test_a_record_that_is_lost_keeps_a_digest_that_fits(shell: Shell) -> None:
    """Whoever writes a record, not the runner alone, seals it."""
    (shell.cwd / "MLproject").write_text("name: long\nentry_points: {main: {command: sleep 60}}\n")
    running = shell.start("run", ".", "--env-manager", "system")
    try:
        while not (found := list(shell.home.runs.glob("*/*/record.json"))):
            assert running.poll() is None
    finally:
        running.kill()
        running.communicate()
    assert shell.mlrun("show").returncode == 0
    assert json.loads(found[0].read_text())["status"] == "lost"
    assert verify(shell, code=0)["state"] == "intact"


STEPS = """
name: steps
environment: {requirements: []}
entry_points:
  main:
    inputs: [data]
    command: echo '{{"name":"loss","value":0.5,"step":1}}' >> $MLRUN_METRICS
"""


def test_the_steps_of_metrics_and_the_list_of_a_folders_files_count_too(shell: Shell) -> None:
    (shell.cwd / "MLproject").write_text(STEPS)
    (shell.cwd / ".gitignore").write_text("data/\n")
    (shell.cwd / "data").mkdir()
    (shell.cwd / "data" / "a.csv").write_text("1\n")
    record = shell.record(".", "--env-manager", "system")
    assert verify(shell, code=0)["state"] == "intact"
    steps = shell.home.run(record["id"]).metrics
    steps.write_text(steps.read_text().replace("0.5", "0.4"))
    listed = object_of(shell, record["inputs"][0]["digest"])
    listed.chmod(0o644)
    listed.write_text("{}")
    assert troubles(verify(shell, code=1)) == [
        ("the list of files in input `data`", "damaged"),
        ("the steps of its metrics", "damaged"),
    ]
    steps.unlink()
    assert ("the steps of its metrics", "missing") in troubles(verify(shell, code=1))


def test_of_several_runs_only_what_is_damaged_is_told(shell: Shell) -> None:
    file = shell.cwd / "MLproject"
    entry = "{x: {parameters: {%s: {default: '1'}, %s: {default: '2'}}, command: ':'}}"
    runs = []
    for names in (("one", "two"), ("two", "one")):
        file.write_text(f"name: p\nentry_points: {entry % names}\n")
        runs.append(shell.record(".", "-e", "x", "--env-manager", "system"))
        assert shell.mlrun("runs").returncode == 0  # into the index, one by one
    shell.home.run(runs[0]["id"]).record.write_text("{")
    found = verify(shell, "--all", code=1)
    assert [state for _, state in troubles(found)] == ["unreadable"]


def test_an_index_that_says_otherwise_is_told_and_made_anew(shell: Shell) -> None:
    record = shell.record(".", "--env-manager", "system", "--name", "plain-name")
    assert "plain-name" in shell.mlrun("runs").stdout
    path = shell.home.index
    path.write_bytes(path.read_bytes().replace(b"plain-name", b"plaim-name"))
    assert "plaim-name" in shell.mlrun("runs").stdout
    found = verify(shell, "--all", code=1)
    assert troubles(found) == [("what the index says of it", "damaged")]
    assert found["runs"][0]["id"] == record["id"]
    assert verify(shell, "--all", code=0)["state"] == "intact"
    assert "plain-name" in shell.mlrun("runs").stdout
