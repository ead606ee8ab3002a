"""What was seen, one event at a time, and the log that the shim and the hook leave it in.

A log file begins with two numbers (how much is used, how much there is), then records: see `record_t` in
`shim.c`. A record whose kind is still zero belongs to a process that was killed while it wrote.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import TYPE_CHECKING, NamedTuple

from mlrun.observe import NOT_THE_PROGRAMS
from mlrun.value import draft, field

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEAD = struct.Struct("<QQ")
_RECORD = struct.Struct("<IIQQqII")
_KINDS = {letter: chr(letter) for letter in b"RWUMLSNEDX"}


WAS_THERE = -1
"""In place of a time: that the file was not made by being opened is all that is known of it."""


class Event(NamedTuple):
    """`kind` is a letter: a file opened to Read, to Write, to Update (both); Moved or Linked to `second`;
    a Static program was started, which the shim cannot see into; something was looked for and Not there, or
    Existed; the names in a Directory (with a slash at its end, with two if it was named relative to another)
    were asked for; a program or a library was eXecuted. `time` and `modified` are ns since 1970; `size` is in
    bytes, and -1 where nothing is known of the file as it was opened. `flags` are open(2)'s."""

    kind: str
    time: int
    path: str
    second: str = ""
    size: int = -1
    modified: int = 0
    flags: int = 0


class Opened(NamedTuple):
    """What a file was like when it was first opened, to be read or to be updated in place; as in `Event`."""

    kind: str
    time: int
    size: int
    modified: int


@draft
class Log:
    """What was seen. Files that were opened only to be read are by far the most: they are `opened`, by folder
    and name, the first time that each was; the rest are `events`, in any order."""

    events: list[Event] = field(default_factory=list)
    opened: dict[str, dict[str, Opened]] = field(default_factory=dict)

    def all(self) -> Iterator[Event]:
        """All as events."""
        yield from self.events
        for folder, files in self.opened.items():
            yield from of_files(folder, files)


def of_files(folder: str, files: dict[str, Opened]) -> Iterator[Event]:
    """Files that were opened, as events."""
    for name, (kind, time, size, modified) in files.items():
        yield Event(kind, time, f"{folder}/{name}", "", size, modified)


def read(folder: Path) -> Log:
    """The logs in a folder. Raises OSError."""
    found = Log()
    names = os.listdir(folder)
    passed = {name.removeprefix(NOT_THE_PROGRAMS) for name in names if name.startswith(NOT_THE_PROGRAMS)}
    for name in names:
        if name.startswith("log."):
            with open(folder / name, "rb") as file:
                _add(found, file.read(), frozenset(map(int, passed)))
    return found


def _add(found: Log, log: bytes, passed: frozenset[int]) -> None:
    if len(log) < _HEAD.size:
        return
    used, _ = _HEAD.unpack_from(log)
    at, end = _HEAD.size, min(used, len(log))
    unpack, head, encoding = _RECORD.unpack_from, _RECORD.size, sys.getfilesystemencoding()
    opened, kinds = found.opened, _KINDS
    new = tuple.__new__  # what Opened() does, without a call more
    while at + head <= end:  # there may be a hundred thousand: each call in here counts
        length, kind, time, size, modified, flags, pid = unpack(log, at)
        if length < head or at + length > len(log):
            return
        letter = kinds.get(kind)
        if letter is not None and not (passed and pid in passed):
            ends = log.find(b"\0", at + head)
            path = log[at + head : ends].decode(encoding, "surrogateescape")
            if not modified:
                size = -1
            if letter == "R":
                folder, _, name = path.rpartition("/")
                files = opened.get(folder)
                if files is None:
                    files = opened[folder] = {}
                if name not in files or time < files[name].time:
                    files[name] = new(Opened, (letter, time, size, modified))
            else:
                second = os.fsdecode(log[ends + 1 : log.find(b"\0", ends + 1)]) if letter in "ML" else ""
                found.events.append(Event(letter, time, path, second, size, modified, flags))
        at += length
