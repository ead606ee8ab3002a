"""Targets become snapshots: by grammar, from real repositories, over real transports."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlrun import source
from mlrun.errors import SourceError
from mlrun.model import Caller, Snapshot
from mlrun.source.target import Target, parse_target
from mlrun.value import replace
from tests import gitserver
from tests.gitserver import commit, git, repository, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlrun.files import Cache
    from tests.quiet import Quiet

    Take = Callable[..., Snapshot]

OTHER = 65534  # nobody


@pytest.fixture
def take(caller: Caller, cache: Cache, narrator: Quiet) -> Take:
    count = iter(range(1000))

    def take(
        target: str | Path, version: str | None = None, *, isolated: bool = False, **variables: str
    ) -> Snapshot:
        return source.take(
            str(target),
            version=version,
            isolated=isolated,
            caller=replace(caller, variables={**caller.variables, **variables}),
            cache=cache,
            run_id=f"{next(count):032x}",
            narrator=narrator,
        )

    return take


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`main` with two commits, `dev` with one more, tags `v1` (annotated) and `light`; and a bare clone."""
    path = repository(
        tmp_path_factory.mktemp("template") / "repo", {"train.py": "print(1)\n", "sub/a.txt": "a\n"}
    )
    git(path, "tag", "-a", "v1", "-m", "one")
    write(path, {"train.py": "print(2)\n"})
    commit(path, "second")
    git(path, "tag", "light")
    git(path, "checkout", "-q", "-b", "dev")
    write(path, {"dev.txt": "dev\n"})
    commit(path, "third")
    git(path, "checkout", "-q", "main")
    git(path.parent, "clone", "-q", "--bare", "repo", "repo.git")
    return path.parent


@pytest.fixture
def repo(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template / "repo", tmp_path / "served/repo")
    return tmp_path / "served/repo"


@pytest.fixture
def bare(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template / "repo.git", tmp_path / "served/repo.git")
    return tmp_path / "served/repo.git"


def refusal(take: Take, target: str | Path, version: str | None = None) -> SourceError:
    with pytest.raises(SourceError) as caught:
        take(target, version)
    return caught.value


def every_byte(directory: Path) -> dict[str, tuple[int, int, str]]:
    """Content, mode and time of everything below, `.git` too."""
    seen = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        seen[str(path)] = (status.st_mode, status.st_mtime_ns, content)
    return seen


# --- the grammar --------------------------------------------------------------------------------------

COMMIT = "0651d1c962aa35e4dd02608c51a7b0efc2412407"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://host/a/b.git", Target(kind="git", location="https://host/a/b.git")),
        ("'https://host/a/b'", Target(kind="git", location="https://host/a/b")),
        ("https://HOST/a/B/", Target(kind="git", location="https://host/a/B")),
        ("https://host/a/b#x/y", Target(kind="git", location="https://host/a/b", subdirectory="x/y")),
        ("https://host/a/b.git@v1", Target(kind="git", location="https://host/a/b.git", version="v1")),
        (
            "https://host/a/b@feature/x#d",
            Target(kind="git", location="https://host/a/b", version="feature/x", subdirectory="d"),
        ),
        (
            "https://host/a/b#d.1/e@v1.0",
            Target(kind="git", location="https://host/a/b", version="v1.0", subdirectory="d.1/e"),
        ),
        ("https://host/@scope/b", Target(kind="git", location="https://host/@scope/b")),
        ("http://host:8080/b", Target(kind="git", location="http://host:8080/b")),
        ("git://host/b", Target(kind="git", location="git://host/b")),
        ("ssh://git@host:22/b", Target(kind="git", location="ssh://git@host:22/b")),
        ("ssh://git:pw@host/b", Target(kind="git", location="ssh://git@host/b")),
        ("git+ssh://git@host/b@v1", Target(kind="git", location="ssh://git@host/b", version="v1")),
        (
            "git+https://host/b@v1#subdirectory=x&egg=y",
            Target(kind="git", location="https://host/b", version="v1", subdirectory="x"),
        ),
        ("git@github.com:o/r.git", Target(kind="git", location="git@github.com:o/r.git")),
        (
            "git@github.com:o/r.git@v1#d",
            Target(kind="git", location="git@github.com:o/r.git", version="v1", subdirectory="d"),
        ),
        (
            "https://github.com/o/r/tree/main/a/b",
            Target(kind="git", location="https://github.com/o/r", reference_path="main/a/b"),
        ),
        (
            "https://gitlab.com/g/h/r/-/tree/main/a",
            Target(kind="git", location="https://gitlab.com/g/h/r", reference_path="main/a"),
        ),
        ("https://host/x.zip", Target(kind="archive", location="https://host/x.zip")),
    ],
)
def test_urls_are_understood(text: str, expected: Target) -> None:
    assert parse_target(text, None, directory="/") == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad-target"),
        ("ext::sh -c 'touch x'", "bad-target"),
        ("fd::17", "bad-target"),
        ("https::https://host/x", "bad-target"),
        ("ftp://host/x", "bad-target"),
        ("ssh://-oProxyCommand=x/y", "bad-target"),
        ("ssh://-oProxyCommand=x@host/y", "bad-target"),
        ("ssh://git@-oProxyCommand=x/y", "bad-target"),
        ("git@-oProxyCommand=x:y", "unknown-target"),
        ("git@-oProxyCommand:y", "bad-target"),
        ("-oX@host:y", "bad-target"),
        ("git@host:-y", "bad-target"),
        ("--upload-pack=x", "unknown-target"),
        ("https://host", "bad-target"),
        ("https:///x", "bad-target"),
        ("https://ho st/x", "bad-target"),
        ("https://host/x\ny", "bad-target"),
        ("https://host/x@--upload-pack=y", "bad-revision"),
        ("https://host/x@a..b", "bad-revision"),
        ("https://host/x@a b", "bad-revision"),
        ("https://host/x#../y", "bad-subdirectory"),
        ("https://host/x#a/../../y", "bad-subdirectory"),
        ("https://host/x#/etc", "bad-subdirectory"),
        ("https://host/x#.git/hooks", "bad-subdirectory"),
        ("file:///no/such/place", "source-not-found"),
        ("file://elsewhere/x", "source-not-found"),
        ("no/such/place", "unknown-target"),
        ("host:path", "unknown-target"),
    ],
)
def test_hostile_and_impossible_targets_are_refused(text: str, code: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse_target(text, None, directory="/")
    assert caught.value.code == code


@pytest.mark.parametrize("version", ["", "-x", "--upload-pack=x", "a b", "a..b", "x\n", "HEAD~1", "@{-1}"])
def test_what_cannot_be_a_revision_is_refused(version: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse_target("https://host/x", version, directory="/")
    assert caught.value.code == "bad-revision"


def test_a_host_without_a_scheme_gets_the_url_to_type() -> None:
    with pytest.raises(SourceError) as caught:
        parse_target("github.com/owner/repo", None, directory="/")
    assert caught.value.message == (
        "cannot find `github.com/owner/repo`: there is no such directory, and it is not a git URL"
    )
    assert caught.value.hint == "for a repository on the web, type `https://github.com/owner/repo`"


def test_two_different_revisions_are_refused() -> None:
    with pytest.raises(SourceError) as caught:
        parse_target("https://host/x@v1", "v2", directory="/")
    assert str(caught.value) == "the target asks for `v1`, `--version` for `v2`"


def test_marks_in_the_names_of_real_directories_are_only_letters(tmp_path: Path) -> None:
    for name in ("a#b", "a@b", "host:path"):
        (tmp_path / name).mkdir()
        assert parse_target(name, None, directory=str(tmp_path)) == Target(
            kind="directory", location=str(tmp_path / name)
        )


def test_a_script_as_target_says_how_to_name_it(tmp_path: Path) -> None:
    write(tmp_path, {"train.py": ""})
    with pytest.raises(SourceError, match="is a file, not a project's directory"):
        parse_target("train.py", None, directory=str(tmp_path))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:s3cret@host/x", "https://host/x"),
        ("https://s3cret@host/x@v1#d", "https://host/x@v1#d"),
        ("https://a:b@s3cret@host/x", "https://host/x"),
        ("git+https://u:s3cret@host/x", "git+https://host/x"),
        ("ssh://git:s3cret@host/x", "ssh://git@host/x"),
        ("git@host:x", "git@host:x"),
        ("postgresql://ada:s3cret@host/db", "postgresql://ada@host/db"),
        ("https://h/x?a=1&X-Amz-Signature=s3cret&b=2", "https://h/x?a=1&X-Amz-Signature=…&b=2"),
        ("'https://h/x?sig=s3cret' --key=k", "'https://h/x?sig=…' --key=k"),
        ("fatal: could not read 'https://u:s3cret@host/x/'", "fatal: could not read 'https://host/x/'"),
    ],
)
def test_credentials_are_cut_out_of_any_text(text: str, shown: str) -> None:
    assert source.without_credentials(text) == shown


def test_credentials_never_show_in_a_target() -> None:
    target = parse_target("https://user:s3cret@host/x", None, directory="/")
    assert target.credentials is not None
    assert target.credentials.password == "s3cret"
    assert "s3cret" not in repr(target)


# --- a directory in place: a git repository -----------------------------------------------------------


def test_a_clean_repository_is_pinned_to_its_commit(take: Take, repo: Path) -> None:
    assert take(repo) == Snapshot(
        kind="directory",
        root=repo,
        tree=git(repo, "rev-parse", "HEAD^{tree}"),
        commit=git(repo, "rev-parse", "HEAD"),
        branch="main",
        committed=int(git(repo, "show", "-s", "--format=%ct")),
    )
    assert take(repo) == take(f"file://{repo}") == take(f"'{repo}'")


def test_a_clean_repository_costs_one_git_process_once_its_commit_is_known(
    take: Take, repo: Path, tmp_path: Path
) -> None:
    counted = tmp_path / "bin"
    counted.mkdir()
    real = subprocess.run(["which", "git"], capture_output=True, text=True).stdout.strip()
    (counted / "git").write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\nexec {real} "$@"\n')
    (counted / "git").chmod(0o755)
    path = f"{counted}:{os.defpath}"
    take(repo, PATH=path)
    (tmp_path / "calls").unlink()
    take(repo, PATH=path)
    assert len((tmp_path / "calls").read_text().splitlines()) == 1


def test_a_dirty_repository_is_pinned_as_it_is_and_left_untouched(
    take: Take, repo: Path, tmp_path: Path
) -> None:
    write(repo, {"train.py": "print('edited')\n", "new/file.txt": "new\n", "staged.txt": "staged\n"})
    write(repo, {".gitignore": "ignored.txt\n", "ignored.txt": "x"})
    (repo / "link").symlink_to("nowhere")
    (repo / "sub/a.txt").unlink()
    git(repo, "add", "staged.txt")
    before = every_byte(repo)
    snapshot = take(repo)
    assert every_byte(repo) == before

    git(repo, "clone", "-q", ".", str(tmp_path / "again"))
    again = tmp_path / "again"
    subprocess.run(["git", "apply"], cwd=again, input=snapshot.patch, check=True)
    for path in snapshot.untracked:
        (again / path).parent.mkdir(exist_ok=True)
        subprocess.run(["cp", "-P", repo / path, again / path], check=True)
    git(again, "add", "-A")
    assert snapshot.tree == git(again, "write-tree")
    assert snapshot.dirty
    assert snapshot.commit == git(repo, "rev-parse", "HEAD")
    assert set(snapshot.untracked) == {".gitignore", "link", "new/file.txt"}


@pytest.mark.skipif(os.geteuid() != 0, reason="root writes everywhere; others show it by permissions")
def test_the_users_objects_are_not_added_to(take: Take, repo: Path) -> None:
    write(repo, {"train.py": "print('never seen before')\n", "big.bin": "x" * 100_000})
    take(repo)
    take(repo, isolated=True)
    blob = git(repo, "hash-object", "train.py")
    assert subprocess.run(["git", "cat-file", "-e", blob], cwd=repo, capture_output=True).returncode != 0


def test_what_is_staged_but_undone_in_the_working_tree_is_not_dirty(take: Take, repo: Path) -> None:
    write(repo, {"train.py": "print('staged')\n"})
    git(repo, "add", "train.py")
    write(repo, {"train.py": "print(2)\n"})
    snapshot = take(repo)
    assert (snapshot.dirty, snapshot.patch) == (False, None)
    assert snapshot.tree == git(repo, "rev-parse", "HEAD^{tree}")


def test_kinds_of_files_that_change_places_are_pinned(take: Take, repo: Path) -> None:
    (repo / "sub/a.txt").unlink()
    (repo / "sub").rmdir()
    (repo / "sub").symlink_to("/etc")
    (repo / "train.py").unlink()
    write(repo, {"train.py/x.txt": "x"})
    snapshot = take(repo)
    git(repo, "add", "-A")
    assert snapshot.tree == git(repo, "write-tree")


def test_a_conflict_is_pinned_as_it_lies_there(take: Take, repo: Path) -> None:
    git(repo, "checkout", "-q", "-b", "other", "HEAD~1")
    write(repo, {"train.py": "print(3)\n"})
    commit(repo)
    subprocess.run(["git", "merge", "main"], cwd=repo, capture_output=True)
    snapshot = take(repo)
    git(repo, "add", "-A")
    assert snapshot.tree == git(repo, "write-tree")


def test_a_project_may_be_a_folder_of_a_repository(take: Take, repo: Path) -> None:
    snapshot = take(repo / "sub")
    assert (snapshot.root, snapshot.subdirectory) == (repo, "sub")
    assert snapshot.directory == repo / "sub"
    assert take(f"{repo}#sub") == snapshot
    write(repo, {"sub/new.txt": "x"})
    assert take(repo / "sub").untracked == ("sub/new.txt",)


def test_a_folder_that_its_repository_ignores_is_pinned_by_itself(take: Take, repo: Path) -> None:
    write(repo, {".gitignore": "mine/\n", "mine/x.txt": "x"})
    commit(repo)
    snapshot = take(repo / "mine")
    assert (snapshot.root, snapshot.commit, snapshot.untracked) == (repo / "mine", None, ("x.txt",))


def test_without_a_commit_every_file_is_untracked(take: Take, tmp_path: Path) -> None:
    path = tmp_path / "fresh"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    write(path, {"a.txt": "a", "b.txt": "b"})
    git(path, "add", "a.txt")
    snapshot = take(path)
    assert (snapshot.commit, snapshot.branch, snapshot.dirty) == (None, "main", False)
    assert snapshot.untracked == ("a.txt", "b.txt")
    git(path, "add", "-A")
    assert snapshot.tree == git(path, "write-tree")


def test_a_detached_head_has_no_branch(take: Take, repo: Path) -> None:
    git(repo, "checkout", "-q", "v1")
    snapshot = take(repo)
    assert (snapshot.branch, snapshot.commit) == (None, git(repo, "rev-parse", "v1^{commit}"))


def test_a_linked_working_tree_is_pinned_like_any_other(take: Take, repo: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "-q", str(tmp_path / "linked"), "dev")
    write(tmp_path / "linked", {"new.txt": "x"})
    snapshot = take(tmp_path / "linked")
    assert (snapshot.root, snapshot.branch, snapshot.dirty) == (tmp_path / "linked", "dev", True)
    git(tmp_path / "linked", "add", "-A")
    assert snapshot.tree == git(tmp_path / "linked", "write-tree")


def test_the_origin_is_a_fact_without_its_password(take: Take, repo: Path) -> None:
    git(repo, "remote", "add", "origin", "https://u:s3cret@host/x.git")
    assert take(repo).url == "https://host/x.git"
    git(repo, "remote", "set-url", "origin", "https://host/y.git")
    assert take(repo).url == "https://host/y.git"


def test_settings_of_the_repository_start_no_programs_and_change_no_patch(
    take: Take, repo: Path, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    (repo / ".git/hooks").mkdir(exist_ok=True)
    (repo / ".git/hooks/post-index-change").write_bytes(trap.read_bytes())
    (repo / ".git/hooks/post-index-change").chmod(0o755)
    write(repo, {"train.py": "print('é')\n"})
    plain = take(repo)
    settings = {
        "core.fsmonitor": str(trap),
        "core.pager": str(trap),
        "diff.external": str(trap),
        "diff.noprefix": "true",
        "diff.mnemonicPrefix": "true",
        "color.ui": "always",
        "status.showUntrackedFiles": "no",
        "core.splitIndex": "true",
        "core.untrackedCache": "true",
    }
    for name, value in settings.items():
        git(repo, "config", name, value)
    before = every_byte(repo)
    snapshot = take(repo, GIT_DIR=str(tmp_path), GIT_INDEX_FILE="/nowhere", GIT_EXTERNAL_DIFF=str(trap))
    assert (snapshot.tree, snapshot.patch) == (plain.tree, plain.patch)
    assert every_byte(repo) == before
    assert not (tmp_path / "sprung").exists()


def test_names_that_break_what_does_not_quote_are_pinned(take: Take, hostile_path: Path) -> None:
    repository(hostile_path, {"a.txt": "a"})
    (hostile_path / "-n ü\n'\"").write_text("x")
    snapshot = take(hostile_path)
    assert snapshot.untracked == ("-n ü\n'\"",)
    isolated = take(hostile_path, isolated=True)
    assert isolated.tree == snapshot.tree
    assert (isolated.root / "-n ü\n'\"").read_text() == "x"
    assert (take(hostile_path, "main").root / "a.txt").read_text() == "a"
    git(hostile_path, "clone", "-q", "--bare", ".", "bare %41.git")
    bare = take(hostile_path / "bare %41.git")
    assert (bare.root / "a.txt").read_text() == "a"
    assert git(bare.root, "fetch", "origin") == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_of_another_user_is_refused_with_what_to_type(take: Take, repo: Path) -> None:
    for path in (repo, repo / ".git"):
        os.chown(path, OTHER, OTHER)
    error = refusal(take, repo)
    assert error.code == "dubious-ownership"
    assert error.hint == f"if you trust it: `git config --global --add safe.directory {repo}`"


def test_without_git_the_error_says_so(take: Take, repo: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        take(repo, PATH=str(tmp_path))
    assert caught.value.code == "git-missing"


def test_submodules_that_are_missing_or_changed_are_said(take: Take, repo: Path, tmp_path: Path) -> None:
    repository(tmp_path / "inner", {"x.txt": "x"})
    git(repo, "submodule", "--quiet", "add", str(tmp_path / "inner"), "lib")
    commit(repo)
    assert take(repo).findings == ()
    write(repo, {"lib/__pycache__/x.cpython-311.pyc": "left by Python"})
    assert take(repo).findings == ()
    assert not take(repo).dirty
    write(repo, {"lib/new.txt": "nowhere else"})
    assert [finding.code for finding in take(repo).findings] == ["submodule-dirty"]
    (repo / "lib/new.txt").unlink()
    write(repo, {"lib/x.txt": "changed"})
    dirty = take(repo)
    assert [finding.code for finding in dirty.findings] == ["submodule-dirty"]
    assert dirty.dirty
    git(repo, "submodule", "--quiet", "deinit", "-f", "lib")
    assert [finding.message for finding in take(repo).findings] == ["the submodule `lib` is not checked out"]


def test_what_was_read_in_a_submodule_leaves_the_rest_pinned(
    take: Take, repo: Path, tmp_path: Path, caller: Caller
) -> None:
    repository(tmp_path / "inner", {"x.py": "x"})
    git(repo, "submodule", "--quiet", "add", str(tmp_path / "inner"), "lib")
    write(repo, {"code.py": "x = 1\n", "data.bin": "x", ".gitignore": "*.bin\n"})
    commit(repo)
    seen = ("lib/x.py", "code.py", "data.bin")
    assert source.pinned(take(repo), seen, caller=caller) == {"code.py"}


def test_nested_repositories_are_said(take: Take, repo: Path) -> None:
    repository(repo / "nested", {"x.txt": "x"})
    (repo / "empty").mkdir()
    git(repo / "empty", "init", "-q")
    snapshot = take(repo)
    assert [finding.code for finding in snapshot.findings] == ["nested-repository"] * 2
    assert git(repo / "nested", "rev-parse", "HEAD") in tree_of(snapshot, repo)


def tree_of(snapshot: Snapshot, repo: Path) -> str:
    """What the tree holds, read where we keep it."""
    objects = [str(path) for path in (repo.parents[1] / "cache/trees-v1").glob("*/objects")]
    alternates = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": ":".join(objects)}
    return git(repo, "ls-tree", "-r", snapshot.tree, **alternates)


def test_lfs_pointers_are_said(take: Take, repo: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    (repo / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    write(repo, {"a.bin": pointer, "b.bin": "real content", "c.bin": pointer})
    commit(repo)
    message = "`a.bin` and 1 more is a Git LFS pointer, its content is not here"
    assert [finding.message for finding in take(repo).findings] == [message]
    assert [finding.message for finding in take(repo, "main").findings] == [message]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_said(take: Take, repo: Path) -> None:
    write(repo, {"closed.txt": "x"})
    (repo / "closed.txt").chmod(0)
    assert [finding.code for finding in take(repo).findings] == ["unreadable-file"]


# --- a directory in place: no repository --------------------------------------------------------------


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain"
    write(path, {"train.py": "print(1)\n", "data/a.csv": "1\n", "skipped.log": "", ".gitignore": "*.log\n"})
    write(path, {"venv/pyvenv.cfg": "", "venv/lib.py": "", "pkg/__pycache__/x.pyc": "", "pkg/x.py": ""})
    return path


def tree_by_git(directory: Path, names: tuple[str, ...]) -> str:
    scratch = directory.parent / "scratch.git"
    git(directory.parent, "init", "-q", "--bare", str(scratch))
    there = {"GIT_DIR": str(scratch), "GIT_WORK_TREE": str(directory)}
    git(directory, "add", "-f", "--", *names, **there)
    return git(directory, "write-tree", **there)


def test_a_plain_directory_is_pinned_without_caches_and_environments(take: Take, plain: Path) -> None:
    before = every_byte(plain)
    snapshot = take(plain)
    assert snapshot.untracked == (".gitignore", "data/a.csv", "pkg/x.py", "train.py")
    assert snapshot.tree == tree_by_git(plain, snapshot.untracked)
    assert (snapshot.commit, snapshot.dirty, snapshot.patch) == (None, False, None)
    assert every_byte(plain) == before


def test_a_second_look_sees_every_change(take: Take, plain: Path) -> None:
    first = take(plain)
    assert take(plain) == first
    write(plain, {"train.py": "print(2)\n", "new.txt": "", ".gitignore": "*.log\npkg/\n"})
    (plain / "data/a.csv").unlink()
    second = take(plain)
    assert second.untracked == (".gitignore", "new.txt", "train.py")
    assert second.tree == tree_by_git(plain, second.untracked) != first.tree


def test_a_file_that_became_a_pipe_has_left_the_tree(take: Take, plain: Path) -> None:
    without = take(plain).tree
    (plain / "feed").write_text("a file for now")
    assert take(plain).tree != without
    (plain / "feed").unlink()
    os.mkfifo(plain / "feed")
    assert take(plain).tree == without


def test_an_empty_directory_has_the_empty_tree(take: Take, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert take(tmp_path / "empty").tree == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def test_a_revision_of_a_plain_directory_is_refused(take: Take, plain: Path) -> None:
    assert refusal(take, plain, "v1").message == f"{plain} is no git repository, so it has no revision `v1`"


# --- checkouts of directories -------------------------------------------------------------------------


def test_isolated_runs_exactly_the_snapshot_elsewhere(take: Take, repo: Path, cache: Cache) -> None:
    write(repo, {"train.py": "print('edited')\n", "new.txt": "new"})
    in_place = take(repo)
    snapshot = take(repo, isolated=True)
    assert snapshot == replace(in_place, root=snapshot.root, temporary=True, origin=repo)
    assert snapshot.root.parent == cache.checkouts
    git(snapshot.root, "add", "-A")
    assert git(snapshot.root, "write-tree") == in_place.tree
    assert git(snapshot.root, "rev-parse", "HEAD") == in_place.commit


def test_isolated_runs_a_clean_repository_from_its_own_objects(
    take: Take, repo: Path, caller: Caller
) -> None:
    snapshot = take(repo, isolated=True)
    assert (snapshot.commit, snapshot.dirty) == (git(repo, "rev-parse", "HEAD"), False)
    assert source.changed_files(snapshot, caller=caller) == ()
    done = subprocess.run(["git", "fsck"], cwd=snapshot.root, capture_output=True, text=True)
    assert "error" not in done.stderr


def test_isolated_takes_submodules_and_nested_repositories_along(
    take: Take, repo: Path, tmp_path: Path
) -> None:
    repository(tmp_path / "inner", {"x.txt": "x"})
    git(repo, "submodule", "--quiet", "add", str(tmp_path / "inner"), "lib")
    commit(repo)
    repository(repo / "nested", {"y.txt": "y"})
    snapshot = take(repo, isolated=True)
    assert (snapshot.root / "lib/x.txt").read_text() == "x"
    assert (snapshot.root / "nested/y.txt").read_text() == "y"


def test_isolated_works_without_a_repository(take: Take, plain: Path) -> None:
    snapshot = take(plain, isolated=True)
    assert snapshot.tree == take(plain).tree
    assert (snapshot.root / "train.py").read_text() == "print(1)\n"
    assert not (snapshot.root / "skipped.log").exists()


def test_a_revision_of_a_local_repository_runs_elsewhere_and_moves_nothing(take: Take, repo: Path) -> None:
    write(repo, {"train.py": "print('edited')\n"})
    before = every_byte(repo)
    snapshot = take(repo / "sub", "v1")
    assert every_byte(repo) == before
    assert snapshot == Snapshot(
        kind="git",
        root=snapshot.root,
        tree=git(repo, "rev-parse", "v1^{tree}"),
        subdirectory="sub",
        url=f"file://{repo}",
        version="v1",
        commit=git(repo, "rev-parse", "v1^{commit}"),
        temporary=True,
    )
    assert (snapshot.root / "train.py").read_text() == "print(1)\n"
    assert git(snapshot.root, "describe", "--tags") == "v1"
    assert take(f"{repo}@dev").branch == "dev"
    assert take(f"file://{repo}", git(repo, "rev-parse", "--short", "v1^{commit}")).tree == snapshot.tree


def test_what_a_run_leaves_in_a_checkout_is_told_and_removed(
    take: Take, repo: Path, caller: Caller, cache: Cache
) -> None:
    snapshot = take(repo, "main")
    assert source.changed_files(snapshot, caller=caller) == ()
    write(snapshot.root, {"train.py": "print(9)\n", "out/model.pkl": "m", "__pycache__/x.pyc": ""})
    write(snapshot.root, {"sub/own.egg-info/PKG-INFO": "left by the build of its environment"})
    (snapshot.root / "sub/a.txt").unlink()
    assert source.changed_files(snapshot, caller=caller) == ("out/model.pkl", "sub/a.txt", "train.py")
    source.release(snapshot, cache=cache)
    assert not snapshot.root.exists()
    assert list(cache.trash.iterdir()) == []


def test_a_directory_of_the_users_is_never_released(
    take: Take, repo: Path, caller: Caller, cache: Cache
) -> None:
    snapshot = take(repo)
    source.release(snapshot, cache=cache)
    assert (repo / "train.py").exists()
    assert source.changed_files(snapshot, caller=caller) == ()


# --- git URLs -----------------------------------------------------------------------------------------


def test_a_url_runs_its_default_branch_in_a_checkout(take: Take, bare: Path, repo: Path) -> None:
    url = f"file://{bare}"
    snapshot = take(url)
    assert snapshot == Snapshot(
        kind="git",
        root=snapshot.root,
        tree=git(repo, "rev-parse", "main^{tree}"),
        url=url,
        commit=git(repo, "rev-parse", "main"),
        branch="main",
        temporary=True,
    )
    assert (snapshot.root / "train.py").read_text() == "print(2)\n"
    assert git(snapshot.root, "status", "--porcelain") == ""
    assert git(snapshot.root, "rev-parse", "HEAD", "origin/main") == "\n".join([snapshot.commit or ""] * 2)
    assert git(snapshot.root, "remote", "get-url", "origin") == url
    assert take(bare).tree == snapshot.tree


@pytest.mark.parametrize(
    ("version", "branch"),
    [
        ("dev", "dev"),
        ("v1", None),
        ("light", None),
        ("refs/heads/dev", "dev"),
        ("refs/tags/v1", None),
        ("FULL", None),
        ("SHORT", None),
    ],
)
def test_branches_tags_and_commits_are_revisions(
    take: Take, bare: Path, version: str, branch: str | None
) -> None:
    full = git(bare, "rev-parse", "v1^{commit}")
    name = {"FULL": full, "SHORT": full[:7]}.get(version, version)
    snapshot = take(f"file://{bare}@{name}")
    assert snapshot.commit == git(bare, "rev-parse", f"{name}^{{commit}}")
    assert (snapshot.version, snapshot.branch) == (name, branch)


def test_the_folder_in_the_url_is_the_projects(take: Take, bare: Path) -> None:
    snapshot = take(f"file://{bare}@v1#sub")
    assert (snapshot.subdirectory, (snapshot.directory / "a.txt").read_text()) == ("sub", "a\n")
    error = refusal(take, f"file://{bare}#nope")
    assert (error.message, error.hint) == (
        "cannot find the folder `nope` in the source",
        "its folders are `sub`",
    )


def test_a_link_out_of_the_repository_is_no_folder_of_it(take: Take, repo: Path) -> None:
    (repo / "out").symlink_to("/etc")
    commit(repo)
    assert refusal(take, f"{repo}#out").code == "bad-subdirectory"
    assert refusal(take, f"{repo}#out", "main").code == "bad-subdirectory"


def test_unknown_revisions_are_told_with_near_names(take: Take, bare: Path) -> None:
    error = refusal(take, f"file://{bare}", "mian")
    assert str(error) == f"`{bare}` has no branch, tag or commit `mian`"
    assert error.hint == "did you mean `main`?"
    assert refusal(take, f"file://{bare}", "deadbeef").code == "unknown-revision"
    assert refusal(take, f"file://{bare}", "deadbeef" * 5).code == "unknown-revision"


def test_a_name_that_is_both_branch_and_tag_must_be_said_in_full(take: Take, bare: Path) -> None:
    git(bare, "tag", "dev", "main")
    error = refusal(take, f"file://{bare}", "dev")
    assert (error.code, error.hint) == (
        "ambiguous-revision",
        "say which: `refs/heads/dev` or `refs/tags/dev`",
    )
    assert take(f"file://{bare}", "refs/tags/dev").commit == git(bare, "rev-parse", "main")


@pytest.mark.slow
def test_a_damaged_repository_is_told_from_a_broken_connection(
    take: Take, tmp_path: Path, repo: Path
) -> None:
    blob = git(repo, "rev-parse", "HEAD:train.py")
    git(repo, "repack", "-adq")
    git(repo, "clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    for pack in (tmp_path / "bare.git/objects/pack").glob("*.pack"):
        content = pack.read_bytes()
        pack.unlink()
        subprocess.run(["git", "unpack-objects", "-q"], input=content, cwd=tmp_path / "bare.git", check=True)
    (tmp_path / f"bare.git/objects/{blob[:2]}/{blob[2:]}").unlink()
    with pytest.raises(SourceError) as caught:
        take(f"file://{tmp_path}/bare.git")
    assert caught.value.code == "source-damaged"
    assert not any("\0" in line for line in caught.value.details)


def test_a_short_commit_that_several_share_is_refused_with_the_candidates(take: Take, tmp_path: Path) -> None:
    path = repository(tmp_path / "many", {"a.txt": "a"})
    head = git(path, "cat-file", "commit", "HEAD")
    seen: dict[str, str] = {}
    for number in range(5000):
        text = f"{head}\n{number}\n"
        short = hashlib.sha1(f"commit {len(text)}\0{text}".encode()).hexdigest()[:4]
        if short in seen:
            break
        seen[short] = text
    alike = []
    for name, content in (("one", text), ("two", seen[short])):
        (tmp_path / name).write_text(content)
        alike.append(git(path, "hash-object", "-t", "commit", "-w", str(tmp_path / name)))
        git(path, "branch", name, alike[-1])
    error = refusal(take, path, short)
    assert error.code == "ambiguous-revision"
    assert set(error.details) == set(alike)
    assert all(full.startswith(short) for full in alike)


def test_an_empty_repository_is_told(take: Take, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "none.git")
    assert refusal(take, f"file://{tmp_path}/none.git").code == "empty-repository"


def test_a_branch_is_looked_up_each_time(take: Take, bare: Path, repo: Path) -> None:
    url = f"file://{bare}"
    take(url, "main")
    write(repo, {"train.py": "print(3)\n"})
    second = commit(repo)
    git(repo, "push", "-q", str(bare), "main")
    assert take(url, "main").commit == take(url).commit == second


def test_a_commit_that_no_branch_reaches_is_fetched_by_its_name(take: Take, bare: Path) -> None:
    lost = git(bare, "commit-tree", "v1^{tree}", "-m", "lost")
    assert take(f"file://{bare}", lost).commit == lost


@pytest.mark.parametrize("page", ["tree/main/sub", "tree/feature/x/sub", "-/tree/feature/x/sub"])
def test_the_address_of_a_web_page_names_branch_and_folder(take: Take, bare: Path, page: str) -> None:
    git(bare, "branch", "feature/x", "dev")
    (bare.parent / "owner").mkdir()
    bare.rename(bare.parent / "owner/repo")
    with gitserver.http(bare.parent) as server:
        snapshot = take(f"http://{server.address}/owner/repo/{page}")
    assert snapshot.subdirectory == "sub"
    assert snapshot.branch == ("main" if "main" in page else "feature/x")


def test_the_git_protocol_works(take: Take, bare: Path) -> None:
    with gitserver.daemon(bare.parent) as url:
        assert take(f"{url}/repo.git", "v1").commit == git(bare, "rev-parse", "v1^{commit}")
        assert refusal(take, f"{url}/nothing.git").code == "source-not-found"


def test_a_commit_that_is_here_needs_no_network_and_a_seen_branch_serves_without(
    take: Take, bare: Path
) -> None:
    with gitserver.http(bare.parent) as server:
        url = f"http://{server.address}/repo.git"
        commit = take(url, "dev").commit
        count = len(server.requests)
        assert take(url, commit).commit == take(url, (commit or "")[:7]).commit == commit
        assert len(server.requests) == count
    snapshot = take(url, "dev")
    assert snapshot.commit == commit
    assert [finding.message for finding in snapshot.findings] == [
        f"cannot reach `{url}`; using what was fetched earlier from `{url}`"
    ]
    assert take(url).branch == "main"
    assert refusal(take, url, "never-seen").code == "source-unreachable"


def test_a_password_serves_the_fetch_and_shows_nowhere(
    take: Take, bare: Path, cache: Cache, narrator: Quiet
) -> None:
    secret = "s3cret/with@marks"
    quoted = "s3cret%2Fwith%40marks"
    with gitserver.http(bare.parent, login=f"ada:{secret}") as server:
        snapshot = take(f"http://ada:{quoted}@{server.address}/repo.git")
        assert snapshot.url == f"http://{server.address}/repo.git"
        for url in (f"http://ada:wr0ng@{server.address}/repo.git", f"http://{server.address}/repo.git"):
            error = refusal(take, url)
            assert error.code == "source-access-refused"
            assert "wr0ng" not in f"{error} {error.hint} {error.details}"
        missing = refusal(take, f"http://ada:{quoted}@{server.address}/nothing.git")
        assert missing.code == "source-not-found"
    told = f"{snapshot} {narrator.lines} {missing} {missing.details}"
    kept = b"".join(path.read_bytes() for path in cache.root.rglob("*") if path.is_file())
    for word in (secret, quoted, "s3cret"):
        assert word not in told
        assert word.encode() not in kept


def test_a_password_is_in_no_process_list(take: Take, bare: Path) -> None:
    seen: set[bytes] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with gitserver.http(bare.parent, login="ada:s3cret") as server:
            take(f"http://ada:s3cret@{server.address}/repo.git")
    finally:
        done.set()
        watcher.join()
    assert not Path("/proc/self").exists() or any(b"fetch" in line for line in seen)
    assert not any(b"s3cret" in line for line in seen)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://no-such-host.invalid/x.git", "source-unreachable"),
        ("http://127.0.0.1:{port}/x.git", "source-unreachable"),
        ("git://127.0.0.1:{port}/x.git", "source-unreachable"),
        ("ssh://git@127.0.0.1:{port}/x.git", "source-unreachable"),
    ],
)
def test_a_dead_address_is_one_sentence(take: Take, url: str, code: str) -> None:
    url = url.format(port=gitserver.free_port())
    error = refusal(take, url)
    assert error.code == code
    assert str(error) == f"cannot reach `{url}`"
    assert error.details


def test_an_ssh_wrapper_of_the_users_is_used(take: Take, bare: Path, tmp_path: Path) -> None:
    wrapper = tmp_path / "ssh"
    wrapper.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    wrapper.chmod(0o755)
    snapshot = take(f"git@host:{bare}@dev", GIT_SSH=str(wrapper), GIT_SSH_VARIANT="simple")
    assert (snapshot.branch, snapshot.url) == ("dev", f"git@host:{bare}")


@pytest.mark.slow
def test_submodules_come_along_and_are_not_fetched_twice(take: Take, repo: Path, tmp_path: Path) -> None:
    repository(tmp_path / "served/deep", {"z.txt": "z"})
    inner = repository(tmp_path / "served/inner", {"x.txt": "x"})
    git(inner, "submodule", "--quiet", "add", "../deep", "deep")
    git(inner, "config", "-f", ".gitmodules", "submodule.deep.url", "../deep")
    commit(inner)
    git(repo, "submodule", "--quiet", "add", str(inner), "lib")
    git(repo, "config", "-f", ".gitmodules", "submodule.lib.url", "../inner")
    full = commit(repo)
    with gitserver.http(tmp_path / "served") as server:
        url = f"http://{server.address}/repo/.git"
        git(repo, "config", "-f", ".gitmodules", "submodule.lib.url", f"http://{server.address}/inner/.git")
        git(inner, "config", "-f", ".gitmodules", "submodule.deep.url", "../../deep/.git")
        commit(inner)
        git(repo / "lib", "pull", "-q")
        full = commit(repo)
        snapshot = take(url)
        assert snapshot.findings == ()
        assert (snapshot.root / "lib/deep/z.txt").read_text() == "z"
        assert git(snapshot.root, "status", "--porcelain") == ""
        count = len(server.requests)
        assert (take(url, full).root / "lib/deep/z.txt").read_text() == "z"
        assert len(server.requests) == count


def test_a_submodule_that_cannot_be_had_is_a_finding(take: Take, repo: Path, tmp_path: Path) -> None:
    repository(tmp_path / "inner", {"x.txt": "x"})
    git(repo, "submodule", "--quiet", "add", str(tmp_path / "inner"), "lib")
    commit(repo)
    with gitserver.http(tmp_path / "served") as server:
        snapshot = take(f"http://{server.address}/repo/.git")
    assert (snapshot.root / "train.py").exists()
    assert [finding.message for finding in snapshot.findings] == [
        "the submodule `lib` is not there: a remote repository cannot name a submodule on this machine"
    ]


# --- two at once, and killed in the middle ------------------------------------------------------------


TAKE = """
import os, sys
from pathlib import Path
from mlrun import source
from mlrun.files import Cache
from mlrun.model import Caller
from tests.quiet import Quiet
url, cache, run_id = sys.argv[1:]
snapshot = source.take(url, version=None, isolated=False, cache=Cache(Path(cache)), run_id=run_id,
                       caller=Caller(directory="/", variables=dict(os.environ)), narrator=Quiet())
print(snapshot.commit, snapshot.root)
"""


def another(url: str, cache: Cache, run_id: str) -> subprocess.Popen[str]:
    """A process of its own that takes a URL."""
    return subprocess.Popen(
        [sys.executable, "-c", TAKE, url, str(cache.root), run_id],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_several_that_start_from_cold_share_one_mirror(bare: Path, cache: Cache) -> None:
    children = [another(f"file://{bare}", cache, f"run{number}") for number in range(4)]
    said = [child.communicate()[0] for child in children]
    commit = git(bare, "rev-parse", "main")
    assert said == [f"{commit} {cache.checkouts}/run{number}\n" for number in range(4)]
    assert len(list(cache.repositories.iterdir())) == 1


@pytest.mark.slow
def test_a_fetch_killed_in_the_middle_breaks_nothing(
    take: Take, repo: Path, bare: Path, cache: Cache
) -> None:
    (repo / "noise.bin").write_bytes(os.urandom(2_000_000))
    commit(repo)
    git(repo, "push", "-q", str(bare), "main")
    with gitserver.http(bare.parent, slow=True) as server:
        url = f"http://{server.address}/repo.git"
        for _ in range(3):
            server.sending.clear()
            child = another(url, cache, "killed")
            assert server.sending.wait(20)
            kill_all(child.pid)
            child.communicate()
        for lock in ("HEAD.lock", "packed-refs.lock", "refs/heads/main.lock", "shallow.lock"):
            path = next(cache.repositories.iterdir()) / lock
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        server.slow = False
        snapshot = take(url)
    assert snapshot.commit == git(repo, "rev-parse", "main")
    assert not list(cache.repositories.glob("*/objects/pack/tmp_*"))


def kill_all(pid: int) -> None:
    """SIGKILL a process and all below it, whatever groups they are in."""
    tree = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True).stdout.split()
    parents = {int(child): int(parent) for child, parent in zip(tree[::2], tree[1::2], strict=True)}
    doomed = {pid}
    while more := {child for child, parent in parents.items() if parent in doomed} - doomed:
        doomed |= more
    for each in doomed:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself meanwhile
            os.kill(each, signal.SIGKILL)


# --- archives -----------------------------------------------------------------------------------------


def packed(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_an_archive_runs_from_a_checkout(take: Take, tmp_path: Path, caller: Caller) -> None:
    path = packed(tmp_path / "p.zip", **{"MLproject": "name: x\n", "sub/a.txt": "a"})
    snapshot = take(path)
    assert snapshot == Snapshot(
        kind="directory",
        root=snapshot.root,
        tree=tree_by_git(snapshot.root, ("MLproject", "sub/a.txt")),
        url=f"file://{path}",
        untracked=("MLproject", "sub/a.txt"),
        temporary=True,
    )
    assert source.changed_files(snapshot, caller=caller) == ()
    write(snapshot.root, {"new.txt": "x"})
    assert source.changed_files(snapshot, caller=caller) == ("new.txt",)
    assert take(f"file://{path}#sub").directory.name == "sub"
    with gitserver.http(tmp_path, login="ada:s3cret") as server:
        fetched = take(f"http://ada:s3cret@{server.address}/p.zip")
        assert (fetched.tree, fetched.url) == (snapshot.tree, f"http://{server.address}/p.zip")
        assert refusal(take, f"http://{server.address}/p.zip").code == "source-access-refused"


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "C:/x", "a\\..\\..\\x", ".git/config"])
def test_an_archive_that_leads_elsewhere_is_refused(
    take: Take, tmp_path: Path, cache: Cache, name: str
) -> None:
    error = refusal(take, packed(tmp_path / "p.zip", **{"ok.txt": "", name: "x"}))
    assert error.code == "unsafe-archive"
    assert not list(cache.checkouts.iterdir())
    assert not list(cache.temporary.iterdir())


def test_a_link_in_an_archive_is_refused(take: Take, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc")
    assert refusal(take, tmp_path / "p.zip").code == "unsafe-archive"


@pytest.mark.slow
def test_an_archive_without_end_is_refused(take: Take, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for number in range(100_001):
            archive.writestr(zipfile.ZipInfo(str(number)), "")
    assert refusal(take, tmp_path / "p.zip").code == "archive-too-large"
    (tmp_path / "p.zip").write_text("no archive")
    assert refusal(take, tmp_path / "p.zip").code == "bad-archive"


# --- cleaning up --------------------------------------------------------------------------------------


def test_what_was_not_used_for_long_is_collected(take: Take, bare: Path, plain: Path, cache: Cache) -> None:
    kept, gone = take(f"file://{bare}"), take(f"file://{bare}")
    take(plain)
    assert source.collect_garbage(cache, older_than=0, keep=frozenset()) == (0, 0)
    count, freed = source.collect_garbage(cache, older_than=2e10, keep=frozenset({kept.root.name}))
    assert (count, freed > 0) == (3, True)
    assert kept.root.exists()
    assert not gone.root.exists()
    assert take(f"file://{bare}").commit == kept.commit
    assert take(plain, isolated=True).tree == take(plain).tree


def test_a_password_before_a_host_is_not_repeated_where_no_url_is_understood(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        parse_target("ada:pa55word@host:team/wine.git", None, directory=str(tmp_path))
    assert "pa55word" not in f"{caught.value} {caught.value.hint} {caught.value.details}"
    assert "ada@host" in str(caught.value)


@pytest.mark.parametrize("in_git", [True, False])
def test_an_edit_within_the_same_second_is_seen(take: Take, tmp_path: Path, in_git: bool) -> None:
    """Of the same size, and with stat data that git's index cannot tell from those before."""
    folder = tmp_path / "project"
    folder.mkdir()
    trees = set()
    for attempt in range(8):  # a second may end in between
        path = folder / f"{attempt}.py"
        path.write_text("x = 1\n")
        if in_git:
            git(folder, "init", "-q")
            git(folder, "add", ".")
            git(folder, "commit", "-qm", f"number {attempt}")
        trees.add(take(str(folder)).tree)
        path.write_text("x = 2\n")
        trees.add(take(str(folder)).tree)
    assert len(trees) == 16
