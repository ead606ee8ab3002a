"""`mlrun lock` as a user types it: real resolutions from hand-made wheels."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from mlrun.env.lock import facts_in, notes_in, with_notes, without_notes
from tests.shells import Shell
from tests.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "name: demo\nentry_points:\n  main: {command: python -c 'import alpha; alpha.main()'}\n"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    project = tmp_path / "project"
    project.mkdir()
    (project / "MLproject").write_text(HEAD)
    (project / "requirements.txt").write_text("alpha\n")
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "alpha", "1.0", requires=("beta>=2",))
    make_wheel(wheels, "beta", "2.0")
    shell = Shell(tmp_path, project)
    shell.variables |= {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": wheels.as_uri(),
        "UV_CACHE_DIR": str(tmp_path / "uv"),
    }
    return shell


def lock_of(shell: Shell) -> dict[str, Any]:
    return tomllib.loads((shell.cwd / "pylock.toml").read_text())


def versions(shell: Shell) -> list[str]:
    return [f"{it['name']} {it['version']}" for it in lock_of(shell)["packages"]]


@pytest.mark.slow
def test_a_lock_is_written_is_what_runs_and_is_kept_while_nothing_changes(
    shell: Shell, tmp_path: Path
) -> None:
    first = shell.mlrun("lock")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("pylock.toml: written: 2 packages, Python 3.")
    assert versions(shell) == ["alpha 1.0", "beta 2.0"]
    notes = lock_of(shell)["tool"]["mlrun"]
    assert sorted(notes) == ["asked", "platform", "python"]
    assert notes["asked"].startswith("blake3:")
    make_wheel(tmp_path / "wheels", "beta", "2.1")
    before = (shell.cwd / "pylock.toml").read_bytes()
    again = shell.mlrun("lock", "--json")
    assert json.loads(again.stdout)["status"] == "up-to-date"
    assert (shell.cwd / "pylock.toml").read_bytes() == before
    record = shell.record(".")
    assert [package["version"] for package in record["environment"]["packages"]] == ["1.0", "2.0"]
    assert record["environment"]["asked"].startswith("pylock.toml: ")
    upgraded = shell.mlrun("lock", "--upgrade")
    assert upgraded.stdout.splitlines()[1:] == ["  ~ beta  2.0 → 2.1 ↑"]
    assert versions(shell) == ["alpha 1.0", "beta 2.1"]


@pytest.mark.slow
def test_before_and_after_locking_one_environment_serves(shell: Shell) -> None:
    before = shell.record(".")["environment"]["key"]
    shell.mlrun("lock")
    assert shell.record(".")["environment"]["key"] == before


@pytest.mark.slow
def test_a_check_tells_missing_fresh_and_stale(shell: Shell) -> None:
    missing = shell.mlrun("lock", "--check")
    assert (missing.returncode, missing.stdout.splitlines()[0]) == (
        1,
        "pylock.toml: missing: there is no pylock.toml",
    )
    shell.mlrun("lock")
    assert shell.mlrun("lock", "--check").returncode == 0
    (shell.cwd / "requirements.txt").write_text("# another comment\nalpha\n")
    assert shell.mlrun("lock", "--check").returncode == 0
    (shell.cwd / "requirements.txt").write_text("alpha\nbeta==2.0\n")
    stale = shell.mlrun("lock", "--check", "--json")
    assert stale.returncode == 1
    assert json.loads(stale.stdout)["status"] == "stale"
    assert "has changed since" in shell.mlrun("run", ".").stderr
    shell.mlrun("lock")
    assert shell.mlrun("lock", "--check").returncode == 0


@pytest.mark.slow
def test_a_lock_that_is_not_ours_is_left_alone(shell: Shell) -> None:
    foreign = 'lock-version = "1.0"\ncreated-by = "other"\npackages = []\n'
    (shell.cwd / "pylock.toml").write_text(foreign)
    (shell.cwd / "python_env.yaml").write_text("dependencies: [alpha]\n")
    refused = shell.mlrun("lock")
    assert refused.returncode == 2
    assert "was not written by mlrun" in refused.stderr
    assert shell.mlrun("lock", "--check").returncode == 2
    assert (shell.cwd / "pylock.toml").read_text() == foreign
    assert shell.mlrun("lock", "--force").returncode == 0
    assert versions(shell) == ["alpha 1.0", "beta 2.0"]


def test_a_spoilt_lock_is_said(shell: Shell) -> None:
    (shell.cwd / "pylock.toml").write_text("= nonsense")
    done = shell.mlrun("lock", "--check")
    assert done.returncode == 2
    assert "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lock", "https://example.org/a/b.git"), "a lock is written beside the project"),
        (("lock", ".", "--check", "--upgrade"), "`--check` writes nothing, so `--upgrade` means nothing"),
        (("lock", ".", "--env-manager", "system"), "the caller's own environment cannot be locked"),
        (("lock", "no-such-folder"), "cannot find `no-such-folder`"),
        (("lock", ".", "--as-of", "yesterday"), "yesterday"),
    ],
)
def test_what_cannot_be_locked_is_said(shell: Shell, arguments: tuple[str, ...], message: str) -> None:
    done = shell.mlrun(*arguments)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[0]
    assert not (shell.cwd / "pylock.toml").exists()


@pytest.mark.slow
def test_a_resolution_that_fails_leaves_the_lock_as_it_was(shell: Shell) -> None:
    shell.mlrun("lock")
    before = (shell.cwd / "pylock.toml").read_bytes()
    (shell.cwd / "requirements.txt").write_text("alpha==9\n")
    assert shell.mlrun("lock").returncode == 2
    assert (shell.cwd / "pylock.toml").read_bytes() == before
    assert [path.name for path in shell.cwd.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_an_image_is_pinned_in_the_project_file(shell: Shell) -> None:
    (shell.cwd / "MLproject").write_text(f"{HEAD}docker_env: {{image: 'team/tool:1'}}\n")
    loose = shell.mlrun("lock", "--check")
    assert (loose.returncode, loose.stdout.splitlines()[0]) == (
        1,
        "pylock.toml: stale: the image `team/tool:1` is not pinned by its digest",
    )
    (shell.cwd / "MLproject").write_text(f"{HEAD}docker_env: {{image: 'team/tool@sha256:{'0' * 64}'}}\n")
    assert shell.mlrun("lock", "--check").returncode == 0


@pytest.mark.slow
def test_a_lock_moves_with_its_project(shell: Shell, tmp_path: Path) -> None:
    """What it names lies beside it, whatever the machine calls that place."""
    lib = shell.cwd / "lib"
    lib.mkdir()
    make_wheel(lib, "gamma", "1.0")
    (shell.cwd / "requirements.txt").write_text("alpha\n./lib/gamma-1.0-py3-none-any.whl\n")
    done = shell.mlrun("lock")
    assert done.returncode == 0, done.stderr
    assert str(shell.cwd) not in (shell.cwd / "pylock.toml").read_text()
    moved = tmp_path / "moved"
    shell.cwd.rename(moved)
    shell.cwd = moved
    record = shell.record(".")
    assert [package["name"] for package in record["environment"]["packages"]] == ["alpha", "beta", "gamma"]


@pytest.mark.slow
def test_the_day_of_a_lock_stays_until_another_is_asked(shell: Shell) -> None:
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_CONFIG_FILE", "UV_CACHE_DIR"):
        del shell.variables[name]
    (shell.cwd / "requirements.txt").write_text("iniconfig\n")
    first = shell.mlrun("lock", "--as-of", "2022-01-01")
    assert first.returncode == 0, first.stderr
    assert "iniconfig 1.1.1" in versions(shell)
    assert lock_of(shell)["tool"]["mlrun"]["as-of"].startswith("2022-01-01T")
    assert shell.mlrun("lock", "--check").returncode == 0
    assert shell.mlrun("lock", "--check", "--as-of", "now").returncode == 1
    (shell.cwd / "requirements.txt").write_text("iniconfig>1\n")
    shell.mlrun("lock")
    assert "iniconfig 1.1.1" in versions(shell)
    shell.mlrun("lock", "--as-of", "now")
    assert "iniconfig 1.1.1" not in versions(shell)
    assert "as-of" not in lock_of(shell)["tool"]["mlrun"]


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_said(shell: Shell) -> None:
    (shell.cwd / "pylock.toml").mkdir()
    done = shell.mlrun("lock")
    assert done.returncode == 2
    assert "cannot write" in done.stderr


def test_git_sees_one_new_file(shell: Shell) -> None:
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=shell.cwd, check=True)
    shell.mlrun("lock")
    said = subprocess.run(["git", "status", "--porcelain"], cwd=shell.cwd, capture_output=True, text=True)
    assert said.stdout == "?? pylock.toml\n"


# --- notes --------------------------------------------------------------------------------------------

PLAIN = (
    'lock-version = "1.0"\ncreated-by = "uv"\n\n'
    '[[packages]]\nname = "a"\nversion = "1"\nwheels = [{ url = "u" }]\n'
)
EMPTY = 'lock-version = "1.0"\ncreated-by = "mlrun"\n'


@pytest.mark.parametrize("plain", [PLAIN, EMPTY])
def test_notes_come_and_go_without_a_trace(plain: str) -> None:
    noted = with_notes(plain, {"asked": "blake3:1", "python": "3.11.7", "as-of": None})
    assert notes_in(noted) == {"asked": "blake3:1", "python": "3.11.7"}
    assert without_notes(noted) == plain
    assert with_notes(noted, {"asked": "blake3:2"}).count("[tool.mlrun]") == 1
    assert tomllib.loads(noted)["lock-version"] == "1.0"


def test_a_foreign_lock_has_no_notes_of_ours() -> None:
    assert notes_in(PLAIN) is None
    assert notes_in(f"{EMPTY}[tool.mlrun]\nother = 1\n") is None
    assert [package.name for package in facts_in(PLAIN).packages] == ["a"]


@pytest.mark.parametrize("text", ["", "x = 1\n", 'lock-version = "1"\npackages = [3]\n', "[["])
def test_what_is_no_lock_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        facts_in(text)
