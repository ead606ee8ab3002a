"""How long a filtered list takes among many runs, against the same question put to SQLite by hand.

    python -m benchmarks.runs_at_scale --runs 100000 [--write]

The store's index is filled with synthetic runs of ten parameters and ten metrics, as a rebuild fills it (no
record files: lists do not read them). Then, in turns, `Store.query` and the best SQL known; both open the
index, find 20 runs and fetch all that a list shows of them. Medians in milliseconds, and the median of the
rounds' ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.run import write
from mlrun.files import Home
from mlrun.model import BoundParameter, Metric, RunRecord, SourceFacts
from mlrun.store import Query, Store
from mlrun.store.index import fill
from mlrun.store.names import new_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = 20


class Case(NamedTuple):
    """One question, in our language and in SQL that yields the `seq` of runs."""

    name: str
    where: str | None
    sort: str
    sql: str


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="renew the table in benchmarks/README.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        home.prepare()
        seconds = timed(lambda: make_index(home, synthetic(arguments.runs)))
        size = home.index.stat().st_size / 1e6
        lines = [f"{arguments.runs:,} runs, indexed in {seconds:.0f} s, {size:.0f} MB", ""]
        lines += ["| question | mlrun, ms | SQL, ms | ratio | at most |", "|---|---|---|---|---|"]
        for case in CASES:
            ours, bare, ratio = compare(home, case, arguments.rounds)
            lines.append(f"| {case.name} | {ours:.2f} | {bare:.2f} | {ratio:.2f} × | 3 × |")
    print("\n".join(lines))
    if arguments.write:
        write(f"scale-{arguments.runs}", lines)


def make_index(home: Home, runs: Iterator[RunRecord]) -> None:
    with contextlib.closing(sqlite3.connect(home.index, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        fill(connection, runs)
        connection.execute("PRAGMA journal_mode = WAL")


def synthetic(runs: int) -> Iterator[RunRecord]:
    """The same runs each time: alpha has ten values, lr a hundred, seed is nearly unique."""
    chance = random.Random(7)
    for number in range(runs):
        minutes, second = divmod(number * 3, 60)
        hours, minute = divmod(minutes, 60)
        days, hour = divmod(hours, 24)
        started = (
            f"2026-{1 + days // 28 % 12:02d}-{1 + days % 28:02d}T{hour:02d}:{minute:02d}:{second:02d}.000Z"
        )
        values = {
            "alpha": f"{chance.randrange(10) / 10}",
            "lr": f"{chance.randrange(100) / 1000}",
            "seed": f"{chance.randrange(runs)}",
            "model": chance.choice(("forest", "boost", "linear")),
            **{f"p{index}": f"{chance.random():.4f}" for index in range(6)},
        }
        measured = {"rmse": chance.random(), "acc": chance.random()}
        measured |= {f"m{index}": chance.random() for index in range(8)}
        yield RunRecord(
            id=f"{chance.getrandbits(128):032x}",
            name=new_name(chance.randbytes(4)),
            status="failed" if chance.random() < 0.05 else "finished",
            project=f"project-{chance.randrange(20)}",
            target=".",
            entry_point="main",
            started_at=started,
            mlrun_version="0",
            duration_s=chance.expovariate(1 / 60),
            source=SourceFacts(kind="git", tree="", directory="/p", commit=f"{chance.getrandbits(160):040x}"),
            parameters=tuple(
                BoundParameter(name=name, value=value, text=value, kind="string", origin="default")
                for name, value in values.items()
            ),
            metrics=tuple(
                Metric(name=name, last=value, minimum=value, maximum=value)
                for name, value in measured.items()
            ),
        )


def compare(home: Home, case: Case, rounds: int) -> tuple[float, float, float]:
    """Medians of both in milliseconds, and of the ratio; one round more to warm up."""
    store = Store(home)
    query = Query(where=case.where, sort=case.sort, limit=PAGE)
    assert [row.id for row in store.query(query)] == by_hand(home, case), case.name
    pairs = [(timed(lambda: store.query(query)), timed(lambda: by_hand(home, case))) for _ in range(rounds)]
    return (
        statistics.median(ours for ours, _ in pairs) * 1000,
        statistics.median(bare for _, bare in pairs) * 1000,
        statistics.median(ours / bare for ours, bare in pairs),
    )


def by_hand(home: Home, case: Case) -> list[str]:
    """The ids that plain SQL finds."""
    with contextlib.closing(sqlite3.connect(home.index)) as connection:
        keys = dict(connection.execute("SELECT name, key FROM keys"))
        found = [row[0] for row in connection.execute(case.sql.format(**keys))]
        ids = []
        for seq in found:
            row = connection.execute("SELECT * FROM runs WHERE seq = ?", (seq,)).fetchone()
            connection.execute(
                "SELECT name, number, text FROM attributes JOIN keys USING (key) WHERE run = ?", (seq,)
            ).fetchall()
            ids.append(row[1])
        return ids


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


NEWEST = f"ORDER BY r.started_at DESC, r.seq DESC LIMIT {PAGE}"
HAS = "EXISTS (SELECT 1 FROM attributes a WHERE a.run = {run} AND a.key = {{{key}}} AND a.number {test})"
FROM = (
    "SELECT r.seq FROM attributes g CROSS JOIN runs r ON r.seq = g.run "
    "WHERE g.key = {%s} AND g.number %s AND "
)


def has(key: str, test: str, run: str = "r.seq") -> str:
    return HAS.format(key=key, test=test, run=run)


CASES = (
    Case("the newest 20", None, "-started", f"SELECT seq FROM runs r {NEWEST}"),
    Case(
        "rmse < 0.8 and alpha = 0.5, newest",
        "metrics.rmse < 0.8 and params.alpha = 0.5",
        "-started",
        f"SELECT r.seq FROM runs r WHERE {has('rmse', '< 0.8')} AND {has('alpha', '= 0.5')} {NEWEST}",
    ),
    Case(
        "acc > 0.9 and lr = 0.05, best acc first",
        "metrics.acc > 0.9 and params.lr = 0.05",
        "-metrics.acc",
        f"SELECT g.run FROM attributes g WHERE g.key = {{acc}} AND g.number > 0.9 "
        f"AND {has('lr', '= 0.05', 'g.run')} ORDER BY g.number DESC LIMIT {PAGE}",
    ),
    Case(
        "seed < 200 and rmse < 0.8, newest (rare)",
        "params.seed < 200 and metrics.rmse < 0.8",
        "-started",
        FROM % ("seed", "< 200") + f"{has('rmse', '< 0.8')} {NEWEST}",
    ),
    Case(
        "lr = 0.05 and acc > 0.999, newest (rare)",
        "params.lr = 0.05 and metrics.acc > 0.999",
        "-started",
        FROM % ("acc", "> 0.999") + f"{has('lr', '= 0.05')} {NEWEST}",
    ),
    Case(
        "rmse < 0.1, m0 < 0.1, m1 < 0.01 (joint rare)",
        "metrics.rmse < 0.1 and metrics.m0 < 0.1 and metrics.m1 < 0.01",
        "-started",
        FROM % ("m1", "< 0.01") + f"{has('rmse', '< 0.1')} AND {has('m0', '< 0.1')} {NEWEST}",
    ),
    Case(
        "rmse < 0, alpha = 0.5 (none match)",
        "metrics.rmse < 0 and params.alpha = 0.5",
        "-started",
        FROM % ("rmse", "< 0") + f"{has('alpha', '= 0.5')} {NEWEST}",
    ),
    Case(
        "failed and rmse < 0.5, newest",
        "status = failed and metrics.rmse < 0.5",
        "-started",
        f"SELECT r.seq FROM runs r WHERE r.status = 'failed' AND {has('rmse', '< 0.5')} {NEWEST}",
    ),
    Case("longest 20", None, "-duration", f"SELECT seq FROM runs ORDER BY duration_s DESC LIMIT {PAGE}"),
)


if __name__ == "__main__":
    main()
