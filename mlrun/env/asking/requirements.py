"""Requirement files as pip understands them: lines, options, includes, local projects.

The format: https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from mlrun.env.asking.pypi_names import canonical, is_special, name_of
from mlrun.env.asking.versions import normal_python
from mlrun.env.pip_settings import without_credentials
from mlrun.env.values import LocalProject, Requirement
from mlrun.errors import ProjectError
from mlrun.model import Finding, Place
from mlrun.pattern import pattern
from mlrun.value import draft, field, positional_value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlrun.env.asking.listings import Listing
    from mlrun.env.asking.repairs import Change

_MAX_DEPTH = 20
_LONG = 500
_COMMENT = pattern(r"(^|\s)#.*$")
_OPTION = pattern(r"(--?[A-Za-z][A-Za-z-]*)(?:\s*=\s*|\s+|(?<=^-[a-z]))?(.*)$", re.DOTALL)
_EXTRAS = pattern(r"(?P<path>.+?)(?P<extras>\[[\w\s,.-]*\])?$", re.DOTALL)
_ARCHIVE = pattern(r"\.(whl|zip|tar\.gz|tar\.bz2|tar\.xz|tgz)(\[[^\]]*\])?$")
_NAMED_FILE = pattern(r"^(?P<name>[\w.-]+)\s*(?P<extras>\[[^\]]*\])?\s*@\s*(?P<url>file:[^\s;]+)")
_CLAUSE = r"(?:~=|===?|!=|<=|>=|<|>)\s*\d[\w.!]*(?<!\.x)"
_PLAIN = pattern(
    rf"(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?\s*(?:{_CLAUSE}(?:\s*,\s*{_CLAUSE})*)?\s*([;#].*)?"
)
_BLANK = pattern(r"\s*(#|$)")
_BULLET = pattern(r"^[-*•]\s+(?=\w)")
_DRIVE = pattern(r"[A-Za-z]:[\\/]")
_PYTHON = pattern(r"python\s*(?=[=<>~!]|$)", re.IGNORECASE)
_WINDOWS = "cp1252"
_BUILT_FROM = ("pyproject.toml", "setup.py", "setup.cfg")
_LONG_NAMES = {
    "-r": "requirement",
    "-c": "constraint",
    "-e": "editable",
    "-i": "index-url",
    "-f": "find-links",
    "--pypi-url": "index-url",
}
_KEPT_OPTIONS = frozenset(
    {
        "index-url",
        "extra-index-url",
        "find-links",
        "no-index",
        "pre",
        "trusted-host",
        "no-binary",
        "only-binary",
    }
)
_NEEDLESS_OPTIONS = frozenset(
    {"prefer-binary", "require-hashes", "use-feature", "no-cache-dir", "process-dependency-links"}
)


@draft
class Gathered:
    """What has been read so far, of one file and all that it includes.

    `changes` were made to lines that could not stand as they are, `adaptations` say what else was done.
    `python` is a version that a line asks for, as conda's do.
    """

    requirements: list[Requirement] = field(default_factory=list)
    constraints: list[Requirement] = field(default_factory=list)
    local: list[LocalProject] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    adaptations: list[str] = field(default_factory=list)
    python: str | None = None

    def warn(self, code: str, message: str, place: Place | None = None) -> None:
        self.findings.append(Finding(level="warning", code=code, message=message, place=place))


def read_file(
    path: str, directory: Path, into: Gathered, *, constraints: bool = False, depth: int = 0
) -> None:
    """Read a requirement file; `path` is relative to the project's `directory`.

    Raises ProjectError where a file is missing or is no text, or a line makes no sense.
    """
    if path in into.files:
        return
    if depth > _MAX_DEPTH:
        raise ProjectError(f"requirement files include each other more than {_MAX_DEPTH} deep, at {path}")
    into.files.append(path)
    text, encoding = _decoded(directory / path, shown=path)
    if encoding == _WINDOWS:
        into.warn("not-utf8", f"{path} is not UTF-8: it is read as {_WINDOWS}")
    listing = _listing(text)
    if listing is not None and not constraints:
        _take_listing(listing, path, into)
        return
    for line, number in _logical_lines(text):
        place = Place(file=path, line=number)
        if line.startswith("-") and not _BULLET.match(line):
            _option(line, place, directory, into, constraints=constraints, depth=depth)
        else:
            add_line(_BULLET.sub("", line), place, directory, into, constraints=constraints)


def add_line(text: str, place: Place, directory: Path, into: Gathered, *, constraints: bool = False) -> None:
    """One line that is no option: a requirement, or the path of something local.

    Paths are relative to the project, wherever the file that names them lies, as pip's are to its caller;
    what is not there may lie beside the file. Raises ProjectError for what cannot be understood.
    """
    text = text.strip() if len(text) < _LONG else " ".join(text.split())  # blanks make patterns slow
    if not constraints and (local := _local(text, editable=False, place=place, directory=directory)):
        _take_local(local, place, directory, into)
        return
    if not re.search(r"\w", text):  # a rule of dashes, a fence of Markdown
        return
    if _PYTHON.match(text):
        into.python = into.python or normal_python(_PYTHON.sub("", text, count=1), place)
        into.adaptations.append(
            f"{place.file}:{place.line}: `{text}` is no package, but asks for that Python"
        )
        return
    fixed = _repaired(text, place, into)
    if fixed is not None:
        (into.constraints if constraints else into.requirements).append(Requirement(text=fixed, place=place))


def _repaired(text: str, place: Place, into: Gathered) -> str | None:
    """A requirement as it is, or as `mlrun.env.asking.repairs` understands it; None where it is left out."""
    plain = _PLAIN.fullmatch(text)
    if plain and not is_special(plain["name"]):
        return text
    from mlrun.env.asking.repairs import repaired

    fixed, changes = repaired(text, place)
    into.changes += changes
    return fixed


def add_item(text: str, place: Place, directory: Path, into: Gathered) -> None:
    """One item of a list in another file (YAML, TOML): a line that may be an option too.

    Raises ProjectError as `read_file` does.
    """
    for line, _ in _logical_lines(text):
        if line.startswith("-"):
            _option(line, place, directory, into, constraints=False, depth=0)
        else:
            add_line(line, place, directory, into)


def read_text(path: Path, *, shown: str) -> str:
    """A text file; Windows tools write UTF-16, byte order marks, and their own eight bits.

    Raises ProjectError (`no-such-file`, `unreadable-file`, `not-text`).
    """
    return _decoded(path, shown=shown)[0]


def _decoded(path: Path, *, shown: str) -> tuple[str, str]:
    """A file's text, and its encoding."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ProjectError(f"{shown} does not exist", code="no-such-file") from None
    except OSError as error:
        raise ProjectError(f"cannot read {shown}: {error.strerror}", code="unreadable-file") from error
    for encoding in _encodings(data):
        try:
            return data.decode(encoding).removeprefix("\ufeff"), encoding
        except UnicodeDecodeError:
            continue
    raise ProjectError(f"{shown} is no text", hint="save the file as UTF-8", code="not-text")


def _encodings(data: bytes) -> tuple[str, ...]:
    """What to try, by the first bytes."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return ("utf-16",)
    if data[1:2] == b"\0":
        return ("utf-16-le",)
    if data[:1] == b"\0":
        return ("utf-16-be",)
    return ("utf-8",) if b"\0" in data else ("utf-8", _WINDOWS)


def _listing(text: str) -> Listing | None:
    """What a tool printed, by the first line that says anything."""
    first = next((line.strip() for line in text.splitlines() if not _BLANK.match(line)), "")
    if first.startswith("-") or _PLAIN.fullmatch(first):
        return None
    from mlrun.env.asking.listings import read_listing

    return read_listing(text)


def _take_listing(listing: Listing, path: str, into: Gathered) -> None:
    """What a tool printed about an environment: conda's names are brought to PyPI's."""
    from mlrun.env.asking.conda_specs import parse
    from mlrun.env.asking.conda_translate import Line, translate

    into.adaptations.append(f"{path} is the output of `{listing.tool}`, read as a list of exact versions")
    lines: list[Line] = []
    items: list[Requirement] = []
    for row in listing.rows:
        place = Place(file=path, line=row.line)
        if canonical(row.name) == "python":
            into.python = into.python or normal_python(row.version, place)
        elif row.conda:
            lines.append(Line(spec=parse(f"{row.name}=={row.version}", place), place=place))
        else:
            fixed = _repaired(f"{row.name}=={row.version}", place, into)
            items += [Requirement(text=fixed, place=place)] if fixed else []
    if lines:
        found = translate(lines, pip=items, file=path, exported=True, needs_python=into.python is None)
        into.python = into.python or found.python
        into.adaptations += found.adaptations
        into.findings += found.findings
        items = [*found.requirements, *items]
    into.requirements += items


def _logical_lines(text: str) -> Iterator[tuple[str, int]]:
    """Lines without comments, those that end in a backslash joined; with the number of their first."""
    joined, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        first = first or number
        is_comment = line.lstrip().startswith("#")
        if line.endswith("\\") and not is_comment:
            joined += line[:-1].strip() + " "
            continue
        if stripped := _COMMENT.sub("", joined + line.strip()).strip():
            yield stripped, first
        joined, first = "", 0
    if joined.strip():
        yield joined.strip(), first


def _option(
    text: str, place: Place, directory: Path, into: Gathered, *, constraints: bool, depth: int
) -> None:
    match = _OPTION.match(text)
    flag, value = (match[1], match[2].strip().strip("\"'")) if match else (text, "")
    name = _LONG_NAMES.get(flag, flag.lstrip("-"))
    match name:
        case "requirement" | "constraint":
            included = _included(value, place, directory)
            below = constraints or name == "constraint"
            read_file(included, directory, into, constraints=below, depth=depth + 1)
        case "editable":
            local = _local(value, editable=True, place=place, directory=directory)
            if local is None:
                _take_repository(value, place, directory, into)
            else:
                _take_local(local, place, directory, into)
        case "find-links" if "://" not in value:
            into.options.append((name, os.path.normpath(directory / os.path.dirname(place.file) / value)))
        case _ if name in _KEPT_OPTIONS:
            into.options.append((name, value))
        case _ if name not in _NEEDLESS_OPTIONS:
            into.warn("unknown-option", f"the option `{flag}` is not understood and left out", place)


def _included(value: str, place: Place, directory: Path) -> str:
    """The file that a `-r` or `-c` names, relative to the project: beside its own, else from the project."""
    if "://" in value:
        raise ProjectError(
            f"cannot include `{without_credentials(value)}`: only files are included",
            place=place,
            hint="download it, and include the file",
            code="no-such-file",
        )
    for included in (_beside(value, place), os.path.normpath(value)):
        if (directory / included).is_file():
            return included
    included = _beside(value, place)
    raise ProjectError(f"there is no file `{included}` to include", place=place, code="no-such-file")


@positional_value
class _Local:
    """A path to install from, as a line names it."""

    path: str
    name: str | None
    extras: str
    editable: bool


def _local(text: str, *, editable: bool, place: Place, directory: Path) -> _Local | None:
    """The path that a line names; None for what an index or a URL serves."""
    if named := _NAMED_FILE.match(text):
        return _Local(_path_of_url(named["url"]), named["name"], named["extras"] or "", editable)
    if text.startswith("file:"):
        return _Local(_path_of_url(text.partition(" ")[0]), None, "", editable)
    bare = text if editable else text.partition(" ;")[0].partition(" --")[0].strip()
    if "://" in bare or " @ " in bare or not _looks_local(bare, place, directory, editable=editable):
        return None
    match = _EXTRAS.fullmatch(bare)
    if match is None:
        raise ProjectError("this names nothing to install", place=place, code="bad-requirement")
    return _Local(os.path.expanduser(match["path"]), None, match["extras"] or "", editable)


def _looks_local(text: str, place: Place, directory: Path, *, editable: bool) -> bool:
    if editable or text.startswith((".", "/", "~")) or _ARCHIVE.search(text) or _DRIVE.match(text):
        return True
    return "/" in text and any((directory / path).exists() for path in _readings(text, place))


def _readings(path: str, place: Place) -> tuple[str, ...]:
    """A path as pip's caller means it, from the project, and as others do, from beside the file."""
    return tuple(dict.fromkeys((os.path.normpath(path), _beside(path, place))))


def _beside(path: str, place: Place) -> str:
    return os.path.normpath(os.path.join(os.path.dirname(place.file), path))


def _take_local(local: _Local, place: Place, directory: Path, into: Gathered) -> None:
    """What is there and can be built is installed; what only another machine has is taken otherwise."""
    there = [path for path in _readings(local.path, place) if (directory / path).exists()]
    sound = [path for path in there if _can_be_built(directory / path)]
    if sound:
        into.local.append(
            LocalProject(path=sound[0], editable=local.editable, extras=local.extras, place=place)
        )
    elif there:
        into.adaptations.append(
            f"{place.file}:{place.line}: left out `{local.path}`, where there is nothing to install: no"
            " `pyproject.toml`, no `setup.py`"
        )
    elif _DRIVE.match(local.path) or os.path.isabs(local.path):
        _take_foreign(local, place, directory, into)
    else:
        raise ProjectError(f"there is no `{local.path}` to install", place=place, code="no-such-file")


def _can_be_built(path: Path) -> bool:
    return path.is_file() or any((path / name).is_file() for name in _BUILT_FROM)


def _take_foreign(local: _Local, place: Place, directory: Path, into: Gathered) -> None:
    from mlrun.env.asking.repairs import Change, foreign

    own = _own_project(place, directory)
    if local.editable and own is not None:
        into.local.append(LocalProject(path=own, editable=True, extras=local.extras, place=place))
        into.changes.append(Change("itself", f"`-e {local.path}`", place))
        return
    text, change = foreign(local.path, local.name, place)
    into.changes.append(change)
    fixed = _repaired(text, place, into) if text else None
    into.requirements += [Requirement(text=fixed, place=place)] if fixed else []


def _take_repository(url: str, place: Place, directory: Path, into: Gathered) -> None:
    """`-e git+https://…#egg=x`: editable has nothing to edit; `pip freeze` lists the project itself so."""
    from mlrun.env.asking.repairs import Change

    text = _without_egg(url)
    own = _own_project(place, directory)
    name = name_of(text)
    if own is not None and name is not None and _name_of_project(directory / own) == canonical(name):
        into.local.append(LocalProject(path=own, editable=True, place=place))
        into.changes.append(Change("itself", name, place))
    else:
        into.requirements.append(Requirement(text=text, place=place))


def _own_project(place: Place, directory: Path) -> str | None:
    """Where the project itself can be installed from: its folder, or that of the file."""
    return next((path for path in _readings(".", place) if _can_be_built(directory / path)), None)


def _name_of_project(folder: Path) -> str | None:
    """The name under which a folder's project is installed, as its files write it."""
    for name in _BUILT_FROM:
        try:
            text = (folder / name).read_text("utf-8", "replace")
        except OSError:
            continue
        if match := re.search(r"""^\s*name\s*=\s*["']?([\w.-]+)""", text, re.MULTILINE):
            return canonical(match[1])
        if match := re.search(r"""setup\([^)]*?\bname\s*=\s*["']([\w.-]+)""", text):
            return canonical(match[1])
    return None


def _path_of_url(url: str) -> str:
    from urllib.parse import unquote, urlsplit

    path = unquote(urlsplit(url).path) if url.startswith("file:/") else unquote(url[len("file:") :])
    return path[1:] if _DRIVE.match(path[1:]) else path


def _without_egg(url: str) -> str:
    """`git+https://host/x@rev#egg=name&subdirectory=s` as a requirement that names its package."""
    match = re.fullmatch(r"(?P<url>[^#]+)#(?:.*&)?egg=(?P<name>[\w.-]+(?:\[[^\]]*\])?)(?P<rest>.*)", url)
    if match is None:
        return url
    fragment = "&".join(part for part in url.partition("#")[2].split("&") if not part.startswith("egg="))
    return f"{match['name']} @ {match['url']}" + (f"#{fragment}" if fragment else "")
