"""Lineage as a tree for people, and as JSON, Graphviz and Mermaid for others.

Each run is drawn once; where it is met again, its name alone stands there. Names of files and runs are
others' text: they are made visible, and cannot end a label.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrun.views import words
from mlrun.views.markup import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlrun.lineage import Lineage
    from mlrun.store.lineage import Flow, Link, Node, Walk

_FLOWS_SHOWN = 20  # inputs or outputs of one run that are drawn; the rest is counted
_MOST_OTHERS = 10_000
_NAMED = re.compile(r"/inputs-v\d+/([0-9a-f]{8})[0-9a-f]{24}/[0-9a-f]{16}/(.+)")
_PART = {
    "nested": "part of",
    "pipeline": "started by",
    "reproduces": "repeats",
    "cached_from": "spared by",
    "resumes": "goes on with",
}
_WHOLE = {
    "nested": "its part",
    "pipeline": "it started",
    "reproduces": "repeated by",
    "cached_from": "it spared",
    "resumes": "gone on with by",
}


# --- a tree -------------------------------------------------------------------------------------------


def tree(found: Lineage) -> list[str]:
    """Lines for a terminal."""
    root = found.root
    lines = [_title(found)]
    if root.content is not None:
        lines += _sides_of_content(found)
    else:
        lines += _drawn(_Up(found.up), root.runs) if found.up else []
        lines += _drawn(_Down(found.down), root.runs) if found.down else []
    if any(part is not None and part.more for part in (root.content, found.up, found.down)):
        lines.append("… and more runs; `-n 0` for all")
    return lines


def _title(found: Lineage) -> str:
    root = found.root
    if root.content is None:
        return f"{root.kind} {visible(root.name)}"
    parts = [visible(root.name)] if root.kind == "file" else []
    parts.append(root.content.digest)
    if root.artifact is not None:
        parts.append(words.size(root.artifact.size))
        parts += [words.plural(root.artifact.files, "file")] if root.artifact.tree else []
    return "  ".join(parts)


def _sides_of_content(found: Lineage) -> list[str]:
    content = found.root.content
    assert content is not None
    lines = []
    if found.up is not None:
        if not content.makers:
            lines.append("made by no recorded run")
        else:
            first = content.makers[0]
            others = f", as {content.made_by - 1:,} earlier did" if content.made_by > 1 else ""
            lines.append(f"made as {visible(first.path)}{others}, by")
            lines += _drawn(_Up(found.up), (first.run,))
    if found.down is not None:
        users = tuple(dict.fromkeys(flow.run for flow in content.users))
        count = f"{content.read_by:,} run{'s' * (content.read_by != 1)}"
        lines.append(f"read by {count}" if users else "read by no recorded run")
        lines += _drawn(_Down(found.down), users)
    return lines


class _Up:
    """How a run is drawn on the way to its origin: what it is made of, and who made that."""

    def __init__(self, walk: Walk | None) -> None:
        assert walk is not None
        self.nodes = {node.id: node for node in walk.runs}
        self._inputs = _by_run(flow for flow in walk.flows if not flow.output)
        self._links: dict[str, list[Link]] = {}
        for link in walk.links:
            self._links.setdefault(link.later, []).append(link)

    def branches(self, node: Node) -> Iterator[tuple[str, tuple[str, ...]]]:
        """A text and the runs below it."""
        yield from _circumstances(node)
        links = self._links.get(node.id, [])
        makers: dict[str, list[Link]] = {}
        for link in links:
            if link.digest is not None:
                makers.setdefault(link.digest, []).append(link)
        inputs = self._inputs.get(node.id, [])
        # What other runs made comes first: that is what is asked here.
        inputs = sorted(inputs, key=lambda flow: (flow.digest not in makers, not flow.declared))
        for flow in inputs[:_FLOWS_SHOWN]:
            made = makers.get(flow.digest, [])
            yield f"from {_flow(flow)}{_renamed(flow, made)}", tuple(link.earlier for link in made)
        if len(inputs) > _FLOWS_SHOWN:
            yield f"from {len(inputs) - _FLOWS_SHOWN:,} more inputs", ()
        for link in links:
            if link.digest is None:
                yield _PART.get(link.kind, visible(link.kind)), (link.earlier,)


class _Down:
    """How a run is drawn on the way to what came of it: what it made, and who read that."""

    def __init__(self, walk: Walk | None) -> None:
        assert walk is not None
        self.nodes = {node.id: node for node in walk.runs}
        self._outputs = _by_run(flow for flow in walk.flows if flow.output)
        self._links: dict[str, list[Link]] = {}
        for link in walk.links:
            self._links.setdefault(link.earlier, []).append(link)

    def branches(self, node: Node) -> Iterator[tuple[str, tuple[str, ...]]]:
        """A text and the runs below it."""
        readers: dict[str, list[str]] = {}
        for link in self._links.get(node.id, []):
            if link.digest is not None:
                readers.setdefault(link.path, []).append(link.later)
        outputs = sorted(self._outputs.get(node.id, []), key=lambda flow: flow.path not in readers)
        for flow in outputs[:_FLOWS_SHOWN]:
            yield f"made {_flow(flow)}", tuple(dict.fromkeys(readers.get(flow.path, ())))
        if len(outputs) > _FLOWS_SHOWN:
            yield f"made {len(outputs) - _FLOWS_SHOWN:,} more", ()
        for link in self._links.get(node.id, []):
            if link.digest is None:
                yield _WHOLE.get(link.kind, visible(link.kind)), (link.later,)


def _by_run(flows: Iterable[Flow]) -> dict[str, list[Flow]]:
    found: dict[str, list[Flow]] = {}
    for flow in flows:
        found.setdefault(flow.run, []).append(flow)
    return found


def _drawn(side: _Up | _Down, roots: Iterable[str]) -> list[str]:
    """Depth first with a stack of our own: a chain may be longer than Python's."""
    lines: list[str] = []
    seen: set[str] = set()
    stack: list[tuple[str, str, str | None, tuple[str, ...]]] = []  # prefix, text, run, runs below

    def push(prefix: str, entries: list[tuple[str, str | None, tuple[str, ...]]]) -> None:
        for text, run, below in reversed(entries):
            stack.append((prefix, text, run, below))

    known = [run for run in roots if run in side.nodes]
    push("", [("", run, ()) for run in known])
    waiting = {"": len(known)}
    while stack:
        prefix, text, run, below = stack.pop()
        waiting[prefix] -= 1
        last = not waiting[prefix]
        inner = prefix + ("   " if last else "│  ")
        if run is not None:
            node = side.nodes[run]
            text = _again(node) if run in seen else _node(node)
        lines.append(f"{prefix}{'└─' if last else '├─'} {text}")
        entries: list[tuple[str, str | None, tuple[str, ...]]] = []
        if run is not None and run not in seen:
            seen.add(run)
            entries = [(each, None, runs) for each, runs in side.branches(side.nodes[run])]
        elif run is None:
            entries = [("", each, ()) for each in below if each in side.nodes]
        waiting[inner] = len(entries)
        push(inner, entries)
    return lines


def _node(node: Node) -> str:
    when = words.local_time(node.started_at)
    return (
        f"{visible(node.name)} {node.id[:8]}  {visible(node.project)}/{visible(node.entry_point)}  "
        f"{node.status}  {when}"
    )


def _again(node: Node) -> str:
    return f"{visible(node.name)} {node.id[:8]}  (shown above)"


def _circumstances(node: Node) -> Iterator[tuple[str, tuple[str, ...]]]:
    if node.commit:
        yield f"code commit {node.commit[:12]}" + (", with uncommitted changes" if node.dirty else ""), ()
    elif node.tree:
        yield f"code tree {node.tree[:12]}", ()
    if node.environment:
        python = f"Python {node.python}, " if node.python else ""
        yield f"environment {python}{words.short(node.environment)}", ()


def _flow(flow: Flow) -> str:
    parts = [visible(_called(flow.path)), words.size(flow.size)]
    parts += [words.plural(flow.files, "file")] if flow.tree else []
    return "  ".join([*parts, words.short(flow.digest)])


def _called(path: str) -> str:
    """What was named as the output of a run lies in the cache, which tells a reader nothing."""
    named = _NAMED.search(path)
    return f"run:{named[1]}:{named[2]}" if named else path


def _renamed(flow: Flow, made: list[Link]) -> str:
    texts = []
    own = _called(flow.path)
    names = dict.fromkeys(link.path for link in made if not f":{own}".endswith(f":{link.path}"))
    texts += [f"written as {', '.join(visible(name) for name in names)}"] if names else []
    others = max((link.others for link in made), default=0)
    if others:
        more = "more than " if others >= _MOST_OTHERS else ""
        texts.append(f"the same was written by {more}{words.plural(min(others, _MOST_OTHERS), 'other run')}")
    return f"  ({'; '.join(texts)})" if texts else ""


# --- for machines -------------------------------------------------------------------------------------


def as_json(found: Lineage) -> dict[str, object]:
    """Root, runs, artifacts and links of both directions, each once."""
    root = found.root
    content = root.content
    return {
        "root": {
            "kind": root.kind,
            "name": root.name,
            "runs": list(root.runs),
            "digest": content.digest if content else None,
            "made_by": [_flow_json(flow) for flow in content.makers] if content else None,
            "read_by": [_flow_json(flow) for flow in content.users] if content else None,
            "made_by_runs": content.made_by if content else None,
            "read_by_runs": content.read_by if content else None,
            "complete": content is None or not content.more,
        },
        **{
            name: None if walk is None else _walk_json(walk)
            for name, walk in (("up", found.up), ("down", found.down))
        },
    }


def _walk_json(walk: Walk) -> dict[str, object]:
    flows = _by_run(walk.flows)
    return {
        "runs": [
            {
                **node._asdict(),
                "inputs": [_flow_json(flow) for flow in flows.get(node.id, ()) if not flow.output],
                "outputs": [_flow_json(flow) for flow in flows.get(node.id, ()) if flow.output],
            }
            for node in walk.runs
        ],
        "links": [link._asdict() for link in walk.links],
        "complete": not walk.more,
    }


def _flow_json(flow: Flow) -> dict[str, object]:
    return {name: it for name, it in flow._asdict().items() if name != "output"}


# --- drawings -----------------------------------------------------------------------------------------


def dot(found: Lineage) -> str:
    """For Graphviz: runs are boxes, contents ellipses."""
    names, edges = _graph(found)
    lines = ["digraph lineage {", "  rankdir=LR;", '  node [fontname="sans-serif"];']
    for key, (is_run, label) in names.items():
        lines.append(f"  {key} [shape={'box' if is_run else 'ellipse'}, label={_dot_text(label)}];")
    lines += [
        f"  {a} -> {b}" + (f" [label={_dot_text((label,))}];" if label else ";") for a, b, label in edges
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _dot_text(lines: tuple[str, ...]) -> str:
    escaped = (visible(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'


def mermaid(found: Lineage) -> str:
    """For Mermaid, which GitHub draws in Markdown."""
    names, edges = _graph(found)
    lines = ["flowchart LR"]
    for key, (is_run, label) in names.items():
        text = "<br>".join(map(_mermaid_text, label))
        lines.append(f'  {key}["{text}"]' if is_run else f'  {key}(["{text}"])')
    lines += [
        f"  {a} -->" + (f'|"{_mermaid_text(label)}"|' if label else "") + f" {b}" for a, b, label in edges
    ]
    return "\n".join(lines) + "\n"


def _mermaid_text(text: str) -> str:
    """Everything but letters, digits and harmless signs as a number: Mermaid's own way to escape."""
    return "".join(
        mark if mark.isalnum() or mark in " ._-/:,+@=" else f"#{ord(mark)};" for mark in visible(text)
    )


Names = dict[str, tuple[bool, tuple[str, ...]]]
Edges = dict[tuple[str, str, str], None]


def _graph(found: Lineage) -> tuple[Names, Edges]:
    """Runs and contents by key, and arrows in the direction of time."""
    names: Names = {}
    edges: Edges = {}
    for walk in (found.up, found.down):
        if walk is not None:
            _add_walk(walk, names, edges)
    content = found.root.content
    if content is not None:
        key = _key(content.digest)
        names.setdefault(key, (False, (found.root.name, words.short(content.digest))))
        edges |= {(_key(flow.run), key, ""): None for flow in content.makers if _key(flow.run) in names}
        edges |= {(key, _key(flow.run), ""): None for flow in content.users if _key(flow.run) in names}
    return names, edges


def _add_walk(walk: Walk, names: Names, edges: Edges) -> None:
    for node in walk.runs:
        project = f"{node.project}/{node.entry_point}"
        names[_key(node.id)] = (True, (f"{node.name} {node.id[:8]}", project, node.status))
    for flows in _by_run(walk.flows).values():
        for flow in _drawn_flows(flows):
            run, key = _key(flow.run), _key(flow.digest)
            names.setdefault(key, (False, (flow.path, words.short(flow.digest))))
            edges[(run, key, "") if flow.output else (key, run, "")] = None
    for link in walk.links:
        if link.digest is None:
            edges[_key(link.earlier), _key(link.later), link.kind] = None
            continue
        key = _key(link.digest)
        names.setdefault(key, (False, (link.path, words.short(link.digest))))
        edges[_key(link.earlier), key, ""] = None
        edges[key, _key(link.later), ""] = None


def _drawn_flows(flows: list[Flow]) -> Iterator[Flow]:
    """Of what a run read and wrote, as much as can be looked at: declared ones first."""
    for output in (False, True):
        those = sorted((flow for flow in flows if flow.output == output), key=lambda flow: not flow.declared)
        yield from those[:_FLOWS_SHOWN]


def _key(text: str) -> str:
    return "n" + text.rpartition(":")[2][:32]
