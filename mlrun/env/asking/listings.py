"""What tools print about an environment, saved as its requirements: `pip list`, `conda list`, its exports.

Such text is brought to the lines of a requirement file or of a conda file, which others read. The forms are
those of pip 9 to 25 and conda 4 to 25, as seen in published projects.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Tool = Literal["pip list", "conda list"]

_NAME = r"(?P<name>[A-Za-z0-9_][\w.-]*)"
_VERSION = r"(?P<version>\d[\w.!+-]*)"
_PIP_HEADER = re.compile(r"Package\s+Version\b.*", re.IGNORECASE)
_PIP_ROW = re.compile(_NAME + r"\s+" + _VERSION + r"(\s+\S.*)?")
_OLD_PIP_ROW = re.compile(_NAME + r"\s+\(" + _VERSION + r"(,.*)?\)")
_CONDA_HEADER = re.compile(r"#\s*(packages in environment at\b|Name\s+Version\s+Build).*")
_CONDA_ROW = re.compile(_NAME + r"\s+" + _VERSION + r"\s+(?P<build>\S+)(\s+\S+)?")
_EXPORT_ROW = re.compile(_NAME + r"=" + _VERSION + r"=(?P<build>[\w.]+)")
_EXPLICIT_ROW = re.compile(
    r"\w+://\S+/(?P<name>[\w.-]+)-"
    + _VERSION.replace("-]", "]")
    + r"-(?P<build>[\w.]+)\.(tar\.bz2|conda)(#\w+)?"
)
_FROM_PIP = re.compile(r"<pip>|pypi(_\d+)?")


@value
class Row:
    """A package of a listing. `conda` says whether its name is conda's; `line` counts from 1."""

    name: str
    version: str
    conda: bool
    line: int


@value
class Listing:
    """The output of a tool."""

    tool: Tool
    rows: tuple[Row, ...]


def read_listing(text: str) -> Listing | None:
    """The listing that a text is; None for a requirement file as people write them."""
    lines = text.splitlines()
    if rows := tuple(_pip_list(lines)):
        return Listing(tool="pip list", rows=rows)
    if rows := tuple(_conda_list(lines)):
        return Listing(tool="conda list", rows=rows)
    return None


def _pip_list(lines: Sequence[str]) -> Iterator[Row]:
    """Columns under a header, or `name (version)` in every line."""
    start = next((number for number, line in enumerate(lines) if _PIP_HEADER.fullmatch(line.strip())), None)
    pattern = _OLD_PIP_ROW if start is None else _PIP_ROW
    begin = 0 if start is None else start + 1
    written = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if start is None and not (written and all(_OLD_PIP_ROW.fullmatch(line) for line in written)):
        return
    for number, line in enumerate(lines[begin:], begin + 1):
        if match := pattern.fullmatch(line.strip()):
            yield Row(name=match["name"], version=match["version"], conda=False, line=number)


def _conda_list(lines: Sequence[str]) -> Iterator[Row]:
    """`conda list`, its `--export` and its `--explicit`."""
    written = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if any(line == "@EXPLICIT" for line in written):
        pattern = _EXPLICIT_ROW
    elif any(_CONDA_HEADER.fullmatch(line.strip()) for line in lines):
        pattern = _CONDA_ROW
    elif written and sum(bool(_EXPORT_ROW.fullmatch(line)) for line in written) * 2 > len(written):
        pattern = _EXPORT_ROW
    else:
        return
    for number, line in enumerate(lines, 1):
        if match := pattern.fullmatch(line.strip()):
            from_pip = any(_FROM_PIP.fullmatch(word) for word in re.split(r"[\s=]+", line.strip())[2:])
            yield Row(name=match["name"], version=match["version"], conda=not from_pip, line=number)
