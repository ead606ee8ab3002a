"""What a logged metric costs: `python -m benchmarks.tracking [--rounds N] [--write]`.

The same script logs with the same client (mlflow 3.17.2), in turns to the endpoint of a run and to MLflow's
own server with SQLite, both on loopback: one metric after the other (`log_metric`), batches of a thousand
points (`log_batch`), parameters, and artifacts of 1 MiB. Milliseconds are the client's wall time for one
call; CPU is that of the server's side alone, for the whole script. Besides: what the endpoint costs a run
that never speaks to it, and the memory that it takes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.run import write
from mlrun.tracking import mlflow as tracking
from mlrun.tracking.mlflow.values import RunIdentity
from tests.test_mlflow_endpoint import NEW, environment, real_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SCRIPT = """
import json, os, sys, time
import mlflow
from mlflow.entities import Metric

client = mlflow.MlflowClient()
mlflow.set_experiment("cost")
size = 1 << 20
with open("one.bin", "wb") as file:
    file.write(os.urandom(size))

def timed(times, call):
    began = time.perf_counter()
    for number in range(times):
        call(number)
    return (time.perf_counter() - began) / times

with mlflow.start_run() as run:
    mlflow.log_metric("warm", 0)
    found = {
        "log_metric": timed(200, lambda step: mlflow.log_metric("m", step, step=step)),
        "log_param": timed(100, lambda step: mlflow.log_param(f"p{step}", step)),
        "log_batch of 1,000 points": timed(10, lambda at: client.log_batch(
            run.info.run_id, metrics=[Metric("b", float(i), at, at * 1000 + i) for i in range(1000)])),
        "log_artifact of 1 MiB": timed(10, lambda number: mlflow.log_artifact("one.bin", f"f{number}")),
    }
sys.stdout.write(json.dumps(found))
"""
Costs = dict[str, float]
CPU = "the server's CPU, for all of it"
CALLS = ("log_metric", "log_param", "log_batch of 1,000 points", "log_artifact of 1 MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="renew the table in benchmarks/README.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlrun-bench-") as name:
        folder = Path(name)
        variables = environment(folder / "client", *NEW)
        (folder / "script.py").write_text(SCRIPT)
        pairs = compared(folder, variables, arguments.rounds)
    lines = ["| what | mlrun, ms | MLflow's server, ms | ratio | at most |", "|---|---|---|---|---|"]
    for call in (*CALLS, CPU):
        ours, theirs = (statistics.median(pair[side][call] for pair in pairs) * 1000 for side in (0, 1))
        ratio = statistics.median(one[call] / other[call] for one, other in pairs)
        most = "1 ×" if call == CALLS[0] else ""
        lines.append(f"| {call} | {ours:.2f} | {theirs:.2f} | {ratio:.2f} × | {most} |")
    lines += ["", of_itself()]
    sys.stdout.write("\n".join(lines) + "\n")
    if arguments.write:
        write("tracking", lines)


def compared(folder: Path, variables: Mapping[str, str], rounds: int) -> list[tuple[Costs, Costs]]:
    """Each round by the endpoint, then by the server; one round more to warm up."""
    with real_server(folder / "server", variables) as server, served(folder / "endpoint") as endpoint:
        pairs = [
            (
                asked(folder, {**variables, **endpoint}, time.process_time),
                asked(folder, {**variables, **server}, cpu_of_children),
            )
            for _ in range(rounds + 1)
        ]
    return pairs[1:]


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Mapping[str, str]]:
    """The variables of an endpoint in this process."""
    run = RunIdentity(id="5e" * 16, name="bench", user="ada")
    with tracking.serve(folder, run=run, variables={}, shared=False) as endpoint:
        yield endpoint.variables


def asked(folder: Path, variables: Mapping[str, str], cpu: Callable[[], float]) -> Costs:
    """Seconds for each kind of call, and of the server's processor for all of them."""
    before = cpu()
    done = subprocess.run(
        ["python", "script.py"], env=dict(variables), cwd=folder, check=True, capture_output=True, text=True
    )
    found: Costs = json.loads(done.stdout.splitlines()[-1])
    return found | {CPU: cpu() - before}


def cpu_of_children() -> float:
    """Seconds of the processes that this one has started and that still run, with their own children."""
    stats = [_stat(path) for path in Path("/proc").glob("[0-9]*/stat")]
    mine = os.getpid()
    sessions = {int(stat[3]) for stat in stats if stat and int(stat[1]) == mine}
    ticks = sum(int(stat[11]) + int(stat[12]) for stat in stats if stat and int(stat[3]) in sessions)
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(path: Path) -> list[str]:
    """The fields behind a process's name: state, parent, group, session, …; none where it has ended."""
    with contextlib.suppress(OSError):
        return path.read_text().rpartition(")")[2].split()
    return []


def of_itself() -> str:
    """What the endpoint costs a run that does not speak to it."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from mlrun.tracking import mlflow\n"
        "from mlrun.tracking.mlflow.values import RunIdentity\n"
        "peak = lambda: int(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])\n"
        "before, began, cpu = peak(), time.perf_counter(), time.process_time()\n"
        "run = RunIdentity(id='5e' * 16, name='bench', user='ada')\n"
        "with mlflow.serve(Path(sys.argv[1]), run=run, variables={}): pass\n"
        "print(time.perf_counter() - began, time.process_time() - cpu, (peak() - before) / 1024)\n"
    )
    samples = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, "-c", code, folder], check=True, capture_output=True, text=True
            )
            samples.append([float(word) for word in done.stdout.split()])
    wall, cpu, mebibytes = (statistics.median(sample[at] for sample in samples) for at in (0, 1, 2))
    took = f"{wall * 1000:.0f} ms ({cpu * 1000:.0f} ms of CPU) and {mebibytes:.1f} MiB"
    return f"To listen, and to stop, costs a run {took} (at most 200 ms)."


if __name__ == "__main__":
    main()
