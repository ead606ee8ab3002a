"""The values of an entry point's parameters: from where, of what type, and which file a path means.

MLflow checked no types, so a value that does not fit one of the loose kinds is a warning (an error when
strict); `choice`, `choices`, `min` and `max` are mlrun's own and always hold.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Protocol

from mlrun.errors import MlrunError, ParameterError
from mlrun.model import BoundParameter, Finding
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlrun.model import EntryPoint, Origin, Parameter, Place, RunRequest


class Locator(Protocol):
    """The outside world, as far as a parameter needs it. Directories are absolute."""

    project_directory: str
    caller_directory: str

    def exists(self, path: str) -> bool:
        """Whether there is a file or directory at this absolute path."""

    def download(self, url: str) -> str:
        """Fetch an http(s) URL, or the output of a run (`run:NAME:PATH`); its absolute path."""


def bind(
    entry_point: EntryPoint, request: RunRequest, *, declared: bool, files: Locator
) -> tuple[tuple[BoundParameter, ...], tuple[Finding, ...]]:
    """The entry point's parameters with their values, in the order declared, then undeclared ones.

    `declared` is false for a script that serves as entry point: then all parameters are undeclared, and
    nobody minds. Raises ParameterError.
    """
    given = _given(request)
    undeclared = [name for name in given if name not in {it.name for it in entry_point.parameters}]
    findings: list[Finding] = []
    if declared:
        _refuse_near_misses(undeclared, entry_point, given)
        findings += _undeclared(undeclared, entry_point, strict=request.strict)
    _refuse_missing(entry_point, given)
    bound = []
    for parameter in entry_point.parameters:
        value, origin = given.get(parameter.name) or (parameter.default or "", "default")
        findings += _check(parameter, value, origin, strict=request.strict)
        bound.append(_bind_one(parameter, value, origin, files))
    bound += [
        BoundParameter(
            name=name, value=given[name][0], text=given[name][0], kind="string", origin="undeclared"
        )
        for name in undeclared
    ]
    return tuple(bound), tuple(findings)


# --- what was given -----------------------------------------------------------------------------------


def _given(request: RunRequest) -> dict[str, tuple[str, Origin]]:
    """Names with value and origin: the command line's in the order given, then those of the file alone."""
    given: dict[str, tuple[str, Origin]] = {}
    for name, value in request.parameters:
        if name in given:
            raise ParameterError(
                f"parameter `{printable(name)}` is given twice",
                hint=f"keep one `-P {printable(name)}=…`",
                code="repeated-parameter",
            )
        given[name] = (value, "command line")
    for name, value in request.file_parameters:
        given.setdefault(name, (value, "params file"))
    for name, (value, _) in given.items():
        _refuse_unpassable(name, value)
    return given


def _refuse_unpassable(name: str, value: str) -> None:
    if not name or not name.isprintable():
        raise ParameterError(
            f"`{printable(name)}` is no parameter name: it is empty or holds control characters",
            hint="write `-P name=value`",
            code="bad-parameter-name",
        )
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        unpassable = True
    else:
        unpassable = "\0" in value
    if unpassable:
        raise ParameterError(
            f"the value of `{name}` holds a character that no program can be given: {ascii(value)[:80]}",
            code="bad-parameter-value",
        )


def printable(text: str) -> str:
    """Hostile text on one line."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _refuse_missing(entry_point: EntryPoint, given: dict[str, tuple[str, Origin]]) -> None:
    missing = [it.name for it in entry_point.parameters if it.default is None and it.name not in given]
    if not missing:
        return
    names = ", ".join(f"`{name}`" for name in missing)
    raise ParameterError(
        f"entry point `{entry_point.name}` needs a value for {names}",
        hint="add " + " ".join(f"-P {name}=…" for name in missing),
        code="missing-parameter",
        place=entry_point.place,
        details=tuple(_described(it) for it in entry_point.parameters),
    )


def _described(parameter: Parameter) -> str:
    default = "required" if parameter.default is None else f"default {parameter.default or '(empty)'}"
    if parameter.secret and parameter.default is not None:
        default = "default ***"
    text = f"{parameter.name}: {parameter.kind}, {default}"
    return f"{text}: {parameter.description}" if parameter.description else text


# --- names that nobody declared -----------------------------------------------------------------------


def _refuse_near_misses(
    undeclared: Sequence[str], entry_point: EntryPoint, given: dict[str, tuple[str, Origin]]
) -> None:
    """A name that is a slip of the pen away from a declared one, which itself was not given."""
    free = [it.name for it in entry_point.parameters if it.name not in given]
    for name in undeclared:
        near = near_miss(name, free)
        if near is not None:
            raise ParameterError(
                f"entry point `{entry_point.name}` has no parameter `{name}`",
                hint=f"did you mean `{near}`?",
                code="unknown-parameter",
                place=entry_point.place,
                details=tuple(_described(it) for it in entry_point.parameters),
            )


def _undeclared(names: Sequence[str], entry_point: EntryPoint, *, strict: bool) -> list[Finding]:
    if not names:
        return []
    listed = ", ".join(f"`{name}`" for name in names)
    if strict:
        raise ParameterError(
            f"entry point `{entry_point.name}` does not declare {listed}",
            hint="declare it under `parameters`, or run without `--strict`",
            code="undeclared-parameter",
            place=entry_point.place,
        )
    return [
        Finding(
            level="warning",
            code="undeclared-parameter",
            message=f"entry point `{entry_point.name}` does not declare {listed}: appended to its command",
            place=entry_point.place,
        )
    ]


def near_miss(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` surely was meant to be: one slip away, and not another word.

    Names that differ in case or in `-` and `_` only; in one letter too many, too few or swapped, from
    four letters on; in one wrong letter from six on. Digits are never slips (`l1`, `l2`).
    """
    plain = _folded(name)
    for candidate in known:
        other = _folded(candidate)
        if plain == other:
            return candidate
        if min(len(plain), len(other)) < 4 or re.sub(r"\D", "", plain) != re.sub(r"\D", "", other):
            continue
        if _one_slip(plain, other):
            return candidate
    return None


def _folded(name: str) -> str:
    return name.lstrip("-").replace("-", "_").casefold()


def _one_slip(left: str, right: str) -> bool:
    """Whether two different names become the same by one letter more, changed, or swapped."""
    length = min(len(left), len(right))
    head = next((at for at in range(length) if left[at] != right[at]), length)
    left, right = left[head:], right[head:]
    swapped = left[1::-1] + left[2:] == right
    one_more = left[1:] == right or left == right[1:]
    one_wrong = length >= 6 and left[1:] == right[1:]
    return swapped or one_more or one_wrong


# --- types --------------------------------------------------------------------------------------------

_BOOLEANS = frozenset({"true", "false", "yes", "no", "1", "0", "on", "off"})


def _check(parameter: Parameter, value: str, origin: Origin, *, strict: bool) -> list[Finding]:
    """Whether a value fits what is declared of it: what bears no doubt raises, the rest is found."""
    shown = "***" if parameter.secret else printable(value)
    _check_choices(parameter, value, shown)
    _check_bounds(parameter, value, shown)
    wanted = _mismatch(parameter.kind, value)
    if wanted is None or (origin == "default" and value == "None" and not strict):
        return []  # Python's word for no value, which the program is to understand
    message = f"`{parameter.name}` is declared as {parameter.kind}, but its value is not {wanted}: `{shown}`"
    if strict:
        raise ParameterError(message, code="type-mismatch", place=parameter.place)
    place = parameter.place if origin == "default" else None
    return [Finding(level="warning", code="type-mismatch", message=message, place=place)]


def _check_choices(parameter: Parameter, value: str, shown: str) -> None:
    if (parameter.choices or parameter.kind == "choice") and value not in parameter.choices:
        near = near_miss(value, parameter.choices)
        raise ParameterError(
            f"`{parameter.name}` must be one of {', '.join(parameter.choices) or '(none)'}, not `{shown}`",
            hint=f"did you mean `{near}`?" if near and not parameter.secret else None,
            code="not-a-choice",
            place=parameter.place,
        )


def _check_bounds(parameter: Parameter, value: str, shown: str) -> None:
    low, high = parameter.minimum, parameter.maximum
    if low is None and high is None:
        return
    number = _float(value)
    fits = number is not None and (low is None or number >= low) and (high is None or number <= high)
    if not fits:
        bounds = " and ".join(
            text
            for text in (
                f"at least {low:g}" if low is not None else "",
                f"at most {high:g}" if high is not None else "",
            )
            if text
        )
        raise ParameterError(
            f"`{parameter.name}` must be a number of {bounds}, not `{shown}`",
            code="out-of-bounds",
            place=parameter.place,
        )


def _mismatch(kind: str, value: str) -> str | None:
    """What a value of this kind should have been, or None where it fits. Unknown kinds are plain text."""
    match kind:
        case "float" if _float(value) is None:
            return "a number"
        case "int" if not re.fullmatch(r"\s*[+-]?\d+(_\d+)*\s*", value, re.ASCII):
            return "a whole number"
        case "bool" if value.casefold() not in _BOOLEANS:
            return "true or false"
    return None


def _float(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


# --- paths and URIs -----------------------------------------------------------------------------------

_SCHEME = r"([A-Za-z][A-Za-z0-9+.-]*):"


def _bind_one(parameter: Parameter, value: str, origin: Origin, files: Locator) -> BoundParameter:
    bound = BoundParameter(
        name=parameter.name,
        value=value,
        text=value,
        kind=parameter.kind,
        origin=origin,
        secret=parameter.secret,
    )
    if parameter.kind == "path":
        return replace(bound, text=_local_path(parameter, value, origin, files))
    if parameter.kind == "uri" and not re.match(_SCHEME, value):
        raise ParameterError(
            f"`{parameter.name}` must be a URI with a scheme, not `{_shown(parameter, value)}`",
            hint=f"write it as `-P {parameter.name}=file:///…` or `https://…`",
            code="not-a-uri",
            place=parameter.place,
        )
    return bound


def fetched(url: str, place: Place | None, files: Locator) -> str:
    """Where that lies which a URL or `run:NAME:PATH` names; an error is told with the line that names it."""
    try:
        return files.download(url)
    except MlrunError as error:
        error.place = error.place or place
        raise


def _local_path(parameter: Parameter, value: str, origin: Origin, files: Locator) -> str:
    """The absolute path of what a `path` parameter names."""
    scheme = re.match(_SCHEME, value)
    if scheme is None or _found(value, origin, files) is not None:
        path = _found(value, origin, files)
    elif scheme[1].lower() in {"http", "https", "run"}:
        return fetched(value, parameter.place, files)
    elif scheme[1].lower() == "file":
        path = _found(_path_of_file_url(value), origin, files)
    else:
        raise ParameterError(
            f"`{parameter.name}` names {_shown(parameter, value)}, which mlrun does not download: "
            f"`{scheme[1]}:` is not among file, http, https and run",
            hint=f"fetch it yourself and give the local path: `-P {parameter.name}=PATH`",
            code="unsupported-scheme",
            place=parameter.place,
        )
    if path is None:
        folders = "the project or the current directory" if origin == "default" else files.caller_directory
        shown = _shown(parameter, value)
        raise ParameterError(
            f"`{parameter.name}` must be an existing path: there is no `{shown}` in {folders}",
            hint=f"give one with `-P {parameter.name}=PATH`" if origin == "default" else None,
            code="no-such-path",
            place=parameter.place if origin == "default" else None,
        )
    return path


def _found(path: str, origin: Origin, files: Locator) -> str | None:
    """A default is the project's own word, so it is looked for there first."""
    folders = [files.caller_directory]
    if origin == "default":
        folders.insert(0, files.project_directory)
    for folder in folders if path else ():
        candidate = os.path.abspath(os.path.join(folder, path))
        if files.exists(candidate):
            return candidate
    return None


def _path_of_file_url(url: str) -> str:
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return unquote(parts.path) if parts.netloc in {"", "localhost"} else ""


def _shown(parameter: Parameter, value: str) -> str:
    """A value as it may be shown: no secrets, none of a URL's credentials, one line."""
    return "***" if parameter.secret else printable(re.sub(r"//[^/@\s]*@", "//***@", value))
