"""Files and folders into digests, with all cores, and only what has changed since the last time."""

from __future__ import annotations

import os
import stat
import sys
import time
from array import array
from json.encoder import encode_basestring as _quoted
from typing import TYPE_CHECKING

from mlrun import digest
from mlrun.data import memory, reading
from mlrun.data.reading import ANSWER, BATCH, CHANGED, SPECIAL, problem_of, stamp_of
from mlrun.model import Digest
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlrun.data.memory import Remembered
    from mlrun.data.reading import Stamp
    from mlrun.files import Cache
    from mlrun.model import Narrator
    from mlrun.process import Captured

MANIFEST = "mlrun/manifest/v1"
"""The format of a folder's manifest.

Canonical JSON: `{"entries": […], "format": "mlrun/manifest/v1"}`, entries sorted by `path` (relative, `/`
between parts; bytes that are no UTF-8 as surrogates). A file has `mode` (`100644`, `100755`), `size` and
`digest`; a link `mode` `120000` and `target`; a folder in which nothing lies `mode` `040000`.
"""

_WORTH_REMEMBERING = (200, 16 << 20)
"""Files, or bytes, from which looking up is quicker than reading."""
_WORTH_CHILDREN = 4000
"""Small files from which reading them in several processes pays for starting these."""
_NO_STAMP = (0, 0, 0, 0)

File = tuple[bytes, "Stamp"]
"""A digest as 32 bytes, and the stamp of the file that it is of."""


@positional_value
class Folder:
    """A folder as read: `files` by name, their paths and digests where they were read just now."""

    digest: Digest
    size: int
    count: int
    manifest: bytes | None = None
    contents: tuple[tuple[Digest, str], ...] = ()
    troubles: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


class Reader:
    """Reads for one purpose: with a `cache`, from memory where it can; telling a `narrator` how far it is."""

    def __init__(self, cache: Cache | None = None, narrator: Narrator | None = None) -> None:
        self._cache = cache
        self._narrator = narrator

    # --- one file -------------------------------------------------------------------------------------

    def file(self, path: str) -> File | int:
        """Digest and stamp, or a problem's number; read once more if it changed meanwhile."""
        if (known := self._known(path)) is not None:
            return known
        started = memory.now_ns()
        found = _read(path, self._progress_of(path))
        if found == CHANGED:
            started = memory.now_ns()
            found = _read(path, None)
        if isinstance(found, tuple) and self._cache is not None and found[1][1] >= _WORTH_REMEMBERING[1]:
            content, stamp = found
            learned = memory.Remembered(
                digest=content, size=stamp[1], files=1, names=[""], stamps=array("q", stamp), digests=content
            )
            memory.remember(self._cache, path, learned, read_at=started)
        return found

    def _known(self, path: str) -> File | None:
        if self._cache is None:
            return None
        try:
            stamp = stamp_of(os.stat(path))
        except OSError:
            return None
        if stamp[1] < _WORTH_REMEMBERING[1] or not stat.S_ISREG(stamp[4]):
            return None
        known = memory.recall(self._cache, path)
        if known is None or known.names != [""] or tuple(known.stamps) != stamp:
            return None
        return known.digest, stamp

    def _progress_of(self, path: str) -> Callable[[int], None] | None:
        if self._narrator is None:
            return None
        return _Progress(self._narrator, os.path.basename(path), os.path.getsize(path)).bytes

    # --- a folder -------------------------------------------------------------------------------------

    def folder(self, root: str, *, contents: bool) -> Folder:
        """All that lies in a folder; with `contents`, the files themselves and the manifest too."""
        started = memory.now_ns()
        listed = _list(root)
        known = None
        if self._cache is not None and listed.is_large:
            known = memory.recall(self._cache, root)
        if known and not contents and not listed.troubles and listed.equals(known):
            tagged = Digest(digest.TAG + known.digest.hex())
            return Folder(tagged, known.size, known.files, links=listed.links(root))
        files = self._files(root, listed, known)
        return self._whole(root, listed, files, started)

    def some(
        self,
        root: str,
        names: Sequence[str],
        *,
        contents: bool = True,
        statuses: Sequence[os.stat_result] | None = None,
    ) -> Folder:
        """The same, of a folder in which nothing but these files lies (links are followed).

        `statuses` are those of the files, where somebody has just asked for them.
        """
        started = memory.now_ns()
        listed = _those(root, names, statuses)
        known = None
        if self._cache is not None and listed.is_large:
            known = memory.recall(self._cache, root)
        if known and not contents and not listed.troubles and listed.equals(known):
            return Folder(Digest(digest.TAG + known.digest.hex()), known.size, known.files)
        files = self._files(root, listed, known)
        return self._whole(root, listed, files, started, remember=known is None)

    def _files(self, root: str, listed: _Listing, known: Remembered | None) -> dict[str, File | int]:
        """Digest and stamp of every file, those that have not changed from memory."""
        found: dict[str, File | int] = {}
        unread: list[str] = []
        old = known.by_name() if known else {}
        for name, stamp in listed.files():
            if name in old and tuple(old[name][0]) == stamp:
                found[name] = (old[name][1], stamp)
            else:
                unread.append(name)
        progress = None
        if self._narrator is not None:
            progress = _Progress(self._narrator, os.path.basename(root), len(unread))
        children = os.cpu_count() or 1
        if len(unread) >= _WORTH_CHILDREN and children > 1:
            found |= _in_children(root, unread, children, progress)
        else:
            for number, name in enumerate(unread, 1):
                found[name] = reading_twice(os.path.join(root, name))
                if progress and number % BATCH == 0:
                    progress.files(BATCH)
        return found

    def _whole(
        self,
        root: str,
        listed: _Listing,
        files: dict[str, File | int],
        started: int,
        *,
        remember: bool = True,
    ) -> Folder:
        """The manifest of a folder, and all that goes with it."""
        entries: list[str] = []
        contents: list[tuple[Digest, str]] = []
        troubles = list(listed.troubles)
        links: list[tuple[str, str]] = []
        size = 0
        for name, mode in listed.leaves():
            found = files.get(name)
            if found is None:
                link = stat.S_ISLNK(mode)
                links += [(name, _target(os.path.join(root, name)))] if link else []
                entries.append(_entry_of_link(*links[-1]) if link else _entry_of_folder(name))
            elif isinstance(found, int):
                troubles.append(f"`{name}`: {problem_of(found)}")
            else:
                tagged, stamp = Digest(digest.TAG + found[0].hex()), found[1]
                entries.append(
                    _entry_of_file(name, tagged, stamp[1], executable=bool(stamp[4] & stat.S_IXUSR))
                )
                contents.append((tagged, f"{root}/{name}"))
                size += stamp[1]
        text = f'{{"entries":[{",".join(entries)}],"format":"{MANIFEST}"}}'
        manifest = text.encode("utf-8", "surrogatepass")
        whole = digest.of_bytes(manifest)
        if self._cache is not None and remember and listed.is_large and not troubles:
            learned = listed.remembered(files, whole, size, len(contents))
            memory.remember(self._cache, root, learned, read_at=started)
        return Folder(whole, size, len(contents), manifest, tuple(contents), tuple(troubles), tuple(links))


# The canonical JSON of an entry, written out: a hundred thousand are too many for a general encoder.


def _entry_of_file(name: str, its_digest: Digest, size: int, *, executable: bool) -> str:
    mode = "100755" if executable else "100644"
    return f'{{"digest":"{its_digest}","mode":"{mode}","path":{_quoted(name)},"size":{size}}}'


def _entry_of_link(name: str, target: str) -> str:
    return f'{{"mode":"120000","path":{_quoted(name)},"target":{_quoted(target)}}}'


def _entry_of_folder(name: str) -> str:
    return f'{{"mode":"040000","path":{_quoted(name)}}}'


def reading_twice(path: str) -> File | int:
    """Read a file; once more if it changed meanwhile, and then no more."""
    found = _read(path, None)
    return _read(path, None) if found == CHANGED else found


def _read(path: str, progress: Callable[[int], None] | None) -> File | int:
    found = reading.read_small(path)
    return _read_large(path, progress) if found is None else found


def _read_large(path: str, progress: Callable[[int], None] | None) -> File | int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return error.errno or CHANGED
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return SPECIAL
        its_digest = digest.of_descriptor(descriptor, progress=progress)
        after = os.fstat(descriptor)
    except OSError as error:
        return error.errno or CHANGED
    finally:
        os.close(descriptor)
    if stamp_of(before) != stamp_of(after):
        return CHANGED
    return bytes.fromhex(digest.hex_of(its_digest)), stamp_of(after)


# --- many files ---------------------------------------------------------------------------------------


def _in_children(
    root: str, names: Sequence[str], children: int, progress: _Progress | None
) -> dict[str, File | int]:
    """Small files, read by several processes; what those cannot answer is read here."""
    from pathlib import Path

    from mlrun.process import capture_all

    each = -(-len(names) // children)
    shares = [names[at : at + each] for at in range(0, len(names), each)]
    found: dict[str, File | int] = {}
    asked = capture_all(
        [sys.executable, "-I", reading.__file__],
        [b"".join(os.fsencode(name) + b"\0" for name in share) for share in shares],
        variables={},
        cwd=Path(root),
        on_stderr=lambda dots: progress.files(BATCH * len(dots)) if progress else None,
    )
    for share, said in zip(shares, asked, strict=True):
        for name, answer in zip(share, _answers(said, len(share)), strict=True):
            found[name] = reading_twice(os.path.join(root, name)) if answer == CHANGED else answer
    return found


def _answers(said: Captured, count: int) -> list[File | int]:
    """What a child answered; from one that fell, that all is still to be read."""
    if said.exit_code != 0 or len(said.stdout) != ANSWER.size * count:
        return [CHANGED] * count
    return [
        size if inode == -1 else (content, (inode, size, mtime, ctime, mode))
        for content, inode, size, mtime, ctime, mode in ANSWER.iter_unpack(said.stdout)
    ]


class _Progress:
    """How far a reading is, told a few times a second."""

    def __init__(self, narrator: Narrator, name: str, total: int) -> None:
        self._narrator = narrator
        self._name = name
        self._total = total
        self._done = 0
        self._started = self._told = time.monotonic()

    def bytes(self, count: int) -> None:
        """Some more bytes."""
        self._add(count, lambda rate: f"{rate / 1e9:.1f} GB/s")

    def files(self, count: int) -> None:
        """Some more files."""
        self._add(count, lambda rate: f"{rate:,.0f} files/s")

    def _add(self, count: int, shown: Callable[[float], str]) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._told < 0.2 or not self._total:
            return
        self._told = now
        rate = self._done / (now - self._started)
        left = max(0.0, (self._total - self._done) / rate)
        text = f"hashing {self._name}, {shown(rate)}, {left:.0f} s left"
        self._narrator.progress(text, min(1.0, self._done / self._total))


# --- what lies in a folder ----------------------------------------------------------------------------


class _Listing:
    """Names, and five numbers for each (of folders only the mode: theirs change with what lies in them)."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.stamps = array("q")
        self.troubles: list[str] = []

    @property
    def is_large(self) -> bool:
        return len(self.names) >= _WORTH_REMEMBERING[0] or sum(self.stamps[1::5]) >= _WORTH_REMEMBERING[1]

    def equals(self, known: Remembered) -> bool:
        return self.names == known.names and self.stamps == known.stamps

    def files(self) -> list[tuple[str, Stamp]]:
        stamps = self.stamps
        return [
            (name, (stamps[at], stamps[at + 1], stamps[at + 2], stamps[at + 3], stamps[at + 4]))
            for at, name in zip(range(0, len(stamps), 5), self.names, strict=True)
            if not stat.S_ISDIR(stamps[at + 4]) and not stat.S_ISLNK(stamps[at + 4])
        ]

    def leaves(self) -> list[tuple[str, int]]:
        """All but the folders in which something lies, by name, with their modes."""
        parents = {name.rpartition("/")[0] for name in self.names}
        pairs = sorted(zip(self.names, self.stamps[4::5], strict=True))
        return [(name, mode) for name, mode in pairs if not stat.S_ISDIR(mode) or name not in parents]

    def links(self, root: str) -> tuple[tuple[str, str], ...]:
        found = [name for name, mode in zip(self.names, self.stamps[4::5], strict=True) if stat.S_ISLNK(mode)]
        return tuple((name, _target(os.path.join(root, name))) for name in sorted(found))

    def remembered(self, files: dict[str, File | int], whole: Digest, size: int, count: int) -> Remembered:
        """What to keep; the stamps of files are those of their reading."""
        stamps, digests = array("q"), bytearray()
        for at, name in enumerate(self.names):
            found = files.get(name)
            if isinstance(found, tuple):
                digests += found[0]
                stamps.extend(found[1])
            else:
                digests += bytes(32)
                stamps.extend(self.stamps[at * 5 : at * 5 + 5])
        return memory.Remembered(
            digest=bytes.fromhex(digest.hex_of(whole)),
            size=size,
            files=count,
            names=self.names,
            stamps=stamps,
            digests=bytes(digests),
        )


def _list(root: str) -> _Listing:
    """Everything below a folder, with stamps. Links are told and not followed."""
    listing = _Listing()
    names, stamps, troubles = listing.names, listing.stamps, listing.troubles
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                for entry in entries:
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError as error:
                        troubles.append(f"`{folder}{entry.name}`: {error.strerror}")
                        continue
                    name = folder + entry.name
                    names.append(name)
                    if stat.S_ISDIR(status.st_mode):
                        stamps.extend((*_NO_STAMP, stat.S_IFDIR))
                        folders.append(name + "/")
                    else:
                        stamps.extend(stamp_of(status))
        except OSError as error:
            troubles.append(f"`{folder or root}`: {error.strerror}")
    return listing


def _those(root: str, names: Sequence[str], statuses: Sequence[os.stat_result] | None) -> _Listing:
    """Files of a folder, with stamps."""
    listing = _Listing()
    if statuses is not None:
        listing.names += names
        for status in statuses:
            listing.stamps.extend(stamp_of(status))
        return listing
    for name in names:
        try:
            status = os.stat(f"{root}/{name}")
        except OSError as error:
            listing.troubles.append(f"`{name}`: {error.strerror}")
            continue
        listing.names.append(name)
        listing.stamps.extend(stamp_of(status))
    return listing


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""
