"""Finding inputs and outputs by name: paths, patterns, and all that lies in a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlrun.model import DataSpec

_MAGIC = r"[*?[]"


def is_pattern(path: str) -> bool:
    """Whether a path has letters that make it a pattern."""
    return "*" in path or "?" in path or "[" in path


def by_word_first(specs: tuple[DataSpec, ...], directory: Path) -> Iterator[tuple[DataSpec, Path | None]]:
    """Specs with each path that they name, or None; patterns last, so that they get only the rest."""
    patterns = []
    for spec in specs:
        path = os.path.normpath(os.path.join(directory, spec.path.replace("\0", "")))
        if os.path.exists(path):
            yield spec, Path(path)
        elif re.search(_MAGIC, spec.path):
            patterns.append(spec)
        else:
            yield spec, None
    for spec in patterns:
        matches = sorted(_matches(spec.path, directory))
        for match in matches:
            yield spec, Path(match)
        if not matches:
            yield spec, None


def _matches(pattern: str, directory: Path) -> Iterator[str]:
    """What a pattern names. As in a shell `*` passes over hidden names; `**` names files only."""
    parts = os.path.normpath(directory / pattern).split(os.sep)
    fixed = next(at for at, part in enumerate(parts) if re.search(_MAGIC, part))
    root, magic = os.sep.join(parts[:fixed]) or os.sep, parts[fixed:]
    deep = "**" in magic
    wanted = re.compile(_expression(magic), re.DOTALL)
    for name, kind in _walk(root, depth=None if deep else len(magic)):
        if not (deep and kind == "folder") and wanted.fullmatch(name):
            yield os.path.join(root, name)


def _expression(parts: list[str]) -> str:
    """The regular expression of a pattern's parts."""
    texts = []
    for part in parts:
        if part == "**":
            texts.append(r"(?:(?!\.)[^/]+/)*" if part is not parts[-1] else r"(?:(?!\.)[^/]+/)*(?!\.)[^/]+")
        else:
            hidden = "" if part.startswith(".") else r"(?!\.)"
            texts.append(hidden + re.sub(_PIECES, _piece, part) + "/")
    return "".join(texts).removesuffix("/")


_PIECES = r"(?s:\*+|\?|\[(!?)(\]?[^\]]*)\]|.)"


def _piece(match: re.Match[str]) -> str:
    if match[0][0] == "*":
        return "[^/]*"
    if match[0] == "?":
        return "[^/]"
    if match[2] is None:
        return re.escape(match[0])
    inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", match[2])
    return f"(?!/)[{'^' if match[1] else ''}{inside}]"


def _walk(root: str, *, depth: int | None = None) -> Iterator[tuple[str, Literal["file", "folder", "link"]]]:
    """Everything below a folder by its relative path. Links are told and not followed."""
    folders = [("", 1)]
    while folders:
        folder, level = folders.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as listing:
                entries = [(folder + entry.name, _kind(entry)) for entry in listing]
        except OSError:
            continue
        yield from entries
        if depth is None or level < depth:
            folders += [(f"{name}/", level + 1) for name, kind in entries if kind == "folder"]


def _kind(entry: os.DirEntry[str]) -> Literal["file", "folder", "link"]:
    if entry.is_symlink():
        return "link"
    return "folder" if entry.is_dir(follow_symlinks=False) else "file"


def shown_path(path: Path, directory: Path) -> str:
    """Relative where it lies in the project, else absolute."""
    text, inside = os.fspath(path), f"{directory}/"
    if text.startswith(inside) and "/.." not in text and "//" not in text:  # as nearly all are
        return text[len(inside) :]
    relative = os.path.relpath(path, directory)
    return str(path) if relative.split(os.sep)[0] == ".." else relative
