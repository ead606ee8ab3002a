"""Options of a script, and the reasons why some of its arguments do not become one.

Only what can be given without changing what the script does by itself becomes an option. The rest is left
out, and said: switches, lists, computed defaults, and values that would come in with another type.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NoReturn

from mlrun.init.source import Value, literal, texts
from mlrun.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FLAG = re.compile(r"--?[A-Za-z][A-Za-z0-9_-]*")

KINDS = {
    "float": "float",
    "int": "int",
    "str": "string",
    "Path": "string",
    "click.Choice": "string",
    "click.File": "string",
    "click.FLOAT": "float",
    "click.FloatRange": "float",
    "click.INT": "int",
    "click.IntRange": "int",
    "click.Path": "string",
    "click.STRING": "string",
    "pathlib.Path": "string",
}


@value
class Option:
    """One argument: a `flag` with a value, or a positional one. A `default` of None means it is required."""

    name: str
    flag: str | None = None
    kind: str = "string"
    default: Value = None
    choices: tuple[Value, ...] = ()
    description: str | None = None


@value
class Arguments:
    """The options of a script, positional ones first; the `library` that reads them; what is left out."""

    library: str
    options: tuple[Option, ...] = ()
    left_out: tuple[str, ...] = ()


# --- collecting ---------------------------------------------------------------------------------------


class LeftOut(Exception):  # noqa: N818  # it is no error
    """Why an argument does not become an option."""


class Collected:
    """Options as they are found; the first of a name counts."""

    def __init__(self, library: str) -> None:
        self._library = library
        self._options: dict[str, Option] = {}
        self._left_out: dict[str, str] = {}

    def add(self, written: str, read: Callable[[], Option]) -> None:
        """Take an option, or why there is none; `written` is what its author calls it."""
        try:
            option = read()
            if not _NAME.fullmatch(option.name):
                leave_out("its name")
        except LeftOut as reason:
            self._left_out.setdefault(written, f"`{written}` ({reason})")
        else:
            self._options.setdefault(option.name, option)

    def arguments(self) -> Arguments:
        """All that was found, positional arguments first."""
        in_order = sorted(self._options.values(), key=lambda option: option.flag is not None)
        return Arguments(
            library=self._library, options=tuple(in_order), left_out=tuple(self._left_out.values())
        )


def leave_out(reason: str) -> NoReturn:
    """Say why what is being read does not become an option."""
    raise LeftOut(reason)


def flag_of(names: list[str]) -> str | None:
    """The long one of an option's flags; None for a positional argument."""
    flags = sorted(
        (name for name in names if _FLAG.fullmatch(name)), key=lambda name: not name.startswith("--")
    )
    return flags[0] if flags else None


def name_of(flag: str) -> str:
    """`--learning-rate` is the parameter `learning_rate`."""
    return flag.lstrip("-").replace("-", "_")


def with_default(option: Option, default: ast.expr | None, known: dict[str, ast.expr]) -> Option:
    """The option with a default that is a literal and no switch."""
    is_literal, found = literal(default, known)
    if default is None or (is_literal and found is None):
        leave_out("optional, without a default")
    if not is_literal:
        leave_out("its default is computed")
    if isinstance(found, bool):
        leave_out("a switch")
    if isinstance(found, str) and (found.startswith("-") or not found.isprintable()):
        leave_out("its default")
    return replace(option, default=found)


def with_choices(option: Option, choices: tuple[Value, ...]) -> Option:
    """Choices that hold the default; those of texts are a type of their own."""
    if not choices or None in choices or (option.default is not None and option.default not in choices):
        return option
    return replace(option, choices=choices, kind="choice" if option.kind == "string" else option.kind)


def description_of(node: ast.expr | None) -> str | None:
    """A help text, without argparse's own placeholders."""
    found = "".join(texts([node]))
    found = re.sub(r"[\s,;.]*[\[(]?\s*(default( is|[:=s]+)?\s*)?%\(\w+\)s\s*[\])]?", "", found)
    found = " ".join(found.replace("%%", "%").split())
    return found if found and found.isprintable() else None


def is_true(node: ast.expr | None) -> bool:
    """Whether this is the literal `True`."""
    return isinstance(node, ast.Constant) and node.value is True


def of_its_type(option: Option) -> Option:
    """Without a type of its own an option has its default's; click, typer and fire see to that."""
    if option.kind == "string" and isinstance(option.default, int | float):
        return replace(option, kind="int" if isinstance(option.default, int) else "float")
    return option
