"""`mlrun show`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import has_colour, printable, status_style, styled


def show_command(
    run: Annotated[
        str, typer.Argument(metavar="[RUN]", help="An id or its start, a name, `latest`, or `latest~2`.")
    ] = "latest",
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as it is stored.")] = False,
) -> int:
    """Show one run: when, how long, parameters, metrics, data and code first, then the rest.

    \b
    Examples:
      mlrun show                  the latest run
      mlrun show 7f3a             by the start of its id
      mlrun show brave-otter      by its name
      mlrun show latest~1 --json
    """
    from mlrun.store.codec import dumps
    from mlrun.views.record import describe

    store = context.store()
    record = store.load(store.find(run))
    if as_json:
        sys.stdout.write(dumps(record))
        return 0
    colour = has_colour(sys.stdout, context.caller().variables)
    title = styled(printable(record.name), "bold", colour=colour)
    status = styled(record.status, status_style(record.status), colour=colour)
    sys.stdout.write(f"{title}  {record.id[:12]}  {status}\n\n")
    for label, text in describe(record):
        sys.stdout.write(
            f"{styled(label.ljust(12), 'bold', colour=colour)} {printable(text)}".rstrip() + "\n"
        )
    return 0
