"""Where a run takes place, what was taken for it, and who tells of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mlrun import pipelines
from mlrun.model import Narrator
from mlrun.value import draft, field, value

if TYPE_CHECKING:
    from mlrun.files import Cache, Home
    from mlrun.model import (
        Caller,
        Determinism,
        Environment,
        EnvironmentFacts,
        Finding,
        Project,
        RunRecord,
        RunRequest,
        Snapshot,
    )


class Teller(Narrator, Protocol):
    """Who tells a person how the run goes on: the rooms' events, and the runner's facts under a label."""

    def fact(self, label: str, text: str) -> None:
        """`source`, `wine  main 3f2a91c07`."""

    def warn(self, finding: Finding) -> None:
        """Something that a person should know and can live with."""

    def output_begins(self) -> None:
        """From here on the terminal is the program's."""

    def output_ends(self) -> None:
        """The program has ended."""

    def pause(self) -> None:
        """Others are about to write to the terminal: leave nothing there that they would write into."""

    def close(self) -> None:
        """Leave the terminal as it was."""


@value
class Stage:
    """Where a run takes place: who asks, the folders of ours, who tells, and where the output goes.

    `stdout` and `stderr` are file descriptors; `terminal` says whether they are one.
    """

    caller: Caller
    home: Home
    cache: Cache
    teller: Teller
    stdout: int = 1
    stderr: int = 2
    terminal: bool = False


@value
class Taken:
    """A source, pinned, and its project file understood: `run_id` names the run, and a checkout of ours."""

    run_id: str
    request: RunRequest
    snapshot: Snapshot
    project: Project

    @property
    def may_have_steps(self) -> bool:
        """Whether what is asked for could need other entry points: then it is `orchestration`'s affair."""
        return pipelines.may_be_one(self.project, self.request.entry_point)


@draft
class Common:
    """What steps have in common that are looked for and not run, learned by the first of them.

    `records` were opened for the source as it is now, by the variables that their entry points set; the rest
    is the environment's.
    """

    records: dict[object, RunRecord] = field(default_factory=dict)
    environment: Environment | None = None
    facts: EnvironmentFacts | None = None
    determinism: dict[object, Determinism] = field(default_factory=dict)
