"""Where runs are looked for: what several looks of one process have in common is learned once."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar, cast

from mlrun import data, source
from mlrun.source.listing import Listed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlrun.files import Cache
    from mlrun.model import Caller, Snapshot
    from mlrun.store import Store

T = TypeVar("T")

LEFT_BY_TOOLS = frozenset(
    (
        *("__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints", ".DS_Store"),
        *(".git", ".hg", ".venv", "venv", ".tox", ".nox", ".idea", ".vscode", ".coverage", ".hypothesis"),
    )
)
"""Names that say nothing of what a run would find: caches, environments, settings of editors."""


class Site:
    """The source, the store, and the caller of some looks.

    What is learned of the source holds for as long as nothing runs in it: `renewed` begins afresh.
    """

    def __init__(self, snapshot: Snapshot, store: Store, *, caller: Caller, cache: Cache) -> None:
        self.snapshot = snapshot
        self.store = store
        self.caller = caller
        self.cache = cache
        self.reader = data.Reader(cache)
        self._learned: dict[object, object] = {}
        self.root = os.path.realpath(snapshot.root)
        self.directory = os.path.realpath(snapshot.directory)
        self._inside = f"{self.directory.rstrip('/')}/"

    def renewed(self, snapshot: Snapshot | None = None) -> Site:
        """The same place, looked at anew; with a snapshot, as it is by now."""
        return Site(snapshot or self.snapshot, self.store, caller=self.caller, cache=self.cache)

    def once(self, what: object, learn: Callable[[], T]) -> T:
        """What does not change from look to look, learned at the first."""
        if what not in self._learned:
            self._learned[what] = learn()
        return cast("T", self._learned[what])

    def holds(self, path: str) -> bool:
        """Whether a path, relative to the project, is that of a file of the tree, or of a folder of some."""
        path = os.path.normpath(path)
        return path == "." or path in self._paths

    @cached_property
    def _paths(self) -> frozenset[str]:
        paths = {each.path for each in self.inside}
        folders = {path.rpartition("/")[0] for path in paths}
        while folders:
            paths |= folders
            folders = {path.rpartition("/")[0] for path in folders} - paths - {""}
        return frozenset(paths)

    @cached_property
    def listed(self) -> tuple[Listed, ...]:
        """Every file of the source's tree. Raises SourceError."""
        return source.listed(self.snapshot, caller=self.caller, cache=self.cache)

    @cached_property
    def inside(self) -> tuple[Listed, ...]:
        """Those of the project's folder, relative to it. Raises SourceError."""
        folder = self.snapshot.subdirectory
        if not folder:
            return self.listed
        cut = len(folder) + 1
        return tuple(
            Listed((each.path[cut:], each.mode, each.id))
            for each in self.listed
            if each.path.startswith(f"{folder}/")
        )

    @cached_property
    def held(self) -> frozenset[str]:
        """The absolute paths of what the source's tree holds. Raises SourceError."""
        return frozenset(f"{self.root}/{each.path}" for each in self.listed)

    @cached_property
    def beside(self) -> tuple[str, ...]:
        """What git ignores in the project's folder, but what only tools leave there. Raises SourceError."""
        ours = tuple(f"{os.path.realpath(each.root)}/" for each in (self.store.home, self.cache))
        found = source.ignored(self.snapshot, caller=self.caller, cache=self.cache)
        return tuple(
            path
            for path in found
            if not left_by_tools(path)
            and not f"{self.directory}/{path}/".startswith(ours)
            and not any(each.startswith(f"{self.directory}/{path}") for each in ours)
            and not os.path.exists(f"{self.directory}/{path}/pyvenv.cfg")
        )

    @cached_property
    def overlooked(self) -> tuple[str, ...]:
        """What git was told not to look at, so that the tree says nothing of it. Raises SourceError."""
        return source.overlooked(self.snapshot, caller=self.caller, cache=self.cache)

    # --- paths that mean the same elsewhere

    def shown(self, path: str) -> str:
        """Relative to the project where it lies in the checkout, else as it is."""
        if path.startswith(self._inside):  # as nearly all are
            return os.path.normpath(path[len(self._inside) :])
        if path == self.root or path.startswith(f"{self.root}/"):
            return os.path.relpath(path, self.directory)
        return path

    def absolute(self, shown: str) -> str:
        """Where that is here."""
        return os.path.normpath(os.path.join(self.directory, shown))

    def project(self) -> Path:
        """The project's folder, as it is called."""
        return self.snapshot.directory


def left_by_tools(path: str) -> bool:
    """Whether a relative path is one of what tools leave behind."""
    parts = path.rstrip("/").split("/")
    return not LEFT_BY_TOOLS.isdisjoint(parts) or parts[-1].endswith((".pyc", ".egg-info", ".swp", "~"))
