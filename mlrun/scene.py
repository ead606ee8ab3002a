"""What is common to those who want a project's environment but no run: `exec`, `shell`, `lock`, `env diff`.

A scene is a target understood as far as its environment, or a past run put together again: its source in a
checkout of ours, its environment from its lock.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Protocol

from mlrun import env, project, source
from mlrun.errors import EnvironmentBuildError, MlrunError, SourceError, StoreError, UsageError
from mlrun.model import Narrator
from mlrun.store import Store
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlrun.files import Cache, Home
    from mlrun.model import Caller, Environment, Finding, Project, RunRecord, Snapshot

_ALWAYS_A_RUN = re.compile(r"latest(~[0-9]+)?|[0-9a-f]{32}")
_LOOKS_LIKE_A_TARGET = re.compile(r"[./~]|.*(/|\\|://|@.*:)")


class Teller(Narrator, Protocol):
    """Who tells a person what goes on."""

    def fact(self, label: str, text: str) -> None:
        """`environment`, `venv, Python 3.11.7`."""

    def warn(self, finding: Finding) -> None:
        """Something that a person should know and can live with."""

    def close(self) -> None:
        """Leave the terminal as it was."""


@value
class Desk:
    """Who asks, the folders of ours, and who tells."""

    caller: Caller
    home: Home
    cache: Cache
    teller: Teller

    @property
    def store(self) -> Store:
        """The records."""
        return Store(self.home, self.teller)


@value
class Wanted:
    """A project as it is pointed at on the command line; see `RunRequest` for the words."""

    target: str
    version: str | None = None
    env_manager: str | None = None
    as_of: str = "auto"


@value
class Scene:
    """A target understood: its source, its project file, what is asked of its environment, of which day."""

    snapshot: Snapshot
    project: Project
    asked: env.Asked
    day: env.Day

    @property
    def name(self) -> str:
        """What the project is called: by its file, else by its folder, or the repository of a git URL."""
        return self.project.name or name_of(self.snapshot)


def name_of(snapshot: Snapshot) -> str:
    """What a source is called that has no project file to say so."""
    if snapshot.kind == "git" and snapshot.url and not snapshot.subdirectory:
        return snapshot.url.rstrip("/").rpartition("/")[2].removesuffix(".git")
    return (snapshot.directory if snapshot.subdirectory else snapshot.origin or snapshot.root).name


# --- targets ------------------------------------------------------------------------------------------


def understand(wanted: Wanted, desk: Desk, *, run_id: str, locked: bool = True) -> Scene:
    """Fetch and read what a target names; a checkout of ours is called `run_id`, and the caller's to release.

    Without `locked`, a lock that mlrun wrote beside the project does not count.
    Raises MlrunError.
    """
    desk.cache.prepare()
    snapshot = source.take(
        wanted.target,
        version=wanted.version,
        isolated=False,
        caller=desk.caller,
        cache=desk.cache,
        run_id=run_id,
        narrator=desk.teller,
    )
    try:
        understood = project.read(snapshot.directory)
        asked = env.read(
            understood.environment,
            snapshot.directory,
            manager=wanted.env_manager,
            root=snapshot.root,
            caller=desk.caller,
            locked=locked,
        )
        day = day_of(asked, snapshot, wanted=wanted.as_of, version=wanted.version, caller=desk.caller)
    except BaseException:
        source.release(snapshot, cache=desk.cache)
        raise
    return Scene(snapshot=snapshot, project=understood, asked=asked, day=day)


def day_of(
    asked: env.Asked, snapshot: Snapshot, *, wanted: str, version: str | None, caller: Caller
) -> env.Day:
    """Whose packages: only what is pinned to a commit, or asked to be, is taken to its commit's day."""
    pinned = snapshot.kind == "git" or version is not None
    if wanted == "now" or (wanted == "auto" and not pinned):
        return env.NOW
    committed_at = source.committed_at(snapshot, caller=caller)
    return env.choose_day(asked, wanted, committed_at=committed_at)


def furnish(scene: Scene, desk: Desk, *, refresh: bool = False) -> Environment:
    """The scene's environment, found or built. Raises EnvironmentBuildError."""
    return env.ensure(
        scene.asked,
        directory=scene.snapshot.directory,
        tree=scene.snapshot.tree,
        cache=desk.cache,
        caller=desk.caller,
        narrator=desk.teller,
        refresh=refresh,
        day=scene.day,
    )


# --- runs ---------------------------------------------------------------------------------------------


def find_run(words: str, desk: Desk) -> RunRecord | None:
    """The run that is meant, or None where a target is.

    `latest`, `latest~2` and whole ids are runs; then a directory that is there, or what is written like a
    path or a URL, is a target; the rest are the names of runs. Raises StoreError for an ambiguous one,
    UsageError for what is neither.
    """
    if not _ALWAYS_A_RUN.fullmatch(words):
        there = os.path.exists(os.path.join(desk.caller.directory, words))
        if there or _LOOKS_LIKE_A_TARGET.match(words) or not words:
            return None
    desk.home.prepare()
    try:
        return desk.store.load(desk.store.find(words))
    except StoreError as error:
        if error.code != "no-such-run" or _ALWAYS_A_RUN.fullmatch(words):
            raise
        raise UsageError(
            f"`{words}` is neither a run nor a directory",
            hint=error.hint if error.hint and "did you mean" in error.hint else "`mlrun runs` lists the runs",
            code="neither-run-nor-target",
        ) from None


def restore_source(record: RunRecord, desk: Desk, *, run_id: str) -> Snapshot:
    """The exact source of a run in a checkout of ours called `run_id`, which is the caller's to release.

    Raises SourceError.
    """
    if record.source is None:
        raise SourceError(f"the record of `{record.name}` names no source", code="source-not-kept")
    desk.cache.prepare()
    return source.restore(
        record.source,
        desk.store.objects,
        run_id=run_id,
        caller=desk.caller,
        cache=desk.cache,
        narrator=desk.teller,
    )


def lock_text(record: RunRecord, desk: Desk) -> str | None:
    """The lock of a run's environment, from the store. Raises StoreError where it has gone."""
    facts = record.environment
    if facts is None or facts.lock is None:
        return None
    return desk.store.objects.read_bytes(facts.lock).decode("utf-8", "replace")


def restore_environment(record: RunRecord, desk: Desk, *, directory: Path) -> Environment:
    """The environment of a run: the one that is there, else built again from its lock.

    `directory` is the project's folder in the run's source. Raises EnvironmentBuildError.
    """
    if record.environment is None:
        raise EnvironmentBuildError(
            f"the record of `{record.name}` names no environment", code="no-environment"
        )
    desk.cache.prepare()
    return env.restore(
        record.environment,
        lock_text(record, desk),
        directory=directory,
        was=f"{record.source.directory}/{record.source.subdirectory}" if record.source else None,
        tree=record.source.tree if record.source else "",
        cache=desk.cache,
        caller=desk.caller,
        narrator=desk.teller,
    )


# --- afterwards ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def released(snapshot: Snapshot, desk: Desk) -> Iterator[None]:
    """A checkout of ours goes afterwards, unless something in it was changed: then it is said where it is."""
    try:
        yield
    finally:
        if snapshot.temporary:
            _release(snapshot, desk)


def _release(snapshot: Snapshot, desk: Desk) -> None:
    try:
        changed = source.changed_files(snapshot, caller=desk.caller)
    except MlrunError:
        changed = ()
    if not changed:
        source.release(snapshot, cache=desk.cache)
        return
    tops = sorted({path.partition("/")[0] for path in changed})
    desk.teller.say(
        f"changed files stay in {snapshot.root}: {', '.join(tops[:4])}{', …' if len(tops) > 4 else ''}"
        " (`mlrun gc` removes them after a month)"
    )
