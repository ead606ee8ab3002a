"""Lists cut down to what the code imports, and loosened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlrun.env.asking.asked import read_asked
from mlrun.env.asking.reduction import (
    loosened,
    reduced,
    shrinking,
    under_its_own_name,
    without_unreachable,
)
from mlrun.env.values import Asked, Site
from mlrun.files import Cache
from mlrun.model import Caller, EnvironmentRequest

if TYPE_CHECKING:
    from pathlib import Path

FREEZE = """\
attrs==22.1.0
cycler==0.11.0
h5py==3.7.0
kiwisolver==1.4.4
matplotlib==3.6.2
mlflow==2.0.1
numpy==1.23.5
pandas==1.5.2
PyYAML==6.0
scikit-learn==1.1.3
torch @ https://example.org/torch-1.13.0-cp310-cp310-linux_x86_64.whl
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    project = tmp_path / "project"
    project.mkdir()
    (project / "requirements.txt").write_text(FREEZE)
    (project / "train.py").write_text("import pandas as pd\nimport mlflow.sklearn\nimport yaml\n")
    caller = Caller(directory=str(tmp_path), variables={})
    return Site(directory=project, tree="t", cache=Cache(tmp_path / "cache"), caller=caller)


def asked_of(site: Site) -> Asked:
    return read_asked(EnvironmentRequest(), site.directory)


def texts(asked: Asked | None) -> list[str]:
    assert asked is not None
    return [item.text for item in asked.requirements]


def test_a_list_is_cut_down_to_what_is_imported_and_implied(site: Site) -> None:
    smaller = reduced(asked_of(site), site)
    assert texts(smaller) == [
        "mlflow==2.0.1",
        "pandas==1.5.2",
        "PyYAML==6.0",
        "scikit-learn==1.1.3",
        "torch @ https://example.org/torch-1.13.0-cp310-cp310-linux_x86_64.whl",
    ]


def test_a_repository_that_nothing_imports_is_left_out(site: Site) -> None:
    """`pip freeze` lists what was installed with `-e` so, the project itself above all."""
    (site.directory / "requirements.txt").write_text(
        "pandas==1.5.2\n-e git+https://example.org/me/own.git@0f3c#egg=own\n"
        "mlflow @ git+https://example.org/fork/mlflow.git\n"
    )
    kept = ["pandas==1.5.2", "mlflow @ git+https://example.org/fork/mlflow.git"]
    assert texts(reduced(asked_of(site), site)) == kept


def test_what_is_left_out_still_decides_its_version(site: Site) -> None:
    smaller = reduced(asked_of(site), site)
    assert smaller is not None
    assert "numpy==1.23.5" in [item.text for item in smaller.constraints]


def test_how_much_was_left_out_is_said(site: Site) -> None:
    smaller = reduced(asked_of(site), site)
    assert smaller is not None
    assert smaller.adaptations[-1] == (
        "cut down to the 5 of 11 requirements that the code imports;"
        " left out attrs, cycler, h5py, kiwisolver, matplotlib, numpy"
    )


def test_where_all_is_imported_nothing_is_cut(site: Site) -> None:
    (site.directory / "requirements.txt").write_text("pandas==1.5.2\nmlflow\nscikit-learn\nPyYAML\n")
    assert reduced(asked_of(site), site) is None


def test_where_no_source_imports_anything_nothing_is_cut(site: Site) -> None:
    (site.directory / "train.py").write_text("print('hello')\n")
    assert reduced(asked_of(site), site) is None


def test_an_import_that_the_code_can_do_without_stays(site: Site) -> None:
    source = "import pandas\ntry:\n    import h5py\nexcept ImportError:\n    h5py = None\n"
    (site.directory / "train.py").write_text(source)
    assert "h5py==3.7.0" in texts(reduced(asked_of(site), site))


def test_loosening_goes_step_by_step_to_its_end(site: Site) -> None:
    (site.directory / "requirements.txt").write_text(
        'pandas==1.5.2\nmlflow==2.0.1 ; python_version > "3.7"\n'
        "scikit-learn==1.*\nnumpy==1.23.5\nattrs==22.1.0\n"
    )
    steps = list(shrinking(asked_of(site), site))
    assert [texts(step) for step in steps] == [
        ["pandas==1.5.2", 'mlflow==2.0.1 ; python_version > "3.7"', "scikit-learn==1.*"],
        ["pandas==1.5.2", 'mlflow==2.0.1 ; python_version > "3.7"', "scikit-learn==1.*"],
        ["pandas==1.5.*", 'mlflow==2.0.* ; python_version > "3.7"', "scikit-learn==1.*"],
        ["pandas", 'mlflow ; python_version > "3.7"', "scikit-learn"],
    ]
    assert [len(step.constraints) for step in steps] == [1, 0, 0, 0]
    assert steps[-1].adaptations[1:] == (
        "no longer held to the versions of numpy",
        "any version is taken of mlflow, pandas, scikit-learn",
    )


def test_an_unpinned_list_cannot_be_loosened(site: Site) -> None:
    (site.directory / "requirements.txt").write_text("pandas>=1\nmlflow\n")
    assert loosened(asked_of(site), site) is None


def test_a_guess_that_no_index_may_have_goes_first(site: Site) -> None:
    (site.directory / "requirements.txt").unlink()
    (site.directory / "train.py").write_text("import pandas\nimport sklearn\nimport somebodys_tools\n")
    [smaller] = shrinking(asked_of(site), site)
    assert texts(smaller) == ["pandas", "scikit-learn"]
    assert smaller.adaptations[-1].endswith("under that name: somebodys-tools")


def test_a_public_index_that_cannot_be_reached_is_left_out_and_no_other(site: Site) -> None:
    (site.directory / "requirements.txt").write_text(
        "--extra-index-url https://download.pytorch.org/whl/cpu\n"
        "-f https://data.pyg.org/whl/x.html\n"
        "-i https://pypi.tuna.tsinghua.edu.cn/simple\n"
        "--extra-index-url https://u:p@private.example/simple\nsix\n"
    )
    asked = asked_of(site)
    failure = (
        "dns error: Failed to fetch: `https://download.pytorch.org/whl/cpu/six/`,"
        " `https://private.example/simple/six/`,"
        " https://pypi.tuna.tsinghua.edu.cn/simple/six/"
    )
    found = without_unreachable(asked, failure)
    assert found is not None
    assert [value for _, value in found[0].options] == [
        "https://data.pyg.org/whl/x.html",
        "https://u:p@private.example/simple",
    ]
    assert found[1] == "without download.pytorch.org, pypi.tuna.tsinghua.edu.cn, which cannot be reached"
    assert without_unreachable(asked, "dns error: `https://pypi.org/simple/six/`") is None


@pytest.mark.parametrize(
    ("line", "taken"),
    [
        ("tabulate @ git+https://host.example/a/python-tabulate@v0.9.0", "tabulate==0.9.0"),
        (
            "tabulate[x] @ git+https://host.example/a/t.git ; os_name == 'posix'",
            "tabulate[x] ; os_name == 'posix'",
        ),
        ("tabulate @ https://host.example/a/t/archive/v0.9.0.zip", "tabulate==0.9.0"),
        ("tabulate @ https://host.example/tabulate-0.9.0-py3-none-any.whl", "tabulate==0.9.0"),
        ("somebodys-tools @ git+https://host.example/a/tools", None),
        ("tabulate @ git+https://other.example/a/python-tabulate", None),
    ],
)
def test_a_well_known_package_comes_from_the_index_where_its_repository_is_gone(
    site: Site, line: str, taken: str | None
) -> None:
    (site.directory / "requirements.txt").write_text(f"six\n{line}\n")
    found = without_unreachable(asked_of(site), "fatal: … Could not resolve host: host.example")
    assert (texts(found[0])[1] if found else None) == taken


@pytest.mark.parametrize(
    ("unknown", "taken", "said"),
    [
        ("python-graphviz", ["six", "graphviz==0.13.2"], "is taken as graphviz, its name outside conda"),
        ("matplotlib_base", ["six", "matplotlib==0.13.2"], "is taken as matplotlib"),
        ("libgcc-ng", ["six"], "without libgcc-ng, a package of conda's"),
        ("not-there", None, ""),
        ("numpy", None, ""),
        ("r-base", None, ""),
    ],
)
def test_what_only_conda_calls_so_is_taken_by_its_name_on_the_index(
    site: Site, unknown: str, taken: list[str] | None, said: str
) -> None:
    (site.directory / "requirements.txt").write_text(f"six\n{unknown}==0.13.2\n")
    found = under_its_own_name(asked_of(site), unknown)
    assert (texts(found[0]) if found else None) == taken
    assert said in (found[1] if found else "")


def test_one_that_another_package_asks_for_is_not_ours_to_rename(site: Site) -> None:
    (site.directory / "requirements.txt").write_text("six\n")
    assert under_its_own_name(asked_of(site), "python-graphviz") is None
