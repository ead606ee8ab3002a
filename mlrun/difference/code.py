"""The code: which files differ between two sources, by how much, and over which commits."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from mlrun.contents import in_tree
from mlrun.difference.items import lacking, pair
from mlrun.difference.values import Item, Section
from mlrun.errors import MlrunError
from mlrun.value import value

if TYPE_CHECKING:
    from mlrun.model import RunRecord, SourceFacts, StoredFile
    from mlrun.source.between import FileChange, Trees

_SETTINGS = re.compile(
    r"(?i)mlproject|(?:python_env|conda|environment|env)[\w.-]*\.ya?ml|[\w.-]*requirements[\w.-]*\.(?:txt|in)"
    r"|requirements|pylock[\w.-]*\.toml|uv\.lock|poetry\.lock|pipfile(?:\.lock)?|pyproject\.toml|setup\.cfg"
    r"|dockerfile[\w.-]*|\.python-version|\.dockerignore|\.gitignore|\.gitattributes"
)
"""Files whose meaning the record holds by itself: parameters, command, packages."""
_PROSE = re.compile(r"(?i).*\.(?:md|rst|adoc)|license[\w.-]*|changelog[\w.-]*|(?:.*/)?docs?/.*")
_CODE = (".py", ".pyx", ".ipynb", ".r", ".jl", ".sh", ".c", ".cc", ".cpp", ".h", ".rs", ".go", ".java", ".js")
_COMMITS_SHOWN = 5


@value
class Code:
    """What differs in code, and in the files that say how it is run; `patch` is the text, if wanted."""

    code: Section
    project: Section
    patch: str | None = None


def code(before: RunRecord, after: RunRecord, trees: Trees | None, *, patch: bool) -> Code:
    """Compare the sources; `trees` is None where their ids are equal, or nothing is at hand."""
    ours, theirs = before.source, after.source
    if ours is None or theirs is None:
        return Code(
            code=Section(kind="code", missing=lacking("the code", ours, theirs)),
            project=Section(kind="project"),
        )
    if trees is None:
        same = ours.tree == theirs.tree
        items = () if same else (Item(name="tree", change="changed", before=ours.tree, after=theirs.tree),)
        facts, remarks = _about(ours, theirs, None)
        return Code(
            code=Section(kind="code", items=items, facts=facts, remarks=remarks),
            project=Section(kind="project"),
        )
    return _compared(before, after, ours, theirs, trees, patch=patch)


def _compared(
    before: RunRecord, after: RunRecord, ours: SourceFacts, theirs: SourceFacts, trees: Trees, *, patch: bool
) -> Code:
    leave = _not_code(before, after)
    found = _files(ours, theirs, trees, patch=patch, leave=leave)
    commits = None
    if ours.commit and theirs.commit and ours.commit != theirs.commit:
        commits = trees.commits(ours.commit, theirs.commit)
    listed = None if commits is None else [(commit.side, commit.id, commit.subject) for commit in commits]
    facts, remarks = _about(ours, theirs, listed)
    if found is None or not found.every:
        items = [Item(name="tree", change="changed", before=ours.tree, after=theirs.tree)]
        why = "no repository at hand has both" if found is None else "not all of it was kept"
        remarks = (*remarks, f"which files differ cannot be told: {why}")
        return Code(code=pair("code", items, facts=facts, remarks=remarks), project=Section(kind="project"))
    kept = [change for change in found.every if not _is_under(change.path, leave)]
    if not kept:
        remarks = (*remarks, "the trees differ only in files that are data or outputs of these runs")
    changed, settings = _sorted(kept, after.command.text if after.command else "", theirs.subdirectory)
    return Code(
        code=pair("code", map(_item, changed), facts=facts, remarks=remarks),
        project=pair("project", map(_item, settings)),
        patch=found.patch,
    )


def _sorted(
    changes: list[FileChange], command: str, folder: str
) -> tuple[list[FileChange], list[FileChange]]:
    """Code, the nearest to the command first; and files of settings, then prose."""
    prose = [change for change in changes if _PROSE.fullmatch(change.path)]
    settings = [change for change in changes if _SETTINGS.fullmatch(PurePosixPath(change.path).name)]
    settings = [change for change in settings if change not in prose]
    code = [change for change in changes if change not in prose and change not in settings]
    return sorted(code, key=lambda change: _distance(change.path, command, folder)), [*settings, *prose]


def _distance(path: str, command: str, folder: str) -> tuple[bool, bool, bool, str]:
    """What the command names comes first, then the project's own code, then the rest."""
    inside = path.removeprefix(f"{folder}/") if folder else path
    return (
        inside not in command,
        bool(folder) and inside == path,
        not path.lower().endswith(_CODE),
        path,
    )


def _item(change: FileChange) -> Item:
    counts = None if change.added is None else f"+{change.added} −{change.removed}"
    return Item(
        name=change.path,
        change=change.change,
        note=counts or "binary",
        facts=(("lines_added", change.added), ("lines_removed", change.removed)),
    )


def _about(
    ours: SourceFacts, theirs: SourceFacts, commits: list[tuple[str, str, str]] | None
) -> tuple[tuple[tuple[str, object], ...], tuple[str, ...]]:
    """Commit, branch, state: for machines and in sentences."""
    facts: list[tuple[str, object]] = []
    for side, source in (("before", ours), ("after", theirs)):
        told = {
            "commit": source.commit,
            "branch": source.branch,
            "tree": source.tree,
            "dirty": source.dirty,
            "patch": source.patch,
            "url": source.url,
            "directory": source.directory,
            "subdirectory": source.subdirectory,
        }
        facts.append((side, told))
    remarks = []
    if ours.commit != theirs.commit:
        remarks.append(f"commit {_commit(ours)} → {_commit(theirs)}")
    if ours.tree == theirs.tree and ours.commit != theirs.commit:
        remarks[-1] += ", the content is the same"
    if (ours.dirty or theirs.dirty) and ours.tree != theirs.tree:
        states = ["uncommitted changes" if it.dirty else "clean" for it in (ours, theirs)]
        remarks.append(" → ".join(dict.fromkeys(states)))
    if commits is not None:
        facts.append(("commits", [dict(zip(("side", "id", "subject"), it, strict=True)) for it in commits]))
        for side, words in (("after", "only in the second"), ("before", "only in the first")):
            subjects = [f"{commit[:9]} {subject}" for its, commit, subject in commits if its == side]
            if subjects:
                more = len(subjects) - _COMMITS_SHOWN
                remarks.append(f"{len(subjects)} commit{'s' * (len(subjects) > 1)} {words}:")
                remarks += [f"  {subject}" for subject in subjects[:_COMMITS_SHOWN]]
                remarks += [f"  … and {more} more"] if more > 0 else []
    return tuple(facts), tuple(remarks)


def _commit(source: SourceFacts) -> str:
    return source.commit[:9] if source.commit else "none"


@value
class _Files:
    """All files that differ, and the text of those that are code, where it is wanted."""

    every: list[FileChange]
    patch: str | None = None


def _files(
    ours: SourceFacts, theirs: SourceFacts, trees: Trees, *, patch: bool, leave: frozenset[str]
) -> _Files | None:
    """What differs between two sources; None where one cannot be put together."""
    alike: frozenset[StoredFile] = frozenset()
    if not trees.has(ours) and not trees.has(theirs):
        alike = frozenset(ours.untracked) & frozenset(theirs.untracked)
    one, other = trees.tree(ours, without=alike), trees.tree(theirs, without=alike)
    if one is None or other is None:
        return None
    try:
        found = list(trees.files(one, other))
        shown = tuple(change.path for change in found if not _is_under(change.path, leave))
        text = trees.patch(one, other, shown).decode("utf-8", "replace") if patch else None
    except MlrunError:
        return None
    seen = {change.path for change in found}
    found += [change for change in _unkept(ours, theirs) if change.path not in seen]
    return _Files(every=found, patch=text)


def _unkept(ours: SourceFacts, theirs: SourceFacts) -> list[FileChange]:
    """Untracked files too large to be kept: their digests tell."""
    from mlrun.source.between import FileChange

    one = {file.path: file.digest for file in ours.untracked if not file.stored}
    other = {file.path: file.digest for file in theirs.untracked if not file.stored}
    found = []
    for path in sorted({*one, *other}):
        if one.get(path) != other.get(path):
            change: Literal["added", "removed", "changed"] = (
                "added" if path not in one else "removed" if path not in other else "changed"
            )
            found.append(FileChange(path=path, change=change))
    return found


def _not_code(before: RunRecord, after: RunRecord) -> frozenset[str]:
    """Paths in the tree that are told as data or outputs; code that a program was seen to read stays code."""
    return frozenset(
        in_tree(record, artifact)
        for record in (before, after)
        for artifact in (*record.inputs, *record.outputs)
        if artifact.declared or not artifact.path.lower().endswith(_CODE)
    )


def _is_under(path: str, folders: frozenset[str]) -> bool:
    return path in folders or any(str(folder) in folders for folder in PurePosixPath(path).parents)
