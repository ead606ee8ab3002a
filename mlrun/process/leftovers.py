"""Processes of a run whose own mlrun was killed, and could not end them."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from mlrun.process.family import Family

_GRACE = ((signal.SIGTERM, 3.0), (signal.SIGKILL, 2.0))
_LOOK_EVERY = 0.02


def end(run_id: str) -> int:
    """End what still runs of a run that is lost, and all that it started; how many processes that were.

    They are known by their variable MLRUN_RUN_ID, so on Linux only; elsewhere none is found.
    """
    family = Family(-1, f"MLRUN_RUN_ID={run_id}")
    found = count = len(family.marked())
    for number, grace in _GRACE:
        until = time.monotonic() + grace
        for process in family.marked() if found else ():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)
        while found and time.monotonic() < until:
            time.sleep(_LOOK_EVERY)
            found = len(family.members())
    return count
