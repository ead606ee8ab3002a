"""Which day's packages count."""

from __future__ import annotations

import pytest

from mlrun import env
from mlrun.env import Asked, Day
from mlrun.env.values import Requirement
from mlrun.errors import UsageError
from mlrun.model import Place

COMMIT = "2020-08-12T09:00:00Z"
HERE = Place(file="requirements.txt", line=1)
LOOSE = Asked(kind="venv", summary="", requirements=(Requirement(text="numpy", place=HERE),))
LOCKED = Asked(kind="venv", summary="", lock="uv.lock")
HASHED = Asked(
    kind="venv", summary="", requirements=(Requirement(text="six==1.16.0 --hash=sha256:00", place=HERE),)
)


@pytest.mark.parametrize(
    ("asked", "wanted", "committed_at", "as_of", "why"),
    [
        (LOOSE, "auto", COMMIT, COMMIT, "the commit's date"),
        (LOOSE, "auto", None, None, "now"),
        (LOOSE, "auto", "1970-01-01T00:00:10Z", None, "now"),
        (LOOSE, "auto", "2999-01-01T00:00:00Z", None, "now"),
        (LOCKED, "auto", COMMIT, None, "now"),
        (HASHED, "auto", COMMIT, None, "now"),
        (LOCKED, "commit", COMMIT, COMMIT, "the commit's date"),
        (LOOSE, "now", COMMIT, None, "now"),
        (LOOSE, "2019-09-12", COMMIT, "2019-09-12T23:59:59Z", "--as-of"),
        (LOOSE, "2019-9-2", None, "2019-09-02T23:59:59Z", "--as-of"),
        (LOOSE, "2019-09-12T08:30:00Z", None, "2019-09-12T08:30:00Z", "--as-of"),
        (LOOSE, "2019-09-12 08:30Z", None, "2019-09-12T08:30:00Z", "--as-of"),
    ],
)
def test_the_day_is_the_one_asked_for_else_the_commit_s_where_versions_are_loose(
    asked: Asked, wanted: str, committed_at: str | None, as_of: str | None, why: str
) -> None:
    day = env.choose_day(asked, wanted, committed_at=committed_at)
    assert day == Day(as_of=as_of, why=why, committed_at=committed_at)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("yesterday", "`--as-of yesterday`: expected `commit`, `now`, or a date"),
        ("2019-02-30", "`--as-of 2019-02-30`: there is no such day"),
        ("2019-13-01", "`--as-of 2019-13-01`: there is no such day"),
        ("2019-02-03T25:00:00Z", "`--as-of 2019-02-03T25:00:00Z`: there is no such day"),
        ("2999-01-01", "`--as-of 2999-01-01`: that day has not come yet"),
        ("1999-01-01", "`--as-of 1999-01-01`: there was no package index yet"),
        ("commit", "`--as-of commit`: what runs is not one commit"),
        ("", "`--as-of `: expected `commit`, `now`, or a date"),
    ],
)
def test_what_is_no_day_is_refused(wanted: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        env.choose_day(LOOSE, wanted, committed_at=None)
    assert caught.value.message == message
    assert "2020-08-12" in (caught.value.hint or "")


@pytest.mark.parametrize("committed_at", ["1970-01-01T00:00:10Z", "2999-01-01T00:00:00Z"])
def test_a_commit_of_an_impossible_day_names_none(committed_at: str) -> None:
    with pytest.raises(UsageError) as caught:
        env.choose_day(LOOSE, "commit", committed_at=committed_at)
    assert caught.value.code == "bad-date"
