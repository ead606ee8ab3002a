"""A venv inside an image: what `--env-manager docker` runs a project in.

The environment is resolved and built here as for any run, with all that this implies (its lock, its day, what
was done to get it), and then copied into an image of the same Python. So the image needs no network, no
installer and no credential, and holds exactly what the lock says.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from mlrun import digest
from mlrun.digest import hex_of
from mlrun.env.containers import context, images, leftovers
from mlrun.env.containers.engine import refused
from mlrun.errors import EnvironmentBuildError
from mlrun.files import locked, write_atomic
from mlrun.value import replace, value

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.env.values import Asked, Plan, Site
    from mlrun.model import Digest, Environment, Image, Narrator

REPOSITORY = "mlrun-env"
FOLDER = "/opt/mlrun/env"
"""Where the environment lies in the image."""

BASE = "MLRUN_DOCKER_IMAGE"
"""The variable that names another image to build upon."""

_FORMAT = 1
_QUESTION = "import sys, json; print(json.dumps([sys.version.split()[0], sys.executable, sys.platform]))"
_ASK = f'p=$(command -v python3 || command -v python) && exec "$p" -c "{_QUESTION}"'


@value
class Python:
    """The interpreter of an image: its version, and its path there."""

    version: str
    path: str

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])


def image_for(
    client: Any, asked: Asked, site: Site, *, narrator: Narrator, refresh: bool
) -> tuple[Image, Environment, bool]:
    """The image, the environment that it holds (as it was built here), and whether the image was there.

    Raises EnvironmentBuildError.
    """
    from mlrun.env import venv

    if sys.platform != "linux":
        raise EnvironmentBuildError(
            "`--env-manager docker` copies an environment into a container, which takes one made on Linux",
            hint="name an image in the project (`docker_env`), or build one there (`build: .`)",
            code="not-linux",
        )
    named = site.caller.variables.get(BASE)
    base = _base(client, named, narrator) if named else None
    python = _python_of(client, base, site) if base else None
    wanted = _wanted(asked, python, named)
    environment = venv.ensure(wanted, site, narrator=narrator, refresh=refresh)
    assert environment.python is not None
    minor = ".".join(environment.python.split(".")[:2])
    if base is None:
        base = _base(client, f"python:{minor}-slim", narrator)
        python = _python_of(client, base, site)
    assert python is not None
    if minor != python.minor:
        raise EnvironmentBuildError(
            f"the image {base.name} has Python {python.version}, and the project wants {environment.python}",
            hint=f"`export {BASE}=python:{minor}-slim`, or name another that has Python {minor}",
            code="wrong-python",
        )
    image, reused = _made(client, base, python, environment, site, narrator)
    return image, environment, reused


def planned(client: Any, asked: Asked, site: Site) -> tuple[Plan, Image | None]:
    """What would be built here, and the image of it, if both are there. Raises EnvironmentBuildError."""
    from mlrun.env import venv

    named = site.caller.variables.get(BASE)
    base = images.find(client, named) if named else None
    said = _read(_answers(site)).get(base.id) if base else None
    python = Python(version=said[0], path=said[1]) if said else None
    made = venv.plan(_wanted(asked, python, named), site)
    if base is None and not named and made.python:
        base = images.find(client, f"python:{'.'.join(made.python.split('.')[:2])}-slim")
    return made, images.find(client, _name_of(base, made.key)) if base and made.key else None


def _wanted(asked: Asked, python: Python | None, named: str | None) -> Asked:
    """The environment that is to be built here: for the Python of an image, where none is asked for."""
    wanted = replace(asked, kind="venv", container=None)
    if python and asked.python is None:
        return replace(wanted, python=python.minor, python_from=f"the image {named}")
    return wanted


def _base(client: Any, name: str, narrator: Narrator) -> Image:
    found = images.find(client, name)
    if found is not None:
        return found
    try:
        return images.pull(client, name, narrator=narrator, platform=None, place=None)
    except EnvironmentBuildError as error:
        hint = f"`export {BASE}=…` names another image to build upon, one with a Python"
        raise EnvironmentBuildError(error.message, hint=hint, code=error.code) from error


def _python_of(client: Any, base: Image, site: Site) -> Python:
    """Asked once for each image. Raises EnvironmentBuildError (`no-python`)."""
    file = _answers(site)
    known = _read(file)
    if base.id not in known:
        lock = _lock(site, base.id)
        with locked(lock):
            known[base.id] = _ask(client, base, lock)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(known).encode())
    version, path, _ = known[base.id]
    return Python(version=version, path=path)


def _answers(site: Site) -> Path:
    return site.cache.environments / "image-pythons.json"


def _read(file: Path) -> dict[str, list[str]]:
    try:
        known = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {image: said for image, said in known.items() if isinstance(said, list) and len(said) == 3}


def _ask(client: Any, base: Image, lock: Path) -> list[str]:
    from docker.errors import ContainerError, DockerException

    try:
        said = client.containers.run(
            base.id,
            ["-c", _ASK],
            entrypoint="sh",
            network_mode="none",
            labels=leftovers.labels(lock),
            remove=True,
        )
        version, path, platform = json.loads(said)
    except (ContainerError, ValueError):
        raise EnvironmentBuildError(
            f"the image {base.name} holds no Python to build upon",
            hint=f"`export {BASE}=python:3.11-slim`, or another image with one",
            code="no-python",
        ) from None
    except (DockerException, OSError) as error:
        raise refused(error, f"look into the image {base.name}") from error
    return [version, path, platform]


def _made(
    client: Any, base: Image, python: Python, environment: Environment, site: Site, narrator: Narrator
) -> tuple[Image, bool]:
    assert environment.key is not None
    name = _name_of(base, environment.key)
    lock = _lock(site, name.rpartition(":")[2])
    with locked(lock, waiting=lambda _: narrator.say("waiting for another mlrun that makes the same image")):
        if found := images.find(client, name):
            return found, True
        narrator.say(f"copying the environment into an image of {base.name}")
        _copy(client, base, python, environment, site, name=name, lock=lock)
        found = images.find(client, name)
    assert found is not None
    return found, False


def _name_of(base: Image, key: Digest) -> str:
    made_of = digest.of_value([_FORMAT, base.id, key, os.getuid(), os.getgid()])
    return f"{REPOSITORY}:{hex_of(made_of)[:32]}"


def _lock(site: Site, key: str) -> Path:
    return site.cache.locks / f"image-{key.removeprefix('sha256:')[:32]}.lock"


def _copy(
    client: Any, base: Image, python: Python, environment: Environment, site: Site, *, name: str, lock: Path
) -> None:
    """A container that never starts takes the files in, and becomes the image."""
    from docker.errors import DockerException

    assert environment.location is not None
    location, container = environment.location, None
    own = context.owned_by(os.getuid(), os.getgid())
    repository, _, tag = name.rpartition(":")
    try:
        container = client.api.create_container(base.id, ["true"], labels=leftovers.labels(lock))["Id"]
        with context.archive(
            location,
            _files(location),
            scratch=site.cache.temporary,
            under=FOLDER.lstrip("/"),
            own=own,
            more=_own_files(python),
            links=_links(location, python),
            folders=(FOLDER.lstrip("/"),),
        ) as archive:
            client.api.put_archive(container, "/", archive)
        changes = [f"ENV VIRTUAL_ENV={FOLDER}", f"ENV PATH={FOLDER}/bin:{_path_of(client, base)}"]
        changes += leftovers.unlabelled()
        client.api.commit(container, repository=repository, tag=tag, changes=changes)
    except (DockerException, OSError) as error:
        raise refused(error, "copy the environment into an image") from error
    finally:
        if container is not None:
            client.api.remove_container(container, force=True, v=True)


def _files(location: Path) -> list[str]:
    """All of a venv but what leads to the interpreter here, or is mlrun's own."""
    found = []
    for folder, folders, names in os.walk(location):
        folders.sort()
        inside = os.path.relpath(folder, location)
        found += [os.path.normpath(os.path.join(inside, name)) for name in (*folders, *names)]
    ours = {"pyvenv.cfg", "bin/pip", "bin/pip3", "environment.json", ".complete", ".last-used"}
    return sorted(path for path in found if path not in ours and not _is_interpreter(path))


def _is_interpreter(path: str) -> bool:
    return path.startswith("bin/python")


def _links(location: Path, python: Python) -> dict[str, str]:
    names = [name for name in os.listdir(location / "bin") if _is_interpreter(f"bin/{name}")]
    return {f"{FOLDER.lstrip('/')}/bin/{name}": python.path for name in names}


def _own_files(python: Python) -> dict[str, bytes]:
    home = os.path.dirname(python.path)
    settings = f"home = {home}\ninclude-system-site-packages = false\nversion = {python.version}\n"
    return {f"{FOLDER.lstrip('/')}/pyvenv.cfg": settings.encode()}


def _path_of(client: Any, base: Image) -> str:
    for setting in client.api.inspect_image(base.id)["Config"].get("Env") or ():
        if setting.startswith("PATH="):
            return str(setting.removeprefix("PATH="))
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
