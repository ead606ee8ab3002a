"""All benchmarks, one command: `python -m benchmarks.run [--peers] [--write]`.

Ratios against a bare interpreter and, with --peers, against MLflow and DVC, which it installs into
environments of their own. --write puts the table into benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uv

from benchmarks import measure
from benchmarks.measure import Command

ROOT = Path(__file__).parent
PROJECT = """\
name: no-op
python_env: python_env.yaml
entry_points:
  main:
    parameters: {{alpha: {{type: float, default: 0.5}}}}
    command: "{command}"
"""
PACKAGES = ("scikit-learn==1.7.2", "pandas==2.3.3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", action="store_true", help="compare with MLflow and DVC too")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--write", action="store_true", help="renew the table in benchmarks/README.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlrun-bench-") as folder:
        bench = Bench(Path(folder), rounds=arguments.rounds)
        rows = bench.overhead(peers=arguments.peers) + bench.cold_environment()
    lines = ["| what | figure | against | ratio | at most |", "|---|---|---|---|---|", *rows]
    sys.stdout.write("\n".join(lines) + "\n")
    if arguments.write:
        write("overhead", lines)


def write(section: str, lines: list[str]) -> None:
    """Put a table between its marks in benchmarks/README.md, with the day and the machine."""
    path = ROOT / "README.md"
    before, mark, rest = path.read_text().partition(f"<!-- {section} -->\n")
    if not mark:
        raise SystemExit(f"benchmarks/README.md has no section {section}")
    machine = f"{cpu_name()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    stamp = f"{time.strftime('%Y-%m-%d')}, {machine}"
    body = "\n".join([stamp, "", *lines])
    path.write_text(f"{before}{mark}{body}\n<!-- end -->{rest.partition('<!-- end -->')[2]}")


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


class Bench:
    """Projects and tools in a folder of their own."""

    def __init__(self, folder: Path, *, rounds: int) -> None:
        self.folder = folder
        self.rounds = rounds
        self.python = sys.executable
        self.mlrun = str(Path(sys.executable).with_name("mlrun"))
        self.variables = {
            **{
                name: value
                for name, value in os.environ.items()  # noqa: TID251
                if not name.startswith(("MLRUN_", "PIP_"))
            },
            # uv reads no setting of pip's, and mlrun does: both are to ask the same index.
            "PIP_CONFIG_FILE": os.devnull,
            "MLRUN_HOME": str(folder / "home"),
            "MLRUN_CACHE": str(folder / "cache"),
        }
        # As an installed tool runs: from bytecode.
        self.variables.pop("PYTHONDONTWRITEBYTECODE", None)
        self.project = self.git_project("no-op", "true")

    def git_project(self, name: str, command: str, requirements: tuple[str, ...] = ()) -> Path:
        project = self.folder / name
        project.mkdir()
        (project / "MLproject").write_text(PROJECT.format(command=command))
        lines = "".join(f"\n  - {requirement}" for requirement in requirements)
        (project / "python_env.yaml").write_text(
            f"python: '{platform.python_version()}'\ndependencies:{lines or ' []'}\n"
        )
        (project / "dvc.yaml").write_text(
            f"stages:\n  main:\n    cmd: '{command}'\n    always_changed: true\n"
        )
        for number in range(50):
            (project / f"module_{number}.py").write_text(f"x = {number}\n")
        self.call("git", "init", "-q", cwd=project)
        self.call("git", "add", ".", cwd=project)
        self.call(
            "git", "-c", "user.name=b", "-c", "user.email=b@example.org", "commit", "-qm", "x", cwd=project
        )
        return project

    def call(self, *argv: str, cwd: Path | None = None) -> None:
        subprocess.run(
            argv, cwd=cwd or self.folder, env=self.variables, check=True, stdout=subprocess.DEVNULL
        )

    def command(self, name: str, *argv: str, times: int = 1, cwd: Path | None = None) -> Command:
        return Command(name=name, argv=argv, cwd=cwd or self.project, variables=self.variables, times=times)

    # --- what a command costs

    def overhead(self, *, peers: bool) -> list[str]:
        bare = self.command("bare", self.python, "-c", "pass")
        no_op = self.command("no-op", self.mlrun, "run", ".", "-q")
        commands = [
            bare,
            self.command("help", self.mlrun, "--help"),
            no_op,
            self.command("list", self.mlrun, "runs"),
        ]
        samples = measure.in_turns(commands, rounds=self.rounds, warmups=2)
        base = samples["bare"]
        rows = [
            row("`mlrun --help`", samples["help"], "`python -c pass`", base, 6),
            row("warm no-op `mlrun run .`", samples["no-op"], "`python -c pass`", base, 8),
            row("`mlrun runs`", samples["list"], "`python -c pass`", base, None),
        ]
        memory = max(sample.memory for name in ("help", "no-op", "list") for sample in samples[name])
        rows.append(f"| mlrun's own peak memory | {memory:.0f} MiB | | | 60 MiB |")
        return rows + (self.against_peers() if peers else [])

    def against_peers(self) -> list[str]:
        mlflow, dvc = self.peer("mlflow"), self.peer("dvc")
        self.call(dvc, "init", "-q", cwd=self.project)
        ours = self.command("mlrun", self.mlrun, "run", ".", "-q", times=50)
        theirs = [
            self.command("mlflow", mlflow, "run", ".", "--env-manager", "local"),
            self.command("dvc", dvc, "repro", "-q"),
        ]
        samples = measure.in_turns([self.command("one", self.mlrun, "run", ".", "-q"), *theirs], rounds=3)
        fifty = measure.in_turns([ours], rounds=1, warmups=0)["mlrun"][0]
        rows = []
        for name in ("mlflow", "dvc"):
            wall, cpu = measure.median(samples[name], "wall"), measure.median(samples[name], "cpu")
            compared = f"50 × `{name}` ({50 * wall:.0f} s, {50 * cpu:.0f} s; from the median of 3)"
            ratios = f"1/{50 * wall / fifty.wall:.0f} wall, 1/{50 * cpu / fifty.cpu:.0f} cpu"
            figure = f"{fifty.wall:.1f} s wall, {fifty.cpu:.1f} s cpu"
            limit = "1/20" if name == "mlflow" else ""
            rows.append(f"| 50 no-op runs | {figure} | {compared} | {ratios} | {limit} |")
        return rows

    def peer(self, name: str) -> str:
        place = self.folder / f"peer-{name}"
        self.call(self.uv, "venv", "-q", "--python", self.python, str(place))
        self.call(self.uv, "pip", "install", "-q", "--python", str(place / "bin/python"), name)
        return str(place / "bin" / name)

    @property
    def uv(self) -> str:
        return str(uv.find_uv_bin())

    # --- what a cold environment costs

    def cold_environment(self) -> list[str]:
        """Environments built from scratch, against plain uv; both tools with their caches, then without.

        What building costs is what a run without the environment takes longer than one that finds it. What is
        compiled once a machine, to notice files, is no part of it, and stays.
        """
        rows = []
        project = self.git_project("cold", "true", PACKAGES)
        for state, rounds in (("warm", 7), ("empty", 7)):
            uv_cache = self.folder / f"uv-{state}"
            cold, plain = self.cold_mlrun(project, uv_cache, state), self.cold_uv(uv_cache, state)
            samples = measure.in_turns([cold, plain], rounds=rounds)
            found = measure.in_turns([self.command("found", *cold.argv, cwd=project)], rounds=5)["found"]
            building = measure.median(samples["mlrun"], "wall") - measure.median(found, "wall")
            against = building / measure.median(samples["uv"], "wall")
            name = f"environment with {' and '.join(PACKAGES)}, {state} caches"
            rows.append(
                f"| {name} | {building:.2f} s wall | `uv venv && uv pip install` | {against:.2f} × | 1.15 × |"
            )
            rows.append(
                row(
                    "the whole run that builds it",
                    samples["mlrun"],
                    "the same",
                    samples["uv"],
                    None,
                    what="wall",
                )
            )
        return rows

    def cold_mlrun(self, project: Path, uv_cache: Path, state: str) -> Command:
        def prepare() -> None:
            for built in (self.folder / "cache" / "envs-v1").glob("*"):
                if built.is_dir():  # what interpreters said of themselves stays, as in uv's cache
                    shutil.rmtree(built)
            if state == "empty":
                shutil.rmtree(self.folder / "cache" / "envs-v1", ignore_errors=True)
                shutil.rmtree(uv_cache, ignore_errors=True)

        variables = {**self.variables, "UV_CACHE_DIR": str(uv_cache)}
        return Command(
            name="mlrun",
            argv=(self.mlrun, "run", ".", "-q"),
            cwd=project,
            variables=variables,
            prepare=prepare,
        )

    def cold_uv(self, uv_cache: Path, state: str) -> Command:
        place = self.folder / "plain-venv"

        def prepare() -> None:
            shutil.rmtree(place, ignore_errors=True)
            if state == "empty":
                shutil.rmtree(uv_cache, ignore_errors=True)

        packages = " ".join(PACKAGES)
        script = (
            f'"{self.uv}" venv -q --python "{self.python}" "{place}" && '
            f'"{self.uv}" pip install -q --python "{place}/bin/python" {packages}'
        )
        variables = {**self.variables, "UV_CACHE_DIR": str(uv_cache)}
        return Command(
            name="uv", argv=("sh", "-c", script), cwd=self.folder, variables=variables, prepare=prepare
        )


def row(
    name: str,
    samples: list[measure.Sample],
    against: str,
    base: list[measure.Sample],
    at_most: float | None,
    what: str = "cpu",
) -> str:
    figure = measure.median(samples, what)
    shown = f"{figure * 1000:.0f} ms" if figure < 1 else f"{figure:.2f} s"
    limit = f"{at_most:g} ×" if at_most else ""
    times = measure.ratio(samples, base, what)
    return f"| {name} | {shown} {what} | {against} | {times:.2f} × | {limit} |"


if __name__ == "__main__":
    main()
