"""The project file: a directory's `MLproject`, understood.

What MLflow accepts is accepted, with a warning where it is surely a slip; what cannot work is an error with
its place. An error inside one entry point spoils that entry point only, as it does in MLflow, which looks at
a command when it runs it; but `main` must be sound.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from mlrun import yamlfile
from mlrun.errors import ProjectError
from mlrun.model import Finding, Place, Project
from mlrun.project.entry_points import read_entry_points
from mlrun.project.environment import ENVIRONMENT_KEYS, names_no_file, read_environment
from mlrun.project.notes import Notes, by_place, what
from mlrun.project.values import (
    check_keys,
    key_place,
    means_of_observing,
    optional,
    respelled,
    seconds,
    switch,
    tolerance,
)
from mlrun.value import positional_value, replace
from mlrun.yamlfile import MapNode, Scalar, is_null

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.yamlfile import Memory, Node

__all__ = ["FILE_NAME", "PROJECT_KEYS", "examine", "read", "seconds"]

FILE_NAME = "MLproject"
PROJECT_KEYS = (
    "name", *ENVIRONMENT_KEYS, "databricks_spark_job", "entry_points", "observe", "deterministic", "repro",
)  # fmt: skip


def read(directory: Path, *, memory: Memory | None = None) -> Project:
    """Understand a directory's project; `Project(file=None)` where it has no project file.

    Warnings are in `findings`, entry points that cannot run in `broken`. Raises ProjectError, with the
    first error's place and the others as details.
    """
    reading = _read(directory, memory)
    if reading.fatal:
        first, *others = reading.fatal
        raise ProjectError(
            first.message,
            hint=first.hint,
            code=first.code,
            place=first.place,
            details=tuple(f"{error.place}: {error.message}" for error in others),
        )
    warnings = [finding for finding in reading.findings if finding.level == "warning"]
    spoiled = [_as_warning(name, error) for name, error in reading.project.broken]
    return replace(reading.project, findings=(*warnings, *spoiled))


def examine(directory: Path) -> tuple[Project | None, tuple[Finding, ...]]:
    """All that there is to say about a directory's project file, errors included.

    The project is None where nothing of it can run. Raises ProjectError where nothing can be said: the
    directory or the file cannot be read.
    """
    try:
        reading = _read(directory)
    except ProjectError as error:
        if error.place is None:
            raise
        finding = Finding(
            level="error", code=error.code, message=error.message, place=error.place, hint=error.hint
        )
        return None, (finding,)
    return (None if reading.fatal else reading.project), reading.findings


@positional_value
class _Reading:
    """`findings` are all, `fatal` the errors after which nothing sensible can run."""

    project: Project
    findings: tuple[Finding, ...]
    fatal: tuple[Finding, ...] = ()


def _read(directory: Path, memory: Memory | None = None) -> _Reading:
    notes = Notes()
    file = _project_file(directory, notes)
    if file is None:
        findings = tuple(notes.findings)
        return _Reading(Project(findings=findings), findings)
    document = yamlfile.read(directory / file, file=file, memory=memory)
    notes.findings += document.findings
    if not isinstance(document.root, MapNode):
        raise _no_mapping(document.root, file)
    root = respelled(
        document.root, PROJECT_KEYS, notes, unless=lambda key, value: names_no_file(key, value, directory)
    )
    check_keys(root, PROJECT_KEYS, "the project", notes, essential=("entry_points",))
    _refuse_databricks(root, notes)
    project = Project(
        name=_name(root.get("name"), notes),
        file=file,
        environment=read_environment(root, directory, notes),
        observe=optional(root.get("observe"), means_of_observing, notes),
        deterministic=optional(root.get("deterministic"), switch("deterministic"), notes),
        tolerance=tolerance(root.get("repro"), notes),
    )
    return _with_entry_points(project, root, notes)


def _with_entry_points(project: Project, root: MapNode, notes: Notes) -> _Reading:
    pairs = read_entry_points(root, notes)
    sound = tuple(entry_point for entry_point, own in pairs if not own.errors)
    broken = tuple((entry_point.name, own.errors[0]) for entry_point, own in pairs if own.errors)
    fatal = notes.errors
    if not sound or "main" in dict(broken):
        fatal += [error for _, own in pairs for error in own.errors]
    findings = notes.findings + [finding for _, own in pairs for finding in own.findings]
    return _Reading(
        replace(project, entry_points=sound, broken=broken),
        tuple(sorted(findings, key=by_place)),
        tuple(sorted(fatal, key=by_place)),
    )


def _as_warning(name: str, error: Finding) -> Finding:
    return replace(error, level="warning", message=f"entry point `{name}` cannot run: {error.message}")


# --- the file -----------------------------------------------------------------------------------------


def _project_file(directory: Path, notes: Notes) -> str | None:
    """The project file's name: its case does not matter, but the exact name comes first."""
    names = _names_in(directory)
    found = sorted(
        (name for name in names if name.lower() == FILE_NAME.lower() and not (directory / name).is_dir()),
        key=lambda name: (name != FILE_NAME, name),
    )
    if not found:
        return _misnamed(directory, names, notes)
    if len(found) > 1:
        unread = ", ".join(f"`{name}`" for name in found[1:])
        message = f"there are several project files: `{found[0]}` is read, {unread} not"
        notes.warn("several-project-files", message, Place(file=found[0], line=1))
    return found[0]


def _names_in(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        raise ProjectError(f"there is no directory {directory}", code="no-such-directory") from None
    except OSError as error:
        message = f"cannot read {directory}: {error.strerror}"
        raise ProjectError(message, code="unreadable-directory") from error


def _misnamed(directory: Path, names: list[str], notes: Notes) -> str | None:
    """A project file with an ending, which MLflow does not find; of several, none is read."""
    found = [name for name in names if re.fullmatch(r"mlproject\.(ya?ml|txt)", name.lower())]
    found = [name for name in found if not (directory / name).is_dir()]
    for name in found:
        message = f"`{name}` is read, but MLflow knows only `{FILE_NAME}`"
        if len(found) > 1:
            message = f"`{name}` is not read: a project file is called `{FILE_NAME}`"
        notes.warn("misnamed-project-file", message, Place(file=name, line=1), f"`mv {name} {FILE_NAME}`")
    return found[0] if len(found) == 1 else None


def _no_mapping(root: Node | None, file: str) -> ProjectError:
    if root is None or is_null(root):
        return ProjectError(
            f"{file} is empty",
            place=Place(file=file, line=1),
            hint="the least that runs: `entry_points: {main: {command: python train.py}}`",
            code="empty-project",
        )
    return ProjectError(
        f"a project file must hold keys with values, not {what(root)}",
        place=root.place,
        hint="start with `entry_points:`",
    )


def _refuse_databricks(root: MapNode, notes: Notes) -> None:
    if not is_null(root.get("databricks_spark_job")):
        notes.error(
            "databricks-project",
            "this project is a Databricks Spark job, which runs on Databricks only",
            key_place(root, "databricks_spark_job"),
            hint="`mlflow run . --backend databricks`",
        )


def _name(node: Node | None, notes: Notes) -> str | None:
    if node is None or is_null(node):
        return None
    if isinstance(node, Scalar):
        return node.text.strip() or None
    notes.warn("bad-name", f"`name` must be text, not {what(node)}; it is ignored", node.place)
    return None
