"""What a program logged for TensorBoard, as metrics of its run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from mlrun.tracking.eventfile import EventFile
from mlrun.tracking.metrics import MAX_NAMES, Point, appended, finding, is_name
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mlrun.model import Finding, Metric

ORIGIN = "tensorboard"


class Read(NamedTuple):
    """Metrics, whose points are in the run's series by now."""

    metrics: tuple[Metric, ...]
    findings: tuple[Finding, ...]


def is_event_file(path: str) -> bool:
    """Whether a file bears the name by which TensorBoard knows its own."""
    return "tfevents" in path.rpartition("/")[2]


def read(files: Iterable[Path], series: Path, *, known: Iterable[str]) -> Read:
    """Append the scalars in event files to a run's series, but for metrics that are `known` already.

    A scalar is called by its tag; where the files lie in several folders, by its folder before that, as
    TensorBoard calls its runs (`train/loss`, `validation/loss`). Raises OSError where the series cannot be
    written.
    """
    reading = _Reading(sorted(set(files)), frozenset(known))
    metrics = appended(series, reading.points())
    return Read(tuple(replace(metric, origin=ORIGIN) for metric in metrics), tuple(reading.findings))


class _Reading:
    def __init__(self, files: list[Path], known: frozenset[str]) -> None:
        self.findings: list[Finding] = []
        self._files = files
        self._refused = known
        self._names: set[str] = set()

    def points(self) -> Iterator[Point]:
        """Of all files, one after the other; what was wrong is known afterwards."""
        common = os.path.commonpath([file.parent for file in self._files])
        too_many = False
        for path in self._files:
            folder = os.path.relpath(path.parent, common)
            prefix = "" if folder == "." else f"{folder}/"
            file = EventFile(path)
            for scalar in file:
                name = prefix + scalar.tag
                if name not in self._names and not self._is_new(name):
                    too_many = too_many or len(self._names) == MAX_NAMES
                    continue
                yield Point(name, scalar.value, scalar.step, scalar.time)
            if file.problem:
                self.findings.append(finding(path, file.problem))
        if too_many:
            message = f"is one of the files with more than {MAX_NAMES:,} scalars; so many are recorded"
            self.findings.append(finding(self._files[-1], message))

    def _is_new(self, name: str) -> bool:
        if name in self._refused or not is_name(name) or len(self._names) >= MAX_NAMES:
            return False
        self._names.add(name)
        return True
