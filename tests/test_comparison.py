"""Many runs side by side: what varies, which is best, means over seeds; harmless in every form."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import os
import pty
import re
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mlrun.comparison import Comparison, compare, with_defaults
from mlrun.errors import UsageError
from mlrun.model import Artifact, BoundParameter, Digest, Metric, RunRecord, SourceFacts, StepFacts
from mlrun.store import Store
from mlrun.value import replace
from mlrun.views import comparison as view
from tests.shells import Shell
from tests.test_store_codec import records

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.files import Home

HOSTILE = "a\n| **b** [bold]x[/bold] <script>alert(1)</script>\x1b[31m\u202e\"'"


def record(number: int, *, params: dict[str, str] | None = None, **metrics: float) -> RunRecord:
    return RunRecord(
        id=f"{number:032x}",
        name=f"run-{number}",
        status="finished",
        project="wine",
        target=".",
        entry_point="main",
        started_at=f"2026-11-21T08:{number // 60 % 60:02d}:{number % 60:02d}.000Z",
        mlrun_version="0.1.0",
        source=SourceFacts(kind="directory", tree="1" * 40, directory="/p", commit="3" * 40),
        parameters=tuple(
            BoundParameter(name=name, value=text, text=text, kind="string", origin="default")
            for name, text in (params or {}).items()
        ),
        metrics=tuple(
            Metric(name=name, last=value, minimum=value, maximum=value) for name, value in metrics.items()
        ),
    )


def cells(found: Comparison, column: str) -> list[object]:
    at = [each.key for each in found.columns].index(column)
    return [
        row.cells[at].text if row.cells[at].number is None else row.cells[at].number for row in found.rows
    ]


def best(found: Comparison, column: str) -> list[int]:
    at = [each.key for each in found.columns].index(column)
    return [number for number, row in enumerate(found.rows) if row.cells[at].best]


RUNS = [
    record(1, params={"alpha": "0.5", "seed": "1", "same": "x"}, rmse=0.9, accuracy=0.8, epoch=3),
    record(2, params={"alpha": "0.5", "seed": "2", "same": "x"}, rmse=0.7, accuracy=0.9, epoch=4),
    record(3, params={"alpha": "0.9", "seed": "1", "same": "x"}, rmse=0.5, accuracy=0.7, epoch=3),
    record(4, params={"alpha": "0.9", "seed": "2", "same": "x"}, rmse=0.6, epoch=3),
]


def test_only_what_varies_is_a_column() -> None:
    found = compare(RUNS)
    assert [column.key for column in found.columns] == [
        *("params.alpha", "params.seed", "metrics.rmse", "metrics.accuracy", "metrics.epoch")
    ]
    assert dict(found.shared)["params.same"] == "x"
    assert dict(found.shared)["code"] == "3" * 9


def test_secrets_are_not_said_to_be_the_same() -> None:
    key = BoundParameter(name="key", value="k", text="k", kind="string", origin="command line", secret=True)
    found = compare([replace(it, parameters=(*it.parameters, key)) for it in RUNS])
    assert ("params.same", "x") in found.shared
    assert not any(name == "params.key" for name, _ in found.shared)


def test_code_and_data_are_columns_where_they_vary() -> None:
    dirty = replace(
        RUNS[1],
        source=SourceFacts(kind="directory", tree="2" * 40, directory="/p", commit="3" * 40, dirty=True),
        inputs=(Artifact(path="a.csv", kind="data", digest=Digest("blake3:" + "c" * 64), size=1, files=1),),
        status="failed",
    )
    found = compare([RUNS[0], dirty])
    assert cells(found, "code") == ["333333333", "333333333+2222222"]
    assert cells(found, "data.a.csv") == [None, "c" * 12]
    assert cells(found, "status") == ["finished", "failed"]


def test_the_best_is_marked_by_what_the_metric_means() -> None:
    found = compare(RUNS)
    assert (best(found, "metrics.rmse"), best(found, "metrics.accuracy")) == ([2], [1])
    assert best(found, "metrics.epoch") == []
    assert best(compare(RUNS, metrics=("epoch:max",)), "metrics.epoch") == [0]


def test_rows_are_sorted_by_the_metric_that_is_asked_for() -> None:
    found = compare(RUNS, metrics=("accuracy", "rmse"))
    assert cells(found, "metrics.accuracy") == [0.9, 0.8, 0.7, None]
    assert [column.key for column in found.columns][-2:] == ["metrics.accuracy", "metrics.rmse"]
    odd = [*RUNS, record(5, params={}, rmse=float("nan")), record(6, params={}, rmse=float("-inf"))]
    assert str(cells(compare(odd, metrics=("rmse",)), "metrics.rmse")) == "[-inf, 0.5, 0.6, 0.7, 0.9, nan]"


@pytest.mark.parametrize("names", [("alpha",), ("seed",), ("alpha", "seed")])
def test_seeds_are_averaged_over(names: tuple[str, ...]) -> None:
    found = compare(RUNS, group_by=names)
    assert [len(row.runs) for row in found.rows] == [2, 2]
    assert cells(found, "params.alpha") == ["0.5", "0.9"]
    assert cells(found, "params.seed") == ["2 different", "2 different"]
    at = [column.key for column in found.columns].index("metrics.rmse")
    first = found.rows[0].cells[at]
    assert first.number == pytest.approx(0.8)
    assert first.sd == pytest.approx(0.1414, abs=1e-4)  # of 0.9 and 0.7, over n - 1
    assert best(found, "metrics.rmse") == [1]
    accuracy = found.rows[1].cells[at + 1]
    assert (accuracy.count, accuracy.sd) == (1, None)


def test_runs_of_different_programs_are_no_group() -> None:
    other = replace(record(5, params={"alpha": "0.5", "seed": "3", "same": "x"}, rmse=9.0), entry_point="b")
    found = compare([*RUNS, other], group_by=("alpha",))
    assert [len(row.runs) for row in found.rows] == [1, 2, 2]


def test_metrics_that_do_not_vary_are_said_beside_the_table() -> None:
    same = [record(number, params={"alpha": "1"}, rmse=0.5, epoch=number) for number in (1, 2)]
    found = compare(same)
    assert found.shared[-2:] == (("params.alpha", "1"), ("metrics.rmse", "0.5"))
    assert view.remarks(found)[-1] == "the same in all: alpha = 1, rmse = 0.5"


def test_a_name_that_no_run_has_is_an_error_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="has a metric `rmsee`") as caught:
        compare(RUNS, metrics=("rmsee",))
    assert caught.value.hint == "there are `rmse`"
    with pytest.raises(UsageError, match="parameter `alfa`"):
        compare(RUNS, group_by=("alfa",))


def test_one_run_shows_all_that_it_has() -> None:
    found = compare(RUNS[:1])
    assert len(found.columns) == 6
    assert best(found, "metrics.rmse") == []


def test_a_table_is_cut_into_blocks_that_fit() -> None:
    found = compare(RUNS)
    (whole,) = view.lines(found)
    assert whole[0].split() == ["run", "alpha", "seed", "rmse", "accuracy", "epoch"]
    assert whole[3].split() == ["run-3", "00000000", "0.9", "1", "0.5*", "0.7", "3"]
    blocks = view.lines(found, width=34)
    assert len(blocks) > 1
    assert max(len(line) for block in blocks for line in block) <= 34
    assert [word for block in blocks for word in block[0].split()[1:]] == whole[0].split()[1:]
    assert len(view.lines(found, width=1)) == 5


def test_csv_holds_every_digit() -> None:
    rows = list(csv.DictReader(io.StringIO(view.comma_separated(compare(RUNS, group_by=("alpha",))))))
    assert rows[0]["runs"] == "2"
    assert float(rows[0]["metrics.rmse.sd"]) == pytest.approx(0.02**0.5)
    assert rows[1]["metrics.accuracy.count"] == "1"
    assert rows[0]["ids"].split() == [RUNS[0].id, RUNS[1].id]


def test_markdown_and_json_mark_the_best() -> None:
    found = compare(RUNS)
    assert "| run-3 00000000 | 0.9 | 1 | **0.5** | 0.7 | 3 |" in view.markdown(found)
    told = view.as_json(found)
    assert json.loads(json.dumps(told))["rows"][2]["cells"]["metrics.rmse"]["best"] is True


class Page(html.parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_hostile_names_stay_text_everywhere() -> None:
    runs = [
        replace(record(1, params={HOSTILE: HOSTILE}), name=HOSTILE, project=HOSTILE),
        replace(
            record(2, params={HOSTILE: "x"}), metrics=(Metric(name=HOSTILE, last=1, minimum=1, maximum=1),)
        ),
    ]
    for found in (compare(runs), compare(runs, group_by=(HOSTILE,))):
        page = Page(view.page(found))
        allowed = {"html", "head", "meta", "title", "style", "body", "h1", "table", "thead", "tbody"}
        assert page.tags <= allowed | {"tr", "th", "td", "span", "p"}
        assert {name for name, _ in page.attributes} <= {
            "lang",
            "charset",
            "content",
            "http-equiv",
            "class",
            "title",
        }
        assert any("<script>alert(1)</script>" in text for text in page.texts)
        markdown = view.markdown(found)
        tables = [line for line in markdown.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in tables}) == 1
        for text in (markdown, view.page(found), *(line for block in view.lines(found) for line in block)):
            assert not set(text) & {"\x1b", "\u202e"}
        assert "<script" not in markdown


def test_a_page_asks_nothing_of_the_network() -> None:
    text = view.page(compare(RUNS))
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|src=|href=|url\(|@import", text)


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(records, min_size=1, max_size=4), st.booleans())
def test_any_records_are_compared(runs: list[RunRecord], grouped: bool) -> None:
    names = [parameter.name for run in runs for parameter in run.parameters]
    found = compare(runs, group_by=tuple(names[:1]) if grouped else ())
    assert sum(len(row.runs) for row in found.rows) == len(runs)
    lines = [line for block in view.lines(found, width=50) for line in block]
    texts = [view.markdown(found), view.page(found), *lines]
    assert not {mark for text in texts for mark in text if not mark.isprintable() and mark != "\n"}
    assert len(list(csv.reader(io.StringIO(view.comma_separated(found), newline="")))) == 1 + len(found.rows)
    json.dumps(view.as_json(found))


# --- the command --------------------------------------------------------------------------------------


@pytest.fixture
def shell(home: Home, tmp_path: Path) -> Shell:
    store = Store(home)
    for run in RUNS:
        store.create(run).close()
    return Shell(tmp_path, tmp_path)


def test_runs_are_named_or_found(shell: Shell) -> None:
    done = shell.mlrun("compare", "run-1", "--where", "params.alpha = 0.9", "-m", "rmse")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[:4]] == ["run", "run-3", "run-4", "run-1"]
    assert "\x1b" not in done.stdout


def test_misuse_is_told(shell: Shell) -> None:
    assert shell.mlrun("compare").returncode == 2
    assert shell.mlrun("compare", "run-1", "--csv", "--md").returncode == 2
    assert "no run matches" in shell.mlrun("compare", "--where", "metrics.rmse > 99").stderr


def test_a_narrow_terminal_gets_narrow_lines(shell: Shell) -> None:
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 40)) if hasattr(termios, "tcsetwinsize") else _resize(follower)
    with subprocess.Popen(
        shell.argv("compare", "--where", "status = finished"),
        env=shell.variables | {"NO_COLOR": "1"},
        cwd=shell.cwd,
        stdout=follower,
        stderr=subprocess.PIPE,
    ) as child:
        os.close(follower)
        text = b""
        try:
            while chunk := os.read(leader, 4096):
                text += chunk
        except OSError:  # the end, on Linux
            pass
        os.close(leader)
        assert child.stderr is not None
        assert child.stderr.read() == b""
    lines = text.decode().replace("\r", "").splitlines()
    assert b"\x1b" not in text
    table = [line for line in lines if line.startswith("run")]
    assert len(table) == 5 * len([line for line in lines if line.startswith("run ")])
    assert max(map(len, table)) <= 40


def _resize(descriptor: int) -> None:
    import fcntl

    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))


def test_a_pipelines_steps_tell_what_they_had_where_another_run_was_given_it(home: Home) -> None:
    store = Store(home)

    def whole(number: int, value: str, **given: str) -> RunRecord:
        steps = (record(number + 1, params={"rows": value}), record(number + 2, params={"alpha": "1"}))
        facts = tuple(
            StepFacts(name=name, run=it.id, state="finished")
            for name, it in zip(("prepare", "main"), steps, strict=True)
        )
        for it in steps:
            store.create(it).close()
        whole = record(number, params={"alpha": "1", **given})
        parameters = (
            replace(it, origin="command line") if it.name in given else it for it in whole.parameters
        )
        return replace(whole, parameters=tuple(parameters), steps=facts)

    runs = [whole(0, "5"), whole(10, "7", rows="7"), whole(20, "9", **{"prepare.rows": "9"})]
    found = compare(with_defaults(runs, store))
    assert cells(found, "params.rows") == cells(found, "params.prepare.rows") == ["5", "7", "9"]
    # Where steps disagree about a name that was given, each is told by its own.
    runs = [whole(30, "5"), whole(40, "7", rows="7")]
    lacking = replace(record(50, params={"rows": "2"}), id="f" * 32)
    store.create(lacking).close()
    facts = (*runs[0].steps, StepFacts(name="again", run=lacking.id, state="finished"))
    found = compare(with_defaults([replace(runs[0], steps=facts), runs[1]], store))
    assert cells(found, "params.prepare.rows") == ["5", "7"]
    assert cells(found, "params.again.rows") == ["2", None]


def test_a_thousand_runs_are_compared(home: Home) -> None:
    runs = [
        record(number, params={"alpha": str(number % 10), "seed": str(number)}, rmse=number * 0.37 % 1)
        for number in range(1000)
    ]
    found = compare(runs, group_by=("seed",))
    assert [len(row.runs) for row in found.rows] == [100] * 10
    assert len(Page(view.page(compare(runs))).texts) > 3000
