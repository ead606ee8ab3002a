"""Records of cached steps, many in a file: found there, given folders by readers, never lost or doubled."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mlrun import digest
from mlrun.errors import StoreError
from mlrun.model import Artifact, Digest, HostFacts, Metric, RunRecord, StepFacts
from mlrun.store import Query, Store, bundles, codec
from mlrun.value import replace
from tests.test_store import add, reading_only, record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlrun.files import Home
    from tests.quiet import Quiet

HOST = HostFacts(name="here", os="Debian", machine="x86_64", cores=2, memory=1 << 30)


@pytest.fixture
def store(home: Home, narrator: Quiet) -> Store:
    return Store(home, narrator)


def pipeline(store: Store, *, count: int = 3) -> tuple[RunRecord, list[RunRecord]]:
    """A whole, in the store, and records of its steps, which are not there yet."""
    steps = [
        record(number, status="cached", host=HOST, trigger="pipeline", name=f"whole/{number}")
        for number in range(count)
    ]
    whole = record(
        99,
        name="whole",
        status="cached",
        steps=tuple(StepFacts(name=str(number), run=it.id, needs=()) for number, it in enumerate(steps)),
    )
    steps = [replace(it, parents=(("pipeline", whole.id),)) for it in steps]
    add(store, whole)
    return whole, steps


def test_what_is_written_together_is_read_at_once_and_laid_out_by_who_lists(store: Store) -> None:
    whole, steps = pipeline(store)
    store.add_together(steps, pipeline=whole.id)
    [path] = bundles.outstanding(store.home)
    assert path.read_bytes().count(b'"Debian"') == 1  # what they have in common stands there once
    assert [store.load(it.id) for it in steps] == steps
    assert all(store.has(it.id) for it in steps)
    assert not store.home.run(steps[0].id).root.exists()

    assert {row.name for row in store.query(Query())} == {"whole", "whole/0", "whole/1", "whole/2"}
    assert bundles.outstanding(store.home) == []
    for it in steps:
        data = store.home.run(it.id).record.read_bytes()
        assert data == codec.encode(it)
        assert codec.is_unedited(data)
    assert store.load(steps[2].id) == steps[2]
    store.remove([it.id for it in steps])
    assert [row.name for row in store.query(Query())] == ["whole"]
    assert not store.has(steps[0].id)


@pytest.mark.parametrize("ask", ["an id", "a start", "a name", "all ids"])
def test_a_step_in_a_bundle_is_found_by_whatever_it_is_called(store: Store, ask: str) -> None:
    whole, steps = pipeline(store)
    store.add_together(steps, pipeline=whole.id)
    its_id = steps[1].id
    if ask == "all ids":
        assert its_id in store.ids()
    else:
        asked = {"an id": its_id, "a start": its_id[:10], "a name": "whole/1"}[ask]
        assert store.find(asked) == its_id
    assert store.home.run(its_id).record.exists()


def test_a_cached_step_has_the_steps_of_the_metrics_that_it_did_not_log(store: Store) -> None:
    original = record(1, metrics={"loss": 0.5})
    add(store, original)
    store.home.run(original.id).metrics.write_text('{"name": "loss", "value": 0.5}\n')
    whole, [step, other] = pipeline(store, count=2)
    loss = (Metric(name="loss", last=0.5, minimum=0.5, maximum=0.5),)
    from_it = (("pipeline", whole.id), ("cached_from", original.id))
    step = replace(step, metrics=loss, parents=from_it)
    store.add_together([step, replace(other, parents=from_it)], pipeline=whole.id)
    store.query(Query())
    assert store.home.run(step.id).metrics.read_text() == '{"name": "loss", "value": 0.5}\n'
    assert not store.home.run(other.id).metrics.exists()


def test_a_bundle_half_laid_out_is_finished_by_the_next(store: Store) -> None:
    whole, steps = pipeline(store)
    store.add_together(steps, pipeline=whole.id)
    [path] = bundles.outstanding(store.home)
    data = path.read_bytes()
    store.query(Query())
    kept = replace(steps[0], tags=(("kept", "yes"),))
    store.save(kept)
    store.remove([steps[1].id])
    path.write_bytes(data)  # as if who laid it out had been killed before the end
    store.query(Query())
    assert store.load(steps[0].id) == kept
    assert store.load(steps[1].id) == steps[1]
    assert bundles.outstanding(store.home) == []


@pytest.mark.parametrize("how", ["cut", "changed", "empty"])
def test_a_damaged_bundle_is_told_of_once_and_put_aside(store: Store, narrator: Quiet, how: str) -> None:
    whole, steps = pipeline(store)
    store.add_together(steps, pipeline=whole.id)
    [path] = bundles.outstanding(store.home)
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[:-10],
            "changed": data.replace(b"Debian", b"Debiam"),
            "empty": b"",
        }[how]
    )
    with pytest.raises(StoreError, match="there is no run"):
        store.load(steps[0].id)
    assert [row.name for row in store.query(Query())] == ["whole"]
    [line] = [line for line in narrator.lines if "damaged" in line]
    assert str(store.home.bundles) in line
    store.query(Query())
    assert len([line for line in narrator.lines if "damaged" in line]) == 1
    assert [it.name for it in store.home.bundles.iterdir()] == [f"{path.name}.damaged"]


@pytest.mark.parametrize("name", ["id", "cached_from"])
def test_a_bundle_that_names_a_place_elsewhere_is_not_followed(
    store: Store, narrator: Quiet, tmp_path: Path, name: str
) -> None:
    whole, [step] = pipeline(store, count=1)
    loss = (Metric(name="loss", last=0.5, minimum=0.5, maximum=0.5),)
    away = f"../../../{tmp_path.name}/away"
    if name == "id":
        step = replace(step, id=away)
    else:
        step = replace(step, metrics=loss, parents=(("cached_from", away),))
    store.add_together([step], pipeline=whole.id)
    assert [row.name for row in store.query(Query())] == ["whole"]
    assert "no run's id" in narrator.lines[-1]
    assert not (tmp_path / "away").exists()


def test_a_bundle_of_a_later_mlrun_is_left_to_it(store: Store, narrator: Quiet) -> None:
    whole, steps = pipeline(store)
    store.add_together(steps, pipeline=whole.id)
    [path] = bundles.outstanding(store.home)
    body = path.read_bytes().partition(b"\n")[2].replace(b"bundle/v1", b"bundle/v2")
    path.write_bytes(f"{digest.of_bytes(body)}\n".encode() + body)
    before = path.read_bytes()
    assert [row.name for row in store.query(Query())] == ["whole"]
    assert "newer than this mlrun knows" in narrator.lines[-1]
    with pytest.raises(StoreError, match="there is no run"):
        store.load(steps[0].id)
    assert path.read_bytes() == before


@pytest.mark.parametrize("index", ["there", "missing"])
def test_a_store_that_may_only_be_read_shows_what_is_in_bundles(store: Store, index: str) -> None:
    whole, steps = pipeline(store)
    if index == "there":
        store.query(Query())
    store.save(whole)  # as a pipeline does at its end
    store.add_together(steps, pipeline=whole.id)
    with reading_only(store.home):
        assert {row.name for row in store.query(Query())} == {"whole", "whole/0", "whole/1", "whole/2"}
        assert store.load(steps[1].id) == steps[1]
        assert store.find("whole/2") == steps[2].id
        assert set(store.ids()) == {whole.id}
    assert len(bundles.outstanding(store.home)) == 1


def test_what_only_a_bundle_refers_to_is_not_collected(store: Store) -> None:
    whole, steps = pipeline(store, count=1)
    kept = store.objects.put_bytes(b"of a cached step")
    gone = store.objects.put_bytes(b"of nobody")
    for its_digest in (kept, gone):
        os.utime(store.home.object(its_digest.removeprefix("blake3:")), (1, 1))
    output = Artifact(path="m", kind="file", digest=kept, size=1, files=1, stored=True)
    store.add_together([replace(steps[0], outputs=(output,))], pipeline=whole.id)
    store.collect_garbage()
    assert store.objects.has(kept)
    assert not store.objects.has(Digest(gone))


def test_nothing_is_written_for_no_steps_and_what_cannot_be_written_is_an_error(store: Store) -> None:
    whole, steps = pipeline(store)
    store.add_together([], pipeline=whole.id)
    assert not store.home.bundles.exists()
    store.home.bundles.write_text("in the way")
    with pytest.raises(StoreError):
        store.add_together(steps, pipeline=whole.id)


def test_what_a_damaged_bundle_refers_to_is_not_collected(store: Store) -> None:
    whole, steps = pipeline(store, count=1)
    kept = store.objects.put_bytes(b"of a cached step")
    os.utime(store.home.object(kept.removeprefix("blake3:")), (1, 1))
    output = Artifact(path="m", kind="file", digest=kept, size=1, files=1, stored=True)
    store.add_together([replace(steps[0], outputs=(output,))], pipeline=whole.id)
    [path] = bundles.outstanding(store.home)
    path.write_bytes(path.read_bytes()[:-1])
    store.query(Query())
    store.collect_garbage()
    assert store.objects.has(kept)


def test_what_is_removed_stays_away_and_leaves_others_their_series(store: Store) -> None:
    original = record(1, metrics={"loss": 0.5})
    add(store, original)
    store.home.run(original.id).metrics.write_text('{"name": "loss", "value": 0.5}\n')
    whole, steps = pipeline(store, count=2)
    loss = (Metric(name="loss", last=0.5, minimum=0.5, maximum=0.5),)
    steps = [replace(it, metrics=loss, parents=(*it.parents, ("cached_from", original.id))) for it in steps]
    store.add_together(steps, pipeline=whole.id)
    store.remove([original.id, steps[0].id])
    assert not store.has(steps[0].id)
    assert {row.name for row in store.query(Query())} == {"whole", "whole/1"}
    assert store.home.run(steps[1].id).metrics.exists()


def test_a_step_laid_out_after_its_pipeline_was_indexed_is_indexed_too(store: Store) -> None:
    whole, steps = pipeline(store)
    assert [row.name for row in store.query(Query())] == ["whole"]  # it goes on, and somebody looks
    store.add_together(steps, pipeline=whole.id)
    with reading_only(store.home):
        assert len(store.query(Query())) == 4
    assert len(store.query(Query())) == 4
    assert bundles.outstanding(store.home) == []


def test_one_of_the_same_number_who_was_killed_is_in_nobodys_way(store: Store) -> None:
    whole, steps = pipeline(store)
    store.add_together(steps, pipeline=whole.id)
    (store.home.temporary / f"{steps[0].id}.{os.getpid()}").mkdir()
    assert len(store.query(Query())) == 4


def test_an_index_made_anew_goes_by_the_folder_and_not_by_the_bundle(store: Store) -> None:
    whole, steps = pipeline(store)
    store.add_together(steps, pipeline=whole.id)
    [path] = bundles.outstanding(store.home)
    data = path.read_bytes()
    store.query(Query())
    store.save(replace(steps[0], name="renamed"))
    store.query(Query())
    path.write_bytes(data)
    store.rebuild()
    assert {row.name for row in store.query(Query())} == {"whole", "renamed", "whole/1", "whole/2"}


def test_a_bundle_is_read_once(store: Store) -> None:
    whole, steps = pipeline(store)
    store.add_together(steps, pipeline=whole.id)
    [path] = bundles.outstanding(store.home)
    assert store.load(steps[0].id) == steps[0]
    path.write_bytes(b"not looked at again")
    assert store.load(steps[1].id) == steps[1]


@pytest.mark.parametrize("whose", ["the folder", "the bundle", "a damaged one", "runs"])
def test_what_is_anothers_keeps_nobody_from_reading_the_rest(store: Store, whose: str) -> None:
    whole, steps = pipeline(store)
    store.query(Query())
    store.save(whole)
    store.add_together(steps, pipeline=whole.id)
    [path] = bundles.outstanding(store.home)
    if whose == "a damaged one":
        path.write_bytes(b"")
    shards = [store.home.run(it.id).root.parent for it in steps]
    for shard in shards:
        shard.mkdir(exist_ok=True)
    places = {"the bundle": [path], "runs": shards}.get(whose, [path.parent])
    with owning_all_but(places, store.home):
        found = {row.name for row in store.query(Query())}
        assert store.load(whole.id) == whole
        with pytest.raises(StoreError):
            store.remove([whole.id, steps[0].id])
        assert store.has(whole.id)
    if whose in ("the bundle", "a damaged one"):
        assert found == {"whole"}
    else:
        assert found == {"whole", "whole/0", "whole/1", "whole/2"}
    assert path.exists()


@contextlib.contextmanager
def owning_all_but(places: list[Path], home: Home) -> Iterator[None]:
    """Of a store that is ours, some places are another's, who lets nobody write there, nor read a file."""
    own = os.geteuid()
    if own == 0:
        for folder in (home.root, *home.root.parents[:-1]):
            os.chmod(folder, folder.stat().st_mode | 0o055)
        for each in (home.root, *home.root.rglob("*")):
            os.chown(each, 65534, 65534)
    for place in places:
        if own == 0:
            os.chown(place, 0, 0)
        os.chmod(place, 0o555 if place.is_dir() else 0)
    try:
        os.seteuid(65534 if own == 0 else own)
        yield
    finally:
        os.seteuid(own)
        for place in places:
            os.chmod(place, 0o755)


LAYING_OUT = """
import sys
from pathlib import Path
from mlrun.files import Home
from mlrun.store import Query, Store
print(len(Store(Home(Path(sys.argv[1]))).query(Query())))
"""


def test_of_many_who_read_at_once_one_lays_out(store: Store) -> None:
    whole, steps = pipeline(store, count=40)
    for start in range(0, 40, 10):
        store.add_together(steps[start : start + 10], pipeline=whole.id)
    command = [sys.executable, "-c", LAYING_OUT, str(store.home.root)]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [reader.communicate(timeout=60)[0] for reader in readers] == ["41\n"] * 4
    assert list(store.home.temporary.iterdir()) == []
    for it in steps:
        assert json.loads(store.home.run(it.id).record.read_bytes())["name"] == it.name


def test_odd_texts_and_numbers_come_out_as_they_went_in(store: Store, tmp_path: Path) -> None:
    whole, [step] = pipeline(store, count=1)
    odd = replace(
        step,
        name="\udc80 \u2028 \x00",
        warnings=("\ud800",),
        metrics=(Metric(name="n", last=float("nan"), minimum=-float("inf"), maximum=1e300),),
    )
    store.add_together([odd], pipeline=whole.id)
    assert codec.encode(store.load(step.id)) == codec.encode(odd)
    with contextlib.suppress(StoreError):
        store.query(Query())
    assert store.home.run(step.id).record.read_bytes() == codec.encode(odd)
