"""The engine: where it is, how to reach it, and what its refusals mean.

The address is looked for as the docker program does: `DOCKER_HOST`, then the context that `DOCKER_CONTEXT` or
`config.json` names (https://docs.docker.com/engine/manage-resources/contexts/), then the usual sockets.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlrun.errors import EnvironmentBuildError
from mlrun.value import value

if TYPE_CHECKING:
    from mlrun.model import Caller

PATIENCE = 900
"""Seconds that the engine may take for one answer: a commit of many gigabytes is slow."""

_PATIENCE_TO_CONNECT = 20


@value
class Address:
    """Where an engine listens. `tls` holds paths of `ca`, `cert`, `key`; `verify` whether to check it."""

    url: str
    tls: tuple[tuple[str, str], ...] = ()
    secure: bool = False
    verify: bool = True

    @property
    def is_local(self) -> bool:
        """Whether the engine sees our files."""
        return self.url.startswith("unix://")

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {"tls": dict(self.tls)}

    @staticmethod
    def from_json(values: dict[str, Any]) -> Address:
        return Address(**(values | {"tls": tuple(values["tls"].items())}))


# --- where ----------------------------------------------------------------------------------------------


def address(caller: Caller) -> Address:
    """The engine that the caller's `docker` would talk to; without one, Podman's, where that listens.

    Raises EnvironmentBuildError (`no-engine`) for a context that does not exist.
    """
    variables = caller.variables
    if host := variables.get("DOCKER_HOST"):
        return _from_variables(host, caller)
    folder = Path(variables.get("DOCKER_CONFIG") or os.path.join(_home(caller), ".docker"))
    context = variables.get("DOCKER_CONTEXT") or _read_json(folder / "config.json").get("currentContext")
    if context and context != "default":
        return _from_context(str(context), folder)
    sockets = _usual_sockets(caller)
    return Address(url=f"unix://{next((path for path in sockets if _is_socket(path)), sockets[0])}")


def _from_variables(host: str, caller: Caller) -> Address:
    """`DOCKER_TLS_VERIFY` counts when it is set to anything but nothing, as in the docker program."""
    verify = bool(caller.variables.get("DOCKER_TLS_VERIFY"))
    certificates = caller.variables.get("DOCKER_CERT_PATH")
    if not verify and not certificates:
        return Address(url=host)
    folder = Path(certificates or os.path.join(_home(caller), ".docker"))
    return Address(url=host, tls=_certificates(folder), secure=True, verify=verify)


def _from_context(name: str, folder: Path) -> Address:
    inside = hashlib.sha256(name.encode()).hexdigest()
    meta = _read_json(folder / "contexts/meta" / inside / "meta.json")
    endpoint = meta.get("Endpoints", {}).get("docker", {})
    if not endpoint.get("Host"):
        raise EnvironmentBuildError(
            f"the docker context `{name}` does not exist in {folder}",
            hint="`docker context ls` lists them; `docker context use default` goes back",
            code="no-engine",
        )
    tls = _certificates(folder / "contexts/tls" / inside / "docker")
    return Address(
        url=endpoint["Host"], tls=tls, secure=bool(tls), verify=not endpoint.get("SkipTLSVerify", False)
    )


def _certificates(folder: Path) -> tuple[tuple[str, str], ...]:
    files = ((name, folder / f"{name}.pem") for name in ("ca", "cert", "key"))
    return tuple((name, str(file)) for name, file in files if file.exists())


def _usual_sockets(caller: Caller) -> list[str]:
    """Docker's, rootless Docker's, Docker Desktop's, Podman's."""
    runtime = caller.variables.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    home = _home(caller)
    return [
        "/var/run/docker.sock",
        f"{runtime}/docker.sock",
        f"{home}/.docker/run/docker.sock",
        f"{runtime}/podman/podman.sock",
        "/run/podman/podman.sock",
    ]


def _home(caller: Caller) -> str:
    return caller.variables.get("HOME") or os.path.expanduser("~")


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


# --- connecting -----------------------------------------------------------------------------------------


def connect(where: Address) -> Any:
    """A client of the docker SDK (`docker.DockerClient`). Raises EnvironmentBuildError."""
    if where.is_local:
        _knock(where)
    import docker
    from docker.errors import DockerException
    from docker.tls import TLSConfig

    try:
        tls = False
        if where.secure:
            files = dict(where.tls)
            pair = (files["cert"], files["key"]) if {"cert", "key"} <= files.keys() else None
            tls = TLSConfig(client_cert=pair, ca_cert=files.get("ca"), verify=where.verify)
        client = docker.DockerClient(
            base_url=where.url,
            tls=tls,
            timeout=_PATIENCE_TO_CONNECT,
            use_ssh_client=where.url.startswith("ssh://"),
        )
    except (DockerException, OSError, ValueError) as error:
        raise _unreachable(where, error) from error
    client.api.timeout = PATIENCE
    return client


def _knock(where: Address) -> None:
    """Whether anybody is there is told before the SDK is imported, which leaves its socket open if not."""
    import socket

    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PATIENCE_TO_CONNECT)
        try:
            probe.connect(where.url.removeprefix("unix://"))
        except OSError as error:
            raise _unreachable(where, error) from error


def _unreachable(where: Address, error: Exception) -> EnvironmentBuildError:
    reason = str(error)
    path = where.url.removeprefix("unix://")
    if "Permission denied" in reason:
        if "podman" in path:
            hint = "start your own: `systemctl --user start podman.socket`, and unset DOCKER_HOST"
        else:
            hint = "`sudo usermod -aG docker $USER` and log in again, or use rootless Docker or Podman"
        return EnvironmentBuildError(
            f"you may not use the container engine at {path}: permission denied",
            hint=hint,
            code="engine-permission",
        )
    if where.is_local and not os.path.exists(path):
        return EnvironmentBuildError(
            f"no container engine is running here: there is no {path}",
            hint=_how_to_start(),
            code="no-engine",
        )
    return EnvironmentBuildError(
        f"the container engine at {where.url} does not answer: {_root_of(reason)}",
        hint="is it running? DOCKER_HOST and `docker context` decide which one is asked",
        code="no-engine",
    )


def _how_to_start() -> str:
    if sys.platform == "darwin":
        return "start Docker Desktop, or `podman machine start` and set DOCKER_HOST"
    return "start Docker (`sudo systemctl start docker`) or Podman (`systemctl --user start podman.socket`)"


def _root_of(reason: str) -> str:
    """The innermost reason of the many that `requests` wraps into one another."""
    found = re.findall(r"\[Errno -?\d+\] ([^'\")]+)|(Name or service not known|timed out)", reason)
    return next((text for pair in reversed(found) for text in pair if text), reason.partition("\n")[0])


# --- complaints -----------------------------------------------------------------------------------------


def said(error: Exception) -> str:
    """What the engine said, without the address that the SDK puts before it."""
    explanation = getattr(error, "explanation", None)
    if isinstance(explanation, bytes):
        explanation = explanation.decode("utf-8", "replace")
    return str(explanation or error).strip()


def status_of(error: Exception) -> int | None:
    """The HTTP status of the engine's answer, if it gave one."""
    status = getattr(error, "status_code", None)
    return int(status) if status is not None else None


_REFUSALS: tuple[tuple[str, str, str, str | None], ...] = (
    (
        r"container-init binary not found|docker-init\W.*(?:not found|no such file)",
        "no-init",
        "the container engine lacks its init program",
        "install `tini` (Docker) or `catatonit` (Podman)",
    ),
    (
        r"could not select device driver|nvidia-container|no known GPU vendor|unresolvable CDI devices?",
        "no-gpu-driver",
        "the container engine has no driver for GPUs",
        "install the NVIDIA container toolkit on this machine, or ask for no GPUs",
    ),
    (
        r'exec: "(?:sh|/bin/sh)": (?:executable file not found|stat .*no such file)|executable file `sh`',
        "no-shell",
        "the image holds no shell (`sh`), which runs the command",
        "take an image with one: those called `distroless` or `scratch` have none",
    ),
    (
        r"exec format error|does not match the (?:detected host|specified) platform",
        "wrong-platform",
        "the image is made for another kind of machine",
        "take an image for this platform, or set one: `-A platform=linux/amd64`",
    ),
    (
        r"bind source path does not exist|error while creating mount source path|statfs .*: no such file",
        "mount-failed",
        "the container engine does not see a folder that is to be mounted",
        "is it on another machine (DOCKER_HOST)? `--build-image` copies the project instead of mounting it",
    ),
    (
        r"error setting rlimit",
        "bad-limits",
        "the engine's own limits are above this machine's",
        "set them lower: `-A ulimit=nofile=1024:1024 -A ulimit=nproc=1024:1024`",
    ),
    (r"port is already allocated|address already in use", "port-taken", "a port is taken already", None),
    (r"network .* not found", "no-network", "there is no such network", "`docker network ls` lists them"),
    (r"no space left on device", "disk-full", "the container engine's disk is full", "`docker system prune`"),
)


def refused(error: Exception, doing: str) -> EnvironmentBuildError:
    """The error that the engine's answer amounts to; `doing` completes "cannot …"."""
    text = said(error)
    for pattern, code, message, hint in _REFUSALS:
        if re.search(pattern, text, re.IGNORECASE):
            return EnvironmentBuildError(f"cannot {doing}: {message}", hint=hint, code=code, details=(text,))
    if status_of(error) is None:
        return EnvironmentBuildError(
            f"cannot {doing}: the container engine no longer answers: {_root_of(text)}", code="engine-lost"
        )
    first, _, rest = text.partition("\n")
    return EnvironmentBuildError(
        f"cannot {doing}: {first}", code="engine-refused", details=tuple(rest.splitlines()[:20])
    )
