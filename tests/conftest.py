"""Guards and fixtures for all tests: a home of their own, and an environment that no test may change."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from mlrun.data import native
from mlrun.files import Cache, Home
from mlrun.model import Caller
from tests.quiet import Quiet
from tests.shells import Shell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


# As in an activated environment: programs of tests find the Python that runs us, and no shim before it.
os.environ["PATH"] = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))  # noqa: TID251


@pytest.fixture(autouse=True)
def _same_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """No test reaches the user's own store, asks a git password, or leaves a variable behind."""
    monkeypatch.setenv("MLRUN_HOME", str(tmp_path_factory.getbasetemp() / "no-such-place" / "home"))
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"):
        monkeypatch.setenv(name, "Ada")
    for name in ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "ada@example.org")
    before = _variables()
    yield
    assert _variables() == before, "a test left the environment changed"


def _variables() -> dict[str, str]:
    """All of them, but the one in which pytest says what it is doing."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}  # noqa: TID251


@pytest.fixture
def hostile_path(tmp_path: Path) -> Path:
    """A folder whose name breaks whatever does not quote."""
    path = tmp_path / 'it\'s a "folder"\n= $(x) ü'
    path.mkdir()
    return path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    cache = Cache(tmp_path / "cache")
    cache.prepare()
    return cache


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Fills a folder of that name, which whoever needs it first fills for all processes of this session."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # noqa: TID251
        shared = shared.parent

    def once(name: str, fill: Callable[[Path], object]) -> Path:
        folder = shared / name
        with open(shared / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "filled").exists():
                shutil.rmtree(folder, ignore_errors=True)  # what somebody could not fill
                folder.mkdir()
                fill(folder)
                (folder / "filled").touch()
        return folder

    return once


@pytest.fixture(scope="session")
def warm_cache(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """What any run needs is built in it: what observes programs, and an environment without packages.

    To be copied, not used: what a test leaves in its cache is nobody else's.
    """
    return once("warm", _run_something) / "cache"


def _run_something(folder: Path) -> None:
    text = "environment: {requirements: []}\nentry_points: {main: {command: 'true'}}\n"
    (folder / "MLproject").write_text(text)
    shell = Shell(folder, folder)
    shell.variables["UV_CACHE_DIR"] = str(folder / "uv")
    shell.record(".")


@pytest.fixture(scope="session")
def hashing_cache(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A cache in which the program that hashes many files is compiled, where there is a compiler."""

    def compile_it(folder: Path) -> None:
        (folder / "cache" / "hash-v1").mkdir(parents=True)
        native.program(Cache(folder / "cache"))

    return once("hashing", compile_it) / "cache"


@pytest.fixture
def known_python(warm_cache: Path, tmp_path: Path) -> None:
    """What mlrun and uv remember of the Python that runs us: neither has to ask it again."""
    shutil.copytree(warm_cache.parent / "uv", tmp_path / "uv")
    (tmp_path / "cache" / "envs-v1").mkdir(parents=True)
    shutil.copy2(warm_cache / "envs-v1" / "interpreters.json", tmp_path / "cache" / "envs-v1")


@pytest.fixture
def caller(tmp_path: Path) -> Caller:
    return Caller(directory=str(tmp_path), variables=dict(os.environ))  # noqa: TID251


@pytest.fixture
def narrator() -> Quiet:
    return Quiet()
