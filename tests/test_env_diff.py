"""`mlrun env diff`: the comparison itself, and what the two words on the command line may be."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from mlrun.model import EnvironmentFacts, Image, Package
from mlrun.views.environment_diff import Change, difference, lines, summary
from tests.shells import Shell
from tests.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path


def held(*packages: str, **more: object) -> EnvironmentFacts:
    """An environment of packages written as `name 1.0` or `name 1.0 source`."""
    parts = [text.split() for text in packages]
    made = tuple(Package(name=it[0], version=it[1], source=it[2] if it[2:] else None) for it in parts)
    return EnvironmentFacts(kind="venv", packages=made, **more)  # type: ignore[arg-type]  # fields by name


def test_packages_are_told_apart_by_how_they_changed() -> None:
    found = difference(
        held("same 1.0", "gone 1.0", "up 1.9", "down 2.0", "odd x_y", "moved 1 https://a/simple"),
        held("same 1.0", "new 3.0", "up 1.10", "down 2.0rc1", "odd z_y", "moved 1 https://b/simple"),
    )
    assert found.changes == (
        Change(name="down", how="down", before="2.0", after="2.0rc1"),
        Change(name="gone", how="removed", before="1.0", after=None),
        Change(
            name="moved", how="changed", before="1 from https://a/simple", after="1 from https://b/simple"
        ),
        Change(name="new", how="added", before=None, after="3.0"),
        Change(name="odd", how="changed", before="x_y", after="z_y"),
        Change(name="up", how="up", before="1.9", after="1.10"),
    )
    assert [mark for mark, _ in lines(found)] == ["+", "-", "~", "~", "~", "~"]
    assert summary(found) == "1 added, 1 removed, 4 changed, 1 package the same"
    assert not found.is_none


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (held("a 1"), held("a 1"), True),
        (held("a 1 https://x/simple"), held("a 1"), True),
        (held("a 1", python="3.11.7"), held("a 1", python="3.12.1"), False),
        (held("a 1", python="3.11.7"), held("a 1"), True),
        (held("a 1", platform="linux-x86_64"), held("a 1", platform="darwin-arm64"), False),
        (held("a 1", as_of="2020-01-01T00:00:00Z"), held("a 1"), True),
        (held("a 1", asked="requirements.txt"), held("a 1", asked="pylock.toml"), True),
        (
            held(image=Image(name="i", id="1", platform="p")),
            held(image=Image(name="i", id="2", platform="p")),
            False,
        ),
        (
            held(image=Image(name="i", id="1", platform="p")),
            held(image=Image(name="i", id="1", platform="p")),
            True,
        ),
        (held("a 1"), held(), False),
    ],
)
def test_what_makes_a_difference(one: EnvironmentFacts, other: EnvironmentFacts, same: bool) -> None:
    assert difference(one, other).is_none is same
    assert difference(other, one).is_none is same


LOCK = 'lock-version = "1.0"\ncreated-by = "x"\n'


def lock_text(*packages: str) -> str:
    blocks = [f'\n[[packages]]\nname = "{it.split()[0]}"\nversion = "{it.split()[1]}"\n' for it in packages]
    return LOCK + "".join(blocks)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    project = tmp_path / "project"
    project.mkdir()
    (project / "MLproject").write_text("name: demo\nentry_points:\n  main: {command: 'true'}\n")
    (project / "requirements.txt").write_text("alpha\n")
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "alpha", "1.0")
    make_wheel(wheels, "beta", "2.0")
    shell = Shell(tmp_path, project)
    shell.variables |= {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": wheels.as_uri(),
        "UV_CACHE_DIR": str(tmp_path / "uv"),
    }
    return shell


def test_two_lock_files(shell: Shell) -> None:
    (shell.cwd / "a.toml").write_text(lock_text("Some_Package 1.0", "b 2"))
    (shell.cwd / "b.toml").write_text(lock_text("some-package 1.1", "c 2"))
    done = shell.mlrun("env", "diff", "a.toml", "b.toml")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        "lock a.toml → lock b.toml",
        "+ c  2",
        "- b  2",
        "~ some-package  1.0 → 1.1 ↑",
        "1 added, 1 removed, 1 changed, 0 packages the same",
    ]
    assert shell.mlrun("env", "diff", "a.toml", "a.toml").returncode == 0
    machine = json.loads(shell.mlrun("env", "diff", "a.toml", "b.toml", "--json").stdout)
    assert machine["same"] is False
    assert machine["a"] == {"given": "a.toml", "is": "lock"}
    assert [it["change"] for it in machine["packages"]] == ["removed", "added", "up"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("latest", "no run `latest`"),
        ("nothing", "is neither a run, nor an environment's key"),
        ("abcdef", "is neither a run, nor an environment's key"),
        ("./nowhere", "cannot find `./nowhere`"),
        ("requirements.txt", "is no lock that can be compared"),
        ("a\nb", "is neither a run"),
    ],
)
def test_what_cannot_be_compared_is_said(shell: Shell, word: str, message: str) -> None:
    (shell.cwd / "a.toml").write_text(lock_text("a 1"))
    done = shell.mlrun("env", "diff", "a.toml", word)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_runs_keys_projects_and_locks_go_together(shell: Shell) -> None:
    first = shell.record(".", "--name", "first")
    (shell.cwd / "requirements.txt").write_text("alpha\nbeta\n")
    second = shell.record(".", "--name", "second")
    done = shell.mlrun("env", "diff", "first", "latest")
    assert done.returncode == 1
    assert "+ beta  2.0" in done.stdout.splitlines()
    key = first["environment"]["key"].removeprefix("blake3:")[:10]
    assert shell.mlrun("env", "diff", key, "first").returncode == 0
    assert shell.mlrun("env", "diff", ".", second["id"][:8]).returncode == 0
    assert shell.mlrun("lock").returncode == 0
    assert shell.mlrun("env", "diff", "pylock.toml", "second").returncode == 0
    assert shell.mlrun("env", "diff", "pylock.toml", key).returncode == 1
    (shell.cwd / "MLproject").write_text("name: demo\nentry_points:\n  main: {command: 'true'}\n")
    (shell.cwd / "pylock.toml").unlink()
    (shell.cwd / "requirements.txt").write_text("no-such-package\n")
    assert shell.mlrun("run", ".").returncode == 125
    unbuilt = shell.mlrun("env", "diff", "latest", "first")
    assert unbuilt.returncode == 2
    assert "ended before its environment was ready" in unbuilt.stderr
