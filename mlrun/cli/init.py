"""`mlrun init`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import printable


def init_command(
    path: Annotated[
        str, typer.Argument(metavar="[PATH]", help="The directory to write an MLproject for.")
    ] = ".",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print it, write nothing.")] = False,
) -> int:
    """Write an MLproject from what lies in a directory, and say what was guessed.

    Scripts are read, never run: their argparse, click or typer options become parameters.

    \b
    Examples:
      mlrun init
      mlrun init path/to/project --dry-run
    """
    from mlrun.init import propose, write

    proposal = propose(Path(context.caller().directory, path))
    if dry_run:
        sys.stdout.write(proposal.text)
    else:
        write(proposal)
        sys.stdout.write(f"{printable(str(proposal.path))}\n")
    for guess in proposal.guesses:
        sys.stderr.write(f"guessed: {printable(guess)}\n")
    if not dry_run:
        sys.stderr.write("next: look it over, `mlrun check`, `mlrun run .`\n")
    return 0
