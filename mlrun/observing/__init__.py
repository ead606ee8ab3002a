"""What a run read and wrote without saying so: noticed while its program runs, in the record after.

`Watch` is one run's observation. It is begun before the program starts and understood after its end; nothing
that goes wrong with it costs a run more than a warning.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import data
from mlrun.errors import EnvironmentBuildError, MlrunError
from mlrun.files import copy_file, remove_tree, write_atomic
from mlrun.observe import INCOMPLETE, building, rules
from mlrun.observing.values import OFF, PYTHON, SHIM, STRACE, Observed, Watch, warning
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlrun.files import Cache, Home
    from mlrun.model import Caller, Environment, Finding, Job, Narrator, RunRecord
    from mlrun.observe.meaning import Seen
    from mlrun.recording import Prepared
    from mlrun.store import Store

__all__ = ["Observed", "Watch", "begin", "variables", "watched", "with_observed"]

_HOOK = Path(building.__file__).with_name("hook") / "sitecustomize.py"
_MLFLOWS_FOLDER = "/mlflow/projects/code"  # where MLflow mounts a project, and we too


# --- before ---------------------------------------------------------------------------------------------


def begin(prepared: Prepared, environment: Environment, *, home: Home, cache: Cache, caller: Caller) -> Watch:
    """Get ready to watch a program, by the means that are asked for, or the best that there is.

    Raises EnvironmentBuildError where strace is asked for and is not there.
    """
    folder = home.run(prepared.run_id).root / "observe"
    wanted = prepared.spec.observe
    watch = Watch(how=OFF, folder=folder, since=0)
    if wanted == "off":
        return watch
    watch = replace(
        watch,
        rules=_rules(prepared, environment, home, cache, caller),
        looks=prepared.spec.cache or prepared.request.cache is False,
        mounts=_mounts(prepared, environment) if environment.kind == "docker" else None,
    )
    if wanted == "strace":
        watch = replace(watch, how=STRACE, strace=_strace(environment, caller))
    elif wanted == "python":
        watch = replace(watch, how=PYTHON)
    else:
        watch = _with_shim(watch, cache, caller, insisted=wanted == "shim")
    try:
        _lay_out(watch)
        watch = replace(watch, since=os.stat(watch.folder).st_ctime_ns)  # by the clock of files
    except OSError as error:
        note = f"the files that the program opens were not observed: {error.strerror}"
        return replace(watch, how=OFF, findings=(*watch.findings, warning("not-observed", note)))
    return watch


def _with_shim(watch: Watch, cache: Cache, caller: Caller, *, insisted: bool) -> Watch:
    found = building.shim(cache, caller.variables)
    if not isinstance(found, Path):
        if not insisted:
            return replace(watch, how=PYTHON)
        note = f"only Python's own file accesses are observed: {found.why}"
        return replace(watch, how=PYTHON, findings=(warning("no-shim", note),))
    if watch.mounts is not None:
        inside = watch.folder / "shim.so"  # with the run's folder it is mounted where it is here
        return replace(watch, how=SHIM if _can_be_named(inside) else PYTHON, shim=str(found))
    if _can_be_named(found):
        return replace(watch, how=SHIM, shim=str(found))
    link = Path("/tmp") / f"mlrun-{watch.folder.parent.name}.so"  # noqa: S108  the name cannot be guessed
    return replace(watch, how=SHIM, shim=str(found), link=link)


def _can_be_named(path: Path) -> bool:
    """Whether LD_PRELOAD, a list, can hold it."""
    return not any(letter in str(path) for letter in " :\n\t$")


def _lay_out(watch: Watch) -> None:
    watch.folder.mkdir(parents=True)
    library = watch.shim
    if watch.mounts is not None:
        library = str(watch.folder / "shim.so")
        for name, path in building.for_containers(Path(watch.shim)).items() if watch.shim else ():
            copy_file(path, watch.folder / name)
    elif watch.link is not None:
        watch.link.symlink_to(watch.shim)
        library = str(watch.link)
    if watch.mounts is not None or watch.how == PYTHON:
        (watch.folder / "hook").mkdir()
        copy_file(_HOOK, watch.folder / "hook" / "sitecustomize.py")
    write_atomic(watch.folder / "rules", watch.rules.encoded(library, looks=watch.looks))


def _rules(
    prepared: Prepared, environment: Environment, home: Home, cache: Cache, caller: Caller
) -> rules.Rules:
    root = str(prepared.snapshot.root)
    if environment.kind == "docker":
        targets = [target for target, _ in _mounts(prepared, environment)]
        return rules.in_container(wanted=targets, unwanted=[str(home.root)])
    package = Path(__file__).parent.parent  # a step that the program starts may be `mlrun run` again
    ours = [str(home.root), str(cache.root), sys.prefix, sys.base_prefix, str(package)]
    if environment.location is not None:
        ours += [str(environment.location), *_prefix_of(environment.location / "bin" / "python")]
    else:
        for folder in caller.variables.get("PATH", "").split(os.pathsep):
            if os.access(program := Path(folder, "python3"), os.X_OK):
                ours += _prefix_of(program)
                break
    return rules.on_host(caller.variables, wanted=[root], unwanted=ours)


def _prefix_of(python: Path) -> list[str]:
    """The folder that an interpreter is installed in."""
    real = Path(os.path.realpath(python))
    return [str(real.parent.parent)] if real.parent.name == "bin" else []


def _mounts(prepared: Prepared, environment: Environment) -> tuple[tuple[str, str], ...]:
    """Folders of a container with what they are here, the most special first."""
    snapshot = prepared.snapshot
    found = {str(snapshot.root): str(snapshot.root), _MLFLOWS_FOLDER: str(snapshot.directory)}
    volumes = [*environment.volumes]
    volumes += [text for name, text in prepared.request.docker_args if name in ("v", "volume") and text]
    for text in volumes:
        here, _, there = text.partition(":")
        there = there.partition(":")[0]
        if os.path.isabs(here) and os.path.isabs(there):
            found[there.rstrip("/")] = here
    for path in _paths_of_inputs(prepared):
        found.setdefault(path, path)
    return tuple(sorted(found.items(), key=lambda pair: -len(pair[0])))


def _paths_of_inputs(prepared: Prepared) -> Iterator[str]:
    directory = prepared.snapshot.directory
    for parameter in prepared.spec.parameters:
        if parameter.kind == "path" and parameter.text:
            yield os.path.normpath(directory / parameter.text)
    for item in prepared.spec.inputs:
        yield os.path.normpath(directory / item.path)


def _strace(environment: Environment, caller: Caller) -> str:
    if environment.kind == "docker":
        raise EnvironmentBuildError(
            "`strace` cannot follow a program into a container",
            hint="leave `--observe` out",
            code="no-strace-in-containers",
        )
    for folder in caller.variables.get("PATH", os.defpath).split(os.pathsep):
        if os.access(path := os.path.join(folder, "strace"), os.X_OK):
            return path
    raise EnvironmentBuildError(
        "`--observe strace` needs strace, which is not installed",
        hint="`apt install strace`, or leave `--observe` out",
        code="no-strace",
    )


# --- meanwhile ------------------------------------------------------------------------------------------


def variables(watch: Watch, seen: Mapping[str, str]) -> dict[str, str | None]:
    """What to set for the program to be watched; `seen` are the variables that it has."""
    if watch.how not in (SHIM, PYTHON):
        return {}
    settings: dict[str, str | None] = {"MLRUN_OBSERVE": str(watch.folder)}
    if watch.mounts is not None:  # which of the two works is seen in the container
        return settings | {"MLRUN_OBSERVE_SHIM": "1" if watch.how == SHIM else ""}
    if watch.how == PYTHON:
        hook = str(watch.folder / "hook")
        before = seen.get("PYTHONPATH")
        return settings | {"PYTHONPATH": f"{hook}{os.pathsep}{before}" if before else hook}
    library = str(watch.link or watch.shim)
    others = [name for name in seen.get("LD_PRELOAD", "").replace(":", " ").split() if name != library]
    # The address sanitizer ends a program in which it is not the first library.
    options = [option for option in (seen.get("ASAN_OPTIONS"), "verify_asan_link_order=0") if option]
    return settings | {"LD_PRELOAD": ":".join((*others, library)), "ASAN_OPTIONS": ":".join(options)}


def watched(watch: Watch, job: Job) -> Job:
    """The job as it is to be started."""
    if watch.strace is None:
        return job
    from mlrun.observe import strace

    return replace(job, argv=strace.command(watch.strace, watch.folder, job.argv))


# --- after ----------------------------------------------------------------------------------------------


def with_observed(
    record: RunRecord,
    watch: Watch,
    prepared: Prepared,
    store: Store,
    *,
    caller: Caller,
    cache: Cache,
    narrator: Narrator,
) -> Observed:
    """The record with the files that the program read and wrote.

    Whatever goes wrong, the run has ended and its record is worth more than what was seen.
    """
    if watch.how == OFF:
        return Observed(replace(record, observed=OFF), watch.findings)
    reader = data.Reader(cache, narrator)
    try:
        return _observed(record, watch, prepared, store, reader, caller, cache)
    except Exception as error:  # noqa: BLE001  a mistake of ours, too
        said = str(error) if isinstance(error, OSError | MlrunError) else f"{type(error).__name__}: {error}"
        finding = warning("not-observed", f"what the program read and wrote is not known: {said}")
        return Observed(replace(record, observed=OFF), (*watch.findings, finding))


def _observed(
    record: RunRecord,
    watch: Watch,
    prepared: Prepared,
    store: Store,
    reader: data.Reader,
    caller: Caller,
    cache: Cache,
) -> Observed:
    findings = list(watch.findings)
    try:
        how = _how(watch)
        partly = (watch.folder / INCOMPLETE).exists()
        heard = partly or any(name.startswith("log.") for name in os.listdir(watch.folder))
        if how == SHIM and not heard:
            nothing = _nothing() if watch.looks else None
            return Observed(replace(record, observed=how), tuple(findings), seen=nothing)
        from mlrun.observing import after

        seen = after.seen(watch, how, prepared, is_step="pipeline" in dict(record.parents))
        if partly:
            note = "not all files that the program opened are known: there was no room to note them"
            findings.append(warning("observed-in-part", note))
        findings += _of_blind(seen.blind if how == SHIM else ())
    finally:
        _tidy_up(watch, store.home)
    record = replace(record, observed=how)
    found = after.described(record, watch, seen, prepared, store, reader, caller, cache)
    whole = how == SHIM and watch.looks and not partly and not seen.blind
    return replace(found, findings=(*findings, *found.findings), seen=found.seen if whole else None)


def _of_blind(programs: tuple[str, ...]) -> list[Finding]:
    """A warning of programs that the shim could not see into, but for those that administer the machine."""
    names = [path for path in programs if not path.startswith(("/sbin/", "/usr/sbin/"))]
    if not names:
        return []
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    why = "linked statically, or run as another user"
    note = f"what `{names[0]}`{more} reads is not seen: {why}"
    return [warning("program-not-seen", note, "`--observe strace` sees static programs too")]


def _nothing() -> Seen:
    from mlrun.observe.meaning import Seen

    return Seen()


def _how(watch: Watch) -> str:
    """As was said in a container, where it cannot load the shim."""
    return PYTHON if watch.how == SHIM and (watch.folder / "python-only").exists() else watch.how


def _tidy_up(watch: Watch, home: Home) -> None:
    with contextlib.suppress(OSError):
        if watch.link is not None:
            watch.link.unlink()
        remove_tree(watch.folder, trash=home.trash)
