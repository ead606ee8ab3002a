"""What this machine can do."""

from __future__ import annotations

import locale
import os
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import __version__, env, process
from mlrun.doctor.registry import registry
from mlrun.doctor.values import Check
from mlrun.errors import EnvironmentBuildError, ProcessError, StoreError
from mlrun.store import Query
from mlrun.views import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlrun.scene import Desk

_PATIENCE = 8.0
"""Seconds that a tool has to tell its version."""
_OLDEST_GIT = (2, 17)
"""The first whose `status --porcelain=v2` takes the options that we use (Git 2.17 release notes)."""
_LITTLE = 1 << 30
"""Bytes of free disk below which an environment may not fit: one with torch takes more."""


def mlrun(desk: Desk) -> Check:  # noqa: ARG001  a check is a function of the desk
    where = f"Python {platform.python_version()}, {sys.executable}"
    return Check(code="mlrun", state="ok", text=f"{__version__}, {where}")


def git(desk: Desk) -> Check:
    install = "`apt install git`, `brew install git`, or https://git-scm.com"
    said = _version(desk, "git", "--version")
    if said is None:
        return Check(
            code="git", state="absent", text="not found; every source is pinned with it", hint=install
        )
    numbers = tuple(int(part) for part in re.findall(r"\d+", said)[:2])
    if numbers < _OLDEST_GIT:
        oldest = ".".join(map(str, _OLDEST_GIT))
        return Check(code="git", state="lacking", text=f"{said} is too old: {oldest} or newer", hint=install)
    return Check(code="git", state="ok", text=said.removeprefix("git version "))


def bash(desk: Desk) -> Check:
    said = _version(desk, "bash", "--version")
    if said is None:
        hint = "`apt install bash`"
        return Check(code="bash", state="absent", text="not found; commands are run with it", hint=hint)
    return Check(code="bash", state="ok", text=(re.findall(r"\d+\.\d+[.\d]*", said) or [said])[0])


def pythons(desk: Desk) -> Check:
    found = env.installed_pythons(desk.cache, desk.caller)
    if not found:
        hint = "`uv python install 3.12`"
        return Check(code="pythons", state="absent", text="none found", hint=hint)
    versions = dict.fromkeys(each.version for each in found)
    details = tuple(f"{each.version}  {each.path}" for each in found)
    return Check(code="pythons", state="ok", text=", ".join(versions), details=details)


def uv(desk: Desk) -> Check:
    from mlrun.env.uv import program

    try:
        path = program()
    except EnvironmentBuildError as error:
        return Check(code="uv", state="absent", text=error.message, hint=error.hint)
    said = _version(desk, path, "--version")
    if said is None:
        return Check(code="uv", state="absent", text=f"{path} does not run", hint="reinstall mlrun")
    cache = _version(desk, path, "cache", "dir")
    details = (path, f"its cache: {cache}") if cache else (path,)
    return Check(code="uv", state="ok", text=said.removeprefix("uv "), details=details)


def docker(desk: Desk) -> Check:
    from mlrun.env.containers import engine

    try:
        where = engine.address(desk.caller)
        client = engine.connect(where)
        try:
            told = client.version()
        finally:
            client.close()
    except EnvironmentBuildError as error:
        return Check(code="docker", state="absent", text=error.message, hint=error.hint)
    names = [each.get("Name", "") for each in told.get("Components", [])]
    kind = "Podman" if any("podman" in name.lower() for name in names) else "Docker"
    text = f"{kind} {told.get('Version', '?')}, {told.get('Os', '?')}/{told.get('Arch', '?')}, {where.url}"
    return Check(code="docker", state="ok", text=text)


def conda(desk: Desk) -> Check:
    from mlrun.env.conda.tools import HINT, find

    tool = find(desk.caller)
    if tool is None:
        text = "none; conda packages are looked for on PyPI"
        return Check(code="conda", state="absent", text=text, hint=HINT)
    if tool.program is None:
        return Check(code="conda", state="ok", text=tool.name)
    said = _version(desk, tool.program, "--version")
    if said is None:
        return Check(code="conda", state="unknown", text=f"{tool.program} does not tell its version")
    numbers = re.findall(r"\d+\.\d+[.\d]*", said)
    return Check(code="conda", state="ok", text=f"{tool.name} {(numbers or [said])[0]}, {tool.program}")


def compiler(desk: Desk) -> Check:
    search_path = desk.caller.variables.get("PATH", os.defpath)
    for name in (desk.caller.variables.get("CC", "").partition(" ")[0], "cc", "gcc", "clang"):
        if name and (found := shutil.which(name, path=search_path)):
            return Check(code="compiler", state="ok", text=found)
    text = "none; packages without a wheel for this machine cannot be built"
    return Check(code="compiler", state="absent", text=text, hint="`apt install build-essential`")


def home(desk: Desk) -> Check:
    return _disk("home", desk.home.root, "MLRUN_HOME")


def cache(desk: Desk) -> Check:
    return _disk("cache", desk.cache.root, "MLRUN_CACHE")


def _disk(code: str, root: Path, variable: str) -> Check:
    """Room and rights, of the folder or of the nearest one above that is there."""
    there = next((folder for folder in (root, *root.parents) if folder.is_dir()), Path("/"))
    move = f"set {variable} to a folder elsewhere"
    if not os.access(there, os.W_OK | os.X_OK):
        return Check(code=code, state="absent", text=f"{root} cannot be written", hint=move)
    free = shutil.disk_usage(there).free
    text = f"{root}, {words.size(free)} free"
    if free < _LITTLE:
        return Check(code=code, state="absent", text=f"{text}: too little", hint=f"`mlrun gc`, or {move}")
    return Check(code=code, state="ok", text=text)


def encoding(desk: Desk) -> Check:
    variables = desk.caller.variables
    named = next((name for name in ("LC_ALL", "LC_CTYPE", "LANG") if variables.get(name)), None)
    said = f"{named}={variables[named]}" if named else "no locale is set"
    codec = locale.getencoding()
    if codec.lower().replace("-", "") != "utf8":
        text = f"{codec} ({said}); programs may fail on names and texts that are not ASCII"
        return Check(code="encoding", state="note", text=text, hint="`export LC_ALL=C.UTF-8`")
    return Check(code="encoding", state="ok", text=f"{codec} ({said})")


def store(desk: Desk) -> Check:
    if not desk.home.runs.is_dir():
        return Check(code="store", state="ok", text="no runs yet")
    try:
        desk.store.query(Query(limit=1))
    except StoreError as error:
        return Check(code="store", state="lacking", text=error.message, hint=error.hint)
    folders = [entry for part in desk.home.runs.iterdir() if part.is_dir() for entry in part.iterdir()]
    broken = [entry.name[:12] for entry in folders if not (entry / "record.json").is_file()]
    text = words.plural(len(folders), "run")
    if broken:
        details = tuple(f"no record: {name}" for name in broken[:10])
        return Check(
            code="store", state="note", text=f"{text}, {len(broken)} without a record", details=details
        )
    return Check(code="store", state="ok", text=text)


CHECKS: dict[str, Callable[[Desk], Check]] = {
    "mlrun": mlrun,
    "git": git,
    "bash": bash,
    "pythons": pythons,
    "uv": uv,
    "registry": registry,
    "conda": conda,
    "docker": docker,
    "compiler": compiler,
    "home": home,
    "cache": cache,
    "store": store,
    "encoding": encoding,
}
NETWORK = ("registry",)


def _version(desk: Desk, *argv: str) -> str | None:
    """The first line that a tool prints, mostly its version; None where it is not there, or fails."""
    try:
        said = process.capture(argv, variables=desk.caller.variables, timeout=_PATIENCE)
    except ProcessError as error:
        if error.code in ("command-not-found", "not-executable"):
            return None
        raise
    lines = said.stdout.decode("utf-8", "replace").splitlines() if said.exit_code == 0 else []
    return lines[0].strip() if lines else None
