"""Whole processes, timed in turns: A B C, A B C, …, so that a machine that slows down slows all alike."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from typing import TYPE_CHECKING

from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@value
class Command:
    """What to time: `prepare` runs before each round, untimed; `times` repeats it within one sample."""

    name: str
    argv: Sequence[str]
    cwd: Path
    variables: Mapping[str, str]
    times: int = 1
    prepare: Callable[[], None] | None = None


@value
class Sample:
    """One sample: seconds of wall and CPU time (of the whole tree), MiB of the largest process."""

    wall: float
    cpu: float
    memory: float


def in_turns(commands: Sequence[Command], *, rounds: int, warmups: int = 1) -> dict[str, list[Sample]]:
    """Time the commands in turns.

    Raises RuntimeError, with what it printed, where one fails: a failure is quick and would look fast.
    """
    samples: dict[str, list[Sample]] = {command.name: [] for command in commands}
    for number in range(warmups + rounds):
        for command in commands:
            sample = once(command)
            if number >= warmups:
                samples[command.name].append(sample)
    return samples


def once(command: Command) -> Sample:
    """Run it (`times` times) and ask the kernel what it cost."""
    if command.prepare:
        command.prepare()
    wall = cpu = memory = 0.0
    for _ in range(command.times):
        started = time.perf_counter()
        child = subprocess.Popen(
            list(command.argv),
            cwd=command.cwd,
            env=dict(command.variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert child.stdout
        said = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        child.stdout.close()
        wall += time.perf_counter() - started
        cpu += usage.ru_utime + usage.ru_stime
        memory = max(memory, usage.ru_maxrss / 1024)
        if child.returncode != 0:
            raise RuntimeError(
                f"{command.name} failed with {child.returncode}:\n{said.decode(errors='replace')}"
            )
    return Sample(wall=wall, cpu=cpu, memory=memory)


def median(samples: Sequence[Sample], what: str) -> float:
    """The median of one figure."""
    return float(statistics.median(getattr(sample, what) for sample in samples))


def ratio(samples: Sequence[Sample], base: Sequence[Sample], what: str) -> float:
    """The median of the round-by-round ratios."""
    pairs = zip(samples, base, strict=True)
    return float(statistics.median(getattr(one, what) / getattr(other, what) for one, other in pairs))
