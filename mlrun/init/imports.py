"""What a project's Python imports, as the names under which PyPI has it."""

from __future__ import annotations

import ast
import re
import sys
from typing import TYPE_CHECKING

from mlrun.init.source import dotted, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_MOST_FILES = 500
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_DISTRIBUTIONS = {
    "Bio": "biopython",
    "Crypto": "pycryptodome",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyOpenSSL",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "PyMuPDF",
    "git": "GitPython",
    "google.protobuf": "protobuf",
    "imblearn": "imbalanced-learn",
    "jose": "python-jose",
    "jwt": "PyJWT",
    "kafka": "kafka-python",
    "magic": "python-magic",
    "mpl_toolkits": "matplotlib",
    "osgeo": "GDAL",
    "pkg_resources": "setuptools",
    "psycopg2": "psycopg2-binary",
    "pywt": "PyWavelets",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "skopt": "scikit-optimize",
    "slugify": "python-slugify",
    "umap": "umap-learn",
    "yaml": "PyYAML",
    "zmq": "pyzmq",
}


def read_requirements(scripts: Iterable[Path], directory: Path) -> tuple[str, ...]:
    """The distributions that scripts and the project's own modules behind them import, without versions.

    Imports that a script can do without (under `except ImportError`, for type checkers) do not count.
    """
    waiting = list(scripts)
    seen: set[Path] = set()
    modules: set[str] = set()
    for path in waiting:
        if path in seen or len(seen) > _MOST_FILES:
            continue
        seen.add(path)
        tree = parse(path)
        for name in _needed(tree.body) if tree else ():
            own = _own_files(name, path.parent, directory)
            waiting += own
            if not own:
                modules.add(name)
    names = {_distribution(module) for module in modules}
    return tuple(sorted((name for name in names if name), key=str.lower))


def _needed(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Imported modules with their dots; `.sibling` for a relative import."""
    for node in nodes:
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                yield from _from(module or "", [alias.name for alias in names], level)
            case ast.Try(handlers=handlers, orelse=orelse) if any(map(_is_fallback, handlers)):
                yield from _needed([*handlers, *orelse])
            case ast.If(test=test, orelse=orelse) if dotted(test).endswith("TYPE_CHECKING"):
                yield from _needed(orelse)
            case _:
                yield from _needed(ast.iter_child_nodes(node))


def _from(module: str, names: list[str], level: int) -> Iterator[str]:
    if level:
        yield from (f".{module or name}" for name in names)
    else:
        yield from (f"{module}.{name}" for name in names)


def _is_fallback(handler: ast.ExceptHandler) -> bool:
    """Whether this takes a missing module, and goes on."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    takes = any(dotted(it) in ("", "ImportError", "ModuleNotFoundError", "Exception") for it in caught)
    ends = any(isinstance(node, ast.Raise) or _is_exit(node) for node in ast.walk(handler))
    return takes and not ends


def _is_exit(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and dotted(node.func) in ("sys.exit", "exit", "quit")


def _own_files(module: str, here: Path, directory: Path) -> list[Path]:
    """The project's own files behind an imported module."""
    parts = module.strip(".").split(".")
    for root in (here, directory, directory / "src"):
        for length in range(len(parts), 0, -1):
            base = root.joinpath(*parts[:length])
            if base.with_suffix(".py").is_file():
                return [base.with_suffix(".py")]
            if base.is_dir():
                return sorted(base.glob("*.py"))
    return [here / "__init__.py"] if module.startswith(".") else []


def _distribution(module: str) -> str | None:
    """The name on PyPI of what holds a module; None for the standard library and what has no such name."""
    parts = module.split(".")
    if parts[0] in sys.stdlib_module_names or not _PLAIN.fullmatch(parts[0]):
        return None
    if parts[:2] == ["google", "cloud"] and len(parts) > 2:
        return "google-cloud-" + parts[2].replace("_", "-")
    known = _DISTRIBUTIONS.get(".".join(parts[:2])) or _DISTRIBUTIONS.get(parts[0])
    return known or parts[0].replace("_", "-")
