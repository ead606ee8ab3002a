"""Which Python is taken for packages of a day, and which next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlrun.env.interpreters import Probes
from mlrun.env.pythons import first_choice, missing_of_day, neighbours
from mlrun.errors import EnvironmentBuildError
from tests.test_env_interpreters import caller, pyenv

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.env.pythons import Choice

ALL = ("3.6.15", "3.7.16", "3.8.18", "3.9.18", "3.10.13", "3.11.7", "3.12.1")


def chosen(tmp_path: Path, wanted: str | None, as_of: str | None, *versions: str) -> Choice:
    pyenv(tmp_path, *versions)
    probes = Probes(tmp_path / "interpreters.json")
    # the usual folders of this machine hold Pythons too: of them, none is as old as what is asked for here
    return first_choice(wanted, as_of=as_of, caller=caller(tmp_path), probes=probes)


@pytest.mark.parametrize(
    ("wanted", "day", "version"),
    [
        (None, "2018-05-01", "3.6.15"),
        (None, "2019-06-26", "3.6.15"),
        (None, "2019-06-28", "3.7.16"),
        (None, "2020-08-12", "3.7.16"),
        (None, "2021-08-04", "3.8.18"),
        ("3", "2021-08-04", "3.8.18"),
        (">=3.7,<3.9", "2024-08-04", "3.8.18"),
        (">=3.9", "2020-01-04", "3.9.18"),
        (None, "2012-01-01", "3.6.15"),
        ("3.7", "2024-01-04", "3.7.16"),
        ("3.7.3", "2024-01-04", "3.7.16"),
    ],
)
def test_it_is_the_one_named_else_the_newest_that_was_out_for_a_year(
    tmp_path: Path, wanted: str | None, day: str, version: str
) -> None:
    assert chosen(tmp_path, wanted, f"{day}T00:00:00Z", *ALL).interpreter.version == version


def test_one_that_is_missing_is_replaced_by_the_next_newer_and_that_is_said(tmp_path: Path) -> None:
    choice = chosen(tmp_path, "3.5", "2018-01-01T00:00:00Z", "3.6.15", "3.7.16")
    assert choice.interpreter.version == "3.6.15"
    assert choice.adaptations == ("Python 3.6.15 in the place of 3.5, which is not installed",)


def test_for_what_runs_now_one_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentBuildError, match=r"no Python 3\.5 is installed"):
        chosen(tmp_path, "3.5", None, "3.6.15")


def test_python_2_is_replaced_by_none(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentBuildError, match=r"no Python 2\.7 is installed"):
        chosen(tmp_path, "2.7", "2018-01-01T00:00:00Z", "3.6.15")


@pytest.mark.parametrize(
    ("wanted", "day", "versions"),
    [
        (None, "2020-08-12", ["3.6.15", "3.8.18", "3.9.18"]),
        (">=3.7,<3.9", "2020-08-12", ["3.8.18"]),
        ("3.7", "2020-08-12", []),
        ("3.5", "2018-01-01", ["3.7.16", "3.8.18"]),
    ],
)
def test_its_neighbours_are_those_that_the_project_allows_nearest_first(
    tmp_path: Path, wanted: str | None, day: str, versions: list[str]
) -> None:
    choice = chosen(tmp_path, wanted, f"{day}T00:00:00Z", *ALL)
    probes = Probes(tmp_path / "interpreters.json")
    near = neighbours(wanted, chosen=choice.interpreter, caller=caller(tmp_path), probes=probes)
    assert [each.version for each in near][: len(versions)] == versions
    assert len(near) <= 6
    assert bool(near) == bool(versions)


def test_old_pins_in_a_project_of_today_reach_the_pythons_that_have_their_wheels(tmp_path: Path) -> None:
    """A `pip freeze` of 2020 that was committed later wants 3.7 or 3.8, and says so nowhere."""
    every = ("3.13.0", "3.12.1", "3.11.7", "3.10.13", "3.9.18", "3.8.18", "3.7.16", "3.6.15")
    choice = chosen(tmp_path, None, "2024-03-01T00:00:00Z", *every)
    probes = Probes(tmp_path / "interpreters.json")
    near = neighbours(None, chosen=choice.interpreter, caller=caller(tmp_path), probes=probes)
    assert {"3.8.18", "3.7.16"} <= {each.version for each in near}


def test_the_python_of_the_day_that_is_missing_is_told(tmp_path: Path) -> None:
    pyenv(tmp_path, "3.6.15", "3.8.18")
    probes = Probes(tmp_path / "interpreters.json")
    for day, missing in (("2020-01-01", "3.7"), ("2021-08-01", None), ("2018-01-01", None)):
        assert missing_of_day(f"{day}T00:00:00Z", caller=caller(tmp_path), probes=probes) == missing
