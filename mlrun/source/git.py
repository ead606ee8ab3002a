"""The git program: how we call it so that it is quiet, safe and repeatable, and what its refusals mean.

Nobody's hooks, pagers, file system monitors or prompts run; variables that would point git at another
repository than ours are taken away; passwords travel in the environment of the child, never in its
arguments or in a file.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from mlrun.errors import ProcessError, SourceError
from mlrun.pattern import pattern
from mlrun.process import Captured, capture
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlrun.source.target import Target

_SETTINGS = ("core.fsmonitor=false", "core.hooksPath=/dev/null", "core.splitIndex=false", "gc.auto=0")
_FOREIGN = frozenset(
    (
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_NAMESPACE", "GIT_PREFIX"),
        *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH"),
        *("GIT_SHALLOW_FILE", "GIT_GRAFT_FILE", "GIT_REPLACE_REF_BASE", "GIT_INTERNAL_SUPER_PREFIX"),
        *("GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS"),
        *("GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS", "LANGUAGE"),
    )
)
_HELPER = (
    '!f() { test "$1" = get && '
    'printf "username=%s\\npassword=%s\\n" "$MLRUN_GIT_USERNAME" "$MLRUN_GIT_PASSWORD"; }; f'
)
_NOISE = pattern(r"^(?:hint:|warning:|remote: (?:Enumerating|Counting|Compressing|Total)|.*\d+% \()")
_PERCENT = pattern(rb"([A-Z][a-z]+(?: [a-z]+)*):\s+(\d{1,3})% ")


@value
class Git:
    """git, in a directory, with the variables that it may see."""

    variables: Mapping[str, str]
    directory: Path
    settings: tuple[str, ...] = ()

    def ask(
        self,
        *words: str,
        stdin: bytes | None = None,
        on_stderr: Callable[[bytes], None] | None = None,
    ) -> Captured:
        """Run a git command; how it ended is for the caller to judge.

        Raises SourceError where git is not installed.
        """
        argv = ["git", "--no-optional-locks"]
        for setting in (*_SETTINGS, *self.settings):
            argv += ["-c", setting]
        try:
            return capture(
                [*argv, *words],
                variables=self.variables,
                cwd=self.directory,
                stdin=stdin,
                on_stderr=on_stderr,
            )
        except ProcessError as error:
            if error.code != "command-not-found":
                raise
            raise SourceError(
                "git is not installed, and mlrun pins every source with it",
                hint="install it: `apt install git`, `brew install git`, or https://git-scm.com",
                code="git-missing",
            ) from error

    def read(self, *words: str, stdin: bytes | None = None) -> Captured:
        """Run a git command that must succeed.

        Raises SourceError where it does not.
        """
        said = self.ask(*words, stdin=stdin)
        if said.exit_code != 0:
            raise refusal(f"`git {words[0]}` failed in {self.directory}", said)
        return said


def local_git(directory: Path, variables: Mapping[str, str], **more: str) -> Git:
    """git for what needs no network; `more` are variables to add."""
    kept = {
        name: value
        for name, value in variables.items()
        if name not in _FOREIGN and not name.startswith("GIT_TRACE")
    }
    return Git(variables=kept | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"} | more, directory=directory)


def remote_git(directory: Path, target: Target, variables: Mapping[str, str]) -> Git:
    """git for one remote: allowed transports, no questions, and the URL's credentials for its host only.

    A tool of ours is no member of the terminal's foreground group, so a question could only hang.
    """
    allowed = "https:http:ssh:git"
    more = {"GIT_ALLOW_PROTOCOL": f"{allowed}:file" if target.is_local else allowed}
    git = local_git(directory, variables)
    if not {"GIT_SSH_COMMAND", "GIT_SSH"} & variables.keys() and not _own_ssh_command(git):
        more["GIT_SSH_COMMAND"] = "ssh -oBatchMode=yes -oConnectTimeout=30"
    settings = ["http.lowSpeedLimit=1", "http.lowSpeedTime=60", "maintenance.auto=false"]
    if target.credentials is not None:
        base = "/".join(target.location.split("/", 3)[:3])
        if target.credentials.password is not None:
            settings.append("credential.helper=")  # only the URL's own are asked; else ours come last
        settings.append(f"credential.{base}.helper={_HELPER}")
        more["MLRUN_GIT_USERNAME"] = target.credentials.username
        more["MLRUN_GIT_PASSWORD"] = target.credentials.password or ""
    return Git(variables={**git.variables, **more}, directory=directory, settings=tuple(settings))


def _own_ssh_command(git: Git) -> bool:
    return git.ask("config", "--get", "core.sshCommand").exit_code == 0


def progress_of(chunk: bytes) -> tuple[str, float] | None:
    """The last `Receiving objects:  45% (…)` in what git just said, as words and a share of one."""
    found = _PERCENT.findall(chunk)
    return (found[-1][0].decode().lower(), int(found[-1][1]) / 100) if found else None


def quoted_path(path: Path | str) -> str:
    """A path as git reads it from a list of object directories, where `:` and newlines would split it."""
    text = os.fspath(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


# --- what refusals mean -------------------------------------------------------------------------------

_UNREACHABLE = (
    "could not resolve host",
    "name or service not known",
    "temporary failure in name resolution",
    "unable to look up",
    "connection refused",
    "connection timed out",
    "operation timed out",
    "operation too slow",
    "failed to connect",
    "couldn't connect",
    "unable to connect",
    "network is unreachable",
    "no route to host",
    "connection reset",
)
_REFUSALS: tuple[tuple[str, str, str | None, tuple[str, ...]], ...] = (
    (
        "host-key-unknown",
        "the ssh host key of {url} is not known here",
        "connect once by hand to accept it: `ssh -T HOST`",
        ("host key verification failed",),
    ),
    (
        "source-unreachable",
        "cannot reach {url}",
        "check the address and the network",
        _UNREACHABLE,
    ),
    (
        "source-certificate",
        "the certificate of {url} is not trusted",
        "tell git which authority to trust: `git config --global http.sslCAInfo FILE`",
        ("certificate",),
    ),
    (
        "source-access-refused",
        "access to {url} was refused",
        "sign in with a credential helper or an ssh key, so that `git ls-remote URL` works",
        (
            "authentication failed",
            "permission denied (",
            "could not read username",
            "could not read password",
            "invalid username or password",
            "returned error: 401",
            "returned error: 403",
        ),
    ),
    (
        "source-not-found",
        "there is no repository at {url}",
        "check the address; a private repository also looks like this to those who may not see it",
        (
            "repository not found",
            "does not appear to be a git repository",
            "not found",
            "does not exist",
            "repository not exported",
            "no such file or directory",
        ),
    ),
    (
        "source-damaged",
        "the repository at {url} lacks objects of its own",
        "`git fsck` there tells which; a fresh clone of where it came from may have them",
        ("repository corruption", "fatal: unable to read"),
    ),
    (
        "source-broken-off",
        "the connection to {url} broke off",
        "try again",
        ("hung up unexpectedly", "early eof", "unexpected disconnect", "transfer closed"),
    ),
)


def remote_refusal(url: str, said: Captured) -> SourceError:
    """One sentence for what a remote's refusal means."""
    text = said.stderr.decode("utf-8", "replace").lower()
    for code, sentence, hint, signs in _REFUSALS:
        if any(sign in text for sign in signs):
            return SourceError(sentence.format(url=f"`{url}`"), hint=hint, code=code, details=_lines(said))
    return refusal(f"cannot fetch from `{url}`", said)


def refusal(message: str, said: Captured) -> SourceError:
    """An error with git's own last words; a repository of another user has a sentence of its own."""
    if b"dubious ownership" in said.stderr:
        named = re.search(rb"repository at '(.*)'", said.stderr)
        place = os.fsdecode(named[1]) if named else "."
        return SourceError(
            f"git refuses {place}: it belongs to another user",
            hint=f"if you trust it: `git config --global --add safe.directory {place}`",
            code="dubious-ownership",
        )
    return SourceError(message, code="git-failed", details=_lines(said))


def _lines(said: Captured) -> tuple[str, ...]:
    """The last meaningful lines, without passwords."""
    from mlrun.source.target import without_credentials

    text = said.stderr.decode("utf-8", "replace").replace("\r", "\n").replace("\0", "")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not _NOISE.match(line)]
    return tuple(without_credentials(line)[:500] for line in lines[-3:])
