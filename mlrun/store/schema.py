"""The tables of the index, and how an older one is brought forward.

    runs        one row a run: what every list can show, filter and sort by
    keys        the names of parameters, metrics and tags, numbered
    attributes  their values, one row each; a metric's is its last value

`number` is set where a value is a number, so that values compare as numbers where they can; `text` is what
was written (of a metric only where it is NaN, which SQLite cannot hold). `attributes_by_value` answers
filters and sorts of any name without DDL at run time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

BY_VALUE = "CREATE INDEX attributes_by_value ON attributes (key, number, text)"
BY_DIGEST = (
    "CREATE INDEX artifacts_by_digest ON artifacts (digest, output, started_at)",
    "CREATE INDEX artifacts_by_run ON artifacts (run, output)",
)


def _first(connection: sqlite3.Connection) -> None:
    connection.execute(
        """CREATE TABLE runs (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL,
            project TEXT NOT NULL,
            entry_point TEXT NOT NULL,
            target TEXT NOT NULL,
            status TEXT NOT NULL,
            started_at TEXT NOT NULL,
            ended_at TEXT,
            duration_s REAL,
            exit_code INTEGER,
            user TEXT,
            commit_id TEXT,
            branch TEXT,
            dirty INTEGER NOT NULL,
            python TEXT
        ) STRICT"""
    )
    connection.execute("CREATE INDEX runs_by_start ON runs (started_at)")
    connection.execute("CREATE INDEX runs_by_name ON runs (name, started_at)")
    connection.execute("CREATE INDEX runs_by_project ON runs (project, started_at)")
    connection.execute("CREATE INDEX runs_by_status ON runs (status, started_at)")
    connection.execute("CREATE INDEX runs_by_duration ON runs (duration_s)")
    connection.execute(
        """CREATE TABLE keys (
            key INTEGER PRIMARY KEY,
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            UNIQUE (kind, name)
        ) STRICT"""
    )
    connection.execute(
        """CREATE TABLE attributes (
            run INTEGER NOT NULL,
            key INTEGER NOT NULL,
            number REAL,
            text TEXT,
            PRIMARY KEY (run, key)
        ) STRICT, WITHOUT ROWID"""
    )
    connection.execute(BY_VALUE)


def _second(connection: sqlite3.Connection) -> None:
    """What went in and came out, by digest; which runs are part of which; what lies in kept folders."""
    connection.execute("ALTER TABLE runs ADD COLUMN environment TEXT")
    connection.execute("ALTER TABLE runs ADD COLUMN tree TEXT")
    connection.execute(
        """CREATE TABLE artifacts (
            artifact INTEGER PRIMARY KEY,
            digest BLOB NOT NULL,
            run INTEGER NOT NULL,
            output INTEGER NOT NULL,
            started_at TEXT NOT NULL,
            path TEXT NOT NULL,
            kind TEXT NOT NULL,
            size INTEGER NOT NULL,
            files INTEGER NOT NULL,
            tree INTEGER NOT NULL,
            declared INTEGER NOT NULL
        ) STRICT"""
    )
    for sql in BY_DIGEST:
        connection.execute(sql)
    connection.execute(
        """CREATE TABLE parents (
            run INTEGER NOT NULL,
            parent TEXT NOT NULL,
            kind TEXT NOT NULL,
            PRIMARY KEY (run, parent, kind)
        ) STRICT, WITHOUT ROWID"""
    )
    connection.execute("CREATE INDEX parents_by_parent ON parents (parent)")
    connection.execute("CREATE TABLE trees (tree INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE) STRICT")
    connection.execute(
        """CREATE TABLE members (
            tree INTEGER NOT NULL,
            digest BLOB NOT NULL,
            PRIMARY KEY (tree, digest)
        ) STRICT, WITHOUT ROWID"""
    )
    connection.execute("CREATE INDEX members_by_digest ON members (digest)")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_first, _second)
"""Each takes the index from the version that is its position to the next; only ever append."""

VERSION = len(MIGRATIONS)

OLDEST = 2
"""An index of an earlier version lacks what only the records know: it is made anew."""


def version(connection: sqlite3.Connection) -> int:
    """The version of an open index; 0 for an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an index to the present version, each step whole or not at all."""
    for step in range(version(connection), VERSION):
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            if version(connection) == step:  # nobody was quicker
                MIGRATIONS[step](connection)
                connection.execute(f"PRAGMA user_version = {step + 1}")
