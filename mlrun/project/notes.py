"""What is noticed while reading a project file, as findings with a place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.model import Finding
from mlrun.yamlfile import ListNode, MapNode, Scalar, is_null

if TYPE_CHECKING:
    from mlrun.model import Place
    from mlrun.yamlfile import Node


class Notes:
    """A growing list of findings."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == "error"]

    def error(self, code: str, message: str, place: Place | None, hint: str | None = None) -> None:
        self.findings.append(Finding(level="error", code=code, message=message, place=place, hint=hint))

    def warn(self, code: str, message: str, place: Place | None, hint: str | None = None) -> None:
        self.findings.append(Finding(level="warning", code=code, message=message, place=place, hint=hint))

    def expected(self, wanted: str, node: Node, *, code: str, hint: str | None = None) -> None:
        """An error: `wanted` (`` `timeout` must be a duration``) and what stands there instead."""
        self.error(code, f"{wanted}, not {what(node)}", node.place, hint)


def what(node: Node | None) -> str:
    """What stands there, for `… is a mapping, not …`."""
    match node:
        case ListNode():
            return "a list"
        case MapNode():
            return "a mapping"
        case Scalar(text=text) if not is_null(node):
            first, *more = text.splitlines() or [""]
            return f"`{first[:60]}{'…' if more or len(first) > 60 else ''}`"
    return "nothing"


def by_place(finding: Finding) -> tuple[int, int]:
    """A sort key: from the top of the file; what has no place comes first."""
    return (finding.place.line, finding.place.column) if finding.place else (0, 0)
