"""Programs whose reads and writes are known: each says them in comments at its top, paths relative to where
it runs. `python-only misses` are reads that an audit hook in Python cannot see."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from mlrun.value import value

FOLDER = Path(__file__).parent
PLAIN = ("plain.py", "database.py", "replaced.py", "children.py", "workers.py", "threads.py", "hostile.py")
SHELL = ("shell.sh", "archives.sh", "compiled.sh")
SCIENCE = ("prepare_tables.py", "tables.py", "arrays.py", "training.py")


@value
class Truth:
    """What a program reads and writes, and what each means cannot see of it."""

    reads: frozenset[str]
    writes: frozenset[str]
    missed: dict[str, frozenset[str]]


def truth_of(name: str) -> Truth:
    """What a program says of itself."""
    text = next(path for path in (FOLDER / name, FOLDER / "science" / name) if path.exists()).read_text()
    return Truth(
        reads=_named(text, "reads"),
        writes=_named(text, "writes"),
        missed={how: _named(text, f"{how} misses") for how in ("shim", "strace", "python-only")},
    )


def _named(text: str, label: str) -> frozenset[str]:
    lines = re.findall(rf"^# {label}: (.*)$", text, re.MULTILINE)
    return frozenset(", ".join(lines).split(", ")) - {"", "nothing"}


def lay_out(folder: Path) -> None:
    """Copy all programs into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (*FOLDER.glob("*.*"), *FOLDER.glob("science/*.py")):
        if path.name != "__init__.py":
            shutil.copy(path, folder)
