"""What people call a run, and which one they mean."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrun.errors import StoreError
from mlrun.store.rows import clean

if TYPE_CHECKING:
    import sqlite3

_LATEST = re.compile(r"latest(?:~([0-9]{1,9}))?")
_START_OF_ID = re.compile(r"[0-9a-fA-F]{2,32}")
_SHOWN = 10  # matches listed for an ambiguous name
_RECENT = 1000  # names compared for "did you mean"


def find(connection: sqlite3.Connection, name: str, *, project: str | None) -> str:
    """The id of the run that is meant by an id, the start of one, a name, `latest`, or `latest~2`.

    A name goes before the start of an id; of several runs of one name the newest is meant. `project`
    leaves only its runs to choose from.
    Raises StoreError: `no-such-run`, `ambiguous-run`.
    """
    latest = _LATEST.fullmatch(name)
    if latest is not None:
        return _latest(connection, name, back=int(latest[1] or 0), project=project)
    named = _ask(connection, "name = ?", (clean(name),), project=project, limit=1)
    if named:
        return named[0][0]
    if _START_OF_ID.fullmatch(name) is not None:
        start = name.lower()
        matches = _ask(
            connection, "id >= ? AND id < ?", (start, start + "g"), project=project, limit=_SHOWN + 1
        )
        if len(matches) == 1:
            return matches[0][0]
        if matches:
            raise _ambiguous(name, matches)
    raise _unknown(connection, name, project)


_OF_ITS_OWN = (
    "NOT EXISTS (SELECT 1 FROM parents p WHERE p.run = runs.seq AND p.kind IN ('nested', 'pipeline'))"
)
"""What a program opened within its run, or a pipeline has for steps, is not what its user started last."""

_Match = tuple[str, str, str]
"""Id, name, time of start."""


def _latest(connection: sqlite3.Connection, name: str, *, back: int, project: str | None) -> str:
    found = _ask(connection, _OF_ITS_OWN, (), project=project, limit=1, offset=back)
    if not found:
        if project is None:
            count = connection.execute("SELECT count(*) FROM runs").fetchone()[0]
        else:
            count = connection.execute(
                "SELECT count(*) FROM runs WHERE project = ?", (clean(project),)
            ).fetchone()[0]
        there_are = "there are no runs yet" if count == 0 else f"there are only {count} runs"
        of_project = f" of project `{project}`" if project else ""
        raise StoreError(
            f"no run `{name}`: {there_are}{of_project}", hint="`mlrun runs` lists them", code="no-such-run"
        )
    return found[0][0]


def _ask(
    connection: sqlite3.Connection,
    test: str,
    bound: tuple[str, ...],
    *,
    project: str | None,
    limit: int,
    offset: int = 0,
) -> list[_Match]:
    if project is not None:
        test, bound = f"{test} AND project = ?", (*bound, clean(project))
    sql = (
        f"SELECT id, name, started_at FROM runs WHERE {test} "  # noqa: S608  the tests are those above
        "ORDER BY started_at DESC, seq DESC LIMIT ? OFFSET ?"
    )
    return [(row[0], row[1], row[2]) for row in connection.execute(sql, (*bound, limit, offset))]


def _ambiguous(name: str, matches: list[_Match]) -> StoreError:
    lines = [f"{run_id}  {its_name}  {started}" for run_id, its_name, started in matches[:_SHOWN]]
    more = len(matches) > _SHOWN
    return StoreError(
        f"`{name}` is the start of {'more than ' if more else ''}{len(lines)} run ids",
        hint="type more of the id",
        code="ambiguous-run",
        details=(*lines, *(["…"] if more else [])),
    )


def _unknown(connection: sqlite3.Connection, name: str, project: str | None) -> StoreError:
    import difflib

    names = dict.fromkeys(match[1] for match in _ask(connection, "1", (), project=project, limit=_RECENT))
    near = difflib.get_close_matches(name, names, n=1)
    return StoreError(
        f"no run is called `{name}`" + (f" in project `{project}`" if project else ""),
        hint=f"did you mean `{near[0]}`?" if near else "`mlrun runs` lists them",
        code="no-such-run",
    )
