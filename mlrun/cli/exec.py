"""`mlrun exec`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlrun.errors import UsageError

Text = str | None


def exec_command(
    where: Annotated[
        str,
        typer.Argument(
            metavar="RUN|TARGET",
            help="A run (the start of its id, its name, `latest`, `latest~2`), a directory, or a git URL.",
        ),
    ],
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- COMMAND...", help="The command and its arguments, after `--`."),
    ] = None,
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
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Print nothing but the command's output.")
    ] = False,
) -> int:
    """Run a command in the environment of a project or of a past run, and record nothing.

    A directory's command runs in that directory. For a URL, a revision or a past run the source is put into
    a checkout of its own, exactly as it was, which is removed afterwards unless something in it was changed.
    The environment of a past run is built again from its lock if it is gone.

    The command has the terminal, the variables that a run has, and the last word on the exit code; 126 and
    127 where it cannot be executed or found, 125 where mlrun could not do its part.

    \b
    Examples:
      mlrun exec . -- python -c 'import numpy; print(numpy.__version__)'
      mlrun exec . -e train -- pytest -x
      mlrun exec latest -- python
      mlrun exec brave-otter --here -- python analyse.py results.csv
      mlrun exec https://host/team/wine.git -v v1.2 -- pip list
    """
    from mlrun.cli.inside import enter

    if not command:
        raise UsageError("there is no command", hint="`mlrun exec . -- python`; for a shell: `mlrun shell .`")
    return enter(
        where,
        version=version,
        entry_point=entry_point,
        env_manager=env_manager,
        as_of=as_of,
        here=here,
        quiet=quiet,
        command=tuple(command),
    )
