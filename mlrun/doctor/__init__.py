"""`mlrun doctor`: what this machine can do, and what a given project needs of it and lacks.

Each check is a function from what is known to a `Check`; those that wait (the network, an engine, slow tools)
wait side by side. Nothing is built, and no check ends in an error of its own.
"""

from __future__ import annotations

import sysconfig
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from mlrun.doctor import machine, needs
from mlrun.doctor.values import ALWAYS_NEEDED, Check, Diagnosis, State
from mlrun.errors import MlrunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlrun.scene import Desk, Wanted

__all__ = ["Check", "Diagnosis", "State", "examine"]


def examine(desk: Desk, *, wanted: Wanted | None, entry_point: str | None, offline: bool) -> Diagnosis:
    """Look at the machine, and at the project that is `wanted` if one is."""
    project = needs.examine(desk, wanted, entry_point=entry_point) if wanted else None
    needed = ALWAYS_NEEDED | (project.needed if project else frozenset())
    checks = [
        (code, check) for code, check in machine.CHECKS.items() if not (offline and code in machine.NETWORK)
    ]
    sysconfig.get_config_vars()  # uv asks for them, and their first making is not safe in threads
    with ThreadPoolExecutor(max_workers=len(checks)) as pool:
        found = list(pool.map(lambda pair: _looked(*pair, desk=desk, needed=pair[0] in needed), checks))
    if offline:
        found += [Check(code=code, state="skipped", text="--offline") for code in machine.NETWORK]
    return Diagnosis(machine=tuple(found), project=project)


def _looked(code: str, check: Callable[[Desk], Check], *, desk: Desk, needed: bool) -> Check:
    """A check's answer; what is not there is `lacking` where it is needed, else `absent`."""
    from mlrun.value import replace

    try:
        found = check(desk)
    except (MlrunError, OSError, ValueError) as error:
        found = Check(code=code, state="unknown", text=str(error))
    if found.state in ("absent", "unknown") and needed:
        return replace(found, state="lacking" if found.state == "absent" else "unknown", needed=True)
    return replace(found, needed=needed)
