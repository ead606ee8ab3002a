"""`mlrun rm`."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import printable
from mlrun.errors import StoreError
from mlrun.views import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlrun.store import Store


def rm_command(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Ids or their starts, names, `latest`, `latest~2`.")
    ],
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
) -> int:
    """Remove runs: their records and logs. What only they referred to is freed by `mlrun gc`.

    The steps of a pipeline go with it, and stand in for no other run any more.

    \b
    Examples:
      mlrun rm latest
      mlrun rm 7f3a brave-otter -y
    """
    store = context.store()
    found = list(dict.fromkeys(store.find(run) for run in runs))
    if sys.stdin.isatty() and not yes:
        for run_id in found:
            record = store.load(run_id)
            steps = f"  with {words.plural(len(record.steps), 'step')}" if record.steps else ""
            sys.stderr.write(f"  {printable(record.name)}  {run_id[:12]}{steps}\n")
        if not typer.confirm(
            f"Remove {len(found)} runs?" if len(found) > 1 else "Remove this run?", err=True
        ):
            return 1
    store.remove(dict.fromkeys((*found, *_steps(found, store))))
    for run_id in found:
        sys.stdout.write(f"{run_id}\n")
    return 0


def _steps(runs: list[str], store: Store) -> Iterator[str]:
    """Those of pipelines among the runs; of what cannot be read nobody knows any."""
    for run_id in runs:
        with contextlib.suppress(StoreError):
            for step in store.load(run_id).steps:
                if store.has(step.run) or store.home.run(step.run).root.is_dir():
                    yield step.run
