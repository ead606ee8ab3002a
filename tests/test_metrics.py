"""Metrics files: what counts, what is passed over, and what is told about it."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from mlrun.model import Metric
from mlrun.tracking import metrics
from mlrun.tracking.metrics import Point


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def metric(
    name: str,
    last: float,
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    count: int = 1,
    step: int | None = None,
) -> Metric:
    return Metric(
        name=name,
        last=last,
        minimum=last if minimum is None else minimum,
        maximum=last if maximum is None else maximum,
        count=count,
        last_step=step,
    )


def messages(reported: metrics.Reported) -> list[str]:
    return [finding.message for finding in reported.findings]


# --- the series ---------------------------------------------------------------------------------------


def test_a_series_is_summed_metric_by_metric(file: Path) -> None:
    file.write_text(
        '{"name": "rmse", "value": 0.9, "step": 1}\n'
        '{"name": "n", "value": 7}\n'
        '{"name": "rmse", "value": 0.5, "step": 2, "time": 1763712000.5}\n'
        '{"name": "rmse", "value": 0.7, "step": 3}\n'
    )
    reported = metrics.read_series(file)
    assert reported.metrics == (metric("rmse", 0.7, 0.5, 0.9, count=3, step=3), metric("n", 7))
    assert (reported.findings, tuple(reported.points)) == ((), ())


@pytest.mark.parametrize("torn", ['{"name": "a", "val', '{"name": "a"', "{", '{"name":"\xe4'])
def test_a_line_cut_by_a_kill_is_passed_over(file: Path, torn: str) -> None:
    file.write_bytes(b'{"name": "a", "value": 1}\n' + torn.encode()[:-1])
    assert metrics.read_series(file) == metrics.Reported(metrics=(metric("a", 1),))


def test_a_last_line_that_only_lacks_its_end_counts(file: Path) -> None:
    file.write_text('{"name": "a", "value": 1}')
    assert metrics.read_series(file).metrics == (metric("a", 1),)


@pytest.mark.parametrize(
    "line",
    [
        b"accuracy=3",
        b"[1]",
        b'"a"',
        b'{"name": "a"}',
        b'{"name": 3, "value": 1}',
        b'{"name": "", "value": 1}',
        b'{"name": "a\\nb", "value": 1}',
        b'{"name": "\\ud800", "value": 1}',
        b'{"name": "a", "value": null}',
        b'{"name": "a", "value": true}',
        b'{"name": "a", "value": "high"}',
        b'{"name": "a", "value": 1' + b"0" * 400 + b"}",
        b'{"name": "a", "value": 1, "step": 99999999999999999999}',
        b"\0" * 40,
        b"\xff\xfe",
        b"[" * 100_000,
        b"x" * (3 << 20),
    ],
)
def test_a_bad_line_is_told_with_its_number_and_the_rest_counts(file: Path, line: bytes) -> None:
    file.write_bytes(b'{"name": "a", "value": 1}\n' + line + b'\n\n{"name": "a", "value": 2}\n')
    reported = metrics.read_series(file)
    assert reported.metrics == (metric("a", 2, 1, 2, count=2),)
    assert [text.startswith("`metrics.jsonl` line 2 reports no metric") for text in messages(reported)] == [
        True
    ]


def test_many_bad_lines_are_one_finding(file: Path) -> None:
    file.write_text("a\nb\nc\n")
    assert messages(metrics.read_series(file)) == [
        "`metrics.jsonl` line 1 reports no metric, nor do 2 lines after it"
    ]


@pytest.mark.parametrize(
    "bad", ['{"name": "b", "value": 1}, {"name": "c", "value": 2}', '"b"', "[", "}", "{"]
)
@pytest.mark.parametrize("at", [0, 300, 999])
def test_lines_read_at_one_go_are_told_apart_as_if_read_alone(file: Path, bad: str, at: int) -> None:
    lines = [f'{{"name": "a", "value": {number}, "step": {number}}}' for number in range(1000)]
    lines[at] = bad
    file.write_text("\n".join(lines) + "\n")
    reported = metrics.read_series(file)
    assert messages(reported) == [f"`{file.name}` line {at + 1} reports no metric"]
    assert [(each.name, each.count) for each in reported.metrics] == [("a", 999)]


def test_nan_and_infinity_are_values_but_nan_is_no_extreme(file: Path) -> None:
    values = ["NaN", "1.5", '"inf"', "-Infinity", '"nan"']
    file.write_text("".join(f'{{"name": "a", "value": {value}}}\n' for value in values))
    (summed,) = metrics.read_series(file).metrics
    assert math.isnan(summed.last)
    assert (summed.minimum, summed.maximum, summed.count) == (-math.inf, math.inf, 5)


def test_a_metric_that_was_never_a_number_has_no_extremes(file: Path) -> None:
    file.write_text('{"name": "a", "value": NaN}\n')
    (summed,) = metrics.read_series(file).metrics
    assert math.isnan(summed.minimum)
    assert math.isnan(summed.maximum)


@pytest.mark.parametrize(
    ("step", "read"), [("3.0", 3), ("null", None), ("-1", -1), ("NaN", None), ('"7"', 7)]
)
def test_a_step_is_a_whole_number_or_nothing(file: Path, step: str, read: int | None) -> None:
    file.write_text(f'{{"name": "a", "value": 1, "step": {step}}}\n')
    assert metrics.read_series(file).metrics[0].last_step == read


def test_a_missing_series_is_told(file: Path) -> None:
    assert messages(metrics.read_series(file)) == [
        "`metrics.jsonl` cannot be read: No such file or directory"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["metrics.jsonl", "metrics.json", "metrics.yaml"])
def test_what_is_no_file_holds_nobody(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        (tmp_path / name).symlink_to(place)
        for read in (metrics.read_series, metrics.read_output):
            reported = read(tmp_path / name)
            assert (reported.metrics, len(reported.findings)) == ((), 1)
        (tmp_path / name).unlink()
    with pytest.raises(OSError, match="No such device"):
        metrics.append(tmp_path / "pipe", [Point("a", 1.0)])


@pytest.mark.slow
def test_a_long_series_is_read_without_holding_it(file: Path) -> None:
    import tracemalloc

    with open(file, "w") as lines:
        lines.writelines(
            f'{{"name": "loss", "value": {1 / step!r}, "step": {step}}}\n' for step in range(1, 100_001)
        )
    tracemalloc.start()
    reported = metrics.read_series(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reported.metrics == (metric("loss", 1e-5, 1e-5, 1.0, count=100_000, step=100_000),)
    assert peak < 5 << 20


# --- outputs ------------------------------------------------------------------------------------------


def test_nested_names_are_joined_by_dots(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    content = {
        "test": {"rmse": 0.5, "ok": True},
        "folds": [1, 2],
        "model": "forest",
        "version": "3.10",
        "x": None,
    }
    file.write_text(json.dumps(content))
    reported = metrics.read_output(file)
    assert reported.metrics == (metric("test.rmse", 0.5), metric("folds.0", 1), metric("folds.1", 2))
    assert list(reported.points) == [Point("test.rmse", 0.5), Point("folds.0", 1), Point("folds.1", 2)]
    assert reported.findings == ()


def test_yaml_is_read_like_json(tmp_path: Path) -> None:
    file = tmp_path / "metrics.yaml"
    file.write_text("test:\n  rmse: 0.5\n  loss: 1e-3\n  worst: .inf\n  when: 2026-11-21\n")
    reported = metrics.read_output(file)
    assert reported.metrics == (
        metric("test.rmse", 0.5),
        metric("test.loss", 0.001),
        metric("test.worst", math.inf),
    )


def test_a_single_number_is_called_value(tmp_path: Path) -> None:
    (tmp_path / "score").write_text("0.5\n")
    assert metrics.read_output(tmp_path / "score").metrics == (metric("value", 0.5),)


@pytest.mark.parametrize("name", ["log.jsonl", "log.ndjson", "metrics.json"])
def test_lines_of_several_numbers_are_series_by_step_or_epoch(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(
        '{"epoch": 1, "loss": 0.9, "val": {"acc": 0.1}, "time": 5}\n{"epoch": 2, "loss": 0.4, "note": "x"}\n'
    )
    reported = metrics.read_output(tmp_path / name)
    assert reported.metrics == (
        metric("loss", 0.4, 0.4, 0.9, count=2, step=2),
        metric("val.acc", 0.1, step=1),
    )
    points = [Point("loss", 0.9, 1, 5.0), Point("val.acc", 0.1, 1, 5.0), Point("loss", 0.4, 2)]
    assert list(reported.points) == points
    assert list(reported.points) == points


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.json", b"{", "`m.json` cannot be read as metrics: "),
        ("m.json", b"", "`m.json` cannot be read as metrics: "),
        ("m.json", b"\xff", "`m.json` cannot be read as metrics: "),
        ("m.json", b"[" * 100_000, "`m.json` cannot be read as metrics: "),
        ("m.json", b'{"a": ' * 900 + b"1" + b"}" * 900, "`m.json` cannot be read as metrics: "),
        ("m.yaml", b"a: [", "`m.yaml` cannot be read as metrics: "),
        ("m.json", b"{}", "`m.json` holds no numbers"),
        ("m.json", b'{"a": 1' + b"0" * 400 + b"}", "`m.json` cannot be read as metrics: "),
        ("m.json", b'{"a\\u0000": 1}', "`m.json` cannot be read as metrics: "),
    ],
)
def test_an_output_that_cannot_be_read_is_told(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    reported = metrics.read_output(tmp_path / name)
    assert reported.metrics == ()
    assert [text.startswith(message) for text in messages(reported)] == [True]


def test_a_missing_output_is_told(tmp_path: Path) -> None:
    assert len(messages(metrics.read_output(tmp_path / "m.json"))) == 1


def test_a_list_of_predictions_is_cut(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps([0.5] * 5000))
    reported = metrics.read_output(tmp_path / "m.json")
    assert len(reported.metrics) == metrics.MAX_NAMES
    assert messages(reported) == ["`m.json` holds 5,000 numbers; the first 1,000 are recorded"]


# --- together -----------------------------------------------------------------------------------------


def test_reports_are_merged_and_the_later_has_the_last_word(tmp_path: Path, file: Path) -> None:
    file.write_text('{"name": "a", "value": 3, "step": 1}\n{"name": "b", "value": NaN}\nbad\n')
    (tmp_path / "m.json").write_text('{"a": 1, "b": 2, "c": 4}')
    merged = metrics.merge([metrics.read_series(file), metrics.read_output(tmp_path / "m.json")])
    assert merged.metrics == (metric("a", 1, 1, 3, count=2), metric("b", 2, 2, 2, count=2), metric("c", 4))
    assert [point.name for point in merged.points] == ["a", "b", "c"]
    assert len(merged.findings) == 1
