"""Which day's packages are to be installed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrun.env.values import NOW, Day
from mlrun.errors import UsageError
from mlrun.value import replace

if TYPE_CHECKING:
    from mlrun.env.values import Asked

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}Z)?")


def choose_day(asked: Asked, wanted: str, *, committed_at: str | None) -> Day:
    """See `mlrun.env.choose_day`."""
    here = replace(NOW, committed_at=committed_at)
    if wanted == "now" or (wanted == "auto" and (asked.lock or committed_at is None)):
        return here
    if wanted in ("auto", "commit"):
        if committed_at is None:
            raise UsageError("`--as-of commit`: the source is not one commit", hint="give a date")
        return replace(here, as_of=committed_at, why="the commit's date")
    if not _DATE.fullmatch(wanted):
        raise UsageError(f"`--as-of {wanted}`: expected `commit`, `now` or a date such as 2020-08-12")
    return replace(here, as_of=wanted if "T" in wanted else f"{wanted}T23:59:59Z", why="--as-of")
