"""Items and sections made of plain facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mlrun.difference.values import Item, Section

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlrun.difference.values import Change
    from mlrun.model import RunRecord

Facts = tuple[tuple[str, object], ...]
"""What machines are told beside the texts, by stable names."""


def pair(
    kind: str,
    items: Iterable[Item | None],
    *,
    remarks: tuple[str, ...] = (),
    missing: str | None = None,
    facts: Facts = (),
) -> Section:
    """A section of what differs."""
    found = tuple(item for item in items if item is not None)
    return Section(kind=kind, items=found, remarks=remarks, missing=missing, facts=facts)


def text_item(
    name: str,
    before: object,
    after: object,
    *,
    note: str | None = None,
    because: str | None = None,
    facts: Facts = (),
) -> Item | None:
    """An item for two plain facts; None where they are equal."""
    if before == after:
        return None
    return Item(
        name=name,
        change=change_of(before, after),
        before=None if before is None else str(before),
        after=None if after is None else str(after),
        note=note,
        because=because,
        facts=facts,
    )


def change_of(before: object, after: object) -> Change:
    return "added" if before is None else "removed" if after is None else "changed"


def lacking(what: str, before: object, after: object) -> str:
    if not before and not after:
        return f"neither record has {what}"
    return f"the {'first' if not before else 'second'} record lacks {what}"


def seen_by(record: RunRecord, what: Literal["inputs", "outputs"]) -> str | None:
    """How files that nobody declared were noticed, in words that are equal where as much was seen.

    Two records that were not watched alike cannot be held against each other in what is not declared.
    """
    watched = record.observed
    if watched in ("shim", "strace"):
        return "all"
    if watched == "python-only" or (watched == "walk" and what == "outputs"):
        return watched
    return None
