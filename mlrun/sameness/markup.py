"""Names that a library makes up anew each time, in what it writes for browsers and notebooks."""

from __future__ import annotations

import re

_ID = re.compile(
    rb"""\bid\s*=\s*["']("""
    rb"[a-z][0-9a-f]{10}"  # matplotlib's SVG
    rb"|T_[0-9a-f]{5}"  # pandas' styled tables; what follows names row and column
    rb"|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"  # plotly, bokeh, and others
    rb"|cell-id=[0-9a-f]{8}"  # notebooks turned into pages
    rb""")(?:_[\w-]*)?["']"""
)
_MOMENTS_OF_RUN = ("start_time", "end_time", "duration")  # papermill's


def is_markup(data: bytes) -> bool:
    """Whether a text is one with tags."""
    return data[:256].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def numbered(data: bytes) -> bytes:
    """A text with tags whose made up ids are numbered in their order, wherever they are referred to."""
    names = dict.fromkeys(_ID.findall(data))
    if not names:
        return data
    numbers = {name: b"id%d" % number for number, name in enumerate(names)}
    expression = re.compile(rb"(?<![0-9A-Za-z])(?:" + b"|".join(map(re.escape, names)) + rb")(?![0-9A-Za-z])")
    return expression.sub(lambda match: numbers[match[0]], data)


def is_notebook(content: object) -> bool:
    """Whether a JSON value is a Jupyter notebook (https://nbformat.readthedocs.io/en/latest/)."""
    return isinstance(content, dict) and "nbformat" in content and isinstance(content.get("cells"), list)


def without_ids(notebook: dict[str, object]) -> dict[str, object]:
    """A notebook without the ids of its cells, and without how long papermill took for each."""
    cells = notebook["cells"]
    assert isinstance(cells, list)
    return _timeless(notebook) | {"cells": [_timeless(_without_id(it)) for it in cells]}


def _without_id(cell: object) -> dict[str, object]:
    if not isinstance(cell, dict):
        return {"": cell}
    return {name: it for name, it in cell.items() if name != "id"}


def _timeless(part: dict[str, object]) -> dict[str, object]:
    metadata = part.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("papermill"), dict):
        return part
    kept = {name: it for name, it in metadata["papermill"].items() if name not in _MOMENTS_OF_RUN}
    return part | {"metadata": metadata | {"papermill": kept}}
