"""Contents that differ in bytes: what says the same, what is close, and what is not."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import pickletools
import struct
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrun.judgement import paired
from mlrun.model import Tolerance
from mlrun.sameness import EXACT, numbers, same
from mlrun.sameness.moments import Span

if TYPE_CHECKING:
    from collections.abc import Callable

CLOSE = Tolerance(rtol=1e-6)


def zipped(content: bytes, year: int, name: str = "a.txt") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


def tarred(content: bytes, seconds: int, *, mode: int = 0o644) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("a.txt")
        info.size, info.mtime, info.mode = len(content), seconds, mode
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def png(pixels: bytes, *, text: bytes, level: int = 6) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I4s", len(data), name) + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", len(pixels), 1, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"tEXt", text) + chunk(b"IDAT", zlib.compress(b"\0" + pixels, level))
    return b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b"")


def npy(*values: float) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({len(values)},), }}".ljust(117) + "\n"
    return (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", len(header))
        + header.encode()
        + struct.pack(f"<{len(values)}d", *values)
    )


PACKED: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": lambda data, number: gzip.compress(data, mtime=number),
    "bzip2": bz2.compress,
    "xz": lambda data, number: lzma.compress(data, preset=number),
    "zip": lambda data, number: zipped(data, 2000 + number),
    "tar": tarred,
    "tar.gz": lambda data, number: gzip.compress(tarred(data, number), mtime=number),
    "zlib": zlib.compress,
}
LONG = b"".join(b"%d," % (number * number) for number in range(20_000))


@pytest.mark.parametrize("kind", PACKED)
def test_only_how_it_is_packed(kind: str) -> None:
    pack = PACKED[kind]
    assert pack(LONG, 1) != pack(LONG, 9)
    assert same(pack(LONG, 1), pack(LONG, 9)).grade == "equal"
    assert same(pack(LONG, 1), pack(LONG + b"x", 9)).grade == "different"


def test_archives_with_other_members_or_modes_are_different() -> None:
    assert "only in the" in str(same(zipped(b"x", 2000), zipped(b"x", 2000, "b.txt")).note)
    assert same(tarred(b"x", 1), tarred(b"x", 1, mode=0o755)).grade == "different"


def test_pictures_by_what_is_drawn() -> None:
    assert same(png(b"abc", text=b"Date\0one"), png(b"abc", text=b"Date\0two", level=0)).grade == "equal"
    assert same(png(b"abc", text=b"Date\0one"), png(b"abd", text=b"Date\0one")).grade == "different"


def events(time: float, *values: float, cut: bytes = b"") -> bytes:
    """What TensorBoard is logged into; checksums are not what is compared."""
    payloads = [b"\x1a\x0dbrain.Event:2"]
    payloads += [b"\x10\x07\x2a\x0d\x0a\x0b\x0a\x04loss\x15" + struct.pack("<f", it) for it in values]
    whole = [b"\x09" + struct.pack("<d", time + number) + it for number, it in enumerate(payloads)]
    return b"".join(struct.pack("<QI", len(it), 0) + it + b"\0\0\0\0" for it in whole) + cut


def test_what_was_logged_for_tensorboard_but_for_its_times() -> None:
    assert same(events(1e9, 0.5, 0.25), events(2e9, 0.5, 0.25, cut=b"\x18\0")).grade == "equal"
    assert same(events(1e9, 0.5, 0.25), events(1e9, 0.5, 0.26)).grade == "different"
    assert same(events(1e9, 0.5), events(1e9, 0.5, 0.5)).grade == "different"
    near = events(1e9, 0.5, 0.25), events(2e9, 0.5, 0.2500001)
    assert same(*near).grade == "different"
    assert same(*near, tolerance=Tolerance(rtol=1e-5, atol=0)).grade == "close"


def test_names_that_hold_the_time_have_partners() -> None:
    ours = {"a.txt": 1, "runs/Nov21_16-40-00_vm/events.out.tfevents.1763743200.vm.12.0": 2, "only": 3}
    theirs = {"a.txt": 1, "runs/Nov22_01-02-03_vm/events.out.tfevents.1763773323.vm.999.0": 2, "new": 3}
    assert paired(ours, theirs)[1].keys() - {"new"} == ours.keys() - {"only"}
    two = {"out/2026-11-21/16-40-00/m.pt": 1, "out/2026-11-21/16-41-00/m.pt": 2}
    later = {"out/2026-11-22/09-00-00/m.pt": 1, "out/2026-11-22/09-05-00/m.pt": 2}
    assert paired(two, later) == (two, two)
    assert paired({"model-1": 1}, {"model-2": 1})[1] == {"model-2": 1}


def test_json_by_value() -> None:
    assert same(b'{"a": 1, "b": [2]}', b'{"b":[2],"a":1.0}').grade == "equal"
    assert same(b'{"a": 1}', b'{"a": true}').grade == "different"
    found = same(b'{"a": {"rmse": 0.5}}', b'{"a": {"rmse": 0.50000001}}')
    assert (found.grade, found.note) == ("different", "JSON: `.a.rmse` 0.5 and 0.50000001")
    assert same(b'{"rmse": 0.5}', b'{"rmse": 0.50000001}', tolerance=CLOSE).grade == "close"
    assert same(b'{"a": 1}', b'{"a": 1, "a": 1}').grade == "different"  # a key twice: who knows which counts


def test_numbers_in_text_and_arrays_within_a_tolerance() -> None:
    assert same(b"a,1.0000000\n", b"a,1.0000001\n", tolerance=CLOSE).grade == "close"
    assert same(b"a,1.0000000\n", b"a,1.0000001\n").grade == "different"
    assert same(b"a,1.0\n", b"b,1.0\n", tolerance=CLOSE).grade == "different"
    assert same(npy(1.0, 2.0), npy(1.0, 2.0000001), tolerance=CLOSE).grade == "close"
    assert same(npy(1.0, 2.0), npy(1.0, 2.1), tolerance=CLOSE).grade == "different"
    assert (
        same(zipped(npy(1.0), 2000, "a.npy"), zipped(npy(1.0000001), 2001, "a.npy"), tolerance=CLOSE).grade
        == "close"
    )
    assert numbers(float("nan"), float("nan")) == "identical"


def test_ids_and_time_of_an_mlflow_model() -> None:
    text = "flavors:\n  sklearn: {}\nmlflow_version: 2.1\nmodel_size_bytes: %s\nrun_id: %s\n"
    one, other = ((text % (name, name)).encode() for name in ("ab", "cd"))
    assert same(one, other).grade == "equal"
    assert same(one, other.replace(b"2.1", b"2.2")).grade == "different"
    old = "flavors:\n  sklearn: {}\nmodel_uuid: %s\nutc_time_created: '2022-02-02 1%s:00:00'\n"  # before 1.24
    assert same((old % ("a", 1)).encode(), (old % ("b", 2)).encode()).grade == "equal"


def test_where_they_were_made_does_not_count() -> None:
    def judged(one: bytes, other: bytes, tolerance: Tolerance = EXACT) -> str:
        before = (("/home/ada/wine", "SOURCE"), ("7f3a", "RUN"))
        after = (("/cache/91bc", "SOURCE"), ("91bc", "RUN"))
        return same(one, other, tolerance=tolerance, before=before, after=after).grade

    here, there = "/home/ada/wine/train.py", "/cache/91bc/train.py"
    for pack in (str.encode, pickle.dumps, lambda text: json.dumps({"file": text}).encode()):
        assert judged(pack(here), pack(there)) == "equal"
        assert same(pack(here), pack(there)).grade == "different"
        assert judged(pack(here), pack("/cache/elsewhere/train.py")) == "different"
    assert judged(b"run 7f3a: 0.5", b"run 91bc: 0.50000001", CLOSE) == "close"


def test_the_first_line_that_differs_is_named() -> None:
    assert same(b"one\ntwo\n", b"one\nTwo\n").note == "line 2: `two` and `Two`"
    assert same(b"\0one", b"\0onf").note == "from byte 3 of 4"


# --- pickles ------------------------------------------------------------------------------------------


def test_pickles_that_are_framed_or_numbered_otherwise() -> None:
    value = {"weights": [1.5, 2.5, None], "name": "forest", "again": "forest"}
    data = pickle.dumps(value, protocol=4)
    assert pickletools.optimize(data) != data
    assert same(data, pickletools.optimize(data)).grade == "equal"


def test_a_text_written_out_again_is_the_same_text() -> None:
    text = "a text of some length"
    other = "a text of some lengt" + chr(104)
    shared, apart = pickle.dumps([text, text]), pickle.dumps([text, other])
    assert shared != apart
    assert same(shared, apart).grade == "equal"


def test_the_order_of_a_sets_members_does_not_count() -> None:
    data = pickle.dumps({"a", "b"}, protocol=4)
    turned = (
        data.replace(b"\x8c\x01a", b"\x8c\x01?")
        .replace(b"\x8c\x01b", b"\x8c\x01a")
        .replace(b"\x8c\x01?", b"\x8c\x01b")
    )
    assert turned != data
    assert same(data, turned).grade == "equal"


def test_a_pickle_is_never_loaded() -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return (exec, ("raise SystemExit('loaded')",))

    one, other = pickle.dumps([Harm(), 1]), pickle.dumps([Harm(), 2])
    assert same(one, other).grade == "different"


def test_lists_shared_and_apart_are_not_the_same() -> None:
    inner: list[int] = []
    assert same(pickle.dumps([inner, inner]), pickle.dumps([[], []])).grade == "different"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(VALUES, VALUES, st.sampled_from([2, 3, 4, 5]))
def test_unlike_values_are_never_the_same(one: object, other: object, protocol: int) -> None:
    """Never a wrong `equal`: of pickles, and of JSON."""
    packed = [pickle.dumps(value, protocol=protocol) for value in (one, other)]
    if same(*packed).grade in ("identical", "equal"):
        assert repr(one) == repr(other)
    assert same(packed[0], pickletools.optimize(packed[0])).grade in ("identical", "equal")
    texts = [json.dumps(value).encode() for value in (one, other)]
    if same(*texts).grade in ("identical", "equal"):
        assert one == other


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(PACKED)), st.data())
def test_broken_files_are_different_and_no_error(kind: str, data: st.DataObject) -> None:
    whole = PACKED[kind](b"some text that is packed", 1)
    broken = bytearray(whole)
    broken[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    same(whole, bytes(broken))
    assert same(whole, whole[:30]).grade == "different"


NOON = 1_795_262_400.0  # 2026-11-21 12:00:00 UTC
SPANS = (
    Span(began=NOON, ended=NOON + 60),
    Span(began=NOON + 3 * 86_400 + 3_600, ended=NOON + 3 * 86_400 + 3_630),
)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("made 2026-11-21T12:00:07.123456+00:00", "made 2026-11-24T13:00:08+00:00"),
        ("made 2026-11-21 12:00:07,123 INFO", "made 2026-11-24 13:00:08,001 INFO"),
        ("made 2026-11-21 13:00:07+01:00", "made 2026-11-24 14:00:08+01:00"),
        ("made 2026-11-21.", "made 2026-11-24."),
        ("made 21.11.2026, 12:00", "made 24.11.2026, 13:00"),
        ("made 11/21/2026 12:00:01 PM", "made 11/24/2026 01:00:01 PM"),
        ("made Sat Nov 21 12:00:49 2026", "made Tue Nov 24 13:00:09 2026"),
        ("made Sat, 21 Nov 2026 12:00:49 GMT", "made Tue, 24 Nov 2026 13:00:09 GMT"),
        ("made November 21, 2026", "made November 24, 2026"),
        ("model_20261121-120030", "model_20261124-130020"),
        ('{"date_saved": "2026-11-21@12:00:30"}', '{"date_saved": "2026-11-24@13:00:20"}'),  # Keras
        ("[12:00:07] epoch 1", "[13:00:08] epoch 1"),
        ('{"at": 1795262407.25, "n": 1}', '{"at": 1795525208.125, "n": 1}'),
        ('{"at": 1795262407250}', '{"at": 1795525208125}'),
    ],
)
def test_times_of_the_runs_themselves_do_not_count(ours: str, theirs: str) -> None:
    assert same(ours.encode(), theirs.encode(), spans=SPANS).grade == "equal"
    assert same(ours.encode(), theirs.encode()).grade == "different"
    assert same(zipped(ours.encode(), 2000), zipped(theirs.encode(), 2000), spans=SPANS).grade == "equal"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("2026-11-20,1", "2026-11-24,1"),  # another day is data
        ("2026-11-21 12:00:07,1", "2026-11-24 12:00:07,1"),  # before the second run began
        ("2026-11-21,1", "2026-11-24,2"),
        ("2026-11-21 12:00:07", "12:00:07"),
        ("took 00:00:07", "took 00:00:08"),
        ('{"seed": 1795262407}', '{"seed": 1795525208}'),  # what began as a time may be a seed
        ('{"at": 1795262407.25}', '{"at": 9.9}'),
        ("v1.2026-11-21", "v2.2026-11-24"),
        ("made 2026-11-21 13:00:07+00:00", "made 2026-11-24 14:00:08+00:00"),
        ("x12026-11-21", "x12026-11-24"),
    ],
)
def test_other_times_do(ours: str, theirs: str) -> None:
    assert same(ours.encode(), theirs.encode(), spans=SPANS).grade == "different"


def test_json_with_times_stays_json() -> None:
    ours, theirs = b'{"at": 1795262407.25, "rmse": 0.5}', b'{"rmse": 0.50000001, "at": 1795525208.125}'
    assert same(ours, theirs, tolerance=CLOSE, spans=SPANS).grade == "close"


SVG = (
    '<svg><defs><path id="%s" d="M 0 0"/></defs><use xlink:href="#%s" x="1"/><g clip-path="url(#%s)"/></svg>'
)


def test_ids_that_a_library_makes_up_are_numbered() -> None:
    ours, theirs = (
        (SVG % (it, it, other)).encode() for it, other in (("m5d05703a88", "p1"), ("md90cfa3f16", "p1"))
    )
    assert same(ours, theirs).grade == "equal"
    assert same(gzip.compress(ours), gzip.compress(theirs)).grade == "equal"
    assert same(ours, theirs.replace(b'x="1"', b'x="2"')).grade == "different"
    crossed = (SVG % ("md90cfa3f16", "m5d05703a88", "p1")).encode()
    assert same(ours, crossed).grade == "different"
    page = '<html><div id="{0}"></div><script>plot("{0}", [1, {1}])</script></html>'
    one, other = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"
    assert same(page.format(one, 2).encode(), page.format(other, 2).encode()).grade == "equal"
    assert same(page.format(one, 2).encode(), page.format(other, 3).encode()).grade == "different"
    assert same(f"user,{one}".encode(), f"user,{other}".encode()).grade == "different"
    cell = b'<div class="jp-Cell" id="cell-id=%s"><pre>%d</pre></div>'
    assert same(cell % (b"8d2c18b5", 1), cell % (b"5b81cd2d", 1)).grade == "equal"
    assert same(cell % (b"8d2c18b5", 1), cell % (b"5b81cd2d", 2)).grade == "different"


def notebook(its_id: str, seconds: float, output: str) -> bytes:
    cell = {
        "cell_type": "code",
        "id": its_id,
        "metadata": {"papermill": {"duration": seconds, "status": "completed"}},
        "outputs": [{"output_type": "stream", "text": [output]}],
        "source": ["print(1)"],
    }
    metadata = {"papermill": {"duration": seconds, "parameters": {"alpha": 1}}}
    return json.dumps({"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}).encode()


def test_notebooks_by_what_they_show() -> None:
    assert same(notebook("a1", 0.5, "1\n"), notebook("b2", 0.75, "1\n")).grade == "equal"
    assert same(notebook("a1", 0.5, "1\n"), notebook("a1", 0.5, "2\n")).grade == "different"


def test_pages_but_for_their_dates() -> None:
    text = b"%%PDF-1.4 \xff /CreationDate (D:2026112112000%d+00'00') /ID [<%02x><%02x>] %s"
    assert same(text % (1, 17, 17, b"a"), text % (2, 34, 34, b"a")).grade == "equal"
    assert same(text % (1, 17, 17, b"a"), text % (2, 34, 34, b"b")).grade == "different"


def test_where_stop_words_lay_in_memory_does_not_count() -> None:
    def pickled(address: int, other: int) -> bytes:
        return pickle.dumps({"stop_words": None, "_stop_words_id": address, "n": other}, protocol=4)

    assert same(pickled(139998087461856, 1), pickled(139710584699872, 1)).grade == "equal"
    assert same(pickled(139998087461856, 1), pickled(139710584699872, 2)).grade == "different"
    assert same(pickled(139998087461856, 139998087461856), pickled(139710584699872, 2)).grade == "different"
    array = b"\0raw bytes of an array"
    ours, theirs = (pickled(it, 1)[:-1] + array for it in (139998087461856, 139710584699872))
    assert same(ours, theirs).grade == "equal"
    assert same(ours, theirs + b"\0").grade == "different"


def test_not_a_number_is_itself() -> None:
    ours, theirs = (pickle.dumps({"missing": float("nan"), "n": 1}, protocol=it) for it in (3, 4))
    assert same(ours, theirs).grade == "equal"


class Array:
    """Pickled as arrays are: its bytes are one of a few things in a tuple."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __reduce__(self) -> tuple[object, ...]:
        return (Array, (b"b",), (1, (2,), False, self.content))

    def __setstate__(self, state: object) -> None:
        raise AssertionError("a pickle that is compared is never loaded")


def test_how_long_a_search_took_does_not_count() -> None:
    def search(seconds: float, score: float) -> bytes:
        found = {
            "mean_fit_time": Array(struct.pack("<2d", seconds, 1)),
            "mean_test_score": Array(struct.pack("<2d", score, 1)),
        }
        return pickle.dumps({"cv_results_": found, "refit_time_": seconds, "best": score}, protocol=4)

    assert same(search(0.5, 1), search(0.25, 1)).grade == "equal"
    assert same(search(0.5, 1), search(0.25, 2)).grade == "different"


def hdf5(moment: float, value: int) -> bytes:
    return (
        b"\x89HDF\r\n\x1a\n" + bytes(5000) + struct.pack("<II", 1, int(moment)) + bytes([value]) + bytes(99)
    )


def test_times_in_hdf5_do_not_count() -> None:
    ours = hdf5(SPANS[0].began + 5, 1)
    assert same(ours, hdf5(SPANS[1].began + 5, 1), spans=SPANS).grade == "equal"
    assert same(ours, hdf5(SPANS[1].began + 5, 2), spans=SPANS).grade == "different"
    assert same(ours, hdf5(SPANS[1].began + 500, 1), spans=SPANS).grade == "different"
    assert same(ours, hdf5(SPANS[1].began + 5, 1)).grade == "different"


def test_a_pickle_that_was_damaged_is_different() -> None:
    whole = pickle.dumps({"a", "b"}, protocol=4)
    assert same(whole, whole.replace(b"(", b"N")).grade == "different"  # where the members of the set begin
