"""What differs between two files, row by row."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrun.contents import of_files
from mlrun.data.rows import Cell, Rows, compare, first_byte, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def rows(before: str | bytes, after: str | bytes, name: str = "a.csv") -> Rows:
    one, other = (text.encode() if isinstance(text, str) else text for text in (before, after))
    found = compare(io.BytesIO(one), io.BytesIO(other), name)
    assert found is not None
    return found


def table(*numbers: int) -> str:
    return "id,x\n" + "".join(f"{number},{number * 7 % 13}\n" for number in numbers)


def test_one_value_far_down() -> None:
    text = table(*range(12_000))
    found = rows(text, text.replace("\n11522,", "\n11522,1"))
    assert (found.before, found.after, found.changed, found.first) == (12_000, 12_000, 1, 11_523)
    assert found.columns == ("x",)
    assert found.cells == (Cell(column="x", before="2", after="12"),)


def test_a_row_put_in_counts_as_one() -> None:
    found = rows(table(*range(100)), table(*range(50), 1000, *range(50, 100)))
    assert (found.added, found.removed, found.changed, found.first) == (1, 0, 0, 51)


def test_rows_taken_out_and_one_changed() -> None:
    found = rows(table(*range(100)), table(*range(20), *range(30, 90), 999, *range(91, 100)))
    assert (found.added, found.removed, found.changed, found.first) == (0, 10, 1, 21)


def test_rows_in_another_order_are_told_so() -> None:
    numbers = list(range(3000))
    found = rows(table(*numbers), table(*reversed(numbers)))
    assert found.reordered
    assert rows("1\n2\n", "2\n1\n").reordered
    assert not rows(table(1, 2), table(1, 3)).reordered


def test_a_column_more_leaves_the_others_to_be_compared() -> None:
    found = rows("id,x\n1,2\n3,4\n", 'id,"y",x\n1,9,2\n3,9,5\n')
    assert (found.columns_added, found.columns_removed) == (("y",), ())
    assert (found.changed, found.cells) == (1, (Cell(column="x", before="4", after="5"),))


def test_without_a_header_columns_are_numbered() -> None:
    found = rows("1;2\n3;4\n", "1;2\n3;5\n")
    assert (found.first, found.columns) == (2, ("column 2",))


def test_a_line_end_within_quotes_belongs_to_its_row() -> None:
    text = 'id,text\n1,"two\nlines, one row"\n2,b\n'
    found = rows(text, text.replace("2,b", "2,c"))
    assert (found.before, found.first, found.columns) == (2, 2, ("text",))


def test_line_ends_and_a_byte_order_mark_are_no_rows() -> None:
    found = rows("id,x\n1,2\n", b"\xef\xbb\xbfid,x\r\n1,2")
    assert (found.changed, found.added, found.removed) == (0, 0, 0)


def test_json_lines_name_the_keys_that_differ() -> None:
    found = rows('{"a": 1, "b": 2}\n', '{"a": 1, "b": 3}\n', "a.jsonl")
    assert found.cells == (Cell(column="b", before="2", after="3"),)
    assert rows("no json\n", "[1]\n", "a.jsonl").changed == 1


def test_what_is_packed_is_unpacked() -> None:
    packed = [gzip.compress(text.encode()) for text in (table(1, 2), table(1, 3))]
    assert rows(packed[0], packed[1], "a.csv.gz").changed == 1
    with pytest.raises(OSError):
        rows(b"no gzip", packed[1], "a.csv.gz")


def test_other_files_have_no_rows() -> None:
    assert kind_of("model.bin") is kind_of("csv") is None
    assert compare(io.BytesIO(b"a"), io.BytesIO(b"b"), "a.bin") is None


def test_parquet_is_read_where_pyarrow_is_there() -> None:
    found = compare(io.BytesIO(b"PAR1"), io.BytesIO(b"PAR1 too"), "a.parquet")
    assert found is None  # no Parquet, or nobody to read it
    note, lines, _ = of_files(lambda: io.BytesIO(b"PAR1"), lambda: io.BytesIO(b"PAR2"), "a.parquet")
    assert note == "differs from byte 3 on"
    assert bool(lines) == (find_spec("pyarrow") is None)
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    files = [io.BytesIO(), io.BytesIO()]
    for file, last in zip(files, (1, 2), strict=True):
        parquet.write_table(arrow.table({"id": list(range(12_000)), "x": [0] * 11_999 + [last]}), file)
        file.seek(0)
    found = compare(files[0], files[1], "a.parquet")
    assert found is not None
    assert (found.changed, found.first, found.columns) == (1, 12_000, ("x",))


@pytest.mark.parametrize(
    ("before", "after", "offset"), [(b"", b"", None), (b"abc", b"abd", 2), (b"ab", b"abc", 2), (b"a", b"", 0)]
)
def test_the_first_byte_that_differs(before: bytes, after: bytes, offset: int | None) -> None:
    assert first_byte(io.BytesIO(before), io.BytesIO(after)) == offset


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file() -> None:
    class Endless(io.RawIOBase):
        """Rows made as they are read, each different."""

        def __init__(self, salt: int) -> None:
            self._lines = self._made(salt)

        def _made(self, salt: int) -> Iterator[bytes]:
            for number in range(16_000):
                yield b"%d,%s,%d\n" % (number, b"x" * 100, number * salt % 7)

        def readline(self, _size: int | None = -1, /) -> bytes:
            return next(self._lines, b"")

    tracemalloc.start()
    try:
        found = compare(Endless(1), Endless(3), "a.csv")  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found is not None
    assert found.changed > 10_000
    assert peak < 1 << 20


LINES = st.lists(st.sampled_from(["a", "b", "c", "1,2", "", '"q"']), max_size=30)


@settings(max_examples=150, deadline=None)
@given(LINES, LINES)
def test_what_is_counted_adds_up(before: list[str], after: list[str]) -> None:
    one, other = ("".join(f"{line}\n" for line in lines) for lines in (before, after))
    found = rows(one, other, "a.txt")
    assert (found.before, found.after) == (len(before), len(after))
    assert found.before - found.removed + found.added == found.after
    assert (found.changed + found.added + found.removed == 0) == (before == after)
    assert (found.first is None) == (before == after)
