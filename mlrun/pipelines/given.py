"""Which parameters are for which step: `alpha=1` for all that declare it, `train.alpha=1` for that one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.errors import ParameterError
from mlrun.resolve.parameters import near_miss, printable
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mlrun.model import EntryPoint, Project, RunRequest

Pairs = tuple[tuple[str, str], ...]


def request_of(entry_point: EntryPoint, request: RunRequest, project: Project) -> RunRequest:
    """The request as it concerns one entry point.

    What no entry point declares is the requested one's affair, as where it runs alone.
    """
    return replace(
        request,
        entry_point=entry_point.name,
        parameters=_its_own(entry_point, request.parameters, request, project),
        file_parameters=_its_own(entry_point, request.file_parameters, request, project),
    )


def _its_own(entry_point: EntryPoint, pairs: Pairs, request: RunRequest, project: Project) -> Pairs:
    if not pairs:
        return ()
    declared = {it.name for it in entry_point.parameters}
    everyones = {it.name for each in project.entry_points for it in each.parameters}
    names = {it.name for it in project.entry_points}
    shared, special = [], []
    for name, text in pairs:
        step, own = addressed(name, names)
        if name in declared:
            shared.append((name, text))
        elif step is not None:
            special += [(own, text)] if step == entry_point.name else []
        elif name not in everyones and entry_point.name == request.entry_point:
            shared.append((name, text))
    said = {name for name, _ in special}
    return (*((name, text) for name, text in shared if name not in said), *special)


def addressed(name: str, steps: Collection[str]) -> tuple[str | None, str]:
    """The step that a name begins with, if any, and what it means there; names of steps may have dots."""
    found = max((step for step in steps if name.startswith(f"{step}.")), key=len, default=None)
    return found, name if found is None else name[len(found) + 1 :]


def check(request: RunRequest, steps: Collection[EntryPoint], project: Project) -> None:
    """Refuse what is for nobody: a name for a step that does not run, or one that was surely misspelt.

    Raises ParameterError (`unknown-parameter`).
    """
    running = {it.name for it in steps}
    declared = {it.name for step in steps for it in step.parameters}
    elsewhere = {it.name for it in project.entry_points} - running
    for name, _ in (*request.parameters, *request.file_parameters):
        step = addressed(name, {*running, *elsewhere})[0]
        if name in declared or step in running:
            continue
        if step in elsewhere:
            raise _unknown(
                f"`{printable(name)}` is for `{step}`, which `{request.entry_point}` does not need",
                hint=f"the steps are {_listed(it.name for it in steps)}",
            )
        owners = [it.name for it in project.entry_points if name in {one.name for one in it.parameters}]
        if owners:
            raise _unknown(
                f"no step of `{request.entry_point}` has a parameter `{printable(name)}`; "
                f"`{owners[0]}` has, which does not run",
                hint=f"the steps are {_listed(it.name for it in steps)}",
            )
        near = near_miss(name, sorted(declared))
        other, dot, own = name.partition(".")
        near_step = near_miss(other, sorted(running)) if dot else None
        if near or near_step:
            raise _unknown(
                f"no step of `{request.entry_point}` has a parameter `{printable(name)}`",
                hint=f"did you mean `{near or f'{near_step}.{own}'}`?",
            )
        if dot and len(running) > 1:
            raise _unknown(
                f"`{printable(name)}` is for no step of `{request.entry_point}`, "
                "and no step has a parameter of that name",
                hint=f"the steps are {_listed(it.name for it in steps)}; "
                f"`{request.entry_point}.{printable(name)}` passes it on to `{request.entry_point}`",
            )


def _unknown(message: str, *, hint: str) -> ParameterError:
    return ParameterError(message, hint=hint, code="unknown-parameter")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
