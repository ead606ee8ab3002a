"""Who ends a program where we cannot: when we are killed ourselves (memory ran out, a CI system gave up).

A shell waits for the end of a pipe whose other end only we hold. As long as we live there is none; and before
we end in any orderly way, we end the shell.
"""

from __future__ import annotations

import contextlib
import os
import signal

from mlrun.errors import ProcessError
from mlrun.process.spawn import NOTHING, spawn

_SCRIPT = """
read -r never
kill -TERM "-$1" && kill -CONT "-$1" || exit 0
for second in 1 2 3; do sleep 1; kill -0 "-$1" || exit 0; done
kill -KILL "-$1"
"""


class Guardian:
    """Guards the process group of a program; one that cannot be started guards nobody."""

    def __init__(self, group: int) -> None:
        self._pid: int | None = None
        self._ours: int | None = None
        with contextlib.suppress(ProcessError, OSError):
            theirs, self._ours = os.pipe()
            try:
                self._pid = spawn(
                    ("/bin/sh", "-c", _SCRIPT, "mlrun-guardian", str(group)),
                    variables={"PATH": os.defpath},
                    cwd=None,
                    streams=(theirs, NOTHING, NOTHING),
                )
            finally:
                os.close(theirs)

    def dismiss(self) -> None:
        """It is no longer needed: nobody is left, or we have ended them."""
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = None
        if self._ours is not None:
            os.close(self._ours)
            self._ours = None
