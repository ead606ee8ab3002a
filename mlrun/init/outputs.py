"""The files that a script surely writes: literal paths, in calls that stand in no condition."""

from __future__ import annotations

import ast
import os
import re
from typing import TYPE_CHECKING

from mlrun.init.source import called, dotted, is_main_guard, keyword, texts
from mlrun.model import DataSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATH_FIRST = frozenset(
    {
        *("imsave", "imwrite", "save_model", "save_pretrained", "save_weights", "savefig"),
        *("to_csv", "to_excel", "to_feather", "to_json", "to_parquet", "to_pickle"),
        *("write_html", "write_image"),
    }
)
_PATH_SECOND = frozenset({"joblib.dump", "torch.save"})
_SAVERS = frozenset({"np.save", "numpy.save", "np.savez", "numpy.savez", "np.savetxt", "numpy.savetxt"})
_CONDITIONAL = (ast.If, ast.ExceptHandler, ast.IfExp, ast.Lambda, ast.While, ast.Match)

_FIGURES = frozenset({".png", ".jpg", ".jpeg", ".svg", ".pdf", ".gif"})
_MODELS = frozenset(
    {
        *(".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".h5", ".hdf5", ".keras"),
        *(".onnx", ".cbm", ".bst", ".safetensors", ".model"),
    }
)
_DATA = frozenset({".csv", ".tsv", ".parquet", ".feather", ".npy", ".npz", ".arrow", ".xlsx"})
_METRICS = re.compile(r"metric|score|eval|result", re.IGNORECASE)


def read_outputs(tree: ast.Module) -> tuple[DataSpec, ...]:
    """The outputs in the order of the source, each once."""
    paths = dict.fromkeys(path for node in _certain(tree) for path in _written(node) if _is_plain(path))
    return tuple(DataSpec(path=path, kind=_kind(path)) for path in paths)


def _certain(node: ast.AST) -> Iterator[ast.Call]:
    """Calls that stand in no condition but `if __name__ == "__main__"`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield child
        if not isinstance(child, _CONDITIONAL) or is_main_guard(child):
            yield from _certain(child)


def _written(node: ast.Call) -> list[str]:
    """The literal path that a call writes to, if it is one that writes."""
    name, function = called(node), dotted(node.func)
    if function in _PATH_SECOND:
        return _path(node, 1)
    if name in _PATH_FIRST or function in _SAVERS:
        return _path(node, 0)
    if function == "open":
        mode = texts([node.args[1] if len(node.args) > 1 else keyword(node, "mode")])
        return _path(node, 0) if mode and mode[0][:1] in ("w", "x") else []
    if name in ("write_text", "write_bytes") and isinstance(node.func, ast.Attribute):
        made = node.func.value
        return _path(made, 0) if isinstance(made, ast.Call) and called(made) == "Path" else []
    return []


def _path(node: ast.Call, position: int) -> list[str]:
    """The literal at a position, bare or in `Path(…)`."""
    given = node.args[position] if len(node.args) > position else None
    if isinstance(given, ast.Call) and called(given) == "Path" and len(given.args) == 1:
        given = given.args[0]
    return texts([given])


def _is_plain(path: str) -> bool:
    """Below the project, without a character that means something in a template or a pattern."""
    inside = not os.path.isabs(path) and ".." not in path.split("/")
    return inside and re.fullmatch(r"\w[\w ./@+-]*", path) is not None and not path.endswith("/")


def _kind(path: str) -> str:
    stem, suffix = os.path.splitext(os.path.basename(path))
    match suffix.lower():
        case ".json" | ".yaml" | ".yml" | ".jsonl" if _METRICS.search(stem):
            return "metrics"
        case it if it in _FIGURES:
            return "figure"
        case it if it in _MODELS:
            return "model"
        case it if it in _DATA:
            return "data"
    return "file"
