"""Virtual environments, built for real: from hand-made wheels, or (slow) from the package index."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from base64 import b64encode
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlrun import digest, env
from mlrun.errors import EnvironmentBuildError, UsageError
from mlrun.files import Cache
from mlrun.model import Caller, Digest, EnvironmentRequest
from tests.quiet import Quiet
from tests.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlrun.env import Plan
    from mlrun.model import Environment

HERE = ".".join(str(number) for number in sys.version_info[:3])
DRIVER = """
import sys
from pathlib import Path
from tests.test_env_venv import Bench
bench = Bench(Path(sys.argv[1]))
environment = bench.ensure()
print(environment.key, environment.reused, *bench.narrator.lines, sep="\\n")
"""


@dataclass
class Bench:
    """A project, a cache, and a caller whose only index is a folder of hand-made wheels."""

    root: Path
    folder: str = "project"
    narrator: Quiet = field(default_factory=Quiet)
    tree: str = "tree-1"
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        return self.root / self.folder

    @property
    def cache(self) -> Cache:
        return Cache(self.root / "cache")

    @property
    def wheels(self) -> Path:
        return self.root / "wheels"

    @property
    def caller(self) -> Caller:
        variables = {
            "PATH": os.path.dirname(sys.executable) + os.pathsep + os.defpath,
            "HOME": str(self.root / "home"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": self.wheels.as_uri(),
            "UV_CACHE_DIR": str(self.root / "uv"),
        }
        return Caller(directory=str(self.root), variables={**variables, **self.extra})

    def write(self, name: str, text: str) -> None:
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def ensure(self, *, refresh: bool = False) -> Environment:
        return env.ensure(
            env.read(EnvironmentRequest(), self.project, manager=None),
            directory=self.project,
            tree=self.tree,
            cache=self.cache,
            caller=self.caller,
            narrator=self.narrator,
            refresh=refresh,
        )

    def plan(self) -> Plan:
        return env.plan(
            env.read(EnvironmentRequest(), self.project, manager=None),
            directory=self.project,
            tree=self.tree,
            cache=self.cache,
            caller=self.caller,
        )


def make_bench(root: Path) -> Bench:
    bench = Bench(root)
    bench.project.mkdir()
    make_wheel(bench.wheels, "alpha", "1.0", requires=("beta>=2",))
    make_wheel(bench.wheels, "beta", "2.0")
    bench.write("requirements.txt", "alpha\n")
    return bench


@pytest.fixture
def bench(tmp_path: Path, known_python: None) -> Bench:
    return make_bench(tmp_path)


@pytest.fixture
def hostile_bench(hostile_path: Path) -> Bench:
    return make_bench(hostile_path)


def output_of(environment: Environment, *argv: str) -> str:
    """What a program says that is found on the environment's PATH."""
    variables = {"PATH": os.pathsep.join((*environment.path, os.defpath)), **dict(environment.variables)}
    program = shutil.which(argv[0], path=variables["PATH"])
    assert program is not None
    done = subprocess.run([program, *argv[1:]], env=variables, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def packages(environment: Environment) -> list[tuple[str, str]]:
    return [(package.name, package.version) for package in environment.packages]


def keys(bench: Bench) -> list[Digest]:
    return [entry.key for entry in env.listing(bench.cache)]


# --- building and finding -----------------------------------------------------------------------------


def test_an_environment_holds_what_was_asked_and_what_that_needs(bench: Bench) -> None:
    environment = bench.ensure()
    assert packages(environment) == [("alpha", "1.0"), ("beta", "2.0")]
    assert {package.source for package in environment.packages} == {f"file://{bench.wheels}"}
    assert environment.python == HERE
    assert environment.asked == "requirements.txt (inferred): 1 requirement"
    assert not environment.reused
    assert bench.narrator.lines == [f"building environment: Python {HERE}, 1 requirement"]
    assert output_of(environment, "python", "-c", "import alpha, beta; print(beta.VERSION)") == "2.0"


def test_its_lock_has_hashes_and_its_digest_is_that_of_the_kept_file(bench: Bench) -> None:
    environment = bench.ensure()
    assert environment.lock is not None
    assert environment.lock_digest == digest.of_file(environment.lock)
    text = environment.lock.read_text()
    assert 'name = "alpha"' in text
    assert text.count("sha256 = ") == 2


def test_it_can_be_entered_wherever_it_lies(hostile_bench: Bench) -> None:
    environment = hostile_bench.ensure()
    assert output_of(environment, "alpha") == "alpha 1.0"
    assert environment.location is not None
    assert output_of(environment, "python", "-c", "import sys; print(sys.prefix)") == str(
        environment.location
    )


def test_nothing_in_it_remembers_where_it_was_made(bench: Bench) -> None:
    location = bench.ensure().location
    assert location is not None
    for path in location.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert str(bench.cache.temporary).encode() not in path.read_bytes(), path
    assert list(bench.cache.temporary.iterdir()) == []


def test_the_second_time_it_is_reused_and_nothing_is_said(bench: Bench) -> None:
    first = bench.ensure()
    bench.narrator.lines.clear()
    second = bench.ensure()
    assert (second.key, second.packages, second.lock_digest) == (first.key, first.packages, first.lock_digest)
    assert second.reused
    assert second.resolved_at == first.resolved_at
    assert bench.narrator.lines == []


def test_finding_it_again_starts_no_process_and_imports_nothing_heavy(bench: Bench) -> None:
    bench.ensure()
    probe = DRIVER + (
        "heavy = {'subprocess', 'uv', 'tomllib', 'configparser', 'packaging', 'yaml'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))\n"
    )
    probe = probe.replace("from mlrun", "from mlrun").replace(
        "bench = ", "before = set(sys.modules)\nbench = "
    )
    said = driven(bench, probe.replace("from tests", "sys.path.insert(0, '.')\nfrom tests"))
    assert said.splitlines()[1:] == ["True", "[]"]


def driven(bench: Bench, program: str = DRIVER) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, str(bench.root)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_projects_that_resolve_to_the_same_share_one(bench: Bench) -> None:
    first = bench.ensure()
    bench.write("requirements.txt", "beta==2.0\nalpha>=1  # otherwise written\n")
    second = bench.ensure()
    assert second.key == first.key
    assert second.reused
    assert len(keys(bench)) == 1


def test_another_requirement_is_another_environment(bench: Bench) -> None:
    first = bench.ensure()
    bench.write("requirements.txt", "beta\n")
    second = bench.ensure()
    assert packages(second) == [("beta", "2.0")]
    assert second.key != first.key


def test_a_refresh_takes_what_is_new_in_the_index(bench: Bench) -> None:
    bench.ensure()
    make_wheel(bench.wheels, "beta", "2.1")
    assert packages(bench.ensure()) == [("alpha", "1.0"), ("beta", "2.0")]
    assert packages(bench.ensure(refresh=True)) == [("alpha", "1.0"), ("beta", "2.1")]
    assert packages(bench.ensure()) == [("alpha", "1.0"), ("beta", "2.1")]


def test_constraints_bind(bench: Bench) -> None:
    make_wheel(bench.wheels, "beta", "2.1")
    bench.write("requirements.txt", "alpha\n-c limits.txt\n")
    bench.write("limits.txt", "beta<2.1\n")
    assert packages(bench.ensure()) == [("alpha", "1.0"), ("beta", "2.0")]


@pytest.mark.parametrize(
    "variable", [pytest.param("PIP_CONSTRAINT", marks=pytest.mark.slow), "UV_CONSTRAINT"]
)
def test_the_caller_s_own_constraints_bind_and_are_never_stale(bench: Bench, variable: str) -> None:
    make_wheel(bench.wheels, "beta", "2.1")
    limits = bench.root / "limits.txt"
    bench.extra[variable] = "limits.txt" if variable == "PIP_CONSTRAINT" else str(limits)
    for version in ("2.0", "2.1"):
        limits.write_text(f"beta=={version}\n")
        assert packages(bench.ensure()) == [("alpha", "1.0"), ("beta", version)]


def test_nothing_named_is_an_environment_without_packages(bench: Bench) -> None:
    (bench.project / "requirements.txt").unlink()
    environment = bench.ensure()
    assert environment.packages == ()
    assert environment.lock is not None
    assert "packages" not in environment.lock.read_text()


def test_a_plan_builds_nothing(bench: Bench) -> None:
    assert (bench.plan().action, bench.plan().python, bench.plan().packages) == ("build", HERE, None)
    assert env.listing(bench.cache) == ()
    bench.ensure()
    assert (bench.plan().action, bench.plan().python, bench.plan().packages) == ("reuse", HERE, 2)


# --- local projects -----------------------------------------------------------------------------------


def local_project(bench: Bench, requirement: str) -> None:
    """A package built by a backend in a folder of its own: nothing has to be fetched."""
    bench.write(
        "pyproject.toml",
        '[project]\nname = "mine"\nversion = "1"\ndependencies = ["beta"]\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    )
    shutil.copy(Path(__file__).parent / "wheels.py", bench.project / "wheels.py")
    bench.write(
        "backend.py",
        "import os, pathlib, sys\nsys.path.insert(0, os.path.dirname(__file__))\nimport wheels\n"
        "def build_wheel(folder, settings=None, metadata=None):\n"
        "    made = wheels.make_wheel(pathlib.Path(folder), 'mine', '1', requires=('beta',),"
        " source=pathlib.Path('source.txt').read_text())\n"
        "    return made.name\n"
        "def build_editable(folder, settings=None, metadata=None):\n"
        "    made = wheels.make_wheel(pathlib.Path(folder), 'mine', '1', requires=('beta',),"
        " source='VERSION = open(%r).read()' % os.path.abspath('source.txt'))\n"
        "    return made.name\n",
    )
    bench.write("source.txt", "VERSION = 1\n")
    bench.write("requirements.txt", f"{requirement}\n")


def version_of_mine(environment: Environment) -> str:
    return output_of(environment, "python", "-c", "import mine; print(mine.VERSION)")


def test_an_edited_local_package_is_never_stale(bench: Bench) -> None:
    local_project(bench, ".")
    first = bench.ensure()
    assert version_of_mine(first) == "1"
    assert packages(first) == [("beta", "2.0"), ("mine", "1")]
    bench.write("source.txt", "VERSION = 2\n")
    bench.tree = "tree-2"
    second = bench.ensure()
    assert version_of_mine(second) == "2"
    assert version_of_mine(first) == "1"


def test_a_change_that_does_not_reach_the_package_builds_no_new_environment(bench: Bench) -> None:
    local_project(bench, ".")
    first = bench.ensure()
    bench.write("notes.txt", "changed")
    bench.tree = "tree-2"
    second = bench.ensure()
    assert (second.key, second.reused) == (first.key, True)


def test_an_editable_package_follows_its_source(bench: Bench) -> None:
    local_project(bench, "-e .")
    environment = bench.ensure()
    assert version_of_mine(environment) == "VERSION = 1"
    bench.write("source.txt", "VERSION = 2\n")
    assert version_of_mine(environment) == "VERSION = 2"


def test_an_edited_editable_package_is_not_resolved_again(bench: Bench) -> None:
    local_project(bench, "-e .")
    bench.ensure()
    bench.tree = "tree-2"
    assert bench.plan().action == "reuse"
    bench.write("setup.cfg", "[metadata]\n")
    assert bench.plan().action == "build"


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["pyproject.toml", "uv.lock"])
def test_a_package_in_a_checkout_is_copied_and_never_stale(tmp_path: Path, kept: str) -> None:
    """A checkout is removed after its run: the next one, of another commit, lies elsewhere."""
    versions: list[tuple[str, bool]] = []
    for commit in ("one", "two", "two"):
        bench = Bench(tmp_path, folder=f"cache/work-v1/run-{len(versions)}", tree=commit)
        bench.project.mkdir(parents=True)
        make_wheel(bench.wheels, "beta", "2.0")
        local_project(bench, "")
        bench.write("source.txt", f"VERSION = {commit!r}\n")
        (bench.project / "requirements.txt").unlink()
        if kept == "uv.lock":
            lock_with_uv(bench)
        environment = bench.ensure()
        shutil.rmtree(bench.project)
        versions.append((version_of_mine(environment), environment.reused))
    assert versions == [("one", False), ("two", False), ("two", True)]


def lock_with_uv(bench: Bench) -> None:
    from uv import find_uv_bin

    argv = [find_uv_bin(), "lock", "--quiet", "--no-index", "--find-links", str(bench.wheels)]
    subprocess.run(argv, cwd=bench.project, check=True)


def test_the_lock_names_local_packages_relative_to_the_project(bench: Bench) -> None:
    local_project(bench, ".")
    lock = bench.ensure().lock
    assert lock is not None
    assert 'name = "mine"\ndirectory = { path = "." }' in lock.read_text()


def test_building_a_local_package_leaves_no_litter(bench: Bench) -> None:
    local_project(bench, ".")
    before = sorted(path.name for path in bench.project.iterdir())
    bench.ensure()
    assert sorted(path.name for path in bench.project.iterdir()) == before


def test_a_wheel_in_the_project_is_installed(bench: Bench) -> None:
    make_wheel(bench.project / "wheels", "gamma", "3.0")
    bench.write("requirements.txt", "./wheels/gamma-3.0-py3-none-any.whl\n")
    environment = bench.ensure()
    assert packages(environment) == [("gamma", "3.0")]
    assert environment.lock is not None
    assert 'path = "wheels/gamma-3.0-py3-none-any.whl"' in environment.lock.read_text()


# --- locks --------------------------------------------------------------------------------------------


def test_a_given_lock_is_installed_as_it_is(bench: Bench) -> None:
    lock = bench.ensure().lock
    assert lock is not None
    shutil.copy(lock, bench.project / "pylock.toml")
    make_wheel(bench.wheels, "beta", "2.1")
    environment = bench.ensure()
    assert environment.asked.startswith("pylock.toml (inferred): 2 packages")
    assert packages(environment) == [("alpha", "1.0"), ("beta", "2.0")]


def test_a_file_that_is_not_what_was_locked_is_refused(bench: Bench) -> None:
    lock = bench.ensure().lock
    assert lock is not None
    bench.write("pylock.toml", lock.read_text().replace('sha256 = "', 'sha256 = "0000', 1))
    shutil.rmtree(bench.root / "uv")
    with pytest.raises(EnvironmentBuildError) as caught:
        bench.ensure()
    assert caught.value.code in ("hash-mismatch", "environment-failed")
    assert list(bench.cache.temporary.iterdir()) == []


# --- failures -----------------------------------------------------------------------------------------


def test_what_cannot_be_resolved_is_said_in_one_sentence_with_the_log_kept(bench: Bench) -> None:
    bench.write("requirements.txt", "alpha\nnot-there==1\n")
    with pytest.raises(EnvironmentBuildError) as caught:
        bench.ensure()
    error = caught.value
    assert error.code == "cannot-resolve"
    assert "not-there" in error.message
    log = Path(error.details[-1].removeprefix("the whole log: "))
    assert "not-there==1" in log.read_text()
    assert list(bench.cache.temporary.iterdir()) == []


def test_secrets_reach_neither_lock_nor_log_nor_message(bench: Bench) -> None:
    bench.write(
        "requirements.txt",
        "--extra-index-url http://ada:s3cret@127.0.0.1:9/simple\n"
        "not-there @ http://ada:s3cret@127.0.0.1:9/x.whl\n",
    )
    with pytest.raises(EnvironmentBuildError) as caught:
        bench.ensure()
    log = Path(caught.value.details[-1].removeprefix("the whole log: "))
    assert "127.0.0.1" in log.read_text()
    assert "s3cret" not in log.read_text() + caught.value.message + "".join(caught.value.details)


@pytest.fixture
def private_index(bench: Bench) -> Iterator[str]:
    """An index of its own over HTTP, for those who know the password; its URL holds it."""

    class Guarded(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(bench.root / "index"))

        def do_GET(self) -> None:
            if self.headers.get("Authorization") == "Basic " + b64encode(b"ada:s3cret").decode():
                return super().do_GET()
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            return self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    make_wheel(bench.root / "index/simple/gamma", "gamma", "3.0")
    with ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://ada:s3cret@127.0.0.1:{server.server_port}/simple"
        server.shutdown()


def test_a_private_index_serves_and_its_password_is_kept_nowhere(bench: Bench, private_index: str) -> None:
    bench.extra = {"PIP_NO_INDEX": "", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": private_index}
    bench.write("requirements.txt", "gamma\n")
    environment = bench.ensure()
    public = private_index.replace("ada:s3cret@", "")
    assert [(package.name, package.source) for package in environment.packages] == [("gamma", public)]
    assert environment.lock is not None
    assert f'index = "{public}"' in environment.lock.read_text()
    for path in bench.cache.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert b"s3cret" not in path.read_bytes(), path


def test_an_environment_whose_interpreter_has_gone_is_built_again(bench: Bench) -> None:
    first = bench.ensure()
    assert first.location is not None
    (first.location / "bin/python").unlink()
    (first.location / "bin/python").symlink_to("/no/such/python")
    assert bench.plan().action == "build"
    second = bench.ensure()
    assert (second.key, second.reused) == (first.key, False)
    assert output_of(second, "alpha") == "alpha 1.0"


@pytest.mark.parametrize("text", [None, pytest.param("", marks=pytest.mark.slow)])
def test_an_environment_without_its_settings_is_built_again(bench: Bench, text: str | None) -> None:
    first = bench.ensure()
    assert first.location is not None
    settings = first.location / "pyvenv.cfg"
    settings.unlink()
    if text is not None:
        settings.write_text(text)
    second = bench.ensure()
    assert (second.key, second.reused) == (first.key, False)
    assert output_of(second, "alpha") == "alpha 1.0"


def test_spoilt_notes_are_written_again(bench: Bench) -> None:
    first = bench.ensure()
    assert first.location is not None
    (note,) = (bench.cache.environments / "asked").iterdir()
    for damage in ("", "{", "[]", '{"key": 3}', '{"key": "blake3:00"}'):
        note.write_text(damage)
        assert bench.ensure().key == first.key
    (first.location / "environment.json").write_text("{")
    assert packages(bench.ensure()) == packages(first)


@pytest.mark.slow
def test_twenty_at_once_build_one(bench: Bench) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(bench.root)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        for _ in range(20)
    ]
    said = [child.communicate()[0].splitlines() for child in started]
    assert [child.returncode for child in started] == [0] * 20
    assert len({lines[0] for lines in said}) == 1
    assert [lines[1] for lines in said].count("False") == 1
    assert list(bench.cache.temporary.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_build_that_is_killed_at_any_moment_leaves_the_next_one_right(
    bench: Bench, how: signal.Signals
) -> None:
    for delay in (0.15, 0.2, 0.25, 0.3, 0.35, 0.4):
        shutil.rmtree(bench.cache.root, ignore_errors=True)
        child = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(bench.root)],
            stdout=subprocess.DEVNULL,
            cwd=Path(__file__).parent.parent,
        )
        time.sleep(delay)
        child.send_signal(how)
        child.wait()
        environment = bench.ensure()
        assert packages(environment) == [("alpha", "1.0"), ("beta", "2.0")]
        assert output_of(environment, "alpha") == "alpha 1.0"


@pytest.mark.slow
def test_an_interrupted_build_removes_what_it_began(bench: Bench) -> None:
    for delay in (0.2, 0.3):
        shutil.rmtree(bench.cache.root, ignore_errors=True)
        child = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(bench.root)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parent.parent,
        )
        time.sleep(delay)
        child.send_signal(signal.SIGINT)
        child.wait()
        assert not bench.cache.temporary.exists() or list(bench.cache.temporary.iterdir()) == []


# --- looking after them -------------------------------------------------------------------------------


def test_environments_are_listed_found_and_removed(bench: Bench) -> None:
    first = bench.ensure()
    bench.write("requirements.txt", "beta\n")
    second = bench.ensure()
    assert set(keys(bench)) == {first.key, second.key}
    entry = env.find(bench.cache, first.key[:16])
    assert (entry.key, entry.packages, entry.python) == (first.key, first.packages, HERE)
    assert entry.asked == "requirements.txt (inferred): 1 requirement"
    assert entry.size > 1000
    env.remove(bench.cache, first.key)
    assert keys(bench) == [second.key]
    bench.write("requirements.txt", "alpha\n")
    assert not bench.ensure().reused


def test_a_key_is_found_by_any_unique_start(bench: Bench) -> None:
    key = bench.ensure().key
    bare = key.removeprefix(digest.TAG)
    assert env.find(bench.cache, bare[:4]).key == env.find(bench.cache, bare).key == key
    for prefix in ("", "zz", "../..", "*"):
        with pytest.raises(UsageError):
            env.find(bench.cache, prefix)


def test_garbage_is_what_was_not_used_for_long_and_is_not_in_use(bench: Bench) -> None:
    old = bench.ensure()
    bench.write("requirements.txt", "beta\n")
    kept = bench.ensure()
    now = time.time() + 40 * 86400
    assert env.collect_garbage(bench.cache, keep_days=50, now=now, keep=frozenset()) == env.Collected(0, 0)
    collected = env.collect_garbage(bench.cache, keep_days=30, now=now, keep=frozenset({kept.key}))
    assert collected.removed == 1
    assert collected.freed > 1000
    assert keys(bench) == [kept.key]
    assert old.location is not None
    assert not old.location.exists()
    assert len(list((bench.cache.environments / "asked").iterdir())) == 1


def test_use_keeps_an_environment_from_being_garbage(bench: Bench) -> None:
    environment = bench.ensure()
    assert environment.location is not None
    os.utime(environment.location / ".last-used", (1, 1))
    bench.ensure()
    assert env.collect_garbage(bench.cache, keep_days=1, now=time.time(), keep=frozenset()).removed == 0


def test_what_a_killed_build_left_is_garbage(bench: Bench) -> None:
    bench.ensure()
    left = bench.cache.temporary / f"resolve-{'0' * 32}.1.1"
    others = bench.cache.temporary / "somebody-else"
    for path in (left, others):
        path.mkdir()
    env.collect_garbage(bench.cache, keep_days=1000, now=time.time() + 90000, keep=frozenset())
    assert (left.exists(), others.exists()) == (False, True)


# --- the caller's own environment ---------------------------------------------------------------------


def test_the_caller_s_own_environment_is_recorded_and_left_alone(bench: Bench) -> None:
    environment = env.ensure(
        env.read(EnvironmentRequest(), bench.project, manager="system"),
        directory=bench.project,
        tree=bench.tree,
        cache=bench.cache,
        caller=bench.caller,
        narrator=bench.narrator,
    )
    assert (environment.kind, environment.python, environment.path) == ("system", HERE, ())
    assert "pytest" in dict(packages(environment))
    assert bench.narrator.lines == []


def test_a_caller_without_python_has_an_environment_too(bench: Bench) -> None:
    bench.extra = {"PATH": str(bench.root / "nowhere")}
    environment = env.ensure(
        env.read(EnvironmentRequest(), bench.project, manager="local"),
        directory=bench.project,
        tree=bench.tree,
        cache=bench.cache,
        caller=bench.caller,
        narrator=bench.narrator,
    )
    assert (environment.python, environment.packages) == (None, ())


# --- the real index -----------------------------------------------------------------------------------


@pytest.fixture
def real(bench: Bench, caller: Caller) -> Callable[[str], Environment]:
    """Builds what a requirement file asks for from the index that this machine's settings name."""
    bench.extra = {name: value for name, value in caller.variables.items() if name != "VIRTUAL_ENV"}
    bench.extra |= {"PIP_NO_INDEX": "", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": ""}
    bench.extra |= {name: caller.variables[name] for name in caller.variables if name.startswith("PIP_")}

    def build(text: str) -> Environment:
        bench.write("requirements.txt", text)
        return bench.ensure()

    return build


@pytest.mark.slow
def test_a_real_package_is_locked_with_its_index_and_hash(real: Callable[[str], Environment]) -> None:
    environment = real("markupsafe==3.0.2\n")
    assert packages(environment) == [("markupsafe", "3.0.2")]
    assert environment.lock is not None
    assert "index = " in environment.lock.read_text()
    assert "sha256 = " in environment.lock.read_text()


def test_an_old_mlflow_gets_the_setuptools_that_it_does_not_ask_for(bench: Bench) -> None:
    make_wheel(bench.wheels, "mlflow", "1.30.0")
    for version in ("74.1.3", "84.0.0"):
        make_wheel(bench.wheels, "setuptools", version)
    bench.write("requirements.txt", "mlflow==1.30.0\n")
    for expected in (False, True):
        environment = bench.ensure()
        assert environment.reused == expected
        assert packages(environment) == [("mlflow", "1.30.0"), ("setuptools", "74.1.3")]
        assert environment.adaptations == (
            "setuptools<75 is added: mlflow 1.30.0 needs pkg_resources without saying so",
        )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["setuptools"], "80.9.0"),
        pytest.param(["setuptools>=60"], "80.9.0", marks=pytest.mark.slow),
        pytest.param(["setuptools>80.9"], "84.0.0", marks=pytest.mark.slow),
        (["setuptools", "mlflow"], "74.1.3"),
        pytest.param(["setuptools>=75", "mlflow"], "80.9.0", marks=pytest.mark.slow),
        (["setuptools==84.0.0", "mlflow"], "84.0.0"),
    ],
)
def test_setuptools_has_pkg_resources_unless_a_newer_one_is_asked_for(
    bench: Bench, asked: list[str], expected: str
) -> None:
    make_wheel(bench.wheels, "mlflow", "2.7.0")
    for version in ("74.1.3", "80.9.0", "84.0.0"):
        make_wheel(bench.wheels, "setuptools", version)
    bench.write("requirements.txt", "\n".join(asked))
    assert dict(packages(bench.ensure()))["setuptools"] == expected


def test_environment_json_says_what_it_holds(bench: Bench) -> None:
    environment = bench.ensure()
    assert environment.location is not None
    values = json.loads((environment.location / "environment.json").read_text())
    assert values["python"] == HERE
    assert values["asked"] == environment.asked
    assert [package["name"] for package in values["packages"]] == ["alpha", "beta"]


# --- what published code forgot ------------------------------------------------------------------------


@pytest.mark.slow
def test_well_known_imports_that_the_list_of_published_code_lacks_are_added(bench: Bench) -> None:
    certificates = ("SSL_CERT_FILE", "PIP_CERT", "HTTPS_PROXY")
    known = {name: os.environ[name] for name in certificates if name in os.environ}  # noqa: TID251
    bench.extra = {"PIP_NO_INDEX": "", "PIP_FIND_LINKS": "", **known}
    bench.write("requirements.txt", "six\n")
    bench.write("train.py", "import six, tqdm, click, something_of_ours\n")
    bench.write("MLproject", "entry_points: {main: {command: python train.py}}\n")
    day = env.Day(as_of="2021-06-01T00:00:00Z", why="the commit's date")
    asked = env.read(EnvironmentRequest(), bench.project, manager=None)
    made = env.ensure(
        asked,
        directory=bench.project,
        tree="tree-1",
        cache=bench.cache,
        caller=bench.caller,
        narrator=bench.narrator,
        day=day,
    )
    assert {"six", "tqdm", "click"} <= {package.name for package in made.packages}
    assert "added, since they are imported: tqdm, click (by train.py)" in made.adaptations
    now = bench.ensure()
    assert "tqdm" not in {package.name for package in now.packages}
