"""`mlrun resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlrun.cli.options import RunOptions

Text = str | None


def resume_command(  # one argument an option: typer reads them from here
    run: Annotated[
        str,
        typer.Argument(
            metavar="[RUN]", help="A pipeline, or a step of it: an id or its start, a name, or `latest`."
        ),
    ] = "latest",
    param: Annotated[
        list[str] | None,
        typer.Option(
            "-P", "--param", metavar="NAME=VALUE", help="A value that no record holds: a secret one's."
        ),
    ] = None,
    jobs: Annotated[
        Text, typer.Option("-j", "--jobs", metavar="N", help="So many steps at once (else as it was run).")
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="After a failed step, run those that do not depend on it.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the record on stdout; the programs' output goes to stderr.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Print nothing but the programs' output.")
    ] = False,
) -> int:
    """Go on with a pipeline that failed, was interrupted, or died with its machine.

    The same is asked again, of the same source as it is now: what had ended well comes from the cache, the
    rest is run. What has changed since is said. The new run has a record of its own, which names the old one.

    Exit code: as `mlrun run`; 0 where it has ended well, and nothing is left to do.

    \b
    Examples:
      mlrun resume                  the latest run
      mlrun resume brave-otter -j 4
    """
    from mlrun.cli import execute

    options = RunOptions(
        param=tuple(param or ()), jobs=jobs, keep_going=keep_going, as_json=as_json, quiet=quiet
    )
    return execute.resume(run, options)
