"""Whether running again would change anything: each kind of change is named, and nothing else is."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.indexes import Index, serving
from tests.sums import PROJECT, git, project, shell
from tests.test_reproduction import run
from tests.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.shells import Shell

__all__ = ["project", "shell"]  # fixtures


def status(shell: Shell, *words: str, code: int) -> dict[str, Any]:
    done = shell.ask("status", *words, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def causes(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(it["kind"], it["name"]) for point in found["entry_points"] for it in point["causes"]]


@pytest.mark.slow
def test_never_run_up_to_date_and_each_cause_by_its_name(shell: Shell, project: Path) -> None:
    assert status(shell, code=2)["state"] == "unknown"
    run(shell)
    assert status(shell, code=0)["state"] == "current"
    (project / "README.md").write_text("words\n")
    found = status(shell, code=0)
    assert found["entry_points"][0]["notes"] == ["README.md added, which is no code"]
    (project / "train.py").write_text((project / "train.py").read_text() + "# more\n")
    (project / "data/blob.bin").write_bytes(bytes(range(255)) + b"\0")
    (project / "MLproject").write_text(
        PROJECT.replace("default: 0.5", "default: 0.6").replace('SCALE: "1"', 'SCALE: "2"')
    )
    found = status(shell, code=1)
    assert causes(found) == [
        ("data", "data/blob.bin"),
        ("code", "train.py"),
        ("parameters", "alpha"),
        ("variables", "SCALE"),
    ]
    text = shell.mlrun("status").stdout
    assert "main         stale since" in text
    assert "parameter alpha 0.5 → 0.6" in text


@pytest.mark.slow
def test_what_was_given_by_hand_counts_as_asked_again(shell: Shell, project: Path) -> None:
    run(shell, "-P", "alpha=0.9", "-P", "table=data/train.csv")
    assert status(shell, code=0)["state"] == "current"
    assert causes(status(shell, "-P", "alpha=0.8", code=1)) == [("parameters", "alpha")]
    shell.mlrun("reproduce", "-q", "-P", "alpha=0.1")  # an experiment, and no new state of the project
    assert status(shell, code=0)["state"] == "current"
    (project / "data/train.csv").unlink()
    found = status(shell, code=1)
    assert "train.csv" in json.dumps(found)
    assert causes(found) == [("data", "main")]


@pytest.mark.slow
def test_the_number_of_threads_counts(shell: Shell, project: Path) -> None:
    shell.variables.pop("OMP_NUM_THREADS", None)
    run(shell)
    shell.variables["OMP_NUM_THREADS"] = "1"
    assert causes(status(shell, code=1)) == [("variables", "OMP_NUM_THREADS")]
    run(shell)
    assert status(shell, code=0)["state"] == "current"
    shell.variables["OMP_NUM_THREADS"] = "2"
    assert causes(status(shell, code=1)) == [("variables", "OMP_NUM_THREADS")]


@pytest.mark.slow
def test_a_new_commit_and_a_failure_change_nothing(shell: Shell, project: Path) -> None:
    run(shell)
    git(project, "commit", "--quiet", "--allow-empty", "--message", "nothing")
    shell.mlrun("run", ".", "--env-manager", "system", "-q", "-P", "how=fails")
    assert status(shell, code=0)["state"] == "current"


@pytest.mark.slow
def test_the_environment_by_what_is_asked(shell: Shell, project: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "seasoning", "1.0.0")
    (project / "requirements.txt").write_text("seasoning\n")
    (project / "MLproject").write_text(
        "name: soup\nenvironment: {requirements: requirements.txt}\n"
        "entry_points: {main: {command: seasoning}}\n"
    )
    with serving(Index(wheels)) as index:
        shell.variables |= {"UV_INDEX_URL": index.url, "UV_DEFAULT_INDEX": index.url}
        shell.record(".")
        make_wheel(wheels, "seasoning", "1.0.1")  # nobody asked for it yet
        assert status(shell, code=0)["state"] == "current"
        (project / "requirements.txt").write_text("seasoning==1.0.1\n")
        assert causes(status(shell, code=1)) == [("packages", "seasoning")]
        shell.record(".")
        assert status(shell, code=0)["state"] == "current"
        shell.record(".", "--as-of", "2026-01-01")  # as one asked by hand, so it would be asked again
        assert status(shell, code=0)["state"] == "current"
        shutil.rmtree(tmp_path / "cache")
        found = status(shell, code=2)
        assert "resolved anew" in found["entry_points"][0]["unknown"][0]


def test_what_an_entry_point_needs_is_looked_at_with_it(shell: Shell, project: Path) -> None:
    (project / "MLproject").write_text(
        "name: both\nenvironment: {requirements: []}\nentry_points:\n"
        "  prepare:\n    parameters: {rows: {default: '1'}}\n    inputs: [raw.csv]\n"
        "    outputs: [clean.out]\n    code: []\n    command: head -n {rows} raw.csv > clean.out\n"
        "  main: {inputs: [clean.out], outputs: [score.out], command: wc clean.out > score.out}\n"
    )
    (project / ".gitignore").write_text("*.out\nraw.csv\n")
    (project / "raw.csv").write_text("1\n2\n")
    run(shell)
    shell.variables["PYTHONHASHSEED"] = "7"
    run(shell, "-e", "prepare", "-P", "rows=1", "--no-cache")  # the last one, and not as it is now
    del shell.variables["PYTHONHASHSEED"]
    (point,) = status(shell, "-e", "prepare", code=0)["entry_points"]
    assert shell.show(point["run"])["determinism"]["variables"]["PYTHONHASHSEED"] == "0"
    run(shell)
    found = status(shell, code=0)
    assert [point["entry_point"] for point in found["entry_points"]] == ["prepare", "main"]
    waits = ("needs", "prepare")
    assert causes(status(shell, "-P", "prepare.rows=2", code=1)) == [("parameters", "rows"), waits]
    (project / "clean.out").unlink()
    assert causes(status(shell, code=1)) == [("outputs", "clean.out")]  # it would be put back
    (project / "raw.csv").write_text("3\n2\n")  # what `main` reads is not there yet to be seen changed
    assert causes(status(shell, code=1)) == [("data", "raw.csv"), ("outputs", "clean.out"), waits]
    (project / "raw.csv").unlink()
    assert causes(status(shell, code=1)) == [("data", "inputs"), ("outputs", "clean.out"), waits]


CODE = """\
name: code
environment: {requirements: []}
entry_points:
  main:
    outputs: [made.out]
    code: [train.py, lib]
    command: python train.py > made.out
  cached: {cache: true, code: [train.py, lib], outputs: [other.out], command: python train.py > other.out}
"""


@pytest.mark.slow
def test_of_the_code_only_what_counts_for_the_cache_is_a_reason(shell: Shell, project: Path) -> None:
    (project / "MLproject").write_text(CODE)
    (project / ".gitignore").write_text("*.out\n")
    (project / "lib").mkdir()
    (project / "lib/a.py").write_text("1\n")
    (project / "train.py").write_text("import helper\nprint(helper.X)\n")
    (project / "helper.py").write_text("X = 1\n")
    (project / "notes.py").write_text("1")
    for name in ("main", "cached"):
        run(shell, "-e", name)
    (project / "notes.py").write_text("2")
    found = status(shell, "--all", code=0)
    assert found["entry_points"][0]["notes"] == ["changed, and not of its code: notes.py"]
    (project / "lib/b.py").write_text("1\n")
    assert causes(status(shell, "--all", code=1)) == [("code", "lib/b.py"), ("code", "lib/b.py")]
    (project / "lib/b.py").unlink()
    (project / "helper.py").write_text("X = 2\n")  # it was seen to be read, by the run that was kept
    found = status(shell, "-e", "cached", code=1)
    assert causes(found) == [("cache", "cached")]
    assert "`helper.py`, which it read and did not declare" in found["entry_points"][0]["causes"][0]["text"]
    found = status(shell, code=0)  # what a run reads of the source is noted for the cache alone
    assert found["entry_points"][0]["notes"] == ["changed, and not of its code: helper.py, notes.py"]


def test_outputs_have_to_be_there_as_they_were_made(shell: Shell, project: Path) -> None:
    run(shell)
    (project / "metrics.json").unlink()
    (project / "model.bin").write_text("mine")
    found = status(shell, code=1)
    assert causes(found) == [("outputs", "metrics.json"), ("outputs", "model.bin")]
    assert "outputs: metrics.json is gone" in shell.mlrun("status").stdout


def test_an_entry_point_that_there_is_not_is_no_state(shell: Shell, project: Path) -> None:
    found = status(shell, "-e", "nope", code=2)
    assert found["error"]["code"] == "no-such-entry-point"
    assert "declares `main`" in found["error"]["message"]
    (project / "MLproject").write_text(PROJECT.replace("  main:", "  other:"))
    assert [it["entry_point"] for it in status(shell, code=2)["entry_points"]] == [
        "other"
    ]  # for want of `main`


PIPELINE = """\
name: agree
environment: {requirements: []}
entry_points:
  prepare:
    parameters: {rows: {type: int, default: 2}}
    inputs: [raw.csv]
    outputs: [clean.out]
    code: [prepare.sh]
    command: bash prepare.sh {rows}
  side: {inputs: [raw.csv], outputs: [side.out], code: [side.sh], command: bash side.sh}
  main:
    parameters: {alpha: {type: float, default: 1}}
    inputs: [clean.out, side.out]
    outputs: [all.out]
    code: [main.sh]
    command: bash main.sh {alpha}
"""


@pytest.mark.slow
def test_steps_stand_as_dag_draws_them_and_as_they_then_run(shell: Shell, project: Path) -> None:
    (project / "MLproject").write_text(PIPELINE)
    (project / ".gitignore").write_text("*.out\n")
    (project / "raw.csv").write_text("1\n2\n3\n")
    (project / "prepare.sh").write_text("head -n $1 raw.csv > clean.out\n")
    (project / "side.sh").write_text("wc -l < raw.csv > side.out\n")
    (project / "main.sh").write_text("cat clean.out side.out > all.out; echo $1 >> all.out\n")
    git(project, "add", ".")
    edits: dict[str, tuple[str, ...]] = {
        "nothing": (),
        "side.sh": ("wc -c < raw.csv > side.out\n",),
        "main.sh": ("cat side.out clean.out > all.out; echo $1 >> all.out\n",),
        "train.py": ("# nobody's\n",),
        "raw.csv": ("1\n2\n4\n",),
        "clean.out": ("mine\n",),
        "MLproject": (PIPELINE.replace("default: 1", "default: 2"),),
    }
    run(shell)
    for path, texts in edits.items():
        for text in texts:
            (project / path).write_text(text)
        found = json.loads(shell.mlrun("status", "--json").stdout)["entry_points"]
        drawn = json.loads(shell.mlrun("dag", "-e", "main", "--env-manager", "system", "--json").stdout)
        cached = {step["step"]: step["state"] == "cached" for step in drawn}
        returns = {step["step"] for step in drawn if step["why"] == "its outputs would be put back"}
        for point in found:
            name, kinds = point["entry_point"], {it["kind"] for it in point["causes"]}
            assert cached[name] == (point["state"] == "current" or kinds == {"outputs"}), (path, point)
            assert (name in returns) == (cached[name] and kinds == {"outputs"}), (path, point)
        ran = {step["name"]: step["state"] for step in run(shell)["steps"]}
        foretold = {it["entry_point"] for it in found if {c["kind"] for c in it["causes"]} - {"outputs"}}
        happened = {name for name, state in ran.items() if state == "finished"}
        # What only waits for a step that has to run may yet be spared, when that comes to the same.
        assert happened <= foretold, path
        surely = {
            it["entry_point"] for it in found if {c["kind"] for c in it["causes"]} - {"outputs", "needs"}
        }
        assert surely <= happened, path
        assert status(shell, code=0)["state"] == "current"


@pytest.mark.slow
def test_a_pipeline_is_supposed_to_be_asked_for_as_it_was(shell: Shell, project: Path) -> None:
    (project / "MLproject").write_text(PIPELINE)
    (project / ".gitignore").write_text("*.out\n")
    (project / "raw.csv").write_text("1\n2\n3\n")
    (project / "prepare.sh").write_text("head -n $1 raw.csv > clean.out\n")
    (project / "side.sh").write_text("wc -l < raw.csv > side.out\n")
    (project / "main.sh").write_text("cat clean.out side.out > all.out; echo $1 >> all.out\n")
    run(shell, "-P", "prepare.rows=3", "-P", "alpha=9")
    assert status(shell, code=0)["state"] == "current"
    assert causes(status(shell, "-P", "rows=1", code=1)) == [("parameters", "rows"), ("needs", "prepare")]
    shell.mlrun("reproduce", "-q", "-P", "alpha=4")
    assert status(shell, code=0)["state"] == "current"
    for words in (("status",), ("dag",)):
        done = shell.mlrun(*words, "-P", "nostep.alpha=3")
        assert "`nostep.alpha` is for no step of `main`" in done.stderr, done
    text = (project / "MLproject").read_text()
    (project / "MLproject").write_text(text.replace("    code: [side.sh]", "    cache: false").replace(
        "code: [side.sh], ", "cache: false, "
    ))  # fmt: skip
    found = status(shell, code=1)
    assert causes(found) == [("cache", "side"), ("needs", "side")]
