"""Running uv: its program, its variables, and its complaints in few words."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mlrun.env.pip_settings import LISTS, flags_for_uv, for_uv, without_credentials
from mlrun.env.traps import BIG
from mlrun.errors import EnvironmentBuildError
from mlrun.process import capture
from mlrun.value import draft, field, replace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlrun.env.values import Asked, Site
    from mlrun.process import Captured

_NOT_INHERITED = re.compile(
    r"VIRTUAL_ENV|CONDA_PREFIX|PYTHON(PATH|HOME)|__PYVENV_LAUNCHER__"
    r"|UV_(PYTHON|SYSTEM_PYTHON|BREAK_SYSTEM_PACKAGES|VENV_\w+|PROJECT\w*|WORKING_DIR|FROZEN|LOCKED|TARGET|PREFIX"
    r"|REQUIRE_HASHES|NO_VERIFY_HASHES|COMPILE_BYTECODE)"
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_NOISE = re.compile(r"(warning: |Using |Resolved |Prepared |Downloading |Downloaded |Building |Built )")
_WARNING = re.compile(r"^WARN .*\n(?:(?!error|hint|warning|\s*[×╰├]).*\n)*", re.MULTILINE)
_NOT_HAD = re.compile(r"^error: Failed to (?:download|fetch)(?: and build)? `([^`]+)`", re.MULTILINE)
_QUOTED_LINES = 20

BIG_ONLY_AS_WHEELS = f"--only-binary={','.join(BIG)}"
"""For pip, which takes a list; uv takes one flag a package."""


@draft
class Uv:
    """uv, as this caller would have it run for this project.

    `flags` are for its resolver and installer; `transcript` is all that it said.
    """

    program: str
    variables: dict[str, str]
    directory: Path
    flags: tuple[str, ...] = ()
    transcript: list[str] = field(default_factory=list)

    @property
    def index_flags(self) -> tuple[str, ...]:
        """Those of `flags` that all of uv's commands take."""
        return tuple(flag for flag in self.flags if flag == "--no-index")

    def run(self, *arguments: str | Path, stdin: str | None = None) -> Captured:
        """Run it to its end, whatever that is. Raises ProcessError where it cannot be started."""
        argv = [self.program, *(str(argument) for argument in arguments)]
        said = capture(
            argv,
            variables=self.variables,
            cwd=self.directory,
            stdin=None if stdin is None else stdin.encode(),
        )
        output = (said.stderr + said.stdout).decode("utf-8", "replace")
        given = f"\n--- input\n{stdin}---" if stdin else ""
        shown = " ".join(str(argument) for argument in arguments)
        self.transcript.append(without_credentials(f"$ uv {shown}{given}\n{_ANSI.sub('', output)}"))
        return said

    def must(self, doing: str, *arguments: str | Path, stdin: str | None = None) -> Captured:
        """Run it, and raise EnvironmentBuildError where it fails; `doing` completes "cannot …"."""
        said = self.run(*arguments, stdin=stdin)
        if said.exit_code != 0:
            raise self.explained(doing, said)
        return said

    def constrain_builds(self, lines: Sequence[str], scratch: Path) -> None:
        """Let nothing newer build what has no wheel; `scratch` is a folder for the list."""
        limits = scratch / "build-constraints.txt"
        limits.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        self.variables["UV_BUILD_CONSTRAINT"] = str(limits)

    def for_locks(self) -> Uv:
        """The same, to install what is locked.

        The user's lists that bind a resolution have had their say then, and uv takes none beside a lock.
        """
        variables = {name: text for name, text in self.variables.items() if name not in LISTS}
        return replace(self, variables=variables)

    def explained(self, doing: str, said: Captured) -> EnvironmentBuildError:
        """The error that its output amounts to."""
        return explain(doing, said)


def prepare(asked: Asked, site: Site) -> Uv:
    """uv with the caller's variables and pip's settings.

    Raises EnvironmentBuildError (`no-uv`) where its program is missing.
    """
    variables = {
        name: value for name, value in site.caller.variables.items() if not _NOT_INHERITED.fullmatch(name)
    }
    variables.update(for_uv(site.caller, asked.options))
    variables.setdefault("UV_PYTHON_DOWNLOADS", "never")
    if variables.get("UV_LINK_MODE") == "symlink":  # what is shared must not hang on another tool's cache
        del variables["UV_LINK_MODE"]
    if not variables.get("HOME"):  # uv would then keep its cache in the project
        variables.setdefault("UV_CACHE_DIR", str(site.cache.packages))
    if site.day.as_of:
        variables["UV_EXCLUDE_NEWER"] = site.day.as_of
        variables["RUST_LOG"] = "warn"  # else it passes over versions without a word
    variables.update(NO_COLOR="1", UV_NO_PROGRESS="1", UV_NO_ENV_FILE="1", UV_PREVIEW_FEATURES="pylock")
    variables.pop("FORCE_COLOR", None)
    flags = flags_for_uv(site.caller, asked.options)
    return Uv(program(), variables, site.directory, (*flags, *_only_wheels(asked, flags)))


def _only_wheels(asked: Asked, flags: tuple[str, ...]) -> tuple[str, ...]:
    """No source builds of the big packages, but where the user says otherwise, or gives a URL."""
    if "--no-binary=:all:" in flags:
        return ()
    by_url = {item.text.split("@")[0].strip().lower() for item in asked.requirements if " @ " in item.text}
    names = [name for name in BIG if f"--no-binary={name}" not in flags and name not in by_url]
    return tuple(f"--only-binary={name}" for name in names)


def program() -> str:
    """uv's own program, from mlrun's environment. Raises EnvironmentBuildError (`no-uv`)."""
    from uv import find_uv_bin

    try:
        return find_uv_bin()
    except FileNotFoundError as error:
        raise EnvironmentBuildError(
            "the program `uv` is missing from mlrun's own environment",
            hint=f"`{sys.executable} -m pip install uv`",
            code="no-uv",
        ) from error


_UNBUILT = re.compile(r"Failed to (?:download and )?build `([^`@ ]+==[^`@ ]+)`")
"""A package of the registry; one of the project's own is called `name @ file:///…`."""
_EXCEPTION = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception)\b")


def explain(doing: str, said: Captured) -> EnvironmentBuildError:
    """The error that uv's output amounts to: its first sentence, and the lines that matter."""
    text = without_credentials(_ANSI.sub("", said.stderr.decode("utf-8", "replace")))
    text = _WARNING.sub("", text)
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not _NOISE.match(line)]
    if unbuilt := _UNBUILT.search(text):
        return EnvironmentBuildError(
            f"cannot {doing}: `{unbuilt[1]}` has no wheel for this Python and does not build from source",
            code="cannot-build-package",
            hint="a Python of its day may have a wheel: name one in the environment's file (`python: 3.8`)",
            details=tuple(line.strip() for line in lines if _EXCEPTION.match(line.strip()))[-2:],
        )
    if away := _away(text):
        return away
    reason = _unsolved(text) or _reason(lines, said.exit_code)
    if (wanted := _NOT_HAD.search(text)) and wanted[1] not in reason:
        reason = f"`{wanted[1]}`: {reason}"
    return EnvironmentBuildError(
        f"cannot {doing}: {reason}",
        code=_code(text),
        hint=_hint(text),
        details=tuple(_middle_left_out(lines)),
    )


CANNOT_FETCH = "cannot-fetch-package"
"""The code of an error: what is asked for by its URL or its repository is not to be had."""

_BY_URL = re.compile(r"`([^`@\s]+) @ (?:git\+)?([^`\s]+)`")
_FETCHED = re.compile(r"git fetch [^`]*?'([a-z]+://[^']+)'")
_WORDS_OF_GIT = re.compile(
    r"^\s*(?:fatal|ssh|remote|ERROR): (?:unable to access '[^']*': )?(.+)$", re.MULTILINE
)
_NO_SUCH_PLACE = re.compile(r"failed to fetch (branch or tag|branch, tag, or commit|commit|ref) `([^`]+)`")


def _away(text: str) -> EnvironmentBuildError | None:
    """What is asked for by a URL or a repository, and cannot be had from there; None for all else."""
    by_url = _BY_URL.search(text)
    if "Git operation failed" in text:
        fetched = _FETCHED.search(text)
        url = by_url[2] if by_url else fetched[1] if fetched else "a repository"
        why, hint = _why_git_failed(text)
    elif by_url and "Failed to fetch: " in text:
        url = by_url[2]
        why, hint = _why_not_there(text, url), _IN_ITS_PLACE
    else:
        return None
    what = f"`{by_url[1]}` from {url}" if by_url else url
    return EnvironmentBuildError(f"cannot fetch {what}: {why}", code=CANNOT_FETCH, hint=hint)


_IN_ITS_PLACE = "check the network and the address, or name a release of the index in its place"


def _why_git_failed(text: str) -> tuple[str, str]:
    """In few words, and what to try next."""
    words = _WORDS_OF_GIT.search(text)
    why = words[1].rstrip(".") if words else "git failed"
    why = re.sub(r"Could not resolve hostname ([\w.-]+):.*", r"Could not resolve host: \1", why)
    place = _NO_SUCH_PLACE.search(text)
    if place and re.search(r"couldn't find remote ref|not our ref", why):
        return f"it has no {place[1]} `{place[2]}`", "correct it, or name a release of the index in its place"
    if re.search(r"could not read Username|Authentication failed|not found|Permission denied", why):
        return f"it is not there, or not for everybody ({why})", "log git in, if the repository is private"
    return why, _IN_ITS_PLACE


def _why_not_there(text: str, url: str) -> str:
    if "failed to lookup address information" in text:
        return f"Could not resolve host: {urlsplit(url).hostname}"
    causes = re.findall(r"^\s*cause: (.+)$", text, re.MULTILINE)
    return str(causes[-1]) if causes else "it does not answer"


PUBLISHED_LATER = re.compile(
    r"`([\w.-]+)` was filtered by `exclude-newer`"
    r".*The requested version, v(\S+), was published at (\S+?)(?:\.\d+)?Z"
)
"""A version that is asked for and came out after the day: name, version, UTC text without its `Z`."""

NO_SUCH_PACKAGE = "there is no package"

_UNSOLVED = (
    (PUBLISHED_LATER, "`{0}=={1}` came out on {2:.10}, after that day"),
    (re.compile(r"(\S+) has no usable wheels"), "`{0}` has no wheel for this Python"),
    (re.compile(r"(\S+) has invalid metadata(?:.*\n)*.*could not be parsed:\n.*\n\s*(\S.*)\n"),
     "`{0}` has metadata that uv does not take: `{1}`"),
    (re.compile(r"(\S+) has invalid metadata"), "`{0}` has metadata that uv does not take"),
    (
        re.compile(
            r"([\w.-]+)(?:[<>=]\S+)?\s+have invalid metadata(?:.*\n)*.*could not be parsed:\n.*\n\s*(\S.*)\n"
        ),
        "`{0}` has metadata that uv does not take: `{1}`",
    ),
    (re.compile(r"([\w.-]+)(?:[<>=]\S+)?\s+have no usable wheels"), "`{0}` has no wheel for this Python"),
    (re.compile(r"does not satisfy (Python\S+) and (?:all of:\s+)?(\S+)"), "`{1}` needs {0}"),
    (re.compile(r"Because (\S+) was not found in the [\w ]+"), NO_SUCH_PACKAGE + " `{0}` in the index"),
)  # fmt: skip
"""What uv's proofs start from, in few words; the first that matches is told."""


_MARKER = re.compile(r"(?<=\w)\{[^{}\n]*\}")
"""`numpy{python_full_version < '3.10'}>=1.20.3`: whether it holds is decided by then."""


def _unsolved(text: str) -> str | None:
    """Why there is no solution; None where no known reason is told."""
    if "No solution found" not in text:
        return None
    for pattern, told in _UNSOLVED:
        if match := pattern.search(text):
            return told.format(*match.groups())
    proof = re.search(r"^\s*cause: ((?:.+\n?)+)", _MARKER.sub("", text), re.MULTILINE)
    sentences = re.sub(r"\s+", " ", proof[1]).strip().split(". ") if proof else []
    if not sentences:
        return None
    first = re.sub(r", we can conclude that .*", "", sentences[0].removeprefix("Because "))
    rest = [re.sub(r"^And because |, we can conclude that .*", "", each) for each in sentences[1:]]
    return "; but ".join([first, *rest[-1:]]).rstrip(".")


def _reason(lines: list[str], exit_code: int) -> str:
    """What lies at the root: the last `cause:` that is a sentence, else the error itself."""
    sentences = [re.sub(r"^\s*(error|cause|[×╰├▶─ ]+)[:\s]\s*", "", line).strip() for line in lines]
    causes = [
        sentence
        for line, sentence in zip(lines, sentences, strict=True)
        if re.match(r"\s*(error:|cause:|×|╰─▶|├─▶)", line)
    ]
    if not causes:
        return sentences[-1] if sentences else f"uv ended with exit code {exit_code}"
    chosen = causes[-1]
    return (
        chosen[0].lower() + chosen[1:].rstrip(".")
        if chosen[:1].isupper() and chosen[1:2].islower()
        else chosen
    )


def _code(text: str) -> str:
    if "No solution found" in text or "not found in the package registry" in text:
        return "cannot-resolve"
    if re.search(
        r"dns error|Connect|timed out|error sending request|UnknownIssuer|HTTP status server error"
        r"|429 Too Many Requests",
        text,
    ):
        return "no-network"
    if re.search(r"Failed to build|build backend|build_wheel", text):
        return "cannot-build-package"
    if "Hash mismatch" in text:
        return "hash-mismatch"
    return "environment-failed"


def _hint(text: str) -> str | None:
    match _code(text):
        case "no-network":
            return "check the network, the index and its certificate (pip's settings are used)"
        case "cannot-resolve" if "Python" in text and re.search(
            r"Requires-Python|requires Python|Python>=", text
        ):
            return "another Python may do: name it in the environment's file"
        case "hash-mismatch":
            return "the index serves another file than was locked"
    return None


def _middle_left_out(lines: list[str]) -> list[str]:
    if len(lines) <= _QUOTED_LINES:
        return lines
    half = _QUOTED_LINES // 2
    return [*lines[:half], f"… {len(lines) - 2 * half} lines …", *lines[-half:]]
