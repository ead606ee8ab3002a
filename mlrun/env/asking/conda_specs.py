"""Conda's match specs: what they ask, and the same in pip's words.

The forms (`numpy=1.19`, `numpy 1.19 py37_0`, `numpy>=1.2,<2|3.*`, `conda-forge::numpy[version='>=1.2']`):
https://docs.conda.io/projects/conda-build/en/stable/resources/package-spec.html#package-match-specifications
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrun.errors import ProjectError
from mlrun.value import value

if TYPE_CHECKING:
    from mlrun.model import Place

_SPEC = re.compile(
    r"(?:(?P<channel>[^\s\[\]=<>!~|,]+)::)?\s*"
    r"(?P<name>[A-Za-z0-9_][\w.-]*)\s*"
    r"(?P<extras>\[[A-Za-z][\w\s,.-]*\])?\s*"
    r"(?P<rest>[^\[\]]*?)\s*"
    r"(?P<bracket>\[[^\[\]]*=[^\[\]]*\])?$"
)
_BRACKET_ITEM = re.compile(r"\s*(\w+)\s*=\s*(?:'([^']*)'|\"([^\"]*)\"|([^,'\"\]]*))\s*,?")
_ARCHIVE = re.compile(r"(?P<name>.+)-(?P<version>[^-]+)-(?P<build>[^-]+?)(\.tar\.bz2|\.conda)(#\w+)?$")
_OPERATOR = re.compile(r"\s*(~=|==|!=|>=|<=|=|>|<)\s*")
_CLAUSE = re.compile(r"(?P<operator>~=|==|!=|>=|<=|=|>|<)?(?P<version>(?:v?\d[\w.+!*-]*|\*|\.\*))")
_FORGOTTEN_COMMA = re.compile(r"(?<=[\w*])\s*(?=(?:~=|!=|>=|<=|>|<))")
_BUILD_OF_PYTHON = re.compile(r"(?:^|_|h\w*)(?:py|cp)(?P<major>[23])\.?(?P<minor>\d{1,2})(?!\d)")
_DATED_POST_RELEASE = re.compile(r"\.post20\d{6}$")  # conda's own, of setuptools
_LETTERED_YEAR = re.compile(r"\b(\d{4})([a-z])\b")
_PEP_440 = re.compile(
    r"v?(\d+!)?\d+(\.\d+)*((a|b|c|rc|alpha|beta|pre|preview)\d*)?(\.?(post|rev|r)\d*)?(\.?dev\d*)?"
    r"(\+[a-z0-9]+([-_.][a-z0-9]+)*)?",
    re.IGNORECASE,
)


@value
class Spec:
    """A match spec. `version` is as written but for blanks; `exact` is true where it names one version.

    `extras` are pip's (`[complete]`), which conda does not know and people write all the same.
    """

    name: str
    version: str = ""
    build: str | None = None
    channel: str | None = None
    extras: str = ""
    exact: bool = False


def parse(text: str, place: Place | None = None) -> Spec:
    """Understand a match spec, or the URL of a package.

    Raises ProjectError (`bad-conda-spec`).
    """
    text = text.partition(" #")[0].strip()
    if "://" in text and (archive := _ARCHIVE.match(text.rpartition("/")[2])):
        name, version, build = archive["name"].lower(), archive["version"], archive["build"]
        return Spec(name=name, version=version, build=build, exact=True)
    match = _SPEC.match(text)
    if match is None:
        raise _no_spec(text, place)
    within = _bracketed(match["bracket"])
    version, build, exact = _version_and_build(match["rest"])
    if "version" in within:
        version, _, exact = _version_and_build(within["version"])
    channel = match["channel"] or within.get("channel")
    spec = Spec(
        name=match["name"].lower(),
        version=version,
        build=within.get("build") or build,
        channel=channel.partition("/linux-")[0].partition("/noarch")[0] if channel else None,
        extras=(match["extras"] or "").replace(" ", ""),
        exact=exact,
    )
    if version and not all(_CLAUSE.fullmatch(clause) for clause in re.split(r"[|,]", version)):
        raise _no_spec(text, place)
    return spec


def _no_spec(text: str, place: Place | None) -> ProjectError:
    hint = "`numpy`, `numpy=1.19`, `numpy>=1.19,<2`"
    if re.match(r"pip\s+-\s", text):
        hint = "`- pip:` needs its colon"
    return ProjectError(f"`{text}` is no conda package", place=place, hint=hint, code="bad-conda-spec")


def _bracketed(text: str | None) -> dict[str, str]:
    items = _BRACKET_ITEM.findall(text[1:-1]) if text else ()
    return {key: single or double or bare.strip() for key, single, double, bare in items}


def _version_and_build(rest: str) -> tuple[str, str | None, bool]:
    """`=1.19`, `==1.19`, `1.19 py37_0`, `=1.19=py37_0`, `>=1.2, <3`; and whether that is one version.

    One `=` means "starts with", except before a build string; a version without an operator is exact.
    """
    rest = _OPERATOR.sub(r" \1", rest.strip()).strip()
    rest = _FORGOTTEN_COMMA.sub(",", re.sub(r"\s*([,|])\s*", r"\1", rest))
    if match := re.fullmatch(r"={1,2}([^=\s,|<>!~]+)\s*[=\s]\s*([\w.*+-]+)", rest):  # =version=build
        return match[1], match[2], "*" not in match[1]
    if match := re.fullmatch(r"([^=\s,|<>!~]+)\s*[=\s]\s*([\w.*+-]+)", rest):  # version build
        return match[1], match[2], "*" not in match[1]
    if match := re.fullmatch(r"==([^=\s,|<>!~]+)", rest):
        return match[1], None, not match[1].endswith("*")
    if match := re.fullmatch(r"=([^=\s,|<>!~]+)", rest):
        return match[1].removesuffix("*").removesuffix(".") + ".*", None, False
    version = "" if rest == "*" else rest.replace(" ", "")
    return version, None, bool(re.fullmatch(r"[^=,|<>!~*]+", version))


def for_conda(text: str, place: Place | None = None) -> str:
    """A match spec as every conda understands it: `conda-forge::numpy 1.19.2 py37_0`.

    Raises ProjectError (`bad-conda-spec`).
    """
    text = text.partition(" #")[0].strip()
    if "://" in text:
        return text
    spec = parse(text, place)
    channel = f"{spec.channel}::" if spec.channel else ""
    version = f"=={spec.version}" if spec.exact else spec.version or ("*" if spec.build else "")
    return " ".join(part for part in (channel + spec.name, version, spec.build or "") if part)


def python_of_build(spec: Spec) -> str | None:
    """The Python that a build string names: `py37h54aff64_0` is 3.7, `py_0` any."""
    if spec.name == "python_abi" and (match := re.match(r"([23]\.\d+)", spec.version)):
        return match[1]
    match = _BUILD_OF_PYTHON.search(spec.build or "")
    return f"{match['major']}.{match['minor']}" if match else None


# --- in pip's words -----------------------------------------------------------------------------------


@value
class PipVersion:
    """A version as pip would take it, and in which way it is not quite what was asked."""

    text: str
    loss: str | None = None


def pip_version(spec: Spec, *, fourth_number: bool = False) -> PipVersion:
    """The version that is asked for, in pip's words; what pip cannot say is left out, with the loss named.

    `fourth_number` is for what PyPI serves with one more number than conda (`3.4.2.17` for `3.4.2`).
    """
    if spec.version in ("", "*", ".*"):
        return PipVersion(text="")
    alternatives = spec.version.split("|")
    chosen = max(alternatives, key=_first_numbers)
    loss = f"of {spec.version} the last" if len(alternatives) > 1 else None
    if spec.name == "tzdata":  # 2021e is 2021.5 on PyPI
        chosen = _LETTERED_YEAR.sub(lambda found: f"{found[1]}.{ord(found[2]) - ord('a') + 1}", chosen)
    if spec.name == "setuptools":
        chosen = _DATED_POST_RELEASE.sub("", chosen)
    clauses = [_pip_clause(clause, exact=spec.exact) for clause in chosen.split(",")]
    if any(clause is None for clause in clauses):
        return PipVersion(text="", loss=f"without its version {spec.version.removesuffix('.*')}")
    text = ",".join(clause for clause in clauses if clause)
    if fourth_number and spec.exact and re.fullmatch(r"==\d+\.\d+\.\d+", text):
        text += ".*"
    return PipVersion(text=text, loss=loss)


def python_version(spec: Spec) -> str:
    """The version of a `python` spec, for `normal_python`."""
    chosen = max(spec.version.split("|"), key=_first_numbers)
    clauses = [re.sub(r"(?<=\d)(a|b|rc|dev)\d*$", "", clause) for clause in chosen.split(",")]
    return ",".join(
        clause.removesuffix(".*") if clause[0] in "<>" else clause for clause in clauses if clause
    )


def _first_numbers(clauses: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", clauses.partition(",")[0])[:4])


def _pip_clause(clause: str, *, exact: bool) -> str | None:
    """One clause; "" where it says nothing, None where there is no such version in pip's world."""
    match = _CLAUSE.fullmatch(clause)
    assert match is not None
    operator, version = match["operator"] or "", match["version"]
    if version in ("*", ".*"):
        return ""
    starred = version.endswith("*")
    version = version.rstrip("*").rstrip(".")
    if not _PEP_440.fullmatch(version):
        return None
    version = version.partition("+")[0]
    match operator:
        case "" | "==":
            return f"=={version}" + (".*" if starred and (operator == "" or not exact) else "")
        case "=":
            return f"=={version}.*"
        case "!=":
            return f"!={version}" + (".*" if starred else "")
        case "~=":
            return f"~={version}" if "." in version else f">={version}"
    return operator + version
