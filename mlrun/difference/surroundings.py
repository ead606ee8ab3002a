"""What two runs ran in: packages, Python, image, machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.difference.items import change_of, lacking, pair, text_item
from mlrun.difference.values import Item, Section
from mlrun.views import words

if TYPE_CHECKING:
    from mlrun.model import EnvironmentFacts, HostFacts, RunRecord

_MEMORY = 0.02  # share by which a machine's memory varies from one start of its kernel to the next


def environment(before: RunRecord, after: RunRecord, locks: tuple[str | None, str | None]) -> list[Section]:
    """Packages, Python, image, and the rest; `locks` are the texts of both, where they are at hand."""
    ours, theirs = before.environment, after.environment
    if ours is None or theirs is None or ours.key is None or theirs.key is None:
        missing = lacking("the environment", ours and ours.key, theirs and theirs.key)
        known = [] if ours is None or theirs is None else _surroundings(ours, theirs)
        return [
            Section(kind="packages", missing=missing),
            Section(kind="python"),
            Section(kind="image"),
            pair("environment", known),
        ]
    return [
        pair("packages", _packages(ours, theirs, locks), remarks=_asked(ours, theirs)),
        pair("python", [text_item("Python", ours.python, theirs.python)]),
        pair("image", _image(ours, theirs)),
        pair("environment", _surroundings(ours, theirs)),
    ]


def _packages(
    before: EnvironmentFacts, after: EnvironmentFacts, locks: tuple[str | None, str | None]
) -> list[Item]:
    ours = {package.name: package for package in before.packages}
    theirs = {package.name: package for package in after.packages}
    items = []
    for name in sorted({*ours, *theirs}):
        a, b = ours.get(name), theirs.get(name)
        versions = (a.version if a else None, b.version if b else None)
        if versions[0] != versions[1]:
            note = _direction(*versions)
            items.append(
                Item(
                    name=name,
                    change=change_of(*versions),
                    before=versions[0],
                    after=versions[1],
                    note=note,
                    facts=(("direction", note),),
                )
            )
        elif a and b and a.source and b.source and a.source != b.source:
            items.append(
                Item(name=name, change="changed", before=a.source, after=b.source, note="the same version")
            )
    named = {item.name for item in items}
    if before.lock != after.lock and None not in locks:
        items += [item for item in _files(*locks) if item.name not in named]
    alike = not items and (before.lock, before.python) == (after.lock, after.python)
    if alike and before.platform == after.platform and before.key != after.key:
        items += [
            Item(
                name=name,
                change="changed",
                before=ours[name].version,
                after=theirs[name].version,
                note=_LOCAL,
            )
            for name in _local(locks[0] or "")
            if name in ours and name in theirs
        ]
    return items


_LOCAL = "a local project, of the same version with other files"


def _local(lock: str) -> tuple[str, ...]:
    """The packages of a `pylock.toml` that are folders: no hash tells what lies in them, but for the key."""
    import tomllib

    try:
        packages = tomllib.loads(lock).get("packages", [])
        return tuple(str(it["name"]) for it in packages if "directory" in it)
    except (tomllib.TOMLDecodeError, AttributeError, TypeError, KeyError):
        return ()


def _direction(before: str | None, after: str | None) -> str | None:
    if before is None or after is None:
        return None
    from packaging.version import InvalidVersion, Version

    try:
        a, b = Version(before), Version(after)
    except InvalidVersion:
        return None
    return "up" if b > a else "down" if b < a else None


def _files(before: str | None, after: str | None) -> list[Item]:
    """Packages of one version whose files differ: built again, or replaced, under the same number."""
    ours, theirs = _hashes(before or ""), _hashes(after or "")
    return [
        Item(name=name, change="changed", before=version, after=version, note="the same version, other files")
        for (name, version), hashes in sorted(ours.items())
        if hashes and theirs.get((name, version)) and not hashes & theirs[name, version]
    ]


def _hashes(lock: str) -> dict[tuple[str, str], set[str]]:
    """The hashes of each package of a `pylock.toml` (PEP 751)."""
    import tomllib

    try:
        packages = tomllib.loads(lock).get("packages", [])
        return {
            (str(package["name"]), str(package["version"])): {
                f"{kind}:{digest}"
                for file in (
                    *package.get("wheels", []),
                    *(package[key] for key in ("sdist", "archive") if key in package),
                )
                for kind, digest in file.get("hashes", {}).items()
            }
            for package in packages
            if "name" in package and "version" in package
        }
    except (tomllib.TOMLDecodeError, AttributeError, TypeError, KeyError):
        return {}


def _image(before: EnvironmentFacts, after: EnvironmentFacts) -> list[Item | None]:
    ours, theirs = before.image, after.image
    if ours is None or theirs is None:
        return [text_item("image", ours and ours.name, theirs and theirs.name)]
    # An engine's id and a registry's digest cannot be held against each other.
    digests = (ours.digest, theirs.digest) if ours.digest and theirs.digest else (ours.id, theirs.id)
    if digests[0] == digests[1]:
        return [text_item("image", ours.name, theirs.name, because="image", note="the same content")]
    moved = ours.name == theirs.name
    return [
        Item(
            name=theirs.name,
            change="changed",
            before=digests[0] if moved else f"{ours.name}, {digests[0]}",
            after=digests[1] if moved else f"{theirs.name}, {digests[1]}",
            note="the name has moved to another image" if moved else None,
            facts=(("before_name", ours.name), ("after_name", theirs.name)),
        )
    ]


def _surroundings(before: EnvironmentFacts, after: EnvironmentFacts) -> list[Item | None]:
    return [
        text_item("kind", before.kind, after.kind),
        text_item("platform", before.platform or None, after.platform or None),
    ]


def _asked(before: EnvironmentFacts, after: EnvironmentFacts) -> tuple[str, ...]:
    """What may explain why packages differ, and means nothing where they do not."""
    pairs = (
        ("as of", before.as_of, after.as_of),
        ("asked", before.asked, after.asked),
        ("adapted", "; ".join(before.adaptations), "; ".join(after.adaptations)),
    )
    return tuple(f"{name}: {a or 'nothing'} → {b or 'nothing'}" for name, a, b in pairs if a != b)


# --- the machine --------------------------------------------------------------------------------------


def host(before: RunRecord, after: RunRecord) -> Section:
    """CPU, cores, memory, system, GPUs; another name alone is no difference."""
    ours, theirs = before.host, after.host
    if ours is None or theirs is None:
        return Section(kind="host", missing=lacking("the machine", ours, theirs))
    return pair(
        "host",
        [
            text_item("CPU", ours.cpu or ours.machine, theirs.cpu or theirs.machine),
            text_item("architecture", ours.machine, theirs.machine, because="host"),
            text_item("cores", ours.cores, theirs.cores),
            _memory(ours, theirs),
            text_item("system", ours.os, theirs.os),
            text_item("GPUs", ", ".join(ours.gpus) or None, ", ".join(theirs.gpus) or None),
        ],
        facts=(("same_machine", ours.name == theirs.name),),
    )


def _memory(before: HostFacts, after: HostFacts) -> Item | None:
    a, b = before.memory, after.memory
    if a and b and abs(a - b) <= _MEMORY * max(a, b):
        return None
    if a == b:
        return None
    texts = [None if it is None else words.size(it) for it in (a, b)]
    return text_item("memory", *texts, facts=(("before_bytes", a), ("after_bytes", b)))
