"""`mlrun data`: files and folders by content."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import has_colour, longest_path, styled
from mlrun.cli.typed import CONTEXT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlrun.data import Reader

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings=CONTEXT,
    help="Hash data, compare states of it, and see what past runs' inputs have become.\n\n"
    "Folders are told by a manifest of all that lies in them. What has not changed since it was last read is "
    "not read again.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_STYLES = {"+": "green", "-": "red", "~": "yellow", "?": "dim"}


@app.command("hash")
def hash_data(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files or folders.")],
    as_json: Json = False,
) -> int:
    """Print digest, size in bytes and number of files: what a record says of an input.

    \b
    Examples:
      mlrun data hash data/train.csv data/images
      mlrun data hash data --json
    """
    from mlrun.cli.hashing import hash_paths

    return hash_paths(paths, as_json=as_json)


@app.command("diff")
def compare_data(
    before: Annotated[
        str, typer.Argument(metavar="A", help="A path, a run (its inputs), or RUN:PATH (one of them).")
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The other one.")],
    as_json: Json = False,
) -> int:
    """Say what differs: files of folders; rows and columns of CSV, TSV, JSONL and Parquet; else bytes.

    Exit code: 0 the same; 1 different; 2 cannot tell.

    \b
    Examples:
      mlrun data diff old/ new/
      mlrun data diff latest~1 latest
      mlrun data diff latest data/train.csv      is it still what the run read?
    """
    from mlrun import datasets
    from mlrun.views import datasets as view
    from mlrun.views.json import dumps

    _, cache = context.places()
    with datasets.Desk(context.store(), cache, context.caller(), _reader()) as desk:
        items = desk.compare(before, after)
    if as_json:
        sys.stdout.write(dumps([view.difference_json(item) for item in items]) + "\n")
    else:
        _print(view.differences(items, longest=longest_path(sys.stdout)))
    changes = {item.change for item in items}
    return (
        2
        if "unknown" in changes and not changes & {"changed", "added", "removed"}
        else int(bool(changes - {"same", "unknown"}))
    )


@app.command("status")
def status_of_data(
    target: Annotated[
        str | None,
        typer.Argument(metavar="[TARGET]", help="A run, or a directory of projects; else all projects."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Say which inputs of the latest good runs have changed since: by digest.

    Of each entry point of each project the last run that succeeded counts.

    Exit code: 0 none has; 1 some have, or are gone; 2 cannot tell.

    \b
    Examples:
      mlrun data status
      mlrun data status .
      mlrun data status brave-otter --json
    """
    from mlrun import datasets
    from mlrun.views import datasets as view
    from mlrun.views.json import dumps

    store = context.store()
    records = datasets.good_runs(store, target, Path(context.caller().directory))
    found = datasets.status(records, _reader(), store)
    if as_json:
        sys.stdout.write(dumps([view.status_json(each) for each in found]) + "\n")
    else:
        _print(view.statuses(found, runs=len(records), longest=longest_path(sys.stdout)))
    states = {each.state for each in found}
    return 1 if states & {"changed", "missing"} else 2 if "unknown" in states else 0


def _reader() -> Reader:
    from mlrun.data import Reader

    return Reader(context.places()[1], context.narrator())


def _print(lines: Iterable[str]) -> None:
    colour = has_colour(sys.stdout, context.caller().variables)
    for line in lines:
        sys.stdout.write(styled(line, _STYLES.get(line[:1], ""), colour=colour) + "\n")
