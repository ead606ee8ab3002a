"""Blobs: kept whole and once, copied out safely whatever a manifest says, collected when unneeded."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

import pytest

from mlrun import data
from mlrun import digest as digests
from mlrun.errors import StoreError
from mlrun.model import Artifact, Digest
from mlrun.store import Store, garbage
from mlrun.value import replace
from tests.test_store import add, reading_only, record

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.files import Home


@pytest.fixture
def store(home: Home) -> Store:
    return Store(home)


def age(home: Home, seconds: float = 7200) -> None:
    """Everything in the store was last touched two hours ago."""
    then = time.time() - seconds
    for folder, names, files in os.walk(home.root):
        for name in (*names, *files):
            os.utime(os.path.join(folder, name), (then, then))


# --- putting ------------------------------------------------------------------------------------------


def test_bytes_are_kept_read_only_under_their_digest(store: Store) -> None:
    its_digest = store.objects.put_bytes(b"model")
    assert its_digest == digests.of_bytes(b"model")
    path = store.home.object(digests.hex_of(its_digest))
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert store.objects.has(its_digest)
    assert store.objects.read_bytes(its_digest) == b"model"
    assert store.objects.verify(its_digest)
    assert store.objects.put_bytes(b"model") == its_digest
    assert list(store.home.temporary.iterdir()) == []


def test_a_file_is_copied_in_once(store: Store, hostile_path: Path) -> None:
    file = hostile_path / "model.pkl"
    file.write_bytes(b"weights" * 1000)
    its_digest = digests.of_file(file)
    assert store.objects.put_file(file, its_digest) is True
    assert store.objects.put_file(file, its_digest) is False
    file.write_bytes(b"changed")
    assert store.objects.read_bytes(its_digest) == b"weights" * 1000


def test_a_file_that_is_not_what_its_digest_says_is_not_kept(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "model.pkl"
    file.write_bytes(b"after")
    before = digests.of_bytes(b"before")
    with pytest.raises(StoreError) as caught:
        store.objects.put_file(file, before)
    assert caught.value.code == "changed-file"
    assert not store.objects.has(before)
    assert list(store.home.temporary.iterdir()) == []


def test_a_file_that_vanished_is_a_changed_file(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        store.objects.put_file(tmp_path / "gone", digests.of_bytes(b""))
    assert caught.value.code == "changed-file"


def test_an_object_cannot_be_stored_where_we_may_not_write(store: Store) -> None:
    with reading_only(store.home), pytest.raises(StoreError) as caught:
        store.objects.put_bytes(b"x")
    assert caught.value.code == "store-not-writable"


@pytest.mark.parametrize(
    "its_digest", ["md5:abc", "blake3:../../etc/passwd", "blake3:", "blake3:" + "0" * 64]
)
def test_what_is_not_there_is_no_such_object(store: Store, its_digest: str) -> None:
    with pytest.raises(StoreError) as caught:
        store.objects.read_bytes(Digest(its_digest))
    assert caught.value.code == "no-such-object"


# --- fetching -----------------------------------------------------------------------------------------


def test_a_fetched_object_is_writable_and_its_own(store: Store, tmp_path: Path) -> None:
    its_digest = store.objects.put_bytes(b"model")
    store.objects.fetch(its_digest, tmp_path / "copy")
    (tmp_path / "copy").write_bytes(b"mine")
    assert store.objects.read_bytes(its_digest) == b"model"


def test_nothing_is_overwritten_without_force(store: Store, tmp_path: Path) -> None:
    its_digest = store.objects.put_bytes(b"model")
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    link = tmp_path / "link"
    link.symlink_to(precious)
    for destination in (precious, link):
        with pytest.raises(StoreError) as caught:
            store.objects.fetch(its_digest, destination)
        assert caught.value.code == "exists"
    store.objects.fetch(its_digest, link, force=True)
    assert (precious.read_bytes(), link.read_bytes(), link.is_symlink()) == (b"mine", b"model", False)


def test_a_damaged_object_is_not_handed_out(store: Store, tmp_path: Path) -> None:
    its_digest = store.objects.put_bytes(b"model")
    path = store.home.object(digests.hex_of(its_digest))
    path.chmod(0o644)
    path.write_bytes(b"rotten")
    assert not store.objects.verify(its_digest)
    with pytest.raises(StoreError) as caught:
        store.objects.fetch(its_digest, tmp_path / "copy")
    assert caught.value.code == "damaged-object"
    assert list(tmp_path.glob("*copy*")) == []


def put_folder(store: Store, folder: Path) -> Digest:
    """Keep a folder, as a run's output is kept."""
    found = data.describe(folder, shown="out", kind="data", declared=True)
    for its_digest, file in found.contents:
        store.objects.put_file(file, its_digest)
    assert found.manifest is not None
    return store.objects.put_bytes(found.manifest)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "plots"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty" / "inside").mkdir(parents=True)
    (root / "a.png").write_bytes(b"A")
    (root / "deep" / "er" / "b.sh").write_bytes(b"B")
    (root / "deep" / "er" / "b.sh").chmod(0o755)
    (root / "deep" / "link").symlink_to("er/b.sh")
    (root / os.fsdecode(b"caf\xe9")).write_bytes(b"C")
    return root


def listing(root: Path) -> dict[str, object]:
    """All below a folder: bytes and mode of files, targets of links."""
    return {
        str(path.relative_to(root)): os.readlink(path)
        if path.is_symlink()
        else None
        if path.is_dir()
        else (path.read_bytes(), path.stat().st_mode & 0o111)
        for path in sorted(root.rglob("*"))
    }


def test_a_folder_comes_out_as_it_went_in(store: Store, folder: Path, hostile_path: Path) -> None:
    manifest = put_folder(store, folder)
    store.objects.fetch_tree(manifest, hostile_path / "out")
    assert listing(hostile_path / "out") == listing(folder)


def test_a_folder_is_not_put_over_another_without_force(store: Store, folder: Path, tmp_path: Path) -> None:
    manifest = put_folder(store, folder)
    target = tmp_path / "out"
    target.mkdir()
    store.objects.fetch_tree(manifest, target)
    (target / "a.png").write_bytes(b"mine")
    (target / "mine.txt").write_bytes(b"mine")
    with pytest.raises(StoreError) as caught:
        store.objects.fetch_tree(manifest, target)
    assert caught.value.code == "exists"
    store.objects.fetch_tree(manifest, target, force=True)
    assert listing(target) == {**listing(folder), "mine.txt": (b"mine", 0)}


def manifest_of(store: Store, *entries: dict[str, object]) -> Digest:
    return store.objects.put_bytes(digests.canonical_json({"format": data.MANIFEST, "entries": entries}))


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "a//b", "./a", "", "a\0b", ".."])
def test_a_manifest_that_leads_out_is_refused_before_anything_is_written(
    store: Store, tmp_path: Path, path: str
) -> None:
    content = store.objects.put_bytes(b"evil")
    good = {"path": "good", "mode": "100644", "size": 4, "digest": content}
    manifest = manifest_of(store, good, {**good, "path": path})
    with pytest.raises(StoreError) as caught:
        store.objects.fetch_tree(manifest, tmp_path / "out")
    assert caught.value.code == "bad-manifest"
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "evil").exists()


def test_nothing_is_written_through_a_link(store: Store, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    content = store.objects.put_bytes(b"evil")
    manifest = manifest_of(
        store,
        {"path": "a", "mode": "120000", "target": str(tmp_path / "victim")},
        {"path": "a/evil", "mode": "100644", "size": 4, "digest": content},
    )
    with pytest.raises(StoreError):
        store.objects.fetch_tree(manifest, tmp_path / "out")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a").symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError):
        store.objects.fetch_tree(manifest, tmp_path / "old", force=True)
    assert list((tmp_path / "victim").iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80model",
        b"[]",
        b"{}",
        b'{"entries": 3, "format": "mlrun/manifest/v1"}',
        b'{"entries": [3], "format": "mlrun/manifest/v1"}',
        b'{"entries": [{"path": 3}], "format": "mlrun/manifest/v1"}',
        b'{"entries": [{"path": "a", "digest": 3}], "format": "mlrun/manifest/v1"}',
        b'{"entries": [], "format": "mlrun/manifest/v2"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_manifest_is_refused(store: Store, tmp_path: Path, content: bytes) -> None:
    with pytest.raises(StoreError) as caught:
        store.objects.fetch_tree(store.objects.put_bytes(content), tmp_path / "out")
    assert caught.value.code == "bad-manifest"


# --- garbage ------------------------------------------------------------------------------------------


def artifact(its_digest: Digest) -> Artifact:
    return Artifact(path="out", kind="data", digest=its_digest, size=1, files=1, stored=True)


def test_what_records_and_their_manifests_name_is_kept_and_the_rest_removed(
    store: Store, folder: Path
) -> None:
    kept, manifest = store.objects.put_bytes(b"kept"), put_folder(store, folder)
    removed = store.objects.put_bytes(b"unneeded")
    made = record(inputs=(artifact(kept),), outputs=(artifact(manifest),))
    add(store, made)
    age(store.home)
    assert store.collect_garbage() == (1, len(b"unneeded"))
    assert not store.objects.has(removed)
    store.objects.fetch_tree(manifest, folder.with_name("again"))
    assert store.objects.read_bytes(kept) == b"kept"
    store.remove([made.id])
    age(store.home)
    assert store.collect_garbage()[0] == 5
    assert store.usage().objects == 0


def test_an_unreadable_record_keeps_what_it_names(store: Store) -> None:
    kept = store.objects.put_bytes(b"kept")
    made = record(inputs=(artifact(kept),))
    add(store, made)
    path = store.home.run(made.id).record
    path.write_bytes(path.read_bytes()[:-20].replace(b"record/v1", b"record/v9"))
    age(store.home)
    assert store.collect_garbage() == (0, 0)
    assert store.objects.has(kept)


def test_a_digest_across_two_pieces_of_a_large_record_is_seen(store: Store) -> None:
    kept = store.objects.put_bytes(b"kept")
    made = record()
    add(store, made)
    for shift in (1, 40, 70):
        store.home.run(made.id).record.write_bytes(b" " * ((1 << 20) - shift) + kept.encode())
        age(store.home)
        assert store.collect_garbage() == (0, 0)


def test_what_a_run_has_just_stored_or_found_again_is_kept(store: Store) -> None:
    new = store.objects.put_bytes(b"new")
    found_again = store.objects.put_bytes(b"found again")
    age(store.home)
    store.objects.put_bytes(b"new")
    assert store.collect_garbage() == (1, len(b"found again"))
    assert store.objects.has(new)
    assert not store.objects.has(found_again)


def test_an_object_made_young_while_it_is_collected_is_put_back(store: Store) -> None:
    its_digest = store.objects.put_bytes(b"x")
    path = store.home.object(digests.hex_of(its_digest))
    young = path.stat().st_mtime + 5
    assert garbage._remove_object(path, store.home, young - 10) is None
    assert store.objects.has(its_digest)


def test_leftovers_and_trash_are_removed_once_they_are_old(store: Store) -> None:
    made = record()
    add(store, made)
    half = store.home.run(made.id).root / ".record.json.12.34"
    half.write_bytes(b"{")
    (store.home.temporary / "object.1.2").write_bytes(b"half")
    (store.home.run("b" * 32).root).mkdir(parents=True)
    store.home.trash.mkdir()
    (store.home.trash / "old").write_bytes(b"")
    store.collect_garbage()
    assert (store.home.temporary / "object.1.2").exists()
    assert half.exists()
    assert list(store.home.trash.iterdir()) == []
    age(store.home)
    store.collect_garbage()
    assert not (store.home.temporary / "object.1.2").exists()
    assert not half.exists()
    assert store.load(made.id) == made
    assert not store.home.run("b" * 32).root.exists()
    assert store.usage().runs == 1


def test_usage_tells_what_there_is(store: Store) -> None:
    made = record()
    add(store, made)
    store.objects.put_bytes(b"12345")
    usage = store.usage()
    assert (usage.runs, usage.objects, usage.object_bytes) == (1, 1, 5)
    assert usage.run_bytes == store.home.run(made.id).record.stat().st_size
    assert replace(usage, index_bytes=0) == usage
