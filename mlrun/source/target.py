"""What a target is, by its grammar alone: a directory, an archive, or a git URL.

Never "git if nothing else": what is neither an existing path nor a URL is an error that names both
readings. Targets come from anywhere (a web page, a chat), so everything that git could take for an
option, a program or a path outside the repository is refused here.
"""

from __future__ import annotations

import os
import re
from typing import Literal

from mlrun.errors import SourceError
from mlrun.value import value

_WEB_SCHEMES = ("https", "http")
_SCHEMES = (*_WEB_SCHEMES, "ssh", "git", "file")
# Compiled when they are first needed: a plain folder needs few of them.
_URL = r"(?s)([A-Za-z][A-Za-z0-9+.-]*)://(.*)"
_SCP = r"(?s)([^\s@/:#]+)@([A-Za-z0-9.-]+):(?!//)([^:].*)"
_TRANSPORT = r"[A-Za-z0-9+.-]+::"
_BARE_HOST = r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[a-z]{2,}/[^/\s]+/[^/\s]+"
_REVISION_MARK = r"(?<=[^/])@(?=.)"  # `/@scope` is a folder's name, `b.git@v1` a revision
_CREDENTIALS = r"(?i)(\b(?:git\+)?(?:https?|git)://)[^/\s'\"]*@"
_OF_USERS = r"(?i)(\b[a-z][a-z0-9+.-]*://[^/\s:@]*):[^/\s]*@"
_KEY = (
    r"(?i)([?&](?:sig|key|[\w.-]*(?:token|signature|secret|passw|api_?key|credential)[\w.-]*)=)[^&\s#'\"`]+"
)
_CONTROL = r"[\x00-\x1f\x7f]"
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*))(?::[0-9]{1,5})?"
_BAD_REVISION = r"\s|\.\.|@\{|[~^:?*\[\\]|//|/$|^/"  # git-check-ref-format(1)


class Secret(str):
    """Text that stays hidden where a value that holds it is printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


@value
class Credentials:
    """A name and a password from a URL; the name alone where a helper of the user's has the password."""

    username: Secret
    password: Secret | None


@value
class Target:
    """What the user points at. `location` is an absolute path, or a URL without its credentials.

    `reference_path` is what follows `/tree/` in the address of a web page: a branch, then a folder, and
    only the repository's own references tell where one ends.
    """

    kind: Literal["directory", "archive", "git"]
    location: str
    subdirectory: str = ""
    version: str | None = None
    reference_path: str | None = None
    credentials: Credentials | None = None

    @property
    def is_local(self) -> bool:
        """Whether it lies on this machine's file system."""
        return self.location.startswith("/")


def parse_target(text: str, version: str | None, *, directory: str) -> Target:
    """Understand a target; relative paths are looked for in `directory`.

    Grammar: `PATH | URL | USER@HOST:PATH`, then `@REVISION` and `#SUBDIRECTORY` in either order. URLs are
    those of git (`https http ssh git file`, with or without `git+`), of a zip archive, or of a
    repository's page on GitHub or GitLab (`/tree/BRANCH/FOLDER`).
    Raises SourceError.
    """
    text = _unquoted(text.strip()).removeprefix("git+")
    found = _as_path(text, directory)
    if found is None:
        _refuse_hostile(text)
        found = _as_url(text) or _as_scp(text)
    if found is None:
        raise _unknown(text)
    return _with_version(found, version)


def without_credentials(text: str) -> str:
    """The text with passwords, and the keys of signed addresses, cut out of its URLs.

    Of web addresses the user goes too, who may be a token; an ssh user is part of the address.
    """
    if "://" not in text:
        return text
    return re.sub(_KEY, r"\1…", re.sub(_OF_USERS, r"\1@", re.sub(_CREDENTIALS, r"\1", text)))


# --- refusals -----------------------------------------------------------------------------------------


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text


def _refuse_hostile(text: str) -> None:
    if not text:
        raise SourceError("the target is empty", hint="type `.` for this directory", code="bad-target")
    if re.search(_CONTROL, text):
        raise SourceError("the target holds control characters", code="bad-target")
    if re.match(_TRANSPORT, text):
        raise SourceError(
            f"`{text.partition('::')[0]}::` is a transport that can start programs; it is not allowed",
            hint="use an https, ssh, git or file URL",
            code="bad-target",
        )


def check_revision(revision: str) -> None:
    """Refuse what cannot be the name of a branch, tag or commit.

    Raises SourceError.
    """
    if (
        not revision
        or revision[0] in "-."
        or re.search(_CONTROL, revision)
        or re.search(_BAD_REVISION, revision)
    ):
        raise SourceError(
            f"{_shown(revision)} cannot be a revision",
            hint="give a branch, a tag, or a full or short commit",
            code="bad-revision",
        )


def _checked_subdirectory(text: str) -> str:
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if text.startswith("/") or ".." in parts or any(part.lower() == ".git" for part in parts):
        raise SourceError(
            f"{_shown(text)} is not a folder inside the project's repository",
            hint="give a path below its top, such as `#examples/train`",
            code="bad-subdirectory",
        )
    return "/".join(parts)


def _unknown(text: str) -> SourceError:
    hint = "give a directory, or a URL such as `https://github.com/owner/repository`"
    if re.match(_BARE_HOST, text):
        hint = f"for a repository on the web, type `https://{without_credentials(text)}`"
    shown = re.sub(r"^([^/@\s:]+):[^/@\s]+@", r"\1@", without_credentials(text))  # `user:password@host:path`
    return SourceError(
        f"cannot find {_shown(shown)}: there is no such directory, and it is not a git URL",
        hint=hint,
        code="unknown-target",
    )


def _shown(text: str) -> str:
    """Text of others in a message: on one line, not endless."""
    plain = re.sub(_CONTROL, "?", text)
    return f"`{plain[:200]}…`" if len(plain) > 200 else f"`{plain}`"


# --- paths --------------------------------------------------------------------------------------------


def _as_path(text: str, directory: str) -> Target | None:
    """The longest part of the text that exists, so that `#` and `@` may stand in names."""
    if text.startswith("file://"):
        from urllib.parse import unquote

        text = unquote(text[len("file://") :].removeprefix("localhost"))
        if not text.startswith("/"):
            return None
    elif "://" in text:
        return None
    for path, revision, subdirectory in _readings(text):
        full = os.path.normpath(os.path.join(directory, path))
        if path and os.path.exists(full):
            return Target(
                kind=_kind_of_path(full),
                location=full,
                subdirectory=subdirectory,
                version=revision,
            )
    return None


def _readings(text: str) -> list[tuple[str, str | None, str]]:
    """Ways to split into path, revision, subdirectory; the most literal first."""
    base, mark, fragment = text.partition("#")
    literal: list[tuple[str, str | None, str]] = [(text, None, "")]
    if mark:
        literal.append((base, None, fragment))
        folder, revision = _split_revision(fragment)
        literal.append((base, revision, folder))
    path, revision = _split_revision(base)
    return [*literal, (path, revision, fragment)]


def _kind_of_path(path: str) -> Literal["directory", "archive", "git"]:
    if os.path.isdir(path):
        return "git" if is_bare_repository(path) else "directory"
    if path.lower().endswith(".zip"):
        return "archive"
    raise SourceError(
        f"{_shown(path)} is a file, not a project's directory",
        hint="give the directory, and the file with `-e`: `mlrun run DIRECTORY -e SCRIPT.py`",
        code="not-a-directory",
    )


def is_bare_repository(path: str) -> bool:
    """Whether the folder is itself a git repository, without a working tree."""
    return (
        os.path.isfile(os.path.join(path, "HEAD"))
        and os.path.isdir(os.path.join(path, "objects"))
        and os.path.isdir(os.path.join(path, "refs"))
    )


# --- URLs ---------------------------------------------------------------------------------------------


def _as_url(text: str) -> Target | None:
    matched = re.fullmatch(_URL, text)
    if matched is None:
        return None
    scheme, rest = matched[1].lower(), matched[2]
    if scheme not in _SCHEMES:
        raise SourceError(
            f"cannot fetch from `{scheme}://`",
            hint="use an https, ssh, git or file URL",
            code="bad-target",
        )
    if scheme == "file":
        return _file_url(rest)
    authority, slash, path = rest.partition("/")
    userinfo, _, host = authority.rpartition("@")
    if not re.fullmatch(_HOST, host) or not slash or userinfo.startswith("-"):
        raise SourceError("the URL names no proper host and path", code="bad-target")
    path, revision, subdirectory = _url_parts(path)
    credentials = _credentials(userinfo) if scheme in _WEB_SCHEMES else None
    user = userinfo.partition(":")[0] + "@" if userinfo and scheme == "ssh" else ""
    return _web_page(
        Target(
            kind="archive" if scheme in _WEB_SCHEMES and path.lower().endswith(".zip") else "git",
            location=f"{scheme}://{user}{host.lower()}/{path}",
            subdirectory=subdirectory,
            version=revision,
            credentials=credentials,
        ),
        web=scheme in _WEB_SCHEMES,
    )


def _file_url(rest: str) -> Target:
    """A file URL whose path does not exist, or it would have been read as a path."""
    raise SourceError(
        f"cannot find {_shown(rest)}: there is no such directory or repository",
        code="source-not-found",
    )


def _url_parts(path: str) -> tuple[str, str | None, str]:
    path, _, fragment = path.partition("#")
    path, revision = _split_revision(path)
    subdirectory = _pip_fragment(fragment)
    if revision is None:
        subdirectory, revision = _split_revision(subdirectory)
    return path.rstrip("/"), revision, subdirectory


def _pip_fragment(fragment: str) -> str:
    """`subdirectory=a&egg=b`, as pip writes it, or just the folder."""
    for part in fragment.split("&"):
        if part.startswith("subdirectory="):
            return part.removeprefix("subdirectory=")
    return "" if fragment.startswith("egg=") else fragment


def _split_revision(text: str) -> tuple[str, str | None]:
    mark = re.search(_REVISION_MARK, text) if "@" in text else None
    return (text[: mark.start()], text[mark.end() :]) if mark else (text, None)


def _credentials(userinfo: str) -> Credentials | None:
    from urllib.parse import unquote

    if not userinfo:
        return None
    username, colon, password = userinfo.partition(":")
    return Credentials(
        username=Secret(unquote(username)), password=Secret(unquote(password)) if colon else None
    )


def _web_page(target: Target, *, web: bool) -> Target:
    """Turn the address of a repository's page, opened at some folder, into the repository's own."""
    if not web or target.kind != "git":
        return target
    start = target.location.index("/", len("https://")) + 1
    path = target.location[start:]
    repository, separator, rest = path.partition("/-/tree/")
    if not separator:
        parts = path.split("/", 3)
        if len(parts) < 4 or parts[2] != "tree":
            return target
        repository, rest = "/".join(parts[:2]), parts[3]
    return Target(
        kind="git",
        location=target.location[:start] + repository,
        subdirectory=target.subdirectory,
        reference_path=rest,
        credentials=target.credentials,
    )


def _as_scp(text: str) -> Target | None:
    matched = re.fullmatch(_SCP, text)
    if matched is None:
        return None
    user, host, rest = matched.groups()
    if host.startswith("-") or user.startswith("-") or rest.startswith("-"):
        raise SourceError("the address begins with a dash", code="bad-target")
    path, revision, subdirectory = _url_parts(rest)
    return Target(
        kind="git",
        location=f"{user}@{host}:{path}",
        subdirectory=subdirectory,
        version=revision,
    )


def _with_version(target: Target, version: str | None) -> Target:
    """Put the revision from `-v` and the one in the text together, and check what is left to check."""
    for revision in (target.version, version):
        if revision is not None:
            check_revision(revision)
    if version and target.version and version != target.version:
        raise SourceError(
            f"the target asks for `{target.version}`, `--version` for `{version}`",
            hint="give one of them",
            code="two-revisions",
        )
    return Target(
        kind=target.kind,
        location=target.location,
        subdirectory=_checked_subdirectory(target.subdirectory),
        version=version or target.version,
        reference_path=target.reference_path,
        credentials=target.credentials,
    )
