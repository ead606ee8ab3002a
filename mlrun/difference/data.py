"""The data: which inputs differ, and how, as far as both contents can still be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.contents import of_files, of_trees
from mlrun.difference.items import pair, seen_by
from mlrun.difference.values import Item
from mlrun.views import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlrun.contents import Contents
    from mlrun.difference.values import Section
    from mlrun.model import Artifact, RunRecord


def data(before: RunRecord, after: RunRecord, contents: Contents) -> Section:
    """Compare the inputs: those of one path, else of one parameter; what only moved is told so."""
    items = []
    alike = seen_by(before, "inputs") == seen_by(after, "inputs")
    for ours, theirs in _pairs(before, after):
        if ours is None or theirs is None:
            alone = _alone(ours, theirs)
            if alike or alone.because is None:
                items.append(alone)
        elif ours.digest is None or theirs.digest is None:
            note = "it could not be read when it was recorded"
            items.append(Item(name=theirs.name, change="unknown", note=note, facts=_facts(ours, theirs)))
        elif ours.digest != theirs.digest:
            items.append(_changed(before, after, ours, theirs, contents))
        elif ours.name != theirs.name:
            items.append(
                Item(
                    name=theirs.name,
                    change="changed",
                    before=ours.name,
                    after=theirs.name,
                    note="the same content at another place",
                    because="data",
                    facts=_facts(ours, theirs),
                )
            )
    remarks = () if alike else ("what the programs read was not observed in the same way",)
    return pair("data", items, remarks=remarks)


def same_content(before: RunRecord, after: RunRecord) -> frozenset[str]:
    """The path parameters that lead to the same bytes in both."""
    return frozenset(
        theirs.parameter
        for ours, theirs in _pairs(before, after)
        if ours and theirs and theirs.parameter and ours.parameter == theirs.parameter
        if ours.digest == theirs.digest is not None
    )


def _pairs(before: RunRecord, after: RunRecord) -> list[tuple[Artifact | None, Artifact | None]]:
    """Inputs that stand for each other: the very same, else of one parameter, of one path, of one content."""
    ours, theirs = list(before.inputs), list(after.inputs)
    found: list[tuple[Artifact | None, Artifact | None]] = []
    keys: tuple[Callable[[Artifact], object], ...] = (
        lambda item: (item.path, item.digest, item.parameter),
        lambda item: item.parameter,
        lambda item: item.name,
        lambda item: item.path,
        lambda item: item.digest,
    )
    for key in keys:
        waiting: dict[object, list[Artifact]] = {}
        for item in ours:
            if key(item) is not None:
                waiting.setdefault(key(item), []).append(item)
        for item in list(theirs):
            if waiting.get(key(item)):
                match = waiting[key(item)].pop(0)
                found.append((match, item))
                ours.remove(match)
                theirs.remove(item)
    return [*found, *((item, None) for item in ours), *((None, item) for item in theirs)]


def _alone(before: Artifact | None, after: Artifact | None) -> Item:
    known = before or after
    assert known is not None
    text = _size(known)
    return Item(
        name=known.name,
        change="added" if before is None else "removed",
        before=text if before else None,
        after=text if after else None,
        note=None if known.declared else "read by the program",
        # What a program reads of its own accord follows from its code and its parameters.
        because=None if known.declared else "code",
        facts=_facts(before, after),
    )


def _size(artifact: Artifact) -> str:
    count = f", {artifact.files} files" if artifact.tree else ""
    return f"{words.size(artifact.size)}{count}"


def _facts(before: Artifact | None, after: Artifact | None) -> tuple[tuple[str, object], ...]:
    return tuple(
        (f"{side}_{name}", None if item is None else getattr(item, name))
        for side, item in (("before", before), ("after", after))
        for name in ("path", "digest", "size", "files")
    )


def _changed(
    before: RunRecord, after: RunRecord, ours: Artifact, theirs: Artifact, contents: Contents
) -> Item:
    note, details, facts = None, [], ()  # type: tuple[str | None, list[str], tuple[tuple[str, object], ...]]
    if ours.tree and theirs.tree:
        one, other = contents.tree(before, ours), contents.tree(after, theirs)
        if one and other:
            note, details, facts = of_trees(one, other)
    elif not ours.tree and not theirs.tree:
        a, b = contents.file(before, ours), contents.file(after, theirs)
        if a and b:
            note, details, facts = of_files(a, b, theirs.path)
    if note is None:
        note = _sizes(ours, theirs)
        details.append("not both contents are at hand any more, so what differs in it cannot be told")
    return Item(
        name=theirs.name,
        change="changed",
        before=f"{_size(ours)}, {ours.digest}",
        after=f"{_size(theirs)}, {theirs.digest}",
        note=note,
        details=tuple(details),
        facts=(*_facts(ours, theirs), *facts),
    )


def _sizes(ours: Artifact, theirs: Artifact) -> str:
    if ours.tree != theirs.tree:
        return "a folder became a file" if ours.tree else "a file became a folder"
    parts = [f"{ours.files:,} → {theirs.files:,} files"] if ours.files != theirs.files else []
    if ours.size != theirs.size:
        return ", ".join([*parts, f"{ours.size:,} → {theirs.size:,} bytes"])
    return ", ".join([*parts, f"other content, {theirs.size:,} bytes as before"])
