"""Requirement lines that pip would refuse, or that name what is not there: what is meant, and what is said.

A line is changed only where one meaning is clear; every change ends up in a sentence, those of one kind
together.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Literal

from mlrun.env.asking.pypi_names import (
    BACKPORTS,
    NOT_ON_PYPI,
    ONLY_ON,
    RENAMED,
    SAME_VERSIONS,
    canonical,
    in_standard_library,
    name_of,
)
from mlrun.errors import ProjectError
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlrun.env.values import Requirement
    from mlrun.model import Place

Kind = Literal[
    "renamed", "standard", "platform", "nowhere", "elsewhere", "local", "rewritten", "itself", "gone", "twice"
]

_MOST_NAMES = 12
_PLATFORMS = {"win32": "Windows", "darwin": "macOS"}
_EXTRAS = r"\s*(?P<extras>\[[^\]]*\])?\s*"
_REST = re.compile(r"[\w.-]+" + _EXTRAS + r"(?P<version>.*)", re.DOTALL)
_LOCAL_VERSION = re.compile(r"(==\s*[\w.]+)\+(cu\d+|cpu|rocm[\d.]+|xpu)\b")
_WHEEL = re.compile(r"(?P<name>[\w.]+)-(?P<version>\d[\w.!]*)(\+[\w.]+)?-[\w.]+-[\w.]+-[\w.]+\.whl")
_SOURCE = re.compile(r"(?P<name>[A-Za-z][\w.-]*?)-(?P<version>\d[\w.]*)\.(?:tar\.gz|zip|tar\.bz2)")
_INSTALL = re.compile(r"^[!%$]?\s*(?:sudo\s+)?(?:python3?\s+-m\s+)?pip3?\s+install\s+(?P<what>[^-].*)$")
_REQUIREMENT = re.compile(r"[\w.-]+" + _EXTRAS + r"([(<>=!~;@]|--|$)")
_PINNED = re.compile(r"(?P<name>[\w.-]+)\s*={2,3}\s*(?P<version>[\w.!+*-]+)")


@positional_value
class Change:
    """One thing that was changed: the `name` it is about, and what more there is to say of it."""

    kind: Kind
    name: str
    place: Place
    detail: str = ""


def repaired(text: str, place: Place) -> tuple[str | None, list[Change]]:
    """A requirement as pip understands it; None where nothing of it is to be installed.

    Raises ProjectError (`bad-requirement`) for what names a package and makes no sense after it.
    """
    changes: list[Change] = []
    tidy = _tidied(text)
    if tidy != text:
        changes.append(Change("rewritten", text, place, tidy))
    name = name_of(tidy)
    if name is None:
        return tidy, changes
    if not _REQUIREMENT.match(tidy):
        raise ProjectError(
            f"`{text}` is no requirement", place=place, hint="`name`, or `name==1.2`", code="bad-requirement"
        )
    found = _left_out(name, place)
    if found is not None and (found.kind != "platform" or ";" not in tidy):
        return None, [found]
    renamed = _renamed(name, tidy, place, changes)
    return _without_local_version(_for_its_pythons(renamed, place, changes), place, changes), changes


def foreign(path: str, name: str | None, place: Place) -> tuple[str | None, Change]:
    """What stands for a path on another machine: the name it is given, or that of the archive."""
    archive = path.replace("\\", "/").rpartition("/")[2]
    match = _WHEEL.fullmatch(archive) or _SOURCE.fullmatch(archive)
    if match and (name is None or canonical(name) == canonical(match["name"])):
        shown = match["name"].replace("_", "-")
        return f"{name or shown}=={match['version']}", Change("elsewhere", name or shown, place)
    if name is not None:
        return name, Change("elsewhere", name, place)
    return None, Change("gone", path, place)


def _left_out(name: str, place: Place) -> Change | None:
    known = canonical(name)
    if known in NOT_ON_PYPI:
        return Change("nowhere", name, place, NOT_ON_PYPI[known])
    platform = "darwin" if known.startswith("pyobjc") else ONLY_ON.get(known, sys.platform)
    if platform != sys.platform:
        return Change("platform", name, place, _PLATFORMS[platform])
    if in_standard_library(name):
        return Change("standard", name, place)
    return None


def _renamed(name: str, text: str, place: Place, changes: list[Change]) -> str:
    known = canonical(name)
    if known not in RENAMED:
        return text
    new, why = RENAMED[known]
    changes.append(Change("renamed", name, place, f"{new} ({why})"))
    match = _REST.fullmatch(text)
    assert match is not None
    extras = match["extras"] or ""
    if known in SAME_VERSIONS:
        return new + extras + match["version"]
    marker = match["version"].partition(";")[2]
    return new + (f" ;{marker}" if marker else "")


def _for_its_pythons(text: str, place: Place, changes: list[Change]) -> str:
    """A backport hinders a Python that has its module; older ones need it."""
    name = canonical(name_of(text) or "")
    if name not in BACKPORTS or ";" in text:
        return text
    marked = f'{text} ; python_version < "{BACKPORTS[name]}"'
    changes.append(Change("rewritten", text, place, marked))
    return marked


def _without_local_version(text: str, place: Place, changes: list[Change]) -> str:
    """`torch==1.12.1+cu113` is on an index of its own; `==1.12.1` takes it there as well."""
    match = _LOCAL_VERSION.search(text)
    if match is None:
        return text
    changes.append(Change("local", name_of(text) or text, place, match[2]))
    return text.replace(match[0], match[1])


def _tidied(text: str) -> str:
    """What conda, a YAML list, `pip list` or a slip of the pen made of a requirement."""
    if install := _INSTALL.match(text):
        text = install["what"]
    text = text.strip()
    if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'`":
        text = text[1:-1].strip()
    if name_of(text) is None or "@" in text:
        return text
    end = min((at for at in (text.find(";"), text.find(" --")) if at >= 0), default=len(text))
    wanted = text[:end].strip().rstrip(",").strip()
    for pattern, new in _SLIPS:
        wanted = pattern.sub(new, wanted)
    return text if wanted == text[:end].strip() and text[end:] != ";" else wanted + text[end:].rstrip("; ")


_SLIPS = (
    (re.compile(r"^([\w.-]+)\s+\(\s*([\d][^)\s]*)\s*\)$"), r"\1==\2"),  # numpy (1.19)
    (re.compile(r"^([\w.-]+)\s*:\s*(?=\d)"), r"\1=="),  # numpy: 1.19
    (re.compile(r"^([\w.-]+)\s+v?(\d[\w.]*)$"), r"\1==\2"),  # numpy 1.19
    (re.compile(r"^([\w.-]+(?:\[[^\]]*\])?)\s*=\s*([\w.*!+]+)(=\w+)?$"), r"\1==\2"),  # numpy=1.19=py38_0
    (re.compile(r"=([<>])"), r"\1="),  # =>
    (re.compile(r"(==?\s*latest|\s+latest|==\s*\*?)\s*$"), ""),
    (re.compile(r"([<>]=?\s*\d[\w.]*?)\.[*x]"), r"\1"),  # >=1.0.*
    (re.compile(r"(==\s*\d[\w.]*?)\.x\b"), r"\1.*"),  # ==1.19.x
)


# --- what is said -------------------------------------------------------------------------------------


def sentences(changes: Iterable[Change]) -> tuple[str, ...]:
    """A sentence for each kind and file, which starts with the place of the first."""
    groups: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        groups.setdefault((change.place.file, change.kind), []).append(change)
    return tuple(f"{_where(group)}: {_sentence(group)}" for group in groups.values())


def _where(group: Sequence[Change]) -> str:
    return f"{group[0].place.file}:{group[0].place.line}"


def _sentence(group: Sequence[Change]) -> str:
    match group[0].kind:
        case "renamed":
            return "taken under their own names: " + _joined(f"{it.name} as {it.detail}" for it in group)
        case "standard":
            return f"left out {_joined(it.name for it in group)}: part of Python itself"
        case "platform":
            shown = _joined(f"{it.name} ({it.detail})" for it in group)
            return f"left out what is for other platforms: {shown}"
        case "nowhere":
            return f"left out what is on no index: {_joined(f'{it.name} ({it.detail})' for it in group)}"
        case "elsewhere":
            return f"taken from the index, since their paths are of another machine: {_names(group)}"
        case "local":
            label = f"the label `+{group[0].detail}`, which only an index of its own has"
            return f"taken without {label}: {_names(group)}"
        case "rewritten":
            return "understood as pip would write it: " + _joined(
                f"`{it.name}` as `{it.detail}`" for it in group
            )
        case "itself":
            return f"the project itself is installed for {_names(group)}"
        case "twice":
            return "of several versions the last one counts: " + _joined(
                f"{it.name} {it.detail}" for it in group
            )
        case "gone":
            return f"left out what is only on another machine: {_names(group)}"


def _names(group: Sequence[Change]) -> str:
    return _joined(change.name for change in group)


def _joined(texts: Iterable[str]) -> str:
    shown = list(dict.fromkeys(texts))
    more = len(shown) - _MOST_NAMES
    return ", ".join(shown[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def without_conflicts(
    items: Sequence[Requirement],
) -> tuple[list[Requirement], list[Change]]:
    """Where a package is pinned to several versions, which no resolver can have, the last one counts."""
    last: dict[str, tuple[Requirement, str]] = {}
    dropped: list[Requirement] = []
    changes = []
    for item in items:
        match = _PINNED.fullmatch(item.text)
        if match is None:
            continue
        name = canonical(match["name"])
        if name in last and last[name][1] != match["version"]:
            dropped.append(last[name][0])
            changes.append(Change("twice", match["name"], item.place, match["version"]))
        last[name] = (item, match["version"])
    return [item for item in items if item not in dropped], changes
