"""A pipeline that ended too soon, asked for again: what the record says of how it was asked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlrun.errors import MlrunError, StoreError, UsageError
from mlrun.files import remove_tree
from mlrun.model import RunRequest
from mlrun.orchestration.values import Wishes
from mlrun.pipelines.paths import overlap
from mlrun.pipelines.present import as_of_now
from mlrun.pipelines.schedule import GOOD
from mlrun.value import replace

if TYPE_CHECKING:
    from mlrun.model import RunRecord, SourceFacts
    from mlrun.pipelines.values import Plan
    from mlrun.runner import Stage
    from mlrun.store import Store

_SWITCHES = ("strict", "isolated", "build_image", "skip_image_build")
_SHOWN = 4


def options(request: RunRequest, wishes: Wishes) -> tuple[tuple[str, str], ...]:
    """What was asked and no other field of a record says; see `request_of`."""
    found = {name: "on" for name in _SWITCHES if getattr(request, name)}
    if wishes.only is not None:
        found["cache"] = "off"
    elif request.cache is not None:
        found["cache"] = "on" if request.cache else "off"
    if request.env_manager:
        found["env_manager"] = request.env_manager
    if request.observe:
        found["observe"] = request.observe
    if request.as_of != "auto":
        found["as_of"] = request.as_of
    if request.timeout is not None:
        found["timeout"] = repr(request.timeout)
    for number, (name, text) in enumerate(request.docker_args):
        found[f"docker.{number}"] = name if text is None else f"{name}={text}"
    if wishes.jobs > 1:
        found["jobs"] = str(wishes.jobs)
    if wishes.keep_going:
        found["keep_going"] = "on"
    return tuple(found.items())


def whole_of(record: RunRecord, store: Store) -> RunRecord:
    """The pipeline that is meant by a run: it, or that of which it is a step.

    Raises UsageError for what is none, repeats another, or goes on.
    """
    if not record.steps and (parent := dict(record.parents).get("pipeline")):
        record = store.load(parent)
    if not record.steps:
        raise UsageError(
            f"`{record.name}` is no pipeline, so there is nothing to resume",
            hint=f"`mlrun run … -e {record.entry_point}` runs it again",
            code="no-pipeline",
        )
    if original := dict(record.parents).get("reproduces"):
        raise UsageError(
            f"`{record.name}` repeats another run, and is no beginning of anything",
            hint=f"`mlrun reproduce {_name(original, store)}` begins again",
            code="is-repetition",
        )
    if record.status == "running":
        raise UsageError(f"`{record.name}` is still running", code="run-is-running")
    return as_of_now(record, store)


def _name(run_id: str, store: Store) -> str:
    try:
        return store.load(run_id).name
    except StoreError:
        return run_id[:8]


def request_of(record: RunRecord, given: tuple[tuple[str, str], ...]) -> RunRequest:
    """The same request again; `given` are the values that no record holds. Raises UsageError."""
    target, version = _target(record)
    return replace(asked_again(record, given), target=target, version=version)


def asked_again(record: RunRecord, given: tuple[tuple[str, str], ...]) -> RunRequest:
    """All of a request but of what it was made. Raises UsageError (`secret-needed`)."""
    said = dict(record.options)
    docker = (said[name].partition("=") for name in sorted(said) if name.startswith("docker."))
    return RunRequest(
        target=record.target,
        entry_point=record.entry_point,
        parameters=_parameters(record, dict(given)),
        env_manager=said.get("env_manager"),
        tags=record.tags,
        timeout=float(said["timeout"]) if "timeout" in said else None,
        strict="strict" in said,
        isolated="isolated" in said,
        as_of=said.get("as_of", "auto"),
        docker_args=tuple((name, text if equals else None) for name, equals, text in docker),
        build_image="build_image" in said,
        skip_image_build="skip_image_build" in said,
        observe=said.get("observe"),
        cache=True if said.get("cache") == "on" else None,
    )


def wishes_of(record: RunRecord, *, jobs: int | None, keep_going: bool, quiet: bool) -> Wishes:
    """As then, but for what is said now. Where the cache was not wanted, only what this run made counts."""
    said = dict(record.options)
    done = frozenset(step.name for step in record.steps if step.state in GOOD)
    return Wishes(
        jobs=jobs or int(said.get("jobs", "1")),
        keep_going=keep_going or "keep_going" in said,
        quiet=quiet,
        resumes=record,
        only=done if said.get("cache") == "off" else None,
    )


def _target(record: RunRecord) -> tuple[str, str | None]:
    facts = record.source
    if facts is None:
        raise UsageError(f"the record of `{record.name}` names no source", code="source-not-kept")
    inside = f"#{facts.subdirectory}" if facts.subdirectory else ""
    if facts.kind == "git" and facts.url:
        return f"{facts.url}{inside}", facts.commit
    if os.path.isdir(facts.directory):
        return os.path.join(facts.directory, facts.subdirectory) if inside else facts.directory, None
    if facts.url:
        return f"{facts.url}{inside}", None
    raise UsageError(
        f"the project of `{record.name}` is gone: {facts.directory}",
        hint="`mlrun run` in its new place takes what is done from the cache",
        code="source-gone",
    )


def _parameters(record: RunRecord, given: dict[str, str]) -> tuple[tuple[str, str], ...]:
    found = {}
    for parameter in record.parameters:
        if parameter.origin in ("default", "logged"):
            continue
        if parameter.secret and parameter.name not in given:
            raise UsageError(
                f"the value of the secret parameter `{parameter.name}` is in no record",
                hint=f"give it again: `-P {parameter.name}=…`",
                code="secret-needed",
            )
        moved = parameter.kind == "path" and os.path.exists(parameter.text)
        found[parameter.name] = parameter.text if moved else parameter.value
    return tuple((found | given).items())


# --- what has changed meanwhile -----------------------------------------------------------------------


def changed(before: SourceFacts | None, now: SourceFacts | None, plan: Plan, stage: Stage) -> str | None:
    """What differs of the source since then, but for what steps write; None where nothing does."""
    if before is None or now is None or before.tree == now.tree:
        return None
    from mlrun.source.between import Trees
    from mlrun.store import Store

    scratch = stage.cache.temporary / f"resume.{os.getpid()}.{before.tree[:12]}"
    try:
        scratch.mkdir(parents=True)
        kept = Store(stage.home).objects
        trees = Trees(scratch, (before, now), kept, caller=stage.caller, cache=stage.cache)
        one, other = trees.tree(before), trees.tree(now)
        if one is None or other is None:
            return "the code may have changed since"
        paths = [it.path for it in trees.files(one, other)]
    except (MlrunError, OSError):
        return "the code may have changed since"
    finally:
        remove_tree(scratch, trash=stage.cache.trash)
    prefix = f"{now.subdirectory}/" if now.subdirectory else ""
    outputs = [output.path.rstrip("/") for step in plan.steps for output in step.spec.outputs]
    paths = [it for it in paths if not any(overlap(prefix + output, it) for output in outputs)]
    if not paths:
        return None
    more = f", and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"changed since: {', '.join(paths[:_SHOWN])}{more}; steps to which that matters run again"
