"""What people really write for environments: shapes met in published projects, in words of our own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from mlrun import env
from mlrun.env.asking.asked import asked_digest, read_asked
from mlrun.errors import ProjectError
from mlrun.model import EnvironmentRequest

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.env.values import Asked

linux = pytest.mark.skipif(sys.platform != "linux", reason="what is left out depends on the platform")


def write(directory: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return directory


def asked_of(directory: Path, content: str | bytes, name: str = "requirements.txt") -> Asked:
    return read_asked(EnvironmentRequest(), write(directory, {name: content}))


def texts(asked: Asked) -> list[str]:
    return [item.text for item in asked.requirements]


# --- lines of requirement files -----------------------------------------------------------------------

LINES: list[tuple[str, list[str], str | None]] = [
    # as pip has it: nothing to say
    ("scikit_learn==1.1.3", ["scikit_learn==1.1.3"], None),
    ("mlflow        >= 1.0", ["mlflow        >= 1.0"], None),
    ("torch==2.4.*", ["torch==2.4.*"], None),
    ("uvicorn[standard] ; python_version >= '3.8'", ["uvicorn[standard] ; python_version >= '3.8'"], None),
    ("pywin32==305 ; sys_platform == 'win32'", ["pywin32==305 ; sys_platform == 'win32'"], None),
    ("six==1.16.0 --hash=sha256:aa", ["six==1.16.0 --hash=sha256:aa"], None),
    ("pandas>=1.0  # for the tables", ["pandas>=1.0"], None),
    ("git+https://host.example/me/tool.git@v1", ["git+https://host.example/me/tool.git@v1"], None),
    ("configparser==5.0.1", ["configparser==5.0.1"], None),
    # names
    ("sklearn", ["scikit-learn"], "sklearn as scikit-learn (the package `sklearn` on PyPI is deprecated)"),
    ("sklearn==0.0", ["scikit-learn"], "taken under their own names: sklearn as scikit-learn"),
    ("Sklearn ; python_version>'3'", ["scikit-learn ; python_version>'3'"], "as scikit-learn"),
    ("pytorch==1.10", ["torch"], "pytorch as torch"),
    ("tensorflow-gpu==2.5.0", ["tensorflow==2.5.0"], "tensorflow-gpu as tensorflow"),
    ("tensorflow-gpu[and-cuda]==2.5.0", ["tensorflow[and-cuda]==2.5.0"], "tensorflow-gpu"),
    ("psycopg2==2.9.3", ["psycopg2-binary==2.9.3"], "the same code, built"),
    ("PIL", ["pillow"], "PIL as pillow"),
    ("cv2\nyaml\ndotenv", ["opencv-python-headless", "PyYAML", "python-dotenv"], "dotenv as python-dotenv"),
    ("skimage\nbs4==0.0.1", ["scikit-image", "beautifulsoup4"], "skimage as scikit-image"),
    ("pickle\nos\nsqlite3\nuuid\nsix", ["six"], "left out pickle, os, sqlite3, uuid: part of Python itself"),
    ("argparse==1.4.0\npathlib\nsix", ["six"], "left out argparse, pathlib: part of Python itself"),
    ("concurrent.futures\nos.path\nsix", ["six"], "part of Python itself"),
    ("pkg-resources==0.0.0\nsix", ["six"], "pkg-resources (a flaw of Debian's `pip freeze`)"),
    ("pkg_resources==0.0.0\nsix", ["six"], "left out what is on no index"),
    ("conda==4.9.2\nmkl-fft==1.3.1\nsix", ["six"], "conda (a part of Anaconda), mkl-fft (a part"),
    ("dataclasses==0.8", ['dataclasses==0.8 ; python_version < "3.7"'], "understood as"),
    ("torch==1.12.1+cu113", ["torch==1.12.1"], "taken without the label `+cu113`"),
    ("importlib-metadata==4.0", ["importlib-metadata==4.0"], None),
    # slips
    ("numpy=1.19.2", ["numpy==1.19.2"], "`numpy=1.19.2` as `numpy==1.19.2`"),
    ("numpy=1.19.2=py38_0\nsix\nidna", ["numpy==1.19.2", "six", "idna"], "as pip would write it"),
    ("numpy => 1.19", ["numpy >= 1.19"], "as pip would write it"),
    ("numpy: 1.19", ["numpy==1.19"], "as pip would write it"),
    ("numpy 1.19", ["numpy==1.19"], "as pip would write it"),
    ("numpy==1.19,", ["numpy==1.19"], "as pip would write it"),
    ('"numpy==1.19"', ["numpy==1.19"], "as pip would write it"),
    ("numpy==latest", ["numpy"], "as pip would write it"),
    ("numpy>=1.19.*", ["numpy>=1.19"], "as pip would write it"),
    ("numpy==1.19.x", ["numpy==1.19.*"], "as pip would write it"),
    ("pip install numpy", ["numpy"], "as pip would write it"),
    ("- numpy\n- pandas==1.1", ["numpy", "pandas==1.1"], None),
    ("```\nnumpy\n```", ["numpy"], None),
    ("-------\nnumpy", ["numpy"], None),
    ("numpy==1.19\nidna\nnumpy==1.21", ["idna", "numpy==1.21"], "the last one counts: numpy 1.21"),
    ("pandas\nmlflow\npandas==1.2.4", ["pandas", "mlflow", "pandas==1.2.4"], None),
    # other machines
    ("certifi @ file:///C:/ci/certifi_1462/work", ["certifi"], "their paths are of another machine: certifi"),
    ("numpy @ file:///tmp/build/80754af9/numpy_16/work\nsix==1.16", ["numpy", "six==1.16"], "numpy"),
    ("a-b @ file:///home/conda/feedstock_root/build_artifacts/a-b_16/work", ["a-b"], "another machine"),
    ("scipy @ file:///D:/wheels/scipy-1.5.2-cp37-none-win_amd64.whl", ["scipy==1.5.2"], "another machine"),
    ("C:\\Users\\me\\wheels\\Fiona-1.8.2-cp37-cp37m-win_amd64.whl\nsix", ["Fiona==1.8.2", "six"], "Fiona"),
    ("/home/me/dist/torch-1.13.0-cp310-cp310-linux_x86_64.whl", ["torch==1.13.0"], "another machine"),
    ("-e /home/me/code/tool\nsix", ["six"], "left out what is only on another machine: /home/me/code/tool"),
    ("-e .\nsix", ["six"], "left out `.`, where there is nothing to install"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "wanted", "said"), LINES, ids=[line[0][:40] for line in LINES])
def test_a_line_is_taken_for_what_it_means(
    tmp_path: Path, content: str, wanted: list[str], said: str | None
) -> None:
    asked = asked_of(tmp_path, content + "\n")
    assert texts(asked) == wanted
    assert (asked.adaptations == ()) if said is None else (said in " ".join(asked.adaptations))


@linux
def test_what_is_for_another_platform_is_left_out(tmp_path: Path) -> None:
    asked = asked_of(tmp_path, "pywin32==305\nappnope==0.1.3\npyobjc-core==9.0\nsix\npywinpty==2.0\n")
    assert texts(asked) == ["six"]
    assert asked.adaptations == (
        (
            "requirements.txt:1: left out what is for other platforms:"
            " pywin32 (Windows), appnope (macOS), pyobjc-core (macOS), pywinpty (Windows)"
        ),
    )


def test_many_changes_of_a_kind_are_one_sentence(tmp_path: Path) -> None:
    lines = "".join(f"package{number} @ file:///tmp/build/x/work\n" for number in range(60))
    asked = asked_of(tmp_path, lines)
    assert len(asked.requirements) == 60
    [said] = asked.adaptations
    assert said.endswith("package10, package11 and 48 more")


@pytest.mark.parametrize("line", ["scikit learn", "numpy 1 2 3", "some words, as they come"])
def test_what_makes_no_sense_is_refused_with_its_place(tmp_path: Path, line: str) -> None:
    with pytest.raises(ProjectError) as caught:
        asked_of(tmp_path, f"six\n{line}\n")
    assert caught.value.code == "bad-requirement"
    assert str(caught.value.place) == "requirements.txt:2:1"


def test_a_line_may_ask_for_the_python(tmp_path: Path) -> None:
    asked = asked_of(tmp_path, "python==3.8\nsix\n")
    assert (asked.python, texts(asked)) == ("3.8", ["six"])


@pytest.mark.parametrize(
    ("written", "python", "taken"),
    [
        ("../my_app/Scripts/python.exe", None, "any Python"),
        ("/home/me/.pyenv/versions/3.8.12/bin/python", "3.8.12", "Python 3.8.12"),
        ("/usr/bin/python3.9", "3.9", "Python 3.9"),
        ("C:\\Python310\\python.exe", "3.10", "Python 3.10"),
    ],
)
def test_the_path_of_one_machine_s_python_tells_no_more_than_a_version(
    tmp_path: Path, written: str, python: str | None, taken: str
) -> None:
    asked = asked_of(tmp_path, f"python: '{written}'\ndependencies:\n- six\n", "python_env.yaml")
    assert asked.python == python
    [said] = asked.adaptations
    assert said == f"python_env.yaml:1:9: {taken} is taken for `{written}`, a path of one machine"


def test_the_project_itself_in_its_own_freeze_is_installed_from_where_it_lies(tmp_path: Path) -> None:
    write(tmp_path, {"setup.py": "from setuptools import setup\nsetup(version='1', name='wine_quality')\n"})
    line = "-e git+https://host.example/me/wine.git@0123abc#egg=wine_quality\n"
    asked = asked_of(tmp_path, f"{line}-e git+https://host.example/x.git#egg=x\n")
    assert [(local.path, local.editable) for local in asked.local] == [(".", True)]
    assert texts(asked) == ["x @ git+https://host.example/x.git"]
    assert "the project itself is installed for wine-quality" in asked.adaptations[0].replace("_", "-")


def test_a_list_above_means_the_folder_that_it_lies_in(tmp_path: Path) -> None:
    write(tmp_path, {"setup.py": "", "requirements.txt": "-e .\n-r more.txt\n", "more.txt": "six\n"})
    (tmp_path / "train").mkdir()
    asked = read_asked(EnvironmentRequest(), tmp_path / "train", root=tmp_path)
    assert [local.path for local in asked.local] == [".."]
    assert asked.files == ("../requirements.txt", "../more.txt")


def test_what_an_environment_file_includes_lies_beside_it_or_in_the_project(tmp_path: Path) -> None:
    conda = "dependencies: [pip, {pip: ['-r beside.txt', '-r deps/in_project.txt']}]\n"
    write(tmp_path, {"deps/conda.yaml": conda, "deps/beside.txt": "six\n", "deps/in_project.txt": "idna\n"})
    asked = read_asked(EnvironmentRequest(key="conda_env", path="deps/conda.yaml"), tmp_path)
    assert texts(asked) == ["six", "idna"]


# --- encodings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"], ids=str
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_a_list_may_be_in_the_encoding_of_any_editor(tmp_path: Path, encoding: str, end: str) -> None:
    content = end.join(["# für später", "numpy==1.19", "six", ""])
    assert texts(asked_of(tmp_path, content.encode(encoding))) == ["numpy==1.19", "six"]


def test_big_endian_with_a_mark_is_read(tmp_path: Path) -> None:
    assert texts(asked_of(tmp_path, b"\xfe\xff" + "six\n".encode("utf-16-be"))) == ["six"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("name", ["python_env.yaml", "conda.yaml"])
def test_environment_files_may_be_too(tmp_path: Path, name: str, encoding: str) -> None:
    content = "# für später\r\ndependencies:\r\n  - pip:\r\n    - six==1.16.0\r\n"
    assert texts(asked_of(tmp_path, content.encode(encoding), name)) == ["six==1.16.0"]


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        asked_of(tmp_path, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    assert caught.value.code == "not-text"


# --- what tools print ---------------------------------------------------------------------------------

PIP_LIST = """\
Package         Version   Editable project location
--------------- --------- -------------------------
joblib          1.1.0
numpy           1.21.2
wine            0.1       /home/me/wine
[notice] A new release of pip is available
"""
OLD_PIP_LIST = "joblib (1.1.0)\nnumpy (1.21.2)\nwine (0.1, /home/me/wine)\n"
CONDA_LIST = """\
# packages in environment at /opt/conda/envs/wine:
#
# Name                    Version                   Build  Channel
_libgcc_mutex             0.1                        main
joblib                    1.1.0              pyhd3eb1b0_0
numpy                     1.21.2           py38h20f2e39_0
python                    3.8.12               h12debd9_0
pytorch                   1.10.0          py3.8_cpu_0    pytorch
sklearn                   0.0                      pypi_0    pypi
"""
CONDA_EXPORT = """\
# This file may be used to create an environment using:
# $ conda create --name <env> --file <this file>
# platform: linux-64
_libgcc_mutex=0.1=main
joblib=1.1.0=pyhd3eb1b0_0
numpy=1.21.2=py38h20f2e39_0
python=3.8.12=h12debd9_0
pytorch=1.10.0=py3.8_cpu_0
sklearn=0.0=pypi_0
"""
CONDA_EXPLICIT = """\
# platform: linux-64
@EXPLICIT
https://repo.example/pkgs/main/linux-64/_libgcc_mutex-0.1-main.conda
https://repo.example/pkgs/main/linux-64/python-3.8.12-h12debd9_0.conda#0123456789abcdef
https://repo.example/pkgs/main/noarch/joblib-1.1.0-pyhd3eb1b0_0.tar.bz2
https://repo.example/pkgs/main/linux-64/numpy-1.21.2-py38h20f2e39_0.conda
"""


@pytest.mark.parametrize("content", [PIP_LIST, OLD_PIP_LIST], ids=["columns", "old"])
def test_the_output_of_pip_list_is_a_list_of_pins(tmp_path: Path, content: str) -> None:
    asked = asked_of(tmp_path, content)
    assert texts(asked) == ["joblib==1.1.0", "numpy==1.21.2", "wine==0.1"]
    assert "is the output of `pip list`" in asked.adaptations[0]


@pytest.mark.parametrize("content", [CONDA_LIST, CONDA_EXPORT], ids=["list", "export"])
def test_the_output_of_conda_list_is_brought_to_the_names_of_pypi(tmp_path: Path, content: str) -> None:
    asked = asked_of(tmp_path, content)
    assert texts(asked) == ["joblib==1.1.0", "numpy==1.21.2", "torch==1.10.0", "scikit-learn"]
    assert asked.python == "3.8.12"


def test_an_explicit_list_is_too(tmp_path: Path) -> None:
    asked = asked_of(tmp_path, CONDA_EXPLICIT)
    assert (texts(asked), asked.python) == (["joblib==1.1.0", "numpy==1.21.2"], "3.8.12")


def test_a_conda_file_with_the_name_of_a_list_is_read_as_such(tmp_path: Path) -> None:
    assert texts(asked_of(tmp_path, "name: x\ndependencies:\n  - pip:\n    - six==1.16\n")) == ["six==1.16"]


# --- which file ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        (["Requirements.txt"], "Requirements.txt"),
        (["req.txt"], "req.txt"),
        (["reqs.txt"], "reqs.txt"),
        (["requirement.txt"], "requirement.txt"),
        (["requirements_train.txt", "requirements_dev.txt"], "requirements_train.txt"),
        (["requirements-base.txt", "requirements-gpu.txt"], "requirements-base.txt"),
        (["pip_requirements.txt"], "pip_requirements.txt"),
        (["requirements/base.txt", "requirements/dev.txt"], "requirements/base.txt"),
        (["requirements/requirements.txt"], "requirements/requirements.txt"),
        (["requirements/train.txt"], "requirements/train.txt"),
        (["docker/requirements.txt"], "docker/requirements.txt"),
        (["envs/environment.yml"], "envs/environment.yml"),
        (["conda_env.yaml"], "conda_env.yaml"),
        (["conda-env.yml"], "conda-env.yml"),
        (["environment_train.yml"], "environment_train.yml"),
        (["../requirements.txt"], "../requirements.txt"),
        (["../environment.yml", "docker/requirements.txt"], "../environment.yml"),
        (["../requirements/prod.txt", "../requirements/test.txt"], "../requirements/prod.txt"),
        (["../Pipfile.lock"], "../Pipfile.lock"),
        (["../pyproject.toml"], "../pyproject.toml"),
        (["../setup.py"], "../setup.py"),
        (["../../requirements.txt"], None),
        (["requirements_a.txt", "requirements_b.txt"], None),
        (["data/train.txt"], None),
        (["docs/requirements.txt"], None),
        (["Dockerfile"], None),
    ],
)
def test_an_unnamed_environment_is_looked_for(tmp_path: Path, files: list[str], taken: str | None) -> None:
    contents: dict[str, str] = {
        "pyproject.toml": '[project]\nname = "x"\nversion = "1"\n',
        "Pipfile.lock": '{"default": {"six": {"version": "==1.17.0"}}}',
        "setup.py": "setup(install_requires=['six'])\n",
    }
    top = tmp_path / "top"
    project = top / "project"
    project.mkdir(parents=True)
    for name in files:
        yaml = name.endswith((".yml", ".yaml"))
        content = contents.get(name.rpartition("/")[2], "dependencies: [six]\n" if yaml else "six\n")
        write(project, {name: content})
    asked = read_asked(EnvironmentRequest(), project, root=top)
    if taken is None:
        assert [it.code for it in asked.findings] == ["no-environment"]
    else:
        assert asked.summary.startswith(f"{taken} (inferred)")
        assert [it.code for it in asked.findings] == ["inferred-environment"]
    again = env.read(EnvironmentRequest(), project, manager=None, root=top)
    assert again.summary.startswith(asked.summary)


def test_a_requirement_file_may_be_named_as_an_environment(tmp_path: Path) -> None:
    write(tmp_path, {"requirements.txt": "six\n"})
    for key in ("conda_env", "python_env"):
        request = EnvironmentRequest(key=key, path="requirements.txt")
        assert texts(read_asked(request, tmp_path)) == ["six"]


# --- the last resort ----------------------------------------------------------------------------------

TRAIN = "import os\nimport mlflow\nimport mlflow.sklearn\nfrom PIL import Image\n"


def test_where_nothing_names_an_environment_the_imports_do(tmp_path: Path) -> None:
    asked = read_asked(EnvironmentRequest(), write(tmp_path, {"train.py": TRAIN}))
    assert texts(asked) == ["mlflow", "pillow", "scikit-learn"]
    assert [str(item.place) for item in asked.requirements[:2]] == ["train.py:2:1", "train.py:4:1"]
    assert asked.summary == "imports: 3 requirements"
    assert asked.adaptations == (
        (
            "no environment is named and no file lists packages: those that the sources import are used,"
            " mlflow, pillow, scikit-learn; implied: scikit-learn (for mlflow.sklearn)"
        ),
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("conda.yaml", ""),
        ("conda.yaml", "name: x\nchannels: [defaults]\ndependencies:\n"),
        ("conda.yaml", "dependencies:\n  - python=3.9\n  - pip\n"),
        ("conda.yaml", "dependencies: [python=3.9, pip, {pip: []}]\n"),
        ("python_env.yaml", "python: '3.9'\nbuild_dependencies: [pip]\n"),
        ("requirements.txt", "\n# none yet\n"),
    ],
)
def test_where_the_file_is_empty_too(tmp_path: Path, name: str, content: str) -> None:
    write(tmp_path, {name: content, "train.py": TRAIN})
    keys: dict[str, Any] = {"conda.yaml": "conda_env", "python_env.yaml": "python_env"}
    for request in (EnvironmentRequest(), EnvironmentRequest(key=keys.get(name), path=name)):
        asked = read_asked(request, tmp_path)
        assert texts(asked) == ["mlflow", "pillow", "scikit-learn"]
        assert f"{name} names no packages" in asked.adaptations[-1]
        assert asked.python == ("3.9" if "3.9" in content else None)


def test_an_empty_file_gives_way_to_another_that_lies_there(tmp_path: Path) -> None:
    write(tmp_path, {"conda.yaml": "", "requirements.txt": "six\n"})
    asked = read_asked(EnvironmentRequest(key="conda_env", path="conda.yaml"), tmp_path)
    assert texts(asked) == ["six"]
    assert asked.adaptations[0] == "conda.yaml names no packages: requirements.txt is used"


def test_a_file_with_a_python_alone_is_enough_for_code_that_imports_nothing(tmp_path: Path) -> None:
    asked = asked_of(tmp_path, "python: '3.9'\n", "python_env.yaml")
    assert (asked.python, texts(asked), asked.summary) == (
        "3.9",
        [],
        "python_env.yaml: no packages, Python 3.9",
    )


@pytest.mark.parametrize(
    "setup",
    [
        "setup(name='x', packages=find_packages())",
        "setup(name='x',\n    # install_requires=required,\n)",
        "setup(name='x', install_requires=[])",
    ],
)
def test_a_package_that_names_no_dependencies_gets_its_imports(tmp_path: Path, setup: str) -> None:
    asked = read_asked(EnvironmentRequest(), write(tmp_path, {"setup.py": setup, "train.py": TRAIN}))
    assert texts(asked) == ["mlflow", "pillow", "scikit-learn"]
    assert [local.path for local in asked.local] == ["."]


@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        ('"^1.2.3"', "x>=1.2.3,<2"),
        ('"^0.2.3"', "x>=0.2.3,<0.3"),
        ('"~1.2"', "x>=1.2,<1.3"),
        ('"*"', "x"),
        ('"1.2"', "x==1.2"),
        ('">=1,<2"', "x>=1,<2"),
        ('{version = "^1", extras = ["a", "b"]}', "x[a,b]>=1,<2"),
        ('{git = "https://host.example/x.git", tag = "v1"}', "x @ git+https://host.example/x.git@v1"),
        ('{version = "^1", markers = "os_name == \'nt\'"}', "x>=1,<2 ; (os_name == 'nt')"),
    ],
)
def test_poetrys_dependencies_are_installed_where_there_is_no_package(
    tmp_path: Path, version: str, wanted: str
) -> None:
    manifest = f'[tool.poetry]\nname = "demo"\n[tool.poetry.dependencies]\npython = "^3.8"\nx = {version}\n'
    asked = asked_of(tmp_path, manifest, "pyproject.toml")
    assert (texts(asked), asked.python, asked.local) == ([wanted], ">=3.8,<4", ())


def test_a_package_of_poetry_is_installed(tmp_path: Path) -> None:
    write(tmp_path, {"demo/__init__.py": ""})
    asked = asked_of(tmp_path, '[tool.poetry]\nname = "demo"\n', "pyproject.toml")
    assert [local.path for local in asked.local] == ["."]


@pytest.mark.parametrize(
    "manifest",
    ["tool = 1\n", "project = 2\n", "[tool]\npoetry = 3\n", "[project]\nname = 4\ndependencies = 5\n"],
)
def test_a_manifest_of_nonsense_is_no_reason_to_fall(tmp_path: Path, manifest: str) -> None:
    write(tmp_path, {"train.py": TRAIN})
    assert asked_of(tmp_path, manifest, "pyproject.toml").kind == "venv"


def test_an_option_that_names_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        asked_of(tmp_path, "six\n-e\n")
    assert str(caught.value.place) == "requirements.txt:2:1"


# --- exports ------------------------------------------------------------------------------------------

BROUGHT_ALONG = ["certifi", "idna", "zipp", "cycler", "kiwisolver", "greenlet", "mako", "smmap"]


@pytest.mark.parametrize(
    ("lines", "exported"),
    [
        ([f"p{n}==1.{n}" for n in range(20)] + [f"{name}==1.0" for name in BROUGHT_ALONG], True),
        ([f"p{n}" for n in range(15)] + BROUGHT_ALONG, True),
        ([f"p{n}==1.{n}" for n in range(40)], False),
        (["mlflow==2.9.2", "cloudpickle==3.0.0", *(f"{name}==1.0" for name in BROUGHT_ALONG)], False),
        ([f"p{n}>=1" for n in range(40)] + BROUGHT_ALONG[:5], False),
    ],
    ids=["frozen", "names alone", "long and meant", "short", "ranges"],
)
def test_the_list_of_a_machine_is_recognised(tmp_path: Path, lines: list[str], exported: bool) -> None:
    assert asked_of(tmp_path, "\n".join(lines) + "\n").exported is exported


# --- a lock of our own --------------------------------------------------------------------------------


def lock(directory: Path, asked: Asked) -> None:
    write(
        directory,
        {
            "pylock.toml": 'lock-version = "1.0"\ncreated-by = "mlrun"\npackages = []\n'
            f'[tool.mlrun]\nasked = "{asked_digest(asked)}"\npython = "3.11.7"\n'
        },
    )


@pytest.mark.parametrize("key", [None, "python_env"])
def test_our_own_lock_counts_more_than_what_it_was_made_from(tmp_path: Path, key: Any) -> None:
    write(tmp_path, {"python_env.yaml": "python: '3.10'\ndependencies: [six]\n"})
    request = EnvironmentRequest(key=key, path="python_env.yaml" if key else None)
    lock(tmp_path, read_asked(request, tmp_path))
    asked = read_asked(request, tmp_path)
    assert (asked.lock, asked.python, asked.python_from) == ("pylock.toml", "3.11.7", "pylock.toml")
    assert asked.findings == ()
    assert texts(read_asked(request, tmp_path, locked=False)) == ["six"]


def test_a_lock_that_is_behind_is_noticed_and_used(tmp_path: Path) -> None:
    write(tmp_path, {"requirements.txt": "six\n"})
    lock(tmp_path, read_asked(EnvironmentRequest(), tmp_path))
    write(tmp_path, {"requirements.txt": "six # the same\n"})
    assert read_asked(EnvironmentRequest(), tmp_path).findings == ()
    write(tmp_path, {"requirements.txt": "six<2\n"})
    asked = read_asked(EnvironmentRequest(), tmp_path)
    [finding] = asked.findings
    assert (asked.lock, finding.code, finding.hint) == (
        "pylock.toml",
        "stale-lock",
        "`mlrun lock` makes it anew",
    )


def test_a_lock_of_others_gives_way_to_what_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"pylock.toml": 'lock-version = "1.0"\n', "python_env.yaml": "dependencies: [six]\n"})
    asked = read_asked(EnvironmentRequest(key="python_env", path="python_env.yaml"), tmp_path)
    assert (asked.lock, texts(asked)) == (None, ["six"])


def test_a_manifest_that_changes_makes_a_lock_stale(tmp_path: Path) -> None:
    manifest = '[project]\nname = "x"\nversion = "1"\ndependencies = ["six"]\n'
    write(tmp_path, {"pyproject.toml": manifest})
    lock(tmp_path, read_asked(EnvironmentRequest(), tmp_path))
    write(tmp_path, {"pyproject.toml": manifest.replace("six", "idna")})
    assert [it.code for it in read_asked(EnvironmentRequest(), tmp_path).findings] == ["stale-lock"]
