"""Bundles: the records of a pipeline's cached steps, written as one file.

A pipeline in which nothing has changed has a record to write for each of its steps, and nobody to read them:
made one by one, they would cost most of the time that it takes. So they are written together, synced, and
whoever reads the index next gives each the folder that every run has, and removes the bundle. Until then a
record is found in its bundle by those who know its id.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import TYPE_CHECKING

from mlrun.errors import StoreError
from mlrun.files import remove_tree, sync_folder, write_atomic, write_new
from mlrun.pattern import pattern
from mlrun.store import codec, notes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mlrun.files import Home
    from mlrun.model import Narrator, RunRecord

_NAME = pattern(r"[0-9a-f]{32}\.\d+\.\d+\.json")
_DAMAGED = ".damaged"
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def write(home: Home, pipeline: str, records: Iterable[RunRecord]) -> None:
    """Keep records of a pipeline's steps that are over. Raises OSError."""
    path = home.bundles / f"{pipeline}.{os.getpid()}.{time.time_ns()}.json"
    data = codec.bundled(records)
    try:
        write_atomic(path, data, sync=True)
    except FileNotFoundError:
        path.parent.mkdir(exist_ok=True)
        sync_folder(home.root)
        write_atomic(path, data, sync=True)


class Reader:
    """Bundles as one process reads them: each once, since they never change."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._known: dict[str, dict[str, codec.Unbundled]] = {}

    def found(self, run_id: str) -> bytes | None:
        """The bytes of a record that has no folder yet; None where no bundle holds it."""
        for records in self._each():
            if run_id in records:
                return records[run_id].data
        return None

    def ids(self) -> tuple[str, ...]:
        """Those whose records have no folder yet, but for a bundle that is half laid out."""
        return tuple(run_id for records in self._each() for run_id in records)

    def _each(self) -> Iterator[dict[str, codec.Unbundled]]:
        for path in outstanding(self._home):
            if path.name not in self._known:
                try:
                    records = _records(path)
                except (OSError, ValueError, StoreError):
                    continue
                self._known[path.name] = {it.id: it for it in records}
            yield self._known[path.name]


def lay_out(home: Home, narrator: Narrator) -> None:
    """Give each record its folder. One at a time may do so: the lock of the index is held.

    What is laid out is synced, and noted for the index, before its bundle goes. A bundle that is damaged is
    told of once, and put aside; one that we may not write or read, or a later mlrun wrote, is left. Raises
    OSError.
    """
    for path in outstanding(home):
        try:
            _lay_out_all(path, home, narrator)
        except OSError as error:
            if error.errno not in _FORBIDDEN:
                raise


def _lay_out_all(path: Path, home: Home, narrator: Narrator) -> None:
    try:
        records = _records(path)
    except ValueError as error:
        aside = path.with_name(f"{path.name}{_DAMAGED}")
        os.rename(path, aside)
        narrator.say(f"records of cached steps are lost: {aside} cannot be read ({error})")
        return
    except (OSError, StoreError) as error:
        why = f"cannot read {path}: {error.strerror}" if isinstance(error, OSError) else f"{path}: {error}"
        narrator.say(f"records of cached steps are not shown: {why}")
        return
    for at, record in enumerate(records):
        narrator.progress("laying out the records of cached steps", at / len(records))
        _lay_out(home, record)
    with notes.noted(home, path.name.partition(".")[0]):  # its own may have been taken in long ago
        os.unlink(path)


def outstanding(home: Home) -> list[Path]:
    """The bundles that nobody has laid out yet, in the order in which they were written."""
    try:
        names = [name for name in os.listdir(home.bundles) if _NAME.fullmatch(name)]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    return [home.bundles / name for name in sorted(names, key=lambda name: int(name.split(".")[2]))]


def _records(path: Path) -> list[codec.Unbundled]:
    """What a bundle holds. Raises OSError, and as `codec.unbundled`."""
    records = list(codec.unbundled(path.read_bytes()))
    for record in records:
        for run_id in (record.id, record.series_of or record.id):
            if not notes.is_id(run_id):  # it names a folder, and the home may be another's
                raise ValueError(f"{run_id!r} is no run's id")
    return records


def _lay_out(home: Home, record: codec.Unbundled) -> None:
    final = home.run(record.id)
    if final.root.exists():
        return  # whoever began before us was broken off
    scratch = home.temporary / f"{record.id}.{os.getpid()}.{time.monotonic_ns()}"
    try:
        os.mkdir(scratch)
        write_new(scratch / final.record.name, record.data, sync=True)
        if record.series_of is not None:
            with contextlib.suppress(OSError):
                os.link(home.run(record.series_of).metrics, scratch / final.metrics.name)
        final.root.parent.mkdir(exist_ok=True)
        os.rename(scratch, final.root)
    except BaseException:
        remove_tree(scratch, trash=home.trash)
        raise
