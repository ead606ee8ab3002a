"""What a project needs, and what of that is not there."""

from __future__ import annotations

import glob
import os
import re
from typing import TYPE_CHECKING

from mlrun import env, host, scene
from mlrun.doctor.values import Check, Needs
from mlrun.errors import MlrunError
from mlrun.store.names import new_id
from mlrun.views import words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlrun.model import EntryPoint
    from mlrun.scene import Desk, Scene, Wanted

_FIELD = re.compile(r"\{(\w+)\}")


def examine(desk: Desk, wanted: Wanted, *, entry_point: str | None) -> Needs:
    """Everything about one project; a project that cannot be read is itself what is lacking."""
    from mlrun import source

    try:
        found = scene.understand(wanted, desk, run_id=new_id())
    except MlrunError as error:
        check = Check(
            code="project", state="lacking", text=str(error), hint=error.hint, details=error.details
        )
        return Needs(name=source.without_credentials(wanted.target), checks=(check,))
    with scene.released(found.snapshot, desk):
        point = _entry_point(found, entry_point)
        checks = [_environment(found, desk), *_notes(found), *_variables(found, desk)]
        if point is not None:
            checks += [*_parameters(point), *_inputs(point, found), *_resources(point)]
        elif entry_point is not None:
            names = ", ".join(each.name for each in found.project.entry_points) or "none"
            text = f"no entry point `{entry_point}`; there are: {names}"
            checks.append(Check(code="entry-point", state="lacking", text=text, needed=True))
        return Needs(name=found.name, checks=tuple(checks), needed=_needed(found))


def _entry_point(found: Scene, name: str | None) -> EntryPoint | None:
    points = {each.name: each for each in found.project.entry_points}
    return points.get(name or "main")


def _needed(found: Scene) -> frozenset[str]:
    """The machine's own abilities that this project cannot do without."""
    return frozenset({found.asked.kind} & {"docker", "conda"})


def _environment(found: Scene, desk: Desk) -> Check:
    """Whether the environment is there, or can be begun with."""
    try:
        plan = env.plan(
            found.asked,
            directory=found.snapshot.directory,
            tree=found.snapshot.tree,
            cache=desk.cache,
            caller=desk.caller,
            day=found.day,
        )
    except MlrunError as error:
        return Check(
            code="environment", state="lacking", text=error.message, hint=error.hint, details=error.details
        )
    ready = {"reuse": "ready", "build": "not built yet", "none": "nothing to build"}[plan.action]
    python = f", Python {plan.python}" if plan.python else ""
    as_of = f", as of {found.day.as_of[:10]}" if found.day.as_of else ""
    return Check(code="environment", state="ok", text=f"{plan.kind}{python}{as_of}, {ready}: {plan.summary}")


def _notes(found: Scene) -> Iterator[Check]:
    for finding in (*found.project.findings, *found.asked.findings):
        place = f"{finding.place}: " if finding.place else ""
        yield Check(code=finding.code, state="note", text=f"{place}{finding.message}", hint=finding.hint)


def _variables(found: Scene, desk: Desk) -> Iterator[Check]:
    """Variables that a container gets from the caller."""
    container = found.asked.container
    for name, value in container.variables if container else ():
        if value is None and name not in desk.caller.variables:
            text = f"`docker_env` copies {name}, which is not set"
            yield Check(code="variable", state="lacking", text=text, hint=f"`export {name}=…`")


def _parameters(point: EntryPoint) -> Iterator[Check]:
    required = [parameter for parameter in point.parameters if parameter.default is None]
    if required:
        names = ", ".join(f"{parameter.name} ({parameter.kind})" for parameter in required)
        flags = " ".join(f"-P {parameter.name}=…" for parameter in required)
        entry = "" if point.name == "main" else f" -e {point.name}"
        yield Check(
            code="parameter", state="note", text=f"to be given: {names}", hint=f"`mlrun run{entry} {flags}`"
        )


# --- data ---------------------------------------------------------------------------------------------


def _inputs(point: EntryPoint, found: Scene) -> Iterator[Check]:
    """Declared inputs, and data that parameters name by default, that are not there."""
    defaults = {it.name: it.default for it in point.parameters if it.default is not None}
    paths = [_filled(spec.path, defaults) for spec in point.inputs]
    paths += [
        it.default
        for it in point.parameters
        if it.kind == "path" and it.default and "://" not in it.default and not _is_output(it.default, point)
    ]
    for path in dict.fromkeys(path for path in paths if path is not None):
        if not _is_there(path, found.snapshot.directory):
            maker = _maker_of(path, found)
            hint = f"`mlrun run . -e {maker}` makes it" if maker else None
            yield Check(code="input", state="lacking", text=f"the input {path} is not there", hint=hint)


def _filled(template: str, defaults: dict[str, str]) -> str | None:
    """A path with its parameters' defaults; None where it depends on one that has none."""
    if any(name not in defaults for name in _FIELD.findall(template)):
        return None
    return _FIELD.sub(lambda field: defaults[field[1]], template)


def _is_output(path: str, point: EntryPoint) -> bool:
    defaults = {it.name: it.default for it in point.parameters if it.default is not None}
    return any(_filled(spec.path, defaults) == path for spec in point.outputs)


def _is_there(path: str, directory: Path) -> bool:
    full = os.path.join(directory, path)
    return os.path.exists(full) or next(glob.iglob(full, recursive=True), None) is not None


def _maker_of(path: str, found: Scene) -> str | None:
    """The entry point that has it among its outputs."""
    for point in found.project.entry_points:
        for spec in point.outputs:
            output = os.path.normpath(spec.path)
            if os.path.normpath(path) == output or os.path.normpath(path).startswith(f"{output}/"):
                return point.name
    return None


def _resources(point: EntryPoint) -> Iterator[Check]:
    """More than the machine has."""
    asked, machine = point.resources, host.describe()
    if asked.cpus and machine.cores and asked.cpus > machine.cores:
        yield _short(f"{asked.cpus:g} CPUs", words.plural(machine.cores, "core"))
    if asked.memory and machine.memory and asked.memory > machine.memory:
        yield _short(words.size(asked.memory), words.size(machine.memory))
    if asked.gpus and asked.gpus > len(machine.gpus):
        yield _short(words.plural(asked.gpus, "GPU"), str(len(machine.gpus) or "none"))


def _short(asked: str, there: str) -> Check:
    return Check(code="resources", state="lacking", text=f"the project asks for {asked}, and here is {there}")
