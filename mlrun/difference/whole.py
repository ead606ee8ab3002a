"""A pipeline as one run: what its steps were given, ran and made, under its own name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.errors import StoreError
from mlrun.model import CommandFacts
from mlrun.value import replace

if TYPE_CHECKING:
    from mlrun.model import RunRecord
    from mlrun.store import Store


def whole(record: RunRecord, store: Store) -> RunRecord:
    """The record of a pipeline with the facts of its steps; any other as it is.

    A step's parameters and declared variables are called `STEP.NAME`. All steps of a project have one
    environment. Steps whose records are gone are left out.
    """
    steps = []
    for facts in record.steps:
        try:
            steps.append((facts.name, store.load(facts.run)))
        except StoreError:
            continue
    if not steps:
        return record
    commands = [(name, step.command.text) for name, step in steps if step.command is not None]
    variables = {
        (name if value is None else f"{step}.{name}"): value
        for step, each in steps
        for name, value in each.env_vars
    }
    return replace(
        record,
        parameters=tuple(
            replace(parameter, name=f"{name}.{parameter.name}")
            for name, step in steps
            for parameter in step.parameters
        ),
        environment=next((step.environment for _, step in steps if step.environment), record.environment),
        env_vars=tuple(variables.items()),
        command=_all(commands) if commands else record.command,
        outputs=record.outputs or tuple(output for _, step in steps for output in step.outputs),
    )


def _all(commands: list[tuple[str, str]]) -> CommandFacts:
    return CommandFacts(
        text="\n".join(f"{name}: {text}" for name, text in commands),
        argv=tuple(word for each in commands for word in each),
        cwd="",
    )


def by_step(command: CommandFacts) -> dict[str, str]:
    """What each step of a whole ran."""
    return dict(zip(command.argv[::2], command.argv[1::2], strict=False))
