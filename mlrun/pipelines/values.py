"""What a plan is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlrun.value import value

if TYPE_CHECKING:
    from mlrun.model import EntryPoint, RunRequest, RunSpec


@value
class Link:
    """One reason for which a step comes after another: a file, `path`, or its own word (None)."""

    maker: str
    path: str | None = None


@value
class Step:
    """An entry point that is to run: what was asked, as it concerns this one, and what that comes to."""

    entry_point: EntryPoint
    request: RunRequest
    spec: RunSpec
    links: tuple[Link, ...] = ()

    @property
    def name(self) -> str:
        return self.entry_point.name

    @property
    def needs(self) -> tuple[str, ...]:
        """The steps that must be over before."""
        return tuple(dict.fromkeys(link.maker for link in self.links))


@value
class Plan:
    """What has to run for an entry point: its steps, each after those that it needs, itself the last."""

    entry_point: str
    steps: tuple[Step, ...]

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)
