"""Would running a project again change anything: what is there now, held against its last good run.

A record is made up of what would be recorded if the same were asked again, and compared as two runs are.
Files that the program made, or that only say what the record knows by itself (an environment file, a README),
are no reason to run again; what they lead to is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlrun import data, difference, env, pipelines, recording, references, resolve, scene, source
from mlrun.difference import Item
from mlrun.difference.causes import words
from mlrun.errors import MlrunError
from mlrun.model import RunRequest
from mlrun.pipelines import graph
from mlrun.recording import Prepared
from mlrun.store import Query
from mlrun.store.names import new_id
from mlrun.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlrun.difference import Difference
    from mlrun.env import Plan
    from mlrun.model import Artifact, EnvironmentFacts, RunRecord, Snapshot
    from mlrun.pipelines.values import Link
    from mlrun.scene import Desk, Scene, Wanted

State = Literal["current", "stale", "unknown"]
_BUILT = "docker_env: build of "
_LOOKED_AT = 50  # runs of that name among which one from the same place is preferred
_KINDS = ("data", "code", "parameters", "packages", "python", "variables", "image", "command")
_ENVIRONMENT = ("packages", "python", "image")
_MANAGERS = {"system": "system", "conda": "conda", "docker": "docker"}


@value
class Cause:
    """One reason to run again; `kind` is that of a section of a difference, or `environment`."""

    kind: str
    name: str
    text: str


@value
class Status:
    """An entry point held against its last good run, `run` and `name`; None where there is none.

    `unknown` are sentences about what cannot be told.
    """

    entry_point: str
    run: str | None = None
    name: str | None = None
    started_at: str | None = None
    causes: tuple[Cause, ...] = ()
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        """Stale, where one thing is known to be; unknown, where nothing is but something cannot be told."""
        if self.causes:
            return "stale"
        return "unknown" if self.unknown or self.run is None else "current"


def status(
    wanted: Wanted,
    desk: Desk,
    *,
    entry_point: str | None,
    parameters: tuple[tuple[str, str], ...] = (),
) -> tuple[Status, ...]:
    """Look at an entry point and those that it needs, or at all of a project's (None). Raises MlrunError."""
    desk.home.prepare()
    run_id = new_id()
    found = scene.understand(wanted, desk, run_id=run_id)
    try:
        looking = _Looking(found=found, wanted=wanted, desk=desk, run_id=run_id)
        return tuple(looking.at(part) for part in _parts(found, desk, entry_point, parameters))
    finally:
        source.release(found.snapshot, cache=desk.cache)


@value
class _Part:
    """An entry point with what was given for it; `made` are the paths that it has from those it needs."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    made: frozenset[str] = frozenset()


def _parts(
    found: Scene, desk: Desk, entry_point: str | None, parameters: tuple[tuple[str, str], ...]
) -> tuple[_Part, ...]:
    """What is to be looked at, each after those that it needs; where that is not clear, what was named."""
    names = [each.name for each in found.project.entry_points]
    if entry_point is not None and not pipelines.may_be_one(found.project, entry_point):
        return (_Part(name=entry_point, parameters=parameters),)
    request = RunRequest(target=".", entry_point=entry_point or "main", parameters=parameters)
    try:
        every = graph.everything(found.project, request, files=_Here(found.snapshot, desk))
    except MlrunError:
        return tuple(_Part(name=name, parameters=parameters) for name in names if entry_point in (None, name))
    links = {name: its for name, its, _ in every}
    needed = set(names) if entry_point is None else _needed(entry_point, links)
    return tuple(
        _Part(
            name=name,
            parameters=parameters if isinstance(step, MlrunError) else step.request.parameters,
            made=frozenset(os.path.normpath(link.path) for link in its if link.path),
        )
        for name, its, step in every
        if name in needed
    )


def _needed(name: str, links: dict[str, tuple[Link, ...]]) -> set[str]:
    """An entry point and all that it needs, near and far."""
    found, ahead = set[str](), [name]
    while ahead:
        at = ahead.pop()
        if at not in found:
            found.add(at)
            ahead += [link.maker for link in links.get(at, ())]
    return found


@value
class _Looking:
    """One call of `status`."""

    found: Scene
    wanted: Wanted
    desk: Desk
    run_id: str

    def at(self, part: _Part) -> Status:
        """One entry point."""
        name = part.name
        last = self._last_good(name)
        if last is None:
            return Status(entry_point=name, unknown=("it has never run to a good end here",))
        known = Status(entry_point=name, run=last.id, name=last.name, started_at=last.started_at)
        request = self._request(last, part.parameters)
        files = _Here(self.found.snapshot, self.desk, made=part.made)
        try:
            spec = resolve.resolve(self.found.project, request, files=files)
        except MlrunError as error:
            cause = Cause(kind="command", name=name, text=f"it cannot run as it did: {error.message}")
            return replace(known, causes=(cause,))
        asked = self._asked(last)
        prepared = Prepared(
            run_id=self.run_id,
            request=request,
            snapshot=self.found.snapshot,
            project=self.found.project,
            spec=spec,
            asked=asked,
        )
        entered = self._environment(asked, last)
        now, missing = self._as_if_run(prepared, last, entered.facts, part.made)
        compared = difference.difference(
            last, now, store=self.desk.store, cache=self.desk.cache, caller=self.desk.caller
        )
        changed, unknown = entered.told(last, compared)
        return replace(
            known,
            causes=(*missing, *_causes(compared), *changed),
            unknown=(*_untold(compared), *unknown),
            notes=_notes(compared),
        )

    def _last_good(self, name: str) -> RunRecord | None:
        """The newest one that is from here, else the newest of that name."""
        store = self.desk.store
        rows = store.query(Query(project=self.found.name, statuses=("finished", "cached")))
        records = (
            store.load(row.id) for row in [row for row in rows if row.entry_point == name][:_LOOKED_AT]
        )
        newest = None
        for record in records:
            if "reproduces" in dict(record.parents) or record.steps:
                continue
            newest = newest or record
            if record.source is not None and _is_from(record, self.found.snapshot):
                return record
        return newest

    def _request(self, last: RunRecord, parameters: tuple[tuple[str, str], ...]) -> RunRequest:
        """What was asked then, with what is to be otherwise; defaults are those of now."""
        given = dict(parameters)
        for parameter in last.parameters:
            if parameter.origin in ("default", "logged") or parameter.name in given or parameter.secret:
                continue
            moved = parameter.kind == "path" and os.path.exists(parameter.text)
            given[parameter.name] = parameter.text if moved else parameter.value
        for parameter in last.parameters:  # its value is in no record, and what it is does not count
            if parameter.secret and parameter.origin != "default":
                given.setdefault(parameter.name, "***")
        return RunRequest(
            target=self.wanted.target,
            version=self.wanted.version,
            entry_point=last.entry_point,
            parameters=tuple(given.items()),
        )

    def _asked(self, last: RunRecord) -> env.Asked:
        """As the last run's kind of environment was chosen by hand, so it is now."""
        facts = last.environment
        kind = facts.kind if facts else None
        if self.wanted.env_manager or kind not in _MANAGERS or self.found.asked.kind == kind:
            return self.found.asked
        if facts and facts.asked.startswith("docker_env"):  # then it was the project that named an image
            return self.found.asked
        snapshot = self.found.snapshot
        return env.read(
            self.found.project.environment,
            snapshot.directory,
            manager=_MANAGERS[kind],
            root=snapshot.root,
            caller=self.desk.caller,
        )

    def _as_if_run(
        self,
        prepared: Prepared,
        last: RunRecord,
        environment: EnvironmentFacts | None,
        made: frozenset[str],
    ) -> tuple[RunRecord, tuple[Cause, ...]]:
        """The record that a run would have now, as far as it goes in; the rest is the last one's."""
        now = recording.open_record(prepared, name="now", caller=self.desk.caller, store=self.desk.store)
        declared = {name for name, text in now.env_vars if text is not None}
        declared |= {name for name, _ in prepared.spec.variables}
        kept = {name: text for name, text in last.env_vars if text is None or name in declared}
        variables = tuple((kept | {name: text for name, text in now.env_vars if name in declared}).items())
        reader = data.Reader(self.desk.cache, self.desk.teller)
        missing: tuple[Cause, ...] = ()
        try:
            inputs = _inputs(prepared, last, made, reader)
        except MlrunError as error:
            inputs = last.inputs
            missing = (Cause(kind="data", name="inputs", text=error.message),)
        seen = {item.path for item in inputs}
        again = (_again(item, prepared, reader) for item in last.inputs if item.path not in seen)
        return replace(
            now,
            status=last.status,
            exit_code=last.exit_code,
            environment=environment,
            env_vars=variables,
            inputs=(*inputs, *(item for item in again if item is not None)),
            outputs=last.outputs,
            metrics=last.metrics,
            parameters=(*now.parameters, *(it for it in last.parameters if it.origin == "logged")),
            host=last.host,
            observed=last.observed,
            determinism=last.determinism,
        ), missing

    # --- the environment

    def _environment(self, asked: env.Asked, last: RunRecord) -> _Entered:
        """The environment that would be entered, as far as can be told without resolving."""
        facts = last.environment
        if facts is None or facts.key is None:
            return _Entered(facts=facts, unknown=("the last run's record names no environment",))
        if asked.kind != facts.kind:
            changed = _environment_cause(f"{facts.kind} → {asked.kind}")
            return _Entered(facts=facts, causes=(changed,))
        snapshot = self.found.snapshot
        try:
            plan = env.plan(
                asked,
                directory=snapshot.directory,
                tree=snapshot.tree,
                cache=self.desk.cache,
                caller=self.desk.caller,
                day=_day(self.found.day, facts),
            )
        except MlrunError as error:
            return _Entered(facts=facts, unknown=(f"environment: {error.message}",))
        if plan.kind != facts.kind:
            changed = _environment_cause(f"{facts.kind} → {plan.kind}")
            return _Entered(facts=facts, causes=(changed,))
        if plan.key is not None:
            return _Entered(facts=_facts_of(plan, facts), plan=plan)
        python = plan.python if _is_another(plan, facts) else facts.python
        causes = _asked_otherwise(asked, facts, Path(snapshot.directory))
        return _Entered(facts=replace(facts, python=python), plan=plan, causes=causes)


@value
class _Entered:
    """What would be entered; `plan` is None where nothing more can be told."""

    facts: EnvironmentFacts | None
    plan: Plan | None = None
    causes: tuple[Cause, ...] = ()
    unknown: tuple[str, ...] = ()

    def told(self, last: RunRecord, compared: Difference) -> tuple[tuple[Cause, ...], tuple[str, ...]]:
        """What remains to be said where nothing that is known by name has changed."""
        facts, plan = last.environment, self.plan
        named = self.causes or any(compared.section(kind).different for kind in _ENVIRONMENT)
        if facts is None or plan is None or named:
            return self.causes, self.unknown
        if plan.key is not None:
            return (
                ((_environment_cause(_led_elsewhere(plan, facts)),), ())
                if plan.key != facts.key
                else ((), ())
            )
        if plan.kind == "system":
            return (), ()
        changed = [item.name for item in compared.section("project").different if _names_packages(item.name)]
        if changed or plan.summary != facts.asked:
            what = f"{', '.join(changed)} changed" if changed else f"{facts.asked} → {plan.summary}"
            how = "its image would be built" if facts.asked.startswith(_BUILT) else "it would be resolved"
            return (_environment_cause(f"{what}, so {how} anew"),), ()
        if facts.asked.startswith(_BUILT):
            return (), (
                "environment: its image would be built anew, as a file that goes into it has changed",
            )
        if facts.asked.startswith("docker_env"):
            return (), ("environment: its image is no longer here, and would be pulled anew",)
        return (), ("environment: it is no longer built, and would be resolved anew",)


def _day(now: env.Day, facts: EnvironmentFacts) -> env.Day:
    """As the last run's day was chosen by hand, so it is now."""
    by_hand = facts.as_of_why == "--as-of" or (facts.as_of is None) != (now.as_of is None)
    return env.Day(as_of=facts.as_of, why=facts.as_of_why or "now") if by_hand else now


def _facts_of(plan: Plan, facts: EnvironmentFacts) -> EnvironmentFacts:
    """The environment that would be reused, as a record would have it."""
    if plan.key == facts.key:
        return facts
    image = plan.image
    return replace(
        facts,
        key=plan.key,
        python=plan.python or facts.python,
        packages=plan.held if plan.held or plan.packages == 0 else facts.packages,
        image=image or facts.image,
        platform=image.platform if image else facts.platform,
    )


def _is_another(plan: Plan, facts: EnvironmentFacts) -> bool:
    """Whether another Python would be taken. One that was taken for want of a way with the first is none."""
    if not facts.python or not plan.python or plan.python.count(".") != facts.python.count("."):
        return False
    return plan.python != facts.python and not any(facts.python in text for text in facts.adaptations)


def _asked_otherwise(asked: env.Asked, facts: EnvironmentFacts, directory: Path) -> tuple[Cause, ...]:
    """What is asked in so many words and the last run did not have: `numpy==1.0.1`, a version in a lock."""
    items = [*_unmet(asked, facts), *_locked_otherwise(asked, facts, directory)]
    return tuple(Cause(kind="packages", name=item.name, text=words("packages", item)) for item in items)


def _unmet(asked: env.Asked, facts: EnvironmentFacts) -> Iterator[Item]:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    held = {canonicalize_name(package.name): package.version for package in facts.packages}
    for line in asked.requirements:
        try:
            wanted = Requirement(line.text)
        except InvalidRequirement:  # an option, a folder, or from before PEP 508
            continue
        version = held.get(canonicalize_name(wanted.name))
        if wanted.marker is not None or wanted.url or (version and wanted.specifier.contains(version, True)):
            continue
        text = str(wanted.specifier) or None
        change: Literal["changed", "added"] = "changed" if version else "added"
        yield Item(name=canonicalize_name(wanted.name), change=change, before=version, after=text)


def _locked_otherwise(asked: env.Asked, facts: EnvironmentFacts, directory: Path) -> Iterator[Item]:
    """By a lock (`pylock.toml`, `uv.lock`), which may hold several versions of a package and more."""
    import tomllib

    from packaging.utils import canonicalize_name

    if asked.lock is None:
        return
    try:
        content = tomllib.loads((directory / asked.lock).read_text("utf-8"))
        packages = [*content.get("packages", ()), *content.get("package", ())]
        versions: dict[str, list[str]] = {}
        for package in packages:
            versions.setdefault(canonicalize_name(package["name"]), []).append(
                str(package.get("version", ""))
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    for held in facts.packages:
        there = versions.get(canonicalize_name(held.name), [])
        if there and held.version not in there and "" not in there:
            yield Item(name=held.name, change="changed", before=held.version, after=" or ".join(there))


def _environment_cause(text: str) -> Cause:
    return Cause(kind="environment", name="environment", text=f"environment: {text}")


def _led_elsewhere(plan: Plan, facts: EnvironmentFacts) -> str:
    if facts.asked != plan.summary:
        return f"{facts.asked} → {plan.summary}"
    return f"{plan.summary} now leads to other packages"


def _names_packages(path: str) -> bool:
    return not path.lower().endswith((".md", ".rst", ".gitignore", ".gitattributes", "license"))


def _is_from(record: RunRecord, snapshot: Snapshot) -> bool:
    facts = record.source
    assert facts is not None
    if facts.subdirectory != snapshot.subdirectory:
        return False
    return facts.directory == str(snapshot.origin or snapshot.root) or bool(
        facts.kind == "git" and facts.url and facts.url == snapshot.url
    )


def _again(artifact: Artifact, prepared: Prepared, reader: data.Reader) -> Artifact | None:
    """An input that nobody declares, as it is now; None where it is gone. Of some files, those are asked."""
    path = Path(prepared.snapshot.directory, artifact.path)
    if artifact.digest is None or any(mark in artifact.path for mark in "*?["):
        return artifact
    if not path.exists():
        return None
    found = data.describe(
        path,
        shown=artifact.path,
        kind=artifact.kind,
        declared=artifact.declared,
        parameter=artifact.parameter,
        reader=reader,
        contents=False,
    )
    return found.artifact


def _inputs(
    prepared: Prepared, last: RunRecord, made: frozenset[str], reader: data.Reader
) -> tuple[Artifact, ...]:
    """The inputs as they are; what entry points before this one make and is not there, as it was.

    Whether that would be made otherwise is theirs to tell. Raises MlrunError.
    """
    try:
        return recording.inputs(prepared, reader)[0]
    except MlrunError:
        if not made:
            raise
    spec, directory = prepared.spec, prepared.snapshot.directory
    inputs = tuple(it for it in spec.inputs if os.path.normpath(it.path) not in made)
    parameters = tuple(
        it for it in spec.parameters if os.path.relpath(directory / it.text, directory) not in made
    )
    others = recording.inputs(
        replace(prepared, spec=replace(spec, inputs=inputs, parameters=parameters)), reader
    )
    there = {it.path for it in others[0]}
    return (*others[0], *(it for it in last.inputs if it.declared and it.path not in there))


def _causes(compared: Difference) -> tuple[Cause, ...]:
    return tuple(
        Cause(kind=kind, name=item.name, text=words(kind, item))
        for kind in _KINDS
        for item in compared.section(kind).different
        if item.because is None and not (kind == "parameters" and _is_secret(item.name, compared))
    )


def _is_secret(name: str, compared: Difference) -> bool:
    return any(it.name == name and it.secret for it in compared.before.parameters)


def _untold(compared: Difference) -> tuple[str, ...]:
    sections = [compared.section(kind) for kind in _KINDS]
    return tuple(section.missing for section in sections if section.missing)


def _notes(compared: Difference) -> tuple[str, ...]:
    return tuple(
        f"{item.name} {item.change}, which is no code" for item in compared.section("project").different
    )


class _Here:
    """A `Locator` that fetches nothing from a network: a URL is known by its name only.

    What other entry points make (`made`, relative to the project) is taken to be there.
    """

    def __init__(self, snapshot: Snapshot, desk: Desk, made: frozenset[str] = frozenset()) -> None:
        self._made = made
        self.project_directory = str(snapshot.directory)
        self.caller_directory = desk.caller.directory
        self._desk = desk

    def exists(self, path: str) -> bool:
        return os.path.exists(path) or os.path.relpath(path, self.project_directory) in self._made

    def download(self, url: str) -> str:
        if references.is_reference(url):
            return str(references.fetched(url, self._desk.store, self._desk.cache))
        return source.without_credentials(url)
