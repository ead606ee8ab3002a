"""What earlier runs left among a run's outputs, and it took no notice of: taken away once it has ended well.

Of a folder or a pattern that is declared as output (`parts/`, `out/*.csv`), all that lies there passes for
this run's doing, and goes into the next step. DVC empties outputs before a stage runs, and with them what a
program would have gone on from. Here the program has its way first: what it wrote, read, looked for, or
listed the folder of, stays. Of the rest only that goes which an earlier run of the same entry point is known
to have made, and which the store still has; no file that git knows.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import digest
from mlrun.data.names import by_word_first, is_pattern
from mlrun.errors import StoreError
from mlrun.model import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlrun.caching.site import Site
    from mlrun.caching.values import Case
    from mlrun.model import Digest, RunRecord
    from mlrun.observe.meaning import Seen

_LOOKED_AT = 20  # earlier runs of the entry point
_SHOWN = 4


def take_away(
    record: RunRecord, case: Case, site: Site, *, seen: Seen | None, since: int
) -> tuple[Finding, ...]:
    """A warning that names what was taken away. Where not all that the program did is known, nothing is.

    `since` is when it began, ns since 1970 by the clock that files are stamped with.
    """
    if seen is None or seen.blind:
        return ()
    left = [path for path in _among_outputs(case, site) if _is_old(path, since)]
    left = _unnoticed(left, seen) if left else []
    if not left:
        return ()
    made = _made_before(record, site)
    taken = {path: made[key] for path in left if (key := _key(path, site)) in made and _remove(path)}
    if not taken:
        return ()
    shown = ", ".join(f"`{site.shown(path)}`" for path in sorted(taken)[:_SHOWN])
    more = f", and {len(taken) - _SHOWN} more" if len(taken) > _SHOWN else ""
    name = max(taken.values())[1]
    return (
        Finding(
            level="warning",
            code="leftovers",
            message=f"{shown}{more}: left by {name}, no output of this run, and taken away",
            hint=f"`mlrun get {name} PATH` has it back; `cache: false` leaves outputs alone",
        ),
    )


def _among_outputs(case: Case, site: Site) -> Iterator[str]:
    """The files of folders and patterns that are declared, but those that git knows."""
    directory = Path(site.directory)
    untracked = {f"{site.root}/{path}" for path in site.snapshot.untracked}
    specs = tuple(
        it for it in case.prepared.spec.outputs if is_pattern(it.path) or os.path.isdir(directory / it.path)
    )
    for _, found in by_word_first(specs, directory):
        for path in _files_of(os.fspath(found)) if found is not None else ():
            if path.startswith(f"{site.root}/") and (path not in site.held or path in untracked):
                yield path


def _files_of(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
    for folder, _, names in os.walk(path):
        yield from (f"{folder}/{name}" for name in names)


def _is_old(path: str, since: int) -> bool:
    try:
        return not os.path.islink(path) and os.lstat(path).st_ctime_ns < since
    except OSError:
        return False


def _unnoticed(paths: list[str], seen: Seen) -> list[str]:
    noticed = {read.path for read in seen.reads} | {*seen.writes, *seen.executed, *seen.found}
    noticed |= {f"{crowd.folder}/{name}" for crowd in seen.crowds for name in crowd.names}
    listed = frozenset(seen.listed)
    return [path for path in paths if path not in noticed and os.path.dirname(path) not in listed]


def _made_before(record: RunRecord, site: Site) -> dict[tuple[str, str], tuple[str, str]]:
    """When, and by which run: by path and digest, of what earlier runs made and the store has."""
    from mlrun.store import Query

    found: dict[tuple[str, str], tuple[str, str]] = {}
    rows = site.store.query(Query(project=record.project, statuses=("finished",)))
    rows = tuple(row for row in rows if row.entry_point == record.entry_point and row.id != record.id)
    for row in rows[:_LOOKED_AT]:
        with contextlib.suppress(StoreError):
            for path, its_digest in _files_made(site.store.load(row.id), site):
                if site.store.objects.has(its_digest):
                    found.setdefault((path, its_digest), (row.started_at, row.name))
    return found


def _files_made(record: RunRecord, site: Site) -> Iterator[tuple[str, Digest]]:
    """Of a run that is kept for others: it wrote all of its outputs itself, and found none there."""
    for output in record.outputs if record.cache_key else ():
        if not output.declared or output.digest is None:
            continue
        path = site.absolute(output.path)
        if not output.tree:
            yield path, output.digest
            continue
        for entry in site.store.objects.entries(output.digest):
            if entry.digest is not None:
                yield f"{path}/{entry.path}", entry.digest


def _key(path: str, site: Site) -> tuple[str, str]:
    found = site.reader.file(path)
    return path, "" if isinstance(found, int) else digest.TAG + found[0].hex()


def _remove(path: str) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True
