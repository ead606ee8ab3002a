"""Built environments as rows, as lines, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.views import words

if TYPE_CHECKING:
    from mlrun.env import Entry

HEADERS = ("key", "kind", "python", "packages", "size", "last used", "from")


def cells(entry: Entry) -> list[str]:
    """One row of the list."""
    return [
        key(entry),
        entry.kind,
        entry.python,
        str(len(entry.packages)),
        words.size(entry.size),
        words.local_time(entry.last_used),
        entry.asked,
    ]


def key(entry: Entry) -> str:
    """The start of the key, as `mlrun env show` takes it."""
    return entry.key.partition(":")[2][:12]


def describe(entry: Entry) -> list[str]:
    """Everything about one."""
    facts = [
        ("key", entry.key),
        ("kind", entry.kind),
        ("from", entry.asked),
        ("python", f"{entry.python}  ({entry.platform})"),
        ("location", str(entry.location)),
        ("size", words.size(entry.size)),
        ("created", words.local_time(entry.created)),
        ("last used", words.local_time(entry.last_used)),
        ("packages", str(len(entry.packages))),
    ]
    lines = [f"{label.ljust(12)} {text}" for label, text in facts]
    return lines + [
        f"  {package.name}=={package.version}" + (f"  from {package.source}" if package.source else "")
        for package in entry.packages
    ]


def as_json(entry: Entry) -> dict[str, object]:
    """The same for machines: sizes in bytes, times in UTC."""
    return {
        "key": entry.key,
        "kind": entry.kind,
        "from": entry.asked,
        "python": entry.python,
        "platform": entry.platform,
        "location": str(entry.location),
        "size": entry.size,
        "created": entry.created,
        "last_used": entry.last_used,
        "packages": [
            {"name": package.name, "version": package.version, "source": package.source}
            for package in entry.packages
        ],
    }
