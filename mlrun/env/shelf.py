"""Built environments on disk, and what led to them.

envs-v1/<key>/             a virtual environment, and in it
                           pylock.toml, environment.json, .complete (written last), .last-used
envs-v1/locks/pylock.*.toml  locks of past runs, from which one was built again
envs-v1/asked/<key>.json   what a project asked, by its digest → the environment that answers it
envs-v1/logs/<key>.log     what uv said when that failed
envs-v1/interpreters.json  what interpreters said of themselves
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

from mlrun.digest import TAG, hex_of
from mlrun.env.values import Collected, Entry
from mlrun.errors import UsageError
from mlrun.files import Cache, is_locked, locked, remove_tree, write_atomic
from mlrun.model import Digest, Finding, Package
from mlrun.pattern import pattern
from mlrun.value import positional_value, value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KEY_LENGTH = 32
_FOLDER = pattern(rf"[0-9a-f]{{{_KEY_LENGTH}}}")
_SCRATCH = pattern(rf"(resolve-)?[0-9a-f]{{{_KEY_LENGTH}}}\.\d+\.\d+")
_STALE_SCRATCH_SECONDS = 24 * 3600.0
_DAY = 24 * 3600.0


@value
class Built:
    """What `environment.json` says of an environment."""

    python: str
    interpreter: str
    stamp: tuple[int, ...]
    platform: str
    created: str
    asked: str
    packages: tuple[Package, ...]
    distributions: tuple[str, ...] = ()


@value
class Answer:
    """Which environment answers a request, when it was resolved, its lock, and what was noticed.

    `as_of` is the day whose packages it holds, `as_of_why` who chose it; `adaptations` say what was done that
    was not asked.
    """

    key: Digest
    resolved_at: str
    lock_digest: Digest
    findings: tuple[Finding, ...] = ()
    as_of: str | None = None
    as_of_why: str | None = None
    adaptations: tuple[str, ...] = ()


@positional_value
class Shelf:
    """The environments' part of the cache."""

    cache: Cache

    def location(self, key: Digest) -> Path:
        return self.cache.environments / hex_of(key)[:_KEY_LENGTH]

    def build_lock(self, key: Digest) -> Path:
        return self.cache.locks / f"env-{hex_of(key)[:_KEY_LENGTH]}.lock"

    def request_lock(self, request: Digest) -> Path:
        return self.cache.locks / f"env-asked-{hex_of(request)[:_KEY_LENGTH]}.lock"

    def scratch(self, request: Digest) -> Path:
        name = f"resolve-{hex_of(request)[:_KEY_LENGTH]}.{os.getpid()}.{time.monotonic_ns()}"
        return self.cache.temporary / name

    def log(self, request: Digest) -> Path:
        return self.cache.environments / "logs" / f"{hex_of(request)[:_KEY_LENGTH]}.log"

    @property
    def probes(self) -> Path:
        return self.cache.environments / "interpreters.json"

    def _answer_file(self, request: Digest) -> Path:
        return self.cache.environments / "asked" / f"{hex_of(request)[:_KEY_LENGTH]}.json"

    def answer(self, request: Digest) -> Answer | None:
        """What is known to answer a request; the environment itself may have gone."""
        values = _read_json(self._answer_file(request))
        try:
            return Answer(
                key=Digest(values["key"]),
                resolved_at=values["resolved_at"],
                lock_digest=Digest(values["lock_digest"]),
                findings=tuple(
                    Finding(level="warning", code=code, message=message)
                    for code, message in values["findings"]
                ),
                as_of=values["as_of"],
                as_of_why=values["as_of_why"],
                adaptations=tuple(values["adaptations"]),
            )
        except (KeyError, TypeError, ValueError):
            return None

    def remember(self, request: Digest, answer: Answer) -> None:
        """Keep an answer."""
        file = self._answer_file(request)
        file.parent.mkdir(parents=True, exist_ok=True)
        values = {
            "key": answer.key,
            "resolved_at": answer.resolved_at,
            "lock_digest": answer.lock_digest,
            "findings": [(finding.code, finding.message) for finding in answer.findings],
            "as_of": answer.as_of,
            "as_of_why": answer.as_of_why,
            "adaptations": answer.adaptations,
        }
        write_atomic(file, json.dumps(values).encode())

    def built(self, key: Digest) -> Built | None:
        """A complete environment that is what it was when it was built, as is its interpreter; else None."""
        location = self.location(key)
        if not (location / ".complete").exists():
            return None
        found = read_built(location)
        if found is None or stamp_of(location) != found.stamp:
            return None
        return found if distributions_in(location) == found.distributions else None

    def touch(self, key: Digest) -> None:
        """Note that it is used now."""
        path = self.location(key) / ".last-used"
        try:
            os.utime(path)
        except FileNotFoundError:
            with contextlib.suppress(OSError):
                path.touch()
        except OSError:
            return

    def keep_log(self, request: Digest, transcript: list[str]) -> Path:
        """Keep what uv said, and return where."""
        path = self.log(request)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, "\n".join(transcript).encode("utf-8", "replace"))
        return path


def stamp_of(location: Path) -> tuple[int, ...]:
    """Changes when the interpreter behind an environment is replaced; empty when it has gone.

    An environment whose `pyvenv.cfg` is missing or cut would quietly use the interpreter's own packages.
    """
    try:
        interpreter, settings = os.stat(location / "bin/python"), os.stat(location / "pyvenv.cfg")
    except OSError:
        return ()
    return (interpreter.st_size, interpreter.st_mtime_ns, settings.st_size)


def distributions_in(location: Path) -> tuple[str, ...]:
    """What is installed, by the names of the folders that say so: a `pip install` changes them."""
    names: list[str] = []
    for folder in (location / "lib").glob("python*/site-packages"):
        names += (name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info")))
    return tuple(sorted(names))


def write_built(location: Path, built: Built) -> None:
    """Write `environment.json`."""
    values = {
        "python": built.python,
        "interpreter": built.interpreter,
        "stamp": built.stamp,
        "platform": built.platform,
        "created": built.created,
        "asked": built.asked,
        "packages": [
            {"name": package.name, "version": package.version, "source": package.source}
            for package in built.packages
        ],
        "distributions": built.distributions,
    }
    write_atomic(location / "environment.json", json.dumps(values, indent=1).encode())


def read_built(location: Path) -> Built | None:
    """Read `environment.json`; None where it is missing or spoilt."""
    values = _read_json(location / "environment.json")
    try:
        return Built(
            python=values["python"],
            interpreter=values["interpreter"],
            stamp=tuple(values["stamp"]),
            platform=values["platform"],
            created=values["created"],
            asked=values["asked"],
            packages=tuple(Package(**package) for package in values["packages"]),
            distributions=tuple(values["distributions"]),
        )
    except (KeyError, TypeError):
        return None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


# --- looking after them -------------------------------------------------------------------------------


def listing(cache: Cache) -> tuple[Entry, ...]:
    """All complete environments, the last used first."""
    entries = [_entry(location) for location in _locations(cache)]
    return tuple(
        sorted((entry for entry in entries if entry), key=lambda entry: entry.last_used, reverse=True)
    )


def find(cache: Cache, prefix: str) -> Entry:
    """The one environment whose key starts so. Raises UsageError where none or several do."""
    wanted = prefix.removeprefix(TAG).lower()
    matching = [location for location in _locations(cache) if location.name.startswith(wanted)]
    if len(matching) != 1 or not wanted:
        found = "several environments have" if matching else "no environment has"
        raise UsageError(
            f"{found} a key that starts with `{prefix}`",
            hint="`mlrun env ls` lists them",
            code="ambiguous-environment" if matching else "no-such-environment",
            details=tuple(location.name for location in matching[:10]),
        )
    entry = _entry(matching[0])
    if entry is None:
        raise UsageError(f"the environment {matching[0].name} is spoilt", hint=f"`mlrun env rm {prefix}`")
    return entry


def remove(cache: Cache, key: Digest) -> None:
    """Remove one; whoever builds it at this moment is waited for."""
    shelf = Shelf(cache)
    with locked(shelf.build_lock(key)):
        remove_tree(shelf.location(key), trash=cache.trash)


def collect_garbage(cache: Cache, *, keep_days: float, now: float, keep: frozenset[str]) -> Collected:
    """Remove what was not used for so many days, and what builds that were killed left behind.

    `keep` are keys in use; `now` is in seconds since the epoch.
    """
    count = size = 0
    kept = {key.removeprefix(TAG)[:_KEY_LENGTH] for key in keep}
    for location in list(_locations(cache)):
        if location.name in kept or _last_used(location) > now - keep_days * _DAY:
            continue
        freed = _size(location)
        with locked(Shelf(cache).build_lock(_key_of(location))):
            if _last_used(location) > now - keep_days * _DAY:
                continue  # used while we were looking
            remove_tree(location, trash=cache.trash)
        size += freed
        count += 1
    _forget_unanswered(cache)
    _forget_restored_locks(cache, older_than=now - keep_days * _DAY)
    _remove_stale_scratch(cache, now)
    _remove_unfinished(cache)
    return Collected(count, size)


def _locations(cache: Cache) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(os.listdir(cache.environments)):
            location = cache.environments / entry
            if _FOLDER.fullmatch(entry) and (location / ".complete").exists():
                yield location


def _entry(location: Path) -> Entry | None:
    built = read_built(location)
    if built is None:
        return None
    return Entry(
        key=_key_of(location),
        kind="conda" if (location / "conda-meta").is_dir() else "venv",
        location=location,
        python=built.python,
        platform=built.platform,
        packages=built.packages,
        size=_size(location),
        created=built.created,
        last_used=utc(_last_used(location)),
        asked=built.asked,
    )


def _key_of(location: Path) -> Digest:
    """Keys are as long as the folder's name, everywhere."""
    return Digest(TAG + location.name)


def shorten(key: Digest) -> Digest:
    """A digest as the key of an environment."""
    return Digest(TAG + hex_of(key)[:_KEY_LENGTH])


def _last_used(location: Path) -> float:
    for name in (".last-used", ".complete"):
        with contextlib.suppress(OSError):
            return (location / name).stat().st_mtime
    return 0.0


def _size(location: Path) -> int:
    """Bytes of all files in it, those shared with other environments included."""
    total = 0
    for folder, _, names in os.walk(location):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def _forget_unanswered(cache: Cache) -> None:
    """Answers whose environment has gone."""
    shelf = Shelf(cache)
    for file in list((cache.environments / "asked").glob("*.json")):
        key = _read_json(file).get("key")
        if not isinstance(key, str) or not shelf.location(Digest(key)).exists():
            file.unlink(missing_ok=True)


def _remove_unfinished(cache: Cache) -> None:
    """Conda prefixes, which are built where they stay, that nobody builds any more."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.listdir(cache.environments):
            location = cache.environments / entry
            if not _FOLDER.fullmatch(entry) or (location / ".complete").exists():
                continue
            lock = Shelf(cache).build_lock(_key_of(location))
            if is_locked(lock):
                continue
            with locked(lock):
                if not (location / ".complete").exists():
                    remove_tree(location, trash=cache.trash)


def _forget_restored_locks(cache: Cache, *, older_than: float) -> None:
    """Locks from records, written out so that they could be built from."""
    for file in list((cache.environments / "locks").glob("pylock.*.toml")):
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < older_than:
                file.unlink()


def _remove_stale_scratch(cache: Cache, now: float) -> None:
    with contextlib.suppress(FileNotFoundError):
        for path in list(cache.temporary.iterdir()):
            with contextlib.suppress(OSError):
                if _SCRATCH.fullmatch(path.name) and path.stat().st_mtime < now - _STALE_SCRATCH_SECONDS:
                    remove_tree(path, trash=cache.trash)


def utc(seconds: float) -> str:
    """`2026-11-21T08:00:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
