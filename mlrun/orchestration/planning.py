"""From a source that was taken to the plan of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun import runner
from mlrun.pipelines import given, graph
from mlrun.pipelines.paths import looking_in
from mlrun.value import replace

if TYPE_CHECKING:
    from mlrun.errors import MlrunError
    from mlrun.pipelines.values import Link, Plan, Step
    from mlrun.runner import Stage, Taken


def planned(taken: Taken, stage: Stage) -> Plan:
    """The steps of what is asked for. A time limit is the whole's, and no step's own. Raises MlrunError."""
    directory = taken.snapshot.directory
    return graph.plan(
        taken.project,
        replace(taken.request, timeout=None),
        files=runner.Files(directory, stage, taken.run_id),
        is_there=looking_in(directory),
    )


def everything(taken: Taken, stage: Stage) -> tuple[tuple[str, tuple[Link, ...], Step | MlrunError], ...]:
    """All entry points in order, with their links, ready or with what keeps them from that.

    Raises ParameterError for a parameter that none of them could be meant to have.
    """
    given.check(taken.request, taken.project.entry_points, taken.project)
    files = runner.Files(taken.snapshot.directory, stage, taken.run_id)
    return graph.everything(taken.project, taken.request, files=files)
