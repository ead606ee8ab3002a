"""What an endpoint is given, and what a run reported through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mlrun.value import field, value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlrun.model import Metric

Status = Literal["running", "finished", "failed", "killed"]


@value
class RunIdentity:
    """The run that will report. `id` is 32 hexadecimal digits.

    `tags` are what MLflow would note of a project's run (`mlflow.source.name` …). `parameters` are the
    project's: known to clients from the start, and no error where the code logs them in another spelling.
    """

    id: str
    name: str
    user: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()


@value
class Endpoint:
    """A running endpoint, and how a program finds it.

    `variables` are to be set for the program, `unset` those of the caller that would lead it astray. One of
    the variables is a secret: none may be recorded. `ports` are all on which it listens.
    """

    variables: Mapping[str, str]
    unset: tuple[str, ...]
    ports: tuple[int, ...]


@value
class Dataset:
    """A data set that the code said it used. `profile` and `schema` are MLflow's own JSON, as text."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str | None = None
    profile: str | None = None
    context: str | None = None


@value
class Model:
    """A folder with an `MLmodel`. `id` is that of a logged model (3.x), else None."""

    folder: Path
    run: str | None
    name: str
    id: str | None = None
    status: str = "READY"
    params: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()


@value
class ModelVersion:
    """A model registered under a name. `folder` is None where its source is none of ours."""

    name: str
    version: str
    source: str
    run: str | None = None
    folder: Path | None = None
    stage: str | None = None
    aliases: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    description: str = ""


@value
class Run:
    """One MLflow run. Times are UTC text; `series` is its metrics file if it logged any.

    `artifacts` are paths below `folder`, `/` between parts. `used` and `made` are ids of logged models.
    """

    id: str
    name: str
    status: Status
    experiment: str
    folder: Path
    parent: str | None = None
    user: str = ""
    started_at: str | None = None
    ended_at: str | None = None
    deleted: bool = False
    note: str | None = None
    params: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    metrics: tuple[Metric, ...] = ()
    series: Path | None = None
    artifacts: tuple[str, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    used: tuple[str, ...] = ()
    made: tuple[str, ...] = ()


@value
class Reported:
    """All that came. `main` is the run itself, None where the code never spoke to us.

    `others` are nested and further runs, in the order of their start. `unknown` are calls that we have no
    answer for, as `POST /api/2.0/…`; `traces` counts the traces.
    """

    main: Run | None = None
    others: tuple[Run, ...] = ()
    models: tuple[Model, ...] = ()
    versions: tuple[ModelVersion, ...] = ()
    traces: int = 0
    unknown: tuple[str, ...] = field(default_factory=tuple)
