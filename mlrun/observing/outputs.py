"""What a program wrote, as outputs of the record; what lies in the project goes into the store."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from mlrun import data
from mlrun.errors import StoreError
from mlrun.observe.grouping import by_folder, grouped
from mlrun.observing.values import warning
from mlrun.pattern import pattern
from mlrun.value import replace
from mlrun.views import words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlrun.model import Artifact, Finding, RunRecord
    from mlrun.observe.grouping import Group
    from mlrun.observing.surroundings import Surroundings
    from mlrun.recording import Prepared
    from mlrun.store import Store

_PLACEHOLDER = pattern(r"\{[^{}]*\}")
KEEP_UP_TO = 100 * 1024 * 1024
"""Bytes: an observed output that is larger is recorded by its digest only."""
KEEP_IN_ALL = 1024 * 1024 * 1024
"""Bytes of observed outputs that one run puts into the store."""


class Outputs:
    """What was written into artifacts; what was declared is there already.

    `findings` are worth telling; `kept` are the files of the checkout that are in the store now, relative to
    its root.
    """

    def __init__(
        self,
        record: RunRecord,
        prepared: Prepared,
        around: Surroundings,
        store: Store,
        reader: data.Reader,
    ) -> None:
        self.findings: list[Finding] = []
        self.kept: set[str] = set()
        self._store = store
        self._reader = reader
        self._around = around
        self._inputs = tuple(
            os.path.realpath(around.snapshot.directory / item.path) for item in record.inputs if item.declared
        )
        self._outputs = tuple(item.path for item in prepared.spec.outputs)
        self._left = KEEP_IN_ALL

    def of(self, writes: tuple[str, ...]) -> tuple[Artifact, ...]:
        if self._inputs:
            self._tell_changed_inputs(writes)
        writes = tuple(
            path for path in writes if not self._is_declared(path) and not self._around.is_secret(path)
        )
        return tuple(
            self._output(group) for group in grouped(by_folder(writes), never=self._around.mixed_folders())
        )

    def _tell_changed_inputs(self, writes: tuple[str, ...]) -> None:
        for path in frozenset(self._inputs).intersection(map(os.path.realpath, writes)):
            shown = self._around.shown(path)
            note = f"the run changed its own input `{shown}`: what is recorded is as it was before"
            self.findings.append(warning("input-overwritten", note))

    def _output(self, group: Group) -> Artifact:
        shown = self._around.shown(group.path)
        if group.is_single:
            path = Path(group.path)
            found = data.describe(path, shown=shown, kind="file", declared=False, reader=self._reader)
        else:
            found = data.describe_some(
                Path(group.folder), group.names, shown=shown, kind="file", reader=self._reader
            )
        self.findings += found.findings
        if found.artifact.digest is None or not f"{group.folder}/".startswith(f"{self._around.root}/"):
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
        self.kept.update(str(path)[len(self._around.root) + 1 :] for _, path in found.contents)
        return replace(artifact, stored=True)

    def _is_declared(self, path: str) -> bool:
        return _is_among(path, self._outputs, os.fspath(self._around.directory))


def is_of_another_step(path: str, prepared: Prepared) -> bool:
    """Whether a file is an output of another entry point, and none of this one's."""
    directory = os.fspath(prepared.snapshot.directory)
    if _is_among(path, (it.path for it in prepared.spec.outputs), directory):
        return False
    others = (each for each in prepared.project.entry_points if each.name != prepared.spec.entry_point)
    outputs = (_PLACEHOLDER.sub("*", it.path) for each in others for it in each.outputs)
    return _is_among(path, (it for it in outputs if it.strip("*/.")), directory)


def _is_among(path: str, outputs: Iterable[str], directory: str) -> bool:
    """Whether a path is one of those that are declared, relative to a directory or not, or lies in one."""
    relative = os.path.relpath(path, directory)
    for output in outputs:
        names = (os.path.normpath(output), relative) if not os.path.isabs(output) else (output, path)
        if names[0] == names[1] or names[1].startswith(f"{names[0]}/") or PurePath(names[1]).match(names[0]):
            return True
    return False


def _size_of(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
