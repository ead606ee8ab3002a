"""What a script takes on its command line, as far as its source says so plainly."""

from __future__ import annotations

import ast
from functools import partial
from typing import TYPE_CHECKING

from mlrun.init.functions import read_click, read_fire, read_typer
from mlrun.init.options import (
    KINDS,
    Arguments,
    Collected,
    Option,
    description_of,
    flag_of,
    is_true,
    leave_out,
    name_of,
    with_choices,
    with_default,
)
from mlrun.init.source import called, constants, dotted, imported, keyword, literal, literals, texts
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Callable


def read_arguments(tree: ast.Module) -> Arguments | None:
    """The arguments of a script; None where it seems to take none."""
    modules = {name.partition(".")[0] for name in imported(tree)}
    for library, reader in _READERS.items():
        found = reader(tree) if library in modules else None
        if found is not None:
            return found
    return None


# --- argparse -----------------------------------------------------------------------------------------


def read_argparse(tree: ast.Module) -> Arguments | None:
    """The `add_argument` calls of a file, in its order."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    if any(called(node) == "add_subparsers" for node in calls):
        return Arguments(library="argparse", left_out=("subcommands",))
    known, collected = constants(tree), Collected("argparse")
    declared = [node for node in calls if called(node) == "add_argument" and texts(node.args)]
    for node in sorted(declared, key=lambda node: (node.lineno, node.col_offset)):
        names = texts(node.args)
        collected.add(flag_of(names) or names[0], partial(_argument, node, known))
    return collected.arguments() if declared else None


def _argument(node: ast.Call, known: dict[str, ast.expr]) -> Option:
    names = texts(node.args)
    flag, kind, nargs = flag_of(names), keyword(node, "type"), keyword(node, "nargs")
    if flag is None and names[0].startswith("-"):
        leave_out("its name")
    if keyword(node, "action") is not None:
        leave_out("a switch")
    option = Option(
        name=name_of(flag or names[0]),
        flag=flag,
        kind=KINDS.get(dotted(kind), "string"),
        description=description_of(keyword(node, "help")),
    )
    choices = literals(keyword(node, "choices"), known)
    optional = texts([nargs]) in (["?"], ["*"])
    if is_true(keyword(node, "required")) if flag else not optional:
        return with_choices(option, choices)
    if nargs is not None and texts([nargs]) != ["?"]:
        leave_out("a list of values")
    option = with_default(option, keyword(node, "default"), known)
    if not isinstance(option.default, str) and dotted(kind) not in KINDS:
        leave_out("given as text, it would not be the number that its default is")
    return with_choices(option, choices)


# --- sys.argv -----------------------------------------------------------------------------------------


def read_argv(tree: ast.Module) -> Arguments | None:
    """`alpha = float(sys.argv[1]) if len(sys.argv) > 1 else 0.5`, and its plainer forms."""
    known = constants(tree)
    found = {position: Option(name=f"argument_{position}") for position in _positions(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            positions = _positions(node.value)
            if len(positions) == 1:
                found[positions.pop()] = _argv_option(node.targets[0].id, node.value, known)
    collected = Collected("sys.argv")
    for position in range(1, max(found, default=0) + 1):
        name = f"argument_{position}"
        collected.add(name, partial(found.setdefault, position, Option(name=name)))
    return collected.arguments() if found else None


def _positions(tree: ast.AST) -> set[int]:
    """Every n of a `sys.argv[n]`."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=value, slice=ast.Constant(value=int(position))):
                if dotted(value) in ("sys.argv", "argv") and 0 < position < 20:
                    found.add(position)
    return found


def _argv_option(name: str, value: ast.expr, known: dict[str, ast.expr]) -> Option:
    """An argument by what it is assigned to, converted with, and replaced by where it is missing."""
    default = None
    if isinstance(value, ast.IfExp):
        given, otherwise = (
            (value.body, value.orelse) if _positions(value.body) else (value.orelse, value.body)
        )
        value, (_, default) = given, literal(otherwise, known)
    kind = KINDS.get(dotted(value.func), "string") if isinstance(value, ast.Call) else "string"
    option = Option(name=name, kind=kind)
    usable = isinstance(default, int | float) or (isinstance(default, str) and default.isprintable())
    return replace(option, default=default) if usable and not isinstance(default, bool) else option


_READERS: dict[str, Callable[[ast.Module], Arguments | None]] = {
    "argparse": read_argparse,
    "click": read_click,
    "typer": read_typer,
    "fire": read_fire,
    "sys": read_argv,
}
