"""`mlrun env diff`: what two words on the command line stand for, as environments that can be compared."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import env, scene
from mlrun.env.lock import facts_in
from mlrun.errors import EnvironmentBuildError, UsageError
from mlrun.model import EnvironmentFacts
from mlrun.scene import Wanted
from mlrun.store.names import new_id
from mlrun.value import value

if TYPE_CHECKING:
    from mlrun.env import Entry
    from mlrun.model import Environment
    from mlrun.scene import Desk


@value
class Side:
    """One of the two: what it is called, what it is, and what it holds."""

    label: str
    what: str
    facts: EnvironmentFacts


def side(words: str, desk: Desk) -> Side:
    """A lock file, a run, the key of a built environment, or a target, whose environment is built if need be.

    Raises UsageError for what is none of these or more than one, EnvironmentBuildError.
    """
    path = Path(desk.caller.directory, words)
    if path.is_file():
        return Side(label=words, what="lock", facts=_of_lock(path))
    built = _by_key(words, desk)
    try:
        record = scene.find_run(words, desk)
    except UsageError:
        if built is None:
            raise UsageError(
                f"`{words}` is neither a run, nor an environment's key, nor a lock file, nor a directory",
                hint="`mlrun runs` lists the runs, `mlrun env ls` the environments",
                code="neither-run-nor-target",
            ) from None
        record = None
    if record is not None and built is not None:
        raise UsageError(
            f"`{words}` is the start of a run's id and of an environment's key",
            hint="type more of it",
            code="ambiguous-environment",
            details=(f"run {record.id}  {record.name}", f"environment {built.key}"),
        )
    if built is not None:
        return Side(label=words, what="environment", facts=_of_entry(built))
    if record is not None:
        if record.environment is None or record.environment.key is None:
            raise EnvironmentBuildError(
                f"the run `{record.name}` ended before its environment was ready", code="no-environment"
            )
        return Side(label=words, what="run", facts=record.environment)
    return _of_target(words, desk)


def _of_lock(path: Path) -> EnvironmentFacts:
    try:
        return facts_in(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} is no lock that can be compared: {error}",
            hint="give a `pylock.toml` (PEP 751), a run, the key of an environment, or a project",
            code="bad-lock",
        ) from error


def _by_key(words: str, desk: Desk) -> Entry | None:
    """The built environment whose key starts so; None where none does, or the words are a path."""
    text = words.removeprefix("blake3:").lower()
    if (
        len(text) < 4
        or any(mark not in "0123456789abcdef" for mark in text)
        or os.path.exists(os.path.join(desk.caller.directory, words))
    ):
        return None
    try:
        return env.find(desk.cache, words)
    except UsageError as error:
        if error.code == "no-such-environment":
            return None
        raise


def _of_entry(entry: Entry) -> EnvironmentFacts:
    return EnvironmentFacts(
        kind=entry.kind,
        key=entry.key,
        asked=entry.asked,
        python=entry.python,
        platform=entry.platform,
        packages=entry.packages,
    )


def _of_target(words: str, desk: Desk) -> Side:
    found = scene.understand(Wanted(target=words), desk, run_id=new_id())
    with scene.released(found.snapshot, desk):
        environment = scene.furnish(found, desk)
    return Side(label=found.name if words == "." else words, what="project", facts=_of(environment))


def _of(environment: Environment) -> EnvironmentFacts:
    return EnvironmentFacts(
        kind=environment.kind,
        key=environment.key,
        asked=environment.asked,
        python=environment.python,
        platform=environment.platform,
        as_of=environment.as_of,
        image=environment.image,
        packages=environment.packages,
    )
