"""A stand-in for conda, for MLflow's own `mlflow.run(...)` inside a run: a step wants its environment.

MLflow asks the conda of `MLFLOW_CONDA_HOME` for a list of environments, has it create what is missing from a
conda file, and activates it by shell text (mlflow/utils/conda.py, from 0.7 to 3.x alike). Where the machine
has no conda, a folder of ours takes its place, and the environments are ours.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

from mlrun import env
from mlrun.errors import UsageError
from mlrun.files import write_atomic
from mlrun.model import EnvironmentRequest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlrun.files import Cache
    from mlrun.model import Caller, Environment, Narrator

HOME = "MLFLOW_CONDA_HOME"
DAY = "MLRUN_AS_OF"
"""Tells the steps of a run which day's packages they are to have."""

_ANSWERS_TO = "mlrun.cli.conda_stand_in"
_ACTIVATE = """\
conda() {
  if [ "$1" = activate ]; then
    _mlrun_place=$("$MLFLOW_CONDA_HOME/bin/conda" where "$2") || return 1
    VIRTUAL_ENV=$_mlrun_place
    PATH=$_mlrun_place/bin:$PATH
    export VIRTUAL_ENV PATH
  else
    "$MLFLOW_CONDA_HOME/bin/conda" "$@"
  fi
}
"""


def variables(cache: Cache, environment: Environment, inherited: Mapping[str, str]) -> dict[str, str]:
    """What to set so that a step finds the stand-in; nothing where there is a conda, or no place for it."""
    if environment.kind not in ("venv", "system") or inherited.get(HOME) or inherited.get("CONDA_EXE"):
        return {}
    folders = inherited.get("PATH", os.defpath).split(os.pathsep)
    if any(os.access(os.path.join(folder, "conda"), os.X_OK) for folder in folders):
        return {}
    root = cache.stand_ins
    program = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -m {_ANSWERS_TO} "$@"\n'
    _keep(root / "bin" / "conda", program, mode=0o755)
    _keep(root / "etc" / "profile.d" / "conda.sh", _ACTIVATE, mode=0o644)
    day = {DAY: environment.as_of} if environment.as_of else {}
    return {HOME: str(root), **day}


def _keep(path: Path, text: str, *, mode: int) -> None:
    try:
        if path.read_text() == text:
            return
    except OSError:
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.encode(), mode=mode)


def places(cache: Cache) -> list[str]:
    """The environments that have been made and are still there, under the names that MLflow gave them."""
    try:
        links = sorted((cache.stand_ins / "envs").iterdir())
    except FileNotFoundError:
        return []
    return [str(link) for link in links if link.exists()]


def place(cache: Cache, name: str) -> str:
    """Where an environment is. Raises UsageError where there is none of that name."""
    try:
        return os.readlink(cache.stand_ins / "envs" / _checked(name))
    except OSError:
        raise UsageError(f"there is no environment `{name}`", code="no-environment") from None


def create(name: str, file: Path | None, *, caller: Caller, cache: Cache, narrator: Narrator) -> None:
    """Make the environment of a conda file, or one with Python alone, known by a name.

    Raises UsageError, ProjectError, EnvironmentBuildError.
    """
    link = cache.stand_ins / "envs" / _checked(name)
    directory = cache.temporary if file is None else file.parent
    request = (
        EnvironmentRequest(key="environment")
        if file is None
        else EnvironmentRequest(key="conda_env", path=file.name)
    )
    asked = env.read(request, directory, manager="venv", caller=caller)
    as_of = caller.variables.get(DAY)
    day = env.Day(as_of=as_of, why="the run's own day") if as_of else env.NOW
    made = env.ensure(
        asked, directory=directory, tree="", cache=cache, caller=caller, narrator=narrator, day=day
    )
    link.parent.mkdir(parents=True, exist_ok=True)
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    os.symlink(str(made.location), fresh)
    os.replace(fresh, link)


def _checked(name: str) -> str:
    if not name or name.startswith(".") or "/" in name:
        raise UsageError(f"`{name}` is no name of an environment")
    return name
