"""Single values out of nodes, each with its complaint; durations and amounts of memory; unknown keys."""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, TypeVar

from mlrun import yamlfile
from mlrun.model import Tolerance
from mlrun.pattern import pattern
from mlrun.yamlfile import ListNode, MapNode, Scalar, as_text, closest, is_null

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlrun.model import Place
    from mlrun.project.notes import Notes
    from mlrun.yamlfile import Node

_DURATION = pattern(
    r"(?:(?P<days>\d+(?:\.\d+)?)d)?(?:(?P<hours>\d+(?:\.\d+)?)h)?(?:(?P<minutes>\d+(?:\.\d+)?)m(?:in)?)?"
    r"(?:(?P<seconds>\d+(?:\.\d+)?)s?)?",
    re.ASCII,
)
_UNIT_SECONDS = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}
REPRO_KEYS = ("rtol", "atol")
OBSERVE_WORDS = ("auto", "shim", "strace", "python")
_SIZE = pattern(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>b|[kmgt](?:b|ib?))?", re.ASCII)


# --- units --------------------------------------------------------------------------------------------


def seconds(text: str) -> float:
    """A duration in seconds: `90`, `90s`, `15m`, `2h`, `1h30m`, `1d`. Raises ValueError for anything else."""
    match = _DURATION.fullmatch(text.strip().lower())
    total = sum(float(match[unit] or 0) * _UNIT_SECONDS[unit] for unit in _UNIT_SECONDS) if match else 0.0
    if not 0 < total < float("inf"):
        raise ValueError(f"not a duration: {text}")
    return total


def size_in_bytes(text: str) -> int:
    """An amount of memory in bytes: `4GiB`, `4Gi`, `500MB`, `1000000`. Raises ValueError for anything else.

    A bare `4G` is refused: Docker takes it for 4 × 2^30, Kubernetes for 4 × 10^9.
    """
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"not an amount of memory: {text}")
    unit = match["unit"] or "b"
    size = float(match["number"]) * (1024 if "i" in unit else 1000) ** "bkmgt".index(unit[0])
    if not 1 <= size < float("inf"):
        raise ValueError(f"not an amount of memory: {text}")
    return int(size)


# --- values -------------------------------------------------------------------------------------------

_Value = TypeVar("_Value")


def optional(
    node: Node | None, convert: Callable[[Node, Notes], _Value | None], notes: Notes
) -> _Value | None:
    """The node's value, None where there is none."""
    return None if node is None or is_null(node) else convert(node, notes)


def text(node: Node, key: str, notes: Notes) -> str:
    """A scalar as written: `3.10` stays `3.10`."""
    if isinstance(node, Scalar) and not is_null(node):
        return node.text
    notes.expected(f"`{key}` must be text", node, code="not-text")
    return ""


def items(node: Node | None, key: str, notes: Notes) -> tuple[Node, ...]:
    """A list's nodes; an absent list is empty."""
    if node is None or is_null(node):
        return ()
    if isinstance(node, ListNode):
        return node.items
    hint = f"`{key}: [{yamlfile.quoted(node.text)}]`" if isinstance(node, Scalar) else None
    notes.expected(
        f"`{key}` must be a list", node, code="not-a-list", hint=unquoted_placeholder(node) or hint
    )
    return ()


def texts(node: Node | None, key: str, notes: Notes) -> tuple[str, ...]:
    """A list of texts."""
    return tuple(found for item in items(node, key, notes) if (found := text(item, key, notes)))


def timeout(node: Node, notes: Notes) -> float | None:
    """Seconds."""
    try:
        return seconds(written(node))
    except ValueError:
        hint = "for example `90`, `90s`, `15m`, `1h30m`, `1d`"
        notes.expected("`timeout` must be a duration", node, code="bad-timeout", hint=hint)
        return None


def switch(key: str) -> Callable[[Node, Notes], bool | None]:
    """A converter of `true` and `false`."""

    def convert(node: Node, notes: Notes) -> bool | None:
        if isinstance(node, Scalar) and node.kind == "bool":
            return yamlfile.plain(node) is True
        notes.expected(f"`{key}` must be `true` or `false`", node, code=f"bad-{key}")
        return None

    return convert


def means_of_observing(node: Node, notes: Notes) -> str | None:
    """How to notice the files that are read and written: as in `RunRequest`."""
    if isinstance(node, Scalar) and node.kind == "bool":
        return "auto" if yamlfile.plain(node) is True else "off"
    word = node.text if isinstance(node, Scalar) else ""
    if word in OBSERVE_WORDS:
        return word
    near = closest(word, OBSERVE_WORDS)
    hint = f"did you mean `{near}`?" if near else None
    wanted = f"`observe` must be `true`, `false`, or one of {', '.join(OBSERVE_WORDS)}"
    notes.expected(wanted, node, code="bad-observe", hint=hint)
    return None


def number(key: str) -> Callable[[Node, Notes], float | None]:
    """A converter of finite numbers."""

    def convert(node: Node, notes: Notes) -> float | None:
        found = finite(as_text(node))
        if found is None:
            notes.expected(f"`{key}` must be a number", node, code="bad-constraint")
        return found

    return convert


def tolerance(node: Node | None, notes: Notes) -> Tolerance | None:
    """`repro`: by how much the numbers of a repetition may differ; None where nothing is said."""
    if node is None or is_null(node):
        return None
    if not isinstance(node, MapNode):
        hint = "`repro: {rtol: 1e-6, atol: 0}`"
        notes.expected("`repro` must be a mapping", node, code="bad-repro", hint=hint)
        return None
    check_keys(node, REPRO_KEYS, "`repro`", notes, strict=True)
    return Tolerance(
        rtol=optional(node.get("rtol"), _not_negative("rtol"), notes) or 0.0,
        atol=optional(node.get("atol"), _not_negative("atol"), notes) or 0.0,
    )


def _not_negative(key: str) -> Callable[[Node, Notes], float | None]:
    def convert(node: Node, notes: Notes) -> float | None:
        found = finite(written(node))
        if found is None or found < 0:
            notes.expected(f"`{key}` must be a number, zero or more", node, code="bad-repro")
            return None
        return found

    return convert


def finite(text: str) -> float | None:
    """The finite number that a text is, if it is one."""
    try:
        found = float(text)
    except ValueError:
        return None
    return found if isfinite(found) else None


def written(node: Node) -> str:
    """A scalar's text, nothing for anything else."""
    return node.text if isinstance(node, Scalar) else ""


def unquoted_placeholder(node: Node) -> str | None:
    """A hint where this is `{data}`, which YAML takes for a mapping with one key and no value."""
    if isinstance(node, MapNode) and len(node.entries) == 1 and is_null(node.entries[0][1]):
        return f'a placeholder needs quotes: `"{{{node.entries[0][0].text}}}"`'
    return None


# --- keys ---------------------------------------------------------------------------------------------


def respelled(
    node: MapNode,
    known: Sequence[str],
    notes: Notes,
    *,
    unless: Callable[[str, Node], bool] = lambda _name, _value: False,
) -> MapNode:
    """The mapping with `conda env` and `Entry-Points` under the names that are meant.

    MLflow takes those for keys of the project's own, and ignores them; as do we where `unless` says so.
    """
    present = {key.text for key, _ in node.entries}
    if present <= set(known):
        return node
    meant = {_letters(name): name for name in known if name not in present}
    entries = []
    for key, value in node.entries:
        name = meant.get(_letters(key.text)) if key.text not in known else None
        if name is not None and unless(name, value):
            name = None
        if name is not None:
            message = f"`{key.text}` is read as `{name}`"
            notes.warn("respelled-key", message, key.place, hint=f"MLflow knows only `{name}`")
        entries.append((Scalar(key.place, name) if name else key, value))
    return MapNode(node.place, tuple(entries))


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def check_keys(
    node: MapNode,
    known: Sequence[str],
    where: str,
    notes: Notes,
    *,
    essential: Sequence[str] = (),
    strict: bool = False,
) -> None:
    """Unknown keys are let be, as in MLflow, unless they look like a slip for a known one.

    It is an error where the key that is missed is `essential`, or in a mapping of ours alone (`strict`).
    """
    present = {key.text for key, _ in node.entries}
    for key, _ in node.entries:
        if key.text in known:
            continue
        near = closest(key.text, [name for name in known if name not in present])
        hint = f"did you mean `{near}`?" if near else f"known keys: {', '.join(known)}"
        if strict or near in essential:
            notes.error("unknown-key", f"unknown key `{key.text}` in {where}", key.place, hint)
        elif near:
            notes.warn("unknown-key", f"unknown key `{key.text}` in {where} is ignored", key.place, hint)


def key_place(node: MapNode, name: str) -> Place | None:
    """Where a key stands."""
    return next((key.place for key, _ in node.entries if key.text == name), None)
