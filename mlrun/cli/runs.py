"""`mlrun runs`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import has_colour, status_style, styled
from mlrun.errors import UsageError

if TYPE_CHECKING:
    from mlrun.model import RunRow
    from mlrun.store import Store

_VARYING = 4  # columns of parameters, and of metrics, that a table shows by itself


def runs_command(
    where: Annotated[
        str | None,
        typer.Option("-w", "--where", metavar="CONDITION", help="Only runs for which this holds."),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option("-s", "--status", metavar="STATUS", help="Only runs that are this; may be given again."),
    ] = None,
    project: Annotated[
        str | None, typer.Option("-p", "--project", metavar="NAME", help="Only runs of this project.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Only runs started since: 2h, 3d, 2026-11-20, today."),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="COLUMN",
            help="started, duration, name, metrics.NAME, params.NAME; `-` first: downwards.",
        ),
    ] = "-started",
    limit: Annotated[
        int, typer.Option("-n", "--limit", metavar="N", min=0, help="At most this many; 0 for all.")
    ] = 20,
    columns: Annotated[
        str | None,
        typer.Option(
            "-c",
            "--columns",
            metavar="COLUMNS",
            help="These columns, separated by commas: metrics.rmse,params.lr,…",
        ),
    ] = None,
    cached: Annotated[
        bool, typer.Option("--cached", help="Only runs that were spared by an earlier one.")
    ] = False,
    steps: Annotated[
        bool, typer.Option("--steps", help="The steps of pipelines too; with conditions they always count.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with every parameter and metric.")] = False,
) -> int:
    """List runs, the newest first, with the parameters and metrics that differ between them.

    A condition compares metrics.NAME, params.NAME, tags.NAME, status, project, entry_point, name, started,
    duration, exit_code, commit, branch, dirty or user by = != < <= > >= like in, joined by and, or, not.

    \b
    Examples:
      mlrun runs --where 'metrics.rmse < 0.8 and params.alpha = 0.5'
      mlrun runs --since 2d --status failed
      mlrun runs --sort metrics.rmse -n 5
      mlrun runs --cached --since today
      mlrun runs --csv > runs.csv
    """
    from mlrun.store import Query

    if as_json and as_csv:
        raise UsageError("`--json` and `--csv` exclude each other")
    store = context.store()
    rows = store.query(
        Query(
            where=where,
            statuses=(*(status or ()), *(("cached",) if cached else ())),
            project=project,
            since=since,
            sort=sort,
            limit=limit or None,
            steps=steps or as_json or as_csv or bool(where or status or cached),
        )
    )
    rows = tuple(_with_latest(store, row) if row.status in ("running", "lost") else row for row in rows)
    if as_json:
        _print_json(rows)
    elif as_csv:
        _print_csv(rows, columns)
    else:
        _print_table(rows, columns, limit=limit)
    return 0


def _with_latest(store: Store, row: RunRow) -> RunRow:
    """A run in progress, or one that was lost, with what it has reported so far."""
    from mlrun.errors import StoreError
    from mlrun.plotting import latest
    from mlrun.value import replace

    try:
        points = latest(store.home, store.load(row.id))
    except StoreError:
        return row
    return replace(row, metrics=tuple((name, point.value) for name, point in points.items()) or row.metrics)


def _print_json(rows: tuple[RunRow, ...]) -> None:
    from mlrun.store.codec import row_to_json
    from mlrun.views.json import dumps

    sys.stdout.write(dumps([row_to_json(row) for row in rows]) + "\n")


def _print_csv(rows: tuple[RunRow, ...], columns: str | None) -> None:
    from mlrun.views import runs, table

    headers = runs.chosen(columns) if columns else runs.every_column(rows)
    sys.stdout.write(table.comma_separated(headers, [runs.cells(row, headers, exact=True) for row in rows]))


def _print_table(rows: tuple[RunRow, ...], columns: str | None, *, limit: int) -> None:
    from mlrun.views import runs, table

    if not rows:
        sys.stderr.write("no runs match; `mlrun run .` makes one\n")
        return
    headers = runs.chosen(columns) if columns else runs.telling_columns(rows, limit=_VARYING)
    lines = table.aligned(
        [runs.heading(header) for header in headers],
        [runs.cells(row, headers) for row in rows],
        right=frozenset(position for position, header in enumerate(headers) if runs.is_number(header, rows)),
    )
    colour = has_colour(sys.stdout, context.caller().variables)
    sys.stdout.write(styled(lines[0], "bold", colour=colour) + "\n")
    for row, line in zip(rows, lines[1:], strict=True):
        mark = styled(row.status, status_style(row.status), colour=colour)
        sys.stdout.write((line.replace(row.status, mark, 1) if colour else line) + "\n")
    if limit and len(rows) == limit:
        sys.stderr.write(f"the first {limit}; `-n 0` for all\n")
