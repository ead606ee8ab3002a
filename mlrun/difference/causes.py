"""The verdict: whether two runs differ, and what most likely explains it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.difference.values import CAUSES, RESULTS, Cause

if TYPE_CHECKING:
    from mlrun.difference.values import Item, Section, Verdict

_SINGLY = 2  # items of one kind that are named each; more are summed up
_NOUNS = {
    "code": "files of code",
    "data": "inputs",
    "packages": "packages",
    "parameters": "parameters",
    "variables": "variables",
    "host": "facts of the machine",
    "environment": "facts of the environment",
    "command": "facts of the command",
    "project": "project files",
}


def verdict_of(sections: tuple[Section, ...]) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict, and what cannot be told.

    A secret, which is in no record, counts as unknown only where no results speak for themselves.
    """
    judged = [section for section in sections if section.kind in (*CAUSES, *RESULTS)]
    unknown = [section.missing for section in judged if section.missing]
    secrets: list[str] = []
    for section in judged:
        for item in section.items:
            if item.change == "unknown":
                text = f"{section.kind}: {item.name} ({item.note})"
                (secrets if section.kind == "parameters" else unknown).append(text)
    if any(section.different for section in judged):
        return "different", (*unknown, *secrets)
    if unknown or (secrets and not _has_results(sections)):
        return "unknown", (*unknown, *secrets)
    return "same", tuple(secrets)


def _has_results(sections: tuple[Section, ...]) -> bool:
    return any(
        dict(section.facts).get("same") for section in sections if section.kind in ("metrics", "outputs")
    )


def causes_of(sections: tuple[Section, ...]) -> tuple[Cause, ...]:
    """What may explain it, the most likely first; what only passes another on comes only when alone."""
    by_kind = {section.kind: section for section in sections}
    found = [
        cause
        for kind in CAUSES
        if kind != "project"
        for cause in _causes(kind, [item for item in by_kind[kind].different if item.because is None])
    ]
    if found:
        return tuple(found)
    rest = [(kind, item) for kind in CAUSES for item in by_kind[kind].different if item.change != "unknown"]
    return tuple(
        cause
        for kind in CAUSES
        for cause in _causes(kind, [item for its, item in rest if its == kind and item.because != kind])
    )


def _causes(kind: str, items: list[Item]) -> list[Cause]:
    if len(items) <= _SINGLY:
        return [Cause(kind=kind, name=item.name, text=words(kind, item)) for item in items]
    noun = _NOUNS.get(kind, f"facts of {kind}")
    named = words(kind, items[0]).removeprefix(_prefix(kind))
    return [Cause(kind=kind, name=items[0].name, text=f"{len(items)} {noun} ({named}, …)")]


def _prefix(kind: str) -> str:
    return {"parameters": "parameter ", "packages": "package ", "variables": "variable "}.get(kind, "")


def words(kind: str, item: Item) -> str:
    """An item in one phrase: `parameter alpha 0.5 → 0.6`."""
    if kind in ("data", "code", "project"):
        note = f" ({item.note})" if item.note and item.change == "changed" else ""
        return f"{item.name}{note}" if item.change == "changed" else f"{item.name} ({item.change})"
    if kind == "command" and item.name.startswith("command") and item.change == "changed":
        return f"the {item.name}"
    if kind == "image":
        return f"image {item.name} ({item.note or 'other content'})"
    name = item.name if kind != "host" else f"the machine's {item.name}"
    name = f"{_prefix(kind)}{name}"
    if item.change == "changed" and item.before != item.after:
        return f"{name} {item.before} → {item.after}"
    if item.change == "changed":
        return f"{name} {item.after} ({item.note})" if item.note else f"{name} {item.after}"
    value = item.after if item.change == "added" else item.before
    return f"{name} {item.change}" + (f" ({value})" if value else "")
