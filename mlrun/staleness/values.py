"""How entry points stand, and why."""

from __future__ import annotations

from typing import Literal

from mlrun.value import value

State = Literal["current", "stale", "unknown"]


@value
class Cause:
    """One reason to run again; `kind` is that of a section of a difference, or `environment`."""

    kind: str
    name: str
    text: str


@value
class Status:
    """An entry point held against its last good run, `run` and `name`; None where there is none.

    `unknown` are sentences about what cannot be told.
    """

    entry_point: str
    run: str | None = None
    name: str | None = None
    started_at: str | None = None
    causes: tuple[Cause, ...] = ()
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        """Stale, where one thing is known to be; unknown, where nothing is but something cannot be told."""
        if self.causes:
            return "stale"
        return "unknown" if self.unknown or self.run is None else "current"
