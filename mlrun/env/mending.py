"""A resolution without what is known to break: resolved, looked at, and where need be resolved again.

Nothing here is put above the project: where both cannot hold, the resolution without the remedy stands.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from mlrun.env.lock import canonical, versions_in
from mlrun.env.traps import foreseen, numbers, remedies_for, undeclared
from mlrun.errors import EnvironmentBuildError
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlrun.env.compiling import Compiled, Wanted
    from mlrun.env.traps import Remedy

    Compile = Callable[[Wanted], Compiled]

NEEDS_PKG_RESOURCES = {"mlflow": (2, 16), "mlflow-skinny": (2, 16)}
"""Packages that import `pkg_resources` without saying so, and the first version that no longer does."""

HELD_SETUPTOOLS_UNTIL = "2023-10-02"
"""Python 3.12, whose environments first came without: https://docs.python.org/3/whatsnew/3.12.html"""

_WITHOUT_PKG_RESOURCES = 81  # setuptools from here on
_WITH_OTHER_DISTUTILS = 75  # setuptools from here on, by which old mlflow cannot copy its models
_PIN = re.compile(r"\s*([\w.-]+)\s*==\s*(\d+(?:\.\d+)*)")
_BOUND = re.compile(r"\s*([\w.-]+)(?:\[[^\]]*\])?\s*[<>=!~@]")
_ROUNDS = 3


def mended(
    compile_: Compile, wanted: Wanted, *, as_of: str | None, foresee: bool = False
) -> tuple[Compiled, Wanted]:
    """The resolution, and what was wanted in the end; `adaptations` say what was added and why.

    With `foresee`, for a resolver that takes its time, limits for pinned packages are set from the start.

    Raises EnvironmentBuildError where the project's own requirements have no solution.
    """
    wanted, held = _with_what_all_held(wanted, as_of)
    wanted, remedies = _for_pins(wanted, foresee=foresee)
    compiled = compile_(wanted)
    said = [each.why for each in remedies if _was_needed(each, compiled)]
    compiled = replace(compiled, adaptations=(*held, *said, *compiled.adaptations))
    compiled, wanted = _without_traps(compile_, compiled, wanted)
    return _with_pkg_resources(compile_, compiled, wanted)


def _with_what_all_held(wanted: Wanted, as_of: str | None) -> tuple[Wanted, tuple[str, ...]]:
    """Every environment of old held setuptools, so that packages relied on it unsaid."""
    named = {re.split(r"[^\w.-]", line.strip().lower(), maxsplit=1)[0] for line in wanted.lines}
    if as_of is None or as_of >= HELD_SETUPTOOLS_UNTIL or "setuptools" in named:
        return wanted, ()
    added = replace(wanted, lines=(*wanted.lines, "setuptools"))
    return added, ("setuptools is added, which every environment of that day held",)


def _for_pins(wanted: Wanted, *, foresee: bool) -> tuple[Wanted, list[Remedy]]:
    """What pinned packages lack for certain, which saves a resolution."""
    found = [_PIN.match(line) for line in wanted.lines]
    pins = {canonical(pin[1]): pin[2] for pin in found if pin}
    names = {re.split(r"[^\w.-]", line.strip(), maxsplit=1)[0] for line in wanted.lines}
    named = {canonical(name) for name in names}
    remedies = [each for each in undeclared(pins) if each.line not in named]
    if foresee:
        bound = {canonical(match[1]) for line in wanted.lines if (match := _BOUND.match(line))}
        remedies += foreseen(pins, bound)
    return _remedied(wanted, remedies), remedies


def _was_needed(remedy: Remedy, compiled: Compiled) -> bool:
    """Whether a limit that was foreseen kept anything out."""
    name, _, limit = remedy.line.partition("<")
    return not remedy.is_limit or numbers(compiled.newest.get(name, "0")) >= numbers(limit)


def _without_traps(compile_: Compile, compiled: Compiled, wanted: Wanted) -> tuple[Compiled, Wanted]:
    tried: set[Remedy] = set()
    for _ in range(_ROUNDS):
        remedies = [each for each in remedies_for(versions_in(compiled.text)) if each not in tried]
        if not remedies:
            break
        tried.update(remedies)
        together = [remedies] if len(remedies) > 1 else []
        for group in (*together, *([each] for each in remedies)):
            better = _remedied(wanted, group)
            with contextlib.suppress(EnvironmentBuildError):
                compiled = _after(compiled, compile_(better), [each.why for each in group])
                wanted = better
                if group is remedies:
                    break
    return compiled, wanted


def _remedied(wanted: Wanted, group: Sequence[Remedy]) -> Wanted:
    lines = [each.line for each in group if not each.is_limit]
    limits = [each.line for each in group if each.is_limit]
    return replace(wanted, lines=(*wanted.lines, *lines), limits=(*wanted.limits, *limits))


def _after(before: Compiled, now: Compiled, why: Sequence[str]) -> Compiled:
    return replace(now, adaptations=tuple(dict.fromkeys((*before.adaptations, *why, *now.adaptations))))


def _with_pkg_resources(compile_: Compile, compiled: Compiled, wanted: Wanted) -> tuple[Compiled, Wanted]:
    """Who names setuptools without a version mostly needs just that, so a newer one is not taken unasked."""
    locked = versions_in(compiled.text)
    needing = _needing_pkg_resources(locked)
    limits = [_WITH_OTHER_DISTUTILS] if needing else []
    if needing or "setuptools" in locked:
        limits.append(_WITHOUT_PKG_RESOURCES)
    found = _numbers(locked.get("setuptools", "9999"))
    for limit in [f"setuptools<{limit}" for limit in limits if found >= (limit, 0)]:
        better = replace(wanted, lines=(*wanted.lines, limit))
        why = [f"{limit} is added: {needing} needs pkg_resources without saying so"] if needing else []
        with contextlib.suppress(EnvironmentBuildError):
            return _after(compiled, compile_(better), why), better
    return compiled, wanted


def _needing_pkg_resources(locked: dict[str, str]) -> str | None:
    for name, fixed in NEEDS_PKG_RESOURCES.items():
        if name in locked and _numbers(locked[name]) < fixed:
            return f"{name} {locked[name]}"
    return None


def _numbers(version: str) -> tuple[int, int]:
    """Major and minor, of any version that an index may serve."""
    major, minor, *_ = (*map(int, re.findall(r"\d+", version)), 0, 0)
    return major, minor
