"""Entry points that need each other: which ones a request means, and in which order.

    Project + request ──▶ links (who makes what whom reads) ──▶ Plan (steps in order, each with its needs)

What is looked up outside comes through a `Locator`; how steps are run is not known here. This module alone is
imported by every run, to see that it is no pipeline; the rest comes with the first one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlrun.model import Project


def may_be_one(project: Project, name: str) -> bool:
    """Whether an entry point could need others: it says so, or reads what another might write."""
    entry_point = next((it for it in project.entry_points if it.name == name), None)
    if entry_point is None:
        return False
    if entry_point.needs:
        return True
    reads = entry_point.inputs or any(it.kind == "path" for it in entry_point.parameters)
    return bool(reads) and any(it.outputs for it in project.entry_points if it is not entry_point)
