"""The steps of a project as they stand, for `mlrun dag` and `mlrun run --dry-run`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mlrun.cli.console import has_colour, printable, styled

if TYPE_CHECKING:
    from mlrun.runner import Stage, Taken

_STYLES = {"cached": "green", "stale": "yellow", "failed": "red", "never run": "cyan"}


def show_steps(taken: Taken, stage: Stage, *, as_json: bool) -> bool:
    """What a run would do, step by step; False where it is no pipeline, and nothing is shown."""
    from mlrun import source
    from mlrun.orchestration.planning import planned

    try:
        if len(planned(taken, stage).steps) == 1:
            return False
        show(taken, stage, every=False, how="json" if as_json else "text")
    except BaseException:
        source.release(taken.snapshot, cache=stage.cache)
        raise
    source.release(taken.snapshot, cache=stage.cache)
    return True


def show(taken: Taken, stage: Stage, *, every: bool, how: str) -> None:
    """Print them: as `text`, `dot`, `mermaid` or `json`."""
    from mlrun.orchestration.states import standings
    from mlrun.views import pipeline as view

    steps = standings(taken, stage, every=every)
    if how == "dot":
        sys.stdout.write(view.dot(steps))
    elif how == "mermaid":
        sys.stdout.write(view.mermaid(steps))
    elif how == "json":
        from mlrun.views.json import dumps

        sys.stdout.write(dumps(view.as_json(steps)) + "\n")
    else:
        colour = has_colour(sys.stdout, stage.caller.variables)
        wide = max((len(step.state) for step in steps), default=0)
        for title, state, rest in view.lines(steps):
            mark = styled(state.ljust(wide), _STYLES.get(state, ""), colour=colour)
            sys.stdout.write(f"{printable(title)}  {mark}  {printable(rest)}".rstrip() + "\n")
