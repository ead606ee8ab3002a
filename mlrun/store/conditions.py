"""A tree of conditions as SQL, every value bound and none spelt out.

In the SQL, `r` is the row of `runs` at hand. A comparison with something that a run does not have is
false; `not` turns a whole condition round, so `not params.x = 1` holds also where there is no `x`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrun.store import rows
from mlrun.store.codec import STATUSES
from mlrun.store.where import COLUMNS, Both, Either, Field, Not, Test, Tree, Value, complaint
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlrun.errors import UsageError

Bound = str | float | int | None

TIME_HINT = "2h, 3d, 1w, today, yesterday, 2026-11-20, '2026-11-20 08:30', 2026-11-20T08:30:00Z"

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ms|s|min|m|h|d|w)(?:\s+ago)?")
_HEX = re.compile(r"[0-9a-fA-F]{1,64}")
_FLAGS = {"true": 1, "yes": 1, "1": 1, "false": 0, "no": 0, "0": 0}
_NOT_A_NUMBER = "nan"
_INFINITE = {"inf": "inf", "+inf": "inf", "-inf": "-inf", "infinity": "inf", "-infinity": "-inf"}
_UNORDERED = frozenset({"status", "hex", "flag", "version"})
_WITHOUT_PATTERN = frozenset({"flag", "number", "seconds", "metrics"})


@positional_value
class Clause:
    """A piece of SQL and what is bound in it.

    `columns` tells whether it reads more of `r` than `r.seq`. `key` is set where it only asks one attribute:
    `test` is then its bare comparison, with `@` for the row of `attributes`, so that a search may start
    from the runs that pass it.
    """

    sql: str
    bound: tuple[Bound, ...] = ()
    columns: bool = True
    key: int | None = None
    test: str = ""
    test_bound: tuple[Bound, ...] = ()


NEVER = Clause("0", columns=False)


class Compiler:
    """Compiles the parts of one condition.

    `key_of` gives the number of a parameter's, metric's or tag's name, None for one that no run has; `now`
    is in seconds since 1970, for `started > 2h`.
    """

    def __init__(self, text: str, *, key_of: Callable[[Field], int | None], now: float) -> None:
        self._text = text
        self._key_of = key_of
        self._now = now

    def conjuncts(self, tree: Tree) -> list[Clause]:
        """The clauses that must all hold.

        Raises UsageError where a value does not suit its field.
        """
        return [self._clause(term) for term in (tree.terms if isinstance(tree, Both) else (tree,))]

    def _clause(self, tree: Tree) -> Clause:
        match tree:
            case Both(terms):
                return _joined(" AND ", [self._clause(term) for term in terms])
            case Either(terms):
                return _joined(" OR ", [self._clause(term) for term in terms])
            case Not(term):
                # A comparison with NULL is NULL; its contrary must be true.
                inner = self._clause(term)
                return Clause(f"NOT coalesce({inner.sql}, 0)", inner.bound, inner.columns)
            case Test(field, operator, values):
                self._check_operator(field, operator, values[0])
                if field.kind in ("params", "metrics", "tags"):
                    return self._attribute(field, operator, values)
                return self._column(field, operator, values)

    def _check_operator(self, field: Field, operator: str, value: Value) -> None:
        if operator[0] in "<>" and field.kind in _UNORDERED:
            raise self._complaint(value, f"`{field.shown}` has no order: use = or !=")
        if operator == "~" and field.kind in _WITHOUT_PATTERN:
            raise self._complaint(value, f"`{field.shown}` is no text: `~` and `like` do not apply")

    def _attribute(self, field: Field, operator: str, values: tuple[Value, ...]) -> Clause:
        compare = self._measured if field.kind == "metrics" else _written
        if operator == "in":
            test, bound = _any_of([compare(field, "=", value) for value in values])
        else:
            test, bound = compare(field, operator, values[0])
        key = self._key_of(field)
        if key is None:
            return NEVER
        inner = f"a.run = r.seq AND a.key = ? AND {test.replace('@', 'a')}"
        exists = f"EXISTS (SELECT 1 FROM attributes a WHERE {inner})"  # noqa: S608  every value is bound
        return Clause(exists, (key, *bound), columns=False, key=key, test=test, test_bound=bound)

    def _measured(self, field: Field, operator: str, value: Value) -> tuple[str, tuple[Bound, ...]]:
        """A metric: a number, infinity, or NaN, which nothing but NaN equals."""
        word = value.text.lower()
        if word == _NOT_A_NUMBER and operator in ("=", "!="):
            return ("@.text = 'NaN'" if operator == "=" else "@.text IS NULL"), ()
        wanted = rows.number(_INFINITE.get(word, value.text))
        if word in _INFINITE:
            wanted = float(_INFINITE[word])
        if wanted is None:
            raise self._complaint(value, f"`{field.shown}` is compared with a number, not `{value.text}`")
        if operator == "!=":
            return "(@.number IS NULL OR @.number != ?)", (wanted,)
        return f"@.number {operator} ?", (wanted,)

    def _column(self, field: Field, operator: str, values: tuple[Value, ...]) -> Clause:
        if operator == "in":
            sql, bound = _any_of([self._compared(field, "=", value) for value in values])
        else:
            sql, bound = self._compared(field, operator, values[0])
        return Clause(sql, bound)

    def _compared(self, field: Field, operator: str, value: Value) -> tuple[str, tuple[Bound, ...]]:
        column = f"r.{COLUMNS[field.name][0]}"
        if operator == "~":
            return f"{column} LIKE ? ESCAPE '\\'", (_pattern(value.text),)
        match field.kind:
            case "hex":
                return self._by_prefix(column, operator, value)
            case "version":
                return _by_version(column, operator, value)
            case "status":
                return f"{column} {operator} ?", (self._status(value),)
            case "flag":
                return f"{column} {operator} ?", (self._flag(field, value),)
            case "time":
                return f"{column} {operator} ?", (self._moment(field, value),)
            case "seconds":
                return f"{column} {operator} ?", (self._seconds(field, value),)
            case "number":
                return f"{column} {operator} ?", (self._number(field, value),)
            case _:
                return f"{column} {operator} ?", (rows.clean(value.text),)

    def _by_prefix(self, column: str, operator: str, value: Value) -> tuple[str, tuple[Bound, ...]]:
        """Ids and commits are named by their start."""
        if _HEX.fullmatch(value.text) is None:
            raise self._complaint(value, f"expected the start of a hexadecimal id, not `{value.text}`")
        start = value.text.lower()
        inside = f"({column} >= ? AND {column} < ?)"
        return (inside if operator == "=" else f"NOT {inside}"), (start, start + "g")

    def _status(self, value: Value) -> str:
        if value.text.lower() not in STATUSES:
            raise self._complaint(value, f"`{value.text}` is no status", f"one of {', '.join(STATUSES)}")
        return value.text.lower()

    def _flag(self, field: Field, value: Value) -> int:
        if value.text.lower() not in _FLAGS:
            raise self._complaint(value, f"`{field.shown}` is true or false, not `{value.text}`")
        return _FLAGS[value.text.lower()]

    def _moment(self, field: Field, value: Value) -> str:
        found = instant(value.text, now=self._now)
        if found is None:
            raise self._complaint(
                value, f"`{field.shown}` is compared with a time, not `{value.text}`", TIME_HINT
            )
        return found

    def _seconds(self, field: Field, value: Value) -> float:
        span = _span(value.text)
        found = rows.number(value.text) if span is None else span
        if found is None:
            raise self._complaint(
                value, f"`{field.shown}` is compared with a duration, not `{value.text}`", "90, 15m, 2h"
            )
        return found

    def _number(self, field: Field, value: Value) -> float:
        found = rows.number(value.text)
        if found is None:
            raise self._complaint(value, f"`{field.shown}` is compared with a number, not `{value.text}`")
        return found

    def _complaint(self, value: Value, message: str, hint: str | None = None) -> UsageError:
        return complaint(self._text, value.position, message, hint)


def instant(text: str, *, now: float) -> str | None:
    """The UTC time that is meant by `2h` (ago), `today`, or a date; None for what is no time.

    A date without a zone is local, as times are shown; it means its first moment.
    """
    from datetime import UTC, datetime, timedelta

    present = datetime.fromtimestamp(now, UTC)
    word = text.strip().lower()
    span = _span(word)
    try:
        if span is not None:
            found = present - timedelta(seconds=span)
        elif word in ("today", "yesterday"):
            midnight = present.astimezone().replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
            found = (midnight - timedelta(days=word == "yesterday")).astimezone(UTC)
        else:
            found = datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return found.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _span(text: str) -> float | None:
    match = _SPAN.fullmatch(text.strip().lower())
    return None if match is None else float(match[1]) * _UNITS[match[2]]


def _written(_: Field, operator: str, value: Value) -> tuple[str, tuple[Bound, ...]]:
    """A parameter or tag: as numbers where both sides are, else as text."""
    text = rows.clean(value.text)
    wanted = rows.number(text)
    if operator == "~":
        return "@.text LIKE ? ESCAPE '\\'", (_pattern(text),)
    if wanted is not None and not value.quoted:
        if operator == "!=":
            return "(@.number IS NULL OR @.number != ?)", (wanted,)
        return f"@.number {operator} ?", (wanted,)
    if operator == "=":
        # The text decides the number, and with both the index finds the row at once.
        return "(@.number IS ? AND @.text = ?)", (wanted, text)
    return f"@.text {operator} ?", (text,)


def _by_version(column: str, operator: str, value: Value) -> tuple[str, tuple[Bound, ...]]:
    """`3.11` means any 3.11."""
    version = rows.clean(value.text)
    inside = f"({column} = ? OR {column} LIKE ? ESCAPE '\\')"
    return (inside if operator == "=" else f"NOT {inside}"), (version, _escaped(version) + ".%")


def _pattern(text: str) -> str:
    """A pattern for LIKE (which ignores the case of ASCII letters): `*`, `?`, or a piece anywhere."""
    pattern = _escaped(rows.clean(text)).replace("*", "%").replace("?", "_")
    return pattern if "*" in text or "?" in text else f"%{pattern}%"


def _escaped(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", text)


def _any_of(tests: list[tuple[str, tuple[Bound, ...]]]) -> tuple[str, tuple[Bound, ...]]:
    sql = " OR ".join(test for test, _ in tests)
    return f"({sql})", tuple(value for _, bound in tests for value in bound)


def _joined(word: str, clauses: list[Clause]) -> Clause:
    sql = word.join(clause.sql for clause in clauses)
    bound = tuple(value for clause in clauses for value in clause.bound)
    return Clause(f"({sql})", bound, any(clause.columns for clause in clauses))
