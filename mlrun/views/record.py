"""One run as text: the six facts that anyone asks first, then the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.views import words

if TYPE_CHECKING:
    from mlrun.model import Artifact, Determinism, EnvironmentFacts, Metric, RunRecord, SourceFacts

Lines = list[tuple[str, str]]
"""Labels and texts; an empty label goes on with the one before, a pair of empty texts is a blank line."""


def describe(record: RunRecord, *, longest: int | None = None) -> Lines:
    """The whole record for a person; no path is longer than `longest` letters."""
    return [*six_facts(record, longest=longest), ("", ""), *_details(record, longest)]


def six_facts(record: RunRecord, *, longest: int | None = None) -> Lines:
    """When, how long, parameters, metrics, version of the data, version of the code."""
    lines: Lines = [("when", words.local_time(record.started_at))]
    lines.append(("duration", words.duration(record.duration_s) if record.duration_s is not None else "-"))
    lines += _listed("parameters", [_parameter(*pair) for pair in _parameters(record)])
    lines += _listed("metrics", [_metric(metric) for metric in record.metrics])
    lines += _listed("data", [artifact(item, longest) for item in record.inputs])
    lines.append(("code", code(record.source) if record.source else "-"))
    return lines


def _details(record: RunRecord, longest: int | None) -> Lines:
    lines: Lines = [("run", f"{record.name}  {record.id}"), ("status", _status(record))]
    if record.error:
        lines.append(("error", record.error.message))
        if record.error.hint:
            lines.append(("hint", record.error.hint))
    lines += [("project", f"{record.project}, entry point {record.entry_point}"), ("target", record.target)]
    if record.command:
        lines += _listed("command", record.command.text.rstrip("\n").split("\n"))
    if record.environment:
        lines += _listed("environment", environment(record.environment))
    if record.steps:
        from mlrun.views import pipeline

        lines += _listed("steps", pipeline.of_record(record))
    lines += _listed("determinism", determinism(record.determinism), empty=None)
    lines += _listed("outputs", [artifact(item, longest) for item in record.outputs], empty=None)
    if record.tags:
        lines += _listed("tags", [f"{name} = {value}" for name, value in record.tags])
    if record.parents:
        lines += _listed("parents", [f"{kind} {parent}" for kind, parent in record.parents])
    if record.resources:
        used = record.resources
        lines.append(
            ("resources", f"CPU {words.duration(used.cpu_s)}, peak memory {words.size(used.max_rss_bytes)}")
        )
    lines += _where(record)
    lines += _listed("warnings", list(record.warnings), empty=None)
    return lines


def _where(record: RunRecord) -> Lines:
    lines: Lines = []
    if record.host:
        host = record.host
        parts = [host.name, host.os, host.cpu or host.machine]
        parts += [words.plural(host.cores, "core")] if host.cores else []
        parts += [words.size(host.memory)] if host.memory else []
        lines.append(("host", ", ".join((*parts, *host.gpus))))
    if record.user:
        lines.append(("user", record.user))
    if record.ci:
        lines.append(("ci", f"{record.ci.provider}  {record.ci.run_url or ''}".rstrip()))
    return lines


def _status(record: RunRecord) -> str:
    parts: list[str] = [record.status]
    if record.exit_code is not None:
        parts.append(f"exit code {record.exit_code}")
    if record.signal:
        parts.append(record.signal)
    return ", ".join(parts)


def _parameters(record: RunRecord) -> list[tuple[str, str, str]]:
    return [
        (parameter.name, "***" if parameter.secret else parameter.value, parameter.origin)
        for parameter in record.parameters
    ]


def _parameter(name: str, value: str, origin: str) -> str:
    return f"{name} = {value}  ({origin})"


def _metric(metric: Metric) -> str:
    """As a parameter, with its origin where that is not mlrun's own door."""
    logged = f"  (logged by {metric.origin})" if metric.origin else ""
    return f"{metric.name} = {words.number(metric.last)}{logged}"


def artifact(item: Artifact, longest: int | None = None) -> str:
    """Path, size, digest; whether nobody declared it."""
    parts = [words.cut(item.name, longest)]
    if item.digest is not None or item.files:  # of a data set that is known by name, nobody knows the size
        parts.append(words.size(item.size))
    if item.files > 1:
        parts.append(words.plural(item.files, "file"))
    if item.kind not in ("file", "data"):
        parts.append(item.kind)
    if item.digest:
        parts.append(words.short(item.digest))
    if item.run:
        parts.append(f"of run {item.run[:8]}")
    if not item.declared and item.kind in ("file", "data"):
        parts.append("observed")
    return "  ".join(parts)


def code(source: SourceFacts) -> str:
    """Commit, branch, and what differs from it."""
    where = source.url if source.kind == "git" and source.url else source.directory
    where += f"#{source.subdirectory}" if source.subdirectory else ""
    if not source.commit:
        return (
            f"{where}  tree {source.tree[:12]}, no commit; {words.plural(len(source.untracked), 'file')} kept"
        )
    text = f"{where}  commit {source.commit[:12]}"
    text += f" ({source.branch or source.version})" if source.branch or source.version else ""
    if source.dirty:
        kept = (["a patch"] if source.patch else []) + (
            [words.plural(len(source.untracked), "untracked file")] if source.untracked else []
        )
        text += f", with uncommitted changes: {' and '.join(kept) or 'in a submodule, not'} kept"
    return text


def environment(facts: EnvironmentFacts) -> list[str]:
    """Kind, interpreter, packages, lock."""
    first = facts.kind
    if facts.python:
        first += f", Python {facts.python}"
        if facts.python_asked and facts.python_asked != facts.python:
            first += f" (asked {facts.python_asked})"
    if facts.packages:
        first += f", {words.plural(len(facts.packages), 'package')}"
    lines = [first]
    if facts.asked:
        lines.append(f"from {facts.asked}")
    if facts.image:
        lines.append(
            f"image {facts.image.name}, {facts.image.digest or facts.image.id}, {facts.image.platform}"
        )
    if facts.as_of:
        lines.append(f"packages as of {facts.as_of[:10]}, {facts.as_of_why}")
    lines += [f"adapted: {text}" for text in facts.adaptations]
    if facts.lock:
        lines.append(f"lock {facts.lock_kind} {words.short(facts.lock)}")
    return lines


def determinism(facts: Determinism | None) -> list[str]:
    """What was set so that the run can be repeated, and what of the kind was there already."""
    if facts is None:
        return []
    lines = [] if facts.on else ["off"]
    pairs = [f"{name}={text}" for name, text in facts.variables]
    pairs += [] if facts.umask is None or not facts.on else [f"umask {facts.umask:03o}"]
    lines += [", ".join(pairs)] if pairs else []
    if facts.found:
        lines.append(f"found: {', '.join(f'{name}={text}' for name, text in facts.found)}")
    return lines


def _listed(label: str, texts: list[str], empty: str | None = "none") -> Lines:
    """Several texts under one label; `empty` where there is none (None: leave the label out)."""
    if not texts:
        return [] if empty is None else [(label, empty)]
    return [(label if position == 0 else " ", text) for position, text in enumerate(texts)]
