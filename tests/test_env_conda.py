"""Conda environments, really built: from a channel of hand-made packages, without a network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlrun import env
from mlrun.env.asking.conda_specs import for_conda
from mlrun.env.conda import lock as conda_lock
from mlrun.env.conda import tools as conda_tools
from mlrun.env.conda.lock import CondaLock, CondaPackage, LocalFolder
from mlrun.env.conda.tools import CondaTool
from mlrun.env.values import Day
from mlrun.errors import EnvironmentBuildError, UsageError
from mlrun.model import Caller, EnvironmentFacts, EnvironmentRequest
from mlrun.value import replace
from tests.conda_packages import PLACEHOLDER, make_index, make_package, pack_python
from tests.wheels import make_wheel

if TYPE_CHECKING:
    from mlrun.env import Asked
    from mlrun.files import Cache
    from mlrun.model import Environment
    from tests.quiet import Quiet

CONDA = EnvironmentRequest(key="conda_env", path="conda.yaml")
HELLO = f"#!/bin/sh\necho hello from {PLACEHOLDER}, version $(cat {PLACEHOLDER}/share/greeting)\n"

if "conda" in os.environ.get("MLRUN_TEST_REQUIRE", ""):  # noqa: TID251
    import rattler
else:
    rattler = pytest.importorskip("rattler")


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    """`hello` needs `greeting`, of which there is one of 2017 and one of 2020."""
    folder = tmp_path / "a channel"
    make_package(folder, "greeting", "1.0", files={"share/greeting": "one"}, timestamp=1_500_000_000)
    make_package(folder, "greeting", "2.0", files={"share/greeting": "two"}, timestamp=1_600_000_000)
    files = {
        "bin/hello": HELLO,
        "etc/conda/activate.d/hello.sh": 'export HELLO_HOME="$CONDA_PREFIX/hello"\n',
        "etc/conda/env_vars.d/hello.json": '{"HELLO_MODE": "loud"}',
    }
    make_package(folder, "hello", files=files, depends=("greeting",), timestamp=1_500_000_000)
    make_index(folder)
    return folder


def project(tmp_path: Path, channel: Path | str, *lines: str, more: str = "") -> Path:
    folder = tmp_path / "project"
    folder.mkdir(exist_ok=True)
    where = channel.as_uri() if isinstance(channel, Path) else channel
    dependencies = "".join(f"- {line}\n" for line in lines)
    (folder / "conda.yaml").write_text(f"channels: ['{where}']\ndependencies:\n{dependencies}{more}")
    return folder


def read(folder: Path, caller: Caller, manager: str | None = "conda") -> Asked:
    return env.read(CONDA, folder, manager=manager, caller=caller)


def ensure(folder: Path, cache: Cache, caller: Caller, narrator: Quiet, **more: object) -> Environment:
    asked = read(folder, caller)
    return env.ensure(
        asked,
        directory=folder,
        tree="0" * 40,
        cache=cache,
        caller=caller,
        narrator=narrator,
        **more,  # type: ignore[arg-type]
    )


def run(environment: Environment, *argv: str) -> str:
    variables = env.variables(environment, dict(os.environ))  # noqa: TID251
    return subprocess.run(argv, env=variables, capture_output=True, text=True, check=True).stdout


# --- what conda is asked ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        *(
            "numpy",
            "numpy=1.19",
            "numpy==1.19",
            "numpy 1.19",
            "numpy=1.19.2=py37_0",
            "numpy=1.19=*",
            "numpy 1.19.*",
        ),
        *(
            "numpy>=1.19,<2",
            "numpy >=1.19, <2",
            "numpy!=1.19.3",
            "numpy~=1.19",
            "numpy 1.18.*|1.19.*",
            "numpy=1.19.*",
        ),
        *("conda-forge::numpy=1.19", "numpy[version='>=1.2,<2']", "python=3.8.*=*_cpython", "numpy = 1.19"),
        *(
            "numpy==1.19.2=py37_0",
            "numpy 1.19.2 py37_0",
            "numpy<2",
            "numpy>1.0",
            "numpy=2.0.0rc1",
            "blas=*=openblas",
        ),
    ],
)
def test_a_match_spec_means_to_conda_what_it_meant(spec: str) -> None:
    ours, theirs = rattler.MatchSpec(for_conda(spec)), rattler.MatchSpec(spec)
    assert _parts(ours) == _parts(theirs)


def _parts(spec: rattler.MatchSpec) -> tuple[str, ...]:
    return (str(spec.name), str(spec.version), str(spec.build))


def test_channels_have_urls(tmp_path: Path) -> None:
    channels = ["pytorch", "https://host/private/", "./local", "defaults", "nodefaults", "pytorch"]
    assert conda_tools.channel_urls(channels, variables={}, folder=tmp_path) == (
        "https://conda.anaconda.org/pytorch",
        "https://host/private",
        f"file://{tmp_path}/local",
        "https://repo.anaconda.com/pkgs/main",
        "https://repo.anaconda.com/pkgs/r",
    )
    mirror = {"CONDA_CHANNEL_ALIAS": "https://mirror/conda/"}
    assert conda_tools.channel_urls(["x/label/dev"], variables=mirror, folder="") == (
        "https://mirror/conda/x/label/dev",
    )


def test_without_channels_conda_s_own_are_meant() -> None:
    assert conda_tools.channel_urls(["nodefaults"], variables={}, folder="")[0].endswith("/pkgs/main")


def test_a_program_is_asked_by_its_arguments(tmp_path: Path) -> None:
    tool = CondaTool(name="micromamba", program="/opt/micromamba")
    prefix = tmp_path / "p"
    assert conda_tools.create_arguments(
        tool, prefix, specs=["numpy 1.19.*"], channels=["a", "nodefaults"]
    ) == (
        *("/opt/micromamba", "create", "--yes", "--quiet", "--prefix", str(prefix)),
        *("--override-channels", "--channel", "a", "numpy 1.19.*"),
    )
    assert conda_tools.create_arguments(tool, prefix, specs=["numpy"], channels=[])[-2:] == (
        str(prefix),
        "numpy",
    )
    lock = tmp_path / "lock.txt"
    assert conda_tools.create_explicit_arguments(tool, prefix, lock=lock)[-2:] == ("--file", str(lock))


def test_the_conda_of_the_caller_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(**variables: str) -> CondaTool | None:
        return conda_tools.find(Caller(directory="/", variables={"PATH": "", **variables}))

    program = tmp_path / "bin" / "conda"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find() == CondaTool(name="py-rattler")
    assert find(MLFLOW_CONDA_HOME=str(tmp_path)) == CondaTool(name="conda", program=str(program))
    monkeypatch.setattr(sys, "path", [])  # so that there is no rattler to import
    monkeypatch.setattr(sys, "path_importer_cache", {})
    monkeypatch.delitem(sys.modules, "rattler")
    assert find() is None
    assert find(PATH=str(program.parent)) == CondaTool(name="conda", program=str(program))
    mamba = program.rename(program.with_name("micromamba"))
    assert find(MAMBA_EXE=str(mamba)) == CondaTool(name="micromamba", program=str(mamba))
    with pytest.raises(EnvironmentBuildError) as caught:
        conda_tools.must_find(Caller(directory="/", variables={"PATH": ""}))
    assert caught.value.code == "no-conda"
    assert "mlrun-cli[conda]" in (caught.value.hint or "")


# --- the lock -----------------------------------------------------------------------------------------

LOCK = CondaLock(
    platform="linux-64",
    packages=(
        CondaPackage(
            name="numpy",
            version="1.19.2",
            build="py37_0",
            subdir="linux-64",
            url="https://conda.anaconda.org/conda-forge/linux-64/numpy-1.19.2-py37_0.conda",
            hash="a" * 64,
        ),
        CondaPackage(
            name="msgpack-python",
            version="1.0",
            build="0",
            subdir="noarch",
            url="https://host/c/noarch/msgpack-python-1.0-0.tar.bz2",
            hash="b" * 32,
        ),
    ),
    python="3.7.13",
    pip='lock-version = "1.0"\n\n[[packages]]\nname = "six"\nversion = "1.16.0"\n',
    folders=(LocalFolder(path="my lib", editable=True), LocalFolder(path=".", editable=False)),
)


def test_a_lock_is_read_as_it_was_written() -> None:
    text = conda_lock.write(LOCK)
    assert conda_lock.read(text, shown="x") == LOCK
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == ["@EXPLICIT", *(package.line for package in LOCK.packages)]


def test_a_plain_explicit_list_is_a_lock(tmp_path: Path) -> None:
    lock = conda_lock.read("@EXPLICIT\nhttps://host/c/noarch/a-b-1.0-h_0.conda\n", shown="x")
    package = lock.packages[0]
    assert (package.name, package.version, package.build, package.hash) == ("a-b", "1.0", "h_0", None)
    assert package.channel == "https://host/c"


def test_a_lock_holds_no_secret() -> None:
    package = replace(LOCK.packages[0], url="https://me:pw@host/t/to-ken/c/noarch/a-1-0.conda", hash=None)
    assert package.line == "https://host/c/noarch/a-1-0.conda"


@pytest.mark.parametrize("text", ["", "@EXPLICIT\n", "@EXPLICIT\nnumpy=1.19\n", "<html>\n"])
def test_what_is_no_lock_is_an_error(text: str) -> None:
    with pytest.raises(EnvironmentBuildError) as caught:
        conda_lock.read(text, shown="the lock")
    assert caught.value.code == "bad-lock"


# --- prefixes -----------------------------------------------------------------------------------------


def test_a_conda_file_becomes_a_prefix(
    tmp_path: Path, channel: Path, cache: Cache, caller: Caller, narrator: Quiet
) -> None:
    folder = project(tmp_path, channel, "hello", more="variables: {GREETING: hi}\n")
    environment = ensure(folder, cache, caller, narrator)
    assert environment.kind == "conda"
    assert environment.asked == "conda.yaml: 1 conda package, 1 variable"
    assert run(environment, "hello") == f"hello from {environment.location}, version two\n"
    assert [(package.name, package.version) for package in environment.packages] == [
        *(("greeting", "2.0"), ("hello", "1.0"))
    ]
    assert environment.packages[0].source == channel.as_uri()
    assert not environment.reused
    again = ensure(folder, cache, caller, narrator)
    assert (again.reused, again.key, again.lock_digest) == (True, environment.key, environment.lock_digest)
    assert [entry.kind for entry in env.listing(cache)] == ["conda"]
    found = env.find(cache, environment.key)
    assert (found.location, found.asked) == (environment.location, environment.asked)


def test_what_activating_sets_is_set(
    tmp_path: Path, channel: Path, cache: Cache, caller: Caller, narrator: Quiet
) -> None:
    folder = project(tmp_path, channel, "hello", more="variables: {GREETING: hi}\n")
    environment = ensure(folder, cache, caller, narrator)
    said = run(environment, "sh", "-c", 'echo "$HELLO_HOME|$HELLO_MODE|$GREETING|$CONDA_PREFIX"')
    prefix = environment.location
    assert said == f"{prefix}/hello|loud|hi|{prefix}\n"


def test_packages_of_a_day_are_those_made_by_then(
    tmp_path: Path, channel: Path, cache: Cache, caller: Caller, narrator: Quiet
) -> None:
    folder = project(tmp_path, channel, "hello")
    day = Day(as_of="2018-01-01T23:59:59Z", why="--as-of")
    environment = ensure(folder, cache, caller, narrator, day=day)
    assert run(environment, "hello").endswith("version one\n")
    assert (environment.as_of, environment.as_of_why) == (day.as_of, "--as-of")
    assert ensure(folder, cache, caller, narrator).key != environment.key


def facts_of(environment: Environment) -> EnvironmentFacts:
    return EnvironmentFacts(
        kind="conda", key=environment.key, lock=environment.lock_digest, platform=environment.platform
    )


def test_a_prefix_is_built_again_from_its_lock_without_a_solve(
    tmp_path: Path, channel: Path, cache: Cache, caller: Caller, narrator: Quiet
) -> None:
    folder = project(tmp_path, channel, "hello", "greeting=1")
    environment = ensure(folder, cache, caller, narrator)
    assert environment.lock is not None
    text = environment.lock.read_text()
    env.remove(cache, environment.key)
    make_package(channel, "greeting", "1.5", files={"share/greeting": "newer"})
    (channel / "noarch" / "repodata.json").unlink()  # nothing can be solved any more
    restored = env.restore(
        facts_of(environment),
        text,
        directory=folder,
        tree="0" * 40,
        cache=cache,
        caller=caller,
        narrator=narrator,
    )
    assert run(restored, "hello").endswith("version one\n")
    assert restored.packages == environment.packages
    assert restored.lock is not None
    assert restored.lock.read_text() == text


def test_a_package_that_is_not_the_locked_one_is_refused(
    tmp_path: Path, channel: Path, cache: Cache, caller: Caller, narrator: Quiet
) -> None:
    folder = project(tmp_path, channel, "hello")
    environment = ensure(folder, cache, caller, narrator)
    assert environment.lock is not None
    text = environment.lock.read_text()
    env.remove(cache, environment.key)
    make_package(channel, "greeting", "2.0", files={"share/greeting": "forged"})
    with pytest.raises(EnvironmentBuildError) as caught:
        env.restore(
            facts_of(environment),
            text,
            directory=folder,
            tree="",
            cache=cache,
            caller=caller,
            narrator=narrator,
        )
    assert caught.value.code == "hash-mismatch"
    assert env.listing(cache) == ()


def test_a_lock_of_another_platform_is_refused(
    tmp_path: Path, channel: Path, cache: Cache, caller: Caller, narrator: Quiet
) -> None:
    folder = project(tmp_path, channel, "hello")
    environment = ensure(folder, cache, caller, narrator)
    assert environment.lock is not None
    text = environment.lock.read_text().replace(environment.platform, "win-64")
    env.remove(cache, environment.key)
    with pytest.raises(EnvironmentBuildError) as caught:
        env.restore(
            facts_of(environment),
            text,
            directory=folder,
            tree="",
            cache=cache,
            caller=caller,
            narrator=narrator,
        )
    assert caught.value.code == "other-platform"


def test_what_has_no_solution_is_explained(
    tmp_path: Path, channel: Path, cache: Cache, caller: Caller, narrator: Quiet
) -> None:
    folder = project(tmp_path, channel, "hello", "greeting>=3")
    with pytest.raises(EnvironmentBuildError) as caught:
        ensure(folder, cache, caller, narrator)
    assert caught.value.code == "cannot-resolve"
    assert "greeting" in caught.value.message + "".join(caught.value.details)
    assert env.listing(cache) == ()


def test_what_a_conda_program_says_when_it_fails_is_shown(
    tmp_path: Path, channel: Path, cache: Cache, caller: Caller, narrator: Quiet
) -> None:
    program = tmp_path / "conda home" / "bin" / "conda"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nmkdir -p "$5"\necho no space left on device >&2\nexit 3\n')
    program.chmod(0o755)
    variables = {**caller.variables, "MLFLOW_CONDA_HOME": str(program.parent.parent)}
    folder = project(tmp_path, channel, "hello")
    with pytest.raises(EnvironmentBuildError) as caught:
        ensure(folder, cache, replace(caller, variables=variables), narrator)
    assert caught.value.code == "conda-failed"
    assert caught.value.message == "conda could not build the environment (exit code 3)"
    assert caught.value.details[0] == "no space left on device"
    assert env.listing(cache) == ()
    assert list(cache.environments.glob("[0-9a-f]*/*")) == []


def test_a_channel_that_is_not_there_is_named(
    tmp_path: Path, cache: Cache, caller: Caller, narrator: Quiet
) -> None:
    folder = project(tmp_path, "file:///no/such/channel", "hello")
    with pytest.raises(EnvironmentBuildError) as caught:
        ensure(folder, cache, caller, narrator)
    assert caught.value.code == "no-channel"
    assert "/no/such/channel" in caught.value.message


def test_channels_are_mixed_only_where_there_is_no_other_way(
    tmp_path: Path, channel: Path, cache: Cache, caller: Caller, narrator: Quiet
) -> None:
    other = tmp_path / "other"
    make_package(other, "greeting", "0.1", files={"share/greeting": "old"})
    make_index(other)
    make_package(channel, "polite", depends=("hello", "greeting >=2"))
    make_index(channel)
    folder = project(tmp_path, other, "hello")
    text = f"channels: ['{other.as_uri()}', '{channel.as_uri()}']\ndependencies: "
    (folder / "conda.yaml").write_text(f"{text}[hello]\n")
    environment = ensure(folder, cache, caller, narrator)
    assert (run(environment, "hello")[-4:], environment.adaptations) == ("old\n", ())
    (folder / "conda.yaml").write_text(f"{text}[polite]\n")
    environment = ensure(folder, cache, caller, narrator)
    assert run(environment, "hello").endswith("version two\n")
    assert environment.adaptations == (
        "conda channels are mixed, since the first that has a package has no version that fits",
    )


# --- which kind ---------------------------------------------------------------------------------------


def test_a_file_of_python_and_pip_alone_becomes_a_venv(tmp_path: Path, channel: Path, caller: Caller) -> None:
    folder = project(tmp_path, channel, "python=3.11", "pip", "setuptools", "pip: [six]")
    assert read(folder, caller, manager=None).kind == "venv"
    assert read(folder, caller, manager="conda").kind == "conda"


def test_a_file_with_conda_packages_becomes_a_prefix_where_there_is_a_conda(
    tmp_path: Path, channel: Path, caller: Caller
) -> None:
    folder = project(tmp_path, channel, "python=3.11", "hello", "pip: [six]")
    assert read(folder, caller, manager=None).kind == "conda"
    assert read(folder, caller, manager=None).summary == (
        "conda.yaml: 2 conda packages, 1 requirement, Python 3.11"
    )
    assert read(folder, caller, manager="venv").kind == "venv"
    assert env.read(CONDA, folder, manager=None).kind == "venv"  # whoever asks has not said what there is


def test_conda_by_name_needs_a_conda_file(tmp_path: Path, caller: Caller) -> None:
    (tmp_path / "requirements.txt").write_text("six\n")
    with pytest.raises(UsageError) as caught:
        env.read(EnvironmentRequest(), tmp_path, manager="conda", caller=caller)
    assert caught.value.code == "no-conda-file"


@pytest.mark.slow
def test_packages_that_no_channel_has_are_taken_from_pypi_unless_conda_was_asked_for(
    tmp_path: Path, cache: Cache, caller: Caller, narrator: Quiet
) -> None:
    make_wheel(tmp_path / "wheels", "alpha", "1.0")
    folder = project(tmp_path, "file:///no/such/channel", "python", "alpha", more="variables: {X: '1'}\n")
    caller = replace(
        caller, variables={**caller.variables, "UV_FIND_LINKS": str(tmp_path / "wheels"), "UV_NO_INDEX": "1"}
    )
    for _ in range(2):
        environment = env.ensure(
            read(folder, caller, manager=None),
            directory=folder,
            tree="0" * 40,
            cache=cache,
            caller=caller,
            narrator=narrator,
        )
        assert environment.kind == "venv"
        assert environment.adaptations[0].startswith(
            "packages of PyPI instead of conda's: cannot read a conda channel"
        )
        assert ("X", "1") in environment.variables
    assert environment.reused


# --- together with Python and pip ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def python_channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A channel with the Python that runs the tests, and a package of Python."""
    channel = tmp_path_factory.mktemp("python-channel")
    version = ".".join(str(number) for number in sys.version_info[:3])
    pack_python(channel, Path(sys.base_prefix), version, platform=conda_tools.platform_name())
    info = "site-packages/beta-2.0.dist-info"
    files = {
        "site-packages/beta.py": "VERSION = 'of conda'\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: beta\nVersion: 2.0\n",
        f"{info}/INSTALLER": "conda\n",
        f"{info}/RECORD": "beta.py,,\n",
    }
    make_package(channel, "beta", "2.0", files=files, depends=("python",), noarch="python")
    make_index(channel)
    return channel


@pytest.mark.slow
def test_pip_adds_to_what_conda_has_installed_and_all_is_locked(
    tmp_path: Path, python_channel: Path, cache: Cache, caller: Caller, narrator: Quiet
) -> None:
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "alpha", "1.0", requires=("beta>=1",))
    make_wheel(wheels, "beta", "9.0")
    folder = project(tmp_path, python_channel, "python", "beta", "pip: [alpha, '-e ./lib']")
    (folder / "lib").mkdir()
    (folder / "lib" / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "own"\nversion = "0.1"\n'
    )
    (folder / "lib" / "own.py").write_text("VERSION = 'own'\n")
    (folder / "lib" / "backend.py").write_text(BACKEND)
    caller = replace(caller, variables={**caller.variables, "UV_FIND_LINKS": str(wheels), "UV_NO_INDEX": "1"})
    environment = ensure(folder, cache, caller, narrator)
    script = "import alpha, beta, own, sys; print(alpha.VERSION, beta.VERSION, own.VERSION, sys.prefix)"
    expected = f"1.0 of conda own {environment.location}\n"
    assert run(environment, "python", "-c", script) == expected
    assert environment.python == ".".join(str(number) for number in sys.version_info[:3])
    names = [package.name for package in environment.packages]
    assert names == ["beta", "python", "alpha", "lib"]
    assert run(environment, "sh", "-c", "command -v pip") == f"{environment.location}/bin/pip\n"
    assert env.changed(environment) == ()

    assert environment.lock is not None
    text = environment.lock.read_text()
    assert '#| name = "alpha"' in text
    assert "# pip-folder: lib (editable)" in text
    env.remove(cache, environment.key)
    make_wheel(wheels, "alpha", "2.0")
    restored = env.restore(
        facts_of(environment), text, directory=folder, tree="", cache=cache, caller=caller, narrator=narrator
    )
    assert run(restored, "python", "-c", script) == expected.replace(
        str(environment.location), str(restored.location)
    )


BACKEND = """\
import base64, hashlib, os, zipfile

def build_editable(folder, settings=None, metadata=None):
    name = "own-0.1-py3-none-any.whl"
    files = {
        "own.pth": os.getcwd(),
        "own-0.1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: own\\nVersion: 0.1\\n",
        "own-0.1.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr("own-0.1.dist-info/RECORD", "".join(f"{path},,\\n" for path in files))
    return name

build_wheel = build_editable
"""

BUILDER = """\
import json, os, sys
from pathlib import Path
from mlrun import env
from mlrun.files import Cache
from mlrun.model import Caller, EnvironmentRequest

class Narrator:
    def say(self, text): print(text, file=sys.stderr)
    def progress(self, task, done): print(task, file=sys.stderr, flush=True)

folder, cache = Path(sys.argv[1]), Cache(Path(sys.argv[2]))
caller = Caller(directory=str(folder), variables=dict(os.environ))
request = EnvironmentRequest(key="conda_env", path="conda.yaml")
asked = env.read(request, folder, manager="conda", caller=caller)
found = env.ensure(asked, directory=folder, tree="0" * 40, cache=cache, caller=caller, narrator=Narrator())
print(json.dumps([found.key, found.reused]))
"""


def build_elsewhere(folder: Path, cache: Cache) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", BUILDER, str(folder), str(cache.root)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd())


PREFIXES = "[0-9a-f]" * 32


def _wait_until_it_builds(cache: Cache) -> None:
    """Its folder is made first; to unpack a Python takes a second or more."""
    deadline = time.monotonic() + 60
    while not list(cache.environments.glob(PREFIXES)) and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.slow
def test_twenty_at_once_build_it_once(tmp_path: Path, channel: Path, cache: Cache) -> None:
    folder = project(tmp_path, channel, "hello")
    builders = [build_elsewhere(folder, cache) for _ in range(20)]
    said = [json.loads(builder.communicate(timeout=120)[0]) for builder in builders]
    assert len({key for key, _ in said}) == 1
    assert [reused for _, reused in said].count(False) == 1


@pytest.mark.slow
def test_a_build_that_was_killed_is_built_anew(
    tmp_path: Path, python_channel: Path, cache: Cache, caller: Caller, narrator: Quiet
) -> None:
    folder = project(tmp_path, python_channel, "python", "beta")
    builder = build_elsewhere(folder, cache)
    _wait_until_it_builds(cache)
    builder.send_signal(signal.SIGKILL)
    builder.communicate()
    assert list(cache.environments.glob(PREFIXES))
    assert env.listing(cache) == ()
    environment = ensure(folder, cache, caller, narrator)
    (environment.location / ".complete").unlink()  # type: ignore[operator]  # a prefix has one
    env.collect_garbage(cache, keep_days=0, now=0, keep=frozenset())
    assert list(cache.environments.glob(PREFIXES)) == []
    environment = ensure(folder, cache, caller, narrator)
    assert run(environment, "python", "-c", "import json; print(json.dumps([1]))") == "[1]\n"


@pytest.mark.slow
def test_a_build_that_is_interrupted_leaves_nothing(
    tmp_path: Path, python_channel: Path, cache: Cache
) -> None:
    folder = project(tmp_path, python_channel, "python", "beta")
    builder = build_elsewhere(folder, cache)
    _wait_until_it_builds(cache)
    builder.send_signal(signal.SIGINT)
    builder.communicate()
    assert builder.returncode != 0
    assert list(cache.environments.glob(PREFIXES)) == []
