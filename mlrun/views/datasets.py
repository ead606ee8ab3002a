"""Data by content, as lines and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.views import words
from mlrun.views.markup import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlrun.datasets import Item, Status
    from mlrun.model import Artifact

_MARKS = {"same": "=", "changed": "~", "added": "+", "removed": "-", "unknown": "?", "missing": "-"}


def digest_line(artifact: Artifact) -> str:
    """Digest, size, files, path, in columns that a program can take apart."""
    return f"{artifact.digest}  {artifact.size:>12,}  {artifact.files:>8,}  {visible(artifact.path)}"


def artifact_json(artifact: Artifact | None) -> dict[str, object] | None:
    """What is known of it."""
    if artifact is None:
        return None
    names = ("path", "digest", "size", "files", "tree")
    return {name: getattr(artifact, name) for name in names}


def differences(items: Sequence[Item], *, longest: int | None = None) -> Iterator[str]:
    """What differs, then how many are the same; no path is longer than `longest` letters."""
    for item in items:
        if item.change != "same":
            known = item.after or item.before
            note = item.note or (words.size(known.size) if known else "")
            yield f"{_MARKS[item.change]} {words.cut(visible(item.name), longest)}  {visible(note)}".rstrip()
            yield from (f"    {visible(line)}" for line in item.details)
    same = sum(item.change == "same" for item in items)
    if same or not items:
        yield f"{same:,} the same" if items else "nothing to compare"


def difference_json(item: Item) -> dict[str, object]:
    """One item for machines."""
    return {
        "name": item.name,
        "change": item.change,
        "before": artifact_json(item.before),
        "after": artifact_json(item.after),
        "note": item.note,
        "details": list(item.details),
        **dict(item.facts),
    }


def statuses(found: Sequence[Status], *, runs: int, longest: int | None = None) -> Iterator[str]:
    """What changed, by run; then how many are the same, of so many `runs` that were looked at.

    No path is longer than `longest` letters.
    """
    if not found:
        yield (
            "the run had no inputs to look at"
            if runs == 1
            else f"none of {runs:,} runs had inputs to look at"
        )
        return
    for each in found:
        if each.state != "same":
            size = (
                f"  {words.size(each.size)} now" if each.size is not None and each.state == "changed" else ""
            )
            note = f"  {visible(each.note)}" if each.note else ""
            run = f"{visible(each.run_name)} {each.run[:8]}"
            path = words.cut(visible(each.path), longest)
            yield f"{_MARKS[each.state]} {each.state:8} {path}{size}  since {run}{note}"
    same = sum(each.state == "same" for each in found)
    with_inputs = len({each.run for each in found})
    yield f"{words.plural(same, 'input')} of {words.plural(with_inputs, 'run')} unchanged"


def status_json(each: Status) -> dict[str, object]:
    """One input for machines."""
    return dict(vars(each))
