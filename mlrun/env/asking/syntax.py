"""What the syntax tree of one source says: its imports, and the attributes it uses."""

from __future__ import annotations

import ast
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def parse(source: str | bytes) -> ast.Module | None:
    """The syntax tree; None where it is no Python that we can read."""
    try:
        with warnings.catch_warnings(action="ignore"):  # a stray "\d" is the author's affair
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def imports(tree: ast.Module) -> Iterator[tuple[str, int, bool]]:
    """Modules that are imported, in which line, and whether the source can do without."""
    return _imports(tree.body, optional=False)


def uses(tree: ast.Module) -> set[str]:
    """The names of attributes, and what is taken of `mlflow` whole (`mlflow.sklearn.log_model`)."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
            if (chain := _dotted(node)).startswith("mlflow."):
                found.add(chain)
    return found


def _imports(nodes: Iterable[ast.AST], *, optional: bool) -> Iterator[tuple[str, int, bool]]:
    for node in nodes:
        match node:
            case ast.Import(names=names):
                yield from ((alias.name, node.lineno, optional) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                dots, between = "." * level, "." if module else ""
                for alias in names:
                    yield f"{dots}{module or ''}{between}{alias.name}", node.lineno, optional
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=final):
                missing = any(_is_fallback(handler, body) for handler in handlers)
                yield from _imports(body, optional=optional or missing)
                yield from _imports([*handlers, *orelse, *final], optional=optional)
            case ast.If(test=test, orelse=orelse) if _dotted(test).endswith("TYPE_CHECKING"):
                yield from _imports(orelse, optional=optional)
            case ast.Call(args=[ast.Constant(value=str(module)), *_]) if _is_import(node):
                yield module, node.lineno, optional
            case _:
                yield from _imports(ast.iter_child_nodes(node), optional=optional)


def _is_import(node: ast.Call) -> bool:
    return _dotted(node.func) in ("__import__", "importlib.import_module", "import_module")


def _is_fallback(handler: ast.ExceptHandler, body: Sequence[ast.stmt]) -> bool:
    """Whether this takes a missing module, and goes on; what takes everything may mean something else."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {_dotted(it) if it is not None else "" for it in caught}
    ends = any(isinstance(node, ast.Raise) or _is_exit(node) for node in ast.walk(handler))
    if ends or not names & {"", "ImportError", "ModuleNotFoundError", "Exception"}:
        return False
    plain = all(isinstance(it, ast.Import | ast.ImportFrom | ast.Assign | ast.Pass) for it in body)
    return plain or bool(names & {"ImportError", "ModuleNotFoundError"})


def _is_exit(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _dotted(node.func) in ("sys.exit", "exit", "quit", "os._exit")


def _dotted(node: ast.AST) -> str:
    """`a.b.c` for such an expression, nothing for any other."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
