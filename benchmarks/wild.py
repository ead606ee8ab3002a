"""Public repositories, each at its commit: does `mlrun run URL` complete, and what did it have to do?

    python -m benchmarks.wild --write
    python -m benchmarks.wild --mlflow /path/to/mlflow --only workshop
    python -m benchmarks.wild --source 'file:///mirrors/{repository}.git' --list more.toml

Every project starts without environments and with an empty store; uv's package cache is the caller's.
A project counts as complete when its command exits with 0.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.run import write
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
GITHUB = "https://github.com/{repository}"


@value
class Wild:
    """One project of the list."""

    repository: str
    commit: str
    folder: str = ""
    entry: str = "main"
    parameters: tuple[tuple[str, str], ...] = ()

    def url(self, source: str) -> str:
        """Where it is, with its folder."""
        owner, _, name = self.repository.partition("/")
        return source.format(repository=self.repository, owner=owner, name=name) + (
            f"#{self.folder}" if self.folder else ""
        )

    def arguments(self, source: str) -> list[str]:
        """What `mlflow run` and `mlrun run` alike are given."""
        given = [self.url(source), "-v", self.commit, "-e", self.entry]
        for name, text in self.parameters:
            given += ["-P", f"{name}={text}"]
        return given


@value
class Ended:
    """How one attempt ended: `how` in a word or two, `why` in a line, `done` what had to be done."""

    how: str
    seconds: float
    why: str = ""
    done: tuple[str, ...] = ()


def read_list(path: Path) -> list[Wild]:
    """The projects of a TOML file."""
    return [
        Wild(**(project | {"parameters": tuple(project.get("parameters", {}).items())}))
        for project in tomllib.loads(path.read_text())["project"]
    ]


def with_mlrun(project: Wild, source: str, timeout: float) -> Ended:
    """`mlrun run`, with a home and a cache of its own."""
    with tempfile.TemporaryDirectory() as folder:
        variables = {**os.environ, "MLRUN_HOME": f"{folder}/home", "MLRUN_CACHE": f"{folder}/cache"}  # noqa: TID251  the caller's
        argv = [sys.executable, "-m", "mlrun", "run", *project.arguments(source), "--json"]
        code, said, seconds = ran(argv, variables, Path(folder), timeout)
        shown = subprocess.run(
            [sys.executable, "-m", "mlrun", "show", "latest", "--json"],
            check=False,
            env=variables,
            capture_output=True,
            text=True,
        )
        record = json.loads(shown.stdout) if shown.returncode == 0 else {}
    environment = record.get("environment") or {}
    done = tuple(_done(environment))
    if code is None:
        return Ended(how="time-out", seconds=seconds, done=done)
    if code == 0:
        return Ended(how="ok", seconds=seconds, done=done)
    error = record.get("error") or {}
    why = error.get("message") or _last_line(said)
    return Ended(how=error.get("code") or f"exit {code}", seconds=seconds, why=why, done=done)


def _done(environment: dict[str, Any]) -> Iterator[str]:
    """What the record says was done to get the environment."""
    if environment.get("python"):
        yield f"Python {environment['python']}"
    if environment.get("as_of"):
        yield f"packages of {environment['as_of'][:10]}"
    if "(inferred)" in (environment.get("asked") or ""):
        yield f"{environment['asked'].partition(' (')[0]} found"
    yield from environment.get("adaptations") or ()


def with_mlflow(program: str, project: Wild, source: str, timeout: float) -> Ended:
    """`mlflow run` as a newcomer types it, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        variables = {**os.environ, "MLFLOW_ENV_ROOT": f"{folder}/envs", "MLFLOW_DISABLE_TELEMETRY": "true"}  # noqa: TID251  the caller's
        variables["PATH"] = f"{Path(program).parent}{os.pathsep}{variables['PATH']}"
        argv = [program, "run", *project.arguments(source)]
        code, said, seconds = ran(argv, variables, Path(folder), timeout)
    if code is None:
        return Ended(how="time-out", seconds=seconds)
    return Ended(
        how="ok" if code == 0 else f"exit {code}", seconds=seconds, why="" if code == 0 else _last_line(said)
    )


def ran(
    argv: list[str], variables: dict[str, str], cwd: Path, timeout: float
) -> tuple[int | None, str, float]:
    """Run to its end: the exit code (None after a time-out), all that was said, and the seconds it took."""
    started = time.monotonic()
    child = subprocess.Popen(
        argv,
        env=variables,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGTERM)
        try:
            said, _ = child.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            said, _ = child.communicate()
        return None, said.decode(errors="replace"), time.monotonic() - started
    return child.returncode, said.decode(errors="replace"), time.monotonic() - started


def _last_line(said: str) -> str:
    """What a failed program says last is an exception, or near it."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("mlrun: ")]
    errors = [line for line in lines if "Error" in line or "Exception" in line or "error:" in line]
    return (errors or lines or [""])[-1][:200]


def row(project: Wild, mlflow: Ended | None, mlrun: Ended) -> str:
    """A line of the table."""
    where = f"{project.repository}{'#' + project.folder if project.folder else ''}"
    done = "; ".join(mlrun.done) or "nothing"
    if mlrun.why:
        done += f" — {mlrun.why}"
    cells = [where, project.commit[:9], project.entry, mlflow.how if mlflow else "–", mlrun.how]
    return "| " + " | ".join([*cells, f"{mlrun.seconds:.0f} s", done.replace("|", "\\|")]) + " |"


HEADER = [
    "| repository | commit | entry point | `mlflow run` | `mlrun run` | time | what had to be done |",
    "|---|---|---|---|---|---|---|",
]


def main() -> None:
    """Try them all, one after another."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", type=Path, default=HERE / "wild.toml", help="a file like wild.toml")
    parser.add_argument("--source", default=GITHUB, help="a URL with {repository}, or {owner} and {name}")
    parser.add_argument("--only", default="", help="those whose name contains this")
    parser.add_argument("--mlflow", default=shutil.which("mlflow"), help="the program to compare with")
    parser.add_argument("--without-mlflow", action="store_true")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one attempt")
    parser.add_argument("--results", type=Path, help="add a JSON line for each here")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    given = parser.parse_args()
    rows = list(HEADER)
    for project in read_list(given.list):
        if given.only not in project.repository:
            continue
        theirs = None
        if given.mlflow and not given.without_mlflow:
            theirs = with_mlflow(given.mlflow, project, given.source, given.timeout)
        ours = with_mlrun(project, given.source, given.timeout)
        rows.append(row(project, theirs, ours))
        print(rows[-1], flush=True)
        if given.results:
            with given.results.open("a") as results:
                results.write(json.dumps(_as_json(project, theirs, ours)) + "\n")
    complete = sum("| ok |" in line for line in rows)
    print(f"{len(rows) - 2} projects, {complete} lines with an `ok`")
    if given.write:
        write("wild", rows)


def _as_json(project: Wild, theirs: Ended | None, ours: Ended) -> dict[str, Any]:
    def shown(ended: Ended | None) -> dict[str, Any] | None:
        if ended is None:
            return None
        return {"how": ended.how, "seconds": round(ended.seconds, 1), "why": ended.why, "done": ended.done}

    return {
        "repository": project.repository,
        "folder": project.folder,
        "mlflow": shown(theirs),
        "mlrun": shown(ours),
    }


if __name__ == "__main__":
    main()
