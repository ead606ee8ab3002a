"""What keeps two runs of one program from differing by chance: some variables, and the mask of new files.

Pure. Who calls us, the environment and the project have the last word: only what they leave open is set. What
was set and what was found is recorded, and a repetition gets just that, whatever machine it is on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.model import Determinism

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""How many threads a sum is split over decides the order of its additions, and so its last bits."""

KERNELS = (
    *("OPENBLAS_CORETYPE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "BLIS_ARCH_TYPE"),
    *("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES", "GLIBC_TUNABLES"),
)
"""Which instructions numerical libraries use. They are recorded as found, for a default is the machine's."""

_LOCALE = ("LANG", "LC_CTYPE", "LC_COLLATE", "LC_NUMERIC", "LC_TIME")
FAMILY = (
    *("PYTHONHASHSEED", "CUBLAS_WORKSPACE_CONFIG", "SOURCE_DATE_EPOCH", "TZ", "LC_ALL"),
    *(*THREADS, "OMP_DYNAMIC", "MKL_DYNAMIC", *KERNELS, *_LOCALE),
)
"""Variables whose values are recorded, whoever set them."""
_GROUP_AND_OTHERS_WRITE = 0o022


def defaults(
    *, committed: int | None, threads: int | None, locale: str | None, contained: bool
) -> dict[str, str]:
    """The variables that a run gets where nobody else sets them.

    `committed` is when its commit was made, seconds since 1970; `locale` a C locale in UTF-8. Where the run
    is `contained`, time zone and locale are the image's.
    """
    found = {"PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    if committed is not None:  # https://reproducible-builds.org/specs/source-date-epoch/
        found["SOURCE_DATE_EPOCH"] = str(committed)
    if threads is not None:
        found |= dict.fromkeys(THREADS, str(threads))
    if not contained:
        found["TZ"] = "UTC"
        if locale is not None:
            found["LC_ALL"] = locale
    return found


def threads_of(cores: int | None, *, cpus: float | None) -> int | None:
    """How many threads a run gets: as many as its project asks cores, where it asks.

    The number of all cores is no safe default: joblib gives each of its workers a share of them only as long
    as these variables are not set.
    """
    if cores is None or cpus is None:
        return None
    return max(1, min(cores, -int(-cpus // 1)))


def chosen(
    wanted: Mapping[str, str],
    given: Mapping[str, str],
    *,
    declared: Collection[str] = (),
    umask: int | None,
) -> Determinism:
    """What a run gets over what it is `given`; a mask of the caller's that is stricter stays.

    A locale that the project has `declared` in part is not overruled as a whole.
    """
    kept = {name: text for name, text in wanted.items() if name not in given}
    if any(name == "LANG" or name.startswith("LC_") for name in declared):
        kept.pop("LC_ALL", None)
    return Determinism(
        variables=tuple(sorted(kept.items())),
        found=tuple(sorted((name, given[name]) for name in FAMILY if name in given)),
        umask=None if umask is None else umask | _GROUP_AND_OTHERS_WRITE,
    )


def switched_off(given: Mapping[str, str], *, umask: int | None) -> Determinism:
    """Nothing is set; what was found is worth recording all the same."""
    return Determinism(on=False, found=chosen({}, given, umask=None).found, umask=umask)


def again(past: Determinism, given: Mapping[str, str], *, declared: Mapping[str, str]) -> Determinism:
    """What a repetition gets: what the run had. What the project declares is its own, as it was then."""
    was = {name: text for name, text in (*past.variables, *past.found) if name not in declared}
    same = {name for name in was if given.get(name) == was[name]}
    return Determinism(
        on=past.on,
        variables=tuple(sorted((name, text) for name, text in was.items() if name not in same)),
        found=tuple(sorted((name, given[name]) for name in {*same, *declared} & {*FAMILY} & {*given})),
        umask=past.umask,
    )


def settings(facts: Determinism, given: Mapping[str, str]) -> dict[str, str | None]:
    """What is to be changed in a program's variables; None takes away what a run that is repeated had not."""
    kept = dict((*facts.variables, *facts.found))
    unknown = dict.fromkeys(name for name in FAMILY if name in given and name not in kept)
    return unknown | dict(facts.variables)
