"""The processes that descend from a program: who lives, what they hold in memory, and how to end them.

Whoever stays in the program's session is found by it; who left it (a daemon), by being a known descendant,
or by an environment variable that only this run has. The table comes from Linux's /proc (format: proc(5)),
elsewhere from `ps`, which shows no variables.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE = os.sysconf("SC_PAGE_SIZE")


@positional_value
class Process:
    """One line of the process table. `born` tells apart two that had the same id; `memory` is in bytes."""

    pid: int
    parent: int
    group: int
    born: str
    memory: int


class Family:
    """All that comes from the process `pid`, which leads a group; `mark` is a `NAME=value` of theirs."""

    def __init__(self, pid: int, mark: str | None) -> None:
        self._pid = pid
        self._mark = mark
        self._seen: set[tuple[int, str]] = set()

    def group(self) -> list[Process]:
        """Who is left in the program's own group. Almost free when nobody is."""
        try:
            os.killpg(self._pid, 0)
        except ProcessLookupError:
            return []
        except PermissionError:  # macOS, of the dead
            pass
        return [process for process in table() if process.group == self._pid]

    def members(self) -> list[Process]:
        """Everyone alive, also who has left the group, or lost the parent since the last look."""
        everyone = list(table())
        children: dict[int, list[Process]] = {}
        for process in everyone:
            children.setdefault(process.parent, []).append(process)
        found = {process.pid: process for process in everyone if self._is_ours(process)}
        queue = [self._pid, *found]
        while queue:
            for child in children.get(queue.pop(), ()):
                if child.pid not in found:
                    found[child.pid] = child
                    queue.append(child.pid)
        self._seen.update((process.pid, process.born) for process in found.values())
        return list(found.values())

    def _is_ours(self, process: Process) -> bool:
        return (
            process.group == self._pid
            or process.pid == self._pid
            or (process.pid, process.born) in self._seen
        )

    def marked(self) -> list[Process]:
        """Members, and everyone who has our mark among the variables it started with."""
        if self._mark is not None:
            wanted = b"\0" + os.fsencode(self._mark) + b"\0"
            for process in table():
                if process.pid != os.getpid() and wanted in b"\0" + _read(f"/proc/{process.pid}/environ"):
                    self._seen.add((process.pid, process.born))
        return self.members()

    def signal_group(self, number: int, *, wake: bool = True) -> None:
        """Signal the program's group; whoever is stopped is woken to hear it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, number)
            if wake:
                os.killpg(self._pid, signal.SIGCONT)

    def signal_all(self, number: int) -> None:
        """Signal everyone, wherever they went."""
        strays = [process for process in self.marked() if process.group != self._pid]
        self.signal_group(number)
        for process in strays:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)
                os.kill(process.pid, signal.SIGCONT)


def table() -> Iterator[Process]:
    """Every process that is not yet dead."""
    return _table_of_proc() if os.path.exists("/proc/self/stat") else _table_of_ps()


def _table_of_proc() -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            # The name in parentheses may hold anything; numbering goes on behind it with field 3, the state.
            fields = _read(f"/proc/{name}/stat").rpartition(b")")[2].split()
            if len(fields) > 21 and fields[0] not in (b"Z", b"X"):
                yield Process(
                    pid=int(name),
                    parent=int(fields[1]),
                    group=int(fields[2]),
                    born=fields[19].decode(),
                    memory=int(fields[21]) * _PAGE,
                )


def _table_of_ps() -> Iterator[Process]:
    from mlrun.process.tool import capture

    columns = "pid=,ppid=,pgid=,state=,rss=,lstart="
    answer = capture(
        ["ps", "-A", "-o", columns], variables={"PATH": "/bin:/usr/bin", "LC_ALL": "C"}, timeout=5
    )
    for line in answer.text.splitlines():
        pid, parent, group, state, kibibytes, born = line.split(None, 5)
        if not state.startswith("Z"):
            yield Process(int(pid), int(parent), int(group), born, int(kibibytes) * 1024)


def _read(path: str) -> bytes:
    """A small file of /proc; empty where the process has gone, or is not ours to look at."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 1 << 20)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
