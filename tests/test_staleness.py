"""Whether running again would change anything: each kind of change is named, and nothing else is."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.indexes import Index, serving
from tests.test_reproduction import PROJECT, git, project, run, shell
from tests.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.shells import Shell

__all__ = ["project", "shell"]  # fixtures


def status(shell: Shell, *words: str, code: int) -> dict[str, Any]:
    done = shell.mlrun("status", *words, "--json")
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
    assert "train.csv" in json.dumps(status(shell, code=1))


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
    found = status(shell, code=0)
    assert [point["entry_point"] for point in found["entry_points"]] == ["prepare", "main"]
    assert causes(status(shell, "-P", "prepare.rows=2", code=1)) == [("parameters", "rows")]
    (project / "clean.out").unlink()  # it would be made, or put back
    assert causes(status(shell, code=0)) == []
    (project / "raw.csv").write_text("3\n2\n")  # what `main` reads is not there yet to be seen changed
    assert causes(status(shell, code=1)) == [("data", "raw.csv")]
    (project / "raw.csv").unlink()
    assert causes(status(shell, code=1)) == [("data", "inputs")]
