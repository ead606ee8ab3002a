"""What a run saw beyond its key, noted once it is over, and held against what is there when another is asked.

The key holds what could be foreseen: the source's tree, what is declared. A program also reads what git
ignores and what lies elsewhere, and looks around in folders. Of a run that was watched that is known file by
file; of another all that lies in the checkout counts, ignored files and outputs of others too.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun import data, digest
from mlrun.caching.key import outputs_of_all, relevant, says_nothing
from mlrun.caching.patterns import covering
from mlrun.caching.placing import blocked
from mlrun.caching.site import left_by_tools
from mlrun.caching.values import Guard, Made, Return, Sight
from mlrun.data.names import by_word_first, is_pattern
from mlrun.model import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlrun.caching.site import Site
    from mlrun.caching.values import Case
    from mlrun.data.content import Folder
    from mlrun.model import Results, RunRecord
    from mlrun.observe.meaning import Seen

_A_FEW = 200
_PLACES_FOR_ANYTHING = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108


class NotKeptError(Exception):
    """Why a run cannot stand in for others."""


# --- noting -----------------------------------------------------------------------------------------------


def noted(case: Case, site: Site, record: RunRecord, seen: Seen | None, *, since: int) -> Guard:
    """The guard of a run that has ended well just now; `seen` is all that it opened and looked for, None
    where that is not known. `since` is when it began, ns since 1970 by the clock that files are stamped with.

    Raises NotKeptError, and SourceError where git cannot tell what lies beside the source.
    """
    executable = tuple(_executables(site, record, since))
    if seen is None:
        _check_links(site, record)
        made = _made_by_record(site, record)
        return Guard(made=made, whole=_whole(case, site, (it.path for it in made)), executable=executable)
    _check_secrets(case, seen)
    inputs = tuple(os.path.realpath(site.absolute(it.path)) for it in record.inputs if it.declared)
    reads = [read for read in seen.reads if not _is_below(os.path.realpath(read.path), inputs)]
    for read in reads:
        if read.state != "same":
            raise NotKeptError(f"it read `{site.shown(read.path)}`, {_UNLIKE[read.state]}")
    own = covering(it.path for it in case.prepared.spec.outputs)
    mine = frozenset(seen.writes)
    writes = tuple(path for path in seen.writes if not own(os.path.relpath(path, site.directory)))
    paths = {read.path for read in reads}
    paths |= {path for path in seen.executed if path not in mine and os.path.isfile(path)}
    folders = [folder for folder in seen.listed if not _is_below(folder, inputs)]
    absent = (path for path in seen.absent if not own(os.path.relpath(path, site.directory)))
    return Guard(
        reads=tuple(_sights(paths, site)),
        made=tuple(_made(path, site, path in seen.appended) for path in writes),
        names=tuple(_names(case, site, folders, seen.searched, paths, writes)),
        absent=tuple(site.shown(path) for path in absent),
        found=tuple(_found(case, site, seen, inputs)),
        ways=tuple(_ways(seen, site)),
        executable=executable,
    )


def _check_links(site: Site, record: RunRecord) -> None:
    """A folder is known by its links, not by what they lead to: only who watches a run sees that."""
    for item in record.inputs:
        if not item.declared or not item.tree:
            continue
        top = os.path.realpath(site.absolute(item.path))
        for folder, folders, names in os.walk(top):
            links = (f"{folder}/{name}" for name in (*folders, *names) if os.path.islink(f"{folder}/{name}"))
            if any(not _is_below(os.path.realpath(link), (top,)) for link in links):
                raise NotKeptError(
                    f"links in its input `{item.path}` lead out of it, and it was not observed"
                )


def _check_secrets(case: Case, seen: Seen) -> None:
    secret = [it.text for it in case.prepared.spec.parameters if it.secret and it.text]
    reads = (read.path for read in seen.reads)
    names = (*reads, *seen.writes, *seen.absent, *seen.found, *seen.executed, *seen.listed)
    if any(text in path for text in secret for path in names):
        raise NotKeptError("the value of a secret parameter is part of a path that it looked for")


_UNLIKE = {
    "overwritten": "which it wrote itself afterwards",
    "changed": "which somebody changed meanwhile",
    "gone": "which was removed meanwhile",
}


def _sights(paths: Iterable[str], site: Site) -> Iterator[Sight]:
    folders: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder or "/", []).append(name)
    for folder, names in sorted(folders.items()):
        found = site.reader.some(folder, sorted(names))
        if found.troubles:
            raise NotKeptError(f"{found.troubles[0]} which it read")
        digests = {path: its_digest for its_digest, path in found.contents}
        each = [digests[f"{folder}/{name}"] for name in sorted(names)] if len(names) <= _A_FEW else []
        yield Sight(
            folder=site.shown(folder), names=tuple(sorted(names)), digest=found.digest, each=tuple(each)
        )


def _found(case: Case, site: Site, seen: Seen, inputs: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """What was looked at and not read; of what the key holds nothing need be said."""
    counted = {f"{site.directory}/{each.path}" for each in relevant(case, site)}
    own = covering(it.path for it in case.prepared.spec.outputs)
    for path in seen.found:
        if path in counted or _is_below(path, inputs) or own(os.path.relpath(path, site.directory)):
            continue
        if not site.directory.startswith(path):
            yield site.shown(path), _state(path)


def _state(path: str) -> str:
    """What can be seen of something without opening it, but for times."""
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return f"link to {os.readlink(path)}: {_state(os.path.realpath(path))}"
    except OSError:
        return "gone"
    if stat.S_ISREG(status.st_mode):
        kind = "program" if status.st_mode & stat.S_IXUSR else "file"
        return f"{kind} of {status.st_size}"
    return "folder" if stat.S_ISDIR(status.st_mode) else "neither"


def _ways(seen: Seen, site: Site) -> Iterator[tuple[str, str]]:
    for name, real in seen.ways:
        plain = os.path.normpath(name)
        if plain == real:
            continue
        if os.path.realpath(plain) != real:
            raise NotKeptError(f"it went through `{site.shown(name)}`, which leads elsewhere by now")
        yield site.shown(plain), site.shown(real)


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
            if status.st_nlink > 1:
                raise NotKeptError(f"`{site.shown(file)}`, an output, is a hard link to another file")
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


def _names(
    case: Case,
    site: Site,
    folders: Iterable[str],
    searched: frozenset[str],
    reads: set[str],
    writes: tuple[str, ...],
) -> Iterator[tuple[str, Digest]]:
    """Folders that were listed, by what lies in them. Where only some code counts, a folder that modules were
    imported from is looked at for modules alone, and for the likes of what was read there: an import lists
    all of it."""
    imported = {path.rpartition("/")[0] for path in reads if path.endswith(".py")}
    for folder in folders:
        if folder in _PLACES_FOR_ANYTHING:
            continue
        modules = bool(case.prepared.spec.code) and folder in imported and folder not in searched
        inside = f"{folder.rstrip('/')}/"
        likes = {
            os.path.splitext(path)[1]
            for path in reads
            if path.startswith(inside) and "/" not in path[len(inside) :]
        }
        kinds = f"/*{{{','.join(sorted(likes.difference(_NO_LIKES)))}}}" if modules else ""
        yield f"{site.shown(folder)}{kinds}", _names_in(case, site, folder, writes, kinds=kinds)


_NO_LIKES = ("", ".py", ".so", ".pyd", ".pth")
_KINDS = re.compile(r"/\*\{([^{}]*)\}$")


def _names_in(case: Case, site: Site, folder: str, writes: Iterable[str], *, kinds: str) -> Digest:
    """What lies in a folder, by name, but for what runs make; with `kinds`, only modules and such files."""
    likes = tuple(filter(None, kinds[3:-1].split(",")))
    words = outputs_of_all(case, site)
    made = covering(words)
    inside = f"{folder.rstrip('/')}/"
    own = {path[len(inside) :].partition("/")[0] for path in writes if path.startswith(inside)}
    try:
        found = sorted(os.listdir(folder))
    except OSError:
        found = []  # it is there once something is put back into it

    def counts(name: str) -> bool:
        path = os.path.relpath(inside + name, site.directory)
        return not (
            name in own
            or left_by_tools(name)
            or says_nothing(path)
            or made(path)
            or any(word.startswith(f"{path}/") for word in words)
            or (kinds and not _is_module(inside + name) and not (likes and name.endswith(likes)))
        )

    return digest.of_value([name for name in found if counts(name)])


def _is_module(path: str) -> bool:
    return path.endswith((".py", ".so", ".pyd", ".pth")) or os.path.isdir(path)


def _whole(case: Case, site: Site, made: Iterable[str]) -> Digest:
    """All that lies in the checkout but the run's own outputs: files of the tree, ignored ones by content."""
    own = covering((*(it.path for it in case.prepared.spec.outputs), *made))
    ignored = []
    for path in (*site.beside, *site.overlooked):
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
    lying = site.once("lying", lambda: _lying(site))
    listed = [
        [*it, lying.get(f"{site.root}/{it.path}")]
        for it in site.listed
        if not own(os.path.relpath(it.path, prefix or "."))
    ]
    return digest.of_value([listed, ignored])


def _lying(site: Site) -> dict[str, str]:
    """The digests of files as they lie there: git may be told to keep something else, such as other ends of
    lines, or a notebook without its outputs."""
    names = sorted(it.path for it in site.listed if it.mode in ("100644", "100755"))
    return {path: its_digest for its_digest, path in site.reader.some(site.root, names).contents}


def _is_below(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


# --- looking ----------------------------------------------------------------------------------------------


def broken(guard: Guard, case: Case, site: Site) -> str | None:
    """What a run would see otherwise than an earlier one did; None where it is all the same."""
    for sight in guard.reads:
        found = site.reader.some(site.absolute(sight.folder), sight.names)
        if found.digest != sight.digest:
            return f"{_which(sight, found)} read and did not declare, changed since"
    if guard.whole is not None and _whole(case, site, (it.path for it in guard.made)) != guard.whole:
        return "something in the project changed since, and what it read was not observed"
    for path in guard.absent:
        if os.path.lexists(site.absolute(path)):
            return f"`{path}`, which it looked for, has come since"
    for path, state in guard.found:
        if _state(site.absolute(path)) != state:
            return f"`{path}`, which it looked at, changed since"
    for name, real in guard.ways:
        if site.shown(os.path.realpath(site.absolute(name))) != real:
            return f"`{name}`, through which it read, leads elsewhere now"
    writes = tuple(site.absolute(it.path) for it in guard.made)
    for shown, names in guard.names:
        match = _KINDS.search(shown)
        folder, kinds = (shown[: match.start()], match[0]) if match else (shown, "")
        if _names_in(case, site, site.absolute(folder), writes, kinds=kinds) != names:
            return f"other files than then lie in `{folder}`, which it listed"
    return None


def leftover(results: Results, case: Case, site: Site) -> str | None:
    """What a pattern among the outputs names and this run did not make: it would pass for its doing."""
    patterns = tuple(it for it in case.prepared.spec.outputs if is_pattern(it.path))
    if not patterns:
        return None
    own = {os.path.normpath(site.absolute(it.path)) for it in results.outputs if it.declared}
    for spec, path in by_word_first(patterns, Path(site.directory)):
        if path is not None and os.fspath(path) not in own:
            return (
                f"`{site.shown(os.fspath(path))}` is among its outputs `{spec.path}`, and not of its making"
            )
    return None


def _which(sight: Sight, found: Folder) -> str:
    folder = "" if sight.folder == "." else f"{sight.folder}/"
    now = {path.rpartition("/")[2]: its_digest for its_digest, path in found.contents}
    for name, its_digest in zip(sight.names, sight.each, strict=False):
        if now.get(name) != its_digest:
            return f"`{folder}{name}`, which it"
    return f"one of {len(sight.names)} files in `{folder or '.'}` that it"


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
        elif os.path.lexists(path) or not path.startswith(f"{site.root}/") or _is_lost(made, path, site):
            return (), f"`{made.path}`, which it wrote and nobody declared, is gone"
        else:
            returns.append(Return(path=made.path, digest=made.digest, executable=made.executable))
    return tuple(returns), None


def _is_lost(made: Made, path: str, site: Site) -> bool:
    return os.path.isabs(made.path) or not made.stored or blocked(path, site) is not None
