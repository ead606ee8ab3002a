"""What every command starts from: who calls, and where the store and the cache are."""

from __future__ import annotations

import atexit
import os
from typing import TYPE_CHECKING

from mlrun.cli.console import Console
from mlrun.errors import UsageError
from mlrun.files import Cache, Home, locate
from mlrun.model import Caller

if TYPE_CHECKING:
    from mlrun.store import Store


def caller() -> Caller:
    """The process that called us. The only place that reads its directory and variables."""
    try:
        directory = os.getcwd()
    except FileNotFoundError:
        raise UsageError("the current directory no longer exists", hint="`cd` to one that does") from None
    return Caller(directory=directory, variables=dict(os.environ))  # noqa: TID251  here, and nowhere else


def places() -> tuple[Home, Cache]:
    """The folders of ours."""
    return locate(caller().variables)


def store() -> Store:
    """The store, with runs whose process has gone marked as lost."""
    from mlrun.store import Store

    home, _ = places()
    home.prepare()
    opened = Store(home, narrator())
    opened.sweep()
    return opened


def narrator() -> Console:
    """Who tells on stderr what goes on, and leaves the terminal as it was at the end."""
    console = Console(caller().variables)
    atexit.register(console.close)
    return console
