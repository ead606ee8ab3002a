"""`--where`, `--sort` and paging: what is found, in which order, and what is refused with which words."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrun.errors import UsageError
from mlrun.files import Home
from mlrun.store import Query, Store
from mlrun.store.conditions import instant
from tests.quiet import Quiet
from tests.test_store import add, record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1795334400.0  # 2026-11-22T08:00:00Z


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Six runs, told apart by the single letters of their names."""
    store = Store(Home(tmp_path_factory.mktemp("store") / "home"))
    forest = {"alpha": "0.5", "model": "forest", "depth": "10"}
    for made in (
        record(1, name="a", params=forest, metrics={"rmse": 0.9, "val/acc": 0.1}),
        record(
            2, name="b", params={"alpha": "0.50", "model": "Boost"}, metrics={"rmse": 0.7}, project="beer"
        ),
        record(3, name="c", params={"alpha": "auto"}, metrics={"rmse": math.nan}, tags=(("team", "red"),)),
        record(4, name="d", metrics={"rmse": math.inf}, status="failed", exit_code=3, user="ada"),
        record(5, name="e", params={"alpha": "1e-1", "depth": "9"}, metrics={"rmse": 0.2, "val/acc": 0.9}),
        record(6, name="f", source=None, params={"note": '100% it\'s "a_b"'}),
    ):
        add(store, made)
    return store


def found(store: Store, where: str | None = None, **query: object) -> str:
    rows = store.query(Query(where=where, **{"sort": "started", **query}), now=NOW)  # type: ignore[arg-type]
    return "".join(row.name for row in rows)


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("metrics.rmse < 0.8 and params.alpha = 0.5", "b"),
        ("metrics.rmse<0.8", "be"),
        ("metrics.rmse <= 0.7", "be"),
        ("metrics.rmse > 0.7", "ad"),
        ("metrics.rmse >= .9", "ad"),
        ("metrics.rmse != 0.7", "acde"),
        ("metrics.rmse = inf", "d"),
        ("metrics.rmse = NaN", "c"),
        ("metrics.rmse != nan", "abde"),
        ("metrics.rmse in (0.7, 0.9)", "ab"),
        ('metrics."val/acc" > 0.5', "e"),
        ("metrics.val/acc > 0.5", "e"),
        ("`metrics.val/acc` > 0.5", "e"),
        ("params.alpha = 0.5", "ab"),
        ("params.alpha = '0.5'", "a"),
        ("params.alpha = auto", "c"),
        ("params.alpha != 0.5", "ce"),
        ("params.alpha != 'auto'", "abe"),
        ("params.alpha < 0.5", "e"),
        ("params.depth > 9", "a"),
        ("params.model = boost", ""),
        ("params.model ~ boost", "b"),
        ("params.model like 'for*'", "a"),
        ("params.model like 'or'", "a"),
        ("params.model like '?or'", ""),
        ("params.model not like 'for*'", "bcdef"),
        ("params.model !~ forest", "bcdef"),
        ("params.note ~ '100% it''s'", "f"),
        ("params.note ~ 'a_b'", "f"),
        ("params.note ~ 'a.b'", ""),
        ("params.model in (forest, Boost)", "ab"),
        ("params.model not in (forest)", "bcdef"),
        ("params.nothing = 1", ""),
        ("not params.nothing = 1", "abcdef"),
        ("tags.team = red", "c"),
        ("status = failed", "d"),
        ("status != FINISHED", "d"),
        ("status in (failed, lost)", "d"),
        ("project = beer", "b"),
        ("name >= e", "ef"),
        ("entry_point = main and target = '.'", "abcdef"),
        ("exit_code = 3", "d"),
        ("exit_code != 3", ""),
        ("not exit_code = 3", "abcef"),
        ("user = ada", "d"),
        ("commit = 0000003", "c"),
        ("commit != 0000003", "abde"),
        ("branch = main", "abcde"),
        ("not branch = main", "f"),
        ("dirty", ""),
        ("not dirty", "abcdef"),
        ("dirty = false and not dirty", "abcdef"),
        ("duration > 4", "ef"),
        ("duration < 5s", "abcd"),
        ("duration >= 1m", ""),
        ("started > '2026-11-21T08:00:04Z'", "ef"),
        ("started > 2026-11-21T10:00:04+02:00", "ef"),
        ("started > 23h", ""),
        ("started > 25h", "abcdef"),
        ("started < '1 d ago'", ""),
        ("ended ~ '09:00:03'", "c"),
        ("name = a or name = b and project = beer", "ab"),
        ("(name = a or name = b) and project = beer", "b"),
        ("not (name = a or name = b) and not name = f", "cde"),
        ("NOT name = a AND NOT name IN ('b', 'c')", "def"),
        ("name == a or name <> a", "abcdef"),
        ("id = ''''", None),
        ("env.python = 3.11", ""),
    ],
)
def test_a_condition_finds(store: Store, where: str, names: str | None) -> None:
    if names is None:
        with pytest.raises(UsageError):
            found(store, where)
    else:
        assert found(store, where) == names


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("-started", "fedcba"),
        ("started", "abcdef"),
        ("metrics.rmse", "ebadcf"),
        ("-metrics.rmse", "dabecf"),
        ('metrics."val/acc"', "aefdcb"),
        ("params.alpha", "eabcfd"),
        ("-params.alpha", "baecfd"),
        ("params.depth", "eafdcb"),
        ("duration", "abcdef"),
        ("-exit_code", "dfecba"),
        ("user", "dfecba"),
        ("-name", "fedcba"),
        ("metrics.nothing", "fedcba"),
    ],
)
def test_an_order_puts_who_lacks_the_field_last(store: Store, sort: str, names: str) -> None:
    assert found(store, sort=sort) == names


def test_pages_follow_each_other(store: Store) -> None:
    pages = [found(store, sort="metrics.rmse", limit=2, offset=offset) for offset in range(0, 8, 2)]
    assert pages == ["eb", "ad", "cf", ""]
    assert found(store, limit=0) == ""


def test_status_project_and_since_narrow_the_list(store: Store) -> None:
    assert found(store, statuses=("failed", "lost")) == "d"
    assert found(store, project="beer") == "b"
    assert found(store, since="2026-11-21T08:00:05Z") == "ef"
    assert found(store, "name != f", since="23h", statuses=("finished",)) == ""


def test_python_versions_compare_by_their_parts(store: Store, home: Home) -> None:
    from mlrun.model import EnvironmentFacts

    versions = Store(home)
    for number, (name, python) in enumerate((("x", "3.1.0"), ("y", "3.11.7"), ("z", "3.12.1"))):
        add(versions, record(number, name=name, environment=EnvironmentFacts(kind="venv", python=python)))
    assert found(versions, "env.python = 3.11") == "y"
    assert found(versions, "env.python = 3.1") == "x"
    assert found(versions, "env.python != 3.1") == "yz"


def test_dirty_runs_are_found(home: Home) -> None:
    store = Store(home)
    from mlrun.value import replace

    made = record(name="x")
    assert made.source is not None
    add(store, replace(made, source=replace(made.source, dirty=True)))
    assert found(store, "dirty") == found(store, "dirty = yes") == "x"


def test_an_unknown_metric_finds_nothing_and_is_told(home: Home) -> None:
    narrator = Quiet()
    store = Store(home, narrator)
    add(store, record(metrics={"rmse": 1.0}))
    assert found(store, "metrics.rmes < 1") == ""
    assert narrator.lines == ["no run has `metrics.rmes`; did you mean `metrics.rmse`?"]


@pytest.mark.parametrize(
    ("where", "message", "hint", "column"),
    [
        ("", "expected a field, not the end", "for example metrics.rmse < 0.8", 0),
        ("metrics.rmse <", "expected a value after `<`, not the end", None, 14),
        (
            "metrics.rmse 3",
            "expected an operator after `metrics.rmse`, not `3`",
            "= != < <= > >= ~ like in",
            13,
        ),
        ("rmse < 1", "there is no field `rmse`", "did you mean `metrics.rmse`?", 0),
        ("stauts = failed", "there is no field `stauts`", "did you mean `status`?", 0),
        ("metrics. < 1", "there is no field `metrics.`", None, 0),
        ("name = a b", "expected `and`, `or` or the end, not `b`", None, 9),
        ("name = a and", "expected a field, not the end", "for example metrics.rmse < 0.8", 12),
        ("name = and", "expected a value after `=`, not `and`", None, 7),
        ("(name = a", "expected `)`, not the end", None, 9),
        ("name in a", "expected `(`, not `a`", None, 8),
        ("name in ()", "expected a value after `(`, not `)`", None, 9),
        ("name = 'a", "the quote `'` is not closed", None, 7),
        ("name = a; drop", "expected `and`, `or` or the end, not `drop`", None, 10),
        ("name ! a", "unexpected `!`", None, 5),
        ("metrics.rmse < low", "`metrics.rmse` is compared with a number, not `low`", None, 15),
        ("metrics.rmse ~ 1", "`metrics.rmse` is no text: `~` and `like` do not apply", None, 15),
        ("status > failed", "`status` has no order: use = or !=", None, 9),
        (
            "status = fail",
            "`fail` is no status",
            "one of running, finished, failed, killed, lost, cached",
            9,
        ),
        ("dirty = maybe", "`dirty` is true or false, not `maybe`", None, 8),
        ("commit = main", "expected the start of a hexadecimal id, not `main`", None, 9),
        ("exit_code = x", "`exit_code` is compared with a number, not `x`", None, 12),
        ("duration > x", "`duration` is compared with a duration, not `x`", "90, 15m, 2h", 11),
        ("duration > '", "the quote `'` is not closed", None, 11),
        ("not " * 60 + "dirty", "brackets and `not` nest at most 50 deep", None, None),
        ("(" * 60, "brackets and `not` nest at most 50 deep", None, None),
        (" or ".join(["dirty"] * 300), "a condition has at most 200 tests", None, None),
        ("x" * 20_000, "a condition has at most 10000 characters, not 20000", None, None),
    ],
)
def test_what_makes_no_sense_is_pointed_at(
    store: Store, where: str, message: str, hint: str | None, column: int | None
) -> None:
    with pytest.raises(UsageError) as caught:
        found(store, where)
    assert (caught.value.code, str(caught.value)) == ("bad-filter", message)
    if hint is not None:
        assert caught.value.hint == hint
    if column is not None:
        assert caught.value.details == (where, " " * column + "^")


def test_a_place_far_into_a_long_condition_is_still_shown(store: Store) -> None:
    with pytest.raises(UsageError) as caught:
        found(store, "name = a or\n" * 20 + "name ! b")
    line, caret = caught.value.details
    assert line[caret.index("^")] == "!"
    assert len(line) <= 100


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Query(statuses=("done",)), "`done` is no status"),
        (Query(since="soon"), "expected a time, not `soon`"),
        (Query(sort="-rmse"), "there is no field `rmse`"),
        (Query(sort=""), "there is no field ``"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(store: Store, query: Query, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        store.query(query)
    assert (caught.value.code, str(caught.value)) == ("bad-filter", message)


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def test_times_may_be_written_in_many_ways(in_tokyo: None) -> None:
    assert instant("2h", now=NOW) == "2026-11-22T06:00:00.000Z"
    assert instant("90 min ago", now=NOW) == "2026-11-22T06:30:00.000Z"
    assert instant("today", now=NOW) == "2026-11-21T15:00:00.000Z"
    assert instant("yesterday", now=NOW) == "2026-11-20T15:00:00.000Z"
    assert instant("2026-11-20", now=NOW) == "2026-11-19T15:00:00.000Z"
    assert instant("2026-11-20 08:30", now=NOW) == "2026-11-19T23:30:00.000Z"
    assert instant("2026-11-20T08:30:00.5Z", now=NOW) == "2026-11-20T08:30:00.500Z"
    assert instant("0001-01-01", now=NOW) is None
    assert instant("999999999w", now=NOW) is None
    assert instant("tomorrowish", now=NOW) is None


@pytest.mark.parametrize(
    "value",
    ["'; DROP TABLE runs; --", '" OR 1=1 --', "%", "_", "\\", "\0", "\udc80", "🦦", "?", "*", "@", "{0}"],
)
def test_hostile_values_are_only_values(home: Home, value: str) -> None:
    store = Store(home)
    add(store, record(1, name="x", params={value or "p": value}, tags=((value, value),), project=value))
    add(store, record(2, name="y", params={"p": "other"}, project="other"))
    quoted = "'" + value.replace("'", "''") + "'"
    assert found(store, f"params.{quoted} = {quoted}") == "x"
    assert found(store, f"tags.{quoted} = {quoted} and project = {quoted}") == "x"
    assert found(store, project=value) == "x"
    if value not in ("*", "?"):
        assert found(store, f"params.{quoted} ~ {quoted}") == "x"
    assert found(store, sort=f"params.{quoted}") == "xy"


# --- any text at all ----------------------------------------------------------------------------------

WORDS = r"""and or not in like ( ) , = != < <= > >= ~ !~ ' ` * % nan 'a' "b" -1 1e999 0.5 2h 0000003
    failed status name dirty started duration commit exit_code env.python metrics.rmse metrics."val/acc"
    params.alpha"""
words = st.sampled_from(WORDS.split())
conditions = st.lists(words, max_size=9).map(" ".join) | st.text(max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(where=conditions, sort=st.sampled_from(["started", "-metrics.rmse", "params.alpha", "exit_code"]))
def test_any_condition_is_answered_or_refused(store: Store, where: str, sort: str) -> None:
    try:
        all_found = found(store, where, sort=sort)
        pages = [found(store, where, sort=sort, limit=1, offset=offset) for offset in range(6)]
    except UsageError as error:
        assert error.code == "bad-filter"  # noqa: PT017  the other outcome is as good
    else:
        assert "".join(pages) == all_found


# --- many runs ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two thousand runs: enough for a walk to give up and the rarest condition to take over."""
    import sqlite3

    from mlrun.store.index import fill

    home = Home(tmp_path_factory.mktemp("large") / "home")
    home.prepare()
    connection = sqlite3.connect(home.index, isolation_level=None)
    fill(
        connection,
        (
            record(
                number,
                name=f"{number}",
                params={"seed": f"{number}", "even": f"{number % 2}", "third": f"{number % 3}"},
                metrics={"loss": (number * 7919 % 2000) / 2000} if number % 5 else {},
                started_at=f"2026-11-21T08:00:00.{number % 1000:03d}Z",
                status="failed" if number % 11 == 0 else "finished",
            )
            for number in range(2000)
        ),
    )
    connection.close()
    return home.root


def loss(number: int) -> float | None:
    return (number * 7919 % 2000) / 2000 if number % 5 else None


@pytest.mark.parametrize("sort", ["-started", "metrics.loss", "-params.seed"])
@pytest.mark.parametrize(
    ("where", "passes"),
    [
        ("params.seed < 50 and params.even = 1", lambda n: n < 50 and n % 2 == 1),
        ("metrics.loss < 0.01 and params.third = 2", lambda n: (loss(n) or 1) < 0.01 and n % 3 == 2),
        (
            "params.even = 0 and params.third = 0 and metrics.loss > 0.99",
            lambda n: n % 6 == 0 and (loss(n) or 0) > 0.99,
        ),
        ("params.even = 0 and params.third = 5", lambda _: False),
        ("status = failed and not params.even = 0", lambda n: n % 11 == 0 and n % 2),
        ("params.seed = 7 or params.seed = 8", lambda n: n in (7, 8)),
    ],
)
def test_both_ways_of_searching_find_the_same(large: Path, sort: str, where: str, passes: object) -> None:
    assert callable(passes)
    store = Store(Home(large))
    expected = {str(number) for number in range(2000) if passes(number)}
    every = [row.name for row in store.query(Query(where=where, sort=sort))]
    assert set(every) == expected
    assert len(every) == len(expected)
    assert [row.name for row in store.query(Query(where=where, sort=sort, limit=3, offset=1))] == every[1:4]
