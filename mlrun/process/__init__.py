"""Child processes: the only room that starts them, and that knows about signals and terminals.

`capture` runs a tool to its end and returns what it said. `run` gives a program of the user's our terminal
(or pipes), keeps a copy of what it prints, and never leaves anything of it running. `become` and `attend`
hand our streams to one as they are. All belong to the main thread: starting a child changes the working
directory for a moment, and signals are delivered there only.
"""

from mlrun.process.entry import attend, become
from mlrun.process.program import run
from mlrun.process.spawn import umask
from mlrun.process.tool import Captured, capture, capture_all

__all__ = ["Captured", "attend", "become", "capture", "capture_all", "run", "umask"]
