"""The values of this room, and what a kind of environment has to offer.

A builder is a module with two functions; `mlrun.env.BUILDERS` names it, so that nothing is imported before
it is chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from mlrun.model import Resources
from mlrun.value import field, positional_value, value

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.files import Cache
    from mlrun.model import (
        Caller,
        Digest,
        Environment,
        EnvironmentFacts,
        EnvKind,
        Finding,
        Image,
        Narrator,
        Package,
        Place,
    )


@value
class Day:
    """The day whose packages are to be installed.

    `as_of` is UTC text (`2020-08-12T09:00:00Z`), None for now; `why` says who chose it (`--as-of`, `the
    commit's date`). `committed_at` is the commit's own date, where there is a commit.
    """

    as_of: str | None = None
    why: str = "now"
    committed_at: str | None = None


NOW = Day()


@value
class Requirement:
    """One line that pip would take, without its comment (`numpy>=1.21 ; python_version < "3.12"`)."""

    text: str
    place: Place


@value
class LocalProject:
    """A folder of source, or an archive, that is to be installed besides what an index serves.

    `path` is as written, relative to the project. `editable` is None where the project does not say: then
    it is editable in a folder of the user's, and a copy in a checkout that will be removed.
    """

    path: str
    editable: bool | None = False
    extras: str = ""
    place: Place | None = None


@value
class CondaAsked:
    """A conda environment file as it stands: match specs (`numpy=1.19`, `conda-forge::scipy`), channels in
    their order, and the lines of its `pip:` section. `by_hand` says that conda was asked for by its name."""

    path: str
    specs: tuple[Requirement, ...] = ()
    channels: tuple[str, ...] = ()
    pip: tuple[Requirement, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    by_hand: bool = False


@value
class Container:
    """What `docker_env` asks: an image, or a build; `volumes` and `variables` as written.

    `image` is None where one is to be made from the environment that is asked beside it. With `skip_build`,
    the image of an earlier build is taken as it is.
    """

    image: str | None = None
    build: str | None = None
    dockerfile: str | None = None
    volumes: tuple[str, ...] = ()
    variables: tuple[tuple[str, str | None], ...] = ()
    place: Place | None = None
    skip_build: bool = False


@value
class Asked:
    """What a project asks of its environment, read but not resolved.

    `python` is a version or a specifier (`3.10`, `>=3.9,<3.12`), None for any, and `python_from` says where
    it stands. `options` are those of requirement files, by their long names without dashes. `lock` is a lock
    to take instead of resolving (`pylock.toml`, `uv.lock`), `manifest` a `pyproject.toml` whose dependencies
    count; both as paths relative to the project. `files` are all that were read. `adaptations` say, a
    sentence each, where what is asked here is not what the project's file says (a conda package under its
    PyPI name). `exported` is true for the list of a whole machine (`pip freeze`, `conda env export`).
    `content` is the digest of a file that counts as a whole (a manifest, a `setup.py`).
    """

    kind: EnvKind
    summary: str
    python: str | None = None
    python_from: str | None = None
    requirements: tuple[Requirement, ...] = ()
    constraints: tuple[Requirement, ...] = ()
    build_requirements: tuple[Requirement, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    local: tuple[LocalProject, ...] = ()
    lock: str | None = None
    manifest: str | None = None
    files: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    adaptations: tuple[str, ...] = ()
    exported: bool = False
    content: str | None = None
    conda: CondaAsked | None = None
    container: Container | None = None


@value
class Site:
    """Where an environment is wanted: the project's folder, its git tree id, the cache, and who asks.

    `day` is the one whose packages are to be installed.
    """

    directory: Path
    tree: str
    cache: Cache
    caller: Caller
    day: Day = NOW


@value
class Visit:
    """What a container must know of the run that enters it.

    `root` is the top of the checkout, `directory` the project's folder in it, `run_folder` the run's own,
    which holds the metrics file; they are mounted at the same paths. `variables` are those that get in, and
    nothing else does; `arguments` are those of `docker run`. `paths` are inputs that lie outside the
    checkout. `name` and `tree` label a built image.
    """

    run_id: str
    name: str
    tree: str
    root: Path
    directory: Path
    run_folder: Path
    caller: Caller
    cache: Cache
    variables: tuple[tuple[str, str], ...] = ()
    resources: Resources = field(default_factory=Resources)
    arguments: tuple[tuple[str, str | None], ...] = ()
    paths: tuple[Path, ...] = ()
    build_image: bool = False
    skip_image_build: bool = False


def will_be_removed(site: Site) -> bool:
    """Whether the project lies in a checkout of ours: nothing that stays can be linked to it."""
    return site.cache.root in site.directory.parents


def stays_editable(asked: bool | None, site: Site) -> bool:
    """Whether a local project is to be linked to rather than copied; where it does not say, if it can be."""
    return not will_be_removed(site) if asked is None else asked


@value
class Plan:
    """What `ensure` would do. `packages` is their number, where it is known without resolving; `as_of` their
    day, and `as_of_why` who chose it. `key` is that of the environment that would be reused, `image` the
    container image in it, `held` what it holds."""

    kind: EnvKind
    action: Literal["reuse", "build", "none"]
    summary: str
    python: str | None = None
    packages: int | None = None
    as_of: str | None = None
    as_of_why: str | None = None
    key: Digest | None = None
    image: Image | None = None
    held: tuple[Package, ...] = ()


@value
class Entry:
    """A built environment. `size` is in bytes, times are UTC text."""

    key: Digest
    kind: EnvKind
    location: Path
    python: str
    platform: str
    packages: tuple[Package, ...]
    size: int
    created: str
    last_used: str
    asked: str


@positional_value
class Collected:
    """What a collection of garbage did: how many environments it removed, how many bytes it freed."""

    removed: int
    freed: int


class Builder(Protocol):
    """A kind of environment."""

    def plan(self, asked: Asked, site: Site) -> Plan:
        """What `ensure` would do; builds nothing and uses no network."""

    def ensure(self, asked: Asked, site: Site, *, narrator: Narrator, refresh: bool) -> Environment:
        """The environment, built if need be; with `refresh`, resolved anew.

        Raises EnvironmentBuildError.
        """


class Restorer(Protocol):
    """A kind of environment that can be had again from a run's record, where that takes more than a lock."""

    def restore(
        self, facts: EnvironmentFacts, lock: str | None, site: Site, *, narrator: Narrator
    ) -> Environment:
        """The environment of the run, whose lock's text is `lock`. Raises EnvironmentBuildError."""
