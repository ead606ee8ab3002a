"""The language of `--where`: from text to a tree of conditions.

    either := both ("or" both)*
    both   := term ("and" term)*
    term   := "not" term | "(" either ")" | test
    test   := FIELD operator value | FIELD ["not"] "in" "(" value ("," value)* ")" | FLAG

Operators are = != < <= > >= and ~ (`like`: a piece of the text, or a whole pattern with * and ?). A field
or value with odd characters is quoted: metrics."val/acc" = 'a b'; inside quotes, the quote is doubled.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from mlrun.errors import UsageError
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Kind = Literal[
    "text", "status", "hex", "time", "seconds", "number", "flag", "version", "params", "metrics", "tags"
]

COLUMNS: dict[str, tuple[str, Kind]] = {
    "id": ("id", "hex"),
    "name": ("name", "text"),
    "project": ("project", "text"),
    "entry_point": ("entry_point", "text"),
    "target": ("target", "text"),
    "status": ("status", "status"),
    "exit_code": ("exit_code", "number"),
    "started": ("started_at", "time"),
    "ended": ("ended_at", "time"),
    "duration": ("duration_s", "seconds"),
    "user": ("user", "text"),
    "commit": ("commit_id", "hex"),
    "branch": ("branch", "text"),
    "dirty": ("dirty", "flag"),
    "env.python": ("python", "version"),
}
"""What a field of the language is called in the table `runs`, and how it compares."""

_GROUPS: dict[str, Kind] = {"params": "params", "metrics": "metrics", "tags": "tags"}
_OPERATORS = {
    "=": "=",
    "==": "=",
    "!=": "!=",
    "<>": "!=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
    "~": "~",
}
_KEYWORDS = frozenset({"and", "or", "not", "in", "like"})
_LONGEST, _DEEPEST, _MOST = 10_000, 50, 200  # characters, brackets, tests: SQLite has limits of its own
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<operator> == | != | !~ | <> | <= | >= | [=<>~(),] )
      | (?P<name> [A-Za-z_][\w.]*\. (?: "(?:[^"]|"")*" | '(?:[^']|'')*' | `(?:[^`]|``)*` ) | `(?:[^`]|``)*` )
      | (?P<text> "(?:[^"]|"")*" | '(?:[^']|'')*' )
      | (?P<word> [^\s()'"`,=!<>~]+ )
    )""",
    re.VERBOSE,
)


@positional_value
class Field:
    """What is compared: a column of `runs`, or a named parameter, metric or tag."""

    kind: Kind
    name: str
    position: int = 0

    @property
    def shown(self) -> str:
        """As it is written in the language."""
        return f"{self.kind}.{self.name}" if self.kind in _GROUPS else self.name


@positional_value
class Value:
    """What it is compared with; a quoted value is never taken for a number."""

    text: str
    quoted: bool
    position: int


@positional_value
class Test:
    """One comparison; several values only with `in`."""

    field: Field
    operator: str
    values: tuple[Value, ...]


@positional_value
class Not:
    """The contrary."""

    term: Tree


@positional_value
class Either:
    """At least one of these."""

    terms: tuple[Tree, ...]


@positional_value
class Both:
    """All of these."""

    terms: tuple[Tree, ...]


Tree = Test | Not | Either | Both


def parse(text: str, *, known: Callable[[], Sequence[str]] = tuple) -> Tree:
    """The tree of a condition. `known` lists the `metrics.…` and `params.…` there are, for hints.

    Raises UsageError, which shows the place.
    """
    if len(text) > _LONGEST:
        raise UsageError(f"a condition has at most {_LONGEST} characters, not {len(text)}", code="bad-filter")
    return _Parser(text, known).condition()


def parse_field(text: str, *, known: Callable[[], Sequence[str]] = tuple) -> Field:
    """One field by itself: `metrics.rmse`, `metrics."val/acc"`, `duration`.

    Raises UsageError.
    """
    name = text
    group, dot, rest = text.partition(".")
    if dot and len(rest) > 1 and rest[0] == rest[-1] and rest[0] in "\"'`":
        name = f"{group}.{_unquoted(rest)}"
    return _field(name, 0, text, known)


def complaint(text: str, position: int, message: str, hint: str | None = None) -> UsageError:
    """An error that points at its place in the condition."""
    line = re.sub(r"\s", " ", text)
    start = max(0, position - 60)
    shown = line[start : position + 40]
    return UsageError(message, hint=hint, code="bad-filter", details=(shown, " " * (position - start) + "^"))


@positional_value
class _Token:
    kind: str
    text: str
    position: int


class _Parser:
    """Recursive descent over the tokens; every method takes what it names off their front."""

    def __init__(self, text: str, known: Callable[[], Sequence[str]]) -> None:
        self._text = text
        self._known = known
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0
        self._tests = 0

    def condition(self) -> Tree:
        tree = self._either()
        token = self._peek()
        if token.kind != "end":
            raise self._complaint(token, f"expected `and`, `or` or the end, not `{token.text}`")
        return tree

    def _either(self) -> Tree:
        terms = [self._both()]
        while self._takes("or"):
            terms.append(self._both())
        return terms[0] if len(terms) == 1 else Either(tuple(terms))

    def _both(self) -> Tree:
        terms = [self._term()]
        while self._takes("and"):
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else Both(tuple(terms))

    def _term(self) -> Tree:
        token = self._peek()
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._complaint(token, f"brackets and `not` nest at most {_DEEPEST} deep")
        if self._takes("not"):
            term: Tree = Not(self._term())
        elif self._takes("("):
            term = self._either()
            self._expect(")")
        else:
            term = self._test()
        self._depth -= 1
        return term

    def _test(self) -> Tree:
        token = self._take()
        if token.kind not in ("word", "name") or token.text.lower() in _KEYWORDS:
            raise self._complaint(
                token, f"expected a field, not {_shown(token)}", "for example metrics.rmse < 0.8"
            )
        self._tests += 1
        if self._tests > _MOST:
            raise self._complaint(token, f"a condition has at most {_MOST} tests")
        field = _field(token.text, token.position, self._text, self._known)
        if field.kind == "flag" and not self._at_operator():
            return Test(field, "=", (Value("true", quoted=False, position=token.position),))
        return self._comparison(field)

    def _comparison(self, field: Field) -> Tree:
        token = self._take()
        word = token.text.lower() if token.kind in ("word", "operator") else ""
        if word == "not" and self._peek().text.lower() in ("in", "like"):
            return Not(self._comparison(field))
        if word == "in":
            return Test(field, "in", self._list())
        if word == "!~":
            return Not(Test(field, "~", (self._value("~"),)))
        operator = "~" if word == "like" else _OPERATORS.get(word)
        if operator is None:
            raise self._complaint(
                token,
                f"expected an operator after `{field.shown}`, not {_shown(token)}",
                "= != < <= > >= ~ like in",
            )
        return Test(field, operator, (self._value(token.text),))

    def _list(self) -> tuple[Value, ...]:
        self._expect("(")
        values = [self._value("(")]
        while self._takes(","):
            values.append(self._value(","))
            if len(values) > _MOST:
                raise self._complaint(self._peek(), f"a list has at most {_MOST} values")
        self._expect(")")
        return tuple(values)

    def _value(self, after: str) -> Value:
        token = self._take()
        if token.kind not in ("word", "text") or (token.kind == "word" and token.text.lower() in _KEYWORDS):
            raise self._complaint(token, f"expected a value after `{after}`, not {_shown(token)}")
        return Value(token.text, quoted=token.kind == "text", position=token.position)

    def _at_operator(self) -> bool:
        token = self._peek()
        if token.kind == "operator":
            return token.text in _OPERATORS or token.text == "!~"
        return token.kind == "word" and token.text.lower() in ("in", "like", "not")

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        if token.kind != "end":
            self._next += 1
        return token

    def _takes(self, wanted: str) -> bool:
        token = self._peek()
        if token.kind in ("word", "operator") and token.text.lower() == wanted:
            self._next += 1
            return True
        return False

    def _expect(self, wanted: str) -> None:
        token = self._peek()
        if not self._takes(wanted):
            raise self._complaint(token, f"expected `{wanted}`, not {_shown(token)}")

    def _complaint(self, token: _Token, message: str, hint: str | None = None) -> UsageError:
        return complaint(self._text, token.position, message, hint)


def _tokens(text: str) -> Iterable[_Token]:
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            unclosed = text[start] in "\"'`"
            message = (
                f"the quote `{text[start]}` is not closed" if unclosed else f"unexpected `{text[start]}`"
            )
            raise complaint(text, start, message)
        kind = str(match.lastgroup)
        yield _Token(kind, _plain(kind, match[kind]), match.start(kind))
        position = match.end()
    yield _Token("end", "", end)


def _plain(kind: str, text: str) -> str:
    """A token without its quotes."""
    if kind == "text":
        return _unquoted(text)
    if kind == "name":
        start = min(text.index(quote) for quote in "\"'`" if quote in text)
        return text[:start] + _unquoted(text[start:])
    return text


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[0] * 2, text[0])


def _shown(token: _Token) -> str:
    return "the end" if token.kind == "end" else f"`{token.text}`"


def _field(name: str, position: int, text: str, known: Callable[[], Sequence[str]]) -> Field:
    if name in COLUMNS:
        return Field(COLUMNS[name][1], name, position)
    group, _, rest = name.partition(".")
    if group in _GROUPS and rest:
        return Field(_GROUPS[group], rest, position)
    raise complaint(text, position, f"there is no field `{name}`", _near(name, known()))


def _near(name: str, known: Sequence[str]) -> str:
    import difflib

    for candidate in known:
        if candidate.partition(".")[2] == name:
            return f"did you mean `{candidate}`?"
    matches = difflib.get_close_matches(name, [*COLUMNS, *known], n=1)
    if matches:
        return f"did you mean `{matches[0]}`?"
    return "metrics.NAME, params.NAME, tags.NAME, " + ", ".join(COLUMNS)
