"""What hashing data costs: `python -m benchmarks.hashing [--files N] [--peers] [--rounds N] [--write]`.

A file of 1 GiB against the blake3 library's own way to map and hash one; a folder of many small files, first
with nothing remembered, then unchanged, against programs that merely read it, `git status`, md5sum and
(--peers) DVC. All are whole commands as a user types them, in turns; the page cache is warm, since a cold
disk would be all that is measured. --write renews the tables in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from benchmarks import measure
from benchmarks.measure import Command
from benchmarks.run import Bench, write
from mlrun import digest
from mlrun.data import native

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = str(native.threads())
FILE = 1 << 30
FILES_IN_FOLDER = 1000
SETTLING = 3  # seconds until a file is old enough to be remembered

MAPPED = """
import sys
from blake3 import blake3
print(blake3(max_threads=blake3.AUTO).update_mmap(sys.argv[1]).hexdigest())
"""
POOL = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
def read(names):
    for name in names:
        with open(name, "rb", buffering=0) as file:
            file.read()
names = [os.path.join(folder, name) for folder, _, files in os.walk(sys.argv[1]) for name in files]
threads = int(sys.argv[2])
with ThreadPoolExecutor(threads) as pool:
    list(pool.map(read, [names[number::threads] for number in range(threads)]))
"""
READER = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char **paths;
static size_t count, room, next;

static void add(const char *path) {
    if (count == room) paths = realloc(paths, (room = 2 * room + 1024) * sizeof *paths);
    paths[count++] = strdup(path);
}

static int found(const char *path, const struct stat *status, int type, struct FTW *place) {
    (void)status, (void)place;
    if (type == FTW_F) add(path);
    return 0;
}

static void read_file(int folder, const char *path, char *buffer) {
    int file = openat(folder, path, O_RDONLY);
    while (read(file, buffer, 1 << 20) > 0) continue;
    close(file);
}

static void *read_files(void *unused) {
    char *buffer = malloc(1 << 20);
    for (size_t at; (at = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < count;)
        read_file(AT_FDCWD, paths[at], buffer);
    return unused;
}

static void *read_folders(void *unused) { /* of one level */
    char *buffer = malloc(1 << 20);
    for (size_t at; (at = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < count;) {
        DIR *folder = opendir(paths[at]);
        for (const struct dirent *entry; (entry = readdir(folder));)
            if (entry->d_type == DT_REG) read_file(dirfd(folder), entry->d_name, buffer);
        closedir(folder);
    }
    return unused;
}

int main(int words, char **word) {
    int threads = atoi(word[2]), lean = words > 3;
    pthread_t *started = calloc(threads, sizeof *started);
    if (lean) {
        DIR *top = opendir(word[1]);
        chdir(word[1]);
        for (const struct dirent *entry; (entry = readdir(top));)
            if (entry->d_name[0] != '.') add(entry->d_name);
    } else
        nftw(word[1], found, 64, FTW_PHYS);
    void *(*work)(void *) = lean ? read_folders : read_files;
    for (int i = 0; i < threads; i++) pthread_create(&started[i], NULL, work, NULL);
    for (int i = 0; i < threads; i++) pthread_join(started[i], NULL);
    return 0;
}
"""
PROJECT = "entry_points: {main: {command: 'true', inputs: [%s]}}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peers", action="store_true", help="compare with DVC too; takes minutes")
    parser.add_argument("--write", action="store_true", help="renew the tables in benchmarks/README.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlrun-bench-") as folder:
        bench = Hashing(Path(folder), files=arguments.files, rounds=arguments.rounds)
        tables = [bench.one_file(), bench.cold(), bench.unchanged()]
        if arguments.peers:
            bench.beside_dvc(tables[1], tables[2])
    lines = "\n\n".join("\n".join(table) for table in tables).split("\n")
    sys.stdout.write("\n".join(lines) + "\n")
    if arguments.write:
        write("hashing", lines)


class Hashing(Bench):
    """A large file, a folder of many small ones, and all that reads them."""

    def __init__(self, folder: Path, *, files: int, rounds: int) -> None:
        super().__init__(folder, rounds=rounds)
        self.files = files
        self.data = folder / "data"
        self.tree = self.data / "tree"
        self.large = folder / "large"
        self.git = {"GIT_DIR": str(folder / "tree.git"), "GIT_WORK_TREE": str(self.tree)}
        self._make_data()
        self.reader = folder / "reader"
        self.reader.with_suffix(".c").write_text(READER)
        self.call("cc", "-O2", "-w", "-pthread", "-o", str(self.reader), str(self.reader.with_suffix(".c")))
        self._commit_data()
        self.call(self.mlrun, "data", "hash", str(self.tree))  # compiles what it needs
        time.sleep(SETTLING)

    def _make_data(self) -> None:
        for number in range(self.files):
            path = self.tree / f"{number // FILES_IN_FOLDER:04}" / f"{number:06}.bin"
            if number % FILES_IN_FOLDER == 0:
                path.parent.mkdir(parents=True)
            path.write_bytes(os.urandom(4096))
        with open(self.large, "wb") as file:
            file.writelines(os.urandom(1 << 24) for _ in range(FILE >> 24))

    def _commit_data(self) -> None:
        author = ("-c", "user.name=b", "-c", "user.email=b@example.org")
        idle = ("config", "gc.auto", "0")  # else git tidies up beside what is timed
        for words in (("init", "-q"), idle, ("add", "."), (*author, "commit", "-qm", "x")):
            subprocess.run(
                ("git", *words), cwd=self.tree, env={**self.variables, **self.git}, check=True,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip

    def forget(self) -> None:
        """Nothing of data is remembered."""
        shutil.rmtree(self.folder / "cache" / "stat-v1", ignore_errors=True)

    def hashing(self, path: Path, *, cold: bool) -> Command:
        return Command(
            name=f"`mlrun data hash`, {'nothing remembered' if cold else 'unchanged'}",
            argv=(self.mlrun, "data", "hash", str(path)),
            cwd=self.folder,
            variables=self.variables,
            prepare=self.forget if cold else None,
        )

    # --- the tables

    def one_file(self) -> list[str]:
        path = str(self.large)
        mapped = "Python, `blake3(max_threads=AUTO).update_mmap(…)`"
        table = self.table(
            "One file of 1 GiB",
            self.hashing(self.large, cold=True),
            [self.command(mapped, self.python, "-c", MAPPED, path), self.command("`md5sum`", "md5sum", path)],
        )
        return [*table, self.without_starting()]

    def without_starting(self) -> str:
        """Both in this process, in turns."""
        ours, theirs = [], []
        for _ in range(self.rounds + 1):
            ours.append(timed(lambda: digest.of_file(self.large)))
            theirs.append(timed(lambda: blake3(max_threads=blake3.AUTO).update_mmap(self.large).digest()))
        return row("`update_mmap` against the same of ours, in one process", theirs[1:], ours[1:], "1.11 ×")

    def cold(self) -> list[str]:
        tree, threads = str(self.tree), THREADS
        listed = "mere reading: C, `nftw`, then threads"
        lean = "mere reading: C, threads that list a folder each and ask for no status"
        pool = "mere reading: Python, a pool of threads"
        reader = str(self.reader)
        return self.table(
            f"{self.files:,} files of 4 KiB, nothing remembered ({threads} threads each)",
            self.hashing(self.tree, cold=True),
            [
                self.command(listed, reader, tree, threads),
                self.command(lean, reader, tree, threads, "lean"),
                self.command(pool, self.python, "-c", POOL, tree, threads),
                *(
                    self.command(
                        f"`find \\| xargs -P {threads} {program}`",
                        *("sh", "-c"),
                        f"find . -type f -print0 | xargs -0 -P {threads} -n 1000 {program} > /dev/null",
                        cwd=self.tree,
                    )
                    for program in ("cat", "md5sum")
                ),
            ],
            {listed: "1.3 ×", pool: "1.3 ×"},
        )

    def unchanged(self) -> list[str]:
        project = self.folder / "uses-data"
        project.mkdir()
        (project / "MLproject").write_text(PROJECT % os.path.relpath(self.tree, project))
        self.call(self.mlrun, "run", str(project), "--env-manager", "system", "-q")
        self.call(self.mlrun, "data", "hash", str(self.tree))
        status = self.command("`mlrun data status`", self.mlrun, "data", "status")
        git = Command(
            name="`git status`",
            argv=("git", "status", "--porcelain"),
            cwd=self.tree,
            variables={**self.variables, **self.git},
        )
        return self.table(
            f"{self.files:,} files of 4 KiB, unchanged",
            self.hashing(self.tree, cold=False),
            [git, status],
            {git.name: "1.5 ×"},
        )

    def table(
        self, title: str, ours: Command, others: list[Command], at_most: dict[str, str] | None = None
    ) -> list[str]:
        samples = measure.in_turns([ours, *others], rounds=self.rounds)
        rows = [
            row(
                command.name, samples[command.name], samples[ours.name], (at_most or {}).get(command.name, "")
            )
            for command in others
        ]
        return [
            f"| {title} | wall | CPU | mlrun's wall against it | CPU | at most |",
            "|---|---|---|---|---|---|",
            row(ours.name, samples[ours.name], None, ""),
            *rows,
        ]

    def beside_dvc(self, cold: list[str], unchanged: list[str]) -> None:
        """`dvc add`, once, and `dvc status`: last, since DVC may touch what it adds."""
        dvc = self.peer("dvc")
        self.call(dvc, "init", "-q", "--no-scm", cwd=self.data)
        for table, name, words, rounds in (
            (cold, "`dvc add`", ("add", "-q", "tree"), 1),
            (unchanged, "`dvc status`", ("status",), 3),
        ):
            ours = self.hashing(self.tree, cold=table is cold)
            theirs = self.command(name, dvc, *words, cwd=self.data)
            samples = measure.in_turns([theirs, ours], rounds=rounds, warmups=0 if rounds == 1 else 1)
            table.append(row(name, samples[name], samples[ours.name], ""))


def row(name: str, samples: list[measure.Sample], ours: list[measure.Sample] | None, at_most: str) -> str:
    wall, cpu = (measure.median(samples, what) for what in ("wall", "cpu"))
    ratios = [f"{measure.ratio(ours, samples, what):.2f} ×" if ours else "" for what in ("wall", "cpu")]
    return f"| {name} | {seconds(wall)} | {seconds(cpu)} | {ratios[0]} | {ratios[1]} | {at_most} |"


def timed(work: Callable[[], object]) -> measure.Sample:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return measure.Sample(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu, memory=0.0)


def seconds(figure: float) -> str:
    return f"{figure * 1000:.0f} ms" if figure < 1 else f"{figure:.2f} s"


if __name__ == "__main__":
    main()
