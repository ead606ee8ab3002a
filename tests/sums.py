"""A project that adds up a table, in git, with data that git does not know; and what may be done to it.

Its fixtures `project` and `shell` are for tests that import them.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.shells import Shell

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = """
name: sums
environment: {requirements: []}
entry_points:
  main:
    parameters:
      alpha: {type: float, default: 0.5}
      table: {type: path, default: data/train.csv}
      how: {type: string, default: plain}
      token: {type: string, default: "", secret: true}
    env: {SCALE: "1"}
    inputs: [data/blob.bin, data/images]
    outputs: [{path: metrics.json, kind: metrics}, model.bin]
    command: python train.py {alpha} {table} {how}
"""
PROGRAM = """
import csv, gzip, json, os, random, sys, time
total = sum(float(row["quality"]) for row in csv.DictReader(open(sys.argv[2])))
total = total * float(sys.argv[1]) * float(os.environ["SCALE"]) + sum(open("data/blob.bin", "rb").read())
assert {"a.png", "b.png"} <= set(os.listdir("data/images"))
if sys.argv[3] == "random":
    total += random.random() * 1e-9
json.dump({"rmse": total + 0}, open("metrics.json", "w"))
with open("model.bin", "wb") as file:
    stamp = time.time_ns() % 2**32 if sys.argv[3] == "stamped" else 0
    file.write(gzip.compress(str(total).encode(), mtime=stamp))
if sys.argv[3] == "fails":
    sys.exit(3)
"""
ROWS = 12_000


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def commit_all(folder: Path) -> None:
    """The folder as the first commit of a repository."""
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "all of it")


def table() -> str:
    """More rows than a look at the first ones would tell."""
    return "id,quality\n" + "".join(f"{row},{row % 7}\n" for row in range(ROWS))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Of its data, the table alone is known to git."""
    folder = tmp_path / "project"
    (folder / "data/images").mkdir(parents=True)
    (folder / "MLproject").write_text(PROJECT)
    (folder / "train.py").write_text(PROGRAM)
    (folder / "data/train.csv").write_text(table())
    (folder / "data/blob.bin").write_bytes(bytes(range(256)))
    for name in ("a", "b"):
        (folder / f"data/images/{name}.png").write_bytes(name.encode())
    (folder / ".gitignore").write_text("metrics.json\nmodel.bin\ndata/blob.bin\ndata/images\n")
    commit_all(folder)
    return folder


@pytest.fixture
def shell(tmp_path: Path, project: Path, warm_cache: Path) -> Shell:
    return Shell(tmp_path, project, warm_cache)


# --- sabotage -----------------------------------------------------------------------------------------


def flip_byte(project: Path) -> None:
    content = bytearray((project / "data/blob.bin").read_bytes())
    content[70] ^= 1
    (project / "data/blob.bin").write_bytes(content)


def change_row(table: Path, row: int) -> None:
    lines = table.read_text().split("\n")
    lines[row] = re.sub(r",\d$", ",9", lines[row])
    table.write_text("\n".join(lines))


def set_variable(project: Path) -> None:
    file = project / "MLproject"
    file.write_text(file.read_text().replace('SCALE: "1"', 'SCALE: "2"'))
