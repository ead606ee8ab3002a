"""Whether a run can be repeated, and what it takes: every reason against it is found before anything runs."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import files, host, scene, source
from mlrun.errors import MlrunError
from mlrun.model import Finding, Tolerance
from mlrun.reproduction.placing import Placing, without_source
from mlrun.reproduction.values import Part, Ready, note, reason
from mlrun.store import codec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlrun.model import Caller, Environment, RunRecord, Snapshot
    from mlrun.reproduction.values import Wanted
    from mlrun.runner import Stage
    from mlrun.store import Store

_PATTERN = re.compile(r"[*?\[]")


@contextlib.contextmanager
def prepared(
    original: RunRecord, wanted: Wanted, stage: Stage, store: Store, run_id: str, part: Part
) -> Iterator[Ready]:
    """Source, environment and inputs, put together in a checkout called `run_id`, or the reasons why not."""
    ready = Ready(run_id=run_id)
    aside = stage.cache.checkouts / f"{run_id}.inputs"
    try:
        ready.reasons += _of_the_record(original, wanted, stage.caller)
        ready.notes += [*_edited(store, original), *_broken_off(original), *_nested(original)]
        desk = scene.Desk(caller=stage.caller, home=stage.home, cache=stage.cache, teller=stage.teller)
        with _told(ready):
            ready.snapshot = scene.restore_source(original, desk, run_id=run_id)
        if ready.snapshot is not None:
            placing = Placing(
                original=original,
                wanted=wanted,
                ready=ready,
                store=store,
                aside=aside,
                part=part,
                caller=stage.caller.directory,
            )
            placing.run(stage)
            with _told(ready):
                ready.tolerance = _said(original, ready.snapshot)
        elif not part.before:
            ready.reasons += without_source(original, wanted, store, stage)
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
def _told(ready: Ready) -> Iterator[None]:
    """What cannot be had is one reason among others."""
    try:
        yield
    except MlrunError as error:
        ready.reasons.append(reason(error.code, error.message, error.hint))


def _of_the_record(original: RunRecord, wanted: Wanted, caller: Caller) -> list[Finding]:
    """What the record alone says."""
    reasons = []
    if original.status == "running":
        reasons.append(reason("run-is-running", "it is still running", "wait for its end"))
    elif original.exit_code is None or original.signal:
        how = original.error.message if original.error else original.status
        reasons.append(reason("no-result", f"it came to no end of its own, so there is no result: {how}"))
    if original.source is None or original.command is None or original.environment is None:
        reasons.append(reason("incomplete-record", "its record names no source, command or environment"))
    given = dict(wanted.parameters)
    reasons += [
        reason(
            "secret-needed",
            f"the value of its parameter `{parameter.name}` is secret, and in no record",
            f"give it with `-P {parameter.name}=…`",
        )
        for parameter in original.parameters
        if parameter.secret and parameter.origin != "default" and parameter.name not in given
    ]
    reasons += [
        reason("submodule-dirty", warning)
        for warning in original.warnings
        if warning.startswith("the submodule `") and "snapshot does not hold" in warning
    ]
    here = host.describe()
    if original.host is not None and original.host.machine != here.machine:
        kinds = f"{original.host.machine}, and this is {here.machine}"
        reasons.append(reason("other-platform", f"it ran on another kind of machine: {kinds}"))
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
    return [] if unedited in (True, None) else [note("record-edited", message)]


def _broken_off(original: RunRecord) -> list[Finding]:
    """Its program came to its end, but mlrun did not: what the record lacks is no difference."""
    error = original.error
    if error is None or original.exit_code != 0:
        return []
    return [note("incomplete-record", f"its record is not complete, so more may differ: {error.message}")]


def _nested(original: RunRecord) -> list[Finding]:
    """Repositories within, of which no source holds a file: perhaps it did without them."""
    return [
        note("nested-repository", warning)
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
        reason(
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
        reason(finding.code, finding.message)
        for finding in environment.findings
        if finding.code in ("other-system", "other-platform")
    ]
    if facts.kind != "docker" and facts.python and environment.python != facts.python and not reasons:
        message = f"its Python {facts.python} is not here: there is {environment.python}"
        reasons.append(reason("interpreter-missing", message, f"`uv python install {facts.python}`"))
    return reasons


def _said(original: RunRecord, snapshot: Snapshot) -> Tolerance:
    """By how much the project says that numbers may differ."""
    from mlrun import project

    understood = project.read(snapshot.directory)
    points = [each for each in understood.entry_points if each.name == original.entry_point]
    own = points[0].tolerance if points else None
    return own or understood.tolerance or Tolerance()
