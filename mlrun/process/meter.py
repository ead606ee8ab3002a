"""What a program and its descendants cost."""

from __future__ import annotations

import resource
import sys
import time
from typing import TYPE_CHECKING

from mlrun.model import Usage

if TYPE_CHECKING:
    from mlrun.process.family import Family

_FIRST, _LAST = 0.1, 1.0
_SHARE = 0.01  # of one core, at most, for looking
_UNIT = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, kibibytes on Linux


class Meter:
    """Memory is the larger of two: the kernel's peak of any one process, and the largest sum that was seen.

    The sum counts pages that processes share once for each of them, and misses what comes and goes between
    two looks.
    """

    def __init__(self, family: Family) -> None:
        self.interval = _FIRST
        self.usage = Usage(wall_s=0.0, cpu_s=0.0, max_rss_bytes=0)
        self._family = family
        self._sampled = 0
        self._own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT

    def sample(self) -> float:
        """Look at the whole family; returns the seconds until the next look."""
        before = time.thread_time()
        memory = sum(process.memory for process in self._family.members())
        self._sampled = max(self._sampled, memory)
        cost = time.thread_time() - before
        self.interval = max(min(self.interval * 1.5, _LAST), cost / _SHARE)
        return self.interval

    def finish(self, usage: resource.struct_rusage, wall: float) -> None:
        """The kernel's own account, once the program has ended."""
        peak = usage.ru_maxrss * _UNIT
        if sys.platform == "linux" and self._sampled and peak <= self._own:
            peak = 0  # Linux begins to count before the exec, when the memory was still ours
        self.usage = Usage(
            wall_s=wall,
            cpu_s=usage.ru_utime + usage.ru_stime,
            max_rss_bytes=max(peak, self._sampled),
        )
