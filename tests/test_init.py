"""What is proposed for directories of many kinds; every proposal must pass `mlrun check`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlrun import project as projects
from mlrun.check import check
from mlrun.errors import ProjectError
from mlrun.init import propose, write
from mlrun.model import RunRequest
from mlrun.resolve import resolve

if TYPE_CHECKING:
    from mlrun.init import Proposal

EXAMPLES = Path(__file__).parent.parent / "examples"

ARGPARSE = """\
import argparse, json
import numpy as np
from sklearn.linear_model import ElasticNet
import helpers

RATE = 0.01
parser = argparse.ArgumentParser()
parser.add_argument("data", help="where the points are")
parser.add_argument("--alpha", "-a", type=float, default=0.5, help="strength (default: %(default)s)")
parser.add_argument("--learning-rate", type=float, default=RATE)
parser.add_argument("--kind", choices=["ridge", "lasso"], default="ridge")
parser.add_argument("--depth", type=int, choices=(3, 5), required=True)
parser.add_argument("--config", default="config.yaml")
parser.add_argument("--output", default="config.yaml")
parser.add_argument("--shift", type=float, default=-1.5, help="100%% of it: yes")
parser.add_argument("--verbose", action="store_true")
parser.add_argument("--layers", type=int, nargs="+", default=[1])
parser.add_argument("--seed", type=int)
parser.add_argument("--epochs", default=10)
parser.add_argument("--when", default=str(1))
args = parser.parse_args()
if args.verbose:
    open("only-sometimes.txt", "w")
with open("metrics.json", "w") as file:
    json.dump({}, file)
"""


def files(directory: Path, **contents: str) -> Path:
    for name, text in contents.items():
        path = directory / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def script(text: str) -> str:
    return f'if __name__ == "__main__":\n    pass\n{text}'


def proposed(directory: Path) -> Proposal:
    """The proposal, checked."""
    proposal = propose(directory)
    write(proposal)
    report = check(directory)
    assert [f"{it.place}: {it.message}" for it in report.findings] == []
    return proposal


def entry_points(proposal: Proposal) -> dict[str, str]:
    return {it.name: it.command for it in projects.read(proposal.path.parent).entry_points}


def parameters(directory: Path) -> str:
    """The parameters' lines, and the command, of the one entry point."""
    text = proposed(directory).text
    return "\n".join(line.strip() for line in text.split("main:\n")[1].splitlines())


# --- whole proposals ----------------------------------------------------------------------------------


def test_a_script_with_argparse_becomes_a_whole_project(tmp_path: Path) -> None:
    directory = tmp_path / "wine"
    directory.mkdir()
    files(directory, train__py=ARGPARSE, helpers__py="import yaml, os, numpy.random\n", config__yaml="a: 1\n")
    proposal = proposed(directory)
    assert proposal.text == (
        "name: wine\n"
        "\n"
        "environment:\n"
        "  requirements:\n"
        "    - numpy\n"
        "    - PyYAML\n"
        "    - scikit-learn\n"
        "\n"
        "entry_points:\n"
        "  main:\n"
        "    parameters:\n"
        "      data: {type: string, description: where the points are}\n"
        "      alpha: {type: float, default: 0.5, description: strength}\n"
        "      learning_rate: {type: float, default: 0.01}\n"
        "      kind: {type: choice, choices: [ridge, lasso], default: ridge}\n"
        "      depth: {type: int, choices: [3, 5]}\n"
        "      config: {type: path, default: config.yaml}\n"
        "      output: {type: string, default: config.yaml}\n"
        '      shift: {type: float, default: -1.5, description: "100% of it: yes"}\n'
        "    outputs:\n"
        "      - {path: metrics.json, kind: metrics}\n"
        '    command: "python train.py {data} --alpha {alpha} --learning-rate {learning_rate} --kind {kind} '
        '--depth {depth} --config {config} --output {output} --shift {shift}"\n'
    )
    assert proposal.guesses[:2] == (
        "the environment is what the scripts import, unpinned: numpy, PyYAML, scikit-learn",
        "`main` runs train.py: it uses argparse",
    )
    names = "data, alpha, learning_rate, kind, depth, config, output, shift"
    assert proposal.guesses[2] == f"`main` takes {names}: from the argparse arguments"
    assert proposal.guesses[3] == (
        "`main` does not take `--verbose` (a switch), `--layers` (a list of values), "
        "`--seed` (optional, without a default), "
        "`--epochs` (given as text, it would not be the number that its default is), "
        "`--when` (its default is computed)"
    )
    assert proposal.guesses[4:] == ("`main` makes metrics.json",)


@pytest.mark.parametrize("name", ["wine", "any-language"])
def test_the_examples_could_have_been_proposed(name: str, tmp_path: Path) -> None:
    directory = tmp_path / name
    shutil.copytree(EXAMPLES / name, directory)
    own = projects.read(directory)
    (directory / "MLproject").unlink()
    proposed(directory)
    again = projects.read(directory)
    assert again.name == own.name
    assert [it.name for it in again.entry_points] == ["main"]
    if name == "wine":
        assert again.environment.path == own.environment.path
        assert again.entry_points[0].command == own.entry_points[0].command
        assert [it.path for it in again.entry_points[0].outputs] == [
            it.path for it in own.entry_points[0].outputs
        ]


def test_the_classic_arguments_of_mlflow_examples_are_understood(tmp_path: Path) -> None:
    text = (
        "import sys\nalpha = float(sys.argv[1]) if len(sys.argv) > 1 else 0.5\n"
        "l1_ratio = 0.1 if len(sys.argv) < 3 else float(sys.argv[2])\n"
        "print(sys.argv[3])\nname = sys.argv[4]\n"
    )
    assert parameters(files(tmp_path, train__py=text)) == (
        "parameters:\n"
        "alpha: {type: float, default: 0.5}\n"
        "l1_ratio: {type: float, default: 0.1}\n"
        "argument_3: string\n"
        "name: string\n"
        'command: "python train.py {alpha} {l1_ratio} {argument_3} {name}"'
    )


def test_click_options_become_parameters(tmp_path: Path) -> None:
    text = """\
import click
@click.command()
@click.option("-n", "--rounds", default=10, help="how many")
@click.option("--rate", type=click.FloatRange(0, 1), default=0.5)
@click.option("--mode", type=click.Choice(["fast", "slow"]), default="fast")
@click.option("--name", required=True)
@click.option("--dry/--wet", default=False)
@click.option("--loud", is_flag=True)
@click.option("--tag", multiple=True)
@click.option("--seed", type=int)
@click.argument("source", type=click.Path())
@click.argument("rest", nargs=-1)
def main(**options): ...
main()
"""
    assert parameters(files(tmp_path, run__py=text)) == (
        "parameters:\n"
        "source: string\n"
        "rounds: {type: int, default: 10, description: how many}\n"
        "rate: {type: float, default: 0.5}\n"
        "mode: {type: choice, choices: [fast, slow], default: fast}\n"
        "name: string\n"
        'command: "python run.py {source} --rounds {rounds} --rate {rate} --mode {mode} --name {name}"'
    )


def test_typer_parameters_become_parameters(tmp_path: Path) -> None:
    text = """\
import typer
from typing import Annotated
from pathlib import Path
app = typer.Typer()
@app.command()
def main(source: Path, alpha: float = 0.5, n: int = typer.Option(3, "--rounds", help="how many"),
         model: str = typer.Option(...), seed: Annotated[int, typer.Option(help="luck")] = 7,
         loud: bool = False, label: str = None): ...
app()
"""
    assert parameters(files(tmp_path, run__py=text)) == (
        "parameters:\n"
        "source: string\n"
        "alpha: {type: float, default: 0.5}\n"
        "n: {type: int, default: 3, description: how many}\n"
        "model: string\n"
        "seed: {type: int, default: 7, description: luck}\n"
        'command: "python run.py {source} --alpha {alpha} --rounds {n} --model {model} --seed {seed}"'
    )


def test_the_function_given_to_fire_is_read(tmp_path: Path) -> None:
    text = "import fire\ndef train(data, alpha=0.5, *, name='x', n=None): ...\nfire.Fire(train)\n"
    assert parameters(files(tmp_path, run__py=text)) == (
        "parameters:\n"
        "data: string\n"
        "alpha: {type: float, default: 0.5}\n"
        "name: {type: string, default: x}\n"
        'command: "python run.py --data {data} --alpha {alpha} --name {name}"'
    )


@pytest.mark.parametrize(
    "text",
    [
        "import argparse\np = argparse.ArgumentParser()\np.add_subparsers()\np.add_argument('--x')",
        "import click\n@click.group()\ndef a(): ...\n@a.command()\n@click.option('--x')\ndef b(): ...",
        "import typer\na = typer.Typer()\n@a.command()\ndef b(x: int): ...\n@a.command()\ndef c(): ...",
    ],
)
def test_subcommands_are_left_to_the_author(text: str, tmp_path: Path) -> None:
    proposal = proposed(files(tmp_path, run__py=text))
    assert entry_points(proposal) == {"main": "python run.py"}
    assert proposal.guesses[-1] == "`main` does not take subcommands"


# --- which scripts ------------------------------------------------------------------------------------


def test_train_comes_before_main_and_tests_and_helpers_do_not_come_at_all(tmp_path: Path) -> None:
    scripts = dict.fromkeys(
        ["evaluate__py", "main__py", "train__py", "test_it__py", "conftest__py"], script("")
    )
    proposal = proposed(files(tmp_path, **scripts, helpers__py="X = 1\n", clean__sh="rm -f x\n"))
    assert entry_points(proposal) == {
        "main": "python train.py",
        "main-2": "python main.py",
        "evaluate": "python evaluate.py",
        "clean": "bash clean.sh",
    }


def test_scripts_in_folders_count_where_the_top_has_none(tmp_path: Path) -> None:
    proposal = proposed(
        files(
            tmp_path,
            **{
                "src/train.py": script("import pandas"),
                "src/pkg/__init__.py".replace("__", "__"): "",
                "jobs/train.py": script(""),
                "venv/lib/train.py": script(""),
                ".hidden/train.py": script(""),
            },
        )
    )
    assert entry_points(proposal) == {"main": "python jobs/train.py", "train": "python src/train.py"}


def test_python_in_folders_comes_before_shell_scripts_at_the_top(tmp_path: Path) -> None:
    proposal = proposed(files(tmp_path, **{"serve.sh": "", "src/model.py": script("")}))
    assert entry_points(proposal) == {"main": "python src/model.py", "serve": "bash serve.sh"}


def test_a_module_that_imports_its_siblings_runs_as_a_module(tmp_path: Path) -> None:
    directory = files(
        tmp_path, **{"pkg/train.py": script("from . import data\n"), "pkg/data.py": "import torch\n"}
    )
    proposal = proposed(directory)
    assert entry_points(proposal) == {"main": "python -m pkg.train"}
    assert "    - torch\n" in proposal.text


def test_files_that_do_something_count_where_none_says_that_it_is_a_script(tmp_path: Path) -> None:
    proposal = proposed(
        files(tmp_path, a__py="import b\nx = b.f()\n", b__py="y = 1\n", c__py="def f(): ...\n")
    )
    assert entry_points(proposal) == {"main": "python a.py"}


def test_a_directory_without_scripts_is_told_so(tmp_path: Path) -> None:
    files(tmp_path, notes__txt="", broken__py="def (", binary__py="\0")
    with pytest.raises(ProjectError, match="found no script to run") as caught:
        propose(tmp_path)
    assert caught.value.code == "nothing-to-run"


def test_a_directory_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="there is no directory"):
        propose(tmp_path / "missing")


# --- environments -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("python_env.yaml", "dependencies: [pandas]\n", "python_env: python_env.yaml"),
        ("conda.yaml", "dependencies: [pip, {pip: [pandas]}]\n", "conda_env: conda.yaml"),
        ("environment.yml", "dependencies: [pip, {pip: [pandas]}]\n", "conda_env: environment.yml"),
        ("requirements.txt", "pandas\n", "environment: {requirements: requirements.txt}"),
        ("uv.lock", "", "environment: {requirements: uv.lock}"),
        ("pylock.toml", "", "environment: {requirements: pylock.toml}"),
        ("pyproject.toml", "[project]\nname = 'x'\n", "environment: {requirements: pyproject.toml}"),
        ("setup.py", "setup(install_requires=['pandas'])\n", "environment: {requirements: setup.py}"),
    ],
)
def test_an_environment_file_is_named(name: str, content: str, line: str, tmp_path: Path) -> None:
    files(tmp_path, **{name: content, "train.py": script("import pandas\n")})
    assert f"\n{line}\n" in proposed(tmp_path).text


@pytest.mark.parametrize("content", ["[tool.ruff]\n", "no toml", ""])
def test_settings_of_tools_are_no_environment(content: str, tmp_path: Path) -> None:
    proposal = propose(files(tmp_path, pyproject__toml=content, train__py="import pandas\n"))
    assert "    - pandas\n" in proposal.text


def test_imports_become_the_names_that_pypi_knows(tmp_path: Path) -> None:
    text = """\
import os, json, cv2, PIL.Image, bs4, dotenv, skimage.io, my_package.sub as m
from sklearn import svm
from google.cloud import storage
from typing import TYPE_CHECKING
import local
from folder import inner
from . import sibling
if TYPE_CHECKING:
    import for_types
try:
    import faster
except ImportError:
    import slower
try:
    import wanted
except ImportError:
    raise SystemExit("install wanted")
def late():
    import tqdm
"""
    directory = files(
        tmp_path,
        train__py=script(text),
        local__py="import scipy\n",
        sibling__py="import statsmodels\n",
        **{"folder/inner.py": "import lightgbm\n"},
    )
    assert list(projects.read(proposed(directory).path.parent).environment.requirements) == [
        "beautifulsoup4",
        "google-cloud-storage",
        "lightgbm",
        "my-package",
        "opencv-python-headless",
        "pillow",
        "python-dotenv",
        "scikit-image",
        "scikit-learn",
        "scipy",
        "slower",
        "statsmodels",
        "tqdm",
        "wanted",
    ]


# --- outputs ------------------------------------------------------------------------------------------


def test_files_that_are_surely_written_become_outputs(tmp_path: Path) -> None:
    text = """\
def main():
    fig.savefig("plots/roc.png")
    joblib.dump(model, "model.pkl")
    torch.save(model.state_dict(), Path("net.pt"))
    frame.to_csv("clean data.csv", index=False)
    np.save("x.npy", x)
    open("scores.yaml", mode="w").write("")
    Path("notes.txt").write_text("")
    open("read.txt"); open("log.txt", "a"); open(name, "w"); open(f"{n}.txt", "w")
    open("/tmp/x", "w"); open("../y", "w"); open("{z}.txt", "w"); open("*.txt", "w")
    if late:
        open("perhaps.txt", "w")
    open("notes.txt", "w")
"""
    assert proposed(files(tmp_path, train__py=script(text))).text.split("outputs:\n")[1] == (
        "      - {path: plots/roc.png, kind: figure}\n"
        "      - {path: model.pkl, kind: model}\n"
        "      - {path: net.pt, kind: model}\n"
        "      - {path: clean data.csv, kind: data}\n"
        "      - {path: x.npy, kind: data}\n"
        "      - {path: scores.yaml, kind: metrics}\n"
        "      - notes.txt\n"
        "    command: python train.py\n"
    )


# --- hostile things -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "a b.sh",
        "it's.sh",
        '"q".sh',
        "$(touch pwned).sh",
        "{x}.sh",
        "-n.sh",
        ";id;.sh",
        "ü: #.sh",
        "*.sh",
        "~.sh",
    ],
)
def test_a_hostile_file_name_runs_that_file_and_nothing_else(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("printf ran\n")
    proposal = proposed(tmp_path)
    assert len(entry_points(proposal)) == 1
    request = RunRequest(target=".", entry_point="main")
    spec = resolve(projects.read(tmp_path), request, files=_Nowhere())
    done = subprocess.run(spec.argv, cwd=tmp_path, capture_output=True)
    assert (done.stdout, done.stderr, done.returncode) == (b"ran", b"", 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "MLproject"])


class _Nowhere:
    project_directory = "/"
    caller_directory = "/"

    def exists(self, path: str) -> bool:
        raise AssertionError(path)

    def download(self, url: str) -> str:
        raise AssertionError(url)


def test_names_that_no_yaml_can_hold_are_passed_over(tmp_path: Path) -> None:
    for name in (b"new\nline.sh", b"latin\xe9.sh", b"bell\x07.sh", b"fine.sh"):
        with open(bytes(tmp_path) + b"/" + name, "wb"):
            pass
    assert entry_points(proposed(tmp_path)) == {"main": "bash fine.sh"}


def test_a_directory_with_a_hostile_name_names_the_project(hostile_path: Path) -> None:
    proposed(files(hostile_path, train__py=""))
    assert projects.read(hostile_path).name == hostile_path.name


def test_hostile_literals_in_a_script_stay_text(tmp_path: Path) -> None:
    text = r"""
import argparse
p = argparse.ArgumentParser()
p.add_argument("--a", default="x: {y}, [z] # ' \" $(id) `id`", help="{a} %s: - [b] # \"c\" 'd'")
p.add_argument("--b", default="yes", choices=["yes", "no", "1.0", "{x}"])
p.add_argument("--c", default="a\nb")
p.add_argument("--d'; id", default="x")
p.add_argument("--e", default="")
p.add_argument("{f}", default="")
p.add_argument("--a", default="again")
"""
    proposed(files(tmp_path, train__py=text))
    (main,) = projects.read(tmp_path).entry_points
    assert [(it.name, it.default, it.choices) for it in main.parameters] == [
        ("a", "x: {y}, [z] # ' \" $(id) `id`", ()),
        ("b", "yes", ("yes", "no", "1.0", "{x}")),
        ("e", "", ()),
    ]
    assert main.command == "python train.py --a {a} --b {b} --e {e}"


@pytest.mark.parametrize(
    "text", ["(" * 5000, "x = " + "-" * 100_000 + "1", "a" + ".b" * 50_000, "\udcff", "# \xff"]
)
def test_source_that_no_parser_likes_does_no_harm(text: str, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert entry_points(proposed(files(tmp_path, train__py=script("")))) == {"main": "python train.py"}


# --- writing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["MLproject", "mlproject"])
def test_a_project_file_that_is_there_is_never_overwritten(name: str, tmp_path: Path) -> None:
    proposal = propose(files(tmp_path, train__py=""))
    (tmp_path / name).write_text("name: mine\n")
    with pytest.raises(ProjectError) as caught:
        write(proposal)
    assert caught.value.code == "project-exists"
    assert (tmp_path / name).read_text() == "name: mine\n"


def test_a_directory_that_cannot_be_written_to_is_told_so(tmp_path: Path) -> None:
    proposal = propose(files(tmp_path / "gone", **{"train.py": ""}))
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(ProjectError) as caught:
        write(proposal)
    assert caught.value.code == "cannot-write"
