"""Where a run's files lie: what a record calls them, and which folders hold more than one thing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlrun.model import Caller
    from mlrun.recording import Prepared


class Surroundings:
    """Of one run; all paths are real ones."""

    def __init__(self, prepared: Prepared, caller: Caller) -> None:
        self.snapshot = prepared.snapshot
        self.root = os.path.realpath(prepared.snapshot.root)
        self.directory = os.path.realpath(prepared.snapshot.directory)
        self._home = caller.variables.get("HOME")
        self.secrets = tuple(each.text for each in prepared.spec.parameters if each.secret and each.text)

    def is_secret(self, path: str) -> bool:
        """Whether the value of a secret parameter can be read in it, or it is what one names."""
        return any(secret in path or os.path.realpath(secret) == path for secret in self.secrets)

    def shown(self, path: str) -> str:
        """Relative to the project where it lies in it."""
        inside = path.startswith(f"{self.directory}/")
        return path[len(self.directory) + 1 :] if inside else path

    def mixed_folders(self) -> frozenset[str]:
        """Folders that hold more than one thing: the project's, those above, a home, places for anything."""
        found = {self.directory, self.root, "/", "/tmp", "/var/tmp", "/home", "/data", "/mnt"}  # noqa: S108
        found.update(str(folder) for folder in Path(self.directory).parents)
        if self._home:
            found.update((self._home, os.path.realpath(self._home)))
        return frozenset(found)
