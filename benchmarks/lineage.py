"""How long a lineage takes among many runs: `python -m benchmarks.lineage [--runs N] [--write]`.

The index is filled with synthetic runs in two shapes, as a rebuild fills it. `star`: every run reads one data
set and writes a model of its own, so that all descend from one content. `pipelines`: chains of five (prepare,
split, train, evaluate, report), all from one file of raw data. Each question is put by the functions that
`mlrun lineage` calls, up to the text that it would print, in turns with the least that SQLite must do for the
same answer: fetch the rows of these runs, and of all that they read and wrote.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import random
import sqlite3
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.run import write
from benchmarks.runs_at_scale import make_index, timed
from mlrun import lineage
from mlrun.files import Home
from mlrun.model import Artifact, Digest, RunRecord
from mlrun.store import Store
from mlrun.store import lineage as walks
from mlrun.store.names import new_name
from mlrun.views import lineage as view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STAGES = ("prepare", "split", "train", "evaluate", "report")
RAW = Digest("blake3:" + "ab" * 32)


class Question(NamedTuple):
    """What is asked of which shape; `which` picks runs by their number, or asks for the raw data."""

    name: str
    shape: str
    run: int | None
    up: bool
    limit: int | None
    most: str


QUESTIONS = (
    Question("star: all that came of the data", "star", None, up=False, limit=None, most="1 s"),
    Question("star: the same, the first 1,000", "star", None, up=False, limit=1000, most="1 s"),
    Question("star: where one model comes from", "star", -1, up=True, limit=None, most="1 s"),
    Question("pipelines: all that came of the data", "pipelines", None, up=False, limit=None, most="1 s"),
    Question("pipelines: the same, the first 1,000", "pipelines", None, up=False, limit=1000, most="1 s"),
    Question("pipelines: where one report comes from", "pipelines", -1, up=True, limit=None, most="1 s"),
    Question("pipelines: what came of one split", "pipelines", -4, up=False, limit=None, most="1 s"),
)


def star(runs: int, chance: random.Random) -> Iterator[RunRecord]:
    for number in range(runs):
        yield record(number, "train", chance, [RAW], ["model.pkl"])


def pipelines(runs: int, chance: random.Random) -> Iterator[RunRecord]:
    read = RAW
    for number in range(runs):
        stage = STAGES[number % len(STAGES)]
        made = record(number, stage, chance, [RAW if stage == "prepare" else read], [f"{stage}.out"])
        read = made.outputs[0].digest or RAW
        yield made


def record(
    number: int, stage: str, chance: random.Random, read: list[Digest], written: list[str]
) -> RunRecord:
    days, seconds = divmod(number * 3, 86_400)
    started = (
        f"2026-{1 + days // 28 % 12:02d}-{1 + days % 28:02d}T{seconds // 3600:02d}:{seconds // 60 % 60:02d}"
    )
    outputs = [(path, Digest(f"blake3:{chance.getrandbits(256):064x}")) for path in written]
    return RunRecord(
        id=f"{chance.getrandbits(128):032x}",
        name=new_name(chance.randbytes(4)),
        status="finished",
        project="study",
        target=".",
        entry_point=stage,
        started_at=f"{started}:{seconds % 60:02d}.000Z",
        ended_at=f"{started}:{seconds % 60:02d}.900Z",
        mlrun_version="0",
        inputs=tuple(
            Artifact(path="data", kind="data", digest=each, size=9, files=1, declared=True) for each in read
        ),
        outputs=tuple(
            Artifact(path=path, kind="file", digest=each, size=9, files=1) for path, each in outputs
        ),
    )


def answer(store: Store, question: Question, run_id: str | None) -> lineage.Lineage:
    """What `mlrun lineage` does for a run's id or a digest, with the drawing."""
    if run_id is None:
        content = store.lineage(partial(walks.content, its_digest=RAW, limit=question.limit))
        root = lineage.Root(kind="digest", name=RAW, content=content)
    else:
        root = lineage.Root(kind="run", name=run_id, runs=(run_id,))
    found = lineage.lineage(store, root, up=question.up, down=not question.up, limit=question.limit)
    view.tree(found)
    return found


def by_hand(home: Home, ids: list[str]) -> None:
    """The rows of runs and of their artifacts, as few at a time as SQLite likes."""
    with contextlib.closing(sqlite3.connect(home.index)) as connection:
        for at in range(0, len(ids), 500):
            some = ids[at : at + 500]
            marks = ", ".join("?" * len(some))
            found = connection.execute(f"SELECT * FROM runs WHERE id IN ({marks})", some).fetchall()
            seqs = [row[0] for row in found]
            connection.execute(f"SELECT * FROM artifacts WHERE run IN ({marks})", seqs).fetchall()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="renew the table in benchmarks/README.md")
    arguments = parser.parse_args()
    gc.disable()  # as the command does
    head = "| question | runs found | mlrun, ms | SQL, ms | ratio | at most |"
    lines = [f"{arguments.runs:,} runs", "", head, "|---|---|---|---|---|---|"]
    for shape, make in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            home = Home(Path(folder) / "home")
            home.prepare()
            records = list(make(arguments.runs, random.Random(7)))
            make_index(home, iter(records))
            for question in (each for each in QUESTIONS if each.shape == shape):
                run_id = None if question.run is None else records[question.run].id
                lines.append(measured(home, question, run_id, arguments.rounds))
    sys.stdout.write("\n".join(lines) + "\n")
    if arguments.write:
        write("lineage", lines)


def measured(home: Home, question: Question, run_id: str | None, rounds: int) -> str:
    store = Store(home)
    found = answer(store, question, run_id)
    walk = found.up if question.up else found.down
    ids = [node.id for node in walk.runs] if walk else []
    pairs = [
        (timed(lambda: answer(store, question, run_id)), timed(lambda: by_hand(home, ids)))
        for _ in range(rounds)
    ]
    ours, bare = (statistics.median(pair[side] for pair in pairs) * 1000 for side in (0, 1))
    ratio = statistics.median(one / other for one, other in pairs)
    return f"| {question.name} | {len(ids):,} | {ours:.1f} | {bare:.1f} | {ratio:.1f} × | {question.most} |"


SHAPES: dict[str, Callable[[int, random.Random], Iterator[RunRecord]]] = {
    "star": star,
    "pipelines": pipelines,
}


if __name__ == "__main__":
    main()
