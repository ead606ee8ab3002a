"""Outputs of earlier runs as what goes in: `run:brave-fox:model.pkl`, `run:latest(entry=train):model.pkl`.

Between the colons stands a run as everywhere (an id or its start, a name, `latest`, `latest~2`); in brackets
what it has to be: `entry`, `project`, `status`, `tag` (a tag's name, or its value), each `=` something.
`latest` is the newest that ended well, meets that, made the output, and is no repetition of another. Of a
pipeline that is named, the steps count. What is named lies in the cache,
read-only, under its run and its digest.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from mlrun.digest import hex_of
from mlrun.errors import MlrunError, ParameterError, StoreError
from mlrun.files import build_once
from mlrun.pattern import pattern
from mlrun.value import positional_value, value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlrun.files import Cache
    from mlrun.model import Digest, RunRecord
    from mlrun.store import Store

_REFERENCE = pattern(r"run:(?P<run>[^():]+)(?:\((?P<wants>[^()]*)\))?:(?P<path>[^:].*)", re.DOTALL)
_LATEST = pattern(r"latest(?:~(?P<back>\d{1,9}))?")
_WANTS = ("entry", "project", "status", "tag")
_LOOKED_AT = 1000
"""Runs among which one is looked for by what it has to be."""
_HINT = "`run:NAME:PATH`, `run:latest:PATH` or `run:latest(entry=train,tag=prod):PATH`"


@value
class _Wanted:
    """A reference, understood; of `wants` each is a word of `_WANTS` and what it has to be."""

    text: str
    run: str
    wants: tuple[tuple[str, str], ...]
    path: str


@positional_value
class _Output:
    """Something that a run made: an object, or with `inside` a file of a folder's manifest."""

    digest: Digest
    tree: bool
    executable: bool = False


def is_reference(text: str) -> bool:
    """Whether a path is meant to name a run's output."""
    return text.startswith("run:")


def examine(text: str) -> None:
    """Raises ParameterError (`bad-reference`) where it can name no output of any run."""
    _understood(text)


def fetched(text: str, store: Store, cache: Cache, *, then: tuple[tuple[str, str], ...] = ()) -> Path:
    """The output that a reference names, where it can be read.

    `then` are the ids of runs and the paths that a reference led to when it was followed before: of these the
    one that fits is meant, whatever `latest` is by now.

    Raises ParameterError (`bad-reference`, `no-such-output`, `output-gone`) and StoreError (`no-such-run`).
    """
    wanted = _understood(text)
    record, output = _as_then(wanted, then, store) or _found(wanted, store)
    if not store.objects.has(output.digest):
        raise ParameterError(
            f"`{wanted.path}` of run {record.name} is not in the store any more",
            hint=f"run it again: `mlrun reproduce {record.id[:8]}`",
            code="output-gone",
        )
    name = _name(wanted)
    folder = cache.inputs / record.id / _short(output)

    def build(scratch: Path) -> None:
        scratch.mkdir(parents=True)
        _place(output, scratch / name, store)

    cache.prepare()
    build_once(
        folder,
        lock=cache.locks / f"input-{record.id}-{folder.name}.lock",
        temporary=cache.temporary,
        trash=cache.trash,
        build=build,
    )
    os.utime(folder.parent)  # by which `mlrun gc` knows what is in use
    return folder / name


def run_of(path: str, cache: Cache) -> str | None:
    """The id of the run whose output lies at a path of ours; None for any other path."""
    place = f"{cache.inputs}{os.sep}"
    return path[len(place) :].partition(os.sep)[0] if path.startswith(place) else None


def with_steps(record: RunRecord, store: Store) -> tuple[RunRecord, ...]:
    """A run and, of a pipeline, the runs of its steps that are still there, the last step first."""
    found = [record]
    for step in reversed(record.steps):
        with contextlib.suppress(StoreError):
            found.append(store.load(step.run))
    return tuple(found)


def _place(output: _Output, destination: Path, store: Store) -> None:
    if output.tree:
        store.objects.fetch_tree(output.digest, destination)
        for folder, _, names in os.walk(destination):
            for name in names:
                if not os.path.islink(file := f"{folder}/{name}"):
                    os.chmod(file, os.stat(file).st_mode & ~0o222)
    else:
        store.objects.fetch(output.digest, destination)
        os.chmod(destination, 0o555 if output.executable else 0o444)


# --- which run --------------------------------------------------------------------------------------------


def _understood(text: str) -> _Wanted:
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ParameterError(f"`{text}` names no output of a run", hint=_HINT, code="bad-reference")
    wants = []
    for word in (match["wants"] or "").split(","):
        name, equals, wanted = (part.strip() for part in word.partition("="))
        if word.strip() and (name not in _WANTS or not equals):
            raise ParameterError(
                f"`{text}`: `{word.strip()}` is none of {', '.join(f'{it}=…' for it in _WANTS)}",
                hint=_HINT,
                code="bad-reference",
            )
        if word.strip():
            wants.append((name, wanted))
    return _Wanted(
        text=text, run=match["run"].strip(), wants=tuple(wants), path=os.path.normpath(match["path"])
    )


def _as_then(
    wanted: _Wanted, then: tuple[tuple[str, str], ...], store: Store
) -> tuple[RunRecord, _Output] | None:
    for run_id, path in then:
        with contextlib.suppress(StoreError):
            record = store.load(run_id)
            output = _output(record, wanted.path, store)
            if output is not None and path.endswith(f"/{run_id}/{_short(output)}/{_name(wanted)}"):
                return record, output
    return None


def _short(output: _Output) -> str:
    return hex_of(output.digest)[:16]


def _name(wanted: _Wanted) -> str:
    return os.path.basename(wanted.path.rstrip("/")) or "output"


def _found(wanted: _Wanted, store: Store) -> tuple[RunRecord, _Output]:
    latest = _LATEST.fullmatch(wanted.run)
    if latest is None:
        record = store.load(store.find(wanted.run))
        made = [(each, _output(each, wanted.path, store)) for each in with_steps(record, store)]
        record, output = next(((each, found) for each, found in made if found is not None), (record, None))
        if output is None:
            names = ", ".join(f"`{it.path}`" for each, _ in made for it in each.outputs[:8]) or "nothing"
            raise ParameterError(
                f"run {record.name} made no `{wanted.path}`, as `{wanted.text}` asks",
                hint=f"it made {names}",
                code="no-such-output",
            )
        if not all(_meets(record, *want) for want in wanted.wants):
            raise ParameterError(f"run {record.name} is not as `{wanted.text}` says", code="no-such-output")
        return record, output
    back = int(latest["back"] or 0)
    for record in _newest(wanted, store):
        output = _output(record, wanted.path, store)
        if output is not None:
            if back == 0:
                return record, output
            back -= 1
    such = f" with {', '.join('='.join(want) for want in wanted.wants)}" if wanted.wants else ""
    raise ParameterError(
        f"no run{such} ended well and made `{wanted.path}`, as `{wanted.text}` asks",
        hint="`mlrun runs` lists them",
        code="no-such-output",
    )


def _newest(wanted: _Wanted, store: Store) -> Iterator[RunRecord]:
    from mlrun.store import Query

    wants = dict(wanted.wants)
    statuses = (wants["status"],) if "status" in wants else ("finished", "cached")
    rows = store.query(Query(project=wants.get("project"), statuses=statuses, limit=_LOOKED_AT))
    for row in rows:
        if wants.get("entry", row.entry_point) != row.entry_point:
            continue
        try:
            record = store.load(row.id)
        except StoreError:
            continue
        if "reproduces" in dict(record.parents):  # it was made to be compared, and has its original's tags
            continue
        if all(_meets(record, *want) for want in wanted.wants):
            yield record


def _meets(record: RunRecord, name: str, wanted: str) -> bool:
    match name:
        case "entry":
            return record.entry_point == wanted
        case "project":
            return record.project == wanted
        case "status":
            return record.status == wanted
    return any(wanted in pair for pair in record.tags)


def _output(record: RunRecord, path: str, store: Store) -> _Output | None:
    """What a run made at a path: an output, or a file in one that is a folder."""
    for artifact in record.outputs:
        if artifact.digest is None:
            continue
        own = os.path.normpath(artifact.path)
        if own == path:
            return _Output(artifact.digest, artifact.tree, artifact.executable)
        if artifact.tree and path.startswith(f"{own}/"):
            try:
                entries = store.objects.entries(artifact.digest)
            except MlrunError:
                continue
            for entry in entries:
                if entry.digest is not None and entry.path == path[len(own) + 1 :]:
                    return _Output(entry.digest, tree=False, executable=entry.executable)
    return None
