"""Conda's environment files, as people write them, read for a virtual environment."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from mlrun import env
from mlrun.env.asking.conda_translate import unknown_name
from mlrun.errors import EnvironmentBuildError, MlrunError, ProjectError
from mlrun.model import Caller, EnvironmentRequest

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.env import Asked

CONDA = EnvironmentRequest(key="conda_env", path="conda.yaml")


def read(directory: Path, text: str | bytes, *, path: str | None = None) -> Asked:
    """A conda file, read for a virtual environment; `path` is the caller's PATH."""
    (directory / "conda.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    caller = None if path is None else Caller(directory=str(directory), variables={"PATH": path})
    return env.read(CONDA, directory, manager="venv", caller=caller)


def dependencies(*lines: str) -> str:
    return "dependencies:\n" + "".join(f"- {line}\n" for line in lines)


def requirements(asked: Asked) -> list[str]:
    return [item.text for item in asked.requirements]


# --- versions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "requirement"),
    [
        ("numpy", "numpy"),
        ("Numpy", "numpy"),
        ("numpy=1.19", "numpy==1.19.*"),
        ("numpy=1.19.*", "numpy==1.19.*"),
        ("numpy = 1.19", "numpy==1.19.*"),
        ("numpy==1.19.2", "numpy==1.19.2"),
        ("numpy==1.19.*", "numpy==1.19.*"),
        ("numpy 1.19.2", "numpy==1.19.2"),
        ("numpy=1.19.2=py38h54aff64_0", "numpy==1.19.2"),
        ("numpy==1.19.2=py38_0", "numpy==1.19.2"),
        ("numpy 1.19.2 py38_0", "numpy==1.19.2"),
        ("numpy=1.19=*", "numpy==1.19"),
        ("numpy=*=py38_0", "numpy"),
        ("numpy=*", "numpy"),
        ("numpy>=1.19,<2", "numpy>=1.19,<2"),
        ("numpy >=1.19, <2", "numpy>=1.19,<2"),
        ("numpy >= 1.19", "numpy>=1.19"),
        ("numpy>=1.19<2", "numpy>=1.19,<2"),
        ("numpy>=1.19.*", "numpy>=1.19"),
        ("numpy~=1.19", "numpy~=1.19"),
        ("numpy!=1.19.3", "numpy!=1.19.3"),
        ("numpy!=1.19.*", "numpy!=1.19.*"),
        ("numpy 1.18.*|1.19.*", "numpy==1.19.*"),
        ("numpy[version='>=1.2,<2']", "numpy>=1.2,<2"),
        ("numpy[version='1.19.2', build=py38_0]", "numpy==1.19.2"),
        ("conda-forge::numpy=1.19", "numpy==1.19.*"),
        ("conda-forge/linux-64::numpy", "numpy"),
        ("numpy=2.0.0rc1", "numpy==2.0.0rc1.*"),
        ("numpy==2.0.0rc1", "numpy==2.0.0rc1"),
        ("https://conda.anaconda.org/conda-forge/linux-64/numpy-1.19.2-py38_0.conda", "numpy==1.19.2"),
        ("dask-core[complete]=2", "dask[complete]==2.*"),
        ("opencv=3.4.2=py37_1", "opencv-python-headless==3.4.2.*"),
        ("pytorch=1.4.0=py3.7_cuda10.1.243_cudnn7.6.3_0", "torch==1.4.0"),
        ("ucx-like=1.8.0+gf6ec8d4=cuda10.2_20", "ucx-like==1.8.0"),
        ("fvcore==0.1.5.post20220512", "fvcore==0.1.5.post20220512"),
        ("_openmp_mutex==4.5=0_gnu", None),
        ("dgl-cuda10.1=0.4.3post2=py37_0", "dgl==0.4.3post2"),
        ("torch==1.9.0", "torch==1.9.0"),
        ("tzdata=2022g=h04d1e81_0", "tzdata==2022.7"),
        ("tzdata=2021e", "tzdata==2021.5.*"),
        ("dataclasses=0.8", 'dataclasses==0.8.* ; python_version < "3.7"'),
    ],
)
def test_a_match_spec_means_the_same_to_pip(tmp_path: Path, spec: str, requirement: str | None) -> None:
    asked = read(tmp_path, dependencies("python=3.8", "tqdm", f'"{spec}"'))
    assert requirements(asked)[1:] == ([requirement] if requirement else [])


@pytest.mark.parametrize(
    ("spec", "python"),
    [
        ("python", None),
        ("python=3", "3"),
        ("python=3.8", "3.8"),
        ("python==3.8.2", "3.8.2"),
        ("python 3.7.*", "3.7"),
        ("python=3.7.13=hash_0", "3.7.13"),
        ("python=3.8.*=*_cpython", "3.8"),
        ("python>=3.6", ">=3.6"),
        ("python >=3.6,<3.9.0a0", ">=3.6,<3.9.0"),
        ("python[version='>=3.8']", ">=3.8"),
        ("python 3.7|3.8", "3.8"),
        ("conda-forge::python=3.9", "3.9"),
        ("python<3.10", "<3.10"),
        ("python<4", "<4"),
        ("'python: 3.8'", None),
    ],
)
def test_a_python_is_named_as_a_match_spec(tmp_path: Path, spec: str, python: str | None) -> None:
    if spec.startswith("'"):
        assert read(tmp_path, "dependencies:\n- python: 3.8\n").python == "3.8"
    else:
        assert read(tmp_path, dependencies(f'"{spec}"')).python == python


def test_what_is_no_python_is_left_out_and_said(tmp_path: Path) -> None:
    asked = read(tmp_path, dependencies("python==8.4.0", "numpy"))  # `ipython`, cut by a tool
    assert (asked.python, requirements(asked)) == (None, ["numpy"])
    assert [finding.code for finding in asked.findings] == ["no-such-python"]


def test_a_requirement_file_may_be_named_by_a_url(tmp_path: Path) -> None:
    (tmp_path / "reqs.txt").write_text("tqdm\n")
    assert requirements(read(tmp_path, "dependencies:\n- pip:\n  - -r file:reqs.txt\n")) == ["tqdm"]


def test_the_post_releases_that_conda_dates_are_not_pypi_s(tmp_path: Path) -> None:
    asked = read(tmp_path, dependencies("setuptools=46.0.0.post20200309=py37_0"))
    assert [item.text for item in asked.build_requirements] == ["setuptools==46.0.0"]


def test_a_version_that_pypi_cannot_have_is_left_out_and_said(tmp_path: Path) -> None:
    asked = read(tmp_path, dependencies("some-thing=2022xyz=h04d1e81_0"))
    assert requirements(asked) == ["some-thing"]
    said = "versions that PyPI cannot have: some-thing without its version 2022xyz"
    assert said in asked.adaptations


def test_build_strings_name_the_python_where_nothing_else_does(tmp_path: Path) -> None:
    asked = read(tmp_path, dependencies("python=3", "scikit-survival=0.17.0=py37h5685391_0", "tqdm=4=py_0"))
    assert asked.python == "3.7"
    assert asked.adaptations[-1] == "Python 3.7, which the build strings in conda.yaml name"


def test_build_strings_that_disagree_name_no_python(tmp_path: Path) -> None:
    asked = read(tmp_path, dependencies("scipy=1.5.0=py37_0", "numpy=1.19.2=py38_0"))
    assert asked.python is None


# --- shapes of files ----------------------------------------------------------------------------------

PIP_SECTIONS = {
    "a list": "- pip:\n  - six\n  - idna>=3\n",
    "deeper": "- pip:\n    - six\n    - idna>=3\n",
    "twice": "- pip:\n  - six\n- pip:\n  - idna>=3\n",
    "nested": "- pip:\n  - pip:\n    - six\n    - idna>=3\n",
    "one text": "- pip: six\n- pip: idna>=3\n",
    "an empty one too": "- pip:\n- pip: [six, 'idna>=3']\n",
    "a blank before the colon": "- pip :\n  - six\n  - idna>=3\n",
}


@pytest.mark.parametrize("text", PIP_SECTIONS.values(), ids=PIP_SECTIONS.keys())
def test_pip_sections_come_in_many_shapes(tmp_path: Path, text: str) -> None:
    asked = read(tmp_path, f"dependencies:\n- python=3.8\n- pip\n{text}")
    assert requirements(asked) == ["six", "idna>=3"]
    assert asked.adaptations == ()
    assert asked.summary == "conda.yaml: 2 requirements, Python 3.8"


def test_a_pip_section_takes_all_that_a_requirement_file_takes(tmp_path: Path) -> None:
    (tmp_path / "reqs.txt").write_text("tqdm\n")
    (tmp_path / "limits.txt").write_text("idna<4\n")
    (tmp_path / "setup.py").touch()
    lines = (
        *("-r reqs.txt", "-c limits.txt", "-e .", "--extra-index-url https://host/simple", "six  # why"),
        *("git+https://host/x.git@main#egg=x", "https://host/y-1.0-py3-none-any.whl"),
    )
    text = "dependencies:\n- pip:\n" + "".join(f'  - "{line}"\n' for line in lines)
    asked = read(tmp_path, text)
    assert requirements(asked) == [
        *("tqdm", "six", "git+https://host/x.git@main#egg=x", "https://host/y-1.0-py3-none-any.whl")
    ]
    assert [item.text for item in asked.constraints] == ["idna<4"]
    assert [local.path for local in asked.local] == ["."]
    assert asked.options == (("extra-index-url", "https://host/simple"),)


def test_dependencies_may_be_a_mapping(tmp_path: Path) -> None:
    asked = read(
        tmp_path, "dependencies:\n  python: 3.8\n  numpy: 1.19\n  scipy: '>=1.5'\n  tqdm:\n  pip: [six]\n"
    )
    assert (asked.python, requirements(asked)) == ("3.8", ["six", "numpy==1.19.*", "scipy>=1.5", "tqdm"])
    assert asked.adaptations[-1].startswith(
        "read as it was meant in conda.yaml: `python: 3.8` as `python=3.8`"
    )


def test_conda_s_pins_among_pip_s_are_meant_well(tmp_path: Path) -> None:
    asked = read(tmp_path, "dependencies:\n- pip:\n  - numpy=1.19\n  - scipy=1.5.2=py38_0\n  - six==1.16\n")
    assert requirements(asked) == ["numpy==1.19.*", "scipy==1.5.2", "six==1.16"]
    said = "`numpy=1.19` as `numpy==1.19.*`, `scipy=1.5.2=py38_0` as `scipy==1.5.2`"
    assert asked.adaptations == (f"read as it was meant in conda.yaml: {said}",)


def test_lines_of_pip_among_conda_s_are_meant_well(tmp_path: Path) -> None:
    (tmp_path / "reqs.txt").write_text("tqdm\n")
    marked = 'idna ; python_version < "4"'
    text = dependencies("-r reqs.txt", "git+https://host/x.git", f"'{marked}'", "six")
    asked = read(tmp_path, text)
    assert requirements(asked) == ["tqdm", "git+https://host/x.git", marked, "six"]
    said = "lines of pip among conda's packages in conda.yaml: -r reqs.txt, git+https://host/x.git, "
    assert said + marked in asked.adaptations


@pytest.mark.parametrize(
    "data",
    [
        "name: x\r\nchannels:\r\n- defaults\r\ndependencies:\r\n- numpy=1.19\r\n".encode("utf-16"),
        "dependencies: [numpy=1.19]\n".encode("utf-16-le"),
        "\ufeffdependencies: [numpy=1.19]\n".encode(),
        b"# made by hand\nprefix: /opt/conda/envs/x\ndependencies:\n  - numpy=1.19  # not newer\n",
        b"name: x\nchannels:\ndependencies:\n  - numpy=1.19\n  -\n  - ''\n",
        b"channels: !!python/tuple\n- !!python/unicode 'defaults'\ndependencies: [numpy=1.19]\n",
        b"name: null\nplatforms: [linux-64]\ndependencies: numpy=1.19\n",
    ],
)
def test_files_of_all_editors_are_read(tmp_path: Path, data: bytes) -> None:
    asked = read(tmp_path, data)
    assert requirements(asked) == ["numpy==1.19.*"]
    assert [finding.code for finding in asked.findings] == []


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n"])
def test_an_empty_file_asks_for_nothing(tmp_path: Path, text: str) -> None:
    asked = read(tmp_path, text)
    assert asked.summary == "conda.yaml: no packages"
    assert [finding.code for finding in asked.findings] == ["empty-environment"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "dependencies:\n- numpy\n- name: x\n",
            "conda.yaml:3:3: expected a requirement or `pip:`, found `name:`",
        ),
        ("dependencies:\n- numpy=abc\n", "conda.yaml:2:3: `numpy=abc` is no conda package"),
        ("dependencies:\n- pip\n  - numpy\n", "conda.yaml:2:3: `pip - numpy` is no conda package"),
        ("dependencies:\n- =1.0\n", "conda.yaml:2:3: `=1.0` is no conda package"),
        ("dependencies:\n- python=three\n", "conda.yaml:2:3: `python=three` is no conda package"),
        (
            "- numpy\n",
            "conda.yaml:1:1: conda.yaml is no environment file: expected keys such as `dependencies`",
        ),
    ],
)
def test_what_makes_no_sense_is_an_error_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProjectError) as caught:
        read(tmp_path, text)
    assert str(caught.value) == message


def test_variables_reach_the_environment(tmp_path: Path) -> None:
    text = "variables:\n  OMP_NUM_THREADS: 1\n  EMPTY:\n  FLAG: yes\ndependencies: [six]\n"
    asked = read(tmp_path, text)
    assert asked.conda is not None
    assert asked.conda.variables == (("OMP_NUM_THREADS", "1"), ("EMPTY", ""), ("FLAG", "yes"))
    assert asked.summary == "conda.yaml: 1 requirement, 3 variables (conda packages from PyPI)"


def test_variables_reach_a_container_too(tmp_path: Path) -> None:
    (tmp_path / "conda.yaml").write_text("variables: {A: b}\ndependencies: [six]\n")
    asked = env.read(CONDA, tmp_path, manager="docker")
    assert asked.container is not None
    assert asked.container.variables == (("A", "b"),)


def test_variables_count_where_the_packages_are_inferred(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import numpy\n")
    asked = read(tmp_path, "variables: {A: b}\ndependencies: [python=3.11, pip]\n")
    assert asked.conda is not None
    assert (requirements(asked), asked.conda.variables) == (["numpy"], (("A", "b"),))


def test_what_the_file_says_is_kept_for_a_real_conda(tmp_path: Path) -> None:
    text = "channels: [conda-forge, nodefaults]\n" + dependencies(
        "python=3.8", "pytorch::pytorch=1.4", "pip: [six]"
    )
    asked = read(tmp_path, text)
    assert asked.conda is not None
    assert asked.conda.channels == ("conda-forge", "nodefaults")
    assert [item.text for item in asked.conda.specs] == ["python=3.8", "pytorch::pytorch=1.4"]
    assert [item.text for item in asked.conda.pip] == ["six"]


# --- what is said -------------------------------------------------------------------------------------


def test_a_translation_says_what_it_changed(tmp_path: Path) -> None:
    text = dependencies(
        *("python=3.8", "pip", "pytorch=1.7", "cudatoolkit=10.2", "py-opencv", "numpy=1.19"),
        *("libpng", "some-odd-thing", "pywin32", "conda-build"),
    )
    asked = read(tmp_path, text)
    assert asked.summary == "conda.yaml: 4 requirements, Python 3.8 (conda packages from PyPI)"
    assert asked.adaptations == (
        "conda.yaml: conda packages are installed from PyPI",
        "conda packages under their PyPI names: pytorch → torch, py-opencv → opencv-python-headless",
        "conda packages assumed to have the same name on PyPI: some-odd-thing",
        "conda packages left out, since wheels, Python or the system bring them along: cudatoolkit, libpng",
        "conda packages left out, being for another system: pywin32",
        "conda packages left out, being conda's own tools: conda-build",
    )


def test_a_name_that_was_only_assumed_is_known_as_such(tmp_path: Path) -> None:
    asked = read(tmp_path, dependencies("numpy", "Some_Odd.Thing=1"))
    assert unknown_name(asked, "numpy") is None
    said = "`some_odd.thing` (conda.yaml:3:3) is a conda package without a known PyPI name"
    assert unknown_name(asked, "some-odd-thing") == said


def test_what_only_conda_has_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentBuildError) as caught:
        read(tmp_path, dependencies("numpy", "cudf=0.14", "graph-tool"))
    assert caught.value.code == "only-conda"
    assert (
        str(caught.value)
        == "conda.yaml:3:3: conda.yaml needs conda for cudf, graph-tool: PyPI does not have them"
    )
    assert "mlrun-cli[conda]" in (caught.value.hint or "")


def test_programs_are_left_to_the_machine_and_missed_where_it_lacks_them(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "git").write_text("#!/bin/sh\n")
    (tools / "git").chmod(0o755)
    text = dependencies("git", "openjdk=8", "graphviz", "r-base", "r-ggplot2", "six")
    asked = read(tmp_path, text, path=str(tools))
    assert requirements(asked) == ["six"]
    said = "conda packages left to the machine, being programs: git, openjdk, graphviz, r-base, r-ggplot2"
    assert said in asked.adaptations
    assert [finding.message for finding in asked.findings] == [
        "`java` is not on this machine; conda would install it from `openjdk=8`",
        "`dot` is not on this machine; conda would install it from `graphviz`",
        "`Rscript` is not on this machine; conda would install it from `r-base`",
    ]


def test_data_that_only_conda_has_is_missed(tmp_path: Path) -> None:
    asked = read(tmp_path, dependencies("spacy", "spacy-model-en_core_web_sm", "nltk_data"))
    assert requirements(asked) == ["spacy"]
    assert [finding.code for finding in asked.findings] == ["conda-data", "conda-data"]
    assert "spacy download en_core_web_sm" in (asked.findings[0].hint or "")


def test_packages_that_are_one_on_pypi_are_asked_once(tmp_path: Path) -> None:
    text = dependencies(
        "opencv=3.4.2", "py-opencv=3.4.2", "libopencv", "tensorflow=2.3=mkl_py38_0", "tensorflow-base=2.3=1"
    )
    assert requirements(read(tmp_path, text)) == ["opencv-python-headless==3.4.2.*", "tensorflow==2.3"]


@pytest.mark.parametrize(
    ("conda", "pip", "both"),
    [
        ("numpy=1.19", "numpy==1.21.6", ["numpy==1.21.6"]),
        ("pytorch=1.4", "torch==1.7.1", ["torch==1.7.1"]),
        ("numpy=1.19", "numpy", ["numpy", "numpy==1.19.*"]),
        ("numpy=1.19", "numpy>=1.18", ["numpy>=1.18", "numpy==1.19.*"]),
    ],
)
def test_what_pip_pins_overrules_conda(tmp_path: Path, conda: str, pip: str, both: list[str]) -> None:
    asked = read(tmp_path, f"dependencies:\n- {conda}\n- pip:\n  - {pip}\n")
    assert requirements(asked) == both
    overruled = [said for said in asked.adaptations if "overrules" in said]
    assert len(overruled) == (len(both) == 1)


def test_the_distribution_called_anaconda_stands_for_its_main_packages(tmp_path: Path) -> None:
    found = requirements(read(tmp_path, dependencies("anaconda=2020.11", "six")))
    assert {"numpy", "pandas", "scikit-learn", "matplotlib", "six"} <= set(found)


def machine(count: int) -> list[str]:
    """What `conda env export` lists, `count` packages of PyPI among it."""
    libraries = [f"lib{number}=1.{number}.0=h{number}_0" for number in range(20)]
    return [*(f"pkg{number}=1.{number}.0=py38_0" for number in range(count)), *libraries]


def test_the_export_of_a_machine_is_known_as_such(tmp_path: Path) -> None:
    text = dependencies(*machine(30), "cudf=0.14.0=py38_0", "dask=2.18.1=py_0", "pip: ['six==1.16']")
    asked = read(tmp_path, f"name: base\n{text}prefix: /opt/conda\n")
    assert asked.exported
    assert len(asked.requirements) == 32
    assert "dask==2.18.1" in requirements(asked)
    assert asked.python == "3.8"
    assert "conda packages left out, which PyPI does not have: cudf" in asked.adaptations
    assert any(said.endswith("lib11 and 8 more") for said in asked.adaptations)


def test_an_export_without_builds_is_known_too(tmp_path: Path) -> None:
    assert read(tmp_path, dependencies(*(f"pkg{number}=1.{number}.0" for number in range(40)))).exported
    assert read(tmp_path, dependencies(*(f"pkg{number}={number}.1" for number in range(40)))).exported


def test_a_file_written_by_hand_is_no_export(tmp_path: Path) -> None:
    assert not read(tmp_path, dependencies(*machine(3)[:5], "numpy", "pandas>=1")).exported
    assert not read(tmp_path, dependencies(*(f"pkg{number}" for number in range(40)))).exported


@pytest.mark.parametrize(
    "text", ["dependencies: {a: {b: c}}", "dependencies: [[numpy], [pip: [six]]]", "pip: x"]
)
def test_strange_shapes_end_in_a_reading_or_an_error_of_ours(tmp_path: Path, text: str) -> None:
    with contextlib.suppress(MlrunError):
        read(tmp_path, text)
