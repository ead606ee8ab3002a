"""What lies in a folder: names, stamps and digests in four long parts, and the manifest made of them.

A hundred thousand files are too many for an object each, so that a tree goes as it is to disk (`memory`), and
to and from the program that reads folders (`native`).
"""

from __future__ import annotations

import os
import stat
from array import array
from json.encoder import encode_basestring as _quoted
from typing import TYPE_CHECKING

from mlrun import digest
from mlrun.data.reading import problem_of
from mlrun.model import Digest
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlrun.data.reading import Stamp

MANIFEST = "mlrun/manifest/v1"
"""The format of a folder's manifest.

Canonical JSON: `{"entries": […], "format": "mlrun/manifest/v1"}`, entries sorted by `path` (relative, `/`
between parts; bytes that are no UTF-8 as surrogates). A file has `mode` (`100644`, `100755`), `size` and
`digest`; a link `mode` `120000` and `target`; a folder in which nothing lies `mode` `040000`.
"""

STAMP = 5
DIGEST = 32
INODE, SIZE, MTIME, CTIME, MODE = range(STAMP)
NONE = -1
"""The inode of what has no digest: its size is then a problem's number."""

Entry = tuple[bytes, "Stamp", bytes]
"""Name, stamp, and what a link leads to."""


@positional_value
class Tree:
    """Files, links, and folders in which nothing lies (of these only the mode is told).

    `names` are relative, in the order of their bytes, each ended by NUL, as are the `targets` of links;
    `stamps` has five numbers for each name, `digests` 32 bytes, zeros for what is no file.
    """

    names: bytes
    stamps: array[int]
    digests: bytes
    targets: bytes

    @property
    def count(self) -> int:
        """How many names there are."""
        return len(self.stamps) // STAMP

    @property
    def size(self) -> int:
        """Bytes of all files, about."""
        return sum(self.stamps[SIZE::STAMP])

    def split_names(self) -> list[bytes]:
        """The names one by one."""
        return self.names.split(b"\0")[:-1]

    def resembles(self, other: Tree) -> bool:
        """Whether all names and stamps are the same."""
        return self.names == other.names and self.stamps == other.stamps

    def problems(self) -> Iterator[tuple[int, bytes, int]]:
        """Index, name and number of the problem of all that has no digest."""
        inodes = self.stamps[INODE::STAMP]
        if NONE not in inodes:
            return
        names = self.split_names()
        for at, inode in enumerate(inodes):
            if inode == NONE:
                yield at, names[at], self.stamps[at * STAMP + SIZE]

    def links(self) -> tuple[tuple[str, str], ...]:
        """Names and targets of links."""
        if not self.targets:
            return ()
        modes = self.stamps[MODE::STAMP]
        links = [name for name, mode in zip(self.split_names(), modes, strict=True) if stat.S_ISLNK(mode)]
        targets = self.targets.split(b"\0")[:-1]
        return tuple((os.fsdecode(a), os.fsdecode(b)) for a, b in zip(links, targets, strict=True))

    def filled(self, found: Iterable[tuple[int, tuple[bytes, Stamp] | int]]) -> Tree:
        """The same with what is at some indexes: digest and stamp, or a problem's number."""
        stamps, digests = array("q", self.stamps), bytearray(self.digests)
        for at, answer in found:
            if isinstance(answer, int):
                stamps[at * STAMP : at * STAMP + STAMP] = array("q", (NONE, answer, 0, 0, 0))
            else:
                digests[at * DIGEST : (at + 1) * DIGEST] = answer[0]
                stamps[at * STAMP : at * STAMP + STAMP] = array("q", answer[1])
        return Tree(self.names, stamps, bytes(digests), self.targets)


def of_entries(entries: list[Entry]) -> Tree:
    """A tree without digests."""
    stamps = array("q", [number for _, stamp, _ in entries for number in stamp])
    return Tree(
        names=b"".join(name + b"\0" for name, _, _ in entries),
        stamps=stamps,
        digests=bytes(DIGEST * len(entries)),
        targets=b"".join(target + b"\0" for _, stamp, target in entries if stat.S_ISLNK(stamp[MODE])),
    )


@positional_value
class Written:
    """A manifest, and what goes with it: `contents` are digests and names of the files."""

    text: bytes
    size: int
    contents: tuple[tuple[Digest, str], ...]
    troubles: tuple[str, ...]


def write(tree: Tree, root: str) -> Written:
    """The manifest of a tree."""
    entries: list[tuple[str, str]] = []
    contents: list[tuple[Digest, str]] = []
    troubles = []
    size, at = 0, -2 * DIGEST
    hexadecimal, stamps = tree.digests.hex(), tree.stamps
    targets = iter(tree.targets.split(b"\0"))
    columns = (stamps[number::STAMP] for number in (INODE, SIZE, MODE))
    for path, inode, length, mode in zip(tree.split_names(), *columns, strict=True):
        name, at = os.fsdecode(path), at + 2 * DIGEST
        if inode == NONE:
            troubles.append(f"`{name or root}`: {problem_of(length)}")
        if stat.S_ISDIR(mode):
            entries.append((name, _entry_of_folder(name)))
        elif stat.S_ISLNK(mode):
            entries.append((name, _entry_of_link(name, os.fsdecode(next(targets)))))
        elif inode != NONE:
            tagged = Digest(digest.TAG + hexadecimal[at : at + 2 * DIGEST])
            executable = bool(mode & stat.S_IXUSR)
            entries.append((name, _entry_of_file(name, tagged, length, executable=executable)))
            contents.append((tagged, name))
            size += length
    if not tree.names.isascii():  # bytes that are no UTF-8 stand elsewhere among letters than among bytes
        entries.sort()
        contents.sort(key=lambda each: each[1])
    text = f'{{"entries":[{",".join([entry for _, entry in entries])}],"format":"{MANIFEST}"}}'
    return Written(text.encode("utf-8", "surrogatepass"), size, tuple(contents), tuple(troubles))


# The canonical JSON of an entry, written out: a hundred thousand are too many for a general encoder.


def _entry_of_file(name: str, its_digest: Digest, size: int, *, executable: bool) -> str:
    mode = "100755" if executable else "100644"
    return f'{{"digest":"{its_digest}","mode":"{mode}","path":{_quoted(name)},"size":{size}}}'


def _entry_of_link(name: str, target: str) -> str:
    return f'{{"mode":"120000","path":{_quoted(name)},"target":{_quoted(target)}}}'


def _entry_of_folder(name: str) -> str:
    return f'{{"mode":"040000","path":{_quoted(name)}}}'
