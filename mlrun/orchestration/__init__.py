"""The story of a pipeline, above that of a run: its steps one after the other, or several at once.

    plan the steps → open the record of the whole → as long as a step can start: from the cache, or run it
      → close the record

Each step is a run like any other, with a record of its own that names the whole. With one job it runs here
and has the terminal; with more, each has a worker (`process.crew`). What the cache holds is looked up here in
either case: a pipeline in which nothing has changed costs one look at its source and one at its environment.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import caching, recording, runner, source
from mlrun.errors import MlrunError
from mlrun.observe import unobserved
from mlrun.orchestration import parent
from mlrun.orchestration.planning import planned
from mlrun.orchestration.resuming import changed, options
from mlrun.orchestration.telling import Noted, StepTeller, Story
from mlrun.orchestration.values import Order, Wishes
from mlrun.pipelines.schedule import Schedule
from mlrun.recording import Prepared
from mlrun.store import Store
from mlrun.store.names import new_id, new_name
from mlrun.value import replace
from mlrun.views import summary, words

if TYPE_CHECKING:
    from mlrun.model import RunRecord, StepState
    from mlrun.pipelines.values import Plan, Step
    from mlrun.process.crew import Crew
    from mlrun.runner import Stage, Taken

__all__ = ["Wishes", "run"]


def run(taken: Taken, stage: Stage, wishes: Wishes) -> RunRecord | None:
    """Run what an entry point needs, and itself, and return the record of the whole.

    None where it turns out to need nothing: then it is a run as any other, and the caller's to make. Raises
    MlrunError where nothing could be started.
    """
    stage = replace(stage, caller=unobserved(stage.caller))
    stage.home.prepare()
    going = None
    try:
        plan = planned(taken, stage)
        if len(plan.steps) == 1:
            return None
        going = _Run(taken, plan, stage, wishes)
        return going.carried_out()
    except BaseException:
        if going is None:
            source.release(taken.snapshot, cache=stage.cache)
        raise


class _Run:
    """One pipeline on its way."""

    def __init__(self, taken: Taken, plan: Plan, stage: Stage, wishes: Wishes) -> None:
        self._taken = taken
        self._plan = plan
        self._stage = replace(stage, teller=StepTeller(stage.teller))
        self._wishes = wishes
        self._store = Store(stage.home, stage.teller)
        self._name = taken.request.name or new_name()
        self._ids = {step.name: new_id() for step in plan.steps}
        self._schedule = Schedule(plan, wishes.keep_going)
        self._story = Story(stage.teller, self._schedule)
        self._records: dict[str, RunRecord] = {}
        self._unwritten: list[RunRecord] = []
        self._failures: dict[str, MlrunError] = {}
        self._asked = runner.asked(taken, stage)
        self._whole = parent.prepared(taken, plan, self._asked)
        self._snapshot = taken.snapshot
        self._site = caching.Site(taken.snapshot, self._store, caller=stage.caller, cache=stage.cache)
        self._common = runner.Common()
        self._is_fresh = True
        self._why: dict[str, str] = {}
        self._started = time.monotonic()
        self._interrupted_by: str | None = None

    def carried_out(self) -> RunRecord:
        """All that can be run, run; the record of the whole."""
        whole, store = self._whole, self._store
        for finding in whole.findings:
            self._stage.teller.warn(finding)
        self._stage.teller.fact("source", summary.source_line(whole.name, whole.snapshot))
        record = parent.opened(
            whole, self._plan, self._ids, name=self._name, caller=self._stage.caller, store=store
        )
        record = self._resumed(replace(record, options=options(whole.request, self._wishes)))
        with store.create(record):
            try:
                if self._wishes.jobs > 1:
                    self._side_by_side()
                else:
                    self._one_by_one()
                self._write_down()
            except KeyboardInterrupt as interruption:
                self._interrupted_by = self._interrupted_by or _signal_of(interruption)
                with contextlib.suppress(MlrunError):
                    self._write_down()
                store.save(self._closed(record))
                raise
            except BaseException as error:
                with contextlib.suppress(MlrunError):
                    self._write_down()
                store.save(recording.break_off(record, error))
                raise
            record = self._closed(record)
            store.save(record)
        return record

    def _resumed(self, record: RunRecord) -> RunRecord:
        """With the pipeline that it goes on with; what has changed since is told."""
        before = self._wishes.resumes
        if before is None:
            return record
        from mlrun.process import leftovers

        for step in before.steps:
            if step.state == "lost" and (count := leftovers.end(step.run)):
                said = f"what still ran of `{step.name}` was ended: {words.plural(count, 'program')}"
                self._stage.teller.fact("resuming", said)
        told = changed(before.source, record.source, self._plan, self._stage)
        if told is not None:
            self._stage.teller.fact("resuming", told)
        return replace(record, parents=(*record.parents, ("resumes", before.id)))

    # --- one after the other --------------------------------------------------------------------------

    def _one_by_one(self) -> None:
        while not self._is_late() and (name := self._schedule.next()) is not None:
            step = self._plan.step(name)
            if self._from_cache(step):
                continue
            self._begin(step)
            try:
                record = runner.step(self._prepared(step, looked=True), self._stage)
            except MlrunError as error:
                self._ended_badly(step, error)
            else:
                self._end(step, record)

    def _begin(self, step: Step) -> None:
        self._write_down()
        self._schedule.begun(step.name)
        self._story.begins(step.name)
        if why := self._why.get(step.name):
            self._stage.teller.fact("why", why)

    # --- several at once ------------------------------------------------------------------------------

    def _side_by_side(self) -> None:
        from mlrun.process.crew import Crew

        width = max(len(step.name) for step in self._plan.steps)
        stage, schedule = self._stage, self._schedule
        with Crew(stage.stdout, stage.stderr, width=width, clear=stage.teller.pause) as crew:
            while True:
                while crew.count < self._wishes.jobs and not self._is_late():
                    crew.check()
                    self._heed(crew)
                    if (name := schedule.next()) is None:
                        break
                    self._start(self._plan.step(name), crew)
                if crew.count:  # else nobody waits, and there may be more of them
                    self._write_down()
                ended = crew.wait(self._goes_on)
                for name in ended:
                    self._take_in(self._plan.step(name))
                self._heed(crew)
                if not ended:
                    break

    def _heed(self, crew: Crew) -> None:
        if crew.interrupted_by and not self._interrupted_by:
            self._interrupted_by = crew.interrupted_by
            self._schedule.halt()

    def _goes_on(self) -> None:
        if self._stage.terminal:
            self._story.goes_on()

    def _start(self, step: Step, crew: Crew) -> None:
        if self._from_cache(step):
            return
        from mlrun.orchestration import working

        self._begin(step)
        stage = self._stage
        order = Order(
            prepared=self._prepared(step, looked=True),
            caller=stage.caller,
            home=stage.home,
            cache=stage.cache,
            quiet=self._wishes.quiet,
        )
        crew.start(
            step.name,
            working.command(),
            working.written(order),
            variables=stage.caller.variables,
            cwd=Path(stage.caller.directory),
        )

    def _take_in(self, step: Step) -> None:
        """A step has ended in another process, or was broken off: what its record says counts."""
        if not self._store.has(self._ids[step.name]):
            self._ended_badly(
                step, MlrunError(f"step `{step.name}` ended without a record", code="no-record")
            )
            return
        self._end(step, self._store.load(self._ids[step.name]))

    # --- each step ------------------------------------------------------------------------------------

    def _from_cache(self, step: Step) -> bool:
        """Whether the step need not be run; then it has a record that says so."""
        if not step.spec.cache or (self._wishes.only is not None and step.name not in self._wishes.only):
            return False
        told = Noted()
        prepared = self._prepared(step)
        record = runner.spared(prepared, replace(self._stage, teller=told), self._site, self._common)
        if record is None:
            self._why[step.name] = told.why
            return False
        self._records[step.name] = record
        self._unwritten.append(record)
        self._schedule.ended(step.name, "cached")
        for finding in told.findings:
            self._stage.teller.warn(finding)
        self._story.ended(step.name, "cached", None, "")
        return True

    def _write_down(self) -> None:
        """Keep the records of steps from the cache: all at once, before something is run, and at the end."""
        self._store.add_together(self._unwritten, pipeline=self._whole.run_id)
        self._unwritten = []  # only now: whoever breaks us off tries again, and twice does no harm

    def _prepared(self, step: Step, *, looked: bool = False) -> Prepared:
        """The step with the source as it is now: those before it have written there, and so may the user.

        One that was `looked` for in the cache is not looked for again, unless the environment had to be
        built first.
        """
        self._renew()
        request, spec = replace(step.request, name=f"{self._name}/{step.name}"), step.spec
        again = self._common.environment is None and self._wishes.only is None
        if looked and spec.cache and not again:
            request, spec = replace(request, cache=False), replace(spec, cache=False)
        return Prepared(
            run_id=self._ids[step.name],
            request=request,
            snapshot=self._snapshot,
            project=self._taken.project,
            spec=replace(spec, timeout=self._timeout(step)),
            asked=self._asked,
            pipeline=self._taken.run_id,
        )

    def _renew(self) -> None:
        if not self._is_fresh:
            self._snapshot = source.look_again(
                self._taken.snapshot, caller=self._stage.caller, cache=self._stage.cache
            )
            self._site = self._site.renewed(self._snapshot)
            self._common = runner.Common()
            self._is_fresh = True

    def _end(self, step: Step, record: RunRecord) -> None:
        self._is_fresh = False
        self._records[step.name] = record
        state: StepState = "lost" if record.status == "running" else record.status
        self._schedule.ended(step.name, state)
        detail = f"exit code {record.exit_code}" if record.exit_code else ""
        if record.error and record.status != "finished":
            detail = record.error.message
            if record.error.code == "interrupted":
                self._interrupted_by = self._interrupted_by or record.signal or "SIGINT"
                self._schedule.halt()
        self._story.ended(step.name, state, record.duration_s, detail)
        ended_well = state in ("finished", "cached")
        if not ended_well and (running := self._schedule.running()) and not self._interrupted_by:
            self._stage.teller.say(f"still running, to be waited for: {', '.join(running)}")

    def _ended_badly(self, step: Step, error: MlrunError) -> None:
        """mlrun could not do its part for the step."""
        self._is_fresh = False
        self._failures[step.name] = error
        self._schedule.ended(step.name, "failed")
        self._stage.teller.fact("error", str(error))
        if error.hint:
            self._stage.teller.fact("hint", error.hint)
        self._story.ended(step.name, "failed", None, "")

    # --- time -----------------------------------------------------------------------------------------

    def _left(self) -> float | None:
        """Seconds that are left of what the whole was given."""
        limit = self._taken.request.timeout
        return None if limit is None else limit - (time.monotonic() - self._started)

    def _is_late(self) -> bool:
        left = self._left()
        return left is not None and left <= 0

    def _timeout(self, step: Step) -> float | None:
        limits = [limit for limit in (step.spec.timeout, self._left()) if limit is not None]
        return max(0.001, min(limits)) if limits else None

    # --- the end --------------------------------------------------------------------------------------

    def _closed(self, record: RunRecord) -> RunRecord:
        for name in self._schedule.running():  # broken off with us
            self._take_in(self._plan.step(name))
        self._schedule.close()
        self._story.flush()
        record = parent.closed(
            record,
            self._schedule,
            self._records,
            failures=self._failures,
            seconds=time.monotonic() - self._started,
            interrupted_by=self._interrupted_by,
            timed_out=self._is_late(),
        )
        return self._released(record)

    def _released(self, record: RunRecord) -> RunRecord:
        """A checkout of ours goes, unless something would be lost with it."""
        snapshot = self._taken.snapshot
        if not snapshot.temporary:
            return record
        kept = {it.path for each in self._records.values() for it in each.outputs if it.stored}
        prefix = f"{snapshot.subdirectory}/" if snapshot.subdirectory else ""
        kept = {f"{prefix}{path}" for path in kept}
        whole, caller = self._whole, self._stage.caller
        if not recording.left_behind(whole, kept, caller=caller):
            source.release(snapshot, cache=self._stage.cache)
            return record
        notes = recording.notes_on_checkout(whole, kept, caller)
        for finding in notes:
            self._stage.teller.warn(finding)
        return recording.with_warnings(record, notes)


def _signal_of(error: BaseException) -> str | None:
    if not isinstance(error, KeyboardInterrupt):
        return None
    import signal

    number = getattr(error, "number", signal.SIGINT)
    return signal.Signals(number).name
