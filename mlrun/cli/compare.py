"""`mlrun compare`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import has_colour, printable, styled
from mlrun.errors import UsageError

if TYPE_CHECKING:
    from mlrun.comparison import Comparison
    from mlrun.model import RunRecord

_MOST = 1000  # runs


def compare_command(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Ids or their starts, names, `latest~2`.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("-w", "--where", metavar="CONDITION", help="Runs for which this holds, as in `runs`."),
    ] = None,
    group_by: Annotated[
        list[str] | None,
        typer.Option(
            "-g",
            "--group-by",
            metavar="PARAM",
            help="Mean ± sd over runs with the same PARAM; `seed`: the same but for seeds.",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--metric",
            metavar="METRIC",
            help="Only these, sorted by the first; METRIC:min or :max says which is best.",
        ),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_markdown: Annotated[bool, typer.Option("--md", help="Print a Markdown table.")] = False,
    as_html: Annotated[bool, typer.Option("--html", help="Print a page of HTML.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Put runs side by side: what varies between them, with the best of each metric marked.

    \b
    Examples:
      mlrun compare latest latest~1 latest~2
      mlrun compare --where 'project = "wine" and status = "finished"' -m rmse
      mlrun compare --where 'project = "wine"' --group-by alpha
      mlrun compare --where 'tags.sweep = "a"' --group-by seed --html > sweep.html
    """
    if as_csv + as_markdown + as_html + as_json > 1:
        raise UsageError("`--csv`, `--md`, `--html` and `--json` exclude each other")
    from mlrun.comparison import compare
    from mlrun.views import comparison as view

    records = _records(runs or [], where)
    found = compare(records, group_by=_split(group_by), metrics=_split(metric))
    if as_json:
        from mlrun.views.json import dumps

        sys.stdout.write(dumps(view.as_json(found)) + "\n")
    elif as_csv:
        sys.stdout.write(view.comma_separated(found))
    elif as_markdown:
        sys.stdout.write(view.markdown(found))
    elif as_html:
        sys.stdout.write(view.page(found))
    else:
        _print(found)
    return 0


def _split(names: list[str] | None) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(name.strip() for text in names or () for name in text.split(",") if name.strip())
    )


def _records(names: list[str], where: str | None) -> list[RunRecord]:
    """Those named, and those for which the condition holds, each once.

    Raises UsageError where neither says anything.
    """
    from mlrun.comparison import with_defaults

    if not names and where is None:
        raise UsageError(
            "which runs?", hint="name them, or give a condition: `mlrun compare --where 'status = finished'`"
        )
    store = context.store()
    ids = dict.fromkeys(store.find(name) for name in names)
    if where is not None:
        from mlrun.store import Query

        rows = store.query(Query(where=where, sort="-started", limit=_MOST + 1))
        if len(rows) > _MOST:
            rows = rows[:_MOST]
            sys.stderr.write(f"the newest {_MOST} of those for which it holds\n")
        ids |= dict.fromkeys(row.id for row in rows)
    if not ids:
        raise UsageError("no run matches", hint="`mlrun runs` lists them")
    return with_defaults([store.load(run_id) for run_id in ids], store)


def _print(found: Comparison) -> None:
    from mlrun.views import comparison as view

    colour = has_colour(sys.stdout, context.caller().variables)
    for at, (first, *rest) in enumerate(view.lines(found, width=_width())):
        if at:
            sys.stdout.write("\n")
        sys.stdout.write(styled(first, "bold", colour=colour) + "\n")
        for line in rest:
            sys.stdout.write(line + "\n")
    if not found.columns:
        sys.stdout.write("they differ in nothing that is compared\n")
    for remark in view.remarks(found):
        sys.stdout.write(styled(printable(remark), "dim", colour=colour) + "\n")


def _width() -> int | None:
    """Columns of the terminal; None where it is none, and lines may be as long as they are."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        return None
