"""What a project asks of its environment, read from every kind of file that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlrun import env
from mlrun.env.asking.versions import normal_python
from mlrun.errors import MlrunError, ProjectError, UsageError
from mlrun.model import EnvironmentRequest
from tests.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.env import Asked

INFERRED = EnvironmentRequest()


def read(directory: Path, request: EnvironmentRequest = INFERRED, manager: str | None = None) -> Asked:
    return env.read(request, directory, manager=manager)


def write(directory: Path, name: str, text: str) -> None:
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(text)


def requirements(asked: Asked) -> list[str]:
    return [item.text for item in asked.requirements]


def build_requirements(asked: Asked) -> list[str]:
    return [item.text for item in asked.build_requirements]


def codes(asked: Asked) -> list[str]:
    return [finding.code for finding in asked.findings]


# --- which file ---------------------------------------------------------------------------------------


def test_the_named_file_is_read_with_places(tmp_path: Path) -> None:
    write(
        tmp_path, "env/python_env.yaml", "python: 3.10\nbuild_dependencies:\n- pip\ndependencies:\n- six>=1\n"
    )
    asked = read(tmp_path, EnvironmentRequest(key="python_env", path="env/python_env.yaml"))
    assert asked.summary == "env/python_env.yaml: 1 requirement, Python 3.10"
    assert (asked.python, asked.python_from) == ("3.10", "env/python_env.yaml")
    assert [str(item.place) for item in asked.requirements] == ["env/python_env.yaml:5:3"]
    assert build_requirements(asked) == ["pip"]
    assert codes(asked) == []


def test_another_local_project_is_not_the_project_itself(tmp_path: Path) -> None:
    write(tmp_path, "lib/pyproject.toml", "[project]\n")
    asked = read(tmp_path, EnvironmentRequest(key="environment", requirements=("-e lib",)))
    assert asked.summary == "environment: 1 local project"


def test_an_environment_in_place_needs_no_file(tmp_path: Path) -> None:
    write(tmp_path, "setup.py", "")
    request = EnvironmentRequest(
        key="environment", python="3.11", requirements=("numpy>=1", "-e .", "six # why")
    )
    asked = read(tmp_path, request)
    assert asked.summary == "environment: 2 requirements, the project itself, Python 3.11"
    assert requirements(asked) == ["numpy>=1", "six"]
    assert [(local.path, local.editable) for local in asked.local] == [(".", True)]


def test_an_environment_in_place_may_name_a_requirement_file(tmp_path: Path) -> None:
    write(tmp_path, "deps/r.txt", "six\n")
    asked = read(tmp_path, EnvironmentRequest(key="environment", python="3.12", path="deps/r.txt"))
    assert asked.summary == "deps/r.txt: 1 requirement, Python 3.12"
    assert asked.python_from == "MLproject"


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        (["python_env.yaml", "conda.yaml", "requirements.txt"], "python_env.yaml"),
        (["conda.yaml", "pylock.toml"], "conda.yaml"),
        (["pylock.toml", "uv.lock", "requirements.txt"], "pylock.toml"),
        (["uv.lock", "requirements.txt", "pyproject.toml"], "uv.lock"),
        (["requirements.txt", "requirements-dev.txt", "pyproject.toml"], "requirements.txt"),
        (["requirements-cpu.txt", "setup.py"], "requirements-cpu.txt"),
        (["requirements-a.txt", "requirements-b.txt", "pyproject.toml"], "pyproject.toml"),
        (["pyproject.toml", "setup.py"], "pyproject.toml"),
        (["setup.py", "environment.yml"], "setup.py"),
        (["environment.yml", "Pipfile"], "environment.yml"),
        (["Pipfile", "Pipfile.lock"], "Pipfile.lock"),
    ],
)
def test_an_unnamed_environment_is_found_by_convention(tmp_path: Path, files: list[str], taken: str) -> None:
    texts = {
        "pyproject.toml": '[project]\nname = "x"\nversion = "1"\n',
        "Pipfile.lock": '{"_meta": {}, "default": {"six": {"version": "==1.17.0"}}}',
        "pylock.toml": 'lock-version = "1.0"\n',
        "Pipfile": '[packages]\nsix = "*"\n',
        "conda.yaml": "dependencies: [six]\n",
        "python_env.yaml": "dependencies: [six]\n",
        "environment.yml": "dependencies: [six]\n",
        "setup.py": "setup(install_requires=[])\n",
    }
    for name in files:
        write(tmp_path, name, texts.get(name, "six\n"))
    asked = read(tmp_path)
    mlflows_own = taken in ("python_env.yaml", "conda.yaml")
    assert asked.summary.startswith(f"{taken}:" if mlflows_own else f"{taken} (inferred):")
    assert codes(asked) == ([] if mlflows_own else ["inferred-environment"])


def test_a_pyproject_of_linter_settings_is_no_environment(tmp_path: Path) -> None:
    write(tmp_path, "pyproject.toml", "[tool.black]\nline-length = 100\n")
    asked = read(tmp_path)
    assert asked.summary == "no environment named: no packages"
    assert codes(asked) == ["no-environment"]


# --- requirement files --------------------------------------------------------------------------------


def test_requirement_files_are_read_as_pip_reads_them(tmp_path: Path) -> None:
    write(tmp_path, "setup.py", "")
    write(tmp_path, "base/more.txt", "six\n-c ../limits.txt\n")
    write(tmp_path, "limits.txt", "idna<3  # not yet\n")
    write(tmp_path, "wheels/.keep", "")
    make_wheel(tmp_path / "wheels", "alpha", "1.0")
    write(
        tmp_path,
        "requirements.txt",
        "# a comment\n"
        "numpy==1.21.6 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        'pandas[excel]>=1,<3 ; python_version < "3.13"  # fine\n'
        "-r base/more.txt\n"
        "--index-url=https://user:secret@pypi.example/simple\n"
        "--extra-index-url https://extra.example/simple\n"
        "-f wheels\n"
        "--pre\n"
        "git+https://example.org/x.git@v1#egg=x\n"
        "y @ git+https://example.org/y.git\n"
        "-e git+https://example.org/z.git@main#egg=z&subdirectory=s\n"
        "-e .[dev]\n"
        "./wheels/alpha-1.0-py3-none-any.whl\n"
        "--strange thing\n",
    )
    asked = read(tmp_path)
    assert requirements(asked) == [
        "numpy==1.21.6 --hash=sha256:aa --hash=sha256:bb",
        'pandas[excel]>=1,<3 ; python_version < "3.13"',
        "six",
        "git+https://example.org/x.git@v1#egg=x",
        "y @ git+https://example.org/y.git",
        "z @ git+https://example.org/z.git@main#subdirectory=s",
    ]
    assert [item.text for item in asked.constraints] == ["idna<3"]
    assert asked.options == (
        ("index-url", "https://user:secret@pypi.example/simple"),
        ("extra-index-url", "https://extra.example/simple"),
        ("find-links", str(tmp_path / "wheels")),
        ("pre", ""),
    )
    assert [(local.path, local.editable, local.extras) for local in asked.local] == [
        (".", True, "[dev]"),
        ("wheels/alpha-1.0-py3-none-any.whl", False, ""),
    ]
    assert asked.files == ("requirements.txt", "base/more.txt", "limits.txt")
    assert codes(asked) == ["inferred-environment", "unknown-option"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig", "utf-8"])
def test_requirement_files_of_windows_tools_are_understood(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "requirements.txt").write_bytes("six==1.16\r\nidna\r\n".encode(encoding))
    assert requirements(read(tmp_path)) == ["six==1.16", "idna"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-r missing.txt\n", "requirements.txt:1:1: there is no file `missing.txt` to include"),
        (
            "-r https://u:s3cret@host/all.txt\n",
            "requirements.txt:1:1: cannot include `https://host/all.txt`: only files are included",
        ),
        ("six\n./nowhere\n", "requirements.txt:2:1: there is no `nowhere` to install"),
        ("-e ./nowhere\n", "requirements.txt:1:1: there is no `nowhere` to install"),
    ],
)
def test_what_a_requirement_file_names_must_exist(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, "requirements.txt", text)
    with pytest.raises(ProjectError) as caught:
        read(tmp_path)
    assert str(caught.value).replace("./nowhere", "nowhere") == message


def test_files_that_include_each_other_end(tmp_path: Path) -> None:
    write(tmp_path, "requirements.txt", "-r other.txt\nsix\n")
    write(tmp_path, "other.txt", "-r requirements.txt\nidna\n")
    assert requirements(read(tmp_path)) == ["idna", "six"]


# --- environment files of MLflow and conda ------------------------------------------------------------


def test_a_python_env_written_like_conda_is_understood(tmp_path: Path) -> None:
    write(
        tmp_path,
        "python_env.yaml",
        "name: x\nchannels: [conda-forge]\ndependencies:\n- python=3.8.13=h12debd9_0\n- pip\n- numpy=1.21\n"
        "- pip:\n  - six\n",
    )
    asked = read(tmp_path)
    assert asked.python == "3.8.13"
    assert requirements(asked) == ["six", "numpy==1.21.*"]
    assert build_requirements(asked) == ["pip"]


def test_a_python_env_may_point_to_a_requirement_file(tmp_path: Path) -> None:
    write(tmp_path, "setup.py", "")
    write(tmp_path, "reqs.txt", "six\n")
    write(tmp_path, "python_env.yaml", 'python: "3.11"\ndependencies:\n  - -r reqs.txt\n  - .\n')
    asked = read(tmp_path)
    assert requirements(asked) == ["six"]
    assert [(local.path, local.editable) for local in asked.local] == [(".", False)]


def test_an_empty_conda_file_asks_for_nothing(tmp_path: Path) -> None:
    write(tmp_path, "conda.yaml", "")
    asked = read(tmp_path)
    assert asked.summary == "conda.yaml: no packages"
    assert codes(asked) == ["empty-environment"]


@pytest.mark.parametrize("text", ["- a\n- b\n", "text\n", "dependencies:\n- name: x\n", "python: three\n"])
def test_what_is_no_environment_file_is_an_error_with_a_place(tmp_path: Path, text: str) -> None:
    write(tmp_path, "conda.yaml", text)
    with pytest.raises(MlrunError) as caught:
        read(tmp_path)
    assert str(caught.value).startswith("conda.yaml:")


# --- pyproject, locks, Pipfile ------------------------------------------------------------------------


def test_a_package_is_installed_itself(tmp_path: Path) -> None:
    write(
        tmp_path,
        "pyproject.toml",
        '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = ["six", "idna"]\n'
        '[build-system]\nrequires = ["hatchling"]\n',
    )
    asked = read(tmp_path)
    assert asked.summary == "pyproject.toml (inferred): 2 requirements, the project itself, Python >=3.9"
    assert [(local.path, local.editable) for local in asked.local] == [(".", None)]
    assert asked.manifest is None


def test_of_a_project_that_is_no_package_only_the_dependencies_count(tmp_path: Path) -> None:
    write(tmp_path, "pyproject.toml", '[project]\nname = "x"\nversion = "1"\ndependencies = ["six"]\n')
    asked = read(tmp_path)
    assert (asked.manifest, asked.local) == ("pyproject.toml", ())


def test_a_lock_is_taken_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, "uv.lock", 'version = 1\n\n[[package]]\nname = "a"\n\n[[package]]\nname = "b"\n')
    write(tmp_path, "pyproject.toml", '[project]\nname = "a"\nversion = "1"\nrequires-python = ">=3.10"\n')
    asked = read(tmp_path)
    assert (asked.lock, asked.summary) == ("uv.lock", "uv.lock (inferred): 2 packages, Python >=3.10")


def test_a_pipfile_is_understood(tmp_path: Path) -> None:
    write(tmp_path, "setup.py", "")
    write(
        tmp_path,
        "Pipfile",
        '[[source]]\nurl = "https://pypi.org/simple"\n[requires]\npython_version = "3.9"\n[packages]\n'
        'six = "*"\nidna = "==3.4"\n'
        'requests = {version = ">=2", extras = ["socks"], markers = "os_name == \'posix\'"}\n'
        'x = {git = "https://example.org/x.git", ref = "v1"}\nme = {path = ".", editable = true}\n',
    )
    asked = read(tmp_path, EnvironmentRequest(key="environment", path="Pipfile"))
    assert asked.python == "3.9"
    assert requirements(asked) == [
        "six",
        "idna==3.4",
        "requests[socks]>=2 ; os_name == 'posix'",
        "x @ git+https://example.org/x.git@v1",
    ]
    assert [(local.path, local.editable) for local in asked.local] == [(".", True)]


def test_a_locked_pipfile_is_understood(tmp_path: Path) -> None:
    write(
        tmp_path,
        "Pipfile.lock",
        '{"_meta": {"requires": {"python_version": "3.9"}}, "default": {"six": {"version": "==1.16.0"}}}',
    )
    asked = read(tmp_path)
    assert (asked.python, requirements(asked)) == ("3.9", ["six==1.16.0"])


# --- the Python asked for -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("3.10", "3.10"),
        ("3.10.12", "3.10.12"),
        ("3", "3"),
        ("python", None),
        ("", None),
        ("*", None),
        ("3.7.13=hash_0", "3.7.13"),
        ("=3.7", "3.7"),
        ("==3.8.*", "3.8"),
        ("3.8.*", "3.8"),
        ("3.x", "3"),
        ("latest", None),
        ("==3.9.1", "3.9.1"),
        (">=3.6", ">=3.6"),
        (">= 3.6, < 3.12", ">=3.6,<3.12"),
        ("~=3.9", "~=3.9"),
        ("^3.9", ">=3.9,<4"),
        ("python3.11", "3.11"),
        ("cpython-3.11", "3.11"),
    ],
)
def test_a_python_is_asked_for_in_many_ways(text: str, python: str | None) -> None:
    assert normal_python(text) == python


@pytest.mark.parametrize("text", ["three", "3.x.y", ">=", "pypy3.9", "3.9; rm -rf /", "$(id)"])
def test_what_is_no_python_version_is_an_error(text: str) -> None:
    with pytest.raises(ProjectError, match="is no version of Python"):
        normal_python(text)


def test_a_python_version_file_counts_where_the_environment_names_none(tmp_path: Path) -> None:
    write(tmp_path, "requirements.txt", "six\n")
    write(tmp_path, "pyproject.toml", '[project]\nname = "x"\nrequires-python = ">=3.8"\n')
    assert (read(tmp_path).python, read(tmp_path).python_from) == (">=3.8", "pyproject.toml")
    write(tmp_path, ".python-version", "3.12.1\n")
    assert (read(tmp_path).python, read(tmp_path).python_from) == ("3.12.1", ".python-version")
    write(tmp_path, ".python-version", "my-pyenv-virtualenv\n")
    assert read(tmp_path).python == ">=3.8"


# --- managers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("manager", ["system", "local"])
def test_the_caller_s_own_environment_reads_no_file(tmp_path: Path, manager: str) -> None:
    write(tmp_path, "conda.yaml", "- broken")
    assert read(tmp_path, manager=manager).kind == "system"


@pytest.mark.parametrize("manager", [None, "venv", "virtualenv", "uv"])
def test_mlflow_s_names_for_managers_are_known(tmp_path: Path, manager: str | None) -> None:
    assert read(tmp_path, manager=manager).kind == "venv"


def test_an_unknown_manager_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, manager="virtualnev")
    assert caught.value.hint == "did you mean `virtualenv`?"


@pytest.mark.parametrize("manager", [None, "auto", "docker", "local", "venv", "conda"])
def test_a_container_is_asked_for_whatever_the_manager_and_said(tmp_path: Path, manager: str | None) -> None:
    asked = read(tmp_path, EnvironmentRequest(key="docker_env", image="x"), manager=manager)
    assert asked.kind == "docker"
    said = [finding.message for finding in asked.findings]
    message = f"`--env-manager {manager}` does not count for a `docker_env`, as in MLflow"
    assert said == ([message] if manager in ("local", "venv", "conda") else [])
