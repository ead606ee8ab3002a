"""Tools and programs as real children: what they say, how they end, what is left of them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from mlrun import process
from mlrun.errors import ProcessError
from mlrun.model import Job, Outcome
from mlrun.process import family, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VARIABLES = {"PATH": os.defpath + os.pathsep + "/usr/local/bin", "LC_ALL": "C"}


def sh(script: str, **options: object) -> process.Captured:
    return process.capture(["sh", "-c", script], variables=VARIABLES, **options)  # type: ignore[arg-type] # forwarded


def test_a_tool_is_told_apart_by_stream_and_exit_code() -> None:
    assert sh("echo out; echo err >&2; exit 3") == process.Captured(
        exit_code=3, stdout=b"out\n", stderr=b"err\n"
    )


def test_text_is_stdout_without_the_last_newline() -> None:
    assert sh("printf 'a\\nb\\n'").text == "a\nb"


def test_a_tool_reads_and_writes_more_than_any_pipe_holds() -> None:
    data = os.urandom(1 << 20)
    assert sh("tee /dev/stderr", stdin=data) == process.Captured(exit_code=0, stdout=data, stderr=data)


def test_a_tool_that_does_not_read_its_input_is_no_error() -> None:
    assert sh("exec <&-; sleep 0.1; echo done", stdin=bytes(1 << 20)).stdout == b"done\n"


def test_without_input_standard_input_is_empty() -> None:
    assert sh("cat; echo end").stdout == b"end\n"


def test_a_tool_sees_only_the_variables_it_is_given_and_runs_where_it_is_told(tmp_path: Path) -> None:
    answer = sh("pwd; echo ${HOME-unset}", cwd=tmp_path)
    assert answer.text == f"{tmp_path}\nunset"


def test_standard_error_can_be_watched_as_it_comes() -> None:
    seen: list[bytes] = []
    answer = sh("echo one >&2; sleep 0.05; echo two >&2", on_stderr=seen.append)
    assert (seen, answer.stderr) == ([b"one\n", b"two\n"], b"one\ntwo\n")


def test_a_command_is_looked_up_on_the_path_it_is_given(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho mine\n")
    tool.chmod(0o755)
    assert process.capture(["tool"], variables={"PATH": str(tmp_path)}).text == "mine"


def test_a_missing_command_is_named() -> None:
    with pytest.raises(ProcessError, match="cannot find the command `no-such-tool`") as caught:
        process.capture(["no-such-tool"], variables=VARIABLES)
    assert caught.value.code == "command-not-found"


def test_a_file_that_is_no_program_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("hello")
    with pytest.raises(ProcessError, match="Permission denied") as caught:
        process.capture([str(tmp_path / "notes")], variables=VARIABLES)
    assert caught.value.code == "not-executable"


def test_a_tool_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=r"`sh` did not end within 0\.2 seconds") as caught:
        sh(f"sleep 60 & echo $! > {tmp_path}/pid; wait", timeout=0.2)
    assert caught.value.code == "tool-timeout"
    assert_gone(int((tmp_path / "pid").read_text()))


def test_an_interruption_kills_the_tool_first(tmp_path: Path) -> None:
    def interrupt(_: bytes) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sh(f"echo $$ > {tmp_path}/pid; echo up >&2; sleep 60", on_stderr=interrupt)
    assert_gone(int((tmp_path / "pid").read_text()))


def test_a_missing_folder_is_not_taken_for_a_missing_command(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match=r"cannot enter .*: No such file or directory") as caught:
        sh("true", cwd=tmp_path / "gone")
    assert caught.value.code == "no-such-folder"


def test_an_argument_that_no_program_can_take_is_an_error_of_ours() -> None:
    with pytest.raises(ProcessError, match="cannot run `echo`: embedded null byte"):
        process.capture(["echo", "a\0b"], variables=VARIABLES)


def test_a_tool_dies_of_a_closed_pipe_as_usual() -> None:
    assert sh("yes | head -n 1; kill -PIPE $$").exit_code == 128 + signal.SIGPIPE


def test_an_interruption_while_a_tool_starts_ends_the_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []
    really = os.posix_spawn

    def spawn_and_interrupt(*given: Any, **options: Any) -> int:
        pid = really(*given, **options)
        pids.append(pid)
        os.kill(os.getpid(), signal.SIGINT)
        return pid

    monkeypatch.setattr(os, "posix_spawn", spawn_and_interrupt)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        sh("exec sleep 1000")
    with pytest.raises(ProcessLookupError):
        os.killpg(pids[0], 0)
    assert signal.getsignal(signal.SIGINT) is before


# --- programs, called from this process ---------------------------------------------------------------


class Ran:
    """What a program's run left behind."""

    def __init__(self, outcome: Outcome, folder: Path) -> None:
        self.outcome = outcome
        self.stdout = (folder / "stdout").read_bytes()
        self.stderr = (folder / "stderr").read_bytes()
        self.log = (folder / "log").read_bytes() if (folder / "log").is_file() else b""


def run(script: str, folder: Path, *, log: Path | None = None, timeout: float | None = None) -> Ran:
    with open(folder / "stdout", "wb") as stdout, open(folder / "stderr", "wb") as stderr:
        outcome = process.run(
            Job(
                argv=("bash", "-c", script),
                cwd=folder,
                variables=VARIABLES | {"MLRUN_RUN_ID": uuid.uuid4().hex},
                log=log or folder / "log",
                timeout=timeout,
            ),
            stdout=stdout.fileno(),
            stderr=stderr.fileno(),
            terminal=False,
        )
    return Ran(outcome, folder)


@pytest.mark.parametrize(
    ("script", "code", "by_signal"),
    [
        ("true", 0, None),
        ("exit 3", 3, None),
        ("exit 124", 124, None),
        ("no-such-command", 127, None),
        ("/etc/passwd", 126, None),
        ("kill -KILL $$", 137, "SIGKILL"),
        ("kill -TERM $$", 143, "SIGTERM"),
        ("sh -c 'kill -KILL $$'; exit $?", 137, None),
    ],
)
def test_the_exit_code_is_what_a_shell_would_report(
    tmp_path: Path, script: str, code: int, by_signal: str | None
) -> None:
    outcome = run(script, tmp_path).outcome
    assert (outcome.exit_code, outcome.signal) == (code, by_signal)
    assert (outcome.timed_out, outcome.interrupted_by, outcome.leftover) == (False, None, 0)


def test_output_passes_byte_for_byte_and_both_streams_are_kept(tmp_path: Path) -> None:
    ran = run(r"printf 'a\r\n\0\377'; sleep 0.05; printf 'no newline' >&2", tmp_path)
    assert (ran.stdout, ran.stderr, ran.log) == (
        b"a\r\n\0\xff",
        b"no newline",
        b"a\r\n\0\xffno newline",
    )


def test_ten_megabytes_arrive_whole(tmp_path: Path) -> None:
    data = os.urandom(10 << 20)
    (tmp_path / "data").write_bytes(data)
    ran = run("cat data", tmp_path)
    assert ran.stdout == ran.log == data


def test_a_log_is_continued_not_replaced(tmp_path: Path) -> None:
    run("echo one", tmp_path)
    assert run("echo two", tmp_path).log == b"one\ntwo\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_under_the_log_stops_nothing_and_is_told(tmp_path: Path) -> None:
    ran = run("echo one; sleep 0.05; echo two", tmp_path, log=Path("/dev/full"))
    assert (ran.stdout, ran.outcome.exit_code) == (b"one\ntwo\n", 0)
    assert ran.outcome.log_error == "No space left on device"


def test_a_log_that_cannot_be_opened_stops_nothing_and_is_told(tmp_path: Path) -> None:
    ran = run("echo one", tmp_path, log=tmp_path / "no" / "log")
    assert (ran.stdout, ran.outcome.log_error) == (b"one\n", "No such file or directory")


def test_streams_that_lead_to_one_place_keep_their_order(tmp_path: Path) -> None:
    script = "for i in $(seq 200); do echo out $i; echo err $i >&2; done"
    with open(tmp_path / "both", "wb") as both:
        job = Job(argv=("bash", "-c", script), cwd=tmp_path, variables=VARIABLES, log=tmp_path / "log")
        process.run(job, stdout=both.fileno(), stderr=both.fileno(), terminal=False)
    expected = "".join(f"out {i}\nerr {i}\n" for i in range(1, 201)).encode()
    assert (tmp_path / "both").read_bytes() == (tmp_path / "log").read_bytes() == expected


def test_the_program_sees_exactly_its_variables_and_its_folder(tmp_path: Path) -> None:
    job = Job(argv=("env",), cwd=tmp_path, variables={"PATH": os.defpath, "A": "b\nc"}, log=tmp_path / "log")
    with open(os.devnull, "wb") as nowhere:
        process.run(job, stdout=nowhere.fileno(), stderr=nowhere.fileno(), terminal=False)
    assert (tmp_path / "log").read_text() == f"PATH={os.defpath}\nA=b\nc\n"
    assert run("pwd -P", tmp_path).stdout.decode().strip() == str(tmp_path.resolve())


@pytest.mark.parametrize(
    ("argv", "cwd", "code"),
    [
        (("no-such-program",), ".", "command-not-found"),
        (("./notes",), ".", "not-executable"),
        (("true",), "gone", "no-such-folder"),
    ],
)
def test_what_cannot_be_started_is_an_error_and_leaves_no_trace_of_us(
    tmp_path: Path, argv: tuple[str, ...], cwd: str, code: str
) -> None:
    (tmp_path / "notes").write_text("hello")
    handler, open_files = signal.getsignal(signal.SIGTERM), len(os.listdir("/dev/fd"))
    job = Job(argv=argv, cwd=tmp_path / cwd, variables=VARIABLES, log=tmp_path / "log")
    with pytest.raises(ProcessError) as caught:
        process.run(job, stdout=1, stderr=2, terminal=False)
    assert caught.value.code == code
    assert (signal.getsignal(signal.SIGTERM), len(os.listdir("/dev/fd"))) == (handler, open_files)


@pytest.mark.slow
def test_what_the_program_left_in_its_group_is_ended_and_counted(tmp_path: Path) -> None:
    ran = run("sleep 60 & sleep 60 & echo $! > pid; exit 5", tmp_path)
    assert (ran.outcome.exit_code, ran.outcome.leftover) == (5, 2)
    assert_gone(int((tmp_path / "pid").read_text()))


def test_a_helper_that_follows_by_itself_is_heard_and_not_counted(tmp_path: Path) -> None:
    ran = run("(sleep 0.2; echo last words) & echo first", tmp_path)
    assert (ran.stdout, ran.outcome.leftover) == (b"first\nlast words\n", 0)


@pytest.mark.skipif(shutil.which("setsid") is None, reason="needs setsid")
def test_a_daemon_may_stay_and_its_hold_on_our_pipe_keeps_nobody(tmp_path: Path) -> None:
    ran = run("setsid sleep 60 & echo $! > pid; sleep 0.1; echo done", tmp_path)
    daemon = int((tmp_path / "pid").read_text())
    os.kill(daemon, signal.SIGKILL)  # raises where it is gone
    assert (ran.stdout, ran.outcome.leftover) == (b"done\n", 0)


def test_when_time_is_up_the_program_may_clean_up(tmp_path: Path) -> None:
    ran = run("trap 'echo cleaning; exit 0' TERM; while true; do sleep 0.05; done", tmp_path, timeout=0.3)
    assert ran.stdout == b"cleaning\n"
    assert (ran.outcome.exit_code, ran.outcome.timed_out, ran.outcome.interrupted_by) == (124, True, None)


@pytest.mark.slow
def test_when_time_is_up_a_program_that_will_not_end_is_killed(tmp_path: Path) -> None:
    ran = run("trap '' INT TERM HUP; echo $$ > pid; while true; do sleep 0.1; done", tmp_path, timeout=0.3)
    assert (ran.outcome.exit_code, ran.outcome.signal) == (124, "SIGKILL")
    assert_gone(int((tmp_path / "pid").read_text()))


def test_processor_time_and_wall_time_are_those_of_the_tree(tmp_path: Path) -> None:
    usage = run("sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; true", tmp_path).outcome.usage
    assert 0 < usage.cpu_s <= usage.wall_s * 2


def test_peak_memory_is_that_of_the_largest_process_at_least(tmp_path: Path) -> None:
    # More than we ever had: Linux counts a child's memory from before its exec, when it was still ours.
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + (100 << 20)
    script = f"{sys.executable} -c 'bytearray({size})'"
    assert run(script, tmp_path).outcome.usage.max_rss_bytes > size


@pytest.mark.skipif(sys.platform != "linux", reason="samples /proc")
def test_peak_memory_counts_processes_together(tmp_path: Path) -> None:
    hog = f"{sys.executable} -c 'import time; x = b\"x\" * (80 << 20); time.sleep(0.6)'"
    assert run(f"{hog} & {hog} & wait", tmp_path).outcome.usage.max_rss_bytes > 160 << 20


@pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps")
def test_both_process_tables_know_us() -> None:
    for table in (family._table_of_ps(), family.table()):
        us = next(line for line in table if line.pid == os.getpid())
        assert (us.parent, us.group) == (os.getppid(), os.getpgrp())
        assert us.memory > 1 << 20


# --- programs, called from a process of their own -----------------------------------------------------


class Driven:
    """A driver (see `programs/driver.py`) at work; `keyboard` is our end of its terminal."""

    all: ClassVar[list[Driven]] = []

    def __init__(self, folder: Path, script: str, **settings: Any) -> None:
        self.folder = folder
        self.run_id = uuid.uuid4().hex
        timeout = str(settings.pop("timeout", ""))
        mode = settings.pop("mode", "pipes")
        driver = Path(__file__).parent / "programs" / "driver.py"
        prefix = settings.pop("prefix", ())
        argv = [*prefix, sys.executable, driver, folder / "report", folder / "log", timeout, mode, script]
        root = str(Path(process.__file__).parents[2])
        variables = {**os.environ, "MLRUN_RUN_ID": self.run_id, "PYTHONPATH": root}  # noqa: TID251
        settings.setdefault("stdout", subprocess.PIPE)
        settings.setdefault("stderr", subprocess.STDOUT)
        settings.setdefault("stdin", subprocess.DEVNULL)
        self.process = subprocess.Popen(argv, env=variables | settings.pop("variables", {}), **settings)
        Driven.all.append(self)

    def wait_for(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.01)

    def wait_for_log(self, text: bytes) -> None:
        self.wait_for(lambda: text in self.log)

    @property
    def log(self) -> bytes:
        path = self.folder / "log"
        return path.read_bytes() if path.exists() else b""

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def outcome(self) -> dict[str, Any]:
        """How the run ended; by then nothing of it may be alive."""
        self.process.wait(30)
        report: dict[str, Any] = json.loads((self.folder / "report").read_text())
        assert report.pop("handlers_restored")
        assert self.alive() == []
        return report

    def alive(self) -> list[int]:
        """Processes with this run's id, but for the driver."""
        wanted = f"MLRUN_RUN_ID={self.run_id}".encode()
        found = []
        for process_ in family.table():
            with contextlib.suppress(OSError):
                if wanted in Path(f"/proc/{process_.pid}/environ").read_bytes().split(b"\0"):
                    found.append(process_.pid)
        return [pid for pid in found if pid != self.process.pid]


@pytest.fixture(autouse=True)
def _no_driver_survives() -> Iterator[None]:
    """Also where a test fails half-way."""
    yield
    while Driven.all:
        driven = Driven.all.pop()
        if driven.process.poll() is None:
            for pid in [*driven.alive(), driven.process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        driven.process.wait()
        for stream in (driven.process.stdin, driven.process.stdout):
            if stream is not None:
                stream.close()


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def test_output_is_seen_before_the_line_or_the_program_ends(tmp_path: Path) -> None:
    driven = Driven(tmp_path, "printf half; read line; echo; echo $line", stdin=subprocess.PIPE)
    assert driven.process.stdout is not None
    assert driven.process.stdin is not None
    assert driven.process.stdout.read(4) == b"half"
    driven.process.stdin.write(b"from stdin\n")
    driven.process.stdin.close()
    assert driven.process.stdout.read() == b"\nfrom stdin\n"
    assert driven.outcome()["exit_code"] == 0


def test_a_reader_that_goes_stops_neither_the_program_nor_the_log(tmp_path: Path) -> None:
    driven = Driven(tmp_path, "for i in $(seq 20000); do echo line $i; done; exit 4")
    assert driven.process.stdout is not None
    driven.process.stdout.close()
    assert driven.outcome()["exit_code"] == 4
    assert driven.log.endswith(b"line 20000\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@needs_proc
def test_a_signal_to_us_reaches_the_whole_group(tmp_path: Path, number: signal.Signals) -> None:
    driven = Driven(
        tmp_path, f"{sys.executable} -c 'import time; print(1, flush=True); time.sleep(60)'; true"
    )
    driven.wait_for_log(b"1")
    driven.send(number)
    assert driven.outcome()["interrupted_by"] == number.name


@needs_proc
def test_a_program_may_answer_the_signal_and_choose_its_exit_code(tmp_path: Path) -> None:
    driven = Driven(tmp_path, "trap 'echo saved; exit 9' INT; echo up; while true; do sleep 0.05; done")
    driven.wait_for_log(b"up")
    driven.send(signal.SIGINT)
    outcome = driven.outcome()
    assert (outcome["exit_code"], outcome["signal"], outcome["interrupted_by"]) == (9, None, "SIGINT")
    assert driven.log == b"up\nsaved\n"


@pytest.mark.slow
@needs_proc
def test_further_signals_hurry_a_program_that_will_not_end(tmp_path: Path) -> None:
    driven = Driven(tmp_path, "trap '' INT TERM; echo up; while true; do sleep 0.05; done")
    driven.wait_for_log(b"up")
    for _ in range(3):
        driven.send(signal.SIGINT)
        time.sleep(0.3)
    outcome = driven.outcome()
    assert (outcome["exit_code"], outcome["signal"], outcome["interrupted_by"]) == (137, "SIGKILL", "SIGINT")


@pytest.mark.slow
@needs_proc
def test_without_further_signals_it_is_killed_all_the_same(tmp_path: Path) -> None:
    driven = Driven(tmp_path, "trap '' INT TERM; echo up; while true; do sleep 0.05; done")
    driven.wait_for_log(b"up")
    before = time.monotonic()
    driven.send(signal.SIGINT)
    assert driven.outcome()["signal"] == "SIGKILL"
    assert time.monotonic() - before >= program.GRACE_AFTER_SIGNAL + program.GRACE_AFTER_TERM


@needs_proc
def test_an_interruption_also_ends_those_who_left_the_session(tmp_path: Path) -> None:
    driven = Driven(
        tmp_path, "setsid sh -c 'setsid sleep 60 & echo hidden' & sleep 0.2; setsid sleep 60 & echo up; wait"
    )
    driven.wait_for_log(b"up")
    assert len(driven.alive()) >= 3
    driven.send(signal.SIGTERM)
    assert driven.outcome()["interrupted_by"] == "SIGTERM"


@needs_proc
def test_who_dropped_our_variable_is_still_found_as_a_descendant(tmp_path: Path) -> None:
    driven = Driven(tmp_path, "env -i setsid sleep 60 & echo $! > pid; echo up; wait")
    driven.wait_for_log(b"up")
    driven.send(signal.SIGINT)
    assert driven.outcome()["interrupted_by"] == "SIGINT"
    assert_gone(int((tmp_path / "pid").read_text()))


@needs_proc
def test_a_stopped_program_is_woken_to_hear_its_end(tmp_path: Path) -> None:
    driven = Driven(tmp_path, "echo up; kill -STOP $$; echo never")
    driven.wait_for_log(b"up")
    driven.send(signal.SIGTERM)
    assert driven.outcome()["signal"] == "SIGTERM"


def test_a_hangup_that_our_caller_ignores_is_ignored_by_all(tmp_path: Path) -> None:
    driven = Driven(
        tmp_path,
        "echo up; sleep 0.4; kill -HUP $$; echo still here",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    driven.wait_for_log(b"up")
    driven.send(signal.SIGHUP)
    assert (driven.outcome()["exit_code"], driven.log) == (0, b"up\nstill here\n")


@needs_proc
def test_a_reader_that_sleeps_cannot_keep_us_from_hearing_a_signal(tmp_path: Path) -> None:
    driven = Driven(tmp_path, "echo up; exec cat /dev/zero")
    driven.wait_for_log(b"up")
    time.sleep(0.2)
    driven.send(signal.SIGTERM)
    assert driven.outcome()["interrupted_by"] == "SIGTERM"


@needs_proc
def test_a_failure_of_ours_does_not_leave_the_program_alone(tmp_path: Path) -> None:
    driven = Driven(tmp_path, "sleep 60", variables={"DRIVER_FAILS": "1"})
    assert driven.process.stdout is not None
    assert b"a bug of ours" in driven.process.stdout.read()
    assert driven.process.wait() == 1
    assert driven.alive() == []


@needs_proc
def test_the_log_outlives_us(tmp_path: Path) -> None:
    driven = Driven(tmp_path, "printf 'so far'; echo $$ > pid; exec sleep 60")
    driven.wait_for_log(b"so far")
    driven.send(signal.SIGKILL)
    driven.process.wait()
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert driven.log == b"so far"


@needs_proc
@pytest.mark.parametrize(
    "script", ["echo up; exec sleep 60", "sleep 60 & trap 'echo bye > bye' TERM; echo up; wait"]
)
def test_a_program_does_not_outlive_us_when_we_are_killed(tmp_path: Path, script: str) -> None:
    driven = Driven(tmp_path, script)
    driven.wait_for_log(b"up")
    driven.send(signal.SIGKILL)
    driven.process.wait()
    driven.wait_for(lambda: driven.alive() == [])
    assert (tmp_path / "bye").exists() is ("trap" in script)


@needs_proc
def test_nobody_guards_a_program_that_has_ended(tmp_path: Path) -> None:
    guards = {line.pid for line in family.table() if line.parent == os.getpid()}
    run("true", tmp_path)
    assert {line.pid for line in family.table() if line.parent == os.getpid()} <= guards


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("seed", range(12))
def test_at_whatever_moment_a_signal_comes_nothing_is_left(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    script = "for i in 1 2 3; do (sleep 30 & setsid sleep 30 & sleep 30) & done; yes | head -c 9000000; wait"
    driven = Driven(tmp_path, script, stdout=subprocess.DEVNULL)
    driven.wait_for((tmp_path / "report.pid").exists)
    time.sleep(chance.random() * 0.05)
    driven.send(chance.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))
    assert driven.outcome()["interrupted_by"] is not None


# --- programs on a terminal ---------------------------------------------------------------------------


class OnTerminal(Driven):
    """A driver whose session has a terminal, of which we hold the other end."""

    def __init__(self, folder: Path, script: str, **settings: Any) -> None:
        self.keyboard, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (33, 99))
        self.before = termios.tcgetattr(theirs)
        self.shown = b""
        self.theirs = theirs
        settings.setdefault("stdin", theirs)
        settings.setdefault("stderr", theirs)
        super().__init__(
            folder,
            script,
            mode="terminal",
            stdout=theirs,
            start_new_session=True,
            preexec_fn=lambda: make_controlling(theirs),
            **settings,
        )

    def type(self, keys: bytes) -> None:
        os.write(self.keyboard, keys)

    def wait_for_screen(self, text: bytes) -> None:
        deadline = time.monotonic() + 20
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if select.select([self.keyboard], [], [], 0.1)[0]:
                self.shown += os.read(self.keyboard, 1 << 16)

    def outcome(self) -> dict[str, Any]:
        outcome = super().outcome()
        while select.select([self.keyboard], [], [], 0)[0]:
            self.shown += os.read(self.keyboard, 1 << 16)
        assert termios.tcgetattr(self.theirs) == self.before
        os.close(self.theirs)
        os.close(self.keyboard)
        return outcome


def make_controlling(terminal: int) -> None:
    import fcntl

    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    os.tcsetpgrp(terminal, os.getpid())


def test_on_a_terminal_the_program_has_one_of_the_same_size(tmp_path: Path) -> None:
    driven = OnTerminal(
        tmp_path, "test -t 0 && test -t 1 && test -t 2 && stty size; echo to the person > /dev/tty"
    )
    assert driven.outcome()["exit_code"] == 0
    assert driven.shown == b"33 99\r\nto the person\r\n"
    assert driven.log == b"33 99\nto the person\n"


def test_a_new_window_size_is_passed_on(tmp_path: Path) -> None:
    driven = OnTerminal(tmp_path, "trap 'stty size; exit' WINCH; echo up; while true; do sleep 0.05; done")
    driven.wait_for_screen(b"up")
    termios.tcsetwinsize(driven.keyboard, (40, 120))
    assert driven.outcome()["exit_code"] == 0
    assert driven.log == b"up\n40 120\n"


def test_what_is_typed_reaches_the_program(tmp_path: Path) -> None:
    driven = OnTerminal(tmp_path, "read -p 'name? ' name; echo hello $name")
    driven.wait_for_screen(b"name? ")
    driven.type(b"adx\x7fa\r")
    driven.wait_for_screen(b"hello")
    assert driven.outcome()["exit_code"] == 0
    assert driven.log.endswith(b"hello ada\n")


def test_a_password_is_neither_shown_nor_logged(tmp_path: Path) -> None:
    ask = "import getpass; print(len(getpass.getpass()))"
    driven = OnTerminal(tmp_path, f"{sys.executable} -c '{ask}'")
    driven.wait_for_screen(b"Password: ")
    driven.type(b"hunter2\r")
    assert driven.outcome()["exit_code"] == 0
    assert driven.shown == b"Password: \r\n7\r\n"
    assert b"hunter2" not in driven.log


def test_control_c_is_a_signal_in_steps(tmp_path: Path) -> None:
    driven = OnTerminal(tmp_path, "trap 'echo bye; exit 130' INT; echo up; while true; do sleep 0.05; done")
    driven.wait_for_screen(b"up")
    driven.type(b"\x03")
    outcome = driven.outcome()
    assert (outcome["exit_code"], outcome["interrupted_by"], driven.log) == (130, "SIGINT", b"up\nbye\n")


def test_control_c_is_a_byte_for_a_program_that_wants_it_so(tmp_path: Path) -> None:
    driven = OnTerminal(tmp_path, "stty raw -echo; echo up; dd bs=1 count=1 2>/dev/null | od -An -tx1")
    driven.wait_for_screen(b"up")
    driven.type(b"\x03")
    outcome = driven.outcome()
    assert (outcome["interrupted_by"], driven.log.split()) == (None, [b"up", b"03"])


@needs_proc
def test_control_z_stops_us_all_and_the_terminal_is_the_shells_meanwhile(tmp_path: Path) -> None:
    shell = (sys.executable, str(Path(__file__).parent / "programs" / "shell.py"))
    driven = OnTerminal(tmp_path, "echo $$ > pid; echo up; read line; echo got $line", prefix=shell)
    driven.wait_for_screen(b"up")
    driven.type(b"\x1a")
    driven.wait_for_screen(b"[stopped, echo is on]")
    driven.wait_for(lambda: state(int((tmp_path / "pid").read_text())) == "T")
    driven.type(b"\r")
    driven.wait_for(lambda: state(int((tmp_path / "pid").read_text())) == "S")
    driven.type(b"on\r")
    driven.wait_for_screen(b"got on")
    assert driven.outcome()["exit_code"] == 0


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_streams_that_are_no_terminal_stay_none_for_the_program(tmp_path: Path) -> None:
    with open(tmp_path / "errors", "wb") as errors:
        driven = OnTerminal(
            tmp_path,
            "test -t 1 && echo screen; test -t 2 || echo file >&2; cat",
            stderr=errors,
            stdin=subprocess.PIPE,
        )
    assert driven.process.stdin is not None
    driven.process.stdin.write(b"piped")
    driven.process.stdin.close()
    assert driven.outcome()["exit_code"] == 0
    assert (driven.shown, (tmp_path / "errors").read_bytes()) == (b"screen\r\npiped", b"file\n")


@needs_proc
def test_the_terminal_is_restored_when_we_fail(tmp_path: Path) -> None:
    driven = OnTerminal(tmp_path, "sleep 60", variables={"DRIVER_FAILS": "1"})
    driven.process.wait()
    assert termios.tcgetattr(driven.theirs) == driven.before
    assert driven.alive() == []
    os.close(driven.theirs)
    os.close(driven.keyboard)


# --- what the tests share -----------------------------------------------------------------------------


def assert_gone(pid: int) -> None:
    """Killed processes take a moment to go; an adopted one may stay as a zombie of a lazy init."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
            if sys.platform == "linux":
                with open(f"/proc/{pid}/stat") as stat:
                    if stat.read().rpartition(")")[2].split()[0] == "Z":
                        return
        except (ProcessLookupError, FileNotFoundError):
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} is still alive")
