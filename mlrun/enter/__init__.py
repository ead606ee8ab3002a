"""Into an environment: a command (`mlrun exec`) or a shell (`mlrun shell`), of a project or of a past run.

A project's directory is entered where it lies. What comes from a URL, a revision or a record is put into a
checkout of ours, which goes afterwards unless something in it was changed. Nothing is recorded.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import env, process, resolve, scene, source
from mlrun.enter import shells
from mlrun.errors import ParameterError, SourceError
from mlrun.model import Finding, Job, Resources, RunRequest
from mlrun.store.names import new_id
from mlrun.value import replace, value
from mlrun.views import summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlrun.model import Environment, Project, RunRecord, Snapshot
    from mlrun.scene import Desk, Wanted

_DEFAULT = "main"


@value
class Entry:
    """What is asked. `where` is a run or a target; without a `command` it is a shell that is wanted.

    One that is not `interactive` reads commands from a pipe or a file. With `here` the caller's directory
    stays the working directory. `entry_point` is whose declared variables count, None for `main` where there
    is one.
    """

    where: str
    wanted: Wanted
    command: tuple[str, ...] = ()
    entry_point: str | None = None
    here: bool = False
    interactive: bool = True


@value
class Inside:
    """A place made ready: its environment, the folder to be in, and what the project declares.

    `adaptations` are those that were made now; what a lock is from holds those of its run.
    """

    title: str
    environment: Environment
    directory: Path
    snapshot: Snapshot | None
    variables: tuple[tuple[str, str], ...] = ()
    resources: Resources = Resources()
    findings: tuple[Finding, ...] = ()
    adaptations: tuple[str, ...] = ()


def enter(entry: Entry, desk: Desk) -> int:
    """Run the command or the shell, and return what a shell would report of its end.

    Where nothing is left to be done afterwards, it takes the place of our process, and this never returns.
    Raises ProcessError (`command-not-found`, `not-executable`) and whatever keeps the place from being ready.
    """
    run_id = new_id()
    with _inside(entry, desk, run_id) as inside:
        job = _job(entry, inside, desk)
        if not entry.command and entry.interactive:
            desk.teller.say(shells.greeting(inside.title, _described(inside), desk.caller.variables))
        desk.teller.close()
        contained = inside.environment.kind == "docker"
        tidy = contained or (inside.snapshot is not None and inside.snapshot.temporary)
        if not tidy:
            process.become(job.argv, variables=job.variables, cwd=job.cwd)
        if not contained:
            return process.attend(job.argv, variables=job.variables, cwd=job.cwd)
        with _visit(inside, desk, run_id) as visit:
            job = env.enter(inside.environment, job, visit)
            try:
                return process.attend(job.argv, variables=job.variables, cwd=job.cwd)
            finally:
                env.leave(inside.environment, visit)


def _described(inside: Inside) -> str:
    environment = summary.environment_line(inside.environment).removesuffix(", reused")
    return f"{environment}, in {inside.directory}"


# --- the place ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _inside(entry: Entry, desk: Desk, run_id: str) -> Iterator[Inside]:
    record = scene.find_run(entry.where, desk)
    if record is not None:
        _refuse_options_of_targets(entry)
    place = _of_run(record, entry, desk, run_id) if record else _of_target(entry, desk, run_id)
    with place as inside:
        _tell(inside, desk)
        yield inside


def _tell(inside: Inside, desk: Desk) -> None:
    """What was done to get there is said once, when it is done."""
    environment = inside.environment
    if not environment.reused:
        for text in inside.adaptations:
            desk.teller.fact("adapted", text)
        desk.teller.fact("environment", summary.environment_line(environment))
    for finding in (*inside.findings, *environment.findings):
        desk.teller.warn(finding)


def _refuse_options_of_targets(entry: Entry) -> None:
    from mlrun.errors import UsageError

    wanted = entry.wanted
    for flag, given in (
        ("--version", wanted.version),
        ("--env-manager", wanted.env_manager),
        ("--as-of", None if wanted.as_of == "auto" else wanted.as_of),
        ("--entry-point", entry.entry_point),
    ):
        if given is not None:
            raise UsageError(
                f"`{flag}` is for projects: the run `{entry.where}` has its own",
                hint="leave it out, or give the project instead of the run",
            )


@contextlib.contextmanager
def _of_target(entry: Entry, desk: Desk, run_id: str) -> Iterator[Inside]:
    found = scene.understand(entry.wanted, desk, run_id=run_id)
    snapshot = found.snapshot
    with scene.released(snapshot, desk):
        variables, findings = _declared(found.project, snapshot, entry)
        environment = scene.furnish(found, desk)
        if not environment.reused:
            findings = (*snapshot.findings, *found.asked.findings, *findings)
        points = [each for each in found.project.entry_points if each.name == (entry.entry_point or _DEFAULT)]
        yield Inside(
            title=found.name,
            environment=environment,
            directory=Path(desk.caller.directory) if entry.here else snapshot.directory,
            snapshot=snapshot,
            variables=variables,
            resources=points[0].resources if points else Resources(),
            findings=findings,
            adaptations=environment.adaptations,
        )


@contextlib.contextmanager
def _of_run(record: RunRecord, entry: Entry, desk: Desk, run_id: str) -> Iterator[Inside]:
    """With `here`, the run's source is only fetched where its lock names a part of it."""
    caller_directory = Path(desk.caller.directory)
    lock = scene.lock_text(record, desk)
    values = tuple((name, text) for name, text in record.env_vars if text is not None)
    if entry.here and not env.names_source(lock or ""):
        environment = scene.restore_environment(record, desk, directory=caller_directory)
        yield Inside(
            title=record.name,
            environment=environment,
            directory=caller_directory,
            snapshot=None,
            variables=values,
        )
        return
    snapshot = _source_of(record, desk, run_id)
    with scene.released(snapshot, desk):
        yield Inside(
            title=record.name,
            environment=scene.restore_environment(record, desk, directory=snapshot.directory),
            directory=caller_directory if entry.here else snapshot.directory,
            snapshot=snapshot,
            variables=values,
        )


def _source_of(record: RunRecord, desk: Desk, run_id: str) -> Snapshot:
    try:
        return scene.restore_source(record, desk, run_id=run_id)
    except SourceError as error:
        raise SourceError(
            error.message,
            hint=f"`--here` needs only the environment{f'; {error.hint}' if error.hint else ''}",
            code=error.code,
            details=error.details,
        ) from error


def _declared(
    project: Project, snapshot: Snapshot, entry: Entry
) -> tuple[tuple[tuple[str, str], ...], tuple[Finding, ...]]:
    """The variables of an entry point, filled in with its parameters' defaults."""
    name = entry.entry_point or _DEFAULT
    point = next((each for each in project.entry_points if each.name == name), None)
    if entry.entry_point is None and (point is None or not point.env):
        return (), ()
    request = RunRequest(target=entry.wanted.target, entry_point=name)
    try:
        return resolve.resolve(project, request, files=_Nothing(snapshot.directory)).variables, ()
    except ParameterError as error:
        if point is None:
            raise
        plain = tuple((key, text) for key, text in point.env if "{" not in text)
        left_out = [f"`{key}`" for key, text in point.env if "{" in text]
        message = f"without values for its parameters {', '.join(left_out)} of `{name}` is not set: {error}"
        finding = Finding(level="warning", code="variable-not-set", message=message)
        return plain, (finding,) if left_out else ()


class _Nothing:
    """A `Locator` that fetches nothing: a parameter that names data is only text here."""

    def __init__(self, directory: Path) -> None:
        self.project_directory = str(directory)
        self.caller_directory = str(directory)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def download(self, url: str) -> str:
        return source.without_credentials(url)


# --- the child ----------------------------------------------------------------------------------------


def _job(entry: Entry, inside: Inside, desk: Desk) -> Job:
    """What a run's program would get, but for the run: the caller's variables, ours, the project's."""
    outside = shells.left(desk.caller.variables)
    variables = env.variables(inside.environment, outside)
    variables.update(inside.variables)
    variables["PWD"] = str(inside.directory)
    for name in ("MLRUN_RUN_ID", "MLRUN_METRICS"):
        variables.pop(name, None)
    job = Job(argv=entry.command, cwd=inside.directory, variables=variables, log=Path(os.devnull))
    if entry.command:
        return job
    if inside.environment.kind == "docker":
        return replace(job, argv=shells.IN_A_CONTAINER)
    return shells.prepared(job, inside.title, inside.environment.path, interactive=entry.interactive)


@contextlib.contextmanager
def _visit(inside: Inside, desk: Desk, run_id: str) -> Iterator[env.Visit]:
    """What a container has to know; its folder for what it leaves goes afterwards."""
    from mlrun.files import remove_tree

    folder = desk.cache.temporary / f"enter-{run_id}"
    folder.mkdir(parents=True)
    snapshot = inside.snapshot
    root = (
        snapshot.root if snapshot and snapshot.root in (inside.directory, *inside.directory.parents) else None
    )
    try:
        yield env.Visit(
            run_id=run_id,
            name=inside.title,
            tree=snapshot.tree if snapshot else "",
            root=root or inside.directory,
            directory=inside.directory,
            run_folder=folder,
            caller=desk.caller,
            cache=desk.cache,
            variables=(*inside.variables, *shells.prompt_in_a_container(inside.title)),
            resources=inside.resources,
        )
    finally:
        remove_tree(folder, trash=desk.cache.trash)
