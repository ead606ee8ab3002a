"""At which address of this machine a container can reach us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlrun.env.containers import engine
from mlrun.errors import EnvironmentBuildError

if TYPE_CHECKING:
    from mlrun.model import Caller

_LOOPBACK = "127.0.0.1"


def address_for(caller: Caller, arguments: tuple[tuple[str, str | None], ...]) -> str | None:
    """The gateway of the container's network; None where it has none, or the engine is another machine."""
    where = engine.address(caller)
    if not where.is_local:
        return None
    named = dict(arguments)
    network = named.get("network") or named.get("net") or "bridge"
    if network == "host":
        return _LOOPBACK
    try:
        return _gateway(engine.connect(where), network)
    except EnvironmentBuildError:
        return None


def _gateway(client: Any, network: str) -> str | None:
    import docker.errors

    try:
        found = client.networks.list(names=[network])
    except docker.errors.APIError:
        return None
    configs = [
        config
        for each in found
        if each.name == network
        for config in (each.attrs.get("IPAM") or {}).get("Config") or ()
    ]
    for config in configs:
        if gateway := config.get("Gateway") or _first_address(config.get("Subnet")):
            return gateway
    return None


def _first_address(subnet: str | None) -> str | None:
    """What an engine takes as gateway where nobody has named one."""
    from ipaddress import ip_network

    return str(ip_network(subnet)[1]) if subnet else None
