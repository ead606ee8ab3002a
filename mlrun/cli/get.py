"""`mlrun get`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import printable
from mlrun.errors import StoreError, UsageError
from mlrun.files import let_run

if TYPE_CHECKING:
    from mlrun.model import Artifact, RunRecord
    from mlrun.store import Store


def get_command(
    run: Annotated[
        str, typer.Argument(metavar="[RUN]", help="An id or its start, a name, `latest`, or `latest~2`.")
    ] = "latest",
    path: Annotated[
        str | None, typer.Argument(metavar="[PATH]", help="Which output; all of them where left out.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="DEST", help="Where to: a folder, a file name, or `-` for stdout."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("-f", "--force", help="Overwrite what is there.")] = False,
) -> int:
    """Copy a run's outputs out of the store, checked against their digests.

    Without -o, one output goes into this directory, and all of them into a folder named after the run. A
    pipeline's outputs are those of its steps.

    \b
    Examples:
      mlrun get latest                  all outputs, into a folder of the run's name
      mlrun get 7f3a model.pkl
      mlrun get 7f3a metrics.json -o -
      mlrun get 7f3a plots -o figures/
    """
    from mlrun.references import with_steps
    from mlrun.value import replace

    store = context.store()
    record = store.load(store.find(run))
    outputs = tuple(output for each in reversed(with_steps(record, store)) for output in each.outputs)
    record = replace(record, outputs=outputs)
    wanted = _wanted(record, path)
    if output == "-":
        return _to_stdout(store, wanted)
    here = Path(context.caller().directory)
    for artifact, destination in _destinations(record, wanted, path=path, output=output, here=here):
        _fetch(store, artifact, destination, force=force)
        sys.stdout.write(f"{printable(os.path.relpath(destination, here))}\n")
    return 0


def _wanted(record: RunRecord, path: str | None) -> list[Artifact]:
    stored = [artifact for artifact in record.outputs if artifact.stored and artifact.digest]
    if path is None:
        if not stored:
            raise StoreError(
                f"run {record.id[:12]} has no outputs in the store",
                hint="declare `outputs:` in the MLproject to have them kept",
                code="no-outputs",
            )
        return stored
    cleaned = os.path.normpath(path)
    found = [artifact for artifact in stored if os.path.normpath(artifact.path) == cleaned]
    if not found:
        raise StoreError(
            f"run {record.id[:12]} has no output `{path}`",
            hint=_instead(record, stored, Path(cleaned)),
            code="no-such-output",
        )
    return found


def _instead(record: RunRecord, stored: list[Artifact], path: Path) -> str:
    for artifact in stored:
        if artifact.tree and Path(artifact.path) in path.parents:
            return f"it lies in the output `{artifact.path}`: `mlrun get {record.id[:8]} {artifact.path}`"
    return "its outputs: " + (", ".join(f"`{artifact.path}`" for artifact in stored) or "none")


def _destinations(
    record: RunRecord, wanted: list[Artifact], *, path: str | None, output: str | None, here: Path
) -> list[tuple[Artifact, Path]]:
    if path is None:
        folder = here / (output or f"{record.name}-{record.id[:8]}")
        return [(artifact, folder / _harmless(artifact.path)) for artifact in wanted]
    name = Path(wanted[0].path).name
    if output is None:
        return [(wanted[0], here / name)]
    target = here / output
    return [(wanted[0], target / name if output.endswith(os.sep) or os.path.isdir(target) else target)]


def _harmless(path: str) -> Path:
    """A recorded path below a folder of the reader's choice: no root, no way up."""
    return Path(*[part for part in Path(path).parts if part not in ("/", "..", ".")])


def _fetch(store: Store, artifact: Artifact, destination: Path, *, force: bool) -> None:
    assert artifact.digest is not None
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot write to {destination.parent}: {error.strerror}",
            hint="`-o FOLDER` puts it elsewhere",
            code="cannot-write",
        ) from error
    if artifact.tree:
        store.objects.fetch_tree(artifact.digest, destination, force=force)
    else:
        store.objects.fetch(artifact.digest, destination, force=force)
        if artifact.executable:
            let_run(destination)


def _to_stdout(store: Store, wanted: list[Artifact]) -> int:
    if len(wanted) != 1 or wanted[0].tree:
        raise UsageError("`-o -` takes one file", hint="name the output: `mlrun get RUN PATH -o -`")
    assert wanted[0].digest is not None
    sys.stdout.buffer.write(store.objects.read_bytes(wanted[0].digest))
    sys.stdout.buffer.flush()
    return 0
