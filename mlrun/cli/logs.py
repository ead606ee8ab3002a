"""`mlrun logs`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from mlrun.cli import context
from mlrun.cli.console import printable
from mlrun.errors import StoreError
from mlrun.files import is_locked
from mlrun.store.trouble import told

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.files import RunPaths
    from mlrun.model import RunRecord
    from mlrun.store import Store

_PAUSE = 0.2  # seconds between looks at a log that is followed


def logs_command(
    run: Annotated[
        str, typer.Argument(metavar="[RUN]", help="An id or its start, a name, `latest`, or `latest~2`.")
    ] = "latest",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the run ends.")] = False,
) -> int:
    """Print what a run printed, byte for byte; of a pipeline, step by step.

    \b
    Examples:
      mlrun logs
      mlrun logs 7f3a | less -R
      mlrun logs -f latest
      mlrun logs brave-otter/train     a step of a pipeline
    """
    store = context.store()
    run_id = store.find(run)
    record = None if store.home.run(run_id).log.exists() else store.load(run_id)
    if record is not None and record.steps:
        return _steps(record, store, follow=follow)
    paths = store.home.run(run_id)
    if follow:
        _wait_for(paths.log, paths.alive)
    if not paths.log.exists():
        raise StoreError(f"run {run_id[:12]} has no log", hint=_why_none(store.load(run_id)), code="no-log")
    _print(paths, follow=follow)
    return 0


def _steps(record: RunRecord, store: Store, *, follow: bool) -> int:
    """The logs of a pipeline's steps, each whole and in their order, under its name on stderr."""
    whole = store.home.run(record.id)
    for step in record.steps:
        paths = store.home.run(step.run)
        while follow and not store.has(step.run) and is_locked(whole.alive):
            time.sleep(_PAUSE)
        if follow:
            _wait_for(paths.log, paths.alive)
        if not store.has(step.run):
            continue
        own = store.load(step.run)
        sys.stderr.write(f"── {printable(own.name)}  {own.status}\n")
        sys.stderr.flush()
        if paths.log.exists():
            _print(paths, follow=follow)
    return 0


def _print(paths: RunPaths, *, follow: bool) -> None:
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


def _why_none(record: RunRecord) -> str:
    original = dict(record.parents).get("cached_from")
    if original:
        return f"it was not run: `mlrun logs {original[:12]}` shows the run in its place"
    if record.error:
        return f"it ended before its program ran: {record.error.message}"
    return "it has printed nothing yet"


def _wait_for(log: Path, alive: Path) -> None:
    while not log.exists() and is_locked(alive):
        time.sleep(_PAUSE)


def _pour(log: BinaryIO) -> None:
    while chunk := log.read(1 << 16):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
