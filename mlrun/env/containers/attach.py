"""One container from its making to its removal: `python -I -m mlrun.env.containers.attach SPECIFICATION`.

This program is what `process.run` starts in the place of the user's, so that log, terminal, time-outs and
signals work as for any other. It carries the container's streams, passes signals on, and ends with its exit
code. What else is to be known (what it cost, why it could not start) it leaves in a report, a JSON file.

    {"started": true, "exit_code": 0, "oom_killed": false, "cpu_s": 1.5, "max_rss_bytes": 1048576}
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket as sockets
import stat
import struct
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlrun.env.containers.engine import Address, connect, refused, status_of
from mlrun.env.containers.usage import note_usage
from mlrun.errors import MlrunError
from mlrun.files import locked, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CANNOT = 125
"""The exit code where the container could not be started, as of `docker run`."""

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_CHUNK = 1 << 16
_HEADER = struct.Struct(">BxxxL")  # of a frame: which stream, how many bytes (docker's attach protocol)
_FIRST_LOOK, _LAST_LOOK = 0.05, 1.0  # seconds between two looks at what the container uses
_ORPHAN_LOOK = 0.5
_TRIES_TO_RESIZE = 8


def main(specification: str) -> int:
    """Run the container that a file describes; it is read once and is gone then, it may hold secrets."""
    path = Path(specification)
    spec = json.loads(path.read_bytes())
    path.unlink()
    report: dict[str, Any] = {"started": False}
    try:
        with locked(Path(spec["alive"])):
            code = _run(spec, report)
    except MlrunError as error:
        report["error"] = {
            "message": error.message, "hint": error.hint, "code": error.code, "details": error.details
        }  # fmt: skip
        code = CANNOT
    report["exit_code"] = code
    write_atomic(Path(spec["report"]), json.dumps(report).encode())
    return code


def _run(spec: dict[str, Any], report: dict[str, Any]) -> int:
    """With an init process, unless the engine lacks the program for it."""
    where = Address.from_json(spec["engine"])
    client = connect(where)
    with _Signals() as signals:
        try:
            return _run_once(client, where, spec, report, signals)
        except MlrunError as error:
            if error.code != "no-init":
                raise
        spec["create"] |= {"init": False, "command": spec["command_without_init"]}
        return _run_once(client, where, spec, report, signals)


def _run_once(
    client: Any, where: Address, spec: dict[str, Any], report: dict[str, Any], signals: _Signals
) -> int:
    """Ended by an exception or not, the container goes; the parent removes it too, should we be killed."""
    from docker.errors import DockerException

    container, doing = None, "create the container"
    try:
        container = client.containers.create(
            **_arguments(spec["create"]), tty=_has_terminal(), stdin_open=_has_input()
        )
        session = _Session(client, container, where, spec["report"], report)
        doing = "start the container"
        session.start(signals)
        doing = "run the container"
        code = session.carry()
        doing = "copy what the program made out of the container"
        _bring_back(client, container, spec.get("bring_back"))
    except (DockerException, OSError) as error:
        raise refused(error, doing) from error
    else:
        return code
    finally:
        if container is not None:
            with contextlib.suppress(DockerException, OSError):
                container.remove(force=True, v=True)


def _bring_back(client: Any, container: Any, root: str | None) -> None:
    if root is not None:
        from mlrun.env.containers.copied import bring_back

        bring_back(client, container.id, Path(root))


def _arguments(create: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no tuples, and the SDK takes a list for several ports."""
    if "ports" in create:
        ports = {name: tuple(to) if isinstance(to, list) else to for name, to in create["ports"].items()}
        return create | {"ports": ports}
    return create


def _has_terminal() -> bool:
    """Where a terminal is all that we have: who reads a pipe waits for an end, and a terminal tells none."""
    return os.isatty(1) and os.isatty(2) and (os.isatty(0) or not _has_input())


def _has_input() -> bool:
    """Whether there is anything to read: not from the null device, nor from nothing."""
    try:
        status = os.fstat(0)
    except OSError:
        return False
    return not (stat.S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev)


class _Session:
    """A container that runs, and all that passes between it and us."""

    def __init__(
        self, client: Any, container: Any, where: Address, report_path: str, report: dict[str, Any]
    ) -> None:
        self._client = client
        self._container = container
        self._where = where
        self._report_path = report_path
        self._report = report
        self._terminal = _has_terminal()
        self._over = threading.Event()

    def start(self, signals: _Signals) -> None:
        """Listen first, then start, so that no byte is missed."""
        stdin = _has_input()
        self._stream = self._client.api.attach_socket(
            self._container.id, {"stdin": int(stdin), "stdout": 1, "stderr": 1, "stream": 1}
        )
        self._socket = _plain(self._stream)
        self._container.start()
        self._report["started"] = True
        self._in_background(lambda: self._pass_on(signals))
        self._in_background(self._watch)
        if self._terminal:
            self._in_background(self._resize)
        if stdin:
            self._in_background(self._feed)

    def carry(self) -> int:
        """Pass the output on until there is no more; the exit code."""
        if self._terminal:
            with _raw_keyboard():
                _carry_terminal(self._socket)
        else:
            _carry_apart(self._socket)
        code = int(self._container.wait(timeout=None)["StatusCode"])
        self._over.set()
        state = self._client.api.inspect_container(self._container.id)["State"]
        self._report["oom_killed"] = bool(state.get("OOMKilled"))
        return code

    def _in_background(self, do: Callable[[], None]) -> None:
        threading.Thread(target=self._quietly, args=(do,), daemon=True).start()

    def _quietly(self, do: Callable[[], None]) -> None:
        """What fails here fails for the main thread too, or comes too late to matter."""
        from docker.errors import DockerException

        with contextlib.suppress(DockerException, MlrunError, OSError):
            do()

    # --- input, signals, size

    def _feed(self) -> None:
        """Our input, until it ends; a terminal's end means that its user has gone."""
        with contextlib.suppress(OSError):  # EIO, of a terminal that was closed
            while chunk := os.read(0, _CHUNK):
                self._socket.sendall(chunk)
        if self._terminal:
            _signal_all(connect(self._where), self._container.id, signal.SIGHUP)
        else:
            self._socket.shutdown(sockets.SHUT_WR)

    def _pass_on(self, signals: _Signals) -> None:
        client = connect(self._where)
        for number in signals.come():
            if number == signal.SIGWINCH:
                if self._terminal:
                    self._resize()
            else:
                _signal_all(client, self._container.id, number)

    def _resize(self) -> None:
        """Pass our terminal's size on; just after the start the engine may not be ready to take it."""
        from docker.errors import DockerException

        client = connect(self._where)
        for attempt in range(_TRIES_TO_RESIZE):
            try:
                rows, columns = termios.tcgetwinsize(1)
                client.api.resize(self._container.id, rows, columns)
            except (DockerException, termios.error, OSError):
                if self._over.wait(0.01 * 2**attempt):
                    return
            else:
                return

    # --- what it costs

    def _watch(self) -> None:
        """Look again and again, and note the latest: nobody can ask a container that has ended.

        And go when our parent has gone: without it nobody would end what runs.
        """
        from docker.errors import DockerException

        client, parent, pause, looked = connect(self._where), os.getppid(), _FIRST_LOOK, 0.0
        while not self._over.wait(min(pause, _ORPHAN_LOOK)):
            if os.getppid() != parent:
                with contextlib.suppress(DockerException):  # an engine under load may refuse: ask again
                    client.api.kill(self._container.id, "SIGKILL")
                continue
            if time.monotonic() - looked < pause:
                continue
            looked, pause = time.monotonic(), min(2 * pause, _LAST_LOOK)
            with contextlib.suppress(DockerException, OSError):
                note_usage(self._report, client.api.stats(self._container.id, stream=False, one_shot=True))
                write_atomic(Path(self._report_path), json.dumps(self._report).encode())


_IN_ORDER = """\
first= rest=
for place in /proc/[0-9]*; do
  pid=${place#/proc/}
  if [ $pid = 1 ] || [ $pid = $$ ]; then continue; fi
  { read -r line < $place/stat; } 2>/dev/null || continue
  set -- ${line##*) }
  if [ $2 = 1 ] && [ $pid -lt ${first:-$((pid + 1))} ]; then
    rest="$rest $first" first=$pid
  else
    rest="$rest $pid"
  fi
done
[ "$first" ] && [ "${rest# }" ] && kill -s STOP $first || exec sh -c 'kill -s NAME -- -1'
kill -s NAME $rest 2>/dev/null
(
  while :; do
    goes_on=
    for pid in $rest; do
      { read -r line < /proc/$pid/stat; } && set -- ${line##*) } && [ $1 != Z ] && goes_on=yes
    done
    [ $goes_on ] || break
    sleep 0.05 || sleep 1
  done
  kill -s NAME $first
  kill -s CONT $first
) < /dev/null > /dev/null 2>&1 &
"""
"""With the shell that init has started dies the container, and all that is in it: so that shell is held, and
signalled once the others have ended, or are ended for not doing so."""
_FOR_SHELLS_TOO = (signal.SIGINT, signal.SIGQUIT)  # with these, bash itself waits for its child


def _signal_all(client: Any, container: str, number: int) -> None:
    """Signal all processes in it, as a terminal signals its whole foreground group.

    The engine signals the first one only: a shell that waits for its child would not hear of it.
    """
    from docker.errors import DockerException

    name = signal.Signals(number).name.removeprefix("SIG")
    script = "kill -s NAME -- -1" if number in _FOR_SHELLS_TOO else _IN_ORDER
    try:
        run = client.api.exec_create(container, ["sh", "-c", script.replace("NAME", name)])
        client.api.exec_start(run["Id"])
        if client.api.exec_inspect(run["Id"]).get("ExitCode") in (0, None):
            return
    except DockerException as error:
        if status_of(error) == 404:
            return
    client.api.kill(container, signal.Signals(number).name)


class _Signals:
    """From its making on, signals that would end us are bytes in a pipe, also while a write blocks us."""

    def __enter__(self) -> _Signals:
        self._source, sink = os.pipe()
        os.set_blocking(sink, False)
        signal.set_wakeup_fd(sink, warn_on_full_buffer=False)
        for number in (*_PASSED_ON, signal.SIGWINCH):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        """The process is about to end; until then signals go on to be harmless."""

    def come(self) -> Iterator[int]:
        """Those that came, as they come."""
        while numbers := os.read(self._source, 1):
            yield numbers[0]


# --- streams ---------------------------------------------------------------------------------------------


def _plain(stream: Any) -> Any:
    """The socket inside of what the SDK returns, which differs from one transport to another."""
    raw = getattr(stream, "_sock", stream)
    raw.settimeout(None)
    return raw


def _carry_apart(source: Any) -> None:
    """Frames, each of one stream, until the end."""
    while header := _read(source, _HEADER.size):
        number, length = _HEADER.unpack(header)
        while length:
            chunk = source.recv(min(length, _CHUNK))
            if not chunk:
                return
            length -= len(chunk)
            _write(2 if number == 2 else 1, chunk)


def _read(source: Any, size: int) -> bytes:
    """So many bytes, or nothing at the end."""
    read = b""
    while len(read) < size:
        chunk = source.recv(size - len(read))
        if not chunk:
            return b""
        read += chunk
    return read


def _carry_terminal(source: Any) -> None:
    """The container's terminal makes `\\r\\n` of every `\\n`; ours would do it again."""
    held = b""
    while chunk := source.recv(_CHUNK):
        chunk = held + chunk
        held = b"\r" if chunk.endswith(b"\r") else b""
        _write(1, chunk[: len(chunk) - len(held)].replace(b"\r\n", b"\n"))
    _write(1, held)


def _write(descriptor: int, chunk: bytes) -> None:
    """A reader or terminal that has gone does not stop the program."""
    view = memoryview(chunk)
    with contextlib.suppress(OSError):
        while view:
            view = view[os.write(descriptor, view) :]


@contextlib.contextmanager
def _raw_keyboard() -> Iterator[None]:
    """The container's terminal echoes and edits lines, so ours does not.

    Keys that are signals stay so in a terminal made for us, where a run has to know that it was interrupted;
    in the user's own (`mlrun shell`) they are the container's affair.
    """
    if not os.isatty(0):
        yield
        return
    before, settings = termios.tcgetattr(0), termios.tcgetattr(0)
    settings[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR | termios.IXON)
    settings[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
    if os.getsid(0) != os.getpid():
        settings[3] &= ~termios.ISIG
    termios.tcsetattr(0, termios.TCSADRAIN, settings)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(0, termios.TCSADRAIN, before)


if __name__ == "__main__":
    ended = main(sys.argv[1])
    sys.stdout.flush()
    os._exit(ended)  # a thread may still wait for input that never comes
