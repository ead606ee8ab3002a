"""Records into text, whole outputs compared."""

from __future__ import annotations

import pytest

from mlrun.model import (
    Artifact,
    BoundParameter,
    Digest,
    EnvironmentFacts,
    Failure,
    Image,
    Metric,
    RunRecord,
    RunRow,
    SourceFacts,
    Usage,
)
from mlrun.value import replace
from mlrun.views import record as record_view
from mlrun.views import runs, table, words
from mlrun.views.json import dumps
from mlrun.views.summary import summary

DIGEST = Digest("blake3:" + "ab" * 32)
RECORD = RunRecord(
    id="7f3a2c41d09e4b5f8a6c0d1e2f3a4b5c",
    name="brave-otter",
    status="finished",
    project="wine",
    target=".",
    entry_point="main",
    started_at="2026-11-21T08:00:00.123Z",
    mlrun_version="0.1.0",
    ended_at="2026-11-21T08:00:03.323Z",
    duration_s=3.2,
    exit_code=0,
    source=SourceFacts(
        kind="directory", tree="1" * 40, directory="/p", commit="3f2a91c07" + "0" * 31, branch="main"
    ),
    parameters=(
        BoundParameter(name="alpha", value="0.5", text="0.5", kind="float", origin="command line"),
        BoundParameter(
            name="key", value="s3cret", text="s3cret", kind="string", origin="command line", secret=True
        ),
    ),
    environment=EnvironmentFacts(kind="venv", python="3.11.7", python_asked="3.11.2"),
    inputs=(Artifact(path="data", kind="data", digest=DIGEST, size=11469, files=2),),
    outputs=(Artifact(path="model.pkl", kind="model", digest=DIGEST, size=312, files=1, stored=True),),
    metrics=(Metric(name="rmse", last=0.7123456789, minimum=0.7, maximum=1.0, count=3),),
    resources=Usage(wall_s=3.2, cpu_s=2.5, max_rss_bytes=64 << 20),
)


def test_the_six_facts_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert record_view.describe(RECORD)[1:8] == [
        ("duration", "3.2 s"),
        ("parameters", "alpha = 0.5  (command line)"),
        (" ", "key = ***  (command line)"),
        ("metrics", "rmse = 0.712346"),
        ("data", "data  11.2 KiB  2 files  blake3:abababababab"),
        ("code", "/p  commit 3f2a91c07000 (main)"),
        ("", ""),
    ]
    assert record_view.describe(RECORD)[0][0] == "when"


def test_no_secret_is_shown_anywhere() -> None:
    assert "s3cret" not in str(record_view.describe(RECORD)) + str(summary(RECORD))


def test_an_interpreter_that_stands_in_for_another_is_said() -> None:
    assert record_view.environment(RECORD.environment or EnvironmentFacts(kind="venv")) == [
        "venv, Python 3.11.7 (asked 3.11.2)"
    ]


def test_what_was_done_to_get_an_environment_is_shown() -> None:
    facts = EnvironmentFacts(
        kind="docker",
        asked="docker_env",
        as_of="2020-08-12T09:00:00Z",
        as_of_why="the commit's date",
        adaptations=("`sklearn` is called scikit-learn",),
        image=Image(name="python:3.11", id="sha256:ab", platform="linux/amd64"),
    )
    assert record_view.environment(facts) == [
        "docker",
        "from docker_env",
        "image python:3.11, sha256:ab, linux/amd64",
        "packages as of 2020-08-12, the commit's date",
        "adapted: `sklearn` is called scikit-learn",
    ]


def test_the_summary_ends_with_what_to_type_next() -> None:
    assert summary(RECORD) == [
        ("finished", "in 3.2 s"),
        ("metrics", "rmse 0.712346"),
        ("outputs", "model.pkl 312 B"),
        ("run", "brave-otter  7f3a2c41d09e"),
        ("next", "mlrun show 7f3a2c41"),
    ]


def test_the_summary_of_many_outputs_is_one_line() -> None:
    few, long = ("a/b/c.csv", "model.pkl"), "deep/" * 20
    outputs = [Artifact(path=path, kind="file", digest=None, size=1, files=1) for path in few]
    assert (
        dict(summary(replace(RECORD, outputs=tuple(outputs))))["outputs"] == "a/b/c.csv 1 B · model.pkl 1 B"
    )
    many = replace(RECORD, outputs=(*outputs, replace(outputs[0], path=long), *outputs))
    assert dict(summary(many))["outputs"] == "a/b/c.csv 1 B · model.pkl 1 B · … and 3 more"


def test_a_long_path_is_cut_in_the_middle_where_there_is_no_room_for_it() -> None:
    assert words.cut("abcdefghij", 5) == "ab…ij"
    assert words.cut("abcde", 5) == words.cut("abcde", None) == "abcde"
    long = replace(
        RECORD, outputs=(Artifact(path="a" * 300 + ".csv", kind="file", digest=None, size=1, files=1),)
    )
    assert len(dict(summary(long))["outputs"]) < 120
    assert f"{'a' * 300}.csv  1 B" in dict(record_view.describe(long))["outputs"]
    assert "aaa.csv  1 B" in (cut := dict(record_view.describe(long, longest=40))["outputs"])
    assert len(cut) == 40 + len("  1 B")


def test_a_data_set_known_by_its_name_only_has_no_size() -> None:
    named = Artifact(path="iris", kind="dataset", digest=None, size=0, files=0)
    assert record_view.artifact(named) == "iris  dataset"


def test_the_summary_of_a_failure_says_why_and_leads_to_the_log() -> None:
    from mlrun.value import replace

    failed = replace(
        RECORD,
        status="killed",
        exit_code=124,
        metrics=(),
        outputs=(),
        error=Failure(code="timed-out", message="ended by its time-out of 5 s"),
    )
    assert summary(failed)[0] == ("killed", "in 3.2 s, exit code 124, ended by its time-out of 5 s")
    assert summary(failed)[-1] == ("next", "mlrun logs 7f3a2c41")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB"), (1 << 60, "1024.0 PiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0851, "85 ms"), (3.24, "3.2 s"), (245, "4 min 05 s"), (7620, "2 h 07 min"), (59.96, "60.0 s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_a_table_aligns_wide_signs_and_cuts_what_is_long() -> None:
    lines = table.aligned(
        ["name", "n"], [["数据", "1"], ["a\nb", "20"], ["x" * 50, "3"]], right=frozenset({1})
    )
    assert lines == [
        f"{'name':<40}   n",
        f"数据{' ' * 36}   1",
        f"{'a·b':<40}  20",
        f"{'x' * 19}…{'x' * 20}   3",
    ]


def test_csv_quotes_what_needs_it() -> None:
    assert table.comma_separated(["a"], [['say "hi", now']]) == 'a\n"say ""hi"", now"\n'
    assert table.comma_separated(["a", "b"], [["x\ry", "z\n"]]) == 'a,b\n"x\ry","z\n"\n'


def rows() -> list[RunRow]:
    return [
        RunRow(
            id=f"{number}" * 32,
            name=f"run-{number}",
            project="wine",
            entry_point="main",
            status="finished",
            started_at="2026-11-21T08:00:00.000Z",
            duration_s=1.5,
            params=(("alpha", str(number)), ("seed", "7")),
            metrics=(("rmse", number / 10),),
        )
        for number in (1, 2)
    ]


def test_a_list_shows_the_columns_that_differ() -> None:
    assert runs.telling_columns(rows(), limit=4) == [
        "id",
        "name",
        "started",
        "status",
        "duration",
        "params.alpha",
        "metrics.rmse",
    ]


def test_a_list_for_machines_has_everything_exactly() -> None:
    columns = runs.every_column(rows())
    assert columns[-3:] == ["params.alpha", "params.seed", "metrics.rmse"]
    assert runs.cells(rows()[0], ["id", "started", "duration", *columns[-3:]], exact=True) == [
        "1" * 32,
        "2026-11-21T08:00:00.000Z",
        "1.5",
        "1",
        "7",
        "0.1",
    ]


def test_json_never_holds_a_nan() -> None:
    assert dumps({"a": [float("nan"), float("inf"), -float("inf"), 0.5]}) == (
        '{\n  "a": [\n    "NaN",\n    "Infinity",\n    "-Infinity",\n    0.5\n  ]\n}'
    )
