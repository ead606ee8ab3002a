"""A repetition as text and JSON: the verdict first, then what differs, then what may explain it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.views import words

if TYPE_CHECKING:
    from mlrun.judgement import Item
    from mlrun.model import Finding, RunRecord
    from mlrun.reproduction import Repetition, Reproduction, Reproductions

Lines = list[tuple[str, str]]

_SHOWN = 12
_LOGGED_SHOWN = 3
_WORDS = {
    "identical": "identical",
    "equal": "equal",
    "close": "within tolerance",
    "different": "different",
    "unknown": "cannot tell",
    "impossible": "cannot be repeated",
}
_OF_ITSELF = "the program itself is not deterministic: all that went in was the same for all of them"
_OF_ITSELF_OR_UNSEEN = (
    "all that is recorded of what went in was the same: the program is not deterministic, or reads what no"
    " record holds, such as a variable of the shell that is not declared"
)
_EDITED = "its record was changed since mlrun wrote it: what it says need not be what happened then"
_SINCE_THEN = (
    "it is no chance, for the repetitions agree: something has changed since that no record holds, such as a"
    " variable of the shell that is not declared, what a server answers, or the machine"
)


def verdict(found: Reproduction) -> str:
    """One sentence."""
    name = found.original.name
    if found.verdict == "impossible":
        count = len(found.reasons)
        return f"{name} cannot be repeated, for {words.plural(count, 'reason')}; nothing was run"
    items = found.repetitions[-1].items
    text = f"{_WORDS[found.verdict]}: {name}"
    if found.changed:
        text += f" with another {', '.join(found.changed)}"
    if found.flowing:
        text += f"{' and' if found.changed else ''} from what {', '.join(found.flowing)} made anew"
    if not found.changed and not found.flowing:
        text += " repeated"
    if found.original.exit_code:
        text += f" (exit code {found.original.exit_code})"
    if found.verdict == "identical":
        return f"{text}, {_counted(items)} the same to the last bit"
    if found.verdict == "equal":
        return f"{text}, {_counted(items)}; bytes differ only where it does not matter"
    if found.verdict == "close":
        limits = f"rtol {found.tolerance.rtol:g}, atol {found.tolerance.atol:g}"
        return f"{text}, {_counted(items)} within {limits}"
    if found.verdict == "unknown":
        return (
            f"{text}, but there is nothing that could be compared"
            if not items
            else f"{text}; {items[0].note}"
        )
    worst = next(repetition for repetition in found.repetitions if repetition.verdict == "different")
    first = worst.items[0]
    return f"{text}; {first.kind} `{first.name}` differs first" + (f": {first.note}" if first.note else "")


def verdict_of_steps(found: Reproductions) -> str:
    """One sentence for a pipeline."""
    if found.verdict == "impossible":
        some = f"{len(found.steps)} of {words.plural(len(found.original.steps), 'step')}"
        return f"{found.original.name} cannot be repeated, since {some} cannot; nothing was run"
    counts = {level: sum(step.verdict == level for step in found.steps) for level in _WORDS}
    told = ", ".join(f"{count} {_WORDS[level]}" for level, count in counts.items() if count)
    count, of = len(found.steps), len(found.original.steps)
    steps = words.plural(count, "step") if count == of else f"{count} of {words.plural(of, 'step')}"
    otherwise = f" with another {', '.join(found.changed)}" if found.changed else ""
    return f"{_WORDS[found.verdict]}: {found.original.name}{otherwise}, {steps}: {told}"


def _counted(items: tuple[Item, ...]) -> str:
    kinds = (("metric", "metric"), ("output", "output"), ("log", "log"))
    counts = [(noun, sum(item.kind == kind for item in items)) for kind, noun in kinds]
    return " and ".join(words.plural(count, noun) for noun, count in counts if count)


def describe_whole(found: Reproductions) -> Lines:
    """The repetitions of a pipeline as wholes, for a person."""
    return [
        ("repetition" if at == 0 else "", f"{it.name}  {it.id[:12]}  {it.status}")
        for at, it in enumerate(found.records)
    ]


def describe(found: Reproduction) -> Lines:
    """The rest, for a person."""
    lines: Lines = []
    for reason in found.reasons:
        lines.append(("reason", reason.message))
        lines += [("", f"hint: {reason.hint}")] if reason.hint else []
    lines += [("note", note.message) for note in found.notes]
    for repetition in found.repetitions:
        lines += _repetition(repetition)
    if found.spread:
        differs = [item for item in found.spread if item.level != "identical"]
        level = found.among_themselves
        how = "differ" if level == "different" else f"are {_WORDS[level]}"
        lines.append(("spread", f"{len(found.repetitions)} repetitions {how} among themselves"))
        lines += [("", _item(item)) for item in differs[:_SHOWN]]
    lines += _explained(found)
    return lines


def _repetition(repetition: Repetition) -> Lines:
    record = repetition.record
    lines: Lines = [("repetition", f"{record.name}  {record.id[:12]}  {_WORDS[repetition.verdict]}")]
    unlike = [item for item in repetition.items if item.level != "identical"]
    lines += [("", _item(item)) for item in unlike[:_SHOWN]]
    if len(unlike) > _SHOWN:
        lines.append(("", f"… and {len(unlike) - _SHOWN} more"))
    same = len(repetition.items) - len(unlike)
    if same:
        lines.append(("", f"identical: {same} of {len(repetition.items)}"))
    return lines


def _item(item: Item) -> str:
    text = f"{item.kind} {item.name}: {_WORDS[item.level]}"
    return f"{text}, {item.note}" if item.note else text


def _explained(found: Reproduction) -> Lines:
    """What went in otherwise; where no record tells of any, several repetitions tell chance from cause."""
    unlike = [it for it in found.repetitions if it.verdict in ("different", "close", "equal")]
    if not unlike:
        return []
    edited = [_EDITED] if any(note.code == "record-edited" for note in found.notes) else []
    causes = [*edited, *(cause.text for cause in unlike[0].causes)]
    if causes:
        return [("because" if at == 0 else "", text) for at, text in enumerate(causes)]
    if found.verdict != "different":
        return []
    if found.flowing:
        text = f"what {', '.join(found.flowing)} made anew, of which nobody saw what it reads"
        return [("because", f"{text}; or the program is not deterministic")]
    secrets = [it.name for it in found.original.parameters if it.secret and it.origin != "default"]
    if secrets:
        text = f"secret {', '.join(secrets)}, given anew, may be another; or the program is not deterministic"
        return [("because", text)]
    if found.spread and found.among_themselves != "different":
        return [("because", _SINCE_THEN)]
    lines = [("because", _OF_ITSELF if found.spread else _OF_ITSELF_OR_UNSEEN)]
    lines += [("", text) for text in _logged_otherwise(found.original, unlike[0].record)]
    lines.append(("", "hint: seed its random numbers; times of day, threads and network answers differ too"))
    if not found.spread:
        lines.append(("", "hint: `--runs 3` tells whether it differs from itself, and how much"))
    return lines


def _logged_otherwise(before: RunRecord, after: RunRecord) -> list[str]:
    """A seed that a program makes up is often among the parameters that it logs."""
    ours, theirs = (
        {it.name: it.value for it in each.parameters if it.origin == "logged"} for each in (before, after)
    )
    unlike = [name for name in ours if name in theirs and ours[name] != theirs[name]]
    return [
        f"it logged another `{name}`: {ours[name]}, then {theirs[name]}" for name in unlike[:_LOGGED_SHOWN]
    ]


def steps_as_json(found: Reproductions) -> dict[str, object]:
    """A pipeline for machines."""
    return {
        "verdict": _verdict(found),
        "summary": verdict_of_steps(found),
        "run": found.original.id,
        "name": found.original.name,
        "changed": list(found.changed),
        "repetitions": [
            {"id": it.id, "name": it.name, "status": it.status, "exit_code": it.exit_code}
            for it in found.records
        ],
        "steps": [as_json(step) for step in found.steps],
    }


def as_json(found: Reproduction) -> dict[str, object]:
    """All of it for machines."""
    return {
        "verdict": _verdict(found),
        "summary": verdict(found),
        "run": found.original.id,
        "name": found.original.name,
        "reasons": [_finding(each) for each in found.reasons],
        "notes": [_finding(each) for each in found.notes],
        "changed": list(found.changed),
        "flowing": list(found.flowing),
        "tolerance": {"rtol": found.tolerance.rtol, "atol": found.tolerance.atol},
        "repetitions": [
            {
                "id": each.record.id,
                "name": each.record.name,
                "status": each.record.status,
                "exit_code": each.record.exit_code,
                "verdict": each.verdict,
                "items": [_item_as_json(item) for item in each.items],
                "causes": [{"kind": it.kind, "name": it.name, "text": it.text} for it in each.causes],
            }
            for each in found.repetitions
        ],
        "spread": [_item_as_json(item) for item in found.spread],
    }


def _verdict(found: Reproduction | Reproductions) -> str:
    return "cannot-be-repeated" if found.verdict == "impossible" else found.verdict


def _finding(finding: Finding) -> dict[str, object]:
    return {"code": finding.code, "message": finding.message, "hint": finding.hint}


def _item_as_json(item: Item) -> dict[str, object]:
    return {
        "kind": item.kind,
        "name": item.name,
        "level": item.level,
        "note": item.note,
        "before": item.before,
        "after": item.after,
    }
