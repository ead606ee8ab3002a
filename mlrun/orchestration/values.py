"""What a pipeline is asked besides what every run is, and what a worker is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.value import value

if TYPE_CHECKING:
    from mlrun.files import Cache, Home
    from mlrun.model import Caller, RunRecord
    from mlrun.recording import Prepared


@value
class Wishes:
    """`jobs` steps at once; with `keep_going` a failure stops only what depends on it; `quiet` as for a run.

    `resumes` is the record of the pipeline that this one goes on with; then `only` are the steps that may be
    taken from the cache, None for all.
    """

    jobs: int = 1
    keep_going: bool = False
    quiet: bool = False
    resumes: RunRecord | None = None
    only: frozenset[str] | None = None


@value
class Order:
    """A step for a worker to run."""

    prepared: Prepared
    caller: Caller
    home: Home
    cache: Cache
    quiet: bool = False
