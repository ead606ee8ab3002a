"""Who needs whom: by `needs`, and by the files that one writes and another reads.

An error is raised when it is met; `problems` (for `mlrun check`) goes through all entry points instead.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from mlrun.data.names import is_pattern
from mlrun.errors import MlrunError, ProjectError
from mlrun.model import DataSpec, EntryPoint, Finding, RunRequest
from mlrun.pattern import pattern
from mlrun.pipelines import given
from mlrun.pipelines.paths import overlap, plain
from mlrun.pipelines.values import Link, Plan, Step
from mlrun.resolve import filled, resolve
from mlrun.value import replace, value
from mlrun.yamlfile import closest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlrun.model import Place, Project
    from mlrun.resolve import Locator

_ELSEWHERE = pattern(r"[A-Za-z][A-Za-z0-9+.-]*:")


def plan(project: Project, request: RunRequest, *, files: Locator, is_there: Callable[[str], bool]) -> Plan:
    """The steps that a request means, in order.

    `is_there` says whether a path or pattern, relative to the project, names something that exists. Raises
    ProjectError (`unknown-need`, `circular-needs`, `same-output`, `missing-input`) and ParameterError.
    """
    graph = Graph(project, request, files)
    if request.entry_point not in graph.entry_points:
        return _alone(project, request, files)
    names = graph.order(request.entry_point)
    entry_points = [graph.entry_points[name] for name in names]
    given.check(request, entry_points, project)
    graph.refuse_rivals(names)
    if len(names) > 1:
        for name in names:
            graph.refuse_orphans(name, is_there)
    made = _Made(files, graph, names)
    return Plan(entry_point=request.entry_point, steps=tuple(graph.step(name, made) for name in names))


def _alone(project: Project, request: RunRequest, files: Locator) -> Plan:
    """A script, which nobody declares. Raises ProjectError (`no-such-entry-point`)."""
    spec = resolve(project, request, files=files)
    script = EntryPoint(name=spec.entry_point, command=spec.command)
    step = Step(entry_point=script, request=request, spec=spec)
    return Plan(entry_point=request.entry_point, steps=(step,))


def everything(
    project: Project, request: RunRequest, *, files: Locator, target: str | None = None
) -> tuple[tuple[str, tuple[Link, ...], Step | MlrunError], ...]:
    """All entry points in order, each with its links, and ready to run, or why it is not.

    With `target`, only this one and what it needs. Raises ProjectError where they cannot be put in order.
    """
    graph = Graph(project, request, files)
    targets = graph.entry_points if target is None else (target,)
    names = list(dict.fromkeys(it for each in targets for it in graph.order(each)))
    made = _Made(files, graph, names)
    found: list[tuple[str, tuple[Link, ...], Step | MlrunError]] = []
    for name in names:
        try:
            found.append((name, graph.links(name), graph.step(name, made)))
        except MlrunError as error:
            found.append((name, graph.links(name), error))
    return tuple(found)


def problems(project: Project, *, files: Locator, is_there: Callable[[str], bool]) -> Iterator[Finding]:
    """What keeps entry points from being put in order, each thing once; defaults stand for parameters."""
    seen = {error.message for _, error in project.broken}
    for entry_point in project.entry_points:
        graph = Graph(project, RunRequest(target=".", entry_point=entry_point.name), files)
        for finding in graph.problems(entry_point.name, is_there):
            if finding.message not in seen:
                seen.add(finding.message)
                yield finding
    graph = Graph(project, RunRequest(target="."), files)
    names = [it.name for it in project.entry_points]
    for rivalry in graph.rivals(names):
        if rivalry.message not in seen:
            yield _as_finding(rivalry, level="warning")


@value
class _Declared:
    """An input or output with its path in the one form, as far as its parameters are known."""

    path: str
    spec: DataSpec


class _Written:
    """The outputs of entry points, so laid out that those which meet a path are found without trying all."""

    def __init__(self, outputs: dict[str, list[_Declared]]) -> None:
        self._all = [(name, it) for name, own in outputs.items() for it in own]
        self._at: dict[str, list[tuple[str, _Declared]]] = {}
        self._below: dict[str, list[tuple[str, _Declared]]] = {}
        self._patterns = []
        for name, it in self._all:
            if is_pattern(it.path) or it.path == ".":
                self._patterns.append((name, it))
                continue
            self._at.setdefault(it.path, []).append((name, it))
            for folder in _folders(it.path):
                self._below.setdefault(folder, []).append((name, it))

    def meeting(self, path: str) -> Iterator[tuple[str, _Declared]]:
        """Each with the entry point that writes it."""
        if is_pattern(path) or path == ".":
            yield from ((name, it) for name, it in self._all if overlap(it.path, path))
            return
        yield from self._at.get(path, ())
        yield from self._below.get(path, ())
        for folder in _folders(path):
            yield from self._at.get(folder, ())
        yield from ((name, it) for name, it in self._patterns if overlap(it.path, path))


def _folders(path: str) -> Iterator[str]:
    while (at := path.rfind("/")) > 0:
        path = path[:at]
        yield path


class Graph:
    """All entry points of a project with their files, as a request fills them in."""

    def __init__(self, project: Project, request: RunRequest, files: Locator) -> None:
        self._project = project
        self._request = request
        self._files = files
        self.entry_points = {it.name: it for it in project.entry_points}
        self._position = {name: at for at, name in enumerate(self.entry_points)}
        texts = {it.name: self._texts(it) for it in project.entry_points}
        self._inputs = {
            it.name: [*self._declared(it.inputs, texts[it.name]), *self._paths(it, texts[it.name])]
            for it in project.entry_points
        }
        self._outputs = {
            it.name: self._declared(it.outputs, texts[it.name]) for it in project.entry_points if it.outputs
        }
        self._written = _Written(self._outputs)
        self._links: dict[str, tuple[Link, ...]] = {}

    # --- files ----------------------------------------------------------------------------------------

    def _texts(self, entry_point: EntryPoint) -> dict[str, str]:
        """The values that are known: what is missing is complained of when it is to run."""
        own = given.request_of(entry_point, self._request, self._project)
        values = dict((*own.file_parameters, *own.parameters))
        texts = {}
        for parameter in entry_point.parameters:
            text = values.get(parameter.name, parameter.default)
            if text is not None and parameter.kind == "path" and not _ELSEWHERE.match(text):
                given_here = parameter.name in values
                folder = self._files.caller_directory if given_here else self._files.project_directory
                text = os.path.normpath(os.path.join(folder, text))
            if text is not None:
                texts[parameter.name] = text
        return texts

    def _declared(self, specs: tuple[DataSpec, ...], texts: dict[str, str]) -> list[_Declared]:
        found = []
        for spec in specs:
            try:
                text = filled(spec.path, texts, spec.place)
            except ProjectError:
                continue  # told when it is resolved
            if text and not _ELSEWHERE.match(text):
                found.append(_Declared(path=plain(text, self._files.project_directory), spec=spec))
        return found

    def _paths(self, entry_point: EntryPoint, texts: dict[str, str]) -> list[_Declared]:
        """A `path` parameter is an input, declared or not."""
        return [
            _Declared(
                path=plain(texts[it.name], self._files.project_directory),
                spec=DataSpec(path=texts[it.name], place=it.place),
            )
            for it in entry_point.parameters
            if it.kind == "path" and texts.get(it.name) and not _ELSEWHERE.match(texts[it.name])
        ]

    def outputs(self, names: list[str]) -> list[str]:
        """The paths that some steps write."""
        return [it.path for name in names for it in self._outputs.get(name, ())]

    # --- links ----------------------------------------------------------------------------------------

    def links(self, name: str) -> tuple[Link, ...]:
        """Why an entry point comes after others: its own word first. Raises ProjectError (`unknown-need`)."""
        if name not in self._links:
            said = tuple(Link(maker=need) for need in self.entry_points[name].needs)
            for link in said:
                self._refuse_unknown(name, link.maker)
            self._links[name] = (*said, *self._links_by_files(name))
        return self._links[name]

    def _links_by_files(self, name: str) -> Iterator[Link]:
        for read in self._inputs[name]:
            found = dict.fromkeys(other for other, _ in self._written.meeting(read.path) if other != name)
            makers = sorted(found, key=self._position.__getitem__) if len(found) > 1 else list(found)
            if len(makers) > 1:  # its own word decides which is meant
                said = self._said(name)
                makers = [it for it in makers if it in said] or makers
            yield from (Link(maker=maker, path=read.path) for maker in makers)

    def _said(self, name: str) -> set[str]:
        """All that an entry point needs by words alone."""
        found: set[str] = set()
        queue = [name]
        while queue:
            for need in self.entry_points[queue.pop()].needs:
                if need not in found and need in self.entry_points:
                    found.add(need)
                    queue.append(need)
        return found

    def _refuse_unknown(self, name: str, need: str) -> None:
        if need in self.entry_points:
            return
        for broken, error in self._project.broken:
            if broken == need:
                raise ProjectError(error.message, hint=error.hint, code=error.code, place=error.place)
        near = closest(need, self.entry_points)
        listed = ", ".join(f"`{it}`" for it in self.entry_points)
        raise ProjectError(
            f"entry point `{name}` needs `{need}`, which is not declared",
            hint=f"did you mean `{near}`?" if near else f"there are {listed}",
            code="unknown-need",
            place=self._place_of(name, need),
        )

    def _place_of(self, name: str, need: str) -> Place | None:
        """Where it is written that an entry point needs another: its own word, or what it reads."""
        entry_point = self.entry_points[name]
        said = dict(zip(entry_point.needs, entry_point.need_places, strict=False))
        if need in said:
            return said[need]
        paths = {link.path for link in self._links.get(name, ()) if link.maker == need}
        places = (it.spec.place for it in self._inputs[name] if it.path in paths)
        return next(places, None) or entry_point.place

    # --- order ----------------------------------------------------------------------------------------

    def order(self, target: str) -> list[str]:
        """What has to run for an entry point, each after what it needs.

        Raises ProjectError (`circular-needs`).
        """
        done: list[str] = []
        finished: set[str] = set()
        way: list[str] = []
        stack = [(target, iter(self.links(target)))]
        way.append(target)
        while stack:
            name, rest = stack[-1]
            link = next(rest, None)
            if link is None:
                stack.pop()
                way.pop()
                finished.add(name)
                done.append(name)
            elif link.maker in way:
                raise self._circle([*way[way.index(link.maker) :], link.maker])
            elif link.maker not in finished:
                way.append(link.maker)
                stack.append((link.maker, iter(self.links(link.maker))))
        return done

    def _circle(self, way: list[str]) -> ProjectError:
        """`way` leads from an entry point back to itself; it is told alike wherever it was entered."""
        first = way.index(min(way))
        way = [*way[first:-1], *way[: first + 1]] if first else way
        shown = f"`{way[0]}`"
        for name, need in pairwise(way):
            link = next(it for it in self.links(name) if it.maker == need)
            shown += f" → `{need}`" + (f" (for {link.path})" if link.path else "")
        return ProjectError(
            f"entry points need each other: {shown}",
            hint="take one of these needs away, or let it read another file",
            code="circular-needs",
            place=self._place_of(way[0], way[1]),
        )

    # --- what cannot be -------------------------------------------------------------------------------

    def refuse_rivals(self, names: list[str]) -> None:
        """Raises ProjectError (`same-output`) where two steps write the same file."""
        for error in self.rivals(names):
            raise error

    def rivals(self, names: list[str]) -> Iterator[ProjectError]:
        """Every two of some entry points that write the same file, or one into the folder of the other."""
        concerned = set(names)
        for name in self.entry_points:
            for mine in self._outputs.get(name, ()) if name in concerned else ():
                for other, theirs in self._written.meeting(mine.path):
                    if other in concerned and self._position[other] < self._position[name]:
                        yield _rivals(other, theirs, name, mine)

    def refuse_orphans(self, name: str, is_there: Callable[[str], bool]) -> None:
        """Raises ProjectError (`missing-input`) for an input that nobody makes, and that is not there."""
        for error in self.orphans(name, is_there):
            raise error

    def orphans(self, name: str, is_there: Callable[[str], bool]) -> Iterator[ProjectError]:
        """The declared inputs of an entry point that cannot be there when it runs."""
        made = {link.path for link in self.links(name)}
        declared = {id(spec) for spec in self.entry_points[name].inputs}
        for read in self._inputs[name]:
            if id(read.spec) not in declared or read.path in made or self._is_there(read, is_there):
                continue
            others = (outputs for maker, outputs in self._outputs.items() if maker != name)
            near = closest(read.path, [it.path for outputs in others for it in outputs])
            yield ProjectError(
                f"input `{read.path}` of `{name}` is not there, and no entry point writes it",
                hint=f"did you mean `{near}`?" if near else "list it under `outputs` of the one that does",
                code="missing-input",
                place=read.spec.place,
            )

    def _is_there(self, read: _Declared, is_there: Callable[[str], bool]) -> bool:
        """The default of a `path` parameter may be meant from where the caller is."""
        if is_there(read.path):
            return True
        elsewhere = os.path.join(self._files.caller_directory, read.path)
        return "{" in read.spec.path and self._files.exists(elsewhere)

    def problems(self, name: str, is_there: Callable[[str], bool]) -> Iterator[Finding]:
        """All that keeps an entry point from running after what it needs."""
        try:
            names = self.order(name)
        except MlrunError as error:
            yield _as_finding(error)
            return
        if len(names) == 1:
            return
        yield from map(_as_finding, self.rivals(names))
        for each in names:
            yield from map(_as_finding, self.orphans(each, is_there))

    # --- steps ----------------------------------------------------------------------------------------

    def step(self, name: str, files: Locator) -> Step:
        """An entry point ready to run. Raises ProjectError and ParameterError, as `resolve` does."""
        entry_point = self.entry_points[name]
        request = given.request_of(entry_point, self._request, self._project)
        if request.cache is None and entry_point.cache is None:
            request = replace(request, cache=True)
        spec = resolve(self._project, request, files=files)
        return Step(entry_point=entry_point, request=request, spec=spec, links=self.links(name))


class _Made:
    """A world in which what the steps write is there already."""

    def __init__(self, files: Locator, graph: Graph, names: list[str]) -> None:
        self.project_directory = files.project_directory
        self.caller_directory = files.caller_directory
        self._files = files
        self._outputs = graph.outputs(names)

    def exists(self, path: str) -> bool:
        if self._files.exists(path):
            return True
        asked = plain(path, self.project_directory)
        return any(overlap(output, asked) for output in self._outputs)

    def download(self, url: str) -> str:
        return self._files.download(url)


def _rivals(other: str, theirs: _Declared, name: str, mine: _Declared) -> ProjectError:
    if theirs.path == mine.path:
        message = f"`{other}` and `{name}` both write `{mine.path}`"
    else:
        message = f"`{name}` writes `{mine.path}`, and `{other}` `{theirs.path}`: that may be the same file"
    where = f" ({_line(theirs.spec.place)})" if theirs.spec.place else ""
    return ProjectError(
        message + where,
        hint="give each file one maker; where they are alternatives, let `needs` say which is meant",
        code="same-output",
        place=mine.spec.place,
    )


def _line(place: Place) -> str:
    return f"{place.file}:{place.line}"


def _as_finding(error: MlrunError, level: Literal["error", "warning"] = "error") -> Finding:
    return Finding(
        level=level,
        code=error.code,
        message=error.message,
        place=error.place,
        hint=error.hint,
    )
