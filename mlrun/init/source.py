"""Small questions to Python source that is parsed and never run."""

from __future__ import annotations

import ast
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LONGEST = 1024 * 1024

Value = str | int | float | bool | None
"""A literal that can stand for a parameter's default."""


def parse(path: Path) -> ast.Module | None:
    """The syntax tree of a file; None where it is no Python that we can read."""
    try:
        if path.stat().st_size > _LONGEST:
            return None
        with warnings.catch_warnings(action="ignore"):  # a stray "\d" is the author's affair
            return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def dotted(node: ast.AST | None) -> str:
    """`a.b.c` for such an expression, nothing for any other."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def called(node: ast.Call) -> str:
    """The last name of what is called: `add_argument` of `parser.add_argument(…)`."""
    match node.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def keyword(node: ast.Call, name: str) -> ast.expr | None:
    """The value of a keyword argument."""
    return next((it.value for it in node.keywords if it.arg == name), None)


def texts(nodes: Sequence[ast.AST | None]) -> list[str]:
    """The string literals among some expressions."""
    return [it.value for it in nodes if isinstance(it, ast.Constant) and isinstance(it.value, str)]


def constants(tree: ast.Module) -> dict[str, ast.expr]:
    """What is assigned to plain names at the top of a module, once each."""
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
    return found


def literal(node: ast.expr | None, known: dict[str, ast.expr]) -> tuple[bool, Value]:
    """Whether an expression is a plain literal (or a name for one), and its value."""
    if isinstance(node, ast.Name) and node.id in known:
        node = known[node.id]
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return True, value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return True, -number
    return False, None


def literals(node: ast.expr | None, known: dict[str, ast.expr]) -> tuple[Value, ...]:
    """The values of a list or tuple of literals; nothing for anything else."""
    if isinstance(node, ast.Name):
        node = known.get(node.id)
    if not isinstance(node, ast.List | ast.Tuple):
        return ()
    pairs = [literal(item, known) for item in node.elts]
    return tuple(value for _, value in pairs) if all(is_literal for is_literal, _ in pairs) else ()


def is_main_guard(node: ast.AST) -> bool:
    """`if __name__ == "__main__":`, either way round."""
    if not (isinstance(node, ast.If) and isinstance(node.test, ast.Compare)):
        return False
    sides = [node.test.left, *node.test.comparators]
    return any(dotted(side) == "__name__" for side in sides) and "__main__" in texts(sides)


def imported(tree: ast.AST) -> set[str]:
    """The modules that are imported somewhere, with their dots; relative imports are left out."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names
