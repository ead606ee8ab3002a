"""Which files a program reads and writes, seen while it runs and without its doing.

Three means, from the best to the one that needs nothing: a library that is loaded before libc (`shim.c`),
strace, and an audit hook in Python. All three tell events; what these mean is the same for all.
"""

from __future__ import annotations

from pathlib import Path

from mlrun.observe import events, rules
from mlrun.observe.building import shim
from mlrun.observe.events import INCOMPLETE, Event
from mlrun.observe.grouping import Group, grouped
from mlrun.observe.meaning import Read, Seen, understood
from mlrun.observe.rules import Rules

__all__ = [
    "HOOK", "INCOMPLETE", "Event", "Group", "Read", "Rules", "Seen", "events", "grouped", "rules", "shim",
    "understood",
]  # fmt: skip

HOOK = Path(__file__).with_name("hook") / "sitecustomize.py"
"""The audit hook, a file of its own for an interpreter that has nothing of ours."""
