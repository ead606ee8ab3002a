"""`mlrun exec` and `mlrun shell` as a user types them: real shells, real terminals, real signals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docker_engine import base, docker_client
from tests.shells import Shell
from tests.terminals import Terminal
from tests.test_run import write

__all__ = ["base", "docker_client"]  # fixtures

PATH_SPOILING = {
    "bash": (".bashrc", "export PATH=/usr/bin:/bin\nPS1='mine> '\n"),
    "zsh": (".zshrc", "export PATH=/usr/bin:/bin\nPROMPT='mine> '\n"),
    "fish": (".config/fish/config.fish", "set -gx PATH /usr/bin /bin\nset -g fish_greeting\n"),
    "dash": (".shinit", "PATH=/usr/bin:/bin\nPS1='mine> '\n"),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, warm_cache: Path) -> Path:
    """A cache for all tests here: they need the same environment."""
    root = tmp_path_factory.mktemp("built") / "cache"
    return Path(shutil.copytree(warm_cache, root, symlinks=True))


@pytest.fixture
def shell(tmp_path: Path, project: Path, built: Path) -> Shell:
    shell = Shell(tmp_path, project)
    shell.variables["MLRUN_CACHE"] = str(built)
    return shell


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)


# --- a command in a project ---------------------------------------------------------------------------


def test_a_command_has_what_a_run_has_and_leaves_no_record(shell: Shell, project: Path) -> None:
    write(
        project,
        "true",
        "    env: {MODE: 'fast-{level}'}\n    parameters: {level: {type: int, default: 3}}\n",
    )
    shell.cwd = project.parent
    tell = "import os, sys; print(sys.prefix, os.getcwd(), *map(os.environ.get, sys.argv[1:]), sep='\\n')"
    shell.variables |= {"MLRUN_RUN_ID": "f" * 32, "MINE": "too"}
    done = shell.mlrun("exec", "project", "--", "python", "-c", tell, "MODE", "MLRUN_RUN_ID", "PWD", "MINE")
    prefix, *rest = done.stdout.splitlines()
    assert prefix.startswith(f"{shell.variables['MLRUN_CACHE']}/envs-v1/")
    assert rest == [str(project), "fast-3", "None", str(project), "too"]
    again = shell.mlrun("exec", "project", "--", "sh", "-c", "echo $VIRTUAL_ENV; command -v python; exit 7")
    assert (again.stdout, again.stderr) == (f"{prefix}\n{prefix}/bin/python\n", "")
    assert again.returncode == 7
    here = shell.mlrun("exec", "--here", "project", "--", "pwd", input="")
    assert here.stdout == f"{project.parent}\n"
    assert json.loads(shell.mlrun("runs", "--json").stdout) == []


def test_the_command_takes_our_place(shell: Shell, project: Path) -> None:
    write(project, "true")
    shell.mlrun("exec", ".", "--", "true")
    program = shell.start(
        "exec", ".", "--", "sh", "-c", "trap 'echo heard; exit 3' TERM; echo $$; while :; do sleep 0.05; done"
    )
    assert program.stdout is not None
    assert program.stdout.readline() == f"{program.pid}\n"
    program.send_signal(signal.SIGTERM)
    assert program.communicate(timeout=60)[0] == "heard\n"
    assert program.returncode == 3
    assert shell.mlrun("exec", ".", "--", "cat", input="a\0b\n").stdout == "a\0b\n"
    assert shell.mlrun("exec", ".", "--", "sh", "-c", "kill -KILL $$").returncode == -signal.SIGKILL


def test_exit_codes_are_those_of_a_shell(shell: Shell, project: Path) -> None:
    write(project, "true")
    (project / "notes.txt").write_text("no program")
    missing = shell.mlrun("exec", ".", "--", "no-such-program")
    assert (missing.returncode, missing.stderr.splitlines()[-1]) == (
        127,
        "error: cannot find the command `no-such-program`",
    )
    assert shell.mlrun("exec", ".", "--", "./notes.txt").returncode == 126
    (project / "MLproject").write_text("entry_points: [\n")
    assert shell.mlrun("exec", ".", "--", "true").returncode == 125


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("exec", "."), "error: there is no command"),
        (("exec", "no-such", "--", "ls"), "error: `no-such` is neither a run nor a directory"),
        (("exec", "./no-such", "--", "ls"), "error: cannot find `./no-such`: there is no such directory"),
        (("exec", "latest", "--", "ls"), "error: no run `latest`: there are no runs yet"),
        (("exec", ".", "-e", "nope", "--", "ls"), "error: no entry point `nope`: MLproject declares `main`"),
    ],
)
def test_what_makes_no_sense_is_said(
    shell: Shell, project: Path, arguments: tuple[str, ...], message: str
) -> None:
    write(project, "true")
    done = shell.mlrun(*arguments)
    assert done.returncode in (2, 125)
    assert done.stderr.splitlines()[0].startswith(message)
    assert "Traceback" not in done.stderr


def test_a_variable_that_needs_a_value_is_left_out_and_said(shell: Shell, project: Path) -> None:
    write(
        project,
        "true",
        "    env: {FIXED: here, OF: '{level}'}\n    parameters: {level: {type: int}}\n",
    )
    done = shell.mlrun("exec", ".", "--", "sh", "-c", "echo $FIXED ${OF-unset}")
    assert done.stdout == "here unset\n"
    assert "`OF` of `main` is not set" in done.stderr


def test_hostile_names_are_only_names(shell: Shell, hostile_path: Path) -> None:
    (hostile_path / "MLproject").write_text(
        "environment: {requirements: []}\nentry_points: {main: {command: 'true'}}\n"
    )
    shell.cwd = hostile_path
    done = shell.mlrun("exec", ".", "--", "pwd")
    assert (done.stdout, done.returncode) == (f"{hostile_path}\n", 0)
    wanted = "a 'b' \"c\"\n$(d) *"
    assert shell.mlrun("exec", ".", "--", "printf", "%s", wanted).stdout == wanted


@pytest.mark.slow
def test_a_revision_is_entered_in_a_checkout_that_goes_afterwards(shell: Shell, project: Path) -> None:
    write(project, "true", git=True)
    (project / "data.txt").write_text("newer")
    commit(project, "second")
    done = shell.mlrun("exec", ".", "-v", "main", "--", "sh", "-c", "pwd; cat data.txt")
    where, text = done.stdout.splitlines()
    assert text == "newer"
    assert "/work-v1/" in where
    assert not Path(where).exists()
    left = shell.mlrun("exec", ".", "-v", "main", "--", "sh", "-c", "pwd; echo made > new.txt")
    assert f"changed files stay in {left.stdout.strip()}: new.txt" in left.stderr
    assert (Path(left.stdout.strip()) / "new.txt").read_text() == "made\n"
    assert shell.mlrun("exec", ".", "-v", "main", "--", "sh", "-c", "exit 4").returncode == 4


@pytest.mark.slow
def test_signals_reach_a_command_in_a_checkout_which_goes_all_the_same(shell: Shell, project: Path) -> None:
    write(project, "true", git=True)
    program = shell.start(
        "exec",
        ".",
        "-v",
        "main",
        "--",
        "sh",
        "-c",
        "trap 'exit 9' TERM; pwd; while :; do sleep 0.05; done",
    )
    assert program.stdout is not None
    where = Path(program.stdout.readline().rstrip())
    program.send_signal(signal.SIGTERM)
    program.communicate(timeout=60)
    assert program.returncode == 9
    assert not where.exists()


# --- a past run ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_past_run_is_entered_with_its_own_files_and_variables(shell: Shell, project: Path) -> None:
    write(project, "true", "    env: {MODE: old, API_TOKEN: secret}\n", git=True)
    (project / "code.py").write_text("committed\n")
    commit(project, "second")
    (project / "code.py").write_text("changed\n")
    (project / "extra").mkdir()
    (project / "extra/untracked.txt").write_text("kept\n")
    shell.record(".", "--name", "first")
    shutil.rmtree(project / "extra")
    write(project, "true", "    env: {MODE: new}\n")
    (project / "code.py").write_text("later\n")
    commit(project, "third")
    look = "pwd; cat code.py extra/untracked.txt; echo $MODE ${API_TOKEN-unset}; git rev-parse HEAD"
    done = shell.mlrun("exec", "first", "--", "sh", "-c", look)
    where, *rest = done.stdout.splitlines()
    assert rest == ["changed", "kept", "old unset", git(project, "rev-parse", "HEAD~1")]
    assert "/work-v1/" in where
    assert not Path(where).exists()
    assert shell.mlrun("exec", "latest", "--here", "--", "cat", "code.py").stdout == "later\n"
    refused = shell.mlrun("exec", "latest", "--as-of", "2020-01-01", "--", "true")
    assert refused.returncode == 2
    assert "`--as-of` is for projects" in refused.stderr
    assert len(json.loads(shell.mlrun("runs", "--json").stdout)) == 1


@pytest.mark.slow
def test_without_its_commit_only_the_environment_of_a_run_is_left(shell: Shell, project: Path) -> None:
    write(project, "true", git=True)
    shell.record(".")
    shutil.rmtree(project / ".git")
    done = shell.mlrun("exec", "latest", "--", "true")
    assert done.returncode == 125
    assert "of the run cannot be found" in done.stderr
    assert "`--here` needs only the environment" in done.stderr
    assert shell.mlrun("exec", "latest", "--here", "--", "pwd").stdout == f"{project}\n"


@pytest.mark.slow
def test_a_directory_goes_before_the_name_of_a_run(shell: Shell, project: Path) -> None:
    write(project, "true")
    shell.record(".", "--name", "project")
    assert "/work-v1/" in shell.mlrun("exec", "project", "--", "pwd").stdout
    shell.cwd = project.parent
    assert shell.mlrun("exec", "project", "--", "pwd").stdout == f"{project}\n"


# --- a shell ------------------------------------------------------------------------------------------


def open_shell(shell: Shell, name: str, *arguments: str) -> Terminal:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} here")
    user = shell.cwd.parent / "user"
    file, text = PATH_SPOILING[name]
    (user / file).parent.mkdir(parents=True, exist_ok=True)
    (user / file).write_text(text)
    variables = {
        **shell.variables,
        "HOME": str(user),
        "SHELL": path,
        "TERM": "xterm",
        "ENV": str(user / ".shinit") if name == "dash" else "",
    }
    return Terminal([sys.executable, "-m", "mlrun", "shell", *arguments], variables=variables, cwd=shell.cwd)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bash", "zsh", "fish", "dash"])
def test_the_environment_survives_the_users_own_settings(shell: Shell, project: Path, name: str) -> None:
    write(project, "true", "    env: {MODE: fast}\n")
    shell.mlrun("exec", ".", "--", "true")
    terminal = open_shell(shell, name)
    terminal.wait_for(r"shell for demo: venv, Python [\d.]+, in .*`exit` or Ctrl-D leaves")
    terminal.wait_for(r"\(mlrun demo\) ")
    terminal.type('echo found=$(command -v python) mode=$MODE in=$(basename $PWD) "zsh=$ZDOTDIR."\n')
    found = terminal.wait_for(r"found=(/\S+) mode=(\w+) in=(\w+) zsh=(\S*)\.\r?\n")
    assert "/envs-v1/" in found[1]
    assert found.groups()[1:] == ("fast", "project", "")
    terminal.wait_for(r"\(mlrun demo\) ")
    terminal.type("exit 5\n")
    assert terminal.end() == 5


@pytest.mark.slow
def test_shells_nest_and_the_inner_one_shows_nothing_of_the_outer(shell: Shell, project: Path) -> None:
    write(project, "true")
    other = project.parent / "other"
    other.mkdir()
    text = (
        (project / "MLproject")
        .read_text()
        .replace("demo", "inner")
        .replace("requirements: []", "python: '3'")
    )
    (other / "MLproject").write_text(text)
    for folder in (".", str(other)):
        assert shell.mlrun("exec", folder, "--", "true").returncode == 0
    terminal = open_shell(shell, "bash")
    terminal.wait_for(r"\(mlrun demo\) mine> ")
    terminal.type(f"{sys.executable} -m mlrun shell {other}\n")
    terminal.wait_for(r"shell for inner, inside the one for demo: ")
    terminal.wait_for(r"\(mlrun inner\) mine> ")
    terminal.type("echo count=$(echo $PATH | tr : '\\n' | grep -c envs-v1) $MLRUN_SHELL; exit\n")
    assert terminal.wait_for(r"count=(\d+ \w+)\r?\n")[1] == "1 inner"
    terminal.wait_for(r"\(mlrun demo\) mine> ")
    terminal.type("\x04")
    assert terminal.end() == 0


@pytest.mark.slow
def test_keys_reach_a_shell_in_a_checkout(shell: Shell, project: Path) -> None:
    """It runs beside us, not in our place; Ctrl-C must end what it runs, and nothing else."""
    write(project, "true", git=True)
    shell.record(".", "--name", "past")
    terminal = open_shell(shell, "bash", "past")
    terminal.wait_for(r"\(mlrun past\) mine> ")
    terminal.type("python -c \"import time; print('go' + 'es', flush=True); time.sleep(60)\"\n")
    terminal.wait_for("goes")
    terminal.type("\x03")
    terminal.wait_for(r"\(mlrun past\) mine> ")
    terminal.type("touch made.txt; exit 6\n")
    terminal.wait_for(r"changed files stay in \S+: made.txt")
    assert terminal.end() == 6


def test_a_command_gets_the_terminal(shell: Shell, project: Path) -> None:
    write(project, "true")
    shell.mlrun("exec", ".", "--", "true")
    code = "import os, sys; print(*map(os.isatty, (0, 1, 2)), input('name? '))"
    terminal = Terminal(
        [sys.executable, "-m", "mlrun", "exec", ".", "--", "python", "-c", code],
        variables=shell.variables,
        cwd=project,
    )
    terminal.wait_for(r"name\? ")
    terminal.type("ada\n")
    terminal.wait_for("True True True ada")
    assert terminal.end() == 0


def test_a_shell_can_read_a_pipe(shell: Shell, project: Path) -> None:
    write(project, "true")
    shell.variables["SHELL"] = "/bin/sh"
    shell.mlrun("exec", ".", "--", "true")
    done = shell.mlrun("shell", input="command -v python; exit 4\n")
    assert (done.returncode, done.stderr) == (4, "")
    assert "/envs-v1/" in done.stdout


@pytest.mark.slow
def test_a_shell_that_is_none_falls_back(shell: Shell, project: Path) -> None:
    write(project, "true")
    terminal = Terminal(
        [sys.executable, "-m", "mlrun", "shell"],
        variables={**shell.variables, "SHELL": "/no/such", "HOME": str(project), "TERM": "dumb"},
        cwd=project,
    )
    terminal.wait_for(r"\(mlrun demo\) ")
    terminal.type("echo sh''ell=$BASH_VERSION; exit 0\n")
    assert terminal.wait_for(r"shell=(\S*)")[1]
    assert terminal.end() == 0


def test_the_users_own_files_are_as_they_were(shell: Shell, project: Path) -> None:
    write(project, "true")
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    shell.mlrun("exec", ".", "--", "python", "-c", "import os; os.getpid()")
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before
    assert os.listdir(project) == ["MLproject"]


# --- a container --------------------------------------------------------------------------------------


def boxed(project: Path, image: str) -> None:
    (project / "MLproject").write_text(
        f"name: boxed\ndocker_env: {{image: '{image}', environment: [[SAID, aloud]]}}\n"
        "entry_points: {main: {command: 'true', env: {MODE: fast}}}\n"
    )


@pytest.mark.slow
def test_a_command_in_a_container(shell: Shell, project: Path, base: str) -> None:
    boxed(project, base)
    shell.variables["OUTSIDE"] = "stays"
    look = "echo $SAID $MODE ${OUTSIDE-unset} ${MLRUN_RUN_ID-unset}; pwd; cat; exit 3"
    done = shell.mlrun("exec", ".", "--", "sh", "-c", look, input="typed\n")
    assert (done.returncode, done.stdout) == (3, f"aloud fast unset unset\n{project}\ntyped\n")
    assert shell.mlrun("run", ".").returncode == 0
    (project / "later.txt").touch()
    past = shell.mlrun("exec", "latest", "--", "sh", "-c", "ls; echo $MODE")
    assert past.stdout == "MLproject\nfast\n"


@pytest.mark.slow
def test_a_shell_in_a_container(shell: Shell, project: Path, base: str) -> None:
    boxed(project, base)
    terminal = Terminal(
        [sys.executable, "-m", "mlrun", "shell"], variables={**shell.variables, "TERM": "xterm"}, cwd=project
    )
    terminal.wait_for("shell for boxed: docker, .* leaves")
    terminal.wait_for(r"\(mlrun boxed\) ")
    terminal.type("test -t 0 && echo ter''minal; sleep 60\n")
    terminal.wait_for("terminal")
    time.sleep(1)  # `sleep` has begun by then, or the key ends the line: either way the prompt comes back
    terminal.type("\x03")
    terminal.wait_for(r"\(mlrun boxed\) ")
    terminal.type("exit 5\n")
    assert terminal.end() == 5
