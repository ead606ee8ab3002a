"""What stands for cached steps on disk, as users meet it: killed, removed, looked at meanwhile."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.test_pipelines import Shell, states, write
from tests.test_store import reading_only
from tests.test_store_bundles import owning_all_but

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory, warm_cache: Path) -> Path:
    root = tmp_path_factory.mktemp("bundled") / "cache"
    return Path(shutil.copytree(warm_cache, root, symlinks=True))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def shell(tmp_path: Path, project: Path, shared_cache: Path) -> Shell:
    return Shell(tmp_path, project, shared_cache)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it has not come to that"
        time.sleep(0.05)


def step(record: dict[str, Any], name: str) -> str:
    """The id of a step's run."""
    found: str = next(it["run"] for it in record["steps"] if it["name"] == name)
    return found


TWO = """\
  one: {outputs: [one.out], command: "echo 1 > one.out"}
  main: {inputs: [one.out], outputs: [two.out], command: "cp one.out two.out"}
"""


def test_a_run_whose_record_is_gone_stands_in_for_none(shell: Shell, project: Path) -> None:
    write(project, TWO)
    first = shell.run()
    gone = shell.home.run(step(first, "one"))
    assert gone.cache.exists()
    gone.record.unlink()
    again = shell.run()
    assert states(again) == {"one": "finished", "main": "cached"}
    assert states(shell.run()) == {"one": "cached", "main": "cached"}


SPOILING = """\
  one: {outputs: [one.out], command: "echo 1 > one.out"}
  main:
    inputs: [one.out]
    outputs: [two.out]
    command: 'cp one.out two.out; cd "$(dirname "$MLRUN_METRICS")"; rm record.json; mkdir record.json'
"""


def test_a_run_of_which_no_record_could_be_made_final_stands_in_for_none(shell: Shell, project: Path) -> None:
    write(project, SPOILING)
    done = shell.mlrun("run", ".", "--env-manager", "system")
    assert done.returncode == 125
    [place] = shell.home.runs.glob("*/*/record.json/")
    assert [each.name for each in shell.home.runs.glob("*/*/cache.json") if each.parent == place.parent] == []


SLOW = """\
  slow:
    outputs: [slow.out]
    command: "touch began.pid; until test -e go.pid; do sleep 0.05; done; touch slow.out"
    cache: false
  quick: {outputs: [quick.out], command: "echo quick > quick.out"}
  main: {inputs: [slow.out, quick.out], command: "true"}
"""


def test_a_cached_step_has_its_record_while_others_go_on(shell: Shell, project: Path) -> None:
    write(project, SLOW)
    (project / "go.pid").touch()
    shell.run()
    (project / "go.pid").unlink()
    (project / "began.pid").unlink()
    with shell.start("-j", "2", "--name", "whole") as going:
        try:
            until((project / "began.pid").exists)
            until(lambda: shell.ask("show", "whole/quick").returncode == 0)
            assert "running" in shell.ask("show", "whole").stdout
        finally:
            (project / "go.pid").touch()
    assert going.returncode == 0
    assert states(shell.show("whole"))["quick"] == "cached"


def test_a_pipeline_is_removed_with_all_its_steps_or_not_at_all(shell: Shell, project: Path) -> None:
    write(project, TWO)
    shell.run()
    whole = shell.run()["id"]
    with owning_all_but([shell.home.bundles], shell.home):
        done = shell.ask("rm", "-y", whole)
    assert done.returncode != 0
    assert "bundles" in done.stderr
    assert shell.ask("rm", "-y", whole).returncode == 0
    rows = json.loads(shell.ask("runs", "--steps", "--json").stdout)
    assert [row["status"] for row in rows] == ["finished"] * 3


def test_where_records_of_cached_steps_cannot_be_written_the_whole_says_so(
    shell: Shell, project: Path
) -> None:
    write(project, TWO)
    shell.run()
    shutil.rmtree(shell.home.bundles, ignore_errors=True)
    shell.home.bundles.write_text("in the way")
    refused = shell.mlrun("run", ".", "-q", "--env-manager", "system")
    assert refused.returncode == 125
    assert "bundles" in refused.stderr
    assert "Traceback" not in refused.stderr
    whole = shell.show("latest")
    assert (whole["status"], whole["error"]["message"] in refused.stderr) == ("failed", True)
    shell.home.bundles.unlink()
    assert shell.run()["status"] == "cached"


@pytest.mark.parametrize("what", ["outputs", "made", "reads", "key"])
def test_nothing_is_written_that_was_not_declared_whatever_is_noted(
    shell: Shell, project: Path, tmp_path: Path, what: str
) -> None:
    write(project, TWO)
    [own, _] = shell.run()["steps"]
    path = shell.home.run(own["run"]).cache
    noted = json.loads(path.read_text())
    kept = noted["results"]["outputs"][0]["digest"]
    victim = tmp_path / "victim"
    if what == "outputs":
        victim.write_text("precious")
        noted["results"]["outputs"].append({**noted["results"]["outputs"][0], "path": "../victim"})
    elif what == "made":
        noted["made"].append(["../victim", kept, False, True, False])
    else:
        shutil.rmtree(shell.home.cached / noted["key"].removeprefix("blake3:"))
        (shell.home.cached / "complete").unlink()
        noted[what] = {"reads": [[True, ["\ud800"], kept, []]], "key": "/victim"}[what]
    path.write_text(json.dumps(noted))
    again = shell.run()
    assert again["status"] in ("finished", "cached")
    assert states(again)["one"] == "finished"
    assert (victim.read_text() if victim.exists() else "precious") == "precious"
    assert victim.exists() == (what == "outputs")


MEASURING = """\
  one:
    outputs: [one.out]
    command: 'echo 1 > one.out; echo "{{\\"name\\": \\"loss\\", \\"value\\": 0.5}}" >> $MLRUN_METRICS'
  main: {inputs: [one.out], outputs: [two.out], command: "cp one.out two.out"}
"""


def test_a_cached_step_is_plotted_where_nothing_can_be_written(shell: Shell, project: Path) -> None:
    write(project, MEASURING)
    shell.run()
    own = step(shell.run(), "one")
    with reading_only(shell.home):
        done = shell.ask("plot", own)
    assert (done.returncode, "loss" in done.stdout) == (0, True), done.stderr
    assert not shell.home.run(own).root.exists()
