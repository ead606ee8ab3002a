"""Whether a project is up to date, as text and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlrun.staleness import State, Status


def state_of(found: tuple[Status, ...]) -> State:
    """Stale, if anything is."""
    states = {each.state for each in found}
    return "stale" if "stale" in states else "unknown" if "unknown" in states else "current"


def describe(found: tuple[Status, ...]) -> list[tuple[str, State, str]]:
    """Entry point, state, and a sentence; then a line for each cause, with an empty entry point."""
    lines: list[tuple[str, State, str]] = []
    for each in found:
        since = f"since {each.name}, {each.started_at[:16].replace('T', ' ')}" if each.started_at else ""
        sentence = {
            "current": f"up to date {since}",
            "stale": f"stale {since}",
            "unknown": "cannot tell" if each.run else "unknown",
        }[each.state]
        lines.append((each.entry_point, each.state, sentence))
        lines += [
            ("", each.state, f"{cause.kind}: {_plain(cause.kind, cause.text)}") for cause in each.causes
        ]
        lines += [("", each.state, f"cannot tell: {text}" if each.run else text) for text in each.unknown]
        lines += [("", each.state, f"note: {text}") for text in each.notes]
    return lines


def _plain(kind: str, text: str) -> str:
    return text.removeprefix(f"{kind}: ")


def as_json(found: tuple[Status, ...]) -> dict[str, object]:
    """All of it for machines."""
    return {
        "state": state_of(found),
        "entry_points": [
            {
                "entry_point": each.entry_point,
                "state": each.state,
                "run": each.run,
                "name": each.name,
                "started_at": each.started_at,
                "causes": [{"kind": it.kind, "name": it.name, "text": it.text} for it in each.causes],
                "unknown": list(each.unknown),
                "notes": list(each.notes),
            }
            for each in found
        ],
    }
