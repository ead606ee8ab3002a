"""From the values of a run to its record: opened before the program starts, closed after it has ended.

What no commit and no registry holds (the patch, untracked files, the lock, the outputs) goes into the
object store on the way.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from mlrun import __version__, data, digest, host, source
from mlrun.errors import MlrunError, ParameterError, StoreError
from mlrun.model import (
    CommandFacts,
    EnvironmentFacts,
    Failure,
    Finding,
    RunRecord,
    SourceFacts,
    StoredFile,
)
from mlrun.pattern import pattern
from mlrun.value import replace, value
from mlrun.views.words import size

if TYPE_CHECKING:
    from collections.abc import Collection

    from mlrun.data import Found
    from mlrun.env import Asked
    from mlrun.files import Cache, RunPaths
    from mlrun.model import (
        Artifact,
        BoundParameter,
        Caller,
        DataSpec,
        Determinism,
        Environment,
        Metric,
        Outcome,
        Project,
        RunRequest,
        RunSpec,
        Snapshot,
        Status,
    )
    from mlrun.store import Store

KEEP_UNTRACKED_UP_TO = 100 * 1024 * 1024
"""Bytes: an untracked file of the source that is larger is recorded by its digest only."""

Stamps = dict[str, tuple[int, int, int]]
"""What tells whether a declared output was written: inode, size, time of change (ns), by path."""

_SECRET_NAME = pattern(r"(?i)token|secret|passw|api_?key|access_?key|private|credential|auth")
_ENDED_FROM_OUTSIDE = frozenset({"SIGINT", "SIGTERM", "SIGKILL", "SIGHUP", "SIGQUIT"})


@value
class Past:
    """What a repetition takes from the run that it repeats, rather than asking anew.

    `environment` is that of the run, found or built again from its lock; `determinism` what it had set;
    `named` are the inputs that it had by the name of a run: that run's id, and where it lay. `pipeline` is
    the repetition that this one is a step of.
    """

    run_id: str
    environment: Environment
    determinism: Determinism | None = None
    named: tuple[tuple[str, str], ...] = ()
    pipeline: str | None = None


@value
class Prepared:
    """All that is known before anything is built or run; `pipeline` is the run that this is a step of."""

    run_id: str
    request: RunRequest
    snapshot: Snapshot
    project: Project
    spec: RunSpec
    asked: Asked
    past: Past | None = None
    pipeline: str | None = None

    @property
    def name(self) -> str:
        """What the project is called: by its file, else by its folder, or the repository of a git URL."""
        snapshot = self.snapshot
        if self.project.name:
            return self.project.name
        if snapshot.kind == "git" and snapshot.url and not snapshot.subdirectory:
            return snapshot.url.rstrip("/").rpartition("/")[2].removesuffix(".git")
        return (snapshot.directory if snapshot.subdirectory else snapshot.origin or snapshot.root).name

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the rooms noticed on the way here."""
        return (*self.snapshot.findings, *self.project.findings, *self.spec.findings, *self.asked.findings)

    @property
    def shown_command(self) -> str:
        """The command as it may be recorded or shown: neither secret values nor credentials of URLs."""
        return source.without_credentials(self.spec.shown_command)

    @property
    def shown_parameters(self) -> tuple[BoundParameter, ...]:
        """The parameters without the credentials of URLs; the values of secret ones are still there."""
        return tuple(
            replace(
                parameter,
                value=source.without_credentials(parameter.value),
                text=source.without_credentials(parameter.text),
            )
            for parameter in self.spec.parameters
        )


# --- opening ------------------------------------------------------------------------------------------


def open_record(
    prepared: Prepared, *, name: str, caller: Caller, store: Store, like: RunRecord | None = None
) -> RunRecord:
    """The record as far as it is known before the environment is built: status `running`.

    `like` is one that was opened just now for the same source by the same caller, with the same variables.
    """
    request, snapshot, spec = prepared.request, prepared.snapshot, prepared.spec
    whole = prepared.past.pipeline if prepared.past else prepared.pipeline
    parent = whole or caller.variables.get("MLRUN_RUN_ID")
    ci = like.ci if like else host.ci(caller.variables)
    parents = (("pipeline", parent),) if parent else ()
    if prepared.past is not None:
        parents = (*parents, ("reproduces", prepared.past.run_id))
    return RunRecord(
        id=prepared.run_id,
        name=request.name or name,
        status="running",
        project=prepared.name,
        target=source.without_credentials(request.target),
        entry_point=spec.entry_point,
        started_at=utc(time.time()),
        mlrun_version=__version__,
        tags=request.tags,
        user=like.user if like else host.user(caller.variables),
        source=like.source if like else _remember_source(snapshot, store),
        command=CommandFacts(
            text=prepared.shown_command,
            argv=(*spec.argv[:-1], prepared.shown_command),
            cwd=snapshot.subdirectory or ".",
        ),
        parameters=prepared.shown_parameters,
        environment=EnvironmentFacts(kind=prepared.asked.kind, asked=prepared.asked.summary),
        env_vars=like.env_vars if like else _variables_to_record(spec, prepared.asked, caller),
        host=like.host if like else host.describe(),
        ci=ci,
        trigger="pipeline" if whole else "run" if parent else "ci" if ci else "cli",
        parents=parents,
        warnings=tuple(finding.message for finding in prepared.findings),
    )


def _remember_source(snapshot: Snapshot, store: Store) -> SourceFacts:
    untracked = (_keep(snapshot.root, path, store) for path in snapshot.untracked)
    return SourceFacts(
        kind=snapshot.kind,
        tree=snapshot.tree,
        directory=str(snapshot.origin or snapshot.root),
        subdirectory=snapshot.subdirectory,
        url=snapshot.url,
        version=snapshot.version,
        commit=snapshot.commit,
        branch=snapshot.branch,
        dirty=snapshot.dirty,
        patch=store.objects.put_bytes(snapshot.patch) if snapshot.patch else None,
        untracked=tuple(file for file in untracked if file is not None),
    )


def _keep(root: Path, path: str, store: Store) -> StoredFile | None:
    """Keep a file that no commit holds; None if it has gone meanwhile, or is a folder."""
    full = root / path
    try:
        status = os.lstat(full)
        if full.is_symlink():
            link = os.fsencode(os.readlink(full))
            return StoredFile(path=path, mode="120000", digest=store.objects.put_bytes(link), size=len(link))
        if full.is_dir():
            return None
        its_digest = digest.of_file(full)
        small = status.st_size <= KEEP_UNTRACKED_UP_TO
        if small:
            store.objects.put_file(full, its_digest)
    except (OSError, StoreError) as error:
        if isinstance(error, StoreError) and error.code != "changed-file":
            raise
        return None
    mode = "100755" if status.st_mode & 0o111 else "100644"
    return StoredFile(path=path, mode=mode, digest=its_digest, size=status.st_size, stored=small)


def _variables_to_record(spec: RunSpec, asked: Asked, caller: Caller) -> tuple[tuple[str, str | None], ...]:
    """The names of all variables the program gets; values only of declared ones that hold no secret.

    A container gets none of the caller's but those that the project names.
    """
    secrets = [parameter.text for parameter in spec.parameters if parameter.secret and parameter.text]
    of_container = asked.container.variables if asked.container else ()
    inherited = caller.variables if asked.kind != "docker" else dict(of_container)
    declared: dict[str, str | None] = {}
    for name, text in (*of_container, *spec.variables):
        if text is None:
            continue
        hidden = _SECRET_NAME.search(name) or any(secret in text for secret in secrets)
        declared[name] = None if hidden else source.without_credentials(text)
    return tuple((name, declared.get(name)) for name in sorted({*inherited, *declared}))


# --- between ------------------------------------------------------------------------------------------


def with_environment(record: RunRecord, environment: Environment, store: Store) -> RunRecord:
    """The record with the environment that was built or found, its lock kept in the store."""
    if environment.lock is not None and environment.lock_digest is not None:
        store.objects.put_file(environment.lock, environment.lock_digest)
    facts = EnvironmentFacts(
        kind=environment.kind,
        key=environment.key,
        asked=environment.asked,
        python=environment.python,
        python_asked=environment.python_asked,
        platform=environment.platform,
        lock=environment.lock_digest,
        lock_kind=environment.lock_kind,
        resolved_at=environment.resolved_at,
        as_of=environment.as_of,
        as_of_why=environment.as_of_why,
        adaptations=environment.adaptations,
        image=environment.image,
        reused=environment.reused,
        build_seconds=environment.build_seconds,
        packages=environment.packages,
    )
    return with_warnings(replace(record, environment=facts), environment.findings)


def with_warnings(record: RunRecord, findings: tuple[Finding, ...]) -> RunRecord:
    """The record with some more findings."""
    return replace(record, warnings=(*record.warnings, *(finding.message for finding in findings)))


def inputs(prepared: Prepared, reader: data.Reader) -> tuple[tuple[Artifact, ...], tuple[Finding, ...]]:
    """What goes in, by content: `path` parameters and declared inputs.

    Raises ParameterError where a declared input is not there.
    """
    directory = prepared.snapshot.directory
    found = [
        data.describe(
            Path(parameter.text),
            shown=_shown(parameter.text, directory),
            kind="data",
            declared=True,
            parameter=parameter.name,
            reader=reader,
            contents=False,
        )
        for parameter in prepared.spec.parameters
        if parameter.kind == "path" and not parameter.secret
    ]
    collected = data.collect(prepared.spec.inputs, directory, required=True, role="input", reader=reader)
    for finding in collected.findings:
        if finding.code == "missing-input":
            raise ParameterError(finding.message, hint=finding.hint, code=finding.code, place=finding.place)
    seen = {item.artifact.path for item in found}
    findings = tuple(finding for item in found for finding in item.findings)
    found += [item for item in collected.found if item.artifact.path not in seen]
    return tuple(item.artifact for item in found), (*collected.findings, *findings)


def keep_lists(
    inputs: tuple[Artifact, ...], directory: Path, reader: data.Reader, store: Store, cache: Cache
) -> None:
    """What lay in folders that go in, so that later it can be told what differs; of the files themselves only
    small tables, for a while.

    Raises StoreError.
    """
    for item in inputs:
        if item.digest is None:
            continue
        if not item.tree:
            data.keep_tables(cache, [(item.digest, directory / item.path)])
        if not item.tree or store.objects.has(item.digest):
            continue
        again = data.describe(
            directory / item.path, shown=item.path, kind=item.kind, declared=True, reader=reader
        )
        if again.artifact.digest == item.digest and again.manifest is not None:
            store.objects.put_bytes(again.manifest)
            data.keep_tables(cache, again.contents)


def _shown(path: str, directory: Path) -> str:
    """Relative to the project where it lies in it."""
    inside = os.path.abspath(path).startswith(f"{directory}{os.sep}")
    return os.path.relpath(path, directory) if inside else path


def stamps(specs: tuple[DataSpec, ...], directory: Path) -> Stamps:
    """The state of the declared outputs that are single files, before or after the program."""
    taken: Stamps = {}
    for spec in specs:
        path = directory / spec.path
        with contextlib.suppress(OSError, ValueError):
            if path.is_file():
                own, status = os.lstat(path), path.stat()  # of a link, too
                changed = max(own.st_ctime_ns, status.st_ctime_ns)  # `cp -p` keeps mtime
                taken[spec.path] = (own.st_ino, status.st_size, changed)
    return taken


# --- closing ------------------------------------------------------------------------------------------


def with_outcome(record: RunRecord, outcome: Outcome, spec: RunSpec) -> RunRecord:
    """The record of a run whose program has ended: how, and when."""
    return replace(
        record,
        status=status_of(outcome),
        exit_code=outcome.exit_code,
        signal=outcome.interrupted_by or outcome.signal,
        error=_failure_of(outcome, spec),
        ended_at=utc(time.time()),
        duration_s=round(outcome.usage.wall_s, 6),
        resources=outcome.usage,
    )


def close_record(
    record: RunRecord,
    prepared: Prepared,
    outcome: Outcome,
    *,
    before: Stamps,
    kept: Collection[str],
    store: Store,
    caller: Caller,
) -> tuple[RunRecord, tuple[Finding, ...]]:
    """The whole record of a run whose program has ended, and what is worth a warning.

    `kept` are files of a checkout that are in the store, relative to its root.
    """
    outputs, stale, output_findings = _outputs(prepared, record.status, before=before, store=store)
    written = tuple(output for output in outputs if output.path not in stale)
    paths = store.home.run(record.id)
    measured, metric_findings = _metrics(prepared, paths, written)
    notes = (*_notes_on(outcome), *_notes_on_checkout(prepared, kept, caller))
    findings = (*output_findings, *metric_findings, *notes)
    log = digest.of_file(paths.log) if paths.log.exists() else None
    record = replace(record, outputs=(*outputs, *record.outputs), metrics=measured, log=log)
    return with_warnings(record, findings), findings


def with_series(record: RunRecord, store: Store) -> RunRecord:
    """With the digest of the steps of its metrics, once all of them have come. Raises OSError."""
    path = store.home.run(record.id).metrics
    return replace(record, series=digest.of_file(path)) if path.exists() else record


def break_off(record: RunRecord, error: BaseException) -> RunRecord:
    """The record of a run that mlrun could not see through: before, during or after its program."""
    ended = record.status != "running"
    if isinstance(error, MlrunError):
        failure = Failure(code=error.code, message=str(error), hint=error.hint)
    elif isinstance(error, Exception):
        failure = Failure(code="bug", message=f"{type(error).__name__}: {error}")
    else:
        when = "while what the program made was recorded" if ended else "before the program ran"
        failure = Failure(code="interrupted", message=f"interrupted {when}")
    if ended:  # that stays true: what the program did is not undone by what befell us
        return replace(record, error=record.error or failure)
    status: Status = "failed" if isinstance(error, Exception) else "killed"
    return replace(record, status=status, error=failure, ended_at=utc(time.time()))


def status_of(outcome: Outcome) -> Status:
    """`killed` when ended from outside: a signal to us or to it, a time-out; else by the exit code."""
    if outcome.timed_out or outcome.interrupted_by or outcome.signal in _ENDED_FROM_OUTSIDE:
        return "killed"
    return "finished" if outcome.exit_code == 0 else "failed"


def _failure_of(outcome: Outcome, spec: RunSpec) -> Failure | None:
    if outcome.timed_out:
        return Failure(code="timed-out", message=f"ended by its time-out of {spec.timeout:g} s")
    if outcome.interrupted_by:
        return Failure(code="interrupted", message=f"ended by {outcome.interrupted_by}")
    if outcome.out_of_memory and outcome.exit_code:
        limit = f" ({size(spec.resources.memory)})" if spec.resources.memory else ""
        return Failure(code="out-of-memory", message=f"the container ran out of memory{limit}")
    if outcome.signal:
        return Failure(code="signal", message=f"the program was ended by {outcome.signal}")
    return None


def _notes_on(outcome: Outcome) -> tuple[Finding, ...]:
    notes = []
    if outcome.leftover:
        notes.append(f"processes that the program left behind were ended: {outcome.leftover}")
    if outcome.log_error:
        notes.append(f"the log is not complete: {outcome.log_error}")
    return tuple(Finding(level="warning", code="run", message=note) for note in notes)


def left_behind(prepared: Prepared, kept: Collection[str] = (), *, caller: Caller) -> tuple[str, ...]:
    """What the program wrote into a checkout of ours, and is neither declared, nor `kept`, nor bytecode.

    All paths are relative to the checkout's root.
    """
    prefix = f"{prepared.snapshot.subdirectory}/" if prepared.snapshot.subdirectory else ""
    outputs = tuple(os.path.normpath(prefix + output.path) for output in prepared.spec.outputs)
    changed = source.changed_files(prepared.snapshot, caller=caller)
    return tuple(
        path
        for path in changed
        if path not in kept
        and not path.endswith((".pyc", "__pycache__/", "__pycache__"))
        and not any(_covers(each, path) for each in outputs)
    )


def _covers(output: str, path: str) -> bool:
    return path == output or path.startswith(f"{output}/") or PurePath(path).match(output)


def _notes_on_checkout(prepared: Prepared, kept: Collection[str], caller: Caller) -> tuple[Finding, ...]:
    if prepared.pipeline:  # others write there as well: looked at when all are over
        return ()
    return notes_on_checkout(prepared, kept, caller)


def notes_on_checkout(prepared: Prepared, kept: Collection[str], caller: Caller) -> tuple[Finding, ...]:
    """Where that is which no output declares."""
    left = left_behind(prepared, kept, caller=caller)
    if not left:
        return ()
    tops = sorted({path.partition("/")[0] for path in left})
    shown = ", ".join(tops[:4]) + (", …" if len(tops) > 4 else "")
    return (
        Finding(
            level="warning",
            code="left-in-checkout",
            message=f"files that no output declares stay in {prepared.snapshot.root}: {shown}",
            hint="`mlrun gc` removes the folder after a month",
        ),
    )


def _outputs(
    prepared: Prepared, status: Status, *, before: Stamps, store: Store
) -> tuple[tuple[Artifact, ...], frozenset[str], tuple[Finding, ...]]:
    """What came out, kept in the store; of a run that broke off, whatever it had written.

    Besides, the paths of what a good run left as it was: an earlier run's metrics are not this one's.
    """
    directory, specs = prepared.snapshot.directory, prepared.spec.outputs
    collected = data.collect(specs, directory, required=status == "finished")
    after = stamps(specs, directory)
    findings = list(collected.findings)
    kept = []
    stale = {path for path, stamp in before.items() if stamp == after.get(path)}
    for item in collected.found:
        path = item.artifact.path
        if path in stale and status != "finished":
            continue
        if path in stale:
            note = f"output `{path}` was there before the run, which did not write it"
            findings.append(Finding(level="warning", code="stale-output", message=note))
        try:
            _store(item, store)
        except (OSError, StoreError) as error:
            # The program has ended well: that its output could not be kept must not cost its record.
            note = f"output `{path}` is not kept in the store: {error}"
            findings.append(Finding(level="warning", code="output-not-kept", message=note))
            kept.append(item.artifact)
        else:
            kept.append(replace(item.artifact, stored=item.artifact.digest is not None))
    return tuple(kept), frozenset(stale), tuple(findings)


def _store(item: Found, store: Store) -> None:
    for its_digest, file in item.contents:
        store.objects.put_file(file, its_digest)
    if item.manifest is not None:
        store.objects.put_bytes(item.manifest)


def _metrics(
    prepared: Prepared, paths: RunPaths, outputs: tuple[Artifact, ...]
) -> tuple[tuple[Metric, ...], tuple[Finding, ...]]:
    """What the program reported, live through MLRUN_METRICS and in its `kind: metrics` outputs."""
    holding = [output.path for output in outputs if output.kind == "metrics"]
    if not holding and not paths.metrics.exists():
        return (), ()
    from mlrun.tracking import metrics

    series = [metrics.read_series(paths.metrics)] if paths.metrics.exists() else []
    files = [metrics.read_output(prepared.snapshot.directory / path) for path in holding]
    merged = metrics.merge([*series, *files])
    try:
        for report in files:
            metrics.append(paths.metrics, report.points)
    except OSError as error:
        message = f"the series of metrics is not complete: {error.strerror}"
        return merged.metrics, (*merged.findings, Finding(level="warning", code="run", message=message))
    return merged.metrics, merged.findings


def utc(seconds: float) -> str:
    """`2026-11-21T08:00:00.123Z`."""
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{thousandths:03d}Z"
