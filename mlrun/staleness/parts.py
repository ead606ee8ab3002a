"""Which entry points are looked at, in which order, and what would be asked of each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlrun import pipelines, references, resolve, source
from mlrun.errors import MlrunError, StoreError
from mlrun.model import RunRequest
from mlrun.orchestration.resuming import asked_again
from mlrun.pipelines import given as checks
from mlrun.pipelines import graph
from mlrun.pipelines.schedule import GOOD
from mlrun.store import Query
from mlrun.value import replace, value

if TYPE_CHECKING:
    from mlrun.model import Project, RunRecord, Snapshot
    from mlrun.pipelines.values import Link, Step
    from mlrun.scene import Desk, Scene

MASK = "***"
"""What stands for the value of a secret parameter that was not given now: it is in no record."""
_LOOKED_AT = 50  # runs of that name among which one from the same place is preferred


@value
class Part:
    """An entry point; `is_step` says whether a run of it would be looked for in the cache.

    `given` is what is given for it now. Of a pipeline that has run, `request` is what it would ask of this
    step, and `last` the step's run in it.
    """

    name: str
    is_step: bool = False
    links: tuple[Link, ...] = ()
    given: tuple[tuple[str, str], ...] = ()
    request: RunRequest | None = None
    last: RunRecord | None = None

    @property
    def made(self) -> frozenset[str]:
        """What those before it are to have made."""
        return frozenset(os.path.normpath(link.path) for link in self.links if link.path)


def parts(
    found: Scene, desk: Desk, target: str | None, given: tuple[tuple[str, str], ...]
) -> tuple[Part, ...]:
    """What is looked at, each after those that it needs: a target and these, or all of a project's (None).

    Raises MlrunError where there is no such entry point, or they cannot be put in order.
    """
    project = found.project
    if target is not None:
        request = RunRequest(target=".", entry_point=target, parameters=given)
        if all(it.name != target for it in project.entry_points):  # a script, or a mistake
            resolve.resolve(project, replace(request, parameters=()), files=Here(found.snapshot, desk))
            return (Part(name=target, given=given),)
        if not pipelines.may_be_one(project, target):
            cached = any(it.cache for it in project.entry_points if it.name == target)
            return (Part(name=target, given=given, is_step=cached),)
    else:
        if not project.entry_points:
            resolve.resolve(project, RunRequest(target="."), files=Here(found.snapshot, desk))
        request = RunRequest(target=".", entry_point="main", parameters=given)
    whole = _last_whole(found, desk, target)
    if whole is not None:
        request = _asked_again(whole, given)
    every = graph.everything(project, request, files=Here(found.snapshot, desk), target=target)
    names = {name for name, _, _ in every}
    steps = tuple(it for it in project.entry_points if it.name in names)
    checks.check(replace(request, parameters=given, file_parameters=()), steps, project)
    return tuple(_parts(every, whole, project, desk, given))


def _parts(
    every: tuple[tuple[str, tuple[Link, ...], Step | MlrunError], ...],
    whole: RunRecord | None,
    project: Project,
    desk: Desk,
    given: tuple[tuple[str, str], ...],
) -> list[Part]:
    linked = {name for name, links, _ in every if links} | {it.maker for _, its, _ in every for it in its}
    runs = {step.name: step.run for step in whole.steps} if whole else {}
    own = {it.name: it for it in project.entry_points}
    return [
        Part(
            name=name,
            is_step=name in linked or bool(own[name].cache),
            links=links,
            given=given if isinstance(step, MlrunError) else step.request.parameters,
            request=None if isinstance(step, MlrunError) or whole is None else step.request,
            last=_good(runs[name], desk) if name in runs else None,
        )
        for name, links, step in every
    ]


def _good(run_id: str, desk: Desk) -> RunRecord | None:
    try:
        record = desk.store.load(run_id)
    except StoreError:
        return None
    return record if record.status in GOOD else None


def _asked_again(whole: RunRecord, given: tuple[tuple[str, str], ...]) -> RunRequest:
    """As the pipeline was asked for last, with what is to be otherwise now."""
    named = {name for name, _ in given}
    steps = [step.name for step in whole.steps]
    then = tuple(it for it in whole.parameters if not _is_renewed(it.name, named, steps))
    masked = ((it.name, MASK) for it in then if it.secret and it.origin != "default")
    again = tuple({**dict(masked), **dict(given)}.items())
    return asked_again(replace(whole, parameters=then), again)


def _is_renewed(name: str, given: set[str], steps: list[str]) -> bool:
    """What was given for one step, and is now for all."""
    step, own = checks.addressed(name, steps)
    return step is not None and own in given


# --- past runs ----------------------------------------------------------------------------------------


def last_good(found: Scene, desk: Desk, name: str) -> RunRecord | None:
    """The newest run of an entry point by itself, or as a step, that ended well: see `_newest`."""
    return _newest(found, desk, name, whole=False)


def _last_whole(found: Scene, desk: Desk, target: str | None) -> RunRecord | None:
    """The newest pipeline that ended well; of all entry points, there is none that stands for them."""
    return None if target is None else _newest(found, desk, target, whole=True)


def _newest(found: Scene, desk: Desk, name: str, *, whole: bool) -> RunRecord | None:
    """One that is from here, else the newest of that name; what only repeats another is none."""
    store = desk.store
    rows = store.query(Query(project=found.name, statuses=("finished", "cached")))
    newest = None
    for row in [row for row in rows if row.entry_point == name][:_LOOKED_AT]:
        record = store.load(row.id)
        if "reproduces" in dict(record.parents) or bool(record.steps) != whole:
            continue
        newest = newest or record
        if record.source is not None and _is_from(record, found.snapshot):
            return record
    return newest


def _is_from(record: RunRecord, snapshot: Snapshot) -> bool:
    facts = record.source
    assert facts is not None
    if facts.subdirectory != snapshot.subdirectory:
        return False
    return facts.directory == str(snapshot.origin or snapshot.root) or bool(
        facts.kind == "git" and facts.url and facts.url == snapshot.url
    )


class Here:
    """A `Locator` that fetches nothing from a network: a URL is known by its name only.

    What other entry points make (`made`, relative to the project) is taken to be there.
    """

    def __init__(self, snapshot: Snapshot, desk: Desk, made: frozenset[str] = frozenset()) -> None:
        self._made = made
        self.project_directory = str(snapshot.directory)
        self.caller_directory = desk.caller.directory
        self._desk = desk

    def exists(self, path: str) -> bool:
        return os.path.exists(path) or os.path.relpath(path, self.project_directory) in self._made

    def download(self, url: str) -> str:
        if references.is_reference(url):
            return str(references.fetched(url, self._desk.store, self._desk.cache))
        return source.without_credentials(url)
