"""What became of records and objects, as text and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.views import words

if TYPE_CHECKING:
    from mlrun.verification import State, Trouble, Verification

_WORDS = {
    "missing": "is missing",
    "damaged": "is damaged",
    "edited": "edited",
    "unreadable": "unreadable",
    "no-digest": "no digest",
    "not-kept": "not kept",
}


def state_of(found: tuple[Verification, ...]) -> State:
    """The worst of all."""
    states = {each.state for each in found}
    return "damaged" if "damaged" in states else "unknown" if "unknown" in states else "intact"


def summary(found: tuple[Verification, ...]) -> str:
    """One sentence."""
    counts = {state: sum(each.state == state for each in found) for state in ("intact", "damaged", "unknown")}
    checked = words.plural(sum(each.checked for each in found), "object")
    if len(found) == 1:
        each = found[0]
        name = each.name or each.run_id[:12]
        said = {"intact": "intact", "damaged": "damaged", "unknown": "cannot tell in full"}[each.state]
        return f"{said}: {name}, {checked} read again"
    parts = [f"{counts['intact']} of {words.plural(len(found), 'run')} intact"]
    parts += [f"{counts['damaged']} damaged"] if counts["damaged"] else []
    parts += [f"{counts['unknown']} cannot be told in full"] if counts["unknown"] else []
    return f"{', '.join(parts)}; {checked} read again"


def describe(found: tuple[Verification, ...]) -> list[str]:
    """The troubles of each run that has any."""
    lines = []
    for each in found:
        if not each.troubles:
            continue
        lines.append(f"{each.name or '?'}  {each.run_id[:12]}  {each.state}")
        lines += [f"  {_trouble(trouble)}" for trouble in each.troubles]
    return lines


def _trouble(trouble: Trouble) -> str:
    text = trouble.what
    if trouble.state in ("missing", "damaged"):
        text += f" {_WORDS[trouble.state]}"
    elif trouble.state == "not-kept":
        text += " was not kept in the store, so it cannot be read again"
    return f"{text}: {trouble.lost}" if trouble.lost else text


def as_json(found: tuple[Verification, ...]) -> dict[str, object]:
    """All of it for machines."""
    return {
        "state": state_of(found),
        "summary": summary(found),
        "runs": [
            {
                "id": each.run_id,
                "name": each.name,
                "state": each.state,
                "checked": each.checked,
                "troubles": [
                    {
                        "what": trouble.what,
                        "state": trouble.state,
                        "lost": trouble.lost,
                        "digest": trouble.digest,
                    }
                    for trouble in each.troubles
                ],
            }
            for each in found
        ],
    }
