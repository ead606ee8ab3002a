"""Two runs that should be the same: output by output and metric by metric, how far they are."""

from __future__ import annotations

import os
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeVar

from mlrun import sameness
from mlrun.errors import MlrunError
from mlrun.sameness import EXACT, GRADES, LARGEST, Leeway, Sameness
from mlrun.sameness.moments import Span
from mlrun.value import replace, value

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.model import Artifact, Digest, Metric, RunRecord, Tolerance
    from mlrun.sameness import Places
    from mlrun.store import Store

_T = TypeVar("_T")
Level = Literal["identical", "equal", "close", "different", "unknown"]
_WORDS = {"close": "within tolerance"}
_LOG = "output.log"
_TEMPORARY = ("/tmp/", "/var/tmp/")  # noqa: S108  they are only looked at


@value
class Item:
    """One thing compared: how it ended (`status`), a `metric`, an `output`, what it printed (`log`)."""

    kind: Literal["status", "metric", "output", "log"]
    name: str
    level: Level
    note: str | None = None
    before: object = None
    after: object = None


def judge(
    before: RunRecord, after: RunRecord, *, store: Store, tolerance: Tolerance, checkouts: Path
) -> tuple[Item, ...]:
    """All that came out of two runs, the gravest first; `checkouts` is the folder of ours that holds them.

    What they printed counts only where there is nothing else.
    """
    if after.status == "killed":
        why = after.error.message if after.error else f"it was ended by {after.signal}"
        note = f"{why}, so there is no result to compare"
        return (Item(kind="status", name="status", level="unknown", note=note),)
    leeway = Leeway(
        tolerance=tolerance,
        before=places_of(before, checkouts),
        after=places_of(after, checkouts),
        spans=(span_of(before), span_of(after)),
    )
    items = [
        *_status(before, after),
        *_metrics(before, after, tolerance),
        *_outputs(before, after, _Contents(store, leeway)),
    ]
    if not any(item.kind in ("metric", "output") for item in items):
        items += _logs(before, after, store, replace(leeway, tolerance=EXACT))
    order = ("different", "unknown", *reversed(GRADES[:-1]))
    return tuple(sorted(items, key=lambda item: order.index(item.level)))


def verdict_of(items: tuple[Item, ...]) -> Level:
    """The whole by its parts: one that differs, or that nobody can tell, decides."""
    levels = {item.level for item in items}
    for level in ("different", "unknown", "close", "equal"):
        if level in levels:
            return level
    return "identical" if items else "unknown"


def places_of(record: RunRecord, checkouts: Path) -> Places:
    """What a program may write down of where it ran: its folder, its run's folder, its run's id."""
    facts, its_id = record.source, record.id
    places = [(str(checkouts / its_id), "SOURCE"), (f"{its_id[:2]}/{its_id}", "RUN"), (its_id, "RUN")]
    places += [(str(checkouts / run), "SOURCE") for kind, run in record.parents if kind == "pipeline"]
    if facts is not None and len(facts.directory) > len("/a"):
        places.append((facts.directory, "SOURCE"))
    return tuple(places)


def span_of(record: RunRecord) -> Span:
    """When it went on, by the clock that its program saw: that of its time zone, else of this machine."""
    began = _moment(record.started_at)
    ended = _moment(record.ended_at) if record.ended_at else began
    facts = record.determinism
    zone = dict((*facts.variables, *facts.found)).get("TZ") if facts else None
    return Span(began=began, ended=ended, offset=0 if zone == "UTC" else time.localtime(began).tm_gmtoff)


def _moment(text: str) -> float:
    """Seconds since 1970 of a time in a record."""
    return datetime.fromisoformat(text).timestamp()


def spread(
    records: tuple[RunRecord, ...], *, store: Store, tolerance: Tolerance, checkouts: Path
) -> tuple[Item, ...]:
    """How several repetitions differ among themselves; nothing where there is only one."""
    if len(records) < 2:
        return ()
    first, *others = records
    worst: dict[tuple[str, str], Item] = {}
    for other in others:
        for item in judge(first, other, store=store, tolerance=tolerance, checkouts=checkouts):
            key = (item.kind, item.name)
            if key not in worst or _rank(item.level) > _rank(worst[key].level):
                worst[key] = item
    values = {name: _values_of(records, name) for kind, name in worst if kind == "metric"}
    return tuple(
        value_range(item, values[item.name]) if item.kind == "metric" else item for item in worst.values()
    )


def value_range(item: Item, values: list[float]) -> Item:
    """A metric with the least and the greatest of its values."""
    return Item(
        kind=item.kind,
        name=item.name,
        level=item.level,
        note=f"{min(values)!r} to {max(values)!r}" if values else None,
        before=min(values, default=None),
        after=max(values, default=None),
    )


def _values_of(records: tuple[RunRecord, ...], name: str) -> list[float]:
    return [metric.last for record in records for metric in record.metrics if metric.name == name]


def _rank(level: Level) -> int:
    return ("identical", "equal", "close", "unknown", "different").index(level)


# --- each kind ----------------------------------------------------------------------------------------


def _status(before: RunRecord, after: RunRecord) -> list[Item]:
    """Only where it differs: that both ended well is no result."""
    ours, theirs = before.exit_code, after.exit_code
    if ours == theirs:
        return []
    note = f"exit code {ours} and {theirs}"
    return [Item(kind="status", name="exit code", level="different", note=note, before=ours, after=theirs)]


def _metrics(before: RunRecord, after: RunRecord, tolerance: Tolerance) -> list[Item]:
    ours, theirs = paired(
        {metric.name: metric for metric in before.metrics},
        {metric.name: metric for metric in after.metrics},
    )
    return [
        _metric(name, ours.get(name), theirs.get(name), tolerance) for name in dict.fromkeys((*ours, *theirs))
    ]


def _metric(name: str, before: Metric | None, after: Metric | None, tolerance: Tolerance) -> Item:
    a, b = (None if it is None else it.last for it in (before, after))
    if before is None or after is None or a is None or b is None:
        side = "repetition" if before is None else "original"
        return Item(
            kind="metric", name=name, level="different", note=f"only in the {side}", before=a, after=b
        )
    grade = sameness.numbers(a, b, tolerance)
    note = None if grade == "identical" else f"{a!r} and {b!r}, {b - a:+.3g}"
    return Item(kind="metric", name=name, level=grade, note=note, before=a, after=b)


def _outputs(before: RunRecord, after: RunRecord, contents: _Contents) -> list[Item]:
    """By path; what only one run was watched closely enough to notice is not held against the other.

    Nor is a temporary file, which has another name each time, or is there already.
    """
    ours, theirs = paired(
        {_place(output.path, before): output for output in before.outputs},
        {_place(output.path, after): output for output in after.outputs},
    )
    found = []
    for name in dict.fromkeys((*ours, *theirs)):
        a, b = ours.get(name), theirs.get(name)
        if a is not None and b is not None:
            found.append(_output(name, a, b, contents))
            continue
        known = a or b
        assert known is not None
        if not known.declared and (before.observed != after.observed or known.path.startswith(_TEMPORARY)):
            continue
        note = f"only the {'repetition' if a is None else 'original'} wrote it"
        found.append(
            Item(
                kind="output",
                name=name,
                level="different",
                note=note,
                before=a and a.digest,
                after=b and b.digest,
            )
        )
    return found


_MOMENT = re.compile(
    r"tfevents\..*"
    r"|\d{4}-?\d\d-?\d\d[-_T ]\d\d[-:.]?\d\d[-:.]?\d\d(\.\d+)?"
    r"|\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d"
    r"|[A-Z][a-z]{2}\d\d_\d\d-\d\d-\d\d"
    r"|(?<!\d)1\d{9}(\.\d+)?(?!\d)"
    r"|(?<![0-9a-f])[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}(?![0-9a-f])"
)
"""What a name has of the time: after `tfevents` TensorBoard puts the second, host and process, as torch's
`SummaryWriter` names its folder (`%b%d_%H-%M-%S`) and `add_hparams` its own (`time.time()`); Hydra makes
`2024-05-01/12-30-59`; and what people write by hand. Last, a UUID, as parts of a Parquet data set have it."""


def paired(ours: dict[str, _T], theirs: dict[str, _T]) -> tuple[dict[str, _T], dict[str, _T]]:
    """Both, where what has no partner of its own name goes by the name without its times, in their order."""
    names: list[dict[str, str]] = []
    for mine, others in ((ours, theirs), (theirs, ours)):
        count: dict[str, int] = {}
        names.append({})
        for name in sorted(mine.keys() - others.keys()):
            bare = _MOMENT.sub("…", name)
            count[bare] = count.get(bare, 0) + 1
            if bare != name:
                names[-1][f"{bare}\0{count[bare]}"] = name
    shared = names[0].keys() & names[1].keys()
    back = {names[1][key]: names[0][key] for key in shared}
    return ours, {back.get(name, name): it for name, it in theirs.items()}


def _place(path: str, record: RunRecord) -> str:
    """A path without the folder of its checkout."""
    _, found, rest = path.partition(f"/{record.id}/")
    return rest if found else path


def _output(name: str, before: Artifact, after: Artifact, contents: _Contents) -> Item:
    level: Level
    note: str | None
    if before.digest is None or after.digest is None:
        level, note = "unknown", "it could not be read when it was recorded"
    elif before.tree != after.tree:
        level, note = "different", "one is a folder, the other a file"
    else:
        look = contents.trees if before.tree else contents.files
        same = look(before.digest, after.digest)
        level, note = same.grade, same.note
    return Item(
        kind="output",
        name=name,
        level=level,
        note=note,
        before=before.digest,
        after=after.digest,
    )


def _logs(before: RunRecord, after: RunRecord, store: Store, leeway: Leeway) -> list[Item]:
    """What was printed, which often holds times: that it differs says nothing."""
    try:
        ours, theirs = (store.home.run(record.id).log.read_bytes() for record in (before, after))
    except OSError:
        return []
    if ours == theirs:
        return [Item(kind="log", name=_LOG, level="identical", note="there is nothing but what it printed")]
    found = sameness.alike(ours, theirs, leeway)
    if found.grade == "equal":
        return [Item(kind="log", name=_LOG, level="equal", note=found.note)]
    note = "neither outputs nor metrics, and it printed something else"
    return [Item(kind="log", name=_LOG, level="unknown", note=note)]


# --- contents -----------------------------------------------------------------------------------------


class _Contents:
    """What the store has of two outputs."""

    def __init__(self, store: Store, leeway: Leeway) -> None:
        self._objects = store.objects
        self._leeway = leeway

    def files(self, before: Digest, after: Digest) -> Sameness:
        """Two files."""
        if before == after:
            return Sameness(grade="identical")
        try:
            ours, theirs = self._read(before), self._read(after)
        except MlrunError:
            return Sameness(grade="different", note="other bytes; the store has not both to look into")
        if ours is None or theirs is None:
            return Sameness(grade="different", note="other bytes; too large to look into")
        return sameness.alike(ours, theirs, self._leeway)

    def trees(self, before: Digest, after: Digest) -> Sameness:
        """Two folders, file by file."""
        if before == after:
            return Sameness(grade="identical")
        try:
            ours, theirs = (
                {entry.path: entry for entry in self._objects.entries(each)} for each in (before, after)
            )
        except MlrunError:
            return Sameness(grade="different", note="other content; the store has not both to look into")
        ours, theirs = paired(ours, theirs)
        if ours.keys() != theirs.keys():
            name = min(ours.keys() ^ theirs.keys())
            side = "original" if name in ours else "repetition"
            return Sameness(grade="different", note=f"`{name}` is only in the {side}")
        worst, counts = Sameness(grade="identical"), dict.fromkeys(reversed(GRADES), 0)
        for name, entry in ours.items():
            other = theirs[name]
            if (entry.target, entry.executable) != (other.target, other.executable):
                return Sameness(grade="different", note=f"`{name}`: another link, or executable")
            if entry.digest and other.digest:
                found = self.files(entry.digest, other.digest)
                counts[found.grade] += 1
                if GRADES.index(found.grade) > GRADES.index(worst.grade):
                    worst = Sameness(grade=found.grade, note=f"`{name}`: {found.note}")
        counts[worst.grade] -= 1
        others = [
            f"{count} {_WORDS.get(it, it)}" for it, count in counts.items() if count and it != "identical"
        ]
        more = f"; others: {', '.join(others)}" if others else ""
        return replace(worst, note=f"{worst.note}{more}") if more else worst

    def _read(self, its_digest: Digest) -> bytes | None:
        with self._objects.open(its_digest) as file:
            if file.seek(0, os.SEEK_END) > LARGEST:
                return None
        return self._objects.read_bytes(its_digest)
