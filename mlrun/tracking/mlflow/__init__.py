"""MLflow's client, unchanged: a tracking server for one run, inside mlrun, with nothing to start or set up.

Code that logs through MLflow, whatever its version, finds a server on loopback for as long as the run lasts.
The server is ours because a store that two versions of MLflow open breaks; HTTP between them does not.
What comes is on disk when the client hears that it has come, and `collect` reads it back.

`MLFLOW_RUN_ID` is not set for the program, unless its command names it: a script that chooses a store of its
own would look for that id there, and one that chooses an experiment would be told that the two do not agree.
Instead the first run that it starts (and that is no step of another) gets the run's own id.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mlrun.model import Environment
    from mlrun.tracking.mlflow.http import Server
    from mlrun.tracking.mlflow.values import Endpoint, Reported, RunIdentity

__all__ = ["collect", "logs_elsewhere", "named_ports", "serve", "wanted"]

_CLIENTS = {"mlflow", "mlflow-skinny", "mlflow-tracing"}
_ELSEWHERE = ("MLFLOW_TRACKING_URI", "DATABRICKS_RUNTIME_VERSION")


def logs_elsewhere(variables: Mapping[str, str]) -> bool:
    """Whether its user has named a server for it."""
    return any(variables.get(name) for name in _ELSEWHERE)


def wanted(environment: Environment, variables: Mapping[str, str]) -> bool:
    """Whether the program may log through MLflow, and its user has named no server for it.

    `variables` are those that the program will get. Where it is not known what an environment holds
    (a container, the caller's own), it may.
    """
    if logs_elsewhere(variables):
        return False
    names = {package.name.lower().replace("_", "-") for package in environment.packages}
    if not names:
        return environment.kind in ("docker", "system")
    return not names.isdisjoint(_CLIENTS)


@contextlib.contextmanager
def serve(
    folder: Path,
    *,
    run: RunIdentity,
    variables: Mapping[str, str],
    host: str = "127.0.0.1",
    also: tuple[int, ...] = (),
    shared: bool = True,
) -> Iterator[Endpoint]:
    """Answer MLflow's clients until the end of the `with`, and keep all that they say in `folder`.

    `variables` are the caller's: credentials in them serve as a key too, since a script may need them for
    a server of its own. `host` is the address to listen at, as the program can reach it; `also` are further
    ports of loopback, taken where they are free (for code that names one). With `shared` the program sees
    our folder, and writes its artifacts there itself; else they come through the endpoint.
    Raises OSError where there is no such address, or `folder` cannot be written.
    """
    from mlrun.tracking.mlflow import surroundings
    from mlrun.tracking.mlflow.calls import Service
    from mlrun.tracking.mlflow.experiments import row
    from mlrun.tracking.mlflow.http import Server
    from mlrun.tracking.mlflow.ledger import Folder, Ledger
    from mlrun.tracking.mlflow.routes import Access, Router
    from mlrun.tracking.mlflow.runs import before_it_begins
    from mlrun.tracking.mlflow.values import Endpoint

    place = Folder(folder)
    place.prepare()
    ledger = Ledger(place)
    # A path, not a URI: clients before 1.0 know no `file:`.
    base = str(place.artifacts.absolute()) if shared else "mlflow-artifacts:"
    service = Service(ledger, run, base)
    token = variables.get("MLFLOW_TRACKING_TOKEN") or os.urandom(24).hex()
    server = Server(Router(service, Access(token, surroundings.credentials(variables))))
    try:
        now = service.now()
        ledger.write("begin", now, row("0", "Default", location=base, now=now, tags={}))
        ledger.write("begin", now, before_it_begins(service, now))
        port = server.listen(host)
        further = tuple(each for each in also if _listens(server, each))
        server.start()
        yield Endpoint(
            variables=surroundings.settings(host, port, token, variables),
            unset=("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"),
            ports=(port, *further),
        )
    finally:
        server.close()
        ledger.close()


def collect(folder: Path) -> Reported:
    """What was reported to the endpoint of this folder, during the run or after it, however that ended.

    Raises OSError.
    """
    from mlrun.tracking.mlflow.collected import collect as collected

    return collected(folder)


def forget(folder: Path, *, trash: Path) -> None:
    """Remove what was collected and is kept elsewhere now: artifacts, and what was told word by word, which
    may hold passwords. The series of logged models stay."""
    from mlrun.files import remove_tree
    from mlrun.tracking.mlflow.ledger import Folder

    files = Folder(folder)
    remove_tree(files.artifacts, trash=trash)
    with contextlib.suppress(OSError):
        files.journal.unlink()


def named_ports(directory: Path) -> tuple[int, ...]:
    """Ports of loopback at which the files of a project expect a tracking server: what `serve` calls `also`.

    `mlflow.set_tracking_uri("http://localhost:5000")` is committed in many a project, and nothing listens
    there. None where the files start such a server themselves.
    """
    from mlrun.tracking.mlflow.surroundings import named_ports as named

    return named(directory)


def _listens(server: Server, port: int) -> bool:
    try:
        server.listen("127.0.0.1", port)
    except (OSError, OverflowError):
        return False
    return True
