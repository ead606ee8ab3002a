"""Past runs repeated: the four verdicts, each kind of sabotage named, and what cannot be repeated."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.indexes import Index, serving
from tests.sums import PROJECT, git, project, shell
from tests.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.shells import Shell

__all__ = ["project", "shell"]  # fixtures

LOGS_A_SEED = """
import json, os, random, urllib.request
seed = random.SystemRandom().randrange(10**12)
json.dump({"rmse": seed}, open("metrics.json", "w"))
open("model.bin", "w").write(str(seed))
body = json.dumps({"run_id": os.environ["MLRUN_RUN_ID"], "key": "seed", "value": str(seed)}).encode()
address = os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-parameter"
request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
token = os.environ.get("MLFLOW_TRACKING_TOKEN")
if token:
    request.add_header("Authorization", "Bearer " + token)
urllib.request.urlopen(request)
"""


def run(shell: Shell, *options: str) -> dict[str, Any]:
    return shell.record(".", "--env-manager", "system", *options)


def reproduce(shell: Shell, *words: str, code: int) -> dict[str, Any]:
    done = shell.mlrun("reproduce", *words, "--json", "-q")
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def reasons(found: dict[str, Any]) -> list[str]:
    assert found["verdict"] == "cannot-be-repeated"
    assert found["repetitions"] == []
    return [reason["code"] for reason in found["reasons"]]


def levels(found: dict[str, Any], number: int = 0) -> dict[str, str]:
    return {item["name"]: item["level"] for item in found["repetitions"][number]["items"]}


# --- verdicts -----------------------------------------------------------------------------------------


def test_identical_and_nothing_of_the_original_is_touched(shell: Shell, project: Path) -> None:
    original = run(shell)
    for name in ("metrics.json", "model.bin"):
        (project / name).write_text("mine")
    (project / "train.py").write_text("raise SystemExit('the code of now')")
    before = (shell.home.run(original["id"]).record).read_bytes()
    found = reproduce(shell, code=0)
    assert found["verdict"] == "identical"
    assert levels(found) == {"rmse": "identical", "metrics.json": "identical", "model.bin": "identical"}
    assert (project / "model.bin").read_text() == "mine"
    assert shell.home.run(original["id"]).record.read_bytes() == before
    new = shell.show()
    assert new["parents"] == {"reproduces": original["id"]}
    assert new["determinism"]["variables"] == original["determinism"]["variables"]
    assert new["environment"]["key"] == original["environment"]["key"]
    assert {item["path"]: item["digest"] for item in new["inputs"]} == {
        item["path"]: item["digest"] for item in original["inputs"]
    }
    assert list((project.parent / "cache/work-v1").iterdir()) == []


@pytest.mark.slow
def test_equal_where_only_a_time_stamp_differs(shell: Shell) -> None:
    run(shell, "-P", "how=stamped")
    found = reproduce(shell, code=0)
    assert found["verdict"] == "equal"
    assert levels(found)["model.bin"] == "equal"
    assert "gzip" in found["repetitions"][0]["items"][0]["note"]


@pytest.mark.slow
def test_equal_where_only_the_folder_that_it_ran_in_differs(shell: Shell, project: Path) -> None:
    (project / "train.py").write_text(
        "import json, os, pickle\njson.dump({'rmse': 1}, open('metrics.json', 'w'))\n"
        "pickle.dump([os.path.abspath(__file__), 3], open('model.bin', 'wb'))\n"
    )
    run(shell)
    found = reproduce(shell, "--runs", "2", code=0)
    assert found["verdict"] == "equal"
    assert levels(found)["model.bin"] == "equal"
    assert {item["name"]: item["level"] for item in found["spread"]}["model.bin"] == "equal"


@pytest.mark.slow
def test_unseeded_random_is_different_and_the_program_is_named(shell: Shell) -> None:
    run(shell, "-P", "how=random")
    found = reproduce(shell, "--runs", "2", code=1)
    assert found["verdict"] == "different"
    assert "metric `rmse` differs first" in found["summary"]
    assert all(repetition["causes"] == [] for repetition in found["repetitions"])
    assert {item["name"]: item["level"] for item in found["spread"]}["rmse"] == "different"
    text = shell.mlrun("reproduce", "latest~2", "-q").stdout
    assert "the program is not deterministic, or reads what no record holds" in text


@pytest.mark.slow
def test_what_no_record_holds_is_told_from_chance(shell: Shell, project: Path) -> None:
    text = (project / "train.py").read_text()
    (project / "train.py").write_text(text.replace("total =", "total = float(os.environ['BIAS']) +", 1))
    shell.variables["BIAS"] = "1"
    run(shell)
    shell.variables["BIAS"] = "2"
    done = shell.mlrun("reproduce", "--runs", "2", "-q")
    assert done.returncode == 1
    assert "2 repetitions are identical among themselves" in done.stdout
    assert "it is no chance" in done.stdout


@pytest.mark.slow
def test_within_tolerance_by_hand_and_by_the_project(shell: Shell, project: Path) -> None:
    run(shell, "-P", "how=random")
    found = reproduce(shell, "--rtol", "1e-6", code=0)
    assert found["verdict"] == "close"
    assert levels(found) == {"rmse": "close", "metrics.json": "close", "model.bin": "close"}
    with (project / "MLproject").open("a") as file:
        file.write("repro: {rtol: 1e-6}\n")
    run(shell, "-P", "how=random")
    assert reproduce(shell, code=0)["tolerance"] == {"rtol": 1e-6, "atol": 0.0}


@pytest.mark.slow
def test_another_parameter_is_the_cause_and_the_rest_is_kept(shell: Shell) -> None:
    run(shell, "-P", "how=stamped")
    found = reproduce(shell, "-P", "alpha=0.7", code=1)
    assert found["changed"] == ["alpha"]
    assert [cause["name"] for cause in found["repetitions"][0]["causes"]] == ["alpha"]
    new = shell.show()
    assert {name: it["value"] for name, it in new["parameters"].items()} == {
        "alpha": "0.7",
        "table": "data/train.csv",
        "how": "stamped",
        "token": "***",
    }
    assert shell.mlrun("reproduce", "latest", "-P", "alhpa=1").returncode == 2


@pytest.mark.slow
def test_a_path_given_anew_is_looked_for_where_the_caller_is(shell: Shell, project: Path) -> None:
    run(shell)
    (project / "data/other.csv").write_text("quality\n5\n")
    (project / ".gitignore").write_text("data/other.csv\n")
    found = reproduce(shell, "-P", "table=data/other.csv", code=1)
    assert [cause["kind"] for cause in found["repetitions"][0]["causes"]] == ["data", "parameters"]


@pytest.mark.slow
def test_a_seed_that_the_program_makes_up_and_logs_is_no_cause(
    shell: Shell, project: Path, tmp_path: Path
) -> None:
    make_wheel(tmp_path / "wheels", "mlflow", "2.0.0")  # whose name is enough to be given a server
    (project / "MLproject").write_text(PROJECT.replace("requirements: []", "requirements: [mlflow]"))
    (project / "train.py").write_text(LOGS_A_SEED)
    with serving(Index(tmp_path / "wheels")) as index:
        shell.variables |= {"UV_INDEX_URL": index.url, "UV_DEFAULT_INDEX": index.url}
        shell.record(".")
    assert reproduce(shell, code=1)["repetitions"][0]["causes"] == []
    text = shell.mlrun("reproduce", "latest~1", "-q", "--runs", "2").stdout
    assert "2 repetitions differ among themselves" in text
    assert "the program itself is not deterministic" in text
    assert "it logged another `seed`: " in text


@pytest.mark.slow
def test_a_record_that_was_edited_is_taken_and_said(shell: Shell) -> None:
    path = shell.home.run(run(shell, "-P", "how=plain")["id"]).record
    path.write_text(path.read_text().replace('"value": "plain"', '"value": "fails"'))
    found = reproduce(shell, code=1)
    assert [note["code"] for note in found["notes"]] == ["record-edited"]
    text = shell.mlrun("reproduce", found["run"], "-q").stdout
    assert "because      its record was changed since mlrun wrote it" in text
    path.write_text(re.sub(r'"python": "[0-9.]*"', '"python": "3.3.99"', path.read_text()))
    found = reproduce(shell, found["run"], code=2)
    assert reasons(found) == ["interpreter-missing"]
    assert [note["code"] for note in found["notes"]] == ["record-edited"]


@pytest.mark.slow
def test_a_failure_that_is_repeated_is_the_same(shell: Shell) -> None:
    done = shell.mlrun("run", ".", "--env-manager", "system", "-q", "-P", "how=fails")
    assert done.returncode == 3
    found = reproduce(shell, code=0)
    assert found["verdict"] == "identical"
    assert "repeated (exit code 3), " in found["summary"]


# --- sabotage: what is restored, and what is refused --------------------------------------------------


@pytest.mark.slow
def test_code_and_variables_of_then_are_used_uncommitted_ones_too(shell: Shell, project: Path) -> None:
    text = (project / "train.py").read_text()
    (project / "train.py").write_text(text.replace("total * float", "2 * total * float"))
    (project / "helper.py").write_text("X = 1\n")
    original = run(shell)
    git(project, "checkout", "train.py")
    (project / "helper.py").unlink()
    (project / "MLproject").write_text(PROJECT.replace('SCALE: "1"', 'SCALE: "9"'))
    shell.variables |= {"OMP_NUM_THREADS": "7", "PYTHONHASHSEED": "11"}
    assert reproduce(shell, code=0)["verdict"] == "identical"
    new = shell.show()
    assert new["source"]["tree"] == original["source"]["tree"]
    assert new["env_vars"]["SCALE"] == "1"
    assert new["determinism"]["variables"]["PYTHONHASHSEED"] == "0"
    assert new["source"]["patch"] == original["source"]["patch"] is not None
    assert reproduce(shell, code=0)["run"] == new["id"]  # a repetition can be repeated as well


@pytest.mark.slow
def test_one_byte_of_data_is_refused_unless_allowed(shell: Shell, project: Path) -> None:
    run(shell)
    (project / "data/blob.bin").write_bytes(bytes(range(255)) + b"\0")
    found = reproduce(shell, code=2)
    assert reasons(found) == ["data-changed"]
    assert "data/blob.bin" in found["reasons"][0]["message"]
    found = reproduce(shell, "--allow-changed-data", code=1)
    assert (
        "data/blob.bin" in shell.ask("data", "status").stdout
    )  # a repetition is no new state of the project
    assert [cause["name"] for cause in found["repetitions"][0]["causes"]] == ["data/blob.bin"]
    assert [note["code"] for note in found["notes"]] == ["data-changed"]


@pytest.mark.slow
def test_data_that_the_store_has_need_not_be_there(shell: Shell, project: Path) -> None:
    from mlrun.store import Store

    original = run(shell)
    digests = {item["path"]: item["digest"] for item in original["inputs"]}
    Store(shell.home).objects.put_file(project / "data/blob.bin", digests["data/blob.bin"])
    (project / "data/blob.bin").unlink()
    (project / "data/train.csv").unlink()  # git has it
    assert reproduce(shell, code=0)["verdict"] == "identical"


def test_every_reason_is_said_before_anything_runs(shell: Shell, project: Path) -> None:
    run(shell, "-P", "token=s3cret")
    shutil.rmtree(project / "data/images")
    (project / "data/blob.bin").write_bytes(b"other")
    count = len(list(shell.home.runs.glob("*/*")))
    found = reproduce(shell, code=2)
    assert sorted(reasons(found)) == ["data-changed", "data-gone", "secret-needed"]
    assert len(list(shell.home.runs.glob("*/*"))) == count


@pytest.mark.slow
def test_a_project_that_was_moved(shell: Shell, project: Path, tmp_path: Path) -> None:
    original = run(shell)
    moved, shell.cwd = project.rename(tmp_path / "elsewhere"), tmp_path
    found = reproduce(shell, original["id"], code=2)
    assert sorted(set(reasons(found))) == ["commit-gone", "data-gone"]
    shell.cwd = moved / "data"
    assert reproduce(shell, original["id"], code=0)["verdict"] == "identical"
    (moved / "data/blob.bin").write_bytes(b"other")
    assert reasons(reproduce(shell, original["id"], code=2)) == ["data-gone"]


def test_a_record_that_mlrun_broke_off_is_said_to_lack_something(shell: Shell) -> None:
    from mlrun.model import Failure
    from mlrun.store import Store
    from mlrun.value import replace

    store = Store(shell.home)
    record = store.load(run(shell)["id"])
    failure = Failure(code="interrupted", message="interrupted while what the program made was recorded")
    store.save(replace(record, error=failure))
    assert "incomplete-record" in [it["code"] for it in reproduce(shell, code=0)["notes"]]


@pytest.mark.slow
def test_a_commit_that_is_gone(shell: Shell, project: Path) -> None:
    run(shell)
    shutil.rmtree(project / ".git")
    git(project, "init", "--quiet")
    assert "commit-gone" in reasons(reproduce(shell, code=2))


@pytest.mark.slow
def test_an_untracked_file_that_the_store_has_lost(shell: Shell, project: Path) -> None:
    (project / "helper.py").write_text("X = 1\n")
    record = run(shell)
    kept = record["source"]["untracked"][0]["digest"].removeprefix("blake3:")
    shell.home.object(kept).unlink()
    assert "source-not-kept" in reasons(reproduce(shell, code=2))


@pytest.mark.slow
def test_a_run_without_a_result(shell: Shell, project: Path) -> None:
    (project / "train.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    assert shell.mlrun("run", ".", "--env-manager", "system", "-q").returncode == 137
    assert reasons(reproduce(shell, code=2)) == ["no-result"]


@pytest.mark.slow
def test_a_named_input_is_that_of_then_whatever_is_the_latest_now(shell: Shell, project: Path) -> None:
    (project / "MLproject").write_text(
        "name: named\nenvironment: {requirements: []}\nentry_points:\n"
        "  train:\n    parameters: {n: {default: '1'}}\n    outputs: [model.txt]\n"
        "    command: echo {n} > model.txt\n"
        "  main:\n    inputs: ['run:latest(entry=train):model.txt']\n    outputs: [score.txt]\n"
        "    command: cat $MLRUN_INPUT_1 > score.txt\n"
        "  given: {parameters: {model: path}, outputs: [score.txt], command: 'cat {model} > score.txt'}\n"
    )
    (project / ".gitignore").write_text("*.txt\n")
    first = run(shell, "-e", "train")
    said = "run:latest(entry=train):model.txt"
    given = run(shell, "-e", "given", "-P", f"model={said}")
    original = run(shell)
    assert [(it["reference"], it["run"]) for it in original["inputs"]] == [(said, first["id"])]
    assert f"data         {said}  " in shell.mlrun("show", original["id"]).stdout
    assert f"from run:{first['id'][:8]}:model.txt  2 B" in shell.mlrun("lineage", original["id"]).stdout
    assert shell.mlrun("status").returncode == 0
    run(shell, "-e", "train", "-P", "n=2")
    text = shell.mlrun("status").stdout
    assert f"data: {said} (1 line of 1 changed)" in text
    assert "MLRUN_INPUT_1" not in text
    assert reproduce(shell, original["id"], code=0)["verdict"] == "identical"
    shutil.rmtree(project.parent / "cache/inputs-v1")  # a cache may go at any time
    assert shell.ask("data", "status").returncode == 0
    assert reproduce(shell, given["id"], code=0)["verdict"] == "identical"
    assert shell.show()["parameters"]["model"]["value"] == said
    assert shell.mlrun("diff", given["id"]).returncode == 0
    assert reproduce(shell, original["id"], code=0)["verdict"] == "identical"
    assert shell.mlrun("rm", "-y", first["id"]).returncode == 0
    assert reasons(reproduce(shell, original["id"], code=2)) == ["data-gone"]
    assert reproduce(shell, given["id"], code=0)["verdict"] == "identical"  # the bytes are in the cache


@pytest.mark.slow
def test_of_a_folder_it_is_said_how_many_files_differ_and_how_much(shell: Shell, project: Path) -> None:
    (project / "MLproject").write_text(
        "name: folder\nenvironment: {requirements: []}\nentry_points:\n"
        "  main:\n    outputs: [o/]\n    command: |-\n"
        "      mkdir -p o\n      for name in a b c; do od -An -N8 -tu8 /dev/urandom > o/$name; done\n"
        "      date '+%F %T.%6N' > o/d\n      echo same > o/e\n"
    )
    (project / ".gitignore").write_text("o/\n")
    run(shell)
    (item,) = reproduce(shell, code=1)["repetitions"][0]["items"]
    assert item["note"].startswith("`a`: ")
    assert item["note"].endswith("; others: 2 different, 1 equal")


@pytest.mark.slow
def test_what_a_step_was_not_seen_to_read_lies_there_again(shell: Shell, project: Path) -> None:
    (project / "MLproject").write_text(
        "name: unseen\nenvironment: {requirements: []}\nobserve: false\nentry_points:\n"
        "  one: {parameters: {n: {default: '1'}}, outputs: [one.txt], command: 'echo {n} > one.txt'}\n"
        "  two: {needs: [one], outputs: [two/], command: mkdir -p two; cp one.txt two/}\n"
        "  main: {needs: [two], outputs: [all.txt], command: cat one.txt two/one.txt > all.txt}\n"
    )
    (project / ".gitignore").write_text("*.txt\n")
    name = run(shell, "--name", "all")["name"]
    found = reproduce(shell, name, code=0)
    assert [step["verdict"] for step in found["steps"]] == ["identical"] * 3
    assert reproduce(shell, f"{name}/main", code=0)["verdict"] == "identical"
    text = shell.mlrun("reproduce", name, "-q").stdout
    said = [
        f"identical: {name}/{step} repeated, 1 output the same to the last bit"
        for step in ("one", "two", "main")
    ]
    assert text.splitlines()[-3:] == said  # a line each
    text = shell.mlrun("reproduce", name, "-q", "-P", "one.n=2").stdout
    assert "because      what one, two made anew, of which nobody saw what it reads" in text
    assert shell.mlrun("get", "latest", "all.txt", "-o", "-").stdout == "2\n2\n"


@pytest.mark.slow
def test_of_a_pipeline_each_step_is_repeated_from_what_was_made_then(shell: Shell, project: Path) -> None:
    (project / "MLproject").write_text(
        "name: steps\nenvironment: {requirements: []}\nentry_points:\n"
        "  prepare: {outputs: [clean.txt], command: echo 5 > clean.txt}\n"
        "  main: {needs: [prepare], inputs: [clean.txt], outputs: [o.txt], command: cp clean.txt o.txt}\n"
    )
    (project / ".gitignore").write_text("*.txt\n")
    name = run(shell, "--name", "both")["name"]
    (project / "clean.txt").unlink()
    found = reproduce(shell, name, code=0)
    assert found["verdict"] == "identical"
    assert [step["name"] for step in found["steps"]] == ["both/prepare", "both/main"]
    assert [step["verdict"] for step in found["steps"]] == ["identical", "identical"]
    assert shell.mlrun("reproduce", name, "-P", "a=1").returncode == 2
    new = shell.show()
    assert new["parents"] == {"reproduces": shell.show(name)["id"]}
    step = shell.show(f"{new['name']}/main")
    assert step["id"] == new["steps"][1]["run"]
    assert step["parents"] == {"pipeline": new["id"], "reproduces": shell.show(f"{name}/main")["id"]}


FLOWING = """\
name: flow
environment: {requirements: []}
entry_points:
  prepare:
    parameters: {rows: {type: int, default: 3}}
    inputs: [raw.csv]
    outputs: [data/parts]
    command: |
      test {rows} -lt 5 || exit 3
      rm -rf data/parts; mkdir data/parts
      split -l 1 -d <(head -{rows} raw.csv) data/parts/
  side: {inputs: [raw.csv], outputs: [side.txt], command: wc -l < raw.csv > side.txt}
  train:
    parameters: {alpha: {type: float, default: 1}}
    inputs: [data]
    outputs: [model.txt]
    command: cat data/kept data/parts/* > model.txt; echo {alpha} >> model.txt; cp model.txt unsaid.txt
  main:
    parameters: {alpha: {type: float, default: 1}}
    needs: [train]
    inputs: [side.txt]
    outputs: [all.txt]
    command: cat unsaid.txt side.txt > all.txt; echo {alpha} >> all.txt
"""


@pytest.fixture
def flowing(project: Path) -> Path:
    """A folder of which one file is made by a step, and a file that nobody declares between two others."""
    (project / "MLproject").write_text(FLOWING)
    (project / ".gitignore").write_text("side.txt\n")  # the rest are untracked files of later steps' sources
    (project / "raw.csv").write_text("10\n20\n30\n40\n")
    (project / "data/kept").write_text("kept\n")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", "flow")
    return project


def steps_of(found: dict[str, Any]) -> dict[str, str]:
    return {step["name"].partition("/")[2]: step["verdict"] for step in found["steps"]}


@pytest.mark.slow
def test_what_is_given_flows_through_a_repeated_pipeline_as_through_a_new_one(
    shell: Shell, flowing: Path
) -> None:
    run(shell, "--name", "one")
    for given in (("rows=2",), ("prepare.rows=2", "train.alpha=7"), ("alpha=7",), ("main.alpha=7",)):
        words = [word for each in given for word in ("-P", each)]
        found = reproduce(shell, "one", *words, code=1)
        new = shell.show(found["repetitions"][0]["id"])
        assert (new["status"], new["parents"]) == ("finished", {"reproduces": found["run"]})
        run(shell, "--name", "other", "--no-cache", *words)
        for path in ("all.txt", "data/parts"):
            for which in ("other", new["id"]):
                assert shell.mlrun("get", which, path, "-o", f"{which}.{path[:3]}").returncode == 0
        assert (flowing / f"{new['id']}.all").read_text() == (flowing / "other.all").read_text()
        names = [
            sorted(it.name for it in (flowing / f"{which}.dat").iterdir()) for which in (new["id"], "other")
        ]
        assert names[0] == names[1]
        assert list((flowing.parent / "cache/work-v1").iterdir()) == []
        shutil.rmtree(flowing / "other.dat")
        (flowing / "other.all").unlink()


@pytest.mark.slow
def test_a_program_that_a_step_made_can_be_run_by_the_next(shell: Shell, project: Path) -> None:
    (project / "MLproject").write_text(
        "name: tools\nenvironment: {requirements: []}\nentry_points:\n"
        "  make:\n    parameters: {word: {default: hi}}\n    outputs: [tool.sh, lnk]\n"
        "    command: echo echo {word} > tool.sh; chmod +x tool.sh; ln -sf tool.sh lnk\n"
        "  main: {inputs: [tool.sh], outputs: [o.txt], command: ./tool.sh > o.txt}\n"
    )
    (project / ".gitignore").write_text("tool.sh\nlnk\no.txt\n")
    run(shell, "--name", "both")
    done = shell.mlrun("run", ".", "--env-manager", "system")
    assert "`lnk` is a link" in done.stderr
    assert "which did not write it" not in done.stderr
    (project / "tool.sh").unlink()
    assert steps_of(reproduce(shell, "both", code=0)) == {"make": "identical", "main": "identical"}
    found = reproduce(shell, "both", "-P", "word=ho", code=1)
    assert found["steps"][1]["repetitions"][0]["exit_code"] == 0
    assert shell.mlrun("get", "both", "tool.sh").returncode == 0
    assert (project / "tool.sh").stat().st_mode & 0o100


@pytest.mark.slow
@pytest.mark.parametrize("how", ["isolated", "url"])
def test_a_pipeline_that_ran_in_a_checkout_is_repeated_in_others(
    shell: Shell, project: Path, how: str
) -> None:
    (project / "MLproject").write_text(
        "name: away\nenvironment: {requirements: []}\nentry_points:\n"
        "  prepare:\n    parameters: {raw: {type: path, default: raw.csv}}\n    outputs: [clean.csv]\n"
        "    command: sort {raw} > clean.csv; pwd\n"
        "  main:\n    parameters: {data: {type: path, default: clean.csv}}\n    outputs: [o.txt]\n"
        "    command: cp {data} o.txt; echo $PWD >> o.txt\n"
    )
    (project / "raw.csv").write_text("2\n1\n")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", "away")
    git(project, "clone", "--quiet", "--bare", ".", str(project.parent / "bare.git"))
    where = (".", "--isolated") if how == "isolated" else (f"file://{project.parent}/bare.git",)
    name = shell.record(*where, "--env-manager", "system", "--name", "both")["name"]
    assert steps_of(reproduce(shell, name, code=0)) == {"prepare": "identical", "main": "equal"}
    assert status_of(shell, where[0]) == (0 if how == "url" else 1)  # nothing was made here
    (project / "raw.csv").write_text("9\n")
    found = reproduce(shell, name, "-P", f"raw={project}/raw.csv", code=1)
    assert steps_of(found) == {"prepare": "different", "main": "different"}


def status_of(shell: Shell, target: str) -> int:
    return shell.mlrun("status", target).returncode


@pytest.mark.slow
def test_of_a_repeated_pipeline_only_what_is_concerned_comes_out_anew(shell: Shell, flowing: Path) -> None:
    run(shell, "--name", "one")
    (flowing / "raw.csv").write_text("another\n")
    (flowing / "unsaid.txt").unlink()
    found = reproduce(shell, "one", "-P", "train.alpha=7", "--runs", "2", code=1)
    assert steps_of(found) == {
        "prepare": "identical", "side": "identical", "train": "different", "main": "different"
    }  # fmt: skip
    assert found["changed"] == ["train.alpha"]
    assert "with another train.alpha" in found["summary"]
    by_name = {step["name"]: step for step in found["steps"]}
    assert [it["name"] for it in by_name["one/train"]["repetitions"][0]["causes"]] == ["alpha"]
    assert by_name["one/main"]["flowing"] == ["train"]
    assert {it["level"] for it in by_name["one/main"]["spread"]} == {"identical"}
    assert len(found["repetitions"]) == 2
    text = shell.mlrun("diff", "one", found["repetitions"][1]["id"]).stdout
    assert "most likely because of: parameter train.alpha 1 → 7" in text
    assert list((flowing.parent / "cache/work-v1").iterdir()) == []


@pytest.mark.slow
def test_a_step_that_fails_with_what_is_given_keeps_from_running_what_goes_on_from_it(
    shell: Shell, flowing: Path
) -> None:
    run(shell, "--name", "one")
    found = reproduce(shell, "one", "-P", "prepare.rows=9", code=1)
    cannot = "cannot-be-repeated"
    assert steps_of(found) == {"prepare": "different", "side": "identical", "train": cannot, "main": cannot}
    by_name = {step["name"]: step for step in found["steps"]}
    assert by_name["one/train"]["reasons"][0]["message"].startswith("`prepare` ended with exit code 3")
    new = shell.show()
    assert (new["status"], new["exit_code"]) == ("failed", 3)
    assert {it["name"]: it["state"] for it in new["steps"]} == {
        "prepare": "failed", "side": "finished", "train": "skipped", "main": "skipped"
    }  # fmt: skip
    done = shell.mlrun("resume")
    assert (done.returncode, "`mlrun reproduce one" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("depth=3", "no step of `one` has a parameter `depth`: there are prepare.rows, "),
        ("train.rows=3", "no step of `one` has a parameter `train.rows`"),
        ("trian.alpha=3", "no step of `main` has a parameter `trian.alpha`"),
    ],
)
@pytest.mark.slow
def test_a_repeated_pipeline_is_given_nothing_that_no_step_had(
    shell: Shell, flowing: Path, given: str, message: str
) -> None:
    assert (flowing / "raw.csv").exists()
    run(shell, "--name", "one")
    done = shell.mlrun("reproduce", "one", "-P", given)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.slow
def test_a_pipeline_that_cannot_be_repeated_is_said_to_be_so_before_its_first_step(
    shell: Shell, project: Path
) -> None:
    (project / "MLproject").write_text(
        "name: steps\nenvironment: {requirements: []}\nentry_points:\n"
        "  prepare: {outputs: [clean.txt], command: echo 5 > clean.txt}\n"
        "  main:\n    parameters: {token: {secret: true}}\n    inputs: [clean.txt]\n    outputs: [o.txt]\n"
        "    command: echo {token} | cksum > o.txt\n"
    )
    (project / ".gitignore").write_text("*.txt\n")
    name = run(shell, "--name", "both", "-P", "token=hidden")["name"]
    found = reproduce(shell, name, code=2)
    assert (found["verdict"], [step["name"] for step in found["steps"]]) == (
        "cannot-be-repeated",
        ["both/main"],
    )
    assert reasons(found["steps"][0]) == ["secret-needed"]
    assert list((project.parent / "cache/work-v1").iterdir()) == []
    for given in ("token=hidden", "main.token=hidden"):
        assert reproduce(shell, name, "-P", given, code=0)["verdict"] == "identical"
    assert reproduce(shell, name, "-P", "token=other", code=1)["verdict"] == "different"


@pytest.mark.slow
def test_an_interruption_is_meant_for_the_steps_to_come_as_well(shell: Shell, project: Path) -> None:
    (project / "MLproject").write_text(
        "name: steps\nenvironment: {requirements: []}\nentry_points:\n"
        "  prepare: {outputs: [clean.txt], command: 'echo 5 > clean.txt; $HINDER'}\n"
        "  main: {inputs: [clean.txt], outputs: [o.txt], command: cp clean.txt o.txt}\n"
    )
    (project / ".gitignore").write_text("*.txt\n")
    shell.variables["HINDER"] = "true"
    run(shell, "--name", "both")
    shell.variables["HINDER"] = "kill -INT 0"
    found = reproduce(shell, "both", code=2)
    assert [step["name"] for step in found["steps"]] == ["both/prepare"]


@pytest.mark.slow
def test_a_repetition_that_is_ended_from_outside_tells_nothing(shell: Shell, project: Path) -> None:
    (project / "MLproject").write_text(
        "name: naps\nenvironment: {requirements: []}\nentry_points:\n  main:\n    timeout: 1s\n"
        "    outputs: [out.txt]\n    command: sleep $NAP; echo 1 > out.txt\n"
    )
    shell.variables["NAP"] = "0"
    run(shell)
    shell.variables["NAP"] = "60"
    found = reproduce(shell, "--runs", "3", code=2)
    assert len(found["repetitions"]) == 1
    assert "ended by its time-out of 1 s, so there is no result to compare" in found["summary"]


@pytest.mark.slow
def test_temporary_files_are_no_reason_not_to(shell: Shell, project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "temporary"
    elsewhere.mkdir()
    (project / "MLproject").write_text(
        "name: out\nenvironment: {requirements: []}\nentry_points:\n  main:\n    outputs: [out.txt]\n"
        f"    command: echo 1 > out.txt; echo 2 > {elsewhere}/cached\n"
    )
    record = run(shell)
    assert str(elsewhere / "cached") in [output["path"] for output in record["outputs"]]
    shell.variables["TMPDIR"] = str(tmp_path / "another")
    assert reasons(reproduce(shell, code=2)) == ["writes-outside"]
    shell.variables["TMPDIR"] = str(elsewhere)
    assert reproduce(shell, code=0)["verdict"] == "identical"


@pytest.mark.slow
def test_what_lies_outside_is_not_overwritten_unawares(shell: Shell, project: Path, tmp_path: Path) -> None:
    place = tmp_path / "results/out.txt"
    place.parent.mkdir()
    (project / "MLproject").write_text(
        f"name: out\nenvironment: {{requirements: []}}\nentry_points:\n  main:\n    outputs: [{place}]\n"
        f"    command: echo hello > {place}\n"
    )
    run(shell)
    place.write_text("mine")
    assert reasons(reproduce(shell, code=2)) == ["writes-outside"]
    assert place.read_text() == "mine"
    assert reproduce(shell, "--allow-overwrite", code=0)["verdict"] == "identical"


# --- environments -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_lock_decides_and_not_what_the_index_serves_now(
    shell: Shell, project: Path, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "seasoning", "1.0.0", source="SALT = 1\n")
    (project / "MLproject").write_text(
        "name: soup\nenvironment: {requirements: [seasoning]}\nentry_points:\n  main:\n"
        "    outputs: [soup.txt]\n    command: python cook.py\n"
    )
    (project / "cook.py").write_text("import seasoning\nopen('soup.txt', 'w').write(str(seasoning.SALT))\n")
    with serving(Index(wheels)) as index:
        shell.variables |= {"UV_INDEX_URL": index.url, "UV_DEFAULT_INDEX": index.url}
        original = shell.record(".")
        make_wheel(wheels, "seasoning", "1.0.1", source="SALT = 2\n")
        shutil.rmtree(tmp_path / "cache")
        assert reproduce(shell, code=0)["verdict"] == "identical"
        new = shell.show()
        assert new["environment"]["packages"] == original["environment"]["packages"]
        again = shell.record(".", "--refresh-env")
        assert [it["version"] for it in again["environment"]["packages"]] == ["1.0.1"]


@pytest.mark.slow
def test_an_interpreter_that_is_missing(shell: Shell) -> None:
    record = shell.record(".")

    def older(content: dict[str, Any]) -> None:
        content["environment"]["python"] = "3.11.0"
        content["environment"]["key"] = "blake3:" + "0" * 64

    path = shell.home.run(record["id"]).record
    content = json.loads(path.read_text())
    older(content)
    path.write_text(json.dumps(content))
    found = reproduce(shell, code=2)
    assert any("3.11.0" in reason["message"] for reason in found["reasons"])
