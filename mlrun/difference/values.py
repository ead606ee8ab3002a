"""What a comparison of two runs says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mlrun.value import value

if TYPE_CHECKING:
    from mlrun.model import RunRecord

Verdict = Literal["same", "different", "unknown"]
Change = Literal["added", "removed", "changed", "unknown"]

CAUSES = (
    *("data", "code", "parameters", "packages", "python", "variables", "image", "command"),
    *("environment", "host", "project"),
)
"""What goes into a run, in the order of what most likely explains a difference in results.

What the program reads comes before what it is, that before how it is called and what it runs in; in each,
what people change often before what they hardly touch. A fact that only passes on another one (the command
in which a parameter stands, the project file that names a package) is told, and is no cause beside it.
"""
RESULTS = ("status", "metrics", "outputs")
"""What comes out of a run."""
ASIDE = ("cost", "circumstances")
"""What differs between any two runs, and makes none of them different: time, memory, who and when."""


@value
class Item:
    """One thing that differs, or that nobody can tell.

    `before` and `after` are texts for people, None where a side has no such thing. `note` says more in a few
    words, `details` in lines. `because` names the kind of cause that explains this by itself. `facts` are
    for machines, by stable names.
    """

    name: str
    change: Change
    before: str | None = None
    after: str | None = None
    note: str | None = None
    details: tuple[str, ...] = ()
    because: str | None = None
    facts: tuple[tuple[str, object], ...] = ()


@value
class Section:
    """All that differs of one kind; `remarks` are sentences about the whole, `facts` are for machines.

    `missing` says why nothing can be told, where a record lacks the facts.
    """

    kind: str
    items: tuple[Item, ...] = ()
    remarks: tuple[str, ...] = ()
    missing: str | None = None
    facts: tuple[tuple[str, object], ...] = ()

    @property
    def different(self) -> tuple[Item, ...]:
        """The items that are known to differ."""
        return tuple(item for item in self.items if item.change != "unknown")


@value
class Cause:
    """Something that may explain why the results differ, in words."""

    kind: str
    name: str
    text: str


@value
class Difference:
    """Two runs compared. `sections` are those of `CAUSES`, `RESULTS` and `ASIDE`, in that order.

    `patch` is the text of the code's difference, where it was asked for and could be made.
    """

    before: RunRecord
    after: RunRecord
    verdict: Verdict
    causes: tuple[Cause, ...] = ()
    sections: tuple[Section, ...] = ()
    unknown: tuple[str, ...] = ()
    patch: str | None = None

    def section(self, kind: str) -> Section:
        """The section of a kind."""
        return next(section for section in self.sections if section.kind == kind)
