"""`tree.c`: a program that reads folders of many files, compiled once for a machine's compiler and libc.

It is tried before it is trusted: what it says of a made-up folder must be what Python says.
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import digest
from mlrun.data import memory, trees
from mlrun.errors import MlrunError
from mlrun.files import build_once
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlrun.files import Cache
    from mlrun.model import Narrator

SOURCES = tuple(Path(__file__).with_name(name) for name in ("tree.c", "lanes.h"))
LARGE = -3
"""The problem of a file (of more than 4 MiB) that the program leaves to us."""

_COMPILERS = ("/usr/bin/cc", "/usr/bin/gcc", "/usr/bin/clang", "/usr/local/bin/cc")
_FLAGS = ("-std=gnu11", "-O3", "-w", "-pthread")
_VARIABLES = {"PATH": os.defpath, "LC_ALL": "C"}
_SECONDS = 60.0
_LENGTH = struct.Struct("=q")
_ANSWER = struct.Struct("=5q32s")
_LANES = (4, 8, 16)
_THREADS = (8, 32)  # a disk that is asked for eight files at once is quicker; each may take 4 MiB
_SIZES = (0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 3073, 4096, 31745, 1 << 20)


@positional_value
class Answer:
    """What lies in a folder: whether it is as remembered, and how many links there are.

    The rest is told where everything has a digest and a plain name: the number of files, their size, and the
    manifest's digest.
    """

    is_same: bool
    is_whole: bool
    links: int
    files: int
    size: int
    digest: bytes


def program(cache: Cache, narrator: Narrator | None = None) -> Path | None:
    """The program, made now (and told so) if it is not there; None where it cannot be."""
    if sys.platform != "linux":
        return None
    compiler = next((path for path in _COMPILERS if os.access(path, os.X_OK)), None)
    if compiler is None:
        return None
    folder = cache.hashers / _key(compiler)

    def build(scratch: Path) -> None:
        if narrator is not None:
            narrator.say("compiling the program that reads many files; this is done once")
        _build(scratch, compiler)

    try:
        build_once(
            folder,
            lock=cache.locks / f"hash-{folder.name}.lock",
            temporary=cache.temporary,
            trash=cache.trash,
            build=build,
        )
    except (OSError, MlrunError):
        return None
    built = folder / "tree"
    return built if built.exists() else None


def ask(
    its_program: Path,
    root: str,
    names: Sequence[bytes] | None,
    *,
    old: Path,
    new: Path,
    proven: int,
    told: Callable[[bytes], None] | None = None,
    lanes: int = max(_LANES),
) -> Answer | None:
    """All that lies in a folder, or some of it by `names`, against what the file `old` remembers.

    Unless that is the same, the file `new` is written; stamps whose times are not before `proven` (ns) will
    prove nothing. `told` hears how it goes. None where it fails.
    """
    from mlrun.process import capture

    wanted = b"".join(name + b"\0" for name in names or ())
    try:
        new.parent.mkdir(parents=True, exist_ok=True)
        words = (its_program, threads(), lanes, old.absolute(), new.absolute(), proven)
        said = capture(
            [str(word) for word in words],
            variables=_VARIABLES,
            cwd=Path(root),
            stdin=_LENGTH.pack(len(wanted)) + wanted,
            on_stderr=told,
        )
    except (OSError, MlrunError):
        return None
    if said.exit_code != 0 or len(said.stdout) != _ANSWER.size:
        return None
    same, whole, links, files, size, its_digest = _ANSWER.unpack(said.stdout)
    return Answer(bool(same), bool(whole), links, files, size, its_digest)


def threads() -> int:
    """How many files are read at once."""
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(max(usable, _THREADS[0]), _THREADS[1])


# --- making it ----------------------------------------------------------------------------------------


def _key(compiler: str) -> str:
    """Another source, compiler or libc makes another program."""
    status = os.stat(compiler)
    libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else ""
    parts = (compiler, status.st_size, status.st_mtime_ns, os.uname().machine, libc)
    text = b"".join(source.read_bytes() for source in SOURCES) + repr(parts).encode()
    return digest.hex_of(digest.of_bytes(text))[:24]


def _build(scratch: Path, compiler: str) -> None:
    """The program, or an empty folder: not tried again before something changes."""
    from mlrun.process import capture

    scratch.mkdir(parents=True)
    built = scratch / "tree"
    try:
        capture(
            [compiler, *_FLAGS, "-o", str(built), str(SOURCES[0])],
            variables=_VARIABLES,
            cwd=scratch,
            timeout=_SECONDS,
        )
        if built.exists() and not _is_right(built, scratch):
            built.unlink()
    except (OSError, MlrunError):
        built.unlink(missing_ok=True)


def _is_right(built: Path, scratch: Path) -> bool:
    """Whether it tells files of many sizes as Python does, in each of its ways to hash."""
    folder = scratch / "trial"
    folder.mkdir()
    expected = []
    for number, size in enumerate(_SIZES):
        content = bytes((at * 7 + at // 251) % 256 for at in range(min(size, 4096))) * (size // 4096 + 1)
        (folder / f"{number:02}").write_bytes(content[:size])
        expected.append(bytes.fromhex(digest.hex_of(digest.of_bytes(content[:size]))))
    nothing, new = scratch / "nothing", scratch / "new"
    for lanes in _LANES:
        answer = ask(built, str(folder), None, old=nothing, new=new, proven=0, lanes=lanes)
        found = memory.load(new)
        if answer is None or found is None:
            return False
        new.unlink()
        whole = digest.hex_of(digest.of_bytes(trees.write(found.tree, "").text))
        if found.tree.digests != b"".join(expected) or not answer.digest.hex() == found.digest.hex() == whole:
            return False
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    return True
