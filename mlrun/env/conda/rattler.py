"""Conda packages through py-rattler: the only user of `rattler`, which is an extra.

Solving takes records from channels, installing takes an explicit list; the two know nothing of each other, so
that what a lock builds is what a solve builds.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mlrun.env.conda.lock import CondaPackage, public
from mlrun.errors import EnvironmentBuildError
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rattler import ChannelPriority, RepoDataRecord

_QUOTED_LINES = 20


@value
class Solved:
    """What a solve chose. `mixed` says that channels had to be mixed to get there."""

    packages: tuple[CondaPackage, ...]
    mixed: bool = False


def solve(specs: Sequence[str], channels: Sequence[str], *, as_of: str | None, cache: Path) -> Solved:
    """The packages that answer `specs`; `channels` are URLs, the first before the others.

    As in mamba, a package is taken from the first channel that has it at all; where that has no solution,
    from any. With `as_of`, packages that were made later do not count; those that do not say when are old
    and do. Raises EnvironmentBuildError (`cannot-resolve`, `no-channel`).
    """
    from rattler import ChannelPriority
    from rattler.exceptions import SolverError

    try:
        return Solved(packages=_solved(specs, channels, as_of, cache, ChannelPriority.Strict))
    except SolverError as error:
        try:
            packages = _solved(specs, channels, as_of, cache, ChannelPriority.Disabled)
        except SolverError:
            raise _unsolvable(error) from error
        return Solved(packages=packages, mixed=True)


def install(packages: Sequence[CondaPackage], prefix: Path, *, cache: Path) -> None:
    """Make the prefix out of exactly these packages, whose hashes are checked.

    Raises EnvironmentBuildError (`hash-mismatch`, `cannot-install`).
    """
    import rattler
    from rattler.exceptions import InstallerError

    for package in packages:
        _check_file(package)
    work = rattler.install(
        [_record(package) for package in packages],
        prefix,
        cache_dir=cache / "pkgs",
        show_progress=False,
        execute_link_scripts=True,
    )
    try:
        asyncio.run(work)
    except (InstallerError, OSError, ValueError) as error:
        lines = public(str(error)).splitlines()
        if "hash mismatch" in str(error):
            raise EnvironmentBuildError(
                f"a channel serves another file than was locked: {lines[0]}",
                code="hash-mismatch",
                details=tuple(lines[1:_QUOTED_LINES]),
            ) from error
        raise EnvironmentBuildError(
            f"cannot install the conda packages: {lines[0]}",
            hint="check the network, and that the channels still have them",
            code="cannot-install",
            details=tuple(lines[1:_QUOTED_LINES]),
        ) from error


def _solved(
    specs: Sequence[str], channels: Sequence[str], as_of: str | None, cache: Path, priority: ChannelPriority
) -> tuple[CondaPackage, ...]:
    from datetime import datetime

    import rattler
    from rattler.exceptions import FetchRepoDataError, GatewayError, InvalidMatchSpecError

    work = rattler.solve(
        [rattler.Channel(url) for url in channels],
        list(specs),
        gateway=rattler.Gateway(cache_dir=cache / "repodata"),
        virtual_packages=rattler.VirtualPackage.detect(),
        channel_priority=priority,
        exclude_newer=datetime.fromisoformat(as_of) if as_of else None,
        timestamp_policy="allow-missing",
    )
    try:
        records = asyncio.run(work)
    except (GatewayError, FetchRepoDataError, OSError) as error:
        lines = public(str(error)).splitlines()
        raise EnvironmentBuildError(
            f"cannot read a conda channel: {lines[0]}",
            hint="check the network and the names of the channels",
            code="no-channel",
            details=tuple(lines[1:_QUOTED_LINES]),
        ) from error
    except InvalidMatchSpecError as error:
        raise EnvironmentBuildError(f"conda does not understand: {error}", code="bad-conda-spec") from error
    return tuple(sorted((_package(record) for record in records), key=lambda package: package.name))


def _unsolvable(error: Exception) -> EnvironmentBuildError:
    lines = [line for line in public(str(error)).splitlines() if line.strip()]
    reason = lines[0].removeprefix("Cannot solve the request because of: ").rstrip(".")
    return EnvironmentBuildError(
        f"conda has no solution: {reason[:1].lower()}{reason[1:]}",
        hint="`--env-manager venv` takes the packages from PyPI",
        code="cannot-resolve",
        details=tuple(lines[1:_QUOTED_LINES]),
    )


def _package(record: RepoDataRecord) -> CondaPackage:
    sum_ = record.sha256 or record.md5
    return CondaPackage(
        name=record.name.normalized,
        version=str(record.version),
        build=str(record.build),
        subdir=record.subdir,
        url=record.url,
        hash=sum_.hex() if sum_ else None,
    )


def _record(package: CondaPackage) -> RepoDataRecord:
    """A package of an explicit list as rattler would have read it from its channel."""
    from rattler import BuildString, PackageRecord, RepoDataRecord

    is_sha256 = package.hash is not None and len(package.hash) == 64
    sum_ = bytes.fromhex(package.hash) if package.hash else None
    record = PackageRecord(
        package.name,
        package.version,
        BuildString(package.build),
        0,
        package.subdir,
        sha256=sum_ if is_sha256 else None,
        md5=None if is_sha256 else sum_,
    )
    return RepoDataRecord(record, package.url.rpartition("/")[2], package.url, package.channel)


def _check_file(package: CondaPackage) -> None:
    """rattler checks what it downloads, but not what it finds on this machine."""
    if not package.url.startswith("file:") or package.hash is None:
        return
    path = unquote(urlsplit(package.url).path)
    if not os.path.exists(path):
        raise EnvironmentBuildError(f"there is no conda package {path}", code="cannot-install")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256" if len(package.hash) == 64 else "md5").hexdigest()
    if found != package.hash:
        raise EnvironmentBuildError(
            f"{path} is not the package that was locked",
            hint="its channel has replaced it",
            code="hash-mismatch",
        )
