"""What a program's last words say of why it failed: what it lacks, or that its packages are too new.

Libraries drop names and arguments in the course of years; a program that dies of that is helped by the
packages of its own day, and its author's last words are known before anybody asks. Others want a host, a
login, a program or a file that is not there: that is said in a line too, below whatever the program printed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrun.model import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

_LAST_WORDS = re.compile(r"^(?:\w+\.)*(?P<kind>\w*(?:Error|Exception)): (?P<said>.*)$")
_MISSING = re.compile(r"No module named '?(?P<module>[\w.]+)'?")

_OF_A_PART = re.compile(r"Run \(ID '\w+'\) failed|returned non-zero exit status|^Command '")
"""What is said of a part that failed: the part's own last words stand above."""

# How each looks, and what it means; the texts are those of CPython, numpy and protobuf.
_DROPPED = (
    (
        re.compile(r"cannot import name '?(?P<what>\w+)'? from (?:[a-z ]+)?'(?P<where>[\w.]+)'"),
        "`{where}` no longer has `{what}`",
    ),
    (
        re.compile(r"module '(?P<where>[\w.]+)' has no attribute '(?P<what>\w+)'"),
        "`{where}` no longer has `{what}`",
    ),
    (
        re.compile(
            r"'(?P<where>(?!NoneType|str|int|float|list|dict|tuple|bytes|set)\w+)'"
            r" object has no attribute '(?P<what>\w+)'"
        ),
        "`{where}` has no `{what}`",
    ),
    (
        re.compile(r"(?P<where>[\w.]+)\(\) got an unexpected keyword argument '(?P<what>\w+)'"),
        "`{where}` takes no `{what}`",
    ),
    (
        re.compile(r"(?P<where>[\w.]+)\(\) takes (from )?\d+ .*positional arguments? .*but \d+"),
        "`{where}` takes its arguments otherwise",
    ),
    (
        re.compile(r"(?P<where>numpy\.\w+) size changed, may indicate binary incompatibility"),
        "a package was built for another numpy",
    ),
    (
        re.compile(r"(?P<where>Descriptors) cannot(?: not)? be created directly"),
        "protobuf is newer than its users",
    ),
    (re.compile(r"(?P<where>The '?\w+'? parameter of [\w.]+ must be)"), "a parameter takes other values now"),
)


# Where a program asks for what is not there: how it looks, the code, what it means, what to do.
# The texts are those of CPython, bash, urllib3, aiohttp, boto3, google-auth, wandb, kaggle, openai, Spark and
# the dynamic loader.
_INSTALL = "install it, or name a `docker_env` whose image has it"
_LACKING = (
    (
        re.compile(
            r"host='(?P<what>[\w.-]+)', port=\d+\): Max retries exceeded"
            r"|Failed to resolve '(?P<what1>[\w.-]+)'"
            r"|Could not resolve host: (?P<what2>[\w.-]+)"
            r"|Cannot connect to host (?P<what3>[\w.-]+):\d+"
            r"|Could not connect to the endpoint URL: \"https?://(?P<what4>[^/\"]+)"
            r"|lookup (?P<what5>[\w.-]+) on \S+: no such host"
        ),
        "unreachable-host",
        "the program could not reach `{what}`",
        "what it gets from there is not in the repository",
    ),
    (
        re.compile(r"Name or service not known|failure in name resolution|Network is unreachable"),
        "unreachable-host",
        "the program could not reach a host on the network",
        "what it gets from there is not in the repository",
    ),
    (
        re.compile(r"api_key not configured|wandb\.login\(\)|wandb login"),
        "needs-login",
        "the program wants a login to Weights & Biases",
        "`WANDB_API_KEY=KEY mlrun run …`; `WANDB_MODE=offline` does without, where nothing is fetched",
    ),
    (
        re.compile(
            r"Unable to locate credentials|NoCredentialsError|DefaultCredentialsError"
            r"|Could not find kaggle\.json|The api_key client option must be set"
        ),
        "needs-login",
        "the program wants credentials and does not find them",
        "set them where it looks for them; variables of your shell reach it",
    ),
    (
        re.compile(r"^EOFError: EOF when reading a line"),
        "wants-input",
        "the program asks for something on its standard input, which has ended",
        "run it in a terminal, or give it the answers: `echo ANSWER | mlrun run …`",
    ),
    (
        re.compile(r"JAVA_HOME is not set|Java gateway process exited|JAVA_GATEWAY_EXITED|java: not found"),
        "missing-program",
        "the program needs Java, which is not found here",
        "install a Java runtime of its day, or set `JAVA_HOME`",
    ),
    (
        re.compile(r"(?P<what>lib[\w.+-]+\.so[\w.]*): cannot open shared object file"),
        "missing-library",
        "the system library `{what}` is missing",
        "install the package of the system that holds it",
    ),
    (
        re.compile(r"^\S*sh: (?:.*[ :])?(?P<what>[\w.+-]+): (?:command )?not found$"),
        "missing-program",
        "`{what}` is not installed here, and the environment brings none along",
        _INSTALL,
    ),
)
_NO_SCRIPT = re.compile(r"can't open file '([^']+)'")
_NO_FILE = re.compile(
    r"No such file or directory: b?'(?P<path>[^']+)'"
    r"|File b?'?(?P<path1>[^' ]+)'? does not exist"
)
_VARIABLE = re.compile(r"os\.py\", line \d+, in __getitem__")
_NEAR_THE_END = 40
_FURTHER_UP = 120


_OTHER_JAVA = re.compile(
    r"cannot access class sun\.nio\.ch\.DirectBuffer|Unsupported class file major version"
)
_WANTS_OTHER_JAVA = Finding(
    level="warning",
    code="other-java",
    message="this Spark does not run on the Java that is found here",
    hint="`JAVA_HOME=… mlrun run …`, with Java 8 or 11: Spark before 3.3 knows no newer one",
)
"""Source: https://spark.apache.org/releases/spark-release-3-3-0.html (support of Java 17)."""


def advise(
    tail: str,
    *,
    packages: Collection[str],
    as_of: str | None,
    committed_at: str | None,
    target: str,
    there: Callable[[str], bool] | None = None,
    find: Callable[[str], Sequence[str]] | None = None,
) -> Finding | None:
    """What it lacked and what to try next, from the end of a failed program's output; None where it says
    nothing of that.

    `packages` are the distributions that it could import, `as_of` the day they are of (None: now),
    `committed_at` the date of the code, UTC text. `there` says whether a path is in the project's folder,
    `find` in which of its folders a module lies.
    """
    words = _last_words(tail) or _not_to_be_run(tail)
    if words is None:
        lines = [line.strip() for line in tail.splitlines()[-_NEAR_THE_END:] if line.strip()]
        return _lacking(lines[-1] if lines else "", there)
    kind, said = words
    if kind.startswith("Py4J") and _OTHER_JAVA.search(tail):
        return _WANTS_OTHER_JAVA
    if missing := _MISSING.search(said):
        top = missing["module"].partition(".")[0]
        folders = find(top) if find is not None and top == missing["module"] else ()
        if folders:
            return _own_module(top, folders, tail)
        if not _holds(packages, top):
            return Finding(
                level="warning",
                code="missing-package",
                message=f"the environment holds no `{top}`, which the program imports",
                hint="name the package that has it in the project's requirements",
            )
        return _too_new(f"`{top}` no longer has `{missing['module']}`", as_of, committed_at, target)
    if kind == "KeyError" and _VARIABLE.search(tail):
        return _unset(said.strip("'"))
    if found := _lacking(f"{kind}: {said}", there):
        return found
    if kind in ("ImportError", "AttributeError", "TypeError", "ValueError", "InvalidParameterError"):
        for pattern, meaning in _DROPPED:
            if match := pattern.search(said):
                return _too_new(meaning.format(**match.groupdict()), as_of, committed_at, target)
    return _before_that(tail, there)


def _not_to_be_run(tail: str) -> tuple[str, str] | None:
    """Of `python -m MODULE`, where there is none: Python says so in words of its own."""
    match = re.search(
        r"python[\d.]*: (?:Error while finding [^(\n]*\(\w+: )?(No module named .*?)\)?$", tail.strip()
    )
    return ("ModuleNotFoundError", match[1]) if match else None


def _own_module(name: str, folders: Sequence[str], tail: str) -> Finding:
    """Of several folders, that with most of its path in common with the file that imports it."""
    importing = (re.findall(r'File "([^"]+)"', tail) or [""])[-1]

    def common(folder: str) -> int:
        parts = folder.split("/")
        return max((n for n in range(len(parts) + 1) if "/".join(parts[:n]) in importing), default=0)

    folder = max(folders, key=common)
    return Finding(
        level="warning",
        code="module-not-on-path",
        message=f"`{name}` is the project's own, in `{folder}`, where Python does not look for it",
        hint=f"`PYTHONPATH={folder} mlrun run …`: the program starts in the project's folder",
    )


def _before_that(tail: str, there: Callable[[str], bool] | None) -> Finding | None:
    """Of what it printed before its last words, and lived through for a while: the last thing it lacked."""
    for line in reversed(tail.splitlines()[-_FURTHER_UP:]):
        match = _LAST_WORDS.match(line.strip())
        if match and (found := _lacking(line.strip(), there)):
            return found
    return None


def _last_words(tail: str) -> tuple[str, str] | None:
    """The last line that names an exception, near the end; of a part that failed, that part's own."""
    lines = tail.splitlines()
    for number, line in enumerate(reversed(lines)):
        match = _LAST_WORDS.match(line.strip())
        if match is None:
            continue
        if number >= _NEAR_THE_END:
            return None
        if not _OF_A_PART.search(match["said"]):
            return match["kind"], match["said"]
        above = "\n".join(lines[: len(lines) - number - 1])
        return _last_words(above) or (match["kind"], match["said"])
    return None


def _lacking(said: str, there: Callable[[str], bool] | None) -> Finding | None:
    """What was not there that the program asked for: a host, a login, a program, a file."""
    for pattern, code, message, hint in _LACKING:
        if match := pattern.search(said):
            what = next((text for text in match.groups() if text), "")
            return Finding(level="warning", code=code, message=message.format(what=what), hint=hint)
    if (started := _NO_SCRIPT.search(said)) and there is not None and not there(started[1]):
        return Finding(
            level="warning",
            code="missing-file",
            message=f"`{started[1]}`, which the command starts, is not in the project",
            hint="another entry point may do: `-e NAME`",
        )
    match = _NO_FILE.search(said)
    return _no_file(next(path for path in match.groups() if path), there) if match else None


def _no_file(path: str, there: Callable[[str], bool] | None) -> Finding | None:
    """What the program opens, or starts, and is not there."""
    if there is None or there(path):
        return None
    if "/" not in path and "." not in path:
        message = f"`{path}` is not installed here, and the environment brings none along"
        return Finding(level="warning", code="missing-program", message=message, hint=_INSTALL)
    hint = "the project's README may say where it comes from"
    if path.startswith("/"):
        hint = "a path of another machine; where it is a parameter, give yours"
    if any(there(name) for name in (f"{path}.dvc", ".dvc", "../.dvc")):
        hint = "the project uses DVC: `dvc pull` in a clone, where its remote can be reached; run that folder"
    return Finding(
        level="warning",
        code="missing-file",
        message=f"`{path}`, which the program opens, is not there",
        hint=hint,
    )


def _unset(name: str) -> Finding:
    return Finding(
        level="warning",
        code="unset-variable",
        message=f"the program reads the variable `{name}`, which is not set",
        hint=f"`{name}=… mlrun run …`",
    )


def _holds(packages: Collection[str], module: str) -> bool:
    name = re.sub(r"[-_.]+", "-", module).lower()
    aliases = {"sklearn": "scikit-learn", "cv2": "opencv-python", "PIL": "pillow", "yaml": "pyyaml"}
    return name in packages or aliases.get(module, name) in packages


def _too_new(meaning: str, as_of: str | None, committed_at: str | None, target: str) -> Finding | None:
    if as_of is not None:
        return None
    day = committed_at[:10] if committed_at else None
    command = f"mlrun run {target} --as-of {day or 'DATE'}"
    return Finding(
        level="warning",
        code="packages-too-new",
        message=f"{meaning}: the packages may be newer than the code",
        hint=f"`{command}` installs those of {'the commit' if day else 'its day'}",
    )
