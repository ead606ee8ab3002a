"""Which runs made what, and who used it: a walk through the index, by digest.

A run *used* another when it read a content that the other wrote: the file itself, a file out of a folder
that the other wrote, or a folder that holds a file of it (where the folder's manifest is kept). Names and
places mean nothing, but where an input was said to be a run's output. Of several runs that wrote the same
content, the last that began before its reader ended is taken for the one; how many others there are is told.
Runs are tied by their parents too. Empty files are in no lineage: they are alike everywhere.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from mlrun.model import Digest
from mlrun.store.rows import raw
from mlrun.value import value

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence

_CHUNK = 500  # values bound in one statement
_FOREVER = "9"  # after any time
_NAMED = re.compile(r"/inputs-v\d+/([0-9a-f]{32})/[0-9a-f]{16}/")
"""Where the cache keeps an output that went in by its run's name (`Cache.inputs`)."""
LISTED = 1000
"""Makers and users of a content that are named where nobody says how many."""


class Node(NamedTuple):
    """A run, as the index knows it. A tuple, since there may be a hundred thousand; so with those below."""

    id: str
    name: str
    project: str
    entry_point: str
    status: str
    started_at: str
    ended_at: str | None
    commit: str | None
    dirty: bool
    tree: str | None
    python: str | None
    environment: str | None


class Flow(NamedTuple):
    """An input or output of a run; what `Artifact` says of it."""

    run: str
    output: bool
    digest: Digest
    path: str
    kind: str
    size: int
    files: int
    tree: bool
    declared: bool


class Link(NamedTuple):
    """From one run to another that is made from it.

    `kind` is `data`, or that of a parent: `nested`, `pipeline`, `reproduces`. For data, `digest` is that of
    the later run's input and `path` what the earlier one called what it wrote; `others` counts further runs
    that wrote the same.
    """

    kind: str
    earlier: str
    later: str
    digest: Digest | None = None
    path: str = ""
    others: int = 0


@value
class Content:
    """Who wrote a content and who read it, the newest first; a folder's path counts for what lies in it.

    `more` tells that there are more than were asked for; `made_by` and `read_by` are the numbers of all runs.
    """

    digest: Digest
    makers: tuple[Flow, ...] = ()
    users: tuple[Flow, ...] = ()
    more: bool = False
    made_by: int = 0
    read_by: int = 0


@value
class Walk:
    """What was found: runs in the order of their distance, their inputs and outputs, how they hang together.

    `more` tells that there are more runs than were asked for.
    """

    runs: tuple[Node, ...] = ()
    flows: tuple[Flow, ...] = ()
    links: tuple[Link, ...] = ()
    more: bool = False


def content(connection: sqlite3.Connection, its_digest: str, *, limit: int | None = LISTED) -> Content:
    """Who wrote a content and who read it, also as part of a folder; `limit` of each, None for all."""
    key = raw(its_digest)
    sides = [
        _of_content(connection, key, output=output, limit=limit) if key else () for output in (True, False)
    ]
    return Content(
        digest=Digest(its_digest),
        makers=sides[0][:limit],
        users=sides[1][:limit],
        more=limit is not None and max(map(len, sides)) > limit,
        made_by=_count(connection, key, sides[0], output=True, limit=limit),
        read_by=_count(connection, key, sides[1], output=False, limit=limit),
    )


def _count(
    connection: sqlite3.Connection,
    key: bytes | None,
    found: Sequence[Flow],
    *,
    output: bool,
    limit: int | None,
) -> int:
    """How many runs there are on a side; those that were `found` may be some of them."""
    if key is None or limit is None or len(found) <= limit:
        return len({flow.run for flow in found})
    sql = (
        "SELECT count(*) FROM (SELECT run FROM artifacts WHERE digest = ?1 AND output = ?2 "
        "UNION SELECT a.run FROM members m JOIN trees t ON t.tree = m.tree "
        "JOIN artifacts a ON a.digest = t.digest AND a.output = ?2 WHERE m.digest = ?1)"
    )
    count: int = connection.execute(sql, (key, int(output))).fetchone()[0]
    return count


def up(connection: sqlite3.Connection, start: Iterable[str], *, depth: int | None, limit: int | None) -> Walk:
    """The runs that these are made from, through `depth` runs at most, `limit` of them; None for all."""
    return _Walk(connection, limit).go(start, depth, lambda walk, frontier: walk.earlier(frontier))


def down(
    connection: sqlite3.Connection, start: Iterable[str], *, depth: int | None, limit: int | None
) -> Walk:
    """The runs that are made from these; as `up`."""
    return _Walk(connection, limit).go(start, depth, lambda walk, frontier: walk.later(frontier))


def digests_like(connection: sqlite3.Connection, start: str) -> tuple[Digest, ...]:
    """The digests that begin with these hexadecimal digits (an even number counts), eleven at most."""
    low = bytes.fromhex(start[: len(start) // 2 * 2])
    found = connection.execute(
        "SELECT DISTINCT digest FROM artifacts WHERE digest >= ? ORDER BY digest LIMIT 300", (low,)
    )
    tagged = (row[0].hex() for row in found)
    return tuple(Digest(f"blake3:{each}") for each in tagged if each.startswith(start))[:11]


def of_commit(connection: sqlite3.Connection, start: str) -> tuple[str, ...]:
    """The runs of a commit, or of a tree of the source, by the start of its id, the newest first."""
    found = connection.execute(
        "SELECT id FROM runs WHERE (commit_id >= ?1 AND commit_id < ?1 || 'g') "
        "OR (tree >= ?1 AND tree < ?1 || 'g') ORDER BY started_at DESC",
        (start,),
    )
    return tuple(row[0] for row in found)


def named_like(connection: sqlite3.Connection, name: str) -> tuple[Flow, ...]:
    """Outputs of the latest runs that bear a file's name, whatever they held: to help a search."""
    sql = f"{_FLOW} WHERE a.output = 1 AND (a.path = ?1 OR a.path LIKE ?2 ESCAPE '!')"
    pattern = "%/" + "".join(f"!{mark}" if mark in "!%_" else mark for mark in name)
    rows = connection.execute(f"{sql} ORDER BY a.started_at DESC LIMIT 3", (name, pattern))
    return tuple(map(_flow, rows))


def latest_good(connection: sqlite3.Connection) -> tuple[str, ...]:
    """The last run that succeeded of each entry point of each project, the newest first.

    Children and repetitions are none.
    """
    found = connection.execute(
        "SELECT id, max(started_at) AS last FROM runs WHERE status IN ('finished', 'cached') "
        "AND seq NOT IN (SELECT run FROM parents WHERE kind IN ('nested', 'reproduces')) "
        "GROUP BY project, entry_point, target ORDER BY last DESC"
    )
    return tuple(row[0] for row in found)


_FLOW = (
    "SELECT r.id, a.output, a.digest, a.path, a.kind, a.size, a.files, a.tree, a.declared "
    "FROM artifacts a JOIN runs r ON r.seq = a.run"
)


def _flow(row: Sequence[Any]) -> Flow:
    run, output, digest, path, kind, size, files, tree, declared = row
    tagged = Digest(f"blake3:{digest.hex()}")
    return Flow(run, output == 1, tagged, path, kind, size, files, tree == 1, declared == 1)


def _of_content(
    connection: sqlite3.Connection, key: bytes, *, output: bool, limit: int | None
) -> tuple[Flow, ...]:
    bound = (key, int(output), -1 if limit is None else limit + 1)  # SQLite's -1: no limit
    order = "ORDER BY a.started_at DESC LIMIT ?3"
    rows = connection.execute(f"{_FLOW} WHERE a.digest = ?1 AND a.output = ?2 {order}", bound).fetchall()
    rows += connection.execute(
        f"{_FLOW} JOIN trees t ON t.digest = a.digest JOIN members m ON m.tree = t.tree "
        f"WHERE m.digest = ?1 AND a.output = ?2 {order}",
        bound,
    ).fetchall()
    return tuple(map(_flow, rows))


class _Walk:
    """One walk; `_runs` are the numbers of those found, in their order."""

    def __init__(self, connection: sqlite3.Connection, limit: int | None) -> None:
        self._connection = connection
        self._limit = limit
        self._runs: dict[int, Node] = {}
        self._links: dict[tuple[str, int, int, bytes | None], tuple[str, int]] = {}
        self._more = False
        self._makers: dict[tuple[bytes, bool, str], list[tuple[int, str, int]]] = {}

    def go(
        self, start: Iterable[str], depth: int | None, step: Callable[[_Walk, list[int]], Iterable[int]]
    ) -> Walk:
        """From some runs, each step from those found by the last, until there is nothing new."""
        frontier = self._add(self._numbers(start))
        while frontier and depth != 0:
            frontier = self._add(step(self, frontier))
            depth = None if depth is None else depth - 1
        return Walk(
            runs=tuple(self._runs.values()),
            flows=tuple(self._flows()),
            links=tuple(self._told_links()),
            more=self._more,
        )

    # --- towards the origin ---------------------------------------------------------------------------

    def earlier(self, frontier: list[int]) -> list[int]:
        """The makers of what these runs read, and their parents."""
        found = []
        rows = self._many(
            "SELECT run, digest, tree, path FROM artifacts WHERE output = 0 AND run IN ({})", frontier
        )
        for run, key, tree, place in rows:
            before = self._runs[run].ended_at or _FOREVER
            makers = self._named(key, place) or self._makers_of(key, bool(tree), before, but=run)
            for maker, path, others in makers:
                self._links[("data", maker, run, key)] = (path, others)
                found.append(maker)
        parents = (
            "SELECT p.run, p.kind, r.seq FROM parents p JOIN runs r ON r.id = p.parent WHERE p.run IN ({})"
        )
        for run, kind, parent in self._many(parents, frontier):
            self._links[(kind, parent, run, None)] = ("", 0)
            found.append(parent)
        return found

    def _named(self, key: bytes, place: str) -> list[tuple[int, str, int]]:
        """The run whose output an input was said to be (`run:NAME:PATH`), whoever else wrote the same."""
        match = _NAMED.search(place)
        if match is None:
            return []
        return self._connection.execute(
            "SELECT r.seq, coalesce(a.path, ''), 0 FROM runs r LEFT JOIN artifacts a "
            "ON a.run = r.seq AND a.output = 1 AND a.digest = ?2 WHERE r.id = ?1 LIMIT 1",
            (match[1], key),
        ).fetchall()

    def _makers_of(self, key: bytes, tree: bool, before: str, *, but: int) -> list[tuple[int, str, int]]:
        """Number, path, and how many others: who wrote it, or a folder with it; else its parts."""
        known = self._makers.get((key, tree, before))
        if known is None:
            known = self._makers[(key, tree, before)] = self._ask_makers(key, before, tree=tree)
        if all(maker != but for maker, _, _ in known):
            return known
        # It wrote what it read: who wrote that before it?
        earlier = self._ask_makers(key, self._runs[but].started_at, tree=tree)
        return [found for found in earlier if found[0] != but]

    def _ask_makers(self, key: bytes, before: str, *, tree: bool) -> list[tuple[int, str, int]]:
        one = self._connection.execute(
            "SELECT run, path, started_at FROM artifacts WHERE digest = ? AND output = 1 AND started_at <= ? "
            "ORDER BY started_at DESC, run DESC LIMIT 1",
            (key, before),
        ).fetchone()
        whole = self._connection.execute(
            "SELECT a.run, a.path, a.started_at FROM members m JOIN trees t ON t.tree = m.tree "
            "JOIN artifacts a ON a.digest = t.digest AND a.output = 1 AND a.started_at <= ?2 "
            "WHERE m.digest = ?1 ORDER BY a.started_at DESC, a.run DESC LIMIT 1",
            (key, before),
        ).fetchone()
        last = max((found for found in (one, whole) if found), key=lambda found: str(found[2]), default=None)
        if last is not None:
            others = self._connection.execute(
                "SELECT count(*) FROM (SELECT DISTINCT run FROM artifacts WHERE digest = ? AND output = 1 "
                "AND run != ? LIMIT 10001)",
                (key, last[0]),
            ).fetchone()[0]
            return [(last[0], last[1], others)]
        if not tree:
            return []
        parts = self._connection.execute(
            "SELECT a.run, a.path, max(a.started_at) FROM trees t JOIN members m ON m.tree = t.tree "
            "JOIN artifacts a ON a.digest = m.digest AND a.output = 1 AND a.started_at <= ?2 "
            "WHERE t.digest = ?1 GROUP BY m.digest",
            (key, before),
        )
        return list({run: (run, path, 0) for run, path, _ in parts}.values())

    # --- away from it ---------------------------------------------------------------------------------

    def later(self, frontier: list[int]) -> list[int]:
        """The readers of what these runs wrote, and their children."""
        found = []
        makers: dict[bytes, list[tuple[int, str, str]]] = {}
        rows = self._many(
            "SELECT digest, run, path, started_at FROM artifacts WHERE output = 1 AND run IN ({})", frontier
        )
        for key, run, path, began in rows:
            makers.setdefault(key, []).append((run, path, began))
        for key, reader, read, ended in self._readers(list(makers)):
            for maker, path, began in makers[key]:
                if maker != reader and began <= (ended or _FOREVER):
                    self._links[("data", maker, reader, read)] = (path, 0)
                    found.append(reader)
        ids = {self._runs[run].id: run for run in frontier}
        children = "SELECT parent, kind, run FROM parents WHERE parent IN ({})"
        for parent, kind, run in self._many(children, list(ids)):
            self._links[(kind, ids[parent], run, None)] = ("", 0)
            found.append(run)
        return found

    def _readers(self, keys: list[bytes]) -> Iterator[tuple[bytes, int, bytes, str | None]]:
        """Digest of what was written, number of the run that read it, digest of what it read, its end."""
        yield from self._many(
            "SELECT a.digest, a.run, a.digest, r.ended_at FROM artifacts a JOIN runs r ON r.seq = a.run "
            "WHERE a.output = 0 AND a.digest IN ({})",
            keys,
        )
        yield from self._many(  # out of a folder that was written
            "SELECT t.digest, a.run, a.digest, r.ended_at FROM trees t JOIN members m ON m.tree = t.tree "
            "JOIN artifacts a ON a.digest = m.digest JOIN runs r ON r.seq = a.run "
            "WHERE a.output = 0 AND t.digest IN ({})",
            keys,
        )
        yield from self._many(  # in a folder that was read
            "SELECT m.digest, a.run, a.digest, r.ended_at FROM members m JOIN trees t ON t.tree = m.tree "
            "JOIN artifacts a ON a.digest = t.digest JOIN runs r ON r.seq = a.run "
            "WHERE a.output = 0 AND m.digest IN ({})",
            keys,
        )

    # --- runs -----------------------------------------------------------------------------------------

    def _numbers(self, ids: Iterable[str]) -> list[int]:
        return [row[0] for row in self._many("SELECT seq FROM runs WHERE id IN ({})", list(ids))]

    def _add(self, numbers: Iterable[int]) -> list[int]:
        """Those that are new, as far as the limit goes; they are looked up."""
        new = [number for number in dict.fromkeys(numbers) if number not in self._runs]
        if self._limit is not None and len(self._runs) + len(new) > self._limit:
            self._more = True
            new = new[: self._limit - len(self._runs)]
        rows = self._many(
            "SELECT seq, id, name, project, entry_point, status, started_at, ended_at, commit_id, dirty, "
            "tree, python, environment FROM runs WHERE seq IN ({})",
            new,
        )
        found = {row[0]: Node._make((*row[1:9], row[9] == 1, *row[10:])) for row in rows}
        self._runs |= {number: found[number] for number in new if number in found}
        return [number for number in new if number in found]

    def _flows(self) -> Iterator[Flow]:
        ids = {number: node.id for number, node in self._runs.items()}
        columns = "run, output, digest, path, kind, size, files, tree, declared"
        sql = f"SELECT {columns} FROM artifacts WHERE run IN ({{}}) ORDER BY artifact"  # noqa: S608  ours
        for row in self._many(sql, list(ids)):
            yield _flow((ids[row[0]], *row[1:]))

    def _told_links(self) -> Iterator[Link]:
        for (kind, earlier, later, key), (path, others) in self._links.items():
            if earlier in self._runs and later in self._runs:
                tagged = None if key is None else Digest(f"blake3:{key.hex()}")
                yield Link(kind, self._runs[earlier].id, self._runs[later].id, tagged, path, others)

    def _many(self, sql: str, keys: Sequence[Any]) -> Iterator[Any]:
        """The rows of a statement whose `{}` are keys, some hundreds at a time."""
        for at in range(0, len(keys), _CHUNK):
            some = keys[at : at + _CHUNK]
            yield from self._connection.execute(
                sql.format(", ".join("?" * len(some))), tuple(some)
            ).fetchall()
