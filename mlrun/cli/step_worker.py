"""What runs a step of a pipeline beside others: see `mlrun.orchestration.working`. No command for people."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Carry out the order that comes over standard input, which then is nobody's."""
    from mlrun.cli.boundary import attended

    return attended(_work)


def _work() -> int:
    from mlrun.cli.console import Console
    from mlrun.orchestration import working

    line = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    order = working.received(line)
    working.end_with(line)
    console = Console(order.caller.variables, quiet=order.quiet)
    try:
        working.carry_out(order, console)
    finally:
        console.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
