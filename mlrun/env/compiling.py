"""One resolution by uv: from lines that pip would take to the text of a lock.

Files of a day only count where their index says when they were uploaded; uv leaves out all others. What is
known to such an index alone is taken whatever its day, and said.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from mlrun.env.lock import PYPI, PYPI_FILES, canonical, first_files, versions_in
from mlrun.env.pip_settings import without_credentials
from mlrun.env.traps import numbers
from mlrun.errors import EnvironmentBuildError
from mlrun.value import field, replace, value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlrun.env.interpreters import Interpreter
    from mlrun.env.lock import Indexes
    from mlrun.env.uv import Uv

_SERVED_BY = re.compile(r"^([\w.-]+)==([^\s;\\]+).*\n(?:\s+--hash.*\n)*\s+# from (\S+)$", re.MULTILINE)
_FILTERED = re.compile(
    r"`([\w.-]+)` was filtered by `exclude-newer`(?:(?!published at)[^\n])*$", re.MULTILINE
)
_PASSED_OVER = re.compile(r"^WARN `([\w.-]+)==(\S+)` has invalid metadata: .*\n(.*)$", re.MULTILINE)
_MOST_UNDATED = 30


@value
class Source:
    """A local project as the resolver is to see it: at `path`, which may be a copy of `origin`.

    `url` is for `path` (`file:///…`), with extras.
    """

    origin: str
    path: Path
    url: str
    editable: bool

    @property
    def line(self) -> str:
        return ("-e " if self.editable else "") + self.url


@value
class Wanted:
    """What is to be resolved: lines of requirements, limits, local projects, a `pyproject.toml`."""

    lines: tuple[str, ...]
    limits: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    manifest: Path | None = None


@value
class Compiled:
    """A resolution: a lock's text, wheels of what was built for it, which index served what, and what was
    done to get there. `newest` are the versions that there were, where that is known."""

    text: str
    wheels: tuple[Path, ...] = ()
    indexes: Indexes = field(default_factory=dict)
    newest: dict[str, str] = field(default_factory=dict)
    adaptations: tuple[str, ...] = ()


def compile_with_uv(wanted: Wanted, *, tool: Uv, interpreter: Interpreter, scratch: Path) -> Compiled:
    """A lock for this platform and Python, as a plain install would resolve it.

    One for all platforms took seven times as long wherever versions had to be searched for.
    Raises EnvironmentBuildError.
    """
    output = scratch / "pylock.toml"
    arguments = _arguments(wanted, interpreter, scratch)
    how = ("--format", "pylock.toml", "--generate-hashes", "--output-file", str(output))
    undated: list[str] = []
    while True:
        output.unlink(missing_ok=True)  # uv would hold to the versions, and the files, of an earlier one
        said = tool.run(*arguments, *tool.flags, *how, stdin=_text_of(wanted))
        if said.exit_code == 0:
            break
        names = _without_upload_times(said.stderr.decode("utf-8", "replace"))
        new = [name for name in names if name not in undated]
        if not new or len(undated) > _MOST_UNDATED:
            raise tool.explained("resolve the environment", said)
        undated += new
        tool.flags += tuple(f"--exclude-newer-package={name}=false" for name in new)
    text = output.read_text("utf-8")
    _must_not_have_walked_back(text, said.stderr.decode("utf-8", "replace"))
    adaptations = (_of_any_day(undated),) if undated else ()
    return Compiled(text=text, adaptations=adaptations)


def with_indexes(
    compiled: Compiled, wanted: Wanted, *, tool: Uv, interpreter: Interpreter, scratch: Path
) -> Compiled:
    """The same with the index that serves each package; uv says so only in its other format, from its cache.

    Without it in the lock, uv takes every file for one of a bare URL: kept apart in its cache, and
    fetched again though the index's copy is there.
    """
    if "--no-index" in tool.flags:
        return compiled
    by_place = indexes_by_place(compiled.text, tool.variables)
    if by_place is not None:
        return replace(compiled, indexes=by_place)
    arguments = _arguments(wanted, interpreter, scratch)
    how = ("--format", "requirements.txt", "--no-annotate", "--emit-index-annotation")
    said = tool.run(*arguments, *tool.flags, *how, "--offline", stdin=_text_of(wanted))
    if said.exit_code != 0:  # the index forbids to cache its pages
        said = tool.run(*arguments, *tool.flags, *how, stdin=_text_of(wanted))
    found = _SERVED_BY.findall(said.stdout.decode("utf-8", "replace"))
    return replace(compiled, indexes={(canonical(name), version): url for name, version, url in found})


def indexes_by_place(lock: str, variables: Mapping[str, str]) -> Indexes | None:
    """What the places of a lock's files tell of the indexes that served them; None where that is too little.

    An index serves what lies beside or below it: `https://host/team/files/…` is of `https://host/team/simple`.
    """
    if variables.get("UV_INDEX"):  # with names, and strategies of its own
        return None
    default = variables.get("UV_DEFAULT_INDEX") or variables.get("UV_INDEX_URL") or PYPI
    indexes = [default, *variables.get("UV_EXTRA_INDEX_URL", "").split()]
    folders = [_as_url(link) for link in variables.get("UV_FIND_LINKS", "").split(",") if link]
    found: Indexes = {}
    for name_and_version, url in first_files(lock):
        serving = [index for index in indexes if url.startswith(_reach(index))]
        if any(url.startswith(folder) for folder in folders):
            if serving:
                return None
        elif len(serving) != 1:
            return None
        elif serving[0] != PYPI:
            found[name_and_version] = without_credentials(serving[0])
    return found


def _reach(index: str) -> str:
    """What the URLs of an index's files begin with, if they lie with it."""
    if index.rstrip("/") == PYPI:
        return PYPI_FILES
    return without_credentials(index).rstrip("/").rpartition("/")[0] + "/"


def _as_url(link: str) -> str:
    return without_credentials(link) if "://" in link else f"file://{quote(link)}"


def _arguments(wanted: Wanted, interpreter: Interpreter, scratch: Path) -> list[str]:
    arguments = ["pip", "compile", "-", "--no-header", "--quiet", "--python", interpreter.path]
    if wanted.manifest:
        arguments.append(str(wanted.manifest))
    if wanted.limits:
        constraints = scratch / "constraints.txt"
        constraints.write_text("".join(f"{line}\n" for line in wanted.limits), "utf-8")
        arguments += ["--constraints", str(constraints)]
    return arguments


def _text_of(wanted: Wanted) -> str:
    return "".join(f"{line}\n" for line in (*wanted.lines, *(each.line for each in wanted.sources)))


def _must_not_have_walked_back(lock: str, warnings: str) -> None:
    """uv passes over versions whose metadata it does not take, down to those of another age.

    Raises EnvironmentBuildError where it took an older one, or came to do without.
    """
    locked = versions_in(lock)
    for name, version, why in _PASSED_OVER.findall(warnings):
        if numbers(locked.get(canonical(name), "0")) < numbers(version):
            raise EnvironmentBuildError(
                "cannot resolve the environment: "
                f"`{name}=={version}` has metadata that uv does not take: `{why}`",
                code="cannot-resolve",
                details=(f"{name}=={version} has invalid metadata",),
            )


def _without_upload_times(complaint: str) -> list[str]:
    """Packages left out because of a day, though their files have none: uv tells no time of theirs."""
    return [canonical(name) for name in _FILTERED.findall(complaint)]


def _of_any_day(names: list[str]) -> str:
    return f"of any day, since their index gives no upload times: {', '.join(names)}"
