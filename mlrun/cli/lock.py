"""`mlrun lock`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mlrun.errors import UsageError

if TYPE_CHECKING:
    from mlrun.lock import Locked

Text = str | None
_SHOWN = 20  # changed packages


def lock_command(
    target: Annotated[str, typer.Argument(metavar="[TARGET]", help="The project's directory.")] = ".",
    as_of: Annotated[
        Text,
        typer.Option(
            "--as-of",
            metavar="DAY",
            help="Packages as they stood on a day: a date such as 2020-08-12, commit, or now (default: that"
            " of the lock which lies there, else now).",
        ),
    ] = None,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", "--refresh", help="Resolve anew though nothing has changed.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; say whether the lock is up to date.")
    ] = False,
    force: Annotated[
        bool, typer.Option("-f", "--force", help="Overwrite a lock that mlrun did not write.")
    ] = False,
    env_manager: Annotated[
        Text, typer.Option("--env-manager", metavar="KIND", help="auto or venv, as in `mlrun run`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Write `pylock.toml` beside a project: its whole environment, which then is what runs.

    It is a standard lock (PEP 751), for this platform and Python, with what it was made from in a table of
    its own. It is resolved anew where the files that it was made from have changed; `mlrun run` warns until
    then. A container is not locked in a file but in MLproject, by its image's digest, which is printed.

    Exit code: 0 written, or up to date; 1 stale or missing (--check); 2 it could not be made, or told.

    \b
    Examples:
      mlrun lock
      mlrun lock examples/wine --as-of 2024-03-01
      mlrun lock --upgrade            newer versions, where the requirements allow them
      mlrun lock --check              in CI: is the committed lock up to date?
    """
    from mlrun import lock
    from mlrun.cli.inside import desk
    from mlrun.scene import Wanted

    if check and (upgrade or force):
        raise UsageError(
            f"`--check` writes nothing, so `--{'upgrade' if upgrade else 'force'}` means nothing"
        )
    wanted = Wanted(target=target, env_manager=env_manager, as_of=as_of or "auto")
    working = desk()
    try:
        if check:
            locked = lock.check(wanted, working)
        else:
            locked = lock.lock(wanted, working, upgrade=upgrade, force=force)
        for finding in locked.findings:
            working.teller.warn(finding)
    finally:
        working.teller.close()
    if as_json:
        from mlrun.views.json import dumps

        sys.stdout.write(dumps(_as_json(locked)) + "\n")
    else:
        _print(locked, working.caller.directory)
    return 1 if locked.status in ("stale", "missing") else 0


def _print(locked: Locked, directory: str) -> None:
    from mlrun.cli.console import printable
    from mlrun.views import environment_diff, words

    path = printable(os.path.relpath(locked.path, directory))
    if locked.status == "image":
        sys.stderr.write(f"a container is pinned in {path}, under `docker_env`:\n")
        sys.stdout.write(f"  image: {printable(locked.image or '')}\n")
        return
    if locked.status in ("stale", "missing"):
        hint = "name it by digest: `mlrun lock` tells it" if locked.image else "`mlrun lock` writes it"
        sys.stdout.write(f"{path}: {locked.status}: {printable(locked.why or '')}\nhint: {hint}\n")
        return
    facts = locked.facts
    parts = [words.plural(len(facts.packages), "package"), f"Python {facts.python}"] if facts else []
    parts += [f"as of {facts.as_of[:10]}"] if facts and facts.as_of else []
    parts += [facts.platform] if facts and facts.platform else []
    sys.stdout.write(f"{path}: {locked.status}{': ' if parts else ''}{printable(', '.join(parts))}\n")
    if locked.changes is None:
        return
    shown = [f"  {mark} {printable(text)}" for mark, text in environment_diff.lines(locked.changes) if mark]
    more = [f"  … {len(shown) - _SHOWN} more"] if len(shown) > _SHOWN else []
    sys.stdout.write("".join(f"{line}\n" for line in (*shown[:_SHOWN], *more)))


def _as_json(locked: Locked) -> dict[str, object]:
    from mlrun.views import environment_diff

    facts = locked.facts
    return {
        "status": locked.status.replace(" ", "-"),
        "path": str(locked.path),
        "why": locked.why,
        "asked": locked.asked,
        "python": facts.python if facts else None,
        "platform": facts.platform if facts else None,
        "as_of": facts.as_of if facts else None,
        "packages": [{"name": it.name, "version": it.version} for it in facts.packages] if facts else None,
        "image": locked.image,
        "changes": environment_diff.as_json(locked.changes)["packages"] if locked.changes else None,
        "warnings": [{"code": it.code, "message": it.message} for it in locked.findings],
    }
