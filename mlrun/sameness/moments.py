"""Times that a run wrote down of itself: moments between its beginning and its end, however they are written.

A report says when it was made. Such a time cannot but differ in a repetition; one from before or after the
run is data, and stays what it is. So does a whole number of seconds, which programs take for a seed too.
"""

from __future__ import annotations

import calendar
import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Iterator

_DAY = 86_400
_MOST_DAYS = 31
_CLOCK_ALONE = 3_600  # seconds that a run may last for a time without its day to be told from a number
_SLACK = 1.0  # seconds: times are written in whole ones
_LARGEST = 64 << 20  # bytes; beyond, nothing is looked for
_AT_ONCE = 4096  # bytes compared at a time
_TIME = b"<time>"
_NUMBER = b"9.9e99"  # stands for a number, so that JSON stays JSON


@value
class Span:
    """When a run went on, in seconds since 1970; `offset` are the seconds that its clock was east of UTC."""

    began: float
    ended: float
    offset: int = 0


def timeless(content: bytes, span: Span) -> bytes:
    """A text without the times of a run."""
    if len(content) > _LARGEST or span.ended - span.began > _MOST_DAYS * _DAY:
        return content
    for day in _days(span):
        content = _of_day(day).sub(lambda match, day=day: _without(match, day, span), content)  # type: ignore[misc]
    content = _EPOCH.sub(lambda match: _NUMBER if _is_within(_seconds(match), 0, span) else match[0], content)
    if span.ended - span.began <= _CLOCK_ALONE:
        content = _CLOCK.sub(lambda match: _TIME if _is_on_clock(match, span) else match[0], content)
    return content


def alike_but_for_stamps(a: bytes, b: bytes, spans: tuple[Span, Span]) -> bool:
    """Whether two contents differ only in whole seconds of the runs, each of four bytes, the least first."""
    if len(a) != len(b):
        return False
    at = 0
    while at < len(a):
        if a[at : at + _AT_ONCE] == b[at : at + _AT_ONCE]:
            at += _AT_ONCE
            continue
        at = next(place for place in range(at, len(a)) if a[place] != b[place])
        start = next((it for it in range(max(at - 3, 0), at + 1) if _are_stamps(a, b, it, spans)), None)
        if start is None:
            return False
        at = start + 4
    return True


def _are_stamps(a: bytes, b: bytes, at: int, spans: tuple[Span, Span]) -> bool:
    found = (int.from_bytes(it[at : at + 4], "little") for it in (a, b))
    return all(_is_within(it, 0, span) for it, span in zip(found, spans, strict=True))


def _days(span: Span) -> Iterator[int]:
    """The days of a span by its clock: their midnights, as seconds since 1970."""
    first = int(span.began - _SLACK + span.offset) // _DAY
    last = int(span.ended + _SLACK + span.offset) // _DAY
    yield from (day * _DAY for day in range(first, last + 1))


_HOURS = (
    rb"(?P<hour>\d\d)(?P<colon>[:.-]?)(?P<minute>\d\d)(?:(?P=colon)(?P<second>\d\d)(?:[.,]\d{1,9})?)?"
    rb"(?: ?(?P<half>[AP]M))?(?: ?(?P<zone>Z|UTC|GMT|[-+]\d\d:?\d\d))?"
)
_CLOCK = re.compile(rb"(?<![\w:.])(\d\d):(\d\d):(\d\d)(?:[.,]\d{1,9})?(?![\w:])")
_EPOCH = re.compile(rb"(?<![\w.+-])(1\d{9})(?:(\d{3}|\d{6}|\d{9})(?:\.\d+)?|\.\d+)(?![\w.])")


@lru_cache(maxsize=64)
def _of_day(day: int) -> re.Pattern[bytes]:
    """That day as people and libraries write it, perhaps with a time of it."""
    at = time.gmtime(day)
    year, month, number = at.tm_year, at.tm_mon, at.tm_mday
    name, short = calendar.month_name[month], calendar.month_abbr[month]
    week = f"(?:{calendar.day_name[at.tm_wday]}|{calendar.day_abbr[at.tm_wday]})"
    dates = (
        *(rf"{year}{mark}{month:02}{mark}{number:02}" for mark in ("-", "/", r"\.")),
        *(rf"{number:02}{mark}{month:02}{mark}{year}" for mark in ("-", "/", r"\.")),
        rf"{month:02}/{number:02}/{year}",
        rf"(?:{week},? )?0?{number} (?:{name}|{short}),? {year}",
        rf"(?:{week},? )?(?:{name}|{short}) 0?{number},? {year}",
    )
    plain = rf"(?:{'|'.join(dates)})(?:(?:T|_|-|@|,? |,? at ){_HOURS.decode()})?"
    packed = rf"{year}{month:02}{number:02}[-_T]?{_again('p')}"
    in_words = rf"(?:{week} )?{short} +{number} {_again('w')} {year}"  # as `ctime` of C
    text = rf"(?<![0-9A-Za-z.])(?:{plain}|{packed}|{in_words})(?![\d])"
    return re.compile(text.encode())


def _again(mark: str) -> str:
    """The pattern of a time with other names for its parts."""
    return re.sub(r"\(\?P([<=])(\w+)", rf"(?P\g<1>\g<2>_{mark}", _HOURS.decode())


def _without(match: re.Match[bytes], day: int, span: Span) -> bytes:
    found = {name.partition("_")[0]: text for name, text in match.groupdict().items() if text is not None}
    if "hour" not in found:
        return _TIME
    hour, minute, second = (int(found.get(name, b"0")) for name in ("hour", "minute", "second"))
    if "half" in found:
        hour = hour % 12 + (12 if found["half"] == b"PM" else 0)
    zone = _east(found["zone"]) if "zone" in found else span.offset
    start = day + hour * 3600 + minute * 60 + second - zone
    return _TIME if _is_within(start, 0 if "second" in found else 60, span) else match[0]


def _east(zone: bytes) -> int:
    """Seconds that a zone, such as `+01:00`, is east of UTC."""
    if zone in (b"Z", b"UTC", b"GMT"):
        return 0
    digits = zone[1:].replace(b":", b"")
    return (-1 if zone[:1] == b"-" else 1) * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)


def _seconds(match: re.Match[bytes]) -> float:
    """A number of seconds with a fraction, or one of milli-, micro- or nanoseconds."""
    part = match[2] or b""
    return float(match[1]) + float(part or b"0") / 10.0 ** len(part)


def _is_within(start: float, length: float, span: Span) -> bool:
    return start + length >= span.began - _SLACK and start <= span.ended + _SLACK


def _is_on_clock(match: re.Match[bytes], span: Span) -> bool:
    hour, minute, second = (int(it) for it in match.groups())
    return any(
        _is_within(day + hour * 3600 + minute * 60 + second - span.offset, 0, span) for day in _days(span)
    )
