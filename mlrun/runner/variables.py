"""Whose variables a program sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlrun.model import Environment
    from mlrun.recording import Prepared
    from mlrun.runner.values import Stage


def given(prepared: Prepared, environment: Environment, stage: Stage) -> dict[str, str]:
    """The variables that others give the program: the caller, the environment, the project."""
    found = {**told(environment, prepared, stage), **dict(environment.variables)}
    container = prepared.asked.container
    for name, text in container.variables if container else ():
        if text is not None or name in stage.caller.variables:
            found[name] = stage.caller.variables.get(name, "") if text is None else text
    return found | dict(prepared.spec.variables)


def told(environment: Environment, prepared: Prepared, stage: Stage) -> Mapping[str, str]:
    """Of the caller's variables those that the program sees: into a container come only the declared ones."""
    callers = {} if environment.kind == "docker" else stage.caller.variables
    return {**callers, **dict(prepared.spec.variables)}


def changed(variables: Mapping[str, str], settings: Mapping[str, str | None]) -> Mapping[str, str]:
    kept = {name: text for name, text in variables.items() if name not in settings}
    return kept | {name: text for name, text in settings.items() if text is not None}
