"""Child processes: the only room that starts them, and that knows about signals and terminals.

`capture` runs a tool to its end and returns what it said. `run` gives a program of the user's our terminal
(or pipes), keeps a copy of what it prints, and never leaves anything of it running. `become` and `attend`
hand our streams to one as they are. All belong to the main thread: starting a child changes the working
directory for a moment, and signals are delivered there only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.process.spawn import umask
from mlrun.process.tool import Captured, capture, capture_all

if TYPE_CHECKING:
    from mlrun.process.entry import attend as attend
    from mlrun.process.entry import become as become
    from mlrun.process.program import run as run

__all__ = ["Captured", "attend", "become", "capture", "capture_all", "run", "umask"]


def __getattr__(name: str) -> object:
    """What the user's programs need is imported by those who run one."""
    if name == "run":
        from mlrun.process import program

        return program.run
    if name in ("attend", "become"):
        from mlrun.process import entry

        return getattr(entry, name)
    raise AttributeError(name)
