"""Actions that are due at a time, for a loop that waits for something else as well."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Alarms:
    """At most one alarm per action; all times in seconds."""

    def __init__(self) -> None:
        self._due: dict[Callable[[], None], float] = {}

    def set(self, action: Callable[[], None], delay: float) -> None:
        """Call `action` after `delay`, instead of when it was due before."""
        self._due[action] = time.monotonic() + delay

    def cancel(self, action: Callable[[], None]) -> None:
        self._due.pop(action, None)

    def clear(self) -> None:
        self._due.clear()

    def postpone(self, delay: float) -> None:
        """All of them: time stood still."""
        self._due = {action: due + delay for action, due in self._due.items()}

    def patience(self) -> float | None:
        """How long to wait for the next; None for ever."""
        return max(0.0, min(self._due.values()) - time.monotonic()) if self._due else None

    def ring(self) -> None:
        """Call what is due; an action may set and cancel others."""
        now = time.monotonic()
        for action in [action for action, due in self._due.items() if due <= now]:
            if self._due.get(action, now + 1) <= now:
                del self._due[action]
                action()
