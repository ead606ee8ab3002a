"""`mlrun shell`."""

from __future__ import annotations

from typing import Annotated

import typer

Text = str | None


def shell_command(
    where: Annotated[
        str,
        typer.Argument(
            metavar="[RUN|TARGET]",
            help="A run (the start of its id, its name, `latest`, `latest~2`), a directory, or a git URL.",
        ),
    ] = ".",
    entry_point: Annotated[
        Text,
        typer.Option(
            "-e", "--entry-point", metavar="NAME", help="Whose `env:` is set (default: main, if any)."
        ),
    ] = None,
    version: Annotated[
        Text, typer.Option("-v", "--version", metavar="REV", help="A branch, a tag, or a commit.")
    ] = None,
    env_manager: Annotated[
        Text,
        typer.Option("--env-manager", metavar="KIND", help="auto, venv, conda, docker, or system."),
    ] = None,
    as_of: Annotated[
        str, typer.Option("--as-of", metavar="DAY", help="Packages as of a day, as in `mlrun run`.")
    ] = "auto",
    here: Annotated[
        bool, typer.Option("--here", help="Stay in this directory instead of going to the project's.")
    ] = False,
) -> int:
    """Open a shell in the environment of a project or of a past run; nothing is recorded.

    It is your own shell ($SHELL) with your own settings; the environment comes first on its PATH, and its
    name stands before the prompt. `exit` or Ctrl-D leaves. Where it starts is as with `mlrun exec`. What you
    install there lasts until the next run, which starts from the lock again.

    \b
    Examples:
      mlrun shell
      mlrun shell examples/wine -e train
      mlrun shell latest              the code and the packages of the last run
      mlrun shell latest --here       only its packages
      mlrun shell https://host/team/wine.git -v v1.2 --as-of commit
    """
    from mlrun.cli.inside import enter

    return enter(
        where, version=version, entry_point=entry_point, env_manager=env_manager, as_of=as_of, here=here
    )
