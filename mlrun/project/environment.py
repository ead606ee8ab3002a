"""What a project file says of its environment; only that a file it names is there is looked up."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlrun.model import EnvironmentRequest
from mlrun.pattern import pattern
from mlrun.project.nearby import nearby
from mlrun.project.notes import what
from mlrun.project.values import check_keys, items, optional, text, texts
from mlrun.value import replace
from mlrun.yamlfile import ListNode, MapNode, Scalar, as_text, closest, is_null

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlrun.project.notes import Notes
    from mlrun.yamlfile import Node

ENVIRONMENT_KEYS = ("python_env", "conda_env", "docker_env", "environment")
DOCKER_KEYS = ("image", "build", "dockerfile", "volumes", "environment")
IN_PLACE_KEYS = ("python", "requirements")

_ENVIRONMENT_FILE = pattern(r"\.(ya?ml|txt|toml|lock)$")


def read_environment(root: MapNode, directory: Path, notes: Notes) -> EnvironmentRequest:
    """The one environment that the project names; of several, the first, with an error."""
    named = [(key, node) for key, node in root.entries if key.text in ENVIRONMENT_KEYS and not is_null(node)]
    if not named:
        return EnvironmentRequest()
    (key, node), *others = named
    for other, _ in others:
        notes.error(
            "several-environments",
            f"a project has one environment, this one names `{key.text}` and `{other.text}`",
            other.place,
            hint="keep one of them",
        )
    match key.text:
        case "python_env" | "conda_env" as name:
            path = _file(name, node, directory, notes)
            return EnvironmentRequest(key=name, path=path, place=key.place)
        case "docker_env":
            return _docker(key, node, notes)
        case _:
            return _in_place(key, node, directory, notes)


def names_no_file(key: str, node: Node, directory: Path) -> bool:
    """Whether this is the key of an environment file that is not there."""
    if key not in ("python_env", "conda_env"):
        return False
    return not (isinstance(node, Scalar) and os.path.isfile(os.path.join(directory, node.text)))


def _file(key: str, node: Node, directory: Path, notes: Notes) -> str | None:
    """The path of a file that is there, as written. It may lie outside the project, as some do."""
    if not isinstance(node, Scalar):
        hint = '`environment: {python: "3.11", requirements: [numpy]}` says it in place'
        notes.expected(f"`{key}` must be the path of a file", node, code="bad-environment", hint=hint)
        return None
    path = node.text
    full = os.path.join(directory, path)
    if not os.path.isfile(full):  # never raises, whatever the path holds
        return _instead(key, node, directory, notes)
    if os.path.isabs(path):
        notes.warn(
            "absolute-path",
            f"`{key}` is an absolute path; other machines will not have `{path}`",
            node.place,
            hint="put the file into the project",
        )
    return path


def _instead(key: str, node: Scalar, directory: Path, notes: Notes) -> str:
    """The one file that was surely meant by a path that leads nowhere; MLflow refuses such a project."""
    path = node.text
    wrong = "is a directory" if os.path.isdir(os.path.join(directory, path)) else "does not exist"
    near = nearby(path, directory) if key in ("python_env", "conda_env") else ()
    if len(near) == 1:
        notes.warn(
            "another-environment-file",
            f"`{key}` names the file `{path}`, which {wrong}: `{near[0]}` is used",
            node.place,
            hint=f"`{key}: {near[0]}`",
        )
        return near[0]
    notes.error(
        "no-such-environment-file",
        f"`{key}` names the file `{path}`, which {wrong}",
        node.place,
        hint="which of these: " + ", ".join(f"`{it}`" for it in near)
        if near
        else _files_there(directory, path),
    )
    return path


def _files_there(directory: Path, path: str) -> str | None:
    names = sorted(it.name for it in directory.iterdir() if _ENVIRONMENT_FILE.search(it.name))
    near = closest(path, names)
    if near:
        return f"did you mean `{near}`?"
    return "there are: " + ", ".join(f"`{name}`" for name in names[:8]) if names else None


def _docker(key: Scalar, node: Node, notes: Notes) -> EnvironmentRequest:
    request = EnvironmentRequest(key="docker_env", place=key.place)
    if not isinstance(node, MapNode):
        hint = f"`docker_env: {{image: {node.text}}}`" if isinstance(node, Scalar) else None
        notes.expected("`docker_env` must be a mapping", node, code="bad-environment", hint=hint)
        return request
    check_keys(node, DOCKER_KEYS, "`docker_env`", notes, essential=("image",))
    node = _flat_build(node, notes)
    for name in ("image", "build", "dockerfile"):
        request = replace(request, **{name: optional(node.get(name), _text_of(name), notes)})
    if not (request.image or request.build or request.dockerfile or notes.errors):
        hint = "`image: python:3.11-slim`, or `build: .` to build the project's Dockerfile"
        notes.error("no-image", "`docker_env` names no `image`", key.place, hint=hint)
    variables = [
        _docker_variable(item, notes) for item in items(node.get("environment"), "environment", notes)
    ]
    return replace(
        request,
        volumes=texts(node.get("volumes"), "volumes", notes),
        variables=tuple(variable for variable in variables if variable),
    )


def _flat_build(node: MapNode, notes: Notes) -> MapNode:
    """`build: {context: ., dockerfile: Dockerfile}`, as Compose has it, in our two keys."""
    build = node.get("build")
    if not isinstance(build, MapNode):
        return node
    check_keys(build, ("context", "dockerfile"), "`build`", notes, strict=True)
    place = build.place
    given = {"build": build.get("context") or Scalar(place, "."), "dockerfile": build.get("dockerfile")}
    notes.warn(
        "compose-build", "`build` is read as Compose has it", place, hint="`build: .`, `dockerfile: …`"
    )
    others = tuple((key, value) for key, value in node.entries if key.text != "build")
    ours = tuple((Scalar(place, name), value) for name, value in given.items() if value is not None)
    return replace(node, entries=(*ours, *others))


def _text_of(key: str) -> Callable[[Node, Notes], str | None]:
    return lambda node, notes: text(node, key, notes) or None


def _docker_variable(node: Node, notes: Notes) -> tuple[str, str | None] | None:
    match node:
        case Scalar(text=name) if not is_null(node):
            return name, None
        case ListNode(items=(Scalar(text=name), Scalar() as value)):
            return name, as_text(value)
    notes.error(
        "bad-environment",
        f"a variable must be `NAME` (copied from the caller) or `[NAME, value]`, not {what(node)}",
        node.place,
    )
    return None


def _in_place(key: Scalar, node: Node, directory: Path, notes: Notes) -> EnvironmentRequest:
    request = EnvironmentRequest(key="environment", place=key.place)
    if not isinstance(node, MapNode):
        hint = '`environment: {python: "3.11", requirements: [numpy]}`, or name a file with `conda_env`'
        notes.expected("`environment` must be a mapping", node, code="bad-environment", hint=hint)
        return request
    check_keys(node, IN_PLACE_KEYS, "`environment`", notes, strict=True)
    python, requirements = node.get("python"), node.get("requirements")
    if python is not None and not is_null(python):
        request = replace(request, python=text(python, "python", notes))
    if isinstance(requirements, Scalar) and not is_null(requirements):
        return replace(request, path=_file("requirements", requirements, directory, notes))
    return replace(request, requirements=texts(requirements, "requirements", notes))
