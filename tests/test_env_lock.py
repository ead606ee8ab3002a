"""Locks as uv writes them, made fit to keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlrun.env.compiling import indexes_by_place
from mlrun.env.lock import Folder, read_lock

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


def locked(**urls: str) -> str:
    blocks = [
        f'name = "{name}"\nversion = "1"\nwheels = [{{ url = "{url}" }}]\n' for name, url in urls.items()
    ]
    return "\n[[packages]]\n".join(['lock-version = "1.0"\n', *blocks])


PYPI_FILE = "https://files.pythonhosted.org/p/x.whl"


@pytest.mark.parametrize(
    ("lock", "variables", "told"),
    [
        (locked(a=PYPI_FILE), {}, {}),
        (locked(a=PYPI_FILE), {"UV_DEFAULT_INDEX": "https://mirror.example/simple"}, None),
        (
            locked(a="https://own.example/team/files/a.whl", b=PYPI_FILE),
            {"UV_EXTRA_INDEX_URL": "https://ada:secret@own.example/team/simple/"},
            {("a", "1"): "https://own.example/team/simple/"},
        ),
        (locked(a="https://elsewhere.example/a.whl"), {}, None),
        (
            locked(a="https://own.example/whl/cpu/a.whl"),
            {"UV_EXTRA_INDEX_URL": "https://own.example/whl/cpu https://own.example/whl/cu118"},
            None,
        ),
        (
            locked(a="file:///i/files/a.whl", b="file:///w/b.whl"),
            {"UV_EXTRA_INDEX_URL": "file:///i/simple", "UV_FIND_LINKS": "/w"},
            {("a", "1"): "file:///i/simple"},
        ),
        (
            locked(a="file:///i/w/a.whl"),
            {"UV_EXTRA_INDEX_URL": "file:///i/simple", "UV_FIND_LINKS": "/i/w"},
            None,
        ),
        (locked(a=PYPI_FILE), {"UV_INDEX": "own=https://own.example/simple"}, None),
    ],
)
def test_where_files_lie_tells_their_index_or_nothing(
    lock: str, variables: dict[str, str], told: dict[tuple[str, str], str] | None
) -> None:
    assert indexes_by_place(lock, variables) == told
