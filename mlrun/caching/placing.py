"""Outputs of an earlier run, put back where they are missing or changed: each whole, or not at all.

What is put back is made ready in the store's scratch folder and renamed, so that a process that is killed
leaves nothing half done, and nothing of ours in the project. Nothing is written through a link, and what no
run made is never removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import data
from mlrun.caching.patterns import covering
from mlrun.caching.values import Return
from mlrun.data.names import is_pattern
from mlrun.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlrun.caching.site import Site
    from mlrun.caching.values import Case, Guard
    from mlrun.model import Artifact, Results
    from mlrun.store import Store


# --- what there is to do ----------------------------------------------------------------------------------


def missing(results: Results, guard: Guard, case: Case, site: Site) -> tuple[tuple[Return, ...], str | None]:
    """Of a run's declared outputs, those that are to be put back; or why that cannot be done.

    Whatever is noted of the run, nothing is written but what this one declares to make.
    """
    returns = []
    own = [spec.path for spec in case.prepared.spec.outputs]
    is_meant = None
    for output in results.outputs:
        if not output.declared:
            continue
        if output.path not in own:
            is_meant = is_meant or _meaning(own, site)
            if not is_meant(output.path):
                return (), f"`{output.path}` is no output of it"
        why = _lost(output, site.store)
        if why is not None:
            return (), why
        executable = output.path in guard.executable
        path = site.absolute(output.path)
        if _is_there(output, path, site, executable=executable):
            continue
        why = _in_the_way(output, path, site)
        if why is not None:
            return (), why
        assert output.digest is not None
        returns.append(
            Return(
                path=output.path,
                digest=output.digest,
                tree=output.tree,
                executable=executable,
                replaces=os.path.lexists(path),
            )
        )
    return tuple(returns), None


def _meaning(own: Sequence[str], site: Site) -> Callable[[str], bool]:
    """Whether one of a run's own outputs is a path by another spelling, or a pattern for it; of patterns, one
    that does not lead out of the project's folder means nothing outside."""
    words = [os.path.relpath(site.absolute(each), site.directory) for each in own]
    patterns = [word for word in words if is_pattern(word)]
    inside = covering(word for word in patterns if not word.startswith("../"))
    outside = covering(word for word in patterns if word.startswith("../"))

    def is_meant(path: str) -> bool:
        shown = os.path.relpath(site.absolute(path), site.directory)
        return shown in words or (outside if shown.startswith("../") else inside)(shown)

    return is_meant


def _lost(output: Artifact, store: Store) -> str | None:
    with contextlib.suppress(StoreError):
        if output.digest is not None and store.objects.has(output.digest):
            whole = output.stored or not output.tree or store.objects.has_files_of(output.digest)
            return None if whole else f"files of its output `{output.path}` are not in the store"
    return f"its output `{output.path}` is not in the store any more"


def _is_there(output: Artifact, path: str, site: Site, *, executable: bool) -> bool:
    try:
        if stat.S_ISLNK(os.lstat(path).st_mode):  # no run that is kept made a link
            return False
    except (OSError, ValueError):
        return False
    found = data.describe(
        Path(path), shown=output.path, kind=output.kind, declared=True, reader=site.reader, contents=False
    ).artifact
    if (found.digest, found.tree) != (output.digest, output.tree):
        return False
    return output.tree or executable == found.executable


def _in_the_way(output: Artifact, path: str, site: Site) -> str | None:
    """What keeps an output from being put back: links on the way to it, and what no run made."""
    why = blocked(path, site)
    if why is not None:
        return why
    if os.path.islink(path) or not os.path.isdir(path):
        return None
    if not output.tree:
        return f"`{output.path}` is a folder now"
    assert output.digest is not None
    try:
        known = {entry.path for entry in site.store.objects.entries(output.digest)}
    except StoreError:
        return f"its output `{output.path}` is not in the store any more"
    known |= {part for each in known for part in _above(each)}
    for folder, folders, names in os.walk(path):
        for name in (*folders, *names):
            relative = os.path.relpath(f"{folder}/{name}", path)
            if relative not in known:
                return f"`{output.path}` holds `{relative}`, which it did not make"
    return None


def blocked(path: str, site: Site) -> str | None:
    """What lies between the project's folder and a place in it, and is no folder."""
    at = os.path.dirname(path)
    while at.startswith(f"{site.directory}/"):
        if os.path.islink(at):
            return f"`{site.shown(at)}` is a link, and `{site.shown(path)}` lies behind it"
        if os.path.lexists(at) and not os.path.isdir(at):
            return f"`{site.shown(at)}` is no folder, and `{site.shown(path)}` belongs into it"
        at = os.path.dirname(at)
    return None


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:at]) for at in range(1, len(parts))]


# --- doing it ---------------------------------------------------------------------------------------------


def put_back(returns: tuple[Return, ...], site: Site) -> None:
    """Raises StoreError where something is not in the store, damaged, or cannot be written."""
    for each in returns:
        destination = Path(site.absolute(each.path))
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            _place(each, destination, site.store)
        except OSError as error:
            raise StoreError(
                f"cannot put back `{each.path}`: {error.strerror}", code="cannot-put-back"
            ) from error


def _place(each: Return, destination: Path, store: Store) -> None:
    """By way of a scratch name: in the store where that is the same file system, else beside."""
    name = f"returned.{os.getpid()}.{time.monotonic_ns()}"
    scratch = store.home.temporary / name
    try:
        _fetch(each, scratch, store)
        try:
            _swap(scratch, destination)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            beside = destination.with_name(f".mlrun.{name}")
            try:
                _fetch(each, beside, store)
                _swap(beside, destination)
            finally:
                _discard(beside)
    finally:
        _discard(scratch)


def _fetch(each: Return, scratch: Path, store: Store) -> None:
    if each.tree:
        store.objects.fetch_tree(each.digest, scratch)
    else:
        store.objects.fetch(each.digest, scratch)
        if each.executable:
            mode = stat.S_IMODE(os.stat(scratch).st_mode)
            os.chmod(scratch, mode | (mode & 0o444) >> 2)


def _swap(scratch: Path, destination: Path) -> None:
    """A folder cannot replace one that holds something: the old one steps aside first."""
    if destination.is_dir() and not destination.is_symlink():
        aside = scratch.with_name(f"{scratch.name}.old")
        os.rename(destination, aside)
        try:
            os.rename(scratch, destination)
        except OSError:
            os.rename(aside, destination)
            raise
        _discard(aside)
    elif scratch.is_dir() and os.path.lexists(destination):
        os.unlink(destination)
        os.rename(scratch, destination)
    else:
        os.replace(scratch, destination)


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
