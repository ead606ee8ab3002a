"""Numbers, sizes, times and digests, as people read them."""

from __future__ import annotations

import time

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: int) -> str:
    """Bytes: `312 B`, `11.2 KiB`."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """`85 ms`, `3.2 s`, `4 min 05 s`, `2 h 07 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def ago(seconds: float) -> str:
    """How long something is past, roughly: `just now`, `40 s ago`, `3 h ago`, `12 days ago`."""
    for size, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= (2 * size if name == "days" else size):
            return f"{int(seconds // size)} {name} ago"
    return f"{int(seconds)} s ago" if seconds >= 1 else "just now"


def seconds_since(utc_text: str, *, now: float) -> float | None:
    """From a time of a record to `now`, seconds since 1970; None for odd text."""
    try:
        import calendar

        return max(0.0, now - calendar.timegm(time.strptime(utc_text[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return None


def number(value: float) -> str:
    """A metric or a parameter in at most six significant digits."""
    return f"{value:.6g}"


def short(digest: str) -> str:
    """The start of a tagged digest, long enough to tell two apart by eye."""
    tag, colon, rest = digest.partition(":")
    return f"{tag}:{rest[:12]}" if colon else digest[:12]


def local_time(utc_text: str) -> str:
    """`2026-11-21T08:00:00.123Z` as `2026-11-21 09:00:00` in the reader's time zone; odd text unchanged."""
    try:
        import calendar

        date, clock = utc_text[:10].split("-"), utc_text[11:19].split(":")
        parts = [int(part) for part in (*date, *clock)]  # by hand: `strptime` takes six times as long
        if len(parts) != 6 or parts[2] > 31 or parts[3] > 24:
            return utc_text
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(calendar.timegm((*parts, 0, 0, 0))))
    except ValueError:
        return utc_text


def plural(count: int, noun: str) -> str:
    """`1 file`, `3 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def cut(text: str, longest: int | None) -> str:
    """At most so many letters, where any are too many: what is left out is in the middle."""
    if longest is None or len(text) <= longest:
        return text
    end = longest // 2
    return f"{text[: longest - end - 1]}…{text[-end:]}"
