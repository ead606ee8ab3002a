"""What differs between two environments: as a value, as lines with `+ - ~`, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mlrun.value import value
from mlrun.views import table, words

if TYPE_CHECKING:
    from mlrun.model import EnvironmentFacts, Package

How = Literal["added", "removed", "up", "down", "changed"]
MARKS: dict[How, str] = {"added": "+", "removed": "-", "up": "~", "down": "~", "changed": "~"}
_ARROWS: dict[How, str] = {"up": "↑", "down": "↓"}


@value
class Change:
    """A package that is not the same; versions are None where there is none."""

    name: str
    how: How
    before: str | None
    after: str | None


@value
class Fact:
    """Something said of both sides that is not the same. Only what `counts` makes two environments differ."""

    label: str
    before: str
    after: str
    counts: bool


@value
class Difference:
    """All that is not the same."""

    facts: tuple[Fact, ...]
    changes: tuple[Change, ...]
    unchanged: int
    packages_known: bool = True

    @property
    def is_none(self) -> bool:
        """Whether the two hold the same."""
        return not self.changes and not any(fact.counts for fact in self.facts)

    def count(self, *how: How) -> int:
        """How many packages changed so."""
        return sum(change.how in how for change in self.changes)


def difference(before: EnvironmentFacts, after: EnvironmentFacts) -> Difference:
    """Compare two environments; what one of them does not say is no difference."""
    old, new = _by_name(before.packages), _by_name(after.packages)
    known = all(facts.packages or facts.image is None for facts in (before, after))
    names = sorted(old.keys() | new.keys()) if known else []
    changes = [_change(name, old.get(name), new.get(name)) for name in names]
    return Difference(
        facts=_facts(before, after),
        changes=tuple(change for change in changes if change is not None),
        unchanged=sum(change is None for change in changes),
        packages_known=known,
    )


def _by_name(packages: tuple[Package, ...]) -> dict[str, Package]:
    return {package.name: package for package in packages}


def _change(name: str, before: Package | None, after: Package | None) -> Change | None:
    if before is None or after is None:
        how: How = "added" if before is None else "removed"
        return Change(
            name=name,
            how=how,
            before=before.version if before else None,
            after=after.version if after else None,
        )
    if before.version and after.version and before.version != after.version:
        return Change(
            name=name,
            how=_direction(before.version, after.version),
            before=before.version,
            after=after.version,
        )
    if before.version == after.version and before.source and after.source and before.source != after.source:
        return Change(
            name=name,
            how="changed",
            before=f"{before.version} from {before.source}",
            after=f"{after.version} from {after.source}",
        )
    return None


def _direction(before: str, after: str) -> How:
    from packaging.version import InvalidVersion, Version

    try:
        return "up" if Version(before) < Version(after) else "down"
    except InvalidVersion:
        return "changed"


def _facts(before: EnvironmentFacts, after: EnvironmentFacts) -> tuple[Fact, ...]:
    pairs = (
        ("kind", before.kind, after.kind, True),
        ("python", before.python or "", after.python or "", True),
        ("platform", before.platform, after.platform, True),
        ("image", _image(before), _image(after), True),
        ("as of", before.as_of or "", after.as_of or "", False),
        ("from", before.asked, after.asked, False),
    )
    said = ("as of", "image")  # that one of them has none says something
    return tuple(
        Fact(label=label, before=old or "—", after=new or "—", counts=counts)
        for label, old, new, counts in pairs
        if old != new and ((old and new) or (label in said))
    )


def _image(facts: EnvironmentFacts) -> str:
    return f"{facts.image.name} {words.short(facts.image.digest or facts.image.id)}" if facts.image else ""


# --- shown --------------------------------------------------------------------------------------------


def lines(found: Difference) -> list[tuple[str, str]]:
    """Lines for people, each with its mark: `+`, `-`, `~`, or none for what is not a package."""
    shown = [("", f"{fact.label.ljust(10)} {fact.before} → {fact.after}") for fact in found.facts]
    groups: tuple[tuple[How, ...], ...] = (("added",), ("removed",), ("up",), ("down",), ("changed",))
    for group in groups:
        members = [change for change in found.changes if change.how in group]
        rows = [[change.name, _versions(change)] for change in members]
        if rows:
            aligned = table.aligned(["", ""], rows)[1:]
            shown += [(MARKS[group[0]], text) for text in aligned]
    return shown


def _versions(change: Change) -> str:
    if change.before is None or change.after is None:
        return change.before or change.after or ""
    return f"{change.before} → {change.after} {_ARROWS.get(change.how, '')}".rstrip()


def summary(found: Difference) -> str:
    """`2 added, 1 removed, 3 changed, 40 packages the same`."""
    if not found.packages_known:
        return "what packages an image holds is not known"
    counts = [
        (found.count("added"), "added"),
        (found.count("removed"), "removed"),
        (found.count("up", "down", "changed"), "changed"),
    ]
    parts = [f"{count} {what}" for count, what in counts if count]
    return ", ".join([*parts, f"{words.plural(found.unchanged, 'package')} the same"])


def as_json(found: Difference) -> dict[str, object]:
    """The same for machines."""
    return {
        "same": found.is_none,
        "facts": {
            fact.label.replace(" ", "_"): [_said(fact.before), _said(fact.after)] for fact in found.facts
        },
        "packages": [
            {"name": change.name, "change": change.how, "before": change.before, "after": change.after}
            for change in found.changes
        ],
        "unchanged": found.unchanged if found.packages_known else None,
    }


def _said(text: str) -> str | None:
    return None if text == "—" else text
