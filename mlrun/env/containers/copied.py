"""`--build-image`: the project copied into an image of its own, where it otherwise would be mounted.

It lies there at the same place as here, and MLflow's folder leads to it, so that a command finds the same
paths either way. What the program makes is brought back when it ends.
"""

from __future__ import annotations

import os
import re
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlrun import digest
from mlrun.digest import hex_of
from mlrun.env.containers import context, images, leftovers
from mlrun.env.containers.engine import refused
from mlrun.env.containers.volumes import MLFLOWS_FOLDER
from mlrun.files import locked

if TYPE_CHECKING:
    from mlrun.env.values import Visit
    from mlrun.model import Image

REPOSITORY = "mlrun-project"

_ADDED, _DELETED = 1, 2  # kinds of change in the engine's interface
_GO_FOLDER = 1 << 31  # how Go's os.FileMode says that it is one


def project_image(client: Any, base: Image, visit: Visit) -> Image:
    """The image with the project in it, made unless it is there. Raises EnvironmentBuildError.

    It is named by the base and by all files that go in: those that git ignores count, those that
    `.dockerignore` names stay out.
    """
    paths = context.files(visit.root)
    owner = (os.getuid(), os.getgid())
    content = context.digest_of(visit.root, paths)
    key = digest.of_value([base.id, content, str(visit.root), str(visit.directory), owner])
    name = f"{REPOSITORY}-{_slug(visit.name)}:{hex_of(key)[:32]}"
    lock = visit.cache.locks / f"image-{hex_of(key)[:32]}.lock"
    with locked(lock):
        found = images.find(client, name)
        if found is None:
            _make(client, base, visit, paths, name, owner, lock)
            found = images.find(client, name)
    assert found is not None
    return found


def _slug(name: str) -> str:
    """What a repository may be called."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "unnamed"


def _make(
    client: Any, base: Image, visit: Visit, paths: list[str], name: str, owner: tuple[int, int], lock: Path
) -> None:
    """A container that never starts takes the files in, and becomes the image."""
    from docker.errors import DockerException

    link = MLFLOWS_FOLDER.lstrip("/")
    repository, _, tag = name.rpartition(":")
    container = None
    try:
        container = client.api.create_container(base.id, ["true"], labels=leftovers.labels(lock))["Id"]
        with context.archive(
            visit.root,
            paths,
            scratch=visit.cache.temporary,
            under=str(visit.root).lstrip("/"),
            own=context.owned_by(*owner),
            links={link: str(visit.directory)},
            folders=(str(visit.root).lstrip("/"),),
        ) as archive:
            client.api.put_archive(container, "/", archive)
        labels = [f'LABEL mlrun.tree="{visit.tree}"', *leftovers.unlabelled()]
        client.api.commit(container, repository=repository, tag=tag, changes=labels)
    except (DockerException, OSError) as error:
        raise refused(error, "copy the project into an image") from error
    finally:
        if container is not None:
            client.api.remove_container(container, force=True, v=True)


def bring_back(client: Any, container: str, root: Path) -> None:
    """Copy what a program made or changed below `root` in its container to the same place here.

    A container that still runs, or a folder that is gone, is the caller's mistake: docker's errors pass.
    """
    made: list[str] = []
    for change in client.api.diff(container) or ():
        path = change["Path"]
        inside = path.startswith(f"{root}/") and not any(path.startswith(f"{above}/") for above in made)
        if not inside or change["Kind"] == _DELETED:
            continue
        chunks, status = client.api.get_archive(container, path)
        if change["Kind"] == _ADDED:
            made.append(path)
        elif status["mode"] & _GO_FOLDER:  # of a folder that was there only what is in it counts
            continue
        with tempfile.TemporaryFile() as buffer:
            buffer.writelines(chunks)
            buffer.seek(0)
            with tarfile.open(fileobj=buffer) as tar:
                tar.extractall(Path(path).parent, filter="data")
