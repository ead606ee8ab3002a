"""Write a good `MLproject` from what lies in a directory.

Scripts are read, never run: their command line becomes parameters, the files they surely write outputs, and
where no file names an environment, their imports do. Every guess is told, to be looked over.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun.env.asking.imports import distributions, find
from mlrun.errors import ProjectError
from mlrun.files import write_atomic
from mlrun.init.arguments import read_arguments
from mlrun.init.outputs import read_outputs
from mlrun.init.scripts import Script, find_scripts
from mlrun.project import FILE_NAME
from mlrun.value import value
from mlrun.yamlfile import quoted

if TYPE_CHECKING:
    from mlrun.init.options import Arguments, Option
    from mlrun.model import DataSpec

_ENVIRONMENT_FILES = {
    "python_env.yaml": "python_env: {}",
    "conda.yaml": "conda_env: {}",
    "conda.yml": "conda_env: {}",
    "environment.yml": "conda_env: {}",
    "environment.yaml": "conda_env: {}",
    "pylock.toml": "environment: {{requirements: {}}}",
    "uv.lock": "environment: {{requirements: {}}}",
    "requirements.txt": "environment: {{requirements: {}}}",
    "pyproject.toml": "environment: {{requirements: {}}}",
    "setup.py": "environment: {{requirements: {}}}",
    "Pipfile.lock": "environment: {{requirements: {}}}",
    "Pipfile": "environment: {{requirements: {}}}",
}
"""What the project file says where such a file is there; the first one counts."""
_MADE = re.compile(
    r"(^|_)(out|save|dest|target|log|result|model|checkpoint|ckpt|report|plot|fig)", re.IGNORECASE
)


@value
class Proposal:
    """The text of a project file for `path`; `guesses` say, a sentence each, what it rests on."""

    path: Path
    text: str
    guesses: tuple[str, ...] = ()


def propose(directory: Path) -> Proposal:
    """Read a directory and say what its project file could be; nothing is written or run.

    Raises ProjectError where there is no such directory, or nothing in it to run (`nothing-to-run`).
    """
    directory = Path(os.path.abspath(directory))
    if not directory.is_dir():
        raise ProjectError(f"there is no directory {directory}", code="no-such-directory")
    scripts = find_scripts(directory)
    if not scripts:
        raise ProjectError(
            f"found no script to run in {directory}",
            hint='a script has `if __name__ == "__main__"`, reads its arguments, or is called `train.py`',
            code="nothing-to-run",
        )
    environment, guesses = _environment(directory, scripts)
    lines = [f"name: {_name(directory)}", "", *environment, "entry_points:"]
    for script in scripts:
        block, said = _entry_point(script, directory)
        lines += block
        guesses += said
    return Proposal(path=directory / FILE_NAME, text="\n".join(lines) + "\n", guesses=tuple(guesses))


def write(proposal: Proposal) -> None:
    """Put a proposal in its place, whole or not at all.

    Raises ProjectError where there is a project file already (`project-exists`), or it cannot be written.
    """
    path = proposal.path
    try:
        for name in os.listdir(path.parent):
            if name.lower() == FILE_NAME.lower():
                raise ProjectError(
                    f"{path.parent / name} exists already",
                    hint="`mlrun init --dry-run` prints what it would be",
                    code="project-exists",
                )
        write_atomic(path, proposal.text.encode())
    except OSError as error:
        raise ProjectError(f"cannot write {path}: {error.strerror}", code="cannot-write") from error


def _name(directory: Path) -> str:
    try:
        return quoted(directory.name or "project")
    except ValueError:  # a file name that is no text
        return "project"


# --- the environment ----------------------------------------------------------------------------------


def _environment(directory: Path, scripts: tuple[Script, ...]) -> tuple[list[str], list[str]]:
    """The lines that name an environment, and what they rest on."""
    for name, line in _ENVIRONMENT_FILES.items():
        if (directory / name).is_file() and (name != "pyproject.toml" or _is_package(directory / name)):
            return [line.format(name), ""], [f"the environment is that of {name}"]
    found = find([directory / it.path for it in scripts if it.tree], directory)
    requirements = distributions(found).names
    if not requirements:
        return ["environment: {requirements: []}", ""], [
            "the environment holds no packages: none is imported"
        ]
    lines = ["environment:", "  requirements:", *(f"    - {name}" for name in requirements), ""]
    return lines, [f"the environment is what the scripts import, unpinned: {', '.join(requirements)}"]


def _is_package(path: Path) -> bool:
    """Whether a `pyproject.toml` is about a project, and not the settings of some tool alone."""
    import tomllib

    try:
        with open(path, "rb") as file:
            found = tomllib.load(file)
    except (OSError, ValueError):
        return False
    return "project" in found or "poetry" in found.get("tool", {})


# --- entry points -------------------------------------------------------------------------------------


def _entry_point(script: Script, directory: Path) -> tuple[list[str], list[str]]:
    arguments = read_arguments(script.tree) if script.tree else None
    outputs = read_outputs(script.tree) if script.tree else ()
    lines = [f"  {quoted(script.name)}:"]
    if arguments and arguments.options:
        lines.append("    parameters:")
        lines += [f"      {quoted(it.name)}: {_parameter(it, directory)}" for it in arguments.options]
    if outputs:
        lines.append("    outputs:")
        lines += [f"      - {_output(spec)}" for spec in outputs]
    lines.append(f"    command: {quoted(_command(script, arguments))}")
    return lines, list(_said(script, arguments, outputs))


def _said(script: Script, arguments: Arguments | None, outputs: tuple[DataSpec, ...]) -> list[str]:
    name = f"`{script.name}`"
    said = [f"{name} runs {script.path}: {script.why}"]
    if arguments and arguments.options:
        options = ", ".join(option.name for option in arguments.options)
        said.append(f"{name} takes {options}: from the {arguments.library} arguments")
    if arguments and arguments.left_out:
        said.append(f"{name} does not take {', '.join(arguments.left_out)}")
    if outputs:
        said.append(f"{name} makes {', '.join(spec.path for spec in outputs)}")
    return said


def _command(script: Script, arguments: Arguments | None) -> str:
    path = shlex.quote(f"./{script.path}" if script.path.startswith("-") else script.path)
    command = f"python {path}" if script.tree else f"bash {path}"
    if script.as_module:
        command = f"python -m {script.path.removesuffix('.py').replace('/', '.')}"
    command = command.replace("{", "{{").replace("}", "}}")
    for option in arguments.options if arguments else ():
        command += f" {option.flag} {{{option.name}}}" if option.flag else f" {{{option.name}}}"
    return command


def _parameter(option: Option, directory: Path) -> str:
    """A parameter in one line: its type alone where there is nothing else to say."""
    kind = "path" if _is_input(option, directory) else option.kind
    fields = [f"type: {kind}"]
    if option.choices:
        fields.append(f"choices: [{', '.join(_literal(choice) for choice in option.choices)}]")
    if option.default is not None:
        fields.append(f"default: {_literal(option.default)}")
    if option.description:
        fields.append(f"description: {quoted(option.description)}")
    return kind if len(fields) == 1 else "{" + ", ".join(fields) + "}"


def _is_input(option: Option, directory: Path) -> bool:
    """Whether the default is a file or folder that is there and not what the script makes."""
    path = option.default
    if option.kind != "string" or not isinstance(path, str) or path.strip("./") == "":
        return False
    return not _MADE.search(option.name) and os.path.exists(directory / path)


def _literal(value: str | float | None) -> str:
    return quoted(value) if isinstance(value, str) else repr(value)


def _output(spec: DataSpec) -> str:
    path = quoted(spec.path)
    return path if spec.kind == "file" else f"{{path: {path}, kind: {spec.kind}}}"
