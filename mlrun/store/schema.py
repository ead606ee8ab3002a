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


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_first,)
"""Each takes the index from the version that is its position to the next; only ever append."""

VERSION = len(MIGRATIONS)


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
