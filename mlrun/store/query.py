"""Which runs a list shows: a condition, an order, a page; answered from the index.

Two ways lead to the first rows of an ordered, filtered list. The *walk* goes through the runs in the order
asked for and stops when the page is full: instant where many runs match. The *gathering* starts from the
rarest condition and sorts what is left: bounded where few match. Nobody knows beforehand which it is, so
the walk is tried first and broken off once it has cost more than the gathering would.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, cast

from mlrun.errors import UsageError
from mlrun.model import RunRow, Status
from mlrun.store import where
from mlrun.store.codec import STATUSES
from mlrun.store.conditions import TIME_HINT, Bound, Clause, Compiler, instant
from mlrun.store.rows import clean
from mlrun.value import positional_value, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlrun.store.where import Field

_FIRST_TRY = 20_000  # steps of SQLite's machine: about half a millisecond
_STEPS_A_RUN = 60  # what gathering costs for each run that it starts from
_TICK = 1000  # steps between looks at the budget
_PAGE = 500
_HINTS = 1000  # names known for "did you mean"
_NULLABLE = frozenset({"ended_at", "duration_s", "exit_code", "user", "commit_id", "branch", "python"})


_NO_STEP = "NOT EXISTS (SELECT 1 FROM parents p WHERE p.run = r.seq AND p.kind = 'pipeline')"


@value
class Query:
    """What a list should show.

    `since` is a time as in `--where` (`2h`, `today`, `2026-11-20`); `sort` a field, downwards with `-`
    before it. Runs that lack the field come last in either direction. No `limit` means all. Without `steps`,
    what another run started is left out.
    """

    where: str | None = None
    statuses: tuple[str, ...] = ()
    project: str | None = None
    since: str | None = None
    sort: str = "-started"
    limit: int | None = None
    offset: int = 0
    steps: bool = True


def select(
    connection: sqlite3.Connection, query: Query, *, now: float, say: Callable[[str], None]
) -> tuple[RunRow, ...]:
    """The rows of a query; `say` is told of names that no run has.

    Raises UsageError.
    """
    connection.execute("BEGIN")  # one state of the index for all that follows
    with connection:
        names = _Names(connection, say)
        search = _Search(connection, _clauses(query, names, now), _order(query.sort, names))
        wanted = None if query.limit is None else query.offset + query.limit
        return tuple(_rows(connection, search.first(wanted)[query.offset :]))


class _Names:
    """The names of parameters, metrics and tags that the index holds."""

    def __init__(self, connection: sqlite3.Connection, say: Callable[[str], None]) -> None:
        self._connection = connection
        self._say = say

    def key_of(self, field: Field) -> int | None:
        row = self._connection.execute(
            "SELECT key FROM keys WHERE kind = ? AND name = ?", (field.kind, clean(field.name))
        ).fetchone()
        if row is None:
            self._say(f"no run has `{field.shown}`{self._near(field)}")
            return None
        return int(row[0])

    def known(self) -> list[str]:
        found = self._connection.execute("SELECT kind, name FROM keys ORDER BY key DESC LIMIT ?", (_HINTS,))
        return [f"{kind}.{name}" for kind, name in found]

    def _near(self, field: Field) -> str:
        import difflib

        matches = difflib.get_close_matches(field.shown, self.known(), n=1)
        return f"; did you mean `{matches[0]}`?" if matches else ""


# --- what must hold -----------------------------------------------------------------------------------


def _clauses(query: Query, names: _Names, now: float) -> list[Clause]:
    clauses = []
    if query.where is not None:
        compiler = Compiler(query.where, key_of=names.key_of, now=now)
        clauses += compiler.conjuncts(where.parse(query.where, known=names.known))
    if query.statuses:
        marks = ", ".join("?" * len(query.statuses))
        clauses.append(Clause(f"r.status IN ({marks})", tuple(map(_status, query.statuses))))
    if not query.steps:
        clauses.append(Clause(_NO_STEP, columns=False))
    if query.project is not None:
        clauses.append(Clause("r.project = ?", (clean(query.project),)))
    if query.since is not None:
        clauses.append(Clause("r.started_at >= ?", (_since(query.since, now),)))
    return clauses


def _status(text: str) -> str:
    if text not in STATUSES:
        raise UsageError(f"`{text}` is no status", hint=f"one of {', '.join(STATUSES)}", code="bad-filter")
    return text


def _since(text: str, now: float) -> str:
    found = instant(text, now=now)
    if found is None:
        raise UsageError(f"expected a time, not `{text}`", hint=TIME_HINT, code="bad-filter")
    return found


# --- in which order -----------------------------------------------------------------------------------


@positional_value
class _Stage:
    """A part of the order: first the runs with a number, say, then those with a text, then the rest.

    `attribute` is the number of the name to sort by, joined as `s`; None where `runs` has the column.
    """

    holds: str
    by: str
    attribute: int | None = None
    bound: tuple[Bound, ...] = ()


@positional_value
class _Order:
    stages: tuple[_Stage, ...]
    key: int | None = None


def _order(sort: str, names: _Names) -> _Order:
    way = "DESC" if sort.startswith("-") else "ASC"
    field = where.parse_field(sort.removeprefix("-"), known=names.known)
    newest = "r.started_at DESC, r.seq DESC"
    if field.name in where.COLUMNS and field.kind not in ("params", "metrics", "tags"):
        column = f"r.{where.COLUMNS[field.name][0]}"
        by = f"{column} {way}, r.seq {way}"
        if where.COLUMNS[field.name][0] not in _NULLABLE:
            return _Order((_Stage("1", by),))
        return _Order((_Stage(f"{column} IS NOT NULL", by), _Stage(f"{column} IS NULL", newest)))
    key = names.key_of(field)
    if key is None:
        return _Order((_Stage("1", newest),))
    lacking = "NOT EXISTS (SELECT 1 FROM attributes a WHERE a.run = r.seq AND a.key = ?)"
    return _Order(
        (
            _Stage("s.number IS NOT NULL", f"s.number {way}, s.text {way}, s.run {way}", key),
            _Stage("s.number IS NULL", f"s.text {way}, s.run {way}", key),
            _Stage(lacking, newest, None, (key,)),
        ),
        key,
    )


# --- the search ---------------------------------------------------------------------------------------


class _Search:
    """Finds the first runs of an order for which all clauses hold."""

    def __init__(self, connection: sqlite3.Connection, clauses: list[Clause], order: _Order) -> None:
        self._connection = connection
        self._clauses = clauses
        self._order = order

    def first(self, wanted: int | None) -> list[int]:
        found: list[int] = []
        stages = self._order.stages
        if any(clause.key == self._order.key for clause in self._clauses if clause.key is not None):
            stages = stages[:2]  # who lacks the name to sort by cannot pass a test of it
        for stage in stages:
            if wanted is not None and len(found) >= wanted:
                break
            found += self._stage(stage, -1 if wanted is None else wanted - len(found))
        return found

    def _stage(self, stage: _Stage, limit: int) -> list[int]:
        starts = [clause for clause in self._clauses if clause.key not in (None, stage.attribute)]
        if not starts:
            return self._walk(stage, limit)
        with contextlib.suppress(_TooLongError):
            return self._walk(stage, limit, steps=_FIRST_TRY)
        start, count = self._rarest(starts)
        with contextlib.suppress(_TooLongError):
            return self._walk(stage, limit, steps=count * _STEPS_A_RUN)
        return self._gather(stage, limit, start)

    def _walk(self, stage: _Stage, limit: int, *, steps: int | None = None) -> list[int]:
        """Through the index of the order; the sort key's own tests narrow it."""
        if stage.attribute is None:
            source, seq, parts = "runs r", "r.seq", [(stage.holds, stage.bound), *map(_whole, self._clauses)]
            return self._ask(seq, source, parts, stage.by, limit, steps)
        source, seq = "attributes s", "s.run"
        if any(clause.columns for clause in self._clauses):
            source += " CROSS JOIN runs r ON r.seq = s.run"
        parts = [("s.key = ?", (stage.attribute,)), (stage.holds, stage.bound)]
        for clause in self._clauses:
            own = clause.key == stage.attribute
            parts.append((clause.test.replace("@", "s"), clause.test_bound) if own else _whole(clause))
        return self._ask(seq, source, parts, stage.by, limit, steps)

    def _gather(self, stage: _Stage, limit: int, start: Clause) -> list[int]:
        """From the runs that pass `start`, the others' tests after it."""
        source = "attributes g CROSS JOIN runs r ON r.seq = g.run"
        parts: list[_Part] = [("g.key = ?", (start.key,)), (start.test.replace("@", "g"), start.test_bound)]
        if stage.attribute is not None:
            source = (
                "attributes g CROSS JOIN attributes s ON s.run = g.run CROSS JOIN runs r ON r.seq = g.run"
            )
            parts.append(("s.key = ?", (stage.attribute,)))
        parts.append((stage.holds, stage.bound))
        parts += [_whole(clause) for clause in self._clauses if clause is not start]
        return self._ask("g.run", source, parts, stage.by, limit, None)

    def _rarest(self, starts: list[Clause]) -> tuple[Clause, int]:
        """The clause that the fewest runs pass; no count goes further than the lowest before it."""
        best, lowest = starts[0], -1
        for clause in starts:
            sql = "SELECT count(*) FROM (SELECT 1 FROM attributes g WHERE g.key = ? AND {} LIMIT ?)"
            bound = (clause.key, *clause.test_bound, lowest)
            count = self._connection.execute(sql.format(clause.test.replace("@", "g")), bound).fetchone()[0]
            if lowest < 0 or count < lowest:
                best, lowest = clause, int(count)
        return best, lowest

    def _ask(
        self, seq: str, source: str, parts: list[_Part], by: str, limit: int, steps: int | None
    ) -> list[int]:
        """`seq` is the cheapest way to say which run: tests that need no more are made before others."""
        holds = " AND ".join(test for test, _ in parts).replace("r.seq", seq)
        bound = [value for _, values in parts for value in values]
        sql = f"SELECT {seq} FROM {source} WHERE {holds} ORDER BY {by} LIMIT ?"  # noqa: S608  all bound
        with _at_most(self._connection, steps):
            return [row[0] for row in self._connection.execute(sql, (*bound, limit))]


_Part = tuple[str, tuple[Bound, ...]]
"""A test, and what is bound in it."""


def _whole(clause: Clause) -> _Part:
    return clause.sql, clause.bound


class _TooLongError(Exception):
    pass


@contextlib.contextmanager
def _at_most(connection: sqlite3.Connection, steps: int | None) -> Iterator[None]:
    """Break off what takes more steps of SQLite's machine."""
    if steps is None:
        yield
        return
    ticks = iter(range(steps // _TICK))
    connection.set_progress_handler(lambda: next(ticks, None) is None, _TICK)
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            raise _TooLongError from None
        raise
    finally:
        connection.set_progress_handler(None, 0)


# --- what is shown ------------------------------------------------------------------------------------


def _rows(connection: sqlite3.Connection, found: list[int]) -> Iterator[RunRow]:
    for start in range(0, len(found), _PAGE):
        yield from _page(connection, found[start : start + _PAGE])


_ATTRIBUTES = """SELECT run, kind, name, number, text FROM attributes JOIN keys USING (key)
    WHERE run IN (SELECT value FROM json_each(?)) ORDER BY run, key"""
_FACTS = """SELECT seq, id, name, project, entry_point, status, started_at, ended_at, duration_s, exit_code,
    target, user, commit_id, branch, dirty FROM runs WHERE seq IN (SELECT value FROM json_each(?))"""


def _page(connection: sqlite3.Connection, found: list[int]) -> Iterator[RunRow]:
    wanted = (json.dumps(found),)
    attributes: dict[int, dict[str, list[tuple[str, object]]]] = {}
    for run, kind, name, number, text in connection.execute(_ATTRIBUTES, wanted):
        value = text if kind != "metrics" else float("nan") if number is None else number
        attributes.setdefault(run, {}).setdefault(kind, []).append((name, value))
    facts = {row[0]: row[1:] for row in connection.execute(_FACTS, wanted)}
    if len(facts) < len(found):
        raise sqlite3.OperationalError("values of runs that are not there")  # damage, and met as such
    for seq in found:
        yield _row(facts[seq], attributes.get(seq, {}))


def _row(facts: tuple[object, ...], attributes: dict[str, list[tuple[str, object]]]) -> RunRow:
    values = cast(
        "tuple[str, str, str, str, Status, str, str | None, float | None, int | None, str]", facts[:10]
    )
    user, commit, branch, dirty = cast("tuple[str | None, str | None, str | None, int]", facts[10:])
    return RunRow(
        id=values[0],
        name=values[1],
        project=values[2],
        entry_point=values[3],
        status=values[4],
        started_at=values[5],
        ended_at=values[6],
        duration_s=values[7],
        exit_code=values[8],
        target=values[9],
        user=user,
        commit=commit,
        branch=branch,
        dirty=bool(dirty),
        params=cast("tuple[tuple[str, str], ...]", tuple(attributes.get("params", ()))),
        metrics=cast("tuple[tuple[str, float], ...]", tuple(attributes.get("metrics", ()))),
        tags=cast("tuple[tuple[str, str], ...]", tuple(attributes.get("tags", ()))),
    )
