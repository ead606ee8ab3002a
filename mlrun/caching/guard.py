"""What a run saw beyond its key, noted once it is over, and held against what is there when another is asked.

The key holds what could be foreseen: the source's tree, what is declared. A program also reads what git
ignores and what lies elsewhere, and looks around in folders. Of a run that was watched that is known file by
file; of another all that lies in the checkout counts, ignored files and outputs of others too.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from mlrun import data, digest
from mlrun.caching.key import outputs_of_all
from mlrun.caching.patterns import covering
from mlrun.caching.placing import blocked
from mlrun.caching.site import left_by_tools
from mlrun.caching.values import Guard, Made, Return, Sight
from mlrun.model import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlrun.caching.site import Site
    from mlrun.caching.values import Case
    from mlrun.model import RunRecord
    from mlrun.observe.meaning import Seen

_PLACES_FOR_ANYTHING = ("/", "/tmp", "/var/tmp", "/home", "/root", "/data", "/mnt")  # noqa: S108


class NotKeptError(Exception):
    """Why a run cannot stand in for others."""


# --- noting -----------------------------------------------------------------------------------------------


def noted(case: Case, site: Site, record: RunRecord, seen: Seen | None, *, since: int) -> Guard:
    """The guard of a run that has ended well just now; `seen` is all that it opened, None where that is not
    known. `since` is when it began, ns since 1970 by the clock that files are stamped with.

    Raises NotKeptError, and SourceError where git cannot tell what lies beside the source.
    """
    executable = tuple(_executables(site, record, since))
    own = covering(it.path for it in case.prepared.spec.outputs)
    if seen is None:
        made = _made_by_record(site, record)
        return Guard(made=made, whole=_whole(case, site, (it.path for it in made)), executable=executable)
    secret = [it.text for it in case.prepared.spec.parameters if it.secret and it.text]
    if any(text in path for text in secret for path in (*(it.path for it in seen.reads), *seen.writes)):
        raise NotKeptError("the value of a secret parameter is part of the path of a file that it opened")
    inputs = tuple(os.path.realpath(site.absolute(it.path)) for it in record.inputs if it.declared)
    reads = [read for read in seen.reads if not _is_below(os.path.realpath(read.path), inputs)]
    for read in reads:
        if read.state != "same":
            raise NotKeptError(f"it read `{site.shown(read.path)}`, {_UNLIKE[read.state]}")
    writes = tuple(path for path in seen.writes if not own(os.path.relpath(path, site.directory)))
    made = tuple(_made(path, site, path in seen.appended) for path in writes)
    shown = tuple(it.path for it in made)
    return Guard(
        reads=tuple(_sights([read.path for read in reads], site)),
        made=made,
        names=tuple(_names(case, site, [read.path for read in reads], writes)),
        beside=_beside(case, site, shown),
        executable=executable,
    )


_UNLIKE = {
    "overwritten": "which it wrote itself afterwards",
    "changed": "which somebody changed meanwhile",
    "gone": "which was removed meanwhile",
}


def _sights(paths: list[str], site: Site) -> Iterator[Sight]:
    folders: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder or "/", []).append(name)
    for folder, names in sorted(folders.items()):
        found = site.reader.some(folder, sorted(names))
        if found.troubles:
            raise NotKeptError(f"{found.troubles[0]} which it read")
        yield Sight(folder=site.shown(folder), names=tuple(sorted(names)), digest=found.digest)


def _made(path: str, site: Site, appended: bool) -> Made:
    found = site.reader.file(path)
    if isinstance(found, int):
        raise NotKeptError(f"`{site.shown(path)}`, which it wrote, cannot be read")
    its_digest = Digest(digest.TAG + found[0].hex())
    return Made(
        path=site.shown(path),
        digest=its_digest,
        executable=bool(found[1][4] & stat.S_IXUSR),
        stored=site.store.objects.has(its_digest),
        appended=appended,
    )


def _made_by_record(site: Site, record: RunRecord) -> tuple[Made, ...]:
    """What was noticed of the files that a run wrote, where not all was."""
    return tuple(
        Made(path=site.shown(site.absolute(it.path)), digest=it.digest, stored=it.stored)
        for it in record.outputs
        if not it.declared and it.digest and not it.tree
    )


def _executables(site: Site, record: RunRecord, since: int) -> Iterator[str]:
    """Declared outputs that can be executed. Raises NotKeptError for what this run did not write."""
    for output in record.outputs:
        if not output.declared:
            continue
        path = site.absolute(output.path)
        if output.digest is None or not output.stored:
            raise NotKeptError(f"output `{output.path}` is not in the store")
        if os.path.islink(path):
            raise NotKeptError(f"output `{output.path}` is a link")
        for file in _files_of(path):
            status = os.lstat(file)
            if status.st_ctime_ns < since:
                raise NotKeptError(f"`{site.shown(file)}`, an output, was there before and not written by it")
            if file == path and status.st_mode & stat.S_IXUSR:
                yield output.path


def _files_of(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
    for folder, _, names in os.walk(path):
        yield from (f"{folder}/{name}" for name in names)


# --- what lies around -------------------------------------------------------------------------------------


def _names(case: Case, site: Site, reads: list[str], writes: tuple[str, ...]) -> Iterator[tuple[str, Digest]]:
    """The folders of what was read and is in no tree: a program that looked for its files may find more."""
    folders = {path.rpartition("/")[0] for path in reads if path not in site.held}
    home = site.caller.variables.get("HOME", "")
    never = {*_PLACES_FOR_ANYTHING, home, os.path.realpath(home), site.directory, site.root}
    at = site.root
    while at not in ("", "/"):
        at = os.path.dirname(at)
        never.add(at)
    for folder in sorted(folders - never):
        without = [path for path in writes if path.startswith(f"{folder}/")]
        yield site.shown(folder), _names_in(case, site, folder, without)


def _names_in(case: Case, site: Site, folder: str, without: Iterable[str]) -> Digest:
    """What lies in a folder, by name, but for what runs make."""
    made = covering(outputs_of_all(case.prepared.project.entry_points, case))
    left_out = {path[len(folder) + 1 :].partition("/")[0] for path in without}
    try:
        found = sorted(os.listdir(folder))
    except OSError as error:
        return digest.of_value([error.errno])
    return digest.of_value(
        [
            name
            for name in found
            if name not in left_out
            and not left_by_tools(name)
            and not made(os.path.relpath(f"{folder}/{name}", site.directory))
        ]
    )


def _beside(case: Case, site: Site, made: Iterable[str]) -> tuple[str, ...]:
    """What git ignores in the project, but for what runs make."""
    words = tuple(outputs_of_all(case.prepared.project.entry_points, case))
    outputs = covering(words)
    own = {*made}
    return tuple(
        each
        for path in site.beside
        if not outputs(path.rstrip("/")) and path not in own and not _only_holds(path, own)
        for each in _besides_outputs(path, words, site)
    )


def _besides_outputs(path: str, words: tuple[str, ...], site: Site) -> Iterator[str]:
    """An ignored path; of a folder in which outputs are to lie, what lies there besides them."""
    if not path.endswith("/") or not any(os.path.normpath(word).startswith(path) for word in words):
        yield path
        return
    outputs = covering(words)
    for file in sorted(_files_of(os.path.join(site.directory, path.rstrip("/")))):
        shown = os.path.relpath(file, site.directory)
        if not outputs(shown) and not left_by_tools(shown):
            yield shown


def _only_holds(folder: str, made: set[str]) -> bool:
    """Whether an ignored folder is there because the run wrote into it."""
    return folder.endswith("/") and any(path.startswith(folder) for path in made)


def _whole(case: Case, site: Site, made: Iterable[str]) -> Digest:
    """All that lies in the checkout but the run's own outputs: files of the tree, ignored ones by content."""
    own = covering((*(it.path for it in case.prepared.spec.outputs), *made))
    ignored = []
    for path in site.beside:
        if own(path.rstrip("/")):
            continue
        found = data.describe(
            site.project() / path,
            shown=path,
            kind="file",
            declared=False,
            reader=site.reader,
            contents=False,
        ).artifact
        ignored.append([path, found.digest])
    prefix = f"{site.snapshot.subdirectory}/" if site.snapshot.subdirectory else ""
    listed = [list(it) for it in site.listed if not own(os.path.relpath(it.path, prefix or "."))]
    return digest.of_value([listed, ignored])


def _is_below(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


# --- looking ----------------------------------------------------------------------------------------------


def broken(guard: Guard, case: Case, site: Site) -> str | None:
    """What a run would see otherwise than an earlier one did; None where it is all the same."""
    for sight in guard.reads:
        folder = site.absolute(sight.folder)
        found = site.reader.some(folder, sight.names)
        if found.digest != sight.digest:
            return f"{_which(sight)} read and not declared, changed since"
    if guard.whole is not None and _whole(case, site, (it.path for it in guard.made)) != guard.whole:
        return "something in the project changed since, and what it read was not observed"
    made = tuple(it.path for it in guard.made)
    if guard.whole is None and _beside(case, site, made) != guard.beside:
        different = sorted({*_beside(case, site, made)} ^ {*guard.beside})
        return f"`{different[0]}`, which git ignores, {_how(different[0], guard.beside)} since"
    writes = [site.absolute(path) for path in made]
    for folder, names in guard.names:
        full = site.absolute(folder)
        if _names_in(case, site, full, [path for path in writes if path.startswith(f"{full}/")]) != names:
            return f"other files than then lie in `{folder}`, from where it read"
    return None


def _how(path: str, before: tuple[str, ...]) -> str:
    return "went away" if path in before else "has come"


def _which(sight: Sight) -> str:
    folder = "" if sight.folder == "." else f"{sight.folder}/"
    if len(sight.names) == 1:
        return f"`{folder}{sight.names[0]}`, which it"
    return f"one of {len(sight.names)} files in `{folder or '.'}`, such as `{sight.names[0]}`, which it"


def left(guard: Guard, site: Site) -> tuple[tuple[Return, ...], str | None]:
    """Of what a run wrote and nobody declared: what is to be put back, or why that cannot be done."""
    returns = []
    for made in guard.made:
        path = site.absolute(made.path)
        found = site.reader.file(path)
        if isinstance(found, tuple):
            same = digest.TAG + found[0].hex() == made.digest
            if not same and not made.appended:
                return (), f"`{made.path}`, which it wrote and nobody declared, changed since"
        elif os.path.lexists(path) or os.path.isabs(made.path) or not made.stored or blocked(path, site):
            return (), f"`{made.path}`, which it wrote and nobody declared, is gone"
        else:
            returns.append(Return(path=made.path, digest=made.digest, executable=made.executable))
    return tuple(returns), None
