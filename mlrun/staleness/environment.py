"""The environment that would be entered, as far as that can be told without resolving anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlrun import env
from mlrun.difference import Item
from mlrun.difference.causes import words
from mlrun.errors import MlrunError
from mlrun.staleness.values import Cause
from mlrun.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlrun.difference import Difference
    from mlrun.env import Plan
    from mlrun.model import EnvironmentFacts, RunRecord
    from mlrun.scene import Desk, Scene, Wanted

_BUILT = "docker_env: build of "
_ENVIRONMENT = ("packages", "python", "image")
_MANAGERS = {"system": "system", "conda": "conda", "docker": "docker"}


def asked_as_then(found: Scene, wanted: Wanted, desk: Desk, last: RunRecord) -> env.Asked:
    """As the last run's kind of environment was chosen by hand, so it is now."""
    facts = last.environment
    kind = facts.kind if facts else None
    if wanted.env_manager or kind not in _MANAGERS or found.asked.kind == kind:
        return found.asked
    if facts and facts.asked.startswith("docker_env"):  # then it was the project that named an image
        return found.asked
    snapshot = found.snapshot
    return env.read(
        found.project.environment,
        snapshot.directory,
        manager=_MANAGERS[kind],
        root=snapshot.root,
        caller=desk.caller,
    )


def entered(found: Scene, desk: Desk, asked: env.Asked, last: RunRecord) -> Entered:
    """The environment that would be entered, as far as can be told without resolving."""
    facts = last.environment
    if facts is None or facts.key is None:
        return Entered(facts=facts, unknown=("the last run's record names no environment",))
    if asked.kind != facts.kind:
        changed = _environment_cause(f"{facts.kind} → {asked.kind}")
        return Entered(facts=facts, causes=(changed,))
    snapshot = found.snapshot
    try:
        plan = env.plan(
            asked,
            directory=snapshot.directory,
            tree=snapshot.tree,
            cache=desk.cache,
            caller=desk.caller,
            day=_day(found.day, facts),
        )
    except MlrunError as error:
        return Entered(facts=facts, unknown=(f"environment: {error.message}",))
    if plan.kind != facts.kind:
        changed = _environment_cause(f"{facts.kind} → {plan.kind}")
        return Entered(facts=facts, causes=(changed,))
    if plan.key is not None:
        return Entered(facts=_facts_of(plan, facts), plan=plan)
    python = plan.python if _is_another(plan, facts) else facts.python
    causes = _asked_otherwise(asked, facts, Path(snapshot.directory))
    return Entered(facts=replace(facts, python=python), plan=plan, causes=causes)


@value
class Entered:
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
