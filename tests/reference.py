"""The README's reference, written from the code: `python -m tests.reference` brings it up to date."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
import yaml

from mlrun.cli import COMMANDS, typed

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


def keys() -> str:
    """The MLproject keys, from the schema."""
    schema = yaml.safe_load((ROOT / "MLproject.schema.yaml").read_text())
    rows = ["| key | what |", "|---|---|"]
    rows += _rows(schema, schema, "")
    return "\n".join(rows)


def _rows(schema: dict[str, Any], node: dict[str, Any], prefix: str) -> list[str]:
    rows = []
    for name, child in _properties(schema, node):
        text = " ".join(str(child.get("description", "")).split()).replace("|", "\\|")
        rows.append(f"| `{prefix}{name}` | {text} |")
        rows += _rows(schema, child, f"{prefix}{name}.")
    return rows


def _properties(schema: dict[str, Any], node: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """A node's keys, through references and alternatives; `NAME` stands for keys that the user chooses."""
    found: dict[str, dict[str, Any]] = {}
    for part in _parts(schema, node):
        for name, child in part.get("properties", {}).items():
            found.setdefault(name, _followed(schema, child))
        if isinstance(part.get("additionalProperties"), dict) and part["additionalProperties"]:
            found.setdefault("NAME", _followed(schema, part["additionalProperties"]))
        if isinstance(part.get("items"), dict):
            for name, child in _properties(schema, part["items"]):
                found.setdefault(name, child)
    return list(found.items())


def _parts(schema: dict[str, Any], node: dict[str, Any]) -> list[dict[str, Any]]:
    node = _followed(schema, node)
    parts = [node]
    for keyword in ("anyOf", "oneOf", "allOf"):
        for option in node.get(keyword, []):
            parts += _parts(schema, option)
    return parts


def _followed(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """The node with what its `$ref` names; its own description wins."""
    if "$ref" not in node:
        return node
    target: dict[str, Any] = schema
    for step in node["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return {**_followed(schema, target), **{key: value for key, value in node.items() if key != "$ref"}}


def commands() -> str:
    """Each command's help, as it is printed."""
    return "\n\n".join(f"### `mlrun {name}`\n\n```text\n{help_of(name)}\n```" for name in COMMANDS)


def help_of(name: str) -> str:
    app = typed.app_of(import_module(COMMANDS[name][0]), name)
    command: Any = typer.main.get_command(app)
    texts = [_text(command, f"mlrun {name}")]
    texts += [_text(child, f"mlrun {name} {sub}") for sub, child in getattr(command, "commands", {}).items()]
    return "\n\n".join(texts)


def _text(command: Any, name: str) -> str:
    context = command.make_context(name, [], resilient_parsing=True, terminal_width=100)
    text: str = command.get_help(context)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _filled_with(body: str) -> Callable[[re.Match[str]], str]:
    return lambda match: f"{match[1]}{body}\n{match[2]}"


def current(text: str) -> str:
    """The README with its generated parts renewed."""
    for name, body in (("keys", keys()), ("commands", commands())):
        pattern = rf"(<!-- reference: {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, _filled_with(body), text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    README.write_text(current(README.read_text()))
    sys.stdout.write(f"{README.name} is up to date\n")
