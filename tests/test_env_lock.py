"""Locks as uv writes them, made fit to keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlrun.env.lock import Folder, all_from_pypi, read_lock

UV_WROTE = """\
lock-version = "1.0"
created-by = "uv"
requires-python = ">=3.11"

[[packages]]
name = "Alpha_One"
version = "1.0"
marker = "os_name == 'posix'"
sdist = { url = "https://files.pythonhosted.org/p/a.tar.gz", hashes = { sha256 = "aa" } }
wheels = [{ url = "https://files.pythonhosted.org/p/a.whl", hashes = { sha256 = "bb" } }]

[[packages]]
name = "beta"
version = "2.0"
wheels = [{ url = "https://ada:secret@own.example/files/b.whl", hashes = { sha256 = "cc" } }]

[[packages]]
name = "by-hand"
version = "3"
wheels = [{ url = "file:///wheels/by_hand-3.whl", hashes = { sha256 = "dd" } }]

[[packages]]
name = "gamma"
version = "3"
archive = { path = "../project/wheels/g.whl", hashes = { sha256 = "ee" } }

[[packages]]
name = "from-git"
vcs = { type = "git", url = "https://token@git.example/x.git", commit-id = "abc" }

[[packages]]
name = "me"
directory = { path = "local-0" }

[[packages]]
name = "editable-me"
directory = { path = "../project/lib", editable = true }
"""


def test_a_lock_is_kept_without_credentials_and_paths_of_this_machine() -> None:
    lock = read_lock(
        UV_WROTE,
        beside=Path("/cache/scratch"),
        directory=Path("/cache/project"),
        origins={"/cache/scratch/local-0": "/cache/project"},
        indexes={("beta", "2.0"): "https://own.example/simple", ("by-hand", "3"): "/wheels"},
    )
    kept = (
        UV_WROTE.replace("sdist =", 'index = "https://pypi.org/simple"\nsdist =')
        .replace("ada:secret@", "")
        .replace("token@", "")
        .replace(
            'wheels = [{ url = "https://own',
            'index = "https://own.example/simple"\nwheels = [{ url = "https://own',
        )
        .replace("../project/wheels/g.whl", "wheels/g.whl")
        .replace("local-0", ".")
        .replace("../project/lib", "lib")
    )
    assert lock.text == kept
    assert lock.folders == (
        Folder(name="me", path="/cache/project", editable=False),
        Folder(name="editable-me", path="/cache/project/lib", editable=True),
    )
    assert lock.sources == {
        ("alpha-one", "1.0"): "https://pypi.org/simple",
        ("beta", "2.0"): "https://own.example/simple",
        ("by-hand", "3"): "file:///wheels",
        ("from-git", ""): "https://git.example/x.git",
    }


def test_what_uv_installs_from_keeps_its_credentials_and_leaves_the_folders_out() -> None:
    lock = read_lock(
        UV_WROTE, beside=Path("/cache/scratch"), directory=Path("/project"), origins={}, indexes={}
    )
    assert lock.count == 5
    assert "ada:secret@own.example" in lock.installable
    assert 'path = "/cache/project/wheels/g.whl"' in lock.installable
    assert "directory" not in lock.installable


def test_an_empty_lock_is_a_lock() -> None:
    header = 'lock-version = "1.0"\n'
    lock = read_lock(header, beside=Path("/s"), directory=Path("/p"), origins={}, indexes={})
    assert (lock.text, lock.installable, lock.count) == (header, header, 0)


@pytest.mark.parametrize("text", ["x\n[[packages]]\nname = ", "x\n[[packages]]\nversion = '1'\n"])
def test_what_is_no_lock_is_an_error(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        read_lock(text, beside=Path("/s"), directory=Path("/p"), origins={}, indexes={})


def test_it_is_known_whether_pypi_serves_all() -> None:
    assert not all_from_pypi(UV_WROTE)
    assert all_from_pypi('wheels = [{ url = "https://files.pythonhosted.org/x.whl" }]')
