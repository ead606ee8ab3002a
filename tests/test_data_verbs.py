"""`mlrun data`: by real runs and real files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mlrun import data
from mlrun.data import rows, tables
from tests.shells import Shell

PROJECT = """
name: sums
environment: {requirements: []}
entry_points:
  main:
    inputs: [train.csv, images]
    outputs: [out.txt]
    command: cat train.csv > out.txt
"""


@pytest.fixture
def shell(tmp_path: Path, warm_cache: Path) -> Shell:
    project = tmp_path / "project"
    (project / "images").mkdir(parents=True)
    (project / "MLproject").write_text(PROJECT)
    (project / "train.csv").write_text("x,y\n" + "".join(f"{at},{at * 2}\n" for at in range(50)))
    for at in range(5):
        (project / "images" / f"{at}.png").write_bytes(bytes([at]) * 100)
    return Shell(tmp_path, project, warm_cache)


def answer(shell: Shell, *words: str, code: int) -> Any:
    done = shell.ask("data", *words, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def edit(shell: Shell) -> None:
    table = shell.cwd / "train.csv"
    table.write_text(table.read_text().replace("\n7,14\n", "\n7,15\n"))
    (shell.cwd / "images" / "2.png").write_bytes(b"other")
    (shell.cwd / "images" / "9.png").write_bytes(b"new")
    (shell.cwd / "images" / "0.png").unlink()


def test_hash_tells_what_a_record_would(shell: Shell) -> None:
    hostile = "a\n\x1b[31m b"
    (shell.cwd / hostile).write_text("text")
    done = shell.mlrun("data", "hash", "train.csv", "images", hostile)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    assert "\x1b" not in done.stdout
    file, folder = answer(shell, "hash", "train.csv", "images", code=0)
    assert (file["files"], folder["files"], folder["size"]) == (1, 5, 500)
    assert folder["tree"]
    missing = shell.mlrun("data", "hash", "nothing")
    assert missing.returncode == 1
    assert "`nothing` has no digest: No such file or directory" in missing.stderr


def test_two_paths_are_compared_by_rows_and_by_files(shell: Shell) -> None:
    os.system(f"cp -r {shell.cwd}/train.csv {shell.cwd}/old.csv; cp -r {shell.cwd}/images {shell.cwd}/old")
    edit(shell)
    (table,) = answer(shell, "diff", "old.csv", "train.csv", code=1)
    assert (table["change"], table["rows_changed"], table["columns"]) == ("changed", 1, ["y"])
    (folder,) = answer(shell, "diff", "old", "images", code=1)
    assert (folder["files_added"], folder["files_removed"], folder["files_changed"]) == (
        ["9.png"], ["0.png"], ["2.png"],
    )  # fmt: skip
    assert [item["change"] for item in answer(shell, "diff", "old", "old", code=0)] == ["same"]
    text = shell.mlrun("data", "diff", "old.csv", "train.csv").stdout
    assert text.splitlines() == [
        "~ train.csv  1 row of 50 changed",
        "    first at row 8: y 14 → 15",
    ]
    assert shell.mlrun("data", "diff", "old.csv", "nothing").returncode == 2


@pytest.mark.slow
def test_runs_and_paths_are_compared_and_what_has_changed_since_is_said(shell: Shell) -> None:
    shell.record(".")
    assert {item["state"] for item in answer(shell, "status", code=0)} == {"same"}
    assert {item["change"] for item in answer(shell, "diff", "latest", "latest", code=0)} == {"same"}
    assert [item["change"] for item in answer(shell, "diff", "latest", "train.csv", code=0)] == ["same"]
    edit(shell)
    found = {item["path"]: item["state"] for item in answer(shell, "status", ".", code=1)}
    assert found["train.csv"] == found["images"] == "changed"
    (item,) = answer(shell, "diff", "latest", "train.csv", code=1)
    assert item["rows_changed"] == 1
    (shell.cwd / "train.csv").rename(shell.cwd / "gone.csv")
    found = {item["path"]: item["state"] for item in answer(shell, "status", "latest", code=1)}
    assert found["train.csv"] == "missing"
    (shell.cwd / "gone.csv").rename(shell.cwd / "train.csv")
    shell.record(".")
    changes = {item["name"]: item["change"] for item in answer(shell, "diff", "latest~1", "latest", code=1)}
    assert changes["train.csv"] == "changed"
    (item,) = answer(shell, "diff", "latest~1:train.csv", "latest:out.txt", code=1)
    assert item["change"] == "changed"
    wrong = shell.mlrun("data", "diff", "latest:nothing", "train.csv")
    assert "has no input `nothing`" in wrong.stderr
    assert "1 changed" not in shell.mlrun("data", "status").stdout


def row_that_differs(shell: Shell, one: str, other: str, name: str) -> Any:
    """What the comparison of one input says of its rows, in a process of its own: nothing is remembered."""
    done = shell.mlrun("data", "diff", one, other, "--json")
    assert done.returncode == 1, done.stderr
    [found] = [item for item in json.loads(done.stdout) if item["name"].endswith(name)]
    return found


def test_rows_of_tables_that_nobody_else_keeps_are_compared(shell: Shell) -> None:
    """Data that git ignores, edited in place: declared, in a folder, and merely read."""
    (shell.cwd / "more").mkdir()
    (shell.cwd / "MLproject").write_text(
        PROJECT.replace("images]", "more]").replace("train.csv >", "train.csv other.csv >")
    )
    for name in ("more/part.csv", "other.csv"):
        (shell.cwd / name).write_bytes((shell.cwd / "train.csv").read_bytes())
    (shell.cwd / ".gitignore").write_text("*.csv\nout.txt\n")
    os.system(
        f"cd {shell.cwd} && git init -q . && git add . && git -c user.name=a -c user.email=a@b commit -qm x"
    )
    first = shell.record(".")["id"]
    for name in ("train.csv", "more/part.csv", "other.csv"):
        table = shell.cwd / name
        table.write_text(table.read_text().replace("\n7,14\n", "\n7,15\n"))
    for name in ("train.csv", "other.csv"):
        assert row_that_differs(shell, first, name, name)["rows_changed"] == 1
    second = shell.record(".")["id"]
    for name in ("train.csv", "other.csv"):
        assert row_that_differs(shell, first, second, name)["rows_changed"] == 1
    shown = shell.mlrun("data", "diff", first, second).stdout
    assert "part.csv: 1 row of 50 changed" in shown
    assert "first at row 8: y 14 → 15" in shell.mlrun("diff", first, second).stdout
    kept = list((Path(shell.variables["MLRUN_CACHE"]) / "tables-v1").iterdir())
    assert len(kept) == 2  # three files of two contents
    refused = shell.mlrun("reproduce", first)  # they are there to be compared only
    assert (refused.returncode, "train.csv" in refused.stderr + refused.stdout) == (2, True)
    kept[0].write_text("damaged")
    kept[1].write_text("damaged")
    assert "rows_changed" not in row_that_differs(shell, first, second, "train.csv")
    assert shell.mlrun("gc", "--keep-days", "0").returncode == 0
    assert list((Path(shell.variables["MLRUN_CACHE"]) / "tables-v1").iterdir()) == []


def test_a_large_table_is_not_kept(shell: Shell) -> None:
    (shell.cwd / "train.csv").write_bytes(b"x,y\n" + b"1,2\n" * (tables.KEEP_UP_TO // 4))
    shell.record(".")
    assert not (Path(shell.variables["MLRUN_CACHE"]) / "tables-v1").exists()


def test_what_has_rows_is_kept() -> None:
    assert set(data.TABLES) == {*rows._KINDS, *rows._PARQUET}


def test_without_a_good_run_nothing_can_be_told(shell: Shell) -> None:
    done = shell.mlrun("data", "status")
    assert done.returncode == 2
    assert "no run has succeeded yet" in done.stderr


def test_that_a_run_had_no_inputs_is_said(shell: Shell) -> None:
    (shell.cwd / "MLproject").write_text("entry_points: {main: {command: 'true'}}")
    assert shell.mlrun("run", ".", "-q", "--env-manager", "system").returncode == 0
    done = shell.ask("data", "status")
    assert (done.returncode, done.stdout) == (0, "the run had no inputs to look at\n")


def test_nothing_is_no_path(shell: Shell) -> None:
    assert "an empty name is no file" in shell.ask("data", "hash", "").stderr
    for words in (("data", "diff", "", "."), ("data", "status", ""), ("show", "")):
        done = shell.ask(*words)
        assert (done.returncode > 0, done.stdout) == (True, ""), words
