"""What a project asks of its environment: the file that it names, else the one that lies there.

Nothing is resolved here and no process is started. Order of inference: MLflow's own files first, then locks,
then what people keep requirements in.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mlrun.env.requirements import Gathered, add_item, read_file, read_text
from mlrun.env.values import Asked, CondaAsked, LocalProject, Requirement
from mlrun.env.versions import normal_python
from mlrun.errors import ProjectError
from mlrun.model import Finding, Place
from mlrun.value import draft, field, replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlrun.model import EnvironmentRequest

MLFLOWS_OWN = ("python_env.yaml", "conda.yaml")
"""Files that MLflow takes unnamed; nothing needs to be said about it."""

_LOCKS_AND_LISTS = ("pylock.toml", "uv.lock", "requirements.txt")
_OTHERS = ("setup.py", "environment.yml", "environment.yaml", "conda.yml", "Pipfile.lock", "Pipfile")


@draft
class _Draft:
    """What is known so far; `count` is that of packages, where `gathered` does not tell."""

    python: str | None = None
    python_from: str | None = None
    build: list[Requirement] = field(default_factory=list)
    gathered: Gathered = field(default_factory=Gathered)
    lock: str | None = None
    manifest: str | None = None
    count: int = 0
    adaptations: list[str] = field(default_factory=list)
    conda: CondaAsked | None = None
    exported: bool = False


def read_asked(
    request: EnvironmentRequest,
    directory: Path,
    *,
    root: Path | None = None,  # noqa: ARG001  to come
    translate: bool = True,
) -> Asked:
    """What the project asks of a virtual environment; without `translate`, a conda file only as it stands.

    `root` is the top of the checkout, for what the project's own folder lacks.

    Raises ProjectError where a file is missing or makes no sense, EnvironmentBuildError for what only another
    kind of environment can give.
    """
    if request.key == "environment" and request.path is None:
        return _finished(_in_place(request, directory), directory, shown="environment")
    path, inferred = request.path, False
    if path is None:
        path, inferred = _infer(directory), True
    if path is None:
        nothing = _Draft()
        nothing.gathered.warn(
            "no-environment", "no environment is named and none found: using one without packages"
        )
        return _finished(nothing, directory, shown="no environment named")
    draft = _reader_of(path, key=request.key, translate=translate)(path, directory)
    if request.python:
        draft.python, draft.python_from = normal_python(request.python, request.place), "MLproject"
    inferred = inferred and path not in MLFLOWS_OWN
    if inferred:
        draft.gathered.findings.insert(0, _inferred(path))
    return _finished(draft, directory, shown=f"{path} (inferred)" if inferred else path)


def _inferred(path: str) -> Finding:
    return Finding(
        level="warning",
        code="inferred-environment",
        message=f"no environment is named: using {path}",
        hint="name it in MLproject, so that it does not depend on what else lies there",
    )


# --- which file ---------------------------------------------------------------------------------------


def _infer(directory: Path) -> str | None:
    """The file that an unnamed environment is read from."""
    for name in (*MLFLOWS_OWN, *_LOCKS_AND_LISTS):
        if (directory / name).is_file():
            return name
    others = sorted(path.name for path in directory.glob("requirements*.txt"))
    if len(others) == 1:
        return others[0]
    if (directory / "pyproject.toml").is_file() and _is_manifest(directory):
        return "pyproject.toml"
    for name in _OTHERS:
        if (directory / name).is_file():
            return name
    return None


def _is_manifest(directory: Path) -> bool:
    """A `pyproject.toml` may hold nothing but settings of linters."""
    values = _toml("pyproject.toml", directory)
    return "project" in values or "poetry" in values.get("tool", {})


def _reader_of(path: str, *, key: str | None, translate: bool) -> Callable[[str, Path], _Draft]:
    name = path.rpartition("/")[2].lower()
    if key == "python_env" or name == "python_env.yaml":
        return _python_env
    if key == "conda_env" or name.endswith((".yaml", ".yml")):
        return _conda if translate else _conda_as_written
    if re.fullmatch(r"pylock(\.[^.]+)?\.toml", name):
        return _pylock
    named = {
        "uv.lock": _uv_lock,
        "pyproject.toml": _pyproject,
        "setup.py": _setup,
        "pipfile": _pipfile,
        "pipfile.lock": _pipfile_lock,
    }
    return named.get(name, _requirements)


# --- one reader a format ------------------------------------------------------------------------------


def _in_place(request: EnvironmentRequest, directory: Path) -> _Draft:
    draft = _Draft()
    if request.python:
        draft.python, draft.python_from = normal_python(request.python, request.place), "MLproject"
    place = request.place or Place(file="MLproject", line=1)
    for text in request.requirements:
        add_item(text, place, directory, draft.gathered)
    return draft


def _python_env(path: str, directory: Path) -> _Draft:
    return _environment_file(path, directory, conda=False)


def _conda(path: str, directory: Path) -> _Draft:
    return _environment_file(path, directory, conda=True)


def _conda_as_written(path: str, directory: Path) -> _Draft:
    return _environment_file(path, directory, conda=True, translate=False)


def _environment_file(path: str, directory: Path, *, conda: bool, translate: bool = True) -> _Draft:
    from mlrun.env.environment_files import read_environment_file

    found = read_environment_file(path, directory, conda=conda, translate=translate)
    return _Draft(
        python=found.python,
        python_from=path if found.python else None,
        build=found.build,
        gathered=found.gathered,
        adaptations=found.adaptations,
        conda=found.conda_asked,
        exported=found.exported,
    )


def _requirements(path: str, directory: Path) -> _Draft:
    draft = _Draft()
    read_file(path, directory, draft.gathered)
    return draft


def _pylock(path: str, directory: Path) -> _Draft:
    values = _toml(path, directory)
    draft = _Draft(lock=path, count=len(values.get("packages", ())))
    draft.gathered.files.append(path)
    if requires := values.get("requires-python"):
        draft.python, draft.python_from = normal_python(str(requires)), path
    return draft


def _uv_lock(path: str, directory: Path) -> _Draft:
    text = read_text(directory / path, shown=path)
    draft = _Draft(lock=path, count=len(re.findall(r"^\[\[package\]\]", text, re.MULTILINE)))
    draft.gathered.files += [path, "pyproject.toml"]
    return draft


def _pyproject(path: str, directory: Path) -> _Draft:
    """What says how it is built is a package and installed; of others only the dependencies, as in uv."""
    values = _toml(path, directory)
    project = values.get("project", {})
    draft = _Draft(count=len(project.get("dependencies", ())))
    draft.gathered.files.append(path)
    if "build-system" in values or "poetry" in values.get("tool", {}):
        draft.gathered.local.append(_project_itself(path))
    else:
        draft.manifest = path
    if requires := project.get("requires-python"):
        draft.python, draft.python_from = normal_python(str(requires)), path
    return draft


def _setup(path: str, _directory: Path) -> _Draft:
    draft = _Draft()
    draft.gathered.files.append(path)
    draft.gathered.local.append(_project_itself(path))
    return draft


def _project_itself(path: str) -> LocalProject:
    folder = path.rpartition("/")[0] or "."
    return LocalProject(path=folder, editable=None, place=Place(file=path, line=1))


def _pipfile(path: str, directory: Path) -> _Draft:
    values = _toml(path, directory)
    draft = _Draft()
    draft.gathered.files.append(path)
    requires = values.get("requires", {})
    if python := requires.get("python_full_version") or requires.get("python_version"):
        draft.python, draft.python_from = normal_python(str(python)), path
    _pipfile_sources(values.get("source", ()), draft)
    _pipfile_packages(values.get("packages", {}), path, directory, draft)
    return draft


def _pipfile_lock(path: str, directory: Path) -> _Draft:
    import json

    try:
        values = json.loads(read_text(directory / path, shown=path))
        meta, packages = values.get("_meta", {}), values.get("default", {})
        python = meta.get("requires", {}).get("python_version")
    except (ValueError, AttributeError):
        raise ProjectError(f"{path} is no Pipfile.lock", code="bad-environment") from None
    draft = _Draft()
    draft.gathered.files.append(path)
    if python:
        draft.python, draft.python_from = normal_python(str(python)), path
    _pipfile_sources(meta.get("sources", ()), draft)
    _pipfile_packages(packages, path, directory, draft)
    return draft


def _pipfile_sources(sources: Any, draft: _Draft) -> None:
    for number, source in enumerate(sources):
        draft.gathered.options.append(
            ("extra-index-url" if number else "index-url", str(source.get("url", "")))
        )


def _pipfile_packages(packages: dict[str, Any], path: str, directory: Path, draft: _Draft) -> None:
    place = Place(file=path, line=1)
    for name, wanted in packages.items():
        details = wanted if isinstance(wanted, dict) else {"version": str(wanted)}
        extras = f"[{','.join(details['extras'])}]" if details.get("extras") else ""
        version = "" if details.get("version") == "*" else str(details.get("version", ""))
        if local := details.get("path"):
            text = ("-e " if details.get("editable") else "") + f"./{local}{extras}"
        elif repository := details.get("git"):
            text = f"{name}{extras} @ git+{repository}" + (f"@{details['ref']}" if details.get("ref") else "")
        else:
            text = name + extras + version
        if marker := details.get("markers"):
            text += f" ; {marker}"
        add_item(text, place, directory, draft.gathered)


def _toml(path: str, directory: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(read_text(directory / path, shown=path))
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"{path} is no TOML: {error}", code="bad-environment") from None


# --- the whole ----------------------------------------------------------------------------------------


def _finished(draft: _Draft, directory: Path, *, shown: str) -> Asked:
    if draft.python is None:
        _python_beside(draft, directory)
    gathered = draft.gathered
    asked = Asked(
        kind="venv",
        summary="",
        python=draft.python,
        python_from=draft.python_from,
        requirements=tuple(gathered.requirements),
        constraints=tuple(gathered.constraints),
        build_requirements=tuple(draft.build),
        options=tuple(gathered.options),
        local=tuple(gathered.local),
        lock=draft.lock,
        manifest=draft.manifest,
        files=tuple(dict.fromkeys(gathered.files)),
        findings=tuple(gathered.findings),
        adaptations=tuple(draft.adaptations),
        exported=draft.exported,
        conda=draft.conda,
    )
    return replace(asked, summary=f"{shown}: {_contents(asked, draft.count)}")


def _python_beside(draft: _Draft, directory: Path) -> None:
    """`.python-version` (pyenv, uv) and `requires-python` count where the environment's file names none."""
    marker = directory / ".python-version"
    if marker.is_file():
        lines = read_text(marker, shown=".python-version").split()
        if lines and re.fullmatch(r"(cpython-)?\d+(\.\d+){0,2}", lines[0]):  # else the name of an environment
            draft.python, draft.python_from = normal_python(lines[0]), ".python-version"
            return
    if draft.python is None and (directory / "pyproject.toml").is_file():
        requires = _toml("pyproject.toml", directory).get("project", {}).get("requires-python")
        if requires:
            draft.python, draft.python_from = normal_python(str(requires)), "pyproject.toml"


def _contents(asked: Asked, count: int) -> str:
    parts = []
    if wanted := len(asked.requirements) + count:
        noun = "package" if asked.lock else "requirement"
        parts.append(f"{wanted} {noun}" if wanted == 1 else f"{wanted} {noun}s")
    if [local.path for local in asked.local] == ["."]:
        parts.append("the project itself")
    elif asked.local:
        parts.append("1 local project" if len(asked.local) == 1 else f"{len(asked.local)} local projects")
    if not parts:
        parts.append("no packages")
    if asked.python:
        parts.append(f"Python {asked.python}")
    return ", ".join(parts)
