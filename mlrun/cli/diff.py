"""`mlrun diff`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import has_colour, printable, styled
from mlrun.errors import UsageError

if TYPE_CHECKING:
    from mlrun.difference import Difference

_CODES = {"same": 0, "different": 1, "unknown": 2}
_VERDICT_STYLES = {"same": "green", "different": "yellow", "unknown": "red"}
_LINE_STYLES = {"+": "green", "-": "red", "@": "cyan"}
_ITEM_STYLES = {"+ ": "green", "- ": "red", "~ ": "yellow", "? ": "dim"}


def diff_command(
    before: Annotated[str, typer.Argument(metavar="A", help="A run: id or its start, name, `latest~1`.")],
    after: Annotated[str, typer.Argument(metavar="[B]", help="Another run.")] = "latest",
    patch: Annotated[
        bool, typer.Option("-p", "--patch", help="The text of what differs in the code, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--md", help="Print Markdown, fit for a pull request.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("-a", "--all", help="All items, and what differs between any two runs.")
    ] = False,
) -> int:
    """Say what differs between two runs, and what most likely explains that their results differ.

    Exit code: 0 the same, 1 different, 2 cannot tell (a run goes on, a record lacks facts).

    \b
    Examples:
      mlrun diff latest~1               with the latest
      mlrun diff brave-otter 7f3a --patch
      mlrun diff 7f3a 91bc --md         for a pull request
    """
    if as_json and as_markdown:
        raise UsageError("`--json` and `--md` exclude each other")
    from mlrun.difference import difference
    from mlrun.verification import edited
    from mlrun.views import difference as view

    store = context.store()
    _, cache = context.places()
    records = [store.load(store.find(name)) for name in (before, after)]
    for finding in edited(records, store):
        context.narrator().warn(finding)
    found = difference(*records, store=store, cache=cache, caller=context.caller(), patch=patch)
    if as_json:
        from mlrun.views.json import dumps

        sys.stdout.write(dumps(view.as_json(found)) + "\n")
    elif as_markdown:
        sys.stdout.write(view.markdown(found, everything=everything))
    else:
        _print(found, everything=everything)
    return _CODES[found.verdict]


def _print(found: Difference, *, everything: bool) -> None:
    from mlrun.views import difference as view

    colour = has_colour(sys.stdout, context.caller().variables)
    first = printable(view.verdict(found))
    sys.stdout.write(styled(first, _VERDICT_STYLES[found.verdict], colour=colour) + "\n")
    lines = view.describe(found, everything=everything)
    if lines:
        sys.stdout.write("\n")
    for label, text in lines:
        title = styled(label.ljust(12), "bold", colour=colour)
        shown = styled(printable(text), _ITEM_STYLES.get(text[:2], ""), colour=colour)
        sys.stdout.write(f"{title} {shown}".rstrip() + "\n")
    if found.patch:
        sys.stdout.write("\n")
        for line in found.patch.rstrip("\n").split("\n"):
            shown = printable(line.replace("\t", "    "))
            sys.stdout.write(styled(shown, _LINE_STYLES.get(line[:1], ""), colour=colour) + "\n")
