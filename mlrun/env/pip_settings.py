"""pip's settings, for uv, which reads none of them.

Files and their order: https://pip.pypa.io/en/stable/topics/configuration/ (global, user, site, then
`PIP_CONFIG_FILE`; then `PIP_*`). What the user has set for uv itself is left alone.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from mlrun.pattern import pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mlrun.model import Caller

_SECTIONS = ("global", "install")
_DECISIVE = pattern(r"(PIP_(?!DISABLE|DEFAULT_TIMEOUT|TIMEOUT|RETRIES|CACHE_DIR|NO_CACHE|PROGRESS)|UV_)\w+")
_INDIFFERENT = pattern(
    r"UV_(INDEX_\w+_(USERNAME|PASSWORD)|PUBLISH_\w+|CACHE_DIR|NO_CACHE|CONCURRENT_\w+|HTTP_\w+|REQUEST_TIMEOUT|NO_PROGRESS|LINK_MODE|OFFLINE|PYTHON_\w+|"
    r"NATIVE_TLS|SYSTEM_CERTS|COMPILE_BYTECODE|TOOL_\w+|PROJECT\w*|VENV\w*|INSTALL\w*|NO_MODIFY_PATH)"
)
LISTS = ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE")
"""Variables that name files of what binds a resolution."""

_NAMING_LISTS = (*LISTS, "PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT", "UV_BUILD_CONSTRAINT", "UV_CONFIG_FILE")
_CONSTRAINT = pattern(r"^\s*constraint\s*[=:]\s*(.+)$", re.MULTILINE)
_CREDENTIALS = pattern(r"(?<=://)[^/\s\"']*@")


def without_credentials(text: str) -> str:
    """Text whose URLs name no user and no password."""
    return _CREDENTIALS.sub("", text) if "://" in text else text


def fingerprint(caller: Caller) -> list[str]:
    """All that pip's and uv's settings can change about a resolution, unparsed and without credentials."""
    decisive = [
        f"{name}={without_credentials(value)}"
        for name, value in sorted(caller.variables.items())
        if name.startswith(("PIP_", "UV_"))
        and _DECISIVE.fullmatch(name)
        and not (name.startswith("UV_") and _INDIFFERENT.fullmatch(name))
    ]
    decisive += _contents((*_files(caller), *_uv_files(caller)))
    decisive += _contents(_named_lists(caller, decisive))
    return decisive


def _contents(paths: Iterable[str]) -> list[str]:
    """Those of the files that are there."""
    found = []
    for path in paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                found.append(f"{path}\n{without_credentials(file.read())}")
        except OSError:
            continue
    return found


def _named_lists(caller: Caller, decisive: list[str]) -> Iterator[str]:
    """The files that settings name, since their content decides too."""
    named = [caller.variables.get(name, "") for name in _NAMING_LISTS]
    named += [name for text in decisive for name in _CONSTRAINT.findall(text)]
    for path in " ".join(named).split():
        if "://" not in path:
            yield os.path.join(caller.directory, path)


def for_uv(caller: Caller, options: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Variables for uv: pip's settings, the `options` of requirement files, but where uv's own are set.

    As pip does, folders that do not exist are skipped, and the best version of all indexes is taken.
    """
    settings = _merged(caller, options)
    translated = dict(_translated(settings))
    if "UV_EXTRA_INDEX_URL" in translated:
        translated["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if limits := translated.get("UV_CONSTRAINT"):  # uv runs in the project, pip where its caller is
        translated["UV_CONSTRAINT"] = " ".join(
            each if "://" in each else os.path.join(caller.directory, each) for each in limits.split()
        )
    own = {name for name in caller.variables if caller.variables[name]}
    return {
        name: value
        for name, value in translated.items()
        if name not in own and not any(other in own for other in _SYNONYMS.get(name, ()))
    }


def flags_for_uv(caller: Caller, options: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Flags for uv's resolver and installer from those settings of pip for which uv has no variables."""
    settings = _merged(caller, options)
    flags = ["--no-index"] if _is_true(settings.get("no-index", "")) else []
    for option in ("no-binary", "only-binary"):
        names = re.split(r"[\s,]+", settings.get(option, ""))
        flags += [f"--{option}={name}" for name in names if name and name != ":none:"]
    return tuple(flags)


_LISTS = frozenset({"extra-index-url", "find-links", "trusted-host", "no-binary", "only-binary"})
_SYNONYMS = {
    "UV_DEFAULT_INDEX": ("UV_INDEX_URL",),
    "UV_EXTRA_INDEX_URL": ("UV_INDEX",),
    "SSL_CERT_FILE": ("UV_SYSTEM_CERTS", "UV_NATIVE_TLS"),
}


def _translated(settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """pip's option as uv's variable, for those that uv has."""
    extra = [url for url in settings.get("extra-index-url", "").split() if _is_there(url)]
    links = [link for link in settings.get("find-links", "").split() if _is_there(link)]
    if url := settings.get("index-url", "").strip():
        yield "UV_DEFAULT_INDEX", url
    if extra:
        yield "UV_EXTRA_INDEX_URL", " ".join(extra)
    if links:
        yield "UV_FIND_LINKS", ",".join(links)
    if _is_true(settings.get("pre", "")):
        yield "UV_PRERELEASE", "allow"
    for option, variable in (
        ("cert", "SSL_CERT_FILE"),
        ("client-cert", "SSL_CLIENT_CERT"),
        ("timeout", "UV_HTTP_TIMEOUT"),
        ("default-timeout", "UV_HTTP_TIMEOUT"),
        ("constraint", "UV_CONSTRAINT"),
    ):
        if value := settings.get(option, "").strip():
            yield variable, value
    if hosts := settings.get("trusted-host", "").split():
        yield "UV_INSECURE_HOST", " ".join(hosts)
    if proxy := settings.get("proxy", "").strip():
        yield from (("HTTPS_PROXY", proxy), ("HTTP_PROXY", proxy))


def _is_there(location: str) -> bool:
    """A URL, or a folder that exists."""
    if location.startswith("file:"):
        from urllib.parse import unquote, urlsplit

        return os.path.exists(unquote(urlsplit(location).path))
    return "://" in location or os.path.exists(os.path.expanduser(location))


def _is_true(value: str) -> bool:
    return value.strip().lower() in ("1", "true", "yes", "on", "y", "t")


def _expand(value: str, variables: Mapping[str, str]) -> str:
    """`${NAME}` in requirement files, as pip expands it; an unknown name stays."""
    return re.sub(r"\$\{([A-Z0-9_]+)\}", lambda match: variables.get(match[1], match[0]), value)


# --- reading ------------------------------------------------------------------------------------------


def _merged(caller: Caller, options: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Settings by pip's long option names, those of requirement files last."""
    settings = _configured(caller)
    for name, value in caller.variables.items():
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE" and value:
            settings[_option(name.removeprefix("PIP_"))] = value
    for name, value in options:
        expanded = _expand(value, caller.variables) or "1"
        settings[name] = f"{settings.get(name, '')} {expanded}" if name in _LISTS else expanded
    return settings


def _configured(caller: Caller) -> dict[str, str]:
    """The configuration files' settings; a command's own section counts more than the global one."""
    import configparser

    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for path in _files(caller):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue  # pip itself will complain about it
        for section in _SECTIONS:
            if parser.has_section(section):
                found[section].update({_option(name): value for name, value in parser.items(section)})
    return {**found["global"], **found["install"]}


def _option(name: str) -> str:
    return name.lower().replace("_", "-").lstrip("-")


def _files(caller: Caller) -> Iterator[str]:
    """pip's configuration files, whether they exist or not, the last one counting most."""
    variables = caller.variables
    own = variables.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return
    home = variables.get("HOME") or os.path.expanduser("~")
    config = variables.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    if sys.platform == "darwin":
        yield "/Library/Application Support/pip/pip.conf"
        support = os.path.join(home, "Library/Application Support/pip")
        user = os.path.join(
            support if os.path.isdir(support) else os.path.join(home, ".config/pip"), "pip.conf"
        )
    else:
        for folder in reversed(variables.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep)):
            yield os.path.join(folder, "pip/pip.conf")
        yield "/etc/pip.conf"
        user = os.path.join(config, "pip/pip.conf")
    if not (own and os.path.exists(own)):
        yield os.path.join(home, ".pip/pip.conf")
        yield user
    if site := variables.get("VIRTUAL_ENV"):
        yield os.path.join(site, "pip.conf")
    if own:
        yield own


def _uv_files(caller: Caller) -> Iterator[str]:
    """uv's own configuration outside of the project."""
    home = caller.variables.get("HOME") or os.path.expanduser("~")
    yield "/etc/uv/uv.toml"
    yield os.path.join(caller.variables.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "uv/uv.toml")
