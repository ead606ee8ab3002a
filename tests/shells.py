"""A user's terminal: real command lines in new processes, with a home and a cache of their own."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from mlrun.cli import dispatch
from mlrun.files import Home

if TYPE_CHECKING:
    from pathlib import Path


class Shell:
    """A user's terminal: a home, a cache, a current directory.

    The cache begins as a copy of `warm`, in which is what every run needs (see `warm_cache`), or empty.
    """

    def __init__(self, folder: Path, cwd: Path, warm: Path | None = None) -> None:
        self.home = Home(folder / "home")
        self.cwd = cwd
        self.variables = {
            **os.environ,  # noqa: TID251  what a test starts from
            "MLRUN_HOME": str(self.home.root),
            "MLRUN_CACHE": str(folder / "cache"),
        }
        # How Python buffers is ours to get right, whatever the tests' caller has set.
        self.variables.pop("PYTHONUNBUFFERED", None)
        if warm is not None:
            shutil.copytree(warm, folder / "cache", symlinks=True)

    def mlrun(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*arguments),
            cwd=self.cwd,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=300,
            **more,
        )

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "mlrun", *arguments]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.argv(*arguments),
            cwd=self.cwd,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What `mlrun` answers, by the same code in this process: for commands that only look at records."""
        stdout, stderr = (io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace") for _ in range(2))
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.cwd)
            for name in os.environ.keys() - self.variables.keys():  # noqa: TID251  put back after
                patch.delenv(name)
            for name, text in self.variables.items():
                patch.setenv(name, text)
            patch.setattr(sys, "stdout", stdout)
            patch.setattr(sys, "stderr", stderr)
            code = dispatch(list(arguments))
        for number, handler in handlers.items():
            signal.signal(number, handler)
        said = (stream.detach().getvalue().decode() for stream in (stdout, stderr))
        return subprocess.CompletedProcess(self.argv(*arguments), code, *said)

    def record(self, *arguments: str) -> dict[str, Any]:
        """The record of a run that is to succeed."""
        done = self.mlrun("run", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        record: dict[str, Any] = json.loads(done.stdout)
        return record

    def show(self, run: str = "latest") -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self.ask("show", run, "--json").stdout)
        return record
