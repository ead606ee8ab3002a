"""Which runs have which key, on disk.

    home/runs/7f/7f3a…/cache.json    the run's key and guard: they go with its record
    home/cached/<key>/<when>.<id>    an empty file: that run has this key
    home/cached/complete             the folder knows of every run; without it, it is filled from the runs
    home/cached/salt                 see `key`

A pointer to a run that is gone leads nowhere, and is removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

from mlrun.caching.values import Guard, Made, Sight
from mlrun.digest import hex_of
from mlrun.files import write_atomic
from mlrun.model import Digest
from mlrun.store import codec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlrun.files import Home
    from mlrun.model import Results, RunRecord

_SCHEMA = "mlrun/cache/v1"
_LOOKED_AT = 16  # of the runs of one key, the newest


def keep(home: Home, record: RunRecord, key: Digest, guard: Guard) -> None:
    """Note that a run, whose record is final, can stand in for others. Raises OSError."""
    paths = home.run(record.id)
    text = json.dumps(_to_json(record, key, guard), ensure_ascii=False, separators=(",", ":"))
    write_atomic(paths.cache, text.encode("utf-8", "surrogatepass"))
    _point(home, record.id, key, time.time_ns())


def candidates(home: Home, key: Digest) -> Iterator[tuple[str, Guard, Results | None]]:
    """The runs of a key with their guards and what they came to, where that was noted; the newest first."""
    folder = f"{home.root}/cached/{hex_of(key)}"
    pointers = _pointers(folder)
    if not pointers and not os.path.exists(f"{home.root}/cached/complete"):
        _rebuild(home)
        pointers = _pointers(folder)
    for name in pointers[:_LOOKED_AT]:
        run_id = name.partition(".")[2]
        own = f"{home.root}/runs/{run_id[:2]}/{run_id}"
        found = _read(f"{own}/cache.json") if os.path.exists(f"{own}/record.json") else None
        if found is None or found[0] != key:
            _forget(f"{folder}/{name}")
        else:
            yield run_id, found[1], found[2]
    for name in pointers[_LOOKED_AT:]:
        _forget(f"{folder}/{name}")


def _pointers(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder), reverse=True)
    except OSError:
        return []


def _point(home: Home, run_id: str, key: Digest, moment: int) -> None:
    folder = home.cached / hex_of(key)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{moment:020d}.{run_id}").touch()


def _forget(pointer: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(pointer)


def _rebuild(home: Home) -> None:
    """The pointers from the runs themselves; whoever else does it meanwhile comes to the same."""
    with contextlib.suppress(OSError):
        home.cached.mkdir(exist_ok=True)
        for path in home.runs.glob("??/*/cache.json"):
            found = _read(path)
            if found is not None:
                _point(home, path.parent.name, found[0], path.stat().st_mtime_ns)
        write_atomic(home.cached / "complete", b"")


# --- the file -------------------------------------------------------------------------------------------


def _to_json(record: RunRecord, key: Digest, guard: Guard) -> dict[str, Any]:
    return {
        "schema": _SCHEMA,
        "key": key,
        "reads": [[it.folder, list(it.names), it.digest, list(it.each)] for it in guard.reads],
        "made": [[it.path, it.digest, it.executable, it.stored, it.appended] for it in guard.made],
        "names": [list(pair) for pair in guard.names],
        "absent": list(guard.absent),
        "found": [list(pair) for pair in guard.found],
        "ways": [list(pair) for pair in guard.ways],
        "whole": guard.whole,
        "executable": list(guard.executable),
        "results": codec.results_to_json(codec.results_of(record)),
    }


def _read(path: str | Path) -> tuple[Digest, Guard, Results | None] | None:
    """Key, guard and results; None where there is none that can be understood."""
    try:
        with open(path, "rb", buffering=0) as file:
            values = json.loads(file.read().decode("utf-8", "surrogatepass"))
        if values["schema"] != _SCHEMA:
            return None
        guard = Guard(
            reads=tuple(
                Sight(folder=folder, names=tuple(names), digest=found, each=tuple(each))
                for folder, names, found, each in values["reads"]
            ),
            made=tuple(
                Made(path=path, digest=found, executable=executable, stored=stored, appended=appended)
                for path, found, executable, stored, appended in values["made"]
            ),
            names=tuple((folder, found) for folder, found in values["names"]),
            absent=tuple(values["absent"]),
            found=tuple((path, state) for path, state in values["found"]),
            ways=tuple((name, real) for name, real in values["ways"]),
            whole=values["whole"],
            executable=tuple(values["executable"]),
        )
        results = codec.results(values["results"]) if "results" in values else None
        hex_of(values["key"])
        return Digest(values["key"]), guard, results
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
