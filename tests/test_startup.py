"""What a command imports is what it costs: names are asserted, not milliseconds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROBE = """
import sys
from mlrun.cli import dispatch
try:
    dispatch({argv!r})
finally:
    sys.stderr.write("\\n#" + " ".join(sorted(sys.modules)))
"""
HEAVY = {"importlib.metadata", "logging", "packaging", "requests", "rich", "typer", "uv"}


def modules_of(argv: list[str], **variables: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(argv=argv)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **variables},  # noqa: TID251  what a test starts from
    )
    return set(done.stderr.rpartition("#")[2].split())


@pytest.mark.parametrize("argv", [["--help"], ["--version"]])
def test_help_and_version_import_next_to_nothing(argv: list[str]) -> None:
    loaded = modules_of(argv)
    assert loaded & (HEAVY | {"yaml", "sqlite3", "subprocess", "dataclasses", "mlrun.model"}) == set()


def test_a_command_imports_only_what_it_needs() -> None:
    assert modules_of(["show", "--help"]) & (HEAVY - {"typer", "logging"} | {"yaml", "sqlite3"}) == set()


def test_a_warm_run_imports_neither_what_parses_help_nor_what_builds_nor_what_lists(
    tmp_path: Path, warm_cache: Path
) -> None:
    shutil.copytree(warm_cache, tmp_path / "cache", symlinks=True)
    (tmp_path / "MLproject").write_text(
        "environment: {requirements: []}\nentry_points: {main: {command: 'true'}}"
    )
    places = {"MLRUN_HOME": str(tmp_path / "home"), "MLRUN_CACHE": str(tmp_path / "cache")}
    argv = ["run", str(tmp_path), "-q"]
    modules_of(argv, **places)
    unwanted = HEAVY | {"sqlite3", "subprocess", "dataclasses", "inspect", "tempfile", "hashlib", "threading"}
    unwanted |= {"shutil"}  # which brings three libraries that compress
    assert modules_of(argv, **places) & unwanted == set()


def test_hashing_data_imports_no_parser_of_arguments(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    places = {"MLRUN_HOME": str(tmp_path / "home"), "MLRUN_CACHE": str(tmp_path / "cache")}
    assert (
        modules_of(["data", "hash", str(tmp_path), "--json"], **places) & (HEAVY | {"sqlite3", "yaml"})
        == set()
    )
