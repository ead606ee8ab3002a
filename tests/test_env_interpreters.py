"""Which Python is taken, of those that can be found."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from mlrun.env.interpreters import Probes, choose, first_on_path
from mlrun.errors import EnvironmentBuildError
from mlrun.model import Caller

if TYPE_CHECKING:
    from pathlib import Path

HERE = ".".join(str(number) for number in sys.version_info[:3])
MINOR = ".".join(str(number) for number in sys.version_info[:2])
BASE = os.path.realpath(sys.executable)


@pytest.fixture
def probes(tmp_path: Path) -> Probes:
    return Probes(tmp_path / "interpreters.json")


def pyenv(tmp_path: Path, *versions: str) -> Path:
    """A pyenv of pretended versions: their folders' names are all that is looked at."""
    for version in versions:
        folder = tmp_path / "pyenv/versions" / version / "bin"
        folder.mkdir(parents=True)
        (folder / "python").write_bytes(b"\x7fELF" + version.encode())
        (folder / "python").chmod(0o755)
    return tmp_path / "pyenv"


def caller(tmp_path: Path, *path: Path, **variables: str) -> Caller:
    base = {
        "HOME": str(tmp_path),
        "PATH": os.pathsep.join(str(folder) for folder in path) or str(tmp_path / "nowhere"),
        "PYENV_ROOT": str(tmp_path / "pyenv"),
    }
    return Caller(directory=str(tmp_path), variables={**base, **variables})


def bin_folder(tmp_path: Path, name: str = "python") -> Path:
    """A folder for PATH that holds the Python that runs these tests."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / name).symlink_to(BASE)
    return folder


def test_the_caller_s_own_python_is_taken_where_none_is_asked_for(tmp_path: Path, probes: Probes) -> None:
    pyenv(tmp_path, "3.99.0")
    folder = bin_folder(tmp_path)
    found, findings = choose(None, caller=caller(tmp_path, folder), probes=probes)
    assert (found.path, found.version, findings) == (str(folder / "python"), HERE, ())


def test_the_caller_s_own_python_is_preferred_where_it_fits(tmp_path: Path, probes: Probes) -> None:
    pyenv(tmp_path, "3.99.0")
    found, _ = choose(">=3.6", caller=caller(tmp_path, bin_folder(tmp_path, "python3")), probes=probes)
    assert found.version == HERE


@pytest.mark.parametrize(
    ("wanted", "version"),
    [
        ("3.98", "3.98.7"),
        ("3.98.2", "3.98.2"),
        (">=3.97,<3.98", "3.97.1"),
        (">3.96", "3.99.0"),
        ("~=3.98.1", "3.98.7"),
    ],
)
def test_a_version_or_a_range_is_served_by_the_newest_that_fits(
    tmp_path: Path, probes: Probes, wanted: str, version: str
) -> None:
    pyenv(tmp_path, "3.97.1", "3.98.2", "3.98.7", "3.99.0", "2.7.18", "miniconda3-4.7", "3.98-dev")
    found, findings = choose(wanted, caller=caller(tmp_path), probes=probes)
    assert (found.version, findings) == (version, ())
    assert found.path == str(tmp_path / "pyenv/versions" / version / "bin/python")


def test_an_exact_patch_is_served_by_the_nearest_of_its_minor_and_said(
    tmp_path: Path, probes: Probes
) -> None:
    pyenv(tmp_path, "3.98.1", "3.98.9", "3.99.0")
    found, findings = choose("3.98.12", caller=caller(tmp_path), probes=probes)
    assert found.version == "3.98.9"
    assert [finding.message for finding in findings] == [
        "Python 3.98.12 is asked for; 3.98.9 is installed and used"
    ]


def test_a_missing_minor_is_an_error_that_lists_what_there_is(tmp_path: Path, probes: Probes) -> None:
    pyenv(tmp_path, "3.98.1", "3.99.0")
    with pytest.raises(EnvironmentBuildError) as caught:
        choose("3.2.1", caller=caller(tmp_path), probes=probes)
    assert caught.value.code == "no-python"
    assert caught.value.message.startswith("no Python 3.2.1 is installed; found: 3.99.0, 3.98.1")
    assert caught.value.hint == "`uv python install 3.2`"


def test_pythons_that_uv_manages_are_found(tmp_path: Path, probes: Probes) -> None:
    folder = tmp_path / "managed/cpython-3.98.4-linux-x86_64-gnu/bin"
    folder.mkdir(parents=True)
    (folder / "python3").write_bytes(b"\x7fELF")
    (folder / "python3").chmod(0o755)
    who = caller(tmp_path, UV_PYTHON_INSTALL_DIR=str(tmp_path / "managed"))
    assert choose("3.98", caller=who, probes=probes)[0].version == "3.98.4"


def test_pyenv_s_shims_are_seen_through(tmp_path: Path) -> None:
    root = pyenv(tmp_path, "3.97.1", "3.98.1", "3.98.2")
    (root / "shims").mkdir()
    (root / "shims/python").write_text("#!/usr/bin/env bash\nexec pyenv exec\n")
    (root / "shims/python").chmod(0o755)
    (root / "version").write_text("3.97.1\n")
    versions = f"{root}/versions"
    who = caller(tmp_path, root / "shims")
    assert first_on_path(who) == f"{versions}/3.97.1/bin/python"
    (tmp_path / ".python-version").write_text("3.98\n")
    assert first_on_path(who) == f"{versions}/3.98.2/bin/python"
    who = caller(tmp_path, root / "shims", PYENV_VERSION="3.98.1:3.97.1")
    assert first_on_path(who) == f"{versions}/3.98.1/bin/python"


def test_an_interpreter_is_asked_once(tmp_path: Path, probes: Probes) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    python = folder / "python"
    python.write_text(f"#!/bin/sh\necho asked >> '{tmp_path}/log'\nexec '{BASE}' \"$@\"\n")
    python.chmod(0o755)
    variables = {"PATH": os.defpath, "HOME": str(tmp_path)}
    assert [probes.ask(str(python), variables) for _ in range(3)] == [probes.ask(str(python), variables)] * 3
    assert (tmp_path / "log").read_text() == "asked\n"
    os.utime(python, (1, 1))
    probes.ask(str(python), variables)
    assert (tmp_path / "log").read_text() == "asked\nasked\n"


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 3\n", "#!/bin/sh\necho hello\n", "no program"])
def test_what_does_not_answer_is_no_interpreter(tmp_path: Path, probes: Probes, text: str) -> None:
    (tmp_path / "python").write_text(text)
    (tmp_path / "python").chmod(0o755)
    assert probes.ask(str(tmp_path / "python"), {"PATH": os.defpath}) is None


def test_spoilt_answers_are_asked_again(tmp_path: Path, probes: Probes) -> None:
    for text in ("{", "[]", json.dumps({BASE: 3}), json.dumps({BASE: {"stamp": 1}})):
        probes.file.write_text(text)
        answer = probes.ask(BASE, {"PATH": os.defpath, "HOME": str(tmp_path)})
        assert answer is not None
        assert answer.version == HERE
