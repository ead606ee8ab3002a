"""A target becomes a snapshot: the exact source that will run, named by its git tree.

A directory runs where it lies and is never written to; a git URL, a revision of a local repository or an
archive runs from a checkout of ours. Nothing here knows what a project is.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import files
from mlrun.errors import SourceError
from mlrun.model import Snapshot
from mlrun.source import directory as directories
from mlrun.source import remarks
from mlrun.source.git import local_git
from mlrun.source.target import Target, parse_target, without_credentials
from mlrun.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlrun.files import Cache
    from mlrun.model import Caller, Finding, Narrator, SourceFacts
    from mlrun.source.listing import Listed
    from mlrun.source.mirror import Revision
    from mlrun.source.restoration import Kept
    from mlrun.source.target import Credentials

__all__ = [
    "Target",
    "changed_files",
    "committed",
    "committed_at",
    "collect_garbage",
    "ignored",
    "listed",
    "look_again",
    "overlooked",
    "parse_target",
    "pinned",
    "pinned_within",
    "release",
    "restore",
    "take",
    "without_credentials",
]


def take(
    target: str,
    *,
    version: str | None,
    isolated: bool,
    caller: Caller,
    cache: Cache,
    run_id: str,
    narrator: Narrator,
) -> Snapshot:
    """Find, fetch where need be, and pin what a target names.

    Raises SourceError.
    """
    understood = parse_target(target, version, directory=caller.directory)
    job = _Job(caller=caller, cache=cache, run_id=run_id, narrator=narrator)
    match understood.kind:
        case "git":
            return job.from_url(understood)
        case "archive":
            return job.from_archive(understood)
        case "directory" if understood.version is not None:
            return job.from_revision(understood)
        case "directory":
            return job.isolated(understood) if isolated else job.in_place(understood)


def restore(
    facts: SourceFacts, kept: Kept, *, run_id: str, caller: Caller, cache: Cache, narrator: Narrator
) -> Snapshot:
    """The exact source of a past run, in a checkout of ours called `run_id`, checked by its git tree id.

    `kept` is what the store has of it. Raises SourceError: `commit-gone`, `source-not-kept`, `tree-differs`.
    """
    from mlrun.source import restoration

    return restoration.restore(facts, kept, run_id=run_id, caller=caller, cache=cache, narrator=narrator)


def release(snapshot: Snapshot, *, cache: Cache) -> None:
    """Remove a checkout of ours; a directory of the user's is never touched."""
    if snapshot.temporary and snapshot.root.parent == cache.checkouts:
        files.remove_tree(snapshot.root, trash=cache.trash)


def committed_at(snapshot: Snapshot, *, caller: Caller) -> str | None:
    """The date of the commit, UTC text (`2020-08-12T09:00:00Z`); None where there is no commit.

    Raises SourceError where git cannot tell.
    """
    seconds = committed(snapshot, caller=caller)
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def committed(snapshot: Snapshot, *, caller: Caller) -> int | None:
    """The same in seconds since 1970."""
    if snapshot.commit is None or snapshot.committed is not None:
        return snapshot.committed
    said = local_git(snapshot.root, caller.variables).read("show", "-s", "--format=%ct", snapshot.commit)
    return int(said.text)


def changed_files(snapshot: Snapshot, *, caller: Caller) -> tuple[str, ...]:
    """What was changed, removed or made in a checkout of ours, relative to its root, ignored files too.

    Raises SourceError where git cannot tell.
    """
    from mlrun.source import checkout

    return checkout.changed(local_git(snapshot.root, caller.variables)) if snapshot.temporary else ()


def pinned(snapshot: Snapshot, paths: tuple[str, ...], *, caller: Caller) -> frozenset[str]:
    """Of files that lay in the source when it was pinned (relative to its root), those that its tree holds.

    Raises SourceError where git cannot tell.
    """
    if snapshot.temporary or not paths:
        return frozenset(paths)
    if snapshot.commit is None:
        return frozenset(paths).intersection(snapshot.untracked)
    git = local_git(snapshot.root, caller.variables)
    asked = b"".join(os.fsencode(path) + b"\0" for path in paths)
    said = git.ask("check-ignore", "-z", "--stdin", stdin=asked)
    if said.exit_code not in (0, 1):
        links = tuple(f"{link}/" for link, _ in remarks.gitlinks(git))
        own = tuple(path for path in paths if not path.startswith(links))  # those in submodules are others'
        return pinned(snapshot, own, caller=caller) if len(own) < len(paths) else frozenset()
    return frozenset(paths).difference(os.fsdecode(said.stdout).split("\0"))


def pinned_within(
    snapshot: Snapshot, folder: str, names: tuple[str, ...], *, caller: Caller
) -> frozenset[str]:
    """The same of many files of one folder: git looks into one that it ignores once, not once for each."""
    if snapshot.temporary:
        return frozenset(names)
    within = f"{folder}/" if folder else ""
    if snapshot.commit is None:
        held: Iterable[str] = snapshot.untracked
    else:
        git = local_git(snapshot.root, caller.variables)
        options = ("--cached", "--others", "--exclude-standard", "-z", "--")
        said = git.ask("--literal-pathspecs", "ls-files", *options, folder or ".")
        held = os.fsdecode(said.stdout).split("\0")
    return frozenset(path[len(within) :] for path in held if path.startswith(within)).intersection(names)


def look_again(snapshot: Snapshot, *, caller: Caller, cache: Cache) -> Snapshot:
    """A directory of the user's as it is by now; a checkout of ours is nobody's to change.

    Raises SourceError.
    """
    if snapshot.temporary:
        return snapshot
    return directories.pin(snapshot.directory, variables=caller.variables, cache=cache).snapshot


def listed(snapshot: Snapshot, *, caller: Caller, cache: Cache) -> tuple[Listed, ...]:
    """Every file of a snapshot's tree, with git's mode and id. Raises SourceError where git cannot tell."""
    from mlrun.source import listing

    return listing.listed(snapshot, caller=caller, cache=cache)


def ignored(snapshot: Snapshot, *, caller: Caller, cache: Cache) -> tuple[str, ...]:
    """What lies in the project's folder and is no part of the tree by git's rules: paths relative to it.

    Raises SourceError where git cannot tell.
    """
    from mlrun.source import listing

    return listing.ignored(snapshot, caller=caller, cache=cache)


def overlooked(snapshot: Snapshot, *, caller: Caller, cache: Cache) -> tuple[str, ...]:
    """Files of the tree that git was told not to look at: they may hold anything by now.

    Raises SourceError where git cannot tell.
    """
    from mlrun.source import listing

    return listing.overlooked(snapshot, caller=caller, cache=cache)


def collect_garbage(cache: Cache, *, older_than: float, keep: frozenset[str]) -> tuple[int, int]:
    """Remove checkouts, mirrors, pins, and outputs fetched by their names, that were not used since
    `older_than` (seconds since 1970); how many, and their bytes.

    `keep` are the ids of runs whose checkouts stay. What is removed is made again when it is needed.
    """
    files.empty_trash(cache.trash)
    count = freed = 0
    for bucket in (cache.checkouts, cache.repositories, cache.snapshots, cache.inputs):
        for folder in sorted(bucket.iterdir()) if bucket.is_dir() else ():
            if folder.name in keep or folder.stat().st_mtime >= older_than or _is_busy(folder, cache):
                continue
            count, freed = count + 1, freed + _size(folder)
            files.remove_tree(folder, trash=cache.trash)
    return count, freed


def _is_busy(folder: Path, cache: Cache) -> bool:
    return files.is_locked(cache.locks / f"git-{folder.name}.lock")


def _size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


# --- the ways in --------------------------------------------------------------------------------------


@value
class _Job:
    """One call of `take`: who asks, where to put things, what to call them, whom to tell."""

    caller: Caller
    cache: Cache
    run_id: str
    narrator: Narrator

    def in_place(self, target: Target) -> Snapshot:
        directory = _project_folder(target)
        return directories.pin(directory, variables=self.caller.variables, cache=self.cache).snapshot

    def isolated(self, target: Target) -> Snapshot:
        """A directory's snapshot, checked out elsewhere; what the user does meanwhile does not matter."""
        variables = self.caller.variables
        pinned = directories.pin(_project_folder(target), variables=variables, cache=self.cache, keep=True)
        snapshot = pinned.snapshot
        root, findings = self._check_out(
            snapshot.tree,
            commit=snapshot.commit,
            url=snapshot.url,
            objects=pinned.objects,
            origin=snapshot.root.as_uri(),
            nearby=snapshot.root,
        )
        return replace(
            snapshot,
            root=root,
            temporary=True,
            findings=(*snapshot.findings, *findings),
            origin=snapshot.root,
        )

    def from_revision(self, target: Target) -> Snapshot:
        """A revision of a repository on this machine: its objects are borrowed, nothing of it is touched."""
        from mlrun.source import mirror

        top = Path(os.path.realpath(target.location))
        root = directories.find_root(top)
        if root is None:
            raise SourceError(
                f"{top} is no git repository, so it has no revision `{target.version}`",
                hint="leave out `--version` to run it as it is",
                code="not-a-repository",
            )
        git = local_git(root, self.caller.variables)
        revision = mirror.find_local(git, target.version or "HEAD", objects=directories.objects_of(git))
        inside = (top.relative_to(root) / target.subdirectory).as_posix()
        revision = replace(revision, subdirectory="" if inside == "." else inside)
        return self._from_revision(revision, target, url=root.as_uri())

    def from_url(self, target: Target) -> Snapshot:
        from mlrun.source.mirror import Mirror

        mirror = Mirror(target, variables=self.caller.variables, cache=self.cache, narrator=self.narrator)
        return self._from_revision(mirror.find(), target, url=_url(target))

    def from_archive(self, target: Target) -> Snapshot:
        """An archive's files, in a repository without a commit, so that changes can be told later."""
        from mlrun.source import archive, checkout, plain

        if target.version is not None:
            raise SourceError(
                f"an archive has no revisions, so there is no `{target.version}`",
                hint="leave out `--version`",
                code="not-a-repository",
            )
        held: list[plain.Contents] = []

        def fill(scratch: Path) -> None:
            packed = Path(target.location)
            if not target.is_local:
                packed = scratch.with_name(f"{scratch.name}.zip")
                archive.fetch(target, packed, narrator=self.narrator)
            archive.unpack(packed, scratch)
            checkout.check_subdirectory(scratch, target.subdirectory)
            variables = self.caller.variables
            held.append(plain.contents(scratch / ".git", scratch, variables=variables, keep=True))

        try:
            root = checkout.build(self.run_id, cache=self.cache, fill=fill)
        finally:
            for left in self.cache.temporary.glob(f"{self.run_id}.*.zip"):
                left.unlink()
        return Snapshot(
            kind="directory",
            root=root,
            tree=held[0].tree,
            subdirectory=target.subdirectory,
            url=_url(target),
            untracked=held[0].files,
            temporary=True,
            findings=held[0].findings,
        )

    def _from_revision(self, revision: Revision, target: Target, *, url: str) -> Snapshot:
        from mlrun.source import checkout

        git = local_git(revision.objects.parent, self.caller.variables)
        root, findings = self._check_out(
            revision.commit,
            commit=revision.commit,
            url=url,
            objects=(revision.objects,),
            origin=url,
            references=checkout.references_of(git),
            subdirectory=revision.subdirectory,
            credentials=target.credentials,
        )
        return Snapshot(
            kind="git",
            root=root,
            tree=git.read("rev-parse", "--verify", f"{revision.commit}^{{tree}}").text,
            subdirectory=revision.subdirectory,
            url=url,
            version=target.version,
            commit=revision.commit,
            branch=revision.branch,
            temporary=True,
            findings=(*revision.findings, *findings),
        )

    def _check_out(
        self,
        treeish: str,
        *,
        commit: str | None,
        url: str | None,
        objects: tuple[Path, ...],
        origin: str,
        nearby: Path | None = None,
        references: str = "",
        subdirectory: str = "",
        credentials: Credentials | None = None,
    ) -> tuple[Path, list[Finding]]:
        """The folder of the run, with submodules; `origin` is what their addresses are relative to."""
        from mlrun.source import checkout

        findings: list[Finding] = []

        def fill(scratch: Path) -> None:
            git = checkout.lay_out(
                scratch,
                treeish,
                objects=objects,
                variables=self.caller.variables,
                commit=commit,
                url=url,
                references=references,
            )
            checkout.check_subdirectory(scratch, subdirectory)
            submodules = checkout.Submodules(cache=self.cache, narrator=self.narrator)
            findings.extend(submodules.fill(git, origin, credentials=credentials, nearby=nearby))
            findings.extend(remarks.of_lfs(git))

        return checkout.build(self.run_id, cache=self.cache, fill=fill), findings


def _project_folder(target: Target) -> Path:
    top = Path(os.path.realpath(target.location))
    if target.subdirectory:
        from mlrun.source.checkout import check_subdirectory

        check_subdirectory(top, target.subdirectory)
    return Path(os.path.realpath(top / target.subdirectory))


def _url(target: Target) -> str:
    return Path(target.location).as_uri() if target.is_local else target.location
