"""What is known of one run's observation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.model import Finding
from mlrun.observe.rules import Rules
from mlrun.value import positional_value, value

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.model import RunRecord
    from mlrun.observe.meaning import Seen

SHIM, STRACE, PYTHON, OFF = "shim", "strace", "python-only", "off"
"""What the record tells of how a run was observed."""


@value
class Watch:
    """`how` is what the record will tell; `since` is when it began, ns since 1970 by the clock that
    files are stamped with; `looks` says whether what the program only looks for is of interest, too.

    `mounts` are folders of a container and what they are here; None for a program that runs here.
    """

    how: str
    folder: Path
    since: int
    rules: Rules = Rules(())
    looks: bool = False
    strace: str | None = None
    mounts: tuple[tuple[str, str], ...] | None = None
    shim: str = ""
    link: Path | None = None
    findings: tuple[Finding, ...] = ()


@positional_value
class Observed:
    """A record with what was seen, what is worth a warning, and the files of the source's checkout (relative
    to its root) that are in the store now.

    `seen` is what the program opened and looked for, where that is known to be all of it.
    """

    record: RunRecord
    findings: tuple[Finding, ...]
    kept: frozenset[str] = frozenset()
    written: tuple[str, ...] = ()
    seen: Seen | None = None


def warning(code: str, message: str, hint: str | None = None) -> Finding:
    """Something worth a warning."""
    return Finding(level="warning", code=code, message=message, hint=hint)
