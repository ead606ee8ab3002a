"""From events to what a run read and wrote, as it can be told once the run is over.

Read is what was there before. What the run itself made and then read is no input; what it made and removed
is nothing at all; what it opened for writing and left as it was, it has not written.
"""

from __future__ import annotations

import os
import stat
from array import array
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Literal, NamedTuple

from mlrun.observe.events import WAS_THERE, Opened, of_files
from mlrun.observe.rules import BY_PRODUCTS_END
from mlrun.observe.temporary import left_behind
from mlrun.value import draft, field, replace, value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from mlrun.observe.events import Event, Log
    from mlrun.observe.rules import Rules

CROWD = 500
"""From so many files of one folder on, that were only read, nobody looks at them before they are hashed."""

State = Literal["same", "overwritten", "changed", "gone"]
"""What a file that was read is now: as it was; written by the run itself afterwards; changed by somebody
else; no longer there."""


class Read(NamedTuple):
    """A file that was read; `size` as it was opened, in bytes, -1 where that is not known."""

    path: str
    size: int
    state: State


class Crowd(NamedTuple):
    """Many files of one folder that were there before and were only read: their names in order, and what
    they were like as they were opened: sizes in bytes, times of modification in ns since 1970."""

    folder: str
    names: tuple[str, ...]
    sizes: array[int]
    modified: array[int]

    def without(self, names: Collection[str]) -> Crowd:
        """Those that are left."""
        if not names:
            return self
        left = [at for at, name in enumerate(self.names) if name not in names]
        sizes, modified = (array("q", [column[at] for at in left]) for column in (self.sizes, self.modified))
        return Crowd(self.folder, tuple(self.names[at] for at in left), sizes, modified)

    def looked_at(self, names: Collection[str]) -> Iterator[Read]:
        """Some of them as they are by now; nothing of what is no file."""
        for name, size, modified in zip(self.names, self.sizes, self.modified, strict=True):
            if name in names:
                path = f"{self.folder}/{name}"
                state = _state(path, size, modified)
                if state is not None:
                    yield Read(path, size, state)


@value
class Seen:
    """All that was read and written, by absolute path, in order; nobody could see into `blind`.

    Of the `crowds` nobody has asked yet what they are like now. To those of the `writes` that are `appended`
    nothing was done but that something was added at their ends. `listed` are folders whose names were asked
    for, `absent` what was looked for and is still not there, `found` what was looked at without being opened,
    `executed` programs and libraries, and `ways` folders that were gone through by another name (a link),
    with that name first. Those that were listed and `searched` were not only imported from. Of these, only
    the shim tells.
    """

    reads: tuple[Read, ...] = ()
    crowds: tuple[Crowd, ...] = ()
    writes: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()
    appended: frozenset[str] = frozenset()
    listed: tuple[str, ...] = ()
    searched: frozenset[str] = frozenset()
    absent: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    executed: tuple[str, ...] = ()
    ways: tuple[tuple[str, str], ...] = ()

    def singled(self, unlike: Iterable[Read]) -> Seen:
        """The same without crowds, once somebody has looked at them: all are the same but for some."""
        if not self.crowds:
            return self
        others = {read.path: read for read in unlike}
        paths = (
            (f"{it.folder}/{name}", size)
            for it in self.crowds
            for name, size in zip(it.names, it.sizes, strict=True)
        )
        reads = (others.get(path) or Read(path, size, "same") for path, size in paths)
        return replace(self, reads=(*self.reads, *reads), crowds=())


_LOCKS = (".lock", ".lck")
"""Files that are empty and end so say that somebody is at work."""
_SOUGHT = {"N": "absent", "E": "found", "X": "executed"}


@value
class _Story:
    """What happened, before anybody looked at what is there now."""

    reads: dict[str, dict[str, Opened]] = field(default_factory=dict)
    """By folder, then by name."""
    written: dict[str, Event] = field(default_factory=dict)
    updated: dict[str, Event] = field(default_factory=dict)
    rewritten: set[str] = field(default_factory=set)
    blind: dict[str, None] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)
    searched: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    found: set[str] = field(default_factory=set)
    executed: set[str] = field(default_factory=set)
    ways: dict[str, str] = field(default_factory=dict)


def understood(log: Log, *, rules: Rules, since: int, more_writes: Iterable[str] = ()) -> Seen:
    """What a log says, of paths that the rules want; `since` is when the run began, by the clock that
    files are stamped with, ns since 1970.

    `more_writes` are files that are known to have been written, by whomever.
    """
    story = _told(log, rules)
    writes = dict.fromkeys(path for path in more_writes if not _is_as_read(path, story.reads))
    candidates = {**story.updated, **story.written}
    writes |= dict.fromkeys(path for path, event in candidates.items() if _was_written(path, event, since))
    crowds = tuple(_crowds(story.reads, writes, since))
    crowded = {crowd.folder: frozenset(crowd.names) for crowd in crowds}
    reads = []
    for path, event in _by_path(story.reads, crowded):
        read = _read(path, event, writes, since, others=bool(story.blind))
        if read is not None:
            reads.append(read)
    writes = dict.fromkeys(sorted(frozenset(writes) - left_behind(writes, rules.temporary, since=since)))
    return Seen(
        reads=tuple(sorted(reads, key=attrgetter("path"))),
        crowds=crowds,
        writes=tuple(writes),
        blind=tuple(story.blind),
        appended=frozenset(candidates).intersection(writes).difference(story.rewritten),
        listed=tuple(sorted(story.listed)),
        searched=frozenset(story.searched),
        absent=tuple(sorted(path for path in story.absent if not os.path.lexists(path))),
        found=tuple(sorted(story.found.difference((path for path, _ in _by_path(story.reads)), writes))),
        executed=tuple(sorted(story.executed)),
        ways=tuple(sorted(story.ways.items())),
    )


def _told(log: Log, rules: Rules) -> _Story:
    """What was merely read in a plain folder is taken as it is, once all else has been told in its order."""
    story, places = _Story(), _Places(rules)
    moving = any(event.kind in "ML" for event in log.events)  # then it matters what went before what
    ordered, plain = [*log.events], []
    for folder, files in log.opened.items():
        place = places[folder]
        if moving or not place.is_plain or _any_odd(files):
            ordered += of_files(folder, files)
        else:
            plain.append((place, files))
    for event in sorted(ordered, key=itemgetter(1)):
        _tell(story, event, places)
    touched = _by_folder((*story.written, *story.updated))
    for place, files in plain:
        for name in touched.get(place.path, ()):
            if name in files and not _was_read_first(f"{place.path}/{name}", files[name], story):
                del files[name]
        for name, before in place.reads.items():
            if name not in files or before.time < files[name].time:
                files[name] = before
        place.reads = files
    story.reads.update((place.path, place.reads) for place in places.values() if place.reads)
    return story


def _any_odd(files: Collection[str]) -> bool:
    """Whether some name among many may be one that says nothing of a file, or of what tools leave behind."""
    if not _NO_NAMES.isdisjoint(files):
        return True
    text = "/" + "\0/".join(files) + "\0"
    return any(f"{end}\0" in text for end in BY_PRODUCTS_END)


def _was_read_first(path: str, opened: Opened, story: _Story) -> bool:
    others = (story.written.get(path), story.updated.get(path))
    return all(other is None or opened.time < other.time for other in others)


def _tell(story: _Story, event: Event, places: _Places) -> None:
    path, wants = places.real(event.path), places.rules.wants
    if "/__pycache__/" in path or "/__pycache__/" in event.second:
        path = _source_of(path) if event.kind == "R" else ""
        event = event._replace(size=-1)
    if event.kind == "S":
        story.blind[path] = None
    elif path and event.kind in "ML":
        new = places.real(event.second)
        _move(story, path, new, event, wanted=wants(new))
    elif event.kind == "D":
        folder = os.path.realpath(event.path)
        story.listed.add(folder)
        if event.path.endswith("//"):
            story.searched.add(folder)
    elif path and wants(path):
        if path != event.path and "/__pycache__/" not in event.path:
            _went_through(story, event.path, path)
        if event.kind in _SOUGHT:
            getattr(story, _SOUGHT[event.kind]).add(path)
        else:
            _open(story, path, event, places)


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


def _open(story: _Story, path: str, event: Event, places: _Places) -> None:
    known = path in story.written or path in story.updated
    if event.kind != "W" and not known and not (event.kind == "U" and event.size == 0):
        folder, _, name = path.rpartition("/")
        first = Opened(event.kind, event.time, event.size, event.modified)
        places[folder].reads.setdefault(name, first)
    if event.kind != "R" and not event.flags & os.O_APPEND:
        story.rewritten.add(path)
    if event.kind == "W":
        story.written.setdefault(path, event)
    elif event.kind == "U":
        story.updated.setdefault(path, event)


def _move(story: _Story, old: str, new: str, event: Event, *, wanted: bool) -> None:
    """What has got a new name was written under it; with a folder, all that had been written into it."""
    if wanted:
        story.written[new] = event
        story.rewritten.add(new)
    if os.path.isdir(new):
        within = [path for path in story.written if path.startswith(f"{old}/")]
        moved = [new + path[len(old) :] for path in within]
        story.written.update(dict.fromkeys(moved, event))
        story.rewritten.update(moved)


def _is_as_read(path: str, reads: dict[str, dict[str, Opened]]) -> bool:
    """Whether a file that was read has the time and size that it had then: it got another mode, or name."""
    folder, _, name = path.rpartition("/")
    event = reads.get(folder, {}).get(name)
    if event is None or event.size < 0:
        return False
    try:
        status = os.stat(path)
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (event.size, event.modified)


def _was_written(path: str, event: Event, since: int) -> bool:
    """Whether it is a file that was changed during the run, also by `cp -p`, which sets other times back."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return False
    if not stat.S_ISREG(status.st_mode) or (status.st_size == 0 and path.endswith(_LOCKS)):
        return False
    if event.size >= 0 and (status.st_size, status.st_mtime_ns) != (event.size, event.modified):
        return True
    if event.kind == "U" and event.size >= 0 and event.modified < since:
        return False
    return status.st_ctime_ns >= since


def _by_folder(paths: Iterable[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        found.setdefault(folder, set()).add(name)
    return found


def _crowds(folders: dict[str, dict[str, Opened]], writes: Iterable[str], since: int) -> Iterator[Crowd]:
    written = _by_folder(writes)
    for folder, found in folders.items():
        if len(found) >= CROWD:
            crowd, mine = _crowd(folder, found), written.get(folder, ())
            if mine or min(crowd.sizes) < 0 or max(crowd.modified) >= since:
                rest = {
                    name: it
                    for name, it in found.items()
                    if it.size >= 0 and it.modified < since and name not in mine
                }
                crowd = _crowd(folder, rest)
            if len(crowd.names) >= CROWD:
                yield crowd


def _crowd(folder: str, files: Mapping[str, Opened]) -> Crowd:
    names = tuple(sorted(files))
    ordered = [files[name] for name in names]
    sizes, modified = (array("q", map(itemgetter(column), ordered)) for column in (2, 3))
    return Crowd(folder, names, sizes, modified)


def _by_path(
    folders: Mapping[str, dict[str, Opened]], without: Mapping[str, Collection[str]] | None = None
) -> Iterator[tuple[str, Opened]]:
    for folder, found in folders.items():
        left_out = without.get(folder, ()) if without else ()
        yield from ((f"{folder}/{name}", event) for name, event in found.items() if name not in left_out)


def _read(path: str, event: Opened, writes: dict[str, None], since: int, *, others: bool) -> Read | None:
    """None where it is no input: made during the run, or no file."""
    made_meanwhile = event.size >= 0 and event.modified >= since
    state = _state(path, event.size, event.modified if event.size >= 0 else since)
    if state is None or (state == "gone" and (made_meanwhile or event.size < 0)):
        return None
    if state != "gone" and path in writes:
        unknown = event.size < 0 and event.modified != WAS_THERE
        made_now = made_meanwhile or (unknown and event.kind == "U")
        return None if made_now else Read(path, event.size, "overwritten")
    if state != "gone" and made_meanwhile and others:  # by a program that we could not see into
        writes[path] = None
        return None
    return Read(path, event.size, state)


def _state(path: str, size: int, modified: int) -> State | None:
    """What has become of a file; None of what is no file. Of one whose size is not known (-1), `modified`
    is when it must have been the same already."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return "gone"
    if not stat.S_ISREG(status.st_mode):
        return None
    if size < 0:
        return "same" if status.st_mtime_ns < modified else "changed"
    return "same" if (status.st_size, status.st_mtime_ns) == (size, modified) else "changed"


_NO_NAMES = frozenset(("", ".", ".."))


@draft
class _Place:
    """A folder as a program names it, and where it really is; `is_plain` are those of which nothing but
    that a file was read remains to be said."""

    path: str
    is_plain: bool
    reads: dict[str, Opened] = field(default_factory=dict)


class _Places(dict[str, _Place]):
    """Folders: their real paths, without dots and links on the way, and what the rules say of them."""

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self.rules = rules

    def __missing__(self, folder: str) -> _Place:
        real = os.path.realpath(folder or "/").rstrip("/")
        inside = f"{real}/"
        is_plain = real == folder and "/__pycache__/" not in inside and self.rules.wants_all(inside)
        place = self[folder] = _Place(real, is_plain)
        return place

    def real(self, path: str) -> str:
        """The last part keeps its name, though it may be a link."""
        folder, _, name = path.rpartition("/")
        if name in _NO_NAMES:
            return os.path.realpath(path)
        return f"{self[folder].path}/{name}"
