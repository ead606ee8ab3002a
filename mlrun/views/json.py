"""JSON for machines: indented, UTF-8, and never a NaN that a parser refuses."""

from __future__ import annotations

import json
import math


def dumps(value: object) -> str:
    """The text of a JSON-able value; NaN and infinities become `"NaN"`, `"Infinity"`, `"-Infinity"`."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
