"""`mlrun doctor`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

Text = str | None


def doctor_command(
    target: Annotated[
        Text,
        typer.Argument(metavar="[TARGET]", help="A project to look at as well: a directory, or a git URL."),
    ] = None,
    entry_point: Annotated[
        Text,
        typer.Option("-e", "--entry-point", metavar="NAME", help="What of it is to run (default: main)."),
    ] = None,
    version: Annotated[
        Text, typer.Option("-v", "--version", metavar="REV", help="A branch, a tag, or a commit.")
    ] = None,
    env_manager: Annotated[
        Text,
        typer.Option("--env-manager", metavar="KIND", help="auto, venv, conda, docker, or system."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask whether the package index can be reached.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Details of what is fine, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Say what this machine can do, and what a project needs of it and lacks. Nothing is built.

    `absent` is what is not there and not needed; `lacking` what is needed; below it stands what to do.

    Exit code: 0 all that is needed is there; 1 something is lacking; 2 cannot tell.

    \b
    Examples:
      mlrun doctor
      mlrun doctor .
      mlrun doctor https://host/team/wine.git -v v1.2 -e train
      mlrun doctor . --offline --json
    """
    from mlrun.cli.console import has_colour, printable, styled
    from mlrun.cli.inside import desk
    from mlrun.doctor import examine
    from mlrun.errors import UsageError
    from mlrun.scene import Wanted
    from mlrun.views import doctor
    from mlrun.views.json import dumps

    if target is None and (entry_point or version or env_manager):
        raise UsageError("these options are about a project, and none is given", hint="`mlrun doctor .`")
    wanted = Wanted(target=target, version=version, env_manager=env_manager) if target is not None else None
    working = desk()
    try:
        diagnosis = examine(working, wanted=wanted, entry_point=entry_point, offline=offline)
    finally:
        working.teller.close()
    if as_json:
        sys.stdout.write(dumps(doctor.as_json(diagnosis)) + "\n")
        return diagnosis.exit_code
    colour = has_colour(sys.stdout, working.caller.variables)
    for state, text in doctor.lines(diagnosis, verbose=verbose):
        mark = styled(state, doctor.STYLES.get(state.strip(), "dim"), colour=colour) + " " if state else ""
        sys.stdout.write(f"{mark}{printable(text)}\n")
    sys.stdout.write(f"\n{doctor.verdict(diagnosis)}\n")
    return diagnosis.exit_code
