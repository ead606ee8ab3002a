"""What differs between two runs: each kind of sabotage is named as the first cause, by real runs."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mlrun.difference import CAUSES, Difference, call, causes, difference
from mlrun.difference.values import Item, Section
from mlrun.model import (
    Artifact,
    BoundParameter,
    CommandFacts,
    Determinism,
    Digest,
    EnvironmentFacts,
    Failure,
    HostFacts,
    Image,
    Metric,
    Package,
    RunRecord,
    SourceFacts,
)
from mlrun.store import Store
from mlrun.tracking.meaning import direction_of
from mlrun.value import replace
from mlrun.views import difference as view
from tests import gitserver
from tests.sums import PROJECT, change_row, flip_byte, git, project, set_variable, shell
from tests.test_store_codec import records
from tests.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlrun.files import Cache, Home
    from mlrun.model import Caller
    from tests.shells import Shell

__all__ = ["project", "shell"]  # fixtures


def run(shell: Shell, *options: str) -> None:
    done = shell.mlrun("run", ".", "--env-manager", "system", "-q", *options)
    assert done.returncode == 0, done.stderr


def diff(shell: Shell, *words: str, code: int = 1) -> dict[str, Any]:
    done = shell.ask("diff", *(words or ("latest~1",)), "--json")
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def change_line(project: Path) -> None:
    program = project / "train.py"
    program.write_text(program.read_text().replace("total + 0", "total + 1"))


def commit_line(project: Path) -> None:
    change_line(project)
    git(project, "commit", "--quiet", "--all", "--message", "One more")


def touch_image(project: Path) -> None:
    (project / "data/images/b.png").write_bytes(b"B")
    (project / "data/images/c.png").write_bytes(b"c")


SABOTAGE: dict[str, tuple[Callable[[Path], object], tuple[str, ...], tuple[str, str, str]]] = {
    "one byte of data": (flip_byte, (), ("data", "data/blob.bin", "other content")),
    "a row after row 10,000": (
        lambda project: change_row(project / "data/train.csv", 11_523),
        (),
        ("data", "data/train.csv", "1 row of 12,000 changed"),
    ),
    "a file of a folder": (
        touch_image,
        (),
        ("data", "data/images", "1 of 2 files changed, 1 files added"),
    ),
    "a line of code": (change_line, (), ("code", "train.py", "+1 −1")),
    "a line of code, committed": (commit_line, (), ("code", "train.py", "+1 −1")),
    "a parameter": (lambda _: None, ("-P", "alpha=0.6"), ("parameters", "alpha", "0.5 → 0.6")),
    "a variable": (set_variable, (), ("variables", "SCALE", "1 → 2")),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", SABOTAGE)
def test_sabotage_is_the_first_cause(what: str, shell: Shell, project: Path) -> None:
    change, options, (kind, name, text) = SABOTAGE[what]
    run(shell)
    change(project)
    run(shell, *options)
    found = diff(shell)
    first = found["causes"][0]
    assert (first["kind"], first["name"]) == (kind, name)
    assert text in first["text"]
    assert len(found["causes"]) == 1
    assert found["verdict"] == "different"


def test_the_same_twice_is_one_line(shell: Shell) -> None:
    run(shell)
    run(shell)
    done = shell.mlrun("diff", "latest~1")
    assert done.stdout == ("same: code, data, parameters, environment, machine (1 metric, 2 outputs)\n")
    assert done.returncode == 0


def test_the_text_begins_with_the_verdict_and_shows_the_patch(shell: Shell, project: Path) -> None:
    run(shell)
    commit_line(project)
    (project / "notes.txt").write_text("new\n")
    change_row(project / "data/train.csv", 11_523)
    run(shell, "-P", "alpha=0.6")
    done = shell.mlrun("diff", "latest~1", "latest", "--patch")
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "different: 1 metric, 1 output; most likely because of: data/train.csv (1 row of 12,000 changed), "
        "train.py (+1 −1), notes.txt (added) and 1 more"
    )
    assert "                 first at row 11,523: quality 0 → 9" in lines
    assert "             1 commit only in the second:" in lines
    assert '+json.dump({"rmse": total + 1}, open("metrics.json", "w"))' in lines
    assert "+new" in lines
    assert "train.csv" not in done.stdout.partition("diff --git")[2]
    assert "\x1b" not in done.stdout


@pytest.mark.slow
def test_two_states_without_a_commit_are_compared_too(shell: Shell, project: Path) -> None:
    shutil.rmtree(project / ".git")
    run(shell)
    change_line(project)
    change_row(project / "data/train.csv", 3)
    run(shell)
    found = diff(shell)
    assert [(cause["kind"], cause["name"]) for cause in found["causes"]] == [
        ("data", "data/train.csv"),
        ("code", "train.py"),
    ]
    assert found["code"]["items"][0]["lines_added"] == 1


@pytest.mark.slow
def test_pipelines_are_compared_by_what_their_steps_were_given_and_made(shell: Shell, project: Path) -> None:
    (project / "MLproject").write_text(
        "name: both\nentry_points:\n"
        "  train:\n    parameters: {alpha: {default: '1'}}\n    outputs: [a.out]\n"
        "    command: echo {alpha} > a.out\n"
        "  main: {inputs: [a.out], outputs: [b.out], command: cp a.out b.out}\n"
    )
    (project / ".gitignore").write_text("*.out\n")
    run(shell)
    run(shell)
    assert diff(shell, "latest~1", code=0)["verdict"] == "same"  # the second came from the cache
    run(shell, "-P", "train.alpha=2")
    found = diff(shell, "latest~1")
    assert found["summary"] == ("different: 2 outputs; most likely because of: parameter train.alpha 1 → 2")
    assert found["unknown"] == []


@pytest.mark.slow
def test_a_repository_that_has_gone_is_said(shell: Shell, project: Path) -> None:
    run(shell)
    commit_line(project)
    run(shell)
    shutil.rmtree(project / ".git")
    found = diff(shell)
    assert found["causes"][0]["kind"] == "code"
    assert found["code"]["remarks"][-1] == (
        "which files differ cannot be told: no repository at hand has both"
    )


@pytest.mark.slow
def test_runs_of_a_url_are_compared_through_their_mirror(shell: Shell, project: Path, tmp_path: Path) -> None:
    git(project, "add", "--force", "data")
    git(project, "commit", "--quiet", "--message", "data")
    first = git(project, "rev-parse", "HEAD").strip()
    commit_line(project)
    change_row(project / "data/train.csv", 11_523)
    git(project, "commit", "--quiet", "--all", "--message", "A row")
    git(project, "clone", "--quiet", "--bare", ".", str(tmp_path / "served/repo.git"))
    shell.cwd = tmp_path
    with gitserver.daemon(tmp_path / "served") as url:
        for version in (first, "HEAD"):
            done = shell.mlrun("run", f"{url}/repo.git", "-v", version, "--env-manager", "system", "-q")
            assert done.returncode == 0, done.stderr
    found = diff(shell)
    assert [cause["text"] for cause in found["causes"]] == [
        "data/train.csv (1 row of 12,000 changed)",
        "train.py (+1 −1)",
    ]
    assert [commit["subject"] for commit in found["code"]["commits"]] == ["A row", "One more"]


@pytest.mark.slow
def test_a_moved_input_is_no_cause(shell: Shell, project: Path, tmp_path: Path) -> None:
    run(shell)
    shutil.copyfile(project / "data/train.csv", tmp_path / "copy.csv")
    run(shell, "-P", f"table={tmp_path / 'copy.csv'}")
    found = diff(shell)
    because = {item["name"]: item["because"] for item in found["parameters"]["items"]}
    assert because == {"table": "data", "token": None}  # of a secret, nothing is told
    assert found["metrics"]["items"] == []


@pytest.mark.slow
def test_runs_that_failed_or_go_on_are_compared(shell: Shell, project: Path) -> None:
    (project / "train.py").write_text("import time; print('here', flush=True); time.sleep(60)")
    going = shell.start("run", ".", "--env-manager", "system")
    try:
        assert going.stdout is not None
        assert going.stdout.readline() == "here\n"
        assert diff(shell, "latest", "latest", code=2)["verdict"] == "unknown"
    finally:
        going.terminate()
        going.communicate()
    (project / "train.py").write_text("raise SystemExit(3)")
    shell.mlrun("run", ".", "--env-manager", "system")
    found = diff(shell)
    assert found["status"]["items"][0]["before"] == "killed"
    assert found["causes"][0]["name"] == "train.py"
    assert shell.mlrun("diff", "nothing").returncode == 2


@pytest.mark.slow
def test_a_package_of_another_patch_version_is_the_first_cause(shell: Shell, tmp_path: Path) -> None:
    for version in ("1.0.0", "1.0.1"):
        make_wheel(tmp_path / "wheels", "tinything", version)
    shell.variables |= {"UV_FIND_LINKS": str(tmp_path / "wheels"), "UV_NO_INDEX": "1"}
    for version in ("1.0.0", "1.0.1"):
        (shell.cwd / "MLproject").write_text(PROJECT.replace("[]", f"['tinything=={version}']", 1))
        done = shell.mlrun("run", ".", "-q")
        assert done.returncode == 0, done.stderr
    found = diff(shell)
    assert [cause["text"] for cause in found["causes"]] == ["package tinything 1.0.0 → 1.0.1"]
    assert found["packages"]["items"][0]["direction"] == "up"


# --- by records ---------------------------------------------------------------------------------------

TREE = "1" * 40
RECORD = RunRecord(
    id="a" * 32,
    name="brave-otter",
    status="finished",
    project="wine",
    target=".",
    entry_point="main",
    started_at="2026-11-21T08:00:00.123Z",
    mlrun_version="0.1.0",
    exit_code=0,
    source=SourceFacts(kind="directory", tree=TREE, directory="/nowhere"),
    command=CommandFacts(text="python train.py --a 1", argv=(), cwd="."),
    parameters=(BoundParameter(name="a", value="1", text="1", kind="string", origin="default"),),
    environment=EnvironmentFacts(
        kind="docker",
        key=Digest("blake3:" + "ab" * 32),
        python="3.11.7",
        image=Image(name="python:3.11", id="sha256:ab", platform="linux/amd64"),
        packages=(Package(name="numpy", version="1.26.4"),),
    ),
    env_vars=(("HOME", None),),
    metrics=(Metric(name="rmse", last=0.7, minimum=0.7, maximum=0.7),),
    host=HostFacts(name="one", os="Debian", machine="x86_64", cpu="EPYC", cores=2, memory=8 << 30),
)


@pytest.fixture
def compared(home: Home, cache: Cache, caller: Caller) -> Callable[[RunRecord, RunRecord], Difference]:
    def compare(before: RunRecord, after: RunRecord) -> Difference:
        return difference(before, after, store=Store(home), cache=cache, caller=caller)

    return compare


def parameter(name: str, text: str, *, secret: bool = False) -> BoundParameter:
    return BoundParameter(
        name=name, value=text, text=text, kind="string", origin="command line", secret=secret
    )


def with_environment(**changes: object) -> RunRecord:
    assert RECORD.environment is not None
    return replace(RECORD, environment=replace(RECORD.environment, **changes))


def with_host(**changes: object) -> RunRecord:
    assert RECORD.host is not None
    return replace(RECORD, host=replace(RECORD.host, **changes))


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (
            with_environment(image=Image(name="python:3.11", id="sha256:cd", platform="linux/amd64")),
            "image python:3.11 (the name has moved to another image)",
        ),
        (
            with_environment(packages=(Package(name="numpy", version="1.26.5"),)),
            "package numpy 1.26.4 → 1.26.5",
        ),
        (with_environment(packages=()), "package numpy removed (1.26.4)"),
        (with_environment(kind="venv"), "kind docker → venv"),
        (with_host(cpu="Xeon"), "the machine's CPU EPYC → Xeon"),
        (with_host(cores=None), "the machine's cores removed (2)"),
        (
            replace(RECORD, env_vars=(("HOME", None), ("OMP_NUM_THREADS", None))),
            "variable OMP_NUM_THREADS added",
        ),
        (replace(RECORD, env_vars=(("HOME", "/x"),)), "variable HOME (not recorded) → /x"),
        (replace(RECORD, entry_point="train"), "entry point main → train"),
        (replace(RECORD, command=CommandFacts(text="python other.py", argv=(), cwd=".")), "the command"),
        (
            replace(RECORD, parameters=tuple(parameter(name, "2") for name in "abc")),
            "3 parameters (a 1 → 2, …)",
        ),
    ],
)
def test_each_kind_of_fact_is_a_cause(
    after: RunRecord, text: str, compared: Callable[[RunRecord, RunRecord], Difference]
) -> None:
    assert [cause.text for cause in compared(RECORD, after).causes] == [text]


def test_another_machine_of_the_same_make_is_the_same(
    compared: Callable[[RunRecord, RunRecord], Difference],
) -> None:
    other = replace(
        with_host(name="two", memory=(8 << 30) + 4096), user="eve", started_at="2026-11-22T08:00:00Z"
    )
    assert compared(RECORD, other).verdict == "same"


def test_causes_come_in_their_order(compared: Callable[[RunRecord, RunRecord], Difference]) -> None:
    after = with_environment(python="3.12.1", packages=(Package(name="numpy", version="2"),))
    after = replace(
        after,
        parameters=(parameter("a", "2"),),
        inputs=(Artifact(path="x.csv", kind="data", digest=None, size=0, files=1),),
        source=SourceFacts(kind="directory", tree="2" * 40, directory="/nowhere"),
        host=None,
    )
    found = compared(RECORD, after)
    kinds = [cause.kind for cause in found.causes]
    assert kinds == ["data", "code", "parameters", "packages", "python"]
    assert kinds == [kind for kind in CAUSES if kind in kinds]


@pytest.mark.parametrize(
    ("before", "after", "explained"),
    [
        ("train.py --a 1 --b 1", "train.py --a 2 --b 1", True),
        ("train.py --a 1", "train.py --a 2 --fast", False),
        ("train.py --a=1", "train.py --a=2", True),
        ("train.py --a 1", "train.py --a 1 --c 'x y'", True),
        ("train.py --a 1", "test.py --a 2", False),
        ("train.py '--a 1", "train.py '--a 2", True),
        ("train.py --a 1", "train.py --a 2 --c 'x y'", True),
    ],
)
def test_what_a_parameter_puts_into_the_command_is_no_cause_of_its_own(
    before: str, after: str, explained: bool
) -> None:
    one = replace(RECORD, command=CommandFacts(text=before, argv=(), cwd="."))
    other = replace(
        RECORD,
        command=CommandFacts(text=after, argv=(), cwd="."),
        parameters=(parameter("a", "2"), parameter("c", "x y")),
    )
    (item,) = call.command(one, other).items
    assert (item.because == "parameters") == explained


@pytest.mark.parametrize(
    ("directory", "command", "same"),
    [
        ("/home/bob/wine", "python train.py /home/bob/wine/data.csv --out=/home/bob/wine", True),
        ("/nowhere", f"python train.py /caches/work-v1/{'b' * 32}/data.csv --out=/c/{'b' * 32}", True),
        ("/nowhere", f"python train.py /caches/work-v1/{'c' * 32}/data.csv --out=/c/{'c' * 32}", True),
        ("/home/bob/wine", "python train.py /home/bob/wine2/data.csv --out=/home/bob/wine", False),
        ("/home/bob", "python train.py /home/bob/wine/data.csv --out=/home/bob", False),
    ],
)
def test_the_folder_that_a_command_ran_in_is_no_difference(directory: str, command: str, same: bool) -> None:
    one = replace(
        RECORD,
        command=CommandFacts(text="python train.py /nowhere/data.csv --out=/nowhere", argv=(), cwd="."),
    )
    other = replace(
        RECORD,
        id="b" * 32,
        parents=(("pipeline", "c" * 32),),
        source=SourceFacts(kind="directory", tree=TREE, directory=directory),
        command=CommandFacts(text=command, argv=(), cwd="."),
    )
    assert (call.command(one, other).items == ()) == same


def test_a_secret_is_unknown_but_for_results_that_speak(
    compared: Callable[[RunRecord, RunRecord], Difference],
) -> None:
    secret = replace(RECORD, parameters=(parameter("key", "***", secret=True),))
    assert compared(secret, secret).verdict == "same"
    silent = replace(secret, metrics=())
    found = compared(silent, silent)
    assert found.verdict == "unknown"
    assert view.verdict(found) == "cannot tell: parameters: key (secret: its value is in no record)"


@pytest.mark.parametrize("lacking", ["source", "environment", "command", "host"])
def test_a_record_that_lacks_facts_cannot_be_told(
    lacking: str, compared: Callable[[RunRecord, RunRecord], Difference]
) -> None:
    found = compared(RECORD, replace(RECORD, **{lacking: None}))
    assert found.verdict == "unknown"
    assert "the second record lacks" in found.unknown[0]


def test_what_was_not_watched_is_not_held_against_it(
    compared: Callable[[RunRecord, RunRecord], Difference],
) -> None:
    read = Artifact(path="/etc/a.csv", kind="data", digest=Digest("d"), size=1, files=1, declared=False)
    watched = replace(RECORD, observed="shim", inputs=(read,), outputs=(read,))
    assert compared(replace(RECORD, observed="off"), watched).verdict == "same"
    found = compared(replace(RECORD, observed="strace"), watched)
    assert [cause.text for cause in found.causes] == ["/etc/a.csv (added)"]
    because = replace(watched, parameters=(parameter("a", "2"),))
    assert [cause.kind for cause in compared(replace(RECORD, observed="shim"), because).causes] == [
        "parameters"
    ]


def test_nothing_recorded_explains_it(compared: Callable[[RunRecord, RunRecord], Difference]) -> None:
    after = replace(RECORD, metrics=(Metric(name="rmse", last=0.6, minimum=0, maximum=1),))
    found = compared(RECORD, after)
    assert found.causes == ()
    assert "nothing that is recorded explains it" in view.verdict(found)
    assert view.describe(found)[-1] == ("metrics", "~ rmse  0.7 → 0.6  (-0.1, -14.29 %, better)")


def test_odd_numbers_are_compared(compared: Callable[[RunRecord, RunRecord], Difference]) -> None:
    def measured(value: float) -> RunRecord:
        return replace(RECORD, metrics=(Metric(name="loss", last=value, minimum=value, maximum=value),))

    nan, infinite = float("nan"), float("inf")
    assert compared(measured(nan), measured(nan)).verdict == "same"
    for pair in ((nan, 1.0), (0.0, 1.0), (infinite, -infinite), (1.0, 1.0 + 1e-15)):
        found = compared(*map(measured, pair))
        assert found.verdict == "different"
        assert json.loads(json.dumps(view.as_json(found), allow_nan=True))


@pytest.mark.parametrize(
    ("name", "better"),
    [
        *(
            (name, -1)
            for name in ("loss", "val_loss", "RMSE", "mae", "error_rate", "valLoss", "log-loss", "wer")
        ),
        *(
            (name, 1)
            for name in ("accuracy", "val_acc", "AUC", "f1", "r2", "eval/f1_score", "mAP50", "recall@5")
        ),
        *((name, 0) for name in ("epoch", "lr", "n", "samples_per_second", "temperature", "time")),
    ],
)
def test_which_way_is_better(name: str, better: int) -> None:
    assert direction_of(name) == better


HOSTILE = "a\n| **b** [bold]x[/bold] <script>alert(1)</script>\x1b[31m\u202e`_`"


@pytest.fixture
def hostile(compared: Callable[[RunRecord, RunRecord], Difference]) -> Difference:
    """Names of others wherever a record holds any."""
    before = replace(
        RECORD,
        name=HOSTILE,
        parameters=(parameter(HOSTILE, HOSTILE),),
        env_vars=((HOSTILE, HOSTILE),),
        metrics=(Metric(name=HOSTILE, last=1, minimum=1, maximum=1),),
        inputs=(Artifact(path=HOSTILE, kind="data", digest=Digest("odd"), size=1, files=1),),
        error=Failure(code="x", message=HOSTILE),
        command=CommandFacts(text=HOSTILE, argv=(), cwd=HOSTILE),
    )
    return compared(before, replace(RECORD, project=HOSTILE))


def test_hostile_names_stay_text_in_markdown(hostile: Difference) -> None:
    text = view.markdown(hostile, everything=True)
    assert "<script" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {6}
    assert "[bold]" not in text.replace("\\[", "").replace("\\]", "")


@pytest.mark.slow
def test_hostile_names_stay_text_on_a_terminal(shell: Shell, project: Path, tmp_path: Path) -> None:
    name = "a\n[bold]<b>\x1b[31m"
    run(shell)
    (project / name).write_text("1\n")
    run(shell, "-P", f"table={shutil.copy(project / 'data/train.csv', tmp_path / name)}", "-P", "[bold]=1")
    for options in ((), ("--all",), ("--patch",), ("--md",)):
        done = shell.ask("diff", "latest~1", *options)
        assert done.returncode == 1
        assert "\x1b" not in done.stdout
        assert "[bold" in done.stdout
    assert diff(shell)["code"]["items"][0]["name"] == name


def test_what_only_passes_on_a_cause_is_one_only_when_alone() -> None:
    empty = {kind: Section(kind=kind) for kind in CAUSES}
    command = Section(
        kind="command",
        items=(Item(name="command", change="changed", before="a", after="b", because="parameters"),),
    )
    assert [cause.kind for cause in causes.causes_of(tuple({**empty, "command": command}.values()))] == [
        "command"
    ]


def strange(text: str) -> set[str]:
    """What a terminal or a page may obey."""
    return {mark for mark in text if not mark.isprintable() and mark != "\n"}


@settings(
    max_examples=25,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(before=records, after=records, alike=st.booleans())
def test_any_two_records_are_compared(
    before: RunRecord,
    after: RunRecord,
    alike: bool,
    compared: Callable[[RunRecord, RunRecord], Difference],
) -> None:
    after = replace(before, id=after.id, started_at=after.started_at) if alike else after
    found = compared(before, after)
    assert found.verdict in (("same", "unknown") if alike else ("same", "different", "unknown"))
    assert bool(found.causes) <= (found.verdict == "different")
    text = view.markdown(found, everything=True)
    assert not strange(text)
    json.dumps(view.as_json(found))
    assert view.describe(found, everything=True)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({"found": (("OMP_NUM_THREADS", "1"),)}, {"found": (("OMP_NUM_THREADS", "2"),)}, ["OMP_NUM_THREADS"]),
        ({"found": (("OPENBLAS_CORETYPE", "Haswell"),)}, {}, ["OPENBLAS_CORETYPE"]),
        ({"variables": (("TZ", "UTC"),)}, {"found": (("TZ", "Asia/Tokyo"),)}, ["TZ"]),
        ({"variables": (("TZ", "UTC"),)}, {"found": (("TZ", "UTC"),)}, []),
        ({"variables": (("SOURCE_DATE_EPOCH", "1"),)}, {"variables": (("SOURCE_DATE_EPOCH", "2"),)}, []),
        ({"found": (("LC_ALL", "C"), ("LANG", "de"))}, {"found": (("LC_ALL", "C"), ("LANG", "en"))}, []),
        ({"umask": 0o022}, {"umask": 0o077}, ["umask"]),
    ],
)
def test_what_decides_over_last_digits_is_named(
    compared: Callable[[RunRecord, RunRecord], Difference],
    ours: dict[str, Any],
    theirs: dict[str, Any],
    expected: list[str],
) -> None:
    names = (*RECORD.env_vars, ("OMP_NUM_THREADS", None), ("LANG", None))
    one, other = (
        replace(RECORD, env_vars=names, determinism=Determinism(**facts)) for facts in (ours, theirs)
    )
    section = next(it for it in compared(one, other).sections if it.kind == "variables")
    assert [item.name for item in section.items] == expected


def test_a_local_project_of_one_version_with_other_files_is_named(
    home: Home, compared: Callable[[RunRecord, RunRecord], Difference]
) -> None:
    text = b'[[packages]]\nname = "numpy"\n\n[[packages]]\nname = "own"\ndirectory = { path = "../own" }\n'
    packages = (Package(name="numpy", version="1.26.4"), Package(name="own", version="1.0"))
    lock = Store(home).objects.put_bytes(text)
    one, other = (
        with_environment(
            kind="venv", image=None, lock=lock, lock_kind="pylock.toml", packages=packages, key=key
        )
        for key in (Digest("blake3:" + "ab" * 32), Digest("blake3:" + "cd" * 32))
    )
    section = next(it for it in compared(one, other).sections if it.kind == "packages")
    assert [(it.name, it.change) for it in section.items] == [("own", "changed")]
