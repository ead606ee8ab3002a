"""A diagnosis as lines, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.views import words

if TYPE_CHECKING:
    from mlrun.doctor import Check, Diagnosis

STYLES = {"ok": "green", "lacking": "red", "unknown": "yellow", "note": "yellow"}
Line = tuple[str, str]
"""The state, or nothing, and the rest of a line."""

_STATE = 8  # columns
_CODE = 12


def lines(diagnosis: Diagnosis, *, verbose: bool) -> list[Line]:
    """One line a check, what to do below it; `verbose` adds details of what is fine too."""
    shown: list[Line] = [("", "this machine")]
    for check in diagnosis.machine:
        shown += _lines(check, verbose=verbose)
    if diagnosis.project is not None:
        shown += [("", ""), ("", f"the project {diagnosis.project.name}")]
        for check in diagnosis.project.checks:
            shown += _lines(check, verbose=verbose)
    return shown


def _lines(check: Check, *, verbose: bool) -> list[Line]:
    blank = " " * (_STATE + 1)
    first = (check.state.ljust(_STATE), f"{check.code.ljust(_CODE)} {check.text}")
    under = blank + " " * (_CODE + 1)
    wrong = check.state in ("lacking", "unknown")
    details = [("", f"{under}{line}") for line in check.details if verbose or wrong]
    wanted = check.hint is not None and (wrong or verbose or check.state == "note")
    hint = [("", f"{under}→ {check.hint}")] if wanted else []
    return [first, *details, *hint]


def verdict(diagnosis: Diagnosis) -> str:
    """The last line."""
    lacking = sum(check.state == "lacking" for check in diagnosis.checks)
    unknown = sum(check.state == "unknown" and check.needed for check in diagnosis.checks)
    what = "the project needs" if diagnosis.project else "mlrun needs"
    if lacking:
        return f"{words.plural(lacking, 'thing')} that {what} {'is' if lacking == 1 else 'are'} lacking"
    if unknown:
        return f"cannot tell of {words.plural(unknown, 'thing')} that {what}"
    return f"all that {what} is there"


def as_json(diagnosis: Diagnosis) -> dict[str, object]:
    """The same for machines."""
    project = diagnosis.project
    return {
        "fine": diagnosis.exit_code == 0,
        "machine": [_check(check) for check in diagnosis.machine],
        "project": {
            "name": project.name,
            "checks": [_check(check) for check in project.checks],
        }
        if project
        else None,
    }


def _check(check: Check) -> dict[str, object]:
    return {
        "code": check.code,
        "state": check.state,
        "needed": check.needed,
        "text": check.text,
        "hint": check.hint,
        "details": list(check.details),
    }
