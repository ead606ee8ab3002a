"""A past run's source, put together again: real repositories, real stores, and what can go wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlrun import source
from mlrun.errors import SourceError
from mlrun.model import Caller, Digest, Snapshot, SourceFacts, StoredFile
from mlrun.recording import _remember_source
from mlrun.store import Store
from mlrun.value import replace

if TYPE_CHECKING:
    from mlrun.files import Cache, Home
    from tests.quiet import Quiet


class Bench:
    """A project, and what a run of it would remember."""

    def __init__(self, folder: Path, home: Home, cache: Cache, caller: Caller, narrator: Quiet) -> None:
        self.folder, self.store, self.cache = folder, Store(home), cache
        self.caller, self.narrator = caller, narrator
        self.count = 0

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-qm", "a commit")
        return self.git("rev-parse", "HEAD")

    def write(self, name: str, data: bytes | str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    def take(self, target: str | None = None, version: str | None = None) -> SourceFacts:
        """What a run remembers of its source."""
        self.count += 1
        snapshot = source.take(
            target or str(self.folder),
            version=version,
            isolated=False,
            caller=self.caller,
            cache=self.cache,
            run_id=f"taken-{self.count}",
            narrator=self.narrator,
        )
        try:
            return _remember_source(snapshot, self.store)
        finally:
            source.release(snapshot, cache=self.cache)

    def restore(self, facts: SourceFacts, **changes: str) -> Snapshot:
        self.count += 1
        return source.restore(
            facts,
            self.store.objects,
            run_id=f"restored-{self.count}",
            caller=replace(self.caller, **changes),
            cache=self.cache,
            narrator=self.narrator,
        )


def files_of(root: Path) -> dict[str, bytes | str]:
    """Every file by its path: its content, or where it leads."""
    found: dict[str, bytes | str] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name.split("/")[0] == ".git":
            continue
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


@pytest.fixture
def bench(hostile_path: Path, home: Home, cache: Cache, caller: Caller, narrator: Quiet) -> Bench:
    folder = hostile_path / "project"
    folder.mkdir()
    made = Bench(folder, home, cache, caller, narrator)
    made.git("init", "-q", "-b", "main")
    made.write("code.py", "print(1)\n")
    made.write("data.bin", bytes(range(256)))
    made.write("gone.txt", "soon\n")
    made.write("crlf.txt", "a\r\nb\r\n")
    made.commit()
    return made


def spoil(bench: Bench) -> None:
    """Every kind of difference from the commit."""
    bench.write("code.py", "print(2)\n")
    bench.write("data.bin", bytes(reversed(range(256))))
    bench.write("crlf.txt", "a\r\nc\r\n")
    (bench.folder / "gone.txt").unlink()
    (bench.folder / "code.py").chmod(0o755)
    bench.write("new folder/ü\n'x'.txt", "untracked\n")
    bench.write("script.sh", "#!/bin/sh\n")
    (bench.folder / "script.sh").chmod(0o755)
    (bench.folder / "link").symlink_to("new folder")
    bench.write("staged.txt", "staged\n")
    bench.git("add", "staged.txt")


def test_a_clean_commit_comes_back(bench: Bench) -> None:
    facts = bench.take()
    bench.write("code.py", "later\n")
    bench.commit()
    restored = bench.restore(facts)
    assert (restored.root / "code.py").read_text() == "print(1)\n"
    assert (restored.tree, restored.commit, restored.temporary) == (facts.tree, facts.commit, True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=restored.root, capture_output=True, text=True)
    assert head.stdout.strip() == facts.commit
    assert source.changed_files(restored, caller=bench.caller) == ()
    source.release(restored, cache=bench.cache)
    assert not restored.root.exists()


def test_what_was_changed_and_untracked_comes_back_byte_by_byte(bench: Bench) -> None:
    spoil(bench)
    expected = files_of(bench.folder)
    facts = bench.take()
    assert facts.dirty
    assert facts.patch
    bench.git("stash", "-qu")
    restored = bench.restore(facts)
    assert files_of(restored.root) == expected
    assert os.access(restored.root / "code.py", os.X_OK)
    assert os.access(restored.root / "script.sh", os.X_OK)
    assert source.changed_files(restored, caller=bench.caller) == ()


@pytest.mark.slow
def test_line_ends_and_filters_of_the_repository_are_kept(bench: Bench) -> None:
    bench.write(".gitattributes", "*.txt text\n*.dos text eol=crlf\n")
    bench.write("a.dos", "one\r\ntwo\r\n")
    bench.commit()
    bench.write("a.dos", "one\r\nthree\r\n")
    bench.write("b.dos", "new\r\n")
    expected = files_of(bench.folder)
    facts = bench.take()
    shown = files_of(bench.restore(facts).root)
    assert {name: shown[name] for name in ("a.dos", "b.dos")} == {
        name: expected[name] for name in ("a.dos", "b.dos")
    }


@pytest.mark.slow
def test_a_project_without_a_repository_comes_back_from_the_store(bench: Bench) -> None:
    shutil.rmtree(bench.folder / ".git")
    expected = files_of(bench.folder)
    facts = bench.take()
    assert facts.commit is None
    shutil.rmtree(bench.folder)
    assert files_of(bench.restore(facts, directory=str(bench.cache.root)).root) == expected


@pytest.mark.slow
def test_a_repository_without_a_commit_comes_back_from_the_store(bench: Bench) -> None:
    shutil.rmtree(bench.folder / ".git")
    bench.git("init", "-q")
    bench.git("add", "code.py")
    expected = files_of(bench.folder)
    facts = bench.take()
    shutil.rmtree(bench.folder / ".git")
    assert files_of(bench.restore(facts).root) == expected


@pytest.mark.slow
def test_a_subdirectory_is_where_it_was(bench: Bench) -> None:
    bench.write("inner/MLproject", "x")
    bench.commit()
    facts = bench.take(str(bench.folder / "inner"))
    restored = bench.restore(facts)
    assert restored.subdirectory == "inner"
    assert (restored.directory / "MLproject").read_text() == "x"


@pytest.mark.slow
def test_a_url_is_fetched_again_where_its_mirror_has_gone(bench: Bench, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    bench.git("clone", "-q", "--bare", ".", str(bare))
    facts = bench.take(bare.as_uri())
    assert facts.kind == "git"
    shutil.rmtree(bench.cache.repositories, ignore_errors=True)
    assert (bench.restore(facts).root / "code.py").is_file()


@pytest.mark.slow
def test_a_repository_that_is_gone_may_have_been_fetched_from(bench: Bench, tmp_path: Path) -> None:
    bare = tmp_path / "bare + one.git"
    bench.git("clone", "-q", "--bare", ".", str(bare))
    facts = bench.take(bare.as_uri())
    bare.rename(tmp_path / "elsewhere.git")
    assert bench.restore(facts, directory=str(tmp_path)).tree == facts.tree
    shutil.rmtree(bench.cache.repositories)
    with pytest.raises(SourceError) as caught:
        bench.restore(facts)
    assert caught.value.code == "commit-gone"


def test_the_commit_is_found_at_its_url_or_where_the_caller_stands(bench: Bench, tmp_path: Path) -> None:
    origin = tmp_path / "origin.git"
    bench.git("clone", "-q", "--bare", ".", str(origin))
    bench.git("remote", "add", "origin", origin.as_uri())
    spoil(bench)
    expected = files_of(bench.folder)
    facts = bench.take()
    clone = tmp_path / "clone"
    bench.git("clone", "-q", ".", str(clone))
    shutil.rmtree(bench.folder)
    assert files_of(bench.restore(facts).root) == expected
    shutil.rmtree(origin)
    assert files_of(bench.restore(facts, directory=str(clone)).root) == expected
    shutil.rmtree(bench.cache.repositories, ignore_errors=True)
    with pytest.raises(SourceError) as caught:
        bench.restore(facts)
    assert caught.value.code == "commit-gone"
    assert "try again in a clone" in str(caught.value.hint)
    assert len(list(bench.cache.checkouts.iterdir())) == 2  # nothing of the third


def test_a_file_that_was_not_kept_is_taken_from_its_place_or_named(bench: Bench) -> None:
    bench.write("big.bin", b"large")
    facts = bench.take()
    kept = tuple(replace(file, stored=False) for file in facts.untracked)
    facts = replace(facts, untracked=kept)
    assert (bench.restore(facts).root / "big.bin").read_bytes() == b"large"
    bench.write("big.bin", b"other")
    with pytest.raises(SourceError, match=r"not all of the run's source was kept: `big\.bin`") as caught:
        bench.restore(facts)
    assert caught.value.code == "source-not-kept"


def test_what_the_store_has_lost_is_said(bench: Bench) -> None:
    spoil(bench)
    facts = bench.take()
    shutil.rmtree(bench.store.home.objects)
    bench.store.home.prepare()
    with pytest.raises(SourceError, match="the patch of its uncommitted changes") as caught:
        bench.restore(facts)
    assert caught.value.code == "source-not-kept"


def test_another_tree_than_the_recorded_one_does_not_count(bench: Bench) -> None:
    spoil(bench)
    facts = bench.take()
    forged = replace(facts, untracked=())
    with pytest.raises(SourceError, match="what could be put together is") as caught:
        bench.restore(forged)
    assert caught.value.code == "tree-differs"
    assert list(bench.cache.checkouts.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", ["../out.txt", "/tmp/out.txt", ".git/config", "a//b", "link/out.txt", "x\0y"]
)
def test_a_record_can_write_nothing_outside_of_the_checkout(bench: Bench, path: str) -> None:
    (bench.folder / "link").symlink_to("/tmp")
    bench.commit()
    digest = bench.store.objects.put_bytes(b"evil")
    file = StoredFile(path=path, mode="100644", digest=Digest(digest), size=4)
    with pytest.raises(SourceError) as caught:
        bench.restore(replace(bench.take(), untracked=(file,)))
    assert caught.value.code == "source-not-kept"
    assert not Path("/tmp/out.txt").exists()
