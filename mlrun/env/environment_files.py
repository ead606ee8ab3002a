"""`python_env.yaml` and `conda.yaml`, read with the tolerance that published projects need.

The formats: MLflow's `python_env` (keys `python`, `build_dependencies`, `dependencies`) and conda's
environment file (`dependencies` with a nested `pip:`). Many files are written as one and named as the
other, so both are read by the same words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrun import yamlfile
from mlrun.env.requirements import Gathered, add_item
from mlrun.env.values import CondaAsked, Requirement
from mlrun.env.versions import normal_python
from mlrun.errors import EnvironmentBuildError, ProjectError
from mlrun.value import draft, field
from mlrun.yamlfile import ListNode, MapNode, Scalar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlrun.model import Place
    from mlrun.yamlfile import Node

# fmt: off
SAME_NAME_ON_PYPI = frozenset(
    {
        "beautifulsoup4", "bokeh", "boto3", "catboost", "category_encoders", "click", "cloudpickle",
        "cython", "dask", "django", "dvc", "fastapi", "flask", "gensim", "gunicorn", "h5py",
        "hydra-core", "hyperopt", "imageio", "imbalanced-learn", "ipykernel", "ipython", "jinja2",
        "joblib", "jupyter", "jupyterlab", "keras", "lightgbm", "lxml", "matplotlib", "mlflow",
        "mlflow-skinny", "mypy", "networkx", "nltk", "notebook", "numba", "numpy", "openpyxl",
        "optuna", "packaging", "pandas", "pandas-profiling", "patsy", "pillow", "plotly", "polars",
        "protobuf", "psutil", "psycopg2-binary", "pyarrow", "pydantic", "pymysql", "pyspark",
        "pytest", "python-dateutil", "python-dotenv", "pytz", "pyyaml", "requests", "s3fs",
        "scikit-image", "scikit-learn", "scipy", "seaborn", "shap", "six", "spacy", "sqlalchemy",
        "statsmodels", "sympy", "tabulate", "tensorboard", "tensorflow", "toml", "tqdm",
        "transformers", "typing-extensions", "tzdata", "urllib3", "wandb", "xgboost", "xlrd",
    }
)
# fmt: on
"""Conda packages that PyPI holds under the same name, with the same content."""

_BUILD_TOOLS = frozenset({"pip", "setuptools", "wheel"})
# fmt: off
_IN_ANY_PYTHON = frozenset(
    {
        "_libgcc_mutex", "_openmp_mutex", "bzip2", "ca-certificates", "expat", "ld_impl_linux-64",
        "libexpat", "libffi", "libgcc", "libgcc-ng", "libgomp", "libsqlite", "libstdcxx-ng", "libuuid",
        "libzlib", "ncurses", "openssl", "python_abi", "readline", "sqlite", "tk", "xz", "zlib",
    }
)
# fmt: on
"""What conda lists beside Python because its Python is made of it; an installed one brings its own."""

_KNOWN_KEYS = frozenset(
    {"python", "build_dependencies", "dependencies", "name", "channels", "prefix", "variables", "pip"}
)
_CONDA_SPEC = re.compile(r"(?:[\w.-]+::)?(?P<name>[\w.-]+)\s*(?P<version>[^\[\]]*)$")
_PYTHON = re.compile(r"(?:[\w.-]+::)?python(?![\w.-])", re.IGNORECASE)


@draft
class EnvironmentFile:
    """What such a file says."""

    python: str | None = None
    build: list[Requirement] = field(default_factory=list)
    gathered: Gathered = field(default_factory=Gathered)
    conda: list[Requirement] = field(default_factory=list)
    adaptations: list[str] = field(default_factory=list)
    conda_asked: CondaAsked | None = None


def read_environment_file(
    path: str, directory: Path, *, conda: bool, translate: bool = True
) -> EnvironmentFile:
    """Read one; `path` is relative to the project's `directory`. `conda` says which of the two it should be.

    Raises ProjectError where it is no such file, EnvironmentBuildError where it needs conda.
    """
    document = yamlfile.read(directory / path, file=path)
    found = EnvironmentFile()
    found.gathered.files.append(path)
    found.gathered.findings.extend(document.findings)
    root = document.root
    if root is None or yamlfile.is_null(root):
        found.gathered.warn("empty-environment", f"{path} is empty")
        return found
    if not isinstance(root, MapNode):
        raise ProjectError(
            f"{path} is no environment file: expected keys such as `dependencies`",
            place=root.place,
            code="bad-environment",
        )
    python = root.get("python")
    if isinstance(python, Scalar) and not yamlfile.is_null(python):
        found.python = normal_python(python.text, python.place)
    for key, _ in root.entries:
        if key.text not in _KNOWN_KEYS:
            found.gathered.warn(
                "unknown-key", f"{path} has a key that means nothing here: `{key.text}`", key.place
            )
    conda = conda or root.get("channels") is not None
    for item in _items(root.get("build_dependencies")):
        found.build.append(Requirement(text=item.text.strip(), place=item.place))
    for key_name in ("dependencies", "pip"):
        _dependencies(root.get(key_name), directory, found, conda=conda and key_name == "dependencies")
    if translate:
        _translate_conda(found, path)
    return found


def _dependencies(node: Node | None, directory: Path, found: EnvironmentFile, *, conda: bool) -> None:
    for item in node.items if isinstance(node, ListNode) else _items(node):
        if isinstance(item, MapNode):
            for key, value in item.entries:
                if key.text != "pip":
                    raise ProjectError(
                        f"expected a requirement or `pip:`, found `{key.text}:`",
                        place=key.place,
                        code="bad-environment",
                    )
                _dependencies(value, directory, found, conda=False)
        elif isinstance(item, Scalar) and not yamlfile.is_null(item):
            _dependency(item, directory, found, conda=conda)


def _dependency(item: Scalar, directory: Path, found: EnvironmentFile, *, conda: bool) -> None:
    text = item.text.strip()
    if _PYTHON.match(text):
        found.python = normal_python(_PYTHON.sub("", text, count=1), item.place) or found.python
    elif conda:
        found.conda.append(Requirement(text=text, place=item.place))
    else:
        add_item(text, item.place, directory, found.gathered)


def _items(node: Node | None) -> Iterator[Scalar]:
    """The texts of a list; a single text counts as a list of one."""
    for item in node.items if isinstance(node, ListNode) else (node,):
        if isinstance(item, Scalar) and not yamlfile.is_null(item):
            yield item


def _translate_conda(found: EnvironmentFile, path: str) -> None:
    """Conda packages as requirements, where PyPI surely has the same under the same name."""
    foreign, left_out = [], []
    for item in found.conda:
        match = _CONDA_SPEC.match(item.text)
        name = match["name"].lower() if match else item.text
        if match and name in _IN_ANY_PYTHON:
            left_out.append(name)
            continue
        if match is None or (name not in _BUILD_TOOLS and name not in SAME_NAME_ON_PYPI):
            foreign.append(name)
            continue
        wanted = Requirement(text=name + _pip_version(match["version"], item.place), place=item.place)
        (found.build if name in _BUILD_TOOLS else found.gathered.requirements).append(wanted)
    if left_out:
        message = f"{path}: left out {', '.join(left_out)}, which Python brings along"
        found.gathered.warn("part-of-python", message)
    if foreign:
        raise EnvironmentBuildError(
            f"{path} needs conda for: {', '.join(foreign)}; conda environments come in a later release",
            hint="name what PyPI has in a `python_env.yaml`, or prepare the environment yourself and pass"
            " `--env-manager system`",
            code="conda-not-yet",
            place=found.conda[0].place,
        )


def _pip_version(spec: str, place: Place) -> str:
    """`=1.19` and `1.19` (conda: any 1.19.x), `==1.19.2`, `>=1,<2`, each perhaps with a build string."""
    spec = spec.strip()
    match = re.fullmatch(
        r"(?P<equals>={0,2})\s*(?P<version>\d[\w.+!]*?)(?P<star>\.?\*)?(?:[=\s]+[\w.*]+)?", spec
    )
    if match:
        exact = match["equals"] == "==" or "=" in spec[match.end("version") :]
        return f"=={match['version']}" + ("" if exact and not match["star"] else ".*")
    if spec in ("", "*") or re.fullmatch(r"((~=|[!<>=]=|<|>)\s*[\w.*+!]+\s*,?\s*)+", spec):
        return spec.replace("*", "") if spec == "*" else spec
    raise ProjectError(f"`{spec}` is no version that can be translated", place=place, code="bad-environment")
