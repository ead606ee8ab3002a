"""`tree.c`: a program that reads folders of many files, compiled once for a machine's compiler and libc.

It is tried before it is trusted: what it says of a made-up folder must be what Python says.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import digest
from mlrun.data import trees
from mlrun.data.trees import Answer, Tree
from mlrun.errors import MlrunError
from mlrun.files import build_once

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlrun.files import Cache

SOURCES = tuple(Path(__file__).with_name(name) for name in ("tree.c", "lanes.h"))
LARGE = -3
"""The problem of a file (of more than 4 MiB) that the program leaves to us."""

_COMPILERS = ("/usr/bin/cc", "/usr/bin/gcc", "/usr/bin/clang", "/usr/local/bin/cc")
_FLAGS = ("-std=gnu11", "-O3", "-w", "-pthread")
_VARIABLES = {"PATH": os.defpath, "LC_ALL": "C"}
_SECONDS = 60.0
_LENGTHS = struct.Struct("=4q")
_ANSWER = struct.Struct("=8q32s")
_LANES = (4, 8, 16)
_MOST_THREADS = 32  # each may take 4 MiB
_SIZES = (0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 3073, 4096, 31745, 1 << 20)


def program(cache: Cache) -> Path | None:
    """The program, made now if it is not there; None where it cannot be."""
    if sys.platform != "linux":
        return None
    compiler = next((path for path in _COMPILERS if os.access(path, os.X_OK)), None)
    if compiler is None:
        return None
    folder = cache.hashers / _key(compiler)
    try:
        build_once(
            folder,
            lock=cache.locks / f"hash-{folder.name}.lock",
            temporary=cache.temporary,
            trash=cache.trash,
            build=lambda scratch: _build(scratch, compiler),
        )
    except (OSError, MlrunError):
        return None
    built = folder / "tree"
    return built if built.exists() else None


def ask(
    its_program: Path,
    root: str,
    names: Sequence[bytes] | None,
    known: Tree | None,
    *,
    told: Callable[[bytes], None] | None = None,
    lanes: int = max(_LANES),
) -> Answer | None:
    """All that lies in a folder, or some of it by `names`; `told` hears how it goes. None where it fails."""
    from mlrun.process import capture

    before = known or Tree(b"", array("q"), b"", b"")
    wanted = b"".join(name + b"\0" for name in names or ())
    parts = (wanted, before.names, before.stamps.tobytes(), before.digests)
    try:
        said = capture(
            [str(its_program), str(_processors()), str(lanes)],
            variables=_VARIABLES,
            cwd=Path(root),
            stdin=b"".join((_LENGTHS.pack(*(len(part) for part in parts)), *parts)),
            on_stderr=told,
        )
    except MlrunError:
        return None
    return _answer(said.stdout) if said.exit_code == 0 else None


def _answer(said: bytes) -> Answer | None:
    if len(said) < _ANSWER.size:
        return None
    same, whole, files, size, *lengths, its_digest = _ANSWER.unpack_from(said)
    if len(said) != _ANSWER.size + sum(lengths):
        return None
    parts, at = [], _ANSWER.size
    for length in lengths:
        parts.append(said[at : at + length])
        at += length
    stamps = array("q")
    stamps.frombytes(parts[1])
    tree = None if same else Tree(parts[0], stamps, parts[2], parts[3])
    return Answer(tree, (its_digest, size, files) if whole else None)


def _processors() -> int:
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(usable, _MOST_THREADS)


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
    for lanes in _LANES:
        answer = ask(built, str(folder), None, None, lanes=lanes)
        if answer is None or answer.tree is None or answer.whole is None:
            return False
        whole = digest.hex_of(digest.of_bytes(trees.write(answer.tree, "").text))
        if (answer.tree.digests, answer.whole[0].hex()) != (b"".join(expected), whole):
            return False
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    return True
