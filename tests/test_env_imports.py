"""What sources import, and which distributions that takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mlrun.env.asking.imports import entry_files, needed
from mlrun.env.asking.module_names import distribution_of
from mlrun.env.asking.pypi_names import name_of

if TYPE_CHECKING:
    from pathlib import Path


def names(directory: Path, *, root: Path | None = None) -> list[str]:
    return list(needed(directory, root=root).names)


def write(directory: Path, **files: str) -> Path:
    """`a__py` is `a.py`, `pkg_slash_a__py` is `pkg/a.py`."""
    for name, text in files.items():
        path = directory / name.replace("_slash_", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def project_file(*commands: str) -> str:
    points = (f"  e{number}: {{command: {json.dumps(text)}}}" for number, text in enumerate(commands))
    return "\n".join(["entry_points:", *points, ""])


@pytest.mark.parametrize(
    ("module", "distribution"),
    [
        ("sklearn.svm", "scikit-learn"),
        ("cv2", "opencv-python-headless"),
        ("PIL.Image", "pillow"),
        ("yaml", "PyYAML"),
        ("git", "GitPython"),
        ("google.cloud.storage", "google-cloud-storage"),
        ("google.cloud.aiplatform.v1", "google-cloud-aiplatform"),
        ("google.protobuf.message", "protobuf"),
        ("google.colab.drive", None),
        ("azure.storage.blob", "azure-storage-blob"),
        ("azure.identity", "azure-identity"),
        ("mpl_toolkits.mplot3d", "matplotlib"),
        ("tensorflow.keras.layers", "tensorflow"),
        ("pkg_resources", "setuptools"),
        ("somebodys_package.sub", "somebodys-package"),
        ("os.path", None),
        ("cPickle", None),
        ("tomllib", None),
        ("distutils.dir_util", None),
        ("_private", None),
        ("utils.metrics", None),
        ("evaluate", "evaluate"),
    ],
)
def test_a_module_is_held_by_a_distribution(module: str, distribution: str | None) -> None:
    assert distribution_of(module) == distribution


@pytest.mark.parametrize(
    ("requirement", "name"),
    [
        ("numpy", "numpy"),
        ("uvicorn[standard] >=0.2; python_version>'3'", "uvicorn"),
        ("torch @ https://example.org/torch.whl", "torch"),
        ("ruamel.yaml==0.17", "ruamel.yaml"),
        ("git+https://example.org/x.git", None),
        ("https://example.org/x.whl", None),
        ("./local", None),
        ("C:\\wheels\\x.whl", None),
    ],
)
def test_a_requirement_names_a_distribution(requirement: str, name: str | None) -> None:
    assert name_of(requirement) == name


def test_only_what_the_commands_run_counts(tmp_path: Path) -> None:
    write(
        tmp_path,
        MLproject=project_file("python train.py --alpha {a}", "python3 -m steps.score"),
        train__py="import helpers\n",
        helpers__py="import scipy\n",
        steps_slash_score__py="from . import shared\nimport joblib",
        steps_slash_shared__py="import lightgbm\n",
        steps_slash___init____py="",
        notebook_server__py="import streamlit\n",
    )
    assert names(tmp_path) == ["joblib", "lightgbm", "scipy"]


def test_a_shell_script_leads_to_what_it_runs(tmp_path: Path) -> None:
    write(
        tmp_path,
        MLproject=project_file("bash run.sh"),
        run__sh="set -e\npython src/fit.py\n",
        src_slash_fit__py="import xgboost\n",
        other__py="import spacy\n",
    )
    assert names(tmp_path) == ["xgboost"]


def test_a_script_behind_a_cd_is_found_by_its_name(tmp_path: Path) -> None:
    write(tmp_path, MLproject=project_file("cd code && python fit.py"), code_slash_fit__py="import polars\n")
    assert names(tmp_path) == ["polars"]


def test_a_project_without_commands_counts_as_a_whole_but_for_its_tests(tmp_path: Path) -> None:
    write(
        tmp_path,
        a__py="import pandas\n",
        setup__py="import wheel\n",
        tests_slash_test_a__py="import hypothesis\n",
        venv_slash_lib__py="import flask\n",
    )
    assert names(tmp_path) == ["pandas"]


def test_notebooks_count_where_there_is_nothing_else(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": "import markdown"},
        {
            "cell_type": "code",
            "source": ["!pip install x\n", "%matplotlib inline\n", "import seaborn as sns\n"],
        },
    ]
    write(tmp_path, eda__ipynb=json.dumps({"cells": cells}))
    assert names(tmp_path) == ["seaborn"]


def test_a_notebook_that_is_none_says_nothing(tmp_path: Path) -> None:
    assert names(write(tmp_path, eda__ipynb="[1, 2")) == []


def test_what_the_code_can_do_without_is_told_apart(tmp_path: Path) -> None:
    write(
        tmp_path,
        train__py=(
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    import only_for_types\n"
            "try:\n    import simplejson as json\nexcept ImportError:\n    import json\n"
            "try:\n    import tqdm\nexcept ImportError:\n    raise SystemExit('pip install tqdm')\n"
            "try:\n    import click\n    click.echo('hi')\nexcept Exception as e:\n    print(e)\n"
        ),
    )
    found = needed(tmp_path)
    assert found.names == ("click", "tqdm")
    assert found.optional == ("simplejson",)


def test_python_2_is_read_by_its_lines(tmp_path: Path) -> None:
    write(tmp_path, old__py="import urllib2, numpy as np\nfrom sklearn import svm\nprint 'hello'\n")
    assert names(tmp_path) == ["numpy", "scikit-learn"]


def test_a_use_implies_a_package_that_nobody_imports(tmp_path: Path) -> None:
    write(
        tmp_path,
        train__py=(
            "import mlflow, keras, pandas as pd\n"
            "mlflow.xgboost.log_model(None, 'm')\n"
            "pd.read_csv('x').to_parquet('y')\n"
        ),
    )
    assert needed(tmp_path).implied == (
        ("xgboost", "mlflow.xgboost"),
        ("pyarrow", "pandas' to_parquet"),
        ("tensorflow", "keras"),
    )


def test_keras_on_torch_takes_no_tensorflow(tmp_path: Path) -> None:
    assert names(write(tmp_path, a__py="import keras, torch\n")) == ["keras", "torch"]


def test_modules_anywhere_in_the_checkout_are_the_projects_own(tmp_path: Path) -> None:
    write(
        tmp_path,
        project_slash_train__py="import sys\nsys.path.append('../lib')\nimport tools.metrics, common\n",
        common__py="import scipy\n",
        lib_slash_tools_slash_metrics__py="import numba\n",
    )
    assert names(tmp_path / "project", root=tmp_path) == ["numba", "scipy"]


def test_a_folder_called_like_a_package_does_not_hide_it(tmp_path: Path) -> None:
    write(tmp_path, mlflow_slash_train__py="import mlflow\n", sklearn_slash_x__py="import sklearn\n")
    assert names(tmp_path) == ["mlflow", "scikit-learn"]


def test_relative_imports_climb(tmp_path: Path) -> None:
    write(
        tmp_path,
        MLproject=project_file("python -m pkg.sub.run"),
        pkg_slash_sub_slash_run__py="from ..base import thing\nfrom . import near\n",
        pkg_slash_base__py="import shap\n",
        pkg_slash_sub_slash_near__py="import optuna\n",
    )
    assert names(tmp_path) == ["optuna", "shap"]


def test_programs_that_commands_call_are_needed(tmp_path: Path) -> None:
    command = "dvc repro && papermill nb.ipynb out.ipynb && python -m pytest"
    write(tmp_path, MLproject=project_file(command), train__py="import numpy\n")
    assert names(tmp_path) == ["dvc", "numpy", "papermill", "pytest"]


def test_where_a_module_is_imported_is_known(tmp_path: Path) -> None:
    write(tmp_path, src_slash_train__py="\nimport os\nimport torch\n")
    [(name, place)] = needed(tmp_path).imported
    assert (name, str(place)) == ("torch", "src/train.py:3:1")


def test_sources_that_lie_in_a_circle_are_read_once(tmp_path: Path) -> None:
    write(tmp_path, a__py="import b\n", b__py="import a\nimport scipy\n")
    assert len(entry_files(tmp_path)) == 2
    assert names(tmp_path) == ["scipy"]
