"""Columns: aligned text, CSV; and which columns of many runs are worth showing."""

from __future__ import annotations

import csv
import io
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDEST = 40  # columns of a terminal: a longer cell is cut in the middle


def aligned(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()
) -> list[str]:
    """Lines of a table; the columns in `right` (numbers) end in line, the others begin in line."""
    cells = [[_fit(cell) for cell in row] for row in (list(headers), *(list(row) for row in rows))]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    return [_line(row, widths, right) for row in cells]


def _line(row: list[str], widths: list[int], right: frozenset[int]) -> str:
    padded = []
    for position, (cell, wanted) in enumerate(zip(row, widths, strict=True)):
        blanks = " " * (wanted - width(cell))
        padded.append(blanks + cell if position in right else cell + blanks)
    return "  ".join(padded).rstrip()


def width(text: str) -> int:
    """Columns that a terminal gives a text: two for East Asian wide signs, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(mark) else 2 if unicodedata.east_asian_width(mark) in "WF" else 1
        for mark in text
    )


def _fit(cell: str) -> str:
    cell = "".join(mark if mark.isprintable() else "·" for mark in cell)
    return cell if len(cell) <= _WIDEST else f"{cell[: _WIDEST // 2 - 1]}…{cell[-_WIDEST // 2 :]}"


def comma_separated(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """CSV (RFC 4180, lines ended by LF)."""
    return "".join(f"{_csv_line(row)}\n" for row in (headers, *rows))


def _csv_line(row: Sequence[str]) -> str:
    """Until Python 3.13 a writer quotes carriage returns only where they are part of its own line end."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(row)
    return buffer.getvalue().removesuffix("\r\n")


def varying(rows: Sequence[Mapping[str, str]], *, limit: int) -> list[str]:
    """The keys whose values differ between rows, those present in most rows first; at most `limit`.

    With a single row every key says something.
    """
    counts: dict[str, int] = {}
    values: dict[str, set[str]] = {}
    for row in rows:
        for key, value in row.items():
            counts[key] = counts.get(key, 0) + 1
            values.setdefault(key, set()).add(value)
    differing = [key for key in counts if len(rows) == 1 or len(values[key]) > 1 or counts[key] < len(rows)]
    return sorted(differing, key=lambda key: -counts[key])[:limit]
