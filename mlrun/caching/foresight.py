"""What goes into a step as it will be once the outputs of those before it are put back; nothing is written.

An input is what a step before makes, or a pattern that some of it meets, or a folder in which some of it
lies: then what is there and what would be are put together.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from mlrun import data, digest
from mlrun.caching.patterns import covering
from mlrun.data.names import by_word_first, is_pattern, shown_path
from mlrun.data.trees import MANIFEST
from mlrun.errors import StoreError
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlrun.caching.site import Site
    from mlrun.model import Artifact, DataSpec
    from mlrun.recording import Prepared

Entry = dict[str, Any]


def foreseen(
    prepared: Prepared, before: Sequence[Artifact], site: Site
) -> dict[DataSpec, tuple[Artifact, ...]]:
    """The declared inputs that steps before have a part in. Raises StoreError where a list is not kept."""
    if not before:
        return {}
    found: dict[DataSpec, tuple[Artifact, ...]] = {}
    for spec in prepared.spec.inputs:
        path = os.path.normpath(spec.path)
        one = _at(path, spec.kind, before, site)
        made = [one] if one else _matching(path, before, spec, site) if is_pattern(path) else []
        if made:
            found[spec] = tuple(replace(it, kind=spec.kind, declared=True, stored=False) for it in made)
    return found


def as_foreseen(item: Artifact, before: Sequence[Artifact], site: Site) -> Artifact:
    """The same for what a parameter names. Raises StoreError."""
    path = os.path.normpath(item.path)
    found = _at(path, item.kind, before, site) if item.parameter and before else None
    if found is None:
        return item
    return replace(
        item, digest=found.digest, size=found.size, files=found.files, tree=found.tree, stored=False
    )


def _at(path: str, kind: str, before: Sequence[Artifact], site: Site) -> Artifact | None:
    """What would be at a path: the last that is made there, or a folder with what is made in it."""
    made = [it for it in before if os.path.normpath(it.path) == path]
    if made:
        return made[-1]
    parts = [it for it in before if os.path.normpath(it.path).startswith(f"{path}/")]
    return _folder(path, parts, kind, site) if parts else None


def _matching(path: str, before: Sequence[Artifact], spec: DataSpec, site: Site) -> list[Artifact]:
    """What meets a pattern, once it is put back; nothing where none of it is."""
    matches = covering((path,))
    made = [it for it in before if matches(os.path.normpath(it.path))]
    if not made:
        return []
    known = {os.path.normpath(it.path) for it in made}
    directory = site.project()
    for _, place in by_word_first((spec,), directory):
        shown = shown_path(place, directory) if place is not None else None
        if place is not None and shown is not None and shown not in known:
            one = data.describe(
                place, shown=shown, kind=spec.kind, declared=True, reader=site.reader, contents=False
            )
            made.append(one.artifact)
    return made


def _folder(path: str, parts: list[Artifact], kind: str, site: Site) -> Artifact:
    """A folder with what would be put back into it."""
    entries = _listed(path, kind, site)
    for part in parts:
        name = os.path.normpath(part.path)[len(path) + 1 :]
        own = covering((name,))
        was = [it for it in entries if own(it["path"])]
        entries = [it for it in entries if not own(it["path"])] + _entries(part, name, was, site)
    folders = {folder for it in entries for folder in _above(it["path"])}
    entries = sorted((it for it in entries if it["path"] not in folders), key=lambda it: str(it["path"]))
    files = [it for it in entries if "digest" in it]
    text = digest.canonical_json({"entries": entries, "format": MANIFEST})
    return replace(
        parts[0],
        path=path,
        digest=digest.of_bytes(text),
        size=sum(it["size"] for it in files),
        files=len(files),
        tree=True,
    )


def _listed(path: str, kind: str, site: Site) -> list[Entry]:
    """What lies there now."""
    place = site.project() / path
    if not place.is_dir():
        return []
    found = data.describe(place, shown=path, kind=kind, declared=True, reader=site.reader)
    return _parsed(found.manifest) if found.manifest is not None else []


def _entries(part: Artifact, name: str, was: list[Entry], site: Site) -> list[Entry]:
    """Those of one output; whether a single file can be executed is taken from what lies there."""
    assert part.digest is not None
    if part.tree:
        own = _parsed(site.store.objects.read_bytes(part.digest))
        return [{**it, "path": f"{name}/{it['path']}"} for it in own]
    mode = was[0]["mode"] if len(was) == 1 else "100644"
    return [{"digest": part.digest, "mode": mode, "path": name, "size": part.size}]


def _parsed(manifest: bytes) -> list[Entry]:
    try:
        entries: list[Entry] = json.loads(manifest.decode("utf-8", "surrogatepass"))["entries"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError("a list of files cannot be read", code="bad-manifest") from error
    return entries


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:at]) for at in range(1, len(parts))]
