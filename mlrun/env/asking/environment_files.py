"""`python_env.yaml` and `conda.yaml`, read with the tolerance that published projects need.

The formats: MLflow's `python_env` (keys `python`, `build_dependencies`, `dependencies`) and conda's
environment file (`dependencies` with a nested `pip:`). Many files are written as one and named as the
other, so both are read by the same words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrun import yamlfile
from mlrun.env.asking.requirements import Gathered, add_item
from mlrun.env.asking.versions import normal_python
from mlrun.env.values import CondaAsked, Requirement
from mlrun.errors import ProjectError
from mlrun.pattern import pattern
from mlrun.value import draft, field
from mlrun.yamlfile import ListNode, MapNode, Scalar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlrun.env.asking.conda_translate import Line
    from mlrun.model import Place
    from mlrun.yamlfile import Memory, Node

_KNOWN_KEYS = frozenset(
    {
        *("python", "build_dependencies", "dependencies", "name", "channels", "prefix", "variables", "pip"),
        *("platforms", "category", "channel_priority", "description", "version"),  # of conda's relatives
    }
)
_PYTHON = pattern(r"([\w./-]+::)?python(?![\w.-])", re.IGNORECASE)
_PATH = pattern(r"[/\\]|\.exe$", re.IGNORECASE)
_VERSION_IN_PATH = pattern(r"(?<![\d.])([23]\.\d+(?:\.\d+)?)(?![\d.]*\d)|python-?([23])(\d+)", re.IGNORECASE)
_PIP_IN_CONDA = pattern(r"-|git\+|\.{1,2}($|[/\[])|[\w.-]+(\[[\w,.-]+\])?\s*@\s|[^#]*;\s*\w+\s*[=<>!]")
"""A line that only pip understands, in conda's part: options, URLs, markers."""
_FILE_URL = pattern(r"^((?:-[rce]|--\w+)[ =]*)file:(?!/)")
"""`-r file:requirements.txt`, which pip takes for a path."""
_CONDA_ARCHIVE = pattern(r"\.(conda|tar\.bz2)(#\w+)?$")
_CONDA_PIN = pattern(r"[A-Za-z0-9][\w.-]*\s*=\s*\d[\w.*+!]*(\s*=\s*[\w.*]+)?")
"""A pin that only conda understands: one `=`, perhaps a build string."""


@draft
class EnvironmentFile:
    """What such a file says."""

    python: str | None = None
    build: list[Requirement] = field(default_factory=list)
    gathered: Gathered = field(default_factory=Gathered)
    adaptations: list[str] = field(default_factory=list)
    conda_asked: CondaAsked | None = None
    exported: bool = False


@draft
class _Reading:
    """One file on its way: `lines` are conda's, `pip_lines` the items of `pip:` sections as written."""

    path: str
    directory: Path
    found: EnvironmentFile = field(default_factory=EnvironmentFile)
    lines: list[Line] = field(default_factory=list)
    specs: list[Requirement] = field(default_factory=list)
    pip_lines: list[Requirement] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    misplaced: list[str] = field(default_factory=list)


def read_environment_file(
    path: str, directory: Path, *, conda: bool, translate: bool = True, memory: Memory | None = None
) -> EnvironmentFile:
    """Read one; `path` is relative to the project's `directory`. `conda` says which of the two it should be.

    With `translate`, conda packages become requirements under their PyPI names; without, they only stand in
    `conda_asked`. Raises ProjectError where it is no such file, EnvironmentBuildError where it needs conda.
    """
    document = yamlfile.read(directory / path, file=path, memory=memory)
    reading = _Reading(path, directory)
    found = reading.found
    found.gathered.files.append(path)
    found.gathered.findings.extend(document.findings)
    root = document.root
    if root is None or yamlfile.is_null(root):
        found.gathered.warn("empty-environment", f"{path} is empty")
        return found
    if not isinstance(root, MapNode):
        raise ProjectError(
            f"{path} is no environment file: expected keys such as `dependencies`",
            place=root.place,
            code="bad-environment",
        )
    conda = conda or root.get("channels") is not None
    _take_keys(root, reading, conda=conda)
    if translate:
        _translate(reading)
    if conda:
        found.conda_asked = CondaAsked(
            path=path,
            specs=tuple(reading.specs),
            channels=tuple(item.text.strip() for item in _items(root.get("channels"))),
            pip=tuple(reading.pip_lines),
            variables=tuple(_variables(root.get("variables"))),
        )
    _say(reading)
    return found


def _say(reading: _Reading) -> None:
    if not reading.mended and not reading.misplaced:
        return
    from mlrun.env.asking.conda_translate import listed

    path, found = reading.path, reading.found
    if reading.mended:
        found.adaptations.append(f"read as it was meant in {path}: {listed(reading.mended)}")
    if reading.misplaced:
        found.adaptations.append(
            f"lines of pip among conda's packages in {path}: {listed(reading.misplaced)}"
        )


def _take_keys(root: MapNode, reading: _Reading, *, conda: bool) -> None:
    found = reading.found
    python = root.get("python")
    if isinstance(python, Scalar) and not yamlfile.is_null(python):
        found.python = _asked_python(python, reading)
    for key, _ in root.entries:
        if key.text not in _KNOWN_KEYS:
            found.gathered.warn(
                "unknown-key", f"{reading.path} has a key that means nothing here: `{key.text}`", key.place
            )
    for item in _items(root.get("build_dependencies")):
        found.build.append(Requirement(text=item.text.strip(), place=item.place))
    _dependencies(root.get("dependencies"), reading, conda=conda)
    _dependencies(root.get("pip"), reading, conda=False)


def _asked_python(python: Scalar, reading: _Reading) -> str | None:
    """The version; of the path of an interpreter, which is another machine's, what it tells of one."""
    text = python.text.strip()
    if not _PATH.search(text):
        return normal_python(text, python.place)
    told = _VERSION_IN_PATH.search(text)
    version = (told[1] or f"{told[2]}.{told[3]}") if told else None
    taken = f"Python {version}" if version else "any Python"
    reading.found.adaptations.append(f"{python.place}: {taken} is taken for `{text}`, a path of one machine")
    return version


def _dependencies(node: Node | None, reading: _Reading, *, conda: bool) -> None:
    """A list, a single text, or a mapping; what lies under `pip:` at any depth is pip's."""
    if isinstance(node, MapNode):
        for key, value in node.entries:
            _pair(key, value, reading, conda=conda)
        return
    for item in node.items if isinstance(node, ListNode) else (node,):
        if isinstance(item, Scalar):
            if not yamlfile.is_null(item) and item.text.strip():
                _dependency(item, reading, conda=conda)
        elif item is not None:
            _dependencies(item, reading, conda=conda)


def _pair(key: Scalar, value: Node, reading: _Reading, *, conda: bool) -> None:
    """`numpy: 1.19` for `numpy=1.19`, and `pip: numpy`, which is a section of one."""
    is_section = yamlfile.is_null(value) or not re.match(r"[\d*=<>~]", _text_or_nothing(value))
    if key.text.strip() == "pip" and is_section:
        _dependencies(value, reading, conda=False)
        return
    if not isinstance(value, Scalar) or not re.match(r"\s*[\d*=<>~!]|$", _text_or_nothing(value)):
        raise ProjectError(
            f"expected a requirement or `pip:`, found `{key.text}:`", place=key.place, code="bad-environment"
        )
    version = _text_or_nothing(value).strip()
    operator = "" if not version or version[0] in "=<>~!" else "=" if conda else "=="
    text = key.text.strip() + operator + version
    reading.mended.append(f"`{key.text}: {version}` as `{text}`" if version else f"`{key.text}:`")
    _dependency(Scalar(key.place, text), reading, conda=conda)


def _text_or_nothing(node: Node) -> str:
    return node.text if isinstance(node, Scalar) and not yamlfile.is_null(node) else ""


def _dependency(item: Scalar, reading: _Reading, *, conda: bool) -> None:
    text = item.text.strip()
    if conda and (_PIP_IN_CONDA.match(text) or ("://" in text and not _CONDA_ARCHIVE.search(text))):
        reading.misplaced.append(text)
        conda = False
    elif _PYTHON.match(text):
        _python(text, item.place, reading)
        return
    if not conda:
        _pip_item(text, item.place, reading)
        return
    from mlrun.env.asking import conda_specs
    from mlrun.env.asking.conda_translate import Line

    spec = conda_specs.parse(text, item.place)
    if spec.extras:
        reading.misplaced.append(text)
    reading.specs.append(Requirement(text=text, place=item.place))
    reading.lines.append(Line(spec=spec, place=item.place))


def _python(text: str, place: Place, reading: _Reading) -> None:
    from mlrun.env.asking import conda_specs

    spec = conda_specs.parse(text, place)
    if re.match(r"[4-9]|\d\d", spec.version):
        message = f"{reading.path}: `{text}` is left out, since there is no such Python"
        reading.found.gathered.warn("no-such-python", message, place)
        return
    reading.specs.append(Requirement(text=text, place=place))
    reading.found.python = normal_python(conda_specs.python_version(spec), place) or reading.found.python


def _pip_item(text: str, place: Place, reading: _Reading) -> None:
    if _CONDA_PIN.fullmatch(text):
        from mlrun.env.asking import conda_specs

        spec = conda_specs.parse(text, place)
        meant = spec.name + conda_specs.pip_version(spec).text
        reading.mended.append(f"`{text}` as `{meant}`")
        text = meant
    text = _FILE_URL.sub(r"\1", text)
    reading.pip_lines.append(Requirement(text=text, place=place))
    add_item(text, place, reading.directory, reading.found.gathered)


def _items(node: Node | None) -> Iterator[Scalar]:
    """The texts of a list; a single text counts as a list of one."""
    for item in node.items if isinstance(node, ListNode) else (node,):
        if isinstance(item, Scalar) and not yamlfile.is_null(item):
            yield item


def _variables(node: Node | None) -> Iterator[tuple[str, str]]:
    """`variables:` is a mapping; a list of `NAME=value` is what some write."""
    if isinstance(node, MapNode):
        for key, value in node.entries:
            if isinstance(value, Scalar):
                yield key.text, _text_or_nothing(value)
        return
    for item in _items(node):
        name, _, text = item.text.partition("=")
        yield name.strip(), text.strip()


def _translate(reading: _Reading) -> None:
    """Conda packages as requirements under the names that PyPI has for them."""
    found = reading.found
    if not reading.lines:
        return
    from mlrun.env.asking.conda_translate import looks_exported, translate

    found.exported = looks_exported(reading.lines, found.gathered.requirements)
    told = translate(
        reading.lines,
        pip=found.gathered.requirements,
        file=reading.path,
        exported=found.exported,
        needs_python=re.fullmatch(r"\d?", found.python or "") is not None,
    )
    found.python = told.python or found.python
    found.build.extend(told.build)
    found.gathered.requirements.extend(told.requirements)
    found.gathered.findings.extend(told.findings)
    found.adaptations.extend(told.adaptations)
