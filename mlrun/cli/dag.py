"""`mlrun dag`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import Console
from mlrun.cli.standing import show
from mlrun.errors import UsageError


def dag_command(  # one argument an option: typer reads them from here
    target: Annotated[
        str,
        typer.Argument(metavar="[TARGET]", help="A directory, or a git URL with optional #subdir and @REV."),
    ] = ".",
    entry_point: Annotated[
        str | None,
        typer.Option("-e", "--entry-point", metavar="NAME", help="Only this one, and what it needs."),
    ] = None,
    version: Annotated[
        str | None, typer.Option("-v", "--version", metavar="REV", help="A branch, a tag, or a commit.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("-P", "--param", metavar="NAME=VALUE", help="As you would run it; may be given again."),
    ] = None,
    env_manager: Annotated[
        str | None, typer.Option("--env-manager", metavar="KIND", help="As you would run it.")
    ] = None,
    as_dot: Annotated[bool, typer.Option("--dot", help="For Graphviz.")] = False,
    as_mermaid: Annotated[bool, typer.Option("--mermaid", help="For Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> int:
    """Draw which entry points need which, and how each stands.

    cached: an earlier run would stand in for it; stale: something that matters to it has changed, or a step
    that it needs has to run; failed: its last run did; never run; unknown: not to be told before its
    environment is built. Nothing is run, built or put back.

    \b
    Examples:
      mlrun dag
      mlrun dag . -e evaluate -P alpha=0.1
      mlrun dag --dot | dot -Tsvg > dag.svg
      mlrun dag --mermaid >> README.md
    """
    from mlrun import resolve, runner, source
    from mlrun.cli.execute import pairs
    from mlrun.model import RunRequest

    if as_dot + as_mermaid + as_json > 1:
        raise UsageError("`--dot`, `--mermaid` and `--json` exclude each other")
    context.store()  # runs whose process has gone count as lost
    caller = context.caller()
    home, cache = context.places()
    console = Console(caller.variables)
    stage = runner.Stage(caller=caller, home=home, cache=cache, teller=console)
    request = RunRequest(
        target=target,
        version=version,
        entry_point=entry_point or "main",
        parameters=pairs(tuple(param or ()), "-P"),
        env_manager=env_manager,
    )
    taken = runner.take(request, stage)
    how = "dot" if as_dot else "mermaid" if as_mermaid else "json" if as_json else "text"
    try:
        if entry_point is None and not taken.project.entry_points:
            resolve.resolve(taken.project, request, files=runner.Files(taken.snapshot.directory, stage, ""))
        show(taken, stage, every=entry_point is None, how=how)
    finally:
        source.release(taken.snapshot, cache=cache)
        console.close()
    return 0
