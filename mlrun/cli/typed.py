"""The bridge to typer: one command's module becomes one small app, and its answer an exit code.

A command's module holds either a function of the command's name with typer annotations, returning the exit
code (or None), or, for a group, a `typer.Typer` named `app`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mlrun.errors import UsageError

if TYPE_CHECKING:
    from types import ModuleType

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def app_of(module: ModuleType, name: str) -> typer.Typer:
    """The typer app of a command's module."""
    if hasattr(module, "app"):
        group: typer.Typer = module.app
        return group
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    app.command(name, context_settings=CONTEXT)(getattr(module, f"{name}_command"))
    return app


def invoke(module: ModuleType, name: str, arguments: list[str]) -> int:
    """Parse the arguments and run the command; the exit code is what it returns.

    Raises UsageError for what typer cannot parse.
    """
    try:
        result = typer.main.get_command(app_of(module, name)).main(
            _or_help(module, arguments), prog_name=f"mlrun {name}", standalone_mode=False
        )
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except typer.TyperException as error:
        raise UsageError(_sentence(error.format_message()), hint=f"`mlrun {name} --help`") from None
    return result if isinstance(result, int) else 0


def _or_help(module: ModuleType, arguments: list[str]) -> list[str]:
    """A group alone asks for its help."""
    return arguments or (["--help"] if hasattr(module, "app") else [])


def _sentence(text: str) -> str:
    """typer's words in the form of ours: no capital, no full stop."""
    return text[:1].lower() + text[1:].rstrip(".")
