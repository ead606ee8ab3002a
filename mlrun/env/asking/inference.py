"""Which file an unnamed environment is read from: MLflow's own, then locks, then what people keep lists in.

The project's folder comes before those above it, up to the top of the checkout, and all of them before the
folders below that people put such files in. Case does not matter. Of several lists none is better than
another by its place, only by its name.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from mlrun.pattern import pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MLFLOWS_OWN = ("python_env.yaml", "conda.yaml")
"""Files that MLflow takes unnamed; nothing needs to be said about it."""

_FIRST = (*MLFLOWS_OWN, "pylock.toml", "uv.lock", "requirements.txt")
_LIST = pattern(
    r"(?P<before>[\w.]+[-_.])?(req|reqs|requirement|requirements)(?P<after>[-_.][\w.-]+)?\.(txt|in|pip)"
)
_OTHER_LISTS = ("requirements.pip", "requirements.in", "req.txt", "reqs.txt", "requirement.txt")
_MANIFESTS = ("pyproject.toml", "setup.py", "setup.cfg")
_CONDA = (
    "environment.yml", "environment.yaml", "conda.yml", "python_env.yml", "conda_env.yaml", "conda_env.yml",
    "conda-env.yaml", "conda-env.yml", "env.yml", "env.yaml", "environments.yml", "environments.yaml",
)  # fmt: skip
_PIPENV = ("Pipfile.lock", "Pipfile")
_ENDINGS = (".txt", ".in", ".pip", ".py", ".cfg", ".toml", ".lock", ".yml", ".yaml", "pipfile")
_NAMED_OTHERWISE = pattern(r"(conda|environment|env)[-_]\w+\.ya?ml")
_NOT_FOR_RUNNING = pattern(
    r"(?<![a-z])(dev|develop|development|test|tests|testing|lint|docs?|ci|mac|macos|osx|win|windows|build)(?![a-z])"
)
_PREFERRED = (
    "train",
    "training",
    "base",
    "main",
    "common",
    "core",
    "prod",
    "production",
    "cpu",
    "linux",
    "all",
)
_FOLDERS = (
    "requirements", "docker", "env", "envs", "environment", "environments", "conda", "config", "conf",
    "dependencies", "deps", "install", "setup", "build", ".binder", "binder",
)  # fmt: skip
"""Where below a project people put what lists its packages."""


def candidates(
    directory: Path, root: Path, *, is_manifest: Callable[[Path], bool], without: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Paths of files that may describe the environment, relative to the project's folder, the best first.

    `is_manifest` says whether a `pyproject.toml` or the like is about a project; `without` are paths that
    have been tried.
    """
    for path in _all(directory, root, is_manifest):
        shown = os.path.relpath(path, directory).replace(os.sep, "/")
        if shown not in without:
            yield shown


def top_of(directory: Path) -> Path:
    """The top of the checkout that a folder lies in, itself where it lies in none."""
    for folder in (directory, *directory.parents):
        if (folder / ".git").exists():
            return folder
    return directory


def _all(directory: Path, root: Path, is_manifest: Callable[[Path], bool]) -> Iterator[Path]:
    folders = [
        folder for folder in (directory, *directory.parents) if folder == root or root in folder.parents
    ]
    folders = folders or [directory]
    for folder in folders:
        yield from _in_folder(folder, is_manifest)
    for folder in folders:
        names = _names(folder)
        for name in _FOLDERS:
            if name in names and (folder / names[name]).is_dir():
                yield from _in_folder(folder / names[name], lambda _: False)


def _in_folder(folder: Path, is_manifest: Callable[[Path], bool]) -> Iterator[Path]:
    """There may be ten thousand images beside them: only names that could be meant are looked at."""
    names = {
        name: real
        for name, real in _names(folder).items()
        if name.endswith(_ENDINGS) and os.path.isfile(f"{folder}/{real}")
    }
    found = [names[name] for name in _FIRST if name in names]
    if "requirements.txt" not in names and (
        name := _best_list(list(names), bare=folder.name.lower() == "requirements")
    ):
        found.append(names[name])
    found += [names[name] for name in _MANIFESTS if name in names and is_manifest(folder / names[name])]
    found += [names[name] for name in (*_CONDA, *(it.lower() for it in _PIPENV)) if name in names]
    others = [
        name for name in names if name.startswith(("conda", "env")) and _NAMED_OTHERWISE.fullmatch(name)
    ]
    if len(others) == 1 and names[others[0]] not in found:
        found.append(names[others[0]])
    yield from (folder / name for name in found)


def _names(folder: Path) -> dict[str, str]:
    """What a folder holds, by its names in small letters."""
    try:
        return {name.lower(): name for name in sorted(os.listdir(folder), reverse=True)}
    except OSError:
        return {}


def _best_list(names: list[str], *, bare: bool) -> str | None:
    """The requirement list among a folder's files that is meant for running; None where that is not clear.

    In a folder of their own, lists have `bare` names: `requirements/base.txt`.
    """
    plain = [name for name in _OTHER_LISTS if name in names]
    if plain:
        return plain[0]
    lists = [name for name in names if _LIST.fullmatch(name)]
    if bare and not lists:
        lists = [name for name in names if name.removesuffix(".txt") in _PREFERRED]
    running = [name for name in lists if not _NOT_FOR_RUNNING.search(name)]
    if len(running or lists) == 1:
        return (running or lists)[0]
    for word in _PREFERRED:
        fitting = [name for name in running if re.search(rf"(?<![a-z]){word}(?![a-z])", name)]
        if len(fitting) == 1:
            return fitting[0]
    return None
