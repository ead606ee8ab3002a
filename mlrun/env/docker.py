"""Containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.errors import EnvironmentBuildError

if TYPE_CHECKING:
    from mlrun.env.values import Asked, Visit
    from mlrun.model import Environment, EnvironmentRequest, Job


def read_container(request: EnvironmentRequest) -> Asked:
    """What `docker_env` asks."""
    raise EnvironmentBuildError(
        "the project asks for a container (`docker_env`); containers come in a later release",
        hint="name a `python_env` instead",
        code="docker-not-yet",
        place=request.place,
    )


def enter(environment: Environment, job: Job, visit: Visit) -> Job:
    """The job as it is to be started."""
    raise NotImplementedError


def leave(environment: Environment, visit: Visit) -> None:
    """Remove what is left."""
