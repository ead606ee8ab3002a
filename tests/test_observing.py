"""What runs read and wrote without saying so, in their records: by the command line, as a user sees it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import docker_engine, observe
from tests.shells import Shell

if TYPE_CHECKING:
    from collections.abc import Iterator

STRACE = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the shim is for Linux")
pytestmark = LINUX


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, warm_cache: Path, hashing_cache: Path) -> Path:
    """A home and a cache for all tests here."""
    places = tmp_path_factory.mktemp("places")
    shutil.copytree(warm_cache, places / "cache", symlinks=True)
    shutil.copytree(hashing_cache / "hash-v1", places / "cache" / "hash-v1")
    return places


class Project(Shell):
    """A folder with a project, and a user who runs it."""

    def __init__(self, places: Path, folder: Path) -> None:
        super().__init__(places, folder)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, command: str, **keys: Any) -> None:
        entry: dict[str, Any] = {"command": command}
        entry |= {name: keys.pop(name) for name in ("inputs", "outputs") if name in keys}
        content = {"entry_points": {"main": entry}, **keys}
        (self.folder / "MLproject").write_text(json.dumps(content))

    def record(self, *words: str, target: str = ".") -> dict[str, Any]:
        return super().record(target, "--env-manager", "system", *words)


@pytest.fixture
def project(places: Path, tmp_path: Path) -> Project:
    return Project(places, tmp_path / "project")


def paths(artifacts: list[dict[str, Any]]) -> list[str]:
    return [artifact["path"] for artifact in artifacts]


def test_inputs_and_outputs_are_in_the_record_without_a_declaration(project: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_text("far\n")
    (project.folder / "data.csv").write_text("near\n")
    project.write(f"cat data.csv {elsewhere} > out.csv; cat MLproject > /dev/null")
    record = project.record()
    assert record["observed"] == "shim"
    assert paths(record["inputs"]) == [str(elsewhere), "data.csv"]
    assert paths(record["outputs"]) == ["out.csv"]
    assert [each["declared"] for each in (*record["inputs"], *record["outputs"])] == [False] * 3
    assert record["outputs"][0]["stored"] is True
    assert record["warnings"] == [f"read but not declared: {elsewhere}"]
    shown = project.ask("show", record["id"]).stdout
    assert [line.split()[-1] for line in shown.splitlines() if ".csv  " in line] == ["observed"] * 3


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no compiler")
def test_that_a_static_program_was_not_seen_into_is_said(project: Project, tmp_path: Path) -> None:
    source = tmp_path / "nothing.c"
    source.write_text("int main(void) { return 0; }\n")
    program = tmp_path / "nothing"
    subprocess.run(["cc", "-static", "-o", program, source], check=True)
    (project.folder / "data.csv").write_text("1\n")
    project.write(f"{program}; echo > out.txt; cat data.csv; chmod 600 data.csv; ln -f data.csv also.csv")
    record = project.record()
    assert paths(record["outputs"]) == ["also.csv", "out.txt"]  # one more name, or another mode: not written
    assert record["warnings"] == [
        f"what `{program}` reads is not seen: linked statically, or run as another user"
    ]
    assert project.record("--no-observe")["warnings"] == []


def test_where_there_is_no_room_to_note_files_the_program_goes_on_and_that_is_said(project: Project) -> None:
    (project.folder / "data.csv").write_text("1\n")
    project.write("ulimit -f 2; exec bash -c 'cat data.csv > made.csv'")  # blocks of 1,024 bytes
    record = project.record()
    assert paths(record["outputs"]) == ["made.csv"]
    assert record["warnings"] == [
        "not all files that the program opened are known: there was no room to note them"
    ]


@pytest.mark.parametrize("declared", [False, True])
def test_which_file_of_a_folder_changed_since_is_told(
    project: Project, tmp_path: Path, *, declared: bool
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(600):
        (folder / f"{number}.png").write_text(str(number))
    project.write(f"cat {folder}/*.png > /dev/null", inputs=[str(folder)] if declared else [])
    record = project.record()
    assert paths(record["inputs"]) == [str(folder)]
    assert [line.split()[0] for line in project.ask("data", "status", ".").stdout.splitlines()] == ["1"]
    assert project.ask("lineage", f"{folder}/7.png", "--down").returncode == 0
    (folder / "7.png").write_text("other")
    compared = project.ask("data", "diff", record["id"], str(folder))
    assert "~ 7.png" in compared.stdout
    assert f"~ changed  {folder}  1.7 KiB now" in project.ask("data", "status", ".").stdout
    (folder / "7.png").write_text("7")
    if not declared:
        (folder / "README.md").write_text("nobody read this\n")
    assert project.ask("data", "status", ".").returncode == 0


def test_what_is_declared_is_not_listed_again(project: Project, tmp_path: Path) -> None:
    (project.folder / "data").mkdir()
    (project.folder / "data" / "a.csv").write_text("a\n")
    project.write("mkdir -p out; cat data/a.csv > out/b.csv; echo > c.txt", inputs=["data"], outputs=["out"])
    record = project.record()
    assert [(each["path"], each["declared"]) for each in record["inputs"]] == [("data", True)]
    assert [(each["path"], each["declared"]) for each in record["outputs"]] == [
        ("out", True),
        ("c.txt", False),
    ]
    assert record["warnings"] == []


def test_a_run_that_changes_its_own_input_is_told_so(project: Project) -> None:
    (project.folder / "state.csv").write_text("1\n")
    project.write("echo 2 >> state.csv", inputs=["state.csv"])
    record = project.record()
    assert [(each["path"], each["size"]) for each in record["inputs"]] == [("state.csv", 2)]
    assert [(each["path"], each["size"]) for each in record["outputs"]] == [("state.csv", 4)]
    assert "the run changed its own input `state.csv`" in record["warnings"][0]


def test_that_somebody_else_changed_a_declared_input_is_said(project: Project, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("old\n")
    project.write(f"cat {data}; touch begun; while ! test -e end; do sleep 0.05; done", inputs=[str(data)])
    child = project.start("run", ".", "--env-manager", "system", "--json")
    deadline = time.monotonic() + 60
    while not (project.folder / "begun").exists():
        assert time.monotonic() < deadline, child.poll()
        time.sleep(0.02)
    data.write_text("new, by somebody else\n")
    (project.folder / "end").touch()
    record = json.loads(child.communicate(timeout=60)[0])
    assert record["warnings"] == [
        f"somebody else changed the input `{data}` during the run: what is recorded is as it was before"
    ]
    assert record["inputs"][0]["size"] == 4


def test_ignored_data_is_pointed_out_and_tracked_data_is_not(project: Project) -> None:
    (project.folder / ".gitignore").write_text("raw/\n")
    (project.folder / "raw").mkdir()
    for name in ("raw/x.csv", "small.csv", "new.csv", "train.py"):
        (project.folder / name).write_text("1\n")
    project.write("cat raw/x.csv small.csv new.csv train.py > out.csv")
    git = ["git", "-c", "init.defaultBranch=main"]
    subprocess.run([*git, "init", "-q"], cwd=project.folder, check=True)
    subprocess.run(
        [*git, "add", "small.csv", "train.py", "MLproject", ".gitignore"], cwd=project.folder, check=True
    )
    subprocess.run([*git, "commit", "-qm", "all"], cwd=project.folder, check=True)
    record = project.record()
    assert paths(record["inputs"]) == ["new.csv", "raw/x.csv", "small.csv"]
    assert record["warnings"] == ["read but not declared: raw/x.csv"]


def test_data_behind_a_link_that_git_holds_is_pointed_out(project: Project, tmp_path: Path) -> None:
    far = tmp_path / "far.csv"
    for path in (far, project.folder / "raw.csv", project.folder / "kept.csv"):
        path.write_text("1\n")
    for name, target in (("data.csv", far), ("near.csv", "raw.csv"), ("other.csv", "kept.csv")):
        (project.folder / name).symlink_to(target)
    (project.folder / ".gitignore").write_text("raw.csv\n")
    project.write("cat data.csv near.csv other.csv > /dev/null")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run(["git", *words], cwd=project.folder, check=True)
    record = project.record()
    assert paths(record["inputs"]) == ["data.csv", "near.csv", "other.csv"]
    assert record["warnings"] == ["read but not declared: data.csv, near.csv"]


def test_of_a_crowded_folder_what_git_holds_is_told_from_what_it_ignores(project: Project) -> None:
    (project.folder / ".gitignore").write_text("ignored/\nhalf/*.raw\n")
    for name in ("ignored", "half", "held"):
        (project.folder / name).mkdir()
        for number in range(510):
            ending = "raw" if number < 505 else "csv"
            (project.folder / name / f"{number}.{ending}").write_text("1\n")
    project.write("cat ignored/* half/*.csv held/* > /dev/null")
    for words in (["init", "-q"], ["add", "-A"], ["add", "-f", "ignored/7.raw"], ["commit", "-qm", "all"]):
        subprocess.run(["git", *words], cwd=project.folder, check=True)
    record = project.record()
    assert paths(record["inputs"])[-2:] == ["held", "ignored"]
    assert record["warnings"] == []  # a folder of which git holds a part is known of
    subprocess.run(["git", "rm", "-q", "--cached", "ignored/7.raw"], cwd=project.folder, check=True)
    subprocess.run(["git", "commit", "-qm", "none"], cwd=project.folder, check=True)
    assert project.record()["warnings"] == ["read but not declared: ignored"]


@pytest.mark.parametrize("means", ["shim", "python"])
def test_what_tools_leave_behind_for_themselves_is_no_output(
    means: str, project: Project, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    for folder in (library, project.folder):
        (folder / f"in_{folder.name}.py").write_text("ANSWER = 42\n")
    program = [
        "import sys, os, compileall",
        f"sys.path.insert(0, {str(library)!r})",
        "import in_library, in_project",
        f"compileall.compile_dir({str(library)!r}, quiet=1, legacy=True)",
        "for name in ('.ipynb_checkpoints', '.pytest_cache'):",
        f"    os.makedirs({str(library)!r} + '/' + name)",
        f"    open({str(library)!r} + '/' + name + '/x', 'w').write('x')",
        "open('made.csv', 'w').write('x')",
    ]
    (project.folder / "train.py").write_text("\n".join(program))
    project.write("python3 train.py", env={})
    project.variables.pop("PYTHONDONTWRITEBYTECODE", None)
    record = project.record("--observe", means)
    assert (library / "in_library.pyc").exists()
    assert list((library / "__pycache__").iterdir())
    assert paths(record["outputs"]) == ["made.csv"]
    assert paths(record["inputs"]) == [str(library / "in_library.py")]


def test_what_a_secret_names_is_not_told(project: Project, tmp_path: Path) -> None:
    (tmp_path / "s3cr3t").write_text("key\n")
    project.write("cat {key} > out.csv")
    content = json.loads((project.folder / "MLproject").read_text())
    content["entry_points"]["main"]["parameters"] = {"key": {"type": "path", "secret": True}}
    (project.folder / "MLproject").write_text(json.dumps(content))
    record = project.record("-P", f"key={tmp_path}/s3cr3t")
    assert "s3cr3t" not in json.dumps(record)
    assert paths(record["outputs"]) == ["out.csv"]


READ_AND_CHANGE = """
import os
for number in range(1200):
    open(f"{folder}/ä{number}").close()
os.utime(f"{folder}/ä1", (1, 1))
os.unlink(f"{folder}/ä2")
os.unlink(f"{folder}/ä3")
os.mkfifo(f"{folder}/ä3")
open(f"{folder}/ä4", "a").write("more")
open(f"{folder}/new", "w").close()
open(f"{folder}/new").close()
"""


@pytest.mark.parametrize("count", [600, 1200], ids=["by us", "by the program"])
def test_what_became_of_many_files_is_found_out_when_they_are_hashed(
    project: Project, tmp_path: Path, count: int
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(count):
        (folder / f"ä{number}").write_text(str(number))
    code = READ_AND_CHANGE.replace("1200", str(count))
    (project.folder / "read.py").write_text(f"folder = {str(folder)!r}\n{code}")
    project.write(f"{sys.executable} read.py")
    record = project.record()
    [found] = record["inputs"]
    assert (found["path"], found["files"]) == (str(folder), count - 4)
    expected = tmp_path / "expected"
    shutil.copytree(folder, expected, ignore=lambda *_: ["ä1", "ä2", "ä3", "ä4", "new"])
    assert (
        json.loads(project.ask("data", "hash", str(expected), "--json").stdout)[0]["digest"]
        == found["digest"]
    )
    assert record["warnings"][:3] == [
        f"what was read of `{folder}/ä4` has no digest: the run itself wrote it afterwards",
        f"what was read of `{folder}/ä1` has no digest: somebody else changed it during the run",
        f"what was read of `{folder}/ä2` has no digest: it was removed during the run",
    ]
    assert paths(record["outputs"]) == [f"{folder}/new", f"{folder}/ä4"]


def test_links_among_many_declared_files_are_told_where_they_lead(project: Project, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "many", tmp_path / "elsewhere.txt"
    elsewhere.write_text("far")
    folder.mkdir()
    for number in range(600):
        (folder / str(number)).write_text(str(number))
    (folder / "link").symlink_to(elsewhere)
    project.write(f"cat {folder}/* > /dev/null", inputs=[str(folder)])
    assert paths(project.record()["inputs"]) == [str(folder), f"{folder}/link"]


def test_many_files_are_one_data_set(project: Project, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(30):
        (images / f"{number}.png").write_bytes(bytes([number]))
    project.write(f"mkdir out; for n in $(seq 0 24); do cp {images}/$n.png out/; done")
    record = project.record()
    found = (*record["inputs"], *record["outputs"])
    assert [(each["path"], each["files"], each["tree"]) for each in found] == [
        (str(images), 25, True),
        ("out", 25, True),
    ]
    assert found[0]["digest"] == found[1]["digest"]
    fetched = project.mlrun("get", record["id"], "-o", str(tmp_path / "fetched"))
    assert fetched.returncode == 0, fetched.stderr
    assert len(list((tmp_path / "fetched").rglob("*.png"))) == 25


def test_a_log_that_is_gone_costs_no_record(project: Project) -> None:
    project.write('cat data.csv > out.csv; rm -r "$MLRUN_OBSERVE"', outputs=["out.csv"])
    (project.folder / "data.csv").write_text("a\n")
    record = project.record()
    assert (record["status"], record["observed"], paths(record["outputs"])) == (
        "finished",
        "off",
        ["out.csv"],
    )
    [said] = [each for each in record["warnings"] if "what the program read and wrote is not known" in each]
    assert "No such file" in said


@pytest.mark.parametrize("words", [("--no-observe",), ()])
def test_it_can_be_switched_off(words: tuple[str, ...], project: Project) -> None:
    project.write("echo > out.csv", **({} if words else {"observe": False}))
    record = project.record(*words)
    assert (record["observed"], record["inputs"], record["outputs"]) == ("off", [], [])


def test_the_command_line_decides_over_the_project(project: Project) -> None:
    project.write("echo > out.csv", observe=False)
    assert project.record("--observe", "python")["observed"] == "python-only"
    assert project.record("--observe", "shim")["observed"] == "shim"
    assert "there are auto, shim" in project.mlrun("run", ".", "--observe", "magic").stderr


def test_an_entry_point_decides_over_the_project_and_the_command_line_over_both(project: Project) -> None:
    project.write("echo > out.csv", observe=False)
    content = json.loads((project.folder / "MLproject").read_text())
    content["entry_points"]["main"]["observe"] = "python"
    content["entry_points"]["other"] = {"command": "echo > other.csv"}
    (project.folder / "MLproject").write_text(json.dumps(content))
    assert project.record()["observed"] == "python-only"
    assert project.record("-e", "other")["observed"] == "off"
    assert project.record("-e", "other", "--observe", "auto")["observed"] == "shim"
    assert project.record("--no-observe")["observed"] == "off"


@STRACE
def test_strace_is_the_strict_means(project: Project) -> None:
    (project.folder / "data.csv").write_text("1\n")
    project.write("cat data.csv > out.csv; exit 3")
    done = project.mlrun("run", ".", "--env-manager", "system", "--observe", "strace", "--json")
    record = json.loads(done.stdout)
    assert done.returncode == 3
    assert (record["observed"], paths(record["inputs"])) == ("strace", ["data.csv"])
    assert paths(record["outputs"]) == ["out.csv"]


def test_without_strace_that_is_said(project: Project, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "sh", "git", "python3"):
        (tools / name).symlink_to(shutil.which(name) or "")
    project.variables["PATH"] = str(tools)
    project.write("true")
    done = project.mlrun("run", ".", "--env-manager", "system", "--observe", "strace")
    assert done.returncode == 125
    assert "which is not installed" in done.stderr


def test_without_a_compiler_python_tells_what_it_opens(project: Project, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "sh", "git", "cat"):
        (tools / name).symlink_to(shutil.which(name) or "")
    (tools / "python3").symlink_to(sys.executable)
    project.variables |= {"PATH": str(tools), "MLRUN_CACHE": str(tmp_path / "empty cache")}
    (project.folder / "data.csv").write_text("1\n")
    project.write("python3 -c \"open('data.csv').read()\"; cat data.csv > out.csv")
    record = project.record()
    assert (record["observed"], paths(record["inputs"])) == ("python-only", ["data.csv"])
    assert paths(record["outputs"]) == ["out.csv"]  # from a look at what has changed


def test_the_hook_makes_room_for_the_users_sitecustomize(project: Project, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("open('seen.txt', 'w').close()\n")
    project.variables["PYTHONPATH"] = str(tmp_path)
    project.write("python3 -c 'import sys; assert not any(\"observe\" in each for each in sys.path)'")
    record = project.record("--observe", "python")
    assert paths(record["outputs"]) == ["seen.txt"]


def test_a_cache_whose_name_is_hostile_is_no_obstacle(project: Project, hostile_path: Path) -> None:
    project.variables["MLRUN_CACHE"] = str(hostile_path / "a:b c")
    project.write("echo > out.csv")
    record = project.record()
    assert (record["observed"], paths(record["outputs"])) == ("shim", ["out.csv"])
    assert not [name for name in os.listdir("/tmp") if name == f"mlrun-{record['id']}.so"]


def test_a_large_output_is_known_by_its_digest_only(project: Project) -> None:
    project.write("truncate -s 101M large.bin; echo > small.txt")
    record = project.record()
    assert [(each["path"], each["stored"]) for each in record["outputs"]] == [
        ("large.bin", False),
        ("small.txt", True),
    ]
    assert "known by digest only" in record["warnings"][0]


def test_a_checkout_goes_when_all_that_was_made_in_it_is_kept(project: Project, tmp_path: Path) -> None:
    project.write("mkdir out; echo 1 > out/made.txt; pwd 1>&2")
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=project.folder, check=True)
    subprocess.run(["git", "add", "-A"], cwd=project.folder, check=True)
    subprocess.run(["git", "commit", "-qm", "all"], cwd=project.folder, check=True)
    record = project.record(target=f"file://{project.folder}")
    assert [(each["path"], each["stored"]) for each in record["outputs"]] == [("out/made.txt", True)]
    assert record["warnings"] == []
    cache = Path(project.variables["MLRUN_CACHE"])
    assert not (cache / "work-v1" / record["id"]).exists()


def test_a_run_inside_of_a_run_keeps_its_files_to_itself(
    project: Project, places: Path, tmp_path: Path
) -> None:
    inner = Project(places, tmp_path / "inner")
    inner.write("echo > inner.txt")
    project.write(f"{sys.executable} -m mlrun run {inner.folder} --env-manager system -q; echo > outer.txt")
    record = project.record()
    assert paths(record["outputs"]) == ["outer.txt"]
    assert paths(record["inputs"]) == []


def test_nothing_is_left_of_the_logs(project: Project) -> None:
    project.write("echo > out.csv")
    record = project.record()
    home = Path(project.variables["MLRUN_HOME"])
    assert not (home / "runs" / record["id"][:2] / record["id"] / "observe").exists()


@pytest.fixture
def image() -> Iterator[str]:
    client = docker_engine.connect()
    yield docker_engine.base_image(client)
    client.close()


@pytest.mark.slow
def test_files_are_seen_in_a_container_too(project: Project, image: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for place in (project.folder / "data.csv", outside / "prices.csv"):
        place.write_text("1\n")
    code = "open('data.csv').read(); open('/prices/prices.csv').read(); open('out.csv', 'w').write('x')"
    (project.folder / "train.py").write_text(code)
    project.write("python3 train.py", docker_env={"image": image, "volumes": [f"{outside}:/prices"]})
    done = project.mlrun("run", ".", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["observed"] == "shim"
    assert paths(record["inputs"]) == [str(outside / "prices.csv"), "data.csv"]
    assert paths(record["outputs"]) == ["out.csv"]


@pytest.mark.slow
def test_pandas_numpy_joblib_and_sklearn_hide_nothing(project: Project) -> None:
    observe.lay_out(project.folder)
    project.write("true", environment={"requirements": ["pandas", "pyarrow", "joblib", "scikit-learn"]})
    for name in ("prepare.py", *observe.SCIENCE):
        done = project.mlrun("run", ".", "-e", name, "--json")
        assert done.returncode == 0, done.stderr
        record, truth = json.loads(done.stdout), observe.truth_of(name)
        relative = {
            path: os.path.relpath(project.folder / path, project.folder) for path in paths(record["inputs"])
        }
        assert set(relative.values()) == truth.reads, name
        written = {
            os.path.relpath(project.folder / path, project.folder) for path in paths(record["outputs"])
        }
        assert written == truth.writes, name
