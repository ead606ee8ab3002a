"""The place of a value in a bash command: how it is written there, and which values may stand there.

One constant for each kind of place. That a value stays data rests on the writing; where no writing can
achieve that (arithmetic, names, program text), on refusing all values but those that mean nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrun.value import positional_value, replace

if TYPE_CHECKING:
    from collections.abc import Callable

HOLE = "\0"
"""Stands for a placeholder in the text of a command, in which there can be no NUL."""

_RESERVED = frozenset(
    {"if", "then", "elif", "else", "fi", "do", "done", "case", "esac", "while", "until", "for", "in"}
    | {"select", "function", "time", "coproc"}
)


def _only(pattern: str) -> Callable[[str], object]:
    """Whether a value is of this pattern, which is compiled when it is first asked for."""
    return lambda value: re.fullmatch(pattern, value)


_is_safe = _only(r"(?a:[\w@%+=:,./-]+)")  # what MLflow leaves bare too (`shlex.quote`)
_is_plain = _only(r"(?a:(?!-)(?!.*\.\.)[\w./-]+)")
_is_word = _only(r"(?a:\w[\w.-]*)")
_is_number = _only(r"(?a:[+-]?\d+)")
_is_harmless = _only(r"[\w ./:@%+=,-]*")


def _always(_: str) -> bool:
    return True


def _never(_: str) -> bool:
    return False


@positional_value
class Spot:
    """`write` turns a value that `admits` lets pass into bash; `reason` completes "the value …".

    A spot that admits `nothing` is the project's own mistake.
    """

    write: Callable[[str], str]
    admits: Callable[[str], object] = _always
    reason: str = ""
    nothing: bool = False


def narrowed(spot: Spot, admits: Callable[[str], object], reason: str) -> Spot:
    """The same spot for fewer values; where it was narrow already, its own reason tells more."""
    before = spot.admits
    return replace(spot, admits=lambda value: before(value) and admits(value), reason=spot.reason or reason)


def within(outer: Spot, inner: Spot) -> Spot:
    """The spot of a value in shell text which itself stands in `outer`: quoted for both, inside first."""
    return replace(inner, write=lambda value: outer.write(inner.write(value)))


def after_name(spot: Spot) -> Spot:
    """Behind a `$NAME`, from which an expansion that is always empty keeps the value apart."""
    return replace(spot, write=lambda value: "${0+}" + spot.write(value))


def after_backslash(spot: Spot) -> Spot:
    """Behind a backslash that is one only before certain letters: it is doubled, to be one anyway."""
    return replace(spot, write=lambda value: "\\" + spot.write(value))


def as_program(spot: Spot) -> Spot:
    """In the text of a program, where letters, digits and blanks are all that is known to be harmless."""
    return narrowed(
        spot,
        _is_harmless,
        "becomes part of a program's text, and may only have letters, digits, blanks and `_./:@%+=,-`",
    )


def as_shell_text(spot: Spot) -> Spot:
    """In the text of another shell, where a blank would part the value in two."""
    return narrowed(spot, _is_safe, UNSURE.reason)


def as_name(spot: Spot) -> Spot:
    """Where the shell takes a word for a name, or for arithmetic if it is none."""
    return NAME if spot in (BARE, CAREFUL, QUOTED) else narrowed(spot, _is_word, NAME.reason)


def in_nested_quotes(spot: Spot) -> Spot:
    """In quotes or backquotes inside of double quotes: bash expands `{a,b}` before it understands those."""
    return narrowed(
        spot,
        lambda value: "{" not in value,
        "may hold no `{` in quotes or backquotes inside of double quotes",
    )


def without_subscript(spot: Spot) -> Spot:
    """Where arithmetic may meet the value in a variable: it runs the `$(…)` of a `name[$(…)]` even there."""
    return narrowed(
        spot,
        lambda value: "[" not in value or not ("$" in value or "`" in value),
        "has a subscript, which shell arithmetic could run as code",
    )


# --- ways of writing ----------------------------------------------------------------------------------


def _in_single_quotes(value: str) -> str:
    return value.replace("'", "'\\''")


def _in_dollar_single_quotes(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _quoted(value: str) -> str:
    return f"'{_in_single_quotes(value)}'"


def bare(value: str) -> str:
    """One word of bash that is this text, in quotes where it needs them."""
    return value if _is_safe(value) and value not in _RESERVED else _quoted(value)


def _bare_carefully(value: str) -> str:
    return bare(value) if _is_plain(value) else _quoted(value)


def _escaping(special: str) -> Callable[[str], str]:
    escapes = str.maketrans({letter: f"\\{letter}" for letter in special})
    return lambda value: value.translate(escapes)


def _as_it_is(value: str) -> str:
    return value


def _is_inert_in_expansion(value: str) -> bool:
    return not any(sign in f"{value}(" for sign in ("'", "<(", ">("))


def _apart(value: str) -> str:
    """A sign is kept apart from the operator before it: `1-{n}` with -1."""
    return value if value.isdigit() else f" {value}"


# --- kinds of places ----------------------------------------------------------------------------------

BARE = Spot(bare)
CAREFUL = Spot(_bare_carefully)
"""Bare, where letters that are harmless elsewhere mean something (`,` in braces, `=` in a first word)."""
QUOTED = Spot(_quoted)
ESCAPED = Spot(lambda value: "\n" + _quoted(value))
"""Bare, behind a backslash; with a newline both are nothing to bash."""
SINGLE = Spot(_in_single_quotes)
DOLLAR_SINGLE = Spot(_in_dollar_single_quotes)
DOUBLE = Spot(_escaping('\\"$`'))
DOUBLE_EXPANSION = Spot(
    _escaping('\\"$`}'), _is_inert_in_expansion, 'may hold no `\'`, `<(` or `>(` inside of `"${…}"`'
)
"""Quotes and process substitutions: bash reads them in there, and no backslash keeps it from it."""
BACKQUOTES = Spot(_escaping("\\`"))
HERE_DOCUMENT = Spot(_escaping("\\$`"))
LITERAL = Spot(_as_it_is)
COMMENT = Spot(lambda value: value.replace("\n", " "))
ARITHMETIC = Spot(_apart, _is_number, "stands in shell arithmetic and must be a whole number")
NUMERAL = replace(ARITHMETIC, write=_as_it_is)
NAME = Spot(_as_it_is, _is_word, "is taken by the shell for a name and must be a plain word")
UNSURE = Spot(_as_it_is, _is_safe, "stands where only letters, digits and `_@%+=:,./-` are safe")
AFTER_DOLLAR = Spot(
    _as_it_is, _never, "follows a `$`: double the braces for a variable of the shell", nothing=True
)
AFTER_ESCAPE = Spot(_as_it_is, _never, "cannot follow a backslash in `$'…'`", nothing=True)
DELIMITER = Spot(_as_it_is, _never, "cannot be the end mark of a here-document", nothing=True)
