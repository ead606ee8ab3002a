"""Finding Pythons: those that uv manages, pyenv's, those on PATH and in the usual folders.

pyenv's shims answer only for the selected version, so its versions directory is listed instead. A version
is read from the folder's name where that tells, else the interpreter is asked once and the answer kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlrun.errors import EnvironmentBuildError, ProcessError
from mlrun.files import write_atomic
from mlrun.model import Finding
from mlrun.pattern import pattern
from mlrun.value import positional_value, value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlrun.model import Caller

_USUAL_FOLDERS = ("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin", "/opt/local/bin")
_NAME = pattern(r"python(3(\.\d+)?)?$")
_UV_FOLDER = pattern(r"cpython-(\d+\.\d+\.\d+)-")
_PROBE_SECONDS = 20.0
_PROBE = (
    "import site, sys; print('\\0'.join([sys.version.split()[0], sys.implementation.name,"
    " *(p for p in sys.path if p.endswith('-packages')), site.getusersitepackages()]))"
)  # no module that an interpreter has not loaded by itself


@value
class Interpreter:
    """One Python; `folders` are where its packages lie, in order of search."""

    path: str
    version: str
    implementation: str = "cpython"
    folders: tuple[str, ...] = ()

    @property
    def numbers(self) -> tuple[int, ...]:
        return _numbers(self.version)


@positional_value
class Probes:
    """What interpreters said of themselves, kept in a file by path and time of change."""

    file: Path

    def ask(self, path: str, variables: Mapping[str, str]) -> Interpreter | None:
        """The interpreter at `path`; None for what is none or does not answer."""
        try:
            stamp = _stamp(path)
        except OSError:
            return None
        known = self._known()
        entry = known.get(path)
        if not isinstance(entry, dict) or entry.get("stamp") != stamp or "answer" not in entry:
            known[path] = {"stamp": stamp, "answer": _probe(path, variables)}
            with contextlib.suppress(OSError):
                self.file.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(self.file, json.dumps(known).encode())
        answer = known[path]["answer"]
        if answer is None:
            return None
        return Interpreter(path=path, **{**answer, "folders": tuple(answer["folders"])})

    def _known(self) -> dict[str, Any]:
        try:
            known = json.loads(self.file.read_bytes())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


def first_on_path(caller: Caller) -> str | None:
    """What the caller types `python` (else `python3`) for: an absolute path, pyenv's shims seen through."""
    for name in ("python", "python3"):
        for folder in _path_folders(caller):
            path = os.path.join(folder, name)
            if os.access(path, os.X_OK) and not os.path.isdir(path):
                if not _is_script(path):
                    return path
                selected = _pyenv_selected(caller)
                if selected is not None:
                    return selected
    return None


def choose(wanted: str | None, *, caller: Caller, probes: Probes) -> tuple[Interpreter, tuple[Finding, ...]]:
    """The interpreter for a version or specifier, with what is to be said about the choice.

    The one that the caller types `python` for is preferred where it fits, so that the choice does not change
    with what else gets installed; then the newest. An exact patch is served by the nearest of its minor.
    Raises EnvironmentBuildError (`no-python`) that lists what was found.
    """
    default = first_on_path(caller)
    preferred = probes.ask(_base_of(default), caller.variables) if default else None
    if preferred and fits(preferred, wanted):
        return preferred, ()
    found = installed(caller, probes)
    fitting = [each for each in found if fits(each, wanted)]
    if fitting:
        return fitting[0], ()
    if wanted and re.fullmatch(r"\d+\.\d+\.\d+", wanted):
        same_minor = [
            each for each in (*found, preferred) if each and each.numbers[:2] == _numbers(wanted)[:2]
        ]
        if same_minor:
            nearest = min(same_minor, key=lambda each: abs(each.numbers[2] - _numbers(wanted)[2]))
            return nearest, (_other_patch(wanted, nearest),)
    raise _nothing_fits(wanted, found)


def _other_patch(wanted: str, nearest: Interpreter) -> Finding:
    return Finding(
        level="warning",
        code="other-python-patch",
        message=f"Python {wanted} is asked for; {nearest.version} is installed and used",
    )


def _nothing_fits(wanted: str | None, found: list[Interpreter]) -> EnvironmentBuildError:
    if wanted and re.fullmatch(r"\d+(\.\d+){1,2}", wanted):
        hint = f"uv python install {'.'.join(wanted.split('.')[:2])}"
    else:
        hint = "uv python install 3.12"
    have = ", ".join(dict.fromkeys(each.version for each in found)) or "none"
    return EnvironmentBuildError(
        f"no Python {wanted or ''} is installed".replace("  ", " ") + f"; found: {have}",
        hint=f"`{hint}`",
        code="no-python",
        details=tuple(f"{each.version}  {each.path}" for each in found),
    )


def installed(caller: Caller, probes: Probes) -> list[Interpreter]:
    """Every CPython 3 that can be found, newest first."""
    return sorted(_candidates(caller, probes), key=lambda each: each.numbers, reverse=True)


def fits(interpreter: Interpreter, wanted: str | None) -> bool:
    """Whether it is of a version (`3`, `3.10`, `3.10.12`), or within a specifier; None wants any."""
    if wanted is None:
        return True
    if re.fullmatch(r"[\d.]+", wanted):
        numbers = _numbers(wanted)
        return interpreter.numbers[: len(numbers)] == numbers
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(interpreter.version, prereleases=True)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


# --- where they are -----------------------------------------------------------------------------------


def _candidates(caller: Caller, probes: Probes) -> Iterator[Interpreter]:
    """Every CPython 3 that can be found, each once."""
    seen: set[str] = set()
    for path, version in (*_uv_managed(caller), *_pyenv_versions(caller), *_in_folders(caller)):
        real = os.path.realpath(path)
        if real in seen or not os.access(path, os.X_OK):
            continue
        seen.add(real)
        found = Interpreter(path=path, version=version) if version else probes.ask(path, caller.variables)
        if found and found.implementation == "cpython" and found.numbers >= (3,):
            yield found


def _uv_managed(caller: Caller) -> Iterator[tuple[str, str | None]]:
    variables = caller.variables
    data = variables.get("XDG_DATA_HOME") or os.path.join(_home(caller), ".local/share")
    root = variables.get("UV_PYTHON_INSTALL_DIR") or os.path.join(data, "uv/python")
    for name in _listed(root):
        if match := _UV_FOLDER.match(name):
            yield os.path.join(root, name, "bin/python3"), match[1]


def _pyenv_versions(caller: Caller) -> Iterator[tuple[str, str | None]]:
    root = os.path.join(_pyenv_root(caller), "versions")
    for name in _listed(root):
        if re.fullmatch(r"3\.\d+\.\d+", name):
            yield os.path.join(root, name, "bin/python"), name


def _in_folders(caller: Caller) -> Iterator[tuple[str, str | None]]:
    for folder in dict.fromkeys((*_path_folders(caller), *_USUAL_FOLDERS)):
        for name in _listed(folder):
            path = os.path.join(folder, name)
            if _NAME.fullmatch(name) and not _is_script(path):
                yield _base_of(path), None


def _base_of(path: str) -> str:
    """The interpreter behind that of a virtual environment."""
    settings = os.path.join(os.path.dirname(os.path.dirname(path)), "pyvenv.cfg")
    return os.path.realpath(path) if os.path.exists(settings) else path


def _pyenv_root(caller: Caller) -> str:
    return caller.variables.get("PYENV_ROOT") or os.path.join(_home(caller), ".pyenv")


def _pyenv_selected(caller: Caller) -> str | None:
    """The interpreter that pyenv's shims would run, by its documented order of version files."""
    root = _pyenv_root(caller)
    names = caller.variables.get("PYENV_VERSION", "").replace(":", " ").split()
    folders = [Path(caller.directory), *Path(caller.directory).parents]
    files = [folder / ".python-version" for folder in folders] + [Path(root, "version")]
    for file in files if not names else ():
        with contextlib.suppress(OSError, UnicodeDecodeError):
            names = file.read_text().split()
            break
    for name in names:
        matching = [
            each
            for each in _listed(os.path.join(root, "versions"))
            if each == name or each.startswith(f"{name}.")
        ]
        for each in sorted(matching, key=_numbers, reverse=True):
            path = os.path.join(root, "versions", each, "bin/python")
            if os.access(path, os.X_OK):
                return path
    return None


def _path_folders(caller: Caller) -> list[str]:
    folders = caller.variables.get("PATH", os.defpath).split(os.pathsep)
    return [os.path.join(caller.directory, folder) for folder in folders if folder]


def _home(caller: Caller) -> str:
    return caller.variables.get("HOME") or os.path.expanduser("~")


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _is_script(path: str) -> bool:
    """A shim or wrapper: what it runs cannot be told from its path."""
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return True


# --- asking one ---------------------------------------------------------------------------------------


def _stamp(path: str) -> list[int]:
    """Changes when the interpreter, or the virtual environment that it belongs to, does."""
    status = os.stat(path)
    settings = os.path.join(os.path.dirname(os.path.dirname(path)), "pyvenv.cfg")
    with contextlib.suppress(OSError):
        return [status.st_mtime_ns, status.st_size, os.stat(settings).st_mtime_ns]
    return [status.st_mtime_ns, status.st_size]


def _probe(path: str, variables: Mapping[str, str]) -> dict[str, Any] | None:
    from mlrun.process import capture

    inherited = {name: value for name, value in variables.items() if not name.startswith("PYTHON")}
    try:
        said = capture([path, "-c", _PROBE], variables=inherited, timeout=_PROBE_SECONDS)
    except ProcessError:
        return None
    version, *more = said.text.split("\0")
    if said.exit_code != 0 or len(more) < 2:
        return None
    return {"version": version, "implementation": more[0], "folders": more[1:]}
