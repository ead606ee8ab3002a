"""An environment of the past, from its record and lock: built with uv from hand-made wheels."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest

from mlrun import env
from mlrun.env.restoration import names_source
from mlrun.errors import EnvironmentBuildError
from mlrun.model import Digest, EnvironmentFacts, EnvironmentRequest
from mlrun.value import replace
from tests.test_env_venv import Bench, make_bench
from tests.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.model import Environment


@pytest.fixture
def bench(tmp_path: Path, known_python: None) -> Bench:
    return make_bench(tmp_path)


def facts_of(environment: Environment) -> tuple[EnvironmentFacts, str]:
    """What a run's record would say, and the lock that it would keep."""
    assert environment.lock is not None
    facts = EnvironmentFacts(
        kind=environment.kind,
        key=environment.key,
        asked=environment.asked,
        python=environment.python,
        platform=environment.platform,
        lock=environment.lock_digest,
        lock_kind=environment.lock_kind,
        resolved_at="2020-01-01T00:00:00Z",
        packages=environment.packages,
    )
    return facts, environment.lock.read_text()


def restore(
    bench: Bench,
    facts: EnvironmentFacts,
    lock: str | None,
    directory: Path | None = None,
    *,
    was: str | None = None,
) -> Environment:
    return env.restore(
        facts,
        lock,
        directory=directory or bench.project,
        was=was,
        tree=bench.tree,
        cache=bench.cache,
        caller=bench.caller,
        narrator=bench.narrator,
    )


def versions(environment: Environment) -> list[str]:
    return [f"{package.name} {package.version}" for package in environment.packages]


def test_what_is_there_is_taken_and_what_is_gone_is_built_again(bench: Bench) -> None:
    facts, lock = facts_of(bench.ensure())
    found = restore(bench, facts, lock)
    assert (found.key, found.reused, found.asked) == (facts.key, True, facts.asked)
    make_wheel(bench.wheels, "beta", "3.0")
    bench.write("requirements.txt", "beta\n")
    env.remove(bench.cache, found.key)
    again = restore(bench, facts, lock)
    assert (again.key, again.reused) == (facts.key, False)
    assert versions(again) == ["alpha 1.0", "beta 2.0"]
    assert again.resolved_at == "2020-01-01T00:00:00Z"
    assert restore(bench, facts, lock).reused


@pytest.mark.slow
def test_a_whole_cache_may_go(bench: Bench) -> None:
    facts, lock = facts_of(bench.ensure())
    shutil.rmtree(bench.cache.root)
    assert versions(restore(bench, facts, lock)) == ["alpha 1.0", "beta 2.0"]


BACKEND = (
    "import os, zipfile\n"
    "def build_wheel(folder, config_settings=None, metadata_directory=None):\n"
    "    name = 'own-1.0-py3-none-any.whl'\n"
    "    open('litter.txt', 'w').close()\n"
    "    with zipfile.ZipFile(os.path.join(folder, name), 'w') as wheel:\n"
    "        wheel.write('own.py')\n"
    "        wheel.writestr('own-1.0.dist-info/METADATA',"
    " 'Metadata-Version: 2.1\\nName: own\\nVersion: 1.0\\n')\n"
    "        wheel.writestr('own-1.0.dist-info/WHEEL',"
    " 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
    "        wheel.writestr('own-1.0.dist-info/RECORD',"
    " 'own.py,,\\n' + open('own.py').read().strip() + ',,\\n')\n"
    "    return name\n"
)


def write_local_project(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "own.py").write_text("X = 1\n")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "own"\nversion = "1.0"\n'
    )


@pytest.mark.slow
def test_the_projects_own_package_is_built_from_the_source_that_is_given(bench: Bench) -> None:
    write_local_project(bench.project / "lib")
    bench.write("requirements.txt", "beta\n./lib\n")
    facts, lock = facts_of(bench.ensure())
    assert names_source(lock)
    past = bench.root / "past"
    shutil.copytree(bench.project, past)
    bench.write("lib/own.py", "X = 2\n")
    env.remove(bench.cache, Digest(facts.key or ""))
    environment = restore(bench, facts, lock, past)
    assert environment.key == facts.key
    assert environment.location is not None
    own = next(environment.location.glob("lib/python*/site-packages/own.py"))
    assert own.read_text() == "X = 1\n"
    assert sorted(path.name for path in (past / "lib").iterdir()) == [
        "backend.py",
        "own.py",
        "pyproject.toml",
    ]


@pytest.mark.slow
def test_packages_that_were_edited_are_installed_anew(bench: Bench) -> None:
    facts, lock = facts_of(bench.ensure())
    built = restore(bench, facts, lock)
    assert built.location is not None
    module = next(built.location.glob("lib/python*/site-packages/beta*.py"))
    content = module.read_bytes()
    module.unlink()  # as editors do, so that only this environment has it
    module.write_bytes(content + b"\nEDITED = True\n")
    again = restore(bench, facts, lock)
    assert module.read_bytes() == content
    assert [it.code for it in again.findings] == ["environment-edited"]
    assert restore(bench, facts, lock).findings == ()
    bytecode = module.parent / "__pycache__" / f"{module.stem}.cpython-311.pyc"
    bytecode.parent.mkdir(exist_ok=True)
    bytecode.write_bytes(b"of another interpreter")
    record = next(built.location.glob("lib/python*/site-packages/beta*.dist-info/RECORD"))
    record.write_text(f"{record.read_text()}__pycache__/{bytecode.name},sha256=abc,3\n")
    assert restore(bench, facts, lock).findings == ()


@pytest.mark.slow
def test_a_local_project_outside_the_source_has_to_be_what_it_was(bench: Bench) -> None:
    lib = bench.project.parent / "lib"
    write_local_project(lib)
    bench.write("requirements.txt", "../lib\n")
    facts, lock = facts_of(bench.ensure())
    past = bench.root / "a" / "past"
    shutil.copytree(bench.project, past)

    def again() -> Environment:
        env.remove(bench.cache, Digest(facts.key or ""))
        return restore(bench, facts, lock, past, was=str(bench.project))

    assert again().key == facts.key
    (lib / "own.py").write_text("X = 2\n")
    with pytest.raises(EnvironmentBuildError) as caught:
        again()
    assert caught.value.code == "local-project-changed"
    shutil.rmtree(lib)
    with pytest.raises(EnvironmentBuildError) as caught:
        restore(bench, facts, lock, past, was=str(bench.project))
    assert caught.value.code == "local-project-gone"


def test_a_lock_without_folders_needs_no_source(bench: Bench) -> None:
    assert not names_source(facts_of(bench.ensure())[1])


@pytest.mark.slow
def test_another_platform_is_said(bench: Bench) -> None:
    facts, lock = facts_of(bench.ensure())
    found = restore(bench, replace(facts, platform="plan9-mips"), lock)
    assert [finding.code for finding in found.findings] == ["other-platform"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"key": None}, "no-environment"),
        ({"kind": "spaceship"}, "cannot-restore"),
        ({}, "no-lock"),
    ],
)
def test_what_cannot_be_had_again_is_said(bench: Bench, changes: dict[str, str], code: str) -> None:
    facts = EnvironmentFacts(kind="venv", key=Digest("blake3:" + "0" * 32), python="3.11.7")
    with pytest.raises(EnvironmentBuildError) as caught:
        restore(bench, replace(facts, **changes), None)
    assert caught.value.code == code


@pytest.mark.slow
def test_a_file_that_changed_since_is_refused(bench: Bench) -> None:
    facts, lock = facts_of(bench.ensure())
    shutil.rmtree(bench.cache.root)
    shutil.rmtree(bench.root / "uv")
    (bench.wheels / "beta-2.0-py3-none-any.whl").unlink()
    make_wheel(bench.wheels, "beta", "2.0", source="EVIL = True\n")
    with pytest.raises(EnvironmentBuildError) as caught:
        restore(bench, facts, lock)
    assert caught.value.code == "hash-mismatch"


def test_the_callers_own_environment_is_only_compared(bench: Bench) -> None:
    asked = env.read(EnvironmentRequest(), bench.project, manager="system")
    now = env.ensure(
        asked,
        directory=bench.project,
        tree="",
        cache=bench.cache,
        caller=bench.caller,
        narrator=bench.narrator,
    )
    facts = EnvironmentFacts(kind="system", key=now.key, python=now.python)
    assert restore(bench, facts, None).findings == ()
    other = restore(bench, replace(facts, key=Digest("blake3:" + "0" * 32)), None)
    assert [finding.code for finding in other.findings] == ["other-system"]


def test_locks_that_were_written_out_go_with_the_garbage(bench: Bench) -> None:
    facts, lock = facts_of(bench.ensure())
    env.remove(bench.cache, Digest(facts.key or ""))
    restore(bench, facts, lock)
    folder = bench.cache.environments / "locks"
    assert len(list(folder.iterdir())) == 1
    env.collect_garbage(bench.cache, keep_days=1, now=time.time(), keep=frozenset())
    assert len(list(folder.iterdir())) == 1
    env.collect_garbage(bench.cache, keep_days=1, now=time.time() + 2 * 24 * 3600, keep=frozenset())
    assert list(folder.iterdir()) == []
