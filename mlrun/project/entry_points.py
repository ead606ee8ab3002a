"""Entry points: a command, what it reads and makes, and how to run it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrun import yamlfile
from mlrun.model import DataSpec, EntryPoint, Resources
from mlrun.project.notes import Notes
from mlrun.project.parameters import read_parameters
from mlrun.project.values import (
    check_keys,
    finite,
    items,
    means_of_observing,
    optional,
    respelled,
    size_in_bytes,
    switch,
    text,
    timeout,
    tolerance,
    unquoted_placeholder,
    written,
)
from mlrun.value import replace
from mlrun.yamlfile import ListNode, MapNode, Scalar, closest, is_null

if TYPE_CHECKING:
    from mlrun.model import Place
    from mlrun.yamlfile import Node

ENTRY_POINT_KEYS = (
    "parameters", "command", "inputs", "outputs", "env", "timeout", "resources", "needs", "cache",
    "code", "observe", "deterministic", "repro",
)  # fmt: skip
DATA_KEYS = ("path", "kind")
DATA_KINDS = ("file", "data", "model", "metrics", "figure")
"""Kinds that mean something somewhere; any other word is allowed."""
RESOURCE_KEYS = ("cpus", "memory", "gpus")


def read_entry_points(root: MapNode, notes: Notes) -> list[tuple[EntryPoint, Notes]]:
    """Every entry point with what is to say about it alone."""
    node = root.get("entry_points")
    if isinstance(node, MapNode):
        return [_entry_point(key, value) for key, value in node.entries]
    if node is not None and not is_null(node):
        wanted = "`entry_points` must be a mapping of names"
        hint = "`entry_points: {main: {command: python train.py}}`"
        notes.expected(wanted, node, code="bad-entry-points", hint=hint)
    return []


def _entry_point(key: Scalar, node: Node) -> tuple[EntryPoint, Notes]:
    notes = Notes()
    entry_point = EntryPoint(name=key.text, command="", place=key.place)
    if not isinstance(node, MapNode):
        command = yamlfile.quoted(written(node) if not is_null(node) else "python train.py")
        wanted = f"entry point `{key.text}` must be a mapping with a `command`"
        hint = f"`{key.text}: {{command: {command}}}`"
        notes.expected(wanted, node, code="bad-entry-point", hint=hint if isinstance(node, Scalar) else None)
        return entry_point, notes
    node = respelled(node, ENTRY_POINT_KEYS, notes)
    essential = ("command", "parameters") if _has_placeholder(node) else ("command",)
    check_keys(node, ENTRY_POINT_KEYS, f"entry point `{key.text}`", notes, essential=essential)
    needs = _needs(node.get("needs"), notes)
    filled = replace(
        entry_point,
        command=_command(key, node, notes),
        parameters=read_parameters(node.get("parameters"), notes),
        inputs=_data(node.get("inputs"), "inputs", notes),
        outputs=_data(node.get("outputs"), "outputs", notes),
        env=_variables(node.get("env"), notes),
        timeout=optional(node.get("timeout"), timeout, notes),
        resources=_resources(node.get("resources"), notes),
        needs=tuple(name for name, _ in needs),
        need_places=tuple(place for _, place in needs),
        cache=optional(node.get("cache"), switch("cache"), notes),
        code=_code(node.get("code"), notes),
        observe=optional(node.get("observe"), means_of_observing, notes),
        deterministic=optional(node.get("deterministic"), switch("deterministic"), notes),
        tolerance=tolerance(node.get("repro"), notes),
    )
    return filled, notes


def _has_placeholder(node: MapNode) -> bool:
    command = node.get("command")
    return (
        isinstance(command, Scalar) and "{" in command.text and bool(re.search(r"\{[^{}]+\}", command.text))
    )


def _command(key: Scalar, node: MapNode, notes: Notes) -> str:
    command = node.get("command")
    if isinstance(command, Scalar) and command.kind == "str" and command.text.strip():
        return command.text
    if command is not None and not is_null(command):
        hint = unquoted_placeholder(command) or _as_one_line(command)
        notes.expected("`command` must be shell text", command, code="bad-command", hint=hint)
    elif not notes.errors:
        notes.error("no-command", f"entry point `{key.text}` has no `command`", key.place)
    return ""


def _as_one_line(command: Node) -> str | None:
    if not isinstance(command, ListNode):
        return None
    return f"`command: {yamlfile.quoted(' '.join(written(word) for word in command.items))}`"


# --- inputs and outputs -------------------------------------------------------------------------------


def _data(node: Node | None, key: str, notes: Notes) -> tuple[DataSpec, ...]:
    specs = [_data_spec(item, key, notes) for item in items(node, key, notes)]
    return tuple(spec for spec in specs if spec is not None)


def _data_spec(node: Node, key: str, notes: Notes) -> DataSpec | None:
    if isinstance(node, Scalar) and node.text and not is_null(node):
        return DataSpec(path=node.text, place=node.place)
    hint = unquoted_placeholder(node)
    if not isinstance(node, MapNode) or hint:
        hint = hint or "`model.pkl`, or `{path: metrics.json, kind: metrics}`"
        notes.expected(f"an item of `{key}` must be a path", node, code="bad-data", hint=hint)
        return None
    check_keys(node, DATA_KEYS, f"an item of `{key}`", notes, strict=True)
    path, kind = node.get("path"), node.get("kind")
    if not isinstance(path, Scalar) or is_null(path) or not path.text:
        hint = (path and unquoted_placeholder(path)) or "`{path: model.pkl}`"
        notes.error("bad-data", f"an item of `{key}` needs a `path`", node.place, hint)
        return None
    spec = DataSpec(path=path.text, place=node.place)
    return spec if kind is None or is_null(kind) else replace(spec, kind=_data_kind(kind, notes))


def _data_kind(node: Node, notes: Notes) -> str:
    kind = text(node, "kind", notes)
    near = closest(kind, DATA_KINDS) if kind not in DATA_KINDS else None
    if near:
        notes.warn("unknown-kind", f"kind `{kind}` is not known", node.place, hint=f"did you mean `{near}`?")
    return kind


def _needs(node: Node | None, notes: Notes) -> tuple[tuple[str, Place], ...]:
    """Names of entry points, and where each is written."""
    found = ((text(item, "needs", notes), item.place) for item in items(node, "needs", notes))
    return tuple((name, place) for name, place in found if name)


def _code(node: Node | None, notes: Notes) -> tuple[str, ...]:
    """Files, folders and patterns of the project itself: what lies elsewhere is data or environment."""
    paths = []
    for item in items(node, "code", notes):
        path = text(item, "code", notes)
        if path.startswith("/") or ".." in path.split("/"):
            hint = "what a command reads from elsewhere belongs under `inputs`"
            notes.expected("an item of `code` must lie in the project", item, code="bad-code", hint=hint)
        elif path:
            paths.append(path)
    return tuple(paths)


# --- how to run ---------------------------------------------------------------------------------------


def _variables(node: Node | None, notes: Notes) -> tuple[tuple[str, str], ...]:
    """Names and values of environment variables; values as written, so that `1.10` does not become `1.1`."""
    if node is None or is_null(node):
        return ()
    if not isinstance(node, MapNode):
        hint = "`env: {OMP_NUM_THREADS: 1}`"
        notes.expected("`env` must be a mapping of names to values", node, code="bad-env", hint=hint)
        return ()
    variables = []
    for key, value in node.entries:
        if not key.text or "=" in key.text or "\0" in key.text:
            notes.error("bad-env", f"`{key.text}` is no name of a variable", key.place)
        elif isinstance(value, Scalar) and not is_null(value) and "\0" not in value.text:
            variables.append((key.text, value.text))
        else:
            hint = f'`{key.text}: ""` sets it to nothing'
            notes.expected(f"variable `{key.text}` must be text", value, code="bad-env", hint=hint)
    return tuple(variables)


def _resources(node: Node | None, notes: Notes) -> Resources:
    if node is None or is_null(node):
        return Resources()
    if not isinstance(node, MapNode):
        hint = "`resources: {cpus: 2, memory: 4GiB, gpus: 1}`"
        notes.expected("`resources` must be a mapping", node, code="bad-resources", hint=hint)
        return Resources()
    check_keys(node, RESOURCE_KEYS, "`resources`", notes, strict=True)
    return Resources(
        cpus=optional(node.get("cpus"), _cpus, notes),
        memory=optional(node.get("memory"), _memory, notes),
        gpus=optional(node.get("gpus"), _gpus, notes),
    )


def _cpus(node: Node, notes: Notes) -> float | None:
    number = finite(written(node))
    if number is None or number <= 0:
        notes.expected("`cpus` must be a number above zero", node, code="bad-resources")
        return None
    return number


def _memory(node: Node, notes: Notes) -> int | None:
    try:
        return size_in_bytes(written(node))
    except ValueError:
        hint = "for example `4GiB`, `500MB`"
        notes.expected("`memory` must be an amount of memory", node, code="bad-resources", hint=hint)
        return None


def _gpus(node: Node, notes: Notes) -> int | None:
    number = finite(written(node))
    if number is None or number < 0 or number != int(number):
        notes.expected("`gpus` must be a whole number", node, code="bad-resources")
        return None
    return int(number)
