"""The data: which inputs differ, and how, as far as both contents can still be read.

A content is looked for by its digest in the object store, where it was, and in the tree of the run's source;
nothing else than the very bytes that were recorded is compared.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import data as rooms_data
from mlrun import digest
from mlrun.data import rows
from mlrun.difference.code import in_tree, is_code
from mlrun.difference.items import pair, seen_by
from mlrun.difference.values import Item
from mlrun.errors import MlrunError
from mlrun.model import Digest
from mlrun.value import value
from mlrun.views import words

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from mlrun.difference.values import Section
    from mlrun.model import Artifact, RunRecord
    from mlrun.source.between import Trees
    from mlrun.store.objects import Objects

_FILES_SHOWN = 20
_TABLES = 3  # files of a folder whose rows are compared

Opener = "Callable[[], BinaryIO]"


@value
class Tree:
    """A folder's files: digest and size by path, and how to open one."""

    files: dict[str, tuple[str, int]]
    open: Callable[[str], BinaryIO]


class Contents:
    """Finds the bytes of a past run's inputs. `scratch` is a folder for what has to be unpacked."""

    def __init__(self, objects: Objects, scratch: Path, trees: Callable[[], Trees | None]) -> None:
        self._objects = objects
        self._scratch = scratch
        self._trees = trees
        self._count = 0

    def file(self, record: RunRecord, artifact: Artifact) -> Callable[[], BinaryIO] | None:
        """How to open a file's content; None where it is nowhere any more."""
        its_digest = artifact.digest
        if its_digest is None:
            return None
        if self._has(its_digest):
            return lambda: self._objects.open(its_digest)
        for path in (self._place(record, artifact), self._unpacked(record, artifact)):
            with contextlib.suppress(OSError, ValueError):
                if path is not None and path.is_file() and digest.of_file(path) == its_digest:
                    return lambda: open(path, "rb")
        return None

    def tree(self, record: RunRecord, artifact: Artifact) -> Tree | None:
        """The files of a folder; None where it is nowhere any more as it was."""
        if artifact.digest is None:
            return None
        if self._has(artifact.digest):
            with contextlib.suppress(MlrunError):
                place = self._place(record, artifact)
                return self._tree(self._objects.read_bytes(artifact.digest), place)
        for path in (self._place(record, artifact), self._unpacked(record, artifact)):
            if path is None or not path.is_dir():
                continue
            found = rooms_data.describe(path, shown=artifact.path, kind="data", declared=True)
            if found.artifact.digest == artifact.digest and found.manifest is not None:
                return self._tree(found.manifest, path)
        return None

    def _tree(self, manifest: bytes, folder: Path | None) -> Tree | None:
        try:
            entries = json.loads(manifest)["entries"]
            files = {
                entry["path"]: (
                    str(entry.get("digest") or f"-> {entry.get('target')}"),
                    int(entry.get("size", 0)),
                )
                for entry in entries
                if "digest" in entry or "target" in entry
            }
        except (ValueError, TypeError, KeyError):
            return None

        def opened(name: str) -> BinaryIO:
            content = Digest(files[name][0])
            if self._has(content):
                return self._objects.open(content)
            if folder is None or digest.of_file(folder / name) != content:
                raise FileNotFoundError(name)
            return open(folder / name, "rb")

        return Tree(files=files, open=opened)

    def _has(self, its_digest: Digest) -> bool:
        try:
            return self._objects.has(its_digest)
        except MlrunError:
            return False

    def _place(self, record: RunRecord, artifact: Artifact) -> Path | None:
        """Where it was, unless that was a checkout of ours, which is gone."""
        if os.path.isabs(artifact.path):
            return Path(artifact.path)
        source = record.source
        if source is None or not os.path.isabs(source.directory):
            return None
        return Path(source.directory, source.subdirectory, artifact.path)

    def _unpacked(self, record: RunRecord, artifact: Artifact) -> Path | None:
        """Written anew from the tree of the run's source, where that held it."""
        if record.source is None or os.path.isabs(artifact.path):
            return None
        trees = self._trees()
        tree = trees.tree(record.source) if trees else None
        if trees is None or tree is None:
            return None
        self._count += 1
        folder = self._scratch / f"unpacked.{self._count}"
        path = in_tree(record, artifact)
        return folder / path if trees.extract(tree, path, folder) else None


def data(before: RunRecord, after: RunRecord, contents: Contents) -> Section:
    """Compare the inputs: those of one path, else of one parameter; what only moved is told so."""
    items = []
    alike = seen_by(before, "inputs") == seen_by(after, "inputs")
    for ours, theirs in _pairs(before, after):
        if ours is None or theirs is None:
            alone = _alone(ours, theirs)
            if alike or alone.because is None:
                items.append(alone)
        elif ours.digest is None or theirs.digest is None:
            note = "it could not be read when it was recorded"
            items.append(Item(name=theirs.path, change="unknown", note=note, facts=_facts(ours, theirs)))
        elif ours.digest != theirs.digest:
            items.append(_changed(before, after, ours, theirs, contents))
        elif ours.path != theirs.path:
            items.append(
                Item(
                    name=theirs.path,
                    change="changed",
                    before=ours.path,
                    after=theirs.path,
                    note="the same content at another place",
                    because="data",
                    facts=_facts(ours, theirs),
                )
            )
    remarks = () if alike else ("what the programs read was not observed in the same way",)
    return pair("data", items, remarks=remarks)


def same_content(before: RunRecord, after: RunRecord) -> frozenset[str]:
    """The path parameters that lead to the same bytes in both."""
    return frozenset(
        theirs.parameter
        for ours, theirs in _pairs(before, after)
        if ours and theirs and theirs.parameter and ours.parameter == theirs.parameter
        if ours.digest == theirs.digest is not None
    )


def _pairs(before: RunRecord, after: RunRecord) -> list[tuple[Artifact | None, Artifact | None]]:
    """Inputs that stand for each other: the very same, else of one parameter, of one path, of one content."""
    ours = [item for item in before.inputs if not is_code(before, item)]
    theirs = [item for item in after.inputs if not is_code(after, item)]
    found: list[tuple[Artifact | None, Artifact | None]] = []
    keys: tuple[Callable[[Artifact], object], ...] = (
        lambda item: (item.path, item.digest, item.parameter),
        lambda item: item.parameter,
        lambda item: item.path,
        lambda item: item.digest,
    )
    for key in keys:
        waiting: dict[object, list[Artifact]] = {}
        for item in ours:
            if key(item) is not None:
                waiting.setdefault(key(item), []).append(item)
        for item in list(theirs):
            if waiting.get(key(item)):
                match = waiting[key(item)].pop(0)
                found.append((match, item))
                ours.remove(match)
                theirs.remove(item)
    return [*found, *((item, None) for item in ours), *((None, item) for item in theirs)]


def _alone(before: Artifact | None, after: Artifact | None) -> Item:
    known = before or after
    assert known is not None
    text = _size(known)
    return Item(
        name=known.path,
        change="added" if before is None else "removed",
        before=text if before else None,
        after=text if after else None,
        note=None if known.declared else "read by the program",
        # What a program reads of its own accord follows from its code and its parameters.
        because=None if known.declared else "code",
        facts=_facts(before, after),
    )


def _size(artifact: Artifact) -> str:
    count = f", {artifact.files} files" if artifact.tree else ""
    return f"{words.size(artifact.size)}{count}"


def _facts(before: Artifact | None, after: Artifact | None) -> tuple[tuple[str, object], ...]:
    return tuple(
        (f"{side}_{name}", None if item is None else getattr(item, name))
        for side, item in (("before", before), ("after", after))
        for name in ("path", "digest", "size", "files")
    )


def _changed(
    before: RunRecord, after: RunRecord, ours: Artifact, theirs: Artifact, contents: Contents
) -> Item:
    note, details, facts = None, [], ()  # type: tuple[str | None, list[str], tuple[tuple[str, object], ...]]
    if ours.tree and theirs.tree:
        one, other = contents.tree(before, ours), contents.tree(after, theirs)
        if one and other:
            note, details, facts = _of_trees(one, other)
    elif not ours.tree and not theirs.tree:
        a, b = contents.file(before, ours), contents.file(after, theirs)
        if a and b:
            note, details, facts = of_files(a, b, theirs.path)
    if note is None:
        note = _sizes(ours, theirs)
        details.append("not both contents are at hand any more, so what differs in it cannot be told")
    return Item(
        name=theirs.path,
        change="changed",
        before=f"{_size(ours)}, {ours.digest}",
        after=f"{_size(theirs)}, {theirs.digest}",
        note=note,
        details=tuple(details),
        facts=(*_facts(ours, theirs), *facts),
    )


def _sizes(ours: Artifact, theirs: Artifact) -> str:
    if ours.tree != theirs.tree:
        return "a folder became a file" if ours.tree else "a file became a folder"
    parts = [f"{ours.files:,} → {theirs.files:,} files"] if ours.files != theirs.files else []
    if ours.size != theirs.size:
        return ", ".join([*parts, f"{ours.size:,} → {theirs.size:,} bytes"])
    return ", ".join([*parts, f"other content, {theirs.size:,} bytes as before"])


Told = tuple[str | None, list[str], tuple[tuple[str, object], ...]]
"""In a few words, in lines, and for machines."""


def _of_trees(before: Tree, after: Tree) -> Told:
    added = sorted(after.files.keys() - before.files.keys())
    removed = sorted(before.files.keys() - after.files.keys())
    changed = sorted(
        name for name in before.files.keys() & after.files.keys() if before.files[name] != after.files[name]
    )
    parts = [
        f"{len(names):,} of {len(before.files):,} files {word}"
        if word != "added"
        else f"{len(names):,} files added"
        for word, names in (("changed", changed), ("added", added), ("removed", removed))
        if names
    ]
    facts: list[tuple[str, object]] = [
        ("files_added", added),
        ("files_removed", removed),
        ("files_changed", changed),
    ]
    details = []
    for mark, names in (("~", changed), ("+", added), ("-", removed)):
        details += [f"{mark} {name}" for name in names[:_FILES_SHOWN]]
        details += [f"{mark} … and {len(names) - _FILES_SHOWN:,} more"] if len(names) > _FILES_SHOWN else []
    for name in changed[:_TABLES]:
        note, lines, _ = _within(before, after, name)
        if note:
            details += [f"{name}: {note}", *(f"  {line}" for line in lines)]
            if len(changed) == 1 and not added and not removed:
                parts = [f"{name}: {note}"]
    return ", ".join(parts) or "modes or links differ", details, tuple(facts)


def _within(before: Tree, after: Tree, name: str) -> Told:
    return of_files(lambda: before.open(name), lambda: after.open(name), name)


def of_files(before: Callable[[], BinaryIO], after: Callable[[], BinaryIO], name: str) -> Told:
    """What differs between two files, told by rows where they have any, else by the first byte."""
    try:
        with before() as one, after() as other:
            found = rows.compare(one, other, name)
        if found is not None and _says_something(found):
            return _of_rows(found)
        with before() as one, after() as other:
            offset = rows.first_byte(one, other)
    except (OSError, EOFError, MlrunError):
        return None, [], ()
    where = f"from byte {offset:,} on" if offset is not None else "nothing in its bytes"
    if found is not None:
        return f"the same rows, other bytes {where}", [], (("first_byte", offset),)
    return f"differs {where}", [], (("first_byte", offset),)


def _says_something(found: rows.Rows) -> bool:
    return bool(found.changed or found.added or found.removed or found.columns_added or found.columns_removed)


def _of_rows(found: rows.Rows) -> Told:
    noun = "line" if found.kind == "text" else "row"
    facts: tuple[tuple[str, object], ...] = (
        ("rows_before", found.before),
        ("rows_after", found.after),
        ("rows_changed", found.changed),
        ("rows_added", found.added),
        ("rows_removed", found.removed),
        ("first_row", found.first),
        ("columns", list(found.columns)),
        ("columns_added", list(found.columns_added)),
        ("columns_removed", list(found.columns_removed)),
        ("reordered", found.reordered),
    )
    details = []
    if found.first is not None:
        cells = ", ".join(
            f"{cell.column} {_shown(cell.before)} → {_shown(cell.after)}" for cell in found.cells[:5]
        )
        details.append(f"first at {noun} {found.first:,}" + (f": {cells}" if cells else ""))
    if len(found.columns) > 1:
        details.append(f"columns that differ: {', '.join(found.columns)}")
    if found.reordered:
        return f"the same {found.after:,} {noun}s in another order", details, facts
    parts = [f"column {name} added" for name in found.columns_added]
    parts += [f"column {name} removed" for name in found.columns_removed]
    if found.changed:
        parts.append(f"{_rows(found.changed, noun)} of {found.before:,} changed")
    parts += [f"{_rows(found.added, noun)} added"] if found.added else []
    parts += [f"{_rows(found.removed, noun)} removed"] if found.removed else []
    return ", ".join(parts), details, facts


def _shown(text: str | None) -> str:
    return "(none)" if text is None else text


def _rows(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
