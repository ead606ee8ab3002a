"""What is known to break is not taken, unless the project says so."""

from __future__ import annotations

import re

import pytest

from mlrun.env.compiling import Compiled, Wanted
from mlrun.env.lock import day_of, versions_in, with_day, without_packages, without_wheels
from mlrun.env.mending import mended
from mlrun.env.traps import BIG, TRAPS, numbers, remedies_for
from mlrun.errors import EnvironmentBuildError

LATEST = {"mlflow": "1.20.2", "protobuf": "5.0", "sqlalchemy": "2.0.1", "flask": "2.0.3", "werkzeug": "3.0"}
LOCK = """\
lock-version = "1.0"
created-by = "mlrun"
requires-python = ">=3.7"

[[packages]]
name = "alpha"
version = "1.0"
sdist = { url = "https://x/alpha-1.0.tar.gz", hashes = { sha256 = "aa" } }

[[packages]]
name = "beta"
version = "2.0"
wheels = [{ url = "https://x/beta-2.0-py3-none-any.whl", hashes = { sha256 = "bb" } }]

[[packages]]
name = "mine"
directory = { path = "." }
"""


class Resolver:
    """Takes the newest of what it knows below the limits; what is `fixed` admits none."""

    def __init__(self, versions: dict[str, str], *, fixed: frozenset[str] = frozenset()) -> None:
        self.versions, self.fixed = versions, fixed
        self.calls = 0

    def __call__(self, wanted: Wanted) -> Compiled:
        self.calls += 1
        found = dict(self.versions)
        for limit in (*wanted.limits, *wanted.lines):
            name, _, below = limit.partition("<")
            if name in self.fixed and below:
                raise EnvironmentBuildError(f"no solution with {limit}")
            if below and numbers(found.get(name, "0")) >= numbers(below):
                found[name] = "0.9"
            elif not below:
                found.setdefault(re.split("[=<>]", name)[0], "1.0")
        text = "".join(f'[[packages]]\nname = "{n}"\nversion = "{v}"\n' for n, v in sorted(found.items()))
        return Compiled(text=text, newest=self.versions)


def resolved(resolver: Resolver, *lines: str, as_of: str | None = None) -> tuple[dict[str, str], list[str]]:
    compiled, _ = mended(resolver, Wanted(lines=lines or ("mlflow",)), as_of=as_of)
    return versions_in(compiled.text), list(compiled.adaptations)


def test_all_limits_are_set_at_once_and_said() -> None:
    resolver = Resolver(LATEST)
    versions, said = resolved(resolver)
    assert {name: versions[name] for name in ("protobuf", "sqlalchemy", "werkzeug")} == {
        "protobuf": "0.9",
        "sqlalchemy": "0.9",
        "werkzeug": "0.9",
    }
    assert versions["mlflow"] == "1.20.2"
    assert [text.partition(" ")[0] for text in said] == [
        "protobuf<4",
        "sqlalchemy<2",
        "werkzeug<3",
        "setuptools<75",
    ]
    assert resolver.calls == 3  # as it is, with the limits, with setuptools


def test_what_the_project_wants_stands_and_the_other_limits_hold() -> None:
    versions, said = resolved(Resolver(LATEST, fixed=frozenset({"sqlalchemy"})))
    assert (versions["sqlalchemy"], versions["protobuf"], versions["werkzeug"]) == ("2.0.1", "0.9", "0.9")
    assert not [text for text in said if text.startswith("sqlalchemy")]


def test_what_is_in_order_is_resolved_once_and_nothing_is_said() -> None:
    resolver = Resolver({"pandas": "2.2.3", "numpy": "2.1.0"})
    assert resolved(resolver, "pandas") == ({"pandas": "2.2.3", "numpy": "2.1.0"}, [])
    assert resolver.calls == 1


def test_what_a_pinned_package_does_not_declare_is_added_before_resolving() -> None:
    resolver = Resolver({"scikit-learn": "0.19.1"})
    versions, said = resolved(resolver, "scikit-learn==0.19.1.*", "numpy>=1.14")
    assert "scipy" in versions
    assert not [text for text in said if text.startswith("numpy")]
    assert resolver.calls == 1
    assert said[0] == ("scipy is added for scikit-learn 0.19.1: it needs it and does not say so on PyPI")


def test_a_slow_resolver_is_told_the_limits_of_pinned_packages_from_the_start() -> None:
    resolver = Resolver(
        {"tensorflow": "1.13.1", "h5py": "3.1", "protobuf": "4.0", "numpy": "1.16", "setuptools": "40"}
    )
    wanted = Wanted(lines=("tensorflow==1.13.1", "h5py", "protobuf>=3.20"))
    compiled, _ = mended(resolver, wanted, as_of=None, foresee=True)
    assert [text.partition(" ")[0] for text in compiled.adaptations] == ["h5py<3", "protobuf<3.21"]
    assert versions_in(compiled.text)["h5py"] == "0.9"
    assert resolver.calls == 2  # protobuf is bound by the project: only the result shows that a limit is due


def test_what_an_unpinned_package_does_not_declare_is_added_too() -> None:
    resolver = Resolver({"scikit-learn": "0.19.1"})
    assert {"numpy", "scipy"} <= set(resolved(resolver, "scikit-learn")[0])


@pytest.mark.parametrize(("day", "added"), [("2020-01-01", True), ("2024-01-01", False)])
def test_environments_of_old_held_setuptools(day: str, added: bool) -> None:
    versions, _ = resolved(Resolver({"alpha": "1"}), "alpha", as_of=f"{day}T00:00:00Z")
    assert ("setuptools" in versions) == added


def test_the_strictest_of_several_limits_counts() -> None:
    locked = {"pandas": "0.25", "scikit-learn": "1.3", "numpy": "2.0"}
    assert [each.line for each in remedies_for(locked)] == ["numpy<1.24"]


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: f"{trap.package}-{trap.other}")
def test_each_trap_is_well_formed(trap: tuple[str, ...]) -> None:
    package, before, other, since, why = trap
    assert numbers(before)
    assert numbers(since)
    assert package == package.lower() != other == other.lower()
    assert not why.endswith(".")


def test_the_big_packages_are_written_as_an_index_does_and_once() -> None:
    assert sorted(set(BIG)) == list(BIG)


# --- what a lock says of its day ----------------------------------------------------------------------


def test_a_lock_notes_its_day_where_something_has_to_be_built() -> None:
    noted = with_day(LOCK, "2020-08-12T09:00:00Z")
    assert day_of(noted) == "2020-08-12T09:00:00Z"
    assert with_day(noted, "2021-01-01T00:00:00Z") == noted
    assert without_packages(noted, frozenset({"alpha"})).count("[[packages]]") == 2
    assert without_wheels(noted) == [("alpha", "1.0")]


def test_a_lock_of_wheels_is_the_same_on_any_day() -> None:
    wheels = without_packages(LOCK, frozenset({"alpha"}))
    assert with_day(wheels, "2020-08-12T09:00:00Z") == wheels
    assert day_of(wheels) is None
    assert with_day(LOCK, None) == LOCK
