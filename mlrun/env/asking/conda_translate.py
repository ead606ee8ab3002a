"""A conda file's packages as what PyPI calls them: what there is, what is left out, and what was assumed.

Pure: specs in, requirements and sentences out. Nobody is asked whether PyPI really has a name: the resolver
will tell, and `unknown_name` then says that it was only assumed.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from mlrun.env.asking.conda_names import ONE_MORE_NUMBER, Named, canonical, lookup
from mlrun.env.asking.conda_specs import parse, pip_version, python_of_build
from mlrun.env.values import Requirement
from mlrun.errors import EnvironmentBuildError
from mlrun.model import Finding
from mlrun.value import draft, field, replace, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlrun.env.asking.conda_names import Fate
    from mlrun.env.asking.conda_specs import Spec
    from mlrun.env.values import Asked, CondaAsked
    from mlrun.model import Caller, Place

BUILD_TOOLS = frozenset({"pip", "setuptools", "wheel"})
FROM_PYPI = " (conda packages from PyPI)"
NO_CONDA_HINT = (
    "install a conda, and they are built with it: `uv tool install 'mlrun-cli[conda]'`,"
    " `pipx inject mlrun-cli py-rattler`, or micromamba"
)

_NAMES_SHOWN = 12
_EXPORT_SIZE = 25
"""A list of so many packages, nearly all with exact versions, was written by a program."""
_EXPORT_EXACT = 0.9
_NAME = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(\[[^\]]*\])?\s*(.*)", re.DOTALL)
_ONE_VERSION = re.compile(r"\w[\w.!+-]*(\.\*)?")  # without builds, an export writes `=1.2.3`
_PINNED = re.compile(r"==|@")
_LEFT_OUT: dict[Fate, str] = {
    "bundled": "left out, since wheels, Python or the system bring them along",
    "platform": "left out, being for another system",
    "conda": "left out, being conda's own tools",
    "data": "left out, being data that PyPI does not have",
    "program": "left to the machine, being programs",
    "only-conda": "left out, which PyPI does not have",
}


@value
class Line:
    """One package of a conda file, understood."""

    spec: Spec
    place: Place


@value
class Translated:
    """What a conda file asks in PyPI's words; `python` only where build strings say it."""

    requirements: tuple[Requirement, ...] = ()
    build: tuple[Requirement, ...] = ()
    adaptations: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    python: str | None = None


@draft
class _Gathering:
    requirements: list[Requirement] = field(default_factory=list)
    build: list[Requirement] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    overruled: list[str] = field(default_factory=list)
    left_out: dict[Fate, list[Line]] = field(default_factory=dict)


def translate(
    lines: Sequence[Line], *, pip: Iterable[Requirement], file: str, exported: bool, needs_python: bool
) -> Translated:
    """The conda packages of a file; `pip` are the requirements of its `pip:` section, whose pins win.

    `needs_python` says that the file names no minor version of Python. Raises EnvironmentBuildError
    (`only-conda`) for what PyPI does not have; in the export of a whole machine that is left out.
    """
    wanted_by_pip = {name: item for item in pip if (name := name_of(item.text)) and _PINNED.search(item.text)}
    found = _Gathering()
    for line in lines:
        named = _named(line.spec.name, exported=exported)
        if named.names:
            _take(line, named, found, wanted_by_pip)
        else:
            found.left_out.setdefault(named.fate, []).append(line)
    only_conda = found.left_out.get("only-conda", [])
    if only_conda and not exported:
        names = ", ".join(line.spec.name for line in only_conda)
        raise EnvironmentBuildError(
            f"{file} needs conda for {names}: PyPI does not have {'it' if len(only_conda) == 1 else 'them'}",
            hint=NO_CONDA_HINT,
            code="only-conda",
            place=only_conda[0].place,
        )
    python = _python_of_builds(lines) if needs_python else None
    return Translated(
        requirements=_merged(found.requirements),
        build=_merged(found.build),
        adaptations=tuple(_sentences(found, file, python)),
        findings=tuple(_missing_data(found)),
        python=python,
    )


def looks_exported(lines: Sequence[Line], pip: Sequence[Requirement]) -> bool:
    """Whether a file is the list of a whole environment, as `conda env export` writes it."""
    if len(lines) + len(pip) < _EXPORT_SIZE or not lines:
        return False
    exact = sum(bool(_ONE_VERSION.fullmatch(line.spec.version)) for line in lines)
    exact += sum("==" in item.text for item in pip)
    return exact >= _EXPORT_EXACT * (len(lines) + len(pip))


def name_of(requirement: str) -> str | None:
    """The distribution that a requirement names; None for a bare URL or a path."""
    match = _NAME.match(requirement)
    return canonical(match[1]) if match and "://" not in match[1] and not match[3].startswith(":") else None


def _named(name: str, *, exported: bool) -> Named:
    """The list of a whole environment holds already what a package stands for, or would bring by an extra."""
    named = lookup(name)
    if not exported:
        return named
    if len(named.names) > 1:
        return Named(fate="conda")
    names = tuple(re.sub(r"\[.*?\]", "", each) for each in named.names)
    return replace(named, names=names, fate="same" if names == (name,) else named.fate)


def _take(line: Line, named: Named, found: _Gathering, wanted_by_pip: dict[str, Requirement]) -> None:
    spec = line.spec
    if named.fate == "renamed":
        shown = ", ".join(name.partition(" ;")[0] for name in named.names)
        found.renamed.append(f"{spec.name} → {shown}")
    if named.fate == "assumed":
        found.assumed.append(spec.name)
    for name in named.names:
        if (overruling := wanted_by_pip.get(canonical(_bare(name)))) is not None:
            if not _same_wish(overruling.text, spec):
                found.overruled.append(f"{_bare(name)} ({overruling.text})")
            continue
        # The version of a package that stands for many is not theirs.
        item = _requirement(name, spec if len(named.names) == 1 else replace(spec, version=""), found)
        is_tool = canonical(spec.name) in BUILD_TOOLS
        (found.build if is_tool else found.requirements).append(Requirement(text=item, place=line.place))


def _bare(name: str) -> str:
    return re.split(r"[\s\[;]", name, maxsplit=1)[0]


def _same_wish(text: str, spec: Spec) -> bool:
    """Whether the conda package would have been no other: it asks for any, or the same version."""
    return not spec.version or text.replace(" ", "").endswith(pip_version(spec).text)


def _requirement(name: str, spec: Spec, found: _Gathering) -> str:
    name, semicolon, marker = name.partition(" ;")
    version = pip_version(spec, fourth_number=canonical(name) in ONE_MORE_NUMBER)
    if version.loss:
        found.altered.append(f"{spec.name} {version.loss}")
    return name + spec.extras + version.text + semicolon + marker


def _merged(items: list[Requirement]) -> tuple[Requirement, ...]:
    """Without what says no more than another: `opencv` and `py-opencv` are one package on PyPI."""
    kept: dict[str, Requirement] = {}
    versioned = {_NAME.sub(r"\1\2", item.text) for item in items if re.search(r"[=<>~!]", item.text)}
    for item in items:
        if item.text in versioned:
            continue  # the same, with a version, is there too
        kept.setdefault(item.text, item)
    return tuple(kept.values())


def _python_of_builds(lines: Sequence[Line]) -> str | None:
    named = {python for line in lines if (python := python_of_build(line.spec))}
    return named.pop() if len(named) == 1 else None


# --- what is said -------------------------------------------------------------------------------------


def _sentences(found: _Gathering, file: str, python: str | None) -> Iterable[str]:
    if found.requirements:
        yield f"{file}: conda packages are installed from PyPI"
    if found.renamed:
        yield f"conda packages under their PyPI names: {listed(found.renamed)}"
    if found.assumed:
        yield f"conda packages assumed to have the same name on PyPI: {listed(found.assumed)}"
    if found.altered:
        yield f"versions that PyPI cannot have: {listed(found.altered)}"
    if found.overruled:
        yield f"the `pip:` section overrules conda's version: {listed(found.overruled)}"
    for fate, text in _LEFT_OUT.items():
        if lines := found.left_out.get(fate):
            yield f"conda packages {text}: {listed([line.spec.name for line in lines])}"
    if python:
        yield f"Python {python}, which the build strings in {file} name"


def listed(names: list[str]) -> str:
    """A few names, and how many more."""
    unique = list(dict.fromkeys(names))
    more = len(unique) - _NAMES_SHOWN
    return ", ".join(unique) if more <= 1 else f"{', '.join(unique[:_NAMES_SHOWN])} and {more} more"


def _missing_data(found: _Gathering) -> Iterable[Finding]:
    for line in found.left_out.get("data", ()):
        name = line.spec.name
        hint = None
        if name.startswith("spacy-model-"):
            hint = f"the program can fetch it: `python -m spacy download {name.removeprefix('spacy-model-')}`"
        elif canonical(name) == "nltk-data":
            hint = "the program can fetch what it needs: `nltk.download(…)`"
        message = f"`{name}` is data that only conda's channels have, and is left out"
        yield Finding(level="warning", code="conda-data", message=message, place=line.place, hint=hint)


# --- afterwards ---------------------------------------------------------------------------------------


def as_conda(asked: Asked, *, by_hand: bool = False) -> Asked | None:
    """A conda file as what conda is asked; None for one that a virtual environment answers as well.

    `by_hand` says that conda was wanted by its name, so that any conda file is one.
    """
    if asked.conda is None or not (by_hand or needs_conda(asked.conda)):
        return None
    count = len(asked.conda.specs)
    shown, _, contents = asked.summary.partition(": ")
    parts = [f"{count} conda package{'' if count == 1 else 's'}"]
    parts += [part for part in contents.split(", ") if part != "no packages"]
    summary = f"{shown}: {', '.join(parts)}{_variables_in_words(asked.conda)}"
    return replace(asked, kind="conda", summary=summary, conda=replace(asked.conda, by_hand=by_hand))


def as_translated(asked: Asked, caller: Caller | None) -> Asked:
    """What a translated conda file asks: its summary says so, and findings name programs that are missing.

    Without a caller, nobody can tell which programs there are.
    """
    if asked.conda is None:
        return asked
    summary = asked.summary + _variables_in_words(asked.conda)
    summary += FROM_PYPI if _takes_from_pypi(asked.conda) else ""
    findings = asked.findings
    if caller is not None and not asked.exported:
        findings += _missing_programs(asked.conda, caller.variables.get("PATH", os.defpath))
    return replace(asked, summary=summary, findings=findings)


def _variables_in_words(conda: CondaAsked) -> str:
    """For a summary: `, 2 variables`."""
    count = len(conda.variables)
    return f", {count} variable{'' if count == 1 else 's'}" if count else ""


def _takes_from_pypi(conda: CondaAsked) -> bool:
    names = (parse(item.text).name for item in conda.specs)
    return any(lookup(name).names for name in names if name not in {"python", *BUILD_TOOLS})


def needs_conda(conda: CondaAsked) -> bool:
    """Whether a conda file asks for more than what a virtual environment has: Python, pip and their like."""
    return any(parse(item.text).name not in {"python", *BUILD_TOOLS} for item in conda.specs)


def _missing_programs(conda: CondaAsked, search_path: str) -> tuple[Finding, ...]:
    """Programs that the conda file would bring, and that are not in the folders of `search_path`."""
    import shutil

    found = []
    for item in conda.specs:
        program = lookup(parse(item.text, item.place).name).program
        if program and shutil.which(program, path=search_path) is None:
            found.append((program, item))
    first = dict(reversed(found))  # of several packages for one program the first
    return tuple(
        Finding(
            level="warning",
            code="missing-program",
            message=f"`{program}` is not on this machine; conda would install it from `{item.text}`",
            place=item.place,
            hint="install it with the system's package manager, in case the program needs it",
        )
        for program, item in reversed(first.items())
    )


def unknown_name(asked: Asked, name: str) -> str | None:
    """For a package that no index has: that it is a conda package whose name on PyPI was only assumed."""
    for item in asked.conda.specs if asked.conda is not None else ():
        spec = parse(item.text, item.place)
        if canonical(spec.name) == canonical(name) and lookup(spec.name).fate == "assumed":
            return f"`{spec.name}` ({item.place}) is a conda package without a known PyPI name"
    return None
