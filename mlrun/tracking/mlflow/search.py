"""MLflow's search language: `metrics.rmse < 1 and params.alpha = '0.5'`, and `order_by`.

Conditions are joined by AND only, as there. What a name means is the caller's affair: a `Look` gives the
value of an entity's key for one row, None where it has none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mlrun.tracking.mlflow.calls import invalid
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlrun.tracking.mlflow.ledger import Row

    Look = Callable[[Row, str, str], str | float | None]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<tick>`[^`]*`)
      | (?P<operator><=|>=|!=|<>|==|=|<|>)
      | (?P<mark>[(),.])
      | (?P<word>[^\s'"`<>=!(),.]+)
    )""",
    re.VERBOSE,
)
_KINDS = {
    "attribute": "attribute", "attributes": "attribute", "attr": "attribute", "run": "attribute",
    "metric": "metric", "metrics": "metric", "param": "param", "params": "param", "parameter": "param",
    "parameters": "param", "tag": "tag", "tags": "tag", "dataset": "dataset", "datasets": "dataset",
    "request_metadata": "metadata", "metadata": "metadata", "trace": "attribute", "model": "attribute",
    "experiment": "attribute",
}  # fmt: skip
_ORDERING = {"<", "<=", ">", ">="}


@positional_value
class Condition:
    """One comparison; `operator` in upper case, `operand` a text, a number, or texts for IN."""

    kind: str
    key: str
    operator: str
    operand: Any

    def holds(self, found: str | float | None) -> bool:
        """Whether a value satisfies it; what is not there satisfies nothing but IS NULL."""
        if self.operator in {"IS NULL", "IS NOT NULL"}:
            return (found is None) == (self.operator == "IS NULL")
        if found is None:
            return False
        if self.operator in {"IN", "NOT IN"}:
            return (str(found) in self.operand) == (self.operator == "IN")
        if self.operator.endswith("LIKE"):
            return _like(str(found), self.operand, exact=self.operator == "LIKE")
        if isinstance(found, str):
            return _compared(found, self.operator, str(self.operand))
        try:
            return _compared(found, self.operator, float(self.operand))
        except ValueError:
            raise invalid(f"'{self.key}' is compared with a number, not with '{self.operand}'.") from None


def conditions(text: str | None) -> list[Condition]:
    """The conditions of a filter. Raises Refused."""
    if not text or not text.strip():
        return []
    reader = _Reader(text)
    found = [reader.condition()]
    while reader.more():
        reader.expect("AND")
        found.append(reader.condition())
    return found


def chosen(rows: Sequence[Row], text: str | None, look: Look) -> list[Row]:
    """The rows that satisfy a filter. Raises Refused."""
    wanted = conditions(text)
    return [row for row in rows if all(one.holds(look(row, one.kind, one.key)) for one in wanted)]


def ordered(rows: Sequence[Row], order: Sequence[str], look: Look) -> list[Row]:
    """Rows in the order asked for, the first key first; what has no value comes last. Raises Refused."""
    found = list(rows)
    for text in reversed(order):
        kind, key, falling = _order(text)
        values = [(look(row, kind, key), row) for row in found]
        present = [(it, row) for it, row in values if it is not None and it == it]
        nan = [row for it, row in values if it is not None and it != it]
        absent = [row for it, row in values if it is None]
        present.sort(key=lambda pair: _sortable(pair[0]), reverse=falling)
        found = [row for _, row in present] + nan + absent
    return found


def _order(text: str) -> tuple[str, str, bool]:
    reader = _Reader(text)
    kind, key = reader.name()
    direction = reader.word().upper() if reader.more() else "ASC"
    if direction not in {"ASC", "DESC"} or reader.more():
        raise invalid(f"Invalid order_by clause '{text}'.")
    return kind, key, direction == "DESC"


def _sortable(found: str | float) -> tuple[bool, str | float]:
    return isinstance(found, str), found


def _compared(found: Any, operator: str, operand: Any) -> bool:
    if operator == "=":
        return bool(found == operand)
    if operator == "!=":
        return bool(found != operand)
    if operator == "<":
        return bool(found < operand)
    if operator == "<=":
        return bool(found <= operand)
    return bool(found > operand) if operator == ">" else bool(found >= operand)


def _like(found: str, pattern: str, *, exact: bool) -> bool:
    """SQL's LIKE: `%` is anything, `_` any one character."""
    parts = (".*" if mark == "%" else "." if mark == "_" else re.escape(mark) for mark in pattern)
    return (
        re.fullmatch("".join(parts), found, re.DOTALL | (re.NOFLAG if exact else re.IGNORECASE)) is not None
    )


class _Reader:
    """Tokens from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str]] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None or match.end() == position:
                raise self._wrong()
            kind = match.lastgroup or ""
            self._tokens.append((kind, match[kind]))
            position = match.end()
        self._at = 0

    def more(self) -> bool:
        return self._at < len(self._tokens)

    def condition(self) -> Condition:
        kind, key = self.name()
        operator = self._operator()
        if operator.endswith("NULL"):
            return Condition(kind, key, operator, None)
        if operator in {"IN", "NOT IN"}:
            return Condition(kind, key, operator, self._list())
        group, text = self._next()
        if group == "text":
            operand: str | float = _unquoted(text)
        else:
            operand = self._number(text)
        if kind == "metric" and isinstance(operand, str):
            raise invalid(f"Expected numeric value type for metric. Found {operand}")
        if kind in {"param", "tag", "dataset"} and (not isinstance(operand, str) or operator in _ORDERING):
            raise invalid(
                f"Expected a quoted string value for {kind} (e.g. 'my-value'), compared by =, != or LIKE."
            )
        if operator.endswith("LIKE") and not isinstance(operand, str):
            raise self._wrong()
        return Condition(kind, key, operator, operand)

    def name(self) -> tuple[str, str]:
        """An entity's kind and key; a key alone is an attribute's."""
        first = self._name_part()
        if not self._is_mark("."):
            return "attribute", first
        self._at += 1
        key = self._name_part()
        while self._is_mark("."):
            self._at += 1
            key += "." + self._name_part()
        kind = _KINDS.get(first.lower())
        if kind is None:
            raise invalid(f"Invalid entity type '{first}' in '{self._text}'.")
        return kind, key

    def word(self) -> str:
        group, text = self._next()
        if group != "word":
            raise self._wrong()
        return text

    def expect(self, word: str) -> None:
        if self.word().upper() != word:
            raise self._wrong()

    def _name_part(self) -> str:
        group, text = self._next()
        if group in {"tick", "text"}:
            return text[1:-1]
        if group != "word":
            raise self._wrong()
        return text

    def _operator(self) -> str:
        group, text = self._next()
        if group == "operator":
            return {"<>": "!=", "==": "="}.get(text, text)
        word = text.upper() if group == "word" else ""
        if word == "NOT":
            word = f"NOT {self.word().upper()}"
        elif word == "IS":
            word = f"IS {self.word().upper()}"
            if word == "IS NOT":
                word = f"IS NOT {self.word().upper()}"
        if word not in {"LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"}:
            raise self._wrong()
        return word

    def _list(self) -> tuple[str, ...]:
        found: list[str] = []
        self._mark("(")
        while not self._is_mark(")"):
            group, text = self._next()
            found.append(_unquoted(text) if group == "text" else text)
            if not self._is_mark(")"):
                self._mark(",")
        self._mark(")")
        return tuple(found)

    def _number(self, text: str) -> float:
        while self._is_mark("."):  # the tokens of `0.5`
            self._at += 1
            text += "." + (self._next()[1] if self.more() and self._tokens[self._at][0] == "word" else "")
        try:
            return float(text)
        except ValueError:
            raise self._wrong() from None

    def _is_mark(self, mark: str) -> bool:
        return self.more() and self._tokens[self._at] == ("mark", mark)

    def _mark(self, mark: str) -> None:
        if self._next() != ("mark", mark):
            raise self._wrong()

    def _next(self) -> tuple[str, str]:
        if not self.more():
            raise self._wrong()
        self._at += 1
        return self._tokens[self._at - 1]

    def _wrong(self) -> Exception:
        return invalid(f"Invalid clause(s) in filter string: '{self._text[:500]}'.")


def _unquoted(text: str) -> str:
    return re.sub(r"\\(['\"\\])", r"\1", text[1:-1])
