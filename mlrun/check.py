"""Lint a project without running anything: what `mlrun run` would refuse, and what it would stumble over.

Everything that reads a project is asked in turn (project file, parameters and commands, environment files);
what only shows when all is seen together is looked for here.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Literal

from mlrun import project as projects
from mlrun.errors import MlrunError, ParameterError, ProjectError, UsageError
from mlrun.model import Finding, Parameter, Place, RunRequest
from mlrun.resolve import resolve
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlrun.env import Asked
    from mlrun.model import EntryPoint, Project

_SCRIPT = re.compile(
    r"(?:^|[\s;&|(])(?:(?:python[\d.]*|bash|sh|Rscript)\s+(?:-[^\Wcm]\s+)*|(?=\./))"
    r"(?P<path>[\w./-]+\.(?:py|sh|R))(?![\w{.-])"
)


_MINOR = re.compile(r"(?<![\w./-])python(3\.\d+)(?![\w.])")


@value
class Report:
    """What was found in `file` (None where there is no project file), from top to bottom."""

    file: str | None
    findings: tuple[Finding, ...] = ()
    entry_points: tuple[str, ...] = ()

    @property
    def worst(self) -> Literal["error", "warning"] | None:
        """The highest level among the findings."""
        levels = {finding.level for finding in self.findings}
        return "error" if "error" in levels else "warning" if levels else None


def check(path: Path) -> Report:
    """Examine the project in a directory, which its project file may name as well.

    Raises ProjectError where nothing can be said because something cannot be read, UsageError where `path`
    is another file.
    """
    directory = _directory(path)
    project, findings = projects.examine(directory)
    if project is None:
        return Report(file=findings[0].place.file if findings[0].place else None, findings=findings)
    if project.file is None:
        return Report(file=None, findings=(*findings, _no_project_file(directory)))
    found = [
        *findings,
        *_environment(project, directory),
        *_steps(project, directory),
        *_choice_of_main(project),
    ]
    for entry_point in project.entry_points:
        found += _entry_point(entry_point, project, directory)
    return Report(
        file=project.file,
        findings=tuple(sorted(found, key=_by_place)),
        entry_points=tuple(entry_point.name for entry_point in project.entry_points),
    )


def _directory(path: Path) -> Path:
    if not path.is_file():
        return path
    if not _is_project_file(path.name):
        raise UsageError(
            f"{path} is not a project file", hint=f"give the directory that holds an {projects.FILE_NAME}"
        )
    return path.parent


def _no_project_file(directory: Path) -> Finding:
    scripts = sorted(name for name in os.listdir(directory) if name.endswith((".py", ".sh")))
    hint = "`mlrun init` writes one"
    if scripts:
        hint += f"; without one, `mlrun run . -e {scripts[0]}` runs a script"
    return Finding(
        level="error", code="no-project-file", message=f"there is no {projects.FILE_NAME} here", hint=hint
    )


def _by_place(finding: Finding) -> tuple[bool, str, int, int]:
    """What has no place first, then the project file, then files that it names."""
    place = finding.place
    if place is None:
        return (False, "", 0, 0)
    return (not _is_project_file(place.file), place.file, place.line, place.column)


def _is_project_file(name: str) -> bool:
    return re.fullmatch(r"mlproject(\.(ya?ml|txt))?", name.lower()) is not None


def _warning(code: str, message: str, place: Place | None, hint: str | None = None) -> Finding:
    return Finding(level="warning", code=code, message=message, place=place, hint=hint)


def _from_error(error: MlrunError, place: Place | None) -> Finding:
    return Finding(
        level="error",
        code=error.code,
        message=error.message,
        place=error.place or place,
        hint=error.hint,
    )


# --- the project as a whole ---------------------------------------------------------------------------


def _environment(project: Project, directory: Path) -> Iterator[Finding]:
    """What reading the environment's own files says."""
    from mlrun import env
    from mlrun.env.asking.inference import top_of

    try:
        asked = env.read(project.environment, directory, manager=None, root=top_of(directory))
    except MlrunError as error:
        yield _from_error(error, project.environment.place)
        return
    yield from asked.findings
    for sentence in asked.adaptations:
        yield _adaptation(sentence, project.environment.place)
    yield from _missing_requirements(asked, directory)
    yield from _other_pythons(project, asked)


def _other_pythons(project: Project, asked: Asked) -> Iterator[Finding]:
    """`python3.7` is the machine's, if it has one, unless the environment's Python is of that version."""
    if asked.kind not in ("venv", "conda"):
        return
    for entry_point in project.entry_points:
        for minor in sorted(set(_MINOR.findall(entry_point.command))):
            if asked.python is None or not f"{asked.python}.".startswith(f"{minor}."):
                yield _warning(
                    "other-python",
                    f"the command of `{entry_point.name}` calls `python{minor}`, and the environment asks for"
                    f" {f'Python {asked.python}' if asked.python else 'no version of Python'}",
                    entry_point.place,
                    hint="call `python`, and name the version in the environment's file",
                )


def _adaptation(sentence: str, place: Place | None) -> Finding:
    """What a run would say that it does otherwise; a sentence may begin with its place."""
    if match := re.match(r"(?P<file>[^\s:]+):(?P<line>\d+): (?P<text>.*)", sentence, re.DOTALL):
        place, sentence = Place(file=match["file"], line=int(match["line"])), match["text"]
    return _warning("adapted-environment", sentence, place)


def _missing_requirements(asked: Asked, directory: Path) -> Iterator[Finding]:
    """What the sources import and the environment surely lacks."""
    if asked.kind != "venv" or asked.lock or asked.manifest or asked.local:
        return
    from mlrun.env.asking.imports import missing

    for name, place in missing(asked, directory):
        yield _warning(
            "missing-requirement",
            f"`{name}` is imported, and {asked.summary.partition(':')[0]} does not list it",
            place,
        )


def _steps(project: Project, directory: Path) -> Iterator[Finding]:
    """Whether entry points can be put in order, by what they need and by the files that they exchange."""
    if not any(it.needs or it.outputs for it in project.entry_points):
        return
    from mlrun.pipelines import graph, paths

    there = paths.looking_in(directory)
    yield from graph.problems(project, files=_Anything(os.path.abspath(directory)), is_there=there)


def _choice_of_main(project: Project) -> Iterator[Finding]:
    names = [it.name for it in project.entry_points]
    place = project.entry_points[0].place if names else None
    if not names and not project.broken:
        hint = "`entry_points: {main: {command: python train.py}}`"
        yield _warning("no-entry-points", "the project declares no entry points", place, hint)
    elif "main" not in names:
        message = "no entry point is called `main`, which is what `mlrun run` runs"
        yield _warning("no-main", message, place, f"`mlrun run . -e {names[0]}`" if names else None)


# --- one entry point ----------------------------------------------------------------------------------


def _entry_point(entry_point: EntryPoint, project: Project, directory: Path) -> Iterator[Finding]:
    yield from _trial(entry_point, project, directory)
    yield from _unused(entry_point)
    made = {spec.path for other in project.entry_points for spec in other.outputs}
    for parameter in entry_point.parameters:
        yield from _parameter(parameter, directory, made)
    for script in _missing_scripts(entry_point.command, directory):
        message = f"the command of `{entry_point.name}` runs `{script}`, which does not exist"
        yield _warning("no-such-script", message, entry_point.place)
    if entry_point.command.endswith("\n"):
        yield _warning(
            "trailing-newline",
            f"the command of `{entry_point.name}` ends in a line end: MLflow would take an undeclared "
            "parameter for a command of its own",
            entry_point.place,
            hint="`command: |-`, or `>-`",
        )


def _trial(entry_point: EntryPoint, project: Project, directory: Path) -> Iterator[Finding]:
    """What resolving says of the defaults, with values that fit for whatever has none."""
    required = [it for it in entry_point.parameters if it.default is None]
    request = RunRequest(
        target=".",
        entry_point=entry_point.name,
        parameters=tuple((it.name, _stand_in(it)) for it in required),
    )
    try:
        spec = resolve(project, request, files=_Anything(str(directory)))
    except ParameterError as error:
        if not required:  # else the stand-in may be to blame
            yield _from_error(error, entry_point.place)
    except ProjectError as error:
        yield _from_error(error, entry_point.place)
    else:
        yield from (it for it in spec.findings if it.place)


class _Anything:
    """A world in which every path exists: whether it does is told apart, with a place."""

    def __init__(self, directory: str) -> None:
        self.project_directory = directory
        self.caller_directory = directory

    def exists(self, path: str) -> bool:
        return bool(path)

    def download(self, url: str) -> str:
        from mlrun import references

        if references.is_reference(url):
            references.examine(url)
        return f"/{os.path.basename(url)}"


def _stand_in(parameter: Parameter) -> str:
    if parameter.choices:
        return parameter.choices[0]
    bound = parameter.minimum if parameter.minimum is not None else parameter.maximum
    if bound is not None:
        return f"{bound:g}"
    return {"bool": "true", "uri": "file:///x", "path": "x"}.get(parameter.kind, "1")


def _unused(entry_point: EntryPoint) -> Iterator[Finding]:
    specs = (*entry_point.inputs, *entry_point.outputs)
    texts = [entry_point.command, *(it.path for it in specs), *(value for _, value in entry_point.env)]
    for parameter in entry_point.parameters:
        placeholder = re.compile(r"\{" + re.escape(parameter.name) + r"(:[^{}]*)?\}")
        if not any(placeholder.search(text) for text in texts):
            message = f"parameter `{parameter.name}` of `{entry_point.name}` is never used"
            hint = f"`{{{parameter.name}}}` in the command is replaced by its value"
            yield _warning("unused-parameter", message, parameter.place, hint)


def _parameter(parameter: Parameter, directory: Path, made: set[str]) -> Iterator[Finding]:
    default = parameter.default
    if parameter.secret and default is not None:
        message = f"the default of the secret `{parameter.name}` is in the project file for all to read"
        yield _warning("secret-default", message, parameter.place, hint="leave the default out")
    if parameter.kind == "path" and default and default not in made and not _is_there(default, directory):
        message = f"the default of `{parameter.name}` is not in the project: there is no `{default}`"
        yield _warning("no-such-path", message, parameter.place)


def _is_there(path: str, directory: Path) -> bool:
    """What has a scheme is somewhere else."""
    return bool(re.match(r"\w+:", path)) or os.path.exists(os.path.join(directory, path))


def _missing_scripts(command: str, directory: Path) -> list[str]:
    """Scripts that a command surely names; after a `cd` nothing is sure."""
    if re.search(r"(?:^|[\s;&|(])(?:cd|pushd)\s", command):
        return []
    paths = dict.fromkeys(match["path"] for match in _SCRIPT.finditer(command))
    return [path for path in paths if not os.path.exists(os.path.join(directory, path))]
