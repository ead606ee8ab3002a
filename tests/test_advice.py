from __future__ import annotations

import pytest

from mlrun.advice import advise


def told(
    tail: str, *, as_of: str | None = None, committed_at: str | None = "2020-08-12T09:00:00Z"
) -> tuple[str, str] | None:
    finding = advise(
        tail, packages={"numpy", "scikit-learn"}, as_of=as_of, committed_at=committed_at, target="."
    )
    return None if finding is None else (finding.code, f"{finding.message} / {finding.hint}")


@pytest.mark.parametrize(
    ("tail", "code", "part"),
    [
        (
            "ImportError: cannot import name 'joblib' from 'sklearn.externals' (/x/y.py)",
            "packages-too-new",
            "`joblib`",
        ),
        ("AttributeError: module 'numpy' has no attribute 'int'.\nby then\n", "packages-too-new", "`numpy`"),
        (
            "AttributeError: 'DataFrame' object has no attribute 'append'",
            "packages-too-new",
            "--as-of 2020-08-12",
        ),
        (
            "TypeError: OneHotEncoder.__init__() got an unexpected keyword argument 'sparse'",
            "packages-too-new",
            "`sparse`",
        ),
        (
            "TypeError: mean_squared_error() takes 2 positional arguments but 3 were given",
            "packages-too-new",
            "otherwise",
        ),
        (
            "ValueError: numpy.dtype size changed, may indicate binary incompatibility.",
            "packages-too-new",
            "another numpy",
        ),
        (
            "ModuleNotFoundError: No module named 'sklearn.externals'",
            "packages-too-new",
            "`sklearn.externals`",
        ),
        ("ModuleNotFoundError: No module named 'seaborn'\n", "missing-package", "`seaborn`"),
        (
            "google.protobuf.x.TypeError: Descriptors cannot be created directly.",
            "packages-too-new",
            "protobuf",
        ),
    ],
)
def test_last_words_that_tell_of_the_environment(tail: str, code: str, part: str) -> None:
    found = told(f"Traceback (most recent call last):\n  File …\n{tail}")
    assert found is not None
    assert found[0] == code
    assert part in found[1]


@pytest.mark.parametrize(
    "tail",
    [
        "",
        "all well",
        "AttributeError: 'NoneType' object has no attribute 'fit'",
        "ValueError: could not convert string to float: 'x'",
        "KeyError: 'numpy'",
    ],
)
def test_others_say_nothing(tail: str) -> None:
    assert told(tail) is None


def test_who_travels_already_is_not_sent_again() -> None:
    assert told("AttributeError: module 'numpy' has no attribute 'int'", as_of="2020-01-01T00:00:00Z") is None


def test_without_a_commit_the_day_is_left_to_the_reader() -> None:
    found = told("AttributeError: module 'numpy' has no attribute 'int'", committed_at=None)
    assert found is not None
    assert "--as-of DATE" in found[1]
