"""From a file to all that it was made from, and to all that was made of it: by real runs, and many."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

from mlrun import digest
from mlrun.data import Reader
from mlrun.errors import StoreError
from mlrun.lineage import find, lineage
from mlrun.model import Artifact, Digest, RunRecord
from mlrun.store import Store
from mlrun.store import lineage as walks
from mlrun.store.index import fill
from mlrun.value import replace
from mlrun.views import lineage as view
from tests.shells import Shell
from tests.test_store import add, record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREPARE = """
name: prepare
environment: {requirements: []}
entry_points:
  main:
    inputs: [raw.csv]
    outputs: [clean.csv]
    command: grep -v bad raw.csv > clean.csv
"""
TRAIN = """
name: train
environment: {requirements: []}
entry_points:
  main:
    parameters: {table: path}
    outputs: [models]
    command: mkdir -p models && sort -r {table} > models/first.txt && wc -l < {table} > models/count.txt
"""
SCORE = """
name: score
environment: {requirements: []}
entry_points:
  main:
    parameters: {model: path}
    outputs: [report.txt]
    command: sed 's/^/scored /' {model} > report.txt
"""


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    for name, text in (("prepare", PREPARE), ("train", TRAIN), ("score", SCORE)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "MLproject").write_text(text)
    (tmp_path / "prepare" / "raw.csv").write_text("a,1\nbad,2\nb,3\n")
    return tmp_path


@pytest.mark.slow
def test_a_chain_across_projects_through_renames_copies_and_folders(projects: Path, warm_cache: Path) -> None:
    shell = Shell(projects, projects, warm_cache)
    prepared = shell.record("prepare")
    shutil.copy(projects / "prepare" / "clean.csv", projects / "elsewhere.csv")
    trained = shell.record("train", "-P", f"table={projects / 'elsewhere.csv'}")
    shutil.copy(projects / "train" / "models" / "first.txt", projects / "picked.bin")
    scored = shell.record("score", "-P", f"model={projects / 'picked.bin'}")
    shutil.copy(projects / "score" / "report.txt", projects / "report of 'mine'.txt")
    runs = [prepared["id"], trained["id"], scored["id"]]

    found = json.loads(shell.mlrun("lineage", "report of 'mine'.txt", "--json").stdout)
    assert [each["id"] for each in found["up"]["runs"]] == runs[::-1]
    assert [each["run"] for each in found["root"]["made_by"]] == [runs[2]]
    assert [(each["earlier"], each["later"]) for each in found["up"]["links"] if each["digest"]] == [
        (runs[1], runs[2]),
        (runs[0], runs[1]),
    ]
    found = json.loads(shell.mlrun("lineage", "prepare/raw.csv", "--down", "--json").stdout)
    assert [each["id"] for each in found["down"]["runs"]] == runs
    assert found["up"] is None

    shown = shell.mlrun("lineage", "report of 'mine'.txt").stdout
    assert shown.index(scored["name"]) < shown.index(trained["name"]) < shown.index(prepared["name"])
    assert "written as clean.csv" in shown
    of_project = shell.mlrun("lineage", "score", "--up", "--depth", "1")
    assert of_project.returncode == 1, "a project's folder was neither written nor read"
    of_depth = json.loads(shell.mlrun("lineage", scored["id"], "--up", "--depth", "1", "--json").stdout)
    assert [each["id"] for each in of_depth["up"]["runs"]] == runs[:0:-1]

    made = next(item for item in scored["outputs"] if item["path"] == "report.txt")["digest"]
    for name in (made, made.removeprefix("blake3:")[:11]):
        assert scored["name"] in shell.mlrun("lineage", name).stdout


def test_of_a_file_that_no_run_knows_it_is_said_which_runs_wrote_such_a_name(
    projects: Path, warm_cache: Path
) -> None:
    shell = Shell(projects, projects, warm_cache)
    made = shell.record("prepare")
    (projects / "clean.csv").write_text("edited since")
    answer = shell.mlrun("lineage", "clean.csv")
    assert answer.returncode == 1
    assert "no recorded run has written or read `clean.csv`" in answer.stderr
    assert made["id"][:8] in answer.stderr
    (projects / "empty").write_text("")
    assert "empty files are alike everywhere" in shell.mlrun("lineage", "empty").stderr
    assert "is no run, no file here, and no digest" in shell.mlrun("lineage", "nothing").stderr


# --- shapes -------------------------------------------------------------------------------------------


def item(name: str, *, path: str | None = None) -> Artifact:
    """A content that is its name."""
    its_digest = digest.of_bytes(name.encode())
    return Artifact(path=path or name, kind="file", digest=its_digest, size=len(name), files=1)


def run(number: int, reads: str = "", writes: str = "", **fields: Any) -> RunRecord:
    return record(
        number, inputs=tuple(map(item, reads.split())), outputs=tuple(map(item, writes.split())), **fields
    )


@pytest.fixture
def store(home: Any, narrator: Any) -> Store:
    return Store(home, narrator)


def both(store: Store, name: str) -> Any:
    found = find(store, name, directory=store.home.root, reader=Reader())
    return lineage(store, found)


def names(walk: walks.Walk | None) -> list[str]:
    assert walk is not None
    return [node.name for node in walk.runs]


def test_a_diamond_is_walked_once_and_drawn_once(store: Store) -> None:
    for made in (run(1, writes="a"), run(2, "a", "b"), run(3, "a", "c"), run(4, "b c", "d")):
        add(store, made)
    found = both(store, "run-4")
    assert sorted(names(found.up)) == ["run-1", "run-2", "run-3", "run-4"]
    lines = view.tree(found)
    assert sum("run-1" in line and "shown above" not in line for line in lines) == 1
    assert sum("run-1" in line and "shown above" in line for line in lines) == 1
    assert sorted(names(both(store, "run-1").down)) == ["run-1", "run-2", "run-3", "run-4"]


def test_of_a_content_all_makers_and_users_are_counted_however_many_are_shown(store: Store) -> None:
    add(store, run(1, writes="a"))
    add(store, run(2, writes="a"))
    for number in range(3, 7):
        add(store, run(number, "a", f"m{number}"))
    its_digest = str(item("a").digest)
    root = find(store, its_digest, directory=store.home.root, reader=Reader(), limit=1)
    found = lineage(store, root, limit=1)
    assert root.content is not None
    assert (len(root.content.users), root.content.read_by, root.content.made_by) == (1, 4, 2)
    lines = view.tree(found)
    assert lines[1] == "made as a, as 1 earlier did, by"
    assert "read by 4 runs" in lines
    assert lines[-1] == "… and more runs; `-n 0` for all"
    assert json.loads(json.dumps(view.as_json(found)))["root"]["read_by_runs"] == 4


def test_runs_that_write_what_they_read_and_circles_end(store: Store) -> None:
    for made in (
        run(1, "x y", "x y"),
        run(2, "x", "y", ended_at="2026-11-21T23:00:00.000Z"),
        run(3, "y", "x", ended_at="2026-11-21T23:00:00.000Z"),
    ):
        add(store, made)
    for name in ("run-1", "run-2", "run-3"):
        found = both(store, name)
        assert len(names(found.up)) <= 3
        assert view.tree(found)
        assert not any(link.earlier == link.later for walk in (found.up, found.down) for link in walk.links)


def test_of_several_makers_the_last_before_the_reader_is_meant(store: Store) -> None:
    for made in (run(1, writes="m"), run(2, writes="m"), run(5, "m"), run(7, writes="m")):
        add(store, replace_end(made))
    found = both(store, "run-5")
    assert names(found.up) == ["run-5", "run-2"]
    assert found.up.links[0].others == 2
    assert "2 other runs" in "\n".join(view.tree(found))
    assert names(both(store, "run-1").down) == ["run-1", "run-5"]
    assert names(both(store, "run-7").down) == ["run-7"], "it was read before that was written"


def test_a_run_that_was_named_is_the_maker_whoever_wrote_the_same_later(store: Store) -> None:
    first = run(1, writes="m")
    place = f"/cache/inputs-v1/{first.id}/{'0' * 16}/m"
    reader = record(3, inputs=(item("m", path=place),))
    for made in (first, run(2, writes="m"), reader):
        add(store, replace_end(made))
    assert names(both(store, "run-3").up) == ["run-3", "run-1"]


def replace_end(made: RunRecord) -> RunRecord:
    from mlrun.value import replace

    return replace(made, ended_at=made.started_at)


def test_children_and_repetitions_hang_on_their_parents(store: Store) -> None:
    parent = run(1, "raw")
    child = run(2, parents=(("nested", parent.id),))
    again = run(3, parents=(("reproduces", child.id), ("pipeline", "f" * 32)))
    for made in (parent, child, again):
        add(store, made)
    found = both(store, "run-3")
    assert names(found.up) == ["run-3", "run-2", "run-1"]
    text = "\n".join(view.tree(found))
    assert "repeats" in text
    assert "part of" in text
    assert names(both(store, "run-1").down) == ["run-1", "run-2", "run-3"]


def test_a_file_of_a_folder_that_was_read_and_a_chain_longer_than_pythons_stack(store: Store) -> None:
    entries = [{"digest": item("part").digest, "mode": "100644", "path": "p/part", "size": 4}]
    manifest = {"entries": entries, "format": "mlrun/manifest/v1"}
    tree = store.objects.put_bytes(digest.canonical_json(manifest))
    folder = Artifact(path="set", kind="data", digest=tree, size=4, files=1, tree=True)
    add(store, run(0, writes="part"))
    add(store, record(1, inputs=(folder,), outputs=(item("c1"),)))
    assert names(both(store, "run-1").up) == ["run-1", "run-0"]
    assert names(both(store, "run-0").down) == ["run-0", "run-1"]
    connection = sqlite3.connect(":memory:", isolation_level=None)
    with contextlib.closing(connection):
        chain = [run(at, f"c{at - 1}", f"c{at}") for at in range(1, 1500)]
        fill(connection, chain)
        walk = walks.up(connection, [chain[-1].id], depth=None, limit=None)
        assert len(walk.runs) == 1499
        part = walks.up(connection, [chain[-1].id], depth=None, limit=10)
        assert len(part.runs) == 10
        assert part.more
    from mlrun.lineage import Lineage, Root

    drawn = view.tree(Lineage(root=Root(kind="run", name="x", runs=(chain[-1].id,)), up=walk))
    assert sum("from c1  " in line for line in drawn) == 1


def test_hostile_names_stay_text(store: Store) -> None:
    nasty = 'a"]; end\n\x1b[31m`|<b>&#35;\\"é'
    written = item("n", path=nasty)
    add(store, record(1, name=nasty, project=nasty, outputs=(written,)))
    add(store, record(2, inputs=(item("n", path=nasty),)))
    found = both(store, "run-2")
    for text in ("\n".join(view.tree(found)), view.dot(found), view.mermaid(found)):
        assert "\x1b" not in text
    for line in view.dot(found).splitlines()[3:-1]:
        assert line.replace("\\\\", "").replace('\\"', "").count('"') % 2 == 0
    for line in view.mermaid(found).splitlines()[1:]:
        assert line.count('"') == 2 or "-->" in line
        assert "`" not in line
        assert "</" not in line


def test_drawings_hold_what_was_noticed_too(store: Store) -> None:
    noticed = item("a", path="raw.csv"), item("b", path="model.pkl")
    inputs, outputs = ((replace(each, declared=False),) for each in noticed)
    add(store, record(1, inputs=inputs, outputs=outputs))
    found = both(store, "run-1")
    for text, arrow in ((view.dot(found), "->"), (view.mermaid(found), "-->")):
        assert "raw.csv" in text
        assert "model.pkl" in text
        assert sum(f" {arrow} " in line for line in text.splitlines()) == 2


def test_a_commit_leads_to_its_runs(store: Store) -> None:
    add(store, run(1))
    add(store, run(2))
    assert names(both(store, "0000001000").up) == ["run-1"]
    with pytest.raises(StoreError, match="no run, no file"):
        both(store, "0000009000")


# --- in the large -------------------------------------------------------------------------------------


def many(count: int) -> Iterator[RunRecord]:
    """Chains of ten that all begin at one data set."""
    for at in range(count):
        first = at % 10 == 0
        reads = ("common",) if first else ("common", f"m{at - 1}")
        yield record(at, inputs=tuple(map(item, reads)), outputs=(item(f"m{at}"),), ended_at=None)


@pytest.mark.slow
def test_among_a_hundred_thousand_runs_a_lineage_costs_as_much_as_bare_queries(tmp_path: Path) -> None:
    runs = list(many(100_000))
    with contextlib.closing(sqlite3.connect(tmp_path / "index.db", isolation_level=None)) as connection:
        fill(connection, iter(runs))
        started = time.perf_counter()
        walk = walks.up(connection, [runs[99_999].id], depth=None, limit=1000)
        chain = time.perf_counter() - started
        assert [node.id for node in walk.runs] == [made.id for made in runs[99_999:99_989:-1]]
        started = time.perf_counter()
        below = walks.down(connection, [made.id for made in runs[:1000]], depth=None, limit=None)
        wide = time.perf_counter() - started
        assert len(below.runs) == 1000
        started = time.perf_counter()
        bare = connection.execute(
            "SELECT r.id, r.name, a.path FROM artifacts a JOIN runs r ON r.seq = a.run WHERE a.digest = ?",
            (bytes.fromhex(digest.hex_of(Digest(str(item("common").digest)))),),
        ).fetchall()
        all_of_it = time.perf_counter() - started
        assert len(bare) == 100_000
        # Ten runs of a chain cost a part of one query over all; a thousand runs less than ten such.
        assert chain < all_of_it
        assert wide < 10 * all_of_it
        known = str(item("common").digest)
        some, every = (walks.content(connection, known, limit=limit) for limit in (1000, None))
        assert (len(some.users), some.more) == (1000, True)
        assert (len(every.users), every.more) == (100_000, False)
        assert some.read_by == every.read_by == 100_000
