"""Packages known to break with newer ones that they do not exclude, as data.

A limit is set only where the resolution would else take a version that breaks, and never against what the
project itself asks: where both cannot hold, the project's word stands.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Set

# fmt: off


class Trap(NamedTuple):
    """`package` before version `before` breaks with `other` from version `since` on, because of `why`."""

    package: str
    before: str
    other: str
    since: str
    why: str


_PB2 = "its generated code is refused (`Descriptors cannot be created directly`)"
_ABI = "it was compiled for numpy 1"
_ALIASES = "it uses names such as `np.int` that numpy removed in 1.24"

TRAPS = (
    # mlflow 1.x names no upper bounds before 1.26-1.30 (its setup.py of those releases)
    Trap("mlflow", "1.27", "protobuf", "4", _PB2),
    Trap("mlflow", "1.30", "sqlalchemy", "2", "its store uses calls that SQLAlchemy removed in 2.0"),
    Trap("mlflow", "1.30", "flask", "2.3", "it uses names that Flask removed in 2.3"),
    Trap("mlflow", "1.30", "pandas", "2", "it uses names that pandas removed in 2.0"),
    Trap("mlflow", "1.30", "numpy", "2", "it uses names that numpy removed in 2.0"),
    Trap("mlflow-skinny", "1.27", "protobuf", "4", _PB2),
    # the Pallets family: https://flask.palletsprojects.com/en/stable/changes/ and its siblings
    Trap("flask", "2.3", "werkzeug", "3", "it imports `url_quote`, which Werkzeug removed in 3.0"),
    Trap("flask", "2", "werkzeug", "2.1", "it imports names that Werkzeug removed in 2.1"),
    Trap("flask", "2", "jinja2", "3.1", "it imports `escape`, which Jinja2 removed in 3.1"),
    Trap("flask", "2", "itsdangerous", "2.1", "it imports `json`, which ItsDangerous removed in 2.1"),
    Trap("jinja2", "3", "markupsafe", "2.1", "it imports `soft_unicode`, which MarkupSafe removed in 2.1"),
    # TensorFlow: https://protobuf.dev/news/2022-05-06/ ; h5py 3 reads text as bytes
    Trap("tensorflow", "2.9", "protobuf", "3.21", _PB2),
    Trap("tensorboard", "2.9", "protobuf", "3.21", _PB2),
    Trap("tensorflow", "2.3", "h5py", "3", "it reads models' text as h5py 2 gave it"),
    Trap("keras", "2.4", "h5py", "3", "it reads models' text as h5py 2 gave it"),
    # https://github.com/keras-team/keras/releases: notes of 2.3.0 and 2.4.0
    Trap("tensorflow", "1.13", "keras", "2.3", "Keras 2.3 calls what TensorFlow has from 1.13 on"),
    Trap("tensorflow", "2.2", "keras", "2.4", "Keras 2.4 hands on to the one inside of TensorFlow 2.2"),
    Trap("onnx", "1.12", "protobuf", "3.21", _PB2),
    # compiled against numpy 1: https://numpy.org/doc/stable/release/2.0.0-notes.html
    Trap("pandas", "2.2.2", "numpy", "2", _ABI),
    Trap("scikit-learn", "1.4.2", "numpy", "2", _ABI),
    Trap("scipy", "1.13", "numpy", "2", _ABI),
    Trap("matplotlib", "3.8.4", "numpy", "2", _ABI),
    Trap("pyarrow", "16", "numpy", "2", _ABI),
    Trap("tensorflow", "2.18", "numpy", "2", _ABI),
    Trap("torch", "2.3", "numpy", "2", _ABI),
    # https://numpy.org/doc/stable/release/1.24.0-notes.html, "Expired deprecations"
    Trap("scikit-learn", "1.0", "numpy", "1.24", _ALIASES),
    Trap("pandas", "1.0", "numpy", "1.24", _ALIASES),
    Trap("tensorflow", "2.8", "numpy", "1.24", _ALIASES),
    Trap("hyperopt", "0.2.6", "numpy", "1.24", _ALIASES),
    Trap("shap", "0.41", "numpy", "1.24", _ALIASES),
    Trap("xgboost", "1.5", "numpy", "1.24", _ALIASES),
    # others
    Trap("pandas", "1.4", "sqlalchemy", "2", "it uses calls that SQLAlchemy removed in 2.0"),
    Trap("seaborn", "0.12", "matplotlib", "3.8", "it uses names that Matplotlib removed in 3.8"),
    Trap("statsmodels", "0.13.2", "scipy", "1.8", "it imports what SciPy made private in 1.8"),
    Trap("gensim", "4.3.3", "scipy", "1.13", "it imports `triu`, which SciPy removed in 1.13"),
    Trap("hyperopt", "0.2.3", "networkx", "2.6", "it indexes what networkx made a view"),
)

MISSING = (
    ("scikit-learn", "0.20", ("numpy", "scipy"), "it needs it and does not say so on PyPI"),
)
"""Packages that do not declare all that they import: before which version, what is added, and why."""

BIG = (
    "blis", "catboost", "grpcio", "h5py", "jaxlib", "lightgbm", "llvmlite", "lxml", "matplotlib", "numba",
    "numpy", "onnx", "onnxruntime", "opencv-python", "opencv-python-headless", "pandas", "pillow", "polars",
    "pyarrow",
    "scikit-image", "scikit-learn", "scipy", "spacy", "statsmodels", "tensorflow", "tensorflow-cpu", "thinc",
    "tokenizers", "torch", "torchaudio", "torchvision", "xgboost",
)
"""Packages that take minutes and a compiler to build, and that publish wheels: theirs are taken, or none."""

# fmt: on


def numbers(version: str) -> tuple[int, ...]:
    """The release numbers of any version that an index may serve, without trailing zeros."""
    release = re.match(r"(?:\d+!)?(\d+(?:\.\d+)*)", version)
    found = [int(part) for part in release[1].split(".")] if release else []
    while found and found[-1] == 0:
        found.pop()
    return tuple(found)


class Remedy(NamedTuple):
    """A line to add (`numpy`), or only a limit (`protobuf<4`); and a sentence that says why."""

    line: str
    is_limit: bool
    why: str


def remedies_for(locked: dict[str, str]) -> list[Remedy]:
    """What a resolution (versions by name) calls for."""
    return [*undeclared(locked), *_limits(locked)]


def undeclared(locked: dict[str, str]) -> list[Remedy]:
    """What they import and do not declare."""
    return [
        Remedy(name, is_limit=False, why=f"{name} is added for {package} {locked[package]}: {why}")
        for package, before, needed, why in MISSING
        if package in locked and numbers(locked[package]) < numbers(before)
        for name in needed
        if name not in locked
    ]


def foreseen(pins: dict[str, str], bound: Set[str]) -> list[Remedy]:
    """The limits that pinned packages call for if the others come along, but on what is `bound` already."""
    anything = {trap.other: "9999" for trap in TRAPS if trap.other not in bound}
    return _limits({**anything, **pins}, among=pins)


def _limits(locked: Mapping[str, str], *, among: Container[str] | None = None) -> list[Remedy]:
    """One a package, the strictest; `among` names the packages that count."""
    strictest: dict[str, Trap] = {}
    for trap in TRAPS:
        if (among is None or trap.package in among) and _bites(trap, locked):
            known = strictest.setdefault(trap.other, trap)
            if numbers(trap.since) < numbers(known.since):
                strictest[trap.other] = trap
    return [
        Remedy(
            limit,
            is_limit=True,
            why=f"{limit} is taken for {trap.package} {locked[trap.package]}: {trap.why}",
        )
        for trap in strictest.values()
        for limit in (f"{trap.other}<{trap.since}",)
    ]


def _bites(trap: Trap, locked: Mapping[str, str]) -> bool:
    if trap.package not in locked or trap.other not in locked:
        return False
    is_old = numbers(locked[trap.package]) < numbers(trap.before)
    return is_old and numbers(locked[trap.other]) >= numbers(trap.since)
