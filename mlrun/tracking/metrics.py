"""Numbers that a program reports, read back from the files that it wrote: the door that any language can use.

Two kinds: the series in the file named by `MLRUN_METRICS`, one JSON object a line; and declared outputs of
`kind: metrics`, JSON or YAML with nested names, or JSONL. What makes no sense is told as a finding.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from mlrun.errors import MlrunError
from mlrun.files import tail
from mlrun.model import Finding, Metric
from mlrun.value import positional_value, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MAX_NAMES = 1000
"""Metrics that one output may hold: a list of predictions is none."""

_LONGEST_LINE = 1 << 20  # bytes
_LARGEST_OUTPUT = 64 << 20  # bytes
_AT_ONCE = 256  # lines


class Point(NamedTuple):
    """One reported number; `time` is in seconds since the epoch. A tuple, since there may be millions."""

    name: str
    value: float
    step: int | None = None
    time: float | None = None


@value
class Reported:
    """What was reported, metric by metric in the order of first appearance.

    `points` are those of an output, to be appended to the run's own series (where those of the series
    itself are already). They are read from their file anew whenever they are iterated.
    """

    metrics: tuple[Metric, ...] = ()
    findings: tuple[Finding, ...] = ()
    points: Iterable[Point] = ()


def read_series(path: Path) -> Reported:
    """The file named by `MLRUN_METRICS`: `{"name": "rmse", "value": 0.71, "step": 3, "time": 1763712000.5}`.

    `step` and `time` may be missing. A last line without its end was cut by a kill, and is passed over.
    """
    lines = _Lines(path)
    metrics = _summed(lines)
    return Reported(metrics=metrics, findings=lines.findings())


def points_of(path: Path) -> Iterable[Point]:
    """The points of a series in their order, read anew whenever they are iterated; none where it has none."""
    return _Lines(path)


def latest(path: Path, *, within: int = 1 << 18) -> dict[str, Point]:
    """The last point of each metric in the last bytes of a series, which may be growing.

    A metric that was last told of before those bytes is left out.
    """
    found: dict[str, Point] = {}
    try:
        lines = tail(path, within).split(b"\n")
    except OSError:
        return {}
    for line in lines[:-1]:  # what has no end yet is still being written
        try:
            for point in _points_of(json.loads(line)):
                found[point.name] = point
        except (ValueError, RecursionError):
            continue
    return found


def read_output(path: Path) -> Reported:
    """A declared output of `kind: metrics`.

    JSON and YAML: numbers by their names, joined by dots (`test.rmse`, `folds.0`); what is no number is
    passed over. JSONL: lines as in `read_series`, or `{"step": 3, "loss": 0.4, "accuracy": 0.9}`.
    """
    try:
        if _is_lines(path):
            return _read_lines(path)
        points = tuple(Point(name, number) for name, number in _numbers("", _load(path)))
    except (OSError, ValueError, RecursionError, MlrunError) as error:
        reason = error.message if isinstance(error, MlrunError) else str(error)
        return Reported(findings=(finding(path, f"cannot be read as metrics: {reason}"),))
    findings = () if points else (finding(path, "holds no numbers"),)
    if len(points) > MAX_NAMES:
        findings = (finding(path, f"holds {len(points):,} numbers; the first {MAX_NAMES:,} are recorded"),)
        points = points[:MAX_NAMES]
    return Reported(metrics=_summed(points), findings=findings, points=points)


def merge(reports: Iterable[Reported]) -> Reported:
    """Several reports as one, in their order: of a metric in two of them the later one has the last word."""
    kept = tuple(reports)
    metrics: dict[str, Metric] = {}
    for metric in (metric for report in kept for metric in report.metrics):
        earlier = metrics.get(metric.name)
        metrics[metric.name] = metric if earlier is None else _joined(earlier, metric)
    return Reported(
        metrics=tuple(metrics.values()),
        findings=tuple(finding for report in kept for finding in report.findings),
        points=_Chain(tuple(report.points for report in kept)),
    )


def append(series: Path, points: Iterable[Point]) -> None:
    """Write points behind those of a run's own series, in its form.

    Raises OSError.
    """
    for _ in _appending(series, points):
        pass


def appended(series: Path, points: Iterable[Point]) -> tuple[Metric, ...]:
    """The same, in one pass with what there is to say of the points: they may be costly to read.

    Raises OSError.
    """
    return _summed(_appending(series, points))


def _appending(series: Path, points: Iterable[Point]) -> Iterator[Point]:
    descriptor = os.open(series, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        for point in points:
            line = {"name": point.name, "value": point.value, "step": point.step, "time": point.time}
            file.write(json.dumps({key: it for key, it in line.items() if it is not None}) + "\n")
            yield point


# --- lines --------------------------------------------------------------------------------------------


def _read_lines(path: Path) -> Reported:
    lines = _Lines(path)
    metrics = _summed(lines)
    return Reported(metrics=metrics, findings=lines.findings(), points=lines)


class _Lines:
    """The points in a file of JSON lines, read as they are asked for; what was wrong is known afterwards."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._first_bad = self._bad = 0
        self._problem = ""

    def __iter__(self) -> Iterator[Point]:
        self._first_bad, self._bad, self._problem = 0, 0, ""
        try:
            with opened(self._path) as file:
                yield from self._points(iter(lambda: file.readline(_LONGEST_LINE), b""))
        except OSError as error:
            self._problem = f"cannot be read: {error.strerror or error}"

    def _points(self, lines: Iterator[bytes]) -> Iterator[Point]:
        number = 0
        while some := list(islice(lines, _AT_ONCE)):
            objects = _objects(some)
            for at, line in enumerate(some):
                number += 1
                try:
                    yield from _points_of(json.loads(line.decode()) if objects is None else objects[at])
                except (ValueError, RecursionError):
                    torn = not line.endswith(b"\n") and len(line) < _LONGEST_LINE
                    if line.strip() and not torn:
                        self._first_bad = self._first_bad or number
                        self._bad += 1

    def findings(self) -> tuple[Finding, ...]:
        """What was wrong when the points were last read."""
        if self._problem:
            return (finding(self._path, self._problem),)
        if not self._bad:
            return ()
        message = f"line {self._first_bad} reports no metric"
        if self._bad > 1:
            message += f", nor do {self._bad - 1:,} lines after it"
        return (
            finding(self._path, message, hint='a line reads `{"name": "rmse", "value": 0.71, "step": 3}`'),
        )


def _objects(lines: list[bytes]) -> list[object] | None:
    """What the lines hold, parsed at one go, which takes half the time; None where one is no object."""
    try:
        found = json.loads(f"[{b','.join(lines).decode()}]")
    except (ValueError, RecursionError):
        return None
    alone = all(line[:1] == b"{" and line[-2:] == b"}\n" for line in lines)
    return found if alone and len(found) == len(lines) else None


def _points_of(line: object) -> list[Point]:
    """The points of a line. Raises ValueError where it has none."""
    if not isinstance(line, dict):
        raise ValueError("no object")  # noqa: TRY004  a value in a file, not an argument of ours
    time = line.get("time", line.get("timestamp"))
    if type(time) is not float:  # what is as it should be need not be looked at twice: there may be millions
        time = _number(time)
    if "name" in line and "value" in line:
        name, value, step = line["name"], line["value"], line.get("step")
        if type(value) is not float:
            value = _number(value)
        if value is None or not isinstance(name, str):
            raise ValueError("no number, or no name")
        if type(step) is not int or not -(2**63) < step < 2**63:
            step = _step(step)
        return [Point(_checked(name), value, step, time)]
    key = next((key for key in ("step", "epoch") if key in line), "")
    rest = {name: value for name, value in line.items() if name not in {key, "time", "timestamp"}}
    points = [Point(name, value, _step(line.get(key)), time) for name, value in _numbers("", rest)]
    if not points:
        raise ValueError("no numbers")
    return points


def _step(value: object) -> int | None:
    number = _number(value)
    if number is None or not math.isfinite(number):
        return None
    if abs(number) >= 2**63:
        raise ValueError("no step is that large")
    return value if isinstance(value, int) else int(number)


# --- whole files --------------------------------------------------------------------------------------


def _is_lines(path: Path) -> bool:
    """By its name, or by two lines that are each an object: many write those into a `metrics.json`."""
    suffix = path.suffix.lower()
    if suffix in {".jsonl", ".ndjson"}:
        return True
    if suffix in {".yaml", ".yml"}:
        return False
    with opened(path) as file:
        return all(
            line.startswith(b"{") and line.rstrip().endswith(b"}")
            for line in (file.readline(_LONGEST_LINE), file.readline(_LONGEST_LINE))
        )


def opened(path: Path) -> BinaryIO:
    """A file for reading: a pipe or a device in its place could hold us for ever.

    Raises OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is not a file")
    return os.fdopen(descriptor, "rb")


def _load(path: Path) -> object:
    if path.suffix.lower() in {".yaml", ".yml"}:
        from mlrun import yamlfile

        return yamlfile.load(path)
    if path.stat().st_size > _LARGEST_OUTPUT:
        raise ValueError(f"it is larger than {_LARGEST_OUTPUT >> 20} MiB")
    return json.loads(path.read_bytes())


def _numbers(name: str, value: object) -> Iterator[tuple[str, float]]:
    """All numbers in a value under their dotted names."""
    if isinstance(value, dict):
        entries: Iterable[tuple[object, object]] = value.items()
    elif isinstance(value, list):
        entries = enumerate(value)
    else:
        number = None if isinstance(value, str) and not re.fullmatch(_NUMERIC, value) else _number(value)
        if number is not None:
            yield _checked(name or "value"), number
        return
    for key, part in entries:
        yield from _numbers(f"{name}.{key}" if name else str(key), part)


_NUMERIC = r"(?i)[-+]?(\d+(\.\d*)?e[-+]?\d+|nan|inf(inity)?)"
"""Text that is a number nevertheless: YAML 1.1 takes `1e-3` for text, and JSON knows no NaN."""


def _number(value: object) -> float | None:
    """A value as a number, truth values being none. Raises ValueError for text and too large numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def is_name(name: str) -> bool:
    """Whether a metric may be called so: names end up in tables and queries."""
    return bool(name) and name.isprintable() and len(name) <= 250


def _checked(name: str) -> str:
    if not is_name(name):
        raise ValueError(f"no name for a metric: {name[:80]!a}")
    return name


# --- sums ---------------------------------------------------------------------------------------------


def _summed(points: Iterable[Point]) -> tuple[Metric, ...]:
    """Last, lowest, highest and count of each metric in one pass; the last by order of appearance."""
    sums: dict[str, _Sum] = {}
    for point in points:
        total = sums.get(point.name)
        if total is None:
            total = sums[point.name] = _Sum()
        total.add(point.value, point.step)
    return tuple(total.metric(name) for name, total in sums.items())


class _Sum:
    """What is known of a metric so far. NaN is never lowest or highest."""

    __slots__ = ("count", "highest", "last", "lowest", "step")

    def __init__(self) -> None:
        self.lowest, self.highest, self.last = math.inf, -math.inf, math.nan
        self.count = 0
        self.step: int | None = None

    def add(self, value: float, step: int | None) -> None:
        self.count += 1
        self.last, self.step = value, step
        if value < self.lowest:
            self.lowest = value
        if value > self.highest:
            self.highest = value

    def metric(self, name: str) -> Metric:
        only_nan = self.lowest > self.highest
        return Metric(
            name=name,
            last=self.last,
            minimum=math.nan if only_nan else self.lowest,
            maximum=math.nan if only_nan else self.highest,
            count=self.count,
            last_step=self.step,
        )


def _joined(earlier: Metric, later: Metric) -> Metric:
    lows = [low for low in (earlier.minimum, later.minimum) if low == low]
    highs = [high for high in (earlier.maximum, later.maximum) if high == high]
    return Metric(
        name=later.name,
        last=later.last,
        minimum=min(lows, default=math.nan),
        maximum=max(highs, default=math.nan),
        count=earlier.count + later.count,
        last_step=later.last_step,
    )


@positional_value
class _Chain:
    """One iterable after the other, each time anew."""

    parts: tuple[Iterable[Point], ...]

    def __iter__(self) -> Iterator[Point]:
        for part in self.parts:
            yield from part


def finding(path: Path, message: str, *, hint: str | None = None) -> Finding:
    """What is wrong with a file of metrics."""
    return Finding(level="warning", code="bad-metrics", message=f"`{path.name}` {message}", hint=hint)
