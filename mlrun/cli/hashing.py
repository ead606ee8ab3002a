"""`mlrun data hash` apart from typer, whose import costs as much as a walk through twenty thousand files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun.cli import context
from mlrun.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence


def plain(arguments: Sequence[str]) -> tuple[list[str], bool] | None:
    """The paths, and whether JSON is wanted; None where typer should look."""
    paths = [word for word in arguments[1:] if word != "--json"]
    if arguments[:1] != ["hash"] or not paths or any(word.startswith("-") for word in paths):
        return None
    return paths, "--json" in arguments


def hash_paths(paths: Sequence[str], *, as_json: bool) -> int:
    """Print what a record says of each path.

    Raises StoreError `unreadable-file`.
    """
    from mlrun import data
    from mlrun.views import datasets as view

    directory, narrator = Path(context.caller().directory), context.narrator()
    reader = data.Reader(context.places()[1], narrator)
    artifacts = []
    for path in paths:
        if not path:
            raise StoreError("an empty name is no file", code="unreadable-file")
        place = directory / Path(path).expanduser()
        found = data.describe(place, shown=path, kind="data", declared=True, reader=reader, contents=False)
        if found.artifact.digest is None:
            raise StoreError(found.findings[0].message, code="unreadable-file")
        for finding in found.findings:
            narrator.warn(finding)
        artifacts.append(found.artifact)
        if not as_json:
            narrator.close()
            sys.stdout.write(view.digest_line(found.artifact) + "\n")
    if as_json:
        from mlrun.views.json import dumps

        sys.stdout.write(dumps([view.artifact_json(artifact) for artifact in artifacts]) + "\n")
    return 0
