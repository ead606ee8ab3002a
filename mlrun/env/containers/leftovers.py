"""What runs and builds that were killed have left on the engine, found by their labels.

A container of ours names the file whose lock its maker holds: when the kernel has freed that, the maker is
gone. Only containers of the same user and machine are looked at; the files of others are not ours to read.
"""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlrun.env.containers.engine import connect
from mlrun.env.containers.usage import note_usage
from mlrun.errors import EnvironmentBuildError
from mlrun.files import is_locked

if TYPE_CHECKING:
    from mlrun.env.containers.engine import Address

RUN = "mlrun.run"
_ALIVE = "mlrun.alive"
_MAKER = "mlrun.maker"


def labels(alive: Path) -> dict[str, str]:
    """For a container that is to go when nobody holds the lock of `alive` any more."""
    return {_ALIVE: str(alive), _MAKER: _maker()}


def unlabelled() -> list[str]:
    """For an image that is made of such a container: containers of others from it are nobody's leftovers."""
    return [f'LABEL {label}=""' for label in (_ALIVE, _MAKER)]


def sweep(client: Any) -> int:
    """Remove the containers whose makers are gone, with their nameless volumes; how many there were."""
    from docker.errors import DockerException

    removed = 0
    with contextlib.suppress(DockerException, OSError):
        for found in client.api.containers(all=True, filters={"label": f"{_MAKER}={_maker()}"}):
            alive = found["Labels"].get(_ALIVE)
            if alive and not is_locked(Path(alive)):
                with contextlib.suppress(DockerException):
                    client.api.remove_container(found["Id"], force=True, v=True)
                    removed += 1
    return removed


def remove(where: Address, name: str) -> dict[str, Any]:
    """Remove a container whose carrier was killed; what it had used until then, where that can be told."""
    from docker.errors import DockerException

    used: dict[str, Any] = {}
    with contextlib.suppress(DockerException, EnvironmentBuildError, OSError):
        client = connect(where)
        with contextlib.suppress(DockerException, OSError):
            note_usage(used, client.api.stats(name, stream=False, one_shot=True))
        client.api.remove_container(name, force=True, v=True)
    return used


def _maker() -> str:
    """A number of a user means somebody only on one machine."""
    return f"{os.getuid()}@{platform.node()}"
