"""Every value that crosses a room's door: frozen, plain, without I/O.

Read from top to bottom it tells the story: a request names a target, the target becomes a snapshot, its
project file a project, the three together a run specification, that a job, the job an outcome, and all
of it a record. Tuples instead of lists, text instead of `Path` in whatever is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NewType, Protocol

from mlrun.value import field, value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Digest = NewType("Digest", str)
"""A tagged hash, `blake3:<64 hex>`; of a file's bytes, or of a directory's manifest."""

Status = Literal["running", "finished", "failed", "killed", "lost", "cached"]
EnvKind = Literal["venv", "system", "docker", "conda"]
Origin = Literal["command line", "params file", "default", "undeclared", "logged"]
"""Where a value came from; `undeclared` is one given by `-P` that the project does not declare, `logged` one
that the program told of itself."""


@value
class Place:
    """A position in a text file, counted from one, as editors do."""

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@value
class Finding:
    """One thing that a reader noticed and could live with (`warning`) or not (`error`)."""

    level: Literal["error", "warning"]
    code: str
    message: str
    place: Place | None = None
    hint: str | None = None


class Narrator(Protocol):
    """Where a room tells what it is about to do; the command line decides what a person sees of it."""

    def say(self, text: str) -> None:
        """One event worth a line: `building environment: python 3.11.7, 4 requirements`."""

    def progress(self, task: str, done: float | None) -> None:
        """A passing state, shown on a terminal only; `done` is 0 to 1, or None where it is unknown."""


# --- the project file ---------------------------------------------------------------------------------


@value
class Parameter:
    """One declared knob. `default` is text as the command would see it; `None` means required."""

    name: str
    kind: str = "string"
    default: str | None = None
    description: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False
    place: Place | None = None


@value
class DataSpec:
    """A declared input or output: a path template (it may hold `{parameter}`), and what it is.

    `kind` is `file` unless the project says otherwise: `metrics`, `figure`, `model`, `data`, ….
    `reference` is what was written for an output of an earlier run, once its path is known.
    """

    path: str
    kind: str = "file"
    place: Place | None = None
    reference: str | None = None


@value
class Resources:
    """What the project asks of the machine: cores, bytes, devices."""

    cpus: float | None = None
    memory: int | None = None
    gpus: int | None = None


@value
class Tolerance:
    """By how much a number may differ: `atol`, or `rtol` times the larger of the two (`math.isclose`)."""

    rtol: float = 0.0
    atol: float = 0.0


@value
class EntryPoint:
    """One thing that the project can do. `timeout` is in seconds.

    `observe`, `deterministic` and `tolerance` are as in `Project`, None where it does not say; so is `cache`
    (steps of a pipeline are then cached, an entry point that runs by itself is not). `code` are
    the files and folders of the project that its command is made of, as far as a cache is concerned; empty
    for all of them. `need_places` is where each of its `needs` is written.
    """

    name: str
    command: str
    parameters: tuple[Parameter, ...] = ()
    inputs: tuple[DataSpec, ...] = ()
    outputs: tuple[DataSpec, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    timeout: float | None = None
    resources: Resources = field(default_factory=Resources)
    needs: tuple[str, ...] = ()
    need_places: tuple[Place, ...] = ()
    cache: bool | None = None
    code: tuple[str, ...] = ()
    observe: str | None = None
    deterministic: bool | None = None
    tolerance: Tolerance | None = None
    place: Place | None = None


@value
class EnvironmentRequest:
    """What the project file says of its environment, before any file that it names is read.

    `key` is the MLproject key that said so, or None where no key did (then the environment is inferred
    from the files that lie in the project). `path` is the file it names, relative to the project.
    `python` and `requirements` are those of an environment written in place; `image`, `volumes` and
    `variables` those of `docker_env`, as are `build` (the folder of a build's context) and `dockerfile`,
    both relative to the project.
    """

    key: Literal["python_env", "conda_env", "docker_env", "environment"] | None = None
    path: str | None = None
    python: str | None = None
    requirements: tuple[str, ...] = ()
    image: str | None = None
    build: str | None = None
    dockerfile: str | None = None
    volumes: tuple[str, ...] = ()
    variables: tuple[tuple[str, str | None], ...] = ()
    place: Place | None = None


@value
class Project:
    """The understood project file; `file` is its name, None where there is none.

    `broken` are the entry points that cannot run, each with the error that says why. `observe` is as in
    `RunRequest`, None where the project does not say. `deterministic` says whether runs get what makes them
    repeatable; `tolerance` by how much the numbers of a repetition may differ.
    """

    name: str | None = None
    file: str | None = None
    entry_points: tuple[EntryPoint, ...] = ()
    environment: EnvironmentRequest = field(default_factory=EnvironmentRequest)
    findings: tuple[Finding, ...] = ()
    broken: tuple[tuple[str, Finding], ...] = ()
    observe: str | None = None
    deterministic: bool | None = None
    tolerance: Tolerance | None = None


# --- the request, and the code that will run ----------------------------------------------------------


@value
class Caller:
    """Who asks: the directory and the variables of the process that called us, read once."""

    directory: str
    variables: Mapping[str, str]


@value
class RunRequest:
    """What the user asked. `timeout` is in seconds; parameters are (name, text) in the order given.

    `as_of` is `auto`, `now`, `commit` or a date: the day whose packages are to be installed.
    `docker_args` are those of `docker run`, by name, with their value if they have one. `observe` is how
    files that are read and written are noticed: `auto`, `shim`, `strace`, `python`, or `off`. `cache` says
    whether an earlier run of the same may be taken instead. None leaves either to the entry point.
    """

    target: str
    version: str | None = None
    entry_point: str = "main"
    parameters: tuple[tuple[str, str], ...] = ()
    file_parameters: tuple[tuple[str, str], ...] = ()
    env_manager: str | None = None
    name: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    timeout: float | None = None
    strict: bool = False
    isolated: bool = False
    refresh_environment: bool = False
    as_of: str = "auto"
    docker_args: tuple[tuple[str, str | None], ...] = ()
    build_image: bool = False
    skip_image_build: bool = False
    observe: str | None = None
    cache: bool | None = None


@value
class Snapshot:
    """The exact source that will run.

    `root` is the top of the checkout that runs (the user's own directory when it runs in place);
    `subdirectory` the project's folder in it (`""` for the top, `/` between parts). `tree` is the git
    tree id of what is really there below `root`. `patch` (bytes of `git diff --binary`) and `untracked`
    (paths relative to `root`) say how it differs from `commit`; where there is no commit, every file is
    untracked. `url` has its credentials removed. `temporary` is true for a checkout of ours; `origin` is
    then the user's directory that was checked out, if it was one. `committed` is when the commit was made,
    in seconds since 1970, where that was learnt on the way.
    """

    kind: Literal["git", "directory"]
    root: Path
    tree: str
    subdirectory: str = ""
    url: str | None = None
    version: str | None = None
    commit: str | None = None
    branch: str | None = None
    dirty: bool = False
    patch: bytes | None = None
    untracked: tuple[str, ...] = ()
    temporary: bool = False
    findings: tuple[Finding, ...] = ()
    origin: Path | None = None
    committed: int | None = None

    @property
    def directory(self) -> Path:
        """The project's own folder."""
        return self.root / self.subdirectory if self.subdirectory else self.root


# --- what is to be done -------------------------------------------------------------------------------


@value
class BoundParameter:
    """A parameter with its value. `text` is what the command sees; `value` what the user wrote."""

    name: str
    value: str
    text: str
    kind: str
    origin: Origin
    secret: bool = False


@value
class RunSpec:
    """All that the project and the request together decide, ready to run.

    `shown_command` is `command` with secret values masked: the only one that may be recorded or shown.
    `inputs` and `outputs` have their placeholders filled in (not shell-quoted: they are paths).
    """

    entry_point: str
    command: str
    shown_command: str
    argv: tuple[str, ...]
    parameters: tuple[BoundParameter, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    inputs: tuple[DataSpec, ...] = ()
    outputs: tuple[DataSpec, ...] = ()
    timeout: float | None = None
    resources: Resources = field(default_factory=Resources)
    findings: tuple[Finding, ...] = ()
    observe: str = "auto"
    deterministic: bool = True
    tolerance: Tolerance = field(default_factory=Tolerance)
    cache: bool = False
    code: tuple[str, ...] = ()


@value
class Package:
    """One installed distribution. `source` says which index, directory or URL served it, where known."""

    name: str
    version: str
    source: str | None = None


@value
class Image:
    """A container image: its name as asked for, its id on this engine, its digest in a registry if any."""

    name: str
    id: str
    platform: str
    digest: str | None = None


@value
class Environment:
    """A built place, and how to enter it: put `path` before PATH and set `variables`.

    `asked` is a few words of what the project wanted (`python_env.yaml: python 3.10.12, 4 requirements`)
    and `python_asked` the interpreter it named; `python` is the version used. `lock` is the file from
    which the environment can be built again (`lock_kind`: `pylock.toml`, `conda-explicit`), None for
    `system` and for an image that was only pulled. `resolved_at` is when its dependencies were resolved,
    UTC; `as_of` the day whose packages count, and `as_of_why` who chose it. `adaptations` say, a sentence
    each, what was done that the project does not ask for. `volumes` are what a container is to have mounted
    (`/here:/there:ro`).
    """

    kind: EnvKind
    key: Digest
    location: Path | None = None
    path: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    asked: str = ""
    python: str | None = None
    python_asked: str | None = None
    platform: str = ""
    lock: Path | None = None
    lock_digest: Digest | None = None
    lock_kind: str | None = None
    resolved_at: str | None = None
    as_of: str | None = None
    as_of_why: str | None = None
    adaptations: tuple[str, ...] = ()
    image: Image | None = None
    volumes: tuple[str, ...] = ()
    packages: tuple[Package, ...] = ()
    reused: bool = False
    build_seconds: float = 0.0
    findings: tuple[Finding, ...] = ()


@value
class Job:
    """All that a child process is. `variables` is its whole environment; `timeout` is in seconds.

    `umask` is the mask of the files that it makes, None for ours.
    """

    argv: tuple[str, ...]
    cwd: Path
    variables: Mapping[str, str]
    log: Path
    timeout: float | None = None
    umask: int | None = None


@value
class Usage:
    """What a process tree cost: seconds of wall and CPU time, bytes of peak resident memory."""

    wall_s: float
    cpu_s: float
    max_rss_bytes: int


@value
class Outcome:
    """How a job ended.

    `exit_code` is what a shell would report: the child's own, 128+n after signal n, 124 after a time-out,
    126/127 where it could not be executed or found. `interrupted_by` names the signal that *we* were sent
    (or None), `signal` the one that ended the child. `leftover` counts processes that the child left behind
    and that had to be ended; `log_error` says why the log is incomplete. `out_of_memory` is true where the
    system ended processes of a container for want of it.
    """

    exit_code: int
    usage: Usage
    signal: str | None = None
    timed_out: bool = False
    interrupted_by: str | None = None
    leftover: int = 0
    log_error: str | None = None
    out_of_memory: bool = False


# --- what is remembered -------------------------------------------------------------------------------


@value
class Artifact:
    """One input or output. `path` is relative to the project where it lies in it, else absolute.

    What is not `declared` was observed, or logged by the program. A `path` that ends in a pattern stands for
    those files of a folder that were concerned.
    `stored` is true when the bytes are in the object store under `digest`; `executable` when it is a file
    that may be run; `tree` when the digest names the manifest of a directory. `run` is the run whose output
    an input was said to be, `reference` how it was (`run:NAME:PATH`): it lies in the cache.
    """

    path: str
    kind: str
    digest: Digest | None
    size: int
    files: int
    declared: bool = True
    stored: bool = False
    parameter: str | None = None
    tree: bool = False
    run: str | None = None
    reference: str | None = None
    executable: bool = False

    @property
    def name(self) -> str:
        """What it is called by whoever asked for it."""
        return self.reference or self.path


@value
class StoredFile:
    """A file of the source kept in the store because no commit holds it."""

    path: str
    mode: str
    digest: Digest
    size: int
    stored: bool = True


@value
class SourceFacts:
    """`Snapshot`, as remembered."""

    kind: str
    tree: str
    directory: str
    subdirectory: str = ""
    url: str | None = None
    version: str | None = None
    commit: str | None = None
    branch: str | None = None
    dirty: bool = False
    patch: Digest | None = None
    untracked: tuple[StoredFile, ...] = ()


@value
class CommandFacts:
    """The shell text (secrets masked), the argument vector around it, and the folder, relative to root."""

    text: str
    argv: tuple[str, ...]
    cwd: str


@value
class EnvironmentFacts:
    """`Environment`, as remembered; `lock` is the digest of the lock's text in the object store."""

    kind: str
    key: Digest | None = None
    asked: str = ""
    python: str | None = None
    python_asked: str | None = None
    platform: str = ""
    lock: Digest | None = None
    lock_kind: str | None = None
    resolved_at: str | None = None
    as_of: str | None = None
    as_of_why: str | None = None
    adaptations: tuple[str, ...] = ()
    image: Image | None = None
    reused: bool = False
    build_seconds: float = 0.0
    packages: tuple[Package, ...] = ()


@value
class Metric:
    """A reported number over its steps; the series itself is in `metrics.jsonl` of the run.

    `origin` is who logged it (`tensorboard`), None for what mlrun itself was told.
    """

    name: str
    last: float
    minimum: float
    maximum: float
    count: int = 1
    last_step: int | None = None
    origin: str | None = None


@value
class HostFacts:
    """The machine: `memory` in bytes."""

    name: str
    os: str
    machine: str
    cpu: str | None = None
    cores: int | None = None
    memory: int | None = None
    gpus: tuple[str, ...] = ()


@value
class Determinism:
    """What a run got so that it can be repeated: `variables` that mlrun set, and the mask of new files.

    `found` are variables of the same kind that the caller, the environment or the project set. Where it is
    not `on`, nothing was set.
    """

    on: bool = True
    variables: tuple[tuple[str, str], ...] = ()
    found: tuple[tuple[str, str], ...] = ()
    umask: int | None = None


@value
class CiFacts:
    """Which CI system ran this, and where to look."""

    provider: str
    run_url: str | None = None
    facts: tuple[tuple[str, str], ...] = ()


@value
class Failure:
    """Why mlrun could not do its part: as in `errors`."""

    code: str
    message: str
    hint: str | None = None


StepState = Literal["waiting", "running", "finished", "failed", "killed", "lost", "cached", "skipped"]


@value
class StepFacts:
    """A step of a pipeline: `run` is the id of its record, of which there is none before it has begun."""

    name: str
    run: str
    needs: tuple[str, ...] = ()
    state: StepState = "waiting"
    duration_s: float | None = None


@value
class RunRecord:
    """One run, as remembered. Times are UTC text, `2026-11-21T08:00:00.123Z`; `duration_s` is seconds.

    `observed` tells how inputs and outputs that nobody declared were noticed: `shim`, `strace`,
    `python-only`, `walk` (outputs only), `off`; None where nothing was run yet. `cache_key` is the digest of
    all that was known to decide the result, of a run that others may be spared by, or that was spared.
    `log` is the digest of all that the program printed, `series` that of its metrics' steps.
    `steps` are those of a pipeline, each with a record of its own; their states are final when it has ended.
    `options` are those that it was run with, so that it can be resumed.
    """

    id: str
    name: str
    status: Status
    project: str
    target: str
    entry_point: str
    started_at: str
    mlrun_version: str
    tags: tuple[tuple[str, str], ...] = ()
    user: str | None = None
    ended_at: str | None = None
    duration_s: float | None = None
    exit_code: int | None = None
    signal: str | None = None
    error: Failure | None = None
    source: SourceFacts | None = None
    command: CommandFacts | None = None
    parameters: tuple[BoundParameter, ...] = ()
    environment: EnvironmentFacts | None = None
    env_vars: tuple[tuple[str, str | None], ...] = ()
    inputs: tuple[Artifact, ...] = ()
    outputs: tuple[Artifact, ...] = ()
    metrics: tuple[Metric, ...] = ()
    resources: Usage | None = None
    host: HostFacts | None = None
    ci: CiFacts | None = None
    trigger: str = "cli"
    parents: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    observed: str | None = None
    determinism: Determinism | None = None
    cache_key: Digest | None = None
    log: Digest | None = None
    series: Digest | None = None
    steps: tuple[StepFacts, ...] = ()
    options: tuple[tuple[str, str], ...] = ()


@value
class Results:
    """Of a finished run's record, what counts for those that it stands in for: what came of it.

    `parameters` are those that its program logged, `inputs` those that nobody declared.
    """

    id: str
    name: str
    started_at: str
    ended_at: str | None = None
    duration_s: float | None = None
    parameters: tuple[BoundParameter, ...] = ()
    inputs: tuple[Artifact, ...] = ()
    outputs: tuple[Artifact, ...] = ()
    metrics: tuple[Metric, ...] = ()
    series: Digest | None = None
    observed: str | None = None


@value
class RunRow:
    """What a list shows of a run; `params` are texts, `metrics` the last values."""

    id: str
    name: str
    project: str
    entry_point: str
    status: Status
    started_at: str
    ended_at: str | None = None
    duration_s: float | None = None
    exit_code: int | None = None
    target: str = ""
    user: str | None = None
    commit: str | None = None
    branch: str | None = None
    dirty: bool = False
    params: tuple[tuple[str, str], ...] = ()
    metrics: tuple[tuple[str, float], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
