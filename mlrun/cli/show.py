"""`mlrun show`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import has_colour, longest_path, printable, status_style, styled

if TYPE_CHECKING:
    from mlrun.model import RunRecord
    from mlrun.store import Store

_PAUSE = 0.5  # seconds between looks at a run that is followed


def show_command(
    run: Annotated[
        str,
        typer.Argument(
            metavar="[RUN|FILE]",
            help="An id or its start, a name, `latest`, `latest~2`; or a file that a run made.",
        ),
    ] = "latest",
    metrics: Annotated[
        bool, typer.Option("-m", "--metrics", help="Only the metrics: last, min, max, points, course.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Tell the latest metrics until the run ends.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as it is stored.")] = False,
) -> int:
    """Show one run: when, how long, parameters, metrics, data and code first, then the rest.

    \b
    Examples:
      mlrun show                  the latest run
      mlrun show 7f3a             by the start of its id
      mlrun show brave-otter      by its name
      mlrun show latest~1 --json
      mlrun show model.pkl        the run that made a file, found by its content
      mlrun show latest --metrics
      mlrun show -f               a run in progress
    """
    from mlrun.store.codec import dumps
    from mlrun.verification import edited
    from mlrun.views.record import describe

    store = context.store()
    run_id = _meant(store, run)
    if follow:
        _follow(store, run_id)
    record = store.load(run_id)
    for finding in edited((record,), store):
        context.narrator().warn(finding)
    if metrics:
        return _print_metrics(store, record, as_json=as_json)
    if as_json:
        sys.stdout.write(dumps(record))
        return 0
    if record.steps:
        from mlrun.pipelines.present import as_of_now

        record = as_of_now(record, store)
    if record.status in ("running", "lost") and not record.metrics:
        record = _with_metrics_so_far(store, record)
    colour = has_colour(sys.stdout, context.caller().variables)
    title = styled(printable(record.name), "bold", colour=colour)
    status = styled(record.status, status_style(record.status), colour=colour)
    sys.stdout.write(f"{title}  {record.id[:12]}  {status}\n\n")
    for label, text in describe(record, longest=longest_path(sys.stdout)):
        sys.stdout.write(
            f"{styled(label.ljust(12), 'bold', colour=colour)} {printable(text)}".rstrip() + "\n"
        )
    return 0


def _with_metrics_so_far(store: Store, record: RunRecord) -> RunRecord:
    from mlrun.plotting import so_far
    from mlrun.value import replace

    return replace(record, metrics=so_far(store.home, record))


def _meant(store: Store, name: str) -> str:
    """The run of that name, else the last that wrote the file."""
    path = Path(context.caller().directory, name).expanduser()
    if not name or not path.exists():
        return store.find(name)
    from mlrun.data import Reader
    from mlrun.errors import StoreError
    from mlrun.lineage import find

    reader = Reader(context.places()[1], context.narrator())
    root = find(store, name, directory=Path(context.caller().directory), reader=reader)
    if root.content is None:
        return root.runs[0]
    if not root.content.makers:
        reader_id = root.content.users[0].run
        raise StoreError(
            f"no recorded run made `{name}`; run {reader_id[:8]} read it",
            hint=f"`mlrun lineage {name}` tells more",
            code="no-lineage",
        )
    return root.content.makers[0].run


def _print_metrics(store: Store, record: RunRecord, *, as_json: bool) -> int:
    from mlrun import plotting
    from mlrun.views import metrics as view

    found = plotting.load(store.home, record, names=None)
    if as_json:
        from mlrun.views.json import dumps

        sys.stdout.write(dumps(view.as_json(found)) + "\n")
        return 0
    if not found:
        sys.stderr.write("no metrics\n")
        return 0
    first, *rest = view.lines(found)
    sys.stdout.write(styled(first, "bold", colour=has_colour(sys.stdout, context.caller().variables)) + "\n")
    sys.stdout.write("".join(f"{line}\n" for line in rest))
    return 0


def _follow(store: Store, run_id: str) -> None:
    """A line whenever a metric is new; on a terminal the same line anew."""
    from mlrun import plotting
    from mlrun.files import is_locked
    from mlrun.views import metrics as view

    shown, terminal = "", sys.stderr.isatty()
    while True:
        # Ask first, read after: what was told before the end is then read for certain.
        alive = is_locked(store.home.run(run_id).alive)
        text = printable(view.latest(plotting.latest(store.home, store.load(run_id))))
        if text != shown:
            shown = text
            sys.stderr.write(f"\r\x1b[K{text}" if terminal else f"{text}\n")
            sys.stderr.flush()
        if not alive:
            break
        time.sleep(_PAUSE)
    if terminal and shown:
        sys.stderr.write("\r\x1b[K")
