"""The index of runs/, in SQLite: always made from the records, so it may be lost at any time.

`Index.use` opens it, takes in what changed (`notes`), and hands the connection to a function. A missing,
damaged or newer index is rebuilt from the records first. A store that cannot be written, or whose disk is
full, is indexed in memory. Transactions sync (`synchronous=FULL`): they happen only when a reader meets
changes, and a note may be removed only when what it told is safe.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from typing import TYPE_CHECKING, TypeVar

from mlrun.errors import StoreError
from mlrun.files import locked, remove_tree, sync_folder
from mlrun.store import bundles, notes, schema
from mlrun.store.alive import freed
from mlrun.store.rows import Writer
from mlrun.store.trouble import told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from mlrun.files import Home
    from mlrun.model import Narrator, RunRecord

Answer = TypeVar("Answer")

_BUSY_SECONDS = 60.0  # SQLite's waiting sleeps in steps: fifty writers were seen to wait 4.5 s
_BATCH = 500  # records in one transaction
_CACHE_KIB = 16_000
_DAMAGED = frozenset(
    {
        sqlite3.SQLITE_ERROR,  # a table is missing, or is not what it should be
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_MISMATCH,
    }
)
_TROUBLES = (sqlite3.DatabaseError, UnicodeDecodeError)
"""The latter for texts, also those in SQLite's own messages, that damage has made no UTF-8."""


class _DiskFullError(Exception):
    """There is no space for an index on disk, which is no reason not to show what is there."""


class Index:
    """The index of one store. `read` gives the record of a run, and raises StoreError where it cannot;
    `bundled` are the ids of those that have no folder yet."""

    def __init__(
        self,
        home: Home,
        *,
        read: Callable[[str], RunRecord],
        bundled: Callable[[], tuple[str, ...]],
        narrator: Narrator,
    ) -> None:
        self._home = home
        self._read = read
        self._bundled = bundled
        self._narrator = narrator

    def use(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """What `work` answers, given an index that is up to date.

        Raises StoreError where even a new index cannot be used.
        """
        with told(f"use {self._home.index}"), _databases_told(self._home.index):
            if self._is_writable():
                with contextlib.suppress(_DiskFullError):
                    return self._use_or_repair(work)
            with contextlib.closing(self._in_memory()) as connection:
                return work(connection)

    def rebuild(self) -> None:
        """Make the index anew from the records.

        Raises StoreError.
        """
        with told(f"write {self._home.index}"), _databases_told(self._home.index), self._lock():
            self._build()

    def lay_out(self) -> None:
        """Give every record its folder (`bundles`), in a store that can be written.

        Raises StoreError.
        """
        if self._is_writable() and bundles.outstanding(self._home):
            with told(f"write {self._home.runs}"), self._lock():
                bundles.lay_out(self._home, self._narrator)

    # --- opening ------------------------------------------------------------------------------------

    def _use_or_repair(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Raises _DiskFullError."""
        try:
            try:
                return self._use(work)
            except _TROUBLES as error:
                if not _is_damage(error):
                    raise
                self._replace(_inode(self._home.index), because=f"the index is damaged ({error})")
                return self._use(work)
        except (sqlite3.Error, OSError) as error:
            if _is_full(error):
                raise _DiskFullError from error
            raise

    def _use(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        # Under the lock, nobody puts another file in the place between opening it and the first read, nor
        # builds one from records whose changes we are taking into the old one.
        with self._lock():
            connection = self._open()
            with _closed_on_error(connection):
                schema.migrate(connection)
                self._take_in(connection)
        with contextlib.closing(connection):
            return work(connection)

    def _open(self) -> sqlite3.Connection:
        if _inode(self._home.index) is None:
            self._build()
        connection = _connect(self._home.index)
        with _closed_on_error(connection):
            version = schema.version(connection)
        if schema.OLDEST <= version <= schema.VERSION:
            return connection
        connection.close()
        age = "a newer" if version > schema.VERSION else "an older"
        self._build(f"the index was made by {age} mlrun" if version else None)
        return _connect(self._home.index)

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        def waiting(_: float) -> None:
            self._narrator.say("waiting for another mlrun that is updating the index")

        return locked(self._home.index_lock, waiting=waiting)

    def _is_writable(self) -> bool:
        """Asked of the file system rather than of the mode bits, so that a read-only mount counts."""
        effective = os.access in os.supports_effective_ids
        places = (self._home.root, self._home.runs, self._home.index)
        return all(
            os.access(place, os.W_OK, effective_ids=effective)
            for place in places
            if place != self._home.index or place.exists()
        )

    # --- keeping up ---------------------------------------------------------------------------------

    def _take_in(self, connection: sqlite3.Connection) -> None:
        """Bring the index up to date with the records that notes name."""
        bundles.lay_out(self._home, self._narrator)
        waiting = notes.outstanding(self._home)
        opened = _inode(self._home.index)
        for start in range(0, len(waiting), _BATCH):
            if len(waiting) > _BATCH:
                self._narrator.progress("indexing runs", start / len(waiting))
            done = self._take_in_batch(connection, waiting[start : start + _BATCH])
            if _inode(self._home.index) != opened:
                return  # what we wrote to is the index no longer: the notes are still needed
            for note in done:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(note.path)

    def _take_in_batch(self, connection: sqlite3.Connection, batch: list[notes.Note]) -> list[notes.Note]:
        # The records are read inside the transaction, or an older text might overwrite a newer one.
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            due = [note for note in batch if note.is_due()]
            writer = Writer(connection, self._manifest)
            for run_id in dict.fromkeys(note.run_id for note in due):
                self._refresh(writer, run_id)
        return due

    def _refresh(self, writer: Writer, run_id: str) -> None:
        paths = self._home.run(run_id)
        try:
            record = self._read(run_id)
            writer.put(record)
            for step in record.steps:  # those of a pipeline leave no notes where they come from the cache
                with contextlib.suppress(StoreError):
                    writer.put(self._read(step.run))
        except StoreError as error:
            if paths.record.exists():
                self._narrator.say(str(error))
                writer.mark_lost(run_id)
            else:
                writer.remove(run_id)

    # --- making it anew -----------------------------------------------------------------------------

    def _replace(self, damaged: int | None, *, because: str) -> None:
        with self._lock():
            if _inode(self._home.index) == damaged:  # else somebody else has done it
                self._build(because)

    def _build(self, because: str | None = None) -> None:
        """Make a new index beside the old one and put it in its place. The lock is held."""
        new = self._home.temporary / f"index.{os.getpid()}.{time.monotonic_ns()}"
        try:
            with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = OFF")
                connection.execute("PRAGMA synchronous = OFF")
                self._fill(connection, because)
                connection.execute("PRAGMA journal_mode = WAL")
            _sync(new)
            # The old log must be gone before the new file stands there, or SQLite would replay it.
            for suffix in ("", "-wal", "-shm"):
                old = self._home.index.with_name(self._home.index.name + suffix)
                remove_tree(old, trash=self._home.trash)
            os.rename(new, self._home.index)
            sync_folder(self._home.root)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(new)

    def _fill(self, connection: sqlite3.Connection, because: str | None = None) -> None:
        ids = list(dict.fromkeys((*self._bundled(), *run_ids(self._home))))
        if because is not None:
            self._narrator.say(f"indexing {len(ids)} records: {because}")
        fill(connection, self._readable(ids), self._manifest)

    def _manifest(self, hexadecimal: str) -> bytes | None:
        """The manifest of a folder, where it is kept."""
        try:
            return self._home.object(hexadecimal).read_bytes()
        except OSError:
            return None

    def _readable(self, ids: list[str]) -> Iterator[RunRecord]:
        for position, run_id in enumerate(ids):
            if position % _BATCH == 0:
                self._narrator.progress("indexing runs", position / len(ids))
            try:
                yield self._read(run_id)
            except StoreError as error:
                if self._home.run(run_id).record.exists():
                    self._narrator.say(str(error))

    def _in_memory(self) -> sqlite3.Connection:
        """The index of a store that we may only read; what has died is shown as lost."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        with _closed_on_error(connection):
            writer = Writer(connection, self._manifest)
            if not self._copy_to(connection):
                self._fill(connection)
            for note in notes.outstanding(self._home):
                self._refresh(writer, note.run_id)
            for run_id in self._bundled():
                if connection.execute("SELECT 1 FROM runs WHERE id = ?", (run_id,)).fetchone() is None:
                    self._refresh(writer, run_id)
            for run_id in running(connection):
                with freed(self._home.run(run_id).alive) as dead:
                    if dead:
                        writer.mark_lost(run_id)
        return connection

    def _copy_to(self, connection: sqlite3.Connection) -> bool:
        """Copy the index as it lies there; False where it is not usable that way."""
        log = self._home.index.with_name(self._home.index.name + "-wal")
        if log.exists() and log.stat().st_size:
            return False
        try:
            address = f"{self._home.index.absolute().as_uri()}?mode=ro&immutable=1"
            with contextlib.closing(sqlite3.connect(address, uri=True)) as original:
                if schema.version(original) != schema.VERSION:
                    return False
                original.backup(connection)
        except (*_TROUBLES, OSError):
            return False
        return True


def fill(
    connection: sqlite3.Connection,
    records: Iterable[RunRecord],
    manifest: Callable[[str], bytes | None] = lambda _: None,
) -> None:
    """Make an index of many records in an empty database; `manifest` is as in `Writer`."""
    schema.migrate(connection)
    connection.execute("DROP INDEX attributes_by_value")  # quicker made at the end
    connection.execute("DROP INDEX artifacts_by_digest")
    connection.execute("BEGIN")
    with connection:
        writer = Writer(connection, manifest)
        for record in records:
            writer.put(record)
        connection.execute(schema.BY_VALUE)
        connection.execute(schema.BY_DIGEST[0])


def running(connection: sqlite3.Connection) -> tuple[str, ...]:
    """The ids of the runs that the index holds for running."""
    return tuple(row[0] for row in connection.execute("SELECT id FROM runs WHERE status = 'running'"))


def run_ids(home: Home) -> Iterator[str]:
    """The ids of all runs that have a folder."""
    for shard in _names(home.runs):
        if len(shard) == 2:
            for name in _names(home.runs / shard):
                if notes.is_id(name) and name.startswith(shard):
                    yield name


def _names(folder: Path) -> Iterable[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return ()


@contextlib.contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    with _closed_on_error(connection):
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    return connection


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return isinstance(error, sqlite3.OperationalError | UnicodeDecodeError)
    return code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF in _DAMAGED


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    code = getattr(error, "sqlite_errorcode", 0)
    return code == sqlite3.SQLITE_IOERR_SHMSIZE or code & 0xFF == sqlite3.SQLITE_FULL


@contextlib.contextmanager
def _databases_told(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into a StoreError."""
    try:
        yield
    except _TROUBLES as error:
        raise _as_store_error(error, path) from error


def _as_store_error(error: Exception, path: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        busy = f"{path} has been in use by others for {_BUSY_SECONDS:.0f} s"
        return StoreError(busy, hint="try again", code="store-busy")
    hint = "the file may be deleted: it is made again from the records"
    return StoreError(f"cannot use {path}: {error}", hint=hint)
