"""The parameters that an entry point declares: MLflow's loose types, and mlrun's own constraints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.model import Parameter
from mlrun.pattern import pattern
from mlrun.project.notes import what
from mlrun.project.values import check_keys, finite, key_place, number, optional, switch, texts
from mlrun.value import replace
from mlrun.yamlfile import ListNode, MapNode, Scalar, as_text, closest, is_null, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlrun.project.notes import Notes
    from mlrun.yamlfile import Node

PARAMETER_KEYS = ("type", "default", "description", "min", "max", "choices", "secret")
PARAMETER_TYPES = ("string", "float", "int", "bool", "path", "uri", "choice")

_ALIASES = {"str": "string", "integer": "int", "boolean": "bool", "number": "float", "double": "float"}
_NUMBERS = ("int", "float")
_RUN_TOGETHER = pattern(rf"(?P<key>{'|'.join(PARAMETER_KEYS[:3])})\s*[:=]\s*(?P<value>[^\s:{{\[].*)")


def read_parameters(node: Node | None, notes: Notes) -> tuple[Parameter, ...]:
    """All parameters, in the order of the file."""
    if node is None or is_null(node):
        return ()
    if not isinstance(node, MapNode):
        hint = "`parameters: {alpha: {type: float, default: 0.5}}`"
        notes.expected("`parameters` must be a mapping of names", node, code="bad-parameters", hint=hint)
        return ()
    return tuple(_parameter(key, value, notes) for key, value in node.entries)


def _parameter(key: Scalar, node: Node, notes: Notes) -> Parameter:
    parameter = Parameter(name=key.text, place=key.place)
    match node:
        case MapNode():
            return _full(parameter, node, notes)
        case Scalar(text=kind, kind="str"):
            return replace(parameter, kind=_kind(kind, node, notes))
        case Scalar(kind="null"):
            hint = f"`{key.text}: string`"
            notes.error("bad-parameter", f"parameter `{key.text}` has no type", key.place, hint)
        case _:
            wanted = f"parameter `{key.text}` must be a type or a mapping"
            notes.expected(wanted, node, code="bad-parameter", hint=_as_default(key, node))
    return parameter


def _as_default(key: Scalar, node: Node) -> str | None:
    """`alpha: 0.5` was meant as a default."""
    if not isinstance(node, Scalar):
        return None
    kind = node.kind if node.kind in PARAMETER_TYPES else "string"
    return f"`{key.text}: {{type: {kind}, default: {node.text}}}`"


def _full(parameter: Parameter, node: MapNode, notes: Notes) -> Parameter:
    node = _with_blanks(node, notes)
    check_keys(node, PARAMETER_KEYS, f"parameter `{parameter.name}`", notes)
    kind, description = node.get("type"), node.get("description")
    choices = texts(node.get("choices"), "choices", notes)
    full = replace(
        parameter,
        kind="string" if kind is None or is_null(kind) else _kind(as_text(kind), kind, notes),
        default=_default(node.get("default"), choices),
        description=_line(description),
        minimum=optional(node.get("min"), number("min"), notes),
        maximum=optional(node.get("max"), number("max"), notes),
        choices=choices,
        secret=optional(node.get("secret"), switch("secret"), notes) or False,
    )
    _check_bounds(full, node, notes)
    _check_choices(full, node, notes)
    return full


def _with_blanks(node: MapNode, notes: Notes) -> MapNode:
    """`{type:float, default=0.5}` as it was meant: to YAML both are keys without a value."""
    return replace(node, entries=tuple(_with_blank(key, value, notes) for key, value in node.entries))


def _with_blank(key: Scalar, value: Node, notes: Notes) -> tuple[Scalar, Node]:
    match = _RUN_TOGETHER.fullmatch(key.text) if is_null(value) else None
    if match is None:
        return key, value
    meant = parse(match["value"], file=key.place.file).root
    if not isinstance(meant, Scalar):
        return key, value
    notes.warn(
        "run-together",
        f"`{key.text}` is read as `{match['key']}: {match['value']}`",
        key.place,
        hint="YAML wants a colon and a blank; MLflow passes over this",
    )
    return replace(key, text=match["key"]), replace(meant, place=key.place)


def _kind(name: str, node: Node, notes: Notes) -> str:
    kind = _ALIASES.get(name.strip().lower(), name.strip())
    if kind not in PARAMETER_TYPES:
        near = closest(kind, PARAMETER_TYPES)
        notes.warn(
            "unknown-type",
            f"type `{kind}` is not known: any value is taken, as text",
            node.place,
            hint=f"did you mean `{near}`?" if near else f"types: {', '.join(PARAMETER_TYPES)}",
        )
    return kind


def _default(node: Node | None, choices: Sequence[str]) -> str | None:
    """As text: as written where that is one of the choices, else what MLflow would make of it."""
    if node is None or is_null(node):
        return None
    return node.text if isinstance(node, Scalar) and node.text in choices else as_text(node)


def _check_bounds(parameter: Parameter, node: MapNode, notes: Notes) -> None:
    low, high, default = parameter.minimum, parameter.maximum, node.get("default")
    if low is None and high is None:
        return
    place = key_place(node, "min") or key_place(node, "max")
    if parameter.kind not in _NUMBERS:
        notes.error(
            "bad-constraint",
            f"`min` and `max` are for numbers, and `{parameter.name}` has the type `{parameter.kind}`",
            place,
            hint="`type: float` or `type: int`",
        )
    elif low is not None and high is not None and low > high:
        notes.error("bad-constraint", f"`min` {low:g} is more than `max` {high:g}", place)
    elif parameter.default is not None and default is not None and not _within(parameter.default, low, high):
        wanted = f"the default of `{parameter.name}` must be a number of {_bounds(low, high)}"
        notes.error("bad-default", f"{wanted}, not {_shown(parameter, default)}", default.place)


def _within(value: str, low: float | None, high: float | None) -> bool:
    found = finite(value)
    return found is not None and (low is None or low <= found) and (high is None or found <= high)


def _bounds(low: float | None, high: float | None) -> str:
    bounds = [f"at least {low:g}"] if low is not None else []
    return " and ".join([*bounds, f"at most {high:g}"] if high is not None else bounds)


def _check_choices(parameter: Parameter, node: MapNode, notes: Notes) -> None:
    choices, listed, default = parameter.choices, node.get("choices"), node.get("default")
    empty = isinstance(listed, ListNode) and not listed.items
    if empty or (parameter.kind == "choice" and is_null(listed)):
        example = "`choices: [small, large]`"
        notes.error("no-choices", f"`{parameter.name}` has no `choices`", parameter.place, example)
    if not choices or default is None or parameter.default is None or parameter.default in choices:
        return
    near = closest(parameter.default, choices)
    wanted = f"the default of `{parameter.name}` must be one of {', '.join(choices)}"
    hint = f"did you mean `{near}`?" if near and not parameter.secret else None
    notes.error("bad-default", f"{wanted}, not {_shown(parameter, default)}", default.place, hint)


def _shown(parameter: Parameter, default: Node) -> str:
    return "`***`" if parameter.secret else what(default)


def _line(node: Node | None) -> str | None:
    return None if node is None or is_null(node) else " ".join(as_text(node).split())
