"""Which files a program reads and writes, seen while it runs and without its doing.

Three means, from the best to the one that needs nothing: a library that is loaded before libc (`shim.c`),
strace, and an audit hook in Python (`hook/`). All three tell events; what these mean is the same for all.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from mlrun.value import replace

if TYPE_CHECKING:
    from mlrun.model import Caller

INCOMPLETE = "incomplete"
"""The file, beside the logs, that tells that some events could not be written down."""
NOT_THE_PROGRAMS = "ours."
"""Begins the names of files, beside the logs, that end with the id of a process that does not count."""


def unobserved(caller: Caller) -> Caller:
    """For a run started by the program of another: what we do ourselves is not that program's doing."""
    folder = caller.variables.get("MLRUN_OBSERVE")
    if not folder:
        return caller
    with contextlib.suppress(OSError), open(f"{folder}/{NOT_THE_PROGRAMS}{os.getpid()}", "ab"):
        pass
    return replace(caller, variables={**caller.variables, "MLRUN_OBSERVE": ""})
