"""Which files of a directory are there to be run, under which names, and which of them first."""

from __future__ import annotations

import ast
import os
import re
from typing import TYPE_CHECKING

from mlrun.init.source import imported, is_main_guard, parse
from mlrun.value import replace, value

if TYPE_CHECKING:
    from pathlib import Path

_MOST_SCRIPTS = 20
_MOST_FILES = 500
_DEEPEST = 3
_FIRST = ("train", "main", "run", "training", "train_model", "pipeline", "app")
_NOT_RUN = re.compile(r"(test_.*|.*_test|conftest|setup|noxfile|tasks|__init__|__main__|settings|config)\.py")
_NOT_ENTERED = frozenset(
    {
        *("__pycache__", "build", "dist", "docs", "env", "mlruns", "node_modules"),
        *("site-packages", "test", "tests", "venv"),
    }
)
_ACTIONS = (ast.Assign, ast.AugAssign, ast.For, ast.While, ast.With)
_COMMAND_LINES = frozenset({"argparse", "click", "typer", "fire"})


@value
class Script:
    """A file to run: `path` relative to the project; `tree` for Python; `why` it counts as one."""

    name: str
    path: str
    why: str
    tree: ast.Module | None = None
    as_module: bool = False


def find_scripts(directory: Path) -> tuple[Script, ...]:
    """The scripts of a project, the one to run first as `main`.

    Those at its top count; where no Python is among them, those of its folders too. Names that cannot stand
    in a YAML file or a command are passed over.
    """
    paths = _files(directory)
    top = [path for path in paths if "/" not in path]
    scripts = _declared(directory, top) or _acting(directory, top)
    if not any(script.tree for script in scripts):
        scripts = _declared(directory, paths) or _acting(directory, paths)
    return _in_order(scripts) if scripts else ()


def _files(directory: Path) -> list[str]:
    found: list[str] = []
    for folder, folders, names in os.walk(directory):
        relative = os.path.relpath(folder, directory)
        depth = 0 if relative == "." else relative.count("/") + 1
        folders[:] = sorted(
            it for it in folders if it not in _NOT_ENTERED and not it.startswith(".") and depth < _DEEPEST
        )
        paths = (name if depth == 0 else f"{relative}/{name}" for name in sorted(names))
        found += [path for path in paths if _is_candidate(path)]
        if len(found) > _MOST_FILES:
            break
    return found[:_MOST_FILES]


def _is_candidate(path: str) -> bool:
    name = os.path.basename(path)
    return name.endswith((".py", ".sh")) and path.isprintable() and not _NOT_RUN.fullmatch(name)


def _declared(directory: Path, paths: list[str]) -> list[Script]:
    """Files that say that they are scripts."""
    scripts = []
    for path in paths:
        tree = None if path.endswith(".sh") else parse(directory / path)
        why = "a shell script" if path.endswith(".sh") else tree and _why(path, tree)
        if why:
            scripts.append(_named(path, why, tree))
    return scripts


def _why(path: str, tree: ast.Module) -> str | None:
    if any(is_main_guard(node) for node in tree.body):
        return 'it has `if __name__ == "__main__"`'
    libraries = sorted(_COMMAND_LINES & {name.partition(".")[0] for name in imported(tree)})
    if libraries:
        return f"it uses {libraries[0]}"
    return "by its name" if os.path.basename(path).removesuffix(".py") in _FIRST else None


def _acting(directory: Path, paths: list[str]) -> list[Script]:
    """Python files that do something when they are run, and that no other of them imports."""
    trees = {path: tree for path in paths if path.endswith(".py") and (tree := parse(directory / path))}
    used = {name.rpartition(".")[2] for tree in trees.values() for name in imported(tree)}
    return [
        _named(path, "it does something, and nothing imports it", tree)
        for path, tree in trees.items()
        if any(isinstance(node, _ACTIONS) for node in tree.body)
        and os.path.basename(path).removesuffix(".py") not in used
    ]


def _named(path: str, why: str, tree: ast.Module | None) -> Script:
    """Modules that import their siblings relatively can only be run as modules."""
    relative = tree is not None and any(
        isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree)
    )
    parts = path.removesuffix(".py").split("/")
    as_module = relative and len(parts) > 1 and all(part.isidentifier() for part in parts)
    return Script(name=_name_of(path), path=path, why=why, tree=tree, as_module=as_module)


def _name_of(path: str) -> str:
    stem = os.path.splitext(os.path.basename(path))[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-") or "script"


def _in_order(scripts: list[Script]) -> tuple[Script, ...]:
    """The first becomes `main`; names that meet are told apart by their path."""
    scripts = sorted(scripts, key=_rank)[:_MOST_SCRIPTS]
    names: set[str] = {"main"}
    ordered = [replace(scripts[0], name="main")]
    for script in scripts[1:]:
        name = script.name
        if name in names:
            name = re.sub(r"[^A-Za-z0-9_-]+", "-", os.path.splitext(script.path)[0]).strip("-")
        number = 2
        while name in names:
            name, number = f"{script.name}-{number}", number + 1
        names.add(name)
        ordered.append(replace(script, name=name))
    return tuple(ordered)


def _rank(script: Script) -> tuple[int, bool, int, str]:
    order = _FIRST.index(script.name) if script.name in _FIRST else len(_FIRST)
    return (order, script.tree is None, script.path.count("/"), script.path)
