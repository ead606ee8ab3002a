"""`mlrun plot`."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mlrun.cli import context
from mlrun.cli.console import printable
from mlrun.errors import UsageError

if TYPE_CHECKING:
    from mlrun.model import RunRecord
    from mlrun.store import Store

_KINDS = (".svg", ".html", ".png")
_AXES = ("step", "time", "relative")


def plot_command(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Ids or their starts, names, `latest~2`.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("-m", "--metric", metavar="METRIC", help="Which; may be given again. Else the first."),
    ] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Draw into a .svg, .html or .png.")
    ] = None,
    x: Annotated[str, typer.Option("--x", metavar="AXIS", help="step, time, or relative.")] = "step",
    log: Annotated[bool, typer.Option("--log", help="A logarithmic y axis.")] = False,
    smooth: Annotated[
        int, typer.Option("--smooth", metavar="N", min=1, help="Means over the last N points.")
    ] = 1,
) -> int:
    """Draw metrics over their steps: in the terminal, or into a file. A run may still be in progress.

    \b
    Examples:
      mlrun plot latest
      mlrun plot latest latest~1 -m rmse -o curve.svg
      mlrun plot brave-otter -m loss --log --smooth 20
    """
    if x not in _AXES:
        raise UsageError(f"`--x` is step, time or relative, not `{x}`")
    if output is not None and Path(output).suffix.lower() not in _KINDS:
        raise UsageError(f"cannot draw into `{output}`", hint="its name must end in .svg, .html or .png")
    from mlrun import plotting
    from mlrun.views import plot as view

    store = context.store()
    named = dict.fromkeys(store.find(name) for name in runs or ["latest"])
    records = [it for run_id in named for it in _with_steps(store.load(run_id), store)]
    axis = cast("plotting.Axis", x)
    everything = [
        series
        for record in records
        for series in plotting.load(store.home, record, names=None, x=axis, log=log, smooth=smooth)
    ]
    wanted = plotting.chosen(records, everything, metric or [])
    found = [series for series in everything if series.metric in wanted]
    odd = sum(series.odd for series in found)
    if odd:
        what = "not finite and positive" if log else "not finite"
        if not any(series.xs for series in found):
            raise UsageError(f"there is nothing to draw: every point is {what}")
        sys.stderr.write(f"{odd:,} points are {what}, and left out\n")
    frame = view.framed(found, axis=x, log=log)
    drawn = {series.run for series in found}
    for record in records:
        if record.id not in drawn:
            sys.stderr.write(f"{printable(record.name)} has no {printable(' or '.join(wanted))}\n")
    if output is None:
        size = shutil.get_terminal_size((80, 24))
        lines = view.terminal(found, frame, width=size.columns, height=max(6, min(16, size.lines - 6)))
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        return 0
    kind = Path(output).suffix.lower()
    path = Path(context.caller().directory, output)
    if kind == ".png":
        data = view.png(found, frame)
    else:
        data = (view.svg if kind == ".svg" else view.page)(found, frame).encode("utf-8", "replace")
    _write(path, data)
    sys.stdout.write(f"{printable(os.fspath(output))}\n")
    return 0


def _with_steps(record: RunRecord, store: Store) -> list[RunRecord]:
    """A pipeline has its series in its steps: those of them that have any."""
    if not record.steps:
        return [record]
    from mlrun.references import with_steps

    return [it for it in reversed(with_steps(record, store)[1:]) if it.metrics] or [record]


def _write(path: Path, data: bytes) -> None:
    from mlrun.files import write_atomic

    try:
        write_atomic(path, data)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
