"""What a project's sources import, and which distributions that takes.

Sources are read and never run. Those that belong to the entry points come first: the scripts that the project
file's commands name, and the project's own modules behind them; where no command names one, all.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun.env.asking.pypi_names import canonical, name_of
from mlrun.model import Place
from mlrun.pattern import pattern
from mlrun.value import draft, field, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mlrun.env.values import Asked
    from mlrun.yamlfile import Memory

MOST_FILES = 500
"""Sources that are read; a project with more is read in part."""

_MOST_ENTRIES = 20_000
_LONGEST = 1024 * 1024
_PROJECT_FILE = pattern(r"mlproject(\.ya?ml)?", re.IGNORECASE)
_SCRIPT = pattern(r"(?<![\w./{}-])(?P<path>[\w./-]+\.(?:py|ipynb|sh))(?![\w{/-])")
_MODULE = pattern(r"\bpython[\d.]*(?:\s+-[^\Wmc]\w*)*\s+-m\s+(?P<module>[\w.]+)")
_SIGNS = (".py", ".ipynb", ".sh", "python")
_PROGRAM = pattern(r"(?:^|&&|\|\||[;|\n])\s*(?:\w+=\S*\s+)*(?P<name>[\w-]+)")
_IMPORT = pattern(
    r"^[ \t]*(?:from[ \t]+(?P<base>[.\w]+)[ \t]+import\b|import[ \t]+(?P<names>[\w., \t]+))", re.MULTILINE
)
_SKIPPED = frozenset(
    {"__pycache__", "mlruns", "mlartifacts", "node_modules", "site-packages", "venv", "build", "dist"}
)
_NO_PROGRAM_OF_ALL = pattern(r"(test_.*|.*_test|conftest|setup|noxfile|tasks)\.py")
_TESTS = frozenset({"test", "tests", "docs"})

_PROGRAMS = {
    "accelerate": "accelerate", "dvc": "dvc", "gunicorn": "gunicorn", "jupyter": "jupyter", "kedro": "kedro",
    "mlflow": "mlflow", "papermill": "papermill", "pytest": "pytest", "streamlit": "streamlit",
    "torchrun": "torch", "uvicorn": "uvicorn",
}  # fmt: skip
"""Commands that a distribution brings, which no source imports."""

_FLAVOURS = {
    "catboost": ("catboost",), "diviner": ("diviner",), "fastai": ("fastai",), "gluon": ("mxnet",),
    "h2o": ("h2o",), "langchain": ("langchain",), "lightgbm": ("lightgbm",), "onnx": ("onnx", "onnxruntime"),
    "openai": ("openai",), "paddle": ("paddlepaddle",), "pmdarima": ("pmdarima",), "prophet": ("prophet",),
    "pytorch": ("torch",), "sagemaker": ("boto3",), "sentence_transformers": ("sentence-transformers",),
    "shap": ("shap",), "sklearn": ("scikit-learn",), "spacy": ("spacy",), "spark": ("pyspark",),
    "statsmodels": ("statsmodels",), "tensorflow": ("tensorflow",), "transformers": ("transformers",),
    "xgboost": ("xgboost",),
}  # fmt: skip
"""`mlflow.<flavour>` and what it imports when it is used; source:
https://mlflow.org/docs/latest/ml/model/#model-flavors"""

_PANDAS = {
    "ExcelFile": ("openpyxl", "xlrd"), "ExcelWriter": ("openpyxl",), "HDFStore": ("tables",),
    "read_excel": ("openpyxl", "xlrd"), "read_feather": ("pyarrow",), "read_hdf": ("tables",),
    "read_html": ("lxml",), "read_orc": ("pyarrow",), "read_parquet": ("pyarrow",),
    "read_sql": ("sqlalchemy",), "read_xml": ("lxml",), "to_excel": ("openpyxl",),
    "to_feather": ("pyarrow",), "to_hdf": ("tables",), "to_markdown": ("tabulate",),
    "to_parquet": ("pyarrow",),
}  # fmt: skip
"""Methods of pandas and what they import when they are called; source:
https://pandas.pydata.org/docs/getting_started/install.html#optional-dependencies"""

_BACKENDS = {"keras": ("tensorflow", frozenset({"jax", "tensorflow", "torch"}))}
"""What does not work without one of several others, and the one to take where none is imported."""


@value
class Found:
    """`imported` are modules with their dots and where each is imported first; the sources can do without
    those in `optional`. `uses` are attributes, the last name or the chain: `read_excel`, `mlflow.sklearn`.
    `files` were read, relative to the project; `programs` are called by the project's commands."""

    imported: tuple[tuple[str, Place], ...] = ()
    optional: tuple[tuple[str, Place], ...] = ()
    uses: frozenset[str] = frozenset()
    files: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()


@value
class Needed:
    """Distributions: the `imported` with where, the `implied` with why, and the `optional`."""

    imported: tuple[tuple[str, Place], ...] = ()
    implied: tuple[tuple[str, str], ...] = ()
    optional: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What has to be there, sorted."""
        names = {canonical(name): name for name, _ in (*self.implied, *self.imported)}
        return tuple(sorted(names.values(), key=str.lower))


def needed(directory: Path, *, root: Path | None = None, memory: Memory | None = None) -> Needed:
    """The distributions that a project's sources take; `root` is the top of its checkout."""
    scripts = entry_files(directory, root=root, memory=memory)
    return distributions(find(scripts, directory, root=root, memory=memory))


def missing(asked: Asked, directory: Path) -> list[tuple[str, Place]]:
    """What the sources import and neither the requirements nor what they bring along hold, and where."""
    from mlrun.env.asking.inference import top_of
    from mlrun.env.asking.module_names import brought_by

    names = {canonical(name_of(item.text) or "") for item in asked.requirements}
    if "" in names:  # a bare URL may hold anything
        return []
    there = brought_by(names) | {"pip", "setuptools", "wheel"}
    found = needed(directory, root=top_of(directory))
    return [(name, place) for name, place in found.imported if canonical(name) not in there]


def distributions(found: Found) -> Needed:
    """The distributions behind modules."""
    if not (found.imported or found.optional or found.uses or found.programs):
        return Needed(files=found.files)
    from mlrun.env.asking.module_names import distribution_of

    imported: dict[str, Place] = {}
    for module, place in found.imported:
        if name := distribution_of(module):
            imported.setdefault(name, place)
    for name in found.programs:
        imported.setdefault(name, Place(file="MLproject", line=1))
    implied: dict[str, str] = {}
    for name, why in _implied(found, imported):
        if name not in imported:
            implied.setdefault(name, why)
    optional = {distribution_of(module) for module, _ in found.optional}
    return Needed(
        imported=tuple(imported.items()),
        implied=tuple(implied.items()),
        optional=tuple(sorted(name for name in optional if name and name not in imported)),
        files=found.files,
    )


def _implied(found: Found, imported: dict[str, Place]) -> Iterator[tuple[str, str]]:
    chains = {*found.uses, *(module for module, _ in found.imported)}
    for chain in sorted(chains):
        parts = chain.split(".")
        if parts[0] == "mlflow" and len(parts) > 1:
            for name in _FLAVOURS.get(parts[1], ()):
                yield name, f"mlflow.{parts[1]}"
    if "pandas" in imported:
        for use in sorted(_PANDAS.keys() & found.uses):
            for name in _PANDAS[use]:
                yield name, f"pandas' {use}"
    for name, (usual, backends) in _BACKENDS.items():
        if name in imported and not imported.keys() & backends:
            yield usual, name


# --- which files --------------------------------------------------------------------------------------


def entry_files(
    directory: Path, *, root: Path | None = None, memory: Memory | None = None
) -> tuple[Path, ...]:
    """The scripts that the project's commands run; where they name none that is there, all of its sources."""
    commands = _commands(directory, memory)
    named: dict[Path, None] = {}
    for text in commands:
        named.update(dict.fromkeys(_named_in(text, directory, root or directory)))
    if any(path.suffix in (".py", ".ipynb") for path in named):
        return tuple(named)
    return (*named, *_all_sources(directory))


def _commands(directory: Path, memory: Memory | None) -> list[str]:
    """The commands of the project file; the whole text where it is no YAML."""
    from mlrun import yamlfile
    from mlrun.errors import ProjectError
    from mlrun.yamlfile import MapNode, Scalar

    try:
        name = min(filter(_PROJECT_FILE.fullmatch, os.listdir(directory)), default=None)
        if name is None:
            return []
        root = yamlfile.read(directory / name, file=name, memory=memory).root
    except (ProjectError, OSError):
        return []
    points = root.get("entry_points") if isinstance(root, MapNode) else None
    entries = points.entries if isinstance(points, MapNode) else ()
    commands = [node.get("command") for _, node in entries if isinstance(node, MapNode)]
    return [command.text for command in commands if isinstance(command, Scalar)]


def _named_in(command: str, directory: Path, root: Path, *, depth: int = 0) -> Iterator[Path]:
    if not any(sign in command for sign in _SIGNS):
        return
    for match in _MODULE.finditer(command):
        parts = match["module"].split(".")
        yield from _first([folder.joinpath(*parts) for folder in (directory, directory / "src", root)])
    for match in _SCRIPT.finditer(command):
        path = _script(match["path"], directory)
        if path is not None and path.suffix == ".sh" and depth < 2:
            yield from _named_in(_text(path), path.parent, root, depth=depth + 1)
        elif path is not None:
            yield path


def _first(bases: Sequence[Path]) -> list[Path]:
    """What `python -m` runs: a module, or a package's `__main__`."""
    for base in bases:
        for path in (base.with_name(base.name + ".py"), base / "__main__.py", base / "__init__.py"):
            if path.is_file():
                return [path]
    return []


def _script(name: str, directory: Path) -> Path | None:
    """A script by the path that a command names, else by its name alone: there may be a `cd` before it."""
    path = Path(os.path.normpath(directory / name))
    if path.is_file():
        return path
    wanted = os.path.basename(name)
    return next((path for path in _walk(directory, wanted) if path.name == wanted), None)


def _all_sources(directory: Path) -> tuple[Path, ...]:
    """All Python below a folder but its tests; notebooks where there is no other."""
    sources = _walk(directory, ".py", ".ipynb")
    found = [path for path in sources if not _TESTS & set(path.relative_to(directory).parts)]
    scripts = [path for path in found if path.suffix == ".py" and not _NO_PROGRAM_OF_ALL.fullmatch(path.name)]
    return tuple((scripts or [path for path in found if path.suffix == ".ipynb"])[:MOST_FILES])


def _walk(folder: Path, *endings: str) -> Iterator[Path]:
    """Files below a folder whose names end so, without what others put there, those at the top first."""
    entries = 0
    for current, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        entries += len(names) + len(folders)
        if entries > _MOST_ENTRIES:
            return
        if "pyvenv.cfg" in names:
            folders.clear()
            continue
        yield from (Path(current, name) for name in sorted(names) if name.endswith(endings))


# --- what they import ---------------------------------------------------------------------------------


@draft
class _Finding:
    imported: dict[str, Place] = field(default_factory=dict)
    optional: dict[str, Place] = field(default_factory=dict)
    uses: set[str] = field(default_factory=set)
    files: list[str] = field(default_factory=list)


def find(
    scripts: Iterable[Path], directory: Path, *, root: Path | None = None, memory: Memory | None = None
) -> Found:
    """What scripts and the project's own modules behind them import from elsewhere."""
    waiting = list(scripts)
    own = _Own(directory, root or directory)
    seen: set[Path] = set()
    found = _Finding()
    for path in waiting:
        if path in seen or len(seen) >= MOST_FILES:
            continue
        seen.add(path)
        shown = os.path.relpath(path, directory).replace(os.sep, "/")
        found.files.append(shown)
        source = _Source(path)
        found.uses |= source.uses
        for module, line, optional in source.imports:
            files = own.files(module, path.parent)
            waiting += files
            if not files and not module.startswith("."):
                into = found.optional if optional else found.imported
                into.setdefault(module, Place(file=shown, line=line))
    programs = {name for text in _commands(directory, memory) for name in _programs(text)}
    return Found(
        imported=tuple(found.imported.items()),
        optional=tuple(found.optional.items()),
        uses=frozenset(found.uses),
        files=tuple(found.files),
        programs=tuple(sorted(programs)),
    )


def _programs(command: str) -> Iterator[str]:
    if not any(name in command for name in _PROGRAMS):
        return
    called = [match["name"] for match in _PROGRAM.finditer(command)]
    called += [match["module"] for match in _MODULE.finditer(command)]
    yield from (_PROGRAMS[name] for name in called if name in _PROGRAMS)


class _Own:
    """The project's own modules, below the project's folder or anywhere in its checkout."""

    def __init__(self, directory: Path, root: Path) -> None:
        self._directory = directory
        self._root = root
        self._names: dict[str, Path] | None = None

    def files(self, module: str, here: Path) -> list[Path]:
        """The files behind an imported module; none where it is not the project's."""
        from mlrun.env.asking.module_names import is_known

        level = len(module) - len(module.lstrip("."))
        parts = module.lstrip(".").split(".")
        if level:
            base = here.parents[level - 2] if 1 < level <= len(here.parents) + 1 else here
            return _in(base, parts) or [path for path in [base / "__init__.py"] if path.is_file()]
        known = is_known(module)
        near = [here, self._directory] if known else [here, *self._above(here), *self._usual()]
        for folder in dict.fromkeys(near):
            if found := _in(folder, parts, package_only=known):
                return found
        if known or (elsewhere := self._anywhere().get(parts[0])) is None:
            return []
        return _in(elsewhere, parts)

    def _above(self, here: Path) -> list[Path]:
        """The folders above a script, up to the top: what people add to `sys.path`."""
        return [folder for folder in here.parents if folder == self._root or self._root in folder.parents]

    def _usual(self) -> list[Path]:
        return [top / name for top in (self._directory, self._root) for name in ("", "src")]

    def _anywhere(self) -> dict[str, Path]:
        """Modules and packages by their names, and the folders that hold them."""
        if self._names is None:
            self._names = {}
            for path in _walk(self._root, ".py"):
                self._names.setdefault(path.stem, path.parent)
                if path.parent != self._root:
                    self._names.setdefault(path.parent.name, path.parent.parent)
        return self._names


def _in(folder: Path, parts: list[str], *, package_only: bool = False) -> list[Path]:
    """The files behind a module in a folder, those of the packages around it too.

    A folder without an `__init__.py` gives way to an installed package of its name (`package_only`).
    """
    for length in range(len(parts), 0, -1):
        base = folder.joinpath(*parts[:length])
        around = [folder.joinpath(*parts[:n], "__init__.py") for n in range(1, length)]
        inits = [path for path in around if path.is_file()]
        if base.with_name(base.name + ".py").is_file():
            return [*inits, base.with_name(base.name + ".py")]
        if (base / "__init__.py").is_file():
            return [*inits, base / "__init__.py"]
        if base.is_dir() and not package_only and (files := sorted(base.glob("*.py"))):
            return [*inits, *files]
    return []


# --- one file -----------------------------------------------------------------------------------------


class _Source:
    """One source: its imports as (module, line, whether it can do without), and the attributes it uses."""

    def __init__(self, path: Path) -> None:
        self.imports: list[tuple[str, int, bool]] = []
        self.uses: set[str] = set()
        text = _code(path)
        if text is None or not _may_import(text):
            return
        from mlrun.env.asking import syntax

        tree = syntax.parse(text)
        if tree is None:
            self._by_pattern(text if isinstance(text, str) else text.decode("utf-8", "replace"))
        else:
            self.imports += syntax.imports(tree)
            self.uses |= syntax.uses(tree)

    def _by_pattern(self, text: str) -> None:
        """Python 2, a template, a half-written file: lines that look like imports."""
        for match in _IMPORT.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            names = [match["base"]] if match["base"] else match["names"].split(",")
            modules = [name.split()[0] for name in names if name.split()]
            self.imports += [(module.strip(), line, False) for module in modules]
        self.uses |= set(re.findall(r"\.(\w+)", text)) | set(re.findall(r"\bmlflow(?:\.\w+)+", text))


def _may_import(text: str | bytes) -> bool:
    return b"import" in text if isinstance(text, bytes) else "import" in text


def _text(path: Path) -> str:
    try:
        return path.read_bytes()[:_LONGEST].decode("utf-8", "replace")
    except OSError:
        return ""


def _code(path: Path) -> str | bytes | None:
    """A file's Python; of a notebook that in its cells, without the lines that are commands to it."""
    try:
        if path.suffix != ".ipynb":
            return path.read_bytes() if path.stat().st_size <= _LONGEST else None
        return _cells(path)
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return None


def _cells(path: Path) -> str:
    import json

    cells = json.loads(path.read_bytes())["cells"]
    sources = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    texts = [source if isinstance(source, str) else "".join(source) for source in sources]
    lines = [line for text in texts for line in text.splitlines()]
    return "\n".join("" if re.match(r"\s*[%!?]", line) else line for line in lines) + "\n"
