"""The options of `docker run` that `--docker-args` takes, as arguments of the docker SDK.

Names and meanings: https://docs.docker.com/reference/cli/docker/container/run/
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlrun.env.containers import volumes
from mlrun.errors import UsageError
from mlrun.yamlfile import closest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlrun.model import Caller

Settings = dict[str, Any]
"""Arguments of `DockerClient.containers.create`; all of it can be written as JSON."""

_SHORT = {
    "v": "volume", "e": "env", "u": "user", "w": "workdir", "m": "memory", "c": "cpu-shares", "p": "publish",
    "P": "publish-all", "h": "hostname", "l": "label", "t": "tty", "i": "interactive", "d": "detach",
    "net": "network",
}  # fmt: skip
_OURS = {
    "name": "mlrun names its containers after the run",
    "detach": "mlrun waits for its runs",
    "restart": "a run runs once",
    "cidfile": "the container's name is `mlrun-` and the run's id",
    "pull": "`--refresh-env` pulls an image anew",
}
_NEEDLESS = frozenset({"rm", "tty", "interactive", "init"})
"""What is done anyway: the container is removed, and has a terminal where mlrun has one."""


def apply(
    arguments: tuple[tuple[str, str | None], ...], settings: Settings, *, directory: Path, caller: Caller
) -> None:
    """Put the options of `docker run` over what was decided so far.

    Raises UsageError, EnvironmentBuildError.
    """
    for given, text in arguments:
        name = _SHORT.get(given, given)
        if name in _OURS:
            raise UsageError(f"`--docker-args {given}` is refused: {_OURS[name]}", code="bad-docker-option")
        if name in _NEEDLESS:
            continue
        if name == "volume":
            settings["mounts"].append(
                volumes.read(_must(name, text), directory=directory, caller=caller).as_mount()
            )
        elif name == "env":
            variable, equals, its_text = _must(name, text).partition("=")
            settings["environment"][variable] = its_text if equals else _of_caller(variable, caller)
        elif name == "env-file":
            settings["environment"].update(_env_file(_must(name, text), caller))
        elif name in _OPTIONS:
            key, convert = _OPTIONS[name]
            _put(settings, key, _converted(name, convert, text))
        else:
            raise _unknown(given)


def _put(settings: Settings, key: str, converted: object) -> None:
    """Options that may be given again add up."""
    before = settings.get(key)
    if isinstance(converted, list) and key not in ("entrypoint", "device_requests"):
        settings[key] = [*(before or []), *converted]
    elif isinstance(converted, dict):
        settings[key] = {**(before or {}), **converted}
    else:
        settings[key] = converted


def _converted(name: str, convert: Callable[[str], object], text: str | None) -> object:
    if convert is _flag:
        return _flag("true" if text is None else text)
    try:
        return convert(_must(name, text))
    except ValueError as error:
        raise UsageError(
            f"`--docker-args {name}={text}`: {error}",
            hint="it is read as `docker run` reads it",
            code="bad-docker-option",
        ) from None


def _must(name: str, text: str | None) -> str:
    if not text and name != "entrypoint":
        raise UsageError(
            f"`--docker-args {name}` needs a value", hint=f"`-A {name}=VALUE`", code="bad-docker-option"
        )
    return text or ""


def _unknown(given: str) -> UsageError:
    known = sorted({*_OPTIONS, "volume", "env", "env-file"})
    near = closest(given, known)
    return UsageError(
        f"`--docker-args {given}` is not known; known are: {', '.join(known)}",
        hint=f"did you mean `{near}`?" if near else None,
        code="bad-docker-option",
    )


def _of_caller(variable: str, caller: Caller) -> str:
    if variable not in caller.variables:
        raise UsageError(
            f"`--docker-args env={variable}`: the variable is not set here",
            hint=f"`-A env={variable}=VALUE`",
            code="unset-variable",
        )
    return caller.variables[variable]


def _env_file(path: str, caller: Caller) -> dict[str, str]:
    """`NAME=value` or `NAME` a line, taken as they are; `#` begins a comment."""
    try:
        lines = Path(caller.directory, path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", code="bad-docker-option") from error
    found = {}
    for line in lines:
        name, equals, text = line.lstrip().partition("=")
        if name and not name.startswith("#") and (equals or name in caller.variables):
            found[name] = text if equals else caller.variables[name]
    return found


# --- converters: text as `docker run` has it → what the SDK takes. They raise ValueError. ---------------


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise UsageError(f"`{text}` is neither `true` nor `false`", code="bad-docker-option")
    return text.lower() in ("true", "1")


def _one(text: str) -> list[str]:
    return [text]


def _words(text: str) -> list[str]:
    """An empty one takes the image's own away."""
    return shlex.split(text) or [""]


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("expected a whole number") from None


def _size(text: str) -> int:
    """Docker's own: `512m` is 512 × 2^20."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)i?b?", text.strip().lower())
    if match is None:
        raise ValueError("expected a size such as 512m or 2g")
    return int(float(match[1]) * 1024 ** "bkmgt".index(match[2] or "b"))


def _size_or_unlimited(text: str) -> int:
    return -1 if text.strip() == "-1" else _size(text)


def _cpus(text: str) -> int:
    try:
        return round(float(text) * 1_000_000_000)
    except ValueError:
        raise ValueError("expected a number of cores") from None


def gpus(text: str) -> list[dict[str, Any]]:
    """`all`, a number, `device=0,1`: what the engine calls a device request."""
    text = text.strip("\"'")
    request: dict[str, Any] = {"Driver": "", "Count": 0, "DeviceIDs": [], "Options": {}}
    request["Capabilities"] = [["gpu"]]
    if text.startswith("device="):
        return [request | {"DeviceIDs": text.removeprefix("device=").strip("\"'").split(",")}]
    if text == "all":
        return [request | {"Count": -1}]
    if not text.isdigit():
        raise ValueError("expected `all`, a number, or `device=0,1`")
    return [request | {"Count": int(text)}] if int(text) else []


def _ulimit(text: str) -> list[dict[str, Any]]:
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    try:
        return [{"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}]
    except ValueError:
        raise ValueError("expected NAME=SOFT[:HARD]") from None


def _pair(separators: str) -> Callable[[str], dict[str, str]]:
    def convert(text: str) -> dict[str, str]:
        match = re.fullmatch(rf"([^{separators}]+)[{separators}](.*)", text, re.DOTALL)
        if match is None:
            raise ValueError(f"expected NAME{separators[0]}VALUE")
        return {match[1]: match[2]}

    return convert


def _label(text: str) -> dict[str, str]:
    name, _, its_text = text.partition("=")
    return {name: its_text}


def _port(text: str) -> dict[str, Any]:
    """`[[address:]port:]port[/protocol]`"""
    *outside, inside = text.split(":")
    number, _, protocol = inside.partition("/")
    if not number.isdigit() or len(outside) > 2 or not all(part.isdigit() for part in outside[-1:] if part):
        raise ValueError("expected [[ADDRESS:]PORT:]PORT[/PROTOCOL]")
    port: Any = int(outside[-1]) if outside and outside[-1] else None
    return {f"{number}/{protocol or 'tcp'}": [outside[0], port] if len(outside) == 2 else port}


def _tmpfs(text: str) -> dict[str, str]:
    path, _, options = text.partition(":")
    return {path: options}


def _mount(text: str) -> list[dict[str, Any]]:
    """`type=bind,source=/here,target=/there,readonly`"""
    words = dict(word.partition("=")[::2] for word in text.split(","))
    target = words.get("target") or words.get("destination") or words.get("dst")
    if not target:
        raise ValueError("expected type=bind,source=/here,target=/there")
    protected = any(words.get(name, "false") in ("", "true", "1") for name in ("readonly", "ro"))
    kind = words.get("type") or "volume"
    source = words.get("source") or words.get("src")
    return [{"Type": kind, "Source": source, "Target": os.path.normpath(target), "ReadOnly": protected}]


_OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "add-host": ("extra_hosts", _pair(":=")),
    "cap-add": ("cap_add", _one),
    "cap-drop": ("cap_drop", _one),
    "cgroup-parent": ("cgroup_parent", str),
    "cgroupns": ("cgroupns", str),
    "cpu-period": ("cpu_period", _whole),
    "cpu-quota": ("cpu_quota", _whole),
    "cpu-shares": ("cpu_shares", _whole),
    "cpus": ("nano_cpus", _cpus),
    "cpuset-cpus": ("cpuset_cpus", str),
    "cpuset-mems": ("cpuset_mems", str),
    "device": ("devices", _one),
    "dns": ("dns", _one),
    "dns-option": ("dns_opt", _one),
    "dns-search": ("dns_search", _one),
    "domainname": ("domainname", str),
    "entrypoint": ("entrypoint", _words),
    "gpus": ("device_requests", gpus),
    "group-add": ("group_add", _one),
    "hostname": ("hostname", str),
    "ipc": ("ipc_mode", str),
    "label": ("labels", _label),
    "memory": ("mem_limit", _size),
    "memory-reservation": ("mem_reservation", _size),
    "memory-swap": ("memswap_limit", _size_or_unlimited),
    "mount": ("mounts", _mount),
    "network": ("network_mode", str),
    "oom-kill-disable": ("oom_kill_disable", _flag),
    "oom-score-adj": ("oom_score_adj", _whole),
    "pid": ("pid_mode", str),
    "pids-limit": ("pids_limit", _whole),
    "platform": ("platform", str),
    "privileged": ("privileged", _flag),
    "publish": ("ports", _port),
    "publish-all": ("publish_all_ports", _flag),
    "read-only": ("read_only", _flag),
    "runtime": ("runtime", str),
    "security-opt": ("security_opt", _one),
    "shm-size": ("shm_size", _size),
    "stop-signal": ("stop_signal", str),
    "sysctl": ("sysctls", _pair("=")),
    "tmpfs": ("tmpfs", _tmpfs),
    "ulimit": ("ulimits", _ulimit),
    "user": ("user", str),
    "userns": ("userns_mode", str),
    "uts": ("uts_mode", str),
    "workdir": ("working_dir", str),
}
