"""What went into a run and what came out of it: files and folders, found by name and told by content.

A file is its digest. A folder is the digest of its manifest, a list of all that lies in it. Nothing that
changes or vanishes while we look makes us fail: it is told as a finding.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlrun import digest
from mlrun.data.content import MANIFEST, Reader
from mlrun.data.names import by_word_first, is_pattern, shown_path
from mlrun.data.reading import problem_of
from mlrun.model import Artifact, Digest, Finding
from mlrun.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlrun.data.trees import Tree
    from mlrun.files import Cache
    from mlrun.model import DataSpec

__all__ = [
    "MANIFEST",
    "Collected",
    "Found",
    "Reader",
    "collect",
    "collect_garbage",
    "describe",
    "describe_some",
    "download",
    "keep_tables",
]

TABLES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet", ".pq")
"""Endings of what `rows` compares row by row."""
_READ_ALL = Reader()


@value
class Found:
    """One input or output: `contents` are the files to keep, `manifest` what a folder's digest is of.

    Of some files of a folder, `tree` is what they were like.
    """

    artifact: Artifact
    contents: tuple[tuple[Digest, Path], ...] = ()
    manifest: bytes | None = None
    findings: tuple[Finding, ...] = ()
    tree: Tree | None = None


@value
class Collected:
    """All that a set of declarations names. The findings include those of what was found."""

    found: tuple[Found, ...] = ()
    findings: tuple[Finding, ...] = ()


def describe(
    path: Path,
    *,
    shown: str,
    kind: str,
    declared: bool,
    parameter: str | None = None,
    reader: Reader = _READ_ALL,
    contents: bool = True,
) -> Found:
    """A file or folder by its content; `shown` is the path that the record tells.

    What cannot be read has no digest, and a finding says why. Without `contents` an unchanged folder that
    the `reader` remembers is only walked.
    """

    def unread(problem: str) -> Found:
        return Found(artifact=nothing(), findings=(_unread(shown, problem),))

    def nothing() -> Artifact:
        return Artifact(
            path=shown, kind=kind, digest=None, size=0, files=0, declared=declared, parameter=parameter
        )

    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            os.scandir(path).close()  # a folder that may not be read is not an empty one
    except (OSError, ValueError) as error:
        return unread(getattr(error, "strerror", None) or str(error))
    if stat.S_ISDIR(status.st_mode):
        return _describe_folder(path, nothing(), reader, contents=contents)
    found = reader.file(os.fspath(path), status)
    if isinstance(found, int):
        return unread(problem_of(found))
    its_digest = Digest(digest.TAG + found[0].hex())
    artifact = Artifact(
        path=shown,
        kind=kind,
        digest=its_digest,
        size=found[1][1],
        files=1,
        declared=declared,
        parameter=parameter,
        executable=bool(found[1][4] & stat.S_IXUSR),
    )
    return Found(artifact=artifact, contents=((its_digest, path),))


def describe_some(
    root: Path,
    names: tuple[str, ...],
    *,
    shown: str,
    kind: str,
    reader: Reader = _READ_ALL,
    contents: bool = True,
) -> Found:
    """Some files of a folder, as the folder in which only they lie; not declared."""
    folder = reader.some(os.fspath(root), names, contents=contents)
    return Found(
        artifact=Artifact(
            path=shown,
            kind=kind,
            digest=folder.digest,
            size=folder.size,
            files=folder.count,
            declared=False,
            tree=True,
        ),
        contents=tuple((its_digest, Path(path)) for its_digest, path in folder.contents if contents),
        manifest=folder.manifest if contents else None,
        findings=_unread_within(shown, folder.troubles),
        tree=folder.tree,
    )


def collect(
    specs: tuple[DataSpec, ...],
    directory: Path,
    *,
    required: bool,
    role: Literal["input", "output"] = "output",
    reader: Reader = _READ_ALL,
) -> Collected:
    """Find and describe what is declared: files, folders, and patterns with `*`, `?`, `[…]` and `**`.

    A path that exists is taken by its word, whatever letters it has. What is missing is an error among
    the findings where it is `required` (`missing-input`, `missing-output`), and else nothing.
    """
    found: dict[str, Found] = {}
    findings: list[Finding] = []
    for spec, path in by_word_first(specs, directory):
        if path is None:
            findings += [_missing(spec, role)] if required else []
            continue
        shown = shown_path(path, directory)
        if shown not in found:
            found[shown] = describe(
                path, shown=shown, kind=spec.kind, declared=True, reader=reader, contents=role == "output"
            )
            findings += [replace(finding, place=spec.place) for finding in found[shown].findings]
    return Collected(found=tuple(found.values()), findings=tuple(findings))


def download(url: str, destination_folder: Path) -> Path:
    """Fetch an http(s) URL into a folder of its own below `destination_folder`, under the URL's last name.

    A half-fetched file never bears the final name. Raises ParameterError (`download-failed`).
    """
    from mlrun.data import downloads

    return downloads.download(url, destination_folder)


def keep_tables(cache: Cache, files: Iterable[tuple[Digest, Path]]) -> None:
    """Copies of small tables, by their digests, as long as `collect_garbage` leaves them; see `tables`."""
    wanted = [each for each in files if each[1].name.lower().endswith(TABLES)]
    if wanted:
        from mlrun.data import tables

        tables.keep(cache, wanted)


def collect_garbage(cache: Cache, *, older_than: float) -> tuple[int, int]:
    """Forget what was read, and tables that were kept, before a time; how many, and the bytes that frees."""
    from mlrun.data import memory

    return memory.collect_garbage(cache, older_than=older_than)


def _describe_folder(root: Path, artifact: Artifact, reader: Reader, *, contents: bool) -> Found:
    folder = reader.folder(os.fspath(root), contents=contents)
    return Found(
        artifact=replace(artifact, digest=folder.digest, size=folder.size, files=folder.count, tree=True),
        contents=tuple((its_digest, Path(path)) for its_digest, path in folder.contents if contents),
        manifest=folder.manifest if contents else None,
        findings=(
            *_unread_within(artifact.path, folder.troubles),
            *_links_out(artifact.path, root, folder.links),
        ),
    )


def _links_out(shown: str, root: Path, links: tuple[tuple[str, str], ...]) -> tuple[Finding, ...]:
    """Links are kept as links, so that what lies behind one that leads out is not part of the digest."""
    outside = [
        name
        for name, target in links
        if shown_path(Path(os.path.normpath(root / name / ".." / target)), root)[:1] == os.sep
    ]
    if not outside:
        return ()
    message = f"what {len(outside)} links in `{shown}` lead to is not recorded, such as `{outside[0]}`"
    if len(outside) == 1:
        message = f"what the link `{outside[0]}` in `{shown}` leads to is not recorded"
    return (Finding(level="warning", code="link-outside", message=message),)


def _unread_within(shown: str, troubles: tuple[str, ...]) -> tuple[Finding, ...]:
    if not troubles:
        return ()
    message = f"{len(troubles)} files in `{shown}` are not recorded, such as {troubles[0]}"
    if len(troubles) == 1:
        message = f"a file in `{shown}` is not recorded: {troubles[0]}"
    return (Finding(level="warning", code="unreadable-file", message=message),)


def _unread(shown: str, problem: str) -> Finding:
    return Finding(level="warning", code="unreadable-file", message=f"`{shown}` has no digest: {problem}")


def _missing(spec: DataSpec, role: str) -> Finding:
    hint = "a folder or pattern that matches nothing counts as missing" if is_pattern(spec.path) else None
    done = "is not there" if role == "input" else "was not written"
    return Finding(
        level="error",
        code=f"missing-{role}",
        message=f"{role} `{spec.path}` {done}",
        place=spec.place,
        hint=hint,
    )
