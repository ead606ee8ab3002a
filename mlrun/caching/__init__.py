"""A run that need not be made: an earlier one of the same is found, and its outputs are put back.

    what is about to run ──▶ key ──▶ runs with that key ──▶ guard ──▶ Hit ──▶ put back ──▶ a record, `cached`
    a run that ended well ──▶ guard beside its record, its id under its key

Whoever makes many runs in one process makes one `Site`, and renews it after something has run. Nothing here
knows the order of a run; a hit must never be wrong, so whatever cannot be told is a miss.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from mlrun.caching.site import Site
from mlrun.caching.values import Case, Hit, Key, Miss
from mlrun.errors import MlrunError, StoreError
from mlrun.model import Finding
from mlrun.value import replace

if TYPE_CHECKING:
    from mlrun.caching.foresight import as_foreseen as as_foreseen
    from mlrun.caching.foresight import foreseen as foreseen
    from mlrun.caching.key import counting as counting
    from mlrun.caching.key import key_of as key_of
    from mlrun.caching.key import why_none as why_none
    from mlrun.caching.values import Guard
    from mlrun.model import Artifact, Results, RunRecord, Snapshot
    from mlrun.observe.meaning import Seen

__all__ = [
    "Case", "Hit", "Key", "Miss", "Site",
    "as_foreseen", "cached", "counting", "foreseen", "guarded", "keep", "key_of", "look", "not_kept",
    "put_back", "share_series", "take_away", "why_none",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """What makes keys is imported by those who want one: most runs are not cached."""
    if name in ("as_foreseen", "foreseen"):
        from mlrun.caching import foresight

        return getattr(foresight, name)
    if name in ("counting", "key_of", "why_none"):
        from mlrun.caching import key

        return getattr(key, name)
    raise AttributeError(name)


_UNPINNED = frozenset(("submodule-dirty", "submodule-missing", "nested-repository", "unreadable-file"))
"""What is worth a word of a source whose tree does not hold all of it."""


# --- before a run -----------------------------------------------------------------------------------------


def look(case: Case, key: Key, site: Site) -> Hit | Miss:
    """The newest run that can stand in for one. Raises StoreError, SourceError."""
    from mlrun.caching import guard as guards
    from mlrun.caching import placing, shelf

    whys = []
    for run_id, guard, results in shelf.candidates(site.store.home, key.digest):
        if results is None and (results := _results_of(run_id, site)) is None:
            continue
        try:
            returns, lost = placing.missing(results, guard, case, site)
            more, gone = guards.left(guard, site) if lost is None else ((), None)
            why = lost or gone or guards.leftover(results, case, site) or guards.broken(guard, case, site)
        except (TypeError, ValueError):
            whys.append(f"not from {results.name}: what is noted of it makes no sense")
            continue
        if why is None:
            return Hit(results=results, returns=(*returns, *more))
        whys.append(f"not from {results.name}: {why}")
    return Miss(why=whys[0] if whys else None)


def _results_of(run_id: str, site: Site) -> Results | None:
    """What a run came to that was kept by an mlrun which did not note it with the guard."""
    from mlrun.store import codec

    try:
        record = site.store.load(run_id)
    except StoreError:
        return None
    return codec.results_of(record) if record.status == "finished" else None


def put_back(hit: Hit, site: Site) -> tuple[Finding, ...]:
    """The outputs of an earlier run where they are missing or changed, each whole or not at all.

    Raises StoreError where one is not in the store any more, is damaged, or cannot be written: then the run
    has to be made. The findings say what was replaced.
    """
    from mlrun.caching import placing

    placing.put_back(hit.returns, site)
    replaced = [each.path for each in hit.returns if each.replaces]
    if not replaced:
        return ()
    paths = ", ".join(f"`{path}`" for path in replaced)
    message = f"{paths}: changed since {hit.results.name} made it, and put back"
    return (Finding(level="warning", code="output-replaced", message=message),)


def cached(record: RunRecord, hit: Hit, key: Key, *, ended_at: str, seconds: float) -> RunRecord:
    """The record of a run that was not made, from its own beginning and the run that stands in for it.

    `seconds` is how long the look took.
    """
    original = hit.results
    return replace(
        record,
        status="cached",
        exit_code=0,
        ended_at=ended_at,
        duration_s=round(seconds, 6),
        inputs=(*record.inputs, *_seen_besides(record, original)),
        outputs=original.outputs,
        metrics=original.metrics,
        series=original.series,
        parameters=(*record.parameters, *original.parameters),
        observed=original.observed,
        parents=(*record.parents, ("cached_from", original.id)),
        cache_key=key.digest,
    )


def _seen_besides(record: RunRecord, original: Results) -> tuple[Artifact, ...]:
    """What the original read without a declaration: the guard has just found it unchanged."""
    known = {it.path for it in record.inputs}
    return tuple(it for it in original.inputs if it.path not in known)


def share_series(record: RunRecord, hit: Hit, site: Site) -> None:
    """The steps of the metrics belong to the run that was not made, too."""
    if not hit.results.metrics:
        return
    series, own = (site.store.home.run(run_id).metrics for run_id in (hit.results.id, record.id))
    with contextlib.suppress(OSError):
        os.link(series, own)


_UNSEEN = Finding(
    level="warning",
    code="cached-unobserved",
    message="not all that the program read is known, so every file of the project counts for later runs",
    hint="what it reads elsewhere has to be declared under `inputs`",
)


# --- after a run ------------------------------------------------------------------------------------------


def guarded(
    record: RunRecord, case: Case, key: Key, site: Site, *, seen: Seen | None, since: int
) -> tuple[Guard | None, Finding | None]:
    """With which guard a run that has ended well just now can stand in for later ones, if it can; and what is
    worth a warning.

    `site` is renewed: the source as it is after the run. `seen` is all that its program opened, None where
    that is not known. `since` is when the program began, by the clock that files are stamped with (ns since
    1970).
    """
    from mlrun.caching import guard as guards
    from mlrun.caching.key import key_of

    try:
        _check_source(site.snapshot, seen)
        guard = guards.noted(case, site, record, seen, since=since)
        again = key_of(replace(case, inputs=_inputs_now(case, site)), site)
        if again.digest != key.digest:
            raise guards.NotKeptError(_difference(key, again))
    except guards.NotKeptError as error:
        return None, not_kept(str(error))
    except (MlrunError, OSError) as error:
        return None, not_kept(str(error))
    return guard, _UNSEEN if seen is None else None


def keep(record: RunRecord, guard: Guard, site: Site) -> tuple[Finding, ...]:
    """Let a run stand in for later ones, once its record says that it has ended well, and under which key.
    A warning where that cannot be written."""
    from mlrun.caching import shelf

    assert record.cache_key is not None
    try:
        shelf.keep(site.store.home, record, record.cache_key, guard)
    except OSError as error:
        return (not_kept(str(error)),)
    return ()


def _check_source(now: Snapshot, seen: Seen | None) -> None:
    from mlrun.caching.guard import NotKeptError

    unpinned = [each for each in now.findings if each.code in _UNPINNED]
    if unpinned and (seen is None or any(each.code == "submodule-dirty" for each in unpinned)):
        raise NotKeptError(unpinned[0].message)


def _inputs_now(case: Case, site: Site) -> tuple[Artifact, ...]:
    from mlrun import data

    found = []
    for item in case.inputs:
        path = site.project() / item.path
        now = data.describe(
            path,
            shown=item.path,
            kind=item.kind,
            declared=True,
            parameter=item.parameter,
            reader=site.reader,
            contents=False,
        )
        found.append(now.artifact)
    return tuple(found)


def _difference(key: Key, again: Key) -> str:
    """What changed while a run was made."""
    for (path, before), (_, after) in zip(key.inputs, again.inputs, strict=True):
        if before != after:
            return f"input `{path}` changed while it ran"
    changed = sorted(each.path for each in {*key.code} ^ {*again.code})
    if changed:
        hint = ", or is an output that nobody declares"
        return f"`{changed[0]}`, which counts as code, changed while it ran{hint}"
    return "what it is made of changed while it ran"


def take_away(
    record: RunRecord, case: Case, site: Site, *, seen: Seen | None, since: int
) -> tuple[Finding, ...]:
    """What earlier runs left among the outputs of one that has just ended well: see `remains`."""
    from mlrun.data.names import is_pattern

    if not any(
        is_pattern(it.path) or os.path.isdir(site.absolute(it.path)) for it in case.prepared.spec.outputs
    ):
        return ()
    from mlrun.caching import remains

    return remains.take_away(record, case, site, seen=seen, since=since)


def not_kept(why: str) -> Finding:
    """A warning for a run that others cannot be spared by."""
    message = f"this run cannot stand in for later ones: {why}"
    return Finding(level="warning", code="not-cached", message=message)
