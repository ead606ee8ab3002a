"""Run a program of the user's: its output passed on and kept, its end noticed, nothing of it left running.

One loop waits for whatever comes first: output, keys, a signal to us, an alarm. How a program is ended:

    a signal to us ──▶ the same to its group ──5 s or a second signal──▶ TERM to all ──3 s or a third──▶ KILL
    time is up ────────────────────────────────────────────────────────▶ TERM to all ──3 s──▶ KILL
    it ended by itself, but left others in its group ──1 s to follow───▶ TERM ──3 s──▶ KILL
    we are killed ─────────────────────────────────────────────────────▶ TERM to its group ──3 s──▶ KILL
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from enum import IntEnum
from typing import TYPE_CHECKING

from mlrun.model import Outcome
from mlrun.process.alarms import Alarms
from mlrun.process.family import Family
from mlrun.process.guardian import Guardian
from mlrun.process.lines import Lines
from mlrun.process.meter import Meter
from mlrun.process.signals import Signals, name_of, stop_ourselves
from mlrun.process.spawn import exit_code, spawn
from mlrun.process.streams import Log

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlrun.model import Job

GRACE_AFTER_SIGNAL = 5.0
"""Seconds that a program has for its own answer to Ctrl-C and the like."""
GRACE_AFTER_TERM = 3.0
"""Seconds between SIGTERM and SIGKILL."""
GRACE_AFTER_KILL = 5.0
"""Seconds after which we stop waiting for what SIGKILL did not end."""
GRACE_FOR_LEFTOVERS = 1.0
"""Seconds in which helpers may follow a program that ended by itself."""
GRACE_FOR_OUTPUT = 0.05
"""Seconds of silence after which an output that a daemon holds open counts as over."""

_LOOK_EVERY = 0.02
_SAME_KEYSTROKE = 0.2  # launchers such as `uv run` pass on what the terminal has already sent us
_TIMED_OUT = 124


def run(
    job: Job,
    *,
    stdout: int,
    stderr: int,
    terminal: bool,
    on_start: Callable[[int], None] | None = None,
) -> Outcome:
    """Run a job to its end, whatever happens, and leave nothing of it running.

    What it prints goes to our descriptors `stdout` and `stderr` as it comes, and to the end of `job.log`.
    With `terminal`, whichever of the two is a terminal is one for the program as well. `on_start` is called
    with its process id. Processes that left the program's session are ended only where the run is
    interrupted or timed out, and found by descent or by their variable MLRUN_RUN_ID (Linux). Raises
    ProcessError where it cannot be started: see `capture`.
    """
    with contextlib.ExitStack() as cleanup:
        signals = cleanup.enter_context(Signals())
        log = Log(job.log)
        cleanup.callback(log.close)
        lines = Lines(stdout, stderr, terminal=terminal, log=log)
        cleanup.callback(lines.close)
        program = _Program(job, signals, lines)
        cleanup.callback(program.close)
        if on_start is not None:
            on_start(program.pid)
        program.watch()
        return program.outcome(log.error)


class _Stage(IntEnum):
    RUNNING = 0
    ASKED = 1
    TERMINATED = 2
    KILLED = 3


class _Program:
    """A running job. `watch` returns when it is over and nobody is left."""

    def __init__(self, job: Job, signals: Signals, lines: Lines) -> None:
        self._started = time.monotonic()
        self.pid = spawn(job.argv, variables=job.variables, cwd=job.cwd, streams=lines.ends, umask=job.umask)
        self._guardian = Guardian(self.pid)
        lines.started()
        self._signals = signals
        self._lines = lines
        run_id = job.variables.get("MLRUN_RUN_ID")
        self._family = Family(self.pid, f"MLRUN_RUN_ID={run_id}" if run_id else None)
        self._alarms = Alarms()
        self._meter = Meter(self._family)
        self._stage = _Stage.RUNNING
        self._status: int | None = None
        self._done = False
        self._alone_since: float | None = None
        self._last_signal = (0, 0.0)
        self._interrupted_by: str | None = None
        self._timed_out = False
        self._leftover = 0
        if job.timeout is not None:
            self._alarms.set(self._time_out, job.timeout)
        if sys.platform == "linux":
            self._alarms.set(self._sample, self._meter.interval)

    def watch(self) -> None:
        while not self._done:
            readers = [self._signals.descriptor, *self._lines.readers()]
            readable, writable, _ = select.select(readers, self._lines.writers(), (), self._alarms.patience())
            moved = self._lines.carry(readable, writable)
            for key in self._lines.carry_keys(readable, writable):
                self._receive(key, typed=True)
            for number in self._signals.read():
                self._receive(number, typed=False)
            self._alarms.ring()
            self._finish_if_over(moved=moved)

    def outcome(self, log_error: str | None) -> Outcome:
        assert self._status is not None
        return Outcome(
            exit_code=_TIMED_OUT if self._timed_out else exit_code(self._status),
            usage=self._meter.usage,
            signal=name_of(os.WTERMSIG(self._status)) if os.WIFSIGNALED(self._status) else None,
            timed_out=self._timed_out,
            interrupted_by=self._interrupted_by,
            leftover=self._leftover,
            log_error=log_error,
        )

    def close(self) -> None:
        """If something of ours went wrong, do not leave the program alone."""
        if not self._done:
            self._family.signal_all(signal.SIGKILL)
            if self._status is None:
                os.waitpid(self.pid, 0)
        self._guardian.dismiss()

    # --- what can happen ------------------------------------------------------------------------------

    def _receive(self, number: int, *, typed: bool) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGWINCH:
            if self._lines.resize():
                self._family.signal_group(signal.SIGWINCH)
        elif number == signal.SIGTSTP:
            self._suspend(typed=typed)
        elif number == signal.SIGCONT:
            self._lines.lend()  # we may be in the foreground again
        else:
            self._interrupt(number)

    def _reap(self) -> None:
        if self._status is not None:
            return
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        if pid == 0:
            return
        self._status = status
        self._meter.finish(usage, time.monotonic() - self._started)
        self._alarms.cancel(self._time_out)
        self._alarms.cancel(self._sample)
        if self._stage is _Stage.RUNNING:
            self._alarms.set(self._end_leftovers, GRACE_FOR_LEFTOVERS)
        self._look()

    def _interrupt(self, number: int) -> None:
        before = self._last_signal
        self._last_signal = (number, time.monotonic())
        if before[0] == number and self._last_signal[1] - before[1] < _SAME_KEYSTROKE:
            return
        if self._stage is _Stage.RUNNING and self._status is None:
            self._interrupted_by = name_of(number)
            self._stage = _Stage.ASKED
            self._family.members()  # to be remembered: once parents are gone, nothing tells who was whose
            self._family.signal_group(number)
            self._alarms.set(self._terminate, GRACE_AFTER_SIGNAL)
        elif self._stage is _Stage.ASKED:
            self._terminate()
        else:
            self._kill()
            self._done = self._status is not None  # do not wait for a slow reader either

    def _time_out(self) -> None:
        self._timed_out = self._stage is _Stage.RUNNING
        self._terminate()

    def _suspend(self, *, typed: bool) -> None:
        since = time.monotonic()
        self._family.signal_group(signal.SIGSTOP, wake=False)
        self._lines.take_back()
        stop_ourselves(with_our_group=typed)
        self._lines.resize()
        self._lines.lend()
        self._family.signal_group(signal.SIGCONT)
        self._alarms.postpone(time.monotonic() - since)

    def _sample(self) -> None:
        self._alarms.set(self._sample, self._meter.sample())

    # --- how it ends ----------------------------------------------------------------------------------

    @property
    def _reaches_all(self) -> bool:
        """Whether those who left the group must go too: not if the program ended by itself."""
        return self._timed_out or self._interrupted_by is not None

    def _terminate(self) -> None:
        self._alarms.cancel(self._terminate)
        self._stage = _Stage.TERMINATED
        self._end_with(signal.SIGTERM)
        self._alarms.set(self._kill, GRACE_AFTER_TERM)

    def _kill(self) -> None:
        if self._stage is not _Stage.KILLED:
            self._alarms.cancel(self._terminate)
            self._alarms.set(self._give_up, GRACE_AFTER_KILL)
        self._stage = _Stage.KILLED
        self._end_with(signal.SIGKILL)
        self._alarms.set(self._kill, _LOOK_EVERY)  # again, for those who were born meanwhile

    def _end_with(self, number: int) -> None:
        if self._reaches_all:
            self._family.signal_all(number)
        else:
            self._family.signal_group(number)

    def _give_up(self) -> None:
        """What even KILL does not end hangs in the kernel (a dead network disk)."""
        self._done = self._status is not None
        self._alarms.set(self._give_up, GRACE_AFTER_KILL)

    def _look(self) -> None:
        """The program itself has ended: is anyone left?"""
        group = self._family.group()
        if not group and not (self._reaches_all and self._family.marked()):
            self._alone_since = time.monotonic()
            self._alarms.clear()
            self._alarms.set(self._finish, GRACE_FOR_OUTPUT)
            return
        if not group and self._stage is _Stage.ASKED:
            self._terminate()  # those who left the group have heard nothing yet
        self._alarms.set(self._look, _LOOK_EVERY)

    def _end_leftovers(self) -> None:
        self._leftover = len(self._family.group())
        self._terminate()

    def _finish(self) -> None:
        """Nothing moved for a while: a daemon holds the output open, or our reader sleeps."""
        if self._lines.wait_for_reader and not self._reaches_all:
            self._alarms.set(self._finish, GRACE_FOR_OUTPUT)
        else:
            self._done = True

    def _finish_if_over(self, *, moved: bool) -> None:
        if self._alone_since is None:
            return
        if not self._lines.are_open:
            self._done = True
        elif moved and time.monotonic() - self._alone_since < GRACE_FOR_LEFTOVERS:
            self._alarms.set(self._finish, GRACE_FOR_OUTPUT)
