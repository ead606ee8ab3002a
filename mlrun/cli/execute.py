"""`mlrun run`, from its options to its exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from mlrun import runner
from mlrun.cli import context
from mlrun.cli.console import Console
from mlrun.errors import UsageError
from mlrun.model import RunRequest
from mlrun.value import replace

if TYPE_CHECKING:
    from mlrun.cli.options import RunOptions
    from mlrun.model import RunRecord


_MEANS = ("auto", "shim", "strace", "python")


def execute(options: RunOptions) -> int:
    """Run (or plan, with --dry-run) and return the exit code: the program's own."""
    stage = _stage(options)
    request = request_of(options, stage.caller.directory)
    try:
        taken = runner.take(request, stage)
        if options.dry_run:
            return _dry_run(taken, stage, as_json=options.as_json)
        record = _run(taken, stage, options)
    finally:
        stage.teller.close()
    _conclude(record, options, stage.teller)
    return record.exit_code if record.exit_code is not None else 0


def _run(taken: runner.Taken, stage: runner.Stage, options: RunOptions) -> RunRecord:
    """Run what was taken, with the steps that it needs, if any."""
    jobs = _jobs(options.jobs) or 1
    if not taken.may_have_steps:
        return runner.run(taken, stage)
    from mlrun import orchestration

    wishes = orchestration.Wishes(jobs=jobs, keep_going=options.keep_going, quiet=options.quiet)
    return orchestration.run(taken, stage, wishes) or runner.run(taken, stage)


def resume(name: str, options: RunOptions) -> int:
    """Go on with a pipeline, and return its exit code."""
    from mlrun import orchestration
    from mlrun.orchestration import resuming
    from mlrun.pipelines.schedule import GOOD

    jobs = _jobs(options.jobs)
    store = context.store()  # runs whose process has gone count as lost
    record = resuming.whole_of(store.load(store.find(name)), store)
    stage = _stage(options)
    if record.status in GOOD:
        stage.teller.fact("resuming", f"`{record.name}` has ended well: there is nothing left to do")
        stage.teller.close()
        _conclude(record, options, stage.teller, told=False)
        return 0
    try:
        request = resuming.request_of(record, pairs(options.param, "-P"))
        stage.teller.fact("resuming", f"{record.name}  {record.id[:12]}  {record.status}")
        taken = runner.take(request, stage)
        wishes = resuming.wishes_of(record, jobs=jobs, keep_going=options.keep_going, quiet=options.quiet)
        done = orchestration.run(taken, stage, wishes) or runner.run(taken, stage)
    finally:
        stage.teller.close()
    _conclude(done, options, stage.teller)
    return done.exit_code or 0


def _dry_run(taken: runner.Taken, stage: runner.Stage, *, as_json: bool) -> int:
    if taken.may_have_steps:
        from mlrun.cli.standing import show_steps

        if show_steps(taken, stage, as_json=as_json):
            return 0
    from mlrun.cli.plan import show_plan

    show_plan(*runner.plan(taken, stage), as_json=as_json)
    return 0


def _stage(options: RunOptions) -> runner.Stage:
    """With --json, stdout is for the record alone."""
    caller = context.caller()
    home, cache = context.places()
    stdout = 2 if options.as_json else 1
    return runner.Stage(
        caller=caller,
        home=home,
        cache=cache,
        teller=Console(caller.variables, quiet=options.quiet),
        stdout=stdout,
        terminal=os.isatty(stdout) and os.isatty(2),
    )


def _conclude(record: RunRecord, options: RunOptions, teller: runner.Teller, *, told: bool = True) -> None:
    if options.as_json:
        from mlrun.store.codec import dumps

        sys.stdout.write(dumps(record))
    if told and not options.quiet:
        from mlrun.views.summary import summary

        for label, text in summary(record):
            teller.fact(label, text)


# --- from text to values ------------------------------------------------------------------------------


def request_of(options: RunOptions, directory: str) -> RunRequest:
    """The options understood.

    Raises UsageError.
    """
    if options.backend not in (None, "local"):
        raise UsageError(
            f"unknown backend `{options.backend}`", hint="this release runs on the `local` backend"
        )
    if options.name is not None and not options.name.strip():
        raise UsageError("the run's name is empty")
    tags = pairs(options.tag, "--tag")
    if options.experiment_name:
        tags = (*tags, ("experiment", options.experiment_name))
    request = RunRequest(
        target=options.target,
        version=options.version,
        entry_point=options.entry_point,
        parameters=pairs(options.param, "-P"),
        env_manager=options.env_manager,
        name=options.name,
        tags=tags,
        timeout=_seconds(options.timeout) if options.timeout is not None else None,
        strict=options.strict,
        isolated=options.isolated,
        refresh_environment=options.refresh_env,
        as_of=options.as_of,
        docker_args=_flags(options.docker_args),
        build_image=options.build_image,
        skip_image_build=options.skip_image_build,
        observe=_observe(options),
        cache=_cache(options),
    )
    if options.params_file is not None:
        request = replace(request, file_parameters=_file_parameters(options.params_file, directory))
    return request


def _jobs(text: str | None) -> int | None:
    """Steps at once: one, where nothing is said, for a step may use all cores, all memory, the only GPU."""
    if text is None:
        return None
    if not text.isdecimal() or not int(text):
        raise UsageError(f"`--jobs {text}`: expected how many steps at once", hint="for example `-j 4`")
    return int(text)


def _observe(options: RunOptions) -> str | None:
    if options.observe is not None and options.observe not in _MEANS:
        raise UsageError(
            f"`--observe {options.observe}`: there are {', '.join(_MEANS)}", hint="`--no-observe` for none"
        )
    return "off" if options.no_observe else options.observe


def _cache(options: RunOptions) -> bool | None:
    if options.cache and options.no_cache:
        raise UsageError("`--cache` and `--no-cache` exclude each other")
    return True if options.cache else False if options.no_cache else None


def pairs(words: tuple[str, ...], flag: str) -> tuple[tuple[str, str], ...]:
    """`NAME=VALUE` words, as they follow a flag. Raises UsageError."""
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"`{flag} {word}`: expected NAME=VALUE", hint=f"`{flag} {name or 'NAME'}=VALUE`")
        found.append((name, value))
    return tuple(found)


def _flags(words: tuple[str, ...]) -> tuple[tuple[str, str | None], ...]:
    """`NAME` or `NAME=VALUE`, with or without the dashes that `docker run` wants."""
    flags = []
    for word in words:
        name, equals, value = word.lstrip("-").partition("=")
        if not name:
            raise UsageError(f"`--docker-args {word}`: expected NAME or NAME=VALUE", hint="`-A memory=2g`")
        flags.append((name, value if equals else None))
    return tuple(flags)


def _seconds(text: str) -> float:
    from mlrun.project import seconds

    try:
        return seconds(text)
    except ValueError:
        raise UsageError(
            f"`--timeout {text}`: expected a duration", hint="for example 90, 90s, 15m, 2h"
        ) from None


def _file_parameters(path: str, directory: str) -> tuple[tuple[str, str], ...]:
    from mlrun.yamlfile import load_texts

    return load_texts(os.path.join(directory, path))
