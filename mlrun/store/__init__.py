"""What has been run: records and artifacts on disk, and an index to find them by.

`record.json` of each run and the objects are the truth; the SQLite index can be made from them at any time.
Writing a record costs two synced files and no database: readers take changes into the index (`notes`).
Nothing of SQLite is imported before something is looked up.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import TYPE_CHECKING, TypeVar

from mlrun.errors import StoreError
from mlrun.files import is_locked, remove_tree, sync_folder, try_lock, write_atomic, write_new
from mlrun.model import Failure
from mlrun.store import bundles, codec, notes
from mlrun.store.alive import freed
from mlrun.store.objects import Objects
from mlrun.store.trouble import told
from mlrun.value import replace

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from mlrun.files import Home, RunPaths
    from mlrun.model import Narrator, RunRecord, RunRow
    from mlrun.store.garbage import Sizes
    from mlrun.store.index import Index
    from mlrun.store.query import Query

__all__ = ["Lease", "Query", "Store"]

Answer = TypeVar("Answer")

_LOST = Failure(
    code="lost",
    message="the process that ran it is gone and left no result: it was killed, or the machine stopped",
    hint="`mlrun logs` shows what the program had printed",
)


def __getattr__(name: str) -> object:
    """`Query` comes with SQLite, so it is imported only by those who ask."""
    if name == "Query":
        from mlrun.store.query import Query

        return Query
    raise AttributeError(name)


_RECORD = "record.json"  # `RunPaths.record`, in a folder that is not a run's yet
_RESERVE = 128 * 1024
"""Bytes that the file `alive` keeps for the last record of its run, for a disk that is full by then."""


class Lease:
    """Proof that the process of a run lives: the lock that it holds until closed, or until it dies."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def close(self) -> None:
        """Let go. A run that is still `running` then counts as lost."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Silent:
    def say(self, text: str) -> None:
        pass

    def progress(self, task: str, done: float | None) -> None:
        pass


class Store:
    """The runs of one home.

    `narrator` is told when the index is rebuilt, a record cannot be read, or a name in a query is unknown.
    Whatever cannot be read or written is a StoreError.
    """

    def __init__(self, home: Home, narrator: Narrator | None = None) -> None:
        self.home = home
        self.objects = Objects(home)
        self._bundles = bundles.Reader(home)
        self._narrator = narrator if narrator is not None else _Silent()

    # --- writing ------------------------------------------------------------------------------------

    def create(self, record: RunRecord) -> Lease:
        """Open a run: its folder, its lock, its first record; keep the lease for as long as it runs.

        Raises StoreError `run-exists`, `disk-full`, `store-not-writable`.
        """
        descriptor = -1
        try:
            with self._new(record) as folder:
                # The lock comes before the record: nobody can see a running run whose lock is not yet taken.
                descriptor = os.open(folder / "alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                try_lock(descriptor)
                with contextlib.suppress(OSError, AttributeError):  # macOS has no such call
                    os.posix_fallocate(descriptor, 0, _RESERVE)
        except BaseException:
            if descriptor >= 0:
                os.close(descriptor)
            raise
        return Lease(descriptor)

    def add(self, record: RunRecord) -> None:
        """Keep the record of a run that is over, or never was: one write, and nobody has to hold anything.

        Raises as `create` does.
        """
        with self._new(record):
            pass

    def add_together(self, records: Sequence[RunRecord], *, pipeline: str) -> None:
        """Keep the records of a pipeline's steps that are over, or never were: one write for all (`bundles`).

        The index learns of them with the pipeline's own. Raises StoreError `disk-full`, `store-not-writable`.
        """
        if records:
            self.home.prepare()
            with told(f"write {self.home.bundles}"):
                bundles.write(self.home, pipeline, records)

    @contextlib.contextmanager
    def _new(self, record: RunRecord) -> Iterator[Path]:
        """A run's folder while nobody sees it, to lay more into it: then it is there, with its record, noted
        for the index, and survives a power cut."""
        self.home.prepare()
        final = self.home.run(record.id)
        scratch = self.home.temporary / f"{record.id}.{os.getpid()}"
        with told(f"make {final.root}"), notes.noted(self.home, record.id), self._cleared(scratch, record.id):
            os.mkdir(scratch)
            yield scratch
            write_new(scratch / _RECORD, codec.encode(record), sync=True)
            sync_folder(scratch)
            _rename(scratch, final.root)
            sync_folder(final.root.parent)

    @contextlib.contextmanager
    def _cleared(self, scratch: Path, run_id: str) -> Iterator[None]:
        """Nothing is left of a folder that did not become a run's."""
        try:
            yield
        except BaseException as error:
            remove_tree(scratch, trash=self.home.trash)
            if isinstance(error, OSError) and error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                raise StoreError(f"run {run_id} exists already", code="run-exists") from None
            raise

    def save(self, record: RunRecord, *, sync: bool = True) -> None:
        """Replace a run's record, whole or not at all; with `sync`, so that it survives a power cut.

        Raises StoreError `disk-full`, `store-not-writable`, `no-such-run`.
        """
        paths = self.home.run(record.id)
        if not paths.root.is_dir():
            raise StoreError(f"the folder of run {record.id} is gone", code="no-such-run")
        content = codec.encode(record)
        try:
            self._write(paths, content, record.id, sync=sync)
        except StoreError as error:
            if error.code != "disk-full" or not _freed_reserve(paths):
                raise
            self._write(paths, content, record.id, sync=sync)

    def _write(self, paths: RunPaths, content: bytes, run_id: str, *, sync: bool) -> None:
        with told(f"write {paths.record}"), notes.noted(self.home, run_id):
            write_atomic(paths.record, content, sync=sync)

    def remove(self, ids: Iterable[str]) -> None:
        """Remove runs; what only they referred to stays until garbage is collected.

        Raises StoreError `run-is-running`, before anything is removed, or `no-such-run`.
        """
        ids = tuple(ids)
        self._lay_out_before(ids)
        for run_id in ids:
            if not self.home.run(run_id).root.is_dir():
                raise _no_such_run(run_id)
            if is_locked(self.home.run(run_id).alive):
                raise StoreError(
                    f"run {run_id[:12]} is running",
                    hint="end it first, or wait for it",
                    code="run-is-running",
                )
        for run_id in ids:
            root = self.home.run(run_id).root
            with told(f"remove {root}"), notes.noted(self.home, run_id):
                remove_tree(root, trash=self.home.trash)

    def _lay_out_before(self, ids: tuple[str, ...]) -> None:
        """What is laid out after its removal would be there again, and without series of a run that is gone.

        Where that cannot be, as on a full disk, only those in a bundle cannot be removed. Raises StoreError.
        """
        if not bundles.outstanding(self.home):
            return
        why: StoreError | None = None
        try:
            self._index().lay_out()
        except StoreError as error:
            why = error
        if not set(ids).isdisjoint(self._bundles.ids()):
            place = self.home.bundles
            raise why or StoreError(f"cannot change what lies in {place}", code="store-not-writable")

    def sweep(self) -> tuple[str, ...]:
        """Mark as lost what is `running` without a living process; the ids of those.

        Call it before showing runs. A store that cannot be written is left as it is; `query` and `load`
        show its dead runs as lost all the same.
        """
        from mlrun.store.index import running

        return tuple(run_id for run_id in self._index().use(running) if self._settle(run_id))

    # --- reading ------------------------------------------------------------------------------------

    def load(self, run_id: str) -> RunRecord:
        """The record of a run, by its whole id.

        Raises StoreError `no-such-run`, `corrupt-record`, `newer-record`.
        """
        record = self._read(run_id)
        if record.status != "running":
            return record
        with freed(self.home.run(run_id).alive) as dead:
            return self._buried(run_id) if dead else record

    def has(self, run_id: str) -> bool:
        """Whether there is a record of a run, by its whole id."""
        return self.home.run(run_id).record.exists() or self._bundles.found(run_id) is not None

    def find(self, name: str, *, project: str | None = None) -> str:
        """The id of the run that is meant by an id, the start of one, a name, `latest`, or `latest~2`.

        Of several runs of one name, the newest. Raises StoreError `no-such-run`, `ambiguous-run`.
        """
        from mlrun.store.find import find

        if project is None and notes.is_id(name) and self.home.run(name).record.exists():
            return name  # else it may be in a bundle, which the index lays out
        return self._index().use(lambda connection: find(connection, name, project=project))

    def query(self, query: Query, *, now: float | None = None) -> tuple[RunRow, ...]:
        """The runs that a list shows; `now` (seconds since 1970) is what `2h` ago is counted from.

        Raises UsageError where the query makes no sense.
        """
        from mlrun.store.query import select

        moment = time.time() if now is None else now
        say = self._narrator.say
        return self._index().use(lambda connection: select(connection, query, now=moment, say=say))

    def lineage(self, ask: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """What a question of `store.lineage` answers, put to the index."""
        return self._index().use(ask)

    def ids(self) -> tuple[str, ...]:
        """Every run that has a folder, whether its record can be read or not."""
        from mlrun.store.index import run_ids

        with contextlib.suppress(StoreError):
            self._index().lay_out()
        return tuple(sorted(run_ids(self.home)))

    def running(self) -> tuple[RunRecord, ...]:
        """The records of the runs that go on now."""
        from mlrun.store.index import running

        found = []
        for run_id in self._index().use(running):
            with contextlib.suppress(StoreError):
                found.append(self.load(run_id))
        return tuple(record for record in found if record.status == "running")

    # --- upkeep -------------------------------------------------------------------------------------

    def rebuild(self) -> None:
        """Make the index anew from the records."""
        self._index().rebuild()

    def collect_garbage(self) -> tuple[int, int]:
        """Remove objects that nothing refers to, and leftovers; the objects removed, and their bytes."""
        from mlrun.store import garbage

        self.home.prepare()
        with told(f"clean {self.home.root}"):
            return garbage.collect(self.home)

    def usage(self) -> Sizes:
        """What the store takes on disk."""
        from mlrun.store import garbage

        return garbage.sizes(self.home)

    # --- parts --------------------------------------------------------------------------------------

    def _index(self) -> Index:
        from mlrun.store.index import Index

        return Index(self.home, read=self._read, bundled=self._bundles.ids, narrator=self._narrator)

    def _read(self, run_id: str) -> RunRecord:
        path = f"{self.home.root}/runs/{run_id[:2]}/{run_id}/{_RECORD}"
        with told(f"read {path}"):
            data = _content(path) or self._bundles.found(run_id) or _content(path)
        if data is None:
            raise _no_such_run(run_id)
        record = codec.decode(data, file=path)
        if record.id != run_id:
            raise StoreError(f"{path} is the record of another run, {record.id}", code="corrupt-record")
        return record

    def _settle(self, run_id: str) -> bool:
        """Look after a run that the index holds for running; whether it is lost."""
        with freed(self.home.run(run_id).alive) as dead:
            if not dead:
                return False
            with contextlib.suppress(StoreError):
                if self._buried(run_id).status == "lost":
                    return True
            # The record is gone, unreadable, or says otherwise: the index is behind, however it came to be.
            with contextlib.suppress(OSError), notes.noted(self.home, run_id):
                pass
            return False

    def _buried(self, run_id: str) -> RunRecord:
        """The record of a run whose process is gone, marked as lost if it still says `running`.

        The lock is held, so the record is what that process last wrote, and nobody else marks it.
        """
        record = self._read(run_id)
        if record.status != "running":
            return record
        lost = _as_lost(record, self.home.run(run_id))
        with contextlib.suppress(StoreError):
            self.save(lost)
        _freed_reserve(self.home.run(run_id))
        return lost


def _rename(folder: Path, final: Path) -> None:
    try:
        os.rename(folder, final)
    except FileNotFoundError:
        final.parent.mkdir(exist_ok=True)
        sync_folder(final.parent.parent)
        os.rename(folder, final)


def _content(path: str) -> bytes | None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), open(path, "rb", buffering=0) as file:
        return file.read()
    return None


def _freed_reserve(paths: RunPaths) -> bool:
    """Whether the run had room set aside, which it has no more."""
    try:
        held = paths.alive.stat().st_size > 0
        os.truncate(paths.alive, 0)
    except OSError:
        return False
    return held


def _as_lost(record: RunRecord, paths: RunPaths) -> RunRecord:
    """It ended, as far as anyone can tell, when it last wrote something."""
    seen = []
    for path in (paths.record, paths.log, paths.metrics):
        with contextlib.suppress(OSError):
            seen.append(path.stat().st_mtime)
    ended_at = _utc(max(seen)) if seen else None
    error = _LOST
    if record.steps:
        error = replace(_LOST, hint=f"`mlrun resume {record.id[:8]}` goes on from there")
    return replace(record, status="lost", ended_at=ended_at, error=error)


def _utc(seconds: float) -> str:
    whole, fraction = divmod(round(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{fraction:03d}Z"


def _no_such_run(run_id: str) -> StoreError:
    return StoreError(f"there is no run {run_id}", hint="`mlrun runs` lists them", code="no-such-run")
