"""Curves: on a terminal, as SVG, as a page of HTML, as PNG. All drawn here, without a library.

PNG too: lines, ticks and short labels are little work for zlib, where a drawing library would be a hundred
times our size to install. Its letters are capitals of three by five dots.
"""

from __future__ import annotations

import math
import struct
import time
import zlib
from typing import TYPE_CHECKING

from mlrun.value import value
from mlrun.views import metrics, words
from mlrun.views.markup import in_html, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlrun.plotting import Series

COLOURS = ("#1f6fb4", "#d9480f", "#2b8a3e", "#862e9c", "#c2255c", "#5c940d", "#0b7285", "#495057")
_LARGEST = 308.25  # power of ten that a float holds
_MARKS = "●▲■◆✚✖○△"
_WIDTH, _HEIGHT = 800, 450
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 40, 40, 60  # margins in pixels


@value
class Frame:
    """The part of the plane that is shown; `log` for a logarithmic y axis."""

    x0: float
    x1: float
    y0: float
    y1: float
    axis: str
    log: bool

    def x(self, at: float) -> float:
        """0 to 1 from left to right."""
        return (at / 2 - self.x0 / 2) / (self.x1 / 2 - self.x0 / 2)

    def y(self, at: float) -> float:
        """0 to 1 from the bottom to the top."""
        scaled = math.log10(at) if self.log else at
        return (scaled / 2 - self.y0 / 2) / (self.y1 / 2 - self.y0 / 2)

    def y_label(self, part: float) -> str:
        """What stands at a height."""
        scaled = self.y0 * (1 - part) + self.y1 * part
        return f"{10 ** min(scaled, _LARGEST) if self.log else scaled:.4g}"

    def x_label(self, part: float) -> str:
        """What stands at a place."""
        at = self.x0 * (1 - part) + self.x1 * part
        if self.axis == "time":
            return time.strftime("%m-%d %H:%M:%S", time.localtime(at)) if abs(at) < 1e11 else words.number(at)
        return words.duration(max(0.0, at)) if self.axis == "relative" else words.number(at)


def framed(found: Sequence[Series], *, axis: str, log: bool) -> Frame:
    """A frame around all points; a single value gets some room."""
    xs = [x for series in found for x in series.xs] or [0.0]
    ys = [math.log10(y) if log else y for series in found for y in series.ys] or [0.0]
    x0, x1, y0, y1 = min(xs), max(xs), min(ys), max(ys)
    if x0 == x1:
        x0, x1 = x0 - (abs(x0) or 1.0) / 2, x1 + (abs(x1) or 1.0) / 2
    if y0 == y1:
        room = 0.5 if log else (abs(y0) or 1.0) / 2
        y0, y1 = y0 - room, y1 + room
    return Frame(x0=x0, x1=x1, y0=y0, y1=y1, axis=axis, log=log)


def label(series: Series, found: Sequence[Series]) -> str:
    """What tells a curve from the others."""
    one_metric = len({each.metric for each in found}) == 1
    one_run = len({each.run for each in found}) == 1
    run = f"{visible(series.run_name)} {series.run[:8]}"
    return visible(series.metric) if one_run else run if one_metric else f"{run} {visible(series.metric)}"


def title(found: Sequence[Series]) -> str:
    """The metrics, and the run where it is one."""
    names = ", ".join(dict.fromkeys(visible(series.metric) for series in found))
    runs = {series.run: visible(series.run_name) for series in found}
    return f"{names}, {next(iter(runs.values()))}" if len(runs) == 1 else names


# --- a terminal ---------------------------------------------------------------------------------------


def terminal(found: Sequence[Series], frame: Frame, *, width: int, height: int) -> list[str]:
    """Lines of text: one curve in dots of Braille, several in signs of their own."""
    columns = max(10, width - 12)
    grid = [[" "] * columns for _ in range(height)]
    if len(found) == 1:
        _braille(found[0], frame, grid)
    else:
        for number, series in enumerate(found):
            for across, up in _steps(series, frame, columns, height):
                grid[height - 1 - up][across] = _MARKS[number % len(_MARKS)]
    lines = [title(found)]
    for row, cells in enumerate(grid):
        labelled = row in (0, height // 2, height - 1)
        text = frame.y_label(1 - row / max(1, height - 1)) if labelled else ""
        lines.append(f"{text:>10} {'┤' if labelled else '│'}{''.join(cells).rstrip()}")
    left, right = frame.x_label(0), frame.x_label(1)
    lines.append(" " * 11 + "└" + "─" * columns)
    lines.append(" " * 12 + left + f"{frame.axis}".center(max(0, columns - len(left) - len(right))) + right)
    if len(found) > 1:
        for number, series in enumerate(found):
            last = words.number(series.last)
            lines.append(f"{_MARKS[number % len(_MARKS)]} {label(series, found)}  last {last}")
    return lines


def _steps(series: Series, frame: Frame, columns: int, rows: int) -> set[tuple[int, int]]:
    """The cells of a curve, joined by straight lines."""
    cells: set[tuple[int, int]] = set()
    before: tuple[int, int] | None = None
    for x, y in zip(series.xs, series.ys, strict=True):
        here = (round(frame.x(x) * (columns - 1)), round(frame.y(y) * (rows - 1)))
        cells.update(_line(before or here, here))
        before = here
    return cells


def _line(a: tuple[int, int], b: tuple[int, int]) -> list[tuple[int, int]]:
    steps = max(abs(b[0] - a[0]), abs(b[1] - a[1])) or 1
    return [
        (round(a[0] + (b[0] - a[0]) * at / steps), round(a[1] + (b[1] - a[1]) * at / steps))
        for at in range(steps + 1)
    ]


_DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
"""Bits of Unicode's Braille patterns, by column, from the bottom up."""


def _braille(series: Series, frame: Frame, grid: list[list[str]]) -> None:
    height, columns = len(grid), len(grid[0])
    bits: dict[tuple[int, int], int] = {}
    for across, up in _steps(series, frame, columns * 2, height * 4):
        cell = (across // 2, up // 4)
        bits[cell] = bits.get(cell, 0) | _DOTS[across % 2][up % 4]
    for (across, up), mask in bits.items():
        grid[height - 1 - up][across] = chr(0x2800 + mask)


# --- SVG and HTML -------------------------------------------------------------------------------------


def svg(found: Sequence[Series], frame: Frame) -> str:
    """A picture by itself."""
    height = _HEIGHT + 18 * len(found)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
            f'height="{height}" font-family="sans-serif" font-size="12" role="img">'
        ),
        f"<title>{in_html(title(found))}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="24" font-size="15">{in_html(title(found))}</text>',
    ]
    for part in (0, 0.25, 0.5, 0.75, 1):
        x, y = _x(part), _y(part)
        parts += [
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dee2e6"/>',
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{in_html(frame.y_label(part))}</text>',
            (
                f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">'
                f"{in_html(frame.x_label(part))}</text>"
            ),
        ]
    parts.append(
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - _BOTTOM + 38}" text-anchor="middle">'
        f"{frame.axis}</text>"
    )
    for number, series in enumerate(found):
        colour = COLOURS[number % len(COLOURS)]
        points = [(_x(frame.x(x)), _y(frame.y(y))) for x, y in zip(series.xs, series.ys, strict=True)]
        shape = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(
            f'<polyline points="{shape}" fill="none" stroke="{colour}" stroke-width="1.5" '
            f'stroke-linejoin="round"><title>{in_html(label(series, found))}</title></polyline>'
        )
        if len(points) == 1:
            parts.append(f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="4" fill="{colour}"/>')
        y = _HEIGHT + 18 * number
        text = f"{label(series, found)}  last {words.number(series.last)}"
        parts += [
            f'<rect x="{_LEFT}" y="{y - 9}" width="14" height="4" fill="{colour}"/>',
            f'<text x="{_LEFT + 22}" y="{y - 3}">{in_html(text)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(part: float) -> float:
    return _LEFT + part * (_WIDTH - _LEFT - _RIGHT)


def _y(part: float) -> float:
    return _HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM)


def page(found: Sequence[Series], frame: Frame) -> str:
    """A page that needs nothing else: the picture, and the numbers."""
    picture = svg(found, frame)
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td>{in_html(str(cell))}</td>"
            for cell in (
                f"{series.run_name} {series.run}",
                series.metric,
                words.number(series.last),
                words.number(min(series.ys, default=math.nan)),
                words.number(max(series.ys, default=math.nan)),
                f"{series.count:,}",
                metrics.sparkline(series.ys),
            )
        )
        + "</tr>\n"
        for series in found
    )
    heads = "".join(
        f"<th>{head}</th>" for head in ("run", "metric", "last", "min", "max", "points", "course")
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{in_html(title(found))}</title>\n'
        "<style>body{font-family:sans-serif;margin:2em}svg{max-width:100%;height:auto}"
        "td,th{padding:.2em .8em;text-align:left}</style>\n"
        f"{picture}<table><tr>{heads}</tr>\n{rows}</table></html>\n"
    )


# --- PNG ----------------------------------------------------------------------------------------------

_SIGNS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ.-+:_/%()=,"
_ROWS = (
    "7555726227717477171755711747177475771222757577571725755656563444365556746477464434553557557222711152"
    "5565544447577556555525552656442556365655342167222255557555525577555255552227124700002007000272002020"
    "00007112445124524442422240707000024"
)
_DOT_ROWS = {sign: _ROWS[5 * at : 5 * at + 5] for at, sign in enumerate(_SIGNS)}
"""Each sign as five rows of three dots, a digit a row."""
_SCALE = 2


class _Canvas:
    """Pixels, three bytes each."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._rows = [bytearray(b"\xff" * (3 * width)) for _ in range(height)]

    def dot(self, x: int, y: int, colour: bytes) -> None:
        if 0 <= x < self.width and 0 <= y < self.height:
            self._rows[y][3 * x : 3 * x + 3] = colour

    def line(self, a: tuple[float, float], b: tuple[float, float], colour: bytes, *, thick: int = 1) -> None:
        start, end = (round(a[0]), round(a[1])), (round(b[0]), round(b[1]))
        for x, y in _line(start, end):
            for right in range(thick):
                for below in range(thick):
                    self.dot(x + right, y + below, colour)

    def text(self, x: float, y: float, text: str, *, anchor: float = 0.0) -> None:
        """Beginning at `x`, or with that part of its length to the left of it."""
        left = round(x - anchor * len(text) * 4 * _SCALE)
        for sign in text.upper():
            for row, digits in enumerate(_DOT_ROWS.get(sign, "00000" if sign == " " else "75557")):
                for column in range(3):
                    if int(digits) & (4 >> column):
                        at = (left + column * _SCALE, round(y) + row * _SCALE)
                        for each in range(_SCALE * _SCALE):
                            self.dot(at[0] + each % _SCALE, at[1] + each // _SCALE, b"\x21\x25\x29")
            left += 4 * _SCALE

    def png(self) -> bytes:
        """As a file (https://www.w3.org/TR/png-3/): 8 bits a channel, rows without filter."""
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        body = zlib.compress(b"".join(b"\0" + row for row in self._rows), 6)
        chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )


def png(found: Sequence[Series], frame: Frame) -> bytes:
    """The bytes of a picture."""
    canvas = _Canvas(_WIDTH, _HEIGHT + 18 * len(found))
    canvas.text(_LEFT, 16, title(found))
    for part in (0, 0.25, 0.5, 0.75, 1):
        x, y = _x(part), _y(part)
        canvas.line((_LEFT, y), (_WIDTH - _RIGHT, y), b"\xde\xe2\xe6")
        canvas.text(_LEFT - 4, y - 5, frame.y_label(part), anchor=1.0)
        canvas.text(x, _HEIGHT - _BOTTOM + 8, frame.x_label(part), anchor=0.5)
    canvas.text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - _BOTTOM + 28, frame.axis, anchor=0.5)
    for number, series in enumerate(found):
        colour = bytes.fromhex(COLOURS[number % len(COLOURS)][1:])
        points = [(_x(frame.x(x)), _y(frame.y(y))) for x, y in zip(series.xs, series.ys, strict=True)]
        for a, b in zip(points, points[1:] or points, strict=False):
            canvas.line(a, b, colour, thick=2 if len(points) > 1 else 6)
        y = _HEIGHT + 18 * number
        canvas.line((_LEFT, y - 9), (_LEFT + 14, y - 9), colour, thick=4)
        canvas.text(_LEFT + 22, y - 13, f"{label(series, found)}  last {words.number(series.last)}")
    return canvas.png()
