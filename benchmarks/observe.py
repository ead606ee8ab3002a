"""What observing files costs, and what it finds: `python -m benchmarks.observe [--rounds N] [--write]`.

The programs of tests/observe say what they read and write; each is run by each of the means, and the record
is held against that. Costs are those of the program alone (as the record tells) and of the whole command, in
turns with the same command without observing. --write renews the tables in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.run import write
from mlrun.value import value
from tests import observe

MEANS = ("shim", "strace", "python")
REQUIREMENTS = ["pandas", "pyarrow", "joblib", "scikit-learn"]
FILES = 20_000

TRAINING = """
import pandas, joblib
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score
frame = pandas.read_csv("large.csv")
forest = RandomForestClassifier(30, random_state=0)
print(cross_val_score(forest, frame[["a", "b"]], frame.label, n_jobs=2, cv=4).mean())
joblib.dump(forest.fit(frame[["a", "b"]], frame.label), "forest.joblib")
frame.to_parquet("frame.parquet")
"""
OPENING = "for number in range({files}): open(f'many/{{number}}').close()\n"
OPENING_IN_C = """
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **words) {{
    char name[32];
    for (int number = 0; number < {files} * (count > 1 ? atoi(words[1]) : 1); number++) {{
        snprintf(name, sizeof name, "many/%d", number % {files});
        close(open(name, O_RDONLY));
    }}
    return 0;
}}
"""
COSTS = {
    "training (pandas, scikit-learn, joblib)": ("training.py", MEANS, "1.05 ×"),
    f"Python opens {FILES:,} files": ("opening.py", MEANS, "2 ×"),
    f"C opens {FILES:,} files": ("opening.sh", ("shim",), "2 ×"),
    f"C opens {FILES:,} files, again and again (20 times)": ("opening_again.sh", ("shim",), "2 ×"),
}


@value
class Cost:
    """Seconds: the program's own, and the whole command's."""

    program: float
    command: float


class Bench:
    """A project with all programs, and a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.variables = {
            **{name: text for name, text in os.environ.items() if not name.startswith("MLRUN_")},  # noqa: TID251
            "MLRUN_HOME": str(folder / "home"),
            "MLRUN_CACHE": str(folder / "cache"),
        }
        self._lay_out()

    def _lay_out(self) -> None:
        observe.lay_out(self.project)
        project = {
            "environment": {"requirements": REQUIREMENTS},
            "entry_points": {"main": {"command": "true"}},
        }
        (self.project / "MLproject").write_text(json.dumps(project))
        self.run("prepare.py")
        self.run("prepare_tables.py")

    def run(self, program: str, *words: str) -> dict[str, Any]:
        mlrun = str(Path(sys.executable).with_name("mlrun"))
        done = subprocess.run(
            [mlrun, "run", ".", "-e", program, "--json", "-q", *words],
            cwd=self.project,
            env=self.variables,
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        record: dict[str, Any] = json.loads(done.stdout)
        return record

    # --- what is found

    def recall(self) -> list[str]:
        names = [*observe.PLAIN, *observe.SHELL, "static.sh", *observe.SCIENCE]
        head = "| program | " + " | ".join(f"{how}: reads | writes | besides" for how in MEANS) + " |"
        rows = [head, "|---" * (1 + 3 * len(MEANS)) + "|"]
        clean = self.folder / "clean"
        shutil.copytree(self.project, clean)
        for name in names:
            cells = []
            for how in MEANS:
                shutil.rmtree(self.project)
                shutil.copytree(clean, self.project)
                cells += self._found(name, self.run(name, "--observe", how))
            rows.append(f"| `{name}` | " + " | ".join(cells) + " |")
        return rows

    def _found(self, name: str, record: dict[str, Any]) -> list[str]:
        truth = observe.truth_of(name)
        cells, besides = [], 0
        for true, artifacts in ((truth.reads, record["inputs"]), (truth.writes, record["outputs"])):
            paths = {os.path.relpath(self.project / each["path"], self.project) for each in artifacts}
            cells.append(f"{len(true & paths)}/{len(true)}")
            besides += len(paths - true)
        return [*cells, str(besides)]

    # --- what it costs

    def costs(self, rounds: int) -> list[str]:
        self._lay_out_costs()
        head = "| program | means | program alone | whole command | at most |"
        rows = [head, "|---|---|---|---|---|"]
        for what, (name, means, most) in COSTS.items():
            for how in means:
                ratios = self._ratios(name, how, rounds if how == "shim" else max(2, rounds // 3))
                limit = most if how == "shim" else ""
                rows.append(f"| {what} | {how} | {ratios.program:.2f} × | {ratios.command:.2f} × | {limit} |")
        return rows

    def _lay_out_costs(self) -> None:
        shutil.rmtree(self.project / "many", ignore_errors=True)
        (self.project / ".gitignore").write_text("many\nlarge.csv\nopening\n")
        (self.project / "many").mkdir()
        for number in range(FILES):
            (self.project / "many" / str(number)).write_text(str(number))
        with open(self.project / "large.csv", "w") as file:
            file.write("a,b,label\n")
            for number in range(5_000):
                file.write(f"{number * 7919 % 10007},{number * 104729 % 997},{number % 3 == 0}\n")
        (self.project / "training.py").write_text(TRAINING)
        (self.project / "opening.py").write_text(OPENING.format(files=FILES))
        (self.project / "opening.c").write_text(OPENING_IN_C.format(files=FILES))
        subprocess.run(["cc", "-O2", "-o", "opening", "opening.c"], cwd=self.project, check=True)
        (self.project / "opening.sh").write_text("./opening\n")
        (self.project / "opening_again.sh").write_text("./opening 20\n")

    def _ratios(self, name: str, how: str, rounds: int) -> Cost:
        self._timed(name, how)
        pairs = [(self._timed(name, None), self._timed(name, how)) for _ in range(rounds)]
        return Cost(
            program=statistics.median(seen.program / bare.program for bare, seen in pairs),
            command=statistics.median(seen.command / bare.command for bare, seen in pairs),
        )

    def _timed(self, name: str, how: str | None) -> Cost:
        started = time.perf_counter()
        record = self.run(name, *(("--observe", how) if how else ("--no-observe",)))
        return Cost(program=record["duration_s"], command=time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--costs-only", action="store_true", help="leave the table of what is found as it is")
    parser.add_argument("--write", action="store_true", help="renew the tables in benchmarks/README.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlrun-bench-") as folder:
        bench = Bench(Path(folder))
        recall = [] if arguments.costs_only else bench.recall()
        sys.stdout.write("\n".join(recall) + "\n\n")
        costs = bench.costs(arguments.rounds)
        sys.stdout.write("\n".join(costs) + "\n")
    if arguments.write and recall:
        write("observe-recall", recall)
    if arguments.write:
        write("observe-costs", costs)


if __name__ == "__main__":
    main()
