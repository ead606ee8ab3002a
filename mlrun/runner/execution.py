"""The program itself: its place, what it is given, who watches and listens, and what its last words advise.

Only those who run one import this: most of what is asked of mlrun all day is already there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import determinism, env, files, observing, process, reporting, source
from mlrun.errors import MlrunError
from mlrun.model import Job
from mlrun.runner.variables import changed, told
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlrun.files import RunPaths
    from mlrun.model import (
        Caller,
        Environment,
        Finding,
        Outcome,
        RunRecord,
        RunSpec,
        Snapshot,
    )
    from mlrun.recording import Prepared
    from mlrun.runner.values import Stage
    from mlrun.store import Store

_LAST_WORDS = 16 * 1024
"""Bytes of a failed program's output that are looked at."""


def watch(prepared: Prepared, environment: Environment, stage: Stage) -> observing.Watch:
    """Get ready to see what the program opens. Raises EnvironmentBuildError."""
    return observing.begin(prepared, environment, home=stage.home, cache=stage.cache, caller=stage.caller)


def observed(
    record: RunRecord, watch: observing.Watch, prepared: Prepared, store: Store, stage: Stage
) -> observing.Observed:
    """The record with what was seen, and what else came of it."""
    return observing.with_observed(
        record, watch, prepared, store, caller=stage.caller, cache=stage.cache, narrator=stage.teller
    )


def execute(
    record: RunRecord,
    prepared: Prepared,
    environment: Environment,
    watch: observing.Watch,
    *,
    store: Store,
    stage: Stage,
) -> Outcome:
    """The program itself, which has the terminal until it ends."""
    paths = store.home.run(record.id)
    stage.teller.fact("command", prepared.shown_command)
    stage.teller.output_begins()
    job = _job(prepared.spec, prepared.snapshot, environment, paths, caller=stage.caller, run_id=record.id)
    variables, arguments = told(environment, prepared, stage), prepared.request.docker_args
    host = None
    if reporting.is_wanted(environment, variables):
        host = env.address_of_ours(environment, stage.caller, arguments)
    steps: Mapping[str, str] = {}
    if host:
        from mlrun import standin

        steps = standin.variables(stage.cache, environment, job.variables)
    listening = reporting.listening(
        record,
        paths,
        variables=variables,
        host=host,
        directory=prepared.snapshot.directory,
        narrator=stage.teller,
    )
    with listening as settings:
        settings = {**_pinned(record, job.variables), **settings, **steps}
        settings |= observing.variables(watch, job.variables)
        umask = record.determinism.umask if record.determinism else None
        job = replace(job, variables=changed(job.variables, settings), umask=umask)
        visit = _visit(prepared, paths, stage, settings)
        try:
            outcome = process.run(
                observing.watched(watch, env.enter(environment, job, visit)),
                stdout=stage.stdout,
                stderr=stage.stderr,
                terminal=stage.terminal,
            )
        finally:
            env.leave(environment, visit)
    stage.teller.output_ends()
    return env.amended(environment, visit, outcome)


def with_reports(
    record: RunRecord,
    written: tuple[str, ...],
    prepared: Prepared,
    environment: Environment,
    store: Store,
    stage: Stage,
) -> tuple[RunRecord, tuple[Finding, ...]]:
    """The record with what the program told in its own ways, by MLflow or in files that it has `written`."""
    variables = told(environment, prepared, stage)
    record, findings = reporting.with_reported(record, environment, store, variables=variables)
    record, more = reporting.with_files(record, store, written=written, directory=prepared.snapshot.directory)
    return record, (*findings, *more)


def _pinned(record: RunRecord, given: Mapping[str, str]) -> Mapping[str, str | None]:
    """What is set so that the run can be repeated; None takes a variable away."""
    return determinism.settings(record.determinism, given) if record.determinism else {}


def advice(
    record: RunRecord, prepared: Prepared, environment: Environment, store: Store, stage: Stage
) -> tuple[Finding, ...]:
    """After a failure: what its last words say of the environment."""
    if record.status != "failed":
        return ()
    from mlrun.advice import advise

    snapshot = prepared.snapshot
    try:
        tail = files.tail(store.home.run(record.id).log, _LAST_WORDS)
        committed_at = source.committed_at(snapshot, caller=stage.caller)
    except (OSError, MlrunError):
        return ()
    packages = {package.name for package in environment.packages}
    found = advise(
        tail.decode("utf-8", "replace").replace(f"{snapshot.directory}/", ""),
        packages=packages,
        as_of=environment.as_of,
        committed_at=committed_at,
        target=record.target,
        there=lambda path: (snapshot.directory / path).exists(),
        find=lambda module: _folders_of(module, snapshot.directory),
    )
    return () if found is None else (found,)


def _folders_of(module: str, directory: Path) -> tuple[str, ...]:
    """In which folders of the project a module of its own lies."""
    found = [
        *directory.rglob(f"{module}.py"),
        *(it.parent for it in directory.rglob(f"{module}/__init__.py")),
    ]
    return tuple(sorted({str(path.parent.relative_to(directory)) for path in found}))


def _visit(
    prepared: Prepared, paths: RunPaths, stage: Stage, settings: Mapping[str, str | None]
) -> env.Visit:
    """What gets into a container: what the project declares, and what is ours; nothing of the caller's."""
    snapshot, request = prepared.snapshot, prepared.request
    ours = (("MLRUN_RUN_ID", prepared.run_id), ("MLRUN_METRICS", str(paths.metrics)))
    return env.Visit(
        run_id=prepared.run_id,
        name=prepared.name,
        tree=snapshot.tree,
        root=snapshot.root,
        directory=snapshot.directory,
        run_folder=paths.root,
        caller=stage.caller,
        cache=stage.cache,
        variables=tuple(changed(dict((*prepared.spec.variables, *ours)), settings).items()),
        resources=prepared.spec.resources,
        arguments=request.docker_args,
        paths=_inputs_elsewhere(prepared),
        build_image=request.build_image,
        skip_image_build=request.skip_image_build,
    )


def _job(
    spec: RunSpec,
    snapshot: Snapshot,
    environment: Environment,
    paths: RunPaths,
    *,
    caller: Caller,
    run_id: str,
) -> Job:
    """The child's place: the caller's variables, over them the environment's, over both the project's."""
    variables = dict(caller.variables)
    for name in ("PYTHONHOME", "__PYVENV_LAUNCHER__"):
        variables.pop(name, None)
    # Into a pipe Python holds its output back; live output, and a log that no kill cuts, are worth more.
    variables.setdefault("PYTHONUNBUFFERED", "1")
    variables.update(environment.variables)
    if environment.path:
        variables["PATH"] = os.pathsep.join((*environment.path, variables.get("PATH", os.defpath)))
    variables.update(spec.variables)
    variables["MLRUN_RUN_ID"] = run_id
    variables["MLRUN_METRICS"] = str(paths.metrics)
    return Job(
        argv=spec.argv, cwd=snapshot.directory, variables=variables, log=paths.log, timeout=spec.timeout
    )


def _inputs_elsewhere(prepared: Prepared) -> tuple[Path, ...]:
    """What goes in from outside the checkout, as absolute paths."""
    spec, snapshot = prepared.spec, prepared.snapshot
    named = [parameter.text for parameter in spec.parameters if parameter.kind == "path"]
    named += [item.path for item in spec.inputs]
    paths = dict.fromkeys(Path(os.path.normpath(snapshot.directory / text)) for text in named if text)
    return tuple(path for path in paths if snapshot.root not in (path, *path.parents) and path.exists())
