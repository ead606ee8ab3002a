"""A past run, repeated: put together again from what its record names, run in a clean place, and compared.

    may it be repeated? every reason why not → its source, environment, inputs → run → output by output

Nothing is asked anew that the record answers: the environment comes from its lock, inputs by digest.
Nothing of the original is touched; a repetition is a run of its own, with `parents.reproduces`.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlrun import data, difference, files, host, judgement, runner, scene, source
from mlrun.errors import MlrunError, ParameterError, StoreError, UsageError
from mlrun.model import Caller, Finding, RunRequest, Tolerance
from mlrun.recording import Past
from mlrun.store import Store, codec
from mlrun.store.names import new_id
from mlrun.value import draft, field, replace, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlrun.difference import Cause
    from mlrun.judgement import Item
    from mlrun.model import Artifact, BoundParameter, Environment, RunRecord, Snapshot
    from mlrun.runner import Stage

Verdict = Literal["identical", "equal", "close", "different", "unknown", "impossible"]

_OBSERVED = {"shim": "shim", "strace": "strace", "python-only": "python", "off": "off"}
_MANAGERS = {"system": "system", "conda": "conda"}
_PATTERN = re.compile(r"[*?\[]")
_TIMED_OUT = 124


@value
class Wanted:
    """What is asked: a run, what is to be otherwise, and how good is good enough (None: as the project says).

    `secrets` and other parameters are (name, text) pairs, as given by `-P`.
    """

    run: str
    parameters: tuple[tuple[str, str], ...] = ()
    rtol: float | None = None
    atol: float | None = None
    runs: int = 1
    allow_changed_data: bool = False
    allow_overwrite: bool = False
    name: str | None = None


@value
class Repetition:
    """One repetition: its record, and how it compares with the original; `causes` are what may explain it."""

    record: RunRecord
    items: tuple[Item, ...] = ()
    causes: tuple[Cause, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """How it compares as a whole."""
        return judgement.verdict_of(self.items)


@value
class Reproduction:
    """What came of it. `reasons` are why the run cannot be repeated: then nothing was run.

    `changed` are the parameters that were to be otherwise; `spread` is how the repetitions differ among
    themselves, where there are several; `notes` are what was different from the start.
    """

    original: RunRecord
    reasons: tuple[Finding, ...] = ()
    repetitions: tuple[Repetition, ...] = ()
    spread: tuple[Item, ...] = ()
    changed: tuple[str, ...] = ()
    notes: tuple[Finding, ...] = ()
    tolerance: Tolerance = field(default_factory=Tolerance)

    @property
    def verdict(self) -> Verdict:
        """The worst of all repetitions."""
        if self.reasons:
            return "impossible"
        found = [repetition.verdict for repetition in self.repetitions]
        order: tuple[Verdict, ...] = ("identical", "equal", "close", "unknown", "different")
        return max(found, key=order.index, default="unknown")

    @property
    def among_themselves(self) -> Verdict:
        """How several repetitions compare with each other."""
        return judgement.verdict_of(self.spread)


@value
class Reproductions:
    """A pipeline whose steps were repeated one by one, each from what the steps before it made then.

    Where one of them cannot be repeated nothing is run, and `steps` are those that cannot.
    """

    original: RunRecord
    steps: tuple[Reproduction, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of all steps."""
        order: tuple[Verdict, ...] = ("identical", "equal", "close", "unknown", "impossible", "different")
        return max((step.verdict for step in self.steps), key=order.index, default="unknown")


def reproduce(wanted: Wanted, stage: Stage) -> Reproduction | Reproductions:
    """Repeat a run and compare. Raises MlrunError where mlrun itself cannot do its part."""
    stage.home.prepare()
    stage.cache.prepare()
    store = Store(stage.home, stage.teller)
    original = store.load(store.find(wanted.run))
    if not original.steps:
        return _reproduce(original, wanted, stage, store)
    there = set(store.ids())
    named = [(step.name, store.load(step.run)) for step in original.steps if step.run in there]
    _check_given(wanted, original, named)
    steps = [(step, _of_step(wanted, name, step)) for name, step in named]
    # All are looked at before the first is run: a step that cannot be repeated may come after hours.
    hindered = [_looked_at(step, own, stage, store) for step, own in steps]
    found, repeated = tuple(each for each in hindered if each.reasons), list[Reproduction]()
    for step, own in steps if not found else ():
        repeated.append(_reproduce(step, own, stage, store))
        if any(_was_interrupted(each.record) for each in repeated[-1].repetitions):
            break
    return Reproductions(original=original, steps=found or tuple(repeated))


def _was_interrupted(record: RunRecord) -> bool:
    """By somebody who meant us as well, and not by a time limit of its own."""
    return record.signal in ("SIGINT", "SIGTERM", "SIGHUP") and record.exit_code != _TIMED_OUT


def _check_given(wanted: Wanted, original: RunRecord, steps: list[tuple[str, RunRecord]]) -> None:
    """Steps are repeated from what was made then, so that what is given can only be what no record holds."""
    known = {text for step, record in steps for name in _secrets(record) for text in (name, f"{step}.{name}")}
    others = [name for name, _ in wanted.parameters if name not in known]
    if not others and not wanted.name:
        return
    meant = [step for step, record in steps if others and others[0] in {it.name for it in record.parameters}]
    raise UsageError(
        f"`{original.name}` is a pipeline: `-P` and `--name` are for one of its steps"
        + (", but for secret parameters" if others and known else ""),
        hint=f"`mlrun reproduce {original.name}/{meant[0] if meant else original.steps[-1].name}`",
    )


def _of_step(wanted: Wanted, name: str, step: RunRecord) -> Wanted:
    given = dict(wanted.parameters)
    own = [(it, given.get(f"{name}.{it}", given.get(it))) for it in _secrets(step)]
    return replace(wanted, run=step.id, parameters=tuple((it, text) for it, text in own if text is not None))


def _secrets(record: RunRecord) -> tuple[str, ...]:
    return tuple(it.name for it in record.parameters if it.secret)


def _looked_at(original: RunRecord, wanted: Wanted, stage: Stage, store: Store) -> Reproduction:
    """Whether it could be repeated: nothing is run."""
    with _prepared(original, wanted, stage, store, new_id()) as ready:
        reasons = tuple(ready.reasons)
    if ready.snapshot is not None and not reasons and ready.environment is not None:
        source.release(ready.snapshot, cache=stage.cache)
    return Reproduction(original=original, reasons=reasons)


def _reproduce(original: RunRecord, wanted: Wanted, stage: Stage, store: Store) -> Reproduction:
    _check_parameters(wanted, original)
    changed = _changed(wanted, original)
    found = Reproduction(original=original, changed=changed)
    for _ in range(wanted.runs):
        run_id = new_id()
        with _prepared(original, wanted, stage, store, run_id) as ready:
            if ready.reasons or ready.environment is None or ready.snapshot is None:
                return replace(found, reasons=tuple(ready.reasons))
            record = _run(ready, original, wanted, stage)
        tolerance = _tolerance(wanted, ready)
        checkouts = stage.cache.checkouts
        items = judgement.judge(original, record, store=store, tolerance=tolerance, checkouts=checkouts)
        causes = _causes(original, record, store, stage) if judgement.verdict_of(items) != "identical" else ()
        repetition = Repetition(record=record, items=items, causes=causes)
        found = replace(
            found,
            repetitions=(*found.repetitions, repetition),
            notes=tuple(ready.notes),
            tolerance=tolerance,
        )
        if record.status == "killed":  # Ctrl-C is meant for us as well
            break
    records = tuple(each.record for each in found.repetitions if each.record.status != "killed")
    spread = judgement.spread(
        records, store=store, tolerance=found.tolerance, checkouts=stage.cache.checkouts
    )
    return replace(found, spread=spread)


def _run(ready: _Ready, original: RunRecord, wanted: Wanted, stage: Stage) -> RunRecord:
    assert ready.environment is not None
    assert ready.snapshot is not None
    past = Past(
        run_id=original.id,
        environment=ready.environment,
        determinism=original.determinism,
        named=tuple((it.run, it.path) for it in original.inputs if it.run is not None),
    )
    declared = {name: text for name, text in original.env_vars if text is not None}
    variables = {**stage.caller.variables, **declared}
    # Paths that were given relative to the project then are looked for in the checkout now.
    caller = Caller(directory=str(ready.snapshot.directory), variables=variables)
    return runner.run_again(
        past,
        _request(ready, original, wanted, stage),
        ready.snapshot,
        replace(stage, caller=caller),
        run_id=ready.run_id,
        placed=frozenset(ready.placed),
    )


def _causes(original: RunRecord, record: RunRecord, store: Store, stage: Stage) -> tuple[Cause, ...]:
    """What went in otherwise. A parameter that the program logged came out of it, as a metric does."""
    went_in = [
        replace(each, parameters=tuple(it for it in each.parameters if it.origin != "logged"))
        for each in (original, record)
    ]
    found = difference.difference(*went_in, store=store, cache=stage.cache, caller=stage.caller)
    same_command = _without_place(original, stage) == _without_place(record, stage)
    return tuple(cause for cause in found.causes if cause.kind != "command" or not same_command)


def _without_place(record: RunRecord, stage: Stage) -> str:
    """The command without the folder that it ran in."""
    text = record.command.text if record.command else ""
    text = text.replace(str(stage.cache.checkouts / record.id), ".")
    return text.replace(record.source.directory, ".") if record.source else text


def _tolerance(wanted: Wanted, ready: _Ready) -> Tolerance:
    said = ready.tolerance
    return Tolerance(
        rtol=said.rtol if wanted.rtol is None else wanted.rtol,
        atol=said.atol if wanted.atol is None else wanted.atol,
    )


# --- what is asked ------------------------------------------------------------------------------------


def _check_parameters(wanted: Wanted, original: RunRecord) -> None:
    known = [parameter.name for parameter in original.parameters if parameter.origin != "logged"]
    for name, _ in wanted.parameters:
        if name not in known:
            raise ParameterError(
                f"the run has no parameter `{name}`: there are {', '.join(known) or 'none'}",
                code="no-such-parameter",
            )
    if wanted.runs < 1:
        raise UsageError("`--runs` must be one or more")


def _changed(wanted: Wanted, original: RunRecord) -> tuple[str, ...]:
    was = {parameter.name: parameter for parameter in original.parameters}
    return tuple(name for name, text in wanted.parameters if not was[name].secret and was[name].value != text)


def _as_given(parameter: BoundParameter, text: str, ready: _Ready, stage: Stage) -> str:
    """A path that the source does not hold is one from where the caller stands."""
    assert ready.snapshot is not None
    here = os.path.join(stage.caller.directory, text)
    if parameter.kind != "path" or (ready.snapshot.directory / text).exists() or not os.path.exists(here):
        return text
    return os.path.abspath(here)


def _request(ready: _Ready, original: RunRecord, wanted: Wanted, stage: Stage) -> RunRequest:
    """The request of the original, with paths as they are now."""
    given = dict(wanted.parameters)
    by_hand: list[tuple[str, str]] = []
    by_file: list[tuple[str, str]] = []
    for parameter in original.parameters:
        if parameter.origin == "logged":
            continue
        if parameter.name in given:
            by_hand.append((parameter.name, _as_given(parameter, given[parameter.name], ready, stage)))
            continue
        text = ready.paths.get(parameter.name)
        if text is None and parameter.origin == "default":
            continue
        pairs = by_file if parameter.origin == "params file" else by_hand
        pairs.append((parameter.name, parameter.value if text is None else text))
    assert original.environment is not None
    return RunRequest(
        target=original.target,
        entry_point=original.entry_point,
        parameters=tuple(by_hand),
        file_parameters=tuple(by_file),
        env_manager=_MANAGERS.get(original.environment.kind),
        name=wanted.name,
        tags=original.tags,
        observe=_OBSERVED.get(original.observed or "", "auto"),
    )


# --- whether it can be, and what it takes -------------------------------------------------------------


@draft
class _Ready:
    """What a repetition needs, as far as it could be had; `reasons` say what could not.

    `paths` are the new places of path parameters, `placed` the files put into the checkout, relative to it.
    """

    run_id: str
    snapshot: Snapshot | None = None
    environment: Environment | None = None
    tolerance: Tolerance = field(default_factory=Tolerance)
    paths: dict[str, str] = field(default_factory=dict)
    placed: set[str] = field(default_factory=set)
    reasons: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)


def _reason(code: str, message: str, hint: str | None = None) -> Finding:
    return Finding(level="error", code=code, message=message, hint=hint)


@contextlib.contextmanager
def _prepared(
    original: RunRecord, wanted: Wanted, stage: Stage, store: Store, run_id: str
) -> Iterator[_Ready]:
    ready = _Ready(run_id=run_id)
    aside = stage.cache.checkouts / f"{run_id}.inputs"
    try:
        ready.reasons += _of_the_record(original, wanted, stage.caller)
        ready.notes += [*_edited(store, original), *_nested(original)]
        desk = scene.Desk(caller=stage.caller, home=stage.home, cache=stage.cache, teller=stage.teller)
        with _told(ready):
            ready.snapshot = scene.restore_source(original, desk, run_id=run_id)
        if ready.snapshot is not None:
            placing = _Placing(original=original, wanted=wanted, ready=ready, store=store, aside=aside)
            placing.run(stage)
            with _told(ready):
                ready.tolerance = _said(original, ready.snapshot)
        if original.environment is not None:
            folder = ready.snapshot.directory if ready.snapshot else Path(stage.caller.directory)
            with _told(ready):
                ready.environment = scene.restore_environment(original, desk, directory=folder)
                ready.reasons += _of_the_environment(original, ready.environment)
        yield ready
    finally:
        if ready.snapshot is not None and (ready.reasons or ready.environment is None):
            source.release(ready.snapshot, cache=stage.cache)
        if aside.exists():
            files.remove_tree(aside, trash=stage.cache.trash)


@contextlib.contextmanager
def _told(ready: _Ready) -> Iterator[None]:
    """What cannot be had is one reason among others."""
    try:
        yield
    except MlrunError as error:
        ready.reasons.append(_reason(error.code, error.message, error.hint))


def _of_the_record(original: RunRecord, wanted: Wanted, caller: Caller) -> list[Finding]:
    """What the record alone says."""
    reasons = []
    if original.status == "running":
        reasons.append(_reason("run-is-running", "it is still running", "wait for its end"))
    elif original.exit_code is None or original.signal:
        how = original.error.message if original.error else original.status
        reasons.append(_reason("no-result", f"it came to no end of its own, so there is no result: {how}"))
    if original.source is None or original.command is None or original.environment is None:
        reasons.append(_reason("incomplete-record", "its record names no source, command or environment"))
    given = dict(wanted.parameters)
    reasons += [
        _reason(
            "secret-needed",
            f"the value of its parameter `{parameter.name}` is secret, and in no record",
            f"give it with `-P {parameter.name}=…`",
        )
        for parameter in original.parameters
        if parameter.secret and parameter.origin != "default" and parameter.name not in given
    ]
    reasons += [
        _reason("submodule-dirty", warning)
        for warning in original.warnings
        if warning.startswith("the submodule `") and "snapshot does not hold" in warning
    ]
    here = host.describe()
    if original.host is not None and original.host.machine != here.machine:
        kinds = f"{original.host.machine}, and this is {here.machine}"
        reasons.append(_reason("other-platform", f"it ran on another kind of machine: {kinds}"))
    if not wanted.allow_overwrite:
        reasons += _would_overwrite(original, temporary=caller.variables.get("TMPDIR") or "/tmp")  # noqa: S108
    return reasons


def _edited(store: Store, original: RunRecord) -> list[Finding]:
    """What is repeated is what the record says, be it true or not."""
    try:
        unedited = codec.is_unedited(store.home.run(original.id).record.read_bytes())
    except (OSError, ValueError):
        return []
    message = "its record was changed since mlrun wrote it, and is taken as it is now"
    return (
        [] if unedited in (True, None) else [Finding(level="warning", code="record-edited", message=message)]
    )


def _nested(original: RunRecord) -> list[Finding]:
    """Repositories within, of which no source holds a file: perhaps it did without them."""
    return [
        Finding(level="warning", code="nested-repository", message=warning)
        for warning in original.warnings
        if warning.endswith("is a git repository of its own: the snapshot does not hold its files")
    ]


def _would_overwrite(original: RunRecord, *, temporary: str) -> list[Finding]:
    """What nobody declares to be an output and lies among temporary files may go, as these do."""
    facts = original.source
    inside = (facts.directory, f"/{original.id}/") if facts else ()
    outside = [
        output.path
        for output in original.outputs
        if os.path.isabs(output.path)
        and not any(place in output.path for place in inside)
        and (output.declared or not output.path.startswith(f"{temporary.rstrip('/')}/"))
        and os.path.lexists(_PATTERN.split(output.path)[0])
    ]
    return [
        _reason(
            "writes-outside",
            f"it writes outside its own folder, and what is there would be overwritten: {path}",
            "`--allow-overwrite` if that does no harm",
        )
        for path in outside
    ]


def _of_the_environment(original: RunRecord, environment: Environment) -> list[Finding]:
    facts = original.environment
    assert facts is not None
    reasons = [
        _reason(finding.code, finding.message)
        for finding in environment.findings
        if finding.code in ("other-system", "other-platform")
    ]
    if facts.kind != "docker" and facts.python and environment.python != facts.python and not reasons:
        message = f"its Python {facts.python} is not here: there is {environment.python}"
        reasons.append(_reason("interpreter-missing", message, f"`uv python install {facts.python}`"))
    return reasons


def _said(original: RunRecord, snapshot: Snapshot) -> Tolerance:
    """By how much the project says that numbers may differ."""
    from mlrun import project

    understood = project.read(snapshot.directory)
    points = [each for each in understood.entry_points if each.name == original.entry_point]
    own = points[0].tolerance if points else None
    return own or understood.tolerance or Tolerance()


# --- the inputs ---------------------------------------------------------------------------------------


@value
class _Placing:
    """Put every input where the run will look for it: from the checkout, the store, or its place."""

    original: RunRecord
    wanted: Wanted
    ready: _Ready
    store: Store
    aside: Path

    def run(self, stage: Stage) -> None:
        """Whatever is not what it was becomes a reason, or a note where that is allowed."""
        reader = data.Reader(stage.cache, stage.teller)
        for parameter in self.original.parameters:
            if parameter.kind == "path" and parameter.name not in dict(self.wanted.parameters):
                self._move(parameter)
        overridden = self._overridden()
        for artifact in self.original.inputs:
            if artifact.parameter in dict(self.wanted.parameters) or artifact.path in overridden:
                continue
            self._place(artifact, reader)

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
        checkout = self._snapshot.root.parent / self.original.id
        return (facts.directory, str(checkout))

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
            note = f"what its input `{artifact.path}` held is not recorded"
            self.ready.notes.append(Finding(level="warning", code="no-digest", message=note))
            return
        if _PATTERN.search(artifact.path) and artifact.tree and not artifact.declared:
            self._place_some(artifact, reader)
            return
        if artifact.run is not None and artifact.parameter is None:
            self._place_named(artifact)
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
        if had or self._downloaded(artifact, target, reader):
            self._note_placed(target)
            if not inside and artifact.parameter is not None:
                self.ready.paths[artifact.parameter] = str(target)
            return
        self._refuse(artifact, self._then(artifact.path))

    def _place_some(self, artifact: Artifact, reader: data.Reader) -> None:
        """Some files of a folder, of which only a list is recorded."""
        assert artifact.digest is not None
        folder = _PATTERN.split(artifact.path)[0].rpartition("/")[0]
        try:
            entries = self.store.objects.entries(artifact.digest)
        except MlrunError:
            note = f"which files its input `{artifact.path}` were is not kept: they are taken as they are"
            self.ready.notes.append(Finding(level="warning", code="no-list", message=note))
            return
        for entry in entries:
            if entry.digest is not None:
                path = f"{folder}/{entry.path}" if folder else entry.path
                self._place(replace(artifact, path=path, digest=entry.digest, tree=False, files=1), reader)

    def _place_named(self, artifact: Artifact) -> None:
        """The output of another run goes in by its name once more, if that run and its output are kept."""
        run, name = artifact.run or "", artifact.path.rpartition("/")[2]
        with contextlib.suppress(StoreError):
            self.store.load(run)
            if self._is_kept(artifact):
                return
        message = f"its input `{name}`, which run {run[:8]} made, is not in the store any more"
        self.ready.reasons.append(_reason("data-gone", message))

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
        except (MlrunError, OSError):
            return False
        return True

    def _copied(self, artifact: Artifact, target: Path, reader: data.Reader) -> bool:
        """From where it was, if it is still the same, or may be another."""
        then = self._then(artifact.path)
        try:
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
        self.ready.reasons.append(_reason("data-changed" if there else "data-gone", message, hint))

    def _note_changed(self, artifact: Artifact) -> None:
        note = f"its input `{artifact.path}` has changed, and is used as it is now"
        self.ready.notes.append(Finding(level="warning", code="data-changed", message=note))

    def _note_placed(self, target: Path) -> None:
        root = self._snapshot.root
        if root not in target.parents:
            return
        found = [target] if target.is_file() else [path for path in target.rglob("*") if path.is_file()]
        self.ready.placed |= {path.relative_to(root).as_posix() for path in found}


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
