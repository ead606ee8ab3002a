"""Entry points that need each other: planned, run as a user would, killed, and gone on with."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlrun import project as projects
from mlrun.check import check
from mlrun.errors import MlrunError
from mlrun.model import RunRequest, StepFacts
from mlrun.pipelines import graph, may_be_one
from mlrun.pipelines.paths import looking_in, overlap, plain
from mlrun.pipelines.schedule import Schedule
from mlrun.views import pipeline as view
from tests import shells
from tests.terminals import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlrun.pipelines.values import Plan

HEAD = "name: demo\nentry_points:\n"  # what is written after it begins at line 3


# --- planning -----------------------------------------------------------------------------------------


class World:
    """Files as they are."""

    def __init__(self, directory: Path) -> None:
        self.project_directory = self.caller_directory = str(directory)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def download(self, url: str) -> str:
        return url


def planned(folder: Path, text: str, target: str = "main", **parameters: str) -> Plan:
    (folder / "MLproject").write_text(HEAD + text)
    request = RunRequest(
        target=".",
        entry_point=target,
        parameters=tuple((name.replace("__", "."), value) for name, value in parameters.items()),
    )
    return graph.plan(projects.read(folder), request, files=World(folder), is_there=looking_in(folder))


def order(plan: Plan) -> list[str]:
    return [step.name for step in plan.steps]


CHAIN = """\
  main: {inputs: [model.pkl], command: "evaluate"}
  train:
    parameters: {data: {type: path, default: data/clean.csv}, alpha: {type: float, default: 1}}
    outputs: [model.pkl]
    command: "train {data} {alpha}"
  prepare:
    parameters: {rows: {type: int, default: 5}, alpha: {type: float, default: 2}}
    outputs: [data/clean.csv]
    command: "prepare {rows} {alpha}"
"""


def test_a_step_comes_after_those_whose_files_it_reads(tmp_path: Path) -> None:
    plan = planned(tmp_path, CHAIN)
    assert order(plan) == ["prepare", "train", "main"]
    assert [(link.maker, link.path) for link in plan.step("train").links] == [("prepare", "data/clean.csv")]
    assert plan.step("train").spec.command == f"train {tmp_path}/data/clean.csv 1"
    assert all(step.spec.cache for step in plan.steps)


def test_what_a_parameter_names_decides_what_is_needed(tmp_path: Path) -> None:
    (tmp_path / "other.csv").touch()
    assert order(planned(tmp_path, CHAIN, data="other.csv")) == ["train", "main"]
    assert order(planned(tmp_path, CHAIN, "prepare")) == ["prepare"]


def test_a_parameter_goes_to_every_step_that_has_it_and_can_be_meant_for_one(tmp_path: Path) -> None:
    plan = planned(tmp_path, CHAIN, alpha="7", train__alpha="8", prepare__rows="1")
    assert plan.step("prepare").spec.command == "prepare 1 7"
    assert plan.step("train").spec.command.endswith(" 8")
    assert plan.step("main").spec.command == "evaluate"
    appended = planned(tmp_path, CHAIN, main__model__depth="3")
    assert appended.step("main").spec.command == "evaluate --model.depth 3"
    appended = planned(tmp_path, CHAIN, depth="3")
    assert appended.step("main").spec.command == "evaluate --depth 3"
    assert appended.step("prepare").spec.command == "prepare 5 2"


@pytest.mark.parametrize(
    ("parameters", "message", "hint"),
    [
        ({"alhpa": "1"}, "no step of `main` has a parameter `alhpa`", "did you mean `alpha`?"),
        (
            {"trian__alpha": "1"},
            "no step of `main` has a parameter `trian.alpha`",
            "did you mean `train.alpha`?",
        ),
        ({"train__alhpa": "1"}, "entry point `train` has no parameter `alhpa`", "did you mean `alpha`?"),
        (
            {"nostep__depth": "1"},
            "`nostep.depth` is for no step of `main`, and no step has a parameter of that name",
            "the steps are `prepare`, `train`, `main`; `main.nostep.depth` passes it on to `main`",
        ),
    ],
)
def test_a_parameter_of_no_step_is_an_error(
    tmp_path: Path, parameters: dict[str, str], message: str, hint: str
) -> None:
    with pytest.raises(MlrunError) as caught:
        planned(tmp_path, CHAIN, **parameters)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_names_of_steps_may_have_dots(tmp_path: Path) -> None:
    text = CHAIN.replace("  train:", "  train.big:").replace("  prepare:", "  train:")
    plan = planned(tmp_path, text, train__big__alpha="8", train__rows="1")
    assert plan.step("train.big").spec.command.endswith(" 8")
    assert plan.step("train").spec.command == "prepare 1 2"


def test_a_parameter_for_a_step_that_does_not_run_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "other.csv").touch()
    with pytest.raises(MlrunError, match=r"`prepare.rows` is for `prepare`, which `main` does not need"):
        planned(tmp_path, CHAIN, data="other.csv", prepare__rows="3")


def test_a_step_that_wants_no_cache_gets_none(tmp_path: Path) -> None:
    plan = planned(tmp_path, CHAIN.replace("outputs: [model.pkl]", "outputs: [model.pkl]\n    cache: false"))
    assert [step.spec.cache for step in plan.steps] == [True, False, True]


def test_of_two_makers_the_word_of_the_reader_decides(tmp_path: Path) -> None:
    text = (
        "  main: {inputs: [m.pkl], needs: [slow], command: x}\n"
        "  fast: {outputs: [m.pkl], command: x}\n  slow: {outputs: [m.pkl], command: x}\n"
    )
    assert order(planned(tmp_path, text)) == ["slow", "main"]


MISTAKES = [
    (
        "  main: {needs: [prepar], command: x}\n  prepare: {command: x}\n",
        "MLproject:3:18: entry point `main` needs `prepar`, which is not declared",
        "did you mean `prepare`?",
    ),
    (
        (
            "  main: {needs: [a], command: x}\n  a: {inputs: [y], outputs: [x], command: x}\n"
            "  b: {inputs: [x], outputs: [y], command: x}\n"
        ),
        "MLproject:4:16: entry points need each other: `a` → `b` (for y) → `a` (for x)",
        "take one of these needs away, or let it read another file",
    ),
    (
        (
            "  main: {needs: [a], command: x}\n  b: {needs: [main], command: x}\n"
            "  a:\n    needs:\n      - main\n      - b\n    command: x\n"
        ),
        "MLproject:7:9: entry points need each other: `a` → `main` → `a`",
        "take one of these needs away, or let it read another file",
    ),
    (
        (
            "  main: {inputs: [m.pkl], command: x}\n  a: {outputs: [m.pkl], command: x}\n"
            "  b:\n    outputs: [m.pkl]\n    command: x\n"
        ),
        "MLproject:6:15: `a` and `b` both write `m.pkl` (MLproject:4)",
        "give each file one maker; where they are alternatives, let `needs` say which is meant",
    ),
    (
        (
            "  main: {needs: [a, b], command: x}\n  a: {outputs: [out/], command: x}\n"
            "  b: {outputs: [out/m.pkl], command: x}\n"
        ),
        "MLproject:5:17: `b` writes `out/m.pkl`, and `a` `out`: that may be the same file (MLproject:4)",
        "give each file one maker; where they are alternatives, let `needs` say which is meant",
    ),
    (
        (
            "  main: {inputs: [clean.csv], command: x}\n"
            "  prepare: {inputs: [clean.cvs], outputs: [clean.csv], command: x}\n"  # not its own
        ),
        "MLproject:4:22: input `clean.cvs` of `prepare` is not there, and no entry point writes it",
        "list it under `outputs` of the one that does",
    ),
]


@pytest.mark.parametrize(("text", "message", "hint"), MISTAKES)
def test_what_cannot_be_is_said_with_its_line(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(MlrunError) as caught:
        planned(tmp_path, text)
    assert (str(caught.value), caught.value.hint) == (message, hint)
    errors = [it for it in check(tmp_path).findings if it.level == "error"]
    assert [f"{it.place}: {it.message}" for it in errors] == [message]


def test_alternatives_that_no_plan_has_together_are_a_warning(tmp_path: Path) -> None:
    planned(tmp_path, "  main: {outputs: [m.pkl], command: x}\n  again: {outputs: [m.pkl], command: x}\n")
    found = [(it.level, it.code) for it in check(tmp_path).findings if it.code != "no-environment"]
    assert found == [("warning", "same-output")]


def test_what_reads_nothing_that_others_write_is_no_pipeline(tmp_path: Path) -> None:
    (tmp_path / "MLproject").write_text(f"{HEAD}{CHAIN}  alone: {{command: x, outputs: [z]}}\n")
    project = projects.read(tmp_path)
    names = ("main", "train", "prepare", "alone", "no.py")
    assert [may_be_one(project, name) for name in names] == [True, True, False, False, False]


def test_paths_that_may_mean_the_same_file() -> None:
    same = [
        ("a", "a"), ("data", "data/x"), ("data/*.csv", "data/a.csv"), ("parts/*.csv", "parts"),
        ("*/x.csv", "data"), ("parts/*.csv", "parts/part-*"), ("**/a.csv", "a.csv"), ("data", "."),
        ("**/*.csv", "d/e/a.csv"), ("a[12].csv", "a1.csv"), ("a?", "ab"), ("data/**", "data"),
    ]  # fmt: skip
    apart = [
        ("a", "b"), ("data", "database"), ("data/*.csv", "data/a.txt"), ("*.csv", "data/a.csv"),
        ("[ab].csv", "c.csv"), ("a?b", "a/b"), ("*.csv", "/abs/x.csv"), (".", "/abs"),
    ]  # fmt: skip
    assert all(overlap(one, other) and overlap(other, one) for one, other in same)
    assert not any(overlap(one, other) or overlap(other, one) for one, other in apart)
    assert [plain(path, "/p") for path in ("data/", "./a", "/p/q", "../x", ".")] == [
        "data", "a", "q", "/x", ".",
    ]  # fmt: skip


def test_after_a_failure_nothing_starts_or_only_what_does_not_depend_on_it(tmp_path: Path) -> None:
    text = (
        "  main: {needs: [a, b], command: x}\n  a: {command: x}\n  b: {command: x}\n"
        "  late: {needs: [main], command: x}\n"
    )
    plan = planned(tmp_path, text, "late")
    for keep_going, then in ((False, None), (True, "b")):
        schedule = Schedule(plan, keep_going)
        assert schedule.next() == "a"
        schedule.begun("a")
        schedule.ended("a", "failed")
        assert schedule.next() == then
        assert [schedule.state(name) for name in ("main", "late")] == ["skipped", "skipped"]


def test_a_graph_is_drawn_in_lanes() -> None:
    needs = {"a": (), "b": ("a",), "c": ("a",), "d": (), "e": ("b", "c"), "f": ("d", "a")}
    steps = [StepFacts(name=name, run="", needs=each) for name, each in needs.items()]
    assert [row.rstrip() for row in view.drawn(steps)] == [
        "●",
        "├─●",
        "├─│─●",
        "│ │ │ ●",
        "│ └─┴─│─●",
        "└─────┴─●",
    ]


# --- as a user runs them ------------------------------------------------------------------------------


class Shell(shells.Shell):
    """A user's terminal. Tests share a cache."""

    def __init__(self, folder: Path, cwd: Path, cache: Path) -> None:
        super().__init__(folder, cwd)
        self.variables["MLRUN_CACHE"] = str(cache)

    def run(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """The record of the whole."""
        done = self.mlrun("run", ".", "--env-manager", "system", "--json", *arguments)
        assert done.returncode == code, done.stderr
        record: dict[str, Any] = json.loads(done.stdout)
        return record

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return super().start("run", ".", "--env-manager", "system", *arguments)


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory, warm_cache: Path) -> Path:
    root = tmp_path_factory.mktemp("pipelines") / "cache"
    return Path(shutil.copytree(warm_cache, root, symlinks=True))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def shell(tmp_path: Path, project: Path, shared_cache: Path) -> Shell:
    return Shell(tmp_path, project, shared_cache)


def states(record: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["state"] for step in record["steps"]}


def write(project: Path, text: str) -> None:
    (project / "MLproject").write_text(HEAD + text)
    (project / ".gitignore").write_text("*.out\n*.json\n*.pid\ndata/\n")
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", *arguments], cwd=project, check=True)


DIAMOND = """\
  prepare:
    parameters: {rows: {type: int, default: 2}}
    inputs: [raw.csv]
    outputs: [data/clean.out]
    command: "mkdir -p data; head -{rows} raw.csv > data/clean.out; echo said"
  left: {inputs: [data/clean.out], outputs: [left.out], command: "cp data/clean.out left.out"}
  right: {inputs: [data/clean.out], outputs: [right.out], command: "wc -l < data/clean.out > right.out"}
  main:
    parameters: {alpha: {type: float, default: 1}}
    inputs: [left.out, right.out]
    outputs: [{path: m.json, kind: metrics}]
    command: "echo '{{\\"score\\": {alpha}}}' > m.json"
"""


def test_a_pipeline_runs_in_order_and_then_comes_from_the_cache(shell: Shell, project: Path) -> None:
    (project / "raw.csv").write_text("1\n2\n3\n")
    write(project, DIAMOND)
    first = shell.run("-P", "alpha=3", "--name", "first")
    assert (first["status"], first["exit_code"], first["name"]) == ("finished", 0, "first")
    assert list(states(first).items()) == [
        (name, "finished") for name in ("prepare", "left", "right", "main")
    ]
    assert first["metrics"]["score"]["last"] == 3
    assert [it["path"] for it in first["inputs"]] == ["raw.csv"]
    child = shell.show("first/prepare")
    assert child["parents"] == {"pipeline": first["id"]}
    assert child["id"] == first["steps"][0]["run"]
    assert shell.mlrun("logs", "first/prepare").stdout == "said\n"
    assert shell.mlrun("get", "first", "left.out", "-o", "-").stdout == "1\n2\n"

    for path in ("data/clean.out", "left.out", "right.out", "m.json"):
        (project / path).unlink()
    again = shell.run("-P", "alpha=3")
    assert (again["status"], set(states(again).values())) == ("cached", {"cached"})
    assert (project / "left.out").read_text() == "1\n2\n"
    assert shell.show(again["steps"][1]["run"])["parents"]["cached_from"] == first["steps"][1]["run"]

    changed = shell.run("-P", "alpha=4", "-P", "prepare.rows=1")
    assert set(states(changed).values()) == {"finished"}
    some = shell.run("-P", "alpha=5", "-P", "rows=1", "-j", "2")
    assert states(some) == {"prepare": "cached", "left": "cached", "right": "cached", "main": "finished"}
    assert set(states(shell.run("-P", "alpha=5", "-P", "rows=1", "--no-cache")).values()) == {"finished"}


@pytest.mark.slow
def test_lists_name_the_whole_and_show_its_steps(shell: Shell, project: Path) -> None:
    (project / "raw.csv").write_text("1\n")
    write(project, DIAMOND)
    before = json.loads(shell.mlrun("dag", "--env-manager", "system", "--json").stdout)
    assert [(it["step"], it["state"]) for it in before] == [
        (name, "never run") for name in ("prepare", "left", "right", "main")
    ]
    whole = shell.run("--name", "whole", "--tag", "who=ada")
    assert shell.show()["id"] == whole["id"]
    assert len(shell.mlrun("runs").stdout.splitlines()) == 2
    assert len(shell.mlrun("runs", "--steps").stdout.splitlines()) == 6
    rows = json.loads(shell.mlrun("runs", "--json").stdout)
    assert {(row["name"], row["tags"]["who"]) for row in rows} == {
        (name, "ada") for name in ("whole", *(f"whole/{it}" for it in ("prepare", "left", "right", "main")))
    }
    shown = shell.mlrun("show", "whole").stdout
    assert "steps        ●       prepare  finished" in shown
    assert whole["steps"][3]["run"][:12] in shown
    dag = shell.mlrun("dag", "--env-manager", "system").stdout.splitlines()
    assert [line.split()[:3] for line in dag] == [
        ["●", "prepare", "cached"], ["├─●", "left", "cached"], ["└─│─●", "right", "cached"],
        ["└─┴─●", "main", "cached"],
    ]  # fmt: skip
    (project / "raw.csv").write_text("2\n")
    after = json.loads(shell.mlrun("dag", "-e", "left", "--env-manager", "system", "--json").stdout)
    assert [(it["step"], it["state"], it["last"]["name"]) for it in after] == [
        ("prepare", "stale", "whole/prepare"), ("left", "stale", "whole/left"),
    ]  # fmt: skip
    assert '-->|"left.out"|' in shell.mlrun("dag", "--mermaid", "--env-manager", "system").stdout
    assert '"prepare" -> "left" [label="data/clean.out"];' in shell.mlrun("dag", "--dot").stdout


MEETING = """\
  left: {outputs: [l.out], command: "touch l.out; until test -e r.out; do sleep 0.01; done; echo met"}
  right: {outputs: [r.out], command: "touch r.out; until test -e l.out; do sleep 0.01; done; echo met >&2"}
  main: {inputs: [l.out, r.out], command: "echo both"}
"""


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_environment_that_has_to_be_built_again_is_no_reason_to_run(
    shell: Shell, project: Path, jobs: str
) -> None:
    (project / "raw.csv").write_text("1\n2\n3\n")
    write(project, DIAMOND)
    assert shell.mlrun("run", ".", "-q").returncode == 0
    key = shell.show(shell.show()["steps"][0]["run"])["environment"]["key"]
    assert shell.mlrun("env", "rm", key.removeprefix("blake3:")).returncode == 0
    drawn = json.loads(shell.mlrun("dag", "--json").stdout)
    assert {step["state"] for step in drawn} == {"unknown"}
    assert shell.mlrun("status").returncode == 2
    assert shell.mlrun("run", ".", "-q", "-j", jobs).returncode == 0
    assert set(states(shell.show()).values()) == {"cached"}


@pytest.mark.slow
def test_what_would_be_put_back_counts_as_there_when_it_is_drawn(shell: Shell, project: Path) -> None:
    (project / "raw.csv").write_text("1\n2\n3\n")
    write(project, DIAMOND)
    shell.run()

    def drawn(*words: str) -> set[str]:
        done = shell.mlrun("dag", "--env-manager", "system", "--json", *words)
        return {step["state"] for step in json.loads(done.stdout)}

    shutil.rmtree(project / "data")
    (project / "left.out").unlink()
    (project / "right.out").write_text("by hand")
    assert drawn() == {"cached"}
    (project / "raw.csv").write_text("3\n")
    assert drawn() == {"stale"}
    (project / "MLproject").rename(project / "aside")
    done = shell.mlrun("dag")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no MLproject file here" in done.stderr
    (project / "aside").rename(project / "MLproject")
    done = shell.mlrun("dag", "-e", "mian")
    assert (done.returncode, "did you mean `main`?" in done.stderr) == (1, True)


FOLDERS = """\
  one:
    parameters: {n: {type: int, default: 1}}
    outputs: [models/one, x.out]
    command: mkdir -p models/one; echo {n} > models/one/w; echo {n} > x.out
  two: {outputs: [models/two.txt, y.out], command: mkdir -p models; echo 2 > models/two.txt; echo 2 > y.out}
  main: {inputs: [models, '*.out'], outputs: [all.txt], command: cat models/*/w models/two.txt > all.txt}
"""


@pytest.mark.slow
def test_a_folder_into_which_something_would_be_put_back_is_foreseen(shell: Shell, project: Path) -> None:
    write(project, FOLDERS)
    (project / ".gitignore").write_text("*.out\nmodels\nall.txt\n")
    (project / "models").mkdir()
    (project / "models/zero.txt").write_text("0")
    shell.run()

    def drawn() -> list[str]:
        words = ("-e", "main", "--env-manager", "system", "--json")
        return [step["state"] for step in json.loads(shell.mlrun("dag", *words).stdout)]

    assert drawn() == ["cached"] * 3
    shell.mlrun("reproduce", "-q", "-P", "n=x y")  # what came of it there says nothing of here
    (project / "models/zero.txt").write_text("1")
    step = json.loads(shell.mlrun("dag", "-e", "main", "--env-manager", "system", "--json").stdout)[-1]
    assert step["last"]["name"] == f"{shell.show('latest~1')['name']}/main"
    (project / "models/zero.txt").write_text("0")
    shell.run("-P", "n=5")
    assert drawn() == ["cached"] * 3
    shutil.rmtree(project / "models/one")
    (project / "y.out").unlink()
    assert drawn() == ["cached"] * 3
    (project / "models/zero.txt").write_text("1")
    assert drawn() == ["cached", "cached", "stale"]
    (project / "models/zero.txt").write_text("0")
    assert set(states(shell.run()).values()) == {"cached"}


def test_independent_steps_run_at_once_and_their_lines_are_told_apart(shell: Shell, project: Path) -> None:
    write(project, MEETING)
    done = shell.mlrun("run", ".", "--env-manager", "system", "-j", "2", "--timeout", "60")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["left  | met", "main  | both"]
    assert "right | met" in done.stderr.splitlines()
    assert shell.mlrun("logs", "latest~0").stdout == "met\nmet\nboth\n"
    assert shell.mlrun("logs", shell.show()["steps"][0]["run"]).stdout == "met\n"


FAILING = """\
  first: {outputs: [a.out], command: "echo a > a.out"}
  bad: {inputs: [a.out], outputs: [b.out], command: "test -e mended.pid || exit 7; echo b > b.out"}
  beside: {inputs: [a.out], outputs: [c.out], command: "echo c > c.out"}
  main: {inputs: [b.out, c.out], command: "cat b.out c.out"}
"""


@pytest.mark.slow
def test_a_failed_step_stops_what_depends_on_it_and_resume_goes_on(shell: Shell, project: Path) -> None:
    write(project, FAILING)
    record = shell.run(code=7)
    assert states(record) == {
        "first": "finished", "bad": "failed", "beside": "skipped", "main": "skipped",
    }  # fmt: skip
    assert (record["status"], record["error"]["code"]) == ("failed", "step-failed")
    assert record["error"]["message"] == "step `bad` failed with exit code 7; not run: 2"
    going = shell.run("--keep-going", "-j", "2", code=7)
    assert states(going) == {"first": "cached", "bad": "failed", "beside": "finished", "main": "skipped"}

    (project / "mended.pid").touch()
    done = shell.mlrun("resume", "--json")
    assert done.returncode == 0, done.stderr
    resumed = json.loads(done.stdout)
    assert states(resumed) == {
        "first": "cached", "bad": "finished", "beside": "cached", "main": "finished",
    }  # fmt: skip
    assert resumed["parents"] == {"resumes": going["id"]}
    again = shell.mlrun("resume")
    assert (again.returncode, again.stdout) == (0, "")
    assert f"`{resumed['name']}` has ended well: there is nothing left to do" in again.stderr
    assert json.loads(shell.mlrun("resume", "--json").stdout) == resumed
    assert shell.show()["id"] == resumed["id"]


@pytest.mark.slow
def test_without_the_cache_a_resumed_pipeline_keeps_what_it_made_itself(shell: Shell, project: Path) -> None:
    (project / "mended.pid").touch()
    write(project, FAILING)
    shell.run()
    (project / "mended.pid").unlink()
    shell.run("--no-cache", code=7)
    (project / "mended.pid").touch()
    resumed = json.loads(shell.mlrun("resume", "--json").stdout)
    assert states(resumed) == {
        "first": "cached", "bad": "finished", "beside": "finished", "main": "finished",
    }  # fmt: skip


@pytest.mark.slow
def test_resume_says_what_has_changed_and_runs_it_again(shell: Shell, project: Path) -> None:
    (project / "code.sh").write_text("exit 3\n")
    write(
        project, "  a: {outputs: [a.out], command: 'bash code.sh'}\n  main: {inputs: [a.out], command: ls}\n"
    )
    shell.run(code=3)
    (project / "code.sh").write_text("echo > a.out\n")
    done = shell.mlrun("resume")
    assert done.returncode == 0
    assert "mlrun: resuming: changed since: code.sh; steps to which that matters run again" in done.stderr


def test_a_step_that_runs_late_is_recorded_with_the_source_as_it_then_is(shell: Shell, project: Path) -> None:
    (project / "lib.sh").write_text("echo one > b.out\n")
    write(
        project,
        "  a: {outputs: [a.out], command: 'echo > a.out; echo \"echo two > b.out\" > lib.sh'}\n"
        "  main: {inputs: [a.out], outputs: [b.out], command: 'bash lib.sh'}\n",
    )
    record = shell.run()
    trees = [shell.show(step["run"])["source"]["tree"] for step in record["steps"]]
    assert trees[0] == record["source"]["tree"] != trees[1]


TALKING = """\
  one: {outputs: [1.out], command: "echo one; echo > 1.out"}
  two:
    needs: [one]
    outputs: [{path: 2.json, kind: metrics}]
    command: |
      while [ ! -e go.pid ]; do echo waits; sleep 0.05; done
      echo '{{"score": 2}}' > 2.json; echo two
  main: {needs: [two], command: echo main}
"""


@pytest.mark.slow
def test_logs_curves_and_removal_of_a_pipeline_are_those_of_its_steps(shell: Shell, project: Path) -> None:
    write(project, TALKING)
    running = shell.start("-q", "--name", "whole")
    while shell.mlrun("show", "whole/two").returncode != 0:
        assert running.poll() is None
    following = super(Shell, shell).start("logs", "-f", "whole")
    assert following.stdout is not None
    lines = [following.stdout.readline(), following.stdout.readline()]
    (project / "go.pid").touch()
    running.communicate(timeout=60)
    rest, told = following.communicate(timeout=60)
    assert (lines, rest.splitlines()[-2:]) == (["one\n", "waits\n"], ["two", "main"])
    assert [line.split()[1] for line in told.splitlines()] == ["whole/one", "whole/two", "whole/main"]
    assert shell.mlrun("logs", "whole").stdout.endswith("two\nmain\n")
    assert "score" in shell.mlrun("plot", "whole").stdout
    assert shell.mlrun("rm", "-y", "whole").returncode == 0
    assert json.loads(shell.mlrun("runs", "--steps", "--json").stdout) == []


PARTS = """\
  prepare:
    parameters: {rows: {type: int, default: 3}}
    inputs: [raw.csv]
    outputs: [parts, 'out/*.out']
    code: [prepare.py]
    command: python prepare.py {rows}
  main: {inputs: [parts, 'out/*.out'], outputs: [all.out], command: cat parts/* out/* > all.out}
"""


@pytest.mark.slow
def test_what_an_earlier_run_left_among_the_outputs_is_none_of_this_run(shell: Shell, project: Path) -> None:
    (project / "raw.csv").write_text("1\n2\n3\n")
    (project / "prepare.py").write_text(
        "import os, sys\nos.makedirs('parts', exist_ok=True)\nos.makedirs('out', exist_ok=True)\n"
        "for at, line in enumerate(open('raw.csv').readlines()[:int(sys.argv[1])]):\n"
        "    for name in (f'parts/{at}', f'out/{at}.out'):\n        open(name, 'w').write(line)\n"
    )
    write(project, PARTS)
    (project / ".gitignore").write_text("*.out\nparts\n")
    shell.run("--name", "first")
    (project / "parts/mine").write_text("mine\n")
    (project / "out/mine.out").write_text("1\n")  # what a run made, and nobody's under this name
    done = shell.mlrun("run", ".", "-P", "rows=1")
    assert done.returncode == 0, done.stderr
    assert "left by first/prepare, no output of this run, and taken away" in done.stderr
    assert sorted(it.name for it in (project / "parts").iterdir()) == ["0", "mine"]
    assert sorted(it.name for it in (project / "out").iterdir()) == ["0.out", "mine.out"]
    assert (project / "all.out").read_text() == "1\nmine\n1\n1\n"
    for name in ("parts/mine", "out/mine.out"):
        (project / name).unlink()
    assert set(states(shell.run()).values()) == {"cached"}  # as they were at first
    assert (project / "all.out").read_text() == "1\n2\n3\n" * 2
    (project / "prepare.py").write_text((project / "prepare.py").read_text() + "os.listdir('parts')\n")
    shell.run("-P", "rows=1")
    assert len(list((project / "parts").iterdir())) == 3  # it knows what else lies there
    assert len(list((project / "out").iterdir())) == 1


def test_an_entry_point_that_needs_nothing_has_a_record_as_ever(shell: Shell, project: Path) -> None:
    (project / "raw.csv").write_text("1\n")
    write(project, DIAMOND)
    record = shell.run("-e", "prepare")
    assert not {"steps", "options"} & set(record)
    assert record["parents"] == {}
    assert record["command"]["text"].startswith("mkdir")


@pytest.mark.slow
def test_a_pipeline_from_a_git_url_has_one_checkout_that_goes_afterwards(
    shell: Shell, project: Path, tmp_path: Path
) -> None:
    (project / "raw.csv").write_text("1\n2\n")
    write(project, DIAMOND)
    shell.cwd = tmp_path
    subprocess.run(["git", "clone", "-q", "--bare", project, tmp_path / "bare"], check=True)
    arguments = ("run", f"file://{tmp_path}/bare", "--env-manager", "system", "--json")
    first = json.loads(shell.mlrun(*arguments).stdout)
    assert set(states(first).values()) == {"finished"}
    again = json.loads(shell.mlrun(*arguments, "-j", "2").stdout)
    assert set(states(again).values()) == {"cached"}
    checkouts = Path(shell.variables["MLRUN_CACHE"], "work-v1")
    assert not [it for it in (first["id"], again["id"]) if (checkouts / it).exists()]
    assert not (project / "left.out").exists()


@pytest.mark.slow
def test_an_error_of_ours_in_a_step_is_its_failure(shell: Shell, project: Path) -> None:
    write(
        project,
        "  a: {outputs: [a.out], command: 'rm -f raw.pid; echo > a.out'}\n"
        "  main: {inputs: [a.out, raw.pid], command: ls}\n",
    )
    (project / "raw.pid").touch()
    for jobs in ("1", "2"):
        (project / "raw.pid").touch()
        record = shell.run("-j", jobs, "--no-cache", code=125)
        assert states(record) == {"a": "finished", "main": "failed"}
        assert record["error"]["message"] == (
            "step `main` failed: MLproject:4:26: input `raw.pid` is not there"
        )


# --- cut off ------------------------------------------------------------------------------------------

SLOW = """\
  quick: {outputs: [q.out], command: "echo > q.out"}
  a: {inputs: [q.out], outputs: [a.out], command: "echo $$ > a.pid; test -e go.pid || sleep 60; echo > a.out"}
  b: {inputs: [q.out], outputs: [b.out], command: "echo $$ > b.pid; test -e go.pid || sleep 60; echo > b.out"}
  main: {inputs: [a.out, b.out], command: "echo done"}
"""


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


def pids(project: Path, names: str) -> Iterator[int]:
    for name in names:
        path = project / f"{name}.pid"
        wait_for(partial(has_text, path))
        yield int(path.read_text())


def has_text(path: Path) -> bool:
    return path.exists() and path.read_text().strip() != ""


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize(("jobs", "names"), [pytest.param("1", "a", marks=pytest.mark.slow), ("2", "ab")])
def test_an_interruption_ends_all_steps_and_is_recorded(
    shell: Shell, project: Path, jobs: str, names: str
) -> None:
    write(project, SLOW)
    running = shell.start("-j", jobs)
    programs = list(pids(project, names))
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    for stream in (running.stdout, running.stderr):
        assert stream is not None
        stream.close()
    assert all(map(is_gone, programs))
    record = shell.show()
    assert (record["status"], record["signal"], record["error"]["code"]) == (
        "killed",
        "SIGINT",
        "interrupted",
    )
    ended = {"a": "killed", "b": "killed" if jobs == "2" else "skipped"}
    assert states(record) == {"quick": "finished", **ended, "main": "skipped"}


SLOWLY = (
    "for i in 1 2 3; do while [ ! -e $i.pid ]; do sleep 0.05; done; echo {name} $i; done; echo > {name}.out"
)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "4"])
def test_stopped_by_ctrl_z_it_goes_on_in_the_foreground(shell: Shell, project: Path, jobs: str) -> None:
    names = "ab"
    steps = "".join(f"  {it}: {{outputs: [{it}.out], command: '{SLOWLY.format(name=it)}'}}\n" for it in names)
    write(project, f"{steps}  main: {{needs: [a, b], command: echo both}}\n")
    bash = shutil.which("bash")
    assert bash
    terminal = Terminal([bash, "--norc", "-i"], variables={**shell.variables, "PS1": "@"}, cwd=project)
    terminal.wait_for("@")
    terminal.type(f"{' '.join(shell.argv('run', '.', '-j', jobs))}\r")
    (project / "1.pid").touch()
    terminal.wait_for("a 1")
    terminal.type("\x1a")
    terminal.wait_for("Stopped")
    (project / "2.pid").touch()
    time.sleep(1)
    assert not re.search("a 2|b 2", terminal.shown)
    terminal.type("fg\r")
    (project / "3.pid").touch()
    terminal.wait_for("next ")
    terminal.type("exit\r")
    assert terminal.end() == 0
    record = shell.show()
    assert set(states(record).values()) == {"finished"}
    logs = [shell.mlrun("logs", f"{record['name']}/{it}").stdout for it in names]
    assert logs == [f"{it} 1\r\n{it} 2\r\n{it} 3\r\n" for it in names] or logs == [
        f"{it} 1\n{it} 2\n{it} 3\n" for it in names
    ]


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["own", "whole"])
def test_a_time_limit_is_a_steps_own_or_the_wholes(shell: Shell, project: Path, limit: str) -> None:
    write(
        project, SLOW.replace("a.out], command", "a.out], timeout: 1s, command") if limit == "own" else SLOW
    )
    record = shell.run(*(() if limit == "own" else ("--timeout", "3s")), code=124)
    assert states(record) == {"quick": "finished", "a": "killed", "b": "skipped", "main": "skipped"}
    assert record["status"] == ("failed" if limit == "own" else "killed")


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "names"), [("1", "a"), ("2", "ab")])
def test_after_a_kill_nothing_runs_on_and_resume_is_right(
    shell: Shell, project: Path, jobs: str, names: str
) -> None:
    write(project, SLOW)
    running = shell.start("-j", jobs)
    programs = list(pids(project, names))
    running.kill()
    running.wait(60)
    for stream in (running.stdout, running.stderr):
        assert stream is not None
        stream.close()
    if jobs == "2":  # a worker outlives us for as long as it takes to end its program
        wait_for(lambda: all(map(is_gone, programs)))
    wait_for(lambda: shell.show()["status"] == "lost")
    text = shell.mlrun("show").stdout
    shown = next(line for line in text.splitlines() if "quick" in line)
    assert "finished" in shown.split()
    assert f"hint         `mlrun resume {shell.show()['id'][:8]}` goes on from there" in text
    (project / "go.pid").touch()
    resumed = json.loads(shell.mlrun("resume", "--json").stdout)
    assert all(map(is_gone, programs))
    assert states(resumed) == {"quick": "cached", "a": "finished", "b": "finished", "main": "finished"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no compiler")
def test_what_a_step_beside_it_makes_is_not_taken_for_its_own(shell: Shell, project: Path) -> None:
    source = project.parent / "nothing.c"
    source.write_text("int main(void) { return 0; }\n")
    program = project.parent / "nothing"
    subprocess.run(["cc", "-static", "-o", program, source], check=True)  # whose files nobody sees
    write(
        project,
        "  one: {outputs: [one.out], "
        f"command: 'until [ -e two.out ]; do sleep 0.02; done; {program} > one.out'}}\n"
        f"  two: {{outputs: [two.out], command: '{program} > two.out'}}\n"
        "  main: {inputs: [one.out, two.out], command: ':'}\n",
    )
    record = shell.run("-j", "2")
    outputs = {
        it["name"]: [each["path"] for each in shell.show(it["run"])["outputs"]] for it in record["steps"]
    }
    assert outputs == {"one": ["one.out"], "two": ["two.out"], "main": []}


@pytest.mark.slow
def test_a_wide_pipeline_with_kills_at_any_moment_loses_nothing(shell: Shell, project: Path) -> None:
    steps = "".join(
        f"  s{number}: {{outputs: [s{number}.out], command: 'sleep 0.05; echo {number} > s{number}.out'}}\n"
        for number in range(12)
    )
    reads = ", ".join(f"s{number}.out" for number in range(12))
    write(
        project,
        f"{steps}  main: {{inputs: [{reads}], outputs: [all.out], command: 'cat s*.out > all.out'}}\n",
    )
    for pause in (0.5, 0.9, 1.4):
        running = shell.start("-j", "4")
        time.sleep(pause)
        running.kill()
        running.communicate(timeout=60)
    record = shell.run("-j", "4")
    assert set(states(record).values()) <= {"finished", "cached"}
    assert sorted((project / "all.out").read_text().split(), key=int) == [str(it) for it in range(12)]
    verified = shell.mlrun("verify", "--all")
    assert verified.returncode == 0, verified.stdout


@pytest.mark.slow
def test_the_example_runs_and_can_be_repeated(shell: Shell, tmp_path: Path) -> None:
    shell.cwd = tmp_path / "example"
    shutil.copytree(Path(__file__).parent.parent / "examples" / "pipeline", shell.cwd)
    assert shell.mlrun("check").stdout.startswith("MLproject: fine")
    assert set(states(shell.run("-j", "2")).values()) == {"finished"}
    assert shell.show()["metrics"]["line_rmse"]["last"] < shell.show()["metrics"]["mean_rmse"]["last"]
    repeated = shell.mlrun("reproduce", "-q")
    assert repeated.returncode == 0, repeated.stdout + repeated.stderr
