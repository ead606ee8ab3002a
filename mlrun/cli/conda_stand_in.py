"""What MLflow calls as `conda` where the machine has none: see `mlrun.standin`. No command for people."""

from __future__ import annotations

import sys
from pathlib import Path

from mlrun.cli import context
from mlrun.cli.console import Console
from mlrun.errors import MlrunError, UsageError


def main(arguments: list[str]) -> int:
    """Answer what MLflow asks of conda, and `where NAME`, which our own `conda activate` asks."""
    from mlrun.cli.boundary import complain

    try:
        return _answer(arguments)
    except MlrunError as error:
        complain(error)
        return 1


def _answer(arguments: list[str]) -> int:
    from mlrun import standin
    from mlrun.observe import unobserved

    _, cache = context.places()
    match arguments:
        case ["env", "list", *_]:
            import json

            sys.stdout.write(json.dumps({"envs": standin.places(cache)}))
        case ["where", wanted]:
            sys.stdout.write(standin.place(cache, wanted))
        case ["env", "create", *options] | ["create", *options]:
            caller = unobserved(context.caller())
            file = _value(options, "-f", "--file")
            path = Path(caller.directory, file) if file else None
            name = _value(options, "-n", "--name")
            cache.prepare()
            console = Console(caller.variables)
            try:
                standin.create(name or "", path, caller=caller, cache=cache, narrator=console)
            finally:
                console.close()
        case [] | ["--help" | "--version" | "info", *_]:
            sys.stdout.write("mlrun's stand-in for conda: env list, env create\n")
        case _:
            raise UsageError(
                f"mlrun's stand-in for conda does not know `{' '.join(arguments)}`",
                hint="install micromamba or conda where a project calls it itself",
            )
    return 0


def _value(options: list[str], *flags: str) -> str | None:
    for at, option in enumerate(options[:-1]):
        if option in flags:
            return options[at + 1]
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
