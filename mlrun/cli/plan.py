"""`mlrun run --dry-run`: the plan, as lines or as JSON on stdout."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mlrun.cli.console import printable

if TYPE_CHECKING:
    from mlrun.env import Plan
    from mlrun.recording import Prepared


def show_plan(prepared: Prepared, plan: Plan, *, as_json: bool) -> None:
    """Print what would run."""
    if as_json:
        from mlrun.views.json import dumps

        sys.stdout.write(dumps(_as_json(prepared, plan)) + "\n")
        return
    from mlrun.views.summary import source_line

    snapshot, spec = prepared.snapshot, prepared.spec
    lines = [
        ("source", source_line(prepared.name, snapshot)),
        ("tree", snapshot.tree),
        ("entry point", spec.entry_point),
    ]
    lines += [
        ("parameter", f"{item.name} = {'***' if item.secret else item.value}  ({item.origin})")
        for item in prepared.shown_parameters
    ]
    lines += [
        ("environment", f"{plan.action}: {plan.summary}"),
        ("command", prepared.shown_command.rstrip("\n")),
    ]
    lines += [("input", item.path) for item in spec.inputs] + [("output", item.path) for item in spec.outputs]
    lines += [("warning", finding.message) for finding in prepared.findings]
    for label, text in lines:
        sys.stdout.write(f"{label.ljust(12)} {printable(text)}\n")


def _as_json(prepared: Prepared, plan: Plan) -> dict[str, object]:
    snapshot, spec = prepared.snapshot, prepared.spec
    return {
        "project": prepared.name,
        "entry_point": spec.entry_point,
        "source": {
            "kind": snapshot.kind,
            "url": snapshot.url,
            "commit": snapshot.commit,
            "branch": snapshot.branch,
            "tree": snapshot.tree,
            "dirty": snapshot.dirty,
            "subdirectory": snapshot.subdirectory,
        },
        "command": prepared.shown_command,
        "parameters": {
            item.name: {"value": "***" if item.secret else item.value, "type": item.kind, "from": item.origin}
            for item in prepared.shown_parameters
        },
        "environment": {
            "kind": plan.kind,
            "action": plan.action,
            "summary": plan.summary,
            "python": plan.python,
        },
        "inputs": [item.path for item in spec.inputs],
        "outputs": [item.path for item in spec.outputs],
        "timeout": spec.timeout,
        "warnings": [finding.message for finding in prepared.findings],
    }
