"""The life of a run in the store: opened, saved, swept, found, removed; by many at once, and killed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlrun.errors import StoreError
from mlrun.files import Home
from mlrun.model import BoundParameter, Metric, RunRecord, SourceFacts
from mlrun.store import Query, Store
from mlrun.store.names import new_id, new_name
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.quiet import Quiet

ROOT = Path(__file__).parent.parent


def record(number: int = 0, **fields: object) -> RunRecord:
    """A finished run; later ones have higher numbers. `params` and `metrics` may be given as mappings."""
    params = fields.pop("params", {})
    metrics = fields.pop("metrics", {})
    assert isinstance(params, dict)
    assert isinstance(metrics, dict)
    made = RunRecord(
        id=new_id(),
        name=f"run-{number}",
        status="finished",
        project="wine",
        target=".",
        entry_point="main",
        started_at=f"2026-11-21T08:{number // 60 % 60:02d}:{number % 60:02d}.000Z",
        ended_at=f"2026-11-21T09:{number // 60 % 60:02d}:{number % 60:02d}.000Z",
        duration_s=float(number),
        mlrun_version="0",
        source=SourceFacts(
            kind="git", tree="t", directory="/p", commit=f"{number:07x}" + "0" * 33, branch="main"
        ),
        parameters=tuple(
            BoundParameter(name=name, value=value, text=value, kind="string", origin="default")
            for name, value in params.items()
        ),
        metrics=tuple(
            Metric(name=name, last=value, minimum=value, maximum=value) for name, value in metrics.items()
        ),
    )
    return replace(made, **fields)


def add(store: Store, made: RunRecord) -> str:
    """Put a run into the store, and its id."""
    store.create(made).close()
    return made.id


@pytest.fixture
def store(home: Home, narrator: Quiet) -> Store:
    return Store(home, narrator)


@contextlib.contextmanager
def reading_only(home: Home) -> Iterator[None]:
    """We may read the store, not write it: root, whom no mode stops, becomes nobody for a while."""
    if os.geteuid() == 0:
        for folder in (home.root, *home.root.parents):
            if folder != Path("/"):
                os.chmod(folder, folder.stat().st_mode | 0o055)
        os.seteuid(65534)
        yield
        os.seteuid(0)
        return
    for place, _, names in os.walk(home.root):
        for name in names:
            os.chmod(os.path.join(place, name), 0o444)
        os.chmod(place, 0o555)
    yield
    for place, _, _ in os.walk(home.root):
        os.chmod(place, 0o755)


# --- one run ------------------------------------------------------------------------------------------


def test_a_run_is_found_from_the_moment_it_is_created(store: Store) -> None:
    running = record(status="running", ended_at=None, duration_s=None)
    with store.create(running):
        assert store.load(running.id) == running
        assert [(row.id, row.status) for row in store.query(Query())] == [(running.id, "running")]


def test_what_is_saved_replaces_what_was_there(store: Store) -> None:
    made = record(status="running")
    with store.create(made):
        store.query(Query())
        store.save(replace(made, status="finished", metrics=record(metrics={"rmse": 0.5}).metrics))
    assert [(row.status, row.metrics) for row in store.query(Query())] == [("finished", (("rmse", 0.5),))]


def test_a_row_tells_what_a_list_shows(store: Store) -> None:
    made = record(
        7, params={"b": "2", "a": "x"}, metrics={"rmse": 0.5}, tags=(("team", "a"),), user="ada", exit_code=0
    )
    add(store, made)
    (row,) = store.query(Query())
    assert (row.id, row.name, row.project, row.entry_point) == (made.id, "run-7", "wine", "main")
    assert (row.status, row.started_at, row.ended_at) == ("finished", made.started_at, made.ended_at)
    assert (row.duration_s, row.exit_code, row.target, row.user) == (7.0, 0, ".", "ada")
    assert (row.commit, row.branch, row.dirty) == ("0000007" + "0" * 33, "main", False)
    assert (row.params, row.metrics) == ((("b", "2"), ("a", "x")), (("rmse", 0.5),))
    assert row.tags == (("team", "a"),)


def test_creating_and_saving_never_loads_sqlite(home: Home) -> None:
    """A run must not pay for the index: it leaves a note for the next reader."""
    code = """
import sys
from pathlib import Path
from mlrun.files import Home
from mlrun.model import RunRecord
from mlrun.store import Store
store = Store(Home(Path(sys.argv[1])))
record = RunRecord(id="a" * 32, name="n", status="finished", project="p", target=".", entry_point="main",
    started_at="2026-11-21T08:00:00.000Z", mlrun_version="0")
with store.create(record):
    store.save(record)
store.objects.put_bytes(b"x")
print(sorted({"sqlite3", "difflib", "datetime", "subprocess"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(home.root)], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
    assert [row.id for row in Store(home).query(Query())] == ["a" * 32]


def test_the_same_id_twice_is_refused_and_the_first_left_alone(store: Store) -> None:
    made = record()
    add(store, made)
    with pytest.raises(StoreError) as caught:
        store.create(replace(made, name="other"))
    assert caught.value.code == "run-exists"
    assert store.load(made.id) == made


def test_the_lock_of_a_run_is_not_inherited_by_its_children(store: Store) -> None:
    made = record(status="running")
    lease = store.create(made)
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        lease.close()
        assert store.sweep() == (made.id,)
        child.kill()


def test_an_unknown_id_is_no_such_run(store: Store) -> None:
    with pytest.raises(StoreError) as caught:
        store.load("f" * 32)
    assert (caught.value.code, str(caught.value)) == ("no-such-run", f"there is no run {'f' * 32}")


def test_saving_a_run_whose_folder_is_gone_is_an_error(store: Store) -> None:
    with pytest.raises(StoreError) as caught:
        store.save(record())
    assert caught.value.code == "no-such-run"


def test_a_store_in_a_hostile_folder_works(hostile_path: Path) -> None:
    store = Store(Home(hostile_path / "home"))
    made = record()
    add(store, made)
    assert [row.id for row in store.query(Query())] == [made.id]


def test_a_home_that_does_not_exist_has_no_runs_and_is_not_made(tmp_path: Path) -> None:
    store = Store(Home(tmp_path / "nowhere"))
    assert store.query(Query()) == ()
    assert not (tmp_path / "nowhere").exists()


# --- trouble with the disk ----------------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_record_and_says_so(home: Home) -> None:
    """The limit on file size stands in for the disk's end: it fails the same write."""
    made = record()
    add(Store(home), made)
    code = f"""
import resource, signal, sys
from mlrun.value import replace
from pathlib import Path
from mlrun.errors import StoreError
from mlrun.files import Home
from mlrun.store import Store
store = Store(Home(Path(sys.argv[1])))
record = store.load({made.id!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))
try:
    store.save(replace(record, name="new"))
except StoreError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(home.root)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout == f"cannot write {home.run(made.id).record}: File too large\n", done.stderr
    assert Store(home).load(made.id) == made
    assert sorted(path.name for path in home.run(made.id).root.iterdir()) == ["alive", "record.json"]


def test_a_store_that_cannot_be_written_says_what_to_set(store: Store) -> None:
    with reading_only(store.home), pytest.raises(StoreError) as caught:
        store.create(record())
    assert caught.value.code == "store-not-writable"
    assert "MLRUN_HOME" in str(caught.value.hint)


@pytest.mark.parametrize("index", ["there", "behind", "missing", "damaged"])
def test_a_read_only_store_is_listed_and_its_dead_runs_are_shown_as_lost(store: Store, index: str) -> None:
    for number in range(2):
        add(store, record(number))
    if index == "behind":
        store.query(Query())
    dead = record(2, status="running")
    add(store, dead)
    if index in ("there", "damaged"):
        store.query(Query())
    if index == "damaged":
        store.home.index.write_bytes(b"not SQLite" * 1000)
    with reading_only(store.home):
        assert store.sweep() == ()
        rows = store.query(Query(sort="started"))
        assert [row.status for row in rows] == ["finished", "finished", "lost"]
        assert store.load(dead.id).status == "lost"
        assert store.find("run-1") == rows[1].id
    assert json.loads(store.home.run(dead.id).record.read_bytes())["status"] == "running"


# --- lost runs ----------------------------------------------------------------------------------------


def test_a_run_whose_process_is_gone_becomes_lost_with_the_time_of_its_last_sign(store: Store) -> None:
    made = record(status="running", ended_at=None, duration_s=None)
    store.create(made).close()
    log = store.home.run(made.id).log
    log.write_bytes(b"epoch 1\n")
    os.utime(log, (2_000_000_000, 2_000_000_000))
    assert store.sweep() == (made.id,)
    lost = store.load(made.id)
    assert (lost.status, lost.ended_at) == ("lost", "2033-05-18T03:33:20.000Z")
    assert lost.error is not None
    assert lost.error.code == "lost"
    assert [row.status for row in store.query(Query())] == ["lost"]
    assert store.sweep() == ()


def test_a_running_run_is_left_alone(store: Store) -> None:
    made = record(status="running")
    with store.create(made):
        assert store.sweep() == ()
        assert store.running() == (made,)
    assert store.sweep() == (made.id,)
    assert store.running() == ()


def test_loading_a_dead_run_marks_it_as_lost(store: Store) -> None:
    made = record(status="running")
    store.create(made).close()
    assert store.load(made.id).status == "lost"
    assert json.loads(store.home.run(made.id).record.read_bytes())["status"] == "lost"


def test_a_lock_looked_at_by_another_reader_does_not_make_a_run_lost(store: Store) -> None:
    made = record(status="running")
    store.create(made).close()
    with open(store.home.run(made.id).alive) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert store.sweep() == ()
    assert store.sweep() == (made.id,)


def test_a_running_run_whose_folder_was_deleted_leaves_the_list(store: Store) -> None:
    made = record(status="running")
    store.create(made).close()
    store.query(Query())
    for path in (store.home.run(made.id).record, store.home.run(made.id).alive):
        path.unlink()
    store.home.run(made.id).root.rmdir()
    assert store.sweep() == ()
    assert store.query(Query()) == ()


# --- names --------------------------------------------------------------------------------------------


def test_ids_and_names_are_what_they_should_be() -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", new_id())
    assert new_id() != new_id()
    assert new_name(b"\0\0\0\0") == "agile-acorn"
    assert re.fullmatch(r"[a-z]+-[a-z]+", new_name())
    assert len({new_name(number.to_bytes(4, "big")) for number in range(20_000)}) > 8_000


def test_a_run_is_found_by_id_by_its_start_by_name_and_by_latest(store: Store) -> None:
    ids = [add(store, record(number, id=f"{number:x}" * 32)) for number in range(10, 14)]
    assert store.find(ids[1]) == ids[1]
    assert store.find("bb") == store.find("BBB") == ids[1]
    assert store.find("run-12") == ids[2]
    assert store.find("latest") == store.find("latest~0") == ids[3]
    assert store.find("latest~2") == ids[1]


def test_of_several_runs_of_one_name_the_newest_is_meant(store: Store) -> None:
    add(store, record(1, name="baseline"))
    newest = add(store, record(9, name="baseline"))
    add(store, record(3, name="baseline"))
    assert store.find("baseline") == newest


def test_a_project_limits_what_is_found(store: Store) -> None:
    wine = add(store, record(1, project="wine"))
    add(store, record(2, project="beer"))
    assert store.find("latest", project="wine") == wine
    with pytest.raises(StoreError) as caught:
        store.find("run-2", project="wine")
    assert str(caught.value) == "no run is called `run-2` in project `wine`"
    assert caught.value.hint == "did you mean `run-1`?"


def test_an_ambiguous_start_lists_the_matches(store: Store) -> None:
    ids = [add(store, record(number, id=f"abc{number}" * 8)) for number in (1, 2)]
    with pytest.raises(StoreError) as caught:
        store.find("abc")
    assert caught.value.code == "ambiguous-run"
    assert str(caught.value) == "`abc` is the start of 2 run ids"
    assert caught.value.details == (
        f"{ids[1]}  run-2  2026-11-21T08:00:02.000Z",
        f"{ids[0]}  run-1  2026-11-21T08:00:01.000Z",
    )


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("brave-oter", "no run is called `brave-oter`", "did you mean `brave-otter`?"),
        ("ffff", "no run is called `ffff`", "`mlrun runs` lists them"),
        ("a", "no run is called `a`", "`mlrun runs` lists them"),
        ("latest~7", "no run `latest~7`: there are only 1 runs", "`mlrun runs` lists them"),
        ("x' OR '1'='1", "no run is called `x' OR '1'='1`", "`mlrun runs` lists them"),
        ("\udc80", "no run is called `\udc80`", "`mlrun runs` lists them"),
    ],
)
def test_what_is_not_found_is_said_with_a_hint(store: Store, name: str, message: str, hint: str) -> None:
    add(store, record(name="brave-otter", id="a" * 32))
    with pytest.raises(StoreError) as caught:
        store.find(name)
    assert (caught.value.code, str(caught.value), caught.value.hint) == ("no-such-run", message, hint)


def test_a_store_without_runs_says_that_there_are_none(store: Store) -> None:
    with pytest.raises(StoreError) as caught:
        store.find("latest")
    assert str(caught.value) == "no run `latest`: there are no runs yet"


# --- removing -----------------------------------------------------------------------------------------


def test_a_removed_run_is_gone_from_disk_and_list(store: Store) -> None:
    made, kept = add(store, record(1)), add(store, record(2))
    store.query(Query())
    store.remove([made])
    assert [row.id for row in store.query(Query())] == [kept]
    assert not store.home.run(made).root.exists()
    with pytest.raises(StoreError) as caught:
        store.remove([made])
    assert caught.value.code == "no-such-run"


def test_a_running_run_cannot_be_removed_nor_those_named_with_it(store: Store) -> None:
    other = add(store, record(1))
    made = record(2, status="running")
    with store.create(made), pytest.raises(StoreError) as caught:
        store.remove([other, made.id])
    assert caught.value.code == "run-is-running"
    assert len(store.query(Query())) == 2


# --- many at once, and kills --------------------------------------------------------------------------

WRITER = """
import sys, time
from mlrun.value import replace
from pathlib import Path
from mlrun.files import Home
from mlrun.store import Query, Store
from tests.test_store import record

store = Store(Home(Path(sys.argv[1])))
for number in range(int(sys.argv[2])):
    made = record(number, status="running", metrics={"rmse": number / 7}, params={"n": str(number)})
    print("opening", made.id, flush=True)
    with store.create(made):
        store.save(replace(made, status="finished", name="done"))
    print("closed", made.id, flush=True)
    if number % 5 == 4:
        store.sweep()
        store.query(Query(where="metrics.rmse < 1"))
"""


def writer(home: Home, count: int) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", WRITER, str(home.root), str(count)]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_fifty_processes_write_and_list_at_once(home: Home) -> None:
    writers = [writer(home, 10) for _ in range(50)]
    closed = set()
    for process in writers:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        closed |= set(re.findall(r"closed (\w+)", output))
    rows = Store(home).query(Query())
    assert len(rows) == 500
    assert {row.id for row in rows} == closed
    assert {(row.status, row.name) for row in rows} == {("finished", "done")}
    assert not list((home.root / "unindexed").iterdir())


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_every_record_whole(home: Home, store: Store) -> None:
    chance = random.Random(5)
    opened, closed = set(), set()
    for _ in range(25):
        process = writer(home, 1000)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(chance.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        output = first + process.stdout.read()
        process.stdout.close()
        process.wait()
        opened |= set(re.findall(r"opening (\w{32})", output))
        closed |= set(re.findall(r"closed (\w{32})", output))
    store.sweep()
    rows = {row.id: row for row in store.query(Query())}
    assert closed <= set(rows) <= opened
    assert all(rows[run_id].status == "finished" for run_id in closed)
    assert all(store.load(run_id).status == row.status != "running" for run_id, row in rows.items())
    before = {run_id: row.status for run_id, row in rows.items()}
    store.rebuild()
    assert {row.id: row.status for row in store.query(Query())} == before
