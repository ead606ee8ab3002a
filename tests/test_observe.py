"""Files that are opened, seen by each of the means, in programs whose reads and writes are known."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlrun.files import Cache
from mlrun.observe import INCOMPLETE, building, events, rules, strace
from mlrun.observe.events import Log
from mlrun.observe.grouping import AT_MOST, MANY, by_folder, grouped
from mlrun.observe.meaning import Read, Seen, understood
from tests import observe

if TYPE_CHECKING:
    from mlrun.observe.events import Event

VARIABLES = dict(os.environ)  # noqa: TID251  what a test starts from
PREFIX = os.path.realpath(sys.base_prefix)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the shim is for Linux")
STRACE = shutil.which("strace")
NEEDS_STRACE = pytest.mark.skipif(STRACE is None, reason="strace is not installed")


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory, warm_cache: Path) -> Path:
    cache = Cache(Path(shutil.copytree(warm_cache, tmp_path_factory.mktemp("shim") / "cache", symlinks=True)))
    found = building.shim(cache, VARIABLES)
    assert isinstance(found, Path), found
    return found


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "project"
    observe.lay_out(folder)
    subprocess.run([sys.executable, "prepare.py"], cwd=folder, check=True)
    return folder.parent


@pytest.fixture
def project(prepared: Path, tmp_path: Path) -> Path:
    for folder in ("project", "outside"):
        shutil.copytree(prepared / folder, tmp_path / folder, copy_function=shutil.copy2)
    return tmp_path / "project"


class Watched:
    """One means of observing, and where it leaves its logs."""

    def __init__(self, how: str, shim: Path, folder: Path) -> None:
        self.how = how
        self.shim = shim
        self.folder = folder
        self.rules = rules.on_host(
            VARIABLES, wanted=[], unwanted=[str(folder), PREFIX, str(Path(sys.prefix))]
        )
        folder.mkdir()
        (folder / "rules").write_bytes(self.rules.encoded(str(shim)))

    def variables(self) -> dict[str, str]:
        named = {**VARIABLES, "MLRUN_OBSERVE": str(self.folder)}
        if self.how == "shim":
            return named | {"LD_PRELOAD": str(self.shim)}
        if self.how == "python-only":
            return named | {"PYTHONPATH": str(Path(building.__file__).parent / "hook")}
        return VARIABLES

    def run(self, *argv: str, cwd: Path, code: int = 0) -> Seen:
        since = self.now()
        words = argv if self.how != "strace" else strace.command(STRACE or "", self.folder, argv)
        done = subprocess.run(words, cwd=cwd, env=self.variables(), capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (code, ""), done.stderr
        return self.seen(since, cwd)

    def now(self) -> int:
        """By the clock that files are stamped with, some of its ticks later."""
        time.sleep(0.02)
        (self.folder / "now").touch()
        return (self.folder / "now").stat().st_ctime_ns

    def seen(self, since: int, cwd: Path) -> Seen:
        return understood(self.log(cwd), rules=self.rules, since=since)

    def events(self, cwd: Path) -> list[Event]:
        return list(self.log(cwd).all())

    def log(self, cwd: Path) -> Log:
        if self.how == "strace":
            return Log(list(strace.read(self.folder, str(cwd))))
        return events.read(self.folder)


@pytest.fixture
def watched(shim: Path, tmp_path: Path) -> Watched:
    return Watched("shim", shim, tmp_path / "logs")


def names(paths: tuple[str, ...], project: Path) -> frozenset[str]:
    """Relative to the project, folders for many files; what is the program's own code left out."""
    data = [path for path in paths if not path.endswith((".py", ".sh", ".c", ".pyc"))]
    return frozenset(
        os.path.relpath(group.path, project) for group in grouped(by_folder(data), never={str(project)})
    )


def check(name: str, watched: Watched, project: Path) -> None:
    truth = observe.truth_of(name)
    interpreter = sys.executable if name.endswith(".py") else "sh"
    seen = watched.run(interpreter, name, cwd=project)
    expected = truth.reads - truth.missed[watched.how]
    assert names(tuple(read.path for read in seen.reads), project) == expected
    assert {read.state for read in seen.reads} <= {"same"}
    if watched.how != "python-only":
        assert names(seen.writes, project) == truth.writes


@LINUX
@pytest.mark.parametrize("name", [*observe.PLAIN, *observe.SHELL])
def test_the_shim_sees_all_reads_and_writes_and_nothing_else(
    name: str, watched: Watched, project: Path
) -> None:
    check(name, watched, project)


@NEEDS_STRACE
@pytest.mark.parametrize(
    "name", ["plain.py", "replaced.py", "threads.py", "hostile.py", "shell.sh", "static.sh"]
)
def test_strace_sees_all_reads_and_writes_even_of_static_programs(
    name: str, shim: Path, project: Path, tmp_path: Path
) -> None:
    check(name, Watched("strace", shim, tmp_path / "logs"), project)


@pytest.mark.parametrize("name", ["plain.py", "children.py", "hostile.py", "threads.py"])
def test_the_hook_sees_what_python_opens(name: str, shim: Path, project: Path, tmp_path: Path) -> None:
    check(name, Watched("python-only", shim, tmp_path / "logs"), project)


# --- nothing is broken --------------------------------------------------------------------------------


def compiled(folder: Path, source: str, *flags: str) -> Path:
    (folder / "program.c").write_text(source)
    program = folder / "program"
    done = subprocess.run(["cc", *flags, "-o", program, "program.c"], cwd=folder, capture_output=True)
    if done.returncode:
        pytest.skip(f"cc {' '.join(flags)}: {done.stderr.decode()[:80]}")
    return program


OPENS = """
#include <stdio.h>
int main(void) { FILE *f = fopen("letters.txt", "r"); int c = fgetc(f); fclose(f); return c != 'c'; }
"""


@LINUX
def test_a_program_under_the_address_sanitizer_runs_and_is_seen(
    watched: Watched, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = compiled(project, OPENS, "-fsanitize=address")
    monkeypatch.setitem(VARIABLES, "ASAN_OPTIONS", "verify_asan_link_order=0")
    seen = watched.run(str(program), cwd=project)
    assert [read.path for read in seen.reads] == [str(project / "letters.txt")]


@LINUX
def test_a_static_program_runs_and_is_known_to_be_unseen(watched: Watched, project: Path) -> None:
    program = compiled(project, OPENS, "-static")
    seen = watched.run("sh", "-c", "./program; exit $?", cwd=project)
    assert (seen.reads, seen.blind) == ((), (str(program),))


@LINUX
def test_another_library_before_libc_stays_there(watched: Watched, project: Path) -> None:
    source = '#include <unistd.h>\n__attribute__((constructor)) void f(void) { write(1, "other\\n", 6); }'
    (project / "other.c").write_text(source)
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-o", "other.so", "other.c"], cwd=project, check=True)
    script = f"env -i LD_PRELOAD={project}/other.so cat letters.txt > out.txt; cat out.txt"
    seen = watched.run("sh", "-c", script, cwd=project)
    assert (project / "out.txt").read_text() == "other\nc\na\nb\n"
    assert str(project / "letters.txt") in [read.path for read in seen.reads]


@LINUX
def test_a_program_that_wants_no_observer_gets_none(watched: Watched, project: Path) -> None:
    script = "MLRUN_OBSERVE= cat letters.txt > /dev/null"
    assert watched.run("sh", "-c", script, cwd=project).reads == ()


@LINUX
def test_errno_and_failures_are_passed_on(watched: Watched, project: Path) -> None:
    code = (
        "import errno, os\n"
        "for path, why in (('gone', errno.ENOENT), ('letters.txt/x', errno.ENOTDIR), ('', errno.ENOENT)):\n"
        "    try: os.open(path, os.O_RDONLY)\n"
        "    except OSError as error: assert error.errno == why, error\n"
        "    else: raise SystemExit(1)\n"
        "try: os.execve('./letters.txt', ['x'], {})\n"
        "except PermissionError: pass\n"
        "else: raise SystemExit(1)\n"
    )
    assert watched.run(sys.executable, "-c", code, cwd=project).reads == ()


@LINUX
def test_a_killed_program_has_told_all_until_then(watched: Watched, project: Path) -> None:
    code = "import os; open('letters.txt').read(); open('x', 'w').close(); os.kill(os.getpid(), 9)"
    seen = watched.run(sys.executable, "-c", code, cwd=project, code=-9)
    assert [read.path for read in seen.reads] == [str(project / "letters.txt")]
    assert seen.writes == (str(project / "x"),)


@LINUX
def test_a_log_that_cannot_be_written_costs_the_log_only(watched: Watched, project: Path) -> None:
    """The folder of logs has gone; a disk without space is told by the same means."""
    shutil.rmtree(watched.folder)
    watched.folder.mkdir()
    (watched.folder / "rules").write_bytes(watched.rules.encoded(str(watched.shim)))
    code = "import shutil; shutil.rmtree({!r}); print(len(open('letters.txt').read()))"
    done = subprocess.run(
        [sys.executable, "-c", code.format(str(watched.folder))],
        cwd=project,
        env=watched.variables(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "6\n", "")


@LINUX
@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_costs_the_log_only_and_is_told(shim: Path, project: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], capture_output=True
    ).returncode:
        pytest.skip("cannot mount")
    try:
        watched = Watched("shim", shim, disk / "logs")
        with open(disk / "filler", "wb") as file, pytest.raises(OSError, match="No space"):
            file.write(bytes(1 << 20))
        code = "for number in range(5000): open(f'{number}.x', 'w').close()"
        watched.run(sys.executable, "-c", code, cwd=project)
        assert (watched.folder / INCOMPLETE).exists()
    finally:
        subprocess.run(["umount", disk], check=True)


# --- what it means ------------------------------------------------------------------------------------


@LINUX
def test_a_file_that_changes_under_the_run_is_told_so(watched: Watched, project: Path) -> None:
    since = watched.now()
    code = "open('letters.txt').read(); input()"
    program = subprocess.Popen(
        [sys.executable, "-c", code], cwd=project, env=watched.variables(), stdin=subprocess.PIPE
    )
    while not any(event.path.endswith("letters.txt") for event in watched.events(project)):
        time.sleep(0.01)
    (project / "letters.txt").write_text("another text")
    program.communicate(b"\n")
    seen = watched.seen(since, project)
    assert [(read.path, read.state) for read in seen.reads] == [(str(project / "letters.txt"), "changed")]


@LINUX
@pytest.mark.parametrize(
    ("script", "reads", "writes"),
    [
        ("cat letters.txt; echo x >> letters.txt", [("letters.txt", "overwritten")], ["letters.txt"]),
        ("cat letters.txt; rm letters.txt", [("letters.txt", "gone")], []),
        (": >> letters.txt", [], []),
        ("echo x > new; cat new; rm new", [], []),
        ("cat < letters.txt > out; cat out", [("letters.txt", "same")], ["out"]),
        ("ln letters.txt second", [], ["second"]),
        ("ln -s letters.txt link; cat link", [("link", "same")], []),
        ("cat outside/../letters.txt ./letters.txt", [("letters.txt", "same")], []),
        ("cat /etc/passwd /proc/self/stat", [], []),
    ],
)
def test_what_was_there_is_read_what_was_made_is_written(
    script: str, reads: list[tuple[str, str]], writes: list[str], watched: Watched, project: Path
) -> None:
    (project / "outside").mkdir()
    seen = watched.run("sh", "-c", script, cwd=project)
    assert [(os.path.relpath(read.path, project), read.state) for read in seen.reads] == reads
    assert [os.path.relpath(path, project) for path in seen.writes] == writes


@LINUX
def test_bytecode_stands_for_its_source_and_is_no_output(
    watched: Watched, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(VARIABLES, "PYTHONDONTWRITEBYTECODE", raising=False)
    (project / "helper.py").write_text("x = 1\n")
    for _ in range(2):
        seen = watched.run(sys.executable, "-c", "import helper", cwd=project)
        assert [read.path for read in seen.reads] == [str(project / "helper.py")]
        assert seen.writes == ()
    assert list(project.glob("__pycache__/*.pyc"))


@LINUX
def test_a_file_is_told_once_however_often_it_is_opened(watched: Watched, project: Path) -> None:
    code = "import os\nfor _ in range(3):\n    for number in range(9000): open(f'many/{number}').close()\n"
    (project / "many").mkdir()
    for number in range(9000):
        (project / "many" / str(number)).touch()
    seen = watched.run(sys.executable, "-c", code, cwd=project)
    assert [len(crowd.names) for crowd in seen.crowds] == [9000]
    assert seen.singled(()).reads == tuple(
        Read(str(project / "many" / name), 0, "same") for name in sorted(map(str, range(9000)))
    )
    assert len(watched.events(project)) < 9000 * 1.8


GOING = """
import os, subprocess, sys, threading
def read(name): open(name).close()
read("a")
os.chdir("one")
read("a")
subprocess.run(["cat", "a"], cwd="../two", check=True)  # vfork: it goes elsewhere in our own memory
read("b")
if os.fork() == 0:
    os.chdir("../three")
    read("a")
    if os.fork() == 0:
        read("b")
        os.fchdir(os.open("../two", os.O_RDONLY))
        read("b")
        os._exit(0)
    os.wait()
    read("c")
    os._exit(0)
os.wait()
read("c")
os.rename("../one", "../four")
read("d")
threads = [threading.Thread(target=lambda n=n: [read(f"t{n}{m}") for m in range(50)]) for n in range(4)]
for it in threads: it.start()
for it in threads: it.join()
"""


@LINUX
def test_a_name_is_told_from_the_folder_that_a_process_is_in(watched: Watched, project: Path) -> None:
    for folder in ("one", "two", "three"):
        (project / folder).mkdir()
        for name in ("a", "b", "c", "d", *(f"t{n}{m}" for n in range(4) for m in range(50))):
            (project / folder / name).write_text(name)
    (project / "a").write_text("a")
    seen = watched.run(sys.executable, "-c", GOING, cwd=project)
    paths = [os.path.relpath(read.path, project) for read in seen.reads]
    found = {path for path in paths if not os.path.basename(path).startswith("t")}
    assert found == {
        "a",
        "one/a",
        "one/b",
        "one/c",
        "two/a",
        "two/b",
        "three/a",
        "three/b",
        "three/c",
        "four/d",
    }
    assert len([path for path in paths if path.startswith("four/t")]) == 200


# --- rules and groups ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/home/ada/study/data.csv", True),
        ("/home/ada/.cache/pip/x", False),
        ("/home/ada/.cache/huggingface/hub/models--bert/blobs/ab", True),
        ("/home/ada/.cache/huggingface/token", False),
        ("/home/ada/.keras/datasets/mnist.npz", True),
        ("/home/ada/.cache/kagglehub/datasets/a/b/1/train.csv", True),
        ("/home/ada/.cache/openml/org/openml/www/datasets/61/dataset.arff", True),
        ("/home/ada/study/.cache/joblib/f/ab/output.pkl", False),
        ("/data/.cache/x", False),
        ("/home/ada/.config/matplotlib/matplotlibrc", False),
        ("/home/ada/.cache/mlrun/work-v1/ab/data.csv", True),
        ("/home/ada/.cache/mlrun/envs-v1/ab/bin/python", False),
        ("/usr/share/zoneinfo/UTC", False),
        ("/usrdata/x.csv", True),
        ("/data/x.csv", True),
        ("/hf/hub/x", True),
        ("/hf/modules/x", False),
        ("/elsewhere/lib/python3.11/json/__init__.py", False),
        ("/home/ada/study/.git/index", False),
        ("/home/ada/study/.venv/lib/python3.9/site-packages/x/iris.csv", False),
        ("/home/ada/.hidden", False),
        ("/home/ada/seen.csv", True),
        ("/opt/x/lib/python3", False),
        ("/opt/x/lib/data.csv", True),
        ("/data/module.pyc", False),
        ("/data/__pycache__/kernel.nbi", False),
        ("/data/.ipynb_checkpoints/study.ipynb", False),
        ("/opt/pyenv/libexec/pyenv", False),
        ("/opt/tools/bin/train", False),
        ("/opt/tools/data.csv", True),
        ("/home/ada/.cache/mlrun/work-v1/ab/bin/model.bin", True),
        ("/r/b/dplyr/DESCRIPTION", False),
        ("/data/memory/joblib/train/fit/0123456789abcdef0123456789abcdef/output.pkl", False),
        ("/data/memory/joblib/train/fit/func_code.py", False),
        ("/data/joblib/model.joblib", True),
        ("/hf/hub/models--bert/refs/main", False),
        ("/hf/hub/models--bert/snapshots/ab/model.bin", True),
        ("/hf/hub/.locks/models--bert/ab.lock", False),
        ("/data/faces.lmdb/data.mdb", True),
        ("/data/faces.lmdb/lock.mdb", False),
    ],
)
def test_the_longest_rule_decides(path: str, wanted: bool) -> None:
    path_of_programs = "/opt/pyenv/shims:/opt/tools/bin:/home/ada/.cache/mlrun/work-v1/ab/bin:/data"
    variables = {"HOME": "/home/ada", "HF_HOME": "/hf", "PATH": path_of_programs, "R_LIBS": "/r/a:/r/b"}
    found = rules.on_host(
        variables, wanted=["/home/ada/.cache/mlrun/work-v1/ab"], unwanted=["/home/ada/.cache/mlrun"]
    )
    assert found.wants(path) is wanted
    if found.wants_all(path[: path.rindex("/") + 1]):
        assert wanted is not path.endswith(rules.BY_PRODUCTS_END)


TAKES_AWAY = """
import os
for name in ("moved.csv", "removed.csv", "updated.csv"):
    open(name).read()
os.rename("moved.csv", "elsewhere.csv")
os.remove("removed.csv")
with open("updated.csv", "r+") as file:
    file.write("new")
with open("own.csv", "w+") as file:
    file.write("new")
open("own.csv").read()
os.remove("own.csv")
"""


@pytest.mark.parametrize("how", ["shim", "python-only", pytest.param("strace", marks=NEEDS_STRACE)])
def test_what_was_read_and_is_gone_or_changed_since_was_read_all_the_same(
    how: str, shim: Path, tmp_path: Path
) -> None:
    for name in ("moved", "removed", "updated"):
        (tmp_path / f"{name}.csv").write_text("1")
    found = Watched(how, shim, tmp_path / "logs").run(sys.executable, "-c", TAKES_AWAY, cwd=tmp_path)
    states = [(os.path.basename(each.path), each.state) for each in found.reads]
    gone = [("moved.csv", "gone"), ("removed.csv", "gone")]  # strace does not tell whether they were files
    assert states == [*(gone if how != "strace" else ()), ("updated.csv", "overwritten")]


LEAVES_FILES = """
import os, tempfile
os.close(tempfile.mkstemp(suffix=".csv")[0])
for folder in (tempfile.mkdtemp(), os.environ["TMPDIR"] + "/tmp12345678", os.environ["TMPDIR"] + "/results"):
    os.makedirs(folder, exist_ok=True)
    open(folder + "/left.csv", "w").close()
open(os.environ["TMPDIR"] + "/tmp_results", "w").close()
open("done.lock", "w").close()
with open("uv.lock", "w") as file:
    file.write("it is not empty")
"""


@pytest.mark.parametrize("how", ["shim", "python-only", pytest.param("strace", marks=NEEDS_STRACE)])
def test_what_is_left_in_temporary_folders_under_names_made_by_chance_is_no_output(
    how: str, shim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    (folder / "tmp12345678").mkdir(mode=0o700, parents=True)  # was there, and may be meant for it
    monkeypatch.setitem(VARIABLES, "TMPDIR", str(folder))
    found = Watched(how, shim, tmp_path / "logs").run(sys.executable, "-c", LEAVES_FILES, cwd=tmp_path)
    names = {os.path.relpath(path, tmp_path) for path in found.writes}
    assert names == {
        f"temporary/{name}" for name in ("tmp12345678/left.csv", "results/left.csv", "tmp_results")
    } | {"uv.lock"}


def groups(*paths: str) -> list[str]:
    return [group.path for group in grouped(by_folder(paths), never={"/p", "/"})]


def many(folder: str, ending: str = "png", count: int = MANY) -> list[str]:
    return [f"{folder}/{number}.{ending}" for number in range(count)]


def test_few_files_are_listed_and_many_of_a_folder_are_one() -> None:
    assert groups("/p/a.csv", "/p/data/b.csv", "/p/data/c.csv") == [
        "/p/a.csv",
        "/p/data/b.csv",
        "/p/data/c.csv",
    ]
    assert groups(*many("/p/images"), "/p/a.csv") == ["/p/a.csv", "/p/images"]


def test_folders_of_a_data_set_are_one_data_set() -> None:
    assert groups(*many("/p/data/train/cat"), *many("/p/data/train/dog"), *many("/p/data/test/cat")) == [
        "/p/data"
    ]
    assert groups(*many("/p/data/train"), "/p/data/labels.csv") == ["/p/data/labels.csv", "/p/data/train"]
    assert groups(*(f"/p/speech/{number}/voice.wav" for number in range(MANY))) == ["/p/speech"]


def test_small_folders_of_one_kind_of_file_are_one_set() -> None:
    few = [f"/p/img/{kind}/{number}.png" for kind in ("cat", "dog") for number in range(MANY // 2)]
    assert groups(*few) == ["/p/img"]
    assert len(groups(*few[1:])) == MANY - 1
    assert len(groups(*few, "/p/img/dog/readme.txt")) == MANY + 1
    days = [f"/p/sales/year=2020/month={number}/part.parquet" for number in range(MANY)]
    assert groups(*days) == ["/p/sales/year=2020"]


def test_a_folder_that_is_a_file_of_a_kind_is_one_thing() -> None:
    parts = ("/p/a.zarr/c/0/0", "/p/a.zarr/zarr.json", "/p/t.parquet/part-0.parquet", "/p/t.parquet/_SUCCESS")
    assert groups(*parts) == ["/p/a.zarr", "/p/t.parquet"]
    assert groups("/p/b.parquet/part-0.parquet") == ["/p/b.parquet/part-0.parquet"]


def test_a_project_is_no_data_set_but_files_of_one_ending_in_it_are() -> None:
    assert groups(*many("/p"), "/p/a.csv") == ["/p/*.png", "/p/a.csv"]


def test_a_list_stays_short() -> None:
    scattered = [f"/p/{number}/{name}" for number in range(AT_MOST) for name in ("a", "b")]
    assert len(groups(*scattered)) == AT_MOST
