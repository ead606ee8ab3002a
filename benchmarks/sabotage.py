"""One thing is tampered with between two runs: do mlrun, DVC and MLflow say what it was?

    python -m benchmarks.sabotage --write
    python -m benchmarks.sabotage --only row --verbose

One program, set up for each tool as its documentation recommends: DVC has a stage whose code, data,
parameters and requirements are declared; MLflow logs the parameter, the metric, the table (`log_input`) and
the model (`log_model`, which notes packages and Python). For each kind of sabotage, a project that was run is
tampered with, and the tools are asked: `mlrun status` and `dvc status` before anything runs again, `mlrun
diff` after, MLflow by all that it holds of two runs (parameters, tags, datasets, the files of the model's
environment).

`named` is an answer that names the thing; `noticed`, one that differs from that of an untouched project, but
does not say by what; `missed`, none. `mlrun reproduce` repeats the first run in spite of it, or refuses.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uv

from benchmarks.run import write
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Callable

PYTHONS = ("3.11.7", "3.11.2")
"""Two of one minor version; others are given with --pythons."""

REQUIREMENTS = "scikit-learn==1.7.1\npandas==2.3.3\n"
ROWS = 12_000
_BRACKETS = '[{"}]'
_OURS = ("MLRUN_", "MLFLOW_")
TRAIN = """\
import json, os, sys
import joblib, pandas
from sklearn.linear_model import Ridge
import helper


def fit(alpha, table):
    rows = helper.prepared(table, float(os.environ["SCALE"]))
    model = Ridge(alpha=alpha).fit(rows[["x"]], rows["y"])
    bias = sum(open("data/blob.bin", "rb").read()) / 1000
    return model, {"rmse": float(((model.predict(rows[["x"]]) - rows["y"]) ** 2).mean() ** 0.5) + bias}


if __name__ == "__main__":
    model, metrics = fit(float(sys.argv[1]), pandas.read_csv("data/table.csv"))
    joblib.dump(model, "model.joblib")
    json.dump(metrics, open("metrics.json", "w"))
"""
HELPER = """\
def prepared(table, scale):
    return table.assign(x=table["x"] * scale * 2)
"""
LOGGED = """\
import sys
import mlflow, pandas
import train

table = pandas.read_csv("data/table.csv")
with mlflow.start_run():
    mlflow.log_input(mlflow.data.from_pandas(table, source="data/table.csv", name="table.csv"), "training")
    model, metrics = train.fit(float(sys.argv[1]), table)
    mlflow.log_param("alpha", sys.argv[1])
    mlflow.log_metrics(metrics)
    mlflow.sklearn.log_model(model, name="model", input_example=table[["x"]].head(3))
"""
MLRUN = """\
name: lab
environment: {python: "3.11", requirements: requirements.txt}
entry_points:
  main:
    parameters: {alpha: {type: float, default: 0.5}}
    inputs: [data/table.csv, data/blob.bin]
    outputs: [{path: metrics.json, kind: metrics}, model.joblib]
    env: {SCALE: "1"}
    command: python train.py {alpha}
"""
BOXED = """\
name: lab
docker_env: {image: "IMAGE"}
entry_points: {main: {command: "true"}}
"""
MLFLOW = """\
name: lab
entry_points:
  main:
    parameters: {alpha: {type: float, default: 0.5}}
    command: SCALE=1 python logged.py {alpha}
"""
DVC = """\
stages:
  train:
    cmd: SCALE=1 python train.py ${alpha}
    deps: [train.py, helper.py, data/table.csv, data/blob.bin, requirements.txt]
    params: [alpha]
    outs: [model.joblib]
    metrics: [metrics.json: {cache: false}]
"""
IGNORED = "data\nmetrics.json\nmodel.joblib\n__pycache__\nmlruns\nmlflow.db\nmlartifacts\n"


@value
class Lab:
    """A project in a folder of its own for each tool, and the Python that the user's shell finds."""

    folder: Path
    python: str = PYTHONS[0]
    alpha: str | None = None
    image: bool = False

    @property
    def projects(self) -> tuple[Path, ...]:
        return tuple(self.folder / tool for tool in ("mlrun", "dvc", "mlflow"))


@value
class Sabotage:
    """What is done in each project; what an answer must name, any of these; what else changes."""

    name: str
    do: Callable[[Path], object] = lambda _: None
    words: tuple[str, ...] = ()
    python: int = 0
    alpha: str | None = None
    image: bool = False


@value
class Answer:
    """What a tool said that differs from what it says of an untouched project; None: it cannot be asked."""

    said: str | None
    words: tuple[str, ...] = ()

    def judged(self) -> str:
        """A cell of the table."""
        if self.said is None:
            return "–"
        if not self.said:
            return "missed"
        named = next((word for word in self.words if word in self.said), None)
        return f"named: `{named}`" if named else f"noticed: {self.said.partition(':')[0].strip(_BRACKETS)}"


# --- what is done -------------------------------------------------------------------------------------


def _sub(name: str, before: str, after: str) -> Callable[[Path], object]:
    def do(project: Path) -> None:
        path = project / name
        text = path.read_text() if path.exists() else ""
        if before in text:
            path.write_text(text.replace(before, after, 1))

    return do


def _row(number: int) -> Callable[[Path], object]:
    def do(project: Path) -> None:
        table = project / "data/table.csv"
        lines = table.read_text().split("\n")
        lines[number] = re.sub(r"\d$", lambda digit: str((int(digit[0]) + 1) % 10), lines[number])
        table.write_text("\n".join(lines))

    return do


def _byte(project: Path) -> None:
    content = bytearray((project / "data/blob.bin").read_bytes())
    content[700] ^= 1
    (project / "data/blob.bin").write_bytes(content)


def _line(project: Path) -> None:
    _sub("helper.py", "* 2", "* 3")(project)


def _committed(project: Path) -> None:
    _line(project)
    _git(project, "commit", "-qam", "Three is better")


def _variable(project: Path) -> None:
    for name in ("MLproject", "dvc.yaml"):
        _sub(name, "SCALE=1", "SCALE=2")(project)
        _sub(name, 'SCALE: "1"', 'SCALE: "2"')(project)


SABOTAGE = (
    Sabotage(name="nothing at all"),
    Sabotage(name="one byte of a table, in row 5", do=_row(5), words=("table.csv",)),
    Sabotage(name="a row after row 10,000", do=_row(11_523), words=("table.csv",)),
    Sabotage(name="one byte of a binary file", do=_byte, words=("blob.bin",)),
    Sabotage(name="one line of code, not committed", do=_line, words=("helper.py",)),
    Sabotage(name="one line of code, committed", do=_committed, words=("helper.py",)),
    Sabotage(name="one parameter", alpha="0.6", words=("alpha",)),
    Sabotage(name="one declared variable", do=_variable, words=("SCALE",)),
    Sabotage(
        name="one package's patch version",
        do=_sub("requirements.txt", "==1.7.1", "==1.7.2"),
        words=("scikit-learn", "requirements.txt"),
    ),
    Sabotage(name="Python's patch version", python=1, words=(PYTHONS[1],)),
    Sabotage(name="the image's tag moved", image=True, words=("moved", "image.id")),
)


# --- the tools ----------------------------------------------------------------------------------------


class Tools:
    """The peers, each in an environment of its own, and the environments that their users' shells are in."""

    def __init__(self, folder: Path, pythons: tuple[str, str]) -> None:
        callers = os.environ  # noqa: TID251  the caller's
        self.folder = folder
        self.pythons = pythons
        self.variables = {
            **{name: text for name, text in callers.items() if not name.startswith(_OURS)},
            "MLRUN_HOME": str(folder / "home"),
            "MLRUN_CACHE": str(folder / "cache"),
            "DVC_NO_ANALYTICS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        self.dvc = self._environment("dvc", sys.executable, "dvc") / "bin/dvc"
        self._places: dict[tuple[str, str], Path] = {}

    def users(self, lab: Lab, project: Path) -> Path:
        """The environment that a user of MLflow or DVC makes of the requirements, with that Python."""
        key = (lab.python, (project / "requirements.txt").read_text())
        if key not in self._places:
            name = f"user-{len(self._places)}"
            packages = ["mlflow", "-r", str(project / "requirements.txt")]
            self._places[key] = self._environment(name, self.interpreter(lab.python), *packages)
        return self._places[key]

    def interpreter(self, version: str) -> str:
        """Raises SystemExit where there is none."""
        found = subprocess.run(
            [uv.find_uv_bin(), "python", "find", "--no-project", version],
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode:
            raise SystemExit(f"needs Python {version}: --pythons names two others")
        return found.stdout.strip()

    def call(self, *argv: str | Path, cwd: Path, path: Path | None = None, fails: bool = False) -> str:
        """What it prints. Raises SystemExit with all that was said where it fails."""
        variables = dict(self.variables)
        if path is not None:
            variables["PATH"] = f"{path}{os.pathsep}{variables['PATH']}"
        done = subprocess.run(
            [str(word) for word in argv], cwd=cwd, env=variables, capture_output=True, text=True, check=False
        )
        if done.returncode and not fails:
            raise SystemExit(f"{argv} failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def _environment(self, name: str, python: str, *packages: str) -> Path:
        place = self.folder / name
        tool = uv.find_uv_bin()
        self.call(tool, "venv", "-q", "--python", python, place, cwd=self.folder)
        self.call(tool, "pip", "install", "-q", "--python", place / "bin/python", *packages, cwd=self.folder)
        return place


# --- a project of each tool ---------------------------------------------------------------------------


def _git(project: Path, *words: str) -> None:
    who = ("-c", "user.name=b", "-c", "user.email=b@example.org")
    subprocess.run(["git", *who, *words], cwd=project, check=True, capture_output=True)


def set_up(lab: Lab, tools: Tools) -> None:
    """Three projects that are the same but for what tells each tool what to do."""
    own = {"mlrun": ("MLproject", MLRUN), "dvc": ("dvc.yaml", DVC), "mlflow": ("MLproject", MLFLOW)}
    for project in lab.projects:
        (project / "data").mkdir(parents=True)
        name, text = own[project.name]
        files = {
            name: text,
            "train.py": TRAIN,
            "helper.py": HELPER,
            "requirements.txt": REQUIREMENTS,
            ".gitignore": IGNORED,
            **({"logged.py": LOGGED} if project.name == "mlflow" else {}),
            **({"params.yaml": "alpha: 0.5\n"} if project.name == "dvc" else {}),
        }
        for path, content in files.items():
            (project / path).write_text(content)
        rows = "".join(f"{number},{number % 7}{number % 10}\n" for number in range(ROWS))
        (project / "data/table.csv").write_text("x,y\n" + rows)
        (project / "data/blob.bin").write_bytes(bytes(range(256)) * 4)
        _git(project, "init", "-q")
        if project.name == "dvc":
            tools.call(tools.dvc, "init", "-q", cwd=project)
        _git(project, "add", ".")
        _git(project, "commit", "-qm", "all of it")


class Asked:
    """Each tool is run, and asked what has changed since."""

    def __init__(self, tools: Tools, lab: Lab) -> None:
        self.tools = tools
        self.lab = lab
        self.mlrun_project, self.dvc_project, self.mlflow_project = lab.projects

    # --- mlrun

    def mlrun(self, lab: Lab, *words: str, fails: bool = False) -> str:
        links = self.lab.folder / "bin"
        links.mkdir(exist_ok=True)
        (links / "python").unlink(missing_ok=True)
        (links / "python").symlink_to(self.tools.interpreter(lab.python))
        argv = [sys.executable, "-m", "mlrun", *words]
        return self.tools.call(*argv, cwd=self.mlrun_project, path=links, fails=fails)

    def run_mlrun(self, lab: Lab) -> str:
        """The run's id."""
        given = ("-P", f"alpha={lab.alpha}") if lab.alpha else ()
        return str(json.loads(self.mlrun(lab, "run", ".", "--json", *given))["id"])

    def status(self, lab: Lab) -> str:
        given = ("-P", f"alpha={lab.alpha}") if lab.alpha else ()
        found = json.loads(self.mlrun(lab, "status", "--json", *given, fails=True))
        point = found["entry_points"][0]
        return "; ".join([*(cause["text"] for cause in point["causes"]), *point["unknown"]])

    def diff(self, lab: Lab, before: str, after: str) -> str:
        found = json.loads(self.mlrun(lab, "diff", before, after, "--json", fails=True))
        return "; ".join(cause["text"] for cause in found["causes"])

    def reproduce(self, lab: Lab, run: str) -> str:
        found = json.loads(self.mlrun(lab, "reproduce", run, "--json", "-q", fails=True))
        if found["reasons"]:
            return f"refused: {'; '.join(reason['message'] for reason in found['reasons'])}"
        return str(found["verdict"])

    # --- DVC

    def run_dvc(self, lab: Lab) -> None:
        place = self.tools.users(lab, self.dvc_project) / "bin"
        self.tools.call(self.tools.dvc, "repro", "-q", cwd=self.dvc_project, path=place)

    def dvc_status(self, lab: Lab) -> str:
        """`dvc status` with the files and parameters that it names; empty where all is up to date."""
        if lab.alpha:
            (self.dvc_project / "params.yaml").write_text(f"alpha: {lab.alpha}\n")
        found = json.loads(self.tools.call(self.tools.dvc, "status", "--json", cwd=self.dvc_project))
        return json.dumps(found["train"]) if found else ""

    # --- MLflow

    def run_mlflow(self, lab: Lab) -> dict[str, str]:
        """All that MLflow holds of a run: facts by name."""
        place = self.tools.users(lab, self.mlflow_project) / "bin"
        given = ("-P", f"alpha={lab.alpha}") if lab.alpha else ()
        words = ("run", ".", "--env-manager", "local", *given)
        self.tools.call(place / "mlflow", *words, cwd=self.mlflow_project, path=place)
        said = self.tools.call(place / "python", "-c", _FACTS, cwd=self.mlflow_project)
        facts: dict[str, str] = json.loads(said.strip().splitlines()[-1])
        return facts


_FACTS = """
import json, pathlib, mlflow
client = mlflow.MlflowClient()
run = client.search_runs(["0"], order_by=["attributes.start_time DESC"], max_results=1)[0]
aside = ("mlflow.runName", "mlflow.log-model.history", "mlflow.runColor")
facts = {f"params.{name}": text for name, text in run.data.params.items()}
facts |= {f"tags.{name}": text for name, text in run.data.tags.items() if name not in aside}
for used in run.inputs.dataset_inputs:
    facts[f"datasets.{used.dataset.name}"] = used.dataset.digest
for made in run.outputs.model_outputs if run.outputs else ():
    place = pathlib.Path(mlflow.artifacts.download_artifacts(f"models:/{made.model_id}"))
    for name in ("requirements.txt", "python_env.yaml"):
        for line in (place / name).read_text().splitlines():
            word = line.strip("- ").replace("==", " ").replace(":", " ").split()
            if word:
                facts[f"model/{name} {word[0]}"] = " ".join(word[1:])
print(json.dumps(facts))
"""


def _unlike(before: dict[str, str], after: dict[str, str]) -> str:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return "; ".join(f"{name}: {before.get(name)} → {after.get(name)}" for name in names)


# --- one sabotage -------------------------------------------------------------------------------------


@value
class Before:
    """The first run of each tool, and how to get back to just after it."""

    lab: Lab
    original: str
    facts: dict[str, str]
    home: Path

    def again(self) -> None:
        """The projects and the store as they were, in the same place."""
        for place in (self.lab.folder, self.home):
            shutil.rmtree(place)
            shutil.copytree(_saved(place), place, symlinks=True)


def _saved(place: Path) -> Path:
    return place.with_name(f"{place.name}.saved")


def first_runs(tools: Tools) -> Before:
    """Run the untouched projects."""
    lab = Lab(folder=tools.folder / "lab", python=tools.pythons[0])
    set_up(lab, tools)
    asked = Asked(tools, lab)
    original = asked.run_mlrun(lab)
    asked.run_dvc(lab)
    before = Before(lab=lab, original=original, facts=asked.run_mlflow(lab), home=tools.folder / "home")
    for place in (lab.folder, before.home):
        shutil.copytree(place, _saved(place), symlinks=True)
    return before


def try_one(sabotage: Sabotage, tools: Tools, before: Before, *, verbose: bool) -> str:
    """A line of the table."""
    before.again()
    lab, original, facts, folder = before.lab, before.original, before.facts, before.lab.folder
    asked = Asked(tools, lab)
    for project in lab.projects:
        sabotage.do(project)
    now = Lab(folder=folder, python=tools.pythons[sabotage.python], alpha=sabotage.alpha)
    status = asked.status(now)
    dvc = asked.dvc_status(now)
    diff = asked.diff(now, original, asked.run_mlrun(now))
    mlflow = _unlike(facts, asked.run_mlflow(now))
    words = (*sabotage.words, tools.pythons[1]) if sabotage.python else sabotage.words
    answers = [Answer(said=said, words=words) for said in (status, diff, dvc, mlflow)]
    if verbose:
        print(json.dumps({sabotage.name: [status, diff, dvc, mlflow]}, indent=2), flush=True)
    return _line_of(sabotage, answers, asked.reproduce(now, original))


def try_image(sabotage: Sabotage, tools: Tools, folder: Path, *, verbose: bool) -> str:
    """With containers: an image's name leads to another image. DVC knows none."""
    from tests.docker_engine import base_image, connect

    client = connect()
    tag = f"mlrun-benchmark-moved:{os.getpid()}"
    repository, _, version = tag.partition(":")
    client.api.tag(base_image(client), repository, version)
    place = tools.users(Lab(folder=folder, python=tools.pythons[0]), _boxed(folder, tag))
    lab = Lab(folder=folder, python=tools.pythons[0])
    asked = Asked(tools, lab)

    def mlflow() -> dict[str, str]:
        tools.call(place / "bin/mlflow", "run", ".", cwd=asked.mlflow_project, path=place / "bin")
        said = tools.call(place / "bin/python", "-c", _FACTS, cwd=asked.mlflow_project)
        found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
        return found

    try:
        original, facts = asked.run_mlrun(lab), mlflow()
        facts = facts if facts == mlflow() else {}  # its own image is another each time: that tells nothing
        container = client.api.create_container(tag, ["true"])
        client.api.commit(container, repository, version, changes=["ENV PATCHED=1"])
        client.api.remove_container(container)
        status = asked.status(lab)
        diff = asked.diff(lab, original, asked.run_mlrun(lab))
        told = _unlike(facts, mlflow()) if facts else ""
        again = asked.reproduce(lab, original)
    finally:
        client.api.remove_image(tag, noprune=True, force=True)
        client.close()
    if verbose:
        print(json.dumps({sabotage.name: [status, diff, None, told]}, indent=2), flush=True)
    answers = [Answer(said=said, words=sabotage.words) for said in (status, diff, None, told)]
    return _line_of(sabotage, answers, again)


def _boxed(folder: Path, tag: str) -> Path:
    for name in ("mlrun", "mlflow"):
        project = folder / name
        project.mkdir(parents=True)
        (project / "MLproject").write_text(BOXED.replace("IMAGE", tag))
        (project / ".gitignore").write_text(IGNORED)
        (project / "requirements.txt").write_text(REQUIREMENTS)
        _git(project, "init", "-q")
        _git(project, "add", ".")
        _git(project, "commit", "-qm", "all of it")
    return folder / "mlflow"


def _line_of(sabotage: Sabotage, answers: list[Answer], again: str) -> str:
    if not sabotage.words:
        cells = ["nothing said" if answer.said == "" else f"false alarm: {answer.said}" for answer in answers]
    else:
        cells = [answer.judged() for answer in answers]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (sabotage.name, *cells, again)) + " |"


HEADER = [
    "| tampered with | `mlrun status` | `mlrun diff` | `dvc status` | MLflow, two runs | `mlrun reproduce` |",
    "|---|---|---|---|---|---|",
]


def main() -> None:
    """Try them all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="kinds whose name contains this")
    parser.add_argument(
        "--pythons", nargs=2, default=PYTHONS, metavar="X.Y.Z", help="two of one minor version"
    )
    parser.add_argument("--verbose", action="store_true", help="print what each tool said")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlrun-sabotage-") as folder:
        tools = Tools(Path(folder), tuple(given.pythons))
        before = first_runs(tools)
        rows = list(HEADER)
        for sabotage in SABOTAGE:
            if given.only not in sabotage.name:
                continue
            if sabotage.image:
                rows.append(try_image(sabotage, tools, Path(folder, "boxed"), verbose=given.verbose))
            else:
                rows.append(try_one(sabotage, tools, before, verbose=given.verbose))
            print(rows[-1], flush=True)
    if given.write:
        write("sabotage", rows)


if __name__ == "__main__":
    main()
