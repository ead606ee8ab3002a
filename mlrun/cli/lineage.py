"""`mlrun lineage`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import has_colour, styled
from mlrun.errors import UsageError

_SHOWN = 1000  # runs


def lineage_command(
    what: Annotated[
        str,
        typer.Argument(
            metavar="[WHAT]",
            help="A run, a file or folder anywhere on disk, the start of a digest, a commit.",
        ),
    ] = "latest",
    up: Annotated[bool, typer.Option("--up", help="Only what it comes from.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Only what came from it.")] = False,
    depth: Annotated[
        int | None, typer.Option("--depth", metavar="N", min=0, help="At most this many runs away.")
    ] = None,
    limit: Annotated[
        int, typer.Option("-n", "--limit", metavar="N", min=0, help="At most this many runs; 0 for all.")
    ] = _SHOWN,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_dot: Annotated[bool, typer.Option("--dot", help="Print a graph for Graphviz.")] = False,
    as_mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a graph for Mermaid.")] = False,
) -> int:
    """Say where something comes from, and what came of it: runs, their code, environments and data.

    Files are known by content: renamed, copied, picked up from anywhere, or part of a folder that a run
    wrote. Of several runs that wrote the same, the last before the reader is shown.

    \b
    Examples:
      mlrun lineage model.pkl                which run made it, from what, and what that was made from
      mlrun lineage data/train.csv --down    everything that was made from a data set
      mlrun lineage latest --mermaid
    """
    if as_json + as_dot + as_mermaid > 1:
        raise UsageError("`--json`, `--dot` and `--mermaid` exclude each other")
    import gc

    from mlrun.data import Reader
    from mlrun.lineage import find, lineage
    from mlrun.views import lineage as view

    gc.disable()  # a hundred thousand runs are many values, none of which goes before the end
    store = context.store()
    caller = context.caller()
    reader = Reader(context.places()[1], context.narrator())
    root = find(store, what, directory=Path(caller.directory), reader=reader, limit=limit or None)
    both = up == down
    found = lineage(store, root, up=up or both, down=down or both, depth=depth, limit=limit or None)
    if as_json:
        from mlrun.views.json import dumps

        sys.stdout.write(dumps(view.as_json(found)) + "\n")
    elif as_dot:
        sys.stdout.write(view.dot(found))
    elif as_mermaid:
        sys.stdout.write(view.mermaid(found))
    else:
        first, *rest = view.tree(found)
        sys.stdout.write(styled(first, "bold", colour=has_colour(sys.stdout, caller.variables)) + "\n")
        sys.stdout.write("".join(f"{line}\n" for line in rest))
    return 0
