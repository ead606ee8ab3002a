"""Which conda is at hand: py-rattler, or one of the programs that are called alike and differ little."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Literal

from mlrun.errors import EnvironmentBuildError
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlrun.model import Caller

HINT = (
    "`uv tool install 'mlrun-cli[conda]'` or `pipx inject mlrun-cli py-rattler` gives mlrun one of its own;"
    " micromamba, mamba or conda on PATH will do too; `--env-manager venv` takes the packages from PyPI"
)
_DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
_ALIAS = "https://conda.anaconda.org"


@value
class CondaTool:
    """What builds conda environments; `program` is its path, None for py-rattler."""

    name: Literal["py-rattler", "micromamba", "mamba", "conda"]
    program: str | None = None


def find(caller: Caller) -> CondaTool | None:
    """The conda to use: the one that variables name for it, py-rattler, else a program.

    `MLFLOW_CONDA_HOME` is MLflow's, a folder with `bin/conda`; `MAMBA_EXE` and `CONDA_EXE` are set by the
    shell hooks of those programs.
    """
    variables = caller.variables
    if (home := variables.get("MLFLOW_CONDA_HOME")) and (
        program := _runnable(os.path.join(home, "bin/conda"))
    ):
        return CondaTool(name="conda", program=program)
    if PathFinder.find_spec("rattler") is not None:
        return CondaTool(name="py-rattler")
    import shutil

    search_path = variables.get("PATH", os.defpath)
    for name in ("micromamba", "mamba", "conda"):
        if program := shutil.which(name, path=search_path):
            return CondaTool(name=name, program=program)
    for variable in ("MAMBA_EXE", "CONDA_EXE"):
        if program := _runnable(variables.get(variable, "")):
            return _named_by(program)
    return None


def must_find(caller: Caller) -> CondaTool:
    """The same. Raises EnvironmentBuildError (`no-conda`)."""
    tool = find(caller)
    if tool is None:
        raise EnvironmentBuildError("there is no conda on this machine", hint=HINT, code="no-conda")
    return tool


def _runnable(path: str) -> str | None:
    return path if path and os.path.isfile(path) and os.access(path, os.X_OK) else None


def _named_by(program: str) -> CondaTool:
    base = os.path.basename(program)
    if "micromamba" in base:
        return CondaTool(name="micromamba", program=program)
    return CondaTool(name="mamba" if "mamba" in base else "conda", program=program)


def platform_name() -> str:
    """conda's name for this platform: `linux-64`, `osx-arm64`."""
    system = {"linux": "linux", "darwin": "osx"}.get(sys.platform, sys.platform)
    machine = os.uname().machine
    if machine in ("x86_64", "amd64"):
        machine = "64"
    return f"{system}-{machine}"


# --- what they are asked ------------------------------------------------------------------------------


def channel_urls(
    channels: Sequence[str], *, variables: Mapping[str, str], folder: str | Path
) -> tuple[str, ...]:
    """Channels by their URLs, in their order; a file that names none means conda's `defaults`.

    A path is a channel of this machine, relative to the conda file's `folder`. Those that are only named are
    served by `CONDA_CHANNEL_ALIAS`, else by anaconda.org.
    """
    from urllib.parse import quote

    alias = variables.get("CONDA_CHANNEL_ALIAS") or _ALIAS
    urls: list[str] = []
    for channel in [name for name in channels if name != "nodefaults"] or ["defaults"]:
        if channel == "defaults":
            urls += _DEFAULTS
        elif "://" in channel:
            urls.append(channel.rstrip("/"))
        elif channel.startswith(("/", "./", "../", "~")):
            path = os.path.normpath(os.path.join(folder, os.path.expanduser(channel)))
            urls.append(f"file://{quote(path)}")
        else:
            urls.append(f"{alias.rstrip('/')}/{channel.strip('/')}")
    return tuple(dict.fromkeys(urls))


def create_arguments(
    tool: CondaTool, prefix: Path, *, specs: Sequence[str], channels: Sequence[str]
) -> tuple[str, ...]:
    """The command that solves and installs; where no channel is named, those that the user has configured."""
    where = [text for channel in channels if channel != "nodefaults" for text in ("--channel", channel)]
    override = ("--override-channels",) if where else ()
    return (*_create(tool, prefix), *override, *where, *specs)


def create_explicit_arguments(tool: CondaTool, prefix: Path, *, lock: Path) -> tuple[str, ...]:
    """The command that installs an explicit list, without a solve."""
    return (*_create(tool, prefix), "--file", str(lock))


def _create(tool: CondaTool, prefix: Path) -> tuple[str, ...]:
    assert tool.program is not None
    return (tool.program, "create", "--yes", "--quiet", "--prefix", str(prefix))
