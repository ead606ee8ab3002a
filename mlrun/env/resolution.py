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
from mlrun.env.compiling import Compiled, Source, Wanted, compile_with_uv, with_indexes
from mlrun.env.lock import (
    canonical,
    day_of,
    read_lock,
    versions_in,
    with_day,
    without_notes,
    without_wheels,
)
from mlrun.env.mending import mended
from mlrun.env.values import stays_editable, will_be_removed
from mlrun.errors import EnvironmentBuildError
from mlrun.value import positional_value, replace, value

if TYPE_CHECKING:
    from mlrun.env.interpreters import Interpreter
    from mlrun.env.lock import Folder, Lock
    from mlrun.env.uv import Uv
    from mlrun.env.values import Asked, LocalProject, Site
    from mlrun.model import Place

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
    """A lock and what is to be installed besides.

    `wheels` are built already, of packages in the lock that have none. `adaptations` say what was added, and
    why.
    """

    lock: Lock
    local: tuple[Local, ...]
    wheels: tuple[Path, ...] = ()
    adaptations: tuple[str, ...] = ()


def resolve(
    asked: Asked, site: Site, tool: Uv, interpreter: Interpreter, scratch: Path, *, pip: bool = False
) -> Resolved:
    """Resolve for this interpreter and platform: with uv, or with a `pip` of the site's day.

    Raises EnvironmentBuildError.
    """
    return _Resolution(asked, site, tool, interpreter, scratch, pip).run()


@positional_value
class _Resolution:
    """One resolution; `scratch` is a folder of its own, `pip` says that a pip of the day resolves."""

    asked: Asked
    site: Site
    tool: Uv
    interpreter: Interpreter
    scratch: Path
    pip: bool

    def run(self) -> Resolved:
        staged = [
            stage(item, self.site, self.scratch / f"local-{number}")
            for number, item in enumerate(self.asked.local)
        ]
        found = self._locked(staged)
        try:
            lock = read_lock(
                with_day(found.text, self.site.day.as_of),
                beside=self._beside,
                directory=self.site.directory,
                origins={str(each.path): each.origin for each in staged},
                indexes=found.indexes,
            )
        except (ValueError, KeyError, IndexError, TypeError) as error:
            what = self.asked.lock or "the lock"
            raise EnvironmentBuildError(f"{what} cannot be read: {error}", code="bad-lock") from error
        copies = {each.origin: each.path for each in staged}
        local = tuple(
            self._ready(folder, copies.get(folder.path, Path(folder.path)), self.scratch / f"wheel-{number}")
            for number, folder in enumerate(lock.folders)
        )
        return Resolved(lock=lock, local=local, wheels=found.wheels, adaptations=found.adaptations)

    def _locked(self, staged: list[Source]) -> Compiled:
        asked = self.asked
        if asked.lock:
            return self._from_lock(asked.lock)
        wanted = Wanted(
            lines=tuple(item.text for item in (*asked.requirements, *asked.build_requirements)),
            limits=tuple(item.text for item in asked.constraints),
            sources=tuple(staged),
            manifest=self.site.directory / asked.manifest if asked.manifest else None,
        )
        if not wanted.lines and not wanted.sources and not wanted.manifest:
            return Compiled(text=self._empty_lock())
        compiled, wanted = self._mended(wanted)
        if self.pip:
            return compiled
        return with_indexes(
            compiled, wanted, tool=self.tool, interpreter=self.interpreter, scratch=self.scratch
        )

    def _mended(self, wanted: Wanted) -> tuple[Compiled, Wanted]:
        """Resolved, with what published code imports and its list forgot, where that can be."""
        as_of = self.site.day.as_of
        compiled, wanted = mended(self._compile, wanted, as_of=as_of, foresee=self.pip)
        forgotten = self._forgotten(compiled) if as_of else []
        if forgotten:
            more = replace(wanted, lines=(*wanted.lines, *(name for name, _ in forgotten)))
            with contextlib.suppress(EnvironmentBuildError):
                better, more = mended(self._compile, more, as_of=as_of, foresee=self.pip)
                known = dict.fromkeys((*compiled.adaptations, _added(forgotten), *better.adaptations))
                return replace(better, adaptations=tuple(known)), more
        return compiled, wanted

    def _forgotten(self, compiled: Compiled) -> list[tuple[str, Place]]:
        """Well-known packages that the sources import and nothing that is asked has brought along."""
        asked = self.asked
        if asked.lock or asked.manifest or asked.local or not asked.requirements:
            return []
        from mlrun.env.asking.imports import needed
        from mlrun.env.asking.inference import top_of
        from mlrun.env.asking.module_names import holds_known_module

        directory = self.site.directory
        there = {canonical(name) for name in versions_in(compiled.text)} | {"setuptools", "pip", "wheel"}
        found = needed(directory, root=top_of(directory)).imported
        return [
            (name, place)
            for name, place in found
            if canonical(name) not in there and holds_known_module(name)
        ]

    def _compile(self, wanted: Wanted) -> Compiled:
        if self.pip and self.site.day.as_of:
            from mlrun.env.era import compile_with_pip as compile_

            return compile_(
                wanted,
                tool=self.tool,
                interpreter=self.interpreter,
                scratch=self.scratch,
                as_of=self.site.day.as_of,
            )
        return compile_with_uv(wanted, tool=self.tool, interpreter=self.interpreter, scratch=self.scratch)

    def _from_lock(self, path: str) -> Compiled:
        """A lock as it was given; what has no wheel is built with the tools of the day that it notes."""
        text = without_notes(self._given_lock(path))
        as_of = day_of(text)
        if as_of is None:
            return Compiled(text=text)
        self.tool.variables["UV_EXCLUDE_NEWER"] = as_of
        unbuilt = without_wheels(text) if self.pip else []
        if not unbuilt:
            return Compiled(text=text)
        from mlrun.env.era import build_with_pip

        wheels = build_with_pip(
            unbuilt, tool=self.tool, interpreter=self.interpreter, scratch=self.scratch, as_of=as_of
        )
        return Compiled(text=text, wheels=wheels)

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

    @property
    def _beside(self) -> Path:
        """Where relative paths begin: uv writes a lock into `scratch`, a given one lies with the project."""
        given = self.asked.lock
        if given is None or given.endswith("uv.lock"):
            return self.scratch
        return (self.site.directory / given).parent

    def _ready(self, folder: Folder, source: Path, output: Path) -> Local:
        """A wheel is known by its RECORD, since archives of the same files differ in their times."""
        its_own = self.asked.lock is not None  # uv locks a project itself as editable, wherever it lies
        if folder.editable and not (its_own and will_be_removed(self.site)):
            return Local(name=folder.name, wheel=None, folder=folder.path, identity=f"editable {folder.path}")
        staged = str(source) != folder.path  # what a given lock names is not
        if not staged and not _takes_version_from_git(source):
            source = _copied(source, output.with_name(f"{output.name}-source"))
        flags = ("--wheel", "--quiet", "--python", self.interpreter.path, *self.tool.index_flags)
        doing = f"build {folder.name} from {folder.path}"
        self.tool.must(doing, "build", *flags, "--out-dir", output, source)
        wheel = next(output.glob("*.whl"))
        identity = f"{wheel.name} {_content_of(wheel)}"
        return Local(name=folder.name, wheel=wheel, folder=folder.path, identity=identity)


def _added(forgotten: list[tuple[str, Place]]) -> str:
    """One sentence, with the first file that imports each."""
    [(name, place), *others] = forgotten
    if not others:
        return f"{name} is added: {place.file} imports it"
    by_file: dict[str, list[str]] = {}
    for name, place in forgotten:
        by_file.setdefault(place.file, []).append(name)
    told = "; ".join(f"{', '.join(names)} (by {file})" for file, names in by_file.items())
    return f"added, since they are imported: {told}"


# --- local projects -----------------------------------------------------------------------------------


def stage(item: LocalProject, site: Site, copy: Path) -> Source:
    """Sources are copied before anything is built from them: build tools litter the folder they work in."""
    origin = Path(os.path.normpath(site.directory / item.path))
    editable = stays_editable(item.editable, site)
    if origin.is_file() or editable or _takes_version_from_git(origin):
        path = origin
    else:
        path = _copied(origin, copy)
    url = f"file://{quote(str(path))}"
    return Source(origin=str(origin), path=path, url=url + item.extras, editable=editable)


def _copied(folder: Path, copy: Path) -> Path:
    shutil.copytree(folder, copy, symlinks=True, ignore=_NOT_SOURCE, ignore_dangling_symlinks=True)
    return copy


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
