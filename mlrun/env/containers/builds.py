"""Images from the project's own Dockerfile, named by all that goes into them: what is unchanged is there.

BuildKit builds where the docker program has it, since the SDK cannot speak its protocol; else the engine's
classic builder does, through the SDK.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from mlrun import digest
from mlrun.digest import hex_of
from mlrun.env.containers import context, dockerfile, images
from mlrun.env.containers.engine import refused, said, status_of
from mlrun.env.shelf import Shelf
from mlrun.errors import EnvironmentBuildError, ProcessError
from mlrun.files import locked
from mlrun.model import Place
from mlrun.process import capture
from mlrun.value import positional_value, value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlrun.env.containers.engine import Address
    from mlrun.env.values import Container, Site
    from mlrun.model import Digest, Image, Narrator

REPOSITORY = "mlrun-build"
"""The repository of built images; their tag is the digest of what they were built from."""

_DOCKERFILE = "mlrun.dockerfile"  # a label: which Dockerfile it was
_STEP = re.compile(r"Step (\d+)/(\d+) : ")
_BUILDKIT_STEP = re.compile(r"#\d+ \[(?:\S+ )?(\d+)/(\d+)\] (.+)")
_LAYER = re.compile(r" ---> ([0-9a-f]{12,64})\s*$")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_QUOTED = 12  # lines of a log in an error


@value
class Recipe:
    """A Dockerfile of the project: `name` relative to it, `path` and `folder` as they are here."""

    name: str
    path: Path
    folder: Path
    text: str
    place: Place | None = None


def recipe(container: Container, directory: Path) -> Recipe:
    """Which Dockerfile is meant, and which folder is its context.

    Raises EnvironmentBuildError (`no-dockerfile`, `no-build-context`).
    """
    folder = directory / (container.build or ".")
    if not folder.is_dir():
        raise EnvironmentBuildError(
            f"`docker_env` builds in the folder `{container.build}`, which does not exist",
            code="no-build-context",
            place=container.place,
        )
    path = directory / container.dockerfile if container.dockerfile else folder / "Dockerfile"
    if not path.is_file() and container.dockerfile and (folder / container.dockerfile).is_file():
        path = folder / container.dockerfile  # as docker-compose has it
    try:
        text = path.read_text("utf-8-sig", "replace")
    except OSError:
        raise EnvironmentBuildError(
            f"there is no {os.path.relpath(path, directory)} to build the image from",
            hint="`dockerfile: path/to/Dockerfile` says where it is, relative to the project",
            code="no-dockerfile",
            place=container.place,
        ) from None
    name = os.path.relpath(path, directory)
    return Recipe(name=name, path=path, folder=folder, text=text, place=container.place)


def built(
    client: Any, where: Address, wanted: Recipe, site: Site, *, narrator: Narrator, refresh: bool
) -> tuple[Image, bool]:
    """The image of a Dockerfile, and whether it was there already.

    With `refresh`, its bases are pulled and every step is done anew. Raises EnvironmentBuildError.
    """
    build = _Build(client, where, wanted, site, narrator)
    key = _key(client, wanted, site)
    lock = site.cache.locks / f"image-{hex_of(key)[:32]}.lock"
    with locked(lock, waiting=lambda _: narrator.say("waiting for another mlrun that builds the same image")):
        found = None if refresh else images.find(client, _tag(key))
        if found is not None:
            return found, True
        build.run(_tag(key), refresh=refresh)
        found = images.find(client, _tag(key))
    if found is None:
        raise EnvironmentBuildError("the image was built, and is not there", code="image-build-failed")
    if (later := _key(client, wanted, site)) != key:  # a base that was pulled is known now
        client.api.tag(found.id, REPOSITORY, hex_of(later)[:32])
    return found, False


def planned(client: Any, wanted: Recipe, site: Site) -> Image | None:
    """The image of a Dockerfile, if it is there. Raises EnvironmentBuildError."""
    return images.find(client, _tag(_key(client, wanted, site)))


def earlier(client: Any, wanted: Recipe) -> Image:
    """The newest image that was built from this Dockerfile, whatever its context was.

    Raises EnvironmentBuildError (`no-earlier-build`).
    """
    label = f"{_DOCKERFILE}={_label(wanted)}"
    found = sorted(client.api.images(filters={"label": label}), key=lambda image: image["Created"])
    for image in reversed(found):
        names = [name for name in image.get("RepoTags") or () if name.startswith(f"{REPOSITORY}:")]
        if names and (known := images.find(client, names[0])):
            return known
    raise EnvironmentBuildError(
        f"--skip-image-build: {wanted.name}, as it is now, was not built yet",
        hint="leave the option out once",
        code="no-earlier-build",
        place=wanted.place,
    )


def _tag(key: Digest) -> str:
    return f"{REPOSITORY}:{hex_of(key)[:32]}"


def _label(wanted: Recipe) -> str:
    return hex_of(digest.of_value([wanted.name, wanted.text]))[:32]


def _key(client: Any, wanted: Recipe, site: Site) -> Digest:
    """The digest of the context, the Dockerfile, and the images that it stands on."""
    known = ((base, images.find(client, base)) for base in dockerfile.bases(wanted.text))
    return digest.of_value(
        {
            "context": context.digest_of(wanted.folder, _files(wanted)),
            "dockerfile": wanted.text,
            "bases": [(base, found.id if found else None) for base, found in known],
            "platform": _platform(site),
        }
    )


def _platform(site: Site) -> str | None:
    return site.caller.variables.get("DOCKER_DEFAULT_PLATFORM")


def _inside(wanted: Recipe) -> str | None:
    """The Dockerfile's path in its context, None where it lies elsewhere."""
    path = os.path.relpath(wanted.path, wanted.folder)
    return None if path.startswith("..") else path


def _files(wanted: Recipe) -> list[str]:
    inside = _inside(wanted)
    own = f"{inside or 'Dockerfile'}{context.IGNORE}"
    ignore = own if (wanted.folder / own).is_file() else context.IGNORE
    return context.files(wanted.folder, ignore=ignore, keep=[inside] if inside else [])


@positional_value
class _Build:
    """One build of one Dockerfile."""

    client: Any
    where: Address
    recipe: Recipe
    site: Site
    narrator: Narrator

    def run(self, tag: str, *, refresh: bool) -> None:
        """Build it. What the builder said is kept when it fails."""
        with_buildkit = _has_buildkit(self.client, self.site)
        self.narrator.say(
            f"building image: {self.recipe.name} ({'BuildKit' if with_buildkit else 'classic builder'})"
        )
        if with_buildkit:
            self._with_buildkit(tag, refresh=refresh)
        else:
            self._classic(tag, refresh=refresh)

    # --- the engine's own builder

    def _classic(self, tag: str, *, refresh: bool) -> None:
        from docker.errors import DockerException

        name = _inside(self.recipe) or ".mlrun.Dockerfile"
        more = {} if _inside(self.recipe) else {name: self.recipe.text.encode()}
        scratch = self.site.cache.temporary
        talk = _Talk(self.narrator)
        try:
            with context.archive(
                self.recipe.folder, _files(self.recipe), scratch=scratch, more=more
            ) as archive:
                said_so_far = self.client.api.build(
                    fileobj=archive,
                    custom_context=True,
                    dockerfile=name,
                    tag=tag,
                    labels={_DOCKERFILE: _label(self.recipe)},
                    rm=True,
                    forcerm=True,
                    nocache=refresh,
                    pull=refresh and not self._stands_on_ours(),
                    platform=_platform(self.site),
                    decode=True,
                )
                if (trouble := talk.listen(said_so_far)) is None:
                    return
        except (DockerException, OSError) as error:
            if status_of(error) is None:
                raise refused(error, "build the image") from error
            raise self._failed(said(error), talk) from error
        self._remove(talk.layers)
        raise self._failed(trouble, talk)

    def _stands_on_ours(self) -> bool:
        """Whether a base is known to this engine alone, so that no registry could be asked for it."""
        for base in dockerfile.bases(self.recipe.text):
            found = images.find(self.client, base)
            if found is not None and found.digest is None:
                return True
        return False

    def _remove(self, layers: list[str]) -> None:
        """A failed build leaves its steps as nameless images; those that were there before stay."""
        from docker.errors import DockerException

        for layer in reversed(layers):
            try:
                self.client.api.remove_image(layer, noprune=True)
            except DockerException:
                return

    # --- BuildKit

    def _with_buildkit(self, tag: str, *, refresh: bool) -> None:
        argv = ["docker", "build", "--progress", "plain", "--file", str(self.recipe.path), "--tag", tag]
        argv += ["--label", f"{_DOCKERFILE}={_label(self.recipe)}"]
        if refresh:
            argv += ["--no-cache"] if self._stands_on_ours() else ["--no-cache", "--pull"]
        variables = {**self.site.caller.variables, "DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}
        if self.where.is_local:
            variables["DOCKER_HOST"] = self.where.url
        talk = _Talk(self.narrator)
        ended = capture(
            [*argv, str(self.recipe.folder)],
            variables=variables,
            cwd=self.recipe.folder,
            on_stderr=lambda chunk: talk.note_buildkit(chunk.decode("utf-8", "replace")),
        )
        if ended.exit_code != 0:
            talk.lines = _ANSI.sub("", (ended.stdout + ended.stderr).decode("utf-8", "replace")).splitlines()
            raise self._failed_in_buildkit(talk)

    def _failed_in_buildkit(self, talk: _Talk) -> EnvironmentBuildError:
        quoted = [match[1] for line in talk.lines if (match := re.match(r" ?> \[[^]]*\] (.+?):?$", line))]
        wheres = [match[1] for line in talk.lines if (match := re.match(r"\S*Dockerfile\S*:(\d+)$", line))]
        errors = [line.partition("ERROR:")[2] for line in talk.lines if "ERROR:" in line]
        reason = (errors or talk.lines or ["it says nothing"])[-1].strip()
        line = (
            int(wheres[-1])
            if wheres
            else dockerfile.line_of(quoted[-1], self.recipe.text)
            if quoted
            else None
        )
        step = next((line.split()[0] for line in talk.lines if re.match(r"#\d+ ERROR", line)), None)
        its_lines = [
            re.sub(r"^#\d+ (\d+\.\d+ )?", "", line)
            for line in talk.lines
            if step and line.startswith(f"{step} ") and not re.match(r"#\d+ (ERROR|sha256|\[)", line)
        ]
        return self._error(reason, line, its_lines, talk)

    # --- complaints

    def _failed(self, reason: str, talk: _Talk) -> EnvironmentBuildError:
        found = dockerfile.instructions(self.recipe.text)
        line = found[talk.step - 1].line if 0 < talk.step <= len(found) else None
        own = [each for each in talk.of_step if each.strip() and not re.match(r" ---> |Removing inter", each)]
        return self._error(reason, line, own, talk)

    def _error(
        self, reason: str, line: int | None, its_lines: list[str], talk: _Talk
    ) -> EnvironmentBuildError:
        key = _key(self.client, self.recipe, self.site)
        log = Shelf(self.site.cache).keep_log(key, [*talk.lines, reason])
        if parse := re.search(r"parse error (?:on )?line (\d+): (.*)", reason):
            line, reason = int(parse[1]), parse[2]
        code, hint = "image-build-failed", None
        if re.search(r"the --mount option requires BuildKit|--(chmod|link) option requires BuildKit", reason):
            hint = "install Docker's buildx plugin (Debian: docker-buildx, or docker-buildx-plugin)"
        elif re.search(
            r"no such host|dial tcp|i/o timeout|failed to resolve source|pull access denied", reason
        ):
            code = "no-image" if "denied" in reason else "pull-failed"
            line = line or dockerfile.line_of("FROM", self.recipe.text)
            base = next((base for base in dockerfile.bases(self.recipe.text) if base in reason), None)
            base = base or ", ".join(dockerfile.bases(self.recipe.text))
            hint = (
                f"it stands on {base}, which could not be fetched: is there a network, and is the name right?"
            )
        elif any(re.search(r"name resolution|Could not resolve|UnknownIssuer", line) for line in its_lines):
            hint = "the build has no network, or does not know the certificate of the one it has"
        shown = its_lines if len(its_lines) <= _QUOTED else ["…", *its_lines[-_QUOTED:]]
        return EnvironmentBuildError(
            f"cannot build the image: {reason[:300]}",
            code=code,
            hint=hint,
            place=Place(file=self.recipe.name, line=line) if line else self.recipe.place,
            details=(*shown, f"the whole log: {log}"),
        )


class _Talk:
    """What a builder says as it goes on: all lines, those of its present step, the images it has made."""

    def __init__(self, narrator: Narrator) -> None:
        self._narrator = narrator
        self._cached = False
        self.lines: list[str] = []
        self.of_step: list[str] = []
        self.layers: list[str] = []
        self.step = 0

    def listen(self, stream: Iterator[dict[str, Any]]) -> str | None:
        """Hear a classic build out; what went wrong, if anything did."""
        for message in stream:
            if "error" in message:
                return str(message["error"]).strip()
            for line in _ANSI.sub("", message.get("stream", "")).splitlines():
                self._note(line)
        return None

    def _note(self, line: str) -> None:
        self.lines.append(line)
        if step := _STEP.match(line):
            self.step, self.of_step, self._cached = int(step[1]), [], False
            self._narrator.progress(f"building image: {line[:60]}", int(step[1]) / int(step[2]))
            return
        self.of_step.append(line)
        self._cached |= "Using cache" in line
        if (layer := _LAYER.match(line)) and not self._cached and self.step > 1:
            self.layers.append(layer[1])

    def note_buildkit(self, text: str) -> None:
        for step in _BUILDKIT_STEP.finditer(text):
            self._narrator.progress(f"building image: {step[3][:60]}", int(step[1]) / int(step[2]))


def _has_buildkit(client: Any, site: Site) -> bool:
    """Whether the docker program is there and can use BuildKit: up to 20.10 by itself, since with buildx.

    Podman's engine builds by itself. `DOCKER_BUILDKIT=0` says no.
    """
    variables = site.caller.variables
    names = [component.get("Name", "") for component in client.version().get("Components") or ()]
    if variables.get("DOCKER_BUILDKIT") == "0" or any("Podman" in name for name in names):
        return False
    try:
        version = capture(["docker", "--version"], variables=variables, timeout=20).text
        found = re.match(r"Docker version (\d+)\.(\d+)", version)
        if found is None:
            return False
        if int(found[1]) < 23:
            return (int(found[1]), int(found[2])) >= (18, 9)
        return capture(["docker", "buildx", "version"], variables=variables, timeout=20).exit_code == 0
    except ProcessError:
        return False
