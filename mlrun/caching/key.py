"""The key of a run: a digest of all that is known, before it is made, to decide its result.

It is keyed with a number that only this home has: a record that tells it gives nothing away of what went in,
be it the value of a secret parameter.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from functools import partial
from typing import TYPE_CHECKING

from blake3 import blake3

from mlrun.caching.patterns import covering
from mlrun.caching.values import Key
from mlrun.digest import TAG, canonical_json, of_value
from mlrun.errors import ProjectError
from mlrun.model import Digest
from mlrun.pattern import pattern
from mlrun.resolve import filled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from mlrun.caching.site import Site
    from mlrun.caching.values import Case
    from mlrun.files import Home
    from mlrun.model import Artifact, EntryPoint
    from mlrun.recording import Prepared
    from mlrun.source.listing import Listed

FORMAT = "mlrun/cached/v1"
"""Raised when runs of an older mlrun should not stand in for new ones."""

_LEADING = (
    *("PYTHONPATH", "PYTHONSTARTUP", "PYTHONOPTIMIZE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
    *("R_LIBS", "R_LIBS_USER", "PERL5LIB", "NODE_PATH", "JULIA_LOAD_PATH"),
)
"""Variables of the caller's that lead a program to other code."""
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)")
_SHELLS_OWN = frozenset(("PATH", "PWD", "OLDPWD", "SHLVL", "_"))
_PROGRAM = re.compile(
    r"(?:^|[;&|(\n]|\b(?:then|do|else|exec|time|nohup|env)\s)\s*(?:\w+=\S*\s+)*([A-Za-z_][\w.+-]*)(?![\w./=])"
)
_OF_THE_COMMIT = "SOURCE_DATE_EPOCH"  # a date of all the repository, not of the code that counts
_SAY_NOTHING = frozenset(("readme", "license", "licence", "changelog", "contributing"))
_SETTINGS_OF_GIT = (".gitignore", ".gitattributes")
_PLACEHOLDER = pattern(r"\{[^{}]*\}")
_SALT = 32


def why_none(case: Case) -> str | None:
    """Why no run can be found for this one, or be kept for others, whatever else holds; None if it can."""
    if case.prepared.past is not None:
        return "it repeats a run"
    for item in case.inputs:
        if item.digest is None:
            return f"input `{item.path}` cannot be read as a whole"
    for spec in case.prepared.spec.outputs:
        if os.path.normpath(spec.path) in (".", "..") or spec.path.startswith("../.."):
            return f"output `{spec.path}` is the project's own folder"
    return None


def key_of(case: Case, site: Site) -> Key:
    """The key of a run. Raises SourceError where git cannot tell what the source holds."""
    code = relevant(case, site)
    here = _Here(case, site)
    what = ("surrounded", id(case.environment), id(case.determinism), case.prepared.request.docker_args)
    surrounded = site.once(what, lambda: (case, _surrounded(case, site, here)))[1]
    content = {"format": FORMAT, **_called(case, here), **surrounded}
    content["code"] = site.once(("code", id(code)), lambda: (code, of_value([list(it) for it in code])))[1]
    content["inputs"] = sorted(_input(item, site) for item in case.inputs)
    content["named"] = list(_named_besides(case, site))
    content["taken"] = _taken(case, site, here)
    keyed = blake3(canonical_json(content), key=site.once("salt", lambda: _salt(site.store.home))).hexdigest()
    return Key(
        digest=Digest(TAG + keyed),
        code=code,
        inputs=tuple((item.path, item.digest) for item in case.inputs),
    )


# --- the command, and what is around it -----------------------------------------------------------------


def _called(case: Case, here: _Here) -> dict[str, object]:
    spec = case.prepared.spec
    return {
        "argv": [here.plain(word) for word in spec.argv],
        "parameters": sorted([it.name, it.kind, here.plain(it.text)] for it in spec.parameters),
        "variables": sorted([name, here.plain(text)] for name, text in spec.variables),
        "outputs": sorted([it.path, it.kind] for it in spec.outputs),
        "observe": spec.observe,  # a run that nobody watched stands in for none that will be
    }


def _surrounded(case: Case, site: Site, here: _Here) -> dict[str, object]:
    environment, request = case.environment, case.prepared.request
    facts = case.determinism
    given = site.caller.variables if environment.kind != "docker" else {}
    return {
        "environment": [environment.kind, environment.key, environment.platform],
        "set": sorted([name, here.plain(text)] for name, text in environment.variables),
        "image": environment.image.id if environment.image else None,
        "volumes": [here.plain(text) for text in environment.volumes],
        "docker": [list(pair) for pair in request.docker_args],
        "determinism": facts
        and {
            "on": facts.on,
            "variables": [list(pair) for pair in facts.variables if pair[0] != _OF_THE_COMMIT],
            "found": [list(pair) for pair in facts.found],
            "umask": facts.umask,
        },
        "leading": [[name, here.plain(given[name])] for name in _LEADING if given.get(name)],
    }


def _taken(case: Case, site: Site, here: _Here) -> list[list[object]]:
    """What the words of the command take from the caller: values of variables, programs by way of PATH."""
    if case.environment.kind == "docker":
        return []
    command, given = case.prepared.spec.argv[-1], site.caller.variables
    own = {name for name, _ in (*case.prepared.spec.variables, *case.environment.variables)} | _SHELLS_OWN
    names = sorted(set(_VARIABLE.findall(command)) - own) if "$" in command else []
    where = (tuple(case.environment.path), given.get("PATH", os.defpath))
    programs = [
        site.once(("program", word, *where), partial(_program, word, *where, site.root))
        for word in sorted(set(_PROGRAM.findall(command)))
    ]
    return [*([name, here.plain(given[name])] for name in names if name in given), *filter(None, programs)]


def _program(word: str, built: tuple[str, ...], path: str, root: str) -> list[object] | None:
    """Where a program really lies, its size and when it was changed: a guard does not look at the system's.

    Those that the environment has `built` are pinned with it, those of the source with that.
    """
    for folder in (*built, *path.split(os.pathsep)):
        found = os.path.join(folder, word)
        if os.path.isfile(found) and os.access(found, os.X_OK):
            real, status = os.path.realpath(found), os.stat(found)
            pinned = folder in built or real.startswith(f"{root}/")
            return None if pinned else [word, real, status.st_size, status.st_mtime_ns]
    return None


class _Here:
    """Texts without the places that are another's elsewhere: the checkout, the environment, downloads."""

    def __init__(self, case: Case, site: Site) -> None:
        self._case = case
        self._site = site

    def plain(self, text: str) -> str:
        if "/" not in text:  # as most words
            return text
        site, location = self._site, self._case.environment.location
        text = text.replace(f"{site.cache.checkouts}/{self._case.prepared.run_id}.downloads", "{downloads}")
        # Whose output it is does not matter; the digest of what it holds follows.
        inputs = site.once("inputs", lambda: re.compile(rf"{re.escape(str(site.cache.inputs))}/\w+/"))
        text = inputs.sub("{inputs}/", text)
        places, words = site.once(("places", location), lambda: _places(self._case, location))
        return words.sub(lambda match: places[match[0]], text) if words else text


def _places(case: Case, location: Path | None) -> tuple[dict[str, str], re.Pattern[str] | None]:
    snapshot = case.prepared.snapshot
    places = {str(snapshot.directory): "{project}", str(snapshot.root): "{root}"}
    if location is not None:
        places[str(location)] = "{environment}"
    places = {place: name for place, name in places.items() if place.count("/") > 1}
    words = "|".join(re.escape(place) for place in sorted(places, key=len, reverse=True))
    return places, re.compile(rf"(?:{words})(?![\w.-])") if words else None


# --- inputs ---------------------------------------------------------------------------------------------


def _input(item: Artifact, site: Site) -> list[object]:
    """By content; what lies outside is called by its name in the command, if that matters."""
    path = site.absolute(item.path)
    executable = not item.tree and os.access(path, os.X_OK)
    shown = item.parameter or site.shown(path)
    return [shown, item.digest, item.tree, executable]


# --- code -----------------------------------------------------------------------------------------------


def relevant(case: Case, site: Site) -> tuple[Listed, ...]:
    """The files of the source's tree that count: those that the entry point names, else all of the project's
    but what runs make, what goes in and is counted by content, and what only says what the key knows."""
    prepared, spec = case.prepared, case.prepared.spec
    inputs = [site.shown(site.absolute(item.path)) for item in case.inputs]
    own = [it.path for it in spec.outputs]
    if spec.code:
        named = covering(spec.code)
        return _without((*own, *inputs), tuple(each for each in site.inside if named(each.path)), site)
    others = (prepared.project.entry_points, prepared.project.file, prepared.asked.files)
    common = site.once(("common", id(others[0]), *others[1:]), lambda: (others, _common(case, site)))[1]
    return _without((*own, *inputs), common, site)


def counting(prepared: Prepared, inputs: Iterable[str]) -> Callable[[str], bool]:
    """The rule of `relevant` for a path of the project, be it there or not; `inputs` are those that go in."""
    besides = covering((*(it.path for it in prepared.spec.outputs), *inputs))
    if prepared.spec.code:
        named = covering(prepared.spec.code)
        return lambda path: named(path) and not besides(path)
    made = covering(_made(prepared.project.entry_points))
    told = {prepared.project.file, *prepared.asked.files}
    return lambda path: not (path in told or says_nothing(path) or made(path) or besides(path))


def _common(case: Case, site: Site) -> tuple[Listed, ...]:
    """The files that count for every entry point which names none, but for what goes in."""
    made = covering(_made(case.prepared.project.entry_points))
    told = {case.prepared.project.file, *case.prepared.asked.files}
    return tuple(
        each
        for each in site.inside
        if each.path not in told and not says_nothing(each.path) and not made(each.path)
    )


def _without(words: tuple[str, ...], files: tuple[Listed, ...], site: Site) -> tuple[Listed, ...]:
    """The very same files, where the words mean none of them; of few words that is quickly told."""
    telling = [word for word in words if "[" in word or "*" in word or "?" in word or site.holds(word)]
    if not telling:
        return files
    covers = covering(telling)
    return tuple(each for each in files if not covers(each.path))


def says_nothing(path: str) -> bool:
    """Whether a file at the project's top is for people, or for git."""
    name, dot, ending = path.lower().partition(".")
    if name in _SAY_NOTHING:
        return not dot or ending.replace("_", "a").isalnum()
    return not name and path.lower() in _SETTINGS_OF_GIT


def outputs_of_all(case: Case, site: Site) -> tuple[str, ...]:
    """What this run, or any other of the project's entry points, declares to make."""
    entry_points = case.prepared.project.entry_points
    made = site.once(("made", id(entry_points)), lambda: (entry_points, tuple(_made(entry_points))))[1]
    return (*(it.path for it in case.prepared.spec.outputs), *made)


def _made(entry_points: tuple[EntryPoint, ...]) -> Iterator[str]:
    for entry_point in entry_points:
        defaults = {it.name: it.default for it in entry_point.parameters if it.default is not None}
        for output in entry_point.outputs:
            with contextlib.suppress(ProjectError):
                path = filled(output.path, defaults, output.place)
                if os.path.normpath(path) not in (".", ".."):
                    yield path
            pattern = _PLACEHOLDER.sub("*", output.path)
            if pattern != output.path and pattern.strip("*/."):
                yield pattern


def _named_besides(case: Case, site: Site) -> Iterator[list[object]]:
    """What an entry point calls its code and no snapshot holds: by content, as it lies there."""
    from mlrun import data

    known = {each.path for each in site.inside}
    for word in case.prepared.spec.code:
        path = os.path.normpath(word)
        full = site.project() / path
        if path in known or path == "." or not full.exists():
            continue
        if full.is_dir() and any(each.startswith(f"{path}/") for each in known):
            continue
        found = data.describe(
            full, shown=path, kind="code", declared=True, reader=site.reader, contents=False
        ).artifact
        yield [path, found.digest]


# --- the number that only this home has -----------------------------------------------------------------


def _salt(home: Home) -> bytes:
    """Made once. Where it is lost, no earlier run is found any more, and nothing worse."""
    path = home.cached / "salt"
    with contextlib.suppress(OSError):
        found = path.read_bytes()
        if len(found) == _SALT:
            return found
        path.unlink()
    return _new_salt(path)


def _new_salt(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"salt.{os.getpid()}.{time.monotonic_ns()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, os.urandom(_SALT))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        with contextlib.suppress(FileExistsError):  # somebody was quicker: then theirs
            os.link(scratch, path)
    finally:
        os.unlink(scratch)
    return path.read_bytes()
