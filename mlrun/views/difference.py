"""Two runs compared: as lines for a terminal, as Markdown for a pull request, as JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrun.views import words
from mlrun.views.markup import in_markdown, visible

if TYPE_CHECKING:
    from mlrun.difference import Difference, Item, Section
    from mlrun.model import RunRecord

Lines = list[tuple[str, str]]
"""Labels and texts, as in `record`."""

_TITLES = {"circumstances": "around"}  # where the name of a kind is too long for its column
_MARKS = {"added": "+", "removed": "-", "changed": "~", "unknown": "?"}
_SHOWN = 12  # items of one kind; `--all` shows the rest
_CAUSES_SHOWN = 3
_DIGEST = re.compile(r"\b(blake3:|sha256:)([0-9a-f]{12})[0-9a-f]+")
_ASIDE = ("cost", "circumstances")
_UNSAID = "nothing that is recorded explains it: chance, or something that the records do not hold"


def verdict(found: Difference) -> str:
    """The whole in one line."""
    results = _results(found)
    reasons = _reasons(found)
    if found.verdict == "unknown":
        return f"cannot tell: {'; '.join(found.unknown)}"
    if found.verdict == "same":
        return f"same: code, data, parameters, environment, machine{_same_results(found)}"
    if not results:
        missing = [text for text in found.unknown if "running" in text]
        rest = (
            f"no results to compare: {'; '.join(missing)}"
            if missing
            else f"the results are the same{_same_results(found)}"
        )
        return f"different: {reasons}; {rest}" if reasons else f"different; {rest}"
    if not reasons:
        return f"different: {results}; {_UNSAID}"
    return f"different: {results}; most likely because of: {reasons}"


def _results(found: Difference) -> str:
    parts = []
    for item in found.section("status").different:
        if item.name in ("status", "exit code"):
            parts.append(f"{item.name} {item.before} → {item.after}")
            break
    metrics = found.section("metrics").different
    outputs = [item for item in found.section("outputs").different if item.because is None]
    outputs = outputs or ([] if metrics else list(found.section("outputs").different))
    parts += [words.plural(len(metrics), "metric")] if metrics else []
    parts += [words.plural(len(outputs), "output")] if outputs else []
    return ", ".join(parts)


def _reasons(found: Difference) -> str:
    shown = [cause.text for cause in found.causes[:_CAUSES_SHOWN]]
    more = len(found.causes) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _same_results(found: Difference) -> str:
    counts = [
        words.plural(count, kind.removesuffix("s"))
        for kind in ("metrics", "outputs")
        if isinstance(count := dict(found.section(kind).facts).get("same"), int) and count
    ]
    return f" ({', '.join(counts)})" if counts else ""


# --- lines --------------------------------------------------------------------------------------------


def describe(found: Difference, *, everything: bool = False) -> Lines:
    """What differs, the most likely causes first, then the results; with `everything`, what is aside too."""
    if found.verdict == "same" and not everything:
        return []
    lines: Lines = [("first", _run(found.before)), ("second", _run(found.after))]
    results: Lines = []
    for section in found.sections:
        if section.kind in _ASIDE and not everything:
            continue
        into = results if section.kind in ("status", "metrics", "outputs", *_ASIDE) else lines
        into += _section(section, everything=everything)
    same = [section.kind for section in found.sections if _is_same(section)]
    if same:
        lines.append(("same", ", ".join(same)))
    return lines + results


def _is_same(section: Section) -> bool:
    return not section.items and not section.missing and section.kind not in (*_ASIDE, "project")


def _run(record: RunRecord) -> str:
    return f"{record.name}  {record.id[:12]}  {record.status}  {words.local_time(record.started_at)}"


def _section(section: Section, *, everything: bool) -> Lines:
    texts: list[str] = []
    shown = section.items if everything else section.items[:_SHOWN]
    for item in shown:
        texts.append(f"{_MARKS[item.change]} {line(item)}")
        texts += [f"    {detail}" for detail in item.details]
    if len(section.items) > len(shown):
        texts.append(f"… and {len(section.items) - len(shown)} more; `--all` shows them")
    if section.items or everything:
        texts += section.remarks
    if section.missing:
        texts.append(f"? {section.missing}")
    title = _TITLES.get(section.kind, section.kind)
    return [(title if position == 0 else " ", text) for position, text in enumerate(texts)]


def line(item: Item) -> str:
    """One item: `alpha  0.5 → 0.6  (from default → from command line)`."""
    note = f"  ({item.note})" if item.note else ""
    if item.change == "unknown" or (item.before is None and item.after is None):
        return f"{item.name}{note}"
    if item.before is None or item.after is None:
        return f"{item.name}  {_short(item.after if item.before is None else item.before)}{note}"
    if item.before == item.after:
        return f"{item.name}  {_short(item.after)}{note}"
    return f"{item.name}  {_short(item.before)} → {_short(item.after)}{note}"


def _short(text: str | None) -> str:
    return _DIGEST.sub(r"\1\2", text or "")


# --- Markdown -----------------------------------------------------------------------------------------


def markdown(found: Difference, *, everything: bool = False) -> str:
    """A report to paste into a pull request."""
    head = f"### mlrun diff {in_markdown(found.before.name)} {in_markdown(found.after.name)}"
    parts = [head, f"**{in_markdown(verdict(found))}**"]
    runs = []
    for side, record in (("first", found.before), ("second", found.after)):
        cells = (
            in_markdown(record.name),
            in_markdown(record.id[:12]),
            record.status,
            in_markdown(record.started_at),
        )
        runs.append(f"| {side} | {' | '.join(cells)} |")
    parts.append("\n".join(["| | run | id | status | started |", "|---|---|---|---|---|", *runs]))
    parts += [
        _table(section, everything=everything)
        for section in found.sections
        if (section.items or section.missing) and (section.kind not in _ASIDE or everything)
    ]
    if found.patch:
        parts.append(_fenced(found.patch))
    return "\n\n".join(parts) + "\n"


def _table(section: Section, *, everything: bool) -> str:
    rows = [f"#### {section.kind}", ""]
    rows += [f"{in_markdown(section.missing)}", ""] if section.missing else []
    if section.items:
        rows += ["| | what | first | second | |", "|---|---|---|---|---|"]
    shown = section.items if everything else section.items[:_SHOWN]
    for item in shown:
        cells = [
            item.name,
            item.before,
            item.after,
            "; ".join([*([item.note] if item.note else []), *item.details]),
        ]
        rows.append(
            f"| {_MARKS[item.change]} | " + " | ".join(in_markdown(_short(cell)) for cell in cells) + " |"
        )
    if len(section.items) > len(shown):
        rows.append(f"| | … and {len(section.items) - len(shown)} more | | | |")
    bullets = [
        f"{'  ' * remark.startswith(' ')}- {in_markdown(remark.strip())}" for remark in section.remarks
    ]
    rows += ["", *bullets] if bullets else []
    return "\n".join(rows)


def _fenced(text: str) -> str:
    """In a fence longer than any that the text has."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = "\n".join(visible(line.replace("\t", "    ")) for line in text.rstrip("\n").split("\n"))
    return f"<details><summary>patch</summary>\n\n{fence}diff\n{lines}\n{fence}\n\n</details>"


# --- JSON ---------------------------------------------------------------------------------------------


def as_json(found: Difference) -> dict[str, object]:
    """All of it, by stable names: a list of items for each kind."""
    return {
        "schema": "mlrun/diff/v1",
        "before": _run_as_json(found.before),
        "after": _run_as_json(found.after),
        "verdict": found.verdict,
        "summary": verdict(found),
        "causes": [{"kind": it.kind, "name": it.name, "text": it.text} for it in found.causes],
        "unknown": list(found.unknown),
        **{section.kind: _section_as_json(section) for section in found.sections},
        "patch": found.patch,
    }


def _run_as_json(record: RunRecord) -> dict[str, object]:
    return {
        "id": record.id,
        "name": record.name,
        "status": record.status,
        "started_at": record.started_at,
        "project": record.project,
        "entry_point": record.entry_point,
    }


def _section_as_json(section: Section) -> dict[str, object]:
    return {
        **dict(section.facts),
        "missing": section.missing,
        "remarks": list(section.remarks),
        "items": [
            {
                "name": item.name,
                "change": item.change,
                "before": item.before,
                "after": item.after,
                "note": item.note,
                "details": list(item.details),
                "because": item.because,
                **dict(item.facts),
            }
            for item in section.items
        ],
    }
