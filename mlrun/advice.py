"""What a program's last words say of its environment: that it lacks a package, or that it is too new.

Libraries drop names and arguments in the course of years; a program that dies of that is helped by the
packages of its own day, and its author's last words are known before anybody asks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrun.model import Finding

if TYPE_CHECKING:
    from collections.abc import Collection

_LAST_WORDS = re.compile(r"^(?:\w+\.)*(?P<kind>\w*(?:Error|Exception)): (?P<said>.*)$")
_MISSING = re.compile(r"No module named '?(?P<module>[\w.]+)'?")

# How each looks, and what it means; the texts are those of CPython, numpy and protobuf.
_DROPPED = (
    (
        re.compile(r"cannot import name '?(?P<what>\w+)'? from (?:[a-z ]+)?'(?P<where>[\w.]+)'"),
        "`{where}` no longer has `{what}`",
    ),
    (
        re.compile(r"module '(?P<where>[\w.]+)' has no attribute '(?P<what>\w+)'"),
        "`{where}` no longer has `{what}`",
    ),
    (
        re.compile(
            r"'(?P<where>(?!NoneType|str|int|float|list|dict|tuple|bytes|set)\w+)'"
            r" object has no attribute '(?P<what>\w+)'"
        ),
        "`{where}` has no `{what}`",
    ),
    (
        re.compile(r"(?P<where>[\w.]+)\(\) got an unexpected keyword argument '(?P<what>\w+)'"),
        "`{where}` takes no `{what}`",
    ),
    (
        re.compile(r"(?P<where>[\w.]+)\(\) takes (from )?\d+ .*positional arguments? .*but \d+"),
        "`{where}` takes its arguments otherwise",
    ),
    (
        re.compile(r"(?P<where>numpy\.\w+) size changed, may indicate binary incompatibility"),
        "a package was built for another numpy",
    ),
    (
        re.compile(r"(?P<where>Descriptors) cannot(?: not)? be created directly"),
        "protobuf is newer than its users",
    ),
    (re.compile(r"(?P<where>The '?\w+'? parameter of [\w.]+ must be)"), "a parameter takes other values now"),
)


def advise(
    tail: str, *, packages: Collection[str], as_of: str | None, committed_at: str | None, target: str
) -> Finding | None:
    """What to try next, from the end of a failed program's output; None where it says nothing of that.

    `packages` are the distributions that it could import, `as_of` the day they are of (None: now),
    `committed_at` the date of the code, UTC text.
    """
    words = _last_words(tail)
    if words is None:
        return None
    kind, said = words
    if missing := _MISSING.search(said):
        top = missing["module"].partition(".")[0]
        if not _holds(packages, top):
            return Finding(
                level="warning",
                code="missing-package",
                message=f"the environment holds no `{top}`, which the program imports",
                hint="name the package that has it in the project's requirements",
            )
        return _too_new(f"`{top}` no longer has `{missing['module']}`", as_of, committed_at, target)
    if kind not in ("ImportError", "AttributeError", "TypeError", "ValueError", "InvalidParameterError"):
        return None
    for pattern, meaning in _DROPPED:
        if match := pattern.search(said):
            return _too_new(meaning.format(**match.groupdict()), as_of, committed_at, target)
    return None


def _last_words(tail: str) -> tuple[str, str] | None:
    """The last line that names an exception, near the end."""
    for line in reversed(tail.splitlines()[-40:]):
        if match := _LAST_WORDS.match(line.strip()):
            return match["kind"], match["said"]
    return None


def _holds(packages: Collection[str], module: str) -> bool:
    name = re.sub(r"[-_.]+", "-", module).lower()
    aliases = {"sklearn": "scikit-learn", "cv2": "opencv-python", "PIL": "pillow", "yaml": "pyyaml"}
    return name in packages or aliases.get(module, name) in packages


def _too_new(meaning: str, as_of: str | None, committed_at: str | None, target: str) -> Finding | None:
    if as_of is not None:
        return None
    day = committed_at[:10] if committed_at else None
    command = f"mlrun run {target} --as-of {day or 'DATE'}"
    return Finding(
        level="warning",
        code="packages-too-new",
        message=f"{meaning}: the packages may be newer than the code",
        hint=f"`{command}` installs those of {'the commit' if day else 'its day'}",
    )
