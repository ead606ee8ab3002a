"""Project and request become a run specification: which command, with which values, in and out of what.

Pure: whatever must be looked up outside comes through a `Locator`. How values are kept from becoming
shell syntax is told in `bash` and `spots`, where values come from in `parameters`.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, TypeVar

from mlrun.errors import ParameterError, ProjectError
from mlrun.model import EntryPoint, Finding, RunSpec, Tolerance
from mlrun.pattern import pattern
from mlrun.resolve.parameters import Locator as Locator
from mlrun.resolve.parameters import bind, fetched, near_miss, printable
from mlrun.resolve.spots import HOLE, Spot, bare
from mlrun.value import positional_value, replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlrun.model import BoundParameter, DataSpec, Place, Project, RunRequest

Said = TypeVar("Said")

_LONGEST_ARGUMENT = 128 * 1024 - 1  # Linux, MAX_ARG_STRLEN


def resolve(project: Project, request: RunRequest, *, files: Locator) -> RunSpec:
    """Decide what a request means for a project.

    Raises ProjectError (`no-such-entry-point`, `bad-placeholder`) and ParameterError.
    """
    entry_point, declared = _entry_point(project, request.entry_point, files)
    parameters, findings = bind(entry_point, request, declared=declared, files=files)
    known = tuple(it for it in parameters if it.origin != "undeclared")
    extras = tuple(it for it in parameters if it.origin == "undeclared")
    command, shown = _command(entry_point, known, extras)
    texts = {it.name: it.text for it in known}
    outputs = _data(entry_point.outputs, texts)
    inputs, named = _inputs(entry_point, texts, files)
    return RunSpec(
        entry_point=entry_point.name,
        command=command,
        shown_command=shown,
        argv=("bash", "-c", command),
        parameters=parameters,
        variables=(
            *((name, filled(text, texts, entry_point.place)) for name, text in entry_point.env),
            *((f"MLRUN_INPUT_{number}", path) for number, path in enumerate(named, 1)),
        ),
        inputs=inputs,
        outputs=outputs,
        timeout=entry_point.timeout if request.timeout is None else request.timeout,
        resources=entry_point.resources,
        findings=(
            *findings,
            *(_outside(spec) for spec in outputs if _leaves(spec.path)),
        ),
        observe=_first(request.observe, _first(entry_point.observe, project.observe, "auto"), "auto"),
        deterministic=_first(entry_point.deterministic, project.deterministic, True),
        tolerance=_first(entry_point.tolerance, project.tolerance, Tolerance()),
        cache=bool(entry_point.cache if request.cache is None else request.cache),
        code=entry_point.code,
    )


def _first(own: Said | None, of_project: Said | None, otherwise: Said) -> Said:
    """What an entry point says, else what its project says, else what nobody needs to say."""
    return own if own is not None else of_project if of_project is not None else otherwise


# --- the entry point ----------------------------------------------------------------------------------


def _entry_point(project: Project, name: str, files: Locator) -> tuple[EntryPoint, bool]:
    """The declared entry point of that name, or a script of the project that serves as one."""
    for entry_point in project.entry_points:
        if entry_point.name == name:
            return entry_point, True
    for broken, error in project.broken:
        if broken == name:
            raise ProjectError(error.message, hint=error.hint, code=error.code, place=error.place)
    command = _script_command(name)
    if command is None:
        raise _no_such_entry_point(project, name)
    path = os.path.normpath(name)
    if _leaves(path):
        raise ProjectError(f"script `{printable(name)}` is outside the project", code="no-such-entry-point")
    if not files.exists(os.path.join(files.project_directory, path)):
        raise ProjectError(
            f"the project has neither an entry point nor a script `{printable(name)}`",
            hint="give the script's path from the project's own folder",
            code="no-such-entry-point",
        )
    return EntryPoint(name=name, command=command), False


def _script_command(name: str) -> str | None:
    """How a script is run, by its ending: with bash, and not `$SHELL` as MLflow does, so that the same
    project does the same whoever runs it."""
    path = f"./{name}" if name.startswith("-") else name
    match os.path.splitext(name)[1]:
        case ".py":
            command = f"python {bare(path)}"
        case ".sh":
            command = f"bash {bare(path)}"
        case ".R":
            text = path.replace("\\", "\\\\").replace("'", "\\'")
            source = f"mlflow::mlflow_source('{text}')"
            command = f"Rscript -e {bare(source)} --args"
        case _:
            return None
    return command.replace("{", "{{").replace("}", "}}")


def _no_such_entry_point(project: Project, name: str) -> ProjectError:
    names = [it.name for it in project.entry_points]
    listed = ", ".join(f"`{it}`" for it in names)
    if project.file is None:
        message = f"there is no MLproject file here that says what `{printable(name)}` is"
        hint = "run a script with `-e SCRIPT.py` or `-e SCRIPT.sh`, or write an MLproject with `mlrun init`"
    else:
        near = near_miss(name, names)
        message = f"no entry point `{printable(name)}`: {project.file} declares {listed or 'none'}"
        hint = (
            f"did you mean `{near}`?"
            if near
            else f"choose one with `-e {names[0] if names else 'SCRIPT.py'}`"
        )
    return ProjectError(message, hint=hint, code="no-such-entry-point")


# --- templates ----------------------------------------------------------------------------------------


@positional_value
class _Field:
    """A placeholder: a parameter's name, and a format of Python's for text (`>10`), mostly empty."""

    name: str
    format: str = ""

    def of(self, values: Mapping[str, str]) -> str:
        return format(values[self.name], self.format)


_BRACES = pattern(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def _template(
    text: str, names: Sequence[str] | Mapping[str, str], place: Place | None
) -> tuple[str, tuple[_Field, ...]]:
    """The text with a `HOLE` for every placeholder, and the placeholders, by the rules of `str.format`.

    Raises ProjectError for braces that are neither doubled nor hold a declared name.
    """
    text = text.replace(HOLE, "")
    if "{" not in text and "}" not in text:  # as nearly all
        return text, ()
    fields: list[_Field] = []

    def literal(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        field = _field(match[1], names)
        if field is None:
            raise _bad_braces(text, match, names, place)
        fields.append(field)
        return HOLE

    return _BRACES.sub(literal, text), tuple(fields)


def _field(inside: str | None, names: Sequence[str] | Mapping[str, str]) -> _Field | None:
    if inside is None:
        return None
    if inside in names:
        return _Field(inside)
    name, _, spec = inside.partition(":")
    try:
        format("", spec)
    except ValueError:
        return None
    return _Field(name, spec) if name in names else None


def _bad_braces(
    text: str, match: re.Match[str], names: Sequence[str] | Mapping[str, str], place: Place | None
) -> ProjectError:
    near = near_miss(match[1] or "", names)
    line = text.count("\n", 0, match.start()) + 1
    where = f" (line {line})" if "\n" in text.strip() else ""
    message = f"`{printable(match[0])}` in `{_around(text, match)}`{where} is no declared parameter"
    if match[0] in ("{", "}"):
        message = f"a lone `{match[0]}` in `{_around(text, match)}`{where}"
    return ProjectError(
        message,
        hint=f"did you mean `{{{near}}}`?"
        if near
        else "a brace that is meant as such is doubled: `{{` and `}}`",
        code="bad-placeholder",
        place=place,
    )


def _around(text: str, match: re.Match[str]) -> str:
    start, end = max(match.start() - 20, 0), match.end() + 20
    line = text[start : match.start()].rpartition("\n")[2] + text[match.start() : end].partition("\n")[0]
    return printable(line.strip())


def filled(text: str, values: Mapping[str, str], place: Place | None) -> str:
    """A template that no shell will see, with its values. Raises ProjectError for a name without one."""
    holed, fields = _template(text, values, place)
    parts = holed.split(HOLE)
    return parts[0] + "".join(field.of(values) + part for field, part in zip(fields, parts[1:], strict=True))


# --- inputs and outputs -------------------------------------------------------------------------------


def _data(specs: tuple[DataSpec, ...], values: Mapping[str, str]) -> tuple[DataSpec, ...]:
    """Specs with their paths filled in; one that a value leaves empty names nothing."""
    found = [replace(spec, path=filled(spec.path, values, spec.place)) for spec in specs]
    return tuple(spec for spec in found if spec.path)


def _inputs(
    entry_point: EntryPoint, values: Mapping[str, str], files: Locator
) -> tuple[tuple[DataSpec, ...], tuple[str, ...]]:
    """What goes in; and where that lies which is named as the output of a run (`run:NAME:PATH`)."""
    found, named = [], []
    for spec in _data(entry_point.inputs, values):
        if spec.path.startswith("run:"):
            spec = replace(spec, path=fetched(spec.path, spec.place, files), reference=spec.path)
            named.append(spec.path)
        found.append(spec)
    return tuple(found), tuple(named)


def _leaves(path: str) -> bool:
    return os.path.isabs(path) or os.path.normpath(path).split("/")[0] == ".."


def _outside(spec: DataSpec) -> Finding:
    return Finding(
        level="warning",
        code="output-outside",
        message=f"output `{printable(spec.path)}` is outside the project",
        place=spec.place,
    )


# --- the command --------------------------------------------------------------------------------------

_TRAILING = r"(?:\s|\\\n)*\Z"


def _command(
    entry_point: EntryPoint, known: Sequence[BoundParameter], extras: Sequence[BoundParameter]
) -> tuple[str, str]:
    """The command with its values, and the same with those of secret parameters masked."""
    text, fields = _template(entry_point.command, [it.name for it in known], entry_point.place)
    values = {it.name: it.text for it in known}
    if extras:
        text, fields, values = _appended(entry_point, text, fields, values, extras)
    spots = _spots(text) if fields else ()
    secrets = {it.name for it in known if it.secret}
    parts = text.split(HOLE)
    plain, shown = [parts[0]], [parts[0]]
    for field, spot, part in zip(fields, spots, parts[1:], strict=True):
        written = _written(field.of(values), spot, field, entry_point, secret=field.name in secrets)
        plain += [written, part]
        shown += ["***" if field.name in secrets else written, part]
    return _passable("".join(plain)), "".join(shown)


def _spots(text: str) -> tuple[Spot, ...]:
    from mlrun.resolve.bash import read  # most commands of a pipeline have no placeholders

    return read(text).spots


def _appended(
    entry_point: EntryPoint,
    text: str,
    fields: tuple[_Field, ...],
    values: dict[str, str],
    extras: Sequence[BoundParameter],
) -> tuple[str, tuple[_Field, ...], dict[str, str]]:
    """The command with ` --name value` for every undeclared parameter, as its last command's arguments.

    Line ends after it are dropped: MLflow appends behind them, where a new command begins.
    """
    from mlrun.resolve.bash import read

    text, first = re.sub(_TRAILING, "", text), extras[0].name
    if not read(text).appendable:
        raise ParameterError(
            f"nothing can be appended to the command of entry point `{entry_point.name}`: it ends in a "
            "comment, a here-document or a compound command",
            hint=f"declare `{first}` under `parameters` and put `{{{first}}}` into the command",
            code="cannot-append",
            place=entry_point.place,
        )
    for extra in extras:
        text += f" {HOLE} {HOLE}"
        fields += (_Field(f"--{extra.name}"), _Field(f" {extra.name}"))
        values = {**values, f"--{extra.name}": f"--{extra.name}", f" {extra.name}": extra.text}
    return text, fields, values


def _written(value: str, spot: Spot, field: _Field, entry_point: EntryPoint, *, secret: bool) -> str:
    if spot.nothing:
        raise ProjectError(
            f"`{{{field.name}}}` in the command {spot.reason}",
            code="bad-placeholder",
            place=entry_point.place,
        )
    if not spot.admits(value):
        shown = "the secret value" if secret else f"`{printable(value)}`"
        raise ParameterError(
            f"{shown} cannot stand where the command has `{{{field.name.strip()}}}`: the value {spot.reason}",
            hint="give another value, or pass it to a program as an argument of its own in the command",
            code="unsafe-value",
            place=entry_point.place,
        )
    return spot.write(value)


def _passable(command: str) -> str:
    if len(os.fsencode(command)) > _LONGEST_ARGUMENT:
        raise ParameterError(
            f"the command is {len(os.fsencode(command)):,} bytes long, and no more than "
            f"{_LONGEST_ARGUMENT:,} can be given to a shell",
            hint="put the long value into a file and pass its path",
            code="command-too-long",
        )
    return command
