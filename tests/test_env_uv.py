"""uv's complaints in few words."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize(
    "status", ["server error (503 Service Unavailable)", "client error (429 Too Many Requests)"]
)
def test_an_index_that_is_down_is_no_reason_for_other_packages(status: str) -> None:
    said = (
        f"error: Request failed after 3 retries\n  cause: HTTP status {status} for url (https://x.example/)\n"
    )
    error = explain("resolve the environment", Captured(exit_code=1, stdout=b"", stderr=said.encode()))
    assert error.code == "no-network"


def test_a_package_whose_file_is_gone_is_named() -> None:
    said = (
        "error: Failed to download `seasoning==1.0.0`\n"
        "  cause: Failed to fetch: https://x.example/seasoning.whl\n"
        "  cause: HTTP status client error (404 Not Found) for url (https://x.example/s.whl)\n"
    )
    error = explain("install its packages", Captured(exit_code=2, stdout=b"", stderr=said.encode()))
    assert error.message.startswith("cannot install its packages: `seasoning==1.0.0`: ")
    assert "404 Not Found" in error.message


def test_a_package_of_the_projects_own_that_does_not_build_is_told_by_its_cause() -> None:
    said = b"error: Failed to build `mine @ file:///p`\n  cause: Call to `hatchling.build` failed\n"
    error = explain("build mine", Captured(exit_code=1, stdout=b"", stderr=said))
    assert error.message == "cannot build mine: call to `hatchling.build` failed"
    assert error.hint is None


NO_WHEEL = """\
error: No solution found when resolving dependencies
  cause: Because numpy==1.14.3 has no usable wheels and only the following versions of numpy are available:
             numpy<1.14.3.dev0
             numpy==1.14.3
         we can conclude that numpy==1.14.3.* cannot be used.
         And because you require numpy==1.14.3.*, we can conclude that your requirements are unsatisfiable.
"""
OLD_METADATA = """\
error: No solution found when resolving dependencies
  cause: Because pandas==0.24.2 has invalid metadata and you require pandas==0.24.2, we can conclude that your requirements are unsatisfiable.

hint: Metadata for `pandas` (v0.24.2) could not be parsed:
  after parsing `2011`, found `k`, which is not part of a valid version
  pytz (>=2011k)
        ^^^^^^^
"""  # noqa: E501  as uv writes it
NEWER_PYTHON = """\
error: No solution found when resolving dependencies
  cause: Because the current Python version (3.7.16) does not satisfy Python>=3.8 and all of:
             mlflow>=2.9.0,<=2.11.4
             mlflow>=2.12.1
         depend on Python>=3.8, we can conclude that all of:
             mlflow>=2.9.0,<=2.11.4
          cannot be used.
"""
LATER = """\
error: No solution found when resolving dependencies
  cause: Because there is no version of mlflow==2.9.0 and you require mlflow==2.9.0, we can conclude that your requirements are unsatisfiable.

hint: `mlflow` was filtered by `exclude-newer` to only include packages uploaded before 2020-06-01T00:00:00Z. The requested version, v2.9.0, was published at 2023-12-06T05:08:29.142Z. Consider using `exclude-newer-package` to override the cutoff for this package.
"""  # noqa: E501  as uv writes it
CONFLICT = """\
error: No solution found when resolving dependencies
  cause: Because pandas==1.1.0 depends on numpy>=1.15.4 and you require pandas==1.1, we can conclude that you require numpy>=1.15.4.
         And because you require numpy<1.15, we can conclude that your requirements are unsatisfiable.
"""  # noqa: E501  as uv writes it


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (NO_WHEEL, "`numpy==1.14.3` has no wheel for this Python"),
        (OLD_METADATA, "`pandas==0.24.2` has metadata that uv does not take: `pytz (>=2011k)`"),
        (NEWER_PYTHON, "`mlflow>=2.9.0,<=2.11.4` needs Python>=3.8"),
        (LATER, "`mlflow==2.9.0` came out on 2023-12-06, after that day"),
        (
            CONFLICT,
            "pandas==1.1.0 depends on numpy>=1.15.4 and you require pandas==1.1; but you require numpy<1.15",
        ),
    ],
)
def test_what_has_no_solution_is_told_by_what_it_starts_from(said: str, told: str) -> None:
    error = explain("resolve it", Captured(exit_code=1, stdout=b"", stderr=said.encode()))
    assert (error.message, error.code) == (f"cannot resolve it: {told}", "cannot-resolve")


def by_repository(url: str, *words: str, inside: str = "") -> str:
    """What uv 0.9 says where git fails."""
    lines = [f"error: Failed to download and build `tool @ {url}`", "  cause: Git operation failed"]
    lines += [
        "  cause: failed to clone into: /cache/git-v2/db/e9",
        *([f"  cause: {inside}"] if inside else []),
    ]
    lines.append(
        "  cause: process didn't exit successfully: `/usr/bin/git fetch --force --update-head-ok"
        f" '{url.removeprefix('git+').partition('@main')[0]}' '+HEAD:refs/remotes/origin/HEAD'`"
        " (exit status: 128)"
    )
    return "\n".join([*lines, "         --- stderr", *(f"         {word}" for word in words), ""])


NOT_TO_BE_HAD = [
    (
        by_repository(
            "git+https://git.example/me/tool.git@main",
            "fatal: unable to access 'https://git.example/me/tool.git/': Could not resolve host: x.example",
        ),
        "cannot fetch `tool` from https://git.example/me/tool.git@main: Could not resolve host: x.example",
        "check the network",
    ),
    (
        by_repository(
            "git+ssh://git@git.example/me/tool.git",
            "ssh: Could not resolve hostname git.example: Name or service not known",
            "fatal: Could not read from remote repository.",
        ),
        "cannot fetch `tool` from ssh://git.example/me/tool.git: Could not resolve host: git.example",
        "check the network",
    ),
    (
        by_repository(
            "git+https://git.example/tool@v9",
            "fatal: couldn't find remote ref refs/tags/v9",
            inside="failed to fetch branch or tag `v9`",
        ),
        "cannot fetch `tool` from https://git.example/tool@v9: it has no branch or tag `v9`",
        "correct it",
    ),
    (
        by_repository(
            "git+https://git.example/tool",
            "fatal: could not read Username for 'https://git.example': terminal prompts disabled",
        ),
        (
            "cannot fetch `tool` from https://git.example/tool: it is not there, or not for everybody"
            " (could not read Username for 'https://git.example': terminal prompts disabled)"
        ),
        "log git in",
    ),
    (
        by_repository(
            "git+https://git.example/tool",
            "fatal: unable to access 'https://git.example/tool/': Could not resolve host: git.example",
        ).replace("Failed to download and build `tool @ git+https://git.example/tool`\n  cause: ", ""),
        "cannot fetch https://git.example/tool: Could not resolve host: git.example",
        "check the network",
    ),
    (
        (
            "error: Failed to download `tool @ https://git.example/tool-1.0-py3-none-any.whl`\n"
            "  cause: Request failed after 3 retries in 5.4s\n"
            "  cause: Failed to fetch: https://git.example/tool-1.0-py3-none-any.whl\n"
            "  cause: dns error\n"
            "  cause: failed to lookup address information: Name or service not known\n"
        ),
        (
            "cannot fetch `tool` from https://git.example/tool-1.0-py3-none-any.whl:"
            " Could not resolve host: git.example"
        ),
        "check the network",
    ),
    (
        (
            "error: Failed to download and build `tool @ https://git.example/main.zip`\n"
            "  cause: Failed to fetch: https://git.example/main.zip\n"
            "  cause: HTTP status client error (404 Not Found) for url (https://git.example/main.zip)\n"
        ),
        (
            "cannot fetch `tool` from https://git.example/main.zip:"
            " HTTP status client error (404 Not Found) for url (https://git.example/main.zip)"
        ),
        "check the network and the address",
    ),
]


@pytest.mark.parametrize(("said", "message", "hint"), NOT_TO_BE_HAD)
def test_what_is_not_where_it_is_asked_from_is_said_in_one_line(said: str, message: str, hint: str) -> None:
    error = explain("resolve the environment", Captured(exit_code=1, stdout=b"", stderr=said.encode()))
    assert (error.message, error.code, error.details) == (message, "cannot-fetch-package", ())
    assert (error.hint or "").startswith(hint)
