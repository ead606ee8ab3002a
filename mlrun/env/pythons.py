"""Which of the installed Pythons, which next where that fails, and which pip is of their day.

What the project names wins. Where it names none, or a range, and packages of a day are wanted, it is the
newest that had been out for a year on that day: by then most packages had wheels for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrun.env.interpreters import choose, fits, installed
from mlrun.errors import EnvironmentBuildError
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlrun.env.interpreters import Interpreter, Probes
    from mlrun.model import Caller, Finding

RELEASED = {
    (3, 4): "2014-03-16",
    (3, 5): "2015-09-13",
    (3, 6): "2016-12-23",
    (3, 7): "2018-06-27",
    (3, 8): "2019-10-14",
    (3, 9): "2020-10-05",
    (3, 10): "2021-10-04",
    (3, 11): "2022-10-24",
    (3, 12): "2023-10-02",
    (3, 13): "2024-10-07",
    (3, 14): "2025-10-07",
}
"""Days of the first releases, from the release schedules (PEPs 429, 478, 494, 537, 569, 596, 619, 664, 693,
719 and 745)."""

NEIGHBOURS = 6
"""How many others are tried at most."""

LAST_LENIENT = "24.0"
"""The last pip that takes versions and requirements from before PEP 440; it needs Python 3.7."""

LAST_FOR_36 = "21.3.1"
"""The last pip for Python 3.6; it knows the newer wheel tags, as those that came with 3.6 do not."""

FIRST_STRICT_DAY = "2020-11-30"
"""pip 20.3, which first refused conflicts between requirements: https://pip.pypa.io/en/stable/news/"""

_NOT_YET = "9999-12-31"


@value
class Choice:
    """A Python, what is to be said of the choice, and what it departs from."""

    interpreter: Interpreter
    findings: tuple[Finding, ...] = ()
    adaptations: tuple[str, ...] = ()


def first_choice(wanted: str | None, *, as_of: str | None, caller: Caller, probes: Probes) -> Choice:
    """The Python for a version or specifier, on a day or now.

    Raises EnvironmentBuildError (`no-python`).
    """
    if as_of is not None and not _is_exact(wanted):
        fitting = [each for each in _newest_of_minors(installed(caller, probes)) if fits(each, wanted)]
        if fitting:
            return Choice(interpreter=_ripe(fitting, as_of))
    try:
        interpreter, findings = choose(wanted, caller=caller, probes=probes)
    except EnvironmentBuildError:
        nearest = _nearest(wanted, installed(caller, probes)) if as_of is not None else []
        if not nearest:
            raise
        text = f"Python {nearest[0].version} in the place of {wanted}, which is not installed"
        return Choice(interpreter=nearest[0], adaptations=(text,))
    return Choice(interpreter=interpreter, findings=findings)


def neighbours(
    wanted: str | None, *, chosen: Interpreter, caller: Caller, probes: Probes
) -> list[Interpreter]:
    """Other Pythons that the project allows, nearest first, an older one before a newer.

    None where it names one that is there; where it names one that is missing, the others near it.
    """
    others = _newest_of_minors(installed(caller, probes))
    if _is_exact(wanted):
        return [] if fits(chosen, _minor(wanted)) else _nearest(wanted, others)[1:3]
    here = chosen.numbers[1]
    fitting = [each for each in others if each.numbers[:2] != chosen.numbers[:2] and fits(each, wanted)]
    in_order = sorted(fitting, key=lambda each: (abs(each.numbers[1] - here), each.numbers[1] > here))
    return in_order[:NEIGHBOURS]


def version_of_pip(interpreter: Interpreter) -> str:
    """The newest pip that reads what was published before 2020, for this Python."""
    return LAST_FOR_36 if interpreter.numbers[:2] < (3, 7) else LAST_LENIENT


def missing_of_day(as_of: str, *, caller: Caller, probes: Probes) -> str | None:
    """The minor version that was usual on that day (`3.7`), where it is not installed."""
    day = _ripe_until(as_of)
    ripe = max((minor for minor, released in RELEASED.items() if released <= day), default=None)
    if ripe is None or any(_key(each) == ripe for each in installed(caller, probes)):
        return None
    return f"{ripe[0]}.{ripe[1]}"


def _is_exact(wanted: str | None) -> bool:
    return wanted is not None and re.fullmatch(r"\d+\.\d+(\.\d+)?", wanted) is not None


def _minor(wanted: str | None) -> str:
    return ".".join((wanted or "").split(".")[:2])


def _newest_of_minors(found: Iterable[Interpreter]) -> list[Interpreter]:
    """One of each minor version, newest first."""
    minors: dict[tuple[int, ...], Interpreter] = {}
    for each in sorted(found, key=lambda each: each.numbers, reverse=True):
        minors.setdefault(each.numbers[:2], each)
    return list(minors.values())


def _ripe(fitting: list[Interpreter], as_of: str) -> Interpreter:
    """The newest that was ripe on that day; where none was, the oldest."""
    day = _ripe_until(as_of)
    ripe = [each for each in fitting if RELEASED.get(_key(each), _NOT_YET) <= day]
    return ripe[0] if ripe else fitting[-1]


def _ripe_until(as_of: str) -> str:
    """The day by which a Python must have come out to be ripe, a year earlier; days compare as text."""
    return f"{int(as_of[:4]) - 1:04}{as_of[4:10]}"


def _key(interpreter: Interpreter) -> tuple[int, int]:
    major, minor, *_ = (*interpreter.numbers, 0, 0)
    return major, minor


def _nearest(wanted: str | None, found: Iterable[Interpreter]) -> list[Interpreter]:
    """Those in the place of a minor version that is missing: newer ones first, the nearest of each first."""
    if not _is_exact(wanted):
        return []
    assert wanted is not None
    major, minor = (int(part) for part in wanted.split(".")[:2])
    others = [each for each in _newest_of_minors(found) if each.numbers[0] == major]
    return sorted(others, key=lambda each: (each.numbers[1] < minor, abs(each.numbers[1] - minor)))
