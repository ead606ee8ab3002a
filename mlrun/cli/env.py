"""`mlrun env`: the environments that mlrun has built."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import has_colour, printable, styled
from mlrun.cli.typed import CONTEXT

_GRACE_DAYS = 30

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings=CONTEXT,
    help="List, show, compare and remove the environments that mlrun has built.\n\n"
    "They are shared: any project or run that needs the same packages and interpreter uses the same one.",
)

Key = Annotated[
    str, typer.Argument(metavar="KEY", help="The start of an environment's key, as `mlrun env ls` shows it.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("ls")
def list_environments(as_json: Json = False) -> int:
    """List them, the last used first."""
    from mlrun import env
    from mlrun.views import environments, table
    from mlrun.views.json import dumps

    entries = env.listing(context.places()[1])
    if as_json:
        sys.stdout.write(dumps([environments.as_json(entry) for entry in entries]) + "\n")
        return 0
    if not entries:
        sys.stderr.write("no environments yet; `mlrun run .` builds the one it needs\n")
        return 0
    lines = table.aligned(environments.HEADERS, [environments.cells(entry) for entry in entries])
    sys.stdout.write(
        styled(lines[0], "bold", colour=has_colour(sys.stdout, context.caller().variables)) + "\n"
    )
    sys.stdout.write("\n".join(lines[1:]) + "\n")
    return 0


@app.command("show")
def show_environment(key: Key, as_json: Json = False) -> int:
    """Show one: what was asked, and every package that it holds."""
    from mlrun import env
    from mlrun.views import environments
    from mlrun.views.json import dumps

    entry = env.find(context.places()[1], key)
    if as_json:
        sys.stdout.write(dumps(environments.as_json(entry)) + "\n")
    else:
        sys.stdout.write("".join(f"{printable(line)}\n" for line in environments.describe(entry)))
    return 0


@app.command("diff")
def compare_environments(
    before: Annotated[
        str,
        typer.Argument(
            metavar="A", help="A run, the start of an environment's key, a lock file, a directory, or a URL."
        ),
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The other one.")],
    as_json: Json = False,
) -> int:
    """What differs between two environments: packages, Python, platform, image.

    Lines begin with `+` for what only B has, `-` for what only A has, `~` for another version. A project's
    environment is built if need be.

    Exit code: 0 the same; 1 not; 2 cannot tell.

    \b
    Examples:
      mlrun env diff latest~1 latest         what changed between two runs
      mlrun env diff latest .                is the environment here still that of the last run?
      mlrun env diff pylock.toml 4d9d1f
    """
    from mlrun import env_diff
    from mlrun.cli.inside import desk
    from mlrun.views import environment_diff
    from mlrun.views.json import dumps

    working = desk()
    try:
        old, new = env_diff.side(before, working), env_diff.side(after, working)
    finally:
        working.teller.close()
    found = environment_diff.difference(old.facts, new.facts)
    if as_json:
        sides = {name: {"given": it.label, "is": it.what} for name, it in (("a", old), ("b", new))}
        sys.stdout.write(dumps({**sides, **environment_diff.as_json(found)}) + "\n")
        return 0 if found.is_none else 1
    colour = has_colour(sys.stdout, working.caller.variables)
    title = f"{old.what} {old.label} → {new.what} {new.label}"
    sys.stdout.write(styled(printable(title), "bold", colour=colour) + "\n")
    styles = {"+": "green", "-": "red", "~": "yellow"}
    for mark, text in environment_diff.lines(found):
        line = f"{mark} {text}" if mark else f"  {text}"
        sys.stdout.write(styled(printable(line), styles.get(mark, ""), colour=colour) + "\n")
    sys.stdout.write(environment_diff.summary(found) + "\n")
    return 0 if found.is_none else 1


@app.command("rm")
def remove_environments(
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="The starts of their keys.")],
) -> int:
    """Remove some; the next run that needs one builds it again."""
    from mlrun import env
    from mlrun.errors import UsageError

    _, cache = context.places()
    entries = [env.find(cache, key) for key in keys]
    used = {record.environment.key for record in context.store().running() if record.environment}
    for entry in entries:
        if entry.key in used:
            raise UsageError(
                f"environment {entry.key} is in use by a run in progress", code="environment-in-use"
            )
        env.remove(cache, entry.key)
        sys.stdout.write(f"{entry.key}\n")
    return 0


@app.command("gc")
def collect_garbage(
    keep_days: Annotated[
        float, typer.Option("--keep-days", metavar="DAYS", min=0, help="Keep those used in the last days.")
    ] = _GRACE_DAYS,
) -> int:
    """Remove those that no run has used for a month."""
    from mlrun import env
    from mlrun.views import words

    used = frozenset(
        record.environment.key
        for record in context.store().running()
        if record.environment and record.environment.key
    )
    gone = env.collect_garbage(context.places()[1], keep_days=keep_days, now=time.time(), keep=used)
    sys.stdout.write(f"{words.plural(gone.removed, 'environment')} removed, {words.size(gone.freed)} freed\n")
    return 0
