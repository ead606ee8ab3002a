"""Environments that are container images: `docker_env`, and a venv made inside an image.

A run in one is a program of ours in the place of the user's, which carries a container (`containers.attach`):
for `process.run` it is a job like any other.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlrun import digest
from mlrun.env.shelf import shorten
from mlrun.env.values import Asked, Container, Plan
from mlrun.errors import EnvironmentBuildError
from mlrun.files import write_atomic
from mlrun.model import Environment, Finding, Job, Usage
from mlrun.value import replace, value

if TYPE_CHECKING:
    from mlrun.env.containers.volumes import Volume
    from mlrun.env.values import Site, Visit
    from mlrun.model import Digest, EnvironmentFacts, EnvironmentRequest, Image, Narrator, Outcome

_OBSERVED = (
    'if [ -n "${MLRUN_OBSERVE:-}" ]; then '
    'tried() { command -v "$1" >/dev/null 2>&1 || return 0; [ -z "$(LD_PRELOAD=$shim "$@" 2>&1)" ]; }; '
    'loads() { shim=$MLRUN_OBSERVE/$1; tried sh -c : && tried bash -c : && tried python3 -ISc ""; }; '
    'if [ -z "$MLRUN_OBSERVE_SHIM" ]; then false; elif loads shim.so; then true; '
    'elif loads shim-dl.so; then mv "$shim" "$MLRUN_OBSERVE/shim.so"; else false; fi; '
    'if [ $? = 0 ]; then export LD_PRELOAD="${LD_PRELOAD:+$LD_PRELOAD:}$MLRUN_OBSERVE/shim.so"; '
    'else export PYTHONPATH="$MLRUN_OBSERVE/hook${PYTHONPATH:+:$PYTHONPATH}"; '
    ': > "$MLRUN_OBSERVE/python-only"; fi; fi; unset MLRUN_OBSERVE_SHIM shim; '
)
"""Load the shim that tells which files are opened (`observing`), if the image's own programs can: a static
shell does not even try, and says nothing of a library that the others would miss."""
_IN_THE_CONTAINER = (
    '[ -w "${HOME:-/}" ] || { export HOME=/tmp; : "${LOGNAME:=mlrun}"; export LOGNAME; }; '
    'if [ "$1" = bash ] && ! command -v bash >/dev/null 2>&1; then shift; set -- sh "$@"; fi; '
)
"""Before the command: a home for a user whom the image does not know, and `sh` where it has no bash."""

_TRACKING = tuple(f"MLFLOW_TRACKING_{name}" for name in ("URI", "USERNAME", "PASSWORD", "TOKEN"))
"""Where MLflow logs, and who logs in there."""


def read_container(request: EnvironmentRequest, *, skip_build: bool = False) -> Asked:
    """What `docker_env` asks; with `skip_build`, of a Dockerfile the image of an earlier build."""
    container = Container(
        image=request.image,
        build=request.build,
        dockerfile=request.dockerfile,
        volumes=request.volumes,
        variables=request.variables,
        place=request.place,
        skip_build=skip_build,
    )
    file = container.dockerfile or os.path.normpath(os.path.join(container.build or ".", "Dockerfile"))
    what = f"build of {file}" if is_built(container) else container.image
    return Asked(kind="docker", summary=f"docker_env: {what}", container=container)


def is_built(container: Container) -> bool:
    """Whether the project has its own Dockerfile built."""
    return container.build is not None or container.dockerfile is not None


# --- the image ------------------------------------------------------------------------------------------


def plan(asked: Asked, site: Site) -> Plan:
    """Whether the image is there. Raises EnvironmentBuildError where no engine is."""
    from mlrun.env.containers import builds, engine, images

    container = _container(asked)
    client = engine.connect(engine.address(site.caller))
    if container.image is None and not is_built(container):
        return _plan_with_environment(client, asked, site)
    if not is_built(container):
        found = images.find(client, container.image or "")
    else:
        found = builds.planned(client, builds.recipe(container, site.directory), site)
        found = replace(found, name=container.image or found.name) if found else None
    if found is None:
        return Plan(kind="docker", action="build", summary=asked.summary)
    return Plan(kind="docker", action="reuse", summary=asked.summary, key=_key_of(found), image=found)


def _plan_with_environment(client: Any, asked: Asked, site: Site) -> Plan:
    """Both the environment and the image made of it must be there."""
    from mlrun.env.containers.provision import planned

    made, found = planned(client, asked, site)
    if found is None:
        return replace(made, kind="docker", action="build", key=None)
    return replace(made, kind="docker", key=_key_of(found), image=found)


def ensure(asked: Asked, site: Site, *, narrator: Narrator, refresh: bool) -> Environment:
    """The image that answers what is asked: found, pulled, or built. Raises EnvironmentBuildError."""
    from mlrun.env.containers import engine, leftovers, volumes

    container = _container(asked)
    started = time.monotonic()
    variables = _variables(container, site)
    mounted = (
        volumes.read(text, directory=site.directory, caller=site.caller, place=container.place)
        for text in container.volumes
    )
    kept, notes = volumes.existing(mounted, place=container.place)
    client = engine.connect(engine.address(site.caller))
    leftovers.sweep(client)
    if container.image is None and not is_built(container):
        return _with_environment(client, asked, site, narrator, refresh=refresh)
    made = _image(client, container, site, narrator, refresh=refresh)
    image, said = made.image, (*made.adaptations, *notes)
    return Environment(
        kind="docker",
        key=_key_of(image),
        variables=variables,
        volumes=tuple(volume.as_text() for volume in kept),
        asked=asked.summary,
        platform=image.platform,
        adaptations=said,
        image=image,
        reused=made.reused,
        build_seconds=0.0 if made.reused else time.monotonic() - started,
        findings=(
            *(Finding(level="warning", code="container", message=text) for text in said),
            *_links_out(site, kept),
        ),
    )


def _links_out(site: Site, mounted: tuple[Volume, ...]) -> tuple[Finding, ...]:
    """Links at the project's top that lead nowhere in a container, which sees the checkout and its volumes.

    They are not followed for the project: a link in a stranger's project may lead anywhere.
    """
    found = []
    for name in sorted(os.listdir(site.directory)):
        path = site.directory / name
        if not path.is_symlink() or not path.exists():
            continue
        target = Path(os.path.normpath(site.directory / os.readlink(path)))
        seen = (site.directory, *(Path(volume.target) for volume in mounted))
        if not any(place in (target, *target.parents) for place in seen):
            message = f"`{name}` leads to {target}, which the container does not see unless it is mounted"
            hint = f"`-A volume={target}:{target}`, or `volumes` in `docker_env`"
            found.append(Finding(level="warning", code="link-out", message=message, hint=hint))
    return tuple(found)


def _key_of(image: Image) -> Digest:
    return shorten(digest.of_value({"image": image.id, "platform": image.platform}))


def _with_environment(
    client: Any, asked: Asked, site: Site, narrator: Narrator, *, refresh: bool
) -> Environment:
    """An image made of an environment: in all else it is that environment."""
    from mlrun.env.containers.provision import image_for

    started = time.monotonic()
    image, made, reused = image_for(client, asked, site, narrator=narrator, refresh=refresh)
    return replace(
        made,
        kind="docker",
        key=_key_of(image),
        location=None,
        path=(),
        variables=(),
        platform=image.platform,
        image=image,
        reused=reused,
        build_seconds=0.0 if reused else time.monotonic() - started,
    )


@value
class _Made:
    """An image, and how it came here."""

    image: Image
    reused: bool
    adaptations: tuple[str, ...] = ()


def _container(asked: Asked) -> Container:
    assert asked.container is not None
    return asked.container


def _image(client: Any, container: Container, site: Site, narrator: Narrator, *, refresh: bool) -> _Made:
    from mlrun.env.containers import images

    if is_built(container):
        return _built(client, container, site, narrator, refresh=refresh)
    assert container.image is not None
    found = images.find(client, container.image)
    if found is not None and not (refresh and found.digest):
        return _Made(image=found, reused=True)
    platform = site.caller.variables.get("DOCKER_DEFAULT_PLATFORM")
    try:
        pulled = images.pull(
            client, container.image, narrator=narrator, platform=platform, place=container.place
        )
    except EnvironmentBuildError as error:
        return _without_registry(client, container, site, narrator, found, error)
    return _Made(image=pulled, reused=False)


def _without_registry(
    client: Any,
    container: Container,
    site: Site,
    narrator: Narrator,
    found: Image | None,
    error: EnvironmentBuildError,
) -> _Made:
    """For an image that cannot be pulled: the one that is here, or one of the project's own Dockerfile."""
    from mlrun.env.containers.images import has_registry

    name = container.image or ""
    if error.code not in ("no-image", "pull-failed"):
        raise error
    if found is not None:
        return _Made(
            image=found, reused=True, adaptations=(f"{name} could not be pulled anew: {error.message}",)
        )
    if has_registry(name) or not (site.directory / "Dockerfile").is_file():
        raise error
    made = _built(client, replace(container, build="."), site, narrator, refresh=False)
    what = f"no registry within reach has the image {name}: it was built from the project's Dockerfile"
    return replace(made, adaptations=(what,))


def _built(client: Any, container: Container, site: Site, narrator: Narrator, *, refresh: bool) -> _Made:
    from mlrun.env.containers import builds, engine

    wanted = builds.recipe(container, site.directory)
    if container.skip_build:
        image, reused = builds.earlier(client, wanted), True
    else:
        where = engine.address(site.caller)
        image, reused = builds.built(client, where, wanted, site, narrator=narrator, refresh=refresh)
    return _Made(image=replace(image, name=container.image or image.name), reused=reused)


def _variables(container: Container, site: Site) -> tuple[tuple[str, str], ...]:
    """Those of `docker_env`; of several of the caller's that are missing, all are named.

    Published projects hand on the address of their author's tracking server, and the key to it. A run
    without such an address has a tracking server of its own: none of these is missing then.
    """
    given = site.caller.variables
    moot = _TRACKING if _TRACKING[0] not in given else ()
    missing = [
        name for name, text in container.variables if text is None and name not in given and name not in moot
    ]
    if missing:
        raise EnvironmentBuildError(
            f"`docker_env` wants variables of yours that are not set: {', '.join(missing)}",
            hint=f"`export {missing[0]}=…`, or give a value in the project: `[{missing[0]}, value]`",
            code="unset-variable",
            place=container.place,
        )
    return tuple(
        (name, given[name] if text is None else text)
        for name, text in container.variables
        if text is not None or name in given
    )


def restore(facts: EnvironmentFacts, lock: str | None, site: Site, *, narrator: Narrator) -> Environment:  # noqa: ARG001  the protocol
    """The very image of a past run: by its id on this engine, else by its digest from its registry.

    Raises EnvironmentBuildError (`cannot-restore`) where it is gone: another build of the same files is
    another image.
    """
    from mlrun.env.containers import engine, images

    wanted = facts.image
    if wanted is None:
        raise EnvironmentBuildError("the run's record names no image", code="cannot-restore")
    client = engine.connect(engine.address(site.caller))
    found = images.find(client, wanted.id)
    if found is None and wanted.digest:
        name = f"{images.repository_of(wanted.name)}@{wanted.digest}"
        found = images.find(client, name) or images.pull(
            client, name, narrator=narrator, platform=wanted.platform or None, place=None
        )
    if found is None:
        raise EnvironmentBuildError(
            f"the image of that run, {wanted.name} ({wanted.id[:19]}), is no longer on this engine",
            hint="give the project instead of the run: its image is made again from the same files",
            code="cannot-restore",
        )
    return Environment(
        kind="docker",
        key=_key_of(found),
        asked=facts.asked,
        python=facts.python,
        platform=found.platform,
        image=replace(found, name=wanted.name),
        packages=facts.packages,
        adaptations=facts.adaptations,
        reused=True,
    )


# --- a run in it ----------------------------------------------------------------------------------------


def name_of(visit: Visit) -> str:
    """The name of a run's container."""
    return f"mlrun-{visit.run_id}"


def _specification(visit: Visit) -> Path:
    return visit.run_folder / "container-request.json"


def _alive(visit: Visit) -> Path:
    """Locked by the container's carrier for as long as that lives."""
    return visit.run_folder / "container-alive"


def report_path(run_folder: Path) -> Path:
    """What the container cost and how it ended, as `containers.attach` writes it."""
    return run_folder / "container.json"


def enter(environment: Environment, job: Job, visit: Visit) -> Job:
    """The job as it is to be started: a program that runs the container.

    Raises EnvironmentBuildError, UsageError.
    """
    from mlrun.env.containers import engine

    where = engine.address(visit.caller)
    client = engine.connect(where)
    create = settings(environment, job, visit, is_rootless=_is_rootless(client))
    if visit.build_image:
        from mlrun.env.containers.copied import project_image

        assert environment.image is not None
        create["image"] = project_image(client, environment.image, visit).id
    specification = {
        "engine": where.as_json(),
        "create": create,
        "command_without_init": _command(job, '"$@"; exit $?'),
        "report": str(report_path(visit.run_folder)),
        "alive": str(_alive(visit)),
        "bring_back": str(visit.root) if visit.build_image else None,
    }
    # It holds the values of variables: for our eyes alone, and gone once it is read.
    write_atomic(_specification(visit), json.dumps(specification).encode(), mode=0o600)
    variables = {name: text for name, text in visit.caller.variables.items() if not name.startswith("PYTHON")}
    variables.pop("MLRUN_RUN_ID", None)
    argv = (sys.executable, "-I", "-m", "mlrun.env.containers.attach", str(_specification(visit)))
    return replace(job, argv=argv, cwd=visit.run_folder, variables=variables)


def _command(job: Job, ending: str) -> list[str]:
    """What the container starts. Its first process should be one that reaps and passes on signals, or a shell
    that does not become the program: nothing ends a first process that does not ask for it."""
    return ["sh", "-c", _OBSERVED + _IN_THE_CONTAINER + ending, "mlrun", *job.argv]


def _is_rootless(client: Any) -> bool:
    """Whether root in a container is the engine's own user outside."""
    return any("rootless" in option for option in client.info().get("SecurityOptions") or ())


def settings(environment: Environment, job: Job, visit: Visit, *, is_rootless: bool) -> dict[str, Any]:
    """All that the container is, as arguments of the SDK's `containers.create`."""
    from mlrun.env.containers import engine, leftovers, options, volumes

    assert environment.image is not None
    read = [
        volumes.read(text, directory=visit.directory, caller=visit.caller) for text in environment.volumes
    ]
    user = "0:0" if is_rootless else f"{os.getuid()}:{os.getgid()}"
    resources = visit.resources
    found: options.Settings = {
        "image": environment.image.id,
        "command": _command(job, 'exec "$@"'),
        "name": name_of(visit),
        "labels": {leftovers.RUN: visit.run_id, **leftovers.labels(_alive(visit))},
        "environment": {"PYTHONUNBUFFERED": "1", **dict(environment.variables), **dict(visit.variables)},
        "working_dir": str(job.cwd),
        "mounts": [volume.as_mount() for volume in (*_own_volumes(visit), *read)],
        "user": user,
        "init": True,
    }
    if resources.cpus:
        found["nano_cpus"] = round(resources.cpus * 1_000_000_000)
    if resources.memory:
        found["mem_limit"] = resources.memory
    if resources.gpus:
        found["device_requests"] = options.gpus(str(resources.gpus))
    if visit.build_image and not engine.address(visit.caller).is_local:
        found["mounts"] = [volume.as_mount() for volume in read]  # what is here cannot be mounted there
        found["environment"].pop("MLRUN_METRICS", None)
    options.apply(visit.arguments, found, directory=visit.directory, caller=visit.caller)
    return found


def _own_volumes(visit: Visit) -> list[Any]:
    """The project and the run's folder where they are here, and the project again where MLflow has it."""
    from mlrun.env.containers.volumes import MLFLOWS_FOLDER, Volume

    folders = (visit.run_folder,) if visit.build_image else (visit.root, visit.run_folder)
    own = [Volume(source=str(folder), target=str(folder)) for folder in folders]
    if not visit.build_image:
        own.append(Volume(source=str(visit.directory), target=MLFLOWS_FOLDER))
    own += [Volume(source=str(path), target=str(path), read_only=True) for path in visit.paths]
    return own


def leave(environment: Environment, visit: Visit) -> None:  # noqa: ARG001  the room's door
    """Nothing of the container is left; that of a program that was killed is removed here.

    Raises EnvironmentBuildError where the container could not be started.
    """
    for path in (_specification(visit), _alive(visit)):
        path.unlink(missing_ok=True)
    report = read_report(visit.run_folder)
    if "exit_code" not in report:
        from mlrun.env.containers import engine, leftovers

        if used := leftovers.remove(engine.address(visit.caller), name_of(visit)):
            write_atomic(report_path(visit.run_folder), json.dumps({**used, **report}).encode())
    if trouble := report.get("error"):
        raise EnvironmentBuildError(
            trouble["message"], hint=trouble["hint"], code=trouble["code"], details=tuple(trouble["details"])
        )


def amended(outcome: Outcome, visit: Visit) -> Outcome:
    """The outcome of a job of `enter`, with what its container cost instead of what its carrier did.

    CPU time and memory are those of the last look at it, which is at most a second before its end.
    """
    report = read_report(visit.run_folder)
    if not report.get("started"):
        return outcome
    usage = Usage(
        wall_s=outcome.usage.wall_s,
        cpu_s=float(report.get("cpu_s", 0.0)),
        max_rss_bytes=int(report.get("max_rss_bytes", 0)),
    )
    return replace(outcome, usage=usage, out_of_memory=bool(report.get("oom_killed")))


def read_report(run_folder: Path) -> dict[str, Any]:
    """The report of a run in a container; empty where there is none."""
    try:
        values = json.loads(report_path(run_folder).read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
