"""A caller of `process.run` in a process of its own: `driver.py REPORT LOG TIMEOUT TERMINAL COMMAND`.

It writes the id of the child to REPORT.pid once that has started, and the outcome as JSON to REPORT.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from mlrun import process
from mlrun.model import Job

BEFORE = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]


def main(report: str, log: str, timeout: str, terminal: str, command: str) -> None:
    job = Job(
        argv=("bash", "-c", command),
        cwd=Path(log).parent,
        variables=dict(os.environ),  # noqa: TID251
        log=Path(log),
        timeout=float(timeout) if timeout else None,
    )
    outcome = process.run(
        job,
        stdout=1,
        stderr=2,
        terminal=terminal == "terminal",
        on_start=lambda pid: started(report, pid),
    )
    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    Path(f"{report}.part").write_text(
        json.dumps(vars(outcome) | {"usage": vars(outcome.usage), "handlers_restored": after == BEFORE})
    )
    Path(f"{report}.part").rename(report)


def started(report: str, pid: int) -> None:
    Path(f"{report}.pid").write_text(str(pid))
    if os.environ.get("DRIVER_FAILS"):  # noqa: TID251
        raise RuntimeError("a bug of ours")


main(*sys.argv[1:])
