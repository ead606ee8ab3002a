"""Data by content: its digest, what differs between two states of it, and whether past inputs still hold.

A side of a comparison is a path, a run (its inputs), or `RUN:PATH` (one input or output of it).
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlrun import data
from mlrun.contents import Contents, Tree, of_files, of_trees
from mlrun.data.names import is_pattern
from mlrun.errors import StoreError
from mlrun.files import remove_tree
from mlrun.store import lineage as walks
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from mlrun.data import Reader
    from mlrun.files import Cache
    from mlrun.model import Artifact, Caller, Digest, RunRecord
    from mlrun.source.between import Trees
    from mlrun.store import Store


@value
class Side:
    """One state of data: on disk at `path`, or as a run recorded it."""

    name: str
    artifact: Artifact
    path: Path | None = None
    record: RunRecord | None = None


@value
class Item:
    """One file or folder in both states; None where a side lacks it.

    `change` is `same`, `changed`, `added`, `removed`, or `unknown` where a side has no digest. `note` says
    what differs in a few words, `details` in lines; `facts` are for machines.
    """

    name: str
    change: Literal["same", "changed", "added", "removed", "unknown"]
    before: Artifact | None = None
    after: Artifact | None = None
    note: str | None = None
    details: tuple[str, ...] = ()
    facts: tuple[tuple[str, object], ...] = ()


@value
class Status:
    """An input of a past run, and what is there now.

    `state` is `same`, `changed`, `missing`, or `unknown` where it cannot be told, for which `note` says why.
    """

    run: str
    run_name: str
    path: str
    state: Literal["same", "changed", "missing", "unknown"]
    recorded: Digest | None
    found: Digest | None = None
    size: int | None = None
    note: str | None = None


# --- digests ------------------------------------------------------------------------------------------


def describe(path: Path, shown: str, reader: Reader, *, contents: bool = False) -> data.Found:
    """A file or folder on disk.

    Raises StoreError `unreadable-file` where it has no digest.
    """
    found = data.describe(path, shown=shown, kind="data", declared=True, reader=reader, contents=contents)
    if found.artifact.digest is None:
        raise StoreError(found.findings[0].message, code="unreadable-file")
    return found


# --- differences --------------------------------------------------------------------------------------


class Desk:
    """What comparisons need. Used with `with`; what had to be unpacked is gone at its end."""

    def __init__(self, store: Store, cache: Cache, caller: Caller, reader: Reader) -> None:
        self._store = store
        self._cache = cache
        self._caller = caller
        self._reader = reader
        self._found: dict[str, Contents] = {}
        self._scratch = cache.temporary / f"data.{os.getpid()}.{time.monotonic_ns()}"

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        if self._scratch.exists():
            remove_tree(self._scratch, trash=self._cache.trash)

    def sides(self, name: str) -> tuple[Side, ...]:
        """The states that a name stands for: one of a path, several of a run.

        Raises StoreError `no-such-run`, `no-such-input`, `unreadable-file`.
        """
        path = Path(self._caller.directory, os.path.expanduser(name))
        if name and os.path.lexists(path) and not self._is_run(name):
            return (Side(name=name, artifact=describe(path, name, self._reader).artifact, path=path),)
        run, _, inner = name.partition(":")
        try:
            record = self._store.load(self._store.find(run))
        except StoreError as error:
            raise StoreError(
                f"`{name}` is neither a path nor a run", hint=error.hint, code=error.code
            ) from None
        items = [item for item in record.inputs if not inner]
        if inner:
            items = _matching((*record.inputs, *record.outputs), inner)
            if not items:
                raise _no_such(record, inner)
        return tuple(Side(name=item.path, artifact=item, record=record) for item in items)

    def _is_run(self, name: str) -> bool:
        return os.sep not in name and name.startswith("latest")

    def compare(self, before: str, after: str) -> tuple[Item, ...]:
        """All that both names stand for, item by item; a path against a run picks the input that it is."""
        ours, theirs = self.sides(before), self.sides(after)
        if len(ours) == 1 and ours[0].path is not None:
            theirs = self._counterpart(ours[0], theirs)
        elif len(theirs) == 1 and theirs[0].path is not None:
            ours = self._counterpart(theirs[0], ours)
        return tuple(self._item(a, b) for a, b in _paired(ours, theirs))

    def _counterpart(self, path: Side, others: tuple[Side, ...]) -> tuple[Side, ...]:
        """The input of a run that a path stands for: at that place, of that name, or else the only one."""
        if len(others) <= 1:
            return others
        assert path.path is not None
        here = os.path.realpath(path.path)
        for side in others:
            place = Contents.place(side.record, side.artifact) if side.record else None
            if place is not None and os.path.realpath(place) == here:
                return (side,)
        alike = tuple(side for side in others if os.path.basename(side.name) == os.path.basename(here))
        if len(alike) == 1:
            return alike
        record = others[0].record
        assert record is not None
        raise _no_such(record, path.name)

    def _item(self, ours: Side | None, theirs: Side | None) -> Item:
        known = theirs or ours
        assert known is not None
        before, after = (None if side is None else side.artifact for side in (ours, theirs))
        if ours is None or theirs is None:
            change: Literal["added", "removed"] = "removed" if theirs is None else "added"
            return Item(name=known.name, change=change, before=before, after=after)
        if ours.artifact.digest is None or theirs.artifact.digest is None:
            named = _is_name_only(ours.artifact) or _is_name_only(theirs.artifact)
            note = (
                "only its name is known"
                if named
                else "it has no digest: it changed during that run, or could not be read"
            )
            return Item(name=known.name, change="unknown", before=before, after=after, note=note)
        if ours.artifact.digest == theirs.artifact.digest:
            return Item(name=known.name, change="same", before=before, after=after)
        note, details, facts = self._told(ours, theirs)
        return Item(
            name=known.name, change="changed", before=before, after=after, note=note,
            details=tuple(details), facts=facts,
        )  # fmt: skip

    def _told(self, ours: Side, theirs: Side) -> tuple[str, list[str], tuple[tuple[str, object], ...]]:
        if ours.artifact.tree != theirs.artifact.tree:
            return ("a folder became a file" if ours.artifact.tree else "a file became a folder"), [], ()
        if ours.artifact.tree:
            one, other = self._tree(ours), self._tree(theirs)
            note, details, facts = of_trees(one, other) if one and other else (None, [], ())
        else:
            a, b = self._file(ours), self._file(theirs)
            note, details, facts = of_files(a, b, theirs.name) if a and b else (None, [], ())
        if note is None:
            return "other content", ["not both contents are at hand, so what differs cannot be told"], ()
        return note, details, facts

    def _file(self, side: Side) -> Callable[[], BinaryIO] | None:
        path = side.path
        if path is not None:
            return lambda: open(path, "rb")
        assert side.record is not None
        return self._contents(side.record).file(side.record, side.artifact)

    def _tree(self, side: Side) -> Tree | None:
        if side.path is not None:
            found = describe(side.path, side.name, self._reader, contents=True)
            return None if found.manifest is None else Contents.of_manifest(found.manifest, side.path)
        assert side.record is not None
        return self._contents(side.record).tree(side.record, side.artifact)

    def _contents(self, record: RunRecord) -> Contents:
        """What finds a run's inputs; one for all of them, since it may unpack its source."""
        if record.id not in self._found:
            self._found[record.id] = self._new_contents(record)
        return self._found[record.id]

    def _new_contents(self, record: RunRecord) -> Contents:
        @functools.cache
        def trees() -> Trees | None:
            from mlrun.errors import SourceError
            from mlrun.source.between import Trees

            if record.source is None:
                return None
            self._cache.prepare()
            self._scratch.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(SourceError):
                return Trees(
                    self._scratch / record.id, (record.source, record.source), self._store.objects,
                    caller=self._caller, cache=self._cache,
                )  # fmt: skip
            return None

        return Contents(self._store.objects, self._scratch, trees, self._cache)


def _matching(items: tuple[Artifact, ...], name: str) -> list[Artifact]:
    """Of a path as it stands in the record, else of that end of one."""
    wanted = os.path.normpath(name)
    exact = [item for item in items if os.path.normpath(item.path) == wanted]
    return exact[:1] or [item for item in items if item.path.endswith(f"/{wanted}")][:1]


def _paired(ours: tuple[Side, ...], theirs: tuple[Side, ...]) -> Iterator[tuple[Side | None, Side | None]]:
    """By name; a single one on each side stand for each other whatever they are called."""
    if len(ours) == len(theirs) == 1:
        yield ours[0], theirs[0]
        return
    left, right = ({side.name: side for side in sides} for sides in (ours, theirs))
    for name in sorted({*left, *right}):
        yield left.get(name), right.get(name)


def _no_such(record: RunRecord, name: str) -> StoreError:
    names = ", ".join(f"`{item.path}`" for item in record.inputs[:10]) or "none"
    return StoreError(
        f"run {record.id[:8]} has no input `{name}`",
        hint=f"its inputs: {names}; `RUN:PATH` names one",
        code="no-such-input",
    )


# --- what has changed since ---------------------------------------------------------------------------


def good_runs(store: Store, name: str | None, directory: Path) -> tuple[RunRecord, ...]:
    """A run; or the last that succeeded of each entry point, of all projects or of those in a directory.

    Raises StoreError `no-such-run`, `no-good-run`.
    """
    place = None if name is None else Path(directory, os.path.expanduser(name))
    if name is not None and (not name or place is None or not place.is_dir()):
        return (store.load(store.find(name)),)
    records = [store.load(run_id) for run_id in store.lineage(walks.latest_good)]
    if place is not None:
        records = [record for record in records if _lies_in(record, place)]
    if not records:
        where = f" in {name}" if name else ""
        raise StoreError(
            f"no run has succeeded yet{where}", hint="`mlrun run .` makes one", code="no-good-run"
        )
    return tuple(records)


def _lies_in(record: RunRecord, place: Path) -> bool:
    if record.source is None:
        return False
    project = os.path.realpath(os.path.join(record.source.directory, record.source.subdirectory))
    return f"{project}/".startswith(f"{os.path.realpath(place)}/")


def status(records: tuple[RunRecord, ...], reader: Reader, store: Store) -> tuple[Status, ...]:
    """Each input of some runs against what is there now; a place that several runs read is read once.

    What another run made, and was named as such, is what it was as long as there is a store.
    """
    known: dict[tuple[str, str], tuple[Digest | None, int | None, str | None]] = {}
    found = []
    for record in records:
        for item in record.inputs:
            place = None if _is_name_only(item) else Contents.place(record, item)
            if place is None or item.run is not None or _was_fetched(record, item):
                continue
            key = (str(place), "some" if is_pattern(place.name) and not place.exists() else "")
            if key not in known:
                known[key] = _now(place, reader)
            now = known[key]
            if _is_part(item) and now[0] is not None and now[0] != item.digest:
                now = _now_of_part(item, place, reader, store)
            found.append(_status(record, item, *now))
    return tuple(found)


def _is_name_only(item: Artifact) -> bool:
    """Whether it is a data set that code told MLflow of, and no file: there is nothing to look at."""
    return item.kind == "dataset" and item.digest is None and item.files == 0


def _was_fetched(record: RunRecord, item: Artifact) -> bool:
    """Whether it came with a commit from elsewhere, and cannot have changed."""
    source = record.source
    return (
        source is not None
        and source.url is not None
        and not os.path.isabs(item.path)
        and not os.path.isdir(source.directory)
    )


def _now(place: Path, reader: Reader) -> tuple[Digest | None, int | None, str | None]:
    """Digest and size, or why there is none; no text where nothing is there."""
    if is_pattern(place.name) and not place.exists():
        names = tuple(sorted(each.name for each in place.parent.glob(place.name) if each.is_file()))
        if not names:
            return None, None, None
        artifact = data.describe_some(place.parent, names, shown="", kind="data", reader=reader).artifact
        return artifact.digest, artifact.size, None
    if not os.path.lexists(place):
        return None, None, None
    found = data.describe(place, shown=str(place), kind="data", declared=True, reader=reader, contents=False)
    artifact = found.artifact
    return artifact.digest, artifact.size, None if artifact.digest else found.findings[0].message


def _is_part(item: Artifact) -> bool:
    """Whether it is those files of a folder that were read, where nobody declared the folder."""
    return item.tree and not item.declared and not is_pattern(item.path)


def _now_of_part(
    item: Artifact, place: Path, reader: Reader, store: Store
) -> tuple[Digest | None, int | None, str | None]:
    """As `_now`, of the files that were read."""
    try:
        entries = store.objects.entries(item.digest) if item.digest else ()
    except StoreError:
        return None, None, "only some of its files were read; those cannot be told from the others"
    names = tuple(entry.path for entry in entries)
    artifact = data.describe_some(place, names, shown="", kind="data", reader=reader, contents=False).artifact
    return artifact.digest, artifact.size, None


def _status(
    record: RunRecord, item: Artifact, now: Digest | None, size: int | None, problem: str | None
) -> Status:
    state: Literal["same", "changed", "missing", "unknown"]
    note = problem
    if item.digest is None:
        state, note = "unknown", "it has no digest: it changed during that run, or could not be read"
    elif problem is not None:
        state = "unknown"
    elif now is None:
        state = "missing"
    elif now == item.digest:
        state = "same"
    else:
        state = "changed"
    return Status(
        run=record.id, run_name=record.name, path=item.path, state=state, recorded=item.digest, found=now,
        size=size, note=note,
    )  # fmt: skip
