"""Runs that need not be made: found when nothing that matters changed, and never otherwise."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlrun import runner
from mlrun.caching.patterns import covering
from mlrun.check import check
from mlrun.errors import MlrunError
from mlrun.files import Cache, Home, remove_tree
from mlrun.model import Caller, Finding, RunRequest
from mlrun.store import Store
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlrun.model import RunRecord

VARIABLES = dict(os.environ)  # noqa: TID251  what a test starts from
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what a run reads is observed on Linux")


class Teller:
    """Remembers what was told."""

    def __init__(self) -> None:
        self.facts: list[tuple[str, str]] = []
        self.warnings: list[str] = []

    def fact(self, label: str, text: str) -> None:
        self.facts.append((label, text))

    def warn(self, finding: Finding) -> None:
        self.warnings.append(finding.message)

    def say(self, text: str) -> None:
        pass

    def progress(self, task: str, done: float | None) -> None:
        pass

    def output_begins(self) -> None:
        pass

    def output_ends(self) -> None:
        pass

    def pause(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory, warm_cache: Path) -> Cache:
    """One for all tests here."""
    root = tmp_path_factory.mktemp("caching") / "cache"
    return Cache(Path(shutil.copytree(warm_cache, root, symlinks=True)))


@pytest.fixture(scope="session")
def sink() -> Iterator[int]:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


class Project:
    """A project in a repository, and somebody who runs it."""

    def __init__(self, folder: Path, home: Home, cache: Cache, sink: int) -> None:
        self.folder = folder
        self.home = home
        self.cache = cache
        self.sink = sink
        self.variables = {name: text for name, text in VARIABLES.items() if not name.startswith("MLRUN_")}
        self.variables["PATH"] = "/usr/bin:/bin"
        self.told = Teller()
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str) -> None:
        subprocess.run(["git", *words], cwd=self.folder, check=True, capture_output=True)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def declare(self, command: str, **keys: Any) -> None:
        others = keys.pop("others", {})
        content = {"entry_points": {"main": {"command": command, "cache": True, **keys}, **others}}
        self.write("MLproject", json.dumps(content))

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "state", "--allow-empty")

    def run(self, *, target: str | None = None, **request: Any) -> RunRecord:
        self.told = Teller()
        stage = runner.Stage(
            caller=Caller(directory=str(self.folder), variables=self.variables),
            home=self.home,
            cache=self.cache,
            teller=self.told,
            stdout=self.sink,
            stderr=self.sink,
        )
        asked = RunRequest(target=target or str(self.folder), env_manager="system", **request)
        return runner.run(runner.take(asked, stage), stage)

    def status(self, **request: Any) -> str:
        return self.run(**request).status

    @property
    def why(self) -> str:
        return dict(self.told.facts).get("cache", "")

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()


@pytest.fixture
def project(tmp_path: Path, shared_cache: Cache, sink: int) -> Project:
    return Project(tmp_path / "project", Home(tmp_path / "home"), shared_cache, sink)


@pytest.fixture
def copying(project: Project) -> Project:
    """It copies what goes in to what comes out, by way of code."""
    project.write("data.txt", "data\n")
    project.write("copy.sh", "cat data.txt > out.txt\necho $1 >> out.txt\n")
    project.write(".gitignore", "out.txt\n")
    project.declare(
        "bash copy.sh {n}", inputs=["data.txt"], outputs=["out.txt"], parameters={"n": {"default": "1"}}
    )
    project.commit()
    return project


# --- hits -------------------------------------------------------------------------------------------------


def test_the_same_again_is_not_run(copying: Project) -> None:
    first = copying.run()
    again = copying.run()
    third = copying.run()
    assert [each.status for each in (first, again, third)] == ["finished", "cached", "cached"]
    assert dict(again.parents)["cached_from"] == dict(third.parents)["cached_from"] == first.id
    assert (again.exit_code, again.outputs, again.inputs) == (0, first.outputs, first.inputs)
    assert again.cache_key == first.cache_key is not None
    label, text = copying.told.facts[-1]
    assert (label, text.startswith(f"from {first.name}, ")) == ("cached", True)
    assert "; saved " in text


def test_a_cached_run_is_listed_and_leads_to_its_original(copying: Project) -> None:
    from mlrun.store import Query

    first, again = copying.run(), copying.run()
    store = Store(copying.home)
    assert [row.id for row in store.query(Query(statuses=("cached",)))] == [again.id]
    assert [row.id for row in store.query(Query(where="status = cached"))] == [again.id]
    assert store.load(again.id) == again
    assert store.find("latest") == again.id
    assert dict(store.load(again.id).parents) == {"cached_from": first.id}


def test_without_a_word_nothing_is_cached(copying: Project) -> None:
    copying.declare("cat data.txt > out.txt", outputs=["out.txt"], cache=False)
    assert [copying.status() for _ in range(2)] == ["finished", "finished"]
    assert [copying.status(cache=True) for _ in range(2)] == ["finished", "cached"]


def test_a_run_without_the_cache_can_be_found_by_later_ones(copying: Project) -> None:
    assert [copying.status(cache=False) for _ in range(2)] == ["finished", "finished"]
    assert copying.status() == "cached"


def test_metrics_and_their_steps_are_those_of_the_original(copying: Project) -> None:
    copying.declare("echo '{{\"loss\": 0.5}}' > m.json", outputs=[{"path": "m.json", "kind": "metrics"}])
    first, again = copying.run(), copying.run()
    assert (again.status, again.metrics) == ("cached", first.metrics)
    series = [copying.home.run(each.id).metrics.read_bytes() for each in (first, again)]
    assert series[0] == series[1] != b""


def test_a_clone_elsewhere_is_the_same_project(copying: Project, tmp_path: Path) -> None:
    copying.run()
    copying.git("clone", "-q", ".", str(tmp_path / "clone"))
    assert copying.status(target=str(tmp_path / "clone")) == "cached"
    assert (tmp_path / "clone/out.txt").read_text() == "data\n1\n"


def test_a_commit_of_an_url_is_the_same_as_the_folder(copying: Project) -> None:
    copying.run()
    assert copying.status(target=copying.folder.as_uri()) == "cached"


def test_what_is_for_people_does_not_count(copying: Project) -> None:
    copying.run()
    copying.write("README.md", "news\n")
    assert copying.status() == "cached"


def test_what_other_entry_points_make_does_not_count(copying: Project) -> None:
    other = {"other": {"command": "echo > made/by/other", "outputs": ["made/by/"]}}
    copying.declare("cat copy.sh > out.txt", outputs=["out.txt"], others=other)
    copying.run()
    copying.write("made/by/other", "something")
    assert copying.status() == "cached"


# --- misses -----------------------------------------------------------------------------------------------


def test_each_thing_that_decides_a_result_makes_another_run(copying: Project) -> None:
    copying.run()
    assert copying.status(parameters=(("n", "2"),)) == "finished"
    copying.write("data.txt", "other\n")
    assert copying.status() == "finished"
    copying.write("copy.sh", "cat data.txt > out.txt\n")
    assert copying.status() == "finished"
    copying.write("new.sh", "")
    assert copying.status() == "finished"
    (copying.folder / "copy.sh").chmod(0o755)
    assert copying.status() == "finished"
    copying.variables["OMP_NUM_THREADS"] = "7"
    assert copying.status() == "finished"
    copying.variables["PYTHONPATH"] = "/elsewhere"
    assert copying.status() == "finished"
    copying.declare("bash copy.sh", inputs=["data.txt"], outputs=["out.txt"], env={"A": "1"})
    assert copying.status() == "finished"
    copying.declare("bash copy.sh", inputs=["data.txt"], outputs=["out.txt"], env={"A": "2"})
    assert copying.status() == "finished"
    assert copying.status() == "cached"


def test_what_went_before_is_found_again(copying: Project) -> None:
    first = copying.run()
    copying.run(parameters=(("n", "2"),))
    again = copying.run()
    assert dict(again.parents)["cached_from"] == first.id
    assert copying.read("out.txt") == "data\n1\n"
    assert copying.told.warnings == [f"`out.txt`: changed since {first.name} made it, and put back"]


def test_a_run_that_failed_stands_in_for_none(copying: Project) -> None:
    copying.declare("echo > out.txt; exit 3", outputs=["out.txt"])
    assert [copying.status() for _ in range(2)] == ["failed", "failed"]


def test_a_run_that_did_not_write_its_outputs_stands_in_for_none(copying: Project) -> None:
    copying.declare("true", outputs=["out.txt"])
    assert [copying.status() for _ in range(2)] == ["finished", "finished"]
    assert any("cannot stand in" in text and "was not written" in text for text in copying.told.warnings)
    copying.write("out.txt", "of old")
    assert [copying.status() for _ in range(2)] == ["finished", "finished"]


def test_leftovers_in_an_output_folder_are_not_taken_for_results(copying: Project) -> None:
    copying.write(".gitignore", "plots/\n")
    copying.declare(
        "mkdir -p plots; echo > plots/{n}.txt", outputs=["plots"], parameters={"n": {"default": "1"}}
    )
    first = copying.run()
    copying.write("plots/mine.txt", "mine")
    copying.run(parameters=(("n", "2"),))
    assert (
        f"`plots/1.txt`: left by {first.name}, no output of this run, and taken away" in copying.told.warnings
    )
    assert any("`plots/mine.txt`, an output, was there before" in text for text in copying.told.warnings)
    assert copying.status(parameters=(("n", "2"),)) == "finished"
    (copying.folder / "plots/mine.txt").unlink()
    assert [copying.status(parameters=(("n", "2"),)) for _ in range(2)] == ["finished", "cached"]


def test_nor_are_leftovers_that_a_pattern_names(copying: Project) -> None:
    copying.write(".gitignore", "*.part\n")
    copying.declare(
        "for i in $(seq {n}); do echo > $i.part; done", outputs=["*.part"], parameters={"n": {"default": "1"}}
    )
    copying.run()
    assert copying.status() == "cached"
    copying.run(parameters=(("n", "2"),))
    assert copying.status() == "finished"
    assert any("2.part" in text for text in copying.told.warnings)
    assert not (copying.folder / "2.part").exists()
    assert copying.status() == "cached"


def test_what_changes_while_a_run_is_made_does_not_spoil_the_cache(copying: Project) -> None:
    """Whoever edits code or data meanwhile: the key is of before, the result perhaps of after."""
    script = "cat data.txt > out.txt; echo changed > data.txt"
    copying.declare(script, inputs=["data.txt"], outputs=["out.txt"])
    copying.run()
    assert any("input `data.txt` changed while it ran" in text for text in copying.told.warnings)
    copying.write("data.txt", "data\n")
    assert copying.status() == "finished"
    copying.declare("cat copy.sh > out.txt; echo >> other.sh", outputs=["out.txt"])
    copying.run()
    assert any("`other.sh`, which counts as code" in text for text in copying.told.warnings)


def test_a_secret_parameter_counts_and_is_nowhere_to_be_found(copying: Project) -> None:
    parameters = {"key": {"type": "string", "secret": True}}
    copying.declare("echo {key} | wc -c > out.txt", outputs=["out.txt"], parameters=parameters)
    secret = "hunter2hunter2"
    assert [copying.status(parameters=(("key", secret),)) for _ in range(2)] == ["finished", "cached"]
    assert copying.status(parameters=(("key", "another"),)) == "finished"
    for path in (*copying.home.runs.rglob("*.json"), *copying.home.cached.rglob("*")):
        if path.is_file():
            assert secret.encode() not in path.read_bytes()


# --- what a run reads without a declaration ---------------------------------------------------------------


@pytest.fixture
def reading(project: Project) -> Project:
    """Only `main.sh` is its code; all that it reads besides nobody declares."""
    project.write(".gitignore", "out.txt\nignored*\n")
    project.declare("bash main.sh", outputs=["out.txt"], code=["main.sh"])
    return project


def test_an_unlisted_project_file_that_was_read_counts(reading: Project) -> None:
    reading.write("main.sh", "cat other.txt > out.txt")
    reading.write("other.txt", "1")
    reading.write("unread.txt", "1")
    assert [reading.status() for _ in range(2)] == ["finished", "cached"]
    reading.write("unread.txt", "2")
    assert reading.status() == "cached"
    reading.write("other.txt", "2")
    assert reading.status() == "finished"
    assert "`other.txt`, which it read and did not declare, changed since" in reading.why
    assert reading.read("out.txt") == "2"


def test_an_ignored_file_and_one_elsewhere_count(reading: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.txt"
    elsewhere.write_text("1")
    reading.write("ignored.txt", "1")
    reading.write("main.sh", f"cat ignored.txt {elsewhere} > out.txt")
    assert [reading.status() for _ in range(2)] == ["finished", "cached"]
    reading.write("ignored.txt", "2")
    assert [reading.status() for _ in range(2)] == ["finished", "cached"]
    elsewhere.write_text("2")
    assert [reading.status() for _ in range(2)] == ["finished", "cached"]
    elsewhere.unlink()
    assert reading.status() == "failed"


def test_a_file_that_was_looked_for_and_has_come_counts(reading: Project, tmp_path: Path) -> None:
    local = tmp_path / "local.cfg"
    reading.write("main.sh", f"[ -e {local} ] && cat {local} > out.txt || echo none > out.txt")
    assert [reading.status() for _ in range(2)] == ["finished", "cached"]
    local.write_text("here")
    assert reading.status() == "finished"
    assert "has come since" in reading.why
    assert reading.read("out.txt") == "here"


def test_a_file_that_was_only_looked_at_and_has_gone_counts(reading: Project, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    mark.touch()
    reading.write("main.sh", f"[ -e {mark} ] && echo marked > out.txt || echo none > out.txt")
    assert [reading.status() for _ in range(2)] == ["finished", "cached"]
    mark.unlink()
    assert reading.status() == "finished"
    assert reading.read("out.txt") == "none\n"


def test_a_file_that_has_come_into_a_folder_that_was_listed_counts(reading: Project) -> None:
    (reading.folder / "ignored").mkdir()
    reading.write("ignored/1.log", "")
    reading.write("main.sh", "shopt -s nullglob; echo ignored/*.csv > out.txt")
    assert [reading.status() for _ in range(2)] == ["finished", "cached"]
    reading.write("ignored/1.csv", "")
    assert reading.status() == "finished"
    assert reading.read("out.txt") == "ignored/1.csv\n"


@pytest.mark.parametrize("word", ["README.md", "1.csv"])
def test_names_of_any_kind_count_in_a_folder_that_was_listed(reading: Project, word: str) -> None:
    (reading.folder / "ignored").mkdir()
    reading.write("main.sh", "ls ignored > out.txt")
    assert [reading.status() for _ in range(2)] == ["finished", "cached"]
    reading.write(f"ignored/{word}", "")
    assert reading.status() == "finished"


@pytest.mark.parametrize(
    "word", ["glob.glob('*.csv')", "os.listdir()", "glob.glob(os.path.abspath('') + '/*.csv')"]
)
def test_a_file_beside_narrow_code_counts_where_it_was_asked_for(reading: Project, word: str) -> None:
    names = f"names = {word}\nfor it in names:\n    it.endswith('.csv') and open(it).read()\n"
    reading.write("main.py", f"import glob, os, other\n{names}open('out.txt', 'w').write(str(len(names)))\n")
    reading.write("other.py", "")
    reading.write("a.csv", "1")
    reading.write(".gitignore", "out.txt\n__pycache__/\n")
    reading.declare(f"{sys.executable} main.py", outputs=["out.txt"], code=["main.py"])
    assert [reading.status() for _ in range(2)] == ["finished", "cached"]
    reading.write("b.csv", "2")
    assert reading.status() == "finished"


def test_a_file_beside_narrow_code_does_not_count_where_modules_are_imported(reading: Project) -> None:
    reading.write("main.py", "import other\nopen('out.txt', 'w').write('1')\n")
    reading.write("other.py", "")
    reading.write(".gitignore", "out.txt\n__pycache__/\n")
    reading.declare(f"{sys.executable} main.py", outputs=["out.txt"], code=["main.py"])
    assert [reading.status() for _ in range(2)] == ["finished", "cached"]
    reading.write("notes.txt", "")
    assert reading.status() == "cached"


def test_what_the_words_of_a_command_take_from_the_caller_counts(copying: Project, tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        tool = tmp_path / version / "tool"
        tool.parent.mkdir()
        tool.write_text(f"#!/bin/sh\necho {version}\n")
        tool.chmod(0o755)
    path = copying.variables["PATH"]
    copying.declare("tool > out.txt && echo $SHARE >> out.txt", outputs=["out.txt"])
    for version, share in (("v1", "1"), ("v2", "1"), ("v2", "2")):
        copying.variables |= {"PATH": f"{tmp_path}/{version}:{path}", "SHARE": share}
        assert [copying.status() for _ in range(2)] == ["finished", "cached"]
        assert copying.read("out.txt") == f"{version}\n{share}\n"
    (tmp_path / "v2" / "tool").write_text("#!/bin/sh\necho v3\n")
    assert copying.status() == "finished"


def test_a_link_to_what_a_run_did_not_write_is_no_output_to_keep(reading: Project) -> None:
    reading.write("ignored.txt", "1")
    reading.write("main.sh", "ln -f ignored.txt out.txt")
    assert [reading.status() for _ in range(2)] == ["finished", "finished"]
    assert any("hard link" in text for text in reading.told.warnings)


def test_a_link_out_of_an_input_keeps_an_unobserved_run_out_of_the_cache(
    reading: Project, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere.txt").write_text("1")
    (reading.folder / "ignored").mkdir()
    (reading.folder / "ignored/link").symlink_to(tmp_path / "elsewhere.txt")
    reading.write("main.sh", "cat ignored/link > out.txt")
    reading.declare("bash main.sh", inputs=["ignored"], outputs=["out.txt"], observe=False)
    assert [reading.status() for _ in range(2)] == ["finished", "finished"]
    assert any("lead out of it" in text for text in reading.told.warnings)


def test_what_git_keeps_otherwise_than_it_lies_there_counts_unobserved(reading: Project) -> None:
    reading.write(".gitattributes", "*.csv text\n")
    reading.write("a.csv", "1\n2\n")
    reading.write("main.sh", "wc -c < a.csv > out.txt")
    reading.declare("bash main.sh", outputs=["out.txt"], observe=False)
    reading.commit()
    assert [reading.status() for _ in range(2)] == ["finished", "cached"]
    (reading.folder / "a.csv").write_bytes(b"1\r\n2\r\n")
    assert reading.status() == "finished"


def test_a_link_to_another_folder_counts(reading: Project, tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "data.txt").write_text(version)
    (reading.folder / "ignored").symlink_to(tmp_path / "v1")
    reading.write("main.sh", "cat ignored/data.txt > out.txt")
    assert [reading.status() for _ in range(2)] == ["finished", "cached"]
    (reading.folder / "ignored").unlink()
    (reading.folder / "ignored").symlink_to(tmp_path / "v2")
    assert reading.status() == "finished"
    assert reading.read("out.txt") == "v2"


def test_a_program_of_the_projects_own_counts(reading: Project) -> None:
    reading.write("main.sh", "./ignored.tool > out.txt")
    for number in ("1", "2"):
        reading.write("ignored.c", f'#include <stdio.h>\nint main(void) {{ puts("{number}"); return 0; }}')
        subprocess.run(["cc", "-o", "ignored.tool", "ignored.c"], cwd=reading.folder, check=True)
        assert [reading.status() for _ in range(2)] == ["finished", "cached"]
        assert reading.read("out.txt") == f"{number}\n"


def test_what_git_was_told_to_overlook_counts(copying: Project) -> None:
    copying.run()
    copying.git("update-index", "--skip-worktree", "copy.sh")
    copying.write("copy.sh", "echo other > out.txt\n")
    assert copying.status() == "finished"
    assert copying.read("out.txt") == "other\n"


@pytest.mark.parametrize("word", ["--skip-worktree", "--assume-unchanged"])
def test_nor_is_it_overlooked_where_nobody_observes(copying: Project, word: str) -> None:
    copying.git("update-index", word, "copy.sh")
    assert [copying.status(observe="off") for _ in range(2)] == ["finished", "cached"]
    copying.write("copy.sh", "echo other > out.txt\n")
    assert copying.status(observe="off") == "finished"


def test_a_file_that_is_read_and_then_changed_keeps_a_run_out_of_the_cache(reading: Project) -> None:
    reading.write("ignored.count", "1")
    reading.write("main.sh", "cat ignored.count > out.txt; echo 2 > ignored.count")
    reading.run()
    assert any("`ignored.count`, which it wrote itself" in text for text in reading.told.warnings)
    assert reading.status() == "finished"


def test_a_run_that_nobody_observed_depends_on_all_that_lies_there(reading: Project) -> None:
    reading.write("main.sh", "cat other.txt ignored.txt > out.txt")
    reading.write("other.txt", "1")
    reading.write("ignored.txt", "1")
    assert [reading.status(observe="off") for _ in range(2)] == ["finished", "cached"]
    for name in ("other.txt", "ignored.txt", "new.txt", "ignored.new"):
        reading.write(name, "2")
        assert [reading.status(observe="off") for _ in range(2)] == ["finished", "cached"]
    assert reading.status() == "finished"  # it will be observed: what nobody watched is not good enough


def test_what_a_run_wrote_besides_is_put_back_too(reading: Project) -> None:
    reading.write("main.sh", "echo aside > ignored.aside; echo out > out.txt; echo line >> ignored.log")
    assert [reading.status() for _ in range(2)] == ["finished", "cached"]
    (reading.folder / "ignored.aside").unlink()
    reading.write("ignored.log", "line\nof another\n")
    assert reading.status() == "cached"
    assert reading.read("ignored.aside") == "aside\n"
    assert reading.read("ignored.log") == "line\nof another\n"
    reading.write("ignored.aside", "tampered")
    assert reading.status() == "finished"
    assert reading.read("ignored.aside") == "aside\n"


# --- putting back -----------------------------------------------------------------------------------------


@pytest.fixture
def making(project: Project) -> Project:
    """It makes a folder and a program."""
    project.write(".gitignore", "plots\ntool\n")
    script = "mkdir -p plots/deep; echo a > plots/a; echo b > plots/deep/b; ln -sf a plots/link"
    project.declare(f"{script}; echo true > tool; chmod +x tool", outputs=["plots", "tool"])
    project.commit()
    return project


def tree(folder: Path) -> dict[str, tuple[str, bool]]:
    """All that lies in a folder: contents or targets, and whether it can be executed."""
    return {
        path.relative_to(folder).as_posix(): (
            (f"-> {os.readlink(path)}", False)
            if path.is_symlink()
            else (path.read_text(), os.access(path, os.X_OK))
        )
        for path in sorted(folder.rglob("*"))
        if ".git" not in path.parts and (path.is_symlink() or path.is_file())
    }


def outputs_of(folder: Path) -> dict[str, tuple[str, bool]]:
    return {name: found for name, found in tree(folder).items() if name.startswith(("plots", "tool"))}


def test_outputs_are_put_back_as_they_were(making: Project) -> None:
    making.run()
    before = outputs_of(making.folder)
    for harm in (
        "rm -r plots",
        "rm plots/a",
        "rm -r plots tool",
        "echo x > plots/a",
        "echo x > plots/deep/b; rm plots/link",
        "chmod -x tool",
        "rm tool; ln -s /dev/null tool",
        "rm -r plots; ln -s /proc/self/fdinfo plots",
        "rm -r plots; echo > plots",
        "ln -sf deep plots/link",
    ):
        subprocess.run(["bash", "-c", harm], cwd=making.folder, check=True)
        assert (making.status(), harm) == ("cached", harm)
        assert (outputs_of(making.folder), harm) == (before, harm)
        assert not list(making.home.temporary.iterdir())


def test_nothing_is_written_through_a_link_or_removed_that_no_run_made(
    making: Project, tmp_path: Path
) -> None:
    making.run()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("mine")
    shutil.rmtree(making.folder / "plots")
    (making.folder / "tool").unlink()
    (making.folder / "tool").symlink_to(tmp_path / "mine/file")
    assert making.status() == "cached"
    assert (tmp_path / "mine/file").read_text() == "mine"
    making.write("plots/mine", "mine")
    making.write("plots/a", "x")
    assert making.status() == "finished"
    assert "`plots` holds `mine`, which it did not make" in making.why
    assert making.read("plots/mine") == "mine"


def test_an_output_behind_a_link_is_made_anew(making: Project, tmp_path: Path) -> None:
    making.declare("mkdir -p deep; echo a > deep/a", outputs=["deep/a"])
    making.run()
    (tmp_path / "elsewhere").mkdir()
    shutil.rmtree(making.folder / "deep")
    (making.folder / "deep").symlink_to(tmp_path / "elsewhere")
    assert making.status() == "finished"


def test_outputs_that_the_store_lost_are_made_anew(making: Project) -> None:
    making.run()
    remove_tree(making.home.objects, trash=making.home.trash)
    making.home.objects.mkdir()
    assert [making.status() for _ in range(2)] == ["finished", "cached"]


def test_a_damaged_object_is_never_put_back(making: Project) -> None:
    making.run()
    for path in making.home.objects.rglob("*"):
        if path.is_file() and path.read_bytes() == b"true\n":
            path.chmod(0o644)
            path.write_text("evil\n")
    (making.folder / "tool").unlink()
    assert making.status() == "finished"
    assert making.read("tool") == "true\n"


def test_removed_runs_and_lost_folders_are_no_hindrance(making: Project) -> None:
    first = making.run()
    second = making.run(cache=False)
    shutil.rmtree(making.home.cached, ignore_errors=False)
    assert making.status() == "finished"  # the number that keys are made with has gone, too
    third = making.run()
    assert third.status == "cached"
    for path in making.home.cached.iterdir():
        if path.name != "salt":
            remove_tree(path, trash=making.home.trash)
    assert making.status() == "cached"
    original = dict(third.parents)["cached_from"]
    assert original not in (first.id, second.id)
    Store(making.home).remove((original,))
    assert making.status() == "finished"


@pytest.mark.slow
def test_who_is_killed_while_outputs_are_put_back_leaves_them_whole_or_away(making: Project) -> None:
    making.declare(
        "mkdir plots; for i in 1 2 3; do head -c 20M /dev/zero > plots/$i; done; cp plots/1 tool",
        outputs=["plots", "tool"],
    )
    making.run()
    made = sorted(path.stat().st_size for path in making.folder.glob("plots/*"))
    command = [sys.executable, "-m", "mlrun", "run", str(making.folder), "--env-manager", "system", "-q"]
    variables = {**VARIABLES, "PATH": making.variables["PATH"], "MLRUN_HOME": str(making.home.root)}
    variables["MLRUN_CACHE"] = str(making.cache.root)
    seen = set()
    began, took = time.monotonic(), 0.0
    for number in range(13):
        shutil.rmtree(making.folder / "plots", ignore_errors=True)
        (making.folder / "tool").unlink(missing_ok=True)
        child = subprocess.Popen(command, env=variables, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(took * number / 10 if number else None)
        took = took or time.monotonic() - began
        child.kill()
        child.wait()
        if (making.folder / "plots").exists():
            assert sorted(path.stat().st_size for path in making.folder.glob("plots/*")) == made
            seen.add("plots")
        if (making.folder / "tool").exists():
            assert (making.folder / "tool").stat().st_size == made[0]
            seen.add("tool")
        names = {path.name for path in making.folder.iterdir()}
        assert names <= {".git", ".gitignore", "MLproject", "plots", "tool"}
    assert seen
    assert making.status() == "cached"


# --- words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "path", "covered"),
    [
        ("train.py", "train.py", True),
        ("train.py", "sub/train.py", False),
        ("lib/", "lib/a/b.py", True),
        ("lib", "library.py", False),
        (".", "anything/at/all", True),
        ("**/*.sql", "a.sql", True),
        ("**/*.sql", "a/b/c.sql", True),
        ("*.py", "a.py", True),
        ("*.py", "a/b.py", False),
        ("data/[ab].csv", "data/a.csv", True),
        ("data/[!ab].csv", "data/a.csv", False),
        ("data/[ab].csv", "data/[ab].csv", True),
        ("models/*", "models/deep/file", True),
    ],
)
def test_words_for_files(word: str, path: str, covered: bool) -> None:
    assert covering([word])(path) is covered


# --- never a wrong hit ------------------------------------------------------------------------------------

PROGRAM = """\
shopt -s nullglob
for part in lib/*.sh; do source $part; done
{
  echo "n=$1 mode=$MODE"
  cat data/in.txt conf/tracked.txt OUTSIDE/far.txt via/near.txt
  echo bag/*.txt; cat bag/*.txt /dev/null
  [ -e local.cfg ] && cat local.cfg || echo no local
  [ -x tool.sh ] && ./tool.sh || echo no tool
  readlink pointer
} > out.txt
mkdir -p plots
cp out.txt plots/copy.txt
printf '%s' "$1" > plots/number
cat out.txt > aside.log
"""


IN_PYTHON = """\
import glob, os, subprocess, sys
for part in sorted(glob.glob("lib/*.sh")):
    subprocess.run(["bash", part])
import helper
text = f"n={sys.argv[1]} mode={os.environ['MODE']} {helper.VALUE}\\n"
bag = sorted(glob.glob("bag/*.txt"))
for name in ["data/in.txt", "conf/tracked.txt", "OUTSIDE/far.txt", "via/near.txt", *bag]:
    text += name + open(name).read()
text += open("local.cfg").read() if os.path.exists("local.cfg") else "no local\\n"
text += f"{os.access('tool.sh', os.X_OK)} {os.readlink('pointer')} {sorted(os.listdir('conf'))}\\n"
try:
    import extra
    text += extra.VALUE
except ImportError:
    pass
open("out.txt", "w").write(text)
os.makedirs("plots", exist_ok=True)
open("plots/copy.txt", "w").write(text)
open("plots/number", "w").write(sys.argv[1])
open("aside.log", "w").write(text)
"""


class Fuzzed:
    """A project that reads in every way there is, with somebody who changes what he likes between runs."""

    def __init__(
        self, project: Project, chance: random.Random, tmp_path: Path, *, python: bool = False
    ) -> None:
        self.project = project
        self.program = (f"{sys.executable} -B main.py" if python else "bash main.sh").split()
        self.chance = chance
        self.outside = tmp_path / "outside"
        self.scratch = tmp_path / "scratch"
        self.mode, self.n, self.narrow, self.observe = "a", "1", False, "auto"
        for version in ("v1", "v2"):
            (self.outside / version).mkdir(parents=True)
            (self.outside / version / "near.txt").write_text(version)
        (self.outside / "far.txt").write_text("1")
        project.write(".gitignore", "out.txt\nplots\nbag\nlocal.cfg\nvia\naside.log\n")
        project.write("main.sh", PROGRAM.replace("OUTSIDE", str(self.outside)))
        project.write("main.py", IN_PYTHON.replace("OUTSIDE", str(self.outside)))
        project.write("helper.py", "VALUE = 1")
        project.write("bag/unread.log", "")
        for name in ("lib/a.sh", "data/in.txt", "conf/tracked.txt", "tool.sh"):
            project.write(name, self._content(name))
        (project.folder / "via").symlink_to(self.outside / "v1")
        (project.folder / "pointer").symlink_to("a")
        project.commit()

    def _content(self, name: str) -> str:
        number = self.chance.choice("12")
        return f"echo {name} {number}\n" if name.endswith(".sh") else f"{name} {number}\n"

    # --- what may happen between two runs

    def change(self) -> str:
        change = self.chance.choice([each for each in dir(self) if each.startswith("do_")])
        getattr(self, change)()
        return change

    def _path(self, *names: str) -> Path:
        return self.project.folder / self.chance.choice(names)

    def do_nothing(self) -> None:
        pass

    do_still_nothing = do_nothing_at_all = do_nothing_again = do_nothing_more = do_nothing

    def do_edit(self) -> None:
        path = self._path("lib/a.sh", "data/in.txt", "conf/tracked.txt", "local.cfg", "tool.sh")
        path.write_text(self._content(path.name))

    def do_add(self) -> None:
        path = self._path("lib/b.sh", "bag/x.txt", "bag/y.txt", "local.cfg", "README.md", "conf/unread.txt")
        path.write_text(self._content(path.name))

    def do_remove(self) -> None:
        names = ("lib/b.sh", "bag/x.txt", "bag/y.txt", "local.cfg", "conf/unread.txt", "extra.py")
        self._path(*names).unlink(missing_ok=True)

    def do_change_a_module(self) -> None:
        self._path("helper.py", "extra.py").write_text(f"VALUE = '{self.chance.choice('12')}'")

    def do_edit_elsewhere(self) -> None:
        if self.observe == "auto":  # elsewhere, what nobody sees has to be declared
            (self.outside / "far.txt").write_text(self.chance.choice("12"))

    def do_turn_a_bit(self) -> None:
        (self.project.folder / "tool.sh").chmod(self.chance.choice((0o644, 0o755)))

    def do_lead_a_link_elsewhere(self) -> None:
        link, target = self.chance.choice(
            [("via", f"{self.outside}/v1"), ("via", f"{self.outside}/v2"), ("pointer", "a"), ("pointer", "b")]
        )
        (self.project.folder / link).unlink()
        (self.project.folder / link).symlink_to(target)

    def do_ask_otherwise(self) -> None:
        self.n = self.chance.choice("12")

    def do_declare_otherwise(self) -> None:
        self.mode = self.chance.choice("ab")

    def do_narrow(self) -> None:
        self.narrow = self.chance.random() < 0.5

    def do_observe(self) -> None:
        self.observe = self.chance.choice(("auto", "auto", "off", "python"))
        if self.observe != "auto":
            (self.outside / "far.txt").write_text("1")

    def do_commit(self) -> None:
        self.project.commit()

    def do_overlook(self) -> None:
        word = self.chance.choice(("--skip-worktree", "--no-skip-worktree"))
        with contextlib.suppress(subprocess.CalledProcessError):
            self.project.git("update-index", word, "conf/tracked.txt")

    def do_harm_outputs(self) -> None:
        path = self._path("out.txt", "plots/copy.txt", "plots/number", "aside.log")
        if self.chance.random() < 0.5:
            path.unlink(missing_ok=True)
        elif path.parent.is_dir():
            path.write_text("harmed")

    def do_remove_a_folder(self) -> None:
        shutil.rmtree(self.project.folder / "plots", ignore_errors=True)

    def do_harm_the_store(self) -> None:
        objects = [path for path in self.project.home.objects.rglob("*") if path.is_file()]
        for path in self.chance.sample(objects, len(objects) // 2):
            path.unlink()

    def do_forget_runs(self) -> None:
        store = Store(self.project.home)
        ids = store.ids()
        store.remove(self.chance.sample(ids, len(ids) // 3))

    def do_forget_keys(self) -> None:
        shutil.rmtree(self.project.home.cached, ignore_errors=True)

    # --- and then

    def run(self) -> RunRecord:
        more = {"code": ["main.sh", "lib"]} if self.narrow else {}
        self.project.declare(
            f"{' '.join(self.program)} {{n}}",
            inputs=["data/in.txt"],
            outputs=["out.txt", "plots"],
            parameters={"n": {"default": "1"}},
            env={"MODE": self.mode},
            **more,
        )
        return self.project.run(parameters=(("n", self.n),), observe=self.observe)

    def from_scratch(self) -> dict[str, str]:
        """What the program makes where nothing was made before."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        ignored = shutil.ignore_patterns("out.txt", "plots", ".git", "aside.log")
        shutil.copytree(self.project.folder, self.scratch, symlinks=True, ignore=ignored)
        variables = {**self.project.variables, "MODE": self.mode}
        subprocess.run(
            [*self.program, self.n], cwd=self.scratch, env=variables, check=True, capture_output=True
        )
        return made_in(self.scratch)


def made_in(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in ("out.txt", "plots/copy.txt", "plots/number")}


def fuzz(project: Project, tmp_path: Path, *, seed: int, runs: int) -> int:
    """Let somebody change things and run again; how many runs were cached."""
    fuzzed = Fuzzed(project, random.Random(seed), tmp_path, python=seed % 2 == 1)
    cached, changes = 0, ["the beginning"]
    for _ in range(runs):
        record = fuzzed.run()
        assert made_in(project.folder) == fuzzed.from_scratch(), (seed, record.status, changes)
        cached += record.status == "cached"
        changes = [fuzzed.change() for _ in range(fuzzed.chance.choice((1, 1, 2)))]
    return cached


def test_a_hit_is_never_wrong(project: Project, tmp_path: Path) -> None:
    assert fuzz(project, tmp_path, seed=4, runs=8) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_a_hit_is_never_wrong_in_the_long_run(project: Project, tmp_path: Path, seed: int) -> None:
    assert fuzz(project, tmp_path, seed=seed, runs=50) > 3


# --- outputs of earlier runs, by name ---------------------------------------------------------------------


@pytest.fixture
def trained(project: Project) -> Project:
    """One entry point trains, another evaluates what some run has trained."""
    project.write(".gitignore", "model.txt\nplots\nscore.txt\n")
    train = {"command": "echo {n} > model.txt; mkdir -p plots; echo p{n} > plots/a", "cache": False}
    train |= {"parameters": {"n": {"default": "1"}}, "outputs": ["model.txt", "plots"]}
    parameters = {"model": {"type": "path", "default": "run:latest(entry=train):model.txt"}}
    project.declare(
        "cat {model} > score.txt", parameters=parameters, outputs=["score.txt"], others={"train": train}
    )
    return project


def test_an_output_of_an_earlier_run_goes_in_by_name(trained: Project) -> None:
    first = trained.run(entry_point="train")
    second = trained.run(entry_point="train", parameters=(("n", "2"),), tags=(("stage", "prod"),))
    record = trained.run()
    assert trained.read("score.txt") == "2\n"
    (read,) = record.inputs
    assert (read.parameter, read.digest, read.run) == ("model", second.outputs[0].digest, second.id)
    assert Store(trained.home).load(record.id).inputs == record.inputs
    assert record.parameters[0].value == "run:latest(entry=train):model.txt"
    assert not os.access(record.parameters[0].text, os.W_OK) or os.getuid() == 0
    for reference, expected in {
        f"run:{first.name}:model.txt": "1\n",
        f"run:{first.id[:12]}:plots/a": "p1\n",
        "run:latest~1(entry=train):model.txt": "1\n",
        "run:latest(tag=prod):model.txt": "2\n",
        f"run:latest(project={record.project}, entry=train):plots/a": "p2\n",
    }.items():
        trained.run(parameters=(("model", reference),))
        assert trained.read("score.txt") == expected


def test_a_repetition_is_not_the_latest(trained: Project) -> None:
    """It has the tags of its original, and may have been made with another parameter."""
    trained.run(entry_point="train", tags=(("stage", "prod"),))
    store = Store(trained.home)
    repeated = trained.run(entry_point="train", parameters=(("n", "3"),), tags=(("stage", "prod"),))
    store.save(replace(repeated, parents=(("reproduces", "of another"),)))
    for reference in ("run:latest:model.txt", "run:latest(entry=train,tag=prod):model.txt"):
        trained.run(parameters=(("model", reference),))
        assert trained.read("score.txt") == "1\n"


def test_the_same_content_of_another_run_is_the_same_input(trained: Project) -> None:
    trained.run(entry_point="train")
    assert [trained.status() for _ in range(2)] == ["finished", "cached"]
    trained.run(entry_point="train")
    assert trained.status() == "cached"
    trained.run(entry_point="train", parameters=(("n", "2"),))
    assert trained.status() == "finished"


def test_a_named_input_without_a_parameter_is_told_by_a_variable(trained: Project) -> None:
    trained.run(entry_point="train")
    trained.declare("cat $MLRUN_INPUT_1 > score.txt", inputs=["run:latest:model.txt"], outputs=["score.txt"])
    assert len(trained.run().inputs) == 1
    assert trained.read("score.txt") == "1\n"


def test_a_reference_that_leads_nowhere_is_an_error(trained: Project) -> None:
    trained.run(entry_point="train")
    for reference, code in (
        ("run:nobody:model.txt", "no-such-run"),
        ("run:latest:other.txt", "no-such-output"),
        ("run:latest(tag=prod):model.txt", "no-such-output"),
        ("run:latest(colour=red):model.txt", "bad-reference"),
        ("run:latest", "bad-reference"),
    ):
        with pytest.raises(MlrunError) as caught:
            trained.run(parameters=(("model", reference),))
        assert caught.value.code == code


def test_a_reference_that_leads_nowhere_is_told_with_its_line(trained: Project) -> None:
    for reference, code in (("run:nobody:model.txt", "no-such-run"), ("run:latest", "bad-reference")):
        trained.declare("cat $MLRUN_INPUT_1 > score.txt", inputs=[reference])
        with pytest.raises(MlrunError) as caught:
            trained.run()
        assert (caught.value.code, caught.value.place and caught.value.place.file) == (code, "MLproject")
        codes = {finding.code for finding in check(trained.folder).findings}
        assert ("bad-reference" in codes) == (code == "bad-reference")


def test_an_output_that_the_store_lost_is_an_error(trained: Project) -> None:
    trained.run(entry_point="train")
    remove_tree(trained.home.objects, trash=trained.home.trash)
    trained.home.objects.mkdir()
    with pytest.raises(MlrunError) as caught:
        trained.run()
    assert caught.value.code == "output-gone"
