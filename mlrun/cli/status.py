"""`mlrun status`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import Console, has_colour, printable, styled

_CODES = {"current": 0, "stale": 1, "unknown": 2}
_STYLES = {"current": "green", "stale": "yellow", "unknown": "red"}


def status_command(
    target: Annotated[
        str,
        typer.Argument(metavar="[TARGET]", help="A directory, or a git URL with optional #subdir and @REV."),
    ] = ".",
    entry_point: Annotated[
        str | None,
        typer.Option(
            "-e",
            "--entry-point",
            metavar="NAME",
            help="The entry point (default: main; all, if it has none).",
        ),
    ] = None,
    every: Annotated[bool, typer.Option("-a", "--all", help="All entry points of the project.")] = False,
    version: Annotated[
        str | None, typer.Option("-v", "--version", metavar="REV", help="A branch, a tag, or a commit.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("-P", "--param", metavar="NAME=VALUE", help="As you would run it; may be given again."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> int:
    """Would running it again change anything: code, parameters, environment, inputs since the last good run.

    The same is supposed to be asked again: parameters that were given then, the defaults of now. What an
    entry point needs is looked at with it, as it would run. Outputs have to be there as they were made. Of
    the code, what counts is what counts for the cache. Nothing is run, built or resolved.

    Exit code: 0 up to date, 1 stale (with each cause), 2 cannot tell (it has never run well, say).

    \b
    Examples:
      mlrun status
      mlrun status . -e prepare
      mlrun status . -P alpha=0.1      would that be another run?
      mlrun status --all --json
    """
    from mlrun.cli.execute import pairs
    from mlrun.scene import Desk, Wanted
    from mlrun.staleness import status
    from mlrun.views import staleness as view

    context.store()  # runs whose process has gone count as lost
    caller = context.caller()
    home, cache = context.places()
    console = Console(caller.variables)
    try:
        found = status(
            Wanted(target=target, version=version),
            Desk(caller=caller, home=home, cache=cache, teller=console),
            entry_point=entry_point,
            every=every,
            parameters=pairs(tuple(param or ()), "-P"),
        )
    finally:
        console.close()
    if as_json:
        from mlrun.views.json import dumps

        sys.stdout.write(dumps(view.as_json(found)) + "\n")
        return _CODES[view.state_of(found)]
    colour = has_colour(sys.stdout, caller.variables)
    for name, state, text in view.describe(found):
        title = styled(printable(name).ljust(12), "bold", colour=colour)
        shown = styled(printable(text), _STYLES[state] if name else "", colour=colour)
        sys.stdout.write(f"{title} {shown}".rstrip() + "\n")
    return _CODES[view.state_of(found)]
