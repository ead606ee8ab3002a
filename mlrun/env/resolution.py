"""From what is asked to a lock: the one step that decides versions."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mlrun import digest
from mlrun.env.lock import all_from_pypi, canonical, read_lock
from mlrun.env.values import stays_editable, will_be_removed
from mlrun.errors import EnvironmentBuildError
from mlrun.model import Finding
from mlrun.value import positional_value, value

if TYPE_CHECKING:
    from mlrun.env.interpreters import Interpreter
    from mlrun.env.lock import Folder, Indexes, Lock
    from mlrun.env.uv import Uv
    from mlrun.env.values import Asked, LocalProject, Site

NEEDS_PKG_RESOURCES = {"mlflow": (2, 16), "mlflow-skinny": (2, 16)}
"""Packages that import `pkg_resources` without saying so, and the first version that no longer does."""

_WITHOUT_PKG_RESOURCES = 81  # setuptools from here on
_WITH_OTHER_DISTUTILS = 75  # setuptools from here on, by which old mlflow cannot copy its models
_LOCKED = re.compile(r'^name = "([^"]+)"\nversion = "([^"]+)"', re.MULTILINE)
_SERVED_BY = re.compile(r"^([\w.-]+)==([^\s;\\]+).*\n(?:\s+--hash.*\n)*\s+# from (\S+)$", re.MULTILINE)
_NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".hg", "__pycache__", ".venv", "venv", "mlruns", "*.egg-info", ".tox"
)
_VERSION_FROM_GIT = re.compile(
    r"setuptools[-_]scm|use_scm_version|hatch-vcs|versioneer|versioningit|pbr\b|dynamic-versioning"
)


@value
class Local:
    """A local project, ready to install: a wheel of it, or its folder where it stays editable.

    `identity` is what the environment's key must know of it.
    """

    name: str
    wheel: Path | None
    folder: str
    identity: str


@value
class Resolved:
    """A lock and what is to be installed besides."""

    lock: Lock
    local: tuple[Local, ...]
    findings: tuple[Finding, ...] = ()


def resolve(asked: Asked, site: Site, tool: Uv, interpreter: Interpreter, scratch: Path) -> Resolved:
    """Resolve with uv, for this interpreter and platform.

    Raises EnvironmentBuildError.
    """
    return _Resolution(asked, site, tool, interpreter, scratch).run()


@positional_value
class _Resolution:
    """One resolution; `scratch` is a folder of its own."""

    asked: Asked
    site: Site
    tool: Uv
    interpreter: Interpreter
    scratch: Path

    def run(self) -> Resolved:
        staged = [
            _staged(item, self.site, self.scratch / f"local-{number}")
            for number, item in enumerate(self.asked.local)
        ]
        text, indexes, findings = self._locked(staged)
        try:
            lock = read_lock(
                text,
                beside=self.scratch,
                directory=self.site.directory,
                origins={str(each.path): each.origin for each in staged},
                indexes=indexes,
            )
        except (ValueError, KeyError, IndexError, TypeError) as error:
            what = self.asked.lock or "the lock"
            raise EnvironmentBuildError(f"{what} cannot be read: {error}", code="bad-lock") from error
        copies = {each.origin: each.path for each in staged}
        local = tuple(
            self._ready(folder, copies.get(folder.path, Path(folder.path)), self.scratch / f"wheel-{number}")
            for number, folder in enumerate(lock.folders)
        )
        return Resolved(lock=lock, local=local, findings=findings)

    def _locked(self, staged: list[_Staged]) -> tuple[str, Indexes, tuple[Finding, ...]]:
        """The lock's text, which index serves which package, and what was noticed."""
        if self.asked.lock:
            return self._given_lock(self.asked.lock), {}, ()
        lines = [item.text for item in (*self.asked.requirements, *self.asked.build_requirements)]
        lines += [each.line for each in staged]
        if not lines and not self.asked.manifest:
            return self._empty_lock(), {}, ()
        text = self._compile(lines)
        findings: tuple[Finding, ...] = ()
        needing, limits = _limits_of_setuptools(dict(_LOCKED.findall(text)))
        for limit in limits:
            # Where the project itself wants a newer one, this has no solution, and what was found stands.
            with contextlib.suppress(EnvironmentBuildError):
                text, lines = self._compile([*lines, limit]), [*lines, limit]
                findings = _added_setuptools(needing, limit)
                break
        return text, self._indexes(text, lines), findings

    def _given_lock(self, path: str) -> str:
        if not path.endswith("uv.lock"):
            return (self.site.directory / path).read_text("utf-8")
        project = self.site.directory / os.path.dirname(path)
        how = ("--frozen", "--format", "pylock.toml", "--no-header", "--quiet", "--project", project)
        where = ("--python", self.interpreter.path, "--output-file", self._output)
        self.tool.must(f"read {path}", "export", *how, *where)
        return self._output.read_text("utf-8")

    def _empty_lock(self) -> str:
        minor = ".".join(str(number) for number in self.interpreter.numbers[:2])
        return f'lock-version = "1.0"\ncreated-by = "mlrun"\nrequires-python = ">={minor}"\n'

    @property
    def _output(self) -> Path:
        return self.scratch / "pylock.toml"

    def _compile(self, lines: list[str]) -> str:
        """The text of a lock for this platform and Python, as a plain install would resolve it.

        One for all platforms took seven times as long wherever versions had to be searched for.
        """
        self._output.unlink(
            missing_ok=True
        )  # uv would hold to the versions, and the files, of an earlier one
        output = ("--format", "pylock.toml", "--generate-hashes", "--output-file", str(self._output))
        self.tool.must("resolve the environment", *self._compile_arguments(), *output, stdin=_text_of(lines))
        return self._output.read_text("utf-8")

    def _indexes(self, lock: str, lines: list[str]) -> Indexes:
        """Which index serves each package; uv says so only in its other format, from its cache at once.

        Without it in the lock, uv takes every file for one of a bare URL: kept apart in its cache, and
        fetched again though the index's copy is there.
        """
        only_pypi = all_from_pypi(lock) and "UV_DEFAULT_INDEX" not in self.tool.variables
        if only_pypi or "--no-index" in self.tool.flags:
            return {}
        how = ("--format", "requirements.txt", "--no-annotate", "--emit-index-annotation")
        said = self.tool.run(*self._compile_arguments(), *how, "--offline", stdin=_text_of(lines))
        if said.exit_code != 0:  # the index forbids to cache its pages
            said = self.tool.run(*self._compile_arguments(), *how, stdin=_text_of(lines))
        found = _SERVED_BY.findall(said.stdout.decode("utf-8", "replace"))
        return {(canonical(name), version): url for name, version, url in found}

    def _compile_arguments(self) -> list[str]:
        arguments = ["pip", "compile", "-", "--no-header", "--quiet", "--python", self.interpreter.path]
        if self.asked.manifest:
            arguments.append(str(self.site.directory / self.asked.manifest))
        if self.asked.constraints:
            constraints = self.scratch / "constraints.txt"
            constraints.write_text(_text_of([item.text for item in self.asked.constraints]))
            arguments += ["--constraints", str(constraints)]
        return [*arguments, *self.tool.flags]

    def _ready(self, folder: Folder, source: Path, output: Path) -> Local:
        """A wheel is known by its RECORD, since archives of the same files differ in their times."""
        its_own = self.asked.lock is not None  # uv locks a project itself as editable, wherever it lies
        if folder.editable and not (its_own and will_be_removed(self.site)):
            return Local(name=folder.name, wheel=None, folder=folder.path, identity=f"editable {folder.path}")
        flags = ("--wheel", "--quiet", "--python", self.interpreter.path, *self.tool.index_flags)
        doing = f"build {folder.name} from {folder.path}"
        self.tool.must(doing, "build", *flags, "--out-dir", output, source)
        wheel = next(output.glob("*.whl"))
        identity = f"{wheel.name} {_content_of(wheel)}"
        return Local(name=folder.name, wheel=wheel, folder=folder.path, identity=identity)


def _text_of(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _limits_of_setuptools(locked: dict[str, str]) -> tuple[str | None, list[str]]:
    """Which locked package needs `pkg_resources` without saying so, and what to add, first choice first.

    Who names setuptools without a version mostly needs just that, so a newer one is not taken unasked.
    """
    needing = None
    for name, fixed in NEEDS_PKG_RESOURCES.items():
        if name in locked and _numbers(locked[name]) < fixed:
            needing = f"{name} {locked[name]}"
    limits = [_WITH_OTHER_DISTUTILS] if needing else []
    if needing or "setuptools" in locked:
        limits.append(_WITHOUT_PKG_RESOURCES)
    found = _numbers(locked.get("setuptools", "9999"))
    return needing, [f"setuptools<{limit}" for limit in limits if found >= (limit, 0)]


def _numbers(version: str) -> tuple[int, int]:
    """Major and minor, of any version that an index may serve."""
    major, minor, *_ = (*map(int, re.findall(r"\d+", version)), 0, 0)
    return major, minor


def _added_setuptools(needing: str | None, limit: str) -> tuple[Finding, ...]:
    if needing is None:
        return ()
    message = f"{needing} needs pkg_resources without saying so: {limit} is added"
    return (Finding(level="warning", code="added-setuptools", message=message),)


# --- local projects -----------------------------------------------------------------------------------


@value
class _Staged:
    """A local project as uv is to see it: at `path`, which may be a copy of `origin`."""

    origin: str
    path: Path
    line: str


def _staged(item: LocalProject, site: Site, copy: Path) -> _Staged:
    """Sources are copied before anything is built from them: build tools litter the folder they work in."""
    origin = Path(os.path.normpath(site.directory / item.path))
    editable = stays_editable(item.editable, site)
    if origin.is_file() or editable or _takes_version_from_git(origin):
        path = origin
    else:
        shutil.copytree(origin, copy, symlinks=True, ignore=_NOT_SOURCE, ignore_dangling_symlinks=True)
        path = copy
    url = f"file://{quote(str(path))}"
    return _Staged(origin=str(origin), path=path, line=("-e " if editable else "") + url + item.extras)


def _takes_version_from_git(folder: Path) -> bool:
    """Whether a copy without `.git` could not be built."""
    for name in ("pyproject.toml", "setup.py", "setup.cfg"):
        try:
            if _VERSION_FROM_GIT.search((folder / name).read_text("utf-8", "replace")):
                return True
        except OSError:
            continue
    return False


def _content_of(wheel: Path) -> str:
    import zipfile

    with zipfile.ZipFile(wheel) as archive:
        record = next(name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        lines = sorted(archive.read(record).splitlines())
    return digest.of_bytes(b"\n".join(lines))


def digest_of_folder(folder: Path) -> str:
    """The digest of a folder of source, without what is no source."""
    entries = []
    for current, folders, names in os.walk(folder):
        skipped = _NOT_SOURCE(current, [*folders, *names])
        folders[:] = sorted(set(folders) - skipped)
        for name in sorted(set(names) - skipped):
            path = os.path.join(current, name)
            if os.path.isfile(path):
                entries.append((os.path.relpath(path, folder), digest.of_file(path)))
    return digest.of_value(entries)
