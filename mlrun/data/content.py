"""Files and folders into digests, with all cores, and only what has changed since the last time."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from array import array
from typing import TYPE_CHECKING

from blake3 import blake3

from mlrun import digest
from mlrun.data import listing, memory, reading, trees
from mlrun.data.reading import BATCH, CHANGED, SPECIAL, stamp_of
from mlrun.data.trees import MANIFEST, Tree
from mlrun.model import Digest
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mlrun.data import native
    from mlrun.data.listing import File
    from mlrun.data.memory import Remembered
    from mlrun.files import Cache
    from mlrun.model import Narrator

__all__ = ["MANIFEST", "Folder", "Reader"]

_WORTH_REMEMBERING = (200, 16 << 20)
"""Files, or bytes, from which looking up is quicker than reading."""
_WORTH_A_PROGRAM = 1000
"""Files from which starting another program pays."""
_WORTH_CHILDREN = 4000
"""Small files from which reading them in several processes pays for starting these."""


@positional_value
class Folder:
    """A folder as read: its manifest and its files' digests and paths where they were asked for."""

    digest: Digest
    size: int
    count: int
    manifest: bytes | None = None
    contents: tuple[tuple[Digest, str], ...] = ()
    troubles: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    tree: Tree | None = None


class Reader:
    """Reads for one purpose: with a `cache`, from memory where it can; telling a `narrator` how far it is."""

    def __init__(self, cache: Cache | None = None, narrator: Narrator | None = None) -> None:
        self._cache = cache
        self._narrator = narrator

    # --- one file -------------------------------------------------------------------------------------

    def file(self, path: str, status: os.stat_result | None = None) -> File | int:
        """Digest and stamp, or a problem's number; read once more if it changed meanwhile.

        `status` is what it was like a moment ago, where somebody has asked.
        """
        may_be_known = self._cache and (status is None or status.st_size >= _WORTH_REMEMBERING[1])
        if may_be_known and (known := self._known(path)) is not None:
            return known
        started = memory.now_ns()
        found = _read(path, self._progress_of(path))
        if found == CHANGED:
            started = memory.now_ns()
            found = _read(path, None)
        if isinstance(found, tuple) and self._cache is not None and found[1][1] >= _WORTH_REMEMBERING[1]:
            content, stamp = found
            tree = Tree(b"\0", array("q", stamp), content, b"")
            learned = memory.Remembered(digest=content, size=stamp[1], files=1, tree=tree)
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
        if known is None or known.tree.names != b"\0" or tuple(known.tree.stamps) != stamp:
            return None
        return known.digest, stamp

    def _progress_of(self, path: str) -> Callable[[int], None] | None:
        if self._narrator is None:
            return None
        return _Progress(self._narrator, os.path.basename(path), os.path.getsize(path)).bytes

    # --- a folder -------------------------------------------------------------------------------------

    def folder(self, root: str, *, contents: bool) -> Folder:
        """All that lies in a folder; with `contents`, the files themselves and the manifest too."""
        return self._folder(root, None, contents=contents)

    def some(self, root: str, names: Sequence[str], *, contents: bool = True) -> Folder:
        """The same, of a folder in which nothing but these files lies (links are followed)."""
        return self._folder(root, sorted(map(os.fsencode, names)), contents=contents)

    def _folder(self, root: str, names: Sequence[bytes] | None, *, contents: bool) -> Folder:
        started = memory.now_ns()
        found = self._by_program(root, names, started, contents=contents)
        return found or self._by_python(root, names, started, contents=contents)

    def _recall(self, root: str) -> Remembered | None:
        return None if self._cache is None else memory.recall(self._cache, root)

    def _remember(self, root: str, found: Folder, started: int) -> None:
        tree = found.tree
        if tree is None:
            return
        large = tree.count >= _WORTH_REMEMBERING[0] or tree.size >= _WORTH_REMEMBERING[1]
        if self._cache is None or found.troubles or not large:
            return
        whole = bytes.fromhex(digest.hex_of(found.digest))
        learned = memory.Remembered(digest=whole, size=found.size, files=found.count, tree=tree)
        memory.remember(self._cache, root, learned, read_at=started)

    def _by_program(
        self, root: str, names: Sequence[bytes] | None, started: int, *, contents: bool
    ) -> Folder | None:
        """By a program of ours, where that pays and it can be had."""
        if self._cache is None:
            return None
        old = memory.place(self._cache, root)
        if not (_has_many(root, old) if names is None else len(names) >= _WORTH_A_PROGRAM):
            return None
        from mlrun.data import native

        program = native.program(self._cache, self._narrator)
        if program is None:
            return None
        new = self._cache.temporary / f"tree.{os.getpid()}.{started}"
        hear = _Hearing(self._narrator, os.path.basename(root)).hear if self._narrator else None
        proven = started - memory.PROVEN_AFTER
        try:
            answer = native.ask(program, root, names, old=old, new=new, proven=proven, told=hear)
            if answer is None:
                return None
            if names is None and answer.is_whole and not answer.links and not contents:
                found: Folder | None = Folder(_tagged(answer.digest), answer.size, answer.files)
            else:
                found = self._told(root, answer, old if answer.is_same else new, contents=contents)
            if found is not None and not answer.is_same and _is_of(memory.load(old), names):
                if answer.is_whole:
                    memory.adopt(new, old)
                else:
                    self._remember(root, found, started)
            return found
        finally:
            with contextlib.suppress(OSError):
                new.unlink()

    def _told(self, root: str, answer: native.Answer, file: Path, *, contents: bool) -> Folder | None:
        """All that the program found."""
        known = memory.load(file)
        if known is None:
            return None
        if answer.is_whole:
            return _as_remembered(known, root, contents=contents)
        from mlrun.data.native import LARGE

        large = [(at, name) for at, name, problem in known.tree.problems() if problem == LARGE]
        return _written(known.tree.filled((at, self._read_large(root, name)) for at, name in large), root)

    def _read_large(self, root: str, name: bytes) -> File | int:
        path = os.path.join(root, os.fsdecode(name))
        return _reading_twice(path, self._progress_of(path))

    def _by_python(
        self,
        root: str,
        names: Sequence[bytes] | None,
        started: int,
        *,
        contents: bool,
    ) -> Folder:
        known = self._recall(root)
        tree = listing.walk(root) if names is None else listing.those(root, names)
        if known and tree.resembles(known.tree):
            return _as_remembered(known, root, contents=contents)
        answered, unread = listing.known_and_unread(tree, known.tree if known else None)
        paths = tree.split_names()
        answers = self._read_all(root, [paths[at] for at in unread])
        tree = tree.filled([*answered, *zip(unread, answers, strict=True)])
        found = _written(tree, root)
        if _is_of(known, names):
            self._remember(root, found, started)
        return found

    def _read_all(self, root: str, names: Sequence[bytes]) -> list[File | int]:
        progress = None
        if self._narrator is not None:
            progress = _Progress(self._narrator, os.path.basename(root), len(names)).files
        children = os.cpu_count() or 1
        found: list[File | int] = [CHANGED] * len(names)
        if len(names) >= _WORTH_CHILDREN and children > 1:
            found = listing.in_children(root, names, children, progress)
            progress = None
        for at, name in enumerate(names):
            if found[at] == CHANGED:
                found[at] = _reading_twice(os.path.join(root, os.fsdecode(name)), None)
            if progress and at % BATCH == BATCH - 1:
                progress(BATCH)
        return found


def _has_many(root: str, memory_of_it: Path) -> bool:
    """Whether it is worth starting a program: looks no farther than is needed to tell."""
    with contextlib.suppress(OSError):
        if memory_of_it.stat().st_size >= _WORTH_A_PROGRAM * memory.BYTES_A_NAME:
            return True
    seen, folders = 0, [root]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as found:
            for each in found:
                seen += 1
                if seen >= _WORTH_A_PROGRAM:
                    return True
                if each.is_dir(follow_symlinks=False):
                    folders.append(each.path)
    return False


def _is_of(known: Remembered | None, names: Sequence[bytes] | None) -> bool:
    """Whether what is remembered, if anything, is of these files (or all), not of others of the folder."""
    return names is None or known is None or known.tree.split_names() == names


def _tagged(its_digest: bytes) -> Digest:
    return Digest(digest.TAG + its_digest.hex())


def _as_remembered(known: Remembered, root: str, *, contents: bool) -> Folder:
    if contents:
        return _written(known.tree, root)
    return Folder(_tagged(known.digest), known.size, known.files, links=known.tree.links(), tree=known.tree)


def _written(tree: Tree, root: str) -> Folder:
    written = trees.write(tree, root)
    return Folder(
        digest=digest.of_bytes(written.text),
        size=written.size,
        count=len(written.contents),
        manifest=written.text,
        contents=tuple((its_digest, f"{root}/{name}") for its_digest, name in written.contents),
        troubles=written.troubles,
        links=tree.links(),
        tree=tree,
    )


def _reading_twice(path: str, progress: Callable[[int], None] | None) -> File | int:
    """Read a file; once more if it changed meanwhile, and then no more."""
    found = _read(path, progress)
    return _read(path, None) if found == CHANGED else found


def _read(path: str, progress: Callable[[int], None] | None) -> File | int:
    found = reading.read_small(path, blake3())
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


class _Hearing:
    """What the program says of its progress: how many files it will read, and a dot a batch."""

    def __init__(self, narrator: Narrator, name: str) -> None:
        self._narrator = narrator
        self._name = name
        self._said = b""
        self._progress: _Progress | None = None

    def hear(self, said: bytes) -> None:
        """Some more of it."""
        if self._progress is not None:
            self._progress.files(BATCH * len(said))
            return
        self._said += said
        total, newline, dots = self._said.partition(b"\n")
        if newline:
            self._progress = _Progress(self._narrator, self._name, int(total))
            self._progress.files(BATCH * len(dots))
