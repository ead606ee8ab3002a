"""The values of this room, and what a kind of environment has to offer.

A builder is a module with two functions; `mlrun.env.BUILDERS` names it, so that nothing is imported before
it is chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from mlrun.value import value

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.files import Cache
    from mlrun.model import Caller, Digest, Environment, EnvKind, Finding, Narrator, Package, Place


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
class Asked:
    """What a project asks of its environment, read but not resolved.

    `python` is a version or a specifier (`3.10`, `>=3.9,<3.12`), None for any, and `python_from` says where
    it stands. `options` are those of requirement files, by their long names without dashes. `lock` is a lock
    to take instead of resolving (`pylock.toml`, `uv.lock`), `manifest` a `pyproject.toml` whose dependencies
    count; both as paths relative to the project. `files` are all that were read.
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


@value
class Site:
    """Where an environment is wanted: the project's folder, its git tree id, the cache, and who asks."""

    directory: Path
    tree: str
    cache: Cache
    caller: Caller


def will_be_removed(site: Site) -> bool:
    """Whether the project lies in a checkout of ours: nothing that stays can be linked to it."""
    return site.cache.root in site.directory.parents


def stays_editable(asked: bool | None, site: Site) -> bool:
    """Whether a local project is to be linked to rather than copied; where it does not say, if it can be."""
    return not will_be_removed(site) if asked is None else asked


@value
class Plan:
    """What `ensure` would do. `packages` is their number, where it is known without resolving."""

    kind: EnvKind
    action: Literal["reuse", "build", "none"]
    summary: str
    python: str | None = None
    packages: int | None = None


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


class Collected(NamedTuple):
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
