"""uv's complaints in few words."""

from __future__ import annotations

from mlrun.env.uv import explain
from mlrun.process import Captured

UNBUILT = b"""\
   Building scikit-learn==0.19.1
  \xc3\x97 Failed to build `scikit-learn==0.19.1`
  \xe2\x94\x9c\xe2\x94\x80\xe2\x96\xb6 The build backend returned an error
  \xe2\x95\xb0\xe2\x94\x80\xe2\x96\xb6 Call to `setuptools.build_meta:__legacy__` failed (exit status: 1)

      [stderr]
      Traceback (most recent call last):
        File "<string>", line 12, in <module>
      ModuleNotFoundError: No module named 'pkg_resources'

      hint: This error likely indicates that `scikit-learn@0.19.1` depends on `pkg_resources`
"""


def test_a_package_too_old_for_this_python_is_said_in_one_line_with_what_to_try() -> None:
    error = explain("install its packages", Captured(exit_code=1, stdout=b"", stderr=UNBUILT))
    assert error.message == (
        "cannot install its packages: `scikit-learn==0.19.1` has no wheel for this Python "
        "and does not build from source"
    )
    assert error.details == ("ModuleNotFoundError: No module named 'pkg_resources'",)
    assert (error.code, error.hint) == (
        "cannot-build-package",
        "a Python of its day may have a wheel: name one in the environment's file (`python: 3.8`)",
    )


def test_a_package_of_the_projects_own_that_does_not_build_is_told_by_its_cause() -> None:
    said = b"error: Failed to build `mine @ file:///p`\n  cause: Call to `hatchling.build` failed\n"
    error = explain("build mine", Captured(exit_code=1, stdout=b"", stderr=said))
    assert error.message == "cannot build mine: call to `hatchling.build` failed"
    assert error.hint is None
