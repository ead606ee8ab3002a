"""What `mlrun check` finds in a project without running it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlrun.check import Report, check
from mlrun.errors import ProjectError, UsageError

EXAMPLES = Path(__file__).parent.parent / "examples"
HEAD = "environment: {requirements: []}\nentry_points:\n"


def write(directory: Path, entry_points: str, head: str = HEAD) -> Path:
    """A project; the entry points start in line 3."""
    (directory / "MLproject").write_text(head + entry_points)
    return directory


def found(directory: Path) -> list[str]:
    return [
        f"{it.place.line if it.place else '-'} {it.level} {it.code}: {it.message}"
        for it in check(directory).findings
    ]


def hints(directory: Path) -> list[str | None]:
    return [it.hint for it in check(directory).findings]


# --- reports ------------------------------------------------------------------------------------------


def test_the_examples_are_fine(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "wine", tmp_path / "wine")
    report = check(tmp_path / "wine")
    assert report == Report(file="MLproject", findings=(), entry_points=("main",))
    assert report.worst is None


def test_a_project_file_may_be_named_itself(tmp_path: Path) -> None:
    write(tmp_path, "  main: {command: run}\n")
    assert check(tmp_path / "MLproject") == check(tmp_path)


def test_another_file_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "train.py").touch()
    with pytest.raises(UsageError, match=r"train\.py is not a project file"):
        check(tmp_path / "train.py")


def test_a_directory_without_a_project_file_says_what_could_run(tmp_path: Path) -> None:
    (tmp_path / "train.py").touch()
    report = check(tmp_path)
    assert report.file is None
    assert found(tmp_path) == ["- error no-project-file: there is no MLproject here"]
    assert hints(tmp_path) == [
        "`mlrun init` writes one; without one, `mlrun run . -e train.py` runs a script"
    ]


def test_nothing_can_be_said_of_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProjectError):
        check(tmp_path / "missing")


def test_errors_and_warnings_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    write(
        tmp_path, "  main: {command: 'run {b}', parameters: {a: int}}\n  main: {command: 'run {b}'}\n  x: 1\n"
    )
    assert [text.split(":")[0] for text in found(tmp_path)] == [
        "4 warning doubled-key",
        "4 error bad-placeholder",
        "5 error bad-entry-point",
    ]
    assert check(tmp_path).worst == "error"


def test_a_file_that_is_no_yaml_is_one_finding(tmp_path: Path) -> None:
    (tmp_path / "MLproject").write_text("a: b: c\n")
    assert check(tmp_path).file == "MLproject"
    assert found(tmp_path) == ["1 error bad-yaml: a `key: value` cannot start here"]


# --- commands and parameters --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry_point", "message", "hint"),
    [
        (
            "{command: 'run {alpa}', parameters: {alpha: float}}",
            "`{alpa}` in `run {alpa}` is no declared parameter",
            "did you mean `{alpha}`?",
        ),
        (
            "{command: run, outputs: ['{x}.csv']}",
            "`{x}` in `{x}.csv` is no declared parameter",
            "a brace that is meant as such is doubled: `{{` and `}}`",
        ),
        (
            "{command: \"awk '{print}' f\"}",
            "`{print}` in `awk '{print}' f` is no declared parameter",
            "a brace that is meant as such is doubled: `{{` and `}}`",
        ),
    ],
)
def test_placeholders_without_a_parameter_are_errors(
    entry_point: str, message: str, hint: str, tmp_path: Path
) -> None:
    write(tmp_path, f"  main: {entry_point}\n")
    (finding,) = [it for it in check(tmp_path).findings if it.level == "error"]
    assert (finding.code, finding.message, finding.hint) == ("bad-placeholder", message, hint)


def test_required_parameters_of_every_kind_raise_no_alarm(tmp_path: Path) -> None:
    kinds = "a: string, b: float, c: int, d: bool, e: path, f: uri, g: {type: choice, choices: [x, y]}"
    bounds = "h: {type: int, min: 3}, i: {type: float, max: -1.5}, j: {type: banana}"
    command = "run {a} {b} {c} {d} {e} {f} {g} {h} {i} {j} $(( {c} + 1 ))"
    write(tmp_path, f"  main: {{command: '{command}', parameters: {{{kinds}, {bounds}}}}}\n")
    assert found(tmp_path) == [
        "3 warning unknown-type: type `banana` is not known: any value is taken, as text"
    ]


def test_defaults_are_tried(tmp_path: Path) -> None:
    write(
        tmp_path,
        "  main:\n    command: 'run {a} {b}'\n    parameters:\n      a: {type: float, default: None}\n"
        "      b: {type: uri, default: nowhere}\n",
    )
    assert found(tmp_path) == [
        "7 error not-a-uri: `b` must be a URI with a scheme, not `nowhere`",
    ]
    write(
        tmp_path, "  main:\n    command: 'run {a}'\n    parameters:\n      a: {type: float, default: much}\n"
    )
    assert found(tmp_path) == [
        "6 warning type-mismatch: `a` is declared as float, but its value is not a number: `much`"
    ]


def test_a_parameter_that_is_never_used_is_noticed(tmp_path: Path) -> None:
    write(
        tmp_path,
        "  main:\n    command: 'run {a} {b:>3}'\n    inputs: ['{c}']\n    env: {D: '{d}'}\n"
        "    parameters: {a: int, b: int, c: path, d: string, e: string}\n",
    )
    assert found(tmp_path) == ["7 warning unused-parameter: parameter `e` of `main` is never used"]


def test_a_path_that_is_not_there_is_noticed_unless_it_will_be_made(tmp_path: Path) -> None:
    (tmp_path / "there.csv").touch()
    write(
        tmp_path,
        "  prepare: {command: run, outputs: [made.csv]}\n"
        "  main:\n"
        "    command: 'run {a} {b} {c} {d}'\n"
        "    parameters:\n"
        "      a: {type: path, default: there.csv}\n"
        "      b: {type: path, default: made.csv}\n"
        "      c: {type: path, default: 'https://example.org/x.csv'}\n"
        "      d: {type: path, default: gone.csv}\n",
    )
    assert found(tmp_path) == [
        "10 warning no-such-path: the default of `d` is not in the project: there is no `gone.csv`"
    ]


def test_a_secret_with_a_default_is_noticed_and_not_shown(tmp_path: Path) -> None:
    write(tmp_path, "  main: {command: 'run {key}', parameters: {key: {secret: true, default: s3cret}}}\n")
    assert found(tmp_path) == [
        "3 warning secret-default: the default of the secret `key` is in the project file for all to read"
    ]


@pytest.mark.parametrize(
    "command",
    ["python gone.py --x", "python -u gone.py", "cp a b && bash gone.sh", "./gone.sh", "Rscript gone.R; ls"],
)
def test_scripts_that_are_not_there_are_noticed(command: str, tmp_path: Path) -> None:
    write(tmp_path, f"  main: {{command: '{command}'}}\n")
    assert [text.split("`, ")[1] for text in found(tmp_path)] == ["which does not exist"]


@pytest.mark.parametrize(
    "command",
    ["python there.py", "python -m gone.py", "cd sub && python gone.py", "python {x}.py", "run --to gone.py"],
)
def test_scripts_that_are_there_or_not_sure_to_be_scripts_are_not(command: str, tmp_path: Path) -> None:
    (tmp_path / "there.py").touch()
    parameters = "{x: string}" if "{x}" in command else "{}"
    write(tmp_path, f"  main: {{command: '{command}', parameters: {parameters}}}\n")
    assert found(tmp_path) == []


def test_a_line_end_behind_a_command_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, "  main:\n    command: |\n      run\n  clipped:\n    command: |-\n      run\n")
    assert [text.split(":")[0] for text in found(tmp_path)] == ["3 warning trailing-newline"]


# --- the whole ----------------------------------------------------------------------------------------


def test_a_project_without_main_says_how_it_runs(tmp_path: Path) -> None:
    write(tmp_path, "  train: {command: run}\n  test: {command: run}\n")
    assert found(tmp_path) == [
        "3 warning no-main: no entry point is called `main`, which is what `mlrun run` runs"
    ]
    assert hints(tmp_path) == ["`mlrun run . -e train`"]


def test_a_project_without_entry_points_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, "", head="environment: {requirements: []}\n")
    assert found(tmp_path) == ["- warning no-entry-points: the project declares no entry points"]


def test_needs_that_nobody_declares_are_errors(tmp_path: Path) -> None:
    write(tmp_path, "  main: {command: run, needs: [prepar]}\n  prepare: {command: run}\n")
    assert found(tmp_path) == [
        "3 error unknown-need: entry point `main` needs `prepar`, which is not declared"
    ]
    assert hints(tmp_path) == ["did you mean `prepare`?"]


def test_needs_in_a_circle_are_an_error_told_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        "  main: {command: run, needs: [a]}\n  b: {command: run, needs: [c]}\n"
        "  a: {command: run, needs: [d, b]}\n  c: {command: run, needs: [a]}\n  d: {command: run}\n"
        "  e: {command: run, needs: [e]}\n",
    )
    assert found(tmp_path) == [
        "5 error circular-needs: entry points need each other: `a` → `b` → `c` → `a`",
        "8 error circular-needs: entry points need each other: `e` → `e`",
    ]


def test_an_entry_point_that_cannot_run_can_still_be_needed(tmp_path: Path) -> None:
    write(tmp_path, "  main: {command: run, needs: [x]}\n  x: {command: run, timeout: soon}\n")
    assert [text.split(":")[0] for text in found(tmp_path)] == ["4 error bad-timeout"]


def test_what_the_environments_own_files_say_is_among_the_findings(tmp_path: Path) -> None:
    (tmp_path / "python_env.yaml").write_text("python: [\n")
    write(tmp_path, "  main: {command: run}\n", head="python_env: python_env.yaml\nentry_points:\n")
    (finding,) = check(tmp_path).findings
    assert (finding.level, str(finding.place)) == ("error", "python_env.yaml:2:1")


def test_an_inferred_environment_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six\n")
    write(tmp_path, "  main: {command: run}\n", head="entry_points:\n")
    assert [it.code for it in check(tmp_path).findings] == ["inferred-environment"]


def test_what_a_run_would_adapt_is_noticed_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six\nsklearn\nos\n")
    write(tmp_path, "  main: {command: run}\n", head="conda_env: requirements.txt\nentry_points:\n")
    assert [(it.code, str(it.place)) for it in check(tmp_path).findings] == [
        ("adapted-environment", "requirements.txt:2:1"),
        ("adapted-environment", "requirements.txt:3:1"),
    ]


def test_an_import_that_no_requirement_covers_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("mlflow\nlightgbm\n")
    (tmp_path / "train.py").write_text(
        "import os, pip\nimport numpy, mlflow, lightgbm\nimport seaborn as sns\n"
    )
    write(
        tmp_path, "  main: {command: python train.py}\n", head="conda_env: requirements.txt\nentry_points:\n"
    )
    [finding] = check(tmp_path).findings
    assert (finding.code, str(finding.place)) == ("missing-requirement", "train.py:3:1")
    assert finding.message == "`seaborn` is imported, and requirements.txt does not list it"


def test_a_python_of_another_minor_version_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "python_env.yaml").write_text("python: 3.9.1\ndependencies: [six]\n")
    (tmp_path / "train.py").touch()
    commands = "  main: {command: python3.7 train.py}\n  b: {command: python3.9 train.py}\n"
    write(tmp_path, commands, head="python_env: python_env.yaml\nentry_points:\n")
    [finding] = check(tmp_path).findings
    assert (finding.code, finding.place and finding.place.line) == ("other-python", 3)
