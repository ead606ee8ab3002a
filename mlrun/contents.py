"""Contents of the past: found by digest wherever they still are, and compared file by file, row by row.

A content is looked for by its digest in the object store, where it was, and in the tree of the run's source;
nothing else than the very bytes that were recorded is compared.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mlrun import data as rooms_data
from mlrun import digest
from mlrun.data import rows, tables
from mlrun.errors import MlrunError
from mlrun.model import Digest
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from mlrun.files import Cache
    from mlrun.model import Artifact, RunRecord
    from mlrun.source.between import Trees
    from mlrun.store.objects import Objects

_FILES_SHOWN = 20
_TABLES = 3  # files of a folder whose rows are compared


@value
class Tree:
    """A folder's files: digest and size by path, and how to open one."""

    files: dict[str, tuple[str, int]]
    open: Callable[[str], BinaryIO]


class Contents:
    """Finds the bytes of a past run's inputs. `scratch` is a folder for what has to be unpacked."""

    def __init__(
        self, objects: Objects, scratch: Path, trees: Callable[[], Trees | None], cache: Cache
    ) -> None:
        self._objects = objects
        self._cache = cache
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
        kept = tables.find(self._cache, its_digest)
        if kept is not None:
            return lambda: open(kept, "rb")
        for path in (self.place(record, artifact), self._unpacked(record, artifact)):
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
                place = self.place(record, artifact)
                return self._tree(self._objects.read_bytes(artifact.digest), place)
        for path in (self.place(record, artifact), self._unpacked(record, artifact)):
            if path is None or not path.is_dir():
                continue
            found = rooms_data.describe(path, shown=artifact.path, kind="data", declared=True)
            if found.artifact.digest == artifact.digest and found.manifest is not None:
                return self._tree(found.manifest, path)
        return None

    def _tree(self, manifest: bytes, folder: Path | None) -> Tree | None:
        return self.of_manifest(manifest, folder, self._objects, self._cache)

    @staticmethod
    def of_manifest(
        manifest: bytes, folder: Path | None, objects: Objects | None = None, cache: Cache | None = None
    ) -> Tree | None:
        """The files that a manifest lists, opened in the store, or in the folder if they are still so."""
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
            if objects is not None and _has(objects, content):
                return objects.open(content)
            kept = tables.find(cache, content) if cache is not None else None
            if kept is not None:
                return open(kept, "rb")
            if folder is None or digest.of_file(folder / name) != content:
                raise FileNotFoundError(name)
            return open(folder / name, "rb")

        return Tree(files=files, open=opened)

    def _has(self, its_digest: Digest) -> bool:
        return _has(self._objects, its_digest)

    @staticmethod
    def place(record: RunRecord, artifact: Artifact) -> Path | None:
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


def _has(objects: Objects, its_digest: Digest) -> bool:
    try:
        return objects.has(its_digest)
    except MlrunError:
        return False


Told = tuple[str | None, list[str], tuple[tuple[str, object], ...]]
"""In a few words, in lines, and for machines."""


def of_trees(before: Tree, after: Tree) -> Told:
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
    hint = ["its rows are compared where mlrun has pyarrow: install `mlrun-cli[parquet]`"]
    return f"differs {where}", hint if rows.is_unreadable_here(name) else [], (("first_byte", offset),)


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


def in_tree(record: RunRecord, artifact: Artifact) -> str:
    """An artifact's path relative to the top of the source (as it stands where it lies elsewhere)."""
    subdirectory = record.source.subdirectory if record.source else ""
    return str(PurePosixPath(subdirectory) / artifact.path)
