"""From events to what a run read and wrote, as it can be told once the run is over.

Read is what was there before. What the run itself made and then read is no input; what it made and removed
is nothing at all; what it opened for writing and left as it was, it has not written.
"""

from __future__ import annotations

import os
import stat
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, NamedTuple

from mlrun.value import field, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlrun.observe.events import Event

State = Literal["same", "overwritten", "changed", "gone"]
"""What a file that was read is now: as it was; written by the run itself afterwards; changed by somebody
else; no longer there."""


class Read(NamedTuple):
    """A file that was read; `size` as it was opened, in bytes, -1 where that is not known; `status` as it is
    now, where it is the same."""

    path: str
    size: int
    state: State
    status: os.stat_result | None = None


@value
class Seen:
    """All that was read and written, by absolute path, in order; nobody could see into `blind`.

    To those of the `writes` that are `appended` nothing was done but that something was added at their ends.
    `listed` are folders whose names were asked for, `absent` what was looked for and is still not there,
    `found` what was looked at without being opened, `executed` programs and libraries, and `ways` folders
    that were gone through by another name (a link), with that name first. Of these, only the shim tells.
    """

    reads: tuple[Read, ...] = ()
    writes: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()
    appended: frozenset[str] = frozenset()
    listed: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    executed: tuple[str, ...] = ()
    ways: tuple[tuple[str, str], ...] = ()


_SOUGHT = {"N": "absent", "E": "found", "X": "executed"}


@value
class _Story:
    """What happened, before anybody looked at what is there now."""

    reads: dict[str, Event] = field(default_factory=dict)
    written: dict[str, Event] = field(default_factory=dict)
    updated: dict[str, Event] = field(default_factory=dict)
    rewritten: set[str] = field(default_factory=set)
    blind: dict[str, None] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    found: set[str] = field(default_factory=set)
    executed: set[str] = field(default_factory=set)
    ways: dict[str, str] = field(default_factory=dict)


def understood(
    events: Iterable[Event], *, wants: Callable[[str], bool], since: int, more_writes: Iterable[str] = ()
) -> Seen:
    """What the events say, of paths that are wanted; `since` is when the run began, by the clock that files
    are stamped with, ns since 1970.

    `more_writes` are files that are known to have been written, by whomever.
    """
    story = _told(events, wants)
    writes = dict.fromkeys(more_writes)
    candidates = {**story.updated, **story.written}
    writes |= dict.fromkeys(path for path, event in candidates.items() if _was_written(path, event, since))
    reads = []
    for path, event in story.reads.items():
        read = _read(path, event, writes, since, others=bool(story.blind))
        if read is not None:
            reads.append(read)
    return Seen(
        reads=tuple(sorted(reads, key=attrgetter("path"))),
        writes=tuple(sorted(writes)),
        blind=tuple(story.blind),
        appended=frozenset(candidates).intersection(writes).difference(story.rewritten),
        listed=tuple(sorted(story.listed)),
        absent=tuple(sorted(path for path in story.absent if not os.path.lexists(path))),
        found=tuple(sorted(story.found.difference(story.reads, writes))),
        executed=tuple(sorted(story.executed)),
        ways=tuple(sorted(story.ways.items())),
    )


def _told(events: Iterable[Event], wants: Callable[[str], bool]) -> _Story:
    story, real = _Story(), _RealFolders()
    for event in sorted(events, key=attrgetter("time")):
        path = real.path(event.path)
        if "/__pycache__/" in path or "/__pycache__/" in event.second:
            path = _source_of(path) if event.kind == "R" else ""
            event = event._replace(size=-1)
        if event.kind == "S":
            story.blind[path] = None
        elif path and event.kind in "ML":
            _move(story, path, real.path(event.second), event, wants)
        elif event.kind == "D":
            story.listed.add(os.path.realpath(event.path))
        elif path and wants(path):
            if path != event.path and "/__pycache__/" not in event.path:
                _went_through(story, event.path, path)
            if event.kind in _SOUGHT:
                getattr(story, _SOUGHT[event.kind]).add(path)
            else:
                _open(story, path, event)
    return story


def _went_through(story: _Story, asked: str, path: str) -> None:
    folder, _, name = asked.rpartition("/")
    if name in ("", ".", ".."):
        story.ways[asked] = path
    else:
        story.ways[folder or "/"] = path.rpartition("/")[0] or "/"


def _source_of(path: str) -> str:
    """Of bytecode in a cache, the module's source, which is what counts; nothing where there is none."""
    folder, _, name = path.partition("/__pycache__/")
    source = f"{folder}/{name.partition('.')[0]}.py"
    return source if os.path.exists(source) else ""


def _open(story: _Story, path: str, event: Event) -> None:
    known = path in story.written or path in story.updated
    if event.kind != "W" and not known and not (event.kind == "U" and event.size == 0):
        story.reads.setdefault(path, event)
    if event.kind != "R" and not event.flags & os.O_APPEND:
        story.rewritten.add(path)
    if event.kind == "W":
        story.written.setdefault(path, event)
    elif event.kind == "U":
        story.updated.setdefault(path, event)


def _move(story: _Story, old: str, new: str, event: Event, wants: Callable[[str], bool]) -> None:
    """What has got a new name was written under it; with a folder, all that had been written into it."""
    if wants(new):
        story.written[new] = event
        story.rewritten.add(new)
    if os.path.isdir(new):
        within = [path for path in story.written if path.startswith(f"{old}/")]
        moved = [new + path[len(old) :] for path in within]
        story.written.update(dict.fromkeys(moved, event))
        story.rewritten.update(moved)


def _was_written(path: str, event: Event, since: int) -> bool:
    """Whether it is a file that was changed during the run, also by `cp -p`, which sets other times back."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return False
    if not stat.S_ISREG(status.st_mode):
        return False
    if event.size >= 0 and (status.st_size, status.st_mtime_ns) != (event.size, event.modified):
        return True
    if event.kind == "U" and event.size >= 0 and event.modified < since:
        return False
    return status.st_ctime_ns >= since


def _read(path: str, event: Event, writes: dict[str, None], since: int, *, others: bool) -> Read | None:
    """None where it is no input: made during the run, or no file."""
    made_meanwhile = event.size >= 0 and event.modified >= since
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None if made_meanwhile or event.size < 0 else Read(path, event.size, "gone")
    if not stat.S_ISREG(status.st_mode):
        return None
    if event.size < 0:
        same = status.st_mtime_ns < since
    else:
        same = (status.st_size, status.st_mtime_ns) == (event.size, event.modified)
    if path in writes:
        made_now = made_meanwhile or (event.size < 0 and event.kind == "U")
        return None if made_now else Read(path, event.size, "overwritten")
    if made_meanwhile and others:  # by a program that we could not see into
        writes[path] = None
        return None
    if same:
        return Read(path, status.st_size, "same", status)
    return Read(path, event.size, "changed")


class _RealFolders:
    """Paths without dots and links on the way; the last part keeps its name, though it may be a link."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def path(self, path: str) -> str:
        folder, _, name = path.rpartition("/")
        if name in ("", ".", ".."):
            return os.path.realpath(path)
        if folder not in self._known:
            real = os.path.realpath(folder or "/").rstrip("/")
            self._known[folder] = None if real == folder else real
        real_folder = self._known[folder]
        return path if real_folder is None else f"{real_folder}/{name}"
