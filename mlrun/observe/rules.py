"""Which paths are worth telling: not the system's, the environment's, caches, or what is ours.

A rule is `+` or `-` and the beginning of a path; of those that fit, the longest decides, and what none fits
is told. The shim has the same rules, so that the thousands of files of an environment cost it a comparison.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlrun.pattern import pattern
from mlrun.value import positional_value, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_SYSTEM = (
    *(
        "/usr/",
        "/lib/",
        "/lib32/",
        "/lib64/",
        "/bin/",
        "/sbin/",
        "/etc/",
        "/proc/",
        "/sys/",
        "/dev/",
        "/run/",
    ),
    *("/boot/", "/nix/", "/snap/", "/var/cache/", "/var/lib/dpkg/", "/var/lib/apt/"),
    *("/System/", "/Library/", "/private/var/db/", "/opt/homebrew/", "/opt/local/"),
)
_CACHES = (
    *(
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "UV_CACHE_DIR",
        "PIP_CACHE_DIR",
        "NUMBA_CACHE_DIR",
        "MPLCONFIGDIR",
    ),
    *("IPYTHONDIR", "PYTHONPYCACHEPREFIX", "HF_HOME", "TORCH_HOME", "VIRTUAL_ENV", "CONDA_PREFIX"),
    *("PYENV_ROOT", "ASDF_DATA_DIR", "MAMBA_ROOT_PREFIX", "UV_PYTHON_INSTALL_DIR", "NVM_DIR", "CARGO_HOME"),
    *(
        "RUSTUP_HOME",
        "JAVA_HOME",
        "SPARK_HOME",
        "HADOOP_HOME",
        "CUDA_HOME",
        "R_HOME",
        "R_LIBS",
        "R_LIBS_USER",
    ),
    *("R_LIBS_USER", "R_LIBS_SITE", "JULIA_DEPOT_PATH"),
)
"""Variables that name folders of caches, settings, packages, or programs."""
_PROGRAMS = frozenset(("bin", "sbin", "libexec", "shims"))
"""Folders of such names on the search path hold nothing but programs; beside shims lies what they lead to."""
_DATA = {
    "HF_HOME": ("hub", "datasets"),
    "TORCH_HOME": ("hub/checkpoints", "checkpoints"),
    "XDG_CACHE_HOME": ("huggingface/hub", "huggingface/datasets", "torch/hub/checkpoints"),
    "HOME": (
        *(".cache/huggingface/hub", ".cache/huggingface/datasets", ".cache/torch/hub/checkpoints"),
        *(
            ".cache/kagglehub",
            ".cache/openml",
            ".openml/org",
            ".cache/seaborn",
            ".cache/torch/sentence_transformers",
        ),
        *(".keras/datasets", ".keras/models", ".fastai/data", ".mxnet", ".torch", ".kaggle/datasets"),
    ),
}
"""What lies in such folders and is data all the same: weights and data sets that libraries have fetched."""
PACKAGES = ("/site-packages/", "/dist-packages/", "/lib/python", "/.git/")
"""Wherever these are part of a path, it is no data (the shim has the same list)."""
_BY_PRODUCTS = (
    *("/__pycache__/", "/.ipynb_checkpoints/", "/.pytest_cache/", "/.mypy_cache/", "/.ruff_cache/"),
    *("/.hypothesis/", "/.eggs/", "/.tox/", "/.nox/", "/node_modules/", "/.dvc/", "/.snakemake/", "/.locks/"),
)
"""What tools leave behind for themselves."""
_CACHE = "/.cache/"
"""The same of caches, below whatever rule fits: some rules are of folders in the caches of a user."""
BY_PRODUCTS_END = (
    *(".pyc", ".pyo", ".nbi", ".nbc", "/.DS_Store", "/Thumbs.db", "/.coverage", ".swp", "/.gitignore"),
    *("/CACHEDIR.TAG", "/pyvenv.cfg", "/func_code.py", "/lock.mdb", "-shm"),
)
_KEPT = pattern(
    r"/joblib/(?:[^/]+/)+[0-9a-f]{32}/"  # what a `joblib.Memory` remembers of one call
    r"|/(?:models|datasets|spaces)--[^/]+/(?:refs|\.no_exist)/"  # of what a cache of Hugging Face's holds
)
"""The same, of caches whose folders may lie anywhere."""
TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108  names that are looked for in paths


@positional_value
class Rules:
    """Prefixes with their signs, the longest first; and real folders for temporary files."""

    texts: tuple[str, ...]
    temporary: tuple[str, ...] = ()

    def wants_all(self, folder: str) -> bool:
        """Whether files that lie in a folder (with a slash at its end) are worth telling whatever their name,
        but for those that end as in `BY_PRODUCTS_END`."""
        return self.wants(folder) and not self._goes_on(folder)

    def _goes_on(self, folder: str) -> bool:
        """Whether a name may decide too: a rule, or a part that is no data, goes on behind the folder."""
        if any(text.startswith(folder, 1) and len(text) > len(folder) + 1 for text in self.texts):
            return True
        return any(folder.endswith(part[: part.rfind("/") + 1]) for part in PACKAGES if part[-1] != "/")

    def wants(self, path: str) -> bool:
        """Whether a normal path is worth telling."""
        below = 0
        for text in self.texts:
            if path.startswith(text[1:]):
                if text[0] == "-":
                    return False
                below = len(text) - 2
                break
        if path.find(_CACHE, below) >= 0 or _KEPT.search(path):
            return False
        return not any(part in path for part in (*PACKAGES, *_BY_PRODUCTS)) and not path.endswith(
            BY_PRODUCTS_END
        )

    def encoded(self, shim: str, *, looks: bool = False) -> bytes:
        """As the shim reads them, with its own path; with `looks`, what a program only looks for is told."""
        first = f"{'?' if looks else '!'}{shim}"
        return b"".join(os.fsencode(text) + b"\0" for text in (first, *self.texts))


def on_host(variables: Mapping[str, str], *, wanted: Iterable[str], unwanted: Iterable[str]) -> Rules:
    """For a program with these variables; `wanted` and `unwanted` are folders that are known to be so."""
    wanted = tuple(wanted)
    home = variables.get("HOME", "")
    hidden = [f"{home.rstrip('/')}/."] if os.path.isabs(home) else []
    data = [
        f"{folder.rstrip('/')}/{part}"
        for variable, parts in _DATA.items()
        if os.path.isabs(folder := variables.get(variable, ""))
        for part in parts
    ]
    caches = [folder for name in _CACHES for folder in _listed(variables, name)]
    programs = [
        os.path.dirname(folder) if name == "shims" else folder
        for folder in _listed(variables, "PATH")
        if (name := os.path.basename(folder)) in _PROGRAMS and not any(map(f"{folder}/".startswith, wanted))
    ]
    temporary = [*TEMPORARY, folder] if os.path.isabs(folder := variables.get("TMPDIR", "")) else TEMPORARY
    return replace(
        _rules((*wanted, *data), (*unwanted, *caches, *programs), raw=(*_SYSTEM, *hidden)),
        temporary=tuple(os.path.realpath(folder) for folder in temporary),
    )


def _listed(variables: Mapping[str, str], name: str) -> list[str]:
    """The absolute paths that a variable holds, one or several."""
    folders = (folder.rstrip("/") for folder in variables.get(name, "").split(os.pathsep))
    return [folder for folder in folders if os.path.isabs(folder)]


def in_container(*, wanted: Iterable[str], unwanted: Iterable[str]) -> Rules:
    """For a program in a container: what is not mounted is the image's, and pinned with it."""
    return _rules(wanted, unwanted, raw=("/",))


def _rules(wanted: Iterable[str], unwanted: Iterable[str], *, raw: Iterable[str]) -> Rules:
    found = dict.fromkeys(raw, "-")
    found |= dict.fromkeys(_as_prefixes(unwanted), "-")
    found |= dict.fromkeys(_as_prefixes(wanted), "+")
    return Rules(tuple(found[text] + text for text in sorted(found, key=lambda text: (-len(text), text))))


def _as_prefixes(folders: Iterable[str]) -> Iterator[str]:
    """As they are named and as they really are; a folder is no rule for its neighbours."""
    for folder in folders:
        for path in {folder, os.path.realpath(folder)}:
            if path != "/":
                yield path.rstrip("/") + "/"
