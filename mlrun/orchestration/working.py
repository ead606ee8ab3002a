"""A step in a process of its own: what the orchestrator sends, and what the worker does with it.

Both ends are this very mlrun, joined by a pipe that nobody else can write to; so the order is a pickle.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import sys
import threading
from typing import TYPE_CHECKING

from mlrun import runner
from mlrun.errors import MlrunError
from mlrun.orchestration.telling import StepTeller

if TYPE_CHECKING:
    from mlrun.orchestration.values import Order
    from mlrun.runner import Teller

_LENGTH = struct.Struct(">Q")
_MODULE = "mlrun.cli.step_worker"


def command() -> tuple[str, ...]:
    """How a worker is started: without what lies in the current directory before it on the search path."""
    return (sys.executable, "-P", "-m", _MODULE)


def written(order: Order) -> bytes:
    """An order as a worker reads it."""
    body = pickle.dumps(order)
    return _LENGTH.pack(len(body)) + body


def received(descriptor: int) -> Order:
    """The order that comes over a pipe. Raises MlrunError where it ends too soon: who sent it is gone."""
    (length,) = _LENGTH.unpack(_read(descriptor, _LENGTH.size))
    order: Order = pickle.loads(_read(descriptor, length))  # noqa: S301  written by `written`, see above
    return order


def _read(descriptor: int, size: int) -> bytes:
    found = b""
    while len(found) < size:
        chunk = os.read(descriptor, size - len(found))
        if not chunk:
            raise MlrunError("there is no order to carry out", code="no-order")
        found += chunk
    return found


def end_with(descriptor: int) -> None:
    """When this pipe ends, whoever sent us is gone, however that came: then so do we, and our program."""

    def watch() -> None:
        while os.read(descriptor, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def carry_out(order: Order, teller: Teller) -> None:
    """Run the step. Whatever comes of it is in its record. Raises MlrunError."""
    stage = runner.Stage(
        caller=order.caller, home=order.home, cache=order.cache, teller=StepTeller(teller, brief=True)
    )
    runner.step(order.prepared, stage)
