"""Which day's packages are to be installed."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from mlrun.env.values import NOW, Day
from mlrun.errors import UsageError
from mlrun.value import replace

if TYPE_CHECKING:
    from mlrun.env.values import Asked

FIRST_DAY = "2005-01-01"
"""No package index holds anything older."""

_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_INSTANT = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(:\d{2})?Z")
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def choose_day(asked: Asked, wanted: str, *, committed_at: str | None) -> Day:
    """See `mlrun.env.choose_day`."""
    here = replace(NOW, committed_at=committed_at)
    if wanted == "now" or (wanted == "auto" and (committed_at is None or is_pinned(asked))):
        return here
    if wanted == "auto" and committed_at and _unlikely(committed_at):
        return here  # a clock that was not set, an import without dates
    if wanted in ("auto", "commit"):
        if committed_at is None:
            raise UsageError(
                "`--as-of commit`: what runs is not one commit",
                hint="give a date: `--as-of 2020-08-12`",
                code="no-commit",
            )
        if problem := _unlikely(committed_at):
            raise UsageError(
                f"`--as-of commit`: the commit says {committed_at}, and {problem}",
                hint="give a date: `--as-of 2020-08-12`",
                code="bad-date",
            )
        return replace(here, as_of=committed_at, why="the commit's date")
    return replace(here, as_of=instant(wanted), why="--as-of")


def is_pinned(asked: Asked) -> bool:
    """Whether the day cannot matter: a lock, or requirements that each name the hash of their files."""
    if asked.lock:
        return True
    return bool(asked.requirements) and all("--hash" in item.text for item in asked.requirements)


def instant(text: str) -> str:
    """A date as the last second of its day, a date with a time as that; UTC text.

    Raises UsageError (`bad-date`) for what is no date, or none that has been.
    """
    wanted = text.strip()
    if date := _DATE.fullmatch(wanted):
        year, month, day = map(int, date.groups())
        at = f"{year:04}-{month:02}-{day:02}T23:59:59Z"
    elif moment := _INSTANT.fullmatch(wanted):
        at = f"{moment[1]}T{moment[2]}{moment[3] or ':00'}Z"
    else:
        raise _no_date(text, "expected `commit`, `now`, or a date")
    try:
        time.strptime(at, _FORMAT)
    except ValueError:
        raise _no_date(text, "there is no such day") from None
    if problem := _unlikely(at):
        raise _no_date(text, problem)
    return at


def _unlikely(at: str) -> str | None:
    """Why there are no packages of a moment."""
    if at[:10] > time.strftime("%Y-%m-%d", time.gmtime()):
        return "that day has not come yet"
    return "there was no package index yet" if at < FIRST_DAY else None


def _no_date(text: str, what: str) -> UsageError:
    return UsageError(
        f"`--as-of {text}`: {what}",
        hint="a day in UTC such as `2020-08-12`, or a moment such as `2020-08-12T09:00:00Z`",
        code="bad-date",
    )


def shown(as_of: str) -> str:
    """The day alone."""
    return as_of[:10]
