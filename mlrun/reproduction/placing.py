"""Every input where a repetition will look for it: from the source, the store, its place then, or its URL."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import data, files, references
from mlrun.errors import MlrunError, StoreError
from mlrun.pipelines.paths import overlap
from mlrun.reproduction.values import Part, Ready, note, reason
from mlrun.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlrun.model import Artifact, BoundParameter, Digest, Finding, RunRecord, Snapshot
    from mlrun.reproduction.values import Wanted
    from mlrun.runner import Stage
    from mlrun.store import Store

_PATTERN = re.compile(r"[*?\[]")


@value
class Placing:
    """Put every input where the run will look for it: from the checkout, the store, or its place."""

    original: RunRecord
    wanted: Wanted
    ready: Ready
    store: Store
    aside: Path
    part: Part
    caller: str

    def run(self, stage: Stage) -> None:
        """Whatever is not what it was becomes a reason, or a note where that is allowed."""
        reader = data.Reader(stage.cache, stage.teller)
        for parameter in self.original.parameters:
            if parameter.kind == "path" and parameter.name not in dict(self.wanted.parameters):
                self._move(parameter)
        self._lay_beside()
        overridden = self._overridden()
        for artifact in self.original.inputs:
            if artifact.parameter in dict(self.wanted.parameters) or artifact.path in overridden:
                continue
            if self._is_made_anew(artifact.path):
                self._place_some(artifact, reader)
            else:
                self._place(artifact, reader)
        self._flow()

    @property
    def _snapshot(self) -> Snapshot:
        assert self.ready.snapshot is not None
        return self.ready.snapshot

    def _overridden(self) -> frozenset[str]:
        """Paths that only the old value of a parameter named."""
        changed = dict(self.wanted.parameters)
        return frozenset(
            text
            for parameter in self.original.parameters
            if parameter.name in changed
            for text in (parameter.value, parameter.text, self._relative(parameter.text))
        )

    # --- places: as they were, and as they are now

    def _there(self) -> tuple[str, ...]:
        """The roots that the original's absolute paths may start with."""
        facts = self.original.source
        assert facts is not None
        # The steps of a pipeline have one checkout, that of the whole.
        ids = (self.original.id, *(run for kind, run in self.original.parents if kind == "pipeline"))
        return (facts.directory, *(str(self._snapshot.root.parent / each) for each in ids))

    def _relative(self, path: str) -> str:
        """To the source's root, where it lay in there; else as it is."""
        for root in self._there():
            if path.startswith(f"{root}/"):
                return path[len(root) + 1 :]
        return path

    def _now(self, path: str) -> Path:
        """Where the repetition will look for what the record calls so (relative: to the project)."""
        if not os.path.isabs(path):
            return self._snapshot.directory / path
        return self._snapshot.root / self._relative(path)  # an absolute one stays so

    def _then(self, path: str) -> Path:
        """Where it was."""
        facts = self.original.source
        assert facts is not None
        return Path(facts.directory, facts.subdirectory, path)

    def _move(self, parameter: BoundParameter) -> None:
        """A path parameter into the checkout; what a URL named was downloaded then."""
        if references.is_reference(parameter.value) and self._is_named_again(parameter.name):
            return
        now = self._now(parameter.text)
        if now == Path(os.path.normpath(self._snapshot.directory / parameter.value)):
            return
        if self._relative(parameter.text) != parameter.text:
            self.ready.paths[parameter.name] = str(self._now(parameter.text))
        elif parameter.text != parameter.value:
            self.ready.paths[parameter.name] = parameter.text

    # --- contents

    def _place(self, artifact: Artifact, reader: data.Reader) -> None:
        if artifact.digest is None:
            text = f"what its input `{artifact.path}` held is not recorded"
            self.ready.notes.append(note("no-digest", text))
            return
        if _PATTERN.search(artifact.path) and artifact.tree and not artifact.declared:
            self._place_some(artifact, reader)
            return
        if artifact.run is not None and artifact.parameter is None:
            self._place_named(artifact)
            return
        if artifact.parameter is not None and self._is_named_again(artifact.parameter):
            return
        target = self._now(artifact.path)
        if _digest(target, artifact, reader) == artifact.digest:
            return
        inside = self._snapshot.root in target.parents
        if not inside and artifact.parameter is None:
            self._refuse(artifact, target)
            return
        if not inside:
            assert artifact.parameter is not None
            target = self.aside / artifact.parameter / target.name
        had = self._fetched(artifact, target) or self._copied(artifact, target, reader)
        had = had or self._pieced(artifact, target, reader)
        if had or self._downloaded(artifact, target, reader):
            self._note_placed(target)
            if not inside and artifact.parameter is not None:
                self.ready.paths[artifact.parameter] = str(target)
            return
        self._refuse(artifact, self._then(artifact.path))

    def _place_some(self, artifact: Artifact, reader: data.Reader) -> None:
        """The files of a folder, one by one: some, of which a list is recorded, or all that no step before
        makes anew."""
        if not artifact.tree:
            return
        try:
            found = tuple(_files(artifact, self.store))
        except MlrunError:
            text = f"which files its input `{artifact.path}` were is not kept: they are taken as they are"
            self.ready.notes.append(note("no-list", text))
            return
        for path, its_digest, executable in found:
            if not self._is_made_anew(path):
                one = replace(
                    artifact, path=path, digest=its_digest, executable=executable, tree=False, files=1
                )
                self._place(one, reader)

    def _place_named(self, artifact: Artifact) -> None:
        """The output of another run goes in by its name once more, if that run and its output are kept."""
        run, name = artifact.run or "", artifact.path.rpartition("/")[2]
        with contextlib.suppress(StoreError):
            self.store.load(run)
            if self._is_kept(artifact):
                return
        message = f"its input `{name}`, which run {run[:8]} made, is not in the store any more"
        self.ready.reasons.append(reason("data-gone", message))

    def _is_named_again(self, parameter: str) -> bool:
        """Whether the output of another run, as which a parameter was given, can be had by that name."""
        found = next((it for it in self.original.inputs if it.parameter == parameter), None)
        if found is None or found.run is None or found.reference is None:
            return False
        with contextlib.suppress(StoreError):
            self.store.load(found.run)
            return self._is_kept(found)
        return False

    def _is_kept(self, artifact: Artifact) -> bool:
        """Raises StoreError."""
        objects = self.store.objects
        if artifact.digest is None or not objects.has(artifact.digest):
            return False
        return not artifact.tree or objects.has_files_of(artifact.digest)

    def _fetched(self, artifact: Artifact, target: Path) -> bool:
        """From the store."""
        assert artifact.digest is not None
        objects = self.store.objects
        if not objects.has(artifact.digest):
            return False
        try:
            if artifact.tree and not objects.has_files_of(artifact.digest):
                return False
            target.parent.mkdir(parents=True, exist_ok=True)
            if artifact.tree:
                objects.fetch_tree(artifact.digest, target, force=True)
            else:
                objects.fetch(artifact.digest, target, force=True)
                if artifact.executable:
                    files.let_run(target)
        except (MlrunError, OSError):
            return False
        return True

    def _copied(self, artifact: Artifact, target: Path, reader: data.Reader) -> bool:
        """From where it was, if it is still the same, or may be another."""
        then = self._then(artifact.path)
        try:
            if not os.path.exists(then):
                then = self._moved(artifact, reader) or then
            now = _digest(then, artifact, reader)
            if now is None or then == target:
                return False
            if now != artifact.digest:
                if not self.wanted.allow_changed_data:
                    return False
                self._note_changed(artifact)
            _copy(then, target)
        except OSError:
            return False
        return True

    def _moved(self, artifact: Artifact, reader: data.Reader) -> Path | None:
        """Where it is by now, if the project was moved and the caller stands in it."""
        facts = self.original.source
        path = self._relative(artifact.path)
        if facts is None or os.path.isabs(path):
            return None
        names = (path, f"{facts.subdirectory}/{path}") if facts.subdirectory else (path,)
        places = (top / name for top in (Path(self.caller), *Path(self.caller).parents) for name in names)
        return next((it for it in places if _digest(it, artifact, reader) == artifact.digest), None)

    def _pieced(self, artifact: Artifact, target: Path, reader: data.Reader) -> bool:
        """A folder file by file: some are of the source, others in the store, others where they were."""
        if not artifact.tree:
            return False
        try:
            for path, its_digest, executable in _files(artifact, self.store):
                one = replace(
                    artifact, path=path, digest=its_digest, executable=executable, tree=False, files=1
                )
                place = target / os.path.relpath(path, artifact.path)
                if _digest(place, one, reader) == its_digest:
                    continue
                if not (self._fetched(one, place) or self._copied(one, place, reader)):
                    return False
            return _digest(target, artifact, reader) == artifact.digest
        except (MlrunError, OSError):
            return False

    def _downloaded(self, artifact: Artifact, target: Path, reader: data.Reader) -> bool:
        """From its URL once more."""
        values = [it.value for it in self.original.parameters if it.name == artifact.parameter]
        if not values or not re.match(r"(?i)https?://", values[0]):
            return False
        try:
            fetched = data.download(values[0], self.aside / "downloads")
        except MlrunError:
            return False
        now = _digest(fetched, artifact, reader)
        if now != artifact.digest and not self.wanted.allow_changed_data:
            return False
        if now != artifact.digest:
            self._note_changed(artifact)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(fetched, target)
        return True

    def _refuse(self, artifact: Artifact, place: Path) -> None:
        there = os.path.exists(place)
        if there and self.wanted.allow_changed_data:
            self._note_changed(artifact)
            return
        message = (
            f"its input `{artifact.path}` {'has changed' if there else 'is gone'}, and the store has no copy"
        )
        hint = f"put back what had the digest {artifact.digest}"
        hint += ", or use it as it is with `--allow-changed-data`" if there else f" at {place}"
        self.ready.reasons.append(reason("data-changed" if there else "data-gone", message, hint))

    # --- from the steps before

    def _lay_beside(self) -> None:
        """What steps before it had made and it may have read; inputs, of which more is known, come after."""
        for artifact in self.part.beside:
            target = self._now(artifact.path)
            if self._snapshot.root not in target.parents or self._is_made_anew(artifact.path):
                continue
            try:
                self._bring(artifact, target)
            except (MlrunError, OSError):
                text = (
                    f"`{artifact.path}`, which a step before it had made, is not in the store: it may lack it"
                )
                self.ready.notes.append(note("output-not-kept", text))

    def _is_made_anew(self, path: str) -> bool:
        """By a step before this one, whose new outputs go in."""
        return any(overlap(os.path.normpath(path), os.path.normpath(it.path)) for it in self.part.then)

    def _flow(self) -> None:
        """What steps before this one made anew, in the place of what they had made."""
        for artifact in self.part.then:
            with contextlib.suppress(MlrunError):
                for path, _, _ in _files(artifact, self.store):
                    self._take_away(self._now(path))
        for artifact in self.part.now:
            target = self._now(artifact.path)
            if self._snapshot.root not in target.parents:
                continue  # it was written there, and is
            try:
                self._bring(artifact, target)
            except (MlrunError, OSError):
                if artifact.declared:
                    text = f"`{artifact.path}`, which a step before it made anew, is not in the store"
                    self.ready.reasons.append(reason("output-not-kept", text))

    def _take_away(self, path: Path) -> None:
        if self._snapshot.root in path.parents and os.path.lexists(path) and not path.is_dir():
            path.unlink()
            self.ready.placed.add(path.relative_to(self._snapshot.root).as_posix())

    def _bring(self, artifact: Artifact, target: Path) -> None:
        """Raises StoreError, OSError."""
        assert artifact.digest is not None
        objects = self.store.objects
        if artifact.tree and not _PATTERN.search(artifact.path):
            target.parent.mkdir(parents=True, exist_ok=True)
            objects.fetch_tree(artifact.digest, target, force=True)
            self._note_placed(target)
            return
        for path, its_digest, executable in _files(artifact, self.store):
            place = self._now(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            objects.fetch(its_digest, place, force=True)
            if executable:
                files.let_run(place)
            self._note_placed(place)

    def _note_changed(self, artifact: Artifact) -> None:
        text = f"its input `{artifact.path}` has changed, and is used as it is now"
        self.ready.notes.append(note("data-changed", text))

    def _note_placed(self, target: Path) -> None:
        root = self._snapshot.root
        if root not in target.parents:
            return
        found = [target] if target.is_file() else [path for path in target.rglob("*") if path.is_file()]
        self.ready.placed |= {path.relative_to(root).as_posix() for path in found}


def without_source(original: RunRecord, wanted: Wanted, store: Store, stage: Stage) -> Iterator[Finding]:
    """Reasons besides a source that cannot be had: inputs that could come with nothing else."""
    facts, reader = original.source, data.Reader(stage.cache, stage.teller)
    given = dict(wanted.parameters)
    if facts is None or facts.kind == "git":  # nothing lay in its checkout but what the commit holds
        return
    for artifact in original.inputs:
        if artifact.digest is None or artifact.run or artifact.parameter in given:
            continue
        if store.objects.has(artifact.digest) and (artifact.stored or not artifact.tree):
            continue
        place = Path(facts.directory, facts.subdirectory, artifact.path)
        if _PATTERN.search(artifact.path) or _digest(place, artifact, reader) == artifact.digest:
            continue
        state = "has changed" if os.path.exists(place) else "is gone"
        yield reason(
            "data-changed" if os.path.exists(place) else "data-gone",
            f"its input `{artifact.path}` {state}, and the store has no copy: only the source may hold it",
            f"put back what had the digest {artifact.digest}",
        )


def _files(artifact: Artifact, store: Store) -> Iterator[tuple[str, Digest, bool]]:
    """The files of an input or output, with their digests, and whether each may be run.

    Raises StoreError where its list is not kept.
    """
    if artifact.digest is None:
        return
    if not artifact.tree:
        yield artifact.path, artifact.digest, artifact.executable
        return
    pattern = _PATTERN.search(artifact.path)
    folder = artifact.path[: pattern.start()].rpartition("/")[0] if pattern else artifact.path
    for entry in store.objects.entries(artifact.digest):
        if entry.digest is not None:
            path = f"{folder}/{entry.path}" if folder else entry.path
            yield path, entry.digest, entry.executable


def _digest(path: Path, artifact: Artifact, reader: data.Reader) -> str | None:
    if not os.path.exists(path):
        return None
    found = data.describe(
        path, shown=artifact.path, kind=artifact.kind, declared=True, reader=reader, contents=False
    )
    return found.artifact.digest


def _copy(source_path: Path, target: Path) -> None:
    """A file or folder, sharing extents where the file system can; what was there is replaced."""
    if source_path.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for child in source_path.iterdir():
            _copy_one(child, target / child.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    _copy_one(source_path, target)


def _copy_one(source_path: Path, target: Path) -> None:
    if source_path.is_symlink():
        with contextlib.suppress(FileNotFoundError):
            target.unlink()
        target.symlink_to(os.readlink(source_path))
    elif source_path.is_dir():
        _copy(source_path, target)
    else:
        with contextlib.suppress(FileNotFoundError):
            target.unlink()
        files.copy_file(source_path, target)
