"""Every example and the public projects that run: does `mlrun reproduce` get the same again?

    python -m benchmarks.reproduce --write
    python -m benchmarks.reproduce --only wine
    python -m benchmarks.reproduce --list benchmarks/wild.toml --list more.toml

Each is run with a home and a cache of its own. Then the whole cache is deleted, so that source and
environment come from the record, the store and the registries alone, and the run is repeated. Where bytes
differ that matter, it is repeated three times more: a program whose repetitions differ among themselves, in
what differed from the original, is not deterministic itself.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.run import write
from benchmarks.wild import GITHUB, HERE, ran, read_list
from mlrun.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = HERE.parent / "examples"
LISTS = [HERE / "wild.toml", HERE / "reproduce.toml"]
GOOD = ("identical", "equal")
_NAMED = 3  # things that differ which are named; the rest are counted

Found = dict[str, Any]


@value
class Subject:
    """Something to run: its name in the table, and what `mlrun run` is given."""

    name: str
    commit: str
    arguments: tuple[str, ...]


@value
class Proof:
    """What came of one. `verdict` is None where the run itself failed; `spread` is what `--runs 3` says."""

    subject: Subject
    first_s: float
    verdict: str | None = None
    code: int | None = None
    again_s: float = 0.0
    found: Found | None = None
    spread: Found | None = None
    why: str = ""


def subjects(lists: list[Path], source: str) -> Iterator[Subject]:
    """The examples, from a clean checkout each, then the projects of some lists."""
    for folder in sorted(EXAMPLES.iterdir()):
        if (folder / "MLproject").is_file():
            yield Subject(name=f"examples/{folder.name}", commit="–", arguments=(str(folder), "--isolated"))
    for path in lists:
        for project in read_list(path):
            where = f"{project.repository}{'#' + project.folder if project.folder else ''}"
            entry = "" if project.entry == "main" else f" `{project.entry}`"
            yield Subject(
                name=where + entry, commit=project.commit[:9], arguments=tuple(project.arguments(source))
            )


def prove(subject: Subject, *, timeout: float) -> Proof:
    """Run it, forget all that may be forgotten, repeat it."""
    with tempfile.TemporaryDirectory(prefix="mlrun-reproduce-") as folder:
        cache = Path(folder, "cache")
        variables = {**os.environ, "MLRUN_HOME": f"{folder}/home", "MLRUN_CACHE": str(cache)}  # noqa: TID251  the caller's

        def mlrun(*words: str, limit: float = timeout) -> tuple[int | None, str, float]:
            return ran([sys.executable, "-m", "mlrun", *words], variables, Path(folder), limit)

        code, said, first_s = mlrun("run", *subject.arguments, "-q")
        if code != 0:
            why = "time-out" if code is None else f"exit {code}"
            return Proof(subject=subject, first_s=first_s, why=f"it did not run: {why}")
        _, shown, _ = mlrun("show", "latest", "--json")
        original = json.loads(shown)["id"]
        shutil.rmtree(cache)
        code, said, again_s = mlrun("reproduce", original, "--json", "-q")
        proof = Proof(subject=subject, first_s=first_s, code=code, again_s=again_s)
        found = _json(said)
        if found is None:
            return _with(proof, verdict="failed", why=_last(said))
        spread = None
        if found["verdict"] not in (*GOOD, "cannot-be-repeated"):
            _, said, _ = mlrun("reproduce", original, "--json", "-q", "--runs", "3", limit=3 * timeout)
            spread = _json(said)
        return _with(proof, verdict=found["verdict"], found=found, spread=spread, why=reason(found, spread))


def _with(proof: Proof, **changes: Any) -> Proof:
    return replace(proof, **changes)


def _json(said: str) -> Found | None:
    """The JSON in what was said on both streams; the program's own words come before it."""
    start = said.rfind('\n{\n  "verdict"')
    start = 0 if said.startswith('{\n  "verdict"') else start
    if start < 0:
        return None
    found: Found = json.JSONDecoder().raw_decode(said[start:].lstrip())[0]
    return _as_one(found) if "steps" in found else found


def _as_one(whole: Found) -> Found:
    """A pipeline as if all were one run: what its steps made, under their names."""
    steps = [(step["name"].rpartition("/")[2], step) for step in whole["steps"]]

    def all_of(items: str) -> list[Found]:
        told = [
            (name, it)
            for name, step in steps
            for part in (*step["repetitions"][:1], step)
            for it in part.get(items, ())
        ]
        return [{**it, "name": f"{name}: {it['name']}"} if "name" in it else it for name, it in told]

    return {
        "verdict": whole["verdict"],
        "reasons": all_of("reasons"),
        "repetitions": [{"items": all_of("items"), "causes": all_of("causes")}],
        "spread": all_of("spread"),
    }


def _last(said: str) -> str:
    lines = [line for line in said.splitlines() if "error" in line.lower()]
    return (lines or said.splitlines() or [""])[-1][:200]


# --- why ----------------------------------------------------------------------------------------------


def reason(found: Found, spread: Found | None) -> str:
    """What differed, and whether the program differs from itself in just that."""
    if found["reasons"]:
        return "; ".join(each["message"] for each in found["reasons"])
    unlike = [item for item in found["repetitions"][0]["items"] if item["level"] != "identical"]
    if not unlike:
        return ""
    told = _told(unlike)
    if found["verdict"] == "equal":
        return told
    itself = {_key(item) for item in (spread or {}).get("spread", ()) if _bad(item)}
    differs = {_key(item) for item in unlike if _bad(item)}
    if differs and differs <= itself:
        return f"{told} — the program itself: three repetitions differ among themselves in all of it"
    causes = [cause["text"] for cause in found["repetitions"][0]["causes"]]
    if causes:
        return f"{told} — because: {', '.join(causes)}"
    if differs & itself:
        rest = ", ".join(name for _, name in sorted(differs - itself))
        return f"{told} — three repetitions differ among themselves too, but not in {rest}"
    return f"{told} — NOT EXPLAINED"


def _key(item: Found) -> tuple[str, str]:
    """Files whose names hold the time are others each time."""
    lone = (item["note"] or "").startswith("only the ")
    return item["kind"], "files of other names" if lone else item["name"]


def _bad(item: Found) -> bool:
    return item["level"] not in ("identical", "equal")


def _told(items: list[Found]) -> str:
    named = [f"{item['kind']} `{item['name']}`: {item['note']}" for item in items[:_NAMED]]
    more = len(items) - _NAMED
    return "; ".join([*named, *([f"and {more} more"] if more > 0 else [])])


def row(proof: Proof) -> str:
    """A line of the table."""
    items = (proof.found or {}).get("repetitions") or [{"items": ()}]
    counts = {
        kind: sum(item["kind"] == kind for item in items[0]["items"]) for kind in ("metric", "output", "log")
    }
    compared = ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in counts.items() if count)
    cells = [
        proof.subject.name,
        proof.subject.commit,
        proof.verdict or "–",
        "–" if proof.code is None else str(proof.code),
        compared or "–",
        f"{proof.first_s:.0f} s",
        f"{proof.again_s:.0f} s",
        proof.why,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


HEADER = [
    "| what | commit | verdict | exit code | compared | run | again | what differed, and why |",
    "|---|---|---|---|---|---|---|---|",
]


def summary(proofs: list[Proof]) -> str:
    """How many of each verdict."""
    counts: dict[str, int] = {}
    for proof in proofs:
        counts[proof.verdict or "did not run"] = counts.get(proof.verdict or "did not run", 0) + 1
    return f"{len(proofs)} in all: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def main() -> None:
    """Try them all, one after another."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", type=Path, action="append", help="a file like wild.toml, or several")
    parser.add_argument("--source", default=GITHUB, help="a URL with {repository}, or {owner} and {name}")
    parser.add_argument("--only", default="", help="those whose name contains this")
    parser.add_argument("--timeout", type=float, default=420, help="seconds for one run")
    parser.add_argument("--results", type=Path, help="add a JSON line for each here")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    given = parser.parse_args()
    rows, proofs = list(HEADER), []
    for subject in subjects(given.list or LISTS, given.source):
        if given.only not in subject.name:
            continue
        proof = prove(subject, timeout=given.timeout)
        proofs.append(proof)
        rows.append(row(proof))
        print(time.strftime("%H:%M"), rows[-1], flush=True)
        if given.results:
            with given.results.open("a") as results:
                content = {
                    "name": subject.name,
                    "row": rows[-1],
                    "found": proof.found,
                    "spread": proof.spread,
                }
                results.write(json.dumps(content) + "\n")
    print(summary(proofs))
    if given.write:
        write("reproduce", [*rows, "", summary(proofs)])


if __name__ == "__main__":
    main()
