"""What a project asks of its environment: the file that it names, else the one that lies there.

Nothing is resolved here and no process is started. Order of inference: MLflow's own files first, then locks,
then what people keep requirements in.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable  # noqa: TC003  of a table
from functools import partial
from pathlib import Path  # noqa: TC003  of a table
from typing import TYPE_CHECKING, Any

from mlrun.env.asking.inference import MLFLOWS_OWN, candidates
from mlrun.env.asking.pypi_names import OF_OTHERS, canonical, name_of
from mlrun.env.asking.requirements import Gathered, add_item, read_file, read_text
from mlrun.env.asking.versions import normal_python
from mlrun.env.values import Asked, CondaAsked, LocalProject, Requirement
from mlrun.errors import MlrunError, ProjectError
from mlrun.model import Finding, Place
from mlrun.value import draft, field, replace

if TYPE_CHECKING:
    from mlrun.model import Digest, EnvironmentRequest
    from mlrun.yamlfile import Memory

OWN_LOCK = "pylock.toml"
"""What `mlrun lock` writes beside a project, with a table `[tool.mlrun]`."""

_IN_EVERY_ENVIRONMENT = frozenset({"python", "pip", "setuptools", "wheel", None})
_EXPORT_SIZE = 20
_EXPORT_OF_OTHERS = 5


@draft
class _Draft:
    """What is known so far; `count` is that of packages, where `gathered` does not tell.

    `content` is the digest of a file whose every line may count, `incomplete` says that a package is
    installed which does not say what it needs.
    """

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
    content: str | None = None
    incomplete: bool = False


def read_asked(
    request: EnvironmentRequest,
    directory: Path,
    *,
    root: Path | None = None,
    translate: bool = True,
    locked: bool = True,
    memory: Memory | None = None,
) -> Asked:
    """What the project asks of a virtual environment; without `translate`, a conda file only as it stands.

    `root` is the top of the checkout, for what the project's own folder lacks. A lock that mlrun wrote beside
    the project counts more than any file that it names, unless `locked` is false.

    Raises ProjectError where a file is missing or makes no sense, EnvironmentBuildError for what only another
    kind of environment can give.
    """
    if locked and (directory / OWN_LOCK).is_file():
        values = _toml(OWN_LOCK, directory)
        if isinstance(ours := _table(values, "tool").get("mlrun"), dict):
            return _from_own_lock(ours, request, directory, root=root, translate=translate)
    if request.key == "environment" and request.path is None:
        return _finished(_in_place(request, directory), directory, shown="environment")
    draft, shown = _read(request, directory, root=root or directory, translate=translate, memory=memory)
    if request.python:
        draft.python, draft.python_from = normal_python(request.python, request.place), "MLproject"
    return _finished(draft, directory, shown=shown)


def asked_digest(asked: Asked) -> Digest:
    """The digest of what an environment's files say: another order of files or another comment is no change.

    Of a project that is installed, and of a manifest, the files that say what they need count as they are.
    """
    from mlrun import digest
    from mlrun.env.pip_settings import without_credentials

    conda = asked.conda
    return digest.of_value(
        {
            "python": asked.python if asked.python_from != OWN_LOCK else None,
            "requirements": [item.text for item in asked.requirements],
            "constraints": [item.text for item in asked.constraints],
            "build": [item.text for item in asked.build_requirements],
            "options": [f"{name}={without_credentials(text)}" for name, text in asked.options],
            "local": [(item.path, item.extras) for item in asked.local],
            "content": asked.content,
            "conda": [item.text for item in (*conda.specs, *conda.pip)] if conda else None,
        }
    )


def _from_own_lock(
    ours: dict[str, Any], request: EnvironmentRequest, directory: Path, *, root: Path | None, translate: bool
) -> Asked:
    """The lock that mlrun wrote; where what it was made from has changed since, a warning."""
    draft = _pylock(OWN_LOCK, directory)
    if python := ours.get("python"):
        draft.python, draft.python_from = normal_python(str(python)), OWN_LOCK
    try:
        behind = read_asked(request, directory, root=root, translate=translate, locked=False)
        stale = asked_digest(behind) != ours.get("asked")
    except MlrunError:
        stale = False  # what it names has gone; the lock has all that is needed
    if stale:
        draft.gathered.findings.append(
            Finding(
                level="warning",
                code="stale-lock",
                message=f"{OWN_LOCK} is used, though what it was made from has changed since",
                place=Place(file=OWN_LOCK, line=1),
                hint="`mlrun lock` makes it anew",
            )
        )
    return _finished(draft, directory, shown=OWN_LOCK)


# --- which file ---------------------------------------------------------------------------------------


def _read(
    request: EnvironmentRequest, directory: Path, *, root: Path, translate: bool, memory: Memory | None
) -> tuple[_Draft, str]:
    """The file that is named, else the first that lies there and says something, else the imports."""
    tried: list[str] = []
    reader_of = partial(_reader_of, translate=translate, directory=directory, memory=memory)
    if request.path is not None:
        draft = reader_of(request.path, key=request.key)(request.path, directory)
        if not _is_empty(draft):
            return _completed(draft, directory, root), request.path
        tried.append(request.path)
        found = draft
    else:
        found = _Draft()
    for path in candidates(directory, root, is_manifest=_is_manifest):
        if path in tried or (path == OWN_LOCK and _is_own_lock(directory)):
            continue
        draft = reader_of(path, key=None)(path, directory)
        if _is_empty(draft):
            found = draft if not tried else found
            tried.append(path)
            continue
        if request.path is not None:
            draft.adaptations.insert(0, f"{request.path} names no packages: {path} is used")
        elif path not in MLFLOWS_OWN:
            draft.gathered.findings.insert(0, _inferred(path))
        shown = f"{path} (inferred)" if path not in MLFLOWS_OWN or tried else path
        return _completed(draft, directory, root), shown
    return _imported(found, tried, directory, root, memory)


def _is_own_lock(directory: Path) -> bool:
    return "mlrun" in _table(_toml(OWN_LOCK, directory), "tool")


def _is_empty(draft: _Draft) -> bool:
    """Whether nothing is to be installed, but what every environment has."""
    gathered, conda = draft.gathered, draft.conda
    specs = [item.text for item in conda.specs] if conda else []
    return not (
        gathered.requirements
        or gathered.local
        or draft.lock
        or draft.manifest
        or any(name_of(text.rpartition("::")[2]) not in _IN_EVERY_ENVIRONMENT for text in specs)
    )


def _completed(draft: _Draft, directory: Path, root: Path) -> _Draft:
    """A package that does not say what it needs: what the sources import comes with it."""
    if not draft.incomplete or draft.gathered.requirements:
        return draft
    from mlrun.env.asking.imports import needed

    [local, *_] = draft.gathered.local
    if names := needed(directory, root=root).names:
        place = local.place or Place(file="MLproject", line=1)
        draft.gathered.requirements += [Requirement(text=name, place=place) for name in names]
        draft.adaptations.append(
            f"{place.file} says nothing of dependencies: those that the sources import are added,"
            f" {', '.join(names)}"
        )
    return draft


def _imported(
    draft: _Draft, tried: list[str], directory: Path, root: Path, memory: Memory | None
) -> tuple[_Draft, str]:
    """The last resort: what the sources import."""
    from mlrun.env.asking.imports import needed

    found = needed(directory, root=root, memory=memory)
    shown = f"{tried[0]}, imports" if tried else "imports"
    for name in found.names:
        place = dict(found.imported).get(name, Place(file="MLproject", line=1))
        draft.gathered.requirements.append(Requirement(text=name, place=place))
    why = f"{tried[0]} names no packages" if tried else "no environment is named and no file lists packages"
    if found.names:
        implied = [f"{name} (for {why})" for name, why in found.implied]
        said = f"{why}: those that the sources import are used, {', '.join(found.names)}"
        draft.adaptations.append(said + (f"; implied: {', '.join(implied)}" if implied else ""))
    elif not tried:
        draft.gathered.warn(
            "no-environment", "no environment is named and none found: using one without packages"
        )
        shown = "no environment named"
    return draft, shown if found.names or not tried else tried[0]


def _inferred(path: str) -> Finding:
    return Finding(
        level="warning",
        code="inferred-environment",
        message=f"no environment is named: using {path}",
        hint="name it in MLproject, so that it does not depend on what else lies there",
    )


def _is_manifest(path: Path) -> bool:
    """A `pyproject.toml` may hold nothing but settings of linters, a `setup.cfg` as well."""
    if path.name == "setup.cfg":
        return re.search(r"^install_requires\b", read_text(path, shown=path.name), re.MULTILINE) is not None
    if path.name != "pyproject.toml":
        return True
    values = _toml(path.name, path.parent)
    return "project" in values or "poetry" in _table(values, "tool")


def _reader_of(
    path: str, *, key: str | None, translate: bool, directory: Path, memory: Memory | None
) -> Callable[[str, Path], _Draft]:
    """By the file's name first: people name a requirement file as `conda_env`."""
    name = path.rpartition("/")[2].lower()
    if name.endswith((".txt", ".in", ".pip")):
        text = read_text(directory / path, shown=path)
        if not re.search(r"^dependencies\s*:", text, re.MULTILINE):
            return _requirements
        key = key or "conda_env"
    if name in _NAMED_READERS or name.endswith((".toml", ".lock")):
        key = None
    if key == "python_env" or name.startswith("python_env."):
        return partial(_environment_file, conda=False, memory=memory)
    if key == "conda_env" or name.endswith((".yaml", ".yml")):
        return partial(_environment_file, conda=True, translate=translate, memory=memory)
    if re.fullmatch(r"pylock(\.[^.]+)?\.toml", name):
        return _pylock
    return _NAMED_READERS.get(name, _requirements)


# --- one reader a format ------------------------------------------------------------------------------


def _in_place(request: EnvironmentRequest, directory: Path) -> _Draft:
    draft = _Draft()
    if request.python:
        draft.python, draft.python_from = normal_python(request.python, request.place), "MLproject"
    place = request.place or Place(file="MLproject", line=1)
    for text in request.requirements:
        add_item(text, place, directory, draft.gathered)
    return draft


def _environment_file(
    path: str, directory: Path, *, conda: bool, translate: bool = True, memory: Memory | None
) -> _Draft:
    from mlrun.env.asking.environment_files import read_environment_file

    found = read_environment_file(path, directory, conda=conda, translate=translate, memory=memory)
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
    draft = _Draft(lock=path, count=len(_list(values, "packages")))
    draft.gathered.files.append(path)
    if requires := values.get("requires-python"):
        draft.python, draft.python_from = normal_python(str(requires)), path
    return draft


def _uv_lock(path: str, directory: Path) -> _Draft:
    text = read_text(directory / path, shown=path)
    draft = _Draft(lock=path, count=len(re.findall(r"^\[\[package\]\]", text, re.MULTILINE)))
    draft.content = _digest_of(text)
    draft.gathered.files += [path, posixpath.join(posixpath.dirname(path), "pyproject.toml")]
    return draft


def _pyproject(path: str, directory: Path) -> _Draft:
    """What says how it is built is a package and installed; of others only the dependencies, as in uv."""
    values = _toml(path, directory)
    project, poetry = _table(values, "project"), _table(values, "tool").get("poetry")
    draft = _Draft(count=len(_list(project, "dependencies")))
    draft.content = _digest_of(read_text(directory / path, shown=path))
    draft.gathered.files.append(path)
    if isinstance(poetry, dict) and "name" not in project:
        _poetry(poetry, path, directory, draft)
    elif "build-system" in values:
        draft.gathered.local.append(_project_itself(path))
        dynamic = _list(project, "dynamic")
        draft.incomplete = not project.get("dependencies") and "dependencies" not in dynamic
    else:
        draft.manifest = path
    if requires := project.get("requires-python"):
        draft.python, draft.python_from = normal_python(str(requires)), path
    return draft


def _poetry(poetry: dict[str, Any], path: str, directory: Path, draft: _Draft) -> None:
    """A package is installed; what only lists dependencies, since no module has its name, gives those."""
    from mlrun.env.asking import poetry as poetrys

    draft.gathered.local = [_project_itself(path)] if poetrys.is_package(poetry, directory / path) else []
    python, lines = poetrys.dependencies(poetry)
    if python:
        draft.python, draft.python_from = normal_python(python), path
    if not draft.gathered.local:
        for line in lines:
            add_item(line, Place(file=path, line=1), directory, draft.gathered)
        draft.adaptations.append(f"{path} is no package that can be built: its dependencies are installed")


def _setup(path: str, directory: Path) -> _Draft:
    text = read_text(directory / path, shown=path)
    draft = _Draft(content=_digest_of(text))
    draft.gathered.files.append(path)
    draft.gathered.local.append(_project_itself(path))
    beside = directory / posixpath.dirname(path)
    others = [beside / "setup.cfg", beside / "pyproject.toml"]
    texts = [text, *(read_text(it, shown=it.name) for it in others if it.is_file())]
    draft.incomplete = not any(_says_dependencies(it) for it in texts)
    return draft


def _says_dependencies(text: str) -> bool:
    """Whether a `setup.py` or what lies beside it names dependencies, or leaves it to a tool to find them."""
    code = re.sub(r"#.*", "", text)
    if re.search(r"\bpbr\b", code):
        return True
    return re.search(r"\b(install_requires|dependencies)\b\s*[=:](?!\s*(\[\s*\]|\(\s*\)))", code) is not None


def _digest_of(text: str) -> str:
    from mlrun import digest

    return digest.of_bytes(text.encode())


def _project_itself(path: str) -> LocalProject:
    folder = path.rpartition("/")[0] or "."
    return LocalProject(path=folder, editable=None, place=Place(file=path, line=1))


def _pipfile(path: str, directory: Path) -> _Draft:
    values = _toml(path, directory)
    draft = _Draft()
    draft.gathered.files.append(path)
    requires = _table(values, "requires")
    if python := requires.get("python_full_version") or requires.get("python_version"):
        draft.python, draft.python_from = normal_python(str(python)), path
    _pipfile_sources(_list(values, "source"), draft)
    _pipfile_packages(_table(values, "packages"), path, directory, draft)
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
    for number, source in enumerate(source for source in sources if isinstance(source, dict)):
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


_NAMED_READERS: dict[str, Callable[[str, Path], _Draft]] = {
    "uv.lock": _uv_lock,
    "pyproject.toml": _pyproject,
    "setup.py": _setup,
    "setup.cfg": _setup,
    "pipfile": _pipfile,
    "pipfile.lock": _pipfile_lock,
}


def _table(values: dict[str, Any], key: str) -> dict[str, Any]:
    """A table of a TOML file; an empty one where something else stands there."""
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def _list(values: dict[str, Any], key: str) -> list[Any]:
    found = values.get(key)
    return found if isinstance(found, list) else []


def _toml(path: str, directory: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(read_text(directory / path, shown=path))
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"{path} is no TOML: {error}", code="bad-environment") from None


# --- the whole ----------------------------------------------------------------------------------------


def _finished(draft: _Draft, directory: Path, *, shown: str) -> Asked:
    gathered = draft.gathered
    if draft.python is None and gathered.python is not None:
        draft.python, draft.python_from = gathered.python, shown
    if draft.python is None:
        _python_beside(draft, directory)
    said = _mended(gathered)
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
        adaptations=(*draft.adaptations, *gathered.adaptations, *said),
        exported=draft.exported or _looks_exported(gathered.requirements),
        conda=draft.conda,
        content=draft.content,
    )
    return replace(asked, summary=f"{shown}: {_contents(asked, draft.count)}")


def _mended(gathered: Gathered) -> tuple[str, ...]:
    """What is to be said of lines that could not stand as they are."""
    names = [name_of(item.text) for item in gathered.requirements]
    if not gathered.changes and len(set(names)) == len(names):
        return ()
    from mlrun.env.asking.repairs import sentences, without_conflicts

    gathered.requirements, twice = without_conflicts(gathered.requirements)
    return sentences([*gathered.changes, *twice])


def _looks_exported(requirements: list[Requirement]) -> bool:
    """Whether a list was written by `pip freeze` or the like.

    It is long, holds packages that only come as dependencies of others, and nearly all of it is pinned, or
    so much of it are such packages that nobody can have meant them.
    """
    if len(requirements) < _EXPORT_SIZE:
        return False
    pinned = sum("==" in item.text for item in requirements)
    of_others = sum(canonical(name_of(item.text) or "") in OF_OTHERS for item in requirements)
    if of_others < _EXPORT_OF_OTHERS:
        return False
    return pinned >= 0.8 * len(requirements) or of_others >= 0.25 * len(requirements)


def _python_beside(draft: _Draft, directory: Path) -> None:
    """`.python-version` (pyenv, uv) and `requires-python` count where the environment's file names none."""
    marker = directory / ".python-version"
    if marker.is_file():
        lines = read_text(marker, shown=".python-version").split()
        if lines and re.fullmatch(r"(cpython-)?\d+(\.\d+){0,2}", lines[0]):  # else the name of an environment
            draft.python, draft.python_from = normal_python(lines[0]), ".python-version"
            return
    if draft.python is None and (directory / "pyproject.toml").is_file():
        requires = _table(_toml("pyproject.toml", directory), "project").get("requires-python")
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
