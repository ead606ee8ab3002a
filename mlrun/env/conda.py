"""Real conda environments."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.model import Caller, EnvironmentRequest


def is_wanted(request: EnvironmentRequest, directory: Path, caller: Caller) -> bool:  # noqa: ARG001  to come
    """Whether a conda is at hand and the project's file needs it."""
    return False
