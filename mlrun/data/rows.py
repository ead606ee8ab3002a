"""What differs between two files: rows and columns of tables, lines of text, bytes of the rest.

Both files are read once, side by side, in bounded memory. Where they part, up to `_WINDOW` rows of each are
searched for the nearest place at which they meet again, so an insertion counts as one row and not as all
that follow. Files whose every row has moved further than that are told as changed all over, unless a sum
over all rows says that only the order differs.
"""

from __future__ import annotations

import json
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from mlrun.value import draft, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

_WINDOW = 1000  # rows of each file that are held at once
_MEETING = 2  # equal rows in succession that count as a meeting; one, where fewer follow
_LONGEST = 1 << 20  # bytes of a row; a longer one is taken in pieces
_SAMPLE = 64  # characters of a value that are quoted
_COLUMNS = 50  # columns that are named
_LOOKED_INTO = 10_000  # changed rows whose columns are compared
_BLOCK = 1 << 20
_PARQUET = (".parquet", ".pq")
_KINDS = {".csv": "csv", ".tsv": "csv", ".tab": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_TEXTS = (".txt", ".json", ".yaml", ".yml", ".toml", ".md", ".xml", ".html", ".py", ".r", ".sql", ".svg")


@value
class Cell:
    """A value that differs in the first row that does; None where the row has no such column."""

    column: str
    before: str | None
    after: str | None


@value
class Rows:
    """How two tables (or texts) differ, in rows.

    `kind` is `csv`, `jsonl` or `text`. `before` and `after` count the rows, without a header. `first` is
    the number of the first row that differs, counted from one, in the file where it stands; `columns` are
    those in which the first ten thousand changed rows differ, `cells` the values of the first of them.
    `columns_added` and `columns_removed` are by the headers; only what both have is compared then.
    `reordered` tells that the rows are the same in another order.
    """

    kind: str
    before: int
    after: int
    changed: int = 0
    added: int = 0
    removed: int = 0
    first: int | None = None
    columns: tuple[str, ...] = ()
    cells: tuple[Cell, ...] = ()
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()
    reordered: bool = False


def kind_of(name: str) -> str | None:
    """`csv`, `jsonl`, `text`, by a file's name (`.gz` is looked through); None for anything else."""
    lower = name.lower().removesuffix(".gz")
    suffix = lower[lower.rfind(".") :] if "." in lower else ""
    return _KINDS.get(suffix) or ("text" if suffix in _TEXTS else None)


def compare(before: BinaryIO, after: BinaryIO, name: str) -> Rows | None:
    """What differs in rows; None for a kind of file that has none, or that cannot be read here.

    Parquet is read where pyarrow is installed beside mlrun (the extra `parquet`).
    Raises OSError (also for broken gzip: BadGzipFile), EOFError where a compressed file ends too early.
    """
    kind = kind_of(name)
    if kind is None:
        return _compare_parquet(before, after) if name.lower().endswith(_PARQUET) else None
    if name.lower().endswith(".gz"):
        import gzip

        return _compare(gzip.GzipFile(fileobj=before), gzip.GzipFile(fileobj=after), kind)
    return _compare(before, after, kind)


def is_unreadable_here(name: str) -> bool:
    """Whether a kind of file has rows, and nobody is there to read it."""
    from importlib.util import find_spec

    return name.lower().endswith(_PARQUET) and find_spec("pyarrow") is None


def first_byte(before: BinaryIO, after: BinaryIO) -> int | None:
    """The offset of the first byte that differs, from zero; None where nothing does.

    Raises OSError.
    """
    offset = 0
    while True:
        left, right = before.read(_BLOCK), after.read(_BLOCK)
        if left != right:
            return offset + next(
                (at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b),
                min(len(left), len(right)),
            )
        if not left:
            return None
        offset += len(left)


def _compare_parquet(before: BinaryIO, after: BinaryIO) -> Rows | None:
    """By the text of each row, batch by batch."""
    from importlib import import_module

    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError:
        return None
    try:
        one, other = (_lines_of(parquet.ParquetFile(file)) for file in (before, after))
        return _compare(one, other, "jsonl")
    except ValueError:  # pyarrow's errors for what is no Parquet
        return None


def _lines_of(table: Any) -> Iterator[bytes]:
    for batch in table.iter_batches(batch_size=_WINDOW):
        for row in batch.to_pylist():
            yield json.dumps(row, default=str).encode()


# --- two files ----------------------------------------------------------------------------------------


def _compare(before: Iterable[bytes], after: Iterable[bytes], kind: str) -> Rows:
    left, right = _Ahead(before, quoted=kind == "csv"), _Ahead(after, quoted=kind == "csv")
    tally = _Tally(kind=kind)
    if kind == "csv":
        _headers(left, right, tally)
    while True:
        ours, theirs = left.window(), right.window()
        if not ours and not theirs:
            return tally.told(left, right)
        alike = len(ours) if ours == theirs else _alike(ours, theirs)
        left.drop(alike)
        right.drop(alike)
        if alike < max(len(ours), len(theirs)):
            _part_ways(left, right, tally)


def _alike(ours: list[bytes], theirs: list[bytes]) -> int:
    """How many rows are the same before the first that differs."""
    pairs = zip(ours, theirs, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(ours), len(theirs)))


def _part_ways(left: _Ahead, right: _Ahead, tally: _Tally) -> None:
    """Count what lies between here and the nearest place where both go on alike."""
    ours, theirs = left.window(), right.window()
    i, j = _meeting(ours, theirs)
    changed = min(i, j)
    if tally.first is None and (i or j):
        tally.first = (left.count if i and not j else right.count) + 1
    for a, b in zip(ours[:changed], theirs[:changed], strict=True):
        tally.change(a, b)
    tally.removed += i - changed
    tally.added += j - changed
    left.drop(i)
    right.drop(j)


def _meeting(ours: list[bytes], theirs: list[bytes]) -> tuple[int, int]:
    """How many rows of each come before the next that they have in common, as few as possible."""
    places: dict[bytes, list[int]] = {}
    for at, row in enumerate(theirs):
        places.setdefault(row, []).append(at)
    best: tuple[int, int] | None = None
    for i, row in enumerate(ours):
        if best is not None and i >= sum(best):
            break
        for j in places.get(row, ()):
            if best is not None and i + j >= sum(best):
                break
            if ours[i : i + _MEETING] == theirs[j : j + _MEETING]:
                best = (i, j)
                break
    if best is not None:
        return best
    if len(ours) < _WINDOW or len(theirs) < _WINDOW:  # an end is in sight: all that is left of it
        least = min(len(ours), len(theirs))
        return (least, least) if least else (len(ours), len(theirs))
    return _WINDOW, _WINDOW


class _Ahead:
    """Rows that can be looked at before they are taken; counts those taken, sums over all."""

    def __init__(self, file: Iterable[bytes], *, quoted: bool) -> None:
        read = getattr(file, "readline", None)
        self._lines = iter(partial(read, _LONGEST), b"") if read else iter(file)
        self._quoted = quoted
        self._held: list[bytes] = []
        self.count = 0
        self.project: Callable[[bytes], bytes] | None = None
        first = self._more(1)
        self._held = [row.removeprefix(b"\xef\xbb\xbf") for row in first]
        self.sum = sum(map(hash, self._held))

    def header(self) -> bytes | None:
        """The first row, left where it is."""
        return self._held[0] if self._held else None

    def window(self) -> list[bytes]:
        """The next rows, left where they are."""
        if len(self._held) < _WINDOW:
            new = self._more(_WINDOW - len(self._held))
            if self.project is not None:
                new = [self.project(row) for row in new]
            self.sum += sum(map(hash, new))
            self._held += new
        return self._held

    def drop(self, number: int) -> None:
        """Take rows."""
        self._held = self._held[number:]
        self.count += number

    def _more(self, number: int) -> list[bytes]:
        """Rows without their ends; a line end within quotes (RFC 4180) belongs to the row."""
        lines = list(islice(self._lines, number))
        if self._quoted and b'"' in b"".join(lines):
            lines = self._joined(lines)
        return [line.rstrip(b"\r\n") for line in lines]

    def _joined(self, lines: list[bytes]) -> list[bytes]:
        rows = []
        source = chain(lines, self._lines)
        taken = 0
        while taken < len(lines):
            row = next(source)
            taken += 1
            while row.count(b'"') % 2 and len(row) < _LONGEST and (more := next(source, None)):
                row += more
                taken += 1
            rows.append(row)
        return rows


# --- what is counted ----------------------------------------------------------------------------------


@draft
class _Tally:
    kind: str
    first: int | None = None
    changed: int = 0
    added: int = 0
    removed: int = 0
    header: tuple[str, ...] | None = None
    separator: str = ","
    cells: tuple[Cell, ...] = ()
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def change(self, a: bytes, b: bytes) -> None:
        self.changed += 1
        if self.kind == "text" or self.changed > _LOOKED_INTO or len(self.columns) >= _COLUMNS:
            return
        cells = _cells(self._named(a), self._named(b))
        if not self.cells:
            self.cells = cells[:_COLUMNS]
        new = tuple(cell.column for cell in cells if cell.column not in self.columns)
        self.columns = (*self.columns, *new)[:_COLUMNS]

    def _named(self, row: bytes) -> dict[str, str]:
        if self.kind == "jsonl":
            return _object(row)
        fields = _fields(row, self.separator)
        header = self.header or ()
        return {
            header[at] if at < len(header) else f"column {at + 1}": text for at, text in enumerate(fields)
        }

    def told(self, left: _Ahead, right: _Ahead) -> Rows:
        moved = self.changed + self.added + self.removed > 0
        return Rows(
            kind=self.kind,
            before=left.count,
            after=right.count,
            changed=self.changed,
            added=self.added,
            removed=self.removed,
            first=self.first,
            columns=self.columns,
            cells=self.cells,
            columns_added=self.columns_added,
            columns_removed=self.columns_removed,
            reordered=moved and left.count == right.count and left.sum == right.sum,
        )


def _headers(left: _Ahead, right: _Ahead, tally: _Tally) -> None:
    """Take the first rows off where they are headers; where these differ, compare what both have."""
    a, b = left.header(), right.header()
    tally.separator = max(",\t;|", key=lambda mark: (a or b or b"").count(mark.encode()))
    ours, theirs = (_fields(row, tally.separator) if row is not None else [] for row in (a, b))
    if not (_is_header(ours) and _is_header(theirs)):
        return
    for side in (left, right):
        side.drop(1)
        side.count, side.sum = 0, 0
    tally.header = tuple(theirs)
    if ours == theirs:
        return
    shared = [name for name in theirs if name in ours]
    tally.columns_added = tuple(name for name in theirs if name not in ours)
    tally.columns_removed = tuple(name for name in ours if name not in theirs)
    if shared:
        tally.header = tuple(shared)
        left.project, right.project = _projector(ours, shared, tally), _projector(theirs, shared, tally)


def _projector(header: list[str], shared: list[str], tally: _Tally) -> Callable[[bytes], bytes]:
    positions = [header.index(name) for name in shared]
    separator = tally.separator

    def project(row: bytes) -> bytes:
        fields = _fields(row, separator)
        return _joined((fields[at] if at < len(fields) else "" for at in positions), separator)

    return project


def _joined(fields: Iterable[str], separator: str) -> bytes:
    return separator.join(f'"{text.replace(chr(34), chr(34) * 2)}"' for text in fields).encode(
        "utf-8", "surrogateescape"
    )


def _fields(row: bytes, separator: str) -> list[str]:
    text = row.decode("utf-8", "surrogateescape")
    if '"' not in text:
        return text.split(separator)
    import csv

    try:
        return next(csv.reader([text], delimiter=separator), [])
    except csv.Error:
        return text.split(separator)


def _is_header(fields: list[str]) -> bool:
    """Names, each once, none of them a number."""
    return bool(fields) and len(set(fields)) == len(fields) and not any(map(_is_number, fields))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _object(row: bytes) -> dict[str, str]:
    try:
        found = json.loads(row)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return {"": row.decode("utf-8", "replace")}
    return {name: it if isinstance(it, str) else json.dumps(it) for name, it in found.items()}


def _cells(before: dict[str, str], after: dict[str, str]) -> tuple[Cell, ...]:
    names = dict.fromkeys((*before, *after))
    return tuple(
        Cell(column=name, before=_cut(before.get(name)), after=_cut(after.get(name)))
        for name in names
        if before.get(name) != after.get(name)
    )


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _SAMPLE else text[: _SAMPLE - 1] + "…"
