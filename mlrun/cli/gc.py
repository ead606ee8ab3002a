"""`mlrun gc`."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from mlrun.cli import context
from mlrun.views import words

_DAY = 24 * 3600.0


def gc_command(
    keep_days: Annotated[
        float,
        typer.Option(
            "--keep-days",
            metavar="DAYS",
            min=0,
            help="Keep environments and checkouts used in the last days.",
        ),
    ] = 30,
) -> int:
    """Free what no record refers to, and environments and checkouts that have not been used for long.

    Records are never removed (`mlrun rm` does that), nor anything that a run in progress uses.

    \b
    Examples:
      mlrun gc
      mlrun gc --keep-days 7
    """
    from mlrun import data, env, source

    _, cache = context.places()
    store = context.store()
    now = time.time()
    busy = store.running()
    parts = {"object": store.collect_garbage()}
    if cache.root.is_dir():
        keys = frozenset(
            record.environment.key for record in busy if record.environment and record.environment.key
        )
        gone = env.collect_garbage(cache, keep_days=keep_days, now=now, keep=keys)
        parts["environment"] = (gone.removed, gone.freed)
        parts["checkout"] = source.collect_garbage(
            cache, older_than=now - keep_days * _DAY, keep=frozenset(record.id for record in busy)
        )
        parts["remembered folder"] = data.collect_garbage(cache, older_than=now - keep_days * _DAY)
    for noun, (count, size) in parts.items():
        sys.stdout.write(f"{words.plural(count, noun)} removed, {words.size(size)} freed\n")
    return 0
