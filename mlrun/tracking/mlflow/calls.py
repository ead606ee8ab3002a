"""What every call has: fields, ways in which it can be refused, and the service that it is made to."""

from __future__ import annotations

import os
import posixpath
import re
import time
from typing import TYPE_CHECKING, Any, Literal

from mlrun.value import draft, positional_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlrun.tracking.mlflow.ledger import Ledger, Row
    from mlrun.tracking.mlflow.values import RunIdentity

STATUS = {
    "BAD_REQUEST": 400, "INVALID_PARAMETER_VALUE": 400, "RESOURCE_ALREADY_EXISTS": 400, "INVALID_STATE": 400,
    "PERMISSION_DENIED": 401, "RESOURCE_DOES_NOT_EXIST": 404, "ENDPOINT_NOT_FOUND": 404,
    "FEATURE_DISABLED": 501, "IO_ERROR": 507,
}  # fmt: skip
"""HTTP codes of MLflow's error codes, all known to MLflow 1.x, which stumbles over others.

None is 429, 500, 502, 503 or 504: those clients repeat for minutes.
"""

LONGEST_KEY, LONGEST_PARAM, LONGEST_TAG, LONGEST_REGISTRY_TAG = 250, 6000, 8000, 100_000
"""Characters, as in MLflow's own store."""

_UNWANTED = re.compile(r"[\x00-\x1f\x7f]")


class Refused(Exception):  # noqa: N818  an answer
    """A call that cannot be answered; `code` is one of MLflow's error codes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> Refused:
    """The call makes no sense."""
    return Refused("INVALID_PARAMETER_VALUE", message)


def missing(message: str) -> Refused:
    """What it speaks of is not there."""
    return Refused("RESOURCE_DOES_NOT_EXIST", message)


@draft
class Service:
    """Whom the calls are made to: what is known, and who runs."""

    ledger: Ledger
    main: RunIdentity
    base: str
    """The URI below which each run has its artifacts."""
    sought: str = "0"
    """The experiment that was last made or looked up: where the run will be that has not begun yet."""

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def find(self, table: str, key: str, message: str) -> Row:
        """A row. Raises Refused."""
        row = self.ledger.tables.find(table, key)
        if row is None:
            raise missing(message)
        return row

    def rows(self, table: str) -> list[Row]:
        return list(self.ledger.tables.rows(table).values())


@positional_value
class Fields:
    """A call's fields, from its body, its query and its path; their names in either case of proto3's JSON."""

    given: Row

    def text(self, name: str, default: str | None = None) -> str:
        """Raises Refused where it is missing or no text."""
        found = self.maybe(name)
        if found is not None:
            return found
        if default is None:
            raise invalid(f"Missing value for required parameter '{name}'.")
        return default

    def maybe(self, name: str) -> str | None:
        """A text, or nothing. Numbers will do: some clients send ids so."""
        found = self._plain(name)
        if found is None or isinstance(found, str):
            return found
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise invalid(f"Invalid value for parameter '{name}': it must be a text.")
        return str(found)

    def number(self, name: str, default: int | None = None) -> int:
        """A whole number. Raises Refused."""
        return whole(self._plain(name), name, default)

    def flag(self, name: str) -> bool:
        found = self._plain(name)
        return found is True or (isinstance(found, str) and found.lower() == "true")

    def texts(self, name: str) -> list[str]:
        """A list of texts; a single one will do, and a query's are always lists."""
        found = self._raw(name)
        entries = [] if found is None else found if isinstance(found, list) else [found]
        if not all(isinstance(entry, str | int) for entry in entries):
            raise invalid(f"Invalid value for parameter '{name}': it must be a list of texts.")
        return [str(entry) for entry in entries]

    def parts(self, name: str) -> list[Fields]:
        """A list of objects. Raises Refused."""
        found = self._raw(name)
        if not isinstance(found, list | None) or not all(isinstance(entry, dict) for entry in found or ()):
            raise invalid(f"Invalid value for parameter '{name}': it must be a list of objects.")
        return [Fields(entry) for entry in found or ()]

    def part(self, name: str) -> Fields:
        """An object, an empty one where it is missing. Raises Refused."""
        found = self._raw(name)
        if not isinstance(found, dict | None):
            raise invalid(f"Invalid value for parameter '{name}': it must be an object.")
        return Fields(found or {})

    def pairs(self, name: str) -> dict[str, str]:
        """A list of `{key, value}` as a mapping; a mapping will do."""
        found = self._raw(name)
        if isinstance(found, dict):
            return {str(key): str(text) for key, text in found.items()}
        return {part.text("key"): part.text("value", "") for part in self.parts(name)}

    def _plain(self, name: str) -> Any:
        found = self._raw(name)
        return found[-1] if isinstance(found, list) and found else found

    def _raw(self, name: str) -> Any:
        found = self.given.get(name)
        return found if found is not None else self.given.get(_camel(name))


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def whole(found: object, name: str, default: int | None = None) -> int:
    """A whole number as proto3's JSON has it: a number, or a text of one. Raises Refused."""
    if found is None and default is not None:
        return default
    try:
        if isinstance(found, int | str | float) and not isinstance(found, bool):
            number = int(found)
            if abs(number) < 2**63:
                return number
    except (ValueError, OverflowError):
        pass
    raise invalid(f"Invalid value for parameter '{name}': it must be a whole number.")


# --- names and texts ----------------------------------------------------------------------------------


def checked_key(key: str, what: str) -> str:
    """A name that may stand in a table and in a path. Raises Refused."""
    if not key or _UNWANTED.search(key):
        raise invalid(
            f"Invalid value for parameter '{what}': {key[:100]!r}. A name must be given in plain text."
        )
    if len(key) > LONGEST_KEY:
        raise invalid(f"'{what}' exceeds the maximum length of {LONGEST_KEY} characters")
    normal = posixpath.normpath(key)
    if normal != key or normal == "." or normal.startswith(("..", "/")):
        raise invalid(
            f"Invalid value for parameter '{what}': {key[:100]!r}. Names may be treated as files in certain"
            f" cases, and must not resolve to other names when treated as such."
        )
    return key


def checked_text(text: str, what: str, longest: int) -> str:
    """A text of limited length. Raises Refused."""
    if len(text) > longest:
        raise invalid(f"'{what}' exceeds the maximum length of {longest} characters")
    return text


def checked_tags(tags: dict[str, str], *, longest: int = 0) -> dict[str, str]:
    """Tags whose names and values will do; those of runs are cut where they are too long. Raises Refused."""
    return {
        checked_key(key, "key"): checked_text(text, "value", longest) if longest else text[:LONGEST_TAG]
        for key, text in tags.items()
    }


def pairs(entries: dict[str, str]) -> list[Row]:
    """A mapping as proto3 has it."""
    return [{"key": key, "value": text} for key, text in entries.items()]


def page(rows: list[Row], call: Fields, *, default: int, largest: int) -> tuple[list[Row], Row]:
    """One page of some rows, and what leads to the next. Raises Refused."""
    size = call.number("max_results", default)
    if not 1 <= size <= largest:
        raise invalid(f"Invalid value for parameter 'max_results': it must be between 1 and {largest}.")
    start = whole(call.maybe("page_token") or 0, "page_token")
    shown = rows[start : start + size]
    return shown, {"next_page_token": str(start + size)} if start + size < len(rows) else {}


def new_id() -> str:
    """32 hexadecimal digits."""
    return os.urandom(16).hex()


View = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]


def viewed(rows: Iterable[Row], view: str) -> list[Row]:
    """Rows of the wanted stage of life."""
    stages = {"ACTIVE_ONLY": ("active",), "DELETED_ONLY": ("deleted",), "ALL": ("active", "deleted")}
    return [row for row in rows if row["lifecycle_stage"] in stages.get(view.upper(), ("active",))]
