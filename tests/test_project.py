"""What is understood of a project file, and what is only noticed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mlrun.errors import ProjectError
from mlrun.model import DataSpec, EnvironmentRequest, Parameter, Place, Project, Resources
from mlrun.project import examine, read, seconds
from mlrun.project.values import size_in_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from mlrun.model import EntryPoint


def write(directory: Path, text: str, name: str = "MLproject") -> Path:
    (directory / name).write_text(text)
    return directory


def main_of(directory: Path, body: str) -> EntryPoint:
    (entry_point,) = read(write(directory, f"entry_points:\n  main:\n    command: run\n{body}")).entry_points
    return entry_point


def parameter(directory: Path, declared: str) -> Parameter:
    (found,) = main_of(directory, f"    parameters:\n      p: {declared}\n").parameters
    return found


def warnings(directory: Path) -> list[str]:
    return [f"{it.place}: {it.message}" for it in read(directory).findings]


# --- the file -----------------------------------------------------------------------------------------


def test_a_directory_without_a_project_file_is_an_empty_project(tmp_path: Path) -> None:
    assert read(tmp_path) == Project()


@pytest.mark.parametrize("name", ["MLproject", "mlproject", "MLProject", "MLPROJECT"])
def test_the_case_of_the_files_name_does_not_matter(name: str, tmp_path: Path) -> None:
    assert read(write(tmp_path, "name: wine", name)) == Project(name="wine", file=name)


def test_the_exact_name_comes_before_others(tmp_path: Path) -> None:
    write(tmp_path, "name: other", "MLPROJECT")
    write(tmp_path, "name: exact")
    assert read(tmp_path).name == "exact"
    assert warnings(tmp_path) == [
        "MLproject:1:1: there are several project files: `MLproject` is read, `MLPROJECT` not"
    ]


def test_a_folder_called_mlproject_is_no_project_file(tmp_path: Path) -> None:
    (tmp_path / "mlproject").mkdir()
    assert read(tmp_path).file is None


def test_a_project_file_with_an_ending_is_read_and_noticed(tmp_path: Path) -> None:
    project = read(write(tmp_path, "name: wine", "MLproject.yaml"))
    assert (project.file, project.name) == ("MLproject.yaml", "wine")
    assert [it.message for it in project.findings] == [
        "`MLproject.yaml` is read, but MLflow knows only `MLproject`"
    ]


def test_of_several_with_endings_none_is_read(tmp_path: Path) -> None:
    write(tmp_path, "name: wine", "MLproject.yaml")
    project = read(write(tmp_path, "name: beer", "mlproject.yml"))
    assert (project.file, len(project.findings)) == (None, 2)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
def test_a_project_file_may_come_from_windows(tmp_path: Path, encoding: str) -> None:
    text = "name: café\r\nentry_points:\r\n  main:\r\n    command: >-\r\n      python\r\n      train.py\r\n"
    (tmp_path / "MLproject").write_bytes(text.encode(encoding))
    project = read(tmp_path)
    assert (project.name, project.entry_points[0].command) == ("café", "python train.py")


# --- a file that is not there -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "there", "taken"),
    [
        ("conda.yaml", ["conda.yml"], "conda.yml"),
        ("conda.yaml", ["Conda.yaml"], "Conda.yaml"),
        ("conda_env.yaml", ["conda-env.yml"], "conda-env.yml"),
        ("conda.yaml", ["environment.yml"], "environment.yml"),
        ("conda.yaml", ["env/conda.yaml"], "env/conda.yaml"),
        ("envs/conda.yaml", ["conda.yaml"], "conda.yaml"),
        ("conda.yaml", ["../conda.yaml"], "../conda.yaml"),
        ("conda.yaml", ["../environment.yaml"], "../environment.yaml"),
        ("conda.yaml", ["requirements.txt"], "requirements.txt"),
        ("conda.yaml", ["environment.yml", "requirements.txt"], "environment.yml"),
        ("my_env.yaml", ["wine_env.yaml"], "wine_env.yaml"),
        ("conda.yaml", ["conda_cpu.yaml", "conda_gpu.yaml"], None),
        ("conda.yaml", ["params.yaml"], None),
        ("conda.yaml", [], None),
    ],
)
def test_a_named_file_that_is_missing_may_have_been_another(
    tmp_path: Path, named: str, there: list[str], taken: str | None
) -> None:
    (tmp_path / ".git").mkdir()
    project = tmp_path / "project"
    for name in there:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("dependencies: [six]\n")
    project.mkdir(exist_ok=True)
    write(project, f"conda_env: {named}\nentry_points: {{main: {{command: run}}}}\n")
    if taken is None:
        with pytest.raises(ProjectError) as caught:
            read(project)
        assert caught.value.code == "no-such-environment-file"
    else:
        assert read(project).environment.path == taken
        assert warnings(project) == [
            f"MLproject:1:12: `conda_env` names the file `{named}`, which does not exist: `{taken}` is used"
        ]


@pytest.mark.parametrize(
    ("build", "context", "dockerfile"),
    [
        ("{dockerfile: docker/Dockerfile}", ".", "docker/Dockerfile"),
        ("{context: sub, dockerfile: sub/Dockerfile}", "sub", "sub/Dockerfile"),
        ("{context: sub}", "sub", None),
    ],
)
def test_a_build_may_be_written_as_compose_has_it(
    tmp_path: Path, build: str, context: str, dockerfile: str | None
) -> None:
    write(tmp_path, f"docker_env: {{image: x, build: {build}}}\nentry_points: {{main: {{command: run}}}}\n")
    found = read(tmp_path).environment
    assert (found.image, found.build, found.dockerfile) == ("x", context, dockerfile)
    assert warnings(tmp_path) == ["MLproject:1:31: `build` is read as Compose has it"]


@pytest.mark.parametrize("key", ["conda env", "conda-env", "Conda_Env", "conda_env "])
def test_a_key_with_other_signs_is_understood(tmp_path: Path, key: str) -> None:
    (tmp_path / "conda.yaml").touch()
    write(tmp_path, f"{key}: conda.yaml\nEntryPoints: {{main: {{Command: run}}}}\n")
    project = read(tmp_path)
    assert (project.environment.key, project.entry_points[0].command) == ("conda_env", "run")
    assert {it.code for it in project.findings} == {"respelled-key"}


@pytest.mark.parametrize(
    ("declared", "kind", "default", "said"),
    [
        ("{type: float, default:1e-5}", "float", "1e-5", ["`default:1e-5` is read as `default: 1e-5`"]),
        ('{type: str, default="a b"}', "string", "a b", ['`default="a b"` is read as `default: "a b"`']),
        ("{type:int,default:2}", "int", "2", ["`type:int` is read as `type: int`", "`default:2` is read"]),
        ("{type: str, default}", "string", None, []),
    ],
)
def test_a_blank_that_is_missing_after_the_colon_is_said(
    tmp_path: Path, declared: str, kind: str, default: str | None, said: list[str]
) -> None:
    found = parameter(tmp_path, declared)
    assert (found.kind, found.default) == (kind, default)
    for told, wanted in zip(warnings(tmp_path), said, strict=True):
        assert wanted in told


def test_a_key_with_other_signs_that_leads_nowhere_is_ignored_as_in_mlflow(tmp_path: Path) -> None:
    write(tmp_path, "conda env: conda.yaml\nentry_points: {main: {command: run}}\n")
    assert read(tmp_path).environment.key is None


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_files_of_windows_editors_are_read(encoding: str, tmp_path: Path) -> None:
    text = "name: wein-größe\r\nentry_points:\r\n  main:\r\n    command: |\r\n      a\r\n      b\r\n"
    (tmp_path / "MLproject").write_bytes(text.encode(encoding))
    project = read(tmp_path)
    assert (project.name, project.entry_points[0].command) == ("wein-größe", "a\nb\n")


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n", "~\n"])
def test_an_empty_file_says_the_least_that_runs(text: str, tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        read(write(tmp_path, text))
    assert str(caught.value) == "MLproject:1:1: MLproject is empty"
    assert caught.value.hint == "the least that runs: `entry_points: {main: {command: python train.py}}`"


def test_a_directory_that_is_not_there_is_told_apart_from_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        read(tmp_path / "missing")
    assert caught.value.code == "no-such-directory"


def test_a_pipe_in_place_of_the_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "MLproject")
    with pytest.raises(ProjectError, match="MLproject is not a file"):
        examine(tmp_path)


def test_all_errors_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "entry_points:\n  main:\n    cache: maybe\n    timeout: soon\n    command: [a]\n"
    with pytest.raises(ProjectError) as caught:
        read(write(tmp_path, text))
    assert str(caught.value) == "MLproject:3:12: `cache` must be `true` or `false`, not `maybe`"
    assert caught.value.details == (
        "MLproject:4:14: `timeout` must be a duration, not `soon`",
        "MLproject:5:14: `command` must be shell text, not a list",
    )
    assert [it.code for it in examine(tmp_path)[1]] == ["bad-cache", "bad-timeout", "bad-command"]


def test_examine_reports_broken_yaml_as_a_finding(tmp_path: Path) -> None:
    project, findings = examine(write(tmp_path, "name: 'open"))
    assert project is None
    assert [f"{it.place} {it.code}" for it in findings] == ["MLproject:1:7 bad-yaml"]


def test_an_error_in_an_entry_point_leaves_the_others_alone(tmp_path: Path) -> None:
    text = "entry_points:\n  main: {command: run}\n  other: {timeout: soon, command: run}\n"
    project = read(write(tmp_path, text))
    assert [it.name for it in project.entry_points] == ["main"]
    assert [(name, error.code) for name, error in project.broken] == [("other", "bad-timeout")]
    assert warnings(tmp_path) == [
        "MLproject:3:20: entry point `other` cannot run: `timeout` must be a duration, not `soon`"
    ]


def test_an_error_in_main_is_the_projects(tmp_path: Path) -> None:
    text = "entry_points:\n  main: {timeout: soon, command: run}\n  other: {command: run}\n"
    with pytest.raises(ProjectError, match="timeout"):
        read(write(tmp_path, text))


# --- slips --------------------------------------------------------------------------------------------


def test_keys_that_look_like_slips_are_noticed_and_others_are_not(tmp_path: Path) -> None:
    write(
        tmp_path,
        "name: wine\nconda env: conda.yaml\nraw: data.csv\nentry_points:\n  main:\n    descriptions: x\n"
        "    output: [a]\n    command: run\n    parameters:\n      a: {defualt: 1, help: me, int: int}\n",
    )
    assert warnings(tmp_path) == [
        "MLproject:2:1: unknown key `conda env` in the project is ignored",
        "MLproject:7:5: unknown key `output` in entry point `main` is ignored",
        "MLproject:10:11: unknown key `defualt` in parameter `a` is ignored",
    ]
    assert [it.hint for it in read(tmp_path).findings] == [
        "did you mean `conda_env`?",
        "did you mean `outputs`?",
        "did you mean `default`?",
    ]


def test_a_missing_parameters_key_is_an_error_only_where_the_command_needs_it(tmp_path: Path) -> None:
    write(tmp_path, "entry_points:\n  main:\n    parmeters: {a: int}\n    command: run\n")
    assert warnings(tmp_path) == ["MLproject:3:5: unknown key `parmeters` in entry point `main` is ignored"]


def test_a_doubled_key_is_noticed_and_the_last_counts(tmp_path: Path) -> None:
    text = "entry_points:\n  main: {command: old}\n  main: {command: new}\n"
    assert [it.command for it in read(write(tmp_path, text)).entry_points] == ["new"]
    assert warnings(tmp_path) == [
        "MLproject:3:3: `main` is written twice (first in line 2); the last one counts"
    ]


def test_an_unknown_kind_of_output_is_noticed_only_near_a_known_one(tmp_path: Path) -> None:
    entry_point = main_of(tmp_path, "    outputs: [{path: a, kind: metric}, {path: b, kind: audio}]\n")
    assert [it.kind for it in entry_point.outputs] == ["metric", "audio"]
    assert [it.hint for it in read(tmp_path).findings] == ["did you mean `metrics`?"]


# --- environments -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["python_env", "conda_env"])
def test_an_environment_file_is_named_by_its_path(key: str, tmp_path: Path) -> None:
    (tmp_path / "env.yaml").touch()
    place = Place(file="MLproject", line=1)
    expected = EnvironmentRequest(key=key, path="env.yaml", place=place)  # type: ignore[arg-type]  # a literal
    assert read(write(tmp_path, f"{key}: env.yaml\n")).environment == expected


def test_an_environment_file_may_lie_above_the_project(tmp_path: Path) -> None:
    (tmp_path / "env.yaml").touch()
    (tmp_path / "sub").mkdir()
    project = read(write(tmp_path / "sub", "python_env: ../env.yaml\n"))
    assert (project.environment.path, project.findings) == ("../env.yaml", ())


def test_an_absolute_environment_file_is_taken_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "env.yaml").touch()
    write(tmp_path, f"python_env: {tmp_path}/env.yaml\n")
    assert [it.code for it in read(tmp_path).findings] == ["absolute-path"]


@pytest.mark.parametrize("path", [".", "missing.yaml", '"\\0"', "MLproject/env.yaml", "x" * 5000])
def test_an_environment_file_that_is_not_there_is_an_error(path: str, tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        read(write(tmp_path, f"conda_env: {path}\n"))
    assert caught.value.code == "no-such-environment-file"


def test_an_environment_in_place_keeps_the_versions_text(tmp_path: Path) -> None:
    environment = read(
        write(tmp_path, "environment:\n  python: 3.10\n  requirements: [numpy==1.20, 'pandas>=2 ; x']\n")
    ).environment
    assert (environment.python, environment.requirements) == ("3.10", ("numpy==1.20", "pandas>=2 ; x"))


def test_an_environment_in_place_may_name_a_requirements_file(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").touch()
    environment = read(write(tmp_path, "environment: {requirements: requirements.txt}\n")).environment
    assert (environment.key, environment.path, environment.python) == (
        "environment",
        "requirements.txt",
        None,
    )


def test_a_docker_environment_has_variables_to_copy_and_to_set(tmp_path: Path) -> None:
    text = (
        "docker_env: {image: i:1, volumes: ['$A:/a'], environment: [A, [B, 'x y'], [C, yes]], run_params: []}"
    )
    environment = read(write(tmp_path, text)).environment
    assert environment == EnvironmentRequest(
        key="docker_env",
        image="i:1",
        volumes=("$A:/a",),
        variables=(("A", None), ("B", "x y"), ("C", "True")),
        place=Place(file="MLproject", line=1),
    )


def test_an_environment_that_is_named_as_null_is_not_named(tmp_path: Path) -> None:
    assert read(write(tmp_path, "docker_env:\npython_env: ~\n")).environment == EnvironmentRequest()


# --- parameters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "kind", "default"),
    [
        ("float", "float", None),
        ("str", "string", None),
        ("Integer", "int", None),
        ("{type: number}", "float", None),
        ("{}", "string", None),
        ("{default: null}", "string", None),
        ("{default: ~}", "string", None),
        ('{default: ""}', "string", ""),
        ("{default: yes}", "string", "True"),
        ("{default: 0.50}", "string", "0.5"),
        ("{default: 1.0e-1}", "string", "0.1"),
        ("{default: 1e-1}", "string", "1e-1"),
        ("{default: 010}", "string", "8"),
        ("{default: '010'}", "string", "010"),
        ("{default: [1, 2, a]}", "string", "[1, 2, 'a']"),
        ("{default: {a: 1}}", "string", "{'a': 1}"),
        ("{default: 2024-01-31}", "string", "2024-01-31"),
        ("{default: 2024-13-31}", "string", "2024-13-31"),
        ("{int: int, default: 3}", "string", "3"),
        ("{type: float, default: None}", "float", "None"),
        ("{type: path, default: ../data}", "path", "../data"),
        ("{type: choice, choices: [on, off], default: on}", "choice", "on"),
        ("{type: choice, choices: [0.50, 1], default: 0.50}", "choice", "0.50"),
        ("{type: float, choices: [0.5, 1], default: 0.50}", "float", "0.5"),
    ],
)
def test_types_and_defaults_are_what_mlflow_makes_of_them(
    declared: str, kind: str, default: str | None, tmp_path: Path
) -> None:
    found = parameter(tmp_path, declared)
    assert (found.kind, found.default) == (kind, default)


def test_a_parameter_has_all_that_is_declared(tmp_path: Path) -> None:
    declared = "{type: int, default: 5, min: 1, max: 1e2, description: 'how\n         many', secret: true}"
    assert parameter(tmp_path, declared) == Parameter(
        name="p",
        kind="int",
        default="5",
        description="how many",
        minimum=1.0,
        maximum=100.0,
        secret=True,
        place=Place(file="MLproject", line=5, column=7),
    )


def test_parameters_may_be_null(tmp_path: Path) -> None:
    assert main_of(tmp_path, "    parameters:\n").parameters == ()


def test_an_unknown_type_is_noticed(tmp_path: Path) -> None:
    assert parameter(tmp_path, "floot").kind == "floot"
    assert [(it.message, it.hint) for it in read(tmp_path).findings] == [
        ("type `floot` is not known: any value is taken, as text", "did you mean `float`?")
    ]


# --- the rest of an entry point -----------------------------------------------------------------------


def test_an_entry_point_has_all_that_is_declared(tmp_path: Path) -> None:
    entry_point = main_of(
        tmp_path,
        "    inputs: ['{data}']\n    outputs: [a.pkl, {path: m.json, kind: metrics}, {path: d/}]\n"
        "    env: {N: 1, V: 1.10, Y: yes, E: ''}\n    timeout: 1h30m\n    needs: [prepare]\n    cache: on\n"
        "    code: [train.py, lib/, '**/*.sql']\n"
        "    resources: {cpus: 0.5, memory: 4GiB, gpus: 1}\n",
    )
    assert [(it.path, it.kind) for it in entry_point.outputs] == [
        ("a.pkl", "file"),
        ("m.json", "metrics"),
        ("d/", "file"),
    ]
    assert entry_point.inputs == (DataSpec(path="{data}", place=Place(file="MLproject", line=4, column=14)),)
    assert entry_point.env == (("N", "1"), ("V", "1.10"), ("Y", "yes"), ("E", ""))
    assert (entry_point.timeout, entry_point.needs, entry_point.cache) == (5400.0, ("prepare",), True)
    assert entry_point.code == ("train.py", "lib/", "**/*.sql")
    assert entry_point.resources == Resources(cpus=0.5, memory=4 * 2**30, gpus=1)
    assert entry_point.place == Place(file="MLproject", line=2, column=3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), ("15m", 900), ("15min", 900), ("2h", 7200), ("1h30m", 5400), ("1d", 86400),
     ("1.5h", 5400), (" 1H30M ", 5400), ("1d2h3m4s", 93784)],
)  # fmt: skip
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1:30", "h", "1h1h", "1s1h", "1e3", "inf", "1 h", "٣", "1..5s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", 1), ("4GiB", 4 * 2**30), ("4Gi", 4 * 2**30), ("500MB", 500_000_000), ("1.5 kB", 1500), ("8b", 8)],
)
def test_amounts_of_memory(text: str, expected: int) -> None:
    assert size_in_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "0", "4G", "4g", "-1GB", "1e9", "GiB", "9" * 400])
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        size_in_bytes(text)
