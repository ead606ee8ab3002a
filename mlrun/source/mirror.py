"""One bare mirror a URL: fetched under a lock, asked for revisions, never holding a password.

A commit that is already there needs no network. A branch, a tag or the default branch is looked up on the
remote each time; where that cannot be reached and the mirror has seen it, what was seen serves, and a
finding says so.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from mlrun import digest, files
from mlrun.errors import SourceError
from mlrun.model import Finding
from mlrun.pattern import pattern
from mlrun.source.git import Git, local_git, progress_of, remote_git, remote_refusal
from mlrun.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlrun.files import Cache
    from mlrun.model import Narrator
    from mlrun.process import Captured
    from mlrun.source.target import Target

_HEADS, _TAGS = "refs/heads/", "refs/tags/"
_HEX = pattern(r"[0-9a-fA-F]{4,64}")
_FULL = pattern(r"[0-9a-f]{40}|[0-9a-f]{64}")
_UNREACHABLE = frozenset({"source-unreachable", "source-broken-off"})


@value
class Revision:
    """A commit, where its objects are on this machine, and how it was found."""

    objects: Path
    commit: str
    branch: str | None = None
    subdirectory: str = ""
    findings: tuple[Finding, ...] = ()


@value
class _References:
    """What a repository calls its commits; `default` is the full name of its default branch."""

    commits: Mapping[str, str]
    default: str | None = None
    head: str | None = None

    def named(self, name: str) -> str | None:
        """The full name behind a short one.

        Raises SourceError where a branch and a tag of that name are at different commits.
        """
        if name in self.commits:
            return name
        found = [prefix + name for prefix in (_HEADS, _TAGS) if prefix + name in self.commits]
        if len({self.commits[full] for full in found}) > 1:
            raise SourceError(
                f"`{name}` is both a branch and a tag, at different commits",
                hint=f"say which: `{found[0]}` or `{found[1]}`",
                code="ambiguous-revision",
            )
        return found[0] if found else None

    def names(self) -> list[str]:
        return [full.removeprefix(_HEADS).removeprefix(_TAGS) for full in self.commits if full != "HEAD"]


class Mirror:
    """The mirror of one target's URL."""

    def __init__(
        self, target: Target, *, variables: Mapping[str, str], cache: Cache, narrator: Narrator
    ) -> None:
        key = key_of(target)
        self.target = target
        self.path = cache.repositories / key
        self._lock = cache.locks / f"git-{key}.lock"
        self._cache = cache
        self._variables = variables
        self._narrator = narrator
        self._git = local_git(self.path, variables)

    def find(self) -> Revision:
        """The commit that the target's version means, fetched if need be.

        Raises SourceError.
        """
        self._create()
        os.utime(self.path)  # for collect_garbage: in use
        found = self._find_by_commit() or self._find_by_name()
        return replace(found, subdirectory=self.target.subdirectory or found.subdirectory)

    # --- looking --------------------------------------------------------------------------------------

    def _find_by_commit(self) -> Revision | None:
        """A full or short commit that is here already, unless a branch or tag goes by the same name."""
        version = self.target.version
        if version is None or self.target.reference_path or not _HEX.fullmatch(version):
            return None
        if _local_references(self._git).named(version):
            return None
        commit = _local_commit(self._git, version)
        return Revision(objects=self.path / "objects", commit=commit) if commit else None

    def _find_by_name(self) -> Revision:
        findings: tuple[Finding, ...] = ()
        try:
            references = self._remote_references()
        except SourceError as error:
            references = _local_references(self._git)
            if error.code not in _UNREACHABLE or not self._has_seen(references):
                raise
            findings = (_stale(self.target, error),)
        branch, folder = self._split_reference_path(references)
        wanted = self.target.version or branch
        full = references.named(wanted) if wanted else references.default or "HEAD"
        if full is None or full not in references.commits:
            commit, name = self._find_unnamed(wanted, references, reachable=not findings), None
        else:
            commit, name = self._fetched(full, references), full
        return Revision(
            objects=self.path / "objects",
            commit=commit,
            branch=name.removeprefix(_HEADS) if name and name.startswith(_HEADS) else None,
            subdirectory=folder,
            findings=findings,
        )

    def _has_seen(self, references: _References) -> bool:
        wanted = self.target.version
        return (references.named(wanted) if wanted else references.default) is not None

    def _split_reference_path(self, references: _References) -> tuple[str | None, str]:
        """Where the branch ends and the folder begins: branches may hold slashes."""
        if not self.target.reference_path:
            return None, ""
        parts = self.target.reference_path.split("/")
        for end in range(len(parts), 0, -1):
            name = "/".join(parts[:end])
            if references.named(name):
                return name, "/".join(parts[end:])
        return parts[0], "/".join(parts[1:])

    def _find_unnamed(self, wanted: str | None, references: _References, *, reachable: bool) -> str:
        """A commit that no reference names."""
        if wanted is None:
            raise SourceError(
                f"the repository at `{self.target.location}` has no commits yet", code="empty-repository"
            )
        if reachable and _HEX.fullmatch(wanted):
            self._fetch(references.default)
            commit = _local_commit(self._git, wanted)
            if commit is None and _FULL.fullmatch(wanted) and self._fetch_commit(wanted):
                commit = _local_commit(self._git, wanted)
            if commit is not None:
                return commit
        raise _unknown_revision(wanted, self.target.location, references.names())

    def _fetched(self, full: str, references: _References) -> str:
        """The commit behind a reference of the remote's, fetched unless it is here."""
        remote = references.commits[full]
        if full.startswith((_HEADS, _TAGS)):
            if _local_references(self._git).commits.get(full) != remote:
                self._fetch(references.default)
        elif _local_commit(self._git, remote) is None:
            self._fetch_commit(remote)
        commit = _local_commit(self._git, remote)
        if commit is None:
            raise SourceError(
                f"`{full}` of `{self.target.location}` does not name a commit", code="unknown-revision"
            )
        return commit

    # --- references -----------------------------------------------------------------------------------

    def _remote_references(self) -> _References:
        git = remote_git(self.path, self.target, self._variables)
        said = git.ask("ls-remote", "--quiet", "--symref", "--", self.target.location)
        if said.exit_code != 0:
            raise remote_refusal(self.target.location, said)
        commits: dict[str, str] = {}
        default = None
        for left, _, name in _rows(said.text, "\t"):
            if left.startswith("ref: ") and name == "HEAD":
                default = left.removeprefix("ref: ")
            elif not name.endswith("^{}"):
                commits[name] = left
        return _References(commits=commits, default=default if default in commits else None)

    # --- fetching -------------------------------------------------------------------------------------

    def _create(self) -> None:
        def build(scratch: Path) -> None:
            scratch.mkdir()
            git = local_git(scratch, self._variables)
            git.read("init", "--quiet", "--bare", "--template=", ".")

        files.build_once(
            self.path,
            lock=self._lock,
            temporary=self._cache.temporary,
            trash=self._cache.trash,
            build=build,
            waiting=self._waiting,
        )

    def _fetch(self, default: str | None) -> None:
        """Bring all branches and tags, and remember which branch is the default one."""
        self._narrator.say(f"fetching {self.target.location}")
        with self._alone():
            said = self._ask_for("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
            if said.exit_code != 0:
                raise remote_refusal(self.target.location, said)
            if default:
                self._git.read("symbolic-ref", "HEAD", default)

    def _fetch_commit(self, commit: str) -> bool:
        """Bring a commit that no branch or tag reaches; hosts may refuse that."""
        with self._alone():
            return self._ask_for(f"+{commit}:refs/mlrun/{commit}").exit_code == 0

    def _ask_for(self, *mappings: str) -> Captured:
        def heard(chunk: bytes) -> None:
            progress = progress_of(chunk)
            if progress is not None:
                self._narrator.progress(f"fetching {self.target.location}: {progress[0]}", progress[1])

        return remote_git(self.path, self.target, self._variables).ask(
            *("fetch", "--progress", "--prune", "--no-tags", "--no-write-fetch-head", "--force"),
            *("--no-recurse-submodules", "--", self.target.location, *mappings),
            on_stderr=heard,
        )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the mirror's lock; what a killed fetch left behind is then nobody's, and goes."""
        with files.locked(self._lock, waiting=self._waiting):
            for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/pack/.tmp-*"):
                for left in self.path.glob(pattern):
                    left.unlink(missing_ok=True)
            for left in self.path.glob("objects/tmp_objdir-*"):
                files.remove_tree(left, trash=self._cache.trash)
            yield

    def _waiting(self, _seconds: float) -> None:
        self._narrator.say(f"waiting for another run that is fetching {self.target.location}")


def key_of(target: Target) -> str:
    """The name of a mirror's folder in the cache."""
    return digest.hex_of(digest.of_bytes(target.location.rstrip("/").encode()))[:32]


def find_local(git: Git, version: str, *, objects: Path) -> Revision:
    """The commit that a version means in the user's own repository, which is only read.

    Raises SourceError.
    """
    references = _local_references(git)
    full = references.named(version)
    commit = _local_commit(git, full or version)
    if commit is None:
        raise _unknown_revision(version, str(git.directory), references.names())
    branch = full.removeprefix(_HEADS) if full and full.startswith(_HEADS) else None
    return Revision(objects=objects, commit=commit, branch=branch)


def _local_references(git: Git) -> _References:
    said = git.read("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags")
    head = git.ask("symbolic-ref", "--quiet", "HEAD").text
    commits = {name: commit for commit, _, name in _rows(said.text, " ")}
    return _References(commits=commits, default=head if head in commits else None)


def _local_commit(git: Git, name: str) -> str | None:
    """The commit with this full or short name.

    Raises SourceError where several begin with it.
    """
    said = git.ask("rev-parse", "--verify", f"{name}^{{commit}}")
    if said.exit_code == 0:
        return said.text
    if b"is ambiguous" not in said.stderr:
        return None
    raise SourceError(
        f"several commits begin with `{name}`",
        hint="give more of its digits",
        code="ambiguous-revision",
        details=_commits_that_begin(git, name),
    )


def _unknown_revision(wanted: str, where: str, known: list[str]) -> SourceError:
    """The error for a revision that does not exist, with the nearest that do."""
    import difflib

    near = difflib.get_close_matches(wanted, known, n=3)
    few = ", ".join(f"`{name}`" for name in sorted(known)[:10])
    return SourceError(
        f"`{where}` has no branch, tag or commit `{wanted}`",
        hint=f"did you mean {' or '.join(f'`{name}`' for name in near)}?"
        if near
        else f"it has {few or 'no commits yet'}",
        code="unknown-revision",
    )


def _commits_that_begin(git: Git, name: str) -> tuple[str, ...]:
    objects = git.ask("rev-parse", f"--disambiguate={name}").text
    kinds = git.ask("cat-file", "--batch-check", stdin=objects.encode() + b"\n").text
    return tuple(line.split()[0] for line in kinds.splitlines() if " commit " in line)[:10]


def _rows(text: str, separator: str) -> list[tuple[str, str, str]]:
    return [line.partition(separator) for line in text.splitlines() if line]


def _stale(target: Target, error: SourceError) -> Finding:
    return Finding(
        level="warning",
        code="source-not-refreshed",
        message=f"{error.message}; using what was fetched earlier from `{target.location}`",
    )
