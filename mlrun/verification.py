"""Is what was recorded still there, and still the same: the record, and all that it names in the store.

Every object is read and hashed again, once, however many runs refer to it. What is damaged is told with what
is lost by it. A record tells of an edit by the digest that it bears of itself; the oldest ones bear none.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

from mlrun import digest
from mlrun.errors import MlrunError, StoreError
from mlrun.model import Finding
from mlrun.store import Query, codec
from mlrun.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mlrun.model import Digest, Narrator, RunRecord, RunRow
    from mlrun.store import Store

State = Literal["intact", "damaged", "unknown"]

_SOURCE = "the run's source cannot be put together any more, so it cannot be repeated"
_LOCK = "its environment can only be resolved anew, not built again as it was"
_OUTPUT = "this output cannot be had from the store any more"
_LOG = "what the program printed is not known any more as it was"
_SERIES = "the steps of its metrics are not known any more as they were; their last values are in the record"
_LIST = "which of its files changed since cannot be told"
_INDEX = "lists and searches were wrong; it has been made anew from the records"
_INPUT = "this input can only be had from where it was, if it is still there"


@value
class Trouble:
    """What is wrong, or cannot be told (`no-digest`, `not-kept`, `newer`).

    `lost` says what that costs.
    """

    what: str
    state: Literal["missing", "damaged", "edited", "unreadable", "no-digest", "not-kept", "newer"]
    lost: str | None = None
    digest: str | None = None

    @property
    def is_damage(self) -> bool:
        """Whether something is not as it was."""
        return self.state not in ("no-digest", "not-kept", "newer")


@value
class Verification:
    """One run looked after; `checked` counts the objects that were read, `name` is None if unreadable."""

    run_id: str
    name: str | None
    troubles: tuple[Trouble, ...] = ()
    checked: int = 0

    @property
    def state(self) -> State:
        """Damaged, if anything is; unknown, where something cannot be told."""
        if any(trouble.is_damage for trouble in self.troubles):
            return "damaged"
        return "unknown" if self.troubles else "intact"


def edited(records: Iterable[RunRecord], store: Store) -> tuple[Finding, ...]:
    """A warning for each record that is not what mlrun wrote, for those who read it; nothing else is read."""
    found = []
    for record in records:
        with contextlib.suppress(OSError, ValueError):  # gone, in a bundle, or replaced meanwhile
            if codec.is_unedited(store.home.run(record.id).record.read_bytes()) is False:
                message = f"the record of {record.name} was changed since mlrun wrote it"
                hint = f"`mlrun verify {record.id[:8]}`"
                found.append(Finding(level="warning", code="record-edited", message=message, hint=hint))
    return tuple(found)


def verify(run_ids: Iterable[str], store: Store, *, narrator: Narrator) -> tuple[Verification, ...]:
    """Look after some runs, by their whole ids; after the steps of a pipeline with it."""
    ids = tuple(dict.fromkeys(each for run_id in run_ids for each in (run_id, *_steps(run_id, store))))
    objects = _Objects(store)
    found = []
    for number, run_id in enumerate(ids):
        narrator.progress(f"verifying run {number + 1} of {len(ids)}", number / len(ids))
        found.append(_verified(run_id, store, objects))
    return tuple(found)


def verify_index(found: tuple[Verification, ...], store: Store) -> tuple[Verification, ...]:
    """What was found of all runs, with what the index said wrongly of them: it is made anew, and compared."""
    before = _rows(store)
    try:
        store.rebuild()
    except StoreError:
        return found
    after = _rows(store)
    wrong = {run_id for run_id, text in after.items() if before.get(run_id, text) != text}
    trouble = Trouble(what="what the index says of it", state="damaged", lost=_INDEX)
    return tuple(
        replace(each, troubles=(*each.troubles, trouble)) if each.run_id in wrong else each for each in found
    )


def _rows(store: Store) -> dict[str, str]:
    """What lists show of each run; one that goes on may change meanwhile.

    In which order the index knows names depends on which run came first, and is nothing that it says of one.
    """
    return {row.id: repr(_in_order(row)) for row in store.query(Query()) if row.status != "running"}


def _in_order(row: RunRow) -> RunRow:
    return replace(
        row,
        params=tuple(sorted(row.params)),
        metrics=tuple(sorted(row.metrics)),
        tags=tuple(sorted(row.tags)),
    )


def _steps(run_id: str, store: Store) -> tuple[str, ...]:
    """The runs of a pipeline's steps that are there, not having been removed by hand."""
    try:
        steps = store.load(run_id).steps
    except StoreError:
        return ()
    there = set(store.ids()) if steps else set()
    return tuple(step.run for step in steps if step.run in there)


def _verified(run_id: str, store: Store, objects: _Objects) -> Verification:
    path = store.home.run(run_id).record
    troubles: list[Trouble] = []
    try:
        data = path.read_bytes()
        record = codec.decode(data, file=str(path))
        unedited = codec.is_unedited(data)
    except (OSError, StoreError, ValueError) as error:
        if isinstance(error, StoreError) and error.code == "newer-record":
            newer = Trouble(what=f"the record: {error.message}; upgrade mlrun to look into it", state="newer")
            return Verification(run_id=run_id, name=None, troubles=(newer,))
        reason = error.strerror if isinstance(error, OSError) else str(error)
        lost = "all that was known of the run but its log"
        return Verification(
            run_id=run_id,
            name=None,
            troubles=(Trouble(what=f"the record: {reason}", state="unreadable", lost=lost),),
        )
    if record.id != run_id:
        lost = "which run this folder is of"
        troubles.append(Trouble(what=f"the record: it is that of {record.id}", state="edited", lost=lost))
    if unedited is None:
        troubles.append(
            Trouble(what="the record: it was written without a digest of itself", state="no-digest")
        )
    elif not unedited:
        lost = "whether what the record says is what happened"
        troubles.append(Trouble(what="the record: changed since mlrun wrote it", state="edited", lost=lost))
    checked = 0
    for what, its_digest, tree, lost in (*_named(record), *_listed(record, objects)):
        count, trouble = objects.look(what, its_digest, tree=tree, lost=lost)
        checked += count
        troubles += trouble
    if record.log is not None:
        checked += 1
        troubles += _own("the log", store.home.run(run_id).log, record.log, lost=_LOG)
    if record.series is not None:
        checked += 1
        path = store.home.run(run_id).metrics
        troubles += _own("the steps of its metrics", path, record.series, lost=_SERIES)
    if record.status != "running":
        troubles += _not_kept(record)
    return Verification(run_id=run_id, name=record.name, troubles=tuple(troubles), checked=checked)


def _named(record: RunRecord) -> Iterator[tuple[str, Digest, bool, str]]:
    """What the record says is in the store: its name, its digest, whether it is a folder, what it is for."""
    facts = record.source
    if facts is not None and facts.patch:
        yield "the patch of uncommitted changes", facts.patch, False, _SOURCE
    for file in facts.untracked if facts is not None else ():
        if file.stored:
            yield f"the untracked file `{file.path}`", file.digest, False, _SOURCE
    if record.environment is not None and record.environment.lock:
        yield "the environment's lock", record.environment.lock, False, _LOCK
    for role, artifacts, lost in (("output", record.outputs, _OUTPUT), ("input", record.inputs, _INPUT)):
        for artifact in artifacts:
            if artifact.stored and artifact.digest:
                yield f"{role} `{artifact.path}`", artifact.digest, artifact.tree, lost


def _listed(record: RunRecord, objects: _Objects) -> Iterator[tuple[str, Digest, bool, str]]:
    """Folders that went in and are not kept, but for the list of what lay in them."""
    for artifact in record.inputs:
        if artifact.tree and artifact.digest and not artifact.stored and objects.has(artifact.digest):
            yield f"the list of files in input `{artifact.path}`", artifact.digest, False, _LIST


def _not_kept(record: RunRecord) -> list[Trouble]:
    """Outputs that the store never had: nobody can tell whether they are still the same."""
    return [
        Trouble(what=f"output `{output.path}`", state="not-kept", digest=output.digest)
        for output in record.outputs
        if output.declared and not output.stored
    ]


def _own(what: str, path: Path, its_digest: Digest, *, lost: str) -> list[Trouble]:
    """A file beside the record; a run that goes on, or was lost, bears no digest of it."""
    try:
        state: Literal["missing", "damaged"] = "damaged"
        if digest.of_file(path) == its_digest:
            return []
    except OSError:
        state = "missing"
    return [Trouble(what=what, state=state, lost=lost, digest=its_digest)]


class _Objects:
    """The store's objects, each read once."""

    def __init__(self, store: Store) -> None:
        self._objects = store.objects
        self._known: dict[str, Literal["missing", "damaged"] | None] = {}

    def has(self, its_digest: Digest) -> bool:
        """Whether there is such an object, be it whole or not."""
        return self._objects.has(its_digest)

    def look(self, what: str, its_digest: Digest, *, tree: bool, lost: str) -> tuple[int, list[Trouble]]:
        """How many objects it is, and what is wrong with them."""
        state = self._state(its_digest)
        if state is not None:
            return 1, [Trouble(what=what, state=state, lost=lost, digest=its_digest)]
        if not tree:
            return 1, []
        try:
            entries = self._objects.entries(its_digest)
        except MlrunError:
            return 1, [Trouble(what=what, state="damaged", lost=lost, digest=its_digest)]
        troubles = []
        for entry in entries:
            if entry.digest and (state := self._state(entry.digest)) is not None:
                inside = f"{what}: `{entry.path}`"
                troubles.append(Trouble(what=inside, state=state, lost=lost, digest=entry.digest))
        return 1 + sum(entry.digest is not None for entry in entries), troubles

    def _state(self, its_digest: Digest) -> Literal["missing", "damaged"] | None:
        if its_digest not in self._known:
            self._known[its_digest] = self._looked_at(its_digest)
        return self._known[its_digest]

    def _looked_at(self, its_digest: Digest) -> Literal["missing", "damaged"] | None:
        try:
            return None if self._objects.verify(its_digest) else "damaged"
        except StoreError as error:
            return "missing" if error.code == "no-such-object" else "damaged"
