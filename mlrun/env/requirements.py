"""Requirement files as pip understands them: lines, options, includes, local projects.

The format: https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from mlrun.env.pip_settings import without_credentials
from mlrun.env.values import LocalProject, Requirement
from mlrun.errors import ProjectError
from mlrun.model import Finding, Place
from mlrun.value import draft, field

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAX_DEPTH = 20
_COMMENT = re.compile(r"(^|\s)#.*$")
_OPTION = re.compile(r"(--?[A-Za-z][A-Za-z-]*)(?:\s*=\s*|\s+|(?<=^-[a-z]))?(.*)$", re.DOTALL)
_EXTRAS = re.compile(r"(?P<path>.+?)(?P<extras>\[[\w\s,.-]*\])?$", re.DOTALL)
_ARCHIVE = re.compile(r"\.(whl|zip|tar\.gz|tar\.bz2|tar\.xz|tgz)(\[[^\]]*\])?$")
_NAMED_FILE = re.compile(r"^[\w.-]+\s*(?P<extras>\[[^\]]*\])?\s*@\s*(?P<url>file:[^\s;]+)")
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
    """What has been read so far, of one file and all that it includes."""

    requirements: list[Requirement] = field(default_factory=list)
    constraints: list[Requirement] = field(default_factory=list)
    local: list[LocalProject] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def warn(self, code: str, message: str, place: Place | None = None) -> None:
        self.findings.append(Finding(level="warning", code=code, message=message, place=place))


def read_file(
    path: str, directory: Path, into: Gathered, *, constraints: bool = False, depth: int = 0
) -> None:
    """Read a requirement file; `path` is relative to the project's `directory`.

    Raises ProjectError where a file is missing or is no text.
    """
    if path in into.files:
        return
    if depth > _MAX_DEPTH:
        raise ProjectError(f"requirement files include each other more than {_MAX_DEPTH} deep, at {path}")
    into.files.append(path)
    for text, number in _logical_lines(read_text(directory / path, shown=path)):
        place = Place(file=path, line=number)
        if text.startswith("-"):
            _option(text, place, directory, into, constraints=constraints, depth=depth)
        else:
            add_line(text, place, directory, into, constraints=constraints)


def add_line(text: str, place: Place, directory: Path, into: Gathered, *, constraints: bool = False) -> None:
    """One line that is no option: a requirement, or the path of something local.

    Paths are relative to the project, wherever the file that names them lies, as pip's are to its caller.
    """
    text = text.strip()
    if constraints:
        into.constraints.append(Requirement(text=text, place=place))
    elif local := _local(text, place, editable=False, directory=directory):
        into.local.append(local)
    else:
        into.requirements.append(Requirement(text=text, place=place))


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
    """A text file; Windows tools write UTF-16 and byte order marks.

    Raises ProjectError (`no-such-file`, `unreadable-file`, `not-text`).
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ProjectError(f"{shown} does not exist", code="no-such-file") from None
    except OSError as error:
        raise ProjectError(f"cannot read {shown}: {error.strerror}", code="unreadable-file") from error
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if encoding != "utf-16" and data[1:2] == b"\0":
        encoding = "utf-16-le"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ProjectError(
            f"{shown} is no {encoding.upper().removesuffix('-SIG')} text",
            hint="save the file as UTF-8",
            code="not-text",
        ) from error


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
            local = _local(value, place, editable=True, directory=directory)
            if local is None:  # `-e git+https://…#egg=x`: from a repository, editable has nothing to edit
                into.requirements.append(Requirement(text=_without_egg(value), place=place))
            else:
                into.local.append(local)
        case "find-links" if "://" not in value:
            into.options.append((name, os.path.normpath(directory / os.path.dirname(place.file) / value)))
        case _ if name in _KEPT_OPTIONS:
            into.options.append((name, value))
        case _ if name not in _NEEDLESS_OPTIONS:
            into.warn("unknown-option", f"the option `{flag}` is not understood and left out", place)


def _included(value: str, place: Place, directory: Path) -> str:
    """The file that a `-r` or `-c` names beside its own, relative to the project."""
    if "://" in value:
        raise ProjectError(
            f"cannot include `{without_credentials(value)}`: only files are included",
            place=place,
            hint="download it, and include the file",
            code="no-such-file",
        )
    included = os.path.normpath(os.path.join(os.path.dirname(place.file), value))
    if not (directory / included).is_file():
        raise ProjectError(f"there is no file `{included}` to include", place=place, code="no-such-file")
    return included


def _local(text: str, place: Place, *, editable: bool, directory: Path) -> LocalProject | None:
    """The local project that a line names; None for one that an index or a URL serves."""
    extras = ""
    if named := _NAMED_FILE.match(text):
        path, extras = _path_of_url(named["url"]), named["extras"] or ""
    elif text.startswith("file:"):
        path = _path_of_url(text.partition(" ")[0])
    else:
        bare = text if editable else text.partition(" ;")[0].partition(" --")[0].strip()
        if "://" in bare or " @ " in bare or not _looks_local(bare, directory, editable=editable):
            return None
        match = _EXTRAS.fullmatch(bare)
        assert match is not None
        path, extras = os.path.expanduser(match["path"]), match["extras"] or ""
    if not (directory / path).exists():
        raise ProjectError(f"there is no `{path}` to install", place=place, code="no-such-file")
    return LocalProject(path=os.path.normpath(path), editable=editable, extras=extras, place=place)


def _looks_local(text: str, directory: Path, *, editable: bool) -> bool:
    if editable or text.startswith((".", "/", "~")) or _ARCHIVE.search(text):
        return True
    return "/" in text and (directory / text).exists()


def _path_of_url(url: str) -> str:
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(url).path) if url.startswith("file:/") else unquote(url[len("file:") :])


def _without_egg(url: str) -> str:
    """`git+https://host/x@rev#egg=name&subdirectory=s` as a requirement that names its package."""
    match = re.fullmatch(r"(?P<url>[^#]+)#(?:.*&)?egg=(?P<name>[\w.-]+(?:\[[^\]]*\])?)(?P<rest>.*)", url)
    if match is None:
        return url
    fragment = "&".join(part for part in url.partition("#")[2].split("&") if not part.startswith("egg="))
    return f"{match['name']} @ {match['url']}" + (f"#{fragment}" if fragment else "")
