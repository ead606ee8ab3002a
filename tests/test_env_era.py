"""A pip of the day, and the order in which an environment is tried."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlrun import env
from mlrun.env.era import explain
from mlrun.env.interpreters import Interpreter, Probes, installed
from mlrun.errors import EnvironmentBuildError
from mlrun.files import Cache
from mlrun.model import Caller, EnvironmentRequest
from tests.indexes import Index, serving
from tests.quiet import Quiet
from tests.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlrun.model import Environment

VARIABLES = dict(os.environ)  # noqa: TID251  what a test starts from
DAY = "2022-08-12T09:00:00Z"
BEFORE, AFTER = "2022-01-02T03:04:05Z", "2023-01-02T03:04:05Z"
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


@dataclass
class Bench:
    """A project, and a caller whose index is our own, with PyPI behind it where `real`."""

    root: Path
    index: Index
    day: env.Day = field(default_factory=lambda: env.Day(as_of=DAY, why="the commit's date"))
    narrator: Quiet = field(default_factory=Quiet)
    real: bool = False
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        return self.root / "project"

    @property
    def cache(self) -> Cache:
        return Cache(self.root / "cache")

    @property
    def caller(self) -> Caller:
        variables = {
            "PATH": os.path.dirname(sys.executable) + os.pathsep + os.defpath,
            "HOME": str(self.root / "home"),
            "PYENV_ROOT": str(self.root / "no-pyenv"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": self.index.url,
            "UV_CACHE_DIR": str(self.root / "uv"),
        }
        if self.real:
            real = ("SSL_CERT_FILE", "PIP_CERT", "UV_CACHE_DIR", "HTTPS_PROXY", "HOME", "PYENV_ROOT")
            variables |= {name: VARIABLES[name] for name in real if name in VARIABLES}
            variables.pop("PYENV_ROOT" if "PYENV_ROOT" not in VARIABLES else "", None)
            variables |= {"PIP_INDEX_URL": "https://pypi.org/simple", "PIP_EXTRA_INDEX_URL": self.index.url}
        return Caller(directory=str(self.root), variables={**variables, **self.extra})

    def write(self, name: str, text: str) -> None:
        self.project.mkdir(exist_ok=True)
        (self.project / name).write_text(text)

    def wheel(self, name: str, version: str, uploaded: str | None, *requires: str) -> None:
        wheel = make_wheel(self.index.folder, name, version, requires=requires)
        if uploaded:
            self.index.uploaded[wheel.name] = uploaded

    def asked(self) -> env.Asked:
        return env.read(EnvironmentRequest(), self.project, manager=None)

    def ensure(self, asked: env.Asked | None = None, *, refresh: bool = False) -> Environment:
        return env.ensure(
            asked or self.asked(),
            directory=self.project,
            tree="tree-1",
            cache=self.cache,
            caller=self.caller,
            narrator=self.narrator,
            refresh=refresh,
            day=self.day,
        )

    def failure(self, asked: env.Asked | None = None) -> EnvironmentBuildError:
        with pytest.raises(EnvironmentBuildError) as caught:
            self.ensure(asked)
        return caught.value


@pytest.fixture
def bench(tmp_path: Path, known_python: None) -> Iterator[Bench]:
    index = Index(tmp_path / "files")
    bench = Bench(tmp_path, index)
    for name in ("alpha", "setuptools"):
        bench.wheel(name, "1.0", BEFORE)
        bench.wheel(name, "2.0", AFTER)
    bench.write("requirements.txt", "alpha\n")
    with serving(index):
        yield bench


def held(environment: Environment) -> dict[str, str]:
    return {package.name: package.version for package in environment.packages}


# --- the day ------------------------------------------------------------------------------------------


def test_packages_are_those_of_the_day_and_the_day_is_said_and_kept(bench: Bench) -> None:
    environment = bench.ensure()
    assert held(environment) == {"alpha": "1.0", "setuptools": "1.0"}
    assert (environment.as_of, environment.as_of_why) == (DAY, "the commit's date")
    assert environment.adaptations == ("setuptools is added, which every environment of that day held",)
    assert bench.narrator.lines[1:] == ["packages as of 2022-08-12, the commit's date"]
    again = bench.ensure()
    assert (again.reused, again.as_of, again.adaptations) == (True, DAY, environment.adaptations)


@pytest.mark.slow
def test_another_day_is_another_environment(bench: Bench) -> None:
    first = bench.ensure()
    bench.day = env.Day(as_of="2023-08-12T23:59:59Z", why="--as-of")
    second = bench.ensure()
    assert held(second) == {"alpha": "2.0", "setuptools": "2.0"}
    assert second.key != first.key
    bench.day = env.NOW
    third = bench.ensure()
    assert held(third) == {"alpha": "2.0"}
    assert (third.as_of, third.as_of_why, third.adaptations) == (None, None, ())


def test_packages_of_another_day_do_not_stand_in_for_an_index_that_is_down(bench: Bench) -> None:
    bench.index.broken = 999
    bench.extra["UV_HTTP_RETRIES"] = "0"
    assert bench.failure().code == "no-network"
    assert not [line for line in bench.narrator.lines if "trying" in line]
    bench.index.broken = 0
    assert held(bench.ensure())["alpha"] == "1.0"


def test_a_plan_tells_the_day(bench: Bench) -> None:
    def plan() -> env.Plan:
        return env.plan(
            bench.asked(),
            directory=bench.project,
            tree="tree-1",
            cache=bench.cache,
            caller=bench.caller,
            day=bench.day,
        )

    before = plan()
    assert (before.action, before.as_of, before.as_of_why) == ("build", DAY, "the commit's date")
    bench.ensure()
    after = plan()
    assert (after.action, after.as_of, after.as_of_why) == ("reuse", DAY, "the commit's date")


def test_packages_whose_index_tells_no_times_are_taken_and_said(bench: Bench) -> None:
    bench.wheel("private", "7.0", None, "hidden")
    bench.wheel("hidden", "8.0", None)
    bench.write("requirements.txt", "alpha\nprivate\n")
    environment = bench.ensure()
    assert held(environment) == {"alpha": "1.0", "hidden": "8.0", "private": "7.0", "setuptools": "1.0"}
    assert environment.as_of == DAY
    assert environment.adaptations[-1] == (
        "of any day, since their index gives no upload times: private, hidden"
    )


def test_what_is_asked_for_and_came_out_later_moves_the_day(bench: Bench) -> None:
    bench.wheel("alpha", "3.0", "2024-01-02T03:04:05Z")
    bench.write("requirements.txt", "alpha==2.0\n")
    environment = bench.ensure()
    assert held(environment) == {"alpha": "2.0", "setuptools": "2.0"}
    assert (environment.as_of, environment.as_of_why) == ("2023-01-02T23:59:59Z", "the day of alpha 2.0")
    assert environment.adaptations[0] == (
        "packages as of 2023-01-02, when alpha 2.0 came out, which is asked for"
    )


def test_packages_of_now_are_the_last_resort_and_said(bench: Bench) -> None:
    bench.wheel("late", "1.0", AFTER)
    bench.write("requirements.txt", "alpha\nlate\n")
    environment = bench.ensure()
    assert held(environment) == {"alpha": "2.0", "late": "1.0"}
    assert (environment.as_of, environment.as_of_why) == (None, None)
    assert environment.adaptations == ("packages of now, since those of 2022-08-12 could not be installed",)
    assert bench.narrator.lines[-1].endswith("; trying packages of now")


def test_a_lock_is_of_its_own_day(bench: Bench) -> None:
    bench.day = env.NOW
    lock = bench.ensure().lock
    assert lock is not None
    bench.write("pylock.toml", lock.read_text())
    bench.day = env.Day(as_of=DAY, why="--as-of")
    environment = bench.ensure()
    assert held(environment) == {"alpha": "2.0"}
    assert environment.as_of is None
    assert bench.narrator.lines[-1] == "pylock.toml is taken as it is: no day counts for it"


# --- when it fails ------------------------------------------------------------------------------------


def test_all_that_was_tried_is_told_first_cause_first(bench: Bench) -> None:
    bench.write("requirements.txt", "alpha<1\n")
    error = bench.failure()
    assert (
        error.message
        == "cannot resolve the environment: only alpha==1.0 is available and you require alpha<1"
    )
    assert error.code == "cannot-resolve"
    tried = error.details[error.details.index("tried, in this order:") + 1 : -1]
    assert [re.sub(r"Python [\d.]+", "Python", line).strip() for line in tried] == [
        "uv, Python: as above",
        "packages of now: only alpha>=1.0 is available and you require alpha<1",
    ]
    assert error.hint == "`--as-of DATE` takes the packages of another day"
    log = Path(error.details[-1].removeprefix("the whole log: "))
    assert log.read_text().count("# ") >= 2
    assert list(bench.cache.temporary.iterdir()) == []


def test_what_was_said_of_a_way_is_not_said_again(bench: Bench) -> None:
    """Each cut is a way of its own, by its own name; the Python is told where it changes."""
    bench.write("requirements.txt", "alpha==7.1\nalpha<1\n")
    bench.write("train.py", "import alpha\n")
    error = bench.failure()
    tried = error.details[error.details.index("tried, in this order:") + 1 : -1]
    assert [re.sub(r"Python [\d.]+", "Python", line).strip() for line in tried] == [
        "uv, Python: as above",
        "any patch of the pinned minor version is taken of alpha: you require alpha==7.1.* and alpha<1",
        "any version is taken of alpha: only alpha==1.0 is available and you require alpha<1",
        "packages of now: as above",
        (
            "packages of now, any patch of the pinned minor version is taken of alpha:"
            " you require alpha==7.1.* and alpha<1"
        ),
    ]


def test_a_package_that_no_index_has_is_not_looked_for_on_other_days(bench: Bench) -> None:
    bench.write("requirements.txt", "alpha\nnot-there\n")
    error = bench.failure()
    assert error.message == "cannot resolve the environment: there is no package `not-there` in the index"
    assert (
        error.hint == "correct its name, or name an index that has it: `PIP_EXTRA_INDEX_URL=URL mlrun run …`"
    )
    assert not [line for line in bench.narrator.lines if "trying" in line]


def test_a_repository_that_is_not_there_is_told_once_and_no_other_day_is_tried(bench: Bench) -> None:
    bench.write("requirements.txt", f"alpha\ntool @ git+file://{bench.project}/nowhere\n")
    bench.write("train.py", "import alpha, tool\n")
    error = bench.failure()
    assert error.code == "cannot-fetch-package"
    assert error.message == (
        f"cannot fetch `tool` from file://{bench.project}/nowhere:"
        f" '{bench.project}/nowhere' does not appear to be a git repository"
    )
    assert [line.partition(":")[0] for line in error.details] == ["the whole log"]
    assert error.hint == "check the network and the address, or name a release of the index in its place"


def test_a_repository_that_is_not_there_is_left_out_where_no_source_imports_it(bench: Bench) -> None:
    bench.write("requirements.txt", f"alpha\ntool @ git+file://{bench.project}/nowhere\n")
    bench.write("train.py", "import alpha\n")
    environment = bench.ensure()
    assert "tool" not in held(environment)
    assert environment.adaptations[0] == (
        "cut down to the 1 of 2 requirements that the code imports; left out tool"
    )
    assert bench.narrator.lines[-1].endswith(
        "; trying again, cut down to the 1 of 2 requirements that the code imports"
    )


def test_what_runs_now_is_not_taken_back_in_time_but_told_how(bench: Bench) -> None:
    bench.write("requirements.txt", "alpha>2\n")
    bench.day = env.NOW
    assert bench.failure().hint is None
    os.utime(bench.project / "requirements.txt", (1565600000, 1565600000))
    assert bench.failure().hint == "`--as-of 2019-08-12` takes the packages of that day"
    bench.day = env.Day(committed_at="2020-08-12T09:00:00Z")
    assert bench.failure().hint == "`--as-of 2020-08-12` takes the packages of that day"


def test_an_index_that_is_not_there_is_no_reason_to_try_other_versions(bench: Bench) -> None:
    bench.extra = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}
    assert bench.failure().code == "no-network"
    assert not [line for line in bench.narrator.lines if "trying" in line]


# --- other Pythons ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_where_no_python_is_named_its_neighbours_are_tried(bench: Bench) -> None:
    bench.extra = {"PYENV_ROOT": VARIABLES.get("PYENV_ROOT", str(Path.home() / ".pyenv"))}
    first = bench.ensure().python
    assert first is not None
    minor = int(first.split(".")[1])
    found = [each.numbers[1] for each in installed(bench.caller, Probes(bench.root / "probes"))]
    if max(found) == minor:
        pytest.skip("there is no newer Python")
    bench.index.requires_python["beta-1.0-py3-none-any.whl"] = f">=3.{minor + 1}"
    bench.wheel("beta", "1.0", BEFORE)
    bench.write("requirements.txt", "alpha\nbeta\n")
    environment = bench.ensure()
    assert held(environment)["beta"] == "1.0"
    assert environment.python is not None
    assert int(environment.python.split(".")[1]) > minor
    assert f"Python {environment.python}, since with {first} there was no way" in environment.adaptations


def test_a_python_that_is_named_is_kept(bench: Bench) -> None:
    bench.index.requires_python["beta-1.0-py3-none-any.whl"] = (
        f">={sys.version_info[0]}.{sys.version_info[1] + 1}"
    )
    bench.wheel("beta", "1.0", BEFORE)
    bench.write("requirements.txt", "alpha\nbeta\n")
    bench.write(".python-version", f"{MINOR}\n")
    assert "Python" in bench.failure().message


# --- what has to be built -----------------------------------------------------------------------------

BACKEND = """\
import importlib.metadata, pathlib, wheels
def get_requires_for_build_wheel(settings=None):
    return ["setuptools"]
def build_wheel(folder, settings=None, metadata=None):
    tools = importlib.metadata.version("setuptools")
    if int(tools.partition(".")[0]) >= 58:
        raise ValueError("use_2to3 is invalid")
    source = f"VERSION = {tools!r}"
    return wheels.make_wheel(pathlib.Path(folder), "built", "1.0", source=source).name
"""


def sdist(bench: Bench, uploaded: str) -> None:
    """A package without a wheel, that only builds with a setuptools of old."""
    folder = bench.root / "built-1.0"
    folder.mkdir()
    (folder / "backend.py").write_text(BACKEND)
    shutil.copy(Path(__file__).parent / "wheels.py", folder / "wheels.py")
    (folder / "PKG-INFO").write_text("Metadata-Version: 2.2\nName: built\nVersion: 1.0\n")
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "built"\nversion = "1.0"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    bench.index.folder.mkdir(exist_ok=True)
    with tarfile.open(bench.index.folder / "built-1.0.tar.gz", "w:gz") as archive:
        archive.add(folder, arcname="built-1.0")
    bench.index.uploaded["built-1.0.tar.gz"] = uploaded
    for version, day in (("41.0", BEFORE), ("84.0", AFTER)):
        bench.wheel("setuptools", version, day)
    bench.write("requirements.txt", "built\n")


def tools_of(environment: Environment) -> str:
    assert environment.location is not None
    (module,) = environment.location.glob("lib/python*/site-packages/built.py")
    return module.read_text()


def test_what_has_no_wheel_is_built_with_the_tools_of_the_day(bench: Bench) -> None:
    sdist(bench, BEFORE)
    environment = bench.ensure()
    assert tools_of(environment) == "VERSION = '41.0'"
    # and so it is from its lock, whenever that is
    assert environment.lock is not None
    bench.write("pylock.toml", environment.lock.read_text())
    shutil.rmtree(bench.root / "uv")
    bench.day = env.NOW
    assert tools_of(bench.ensure()) == "VERSION = '41.0'"


@pytest.mark.slow
def test_what_does_not_build_now_is_built_with_older_tools_and_that_is_said(bench: Bench) -> None:
    sdist(bench, BEFORE)
    bench.day = env.NOW
    environment = bench.ensure()
    assert tools_of(environment) == "VERSION = '41.0'"
    assert environment.adaptations == ("what has no wheel was built with setuptools<58, cython<3, numpy<2",)


# --- pip of the day -----------------------------------------------------------------------------------


def without_real_pip(bench: Bench) -> None:
    """Let the index of ours have PyPI behind it, from where pip itself comes."""
    bench.real = True


@pytest.mark.slow
def test_the_real_index_is_taken_as_it_was(bench: Bench) -> None:
    without_real_pip(bench)
    bench.day = env.choose_day(bench.asked(), "2019-09-12", committed_at=None)
    bench.write("requirements.txt", "six\nidna>2\n")
    environment = bench.ensure()
    assert (held(environment)["six"], held(environment)["idna"]) == ("1.12.0", "2.8")
    assert (environment.as_of, environment.as_of_why) == ("2019-09-12T23:59:59Z", "--as-of")


@pytest.mark.slow
def test_what_uv_is_too_strict_for_is_resolved_by_a_pip_of_the_day(bench: Bench) -> None:
    without_real_pip(bench)
    bench.wheel("mlrun-test-lenient", "0.1", BEFORE)  # which uv alone would take, without a word
    bench.wheel("mlrun-test-lenient", "1.0", BEFORE, "mlrun-test-old (>=2011k)")
    bench.wheel("mlrun-test-lenient", "2.0", AFTER)
    bench.wheel("mlrun-test-old", "2019.1", BEFORE)
    bench.wheel("mlrun-test-old", "2029.1", AFTER)
    bench.write("requirements.txt", "mlrun-test-lenient\n")
    environment = bench.ensure()
    assert (held(environment)["mlrun-test-lenient"], held(environment)["mlrun-test-old"]) == ("1.0", "2019.1")
    assert environment.as_of == DAY
    assert environment.adaptations[0].startswith("resolved by pip 24.0 as of that day, since uv could not: ")
    assert any("; trying pip 24.0 as of that day" in line for line in bench.narrator.lines)
    assert environment.lock is not None
    text = environment.lock.read_text()
    assert text.count("sha256 = ") >= 3
    # and from that lock, without any pip
    bench.write("pylock.toml", text)
    bench.day = env.NOW
    again = bench.ensure()
    assert held(again) == held(environment)
    assert again.adaptations == ()


@pytest.mark.slow
def test_on_the_python_of_old_pandas_of_old_is_installed_from_wheels(tmp_path: Path) -> None:
    index = Index(tmp_path / "files")
    bench = Bench(tmp_path, index, day=env.Day(as_of="2019-09-12T12:00:00Z", why="--as-of"), real=True)
    python = old_python(bench)
    bench.write("requirements.txt", "pandas==0.24.2\n")
    with serving(index):
        environment = bench.ensure(replace_python(bench.asked(), python))
    assert held(environment)["pandas"] == "0.24.2"
    assert held(environment)["numpy"] <= "1.17.2"
    assert environment.python is not None
    assert environment.python.startswith(python)
    assert environment.adaptations[0].startswith("resolved by pip ")


def old_python(bench: Bench) -> str:
    """The minor version of an interpreter that has a wheel of pandas 0.24."""
    found = [each.version for each in installed(bench.caller, Probes(bench.root / "probes.json"))]
    for version in found:
        if version.startswith(("3.6.", "3.7.")):
            return version.rpartition(".")[0]
    if "old-python" in VARIABLES.get("MLRUN_TEST_REQUIRE", ""):
        pytest.fail(f"no Python 3.6 or 3.7 among {found}")
    pytest.skip("no Python 3.6 or 3.7")


def replace_python(asked: env.Asked, python: str) -> env.Asked:
    from mlrun.value import replace as replaced

    return replaced(asked, python=python)


# --- what pip says ------------------------------------------------------------------------------------

UNBUILT = """\
  Building wheel for scikit-survival (setup.py): finished with status 'error'
  ERROR: Command errored out with exit status 1:
      ModuleNotFoundError: No module named 'ecos'
  ERROR: Failed building wheel for scikit-survival
ERROR: Failed to build one or more wheels
"""
NO_VERSION = """\
ERROR: Could not find a version that satisfies the requirement numpy==1.14.3 (from versions: 1.16.0, 1.17.0)
ERROR: No matching distribution found for numpy==1.14.3
"""
CONFLICT = """\
ERROR: Cannot install alpha==1.0 and beta because these package versions have conflicting dependencies.

The conflict is caused by:
    alpha 1.0 depends on six<1
    beta 2.0 depends on six>1

To fix this you could try to:
ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/
"""


@pytest.mark.parametrize(
    ("said", "message", "code"),
    [
        (
            UNBUILT,
            "`scikit-survival` has no wheel for Python 3.7 and does not build from source",
            "cannot-build-package",
        ),
        (
            NO_VERSION,
            "no numpy==1.14.3 that Python 3.7 can use was in the index on that day",
            "cannot-resolve",
        ),
        (
            CONFLICT,
            "the requirements contradict each other: alpha 1.0 depends on six<1; beta 2.0 depends on six>1",
            "cannot-resolve",
        ),
        ("Traceback\nERROR: something else\n", "pip of the day: something else", "environment-failed"),
    ],
)
def test_a_failure_of_pip_is_told_in_one_sentence(said: str, message: str, code: str) -> None:
    error = explain(said, Interpreter(path="/x", version="3.7.16"))
    assert (error.message, error.code) == (message, code)
