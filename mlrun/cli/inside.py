"""What `mlrun exec` and `mlrun shell` share: from what was typed to an exit code."""

from __future__ import annotations

import sys

from mlrun.cli import boundary, context
from mlrun.cli.console import Console
from mlrun.errors import ProcessError
from mlrun.scene import Desk, Wanted

_EXIT_CODES = {"command-not-found": 127, "not-executable": 126}
"""As a shell has them."""


def enter(
    where: str,
    *,
    version: str | None,
    entry_point: str | None,
    env_manager: str | None,
    as_of: str,
    here: bool,
    quiet: bool = False,
    command: tuple[str, ...] = (),
) -> int:
    """Enter a run's or a project's environment; a command that does not start has a shell's exit code."""
    from mlrun import enter as entering

    entry = entering.Entry(
        where=where,
        wanted=Wanted(target=where, version=version, env_manager=env_manager, as_of=as_of),
        command=command,
        entry_point=entry_point,
        here=here,
        interactive=sys.stdin.isatty(),
    )
    working = desk(quiet=quiet)
    try:
        return entering.enter(entry, working)
    except ProcessError as error:
        if error.code not in _EXIT_CODES:
            raise
        boundary.complain(error)
        return _EXIT_CODES[error.code]
    finally:
        working.teller.close()


def desk(*, quiet: bool = False) -> Desk:
    """Who asks, the folders of ours, and the console."""
    caller = context.caller()
    home, cache = context.places()
    return Desk(caller=caller, home=home, cache=cache, teller=Console(caller.variables, quiet=quiet))
