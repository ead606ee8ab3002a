"""The shim, compiled once for a machine's compiler and libc; and tried, before any program has to load it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import digest
from mlrun.errors import MlrunError
from mlrun.files import build_once, write_atomic
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlrun.files import Cache

SOURCE = Path(__file__).with_name("shim.c")
LIBRARIES = ("shim.so", "shim-dl.so")
"""For a libc that has `dlsym` (glibc from 2.34 on, musl), and for one that has it in libdl."""

_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = (
    *("-std=gnu11", "-O1", "-fPIC", "-fvisibility=hidden", "-fno-stack-protector"),
    *("-U_FORTIFY_SOURCE", "-c"),
)
_LINKING = ("-shared", "-nostdlib", "-Wl,-z,now")  # a symbol that is missing is missed at once
_LINKS = ((), ("-Wl,--no-as-needed", "./libdl.so.2"))
_MACHINES = frozenset({"x86_64", "aarch64", "riscv64"})  # where stat(2) fills what stat(3) declares
_SECONDS = 60.0


@positional_value
class Unavailable:
    """Why there is no shim."""

    why: str


def shim(cache: Cache, variables: Mapping[str, str]) -> Path | Unavailable:
    """The library, made now if it is not there."""
    if sys.platform != "linux" or os.uname().machine not in _MACHINES:
        return Unavailable(f"the shim is for Linux on {', '.join(sorted(_MACHINES))}")
    compiler = _compiler(variables)
    if compiler is None:
        return _any_built(cache) or Unavailable("no C compiler (cc, gcc, clang)")
    folder = cache.observers / _key(compiler)
    try:
        build_once(
            folder,
            lock=cache.locks / f"observe-{folder.name}.lock",
            temporary=cache.temporary,
            trash=cache.trash,
            build=lambda scratch: _build(scratch, compiler, variables),
        )
    except (OSError, MlrunError) as error:
        return Unavailable(f"the shim could not be compiled: {error}")
    return _chosen(folder) or Unavailable((folder / "failed").read_text(errors="replace"))


def _chosen(folder: Path) -> Path | None:
    """The library that this machine's libc takes."""
    return next((library for name in LIBRARIES if (library := folder / name).exists()), None)


def _compiler(variables: Mapping[str, str]) -> str | None:
    folders = [folder for folder in variables.get("PATH", os.defpath).split(os.pathsep) if folder]
    for name in _COMPILERS:
        for folder in folders:
            path = os.path.join(folder, name)
            if os.access(path, os.X_OK):
                return path
    return None


def _key(compiler: str) -> str:
    """Another source, compiler, or libc makes another shim."""
    status = os.stat(compiler)
    libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else ""
    parts = (compiler, status.st_size, status.st_mtime_ns, os.uname().machine, libc)
    text = digest.of_bytes(SOURCE.read_bytes() + repr(parts).encode("utf-8", "surrogateescape"))
    return digest.hex_of(text)[:24]


def _any_built(cache: Cache) -> Path | None:
    """One that was built while there was a compiler: it needs no particular libc."""
    try:
        folders = sorted(cache.observers.iterdir())
    except OSError:
        return None
    now = digest.hex_of(digest.of_bytes(SOURCE.read_bytes()))
    for folder in folders:
        try:
            if (folder / "source").read_text() == now and (library := _chosen(folder)):
                return library
        except OSError:
            continue
    return None


def _build(scratch: Path, compiler: str, variables: Mapping[str, str]) -> None:
    """The library, or the reason why there will be none: not tried again before something changes."""
    scratch.mkdir(parents=True)
    try:
        _compile(scratch, compiler, variables)
    except (OSError, MlrunError) as error:
        for name in LIBRARIES:
            (scratch / name).unlink(missing_ok=True)
        (scratch / "failed").write_text(str(error), errors="surrogateescape")
    (scratch / "source").write_text(digest.hex_of(digest.of_bytes(SOURCE.read_bytes())))


def _compile(scratch: Path, compiler: str, variables: Mapping[str, str]) -> None:
    """Both libraries; one that does not work here is removed. Raises MlrunError where neither does."""
    compiled, stub = scratch / "shim.o", scratch / "libdl.so.2"
    _do([compiler, *_FLAGS, "-o", compiled, SOURCE], scratch, variables)
    # Of the library that has `dlsym` before glibc 2.34, only the name has to be known here.
    _do([compiler, *_LINKING, "-Wl,-soname,libdl.so.2", "-o", stub, "-xc", os.devnull], scratch, variables)
    refused: MlrunError | None = None
    for name, more in zip(LIBRARIES, _LINKS, strict=True):
        library = scratch / name
        try:
            _do([compiler, *_LINKING, "-o", library, compiled, *more, "-lgcc"], scratch, variables)
            _try_out(library, scratch, variables)
        except MlrunError as error:
            refused = error
            if library.exists():
                library.rename(scratch / f"{name}.elsewhere")  # it may do in a container
    stub.unlink()
    compiled.unlink()
    if refused is not None and _chosen(scratch) is None:
        raise refused


def for_containers(library: Path) -> dict[str, Path]:
    """All libraries compiled with one, by their names: which of them can be loaded, an image tells."""
    found = {name: library.with_name(name) for name in LIBRARIES}
    found = {
        name: path if path.exists() else path.with_name(f"{name}.elsewhere") for name, path in found.items()
    }
    return {name: path for name, path in found.items() if path.exists()}


def _try_out(library: Path, scratch: Path, variables: Mapping[str, str]) -> None:
    """A shell that opens a file must say nothing, and the shim must."""
    from mlrun.observe.events import read

    folder = scratch / "trial"
    folder.mkdir()
    short = os.path.relpath(library, scratch)
    write_atomic(folder / "rules", b"!shim\0-/usr/\0")
    seen = {**variables, "MLRUN_OBSERVE": str(folder), "LD_PRELOAD": f"./{short}"}
    seen.pop("BASH_ENV", None)
    try:
        _do(["/bin/sh", "-c", ": > opened"], scratch, seen, silent=True)
        found = [event.path for event in read(folder).all()]
    finally:
        _remove_trial(scratch)
    if not any(path.endswith("/opened") for path in found):
        raise MlrunError("a program that loaded the shim was not seen", code="shim-blind")


def _remove_trial(scratch: Path) -> None:
    folder = scratch / "trial"
    for path in (*folder.iterdir(), scratch / "opened"):
        path.unlink(missing_ok=True)
    folder.rmdir()


def _do(argv: list[str | Path], cwd: Path, variables: Mapping[str, str], *, silent: bool = False) -> None:
    from mlrun.process import capture

    done = capture([str(word) for word in argv], variables=variables, cwd=cwd, timeout=_SECONDS)
    if done.exit_code != 0 or (silent and done.stderr):
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise MlrunError(said[0] if said else f"exit code {done.exit_code}", code="shim-failed")
