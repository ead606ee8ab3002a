"""Several processes of ours at once, each looking after a program of the user's, their output told apart.

Why processes and not threads: what runs a program (`process.run`) waits in one loop for its output, its
alarms and our signals, changes the working directory and the mask of files for a moment, and listens to what
the program reports. All that belongs to a main thread. So each step gets one, in a process that does for it
just what a run of its own would do: it passes signals on, keeps the log, ends what is left behind, and writes
the record. Forked ones would do, were it not for threads (of hashing) that no child inherits.

    a signal to us ──▶ the same to every worker ──▶ to its program, as in a run of its own
    we are gone ──▶ its standard input ends ──▶ it ends its program, and records that
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import time
from typing import TYPE_CHECKING, Self

from mlrun.process.signals import Signals, name_of, stop_ourselves
from mlrun.process.spawn import exit_code, spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

PATIENCE = 15.0
"""Seconds that workers have to end their programs once we no longer want them."""

_CHUNK = 1 << 16
_TICK = 0.5  # seconds
_HELD_AT_MOST = 1 << 20  # bytes that wait for our reader before no more is read
_LONGEST_LINE = 1 << 16


class Crew:
    """Workers, by name. Their lines come out whole, on `stdout` and `stderr`, with their names before them.

    `clear` is called before anything is written. While it is open, signals to us are the workers'.
    """

    def __init__(self, stdout: int, stderr: int, *, width: int, clear: Callable[[], None]) -> None:
        self._sinks = {1: _Sink(stdout)}
        self._sinks[2] = self._sinks[1] if stdout == stderr else _Sink(stderr)
        self._width = width
        self._clear = clear
        self._workers: dict[str, _Worker] = {}
        self._ended: list[str] = []
        self._signals = Signals()
        self.interrupted_by: str | None = None

    def __enter__(self) -> Self:
        self._signals.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._dismiss()
        finally:
            self._signals.__exit__(kind, error, trace)

    def start(
        self, name: str, argv: Sequence[str], order: bytes, *, variables: Mapping[str, str], cwd: Path
    ) -> None:
        """Start a worker, which reads its `order` from its standard input. Raises ProcessError."""
        orders, sender = os.pipe()
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        try:
            pid = spawn(
                argv,
                variables=variables,
                cwd=cwd,
                streams=(orders, out_end, err_end),
                session=False,
                group=True,
            )
        except BaseException:
            for descriptor in (sender, out, err):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (orders, out_end, err_end):
                os.close(descriptor)
        os.set_blocking(sender, False)
        label = f"{name.ljust(self._width)} | ".encode()
        streams = [_Lines(out, label, self._sinks[1]), _Lines(err, label, self._sinks[2])]
        self._workers[name] = _Worker(pid=pid, sender=sender, order=order, streams=streams)

    @property
    def count(self) -> int:
        """How many are at work."""
        return len(self._workers)

    def wait(self, tick: Callable[[], None]) -> list[str]:
        """The names of the workers that have ended since; waits for one if there is none yet.

        `tick` is called now and then meanwhile.
        """
        while not self._ended and self._workers and self.interrupted_by is None:
            tick()
            self._turn(_TICK)
        while not self._ended and self._workers:
            self._turn(None)
        ended, self._ended = self._ended, []
        return ended

    def check(self) -> None:
        """Take in what has come meanwhile, without waiting."""
        self._turn(0)

    # --- one turn -------------------------------------------------------------------------------------

    def _turn(self, patience: float | None) -> None:
        workers = list(self._workers.values())
        waiting = [sink for sink in dict.fromkeys(self._sinks.values()) if sink.pending]
        readers = [self._signals.descriptor]
        if sum(len(sink.pending) for sink in waiting) < _HELD_AT_MOST:
            readers += [each.source for worker in workers for each in worker.streams if each.open]
        writers = [sink.descriptor for sink in waiting]
        writers += [worker.sender for worker in workers if worker.order]
        readable, writable, _ = select.select(readers, writers, (), patience)
        for worker in workers:
            worker.give_order(writable)
            for stream in worker.streams:
                if stream.source in readable:
                    stream.read()
        self._write(waiting)
        for number in self._signals.read():
            self._receive(number)

    def _write(self, waiting: list[_Sink]) -> None:
        """What is there now, and what waited already."""
        pending = [sink for sink in dict.fromkeys((*waiting, *self._sinks.values())) if sink.pending]
        if pending:
            self._clear()
        for sink in pending:
            sink.write()

    def _receive(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGTSTP:
            self._pass_on(signal.SIGTSTP)
            self._clear()  # the shell gets its terminal, and its cursor, as it was
            stop_ourselves(with_our_group=False)
        elif number == signal.SIGCONT:
            self._pass_on(signal.SIGCONT)
        elif number != signal.SIGWINCH:
            self.interrupted_by = self.interrupted_by or name_of(number)
            self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        for worker in self._workers.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, number)

    def _reap(self) -> None:
        for name, worker in list(self._workers.items()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                worker.status = exit_code(status)
                worker.close()
                del self._workers[name]
                self._ended.append(name)

    def _dismiss(self) -> None:
        """Nobody stays, and what they said is not lost."""
        self._pass_on(signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        while self._workers and time.monotonic() < until:
            self._turn(0.2)
        self._pass_on(signal.SIGKILL)
        for worker in self._workers.values():
            os.waitpid(worker.pid, 0)
            worker.close()
        self._workers.clear()
        until = time.monotonic() + 1.0
        while any(sink.pending for sink in self._sinks.values()) and time.monotonic() < until:
            self._turn(0.1)


class _Worker:
    def __init__(self, pid: int, sender: int, order: bytes, streams: list[_Lines]) -> None:
        self.pid = pid
        self.sender = sender
        self.order = order
        self.streams = streams
        self.status: int | None = None

    def give_order(self, writable: list[int]) -> None:
        if not self.order or self.sender not in writable:
            return
        try:
            self.order = self.order[os.write(self.sender, self.order) :]
        except BlockingIOError:
            pass
        except OSError:  # it is gone already
            self.order = b""

    def close(self) -> None:
        """It has ended: take what it said last, and let go."""
        for stream in self.streams:
            stream.drain()
        os.close(self.sender)


class _Lines:
    """One output of a worker, in whole lines; of a line that is written anew and anew, the last state."""

    def __init__(self, source: int, label: bytes, sink: _Sink) -> None:
        self.source = source
        self.open = True
        self._label = label
        self._sink = sink
        self._begun = b""
        os.set_blocking(source, False)

    def read(self) -> bool:
        """Take what there is; whether there was anything."""
        try:
            chunk = os.read(self.source, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""
        if not chunk:
            self.open = False
            return False
        *whole, rest = (self._begun + chunk).replace(b"\r\n", b"\n").split(b"\n")
        for line in whole:
            self._say(line)
        before, carriage, fresh = rest.rpartition(b"\r")
        if carriage and not fresh:
            before, fresh = b"", before.rpartition(b"\r")[2] + carriage
        self._begun = fresh if carriage else rest
        if len(self._begun) > _LONGEST_LINE:
            self._say(self._begun)
            self._begun = b""
        return True

    def drain(self) -> None:
        while self.open and self.read():
            pass
        if self._begun:
            self._say(self._begun)
            self._begun = b""
        os.close(self.source)
        self.open = False

    def _say(self, line: bytes) -> None:
        self._sink.pending += self._label + line.rstrip(b"\r").rpartition(b"\r")[2] + b"\n"


class _Sink:
    """Where lines go. Nothing is written that would make us wait: a signal could not wake us."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.pending = bytearray()
        try:
            self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        except OSError:  # our caller closed it
            self._is_file = False

    def write(self) -> None:
        try:
            while self.pending and (self._is_file or select.select((), (self.descriptor,), (), 0)[1]):
                size = len(self.pending) if self._is_file else select.PIPE_BUF
                del self.pending[: os.write(self.descriptor, self.pending[:size])]
        except OSError:  # a reader who has gone is forgotten; the logs are whole
            self.pending.clear()
