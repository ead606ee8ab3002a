"""What a check says."""

from __future__ import annotations

from typing import Literal

from mlrun.value import value

State = Literal["ok", "lacking", "absent", "unknown", "note", "skipped"]
"""`absent`: not there, and not needed. `note`: worth knowing, nothing is wrong."""

ALWAYS_NEEDED = frozenset({"git", "bash", "pythons", "uv", "home", "cache", "registry", "store"})


@value
class Check:
    """One thing that was looked at. `code` is stable; `hint` is what to type next."""

    code: str
    state: State
    text: str
    hint: str | None = None
    details: tuple[str, ...] = ()
    needed: bool = False


@value
class Needs:
    """What a project needs: its own checks, and the codes of those of the machine that count for it."""

    name: str
    checks: tuple[Check, ...]
    needed: frozenset[str] = frozenset()


@value
class Diagnosis:
    """All checks."""

    machine: tuple[Check, ...]
    project: Needs | None = None

    @property
    def checks(self) -> tuple[Check, ...]:
        """Those of the machine and those of the project."""
        return (*self.machine, *(self.project.checks if self.project else ()))

    @property
    def exit_code(self) -> int:
        """0 all that is needed is there; 1 something is lacking; 2 cannot tell of something needed."""
        if any(check.state == "lacking" for check in self.checks):
            return 1
        return 2 if any(check.state == "unknown" and check.needed for check in self.checks) else 0
