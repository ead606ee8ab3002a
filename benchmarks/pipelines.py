"""What a pipeline costs in which nothing has changed: `python -m benchmarks.pipelines [--write] [--steps N]`.

Fifty steps, each of which reads what the one before wrote, all from the cache: against one warm no-op
`mlrun run`, and against `dvc repro` on the same fifty steps, in turns. DVC is installed into an environment
of its own. --write puts the table into benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks import measure
from benchmarks.run import Bench, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="renew the table in benchmarks/README.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlrun-bench-") as folder:
        bench = Bench(Path(folder), rounds=arguments.rounds)
        rows = measured(bench, arguments.steps)
    lines = ["| what | wall | cpu | ratio, wall | ratio, cpu | at most |", "|---|---|---|---|---|---|", *rows]
    sys.stdout.write("\n".join(lines) + "\n")
    if arguments.write:
        write("pipelines", lines)


def measured(bench: Bench, steps: int) -> list[str]:
    dvc = bench.peer("dvc")
    project = pipeline(bench, steps)
    bench.call(bench.mlrun, "run", ".", "-q", "-e", "last", cwd=project)
    bench.call(dvc, "init", "-q", cwd=project)
    bench.call(dvc, "repro", "-q", cwd=project)
    samples = measure.in_turns(
        [
            bench.command("single", bench.mlrun, "run", ".", "-q"),
            bench.command("whole", bench.mlrun, "run", ".", "-q", "-e", "last", cwd=project),
            bench.command("short", bench.mlrun, "run", ".", "-q", "-e", "step_2", cwd=project),
            bench.command("dvc", dvc, "repro", "-q", cwd=project),
        ],
        rounds=bench.rounds,
        warmups=2,
    )
    single, whole, short, peer = (samples[name] for name in ("single", "whole", "short", "dvc"))
    each = {
        what: (measure.median(whole, what) - measure.median(short, what)) / (steps - 2)
        for what in ("wall", "cpu")
    }
    return [
        _row("one warm no-op `mlrun run`", single),
        _row(f"{steps} cached steps", whole, single, "4 ×"),
        f"| of that, each further step | {each['wall'] * 1000:.1f} ms | {each['cpu'] * 1000:.1f} ms | | | |",
        _row(f"`dvc repro`, {steps} steps up to date", peer),
        _row(f"{steps} cached steps against it", whole, peer, "1/10"),
    ]


def pipeline(bench: Bench, steps: int) -> Path:
    """The same chain for mlrun and for DVC, in a repository that ignores what it makes."""
    project = bench.git_project("chain", "true")
    ours = ["name: chain", "python_env: python_env.yaml", "entry_points:"]
    theirs = ["stages:"]
    (project / "0.out").write_text("0\n")
    for number in range(1, steps + 1):
        name = "last" if number == steps else f"step_{number}"
        before, after = f"{number - 1}.out", f"{number}.out"
        command = f"cp {before} {after}"
        ours += [
            f"  {name}:",
            f"    inputs: [{before}]",
            f"    outputs: [{after}]",
            f"    command: {command}",
        ]
        theirs += [f"  {name}:", f"    cmd: {command}", f"    deps: [{before}]", f"    outs: [{after}]"]
    (project / "MLproject").write_text("\n".join(ours) + "\n")
    (project / "dvc.yaml").write_text("\n".join(theirs) + "\n")
    (project / ".gitignore").write_text("*.out\n!0.out\n")
    bench.call("git", "add", ".", cwd=project)
    bench.call(
        "git", "-c", "user.name=b", "-c", "user.email=b@example.org", "commit", "-qm", "chain", cwd=project
    )
    return project


def _row(
    name: str,
    samples: list[measure.Sample],
    base: list[measure.Sample] | None = None,
    at_most: str = "",
) -> str:
    figures = [f"{measure.median(samples, what) * 1000:.0f} ms" for what in ("wall", "cpu")]
    ratios = [f"{measure.ratio(samples, base, what):.2f} ×" if base else "" for what in ("wall", "cpu")]
    return f"| {name} | {' | '.join((*figures, *ratios))} | {at_most} |"


if __name__ == "__main__":
    main()
