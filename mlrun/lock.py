"""`mlrun lock`: a project's environment, resolved once and written beside it, so that it is what runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlrun import scene, source
from mlrun.env.asking.asked import OWN_LOCK, asked_digest
from mlrun.env.lock import facts_in, files_here, notes_in, with_notes
from mlrun.env.venv import platform_name
from mlrun.errors import EnvironmentBuildError, UsageError
from mlrun.files import write_atomic
from mlrun.model import Finding
from mlrun.store.names import new_id
from mlrun.value import replace, value
from mlrun.views.environment_diff import Difference, difference

if TYPE_CHECKING:
    from mlrun.model import EnvironmentFacts
    from mlrun.scene import Desk, Scene, Wanted

Status = Literal["written", "up to date", "stale", "missing", "image"]


@value
class Locked:
    """How a project's lock stands. `image` is what pins a container, which has no lock file."""

    status: Status
    path: Path
    facts: EnvironmentFacts | None = None
    asked: str | None = None
    changes: Difference | None = None
    why: str | None = None
    image: str | None = None
    findings: tuple[Finding, ...] = ()


@value
class Held:
    """The lock that lies there; `notes` are those of mlrun, None in one that it did not write."""

    text: str
    notes: dict[str, str] | None


def lock(wanted: Wanted, desk: Desk, *, upgrade: bool = False, force: bool = False) -> Locked:
    """Resolve a project's environment and write `pylock.toml` beside it, unless that is up to date.

    Without a day in `wanted`, the day of the lock that lies there counts on. Raises UsageError where there is
    nothing that such a file could lock, or one that mlrun did not write and not `force`;
    EnvironmentBuildError where it cannot be resolved.
    """
    found, held = _look(wanted, desk)
    if found.asked.kind == "docker" and _image_of(found):
        return _pinned_image(found, desk)
    path = found.snapshot.directory / OWN_LOCK
    if held is not None and held.notes is None and not force:
        raise UsageError(
            f"{path} was not written by mlrun",
            hint="`--force` overwrites it; while it is there, it is what runs",
            code="foreign-lock",
        )
    asked = asked_digest(found.asked)
    if held is not None and not upgrade and _stale(held, asked, found) is None:
        return Locked(status="up to date", path=path, facts=facts_in(held.text), asked=asked)
    return _written(found, held, desk, path=path, asked=asked, upgrade=upgrade)


def check(wanted: Wanted, desk: Desk) -> Locked:
    """Whether the lock of a project is up to date; nothing is resolved, built or written.

    Raises UsageError for a lock that mlrun did not write, and as `lock`.
    """
    found, held = _look(wanted, desk)
    path = found.snapshot.directory / OWN_LOCK
    if found.asked.kind == "docker" and (image := _image_of(found)):
        pinned = "@sha256:" in image
        status: Status = "up to date" if pinned else "stale"
        why = None if pinned else f"the image `{image}` is not pinned by its digest"
        return Locked(status=status, path=path, image=image, why=why)
    asked = asked_digest(found.asked)
    if held is None:
        return Locked(status="missing", path=path, asked=asked, why=f"there is no {OWN_LOCK}")
    if held.notes is None:
        raise UsageError(
            f"{path} was not written by mlrun, so it does not tell what it was made from",
            hint="`mlrun lock --force` writes one that does",
            code="foreign-lock",
        )
    why = _stale(held, asked, found)
    facts = facts_in(held.text)
    return Locked(
        status="stale" if why else "up to date",
        path=path,
        facts=facts,
        asked=asked,
        why=why,
        findings=_other_platform(facts),
    )


def _other_platform(facts: EnvironmentFacts) -> tuple[Finding, ...]:
    here = platform_name()
    if facts.platform in ("", here):
        return ()
    message = f"the lock is for {facts.platform}, and this is {here}: not all of it may have wheels here"
    return (Finding(level="warning", code="other-platform", message=message),)


# --- what is there ------------------------------------------------------------------------------------


def _look(wanted: Wanted, desk: Desk) -> tuple[Scene, Held | None]:
    """The project as its files ask, and the lock beside it, which does not count for that."""
    target = source.parse_target(wanted.target, wanted.version, directory=desk.caller.directory)
    if target.kind != "directory" or target.version is not None:
        raise UsageError(
            "a lock is written beside the project, so the project has to be a directory",
            hint="clone it first, then `mlrun lock DIRECTORY`",
            code="not-a-directory",
        )
    held = None
    folder = Path(target.location, target.subdirectory)
    if (folder / OWN_LOCK).is_file():
        held = _held(folder / OWN_LOCK)
    if wanted.as_of == "auto" and held is not None and held.notes and "as-of" in held.notes:
        wanted = replace(wanted, as_of=held.notes["as-of"])
    found = scene.understand(wanted, desk, run_id=new_id(), locked=False)
    _refuse(found)
    return found, held


def _held(path: Path) -> Held:
    try:
        text = path.read_text("utf-8")
        return Held(text=text, notes=notes_in(text))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}", hint="remove it, and lock again", code="bad-lock"
        ) from error


def _refuse(found: Scene) -> None:
    """What no `pylock.toml` could hold."""
    asked = found.asked
    if asked.lock == OWN_LOCK:
        raise UsageError(
            f"the project names no requirements but {OWN_LOCK} itself: it is locked already",
            hint="write what it needs into requirements.txt, and the lock can be made from that",
            code="foreign-lock",
        )
    if asked.kind == "system":
        raise UsageError("the caller's own environment cannot be locked", code="not-lockable")
    if asked.kind == "conda":
        raise UsageError(
            f"a conda environment cannot be locked beside its project: {OWN_LOCK} holds Python packages only",
            hint="each run's record keeps the explicit list of its packages; `--env-manager venv` locks"
            " their translation to PyPI",
            code="not-lockable",
        )


def _stale(held: Held, asked: str, found: Scene) -> str | None:
    """Why a lock is not what its project asks for any more."""
    notes = held.notes or {}
    if notes.get("asked") != asked:
        return "what it was made from has changed since"
    if notes.get("as-of") != found.day.as_of:
        return f"it is as of {notes.get('as-of', 'now')[:10]}, and {(found.day.as_of or 'now')[:10]} is asked"
    return None


# --- writing ------------------------------------------------------------------------------------------


def _written(found: Scene, held: Held | None, desk: Desk, *, path: Path, asked: str, upgrade: bool) -> Locked:
    environment = scene.furnish(found, desk, refresh=upgrade)
    if environment.lock is None or environment.lock_kind != "pylock.toml":
        raise EnvironmentBuildError(
            f"a {environment.kind} environment has no lock that could lie beside the project",
            code="not-lockable",
        )
    text = with_notes(
        environment.lock.read_text("utf-8"),
        {
            "as-of": environment.as_of or found.day.as_of,
            "asked": asked,
            "python": environment.python,
            "platform": environment.platform,
        },
    )
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", code="cannot-write") from error
    facts = facts_in(text)
    return Locked(
        status="written",
        path=path,
        facts=facts,
        asked=asked,
        changes=difference(facts_in(held.text), facts) if held is not None else None,
        findings=(*found.asked.findings, *environment.findings, *_unportable(text)),
    )


def _unportable(text: str) -> tuple[Finding, ...]:
    names = files_here(text)
    if not names:
        return ()
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    message = f"the lock names files of this machine, which another does not have: {shown}"
    return (Finding(level="warning", code="not-portable", message=message),)


def _image_of(found: Scene) -> str | None:
    container = found.asked.container
    return container.image if container else None


def _pinned_image(found: Scene, desk: Desk) -> Locked:
    """A container is pinned in the project file itself, by the digest that its registry knows."""
    environment = scene.furnish(found, desk)
    image = environment.image
    path = found.snapshot.directory / (found.project.file or "MLproject")
    if image is None or image.digest is None:
        raise UsageError(
            f"the image `{_image_of(found)}` was never in a registry, so it has no digest to pin it by",
            hint="push it, and name it as the registry does",
            code="not-lockable",
        )
    name = image.name.partition("@")[0]
    _, colon, tag = name.rpartition(":")
    repository = name.removesuffix(f":{tag}") if colon and "/" not in tag else name
    digest = image.digest.rpartition("@")[2]
    return Locked(status="image", path=path, image=f"{repository}@{digest}")
