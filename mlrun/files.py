"""Paths of ours and the few ways in which we write: whole, or not at all.

`Home` and `Cache` know every folder that mlrun owns. Everything built follows one
idiom, `build_once`: look, lock, look again, build under a temporary name on the same file system, mark,
rename; on any exception remove. POSIX-only calls (flock, fsync of directories) stay in this file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun.errors import StoreError
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_HOME_README = """\
This folder belongs to mlrun: the records of your runs and what they made.

  runs/      one folder a run: record.json, output.log, metrics.jsonl    the truth; delete with `mlrun rm`
  objects/   files by digest, referred to by records                     clean with `mlrun gc`
  index.db   an index of runs/                                           may be deleted, is rebuilt
  bundles/   records of cached steps, many in a file                     laid out into runs/ by readers
  unindexed/ notes of what the index has still to take in                go with the index
  cached/    which runs need not be made again                           may be deleted, is filled again
"""
_CACHE_README = """\
This folder belongs to mlrun: environments, clones and checkouts. All of it may be deleted at any time
while no run is in progress; what is needed is built again.
"""
_CACHEDIR_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# See https://bford.info/cachedir/\n"
_IGNORE_ALL = "*\n"  # a home or a cache inside a project is no part of its source
_FICLONE = 0x40049409  # linux/fs.h: share a file's extents, copy on write


@positional_value
class Home:
    """Every path in the folder that holds the store. Records are not a cache."""

    root: Path

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def index(self) -> Path:
        return self.root / "index.db"

    @property
    def index_lock(self) -> Path:
        """Held by whoever brings the index up to date."""
        return self.root / "index.lock"

    @property
    def unindexed(self) -> Path:
        """Notes of records that the index does not know yet: writers leave them, readers take them in."""
        return self.root / "unindexed"

    @property
    def bundles(self) -> Path:
        """Records of cached steps, many in a file, to which readers give folders of their own."""
        return self.root / "bundles"

    @property
    def cached(self) -> Path:
        """Which runs can stand in for others, by what decides their results; filled from them if lost."""
        return self.root / "cached"

    @property
    def garbage_lock(self) -> Path:
        return self.root / "gc.lock"

    @property
    def temporary(self) -> Path:
        """For what is being written, on the same file system as the rest."""
        return self.root / "tmp"

    @property
    def trash(self) -> Path:
        return self.root / "trash"

    def run(self, run_id: str) -> RunPaths:
        return RunPaths(Path(f"{self.root}/runs/{run_id[:2]}/{run_id}"))

    def object(self, hexadecimal: str) -> Path:
        return Path(f"{self.root}/objects/{hexadecimal[:2]}/{hexadecimal[2:]}")

    def prepare(self) -> None:
        """Make the folders, and say whose they are.

        Raises StoreError where the place cannot be written.
        """
        if self.runs.is_dir() and self.objects.is_dir() and self.temporary.is_dir():
            return
        with _as_store_error(self.root, "MLRUN_HOME"):
            for folder in (self.runs, self.objects, self.temporary):
                folder.mkdir(parents=True, exist_ok=True)
            _label(self.root, {"README": _HOME_README, ".gitignore": _IGNORE_ALL})


@positional_value
class RunPaths:
    """The files of one run."""

    root: Path

    @property
    def record(self) -> Path:
        return self.root / "record.json"

    @property
    def log(self) -> Path:
        return self.root / "output.log"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def cache(self) -> Path:
        """What the run saw and left, of one that can stand in for another."""
        return self.root / "cache.json"

    @property
    def mlflow(self) -> Path:
        """What the program reported through MLflow, as it came."""
        return self.root / "mlflow"

    @property
    def alive(self) -> Path:
        """Locked for as long as the process that runs it lives: a free lock of a `running` run means lost."""
        return self.root / "alive"


@positional_value
class Cache:
    """Every path in the folder of what can be built again. Buckets carry their format's version."""

    root: Path

    @property
    def environments(self) -> Path:
        return self.root / "envs-v1"

    @property
    def repositories(self) -> Path:
        """Bare mirrors of git URLs."""
        return self.root / "git-v1"

    @property
    def snapshots(self) -> Path:
        """Git objects and indexes made while pinning directories."""
        return self.root / "trees-v1"

    @property
    def checkouts(self) -> Path:
        """A folder a run, for those that do not run in place."""
        return self.root / "work-v1"

    @property
    def tables(self) -> Path:
        """Small tables that went into runs, by their digests."""
        return self.root / "tables-v1"

    @property
    def stamps(self) -> Path:
        """What files were like when they were last hashed."""
        return self.root / "stat-v1"

    @property
    def texts(self) -> Path:
        """YAML files as they were understood."""
        return self.root / "yaml-v1"

    @property
    def hashers(self) -> Path:
        """The program that reads folders of many files, compiled for this machine."""
        return self.root / "hash-v1"

    @property
    def inputs(self) -> Path:
        """Outputs of runs that go into others by their names, as they lie in the store."""
        return self.root / "inputs-v1"

    @property
    def stand_ins(self) -> Path:
        """What takes conda's place for MLflow: its program, and the environments that it was asked for."""
        return self.root / "conda-v1"

    @property
    def observers(self) -> Path:
        """The library that tells which files a program opens, compiled for this machine."""
        return self.root / "observe-v1"

    @property
    def packages(self) -> Path:
        """What uv keeps for callers who have no cache of their own."""
        return self.root / "uv"

    @property
    def conda(self) -> Path:
        """Conda packages as they were fetched, and what their channels hold."""
        return self.root / "conda"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def temporary(self) -> Path:
        return self.root / "tmp"

    @property
    def trash(self) -> Path:
        return self.root / "trash"

    def prepare(self) -> None:
        """Make the folders, and mark them as a cache.

        Raises StoreError where the place cannot be written.
        """
        if self.locks.is_dir() and self.temporary.is_dir():
            return
        with _as_store_error(self.root, "MLRUN_CACHE"):
            for folder in (self.root, self.locks, self.temporary):
                folder.mkdir(parents=True, exist_ok=True)
            _label(
                self.root,
                {"README": _CACHE_README, "CACHEDIR.TAG": _CACHEDIR_TAG, ".gitignore": _IGNORE_ALL},
            )


def locate(variables: Mapping[str, str]) -> tuple[Home, Cache]:
    """Home and cache, from `MLRUN_HOME` and `MLRUN_CACHE`, else the platform's user folders.

    Linux follows the XDG base directory specification, macOS `~/Library`. Raises StoreError (`no-home`)
    where the user has no folder.
    """
    if sys.platform == "darwin":
        data, cache = "Library/Application Support", "Library/Caches"
    else:
        data, cache = ".local/share", ".cache"
    own = (variables.get("MLRUN_HOME"), variables.get("MLRUN_CACHE"))
    return (
        Home(_expanded(own[0]) if own[0] else _of_user(variables, "XDG_DATA_HOME", data) / "mlrun"),
        Cache(_expanded(own[1]) if own[1] else _of_user(variables, "XDG_CACHE_HOME", cache) / "mlrun"),
    )


def _expanded(path: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))


def _of_user(variables: Mapping[str, str], variable: str, folder: str) -> Path:
    named = _absolute(variables.get(variable)) if sys.platform != "darwin" else None
    if named is not None:
        return named
    user = _absolute(variables.get("HOME")) or _absolute(os.path.expanduser("~"))
    if user is None:  # a number without a name: `docker run --user 12345`
        raise StoreError(
            "cannot tell where your home folder is",
            hint="set HOME, or both MLRUN_HOME and MLRUN_CACHE",
            code="no-home",
        )
    return user / folder


def _label(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        if not (folder / name).exists():
            write_atomic(folder / name, text.encode())


def _absolute(value: str | None) -> Path | None:
    """The specification says to ignore relative paths."""
    return Path(value) if value and os.path.isabs(value) else None


@contextlib.contextmanager
def _as_store_error(root: Path, variable: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write to {root}: {error.strerror or error}",
            hint=f"set {variable} to a folder that you can write to",
            code="store-not-writable",
        ) from error


# --- writing ------------------------------------------------------------------------------------------


def write_atomic(path: Path, data: bytes, *, sync: bool = False, mode: int = 0o644) -> None:
    """Replace a file's content in one step; with `sync`, so that it survives a power cut.

    Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        _fill(descriptor, data, sync=sync)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if sync:
        sync_folder(path.parent)


def write_new(path: str | Path, data: bytes, *, sync: bool) -> None:
    """A file in a folder that nobody sees yet. Raises OSError."""
    _fill(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), data, sync=sync)


def _fill(descriptor: int, data: bytes, *, sync: bool) -> None:
    """Write all of it, and close."""
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tail(path: Path, size: int) -> bytes:
    """The last `size` bytes of a file. Raises OSError."""
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - size))
        return file.read()


def sync_folder(path: Path) -> None:
    """Make a rename in this folder durable; file systems that cannot are let be."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def let_run(path: Path) -> None:
    """Make a program of a file again: whoever may read it may run it."""
    mode = path.stat().st_mode
    path.chmod(mode | (mode & 0o444) >> 2)


def copy_file(source: Path, destination: Path) -> None:
    """Copy content and permission bits, sharing the extents where the file system can.

    Raises OSError; FileExistsError where `destination` exists.
    """
    with open(source, "rb") as reader, open(destination, "xb") as writer:
        try:
            if sys.platform != "linux":
                raise OSError(errno.EOPNOTSUPP, "no FICLONE")
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:
            while block := reader.read(1 << 20):
                writer.write(block)
        os.fchmod(writer.fileno(), stat.S_IMODE(os.fstat(reader.fileno()).st_mode))


def remove_tree(path: Path, *, trash: Path) -> None:
    """Remove a file or folder so that it is gone at once: renamed away first, then deleted.

    What cannot be deleted (read-only folders are made writable and tried again) stays in `trash`.
    `trash` must lie on the same file system.
    """
    trash.mkdir(parents=True, exist_ok=True)
    grave = trash / f"{path.name}.{os.getpid()}.{time.monotonic_ns()}"
    try:
        os.rename(path, grave)
    except FileNotFoundError:
        return
    _delete(grave)


def empty_trash(trash: Path) -> None:
    """Try again to delete what an earlier removal left behind."""
    with contextlib.suppress(FileNotFoundError):
        for entry in list(trash.iterdir()):
            _delete(entry)


def _delete(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        with contextlib.suppress(OSError):
            path.unlink()
        return
    if _is_removed(path):
        return
    import shutil  # and with it three libraries that compress: not for a handful of plain files

    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        for folder, _, _ in os.walk(path):
            with contextlib.suppress(OSError):
                os.chmod(folder, 0o700)
        shutil.rmtree(path, ignore_errors=True)


def _is_removed(folder: Path) -> bool:
    """Whether a folder is gone now: one in which there was no other could be emptied."""
    try:
        with os.scandir(folder) as found:
            for each in found:
                os.unlink(each.path)
        os.rmdir(folder)
    except OSError:
        return False
    return True


# --- locking ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(path: Path, *, waiting: Callable[[float], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock on `path` (made where missing); the kernel frees it if we die.

    `waiting` is called once, after a second, when somebody else holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _wait_for(descriptor, waiting)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, waiting: Callable[[float], None] | None) -> None:
    if try_lock(descriptor):
        return
    started = time.monotonic()
    while time.monotonic() - started < 1.0:
        time.sleep(0.02)
        if try_lock(descriptor):
            return
    if waiting is not None:
        waiting(time.monotonic() - started)
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file if it is free."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Whether some living process holds the lock; False where there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)


def build_once(
    final: Path,
    *,
    lock: Path,
    temporary: Path,
    trash: Path,
    build: Callable[[Path], None],
    marker: str = ".complete",
    waiting: Callable[[float], None] | None = None,
) -> bool:
    """Make the folder `final` by `build(scratch)` unless it is complete; True if it was built now.

    A folder counts only when it holds `marker`, which is written (and synced) last, before the rename.
    However we die, the next caller finds either nothing or the whole. `temporary` and `trash` must lie
    on the file system of `final`. Whatever `build` raises passes through, after the scratch is removed.
    """
    if (final / marker).exists():
        return False
    with locked(lock, waiting=waiting):
        if (final / marker).exists():
            return False
        if final.exists():
            remove_tree(final, trash=trash)
        temporary.mkdir(parents=True, exist_ok=True)
        scratch = temporary / f"{final.name}.{os.getpid()}.{time.monotonic_ns()}"
        try:
            build(scratch)
            write_atomic(scratch / marker, b"", sync=True)
            final.parent.mkdir(parents=True, exist_ok=True)
            os.rename(scratch, final)
            sync_folder(final.parent)
        except BaseException:
            remove_tree(scratch, trash=trash)
            raise
    return True
