"""What a run gets so that it can be repeated: who has the last word, and what a repetition gets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mlrun import determinism
from mlrun.determinism import THREADS, again, chosen, defaults, settings, threads_of
from mlrun.model import Determinism
from tests.shells import Shell

if TYPE_CHECKING:
    from pathlib import Path

DEFAULTS = defaults(committed=1_600_000_000, threads=4, locale="C.UTF-8", contained=False)
SHOW = "import json, os; json.dump([dict(os.environ), oct(os.umask(0))], open('seen.json', 'w'))"


def test_the_defaults() -> None:
    expected = {
        "PYTHONHASHSEED": "0",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "SOURCE_DATE_EPOCH": "1600000000",
        **dict.fromkeys(THREADS, "4"),
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
    }
    assert expected == DEFAULTS


def test_time_zone_and_locale_of_a_container_are_its_images() -> None:
    found = defaults(committed=None, threads=None, locale="C.UTF-8", contained=True)
    assert found == {"PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


def test_whoever_set_something_has_the_last_word_and_that_is_recorded() -> None:
    given = {"TZ": "Asia/Tokyo", "OMP_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell", "HOME": "/root"}
    found = chosen(DEFAULTS, given, umask=0o077)
    assert "TZ" not in dict(found.variables)
    assert dict(found.variables)["MKL_NUM_THREADS"] == "4"
    assert dict(found.found) == {key: given[key] for key in ("TZ", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE")}
    assert found.umask == 0o077  # what is private stays so
    assert settings(found, given) == dict(found.variables)


def test_a_locale_declared_in_part_is_not_overruled() -> None:
    declared = {"LC_NUMERIC": "de_DE.UTF-8"}
    assert "LC_ALL" not in dict(chosen(DEFAULTS, declared, declared=declared, umask=None).variables)
    assert "LC_ALL" in dict(chosen(DEFAULTS, {"LANG": "de_DE.UTF-8"}, umask=None).variables)


def test_a_repetition_gets_what_was_and_nothing_else_of_the_kind() -> None:
    past = Determinism(variables=(("OMP_NUM_THREADS", "2"), ("TZ", "UTC")), found=(("MKL_CBWR", "AVX2"),))
    given = {"OMP_NUM_THREADS": "8", "ONEDNN_MAX_CPU_ISA": "AVX2", "TZ": "UTC", "HOME": "/root"}
    found = again(past, given, declared={})
    assert settings(found, given) == {
        "OMP_NUM_THREADS": "2",
        "MKL_CBWR": "AVX2",
        "ONEDNN_MAX_CPU_ISA": None,
    }
    assert dict((*found.variables, *found.found)) == dict((*past.variables, *past.found))


@pytest.mark.parametrize(
    ("cores", "cpus", "threads"), [(8, None, None), (8, 1.5, 2), (2, 4.0, 2), (None, 1, None)]
)
def test_threads(cores: int | None, cpus: float | None, threads: int | None) -> None:
    assert threads_of(cores, cpus=cpus) == threads


def test_switched_off_nothing_is_set() -> None:
    found = determinism.switched_off({"TZ": "UTC"}, umask=0o002)
    assert (found.on, found.variables, found.found, found.umask) == (False, (), (("TZ", "UTC"),), 0o002)


# --- real runs ----------------------------------------------------------------------------------------


@pytest.fixture
def shell(tmp_path: Path, warm_cache: Path) -> Shell:
    project = tmp_path / "project"
    project.mkdir()
    shell = Shell(tmp_path, project, warm_cache)
    for name in (*DEFAULTS, "OPENBLAS_CORETYPE"):
        shell.variables.pop(name, None)
    return shell


def seen(shell: Shell, more: str = "", env: str = "") -> tuple[dict[str, str], str, dict[str, object]]:
    (shell.cwd / "show.py").write_text(SHOW)
    (shell.cwd / "MLproject").write_text(
        f"name: seen\n{more}entry_points: {{main: {{{env} command: python show.py}}}}\n"
    )
    record = shell.record(".", "--env-manager", "system")
    variables, umask = json.loads((shell.cwd / "seen.json").read_text())
    return variables, umask, record["determinism"]


def test_a_run_gets_them(shell: Shell) -> None:
    shell.variables["MKL_CBWR"] = "AVX2"
    variables, umask, facts = seen(shell, env="resources: {cpus: 1}, env: {TZ: Asia/Tokyo},")
    assert variables["PYTHONHASHSEED"] == "0"
    assert variables["TZ"] == "Asia/Tokyo"
    assert variables["OMP_NUM_THREADS"] == variables["MKL_NUM_THREADS"] == "1"
    assert umask == "0o22"
    assert facts["umask"] == "022"
    assert facts["found"] == {"MKL_CBWR": "AVX2", "TZ": "Asia/Tokyo"} | (
        {"LANG": shell.variables["LANG"]} if "LANG" in shell.variables else {}
    )
    assert all(variables[name] == text for name, text in facts["variables"].items())  # type: ignore[attr-defined]
    shown = shell.mlrun("show").stdout
    assert "PYTHONHASHSEED=0" in shown
    assert "found: MKL_CBWR=AVX2" in shown.replace("LANG=C.UTF-8, ", "")


def test_a_project_can_switch_it_off(shell: Shell) -> None:
    variables, _, facts = seen(shell, more="deterministic: false\n")
    assert "PYTHONHASHSEED" not in variables
    assert "OMP_NUM_THREADS" not in variables
    assert facts["on"] is False
    assert facts["variables"] == {}
