"""What lies between two sources of the past: commits, files, text.

The trees are put together in a scratch repository, which borrows the objects of whatever repository is at
hand on this machine (where the run was, where the caller is, the mirror of its URL) and takes from the store
what no commit holds. Nothing is fetched, and no repository is written to.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlrun import digest
from mlrun.errors import MlrunError
from mlrun.source import directory as directories
from mlrun.source.git import local_git, quoted_path
from mlrun.source.mirror import key_of
from mlrun.source.target import parse_target
from mlrun.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlrun.files import Cache
    from mlrun.model import Caller, SourceFacts, StoredFile
    from mlrun.source.restoration import Kept

_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MOST_COMMITS = 100
_MOST_COUNTED = 2000  # files; of more, lines are not counted
_NO_FILTERS = ("filter.lfs.required=false", "filter.lfs.smudge=", "filter.lfs.process=")  # they may fetch


@value
class Commit:
    """`side` is `after` for a commit that only the second has, `before` for one that only the first has."""

    id: str
    subject: str
    side: str


@value
class FileChange:
    """A file that differs; `added` and `removed` count lines, None for what is no text."""

    path: str
    change: Literal["added", "removed", "changed"]
    added: int | None = None
    removed: int | None = None


class Trees:
    """The sources of some runs as git trees, in a scratch folder of the caller's."""

    def __init__(
        self, folder: Path, sources: tuple[SourceFacts, ...], kept: Kept, *, caller: Caller, cache: Cache
    ) -> None:
        self._folder = folder
        self._kept = kept
        self._known: dict[str, bool] = {}
        self._made: dict[tuple[SourceFacts, frozenset[StoredFile]], str | None] = {}
        ids = [facts.tree for facts in sources]
        repository = folder / "repository"
        borrowed = dict.fromkeys(
            objects for facts in sources for objects in _objects_at_hand(facts, caller, cache)
        )
        _write_repository(repository, tuple(borrowed), sha256=any(len(tree) == 64 for tree in ids))
        self._git = local_git(
            folder, caller.variables, GIT_DIR=str(repository), GIT_INDEX_FILE=str(folder / "index")
        )
        self._git.read("rev-parse", "--git-dir")  # where git is missing, better now than halfway

    def tree(self, facts: SourceFacts, *, without: frozenset[StoredFile] = frozenset()) -> str | None:
        """The tree's id; None where it cannot be put together from what is at hand.

        `without` leaves untracked files out, such as those that another side has just so. A tree that some
        repository has is never made anew.
        """
        if self.has(facts):
            return facts.tree
        if facts.commit and not self._is(facts.commit, "commit"):
            return None
        if (facts, without) not in self._made:
            try:
                self._made[facts, without] = self._put_together(facts, without)
            except (MlrunError, OSError, ValueError):
                self._made[facts, without] = None
        return self._made[facts, without]

    def has(self, facts: SourceFacts) -> bool:
        """Whether a repository at hand holds the very tree."""
        return self._is(facts.tree, "tree")

    def files(self, before: str, after: str) -> tuple[FileChange, ...]:
        """The files that differ between two trees.

        Raises SourceError.
        """
        names = self._git.read("diff-tree", "-r", "-z", "--no-renames", "--name-status", before, after)
        kinds = _pairs(os.fsdecode(names.stdout).split("\0"))
        counts = self._counts(before, after) if len(kinds) <= _MOST_COUNTED else {}
        words: dict[str, Literal["added", "removed"]] = {"A": "added", "D": "removed"}
        return tuple(
            FileChange(
                path=path,
                change=words.get(letter, "changed"),
                added=counts.get(path, (None, None))[0],
                removed=counts.get(path, (None, None))[1],
            )
            for letter, path in kinds
        )

    def _counts(self, before: str, after: str) -> dict[str, tuple[int, int]]:
        """Lines added and removed, by path; binary files are left out."""
        said = self._git.read("diff-tree", "-r", "-z", "--no-renames", "--numstat", before, after)
        counts = {}
        for entry in os.fsdecode(said.stdout).split("\0"):
            added, removed, path = [*entry.split("\t", 2), "", ""][:3]
            if added.isdigit() and removed.isdigit():
                counts[path] = (int(added), int(removed))
        return counts

    def patch(self, before: str, after: str, paths: tuple[str, ...]) -> bytes:
        """The text difference of some files, as `git diff` has it; binary ones are only named.

        Raises SourceError.
        """
        if not paths:
            return b""
        options = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "-O/dev/null", "-r", "-p")
        exact = [f":(top,literal){path}" for path in paths]
        return self._git.read("diff-tree", *options, before, after, "--", *exact).stdout

    def commits(self, before: str, after: str) -> tuple[Commit, ...] | None:
        """What only one of two commits has in its history, the newest first; None where that is not known."""
        if not (_ID.fullmatch(before) and _ID.fullmatch(after)):
            return None
        said = self._git.ask(
            *("log", "--no-show-signature", "--no-color", f"-n{_MOST_COMMITS}", "-z", "--left-right"),
            *("--format=%m%H%x09%s", f"{before}...{after}", "--"),
        )
        if said.exit_code != 0:
            return None
        lines = [line for line in said.stdout.decode("utf-8", "replace").split("\0") if line]
        return tuple(_commit(line) for line in lines)

    def extract(self, tree: str, path: str, destination: Path) -> bool:
        """Write a file or folder of a tree below `destination`, under the same path; False if not there."""
        if "\0" in path:
            return False
        names = self._git.ask("ls-tree", "-r", "-z", "--name-only", "--full-tree", tree, "--", path)
        if names.exit_code != 0 or not names.stdout:
            return False
        if self._git.ask("read-tree", tree).exit_code != 0:
            return False
        plain = replace(self._git, settings=_NO_FILTERS)
        prefix = f"--prefix={destination}{os.sep}"
        said = plain.ask("--work-tree=.", "checkout-index", "-z", "--stdin", prefix, stdin=names.stdout)
        return said.exit_code == 0

    # --- how --------------------------------------------------------------------------------------

    def _is(self, name: str, kind: str) -> bool:
        if name not in self._known:
            said = _ID.fullmatch(name) and self._git.ask("cat-file", "-e", f"{name}^{{{kind}}}")
            self._known[name] = bool(said and said.exit_code == 0)
        return self._known[name]

    def _put_together(self, facts: SourceFacts, without: frozenset[StoredFile]) -> str:
        """In the index alone, where nothing converts line ends."""
        git = self._git
        git.read("read-tree", facts.commit or "--empty")
        if facts.patch:
            patch = self._kept.read_bytes(facts.patch)
            exact = replace(git, settings=("apply.whitespace=nowarn", "apply.ignoreWhitespace=no"))
            exact.read("apply", "--cached", "--binary", "--unidiff-zero", "-", stdin=patch)
        self._add([file for file in facts.untracked if file not in without])
        return git.read("write-tree").text

    def _add(self, untracked: list[StoredFile]) -> None:
        """Files from the store; one that is not kept is left out, and told by its digest elsewhere."""
        paths = []
        present = []
        for file in untracked:
            copy = self._folder / f"untracked.{digest.hex_of(file.digest)}"
            try:
                if not copy.exists():
                    self._kept.fetch(file.digest, copy)
            except (MlrunError, ValueError):
                continue
            paths.append(str(copy))
            present.append(file)
        if not present:
            return
        said = self._git.read(
            "hash-object", "-w", "--no-filters", "--stdin-paths", stdin=os.fsencode("\n".join(paths) + "\n")
        )
        entries = "".join(
            f"{file.mode} {blob}\t{file.path}\0"
            for file, blob in zip(present, said.text.splitlines(), strict=True)
        )
        self._git.read("update-index", "-z", "--index-info", stdin=os.fsencode(entries))


def _commit(line: str) -> Commit:
    head, _, subject = line.partition("\t")
    return Commit(id=head[1:], subject=subject, side="before" if head[0] == "<" else "after")


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    return list(zip(words[::2], words[1::2], strict=False))


def _objects_at_hand(facts: SourceFacts, caller: Caller, cache: Cache) -> Iterator[Path]:
    """Folders of git objects that may hold a source, without asking any network."""
    url = facts.url or ""
    places = [facts.directory] if facts.kind == "directory" else []
    places += [url.removeprefix("file://")] if url.startswith("file:///") else []
    for place in (*places, caller.directory):
        root = directories.find_root(Path(place))
        if root is None and (Path(place) / "HEAD").is_file():
            yield Path(place) / "objects"
        elif root is not None:
            with contextlib.suppress(MlrunError):
                yield Path(directories.objects_of(local_git(root, caller.variables)))
    if url:
        with contextlib.suppress(MlrunError):
            target = parse_target(url, None, directory="/")
            yield cache.repositories / key_of(target) / "objects"


def _write_repository(folder: Path, borrowed: tuple[Path, ...], *, sha256: bool) -> None:
    for part in ("objects/info", "refs/heads"):
        (folder / part).mkdir(parents=True)
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    lines = ["[core]", f"\trepositoryformatversion = {int(sha256)}", "\tbare = true"]
    lines += ["[extensions]", "\tobjectformat = sha256"] if sha256 else []
    (folder / "config").write_text("\n".join(lines) + "\n")
    present = [path for path in borrowed if path.is_dir()]
    (folder / "objects/info/alternates").write_bytes(
        b"".join(os.fsencode(quoted_path(path)) + b"\n" for path in present)
    )
    shallow = [path.parent / "shallow" for path in present if (path.parent / "shallow").is_file()]
    if shallow:
        (folder / "shallow").write_bytes(b"".join(path.read_bytes() for path in shallow))
