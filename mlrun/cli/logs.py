"""`mlrun logs`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from mlrun.cli import context
from mlrun.errors import StoreError
from mlrun.files import is_locked
from mlrun.store.trouble import told

if TYPE_CHECKING:
    from pathlib import Path

_PAUSE = 0.2  # seconds between looks at a log that is followed


def logs_command(
    run: Annotated[
        str, typer.Argument(metavar="[RUN]", help="An id or its start, a name, `latest`, or `latest~2`.")
    ] = "latest",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the run ends.")] = False,
) -> int:
    """Print what a run printed, byte for byte.

    \b
    Examples:
      mlrun logs
      mlrun logs 7f3a | less -R
      mlrun logs -f latest
    """
    store = context.store()
    run_id = store.find(run)
    paths = store.home.run(run_id)
    if follow:
        _wait_for(paths.log, paths.alive)
    if not paths.log.exists():
        error = store.load(run_id).error
        hint = f"it ended before its program ran: {error.message}" if error else "it has printed nothing yet"
        raise StoreError(f"run {run_id[:12]} has no log", hint=hint, code="no-log")
    with told(f"read {paths.log}"):
        log = open(paths.log, "rb")  # noqa: SIM115  closed below
    with log:
        _pour(log)
        while follow:
            # Ask first, read after: what was printed before the end is then read for certain.
            alive = is_locked(paths.alive)
            _pour(log)
            if not alive:
                break
            time.sleep(_PAUSE)
    return 0


def _wait_for(log: Path, alive: Path) -> None:
    while not log.exists() and is_locked(alive):
        time.sleep(_PAUSE)


def _pour(log: BinaryIO) -> None:
    while chunk := log.read(1 << 16):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
