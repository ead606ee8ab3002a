"""Sabotage in each dimension, by real runs: `diff` and `status` name it, `reproduce` is not fooled.

Of a run whose surroundings were tampered with afterwards, `reproduce` either gets the same again from the
record, or refuses before anything runs and names what was tampered with.
"""

from __future__ import annotations

import json
import shutil
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from mlrun.env.interpreters import Probes, installed
from mlrun.value import value
from tests.docker_engine import base, docker_client
from tests.indexes import Index, serving
from tests.sums import change_row, commit_all, flip_byte, git, set_variable, shell, table
from tests.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlrun.model import Caller
    from tests.shells import Shell

__all__ = ["base", "docker_client", "shell"]  # fixtures

PROJECT = """
name: lab
environment: {requirements: []}
entry_points:
  main:
    parameters:
      alpha: {type: float, default: 0.5}
      table: {type: path, default: data/table.csv}
    env: {SCALE: "1"}
    outputs: [{path: metrics.json, kind: metrics}, model.bin]
    command: python train.py {alpha} {table}
"""
PROGRAM = """
import csv, json, os, sys
import helper
sys.path.append("data")
import own
total = sum(float(row["quality"]) for row in csv.DictReader(open(sys.argv[2])))
total = helper.scaled(total * float(sys.argv[1])) * float(os.environ["SCALE"])
total += sum(open("data/blob.bin", "rb").read()) + own.OFFSET
json.dump({"rmse": total}, open("metrics.json", "w"))
open("model.bin", "w").write(f"{total} {sys.version_info[:3]}")
"""
HELPER = "def scaled(number):\n    return number * 3\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in git. Git knows none of its data, of which the table alone is declared."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "MLproject").write_text(PROJECT)
    (folder / "train.py").write_text(PROGRAM)
    (folder / "helper.py").write_text(HELPER)
    (folder / "data/table.csv").write_text(table())
    (folder / "data/blob.bin").write_bytes(bytes(range(256)) * 4)
    (folder / "data/own.py").write_text("OFFSET = 1\n")
    (folder / ".gitignore").write_text("metrics.json\nmodel.bin\ndata\n__pycache__\n")
    commit_all(folder)
    return folder


# --- what is asked of mlrun ---------------------------------------------------------------------------


def run(shell: Shell, *options: str) -> str:
    """The id of a run that goes well."""
    return str(shell.record(".", *options)["id"])


def answer(shell: Shell, *words: str, code: int) -> dict[str, Any]:
    done = (shell.mlrun if words[0] == "reproduce" else shell.ask)(*words, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def blamed(shell: Shell, before: str, after: str) -> list[tuple[str, str]]:
    """What `diff` holds responsible, the likeliest first."""
    found = answer(shell, "diff", before, after, code=1)
    return [(cause["kind"], cause["name"]) for cause in found["causes"]]


def stale(shell: Shell, *words: str) -> list[tuple[str, str]]:
    """What `status` gives as reasons to run again."""
    found = answer(shell, "status", *words, code=1)
    return [(cause["kind"], cause["name"]) for point in found["entry_points"] for cause in point["causes"]]


def is_current(shell: Shell) -> None:
    assert answer(shell, "status", code=0)["state"] == "current"


def is_repeated(shell: Shell, original: str) -> None:
    assert answer(shell, "reproduce", original, "-q", code=0)["verdict"] == "identical"


def is_refused(shell: Shell, original: str, name: str, code: str) -> None:
    """Before anything runs, by name."""
    count = len(list(shell.home.runs.glob("*/*")))
    found = answer(shell, "reproduce", original, "-q", code=2)
    assert found["verdict"] == "cannot-be-repeated"
    assert [reason["code"] for reason in found["reasons"]] == [code]
    assert name in found["reasons"][0]["message"]
    assert len(list(shell.home.runs.glob("*/*"))) == count


# --- what is done to a project ------------------------------------------------------------------------


def change_line(project: Path) -> None:
    (project / "helper.py").write_text(HELPER.replace("* 3", "* 4"))


def commit_line(project: Path) -> None:
    change_line(project)
    git(project, "commit", "--quiet", "--all", "--message", "Four is better")


def change_ignored(project: Path) -> None:
    (project / "data/own.py").write_text("OFFSET = 2\n")


def change_default(project: Path) -> None:
    _replace(project / "MLproject", "default: 0.5", "default: 0.6")


def _replace(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


@value
class Sabotage:
    """What is done; what is to be blamed for it; how `reproduce` is to refuse (None: it gets the same)."""

    do: Callable[[Path], object]
    kind: str
    name: str
    refused: str | None = None


SABOTAGE = {
    "one byte of data": Sabotage(do=flip_byte, kind="data", name="data/blob.bin", refused="data-changed"),
    "a row after row 10,000": Sabotage(
        do=lambda project: change_row(project / "data/table.csv", 11_523),
        kind="data",
        name="data/table.csv",
        refused="data-changed",
    ),
    "one line of code": Sabotage(do=change_line, kind="code", name="helper.py"),
    "one line of code, committed": Sabotage(do=commit_line, kind="code", name="helper.py"),
    "one line of code that git does not know": Sabotage(
        do=change_ignored, kind="data", name="data/own.py", refused="data-changed"
    ),
    "one parameter's default": Sabotage(do=change_default, kind="parameters", name="alpha"),
    "one declared variable": Sabotage(do=set_variable, kind="variables", name="SCALE"),
}
SYSTEM = ("--env-manager", "system")
QUICK = "one byte of data"


def _marked(name: str) -> Any:
    return pytest.param(name, marks=() if name == QUICK else (pytest.mark.slow,))


@pytest.mark.parametrize("name", [_marked(name) for name in SABOTAGE])
def test_of_files(name: str, shell: Shell, project: Path) -> None:
    sabotage = SABOTAGE[name]
    original = run(shell, *SYSTEM)
    sabotage.do(project)
    assert stale(shell) == [(sabotage.kind, sabotage.name)]
    if sabotage.refused:
        is_refused(shell, original, sabotage.name, sabotage.refused)
    else:
        is_repeated(shell, original)
    after = run(shell, *SYSTEM)
    assert blamed(shell, original, after) == [(sabotage.kind, sabotage.name)]


@pytest.mark.slow
def test_of_a_parameter_given_by_hand(shell: Shell) -> None:
    original = run(shell, *SYSTEM)
    assert stale(shell, "-P", "alpha=0.6") == [("parameters", "alpha")]
    after = run(shell, *SYSTEM, "-P", "alpha=0.6")
    assert blamed(shell, original, after) == [("parameters", "alpha")]
    is_repeated(shell, original)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("one byte of data", "one line of code"),
        ("a row after row 10,000", "one parameter's default"),
        ("one line of code, committed", "one declared variable"),
    ],
)
def test_of_two_at_once_both_are_named(one: str, other: str, shell: Shell, project: Path) -> None:
    original = run(shell, *SYSTEM)
    SABOTAGE[one].do(project)
    SABOTAGE[other].do(project)
    both = [(SABOTAGE[each].kind, SABOTAGE[each].name) for each in (one, other)]
    assert stale(shell) == both
    assert blamed(shell, original, run(shell, *SYSTEM)) == both


@pytest.mark.slow
def test_of_a_submodules_code(shell: Shell, project: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "part.py").write_text("X = 1\n")
    commit_all(library)
    git(project, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "library")
    (project / "train.py").write_text(PROGRAM.replace("import own", "import own, library.part"))
    git(project, "commit", "--quiet", "--all", "--message", "a submodule")
    original = run(shell, *SYSTEM)
    is_current(shell)
    (project / "library/part.py").write_text("X = 22\n")
    assert stale(shell) == [("data", "library/part.py")]
    after = run(shell, *SYSTEM)
    assert blamed(shell, original, after) == [("data", "library/part.py")]
    is_refused(shell, after, "library", "submodule-dirty")


@pytest.mark.slow
def test_after_a_run_from_the_cache(shell: Shell, project: Path) -> None:
    run(shell, *SYSTEM, "--cache")
    original = run(shell, *SYSTEM, "--cache")
    assert shell.show()["status"] == "cached"
    is_current(shell)
    is_repeated(shell, original)
    flip_byte(project)
    change_ignored(project)
    both = [("data", "data/blob.bin"), ("data", "data/own.py")]
    assert sorted(stale(shell)) == both
    after = run(shell, *SYSTEM, "--cache")
    assert shell.show()["status"] == "finished"
    assert sorted(blamed(shell, original, after)) == both


def test_of_nothing(shell: Shell, project: Path) -> None:
    original = run(shell, *SYSTEM)
    (project / "data/table.csv").touch()
    (project / "train.py").touch()
    is_current(shell)
    is_repeated(shell, original)
    again = run(shell, *SYSTEM)
    assert answer(shell, "diff", original, again, code=0)["causes"] == []


# --- environments -------------------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path: Path, shell: Shell) -> Iterator[Path]:
    """The wheels of an index that the user's uv asks."""
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "seasoning", "1.0.0", source="SALT = 1\n")
    with serving(Index(wheels)) as served:
        shell.variables |= {"UV_INDEX_URL": served.url, "UV_DEFAULT_INDEX": served.url}
        yield wheels


def _asks(project: Path, requirement: str) -> None:
    (project / "requirements.txt").write_text(f"{requirement}\n")
    (project / "MLproject").write_text(PROJECT.replace("requirements: []", "requirements: requirements.txt"))
    (project / "helper.py").write_text(
        "import seasoning\n\ndef scaled(number):\n    return number * seasoning.SALT\n"
    )


@pytest.mark.slow
def test_of_a_packages_patch_version(shell: Shell, project: Path, index: Path, tmp_path: Path) -> None:
    _asks(project, "seasoning==1.0.0")
    original = run(shell)
    make_wheel(index, "seasoning", "1.0.1", source="SALT = 2\n")
    (project / "requirements.txt").write_text("seasoning==1.0.1\n")
    assert stale(shell) == [("packages", "seasoning")]
    after = run(shell)
    is_current(shell)
    shutil.rmtree(tmp_path / "cache")
    is_repeated(shell, original)
    assert blamed(shell, original, after) == [("packages", "seasoning")]


@pytest.mark.slow
def test_of_a_package_that_moved_on_by_itself(
    shell: Shell, project: Path, index: Path, tmp_path: Path
) -> None:
    _asks(project, "seasoning")
    original = run(shell)
    make_wheel(index, "seasoning", "1.0.1", source="SALT = 2\n")
    after = run(shell, "--refresh-env")
    assert blamed(shell, original, after) == [("packages", "seasoning")]
    (index / "seasoning-1.0.0-py3-none-any.whl").unlink()
    is_repeated(shell, original)  # built once, it is still there
    shutil.rmtree(tmp_path / "cache")
    shell.variables["UV_CACHE_DIR"] = str(tmp_path / "uv")
    is_refused(shell, original, "seasoning", "environment-failed")


@pytest.mark.slow
def test_of_a_package_under_the_same_number(shell: Shell, project: Path, index: Path, tmp_path: Path) -> None:
    _asks(project, "seasoning==1.0.0")
    shell.variables["UV_CACHE_DIR"] = str(tmp_path / "uv")
    original = run(shell)
    make_wheel(index, "seasoning", "1.0.0", source="SALT = 2\n")
    shell.variables["UV_CACHE_DIR"] = str(tmp_path / "uv2")
    after = run(shell, "--refresh-env")
    assert blamed(shell, original, after) == [("packages", "seasoning")]
    shutil.rmtree(tmp_path / "cache")
    is_refused(shell, original, "seasoning", "hash-mismatch")


@pytest.mark.slow
def test_of_pythons_patch_version(shell: Shell, project: Path, caller: Caller, tmp_path: Path) -> None:
    there = installed(caller, Probes(tmp_path / "probes.json"))
    pairs = [(one, other) for one in there for other in there if one.numbers[:2] == other.numbers[:2]]
    patches = [(one, other) for one, other in pairs if one.numbers > other.numbers >= (3, 8)]
    if not patches:
        pytest.skip("needs two Pythons of one minor version")
    one, other = patches[0]
    minor = ".".join(map(str, one.numbers[:2]))
    _replace(project / "MLproject", "{requirements: []}", f"{{python: '{minor}', requirements: []}}")
    shutil.rmtree(tmp_path / "cache")  # the environment is to be built by the Python linked below
    links = tmp_path / "bin"
    links.mkdir()
    shell.variables["PATH"] = f"{links}:{shell.variables['PATH']}"
    (links / "python").symlink_to(one.path)
    original = run(shell)
    (links / "python").unlink()
    (links / "python").symlink_to(other.path)
    assert stale(shell) == [("python", "Python")]
    after = run(shell)
    assert blamed(shell, original, after) == [("python", "Python")]
    is_repeated(shell, original)
    assert f"Python {one.version} → {other.version}" in shell.mlrun("diff", original, after).stdout


@pytest.mark.slow
def test_of_an_images_tag(docker_client: Any, base: str, shell: Shell, project: Path) -> None:
    tag = f"mlrun-test-moved:{uuid.uuid4().hex[:8]}"
    repository, _, version = tag.partition(":")
    docker_client.api.tag(base, repository, version)
    _replace(
        project / "MLproject",
        "environment: {requirements: []}",
        f"docker_env: {{image: '{tag}', environment: [[A, '1']]}}",
    )
    try:
        original = run(shell)
        is_current(shell)
        container = docker_client.api.create_container(base, ["true"])
        docker_client.api.commit(container, repository, version, changes=["ENV PATCHED=1"])
        docker_client.api.remove_container(container)
        assert stale(shell) == [("image", tag)]
        is_repeated(shell, original)
        after = run(shell)
        assert blamed(shell, original, after) == [("image", tag)]
        text = f"image {tag} (the name has moved to another image)"
        assert text in shell.mlrun("diff", original, after).stdout
    finally:
        docker_client.api.remove_image(tag, noprune=True)
    is_refused(shell, after, tag, "cannot-restore")
