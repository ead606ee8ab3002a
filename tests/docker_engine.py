"""A real container engine for the tests, and an image made of what this machine has: no registry is needed.

The image holds the Python that runs the tests with its standard library, what `ldd` says it needs, bash, and
busybox for everything else of a shell. Without an engine a test is skipped; with `docker` in
MLRUN_TEST_REQUIRE it fails.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlrun.env.containers import engine
from mlrun.errors import EnvironmentBuildError
from mlrun.model import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLES = dict(os.environ)  # noqa: TID251  what the tests start from
REPOSITORY = "mlrun-test-base"

_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")
_LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "tkinter", "turtledemo", "site-packages", "dist-packages",
             "__pycache__", "ensurepip"}  # fmt: skip
_PASSWD = "root:x:0:0:root:/root:/bin/sh\nada:x:1234:1234::/home/ada:/bin/sh\n"


def connect() -> Any:
    """A client of the engine; the test is skipped where there is none, or fails where one must be."""
    try:
        return engine.connect(engine.address(Caller(directory="/", variables=VARIABLES)))
    except EnvironmentBuildError as error:
        _give_up(str(error))


def _give_up(reason: str) -> None:
    if "docker" in VARIABLES.get("MLRUN_TEST_REQUIRE", ""):
        pytest.fail(reason)
    pytest.skip(reason)


def base_image(client: Any) -> str:
    """The name of an image with Python and a shell; made once, and kept on the engine."""
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    version = f"{'.'.join(map(str, sys.version_info[:3]))}-{recipe}"
    name = f"{REPOSITORY}:{version}"
    with open(Path(tempfile.gettempdir(), f"mlrun-test-base-{os.getuid()}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may want it at once
        if not client.images.list(name=name):
            client.api.import_image_from_data(
                _archive(), repository=REPOSITORY, tag=version, changes=[f"ENV PATH={_PATH}"]
            )
    return name


_PATH = "/usr/local/bin:/usr/bin:/bin"


def _archive() -> bytes:
    if sys.platform != "linux" or shutil.which("busybox") is None:
        _give_up("the tests' image is made of Linux's own files and busybox (Debian: busybox-static)")
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            _Image(archive).fill()
        return buffer.getvalue()


class _Image:
    """The files of the image; none twice."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._seen: set[str] = set()

    def fill(self) -> None:
        python = os.path.realpath(sys.executable)
        for folder, mode in (("tmp", 0o1777), ("root", 0o755), ("home/ada", 0o755), ("proc", 0o555)):
            self._folder(folder, mode, 1234 if "ada" in folder else 0)
        self._text("etc/passwd", _PASSWD)
        self._text("etc/group", "root:x:0:\nada:x:1234:\n")
        self._program(python)
        self._program(shutil.which("bash") or "/bin/bash", "/bin/bash")
        self._program(shutil.which("busybox") or "/bin/busybox", "/bin/busybox")
        for name in _output("busybox", "--list").split():
            if name not in ("bash", "busybox"):
                self._link(f"bin/{name}", "/bin/busybox")
        for name in ("python", "python3"):
            self._link(f"usr/local/bin/{name}", python)
        for folder in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}:
            self._tree(Path(folder))

    def _tree(self, folder: Path) -> None:
        for place, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if name not in _LEFT_OUT and "config-" not in name]
            for name in names:
                path = Path(place, name)
                if path.suffix == ".so":
                    self._program(str(path))
                elif path.suffix not in (".a", ".pyc", ".whl") and path.is_file():
                    self._file(str(path), str(path))

    def _program(self, path: str, inside: str | None = None) -> None:
        self._file(path, inside or path)
        for library in _LIBRARY.findall(_output("ldd", path)):
            self._file(library, library)

    def _file(self, path: str, inside: str) -> None:
        inside = inside.lstrip("/")
        if inside not in self._seen:
            self._seen.add(inside)
            self._archive.add(os.path.realpath(path), inside, filter=_of_root)

    def _link(self, inside: str, target: str) -> None:
        if inside not in self._seen:
            self._seen.add(inside)
            link = tarfile.TarInfo(inside)
            link.type, link.linkname, link.mode = tarfile.SYMTYPE, target, 0o777
            self._archive.addfile(link)

    def _folder(self, inside: str, mode: int, owner: int) -> None:
        folder = tarfile.TarInfo(inside)
        folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, mode, owner, owner
        self._archive.addfile(folder)

    def _text(self, inside: str, text: str) -> None:
        file = tarfile.TarInfo(inside)
        file.size, file.mode = len(text), 0o644
        self._archive.addfile(file, io.BytesIO(text.encode()))


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _output(*argv: str) -> str:
    """Of a static program `ldd` fails, and says nothing that counts."""
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def containers(client: Any) -> list[str]:
    """The names of all containers of mlrun, running or not."""
    found = client.api.containers(all=True, filters={"label": "mlrun.maker"})
    return [name.lstrip("/") for container in found for name in container["Names"]]


@pytest.fixture(scope="session")
def docker_client() -> Iterator[Any]:
    """A client of the engine. It is closed after the last test: an open socket would be a warning."""
    client = connect()
    yield client
    client.close()


@pytest.fixture(scope="session")
def base(docker_client: Any) -> str:
    """The name of the tests' image."""
    return base_image(docker_client)
