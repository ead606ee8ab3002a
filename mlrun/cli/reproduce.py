"""`mlrun reproduce`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import Console, has_colour, printable, styled
from mlrun.errors import UsageError

if TYPE_CHECKING:
    from mlrun.reproduction import Reproduction, Reproductions

_CODES = {"identical": 0, "equal": 0, "close": 0, "different": 1, "unknown": 2, "impossible": 2}
_STYLES = {"identical": "green", "equal": "green", "close": "green", "different": "yellow"}


def reproduce_command(  # one argument an option: typer reads them from here
    run: Annotated[
        str, typer.Argument(metavar="[RUN]", help="An id or its start, a name, `latest`, or `latest~2`.")
    ] = "latest",
    param: Annotated[
        list[str] | None,
        typer.Option(
            "-P", "--param", metavar="NAME=VALUE", help="Another value for a parameter; may be given again."
        ),
    ] = None,
    rtol: Annotated[
        float | None,
        typer.Option("--rtol", metavar="X", help="How far numbers may differ, relative to the larger."),
    ] = None,
    atol: Annotated[
        float | None, typer.Option("--atol", metavar="X", help="How far numbers may differ, as such.")
    ] = None,
    runs: Annotated[
        int, typer.Option("--runs", metavar="N", help="Repeat it so often, and compare these as well.")
    ] = 1,
    allow_changed_data: Annotated[
        bool, typer.Option("--allow-changed-data", help="Use inputs that are no longer what they were.")
    ] = False,
    allow_overwrite: Annotated[
        bool, typer.Option("--allow-overwrite", help="Let it write outside its folder where it did then.")
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="A name for the new run.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the verdict as JSON; the program's output goes to stderr.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Print the verdict, not how it goes on.")
    ] = False,
) -> int:
    """Repeat a run from its record alone, in a clean place, and say whether the same comes out.

    Its source, its environment (from the lock), its parameters, variables and inputs are put together as they
    were; nothing of the original is touched. Of a pipeline, each step is repeated, from what those before it
    made then; with `-P`, given as to `mlrun run`, what that concerns comes out anew, and all that follows
    from it. Verdicts: identical (bytes), equal (bytes differ only where it does not matter, such as time
    stamps in archives), within tolerance, different.

    Exit code: 0 identical, equal, or within tolerance; 1 different; 2 cannot tell, or cannot be repeated
    (then every reason is said, and nothing is run).

    \b
    Examples:
      mlrun reproduce                       the latest run
      mlrun reproduce brave-otter --runs 3  how much does it differ from itself?
      mlrun reproduce 7f3a -P alpha=0.1     the same but for one parameter
      mlrun reproduce 7f3a -P train.lr=0.1  of one step of a pipeline
      mlrun reproduce 7f3a --rtol 1e-6
    """
    from mlrun.cli.execute import pairs
    from mlrun.reproduction import Reproduction, Wanted, reproduce
    from mlrun.runner import Stage
    from mlrun.views import reproduction as view

    if any(limit is not None and not 0 <= limit < float("inf") for limit in (rtol, atol)):
        raise UsageError("`--rtol` and `--atol` must be zero or more")
    caller = context.caller()
    home, cache = context.places()
    teller = Console(caller.variables, quiet=quiet)
    stage = Stage(
        caller=caller,
        home=home,
        cache=cache,
        teller=teller,
        stdout=2,
        terminal=os.isatty(2),
    )
    wanted = Wanted(
        run=run,
        parameters=pairs(tuple(param or ()), "-P"),
        rtol=rtol,
        atol=atol,
        runs=runs,
        allow_changed_data=allow_changed_data,
        allow_overwrite=allow_overwrite,
        name=name,
    )
    context.store()  # runs whose process has gone count as lost
    try:
        found = reproduce(wanted, stage)
    finally:
        teller.close()
    if as_json:
        from mlrun.views.json import dumps

        content = view.as_json(found) if isinstance(found, Reproduction) else view.steps_as_json(found)
        sys.stdout.write(dumps(content) + "\n")
    else:
        _print(found)
    return _CODES[found.verdict]


def _print(found: Reproduction | Reproductions) -> None:
    from mlrun.reproduction import Reproduction
    from mlrun.views import reproduction as view

    if isinstance(found, Reproduction):
        _write(view.verdict(found), found.verdict, view.describe(found))
        return
    lines = view.describe_whole(found)
    _write(view.verdict_of_steps(found), found.verdict, lines)
    was_long = True
    for step in found.steps:
        # Of many steps most are as they were: a line each.
        lines = [] if step.verdict == "identical" and not step.notes else view.describe(step)
        sys.stdout.write("\n" if lines or was_long else "")
        _write(view.verdict(step), step.verdict, lines)
        was_long = bool(lines)


def _write(text: str, verdict: str, lines: list[tuple[str, str]]) -> None:
    colour = has_colour(sys.stdout, context.caller().variables)
    sys.stdout.write(styled(printable(text), _STYLES.get(verdict, "red"), colour=colour) + "\n")
    sys.stdout.write("\n" if lines else "")
    for label, said in lines:
        title = styled(label.ljust(12), "bold", colour=colour)
        sys.stdout.write(f"{title} {printable(said)}".rstrip() + "\n")
