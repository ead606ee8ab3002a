"""The index may be lost, damaged, old or new at any time: the records are the truth."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import sqlite3
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from mlrun import digest
from mlrun.errors import StoreError
from mlrun.files import Home
from mlrun.model import Artifact
from mlrun.store import Query, Store, index, lineage, notes, schema
from mlrun.value import replace
from tests.test_store import add, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.quiet import Quiet


@pytest.fixture
def store(home: Home, narrator: Quiet) -> Store:
    """Twelve runs, all in the index."""
    store = Store(home, narrator)
    for number in range(12):
        add(store, record(number, params={"n": f"{number}"}, metrics={"rmse": number / 10}))
    assert len(store.query(Query())) == 12
    return store


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def no_database(path: Path) -> None:
    path.write_bytes(b"once upon a time" * 100)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 77)


def cut_pages(path: Path) -> None:
    os.truncate(path, 4096 * 3)


def header_only(path: Path) -> None:
    os.truncate(path, 100)


def scribbled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for start in range(4096, len(data), 4096):
        data[start : start + 64] = b"\xaa" * 64
    path.write_bytes(data)


def become_folder(path: Path) -> None:
    path.unlink()
    (path / "in").mkdir(parents=True)


def tables_dropped(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE attributes")


def of_a_newer_mlrun(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1000")


def version_zero(path: Path) -> None:
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")


DAMAGES = [
    remove,
    empty,
    no_database,
    cut,
    cut_pages,
    header_only,
    scribbled,
    become_folder,
    tables_dropped,
    of_a_newer_mlrun,
    version_zero,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_made_anew(store: Store, damage: Callable[[Path], None]) -> None:
    before = store.query(Query(where="metrics.rmse > 1"))
    damage(store.home.index)
    again = Store(store.home)
    assert again.query(Query(where="metrics.rmse > 1")) == before
    assert again.find("run-7") == store.find("run-7")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_whatever_bytes_of_the_index_are_damaged_a_list_is_answered(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    whole = store.home.index.read_bytes()
    for _ in range(60):
        data = bytearray(whole)
        start = chance.randrange(len(data))
        match chance.randrange(3):
            case 0:
                data = data[:start]
            case 1:
                data[start : start + 4000] = chance.randbytes(len(data[start : start + 4000]))
            case _:
                for _ in range(chance.choice([1, 5, 50, 500])):
                    data[chance.randrange(len(data))] = chance.randrange(256)
        store.home.index.write_bytes(data)
        store.query(Query(where="metrics.rmse > 0.1 and params.n < 50", sort="metrics.rmse"))
        assert store.find("latest")
        assert store.sweep() == ()


def test_that_a_damaged_index_is_made_anew_is_said(store: Store, narrator: Quiet) -> None:
    no_database(store.home.index)
    store.query(Query())
    assert narrator.lines == ["indexing 12 records: the index is damaged (file is not a database)"]


def test_a_first_index_is_made_without_a_word(store: Store, narrator: Quiet) -> None:
    assert narrator.lines == []


def test_a_log_left_beside_a_deleted_index_is_not_replayed(store: Store) -> None:
    log = store.home.index.with_name("index.db-wal")
    with contextlib.closing(sqlite3.connect(store.home.index)) as connection:
        connection.execute("UPDATE runs SET name = 'stale'")
        connection.commit()
        left = log.read_bytes()
    store.home.index.unlink()
    log.write_bytes(left)
    assert {row.name for row in store.query(Query())} == {f"run-{number}" for number in range(12)}


def test_many_who_find_the_index_damaged_at_once_all_get_their_answer(store: Store) -> None:
    no_database(store.home.index)
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(len(Store(store.home).query(Query()))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [12] * 8


def test_an_index_that_is_full_of_locks_is_not_taken_for_damaged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_BUSY_SECONDS", 0.05)
    add(store, record(50))
    with contextlib.closing(sqlite3.connect(store.home.index, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError) as caught:
            store.query(Query())
    assert caught.value.code == "store-busy"
    assert len(store.query(Query())) == 13


def test_rebuilding_finds_copied_runs_and_forgets_deleted_ones(store: Store, tmp_path: Path) -> None:
    elsewhere = Store(Home(tmp_path / "elsewhere"))
    made = record(99)
    add(elsewhere, made)
    there, here = elsewhere.home.run(made.id).root, store.home.run(made.id).root
    here.parent.mkdir(exist_ok=True)
    os.rename(there, here)
    store.rebuild()
    assert store.query(Query())[0].id == made.id


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mounting, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a disk that is small enough")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("indexed_before", [False, True])
def test_a_full_disk_keeps_nobody_from_looking_and_removing(
    small_disk: Path, *, indexed_before: bool
) -> None:
    store = Store(Home(small_disk / "home"))
    made = [add(store, record(number)) for number in range(3)]
    if indexed_before:
        store.query(Query())
        made.append(add(store, record(3)))
    with contextlib.suppress(OSError), open(small_disk / "rest", "wb", buffering=0) as rest:
        while rest.write(bytes(4096)):
            pass
    assert {row.id for row in store.query(Query())} == set(made)
    assert store.find("latest") == made[-1]
    store.remove([made[0]])
    assert {row.id for row in store.query(Query())} == set(made[1:])


def test_a_record_that_cannot_be_read_does_not_stop_the_list(store: Store, narrator: Quiet) -> None:
    victim = store.query(Query())[0].id
    path = store.home.run(victim).record
    path.write_bytes(b'{"schema": ')
    assert len(store.query(Query())) == 12
    with pytest.raises(StoreError) as caught:
        store.load(victim)
    assert caught.value.code == "corrupt-record"
    assert str(path) in str(caught.value)
    assert caught.value.hint is not None
    store.rebuild()
    assert len(store.query(Query())) == 11
    assert [line.partition(" is not")[0] for line in narrator.lines] == [str(path)]


def test_a_record_in_the_folder_of_another_run_is_refused(store: Store) -> None:
    one, other = (row.id for row in store.query(Query(limit=2)))
    store.home.run(one).record.write_bytes(store.home.run(other).record.read_bytes())
    with pytest.raises(StoreError) as caught:
        store.load(one)
    assert caught.value.code == "corrupt-record"


def test_a_running_record_that_cannot_be_read_is_shown_as_lost(store: Store) -> None:
    made = record(70, status="running")
    add(store, made)
    assert store.query(Query(limit=1))[0].status == "running"
    store.home.run(made.id).record.write_bytes(b"\0" * 100)
    assert store.sweep() == ()
    assert store.query(Query(limit=1))[0].status == "lost"


def test_folders_that_are_no_runs_are_passed_over(store: Store) -> None:
    for name in ("zz/not-a-run", "ab/" + "ab" * 16, "lost+found"):
        (store.home.runs / name).mkdir(parents=True, exist_ok=True)
    (store.home.runs / "file").write_text("")
    store.rebuild()
    assert len(store.query(Query())) == 12


# --- notes --------------------------------------------------------------------------------------------


def test_a_note_stays_until_the_change_that_it_tells_of_has_ended(store: Store) -> None:
    made = store.load(store.find("run-7"))
    with notes.noted(store.home, made.id):
        store.query(Query())
        path = store.home.run(made.id).record
        path.write_bytes(path.read_bytes().replace(b"run-7", b"new-7"))
        assert len(notes.outstanding(store.home)) == 1
    assert store.find("new-7") == made.id
    assert notes.outstanding(store.home) == []


def test_a_note_of_a_run_that_never_got_a_record_is_forgotten(store: Store) -> None:
    with notes.noted(store.home, "e" * 32):
        pass
    assert len(store.query(Query())) == 12
    assert notes.outstanding(store.home) == []


def test_a_note_is_kept_while_the_index_written_to_is_no_longer_the_index(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody deletes index.db while we write to it: what we took in would be lost with it."""
    made = record(80)
    add(store, made)
    original = index.Index._take_in_batch

    def deleted_meanwhile(
        self: index.Index, connection: sqlite3.Connection, batch: list[notes.Note]
    ) -> list[notes.Note]:
        done = original(self, connection, batch)
        os.rename(store.home.index, store.home.index.with_name("gone.db"))
        return done

    with monkeypatch.context() as patch:
        patch.setattr(index.Index, "_take_in_batch", deleted_meanwhile)
        store.query(Query())
    assert len(notes.outstanding(store.home)) == 1
    assert store.find("latest") == made.id


def test_a_changed_run_keeps_its_place_and_loses_old_values(store: Store) -> None:
    made = store.load(store.find("run-7"))
    store.save(replace(made, metrics=(), parameters=(), tags=(("a", "b"),)))
    (row,) = store.query(Query(where="name = run-7"))
    assert (row.params, row.metrics, row.tags) == ((), (), (("a", "b"),))
    assert [other.name for other in store.query(Query(sort="started", limit=8))][7] == "run-7"


def test_the_lock_of_a_note_is_free_once_its_process_is_gone(store: Store) -> None:
    with notes.noted(store.home, "e" * 32):
        (note,) = notes.outstanding(store.home)
        assert not note.is_due()
        with open(note.path) as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert note.is_due()


# --- the schema ---------------------------------------------------------------------------------------


def test_a_migration_is_whole_or_not_at_all(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def good(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE second (x)")

    def bad(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE third (x)")
        raise RuntimeError("killed")

    with contextlib.closing(sqlite3.connect(home.root / "x.db", isolation_level=None)) as connection:
        monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, good, bad))
        monkeypatch.setattr(schema, "VERSION", len(schema.MIGRATIONS))
        with pytest.raises(RuntimeError):
            schema.migrate(connection)
        assert schema.version(connection) == len(schema.MIGRATIONS) - 1
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert "second" in tables
        assert "third" not in tables


def test_an_older_index_is_brought_forward(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def add_column(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE runs ADD COLUMN mood TEXT")

    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, add_column))
    monkeypatch.setattr(schema, "VERSION", len(schema.MIGRATIONS))
    assert len(store.query(Query())) == 12
    with contextlib.closing(sqlite3.connect(store.home.index)) as connection:
        assert "mood" in [row[1] for row in connection.execute("PRAGMA table_info(runs)")]


def test_an_index_from_before_digests_were_in_it_is_made_anew(store: Store, narrator: Quiet) -> None:
    data = b"made by one, read by another"
    its_digest = digest.of_bytes(data)
    item = Artifact(path="model.bin", kind="file", digest=its_digest, size=len(data), files=1)
    made = add(store, record(20, outputs=(item,)))
    store.home.index.unlink()
    with contextlib.closing(sqlite3.connect(store.home.index, isolation_level=None)) as connection:
        schema.MIGRATIONS[0](connection)
        connection.execute("PRAGMA user_version = 1")
    makers = store.lineage(lambda connection: lineage.content(connection, its_digest)).makers
    assert [maker.run for maker in makers] == [made]
    assert narrator.lines == ["indexing 13 records: the index was made by an older mlrun"]


def test_a_removed_run_leaves_nothing_in_the_index(store: Store) -> None:
    item = Artifact(path="x", kind="file", digest=digest.of_bytes(b"x"), size=1, files=1)
    run_id = add(store, record(20, inputs=(item,), outputs=(item,), parents=(("nested", "f" * 32),)))
    assert rows_of(store, "artifacts") == 2
    store.remove([run_id])
    assert rows_of(store, "artifacts") == rows_of(store, "parents") == 0


def test_a_record_written_again_counts_once(store: Store) -> None:
    item = Artifact(path="x", kind="file", digest=digest.of_bytes(b"x"), size=1, files=1)
    made = record(20, outputs=(item,))
    add(store, made)
    assert rows_of(store, "artifacts") == 1
    store.save(replace(made, outputs=(item, replace(item, path="y"))))
    assert rows_of(store, "artifacts") == 2


def rows_of(store: Store, table: str) -> int:
    store.query(Query(limit=1))  # takes in what is new
    with contextlib.closing(sqlite3.connect(store.home.index)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
