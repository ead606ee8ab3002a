"""Metrics as tables and curves: odd numbers, very many, none; and of runs that go on."""

from __future__ import annotations

import json
import math
import re
import struct
import time
import zlib
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from mlrun import plotting
from mlrun.errors import UsageError
from mlrun.store import Store
from mlrun.tracking import metrics as reported
from mlrun.value import replace
from mlrun.views import metrics, plot
from tests.shells import Shell
from tests.test_store import record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlrun.files import Home
    from mlrun.model import RunRecord

PROJECT = """
name: curve
environment: {requirements: []}
entry_points: {main: {command: sh curve.sh}}
"""
PROGRAM = r"""
for i in 1 2 3 4; do
    echo "{\"name\": \"loss\", \"value\": $((9 - i)), \"step\": $i}" >> "$MLRUN_METRICS"
done
while test -e wait; do sleep 0.05; done
"""


@pytest.fixture
def run(home: Home) -> RunRecord:
    made = replace(record(1), name='<a> "&\x1b[31m')
    Store(home).create(made).close()
    return made


def write(home: Home, run: RunRecord, values: Sequence[float], name: str = "loss") -> None:
    with open(home.run(run.id).metrics, "a") as file:
        for step, value in enumerate(values):
            line = {"name": name, "value": value, "step": step, "time": 1e9 + step}
            print(json.dumps(line), file=file)


def drawn(found: Sequence[plotting.Series], *, log: bool = False) -> None:
    """Every kind of picture is what it should be."""
    frame = plot.framed(found, axis="step", log=log)
    for width in (12, 80, 200):
        lines = plot.terminal(found, frame, width=width, height=10)
        assert not any("\x1b" in line for line in lines)
    ET.fromstring(plot.svg(found, frame))
    assert "\x1b" not in plot.page(found, frame)
    data = plot.png(found, frame)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    start = data.index(b"IDAT") + 4
    assert len(zlib.decompress(data[start:-16])) == height * (3 * width + 1)


@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [2.0, 2.0],
        [math.nan, 1.0, math.inf, 2.0, -math.inf],
        [math.nan],
        [1.7e308, -1.7e308, 0.0],
        [5e-324, 1e-300],
        list(range(50)),
    ],
)
def test_whatever_the_numbers_are_they_are_drawn(home: Home, run: RunRecord, values: list[float]) -> None:
    write(home, run, values)
    for log in (False, True):
        found = plotting.load(home, run, names=None, log=log)
        drawn(found, log=log)
        assert metrics.lines(found)
        json.loads(json.dumps(metrics.as_json(found)))
    (series,) = plotting.load(home, run, names=None)
    assert series.odd == sum(not math.isfinite(value) for value in values)


def test_several_runs_have_a_legend(home: Home, run: RunRecord) -> None:
    other = replace(record(2), name="other")
    Store(home).create(other).close()
    write(home, run, [1, 2, 3])
    write(home, other, [3, 2, 1])
    found = [*plotting.load(home, run, names=None), *plotting.load(home, other, names=None)]
    drawn(found)
    text = "\n".join(plot.terminal(found, plot.framed(found, axis="step", log=False), width=60, height=8))
    assert re.search(r"● .*<a>.* last 3", text)
    assert re.search(r"▲ other .* last 1", text)


def test_axes_smoothing_and_the_metric_that_is_meant(home: Home, run: RunRecord) -> None:
    write(home, run, [0, 2, 4, 6])
    (series,) = plotting.load(home, run, names=["loss"], x="relative", smooth=2)
    assert series.xs == (0, 1, 2, 3)
    assert series.ys == (0, 1, 3, 5)
    assert plotting.chosen([run], [series], []) == ["loss"]
    with pytest.raises(UsageError, match="no metric is called `los`") as error:
        plotting.chosen([run], [series], ["los"])
    assert error.value.hint == "did you mean `loss`?"
    with pytest.raises(UsageError, match="has no metrics"):
        plotting.chosen([run], [], [])


def test_that_nothing_can_be_drawn_is_said(tmp_path: Path, warm_cache: Path) -> None:
    shell = Shell(tmp_path, tmp_path, warm_cache)
    command = """echo '{{"name": "loss", "value": NaN}}' >> $MLRUN_METRICS"""
    (tmp_path / "MLproject").write_text(json.dumps({"entry_points": {"main": {"command": command}}}))
    assert shell.mlrun("run", ".", "--env-manager", "system").returncode == 0
    done = shell.mlrun("plot", "latest")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing to draw: every point is not finite" in done.stderr


def test_after_a_huge_number_means_are_means_again(home: Home, run: RunRecord) -> None:
    write(home, run, [1.0, 2.0, 1e30, 0.25, 0.25, 0.75, 1.25, 1.7e308, 1.7e308, 1.0])
    (series,) = plotting.load(home, run, names=["loss"], smooth=2)
    assert series.ys[:2] == (1.0, 1.5)
    assert series.ys[4:7] == (0.25, 0.5, 1.0)
    assert all(map(math.isfinite, series.ys))


def test_a_run_without_the_metric_is_named(tmp_path: Path, warm_cache: Path) -> None:
    shell = Shell(tmp_path, tmp_path, warm_cache)
    for name in ("loss", "other"):
        command = f"""echo '{{{{"name": "{name}", "value": 1}}}}' >> $MLRUN_METRICS"""
        (tmp_path / "MLproject").write_text(json.dumps({"entry_points": {"main": {"command": command}}}))
        assert shell.mlrun("run", ".", "--env-manager", "system", "--name", f"{name}-run").returncode == 0
    assert shell.ask("plot", "loss-run", "other-run", "-m", "loss").stderr == "other-run has no loss\n"


def test_thinning_keeps_what_is_seen() -> None:
    pairs = [(float(at), math.sin(at / 1000)) for at in range(100_000)]
    pairs[54_321] = (54_321.0, 9.0)
    pairs[54_322] = (54_322.0, -9.0)
    kept = plotting.thinned(pairs, 100)
    assert len(kept) <= 404
    assert {pairs[0], pairs[-1], pairs[54_321], pairs[54_322]} <= set(kept)
    assert kept == sorted(kept)


def test_the_latest_of_a_series_that_grows(tmp_path: Path) -> None:
    series = tmp_path / "m.jsonl"
    assert reported.latest(series) == {}
    series.write_text('{"name": "a", "value": 1}\nnonsense\n{"name": "b", "value": 2}\n{"name": "a", "va')
    assert {name: point.value for name, point in reported.latest(series).items()} == {"a": 1, "b": 2}
    assert metrics.sparkline([1, 2, 3, 2, 1]) == "▁▄█▄▁"
    assert metrics.sparkline([]) == ""


@pytest.mark.slow
def test_a_million_points_are_read_and_drawn(home: Home, run: RunRecord) -> None:
    write(home, run, [math.sin(at / 5e4) for at in range(1_000_000)])  # 12 s on two busy cores
    found = plotting.load(home, run, names=None)
    assert found[0].count == 1_000_000
    assert len(found[0].xs) <= 4 * plotting.COLUMNS + 4
    drawn(found)


@pytest.mark.slow
def test_a_run_shows_its_metrics_while_it_goes_on_and_after(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "MLproject").write_text(PROJECT)
    (project / "curve.sh").write_text(PROGRAM)
    (project / "wait").touch()
    shell = Shell(tmp_path, project)
    going = shell.start("run", ".")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        rows = json.loads(shell.mlrun("runs", "--json").stdout)
        if rows and rows[0]["metrics"].get("loss") == 5:
            break
        time.sleep(0.1)
    assert rows[0]["status"] == "running"
    assert rows[0]["metrics"] == {"loss": 5}
    assert "loss" in shell.mlrun("plot").stdout
    assert "loss = 5" in shell.mlrun("show").stdout
    following = shell.start("show", "-f")
    time.sleep(0.5)
    (project / "wait").unlink()
    told, narrated = following.communicate(timeout=60)
    assert "step 4  loss 5" in narrated
    assert "finished" in told
    going.communicate(timeout=60)
    assert going.returncode == 0
    table = shell.mlrun("show", "--metrics").stdout.splitlines()
    assert table[1].split()[:5] == ["loss", "5", "5", "8", "4"]
    for kind in ("svg", "png", "html"):
        assert shell.mlrun("plot", "latest", "-m", "loss", "-o", f"c.{kind}").returncode == 0
        assert (project / f"c.{kind}").stat().st_size > 500
    assert shell.mlrun("plot", "latest", "-m", "los").returncode == 2
    assert shell.mlrun("plot", "-o", "c.gif").returncode == 2
