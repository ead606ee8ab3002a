"""The stand-in for conda, as MLflow calls it inside of a run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mlrun.observe import NOT_THE_PROGRAMS
from mlrun.process import capture

if TYPE_CHECKING:
    from pathlib import Path


def test_what_it_does_is_not_told_of_the_program_that_called_it(tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    watched.mkdir()
    variables = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "MLRUN_HOME": str(tmp_path / "home"),
        "MLRUN_CACHE": str(tmp_path / "cache"),
        "MLRUN_OBSERVE": str(watched),
    }
    argv = [sys.executable, "-m", "mlrun.cli.conda_stand_in", "create", "-n", "mlflow-1"]
    said = capture(argv, variables=variables, cwd=tmp_path)
    assert said.exit_code == 0, said.stderr
    [mark] = watched.iterdir()
    assert mark.name.startswith(NOT_THE_PROGRAMS)
