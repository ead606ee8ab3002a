"""A snapshot of the past, made again in a checkout of ours: a commit, what was changed, what was untracked.

The commit is looked for where it was, where the caller stands, and at its URL; the rest was kept by the
store. What comes together must have the git tree id that was recorded, or it does not count.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlrun import digest
from mlrun.errors import MlrunError, SourceError
from mlrun.model import Snapshot
from mlrun.source import checkout, remarks
from mlrun.source import directory as directories
from mlrun.source.git import local_git
from mlrun.source.mirror import Mirror, Revision, find_local
from mlrun.source.target import Target, parse_target
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlrun.files import Cache
    from mlrun.model import Caller, Digest, Finding, Narrator, SourceFacts, StoredFile
    from mlrun.source.git import Git

_SHOWN = 3  # files named in one sentence
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Kept(Protocol):
    """What the store has kept of a source."""

    def read_bytes(self, its_digest: Digest) -> bytes:
        """The bytes with this digest. Raises StoreError."""

    def fetch(self, its_digest: Digest, destination: Path) -> None:
        """Copy them into a new file. Raises StoreError."""


def restore(
    facts: SourceFacts, kept: Kept, *, run_id: str, caller: Caller, cache: Cache, narrator: Narrator
) -> Snapshot:
    """The exact source of a run, in a checkout of ours called `run_id`, which `release` removes.

    Raises SourceError: `commit-gone`, `source-not-kept` (a file was too large to keep, or the store has lost
    it), `tree-differs`.
    """
    return _Restoration(
        facts=facts, kept=kept, run_id=run_id, caller=caller, cache=cache, narrator=narrator
    ).run()


@value
class _Restoration:
    """One call of `restore`."""

    facts: SourceFacts
    kept: Kept
    run_id: str
    caller: Caller
    cache: Cache
    narrator: Narrator

    def run(self) -> Snapshot:
        facts = self.facts
        findings: list[Finding] = []
        root = checkout.build(
            self.run_id, cache=self.cache, fill=lambda scratch: findings.extend(self._fill(scratch))
        )
        return Snapshot(
            kind="git" if facts.kind == "git" else "directory",
            root=root,
            tree=facts.tree,
            subdirectory=facts.subdirectory,
            url=facts.url,
            version=facts.version,
            commit=facts.commit,
            branch=facts.branch,
            dirty=facts.dirty,
            patch=self._patch(),
            untracked=tuple(file.path for file in facts.untracked),
            temporary=True,
            findings=tuple(findings),
            origin=Path(facts.directory) if facts.kind == "directory" else None,
        )

    def _fill(self, scratch: Path) -> list[Finding]:
        """The commit with its patch, then what was untracked; the whole is held against the record."""
        facts = self.facts
        findings: list[Finding] = []
        if facts.commit is None:
            nowhere = scratch / ".git" / "nowhere"
            git = checkout.lay_out(scratch, _EMPTY_TREE, objects=(nowhere,), variables=self.caller.variables)
        else:
            revision = self._revision(facts.commit)
            where = local_git(revision.objects.parent, self.caller.variables)
            git = checkout.lay_out(
                scratch,
                revision.commit,
                objects=(revision.objects,),
                variables=self.caller.variables,
                commit=revision.commit,
                url=facts.url,
                references=checkout.references_of(where),
                patch=self._patch(),
            )
            findings += self._submodules(git)
        self._add_untracked(git)
        tree = git.read("write-tree").text
        if tree != facts.tree:
            raise self._differs(git, tree)
        checkout.check_subdirectory(scratch, facts.subdirectory)
        return [*findings, *remarks.of_lfs(git)]

    def _submodules(self, git: Git) -> list[Finding]:
        folder = Path(self.facts.directory)
        nearby = folder if self.facts.kind == "directory" and folder.is_dir() else None
        modules = checkout.Submodules(cache=self.cache, narrator=self.narrator)
        return modules.fill(git, self.facts.url or folder.as_uri(), credentials=None, nearby=nearby)

    def _patch(self) -> bytes | None:
        if self.facts.patch is None:
            return None
        try:
            return self.kept.read_bytes(self.facts.patch)
        except MlrunError as error:
            raise _not_kept(f"the patch of its uncommitted changes: {error.message}") from error

    # --- the commit -----------------------------------------------------------------------------------

    def _revision(self, commit: str) -> Revision:
        if not _COMMIT.fullmatch(commit):
            raise SourceError(f"the record names no commit: `{commit[:80]}`", code="commit-gone")
        reasons: list[str] = []
        for repository in self._repositories():
            try:
                return self._in_repository(repository, commit)
            except MlrunError as error:  # it is another one, or none of ours
                reasons.append(f"{repository}: {error.message}")
        return self._from_url(commit, reasons)

    def _repositories(self) -> Iterator[Path]:
        """Repositories on this machine that may hold the commit: where it was, and where the caller is."""
        url = self.facts.url or ""
        places = [self.facts.directory] if self.facts.kind == "directory" else []
        places += [url.removeprefix("file://")] if url.startswith("file:///") else []
        for place in (*places, self.caller.directory):
            folder = Path(place)
            root = directories.find_root(folder)
            if root is not None:
                yield root
            elif (folder / "objects").is_dir() and (folder / "HEAD").is_file():
                yield folder

    def _in_repository(self, repository: Path, commit: str) -> Revision:
        git = local_git(repository, self.caller.variables)
        bare = (repository / "objects").is_dir() and not (repository / ".git").exists()
        objects = repository / "objects" if bare else directories.objects_of(git)
        return find_local(git, commit, objects=objects)

    def _from_url(self, commit: str, reasons: list[str]) -> Revision:
        url = self.facts.url
        if url is None:
            there = os.path.isdir(self.facts.directory)
            why = f"{self.facts.directory} {'no longer has it' if there else 'is gone'}"
            raise self._gone(commit, why, details=tuple(dict.fromkeys(reasons)))
        try:
            return self._mirror(url, commit).find()
        except SourceError as error:
            details = (*dict.fromkeys(reasons), *error.details)
            raise self._gone(commit, error.message, details=details) from error

    def _mirror(self, url: str, commit: str) -> Mirror:
        """Of a folder that is gone, too, if it was fetched from once. Raises SourceError."""

        def mirror(target: Target) -> Mirror:
            return Mirror(target, variables=self.caller.variables, cache=self.cache, narrator=self.narrator)

        try:
            return mirror(parse_target(url, commit, directory="/"))
        except SourceError:
            from urllib.parse import unquote

            gone = Target(kind="git", location=unquote(url.removeprefix("file://")), version=commit)
            if gone.is_local and (there := mirror(gone)).path.exists():
                return there
            raise

    def _gone(self, commit: str, why: str, details: tuple[str, ...] = ()) -> SourceError:
        return SourceError(
            f"the commit {commit[:12]} of the run cannot be found: {why}",
            hint="try again in a clone of the repository that has it",
            code="commit-gone",
            details=details,
        )

    # --- what no commit holds -------------------------------------------------------------------------

    def _add_untracked(self, git: Git) -> None:
        """Links come last: no file can then be written through one of them."""
        files = sorted(self.facts.untracked, key=lambda file: file.mode == "120000")
        lost = [file for file in files if not self._put(git.directory, file)]
        if lost:
            raise _not_kept(_named(file.path for file in lost))
        names = b"".join(os.fsencode(file.path) + b"\0" for file in files)
        if names:
            git.read("update-index", "--add", "--replace", "-z", "--stdin", stdin=names)

    def _put(self, root: Path, file: StoredFile) -> bool:
        """A file from the store, else from where it was if it is still the same."""
        path = _place(root, file.path)
        if path is None:
            return False
        try:
            if file.mode == "120000":
                os.symlink(os.fsdecode(self.kept.read_bytes(file.digest)), path)
                return True
            if file.stored:
                self.kept.fetch(file.digest, path)
            else:
                self._copy_unchanged(file, path)
            path.chmod(0o755 if file.mode == "100755" else 0o644)
        except (MlrunError, OSError, ValueError):
            return False
        return True

    def _copy_unchanged(self, file: StoredFile, path: Path) -> None:
        from mlrun.files import copy_file

        copy_file(Path(self.facts.directory, file.path), path)
        if digest.of_file(path) != file.digest:
            path.unlink()
            raise ValueError(file.path)

    def _differs(self, git: Git, tree: str) -> SourceError:
        changed = git.ask("diff-tree", "-r", "--name-only", "-z", tree, self.facts.tree)
        names = [os.fsdecode(name) for name in changed.stdout.split(b"\0") if name]
        return SourceError(
            f"the run's source was tree {self.facts.tree[:12]}, and what could be put together is "
            f"{tree[:12]}" + (f": {_named(names)}" if names else ""),
            hint="nested repositories, and files that could not be read, are not kept with a record",
            code="tree-differs",
        )


_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""Of the SHA-1 format; every git knows it without having it."""


def _place(root: Path, relative: str) -> Path | None:
    """Where a file goes, its folders made; None for what leads out of the checkout, or into git's folder."""
    parts = relative.split("/")
    if any(part in ("", ".", "..") or part.lower() == ".git" for part in parts) or "\0" in relative:
        return None
    folder = root
    for part in parts[:-1]:
        folder /= part
        if folder.is_symlink():
            return None
        folder.mkdir(exist_ok=True)
    return folder / parts[-1]


def _not_kept(what: str) -> SourceError:
    return SourceError(
        f"not all of the run's source was kept: {what}",
        hint="the record has their digests: put them back where the run was started, and try again",
        code="source-not-kept",
    )


def _named(paths: Iterable[str]) -> str:
    names = [f"`{path}`" for path in paths]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
