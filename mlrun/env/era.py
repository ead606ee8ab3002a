"""A pip of the day: it reads what uv refuses (`pytz (>=2011k)`), and builds with that day's setuptools.

It runs in a scratch environment of the wanted Python and sees the indexes as they were (`loopback`). What it
chose becomes a lock like those of uv, with all files of each version and their hashes; what it had to build
from source it leaves as wheels.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from mlrun.env.compiling import Compiled
from mlrun.env.lock import canonical, toml_text
from mlrun.env.loopback import Loopback, preferred_hash, upstream_for
from mlrun.env.pip_settings import without_credentials
from mlrun.env.pythons import FIRST_STRICT_DAY, version_of_pip
from mlrun.env.traps import numbers
from mlrun.env.uv import BIG_ONLY_AS_WHEELS
from mlrun.errors import EnvironmentBuildError, ProcessError
from mlrun.process import capture
from mlrun.value import draft, field, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mlrun.env.compiling import Source, Wanted
    from mlrun.env.interpreters import Interpreter
    from mlrun.env.loopback import File
    from mlrun.env.uv import Uv
    from mlrun.process import Captured

_SECONDS = 420.0
_FOUND_MISSING = re.compile(r"(?:ModuleNotFoundError|ImportError): No module named '?([A-Za-z_]\w*)")
_BUILD_TOOLS = {"numpy": "numpy", "Cython": "cython", "scipy": "scipy", "pkgconfig": "pkgconfig"}
"""Modules that set-up scripts of old import before they say that they need them, as packages."""


@value
class LocalWheel:
    """A wheel of a local project, and the lock's entry for its folder or archive."""

    name: str
    version: str
    wheel: Path
    entry: str


def compile_with_pip(
    wanted: Wanted, *, tool: Uv, interpreter: Interpreter, scratch: Path, as_of: str
) -> Compiled:
    """A lock of what pip would have installed on that day, and wheels of what has none.

    Raises EnvironmentBuildError.
    """
    if wanted.manifest is not None:
        raise EnvironmentBuildError("a pip of that day reads no `pyproject.toml`", code="cannot-resolve")
    for line in wanted.lines:
        if re.search(r"\s@\s|^\w+\+\w+:|^https?:", line):
            raise EnvironmentBuildError(
                f"a pip of that day cannot lock what no index serves: {without_credentials(line)}",
                code="cannot-resolve",
            )
    pip = _Pip(tool, interpreter, as_of, _fresh(scratch))
    with pip.at_work() as index:
        local = [_local_wheel(pip, source, number) for number, source in enumerate(wanted.sources)]
        own = [_as_requirement(each, source) for each, source in zip(local, wanted.sources, strict=True)]
        out, adaptations = pip.wheels([*wanted.lines, *own], wanted.limits)
        names = {each.wheel.name for each in local}
        wheels = [path for path in sorted(out.glob("*.whl")) if path.name not in names]
        return _compiled(wheels, local, index, interpreter, adaptations)


def build_with_pip(
    wanted: Iterable[tuple[str, str]], *, tool: Uv, interpreter: Interpreter, scratch: Path, as_of: str
) -> tuple[Path, ...]:
    """Wheels of packages (name and version) that have none, built with the tools of that day.

    Raises EnvironmentBuildError.
    """
    pip = _Pip(tool, interpreter, as_of, _fresh(scratch))
    with pip.at_work():
        out, _ = pip.wheels([f"{name}=={version}" for name, version in wanted], (), "--no-deps")
        return tuple(sorted(out.glob("*.whl")))


def _fresh(scratch: Path) -> Path:
    """A folder of its own for each pip."""
    return scratch / f"pip-{time.monotonic_ns()}"


# --- pip itself ---------------------------------------------------------------------------------------


@draft
class _Pip:
    """One pip in an environment of its own."""

    tool: Uv
    interpreter: Interpreter
    as_of: str
    scratch: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def python(self) -> Path:
        return self.scratch / "pip/bin/python"

    @contextlib.contextmanager
    def at_work(self) -> Iterator[Loopback]:
        """Installed, and with its index open."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        self._install()
        no_index = "--no-index" in self.tool.flags
        with Loopback(upstream_for(self.tool.variables, no_index=no_index), self.as_of) as index:
            self.variables = _variables(self.tool.variables, index.url)
            try:
                yield index
            except EnvironmentBuildError as error:
                if not index.failures:
                    raise
                raise _unanswered(index.failures[0]) from error
            if down := [each for each in index.failures if not _REFUSED.search(each)]:
                raise _unanswered(down[0])  # what another index has may not be what was meant

    def _install(self) -> None:
        doing = f"make ready pip {version_of_pip(self.interpreter)}"
        where = ("--quiet", "--no-project", "--no-config", "--python", self.interpreter.path)
        self.tool.must(doing, "venv", *where, self.scratch / "pip")
        install = ("pip", "install", "--quiet", "--python", self.python)
        own = [flag for flag in self.tool.flags if flag == "--no-index"]
        pip = f"pip=={version_of_pip(self.interpreter)}"
        self.tool.must(doing, *install, *own, "--exclude-newer", "false", pip)
        said = self.tool.run(*install, *own, "setuptools", "wheel")
        if said.exit_code != 0:
            self.tool.must(doing, *install, *own, "--exclude-newer", "false", "setuptools<58", "wheel<0.38")

    def run(self, *arguments: str | Path) -> Captured:
        """Run it to its end, whatever that is."""
        argv = [str(self.python), "-m", "pip", *(str(argument) for argument in arguments)]
        started = time.monotonic()
        try:
            said = capture(argv, variables=self.variables, cwd=self.scratch, timeout=_SECONDS)
        except ProcessError as error:
            raise EnvironmentBuildError(f"pip of the day: {error.message}", code="tool-timeout") from error
        output = (said.stdout + said.stderr).decode("utf-8", "replace")
        shown = " ".join(argv[1:])
        self.tool.transcript.append(
            without_credentials(f"$ python {shown}\n{output}({time.monotonic() - started:.1f} s)")
        )
        return said

    def wheels(
        self, lines: Sequence[str], constraints: Sequence[str], *flags: str
    ) -> tuple[Path, tuple[str, ...]]:
        """The folder with a wheel of all that the lines need, and what was done to get there.

        Raises EnvironmentBuildError.
        """
        wanted, limits, out = (
            self.scratch / "wanted.txt",
            self.scratch / "limits.txt",
            self.scratch / "wheels",
        )
        wanted.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        limits.write_text("".join(f"{line}\n" for line in constraints), "utf-8")
        allowed = [flag for flag in self.tool.flags if flag.startswith(("--no-binary", "--only-binary"))]
        arguments = ["wheel", "--prefer-binary", "--wheel-dir", out, *allowed, *flags]
        if self.tool.variables.get("UV_PRERELEASE") == "allow":
            arguments.append("--pre")
        arguments += ["--requirement", wanted, "--constraint", limits]
        return out, self._until_it_works([str(argument) for argument in arguments])

    def _until_it_works(self, arguments: list[str]) -> tuple[str, ...]:
        """Give it what set-up scripts miss, and let conflicts be where pip did; each once."""
        adaptations: list[str] = []
        given: set[str] = set()
        while True:
            said = self.run(*arguments)
            if said.exit_code == 0:
                return tuple(adaptations)
            text = (said.stdout + said.stderr).decode("utf-8", "replace")
            lacking = [_BUILD_TOOLS[name] for name in _FOUND_MISSING.findall(text) if name in _BUILD_TOOLS]
            if missing := [name for name in dict.fromkeys(lacking) if name not in given]:
                given.update(missing)
                self._give(missing)
                adaptations.append(f"{' and '.join(missing)} installed for set-up scripts that need it")
            elif "ResolutionImpossible" in text and self._was_lenient(arguments):
                arguments = [*arguments, "--use-deprecated=legacy-resolver"]
                adaptations.append("conflicts between requirements were let be, as pip did before 20.3")
            else:
                raise explain(text, self.interpreter)

    def _was_lenient(self, arguments: list[str]) -> bool:
        return self.as_of < FIRST_STRICT_DAY and arguments[-1] != "--use-deprecated=legacy-resolver"

    def _give(self, names: list[str]) -> None:
        said = self.run("install", "--prefer-binary", BIG_ONLY_AS_WHEELS, *names)
        if said.exit_code != 0:
            raise explain((said.stdout + said.stderr).decode("utf-8", "replace"), self.interpreter)


_REFUSED = re.compile(r"HTTP Error 4(?!29)\d\d:")
"""An index that will not have us today will not tomorrow: pip passes over it."""


def _unanswered(failure: str) -> EnvironmentBuildError:
    return EnvironmentBuildError(f"the index does not answer: {failure}", code="no-network")


def _variables(given: Mapping[str, str], index: str) -> dict[str, str]:
    """Those of the caller, with the loopback index in the place of all others."""
    variables = {name: text for name, text in given.items() if not name.startswith(("PIP_", "UV_"))}
    known = ("PIP_CACHE_DIR", "PIP_NO_CACHE_DIR")
    variables.update({name: given[name] for name in known if name in given})
    variables.update(
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL=index,
        PIP_NO_INPUT="1",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_PROGRESS_BAR="off",
        PIP_PREFER_BINARY="1",
        PIP_DEFAULT_TIMEOUT=given.get("UV_HTTP_TIMEOUT") or "30",
        NO_PROXY=",".join(filter(None, (given.get("NO_PROXY") or given.get("no_proxy"), "127.0.0.1"))),
    )
    variables["no_proxy"] = variables["NO_PROXY"]
    for name, source in (
        ("PIP_CERT", "SSL_CERT_FILE"),
        ("PIP_CLIENT_CERT", "SSL_CLIENT_CERT"),
        ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST"),
    ):
        if given.get(source):
            variables[name] = given[source]
    return variables


_ERROR = re.compile(r"^\s*(?:ERROR: )(.*)$", re.MULTILINE)
_EXCEPTION = re.compile(r"^\s*((?:\w+\.)*\w*(?:Error|Exception)\b.*)$", re.MULTILINE)
_UNBUILT = re.compile(r"Failed (?:building wheel for|to build) ([\w.-]+)")
_NO_VERSION = re.compile(r"No matching distribution found for (\S.*)")
_QUOTED = 6


def explain(text: str, interpreter: Interpreter) -> EnvironmentBuildError:
    """The error that pip's output amounts to: the package that failed, and the lines that matter."""
    text = without_credentials(text)
    errors = [line.strip() for line in _ERROR.findall(text) if line.strip()]
    exceptions = [line.strip() for line in _EXCEPTION.findall(text)]
    minor = ".".join(map(str, interpreter.numbers[:2]))
    details = tuple(dict.fromkeys([*errors[-_QUOTED:], *exceptions[-2:]]))
    if wanted := _NO_VERSION.search(text):
        message = f"no {wanted[1]} that Python {minor} can use was in the index on that day"
        return EnvironmentBuildError(message, code="cannot-resolve", details=details)
    if unbuilt := _UNBUILT.search(text):
        message = f"`{unbuilt[1]}` has no wheel for Python {minor} and does not build from source"
        return EnvironmentBuildError(message, code="cannot-build-package", details=details)
    if "ResolutionImpossible" in text:
        conflicts = re.findall(r"^\s*The conflict is caused by:\n((?:\s{4,}.*\n)+)", text, re.MULTILINE)
        lines = [line.strip() for line in conflicts[0].splitlines()] if conflicts else []
        return EnvironmentBuildError(
            "the requirements contradict each other" + (f": {'; '.join(lines[:3])}" if lines else ""),
            code="cannot-resolve",
            details=details,
        )
    reason = errors[-1] if errors else "pip failed"
    return EnvironmentBuildError(f"pip of the day: {reason}", code="environment-failed", details=details)


# --- local projects -----------------------------------------------------------------------------------


def _local_wheel(pip: _Pip, source: Source, number: int) -> LocalWheel:
    folder = pip.scratch / f"local-{number}"
    said = pip.run("wheel", "--no-deps", "--wheel-dir", folder, source.url)
    if said.exit_code != 0:
        raise explain((said.stdout + said.stderr).decode("utf-8", "replace"), pip.interpreter)
    wheel = next(folder.glob("*.whl"))
    name, version = _name_and_version(wheel)
    if source.path.is_file():
        sha256 = _sha256(source.path)
        path, hashes = toml_text(str(source.path)), f"{{ sha256 = {toml_text(sha256)} }}"
        entry = f"archive = {{ path = {path}, hashes = {hashes} }}"
    else:
        editable = ", editable = true" if source.editable else ""
        entry = f"directory = {{ path = {toml_text(str(source.path))}{editable} }}"
    return LocalWheel(name=name, version=version, wheel=wheel, entry=entry)


def _as_requirement(local: LocalWheel, source: Source) -> str:
    extras = re.search(r"\[[^\]]*\]$", source.url)
    return f"{local.name}{extras[0] if extras else ''} @ file://{quote(str(local.wheel))}"


def _name_and_version(wheel: Path) -> tuple[str, str]:
    name, version, *_ = wheel.name.split("-")
    return canonical(name), version


# --- from wheels to a lock ----------------------------------------------------------------------------


def _compiled(
    wheels: Sequence[Path],
    local: Sequence[LocalWheel],
    index: Loopback,
    interpreter: Interpreter,
    adaptations: tuple[str, ...],
) -> Compiled:
    blocks = {each.name: f"name = {toml_text(each.name)}\n{each.entry}\n" for each in local}
    built: list[Path] = []
    for wheel in wheels:
        name, version = _name_and_version(wheel)
        files = _of_version(index.files(name), version)
        if not files:
            raise EnvironmentBuildError(
                f"cannot lock {name} {version}: no index serves it", code="cannot-resolve"
            )
        if wheel.name not in {file.name for file in files}:
            built.append(wheel)
        blocks[name] = _entry(name, version, files)
    minor = ".".join(map(str, interpreter.numbers[:2]))
    header = f'lock-version = "1.0"\ncreated-by = "mlrun"\nrequires-python = ">={minor}"\n'
    text = "".join(f"\n[[packages]]\n{blocks[name]}" for name in sorted(blocks))
    newest = {
        name: max((file.version for file in index.files(name)), key=numbers, default="0") for name in blocks
    }
    return Compiled(text=header + text, wheels=tuple(built), newest=newest, adaptations=adaptations)


def _of_version(files: Iterable[File], version: str) -> list[File]:
    from packaging.version import InvalidVersion, Version

    def same(other: str) -> bool:
        try:
            return Version(other.replace("_", "+", 1)) == Version(version.replace("_", "+", 1))
        except InvalidVersion:
            return other == version

    return [file for file in files if same(file.version)]


def _entry(name: str, version: str, files: list[File]) -> str:
    """A package of the lock, with every file of that version that has a hash."""
    known = [(file, found) for file in files if (found := preferred_hash(file) or _hash_of_local(file))]
    sdists = [_file_entry(file, found) for file, found in known if not file.is_wheel]
    wheels = [_file_entry(file, found) for file, found in known if file.is_wheel]
    if not sdists and not wheels:
        raise EnvironmentBuildError(f"cannot lock {name} {version}: its index gives no hashes")
    lines = [f"name = {toml_text(name)}", f"version = {toml_text(version)}"]
    lines += [f"sdist = {sdists[0]}"] if sdists else []
    lines += [f"wheels = [{', '.join(wheels)}]"] if wheels else []
    return "\n".join(lines) + "\n"


def _file_entry(file: File, found: tuple[str, str]) -> str:
    parts = [f"url = {toml_text(file.url)}"]
    if file.uploaded and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", file.uploaded):
        parts.append(f"upload-time = {file.uploaded[:19]}Z")
    parts.append(f"hashes = {{ {found[0]} = {toml_text(found[1])} }}")
    return f"{{ {', '.join(parts)} }}"


def _hash_of_local(file: File) -> tuple[str, str] | None:
    if not file.url.startswith("file:"):
        return None
    return "sha256", _sha256(unquote(urlsplit(file.url).path))


def _sha256(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
