"""In which order an environment is tried, and when the next way is worth a try.

    1. what is asked, by uv, with the Python that is named or was usual on that day; where some of it cannot
       be reached, without public indexes beside PyPI, and with well-known packages from the index
    2. by a pip of that day, where uv is stricter than what was published then, or cannot build it;
       without a day, what does not build is built with older tools
    3. the list cut down to what the code imports, where it is the export of a whole machine; where imports
       are all that there is, without those that are only guessed to be packages
    4. other Pythons, the nearest first, where the project names none
    5. for what is of a day: the list cut down to what the code imports, then with fewer and looser pins
    6. for what is of a day: the packages of now

What is no matter of versions (no network, a hash that differs) is not tried again. What runs now, a working
directory, is not loosened and not taken to another day: its owner can mend it, and is told how.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from itertools import groupby
from typing import TYPE_CHECKING

from mlrun.env.as_of import shown
from mlrun.env.pythons import (
    FIRST_STRICT_DAY,
    Choice,
    first_choice,
    missing_of_day,
    neighbours,
    version_of_pip,
)
from mlrun.env.uv import CANNOT_FETCH, NO_SUCH_PACKAGE, PUBLISHED_LATER
from mlrun.errors import EnvironmentBuildError
from mlrun.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from mlrun.env.interpreters import Interpreter, Probes
    from mlrun.env.values import Asked, Day, Site

PATIENCE = 600.0
"""Seconds after which no other way is begun."""

OLD_TOOLS = ("setuptools<58", "cython<3", "numpy<2")
"""Before `use_2to3` went, and before what set-up scripts of old were not written for:
https://setuptools.pypa.io/en/stable/history.html and https://cython.readthedocs.io/en/latest/src/changes.html"""

_FINAL = frozenset({"no-network", "no-uv", "hash-mismatch", "bad-lock", "no-python", "tool-timeout"})
_OF_PYTHON = re.compile(r"Python\s?[<>=!~\d]|this Python|[Rr]equires.Python|wheels|invalid metadata")
_UNKNOWN = re.compile(NO_SUCH_PACKAGE + r" `([^`]+)`")
_LATER_DAYS = 3
_SOURCES = (".py", ".ipynb")
"""Requirements that were read from imports, which nobody wrote as requirements."""
_BY_CONDA = "`--env-manager conda`, where conda or micromamba is installed"
_OLD_DAYS = 180
_QUOTED = 6
_AGAIN = "again, "
_SHORT = 110
_LONGEST_LINE = 300
_SAYS_ALL = re.compile(
    r"has no wheel for this Python|there is no package|after that day$|needs Python[<>=!~]"
)
"""Of such a message, the resolver's own words would only be its repetition."""


@value
class Attempt:
    """One way to an environment, by uv or a `pip` of its day; `turned` names it to a person.

    With `old_tools`, `OLD_TOOLS` build what has no wheel.
    """

    asked: Asked
    day: Day
    choice: Choice
    pip: bool = False
    old_tools: bool = False
    turned: str = ""
    adaptations: tuple[str, ...] = ()


@value
class Failure:
    """A way that led nowhere, and why."""

    attempt: Attempt
    error: EnvironmentBuildError


def attempts(
    asked: Asked, site: Site, probes: Probes, shrink: Callable[[], Iterator[Asked]]
) -> Generator[Attempt, EnvironmentBuildError, None]:
    """The ways in their order; each failure is sent in, and decides about the next.

    `shrink` gives smaller lists in the place of the one that is asked, the nearest first.
    Raises EnvironmentBuildError (`no-python`) where there is no Python to begin with.
    """
    choice = first_choice(asked.python, as_of=site.day.as_of, caller=site.caller, probes=probes)
    first = Attempt(asked=asked, day=site.day, choice=choice, adaptations=choice.adaptations)
    first = replace(first, turned="uv")
    first, error = yield from _as_asked(first)
    if error.code in _FINAL:
        return
    nobodys = asked.exported or any(item.place.file.endswith(_SOURCES) for item in asked.requirements)
    smaller = shrink() if nobodys or (site.day.as_of and not asked.lock) else iter(())
    best = first
    if nobodys and (cut := next(smaller, None)):
        best = _cut_down(first, cut)
        error = yield from _with_either(best)
    if not asked.lock and _another_python_may_do(error):
        near = neighbours(asked.python, chosen=choice.interpreter, caller=site.caller, probes=probes)
        for interpreter in near:
            yield from _with_either(_on(best, interpreter))
    if site.day.as_of:
        yield from _otherwise(first, list(smaller), error)


def _as_asked(
    first: Attempt,
) -> Generator[Attempt, EnvironmentBuildError, tuple[Attempt, EnvironmentBuildError]]:
    """What is asked, with this Python, by all tools; where the other ways start from, and why it failed."""
    error = yield first
    if within_reach := _without_unreachable(first, error):
        first = within_reach
        error = yield first
    while renamed := _by_its_own_name(first, error):
        first = renamed
        error = yield first
    for _ in range(_LATER_DAYS):
        if later := PUBLISHED_LATER.search(_text(error)):
            first = _later(first, *later.groups())
            error = yield first
    if _pip_may_do(first, error):
        yield _by_pip(first, error)
    elif error.code == "cannot-build-package":
        yield _with_old_tools(first)
    return first, error


def _otherwise(
    first: Attempt, smaller: list[Asked], error: EnvironmentBuildError
) -> Generator[Attempt, EnvironmentBuildError, None]:
    """Less than what is asked, and packages of now."""
    away = error.message if error.code == CANNOT_FETCH else ""
    cuts = [_cut_down(first, cut) for cut in smaller if not _names_any(cut, away)]
    for cut_down in cuts:
        yield from _with_either(cut_down)
    if not _is_unknown(error) and not away:
        for way in (first, *cuts[:1]):
            yield _of_now(way)


def _names_any(asked: Asked, message: str) -> bool:
    """Whether it asks for a URL that a message names."""
    urls = [item.text.partition(" @ ")[2].partition(";")[0].strip() for item in asked.requirements]
    return any(url and url.removeprefix("git+") in message for url in urls)


def _with_either(attempt: Attempt) -> Generator[Attempt, EnvironmentBuildError, EnvironmentBuildError]:
    """By uv, and by pip where that may do."""
    error = yield attempt
    if _pip_may_do(attempt, error):
        yield _by_pip(attempt, error)
    return error


def _by_pip(attempt: Attempt, error: EnvironmentBuildError) -> Attempt:
    pip = f"pip {version_of_pip(attempt.choice.interpreter)}"
    text = f"resolved by {pip} as of that day, since uv could not: {in_short(error)}"
    if attempt.asked.lock:
        text = f"built by {pip} with the tools of its day, since uv could not: {in_short(error)}"
    return replace(
        attempt,
        pip=True,
        turned=f"{pip} as of that day",
        adaptations=(*attempt.adaptations, text),
    )


def _with_old_tools(attempt: Attempt) -> Attempt:
    tools = ", ".join(OLD_TOOLS)
    return replace(
        attempt,
        old_tools=True,
        turned=f"building with {tools}",
        adaptations=(*attempt.adaptations, f"what has no wheel was built with {tools}"),
    )


def _later(attempt: Attempt, name: str, version: str, published: str) -> Attempt:
    """On the day of what is asked for and was not there yet: a commit can bear an older date."""
    return replace(
        attempt,
        day=replace(attempt.day, as_of=f"{published[:10]}T23:59:59Z", why=f"the day of {name} {version}"),
        turned=f"packages as of {published[:10]}",
        adaptations=(
            *attempt.choice.adaptations,
            f"packages as of {published[:10]}, when {name} {version} came out, which is asked for",
        ),
    )


def _without_unreachable(attempt: Attempt, error: EnvironmentBuildError) -> Attempt | None:
    """Without what cannot be reached and is not missed."""
    from mlrun.env.asking.reduction import without_unreachable

    found = without_unreachable(attempt.asked, _text(error))
    if found is None:
        return None
    asked, text = found
    return replace(attempt, asked=asked, turned=text, adaptations=(*attempt.adaptations, text))


def _by_its_own_name(attempt: Attempt, error: EnvironmentBuildError) -> Attempt | None:
    """With a package that no index has under conda's name for it by the name that PyPI has."""
    from mlrun.env.asking.reduction import under_its_own_name

    named = _UNKNOWN.search(error.message)
    found = under_its_own_name(attempt.asked, named[1]) if named else None
    if found is None:
        return None
    asked, text = found
    return replace(attempt, asked=asked, turned=f"again: {text}", adaptations=(*attempt.adaptations, text))


def _cut_down(attempt: Attempt, cut: Asked) -> Attempt:
    return replace(
        attempt,
        asked=replace(cut, options=attempt.asked.options),
        turned=_AGAIN + cut.adaptations[-1].partition(";")[0],
    )


def _on(attempt: Attempt, interpreter: Interpreter) -> Attempt:
    text = f"{_python(interpreter)}, since with {attempt.choice.interpreter.version} there was no way"
    return replace(
        attempt,
        choice=Choice(interpreter=interpreter),
        turned=_python(interpreter),
        adaptations=(text,),
    )


def _of_now(attempt: Attempt) -> Attempt:
    day = shown(attempt.day.as_of or "")
    cut = attempt.turned.removeprefix(_AGAIN) if attempt.turned.startswith(_AGAIN) else ""
    return replace(
        attempt,
        day=replace(attempt.day, as_of=None, why="now"),
        turned="packages of now" + (f", {cut}" if cut else ""),
        adaptations=(*attempt.adaptations, f"packages of now, since those of {day} could not be installed"),
    )


def _python(interpreter: Interpreter) -> str:
    return f"Python {interpreter.version}"


def _pip_may_do(attempt: Attempt, error: EnvironmentBuildError) -> bool:
    """pip reads older metadata, builds with older tools, and let conflicts be."""
    if attempt.asked.lock:
        return error.code == "cannot-build-package"
    if attempt.day.as_of is None or error.code in _FINAL or _is_unknown(error):
        return False
    text = _text(error)
    if error.code == "cannot-build-package" or "invalid metadata" in text:
        return True
    in_vain = "no usable wheels" in text or "does not satisfy Python" in text
    return error.code == "cannot-resolve" and not in_vain and attempt.day.as_of < FIRST_STRICT_DAY


def _another_python_may_do(error: EnvironmentBuildError) -> bool:
    """Whether what failed can depend on the Python: no wheel, no build, or a version it does not allow."""
    if error.code == "cannot-build-package":
        return True
    return error.code == "cannot-resolve" and bool(_OF_PYTHON.search(_text(error)))


def _is_unknown(error: EnvironmentBuildError) -> bool:
    """Whether a package is in no index on any day."""
    return NO_SUCH_PACKAGE in error.message


def _text(error: EnvironmentBuildError) -> str:
    return "\n".join((error.message, *error.details))


def in_short(error: EnvironmentBuildError) -> str:
    """Why a way led nowhere, short enough for a line that says more than that; the log has it whole."""
    return _cut(re.sub(r"^cannot resolve the environment: ", "", error.message), _SHORT)


def described(attempt: Attempt) -> str:
    """A way among others: `pip 24.0 as of that day, Python 3.8.18`."""
    python, turned = _python(attempt.choice.interpreter), attempt.turned.removeprefix(_AGAIN)
    return turned if python == turned else f"{turned}, {python}"


def _cut(text: str, most: int) -> str:
    """At the end of a word, where it is longer; no backtick is left without its second."""
    if len(text) <= most:
        return text
    kept = text[:most].rpartition(" ")[0].rstrip(" ,;:")
    return kept + ("`" if kept.count("`") % 2 else "") + " …"


# --- when all is in vain ------------------------------------------------------------------------------


def in_vain(
    failures: Sequence[Failure], asked: Asked, site: Site, probes: Probes, *, log: str
) -> EnvironmentBuildError:
    """The first failure, which is nearest to what was asked, and a line for each way that was tried."""
    error = failures[0].error
    details = [_cut(line, _LONGEST_LINE) for line in error.details if not _SAYS_ALL.search(error.message)]
    if len(failures) > 1:
        details = [*details[:_QUOTED], "tried, in this order:", *_tried(failures)]
    return EnvironmentBuildError(
        _with_conda_name(error.message, asked),
        hint=_next_thing(failures, asked, site, probes) or error.hint,
        code=error.code,
        place=error.place,
        details=(*details, f"the whole log: {log}"),
    )


def _tried(failures: Sequence[Failure]) -> Iterator[str]:
    """A line for each way, or for several in a row that met the same; what was said is not repeated."""
    python = None
    for reason, several in groupby(failures, key=lambda failure: in_short(failure.error)):
        ways = []
        for attempt in (failure.attempt for failure in several):
            same = attempt.choice.interpreter.version == python
            ways.append(attempt.turned.removeprefix(_AGAIN) if same else described(attempt))
            python = attempt.choice.interpreter.version
        yield f"  {'; '.join(ways)}: {'as above' if reason == in_short(failures[0].error) else reason}"


def _with_conda_name(message: str, asked: Asked) -> str:
    """Where a package is in no index: that it is conda's, and that its name on PyPI was only assumed."""
    named = re.search(r"no package `([^`]+)`", message)
    if named is None or asked.conda is None:
        return message
    from mlrun.env.asking.conda_translate import unknown_name

    note = unknown_name(asked, named[1])
    return f"{message}: {note}" if note else message


def _next_thing(failures: Sequence[Failure], asked: Asked, site: Site, probes: Probes) -> str | None:
    """The command line to try next."""
    error = failures[0].error
    if error.code in _FINAL or error.code == CANNOT_FETCH:
        return error.hint
    as_of = site.day.as_of
    if _is_unknown(error):
        return (
            "correct its name, or name an index that has it: `PIP_EXTRA_INDEX_URL=URL mlrun run …`"
            if not _is_of_conda(asked)
            else _BY_CONDA
        )
    if as_of is None and (day := _likely_day(asked, site)):
        return f"`--as-of {day}` takes the packages of that day"
    if as_of is not None and asked.python and _another_python_may_do(error):
        return f"`{asked.python_from}` names Python {asked.python}: an older or a newer one may have them"
    if as_of is not None and _another_python_may_do(error):
        absent = missing_of_day(as_of, caller=site.caller, probes=probes)
        if absent:
            return f"`uv python install {absent}`, the Python of that day"
    if _is_of_conda(asked):
        return _BY_CONDA
    if as_of is not None and site.day.why == "the commit's date" and error.hint is None:
        return "`--as-of DATE` takes the packages of another day"
    return error.hint


def _is_of_conda(asked: Asked) -> bool:
    return asked.conda is not None or any("conda" in name for name in asked.files)


def _likely_day(asked: Asked, site: Site) -> str | None:
    """The commit's day, else that of the files that name the packages; None where that is recent."""
    if site.day.committed_at:
        return shown(site.day.committed_at)
    times = []
    for name in asked.files:
        with contextlib.suppress(OSError):
            times.append(os.stat(site.directory / name).st_mtime)
    if not times or max(times) > time.time() - _OLD_DAYS * 86400:
        return None
    return time.strftime("%Y-%m-%d", time.gmtime(max(times)))
