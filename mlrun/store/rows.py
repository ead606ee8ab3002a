"""A record as rows of the index: what is put in, taken out, or removed."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from mlrun.model import Artifact, RunRecord

Attribute = tuple[str, str, float | None, str | None]
"""Kind, name, number, text."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DIGEST = re.compile(r"blake3:([0-9a-f]{64})")
_EXACT_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_WIDEST = 2**63 - 1
_PUT_RUN = """INSERT INTO runs (id, name, project, entry_point, target, status, started_at, ended_at,
    duration_s, exit_code, user, commit_id, branch, dirty, python, environment, tree)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, project = excluded.project,
    entry_point = excluded.entry_point, target = excluded.target, status = excluded.status,
    started_at = excluded.started_at, ended_at = excluded.ended_at, duration_s = excluded.duration_s,
    exit_code = excluded.exit_code, user = excluded.user, commit_id = excluded.commit_id,
    branch = excluded.branch, dirty = excluded.dirty, python = excluded.python,
    environment = excluded.environment, tree = excluded.tree
    RETURNING seq"""


class Writer:
    """Puts records into an open index; it remembers the numbers of names, so use one for many.

    `manifest` gives that of a folder by the hexadecimal digits of its digest, None where it is not kept.
    """

    def __init__(self, connection: sqlite3.Connection, manifest: Callable[[str], bytes | None]) -> None:
        self._connection = connection
        self._manifest = manifest
        self._keys: dict[tuple[str, str], int] = {}

    def put(self, record: RunRecord) -> None:
        """Add a record's rows, or replace them; a run keeps its place among others."""
        found = self._connection.execute(_PUT_RUN, _columns(record)).fetchall()
        seq = found[0][0]
        self._connection.execute("DELETE FROM attributes WHERE run = ?", (seq,))
        self._connection.executemany(
            "INSERT OR REPLACE INTO attributes (run, key, number, text) VALUES (?, ?, ?, ?)",
            [(seq, self._key(kind, name), value, text) for kind, name, value, text in _attributes(record)],
        )
        self._put_lineage(seq, record)

    def _put_lineage(self, seq: int, record: RunRecord) -> None:
        self._connection.execute("DELETE FROM artifacts WHERE run = ?", (seq,))
        self._connection.execute("DELETE FROM parents WHERE run = ?", (seq,))
        self._connection.executemany(
            "INSERT INTO artifacts (digest, run, output, started_at, path, kind, size, files, tree, declared)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (digest, seq, output, moment(record.started_at), *_artifact(item))
                for output, items in enumerate((record.inputs, record.outputs))
                for item in items
                # Empty ones are alike everywhere: that two runs have one says nothing.
                if item.size > 0 and (digest := raw(item.digest)) is not None
            ],
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO parents (run, parent, kind) VALUES (?, ?, ?)",
            [(seq, clean(parent), clean(kind)) for kind, parent in record.parents],
        )
        for item in (*record.inputs, *record.outputs):
            if item.tree and (digest := raw(item.digest)) is not None:
                self._put_members(digest)

    def _put_members(self, tree: bytes) -> None:
        """What lies in a folder, once for all runs that have it."""
        known = self._connection.execute("SELECT 1 FROM trees WHERE digest = ?", (tree,)).fetchone()
        manifest = None if known else self._manifest(tree.hex())
        if manifest is None:
            return
        row = self._connection.execute("INSERT INTO trees (digest) VALUES (?) RETURNING tree", (tree,))
        number_of_tree = row.fetchall()[0][0]
        self._connection.executemany(
            "INSERT OR IGNORE INTO members (tree, digest) VALUES (?, ?)",
            ((number_of_tree, digest) for digest in _members(manifest)),
        )

    def remove(self, run_id: str) -> None:
        """Remove a run's rows, if there are any."""
        self._connection.execute(
            "DELETE FROM attributes WHERE run = (SELECT seq FROM runs WHERE id = ?)", (run_id,)
        )
        for table in ("artifacts", "parents"):
            self._connection.execute(
                f"DELETE FROM {table} WHERE run = (SELECT seq FROM runs WHERE id = ?)",  # noqa: S608  ours
                (run_id,),
            )
        self._connection.execute("DELETE FROM runs WHERE id = ?", (run_id,))

    def mark_lost(self, run_id: str) -> None:
        """A run that can no longer tell how it ended is not running."""
        self._connection.execute(
            "UPDATE runs SET status = 'lost' WHERE id = ? AND status = 'running'", (run_id,)
        )

    def _key(self, kind: str, name: str) -> int:
        key = self._keys.get((kind, name))
        if key is None:
            self._connection.execute("INSERT OR IGNORE INTO keys (kind, name) VALUES (?, ?)", (kind, name))
            row = self._connection.execute(
                "SELECT key FROM keys WHERE kind = ? AND name = ?", (kind, name)
            ).fetchone()
            key = self._keys[kind, name] = int(row[0])
        return key


def number(text: str) -> float | None:
    """The finite number that a text is, if it is one."""
    if _NUMBER.fullmatch(text) is None:
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def clean(text: str) -> str:
    """A text that SQLite takes: bytes that are no UTF-8 are spelt out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def raw(digest: str | None) -> bytes | None:
    """The 32 bytes of a digest; None for what is none."""
    match = _DIGEST.fullmatch(digest or "")
    return None if match is None else bytes.fromhex(match[1])


def moment(text: str) -> str:
    """A UTC time in the one form that sorts as text; what is no time is left as it is."""
    if _EXACT_TIME.fullmatch(text):
        return text
    from datetime import UTC, datetime

    try:
        parsed = datetime.fromisoformat(text)
        parsed = parsed.replace(tzinfo=parsed.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return clean(text)
    return parsed.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _columns(record: RunRecord) -> tuple[str | float | None, ...]:
    source, environment = record.source, record.environment
    return (
        record.id,
        clean(record.name),
        clean(record.project),
        clean(record.entry_point),
        clean(record.target),
        record.status,
        moment(record.started_at),
        None if record.ended_at is None else moment(record.ended_at),
        record.duration_s,
        record.exit_code,
        _maybe_clean(record.user),
        _maybe_clean(source.commit if source else None),
        _maybe_clean(source.branch if source else None),
        int(source.dirty) if source else 0,
        _maybe_clean(environment.python if environment else None),
        _maybe_clean(environment.key if environment else None),
        _maybe_clean(source.tree if source else None),
    )


def _attributes(record: RunRecord) -> Iterator[Attribute]:
    for parameter in record.parameters:
        yield "params", clean(parameter.name), number(parameter.value), clean(parameter.value)
    for metric in record.metrics:
        odd = math.isnan(metric.last)
        yield "metrics", clean(metric.name), None if odd else metric.last, "NaN" if odd else None
    for name, value in record.tags:
        yield "tags", clean(name), number(value), clean(value)


def _maybe_clean(text: str | None) -> str | None:
    return None if text is None else clean(text)


def _artifact(item: Artifact) -> tuple[str | int, ...]:
    return (
        clean(item.path),
        clean(item.kind),
        min(item.size, _WIDEST),
        min(item.files, _WIDEST),
        int(item.tree),
        int(item.declared),
    )


def _members(manifest: bytes) -> Iterator[bytes]:
    """The digests of the files that a manifest lists; of none where it is no manifest."""
    try:
        entries = json.loads(manifest)["entries"]
        found = [raw(entry.get("digest")) for entry in entries if entry.get("size")]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return
    yield from (digest for digest in found if digest is not None)
