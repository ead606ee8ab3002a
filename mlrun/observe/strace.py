"""The strict mode: strace sees system calls, so that no way of opening a file escapes it.

Every process gets a file of its own (`-ff`), so that no call is cut in two by another's. All texts come in
hexadecimal (`-xx`), and with `-y` what a descriptor stands for: the kernel's own word for the path.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from mlrun.observe.events import WAS_THERE, Event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# `?`: where the machine has such a call.
_CALLS = "open,openat,openat2,creat,rename,renameat,renameat2,link,linkat,truncate,?truncate64,chdir,fchdir"
_LINE = re.compile(r"(\d+)\.(\d+) (\w+)\((.*)\) += (-?\d+)(?:<(.*?)>(?:\(deleted\))?)?[^<>]*\Z")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FOLDER = re.compile(r"\A(?:AT_FDCWD|\d+)<([^>]*)>")
_DIRECTORY = re.compile(r"AT_FDCWD<([^>]*)>")


def command(program: str, folder: Path, argv: tuple[str, ...]) -> tuple[str, ...]:
    """The program under strace, whose logs go into a folder."""
    options = ("-ff", "--seccomp-bpf", "-qqq", "-y", "-xx", "-ttt", "--signal=none", "-s", "4096")
    # `execve` is not told: to miss it costs nothing, and to see it stops every program once more.
    return (program, *options, "-e", f"trace={_CALLS}", "-o", str(folder / "strace"), "--", *argv)


def read(folder: Path, directory: str) -> Iterator[Event]:
    """All events of the logs in a folder, of a program started in a directory. Raises OSError."""
    for file in sorted(folder.glob("strace.*")):
        with open(file, encoding="ascii", errors="replace") as lines:
            here = directory
            for line in lines:
                call = _call(line.rstrip("\n"))
                if call is None:
                    continue
                here = _directory(call, here)
                if (event := _event(call, here)) is not None:
                    yield event


class _Call(NamedTuple):
    """A call that did not fail; `result` is what its descriptor stands for, in hexadecimal."""

    time: int
    name: str
    arguments: str
    result: str


def _call(line: str) -> _Call | None:
    match = _LINE.match(line)
    if match is None or match[5].startswith("-"):
        return None
    seconds, fraction, name, arguments, _, result = match.groups()
    time = int(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9])
    return _Call(time, name, arguments, result or "")


def _directory(call: _Call, here: str) -> str:
    """The process's directory after a call: most calls tell it, old ones do not, `chdir` changes it."""
    if call.name == "chdir":
        return os.path.join(here, *_paths(call.arguments, here)[:1])
    told = _FOLDER.match(call.arguments) if call.name == "fchdir" else _DIRECTORY.search(call.arguments)
    if told is not None:
        return _plain(told[1])
    return here


def _event(call: _Call, here: str) -> Event | None:
    if call.name in ("chdir", "fchdir"):
        return None
    if call.name.startswith(("rename", "link")):
        paths = _paths(call.arguments, here)
        if len(paths) != 2:
            return None
        return Event("M" if call.name.startswith("rename") else "L", call.time, paths[0], paths[1])
    if call.name.startswith("truncate"):
        return Event("W", call.time, _paths(call.arguments, here)[0])
    path = _plain(call.result)
    if not path.startswith("/") or "O_DIRECTORY" in call.arguments or "O_PATH" in call.arguments:
        return None
    made = call.name == "creat" or "O_CREAT" in call.arguments or "O_TMPFILE" in call.arguments
    return Event(_kind(call.name, call.arguments), call.time, path, modified=0 if made else WAS_THERE)


def _kind(call: str, arguments: str) -> str:
    if call == "creat" or "O_TRUNC" in arguments or "O_WRONLY" in arguments or "O_EXCL" in arguments:
        return "W"
    return "U" if "O_RDWR" in arguments else "R"


def _paths(arguments: str, here: str) -> list[str]:
    """The paths among a call's arguments, each from the folder that stands before it, or from `here`."""
    found = []
    folder = here
    for part in re.split(r", (?=AT_FDCWD|\d+<|\")", arguments):
        if told := _FOLDER.match(part):
            folder = _plain(told[1])
        elif text := _TEXT.match(part):
            found.append(os.path.join(folder, _plain(text[1])))
            folder = here
    return found


def _plain(text: str) -> str:
    raw = re.sub(
        rb"\\x([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), text.encode("ascii", "replace")
    )
    return os.fsdecode(raw)
