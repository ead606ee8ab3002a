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

if TYPE_CHECKING:
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


def read(folder: Path) -> list[Event]:
    """All events of the logs in a folder, each log's in its order. Raises OSError."""
    events: list[Event] = []
    names = os.listdir(folder)
    passed = {name.removeprefix(NOT_THE_PROGRAMS) for name in names if name.startswith(NOT_THE_PROGRAMS)}
    for name in names:
        if name.startswith("log."):
            with open(folder / name, "rb") as file:
                _add_events(events, file.read(), frozenset(map(int, passed)))
    return events


def _add_events(events: list[Event], log: bytes, passed: frozenset[int]) -> None:
    if len(log) < _HEAD.size:
        return
    used, _ = _HEAD.unpack_from(log)
    at, end = _HEAD.size, min(used, len(log))
    unpack, head, encoding = _RECORD.unpack_from, _RECORD.size, sys.getfilesystemencoding()
    add, new, kinds = events.append, tuple.__new__, _KINDS  # `new` is what Event() does, without a call more
    while at + head <= end:  # there may be a hundred thousand: each call in here counts
        length, kind, time, size, modified, flags, pid = unpack(log, at)
        if length < head or at + length > len(log):
            return
        letter = kinds.get(kind)
        if letter is not None and not (passed and pid in passed):
            ends = log.find(b"\0", at + head)
            path = log[at + head : ends].decode(encoding, "surrogateescape")
            second = os.fsdecode(log[ends + 1 : log.find(b"\0", ends + 1)]) if letter in "ML" else ""
            add(new(Event, (letter, time, path, second, size if modified else -1, modified, flags)))
        at += length
