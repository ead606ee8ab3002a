"""Once the program has ended: what was seen becomes inputs and outputs of the record."""

from __future__ import annotations

import contextlib
import os
import re
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from mlrun import data, source
from mlrun.errors import StoreError
from mlrun.model import Artifact
from mlrun.observe import events as logs
from mlrun.observe import rules, strace
from mlrun.observe.grouping import grouped
from mlrun.observe.meaning import understood
from mlrun.observe.walk import changed
from mlrun.observing.values import PYTHON, STRACE, Observed, warning
from mlrun.value import replace
from mlrun.views import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlrun.model import Caller, Finding, RunRecord
    from mlrun.observe.events import Event
    from mlrun.observe.grouping import Group
    from mlrun.observe.meaning import Read, Seen
    from mlrun.observing.values import Watch
    from mlrun.recording import Prepared
    from mlrun.store import Store

KEEP_UP_TO = 100 * 1024 * 1024
"""Bytes: an observed output that is larger is recorded by its digest only."""
KEEP_IN_ALL = 1024 * 1024 * 1024
"""Bytes of observed outputs that one run puts into the store."""

_CODE = re.compile(
    r"\.(pyi?|py[xd]|ipynb|(ba|z|fi)?sh|r|rmd|jl|[ch]|cc|[ch]pp|cu|go|rs|java|scala|[jt]s|lua|pl|rb|m|sql|ya?ml|toml"
    r"|cfg|ini|conf|lock|md|rst|env|gitignore|dockerfile)$",
    re.IGNORECASE,
)
"""Endings of code and settings: what the source's own tree pins is not listed as data as well."""
_CODE_NAMES = frozenset(("MLproject", "Makefile", "Dockerfile", "requirements.txt", "LICENSE", "README"))


def described(
    record: RunRecord, seen: Seen, prepared: Prepared, store: Store, reader: data.Reader, *, caller: Caller
) -> Observed:
    """The record with the files that were seen; those that the run made are put into the store."""
    keeper = _Keeper(record, prepared, store, reader, caller)
    record = replace(
        record,
        inputs=(*record.inputs, *keeper.inputs(seen.reads)),
        outputs=(*record.outputs, *keeper.outputs(seen.writes)),
    )
    return Observed(record, tuple(keeper.findings), frozenset(keeper.kept), seen.writes)


def seen(watch: Watch, how: str, prepared: Prepared) -> Seen:
    if how == STRACE:
        events: Iterable[Event] = strace.read(watch.folder, str(prepared.snapshot.directory))
    else:
        events = logs.read(watch.folder)
    if watch.mounts is not None:
        events = (_out_of_container(event, watch.mounts) for event in events)
    noted = list(events)
    more: tuple[str, ...] = ()
    if how == PYTHON or any(event.kind == "S" for event in noted):
        more = changed(prepared.snapshot.root, since=watch.since)
    wants = watch.rules.chooser() if watch.mounts is None else _wants_mounted(watch.mounts)
    return understood(
        noted, wants=wants, since=watch.since, more_writes=tuple(path for path in more if wants(path))
    )


def _out_of_container(event: Event, mounts: tuple[tuple[str, str], ...]) -> Event:
    return event._replace(path=_outside(event.path, mounts), second=_outside(event.second, mounts))


def _outside(path: str, mounts: tuple[tuple[str, str], ...]) -> str:
    for there, here in mounts:
        if path == there or path.startswith(f"{there}/"):
            return here + path[len(there) :]
    return path


def _wants_mounted(mounts: tuple[tuple[str, str], ...]) -> Callable[[str], bool]:
    folders = tuple(os.path.realpath(here) for _, here in mounts)
    return rules.in_container(wanted=folders, unwanted=()).chooser()


# --- files into artifacts -------------------------------------------------------------------------------


class _Keeper:
    """Paths into inputs and outputs; what was declared is there already."""

    def __init__(
        self, record: RunRecord, prepared: Prepared, store: Store, reader: data.Reader, caller: Caller
    ) -> None:
        snapshot = prepared.snapshot
        self.findings: list[Finding] = []
        self.kept: set[str] = set()
        self._store = store
        self._reader = reader
        self._caller = caller
        self._snapshot = snapshot
        self._root = os.path.realpath(snapshot.root)
        self._directory = os.path.realpath(snapshot.directory)
        self._declared_inputs = tuple(
            os.path.realpath(snapshot.directory / item.path) for item in record.inputs if item.declared
        )
        self._declared_outputs = tuple(item.path for item in prepared.spec.outputs)
        self._left = KEEP_IN_ALL
        self._secrets = tuple(each.text for each in prepared.spec.parameters if each.secret and each.text)

    # --- inputs

    def inputs(self, reads: tuple[Read, ...]) -> tuple[Artifact, ...]:
        if self._declared_inputs or self._secrets:
            reads = tuple(
                read
                for read in reads
                if not self._is_declared_input(read.path) and not self._is_secret(read.path)
            )
        pinned = self._pinned(reads)
        if pinned:
            reads = tuple(read for read in reads if read.path not in pinned or not _is_code(read.path))
        states = {read.path: read for read in reads}
        artifacts, undeclared = [], []
        for group in grouped(states, never=self._mixed_folders()):
            artifact = self._input(group, states)
            artifacts.append(artifact)
            if not pinned or not any(f"{group.folder}/{name}" in pinned for name in group.names):
                undeclared.append(artifact.path)
        self._tell_undeclared(undeclared)
        return tuple(artifacts)

    def _input(self, group: Group, states: dict[str, Read]) -> Artifact:
        reads = {name: states[f"{group.folder}/{name}"] for name in group.names}
        unlike = [name for name, read in reads.items() if read.state != "same"]
        shown = self._shown(group.path)
        self._tell_unlike(group, unlike, states)
        if group.is_single and unlike:
            read = states[group.path]
            return _without_digest(shown, max(read.size, 0))
        if group.is_single:
            found = data.describe(
                Path(group.path),
                shown=shown,
                kind="data",
                declared=False,
                reader=self._reader,
                contents=False,
            )
        else:
            same = {name: read.status for name, read in sorted(reads.items()) if read.status is not None}
            describe = partial(
                data.describe_some,
                Path(group.folder),
                tuple(same),
                shown=shown,
                kind="data",
                reader=self._reader,
                statuses=tuple(same.values()),
            )
            found = describe(contents=False)
            self._keep_list(found.artifact, describe)
        self.findings += found.findings
        return found.artifact

    def _keep_list(self, artifact: Artifact, describe: Callable[[], data.Found]) -> None:
        """Which files a folder's digest is of: without that, nobody can tell later which of them changed."""
        with contextlib.suppress(OSError, StoreError):
            if artifact.digest is not None and not self._store.objects.has(artifact.digest):
                manifest = describe().manifest
                if manifest is not None:
                    self._store.objects.put_bytes(manifest)

    def _tell_unlike(self, group: Group, names: list[str], states: dict[str, Read]) -> None:
        for state, how in _UNLIKE.items():
            those = [name for name in names if states[os.path.join(group.folder, name)].state == state]
            if those:
                first = self._shown(os.path.join(group.folder, those[0]))
                more = f", and {len(those) - 1} more beside it" if len(those) > 1 else ""
                note = f"what was read of `{first}`{more} has no digest: {how}"
                self.findings.append(warning(f"input-{state}", note))

    def _tell_undeclared(self, paths: list[str]) -> None:
        if not paths:
            return
        more = f", and {len(paths) - 4} more" if len(paths) > 4 else ""
        note = f"read but not declared: {', '.join(paths[:4])}{more}"
        hint = "who repeats this run needs them: name them under `inputs` of the entry point"
        self.findings.append(warning("undeclared-input", note, hint))

    def _is_declared_input(self, path: str) -> bool:
        real = os.path.realpath(path)
        return any(real == each or real.startswith(f"{each}/") for each in self._declared_inputs)

    def _pinned(self, reads: tuple[Read, ...]) -> frozenset[str]:
        """Of what was read, that which the snapshot's tree holds, and that as it was.

        Of a link the tree holds where it leads to, which says nothing of what is there.
        """
        inside: dict[str, list[str]] = {}
        for read in reads:
            if read.path.startswith(f"{self._root}/"):
                real = os.path.realpath(read.path) if os.path.islink(read.path) else read.path
                if real.startswith(f"{self._root}/"):
                    inside.setdefault(real[len(self._root) + 1 :], []).append(read.path)
        held = source.pinned(self._snapshot, tuple(inside), caller=self._caller)
        return frozenset(path for real in held for path in inside[real])

    # --- outputs

    def outputs(self, writes: tuple[str, ...]) -> tuple[Artifact, ...]:
        if self._declared_inputs:
            self._tell_changed_inputs(writes)
        writes = tuple(
            path for path in writes if not self._is_declared_output(path) and not self._is_secret(path)
        )
        return tuple(self._output(group) for group in grouped(writes, never=self._mixed_folders()))

    def _tell_changed_inputs(self, writes: tuple[str, ...]) -> None:
        for path in frozenset(self._declared_inputs).intersection(map(os.path.realpath, writes)):
            note = (
                f"the run changed its own input `{self._shown(path)}`: what is recorded is as it was before"
            )
            self.findings.append(warning("input-overwritten", note))

    def _output(self, group: Group) -> Artifact:
        shown = self._shown(group.path)
        if group.is_single:
            path = Path(group.path)
            found = data.describe(path, shown=shown, kind="file", declared=False, reader=self._reader)
        else:
            found = data.describe_some(
                Path(group.folder), group.names, shown=shown, kind="file", reader=self._reader
            )
        self.findings += found.findings
        if found.artifact.digest is None or not f"{group.folder}/".startswith(f"{self._root}/"):
            return found.artifact
        return self._kept(found)

    def _kept(self, found: data.Found) -> Artifact:
        artifact = found.artifact
        largest = max((_size_of(path) for _, path in found.contents), default=0)
        if largest > KEEP_UP_TO or artifact.size > self._left:
            what = f"`{artifact.path}` ({words.size(artifact.size)})"
            limit = KEEP_UP_TO if largest > KEEP_UP_TO else KEEP_IN_ALL
            together = " together with others" if limit == KEEP_IN_ALL else ""
            note = (
                f"{what}, not declared and more than {words.size(limit)}{together}, is known by digest only"
            )
            self.findings.append(warning("output-not-kept", note, "declare it under `outputs` to keep it"))
            return artifact
        try:
            for its_digest, path in found.contents:
                self._store.objects.put_file(path, its_digest)
            if found.manifest is not None:
                self._store.objects.put_bytes(found.manifest)
        except (OSError, StoreError) as error:
            note = f"output `{artifact.path}` is not kept in the store: {error}"
            self.findings.append(warning("output-not-kept", note))
            return artifact
        self._left -= artifact.size
        self.kept.update(str(path)[len(self._root) + 1 :] for _, path in found.contents)
        return replace(artifact, stored=True)

    def _is_declared_output(self, path: str) -> bool:
        relative = os.path.relpath(path, self._directory)
        for output in self._declared_outputs:
            names = (os.path.normpath(output), relative) if not os.path.isabs(output) else (output, path)
            if (
                names[0] == names[1]
                or names[1].startswith(f"{names[0]}/")
                or PurePath(names[1]).match(names[0])
            ):
                return True
        return False

    # --- both

    def _is_secret(self, path: str) -> bool:
        """Whether the value of a secret parameter can be read in it, or it is what one names."""
        return any(secret in path or os.path.realpath(secret) == path for secret in self._secrets)

    def _shown(self, path: str) -> str:
        """Relative to the project where it lies in it."""
        inside = path.startswith(f"{self._directory}/")
        return path[len(self._directory) + 1 :] if inside else path

    def _mixed_folders(self) -> frozenset[str]:
        """Folders that hold more than one thing: the project's, those above, a home, places for anything."""
        found = {self._directory, self._root, "/", "/tmp", "/var/tmp", "/home", "/data", "/mnt"}  # noqa: S108
        found.update(str(folder) for folder in Path(self._directory).parents)
        if home := self._caller.variables.get("HOME"):
            found.update((home, os.path.realpath(home)))
        return frozenset(found)


_UNLIKE = {
    "overwritten": "the run itself wrote it afterwards",
    "changed": "somebody else changed it during the run",
    "gone": "it was removed during the run",
}


def _without_digest(shown: str, size: int) -> Artifact:
    return Artifact(path=shown, kind="data", digest=None, size=size, files=1, declared=False)


def _is_code(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name in _CODE_NAMES or _CODE.search(name) is not None


def _size_of(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
