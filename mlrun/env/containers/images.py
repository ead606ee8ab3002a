"""Images: found on the engine, else pulled, and named so that anyone can have the very same one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mlrun.env.containers.engine import refused, said, status_of
from mlrun.errors import EnvironmentBuildError
from mlrun.model import Image

if TYPE_CHECKING:
    from mlrun.model import Narrator, Place

_ID = re.compile(r"(sha256:)?[0-9a-f]{12,64}")
_REGISTRY = re.compile(r"[^/]+[.:][^/]*/|localhost/")


def find(client: Any, name: str) -> Image | None:
    """An image that the engine has already. Raises EnvironmentBuildError."""
    from docker.errors import DockerException

    try:
        return described(name, client.api.inspect_image(name))
    except (DockerException, OSError) as error:
        if status_of(error) in (400, 404):  # 400: no name at all, which pulling explains
            return None
        raise refused(error, f"look for the image {name}") from error


def described(name: str, inspected: dict[str, Any]) -> Image:
    """What the record keeps: its id on this engine, its platform, its digest in a registry if it has one."""
    parts = (inspected.get("Os"), inspected.get("Architecture"), inspected.get("Variant"))
    return Image(
        name=name,
        id=inspected["Id"] if ":" in inspected["Id"] else f"sha256:{inspected['Id']}",
        platform="/".join(part for part in parts if part),
        digest=_digest(name, inspected.get("RepoDigests") or []),
    )


def _digest(name: str, digests: list[str]) -> str | None:
    """The digest under the name that was asked for, rather than under another that has the same image."""
    if "@" in name:
        return name.partition("@")[2]
    repository = repository_of(name)
    for digest in digests:
        known, _, its_digest = digest.partition("@")
        if known == repository or known.endswith(f"/{repository}"):
            return its_digest
    return digests[0].partition("@")[2] if digests else None


def repository_of(name: str) -> str:
    """A name without tag and digest."""
    name = name.partition("@")[0]
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


def has_registry(name: str) -> bool:
    """Whether a name says which registry serves it: `ghcr.io/team/image`, but not `my-image`."""
    return bool(_REGISTRY.match(name))


def pull(client: Any, name: str, *, narrator: Narrator, platform: str | None, place: Place | None) -> Image:
    """Fetch an image from its registry, telling how far it is.

    Raises EnvironmentBuildError: `bad-image-name`, `no-image`, `pull-failed`, `wrong-platform`.
    """
    from docker.errors import DockerException

    if _ID.fullmatch(name) and ("sha256:" in name or len(name) >= 40):
        raise EnvironmentBuildError(
            f"the engine has no image with the id {name}",
            hint="an id cannot be pulled; name the image with its registry",
            code="no-image",
            place=place,
        )
    repository, tag = _repository_and_tag(name)
    narrator.say(f"pulling image {name}")
    progress = _Progress(narrator, name)
    try:
        for line in client.api.pull(repository, tag=tag, stream=True, decode=True, platform=platform):
            if "error" in line:
                raise _not_pulled(name, str(line["error"]), place)
            progress.note(line)
    except (DockerException, OSError) as error:
        raise _not_pulled(name, said(error), place) from error
    image = find(client, name)
    if image is None:
        raise _not_pulled(name, "the engine took it and does not have it", place)
    return image


def _repository_and_tag(name: str) -> tuple[str, str]:
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository_of(repository), digest
    repository = repository_of(name)
    return repository, name[len(repository) + 1 :] or "latest"


def _not_pulled(name: str, reason: str, place: Place | None) -> EnvironmentBuildError:
    """One error for each reason that a registry, or the way to it, may have."""
    message, code, hint = f"cannot pull the image {name}: {_shortened(reason)}", "pull-failed", None
    if re.search(r"invalid reference|repository name must", reason):
        code, hint = "bad-image-name", "names are lower case: `registry/name:tag`"
    elif re.search(r"no matching manifest|does not match the specified platform", reason):
        code, hint = (
            "wrong-platform",
            "the registry has it for other platforms only: `-A platform=linux/amd64`",
        )
    elif re.search(r"no such host|dial tcp|timeout|deadline|connection refused|lookup|pinging", reason):
        hint = "is there a network? an image can also be carried here: `docker save`, `docker load`"
    elif re.search(r"toomanyrequests|rate limit", reason):
        hint = "the registry limits anonymous pulls: `docker login`"
    elif re.search(r"not found|does not exist|denied|manifest unknown|unauthorized", reason):
        code = "no-image"
        login = "`docker login` if it is private"
        hint = (
            login
            if has_registry(name)
            else f"is it spelt right? {login}; `build: .` makes it from a Dockerfile"
        )
    return EnvironmentBuildError(message, hint=hint, code=code, place=place)


def _shortened(reason: str) -> str:
    reason = re.sub(r"^Error response from daemon: |^Get \"?https?://\S+: ", "", reason.strip())
    return reason.partition("\n")[0][:300]


class _Progress:
    """How much of all layers known so far is here; layers announce themselves as they go."""

    def __init__(self, narrator: Narrator, name: str) -> None:
        self._narrator = narrator
        self._name = name
        self._layers: dict[str, tuple[float, float]] = {}

    def note(self, line: dict[str, Any]) -> None:
        layer, detail = line.get("id"), line.get("progressDetail") or {}
        if layer and line.get("status") == "Downloading" and detail.get("total"):
            self._layers[layer] = (detail.get("current", 0), detail["total"])
        elif layer in self._layers and line.get("status") in ("Download complete", "Pull complete"):
            total = self._layers[layer][1]
            self._layers[layer] = (total, total)
        whole = sum(total for _, total in self._layers.values())
        done = sum(current for current, _ in self._layers.values())
        self._narrator.progress(f"pulling {self._name}", done / whole if whole else None)
