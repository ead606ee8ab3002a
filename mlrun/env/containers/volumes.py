"""What is mounted: `docker_env.volumes` and `-A volume=…`, as `docker run -v` has them.

MLflow hands them to a shell, so `$VARIABLES`, `~` and `$(pwd)` are filled in; nothing else of a shell is.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from mlrun.errors import EnvironmentBuildError
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mlrun.model import Caller, Place

MLFLOWS_FOLDER = "/mlflow/projects/code"
"""Where MLflow puts the project in a container; commands and volumes of existing projects name it."""

MLFLOWS_STORE = "/mlflow/"
"""What lies below is MLflow's own: a folder of its author's machine mounted there is not missed."""

_HERE = re.compile(r"\$\(\s*pwd\s*\)|`\s*pwd\s*`|\$\{?PWD\b\}?")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_NAME = re.compile(r"[a-zA-Z0-9][\w.-]*")
_READ_ONLY, _READ_WRITE = "ro", "rw"
_IGNORED = frozenset({"cached", "delegated", "consistent", "z", "Z", "nocopy"})
_PROPAGATION = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})


@value
class Volume:
    """One mount. `source` is a path of the host, the name of a volume, or None for one that nobody keeps."""

    source: str | None
    target: str
    read_only: bool = False
    propagation: str | None = None

    @property
    def is_path(self) -> bool:
        return self.source is not None and self.source.startswith("/")

    def as_text(self) -> str:
        """The form that `read` takes."""
        if self.source is None:
            return self.target
        options = [_READ_ONLY if self.read_only else _READ_WRITE, *filter(None, [self.propagation])]
        return f"{self.source}:{self.target}:{','.join(options)}"

    def as_mount(self) -> dict[str, Any]:
        """As the engine's interface wants it (HostConfig.Mounts)."""
        mount: dict[str, Any] = {
            "Target": self.target,
            "Source": self.source,
            "Type": "bind" if self.is_path else "volume",
            "ReadOnly": self.read_only,
        }
        if self.propagation:
            mount["BindOptions"] = {"Propagation": self.propagation}
        return mount


def read(text: str, *, directory: Path, caller: Caller, place: Place | None = None) -> Volume:
    """One volume as written; relative paths are the project's.

    Raises EnvironmentBuildError (`bad-volume`, `unset-variable`).
    """
    parts = _filled_in(text, directory, caller, place).split(":")
    if len(parts) == 1:
        return Volume(source=None, target=_target(parts[0], text, place))
    if len(parts) > 3:
        raise _bad(text, "it has more than three parts", place)
    read_only, propagation = _options(parts[2] if len(parts) == 3 else "", text, place)
    return Volume(
        source=_source(parts[0], text, directory, caller, place),
        target=_target(parts[1], text, place),
        read_only=read_only,
        propagation=propagation,
    )


def _filled_in(text: str, directory: Path, caller: Caller, place: Place | None) -> str:
    def variable(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in caller.variables:
            raise EnvironmentBuildError(
                f"the volume `{text}` names the variable {name}, which is not set",
                hint=f"`export {name}=…` before the run",
                code="unset-variable",
                place=place,
            )
        return caller.variables[name]

    return _VARIABLE.sub(variable, _HERE.sub(lambda _: str(directory), text))


def _source(source: str, text: str, directory: Path, caller: Caller, place: Place | None) -> str:
    if source == "~" or source.startswith("~/"):
        source = (caller.variables.get("HOME") or os.path.expanduser("~")) + source[1:]
    if _NAME.fullmatch(source) and not (directory / source).exists():
        return source
    if not source:
        raise _bad(text, "it names nothing to mount", place)
    return os.path.normpath(directory / source)


def _target(target: str, text: str, place: Place | None) -> str:
    if not target.startswith("/"):
        raise _bad(text, f"`{target}` must be an absolute path in the container", place)
    return os.path.normpath(target)


def _options(options: str, text: str, place: Place | None) -> tuple[bool, str | None]:
    read_only, propagation = False, None
    for option in filter(None, options.split(",")):
        if option in (_READ_ONLY, _READ_WRITE):
            read_only = option == _READ_ONLY
        elif option in _PROPAGATION:
            propagation = option
        elif option not in _IGNORED:
            raise _bad(text, f"`{option}` is no option of a volume", place)
    return read_only, propagation


def _bad(text: str, why: str, place: Place | None) -> EnvironmentBuildError:
    return EnvironmentBuildError(
        f"the volume `{text}` cannot be mounted: {why}",
        hint="`/folder/here:/folder/there`, with `:ro` to protect it",
        code="bad-volume",
        place=place,
    )


def existing(volumes: Iterable[Volume], *, place: Place | None) -> tuple[tuple[Volume, ...], tuple[str, ...]]:
    """Those that can be mounted, and what is to be said of those that are left out.

    The docker program would make a missing folder, as root, and the program would find it empty. Raises
    EnvironmentBuildError (`no-such-volume`) for one that is missing, unless only MLflow would look into it.
    """
    kept, said = [], []
    for volume in volumes:
        if not volume.is_path or os.path.exists(volume.source or ""):
            kept.append(volume)
        elif f"{volume.target}/".startswith(MLFLOWS_STORE) and not volume.target.startswith(MLFLOWS_FOLDER):
            said.append(f"the volume {volume.source} is left out: this machine has no such folder")
        else:
            raise EnvironmentBuildError(
                f"the project mounts {volume.source} at {volume.target}, and this machine has no such path",
                hint=f"make it, or change `volumes` in `docker_env`: `mkdir -p {volume.source}`",
                code="no-such-volume",
                place=place,
            )
    return tuple(kept), tuple(said)
