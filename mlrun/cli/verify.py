"""`mlrun verify`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import Console, has_colour, printable, styled
from mlrun.errors import UsageError

_CODES = {"intact": 0, "damaged": 1, "unknown": 2}
_STYLES = {"intact": "green", "damaged": "red", "unknown": "yellow"}


def verify_command(
    run: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Runs: ids or their starts, names, `latest`."),
    ] = None,
    every: Annotated[bool, typer.Option("-a", "--all", help="All runs of the store.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> int:
    """Are records, and what they name in the store, still what was recorded?

    All of it is read and hashed again. A record bears a digest of itself, by which an edit is noticed.
    Without a run, the latest is looked after; of a pipeline, its steps too. With `--all` the index is
    made anew as well, and it is said where it was wrong.

    Exit code: 0 intact, 1 damaged (then it is said what is lost), 2 cannot tell in full (a record of before
    there were digests, an output that was never kept).

    \b
    Examples:
      mlrun verify
      mlrun verify brave-otter
      mlrun verify --all --json
    """
    from mlrun.verification import verify, verify_index
    from mlrun.views import verification as view

    if every and run:
        raise UsageError("`--all` and runs by name exclude each other")
    store = context.store()
    caller = context.caller()
    console = Console(caller.variables)
    try:
        ids = store.ids() if every else tuple(store.find(name) for name in run or ["latest"])
        found = verify(ids, store, narrator=console)
        found = verify_index(found, store) if every else found
    finally:
        console.close()
    state = view.state_of(found)
    if as_json:
        from mlrun.views.json import dumps

        sys.stdout.write(dumps(view.as_json(found)) + "\n")
        return _CODES[state]
    colour = has_colour(sys.stdout, caller.variables)
    sys.stdout.write(styled(printable(view.summary(found)), _STYLES[state], colour=colour) + "\n")
    for line in view.describe(found):
        sys.stdout.write(printable(line) + "\n")
    return _CODES[state]
