"""How the steps of a project stand: which would come from the cache, by the code that looks in a run."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal

from mlrun import caching, runner
from mlrun.errors import MlrunError, StoreError
from mlrun.orchestration.planning import everything, planned
from mlrun.orchestration.telling import Noted
from mlrun.recording import Prepared
from mlrun.scene import name_of
from mlrun.store import Query, Store
from mlrun.store.names import new_id
from mlrun.value import replace, value

if TYPE_CHECKING:
    from mlrun.model import Artifact
    from mlrun.pipelines.values import Link, Step
    from mlrun.runner import Stage, Taken

State = Literal["cached", "stale", "failed", "never run", "unknown"]
_CHANGED = "something that matters to it has changed: `mlrun status` says what"


@value
class Last:
    """A past run of a step."""

    run: str
    name: str
    status: str
    started_at: str


@value
class Standing:
    """A step as it stands: `why` it would run, if it would; `last` its last run, or the one in the cache."""

    name: str
    state: State
    links: tuple[Link, ...] = ()
    why: str | None = None
    last: Last | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(link.maker for link in self.links))


def standings(taken: Taken, stage: Stage, *, every: bool) -> tuple[Standing, ...]:
    """The steps of what is asked for, or `every` entry point of the project, each after those that it needs.

    Raises MlrunError where they cannot be put in order.
    """
    stage.home.prepare()
    if every:
        found = everything(taken, stage)
    else:
        found = tuple((step.name, step.links, step) for step in planned(taken, stage).steps)
    looking = _Looking(taken, stage, linked=frozenset(name for name, links, _ in found if links))
    return tuple(looking.at(name, links, step) for name, links, step in found)


class _Looking:
    """One look at all steps: what is learned of the source serves each."""

    def __init__(self, taken: Taken, stage: Stage, *, linked: frozenset[str]) -> None:
        self._taken = taken
        self._stage = replace(stage, teller=Noted())
        self._store = Store(stage.home, stage.teller)
        self._asked = runner.asked(taken, stage)
        self._site = caching.Site(taken.snapshot, self._store, caller=stage.caller, cache=stage.cache)
        self._states: dict[str, State] = {}
        self._made: list[Artifact] = []
        self._linked = linked
        self._common = runner.Common()
        self._name = taken.project.name or name_of(taken.snapshot)

    def at(self, name: str, links: tuple[Link, ...], step: Step | MlrunError) -> Standing:
        found = self._look(name, links, step)
        self._states[name] = found.state
        return found

    def _look(self, name: str, links: tuple[Link, ...], step: Step | MlrunError) -> Standing:
        if isinstance(step, MlrunError):
            return Standing(
                name=name, state="unknown", links=links, why=step.message, last=self._past.get(name)
            )
        prepared = self._prepared(step)
        last = self._past.get(name)
        makers = {link.maker: self._states.get(link.maker) for link in links}
        unmet = next((it for it, state in makers.items() if state not in ("cached", "unknown")), None)
        unsure = next((it for it, state in makers.items() if state == "unknown"), None)
        if unmet is not None:
            return self._uncached(name, links, f"`{unmet}` has to run", last)
        if not step.spec.cache:
            return self._uncached(name, links, "it is not to be cached", last)
        if unsure is not None:
            return self._unsure(name, links, f"it is not known whether `{unsure}` has to run", last)
        try:
            found = runner.look(prepared, self._stage, self._site, self._common, before=self._made)
        except MlrunError as error:
            return Standing(name=name, state="unknown", links=links, why=error.message, last=last)
        if isinstance(found, caching.Miss) and found.why == runner.NOT_AT_HAND:
            return self._unsure(name, links, found.why, last)
        if isinstance(found, caching.Miss):
            return self._uncached(name, links, found.why or _CHANGED, last)
        past = found.results
        self._made += [it for it in past.outputs if it.declared]
        made = Last(run=past.id, name=past.name, status="finished", started_at=past.started_at)
        note = "its outputs would be put back" if found.returns else None
        return Standing(name=name, state="cached", links=links, why=note, last=made)

    def _unsure(self, name: str, links: tuple[Link, ...], why: str, last: Last | None) -> Standing:
        """Where its last run was good, it may be spared yet."""
        if last is None or last.status != "finished":
            return self._uncached(name, links, why, last)
        return Standing(name=name, state="unknown", links=links, why=why, last=last)

    def _uncached(self, name: str, links: tuple[Link, ...], why: str, last: Last | None) -> Standing:
        if last is None:
            return Standing(name=name, state="never run", links=links)
        if last.status in ("failed", "killed", "lost"):
            return Standing(
                name=name, state="failed", links=links, why=f"its last run {last.status}", last=last
            )
        return Standing(name=name, state="stale", links=links, why=why, last=last)

    def _prepared(self, step: Step) -> Prepared:
        return Prepared(
            run_id=new_id(),
            request=step.request,
            snapshot=self._taken.snapshot,
            project=self._taken.project,
            spec=step.spec,
            asked=self._asked,
        )

    @cached_property
    def _past(self) -> dict[str, Last]:
        """The newest run of each entry point that was really made, and repeats none.

        One that needs others is run as a step; what bears its bare name is the record of a whole.
        """
        found: dict[str, Last] = {}
        for row in self._store.query(Query(project=self._name, limit=_LOOKED_AT)):
            name = row.entry_point
            is_step = row.name.endswith(f"/{name}")
            of_its_own = is_step or name not in self._linked
            if row.status != "cached" and name not in found and of_its_own and not self._repeats(row.id):
                found[name] = Last(run=row.id, name=row.name, status=row.status, started_at=row.started_at)
        return found

    def _repeats(self, run_id: str) -> bool:
        """Whether it was made to be compared with another, and says nothing of how things stand."""
        try:
            return "reproduces" in dict(self._store.load(run_id).parents)
        except StoreError:
            return True


_LOOKED_AT = 1000  # of the newest runs of a project
