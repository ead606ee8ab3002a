"""What a run read and wrote without saying so: noticed while its program runs, in the record after.

`Watch` is one run's observation. It is begun before the program starts and understood after its end; nothing
that goes wrong with it costs a run more than a warning.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from mlrun import data, observe, source
from mlrun.errors import EnvironmentBuildError, MlrunError, StoreError
from mlrun.files import remove_tree, write_atomic
from mlrun.model import Artifact, Finding
from mlrun.value import positional_value, replace, value
from mlrun.views import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mlrun.files import Cache, Home
    from mlrun.model import Caller, Environment, Job, Narrator, RunRecord
    from mlrun.observe import Group, Read, Rules, Seen
    from mlrun.recording import Prepared
    from mlrun.store import Store

KEEP_UP_TO = 100 * 1024 * 1024
"""Bytes: an observed output that is larger is recorded by its digest only."""
KEEP_IN_ALL = 1024 * 1024 * 1024
"""Bytes of observed outputs that one run puts into the store."""

_CODE = re.compile(
    r"\.(pyi?|py[xd]|ipynb|(ba|z|fi)?sh|r|rmd|jl|[ch]|cc|[ch]pp|cu|go|rs|java|scala|[jt]s|lua|pl|rb|m|sql|ya?ml|toml"
    r"|cfg|ini|conf|lock|md|rst|env|gitignore|dockerfile)$",
    re.IGNORECASE,
)
"""Endings of code and settings: what the source's own tree pins is not listed as data as well."""
_CODE_NAMES = frozenset(("MLproject", "Makefile", "Dockerfile", "requirements.txt", "LICENSE", "README"))
_SHIM, _STRACE, _PYTHON, _OFF = "shim", "strace", "python-only", "off"
_MLFLOWS_FOLDER = "/mlflow/projects/code"  # where MLflow mounts a project, and we too


@value
class Watch:
    """`how` is what the record will tell; `since` is ns since 1970.

    `mounts` are folders of a container and what they are here; None for a program that runs here.
    """

    how: str
    folder: Path
    since: int
    rules: Rules
    strace: str | None = None
    mounts: tuple[tuple[str, str], ...] | None = None
    shim: str = ""
    link: Path | None = None
    findings: tuple[Finding, ...] = ()


# --- before ---------------------------------------------------------------------------------------------


def begin(prepared: Prepared, environment: Environment, *, home: Home, cache: Cache, caller: Caller) -> Watch:
    """Get ready to watch a program, by the means that are asked for, or the best that there is.

    Raises EnvironmentBuildError where strace is asked for and is not there.
    """
    folder = home.run(prepared.run_id).root / "observe"
    wanted = prepared.request.observe
    if wanted == "auto":
        wanted = prepared.project.observe or "auto"
    watch = Watch(
        how=_OFF,
        folder=folder,
        since=time.time_ns(),
        rules=_rules(prepared, environment, home, cache, caller),
        mounts=_mounts(prepared, environment) if environment.kind == "docker" else None,
    )
    if wanted == "off":
        return watch
    if wanted == "strace":
        watch = replace(watch, how=_STRACE, strace=_strace(environment, caller))
    elif wanted == "python":
        watch = replace(watch, how=_PYTHON)
    else:
        watch = _with_shim(watch, cache, caller, insisted=wanted == "shim")
    try:
        _lay_out(watch)
    except OSError as error:
        note = f"the files that the program opens were not observed: {error.strerror}"
        return replace(watch, how=_OFF, findings=(*watch.findings, _warning("not-observed", note)))
    return watch


def _with_shim(watch: Watch, cache: Cache, caller: Caller, *, insisted: bool) -> Watch:
    found = observe.shim(cache, caller.variables)
    if not isinstance(found, Path):
        if not insisted:
            return replace(watch, how=_PYTHON)
        note = f"only Python's own file accesses are observed: {found.why}"
        return replace(watch, how=_PYTHON, findings=(_warning("no-shim", note),))
    if watch.mounts is not None:
        inside = watch.folder / "shim.so"  # with the run's folder it is mounted where it is here
        return replace(watch, how=_SHIM if _can_be_named(inside) else _PYTHON, shim=str(found))
    if _can_be_named(found):
        return replace(watch, how=_SHIM, shim=str(found))
    link = Path("/tmp") / f"mlrun-{watch.folder.parent.name}.so"  # noqa: S108  the name cannot be guessed
    return replace(watch, how=_SHIM, shim=str(found), link=link)


def _can_be_named(path: Path) -> bool:
    """Whether LD_PRELOAD, a list, can hold it."""
    return not any(letter in str(path) for letter in " :\n\t$")


def _lay_out(watch: Watch) -> None:
    shutil.rmtree(watch.folder, ignore_errors=True)
    watch.folder.mkdir(parents=True)
    library = watch.shim
    if watch.mounts is not None:
        library = str(watch.folder / "shim.so")
        if watch.shim:
            shutil.copyfile(watch.shim, library)
    elif watch.link is not None:
        watch.link.symlink_to(watch.shim)
        library = str(watch.link)
    if watch.mounts is not None or watch.how == _PYTHON:
        (watch.folder / "hook").mkdir()
        shutil.copyfile(observe.HOOK, watch.folder / "hook" / "sitecustomize.py")
    write_atomic(watch.folder / "rules", watch.rules.encoded(library))


def _rules(prepared: Prepared, environment: Environment, home: Home, cache: Cache, caller: Caller) -> Rules:
    root = str(prepared.snapshot.root)
    if environment.kind == "docker":
        targets = [target for target, _ in _mounts(prepared, environment)]
        return observe.rules.in_container(wanted=targets, unwanted=[str(home.root)])
    ours = [str(home.root), str(cache.root)]
    if environment.location is not None:
        ours += [str(environment.location), *_prefix_of(environment.location / "bin" / "python")]
    else:
        for folder in caller.variables.get("PATH", "").split(os.pathsep):
            if os.access(program := Path(folder, "python3"), os.X_OK):
                ours += _prefix_of(program)
                break
    return observe.rules.on_host(caller.variables, wanted=[root], unwanted=ours)


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
    if watch.how not in (_SHIM, _PYTHON):
        return {}
    settings: dict[str, str | None] = {"MLRUN_OBSERVE": str(watch.folder)}
    if watch.mounts is not None:  # which of the two works is seen in the container
        return settings | {"MLRUN_OBSERVE_SHIM": "1" if watch.how == _SHIM else ""}
    if watch.how == _PYTHON:
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


@positional_value
class Observed:
    """A record with what was seen, what is worth a warning, and the files of the source's checkout (relative
    to its root) that are in the store now."""

    record: RunRecord
    findings: tuple[Finding, ...]
    kept: frozenset[str] = frozenset()


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
    """The record with the files that the program read and wrote."""
    if watch.how == _OFF:
        return Observed(replace(record, observed=_OFF), watch.findings)
    how = watch.how
    if how == _SHIM and (watch.folder / "python-only").exists():  # said in a container that cannot load it
        how = _PYTHON
    findings = list(watch.findings)
    try:
        seen = _seen(watch, how, prepared)
        if (watch.folder / observe.INCOMPLETE).exists():
            note = "not all files that the program opened are known: there was no room to note them"
            findings.append(_warning("observed-in-part", note))
    except (OSError, MlrunError) as error:
        note = f"what the program read and wrote is not known: {error}"
        findings.append(_warning("not-observed", note))
        return Observed(replace(record, observed=_OFF), tuple(findings))
    finally:
        _tidy_up(watch, store.home)
    record = replace(record, observed=how)
    kept: frozenset[str] = frozenset()
    if seen.reads or seen.writes:
        keeper = _Keeper(record, prepared, store, data.Reader(cache, narrator), caller)
        record = replace(
            record,
            inputs=(*record.inputs, *keeper.inputs(seen.reads)),
            outputs=(*record.outputs, *keeper.outputs(seen.writes)),
        )
        findings += keeper.findings
        kept = frozenset(keeper.kept)
    return Observed(record, tuple(findings), kept)


def _tidy_up(watch: Watch, home: Home) -> None:
    with contextlib.suppress(OSError):
        if watch.link is not None:
            watch.link.unlink()
        remove_tree(watch.folder, trash=home.trash)


def _seen(watch: Watch, how: str, prepared: Prepared) -> Seen:
    if how == _STRACE:
        from mlrun.observe import strace

        events: Iterable[observe.Event] = strace.read(watch.folder, str(prepared.snapshot.directory))
    else:
        events = observe.events.read(watch.folder)
    if watch.mounts is not None:
        events = (_out_of_container(event, watch.mounts) for event in events)
    noted = list(events)
    more: tuple[str, ...] = ()
    if how == _PYTHON or any(event.kind == "S" for event in noted):
        from mlrun.observe.walk import changed

        more = changed(prepared.snapshot.root, since=watch.since)
    wants = watch.rules.wants if watch.mounts is None else _wants_mounted(watch.mounts)
    return observe.understood(
        noted, wants=wants, since=watch.since, more_writes=tuple(path for path in more if wants(path))
    )


def _out_of_container(event: observe.Event, mounts: tuple[tuple[str, str], ...]) -> observe.Event:
    return event._replace(path=_outside(event.path, mounts), second=_outside(event.second, mounts))


def _outside(path: str, mounts: tuple[tuple[str, str], ...]) -> str:
    for there, here in mounts:
        if path == there or path.startswith(f"{there}/"):
            return here + path[len(there) :]
    return path


def _wants_mounted(mounts: tuple[tuple[str, str], ...]) -> Callable[[str], bool]:
    folders = tuple(os.path.realpath(here) for _, here in mounts)
    return observe.rules.in_container(wanted=folders, unwanted=()).wants


# --- files into artifacts -------------------------------------------------------------------------------


class _Keeper:
    """Paths into inputs and outputs; what was declared is there already."""

    def __init__(
        self, record: RunRecord, prepared: Prepared, store: Store, reader: data.Reader, caller: Caller
    ) -> None:
        snapshot = prepared.snapshot
        self.findings: list[Finding] = []
        self.kept: set[str] = set()
        self._store = store
        self._reader = reader
        self._caller = caller
        self._snapshot = snapshot
        self._root = os.path.realpath(snapshot.root)
        self._directory = os.path.realpath(snapshot.directory)
        self._declared_inputs = tuple(
            os.path.realpath(snapshot.directory / item.path) for item in record.inputs if item.declared
        )
        self._declared_outputs = tuple(item.path for item in prepared.spec.outputs)
        self._left = KEEP_IN_ALL

    # --- inputs

    def inputs(self, reads: tuple[Read, ...]) -> tuple[Artifact, ...]:
        reads = tuple(read for read in reads if not self._is_declared_input(read.path))
        pinned = self._pinned(reads)
        reads = tuple(read for read in reads if read.path not in pinned or not _is_code(read.path))
        states = {read.path: read for read in reads}
        artifacts, undeclared = [], []
        for group in observe.grouped(states, never=self._mixed_folders()):
            artifact = self._input(group, states)
            artifacts.append(artifact)
            if not any(os.path.join(group.folder, name) in pinned for name in group.names):
                undeclared.append(artifact.path)
        self._tell_undeclared(undeclared)
        return tuple(artifacts)

    def _input(self, group: Group, states: dict[str, Read]) -> Artifact:
        unlike = [name for name in group.names if states[os.path.join(group.folder, name)].state != "same"]
        shown = self._shown(group.path)
        self._tell_unlike(group, unlike, states)
        if group.is_single and unlike:
            read = states[group.path]
            return _without_digest(shown, max(read.size, 0))
        if group.is_single:
            found = data.describe(
                Path(group.path),
                shown=shown,
                kind="data",
                declared=False,
                reader=self._reader,
                contents=False,
            )
        else:
            names = tuple(name for name in group.names if name not in unlike)
            found = data.describe_some(
                Path(group.folder), names, shown=shown, kind="data", reader=self._reader
            )
        self.findings += found.findings
        return found.artifact

    def _tell_unlike(self, group: Group, names: list[str], states: dict[str, Read]) -> None:
        for state, how in _UNLIKE.items():
            those = [name for name in names if states[os.path.join(group.folder, name)].state == state]
            if those:
                first = self._shown(os.path.join(group.folder, those[0]))
                more = f", and {len(those) - 1} more beside it" if len(those) > 1 else ""
                note = f"what was read of `{first}`{more} has no digest: {how}"
                self.findings.append(_warning(f"input-{state}", note))

    def _tell_undeclared(self, paths: list[str]) -> None:
        if not paths:
            return
        more = f", and {len(paths) - 4} more" if len(paths) > 4 else ""
        note = f"read but not declared: {', '.join(paths[:4])}{more}"
        hint = "who repeats this run needs them: name them under `inputs` of the entry point"
        self.findings.append(_warning("undeclared-input", note, hint))

    def _is_declared_input(self, path: str) -> bool:
        real = os.path.realpath(path) if self._declared_inputs else path
        return any(real == each or real.startswith(f"{each}/") for each in self._declared_inputs)

    def _pinned(self, reads: tuple[Read, ...]) -> frozenset[str]:
        """Of what was read, that which the snapshot's tree holds, and that as it was."""
        inside = {
            read.path[len(self._root) + 1 :]: read.path
            for read in reads
            if read.path.startswith(f"{self._root}/")
        }
        held = source.pinned(self._snapshot, tuple(inside), caller=self._caller)
        return frozenset(inside[path] for path in held)

    # --- outputs

    def outputs(self, writes: tuple[str, ...]) -> tuple[Artifact, ...]:
        writes = tuple(path for path in writes if not self._is_declared_output(path))
        return tuple(self._output(group) for group in observe.grouped(writes, never=self._mixed_folders()))

    def _output(self, group: Group) -> Artifact:
        shown = self._shown(group.path)
        if group.is_single:
            path = Path(group.path)
            found = data.describe(path, shown=shown, kind="file", declared=False, reader=self._reader)
        else:
            found = data.describe_some(
                Path(group.folder), group.names, shown=shown, kind="file", reader=self._reader
            )
        self.findings += found.findings
        if found.artifact.digest is None or not f"{group.folder}/".startswith(f"{self._root}/"):
            return found.artifact
        return self._kept(found)

    def _kept(self, found: data.Found) -> Artifact:
        artifact = found.artifact
        largest = max((_size_of(path) for _, path in found.contents), default=0)
        if largest > KEEP_UP_TO or artifact.size > self._left:
            what = f"`{artifact.path}` ({words.size(artifact.size)})"
            limit = KEEP_UP_TO if largest > KEEP_UP_TO else KEEP_IN_ALL
            together = " together with others" if limit == KEEP_IN_ALL else ""
            note = (
                f"{what}, not declared and more than {words.size(limit)}{together}, is known by digest only"
            )
            self.findings.append(_warning("output-not-kept", note, "declare it under `outputs` to keep it"))
            return artifact
        try:
            for its_digest, path in found.contents:
                self._store.objects.put_file(path, its_digest)
            if found.manifest is not None:
                self._store.objects.put_bytes(found.manifest)
        except (OSError, StoreError) as error:
            note = f"output `{artifact.path}` is not kept in the store: {error}"
            self.findings.append(_warning("output-not-kept", note))
            return artifact
        self._left -= artifact.size
        self.kept.update(str(path)[len(self._root) + 1 :] for _, path in found.contents)
        return replace(artifact, stored=True)

    def _is_declared_output(self, path: str) -> bool:
        relative = os.path.relpath(path, self._directory)
        for output in self._declared_outputs:
            names = (os.path.normpath(output), relative) if not os.path.isabs(output) else (output, path)
            if (
                names[0] == names[1]
                or names[1].startswith(f"{names[0]}/")
                or PurePath(names[1]).match(names[0])
            ):
                return True
        return False

    # --- both

    def _shown(self, path: str) -> str:
        """Relative to the project where it lies in it."""
        inside = path.startswith(f"{self._directory}/")
        return path[len(self._directory) + 1 :] if inside else path

    def _mixed_folders(self) -> frozenset[str]:
        """Folders that hold more than one thing: the project's, those above, a home, places for anything."""
        found = {self._directory, self._root, "/", "/tmp", "/var/tmp", "/home", "/data", "/mnt"}  # noqa: S108
        found.update(str(folder) for folder in Path(self._directory).parents)
        if home := self._caller.variables.get("HOME"):
            found.update((home, os.path.realpath(home)))
        return frozenset(found)


_UNLIKE = {
    "overwritten": "the run itself wrote it afterwards",
    "changed": "somebody else changed it during the run",
    "gone": "it was removed during the run",
}


def _without_digest(shown: str, size: int) -> Artifact:
    return Artifact(path=shown, kind="data", digest=None, size=size, files=1, declared=False)


def _is_code(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name in _CODE_NAMES or _CODE.search(name) is not None


def _size_of(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _warning(code: str, message: str, hint: str | None = None) -> Finding:
    return Finding(level="warning", code=code, message=message, hint=hint)
