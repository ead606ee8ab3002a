"""What a program read, as inputs of the record: which of it is data, where it was declared, how it is now."""

from __future__ import annotations

import contextlib
import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import data, source
from mlrun.data.trees import MTIME, SIZE, STAMP
from mlrun.errors import StoreError
from mlrun.model import Artifact
from mlrun.observe.grouping import by_folder, grouped
from mlrun.observing.values import warning
from mlrun.pattern import pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from mlrun.data.trees import Tree
    from mlrun.files import Cache
    from mlrun.model import Caller, Finding, RunRecord
    from mlrun.observe.grouping import Group
    from mlrun.observe.meaning import Crowd, Read, Seen
    from mlrun.observing.surroundings import Surroundings
    from mlrun.store import Store

_CODE = pattern(
    r"\.(pyi?|py[xd]|ipynb|(ba|z|fi)?sh|r|rmd|jl|[ch]|cc|[ch]pp|cu|go|rs|java|scala|[jt]s|lua|pl|rb|m|sql|ya?ml|toml"
    r"|cfg|ini|conf|lock|md|rst|env|gitignore|dockerfile)$",
    re.IGNORECASE,
)
"""Endings of code and settings: what the source's own tree pins is not listed as data as well."""
_CODE_NAMES = frozenset(("MLproject", "Makefile", "Dockerfile", "requirements.txt", "LICENSE", "README"))
_UNLIKE = {
    "overwritten": "the run itself wrote it afterwards",
    "changed": "somebody else changed it during the run",
    "gone": "it was removed during the run",
}


class Inputs:
    """What was read into artifacts; what was declared is there already.

    `findings` are worth telling; `unlike` are those of the crowds that are not as they were read.
    """

    def __init__(
        self,
        record: RunRecord,
        around: Surroundings,
        store: Store,
        reader: data.Reader,
        caller: Caller,
        cache: Cache,
    ) -> None:
        self._cache = cache
        self.findings: list[Finding] = []
        self.unlike: list[Read] = []
        self._store = store
        self._reader = reader
        self._caller = caller
        self._around = around
        self._mixed = around.mixed_folders()
        self._declared = tuple(
            os.path.realpath(around.snapshot.directory / item.path) for item in record.inputs if item.declared
        )

    def of(self, seen: Seen) -> tuple[Artifact, ...]:
        """All that was read."""
        pinned: set[str] = set()
        crowds, reads = [], [*seen.reads]
        for crowd in seen.crowds:
            crowd, singled = self._divided(crowd, pinned)
            reads += singled
            if crowd.names:
                crowds.append(crowd)
        if self._declared or self._around.secrets:
            reads = [read for read in reads if not self._around.is_secret(read.path)]
            declared = {read.path for read in reads if self._is_declared(read.path)}
            self._tell_changed(read for read in reads if read.path in declared)
            reads = [read for read in reads if read.path not in declared]
        pinned |= self._pinned(reads)
        states = {read.path: read for read in reads if read.path not in pinned or not _is_code(read.path)}
        files = by_folder(states)
        for crowd in crowds:
            files[crowd.folder] = sorted((*files.get(crowd.folder, ()), *crowd.names))
        artifacts, undeclared = [], []
        for group in grouped(files, never=self._mixed):
            artifact = self._artifact(group, states, crowds)
            artifacts.append(artifact)
            if not pinned or not any(f"{group.folder}/{name}" in pinned for name in group.names):
                undeclared.append(artifact.path)
        self._tell_undeclared(undeclared)
        return tuple(artifacts)

    # --- which of it

    def _divided(self, crowd: Crowd, pinned: set[str]) -> tuple[Crowd, list[Read]]:
        """Those of a crowd that can be judged together, and the others as they are now.

        A link may lead anywhere, code is told apart, and a folder that holds more than data is no data set.
        """
        folder = crowd.folder
        if self._around.secrets or folder in self._mixed or folder.count("/") < 2:
            return crowd.without(crowd.names), self._singled(crowd, crowd.names)
        if any(_is_in(folder, each) for each in self._declared):
            return crowd.without(crowd.names), self._singled(crowd, _links(folder))
        held: frozenset[str] = frozenset()
        if _is_in(folder, self._around.root):
            inside = folder[len(self._around.root) + 1 :]
            held = source.pinned_within(self._around.snapshot, inside, crowd.names, caller=self._caller)
        if not held:
            return crowd, []
        links = _links(folder)
        others = links | frozenset(filter(_is_code, held))
        pinned.update(f"{folder}/{name}" for name in held - links)
        return crowd.without(others), self._singled(crowd, others)

    def _singled(self, crowd: Crowd, names: Collection[str]) -> list[Read]:
        reads = list(crowd.looked_at(frozenset(names)))
        self.unlike += [read for read in reads if read.state != "same"]
        return reads

    def _is_declared(self, path: str) -> bool:
        if not self._declared:
            return False
        real = os.path.realpath(path)
        return any(_is_in(real, each) for each in self._declared)

    def _pinned(self, reads: list[Read]) -> frozenset[str]:
        """Of what was read, that which the snapshot's tree holds, and that as it was.

        Of a link the tree holds where it leads to, which says nothing of what is there.
        """
        root = self._around.root
        inside: dict[str, list[str]] = {}
        for read in reads:
            if read.path.startswith(f"{root}/"):
                real = os.path.realpath(read.path) if os.path.islink(read.path) else read.path
                if real.startswith(f"{root}/"):
                    inside.setdefault(real[len(root) + 1 :], []).append(read.path)
        held = source.pinned(self._around.snapshot, tuple(inside), caller=self._caller)
        return frozenset(path for real in held for path in inside[real])

    # --- by its content

    def _artifact(self, group: Group, states: dict[str, Read], crowds: list[Crowd]) -> Artifact:
        if group.is_single:
            return self._file(group.path, states[group.path])
        mine = [crowd for crowd in crowds if _is_in(crowd.folder, group.folder)]
        unlike = self._unlike_of(group, states, mine)
        found = self._described(group, frozenset(unlike))
        if mine and found.tree is not None:
            others = self._unlike_in(group, mine, found.tree)
            if others:
                unlike |= others
                found = self._described(group, frozenset(unlike))
        self._tell_unlike(group, {name: read for name, read in unlike.items() if read is not None})
        self.findings += found.findings
        return found.artifact

    def _file(self, path: str, read: Read) -> Artifact:
        shown = self._around.shown(path)
        if read.state != "same":
            self._tell_that(shown, 1, read.state)
            return _without_digest(shown, max(read.size, 0))
        found = data.describe(
            Path(path), shown=shown, kind="data", declared=False, reader=self._reader, contents=False
        )
        self.findings += found.findings
        data.keep_tables(self._cache, found.contents)
        return found.artifact

    def _described(self, group: Group, without: frozenset[str]) -> data.Found:
        names = tuple(name for name in group.names if name not in without) if without else group.names
        describe = partial(
            data.describe_some,
            Path(group.folder),
            names,
            shown=self._around.shown(group.path),
            kind="data",
            reader=self._reader,
        )
        found = describe(contents=False)
        self._keep_list(found.artifact, describe)
        return found

    def _keep_list(self, artifact: Artifact, describe: Callable[[], data.Found]) -> None:
        """Which files a folder's digest is of: without that, nobody can tell later which of them changed."""
        with contextlib.suppress(OSError, StoreError):
            if artifact.digest is not None and not self._store.objects.has(artifact.digest):
                again = describe()
                manifest = again.manifest
                if manifest is not None:
                    self._store.objects.put_bytes(manifest)
                    data.keep_tables(self._cache, again.contents)

    # --- as it was

    def _unlike_of(
        self, group: Group, states: dict[str, Read], crowds: list[Crowd]
    ) -> dict[str, Read | None]:
        """Those that were judged already and are no longer what was read, by name."""
        if sum(len(crowd.names) for crowd in crowds) == len(group.names):
            return {}
        reads = ((name, states.get(f"{group.folder}/{name}")) for name in group.names)
        return {name: read for name, read in reads if read is not None and read.state != "same"}

    def _unlike_in(self, group: Group, crowds: list[Crowd], tree: Tree) -> dict[str, Read | None]:
        """The same of crowds, once they were read: None for what is no file any more."""
        found: dict[str, Read | None] = {}
        for crowd in crowds:
            within = crowd.folder[len(group.folder) + 1 :]
            within = f"{within}/" if within else ""
            names = frozenset(_changed(crowd, within, tree))
            reads = {within + os.path.basename(read.path): read for read in self._singled(crowd, names)}
            for name in names:
                read = reads.get(within + name)
                if read is None or read.state != "same":
                    found[within + name] = read
        return found

    # --- what is told

    def _tell_unlike(self, group: Group, unlike: dict[str, Read]) -> None:
        for state in _UNLIKE:
            those = [name for name, read in unlike.items() if read.state == state]
            if those:
                first = self._around.shown(os.path.join(group.folder, min(those)))
                self._tell_that(first, len(those), state)

    def _tell_that(self, first: str, count: int, state: str) -> None:
        more = f", and {count - 1} more beside it" if count > 1 else ""
        note = f"what was read of `{first}`{more} has no digest: {_UNLIKE[state]}"
        self.findings.append(warning(f"input-{state}", note))

    def _tell_changed(self, declared: Iterable[Read]) -> None:
        """Of declared ones, those that are no longer as they were when they were opened."""
        others = [read.path for read in declared if read.state in ("changed", "gone")]
        if others:
            more = f", and {len(others) - 1} more" if len(others) > 1 else ""
            note = (
                f"somebody else changed the input `{self._around.shown(others[0])}`{more} during the run: "
                "what is recorded is as it was before"
            )
            self.findings.append(warning("input-changed", note))

    def _tell_undeclared(self, paths: list[str]) -> None:
        if not paths:
            return
        more = f", and {len(paths) - 4} more" if len(paths) > 4 else ""
        note = f"read but not declared: {', '.join(paths[:4])}{more}"
        hint = "who repeats this run needs them: name them under `inputs` of the entry point"
        self.findings.append(warning("undeclared-input", note, hint))


def _changed(crowd: Crowd, within: str, tree: Tree) -> Iterator[str]:
    """Names of those whose size or time of modification is not what it was when they were opened."""
    sizes, modified = tree.stamps[SIZE::STAMP], tree.stamps[MTIME::STAMP]
    alike = not within and tree.count == len(crowd.names) and tree.names.isascii()  # then in the same order
    if alike and (sizes, modified) == (crowd.sizes, crowd.modified):
        return
    index = {os.fsdecode(name): at for at, name in enumerate(tree.split_names())}
    for name, size, time in zip(crowd.names, crowd.sizes, crowd.modified, strict=True):
        at = index.get(within + name)
        if at is None or (sizes[at], modified[at]) != (size, time):
            yield name


def _links(folder: str) -> frozenset[str]:
    try:
        with os.scandir(folder) as found:
            return frozenset(each.name for each in found if each.is_symlink())
    except OSError:
        return frozenset()


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _without_digest(shown: str, size: int) -> Artifact:
    return Artifact(path=shown, kind="data", digest=None, size=size, files=1, declared=False)


def _is_code(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name in _CODE_NAMES or _CODE.search(name) is not None
