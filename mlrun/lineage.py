"""From anything that has a name (a run, a file anywhere on disk, a digest, a commit) to all it hangs on.

What was typed is taken for a run first, then for a file, then for a digest, then for a commit; a text with a
`/` is never a run.
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlrun import data
from mlrun.errors import StoreError
from mlrun.model import Digest
from mlrun.store import lineage as walks
from mlrun.value import value
from mlrun.views import words

if TYPE_CHECKING:
    from mlrun.data import Reader
    from mlrun.model import Artifact
    from mlrun.store import Store
    from mlrun.store.lineage import Content, Walk

_DIGEST = re.compile(r"(?:blake3:)?([0-9a-f]{6,64})")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@value
class Root:
    """What a lineage begins at: `runs` are the ids; `content` is there for a file or a digest.

    `name` is what was typed. `artifact` describes a file that was found on disk.
    """

    kind: Literal["run", "file", "digest", "commit"]
    name: str
    runs: tuple[str, ...] = ()
    content: Content | None = None
    artifact: Artifact | None = None


@value
class Lineage:
    """A root, what it comes from (`up`) and what came from it (`down`); None where that was not asked."""

    root: Root
    up: Walk | None = None
    down: Walk | None = None


def lineage(
    store: Store,
    root: Root,
    *,
    up: bool = True,
    down: bool = True,
    depth: int | None = None,
    limit: int | None = None,
) -> Lineage:
    """Walk from a root, `depth` runs far and to `limit` runs at most in each direction.

    Raises StoreError.
    """
    makers = _of(root, "makers")
    users = _of(root, "users")
    # From the run that made a content last: what the others read need not be what this one read.
    newest = makers if root.kind in ("run", "commit") else makers[:1]
    earlier = store.lineage(partial(walks.up, start=newest, depth=depth, limit=limit)) if up else None
    later = store.lineage(partial(walks.down, start=users, depth=depth, limit=limit)) if down else None
    return Lineage(root=root, up=earlier, down=later)


def _of(root: Root, side: Literal["makers", "users"]) -> tuple[str, ...]:
    if root.content is None:
        return root.runs
    return tuple(dict.fromkeys(flow.run for flow in getattr(root.content, side)))


def find(
    store: Store, name: str, *, directory: Path, reader: Reader, limit: int | None = walks.LISTED
) -> Root:
    """What is meant by a name; of a content, `limit` makers and users, None for all.

    Raises StoreError: `no-such-run`, `ambiguous-run`, `no-lineage` for a file that no run knows.
    """
    path = Path(directory, os.path.expanduser(name))
    is_file = os.path.lexists(path)
    if os.sep in name and is_file:
        return of_file(store, name, path, reader, limit)
    try:
        return Root(kind="run", name=name, runs=(store.find(name),))
    except StoreError as error:
        if is_file:
            return of_file(store, name, path, reader, limit)
        found = _of_digest(store, name, limit) or _of_commit(store, name)
        if found is None:
            raise StoreError(
                f"`{name}` is no run, no file here, and no digest of a record",
                hint=error.hint,
                code=error.code,
                details=error.details,
            ) from None
        return found


def of_file(store: Store, name: str, path: Path, reader: Reader, limit: int | None = walks.LISTED) -> Root:
    """A file or folder on disk, by its content.

    Raises StoreError `no-lineage` where no run has written or read it, `unreadable-file`.
    """
    found = data.describe(path, shown=name, kind="file", declared=False, reader=reader, contents=False)
    artifact = found.artifact
    if artifact.digest is None:
        raise StoreError(found.findings[0].message, code="unreadable-file")
    if artifact.size == 0:
        raise StoreError(
            f"`{name}` is empty: empty files are alike everywhere, and have no lineage", code="no-lineage"
        )
    content = store.lineage(partial(walks.content, its_digest=artifact.digest, limit=limit))
    if not content.makers and not content.users:
        raise _unknown(store, name, path, artifact)
    return Root(kind="file", name=name, content=content, artifact=artifact)


def _unknown(store: Store, name: str, path: Path, artifact: Artifact) -> StoreError:
    alike = store.lineage(partial(walks.named_like, name=path.name))
    return StoreError(
        f"no recorded run has written or read `{name}` ({artifact.digest})",
        hint="runs wrote files of that name with other content:" if alike else "`mlrun runs` lists the runs",
        details=tuple(
            f"{flow.run[:8]}  {flow.path}  {words.size(flow.size)}  {words.short(flow.digest)}"
            for flow in alike
        ),
        code="no-lineage",
    )


def _of_digest(store: Store, name: str, limit: int | None) -> Root | None:
    """Raises StoreError `ambiguous-digest`."""
    match = _DIGEST.fullmatch(name.lower())
    if match is None:
        return None
    digests = store.lineage(partial(walks.digests_like, start=match[1]))
    if len(digests) > 1:
        raise StoreError(
            f"`{name}` is the start of several digests",
            hint="type more of it",
            code="ambiguous-digest",
            details=digests,
        )
    whole = digests[0] if digests else Digest(f"blake3:{match[1]}")
    content = store.lineage(partial(walks.content, its_digest=whole, limit=limit))
    if not content.makers and not content.users:
        return None
    return Root(kind="digest", name=name, content=content)


def _of_commit(store: Store, name: str) -> Root | None:
    if _COMMIT.fullmatch(name.lower()) is None:
        return None
    runs = store.lineage(partial(walks.of_commit, start=name.lower()))
    return Root(kind="commit", name=name, runs=runs) if runs else None
