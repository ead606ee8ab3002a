"""`mlrun rm`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import printable


def rm_command(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Ids or their starts, names, `latest`, `latest~2`.")
    ],
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
) -> int:
    """Remove runs: their records and logs. What only they referred to is freed by `mlrun gc`.

    \b
    Examples:
      mlrun rm latest
      mlrun rm 7f3a brave-otter -y
    """
    store = context.store()
    found = list(dict.fromkeys(store.find(run) for run in runs))
    if sys.stdin.isatty() and not yes:
        for run_id in found:
            sys.stderr.write(f"  {printable(store.load(run_id).name)}  {run_id[:12]}\n")
        if not typer.confirm(
            f"Remove {len(found)} runs?" if len(found) > 1 else "Remove this run?", err=True
        ):
            return 1
    store.remove(found)
    for run_id in found:
        sys.stdout.write(f"{run_id}\n")
    return 0
