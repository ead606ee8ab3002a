"""Working trees of our own: small repositories that borrow their objects, so making one copies no history.

A checkout is built under a temporary name and renamed, so that it is there whole or not at all. It is a real
repository: code that asks git for its commit or its tags gets the answer.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlrun import files
from mlrun.errors import SourceError
from mlrun.model import Finding
from mlrun.source.git import Git, local_git, quoted_path, refusal
from mlrun.source.mirror import Mirror
from mlrun.source.remarks import gitlinks
from mlrun.source.target import parse_target, without_credentials
from mlrun.value import replace, value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlrun.files import Cache
    from mlrun.model import Narrator
    from mlrun.source.target import Credentials, Target

_DEPTH = 10  # submodules within submodules
_LEFTOVERS = ("__pycache__/", ".ipynb_checkpoints/", ".mypy_cache/", ".pytest_cache/", "*.egg-info/")


def build(run_id: str, *, cache: Cache, fill: Callable[[Path], None]) -> Path:
    """Make the folder of a run by `fill(scratch)`: there whole, or not at all."""
    final = cache.checkouts / run_id
    final.parent.mkdir(parents=True, exist_ok=True)
    scratch = cache.temporary / f"{run_id}.{os.getpid()}"
    try:
        scratch.mkdir(parents=True)
        fill(scratch)
        os.rename(scratch, final)
    except BaseException:
        files.remove_tree(scratch, trash=cache.trash)
        raise
    return final


def lay_out(
    root: Path,
    treeish: str,
    *,
    objects: tuple[Path, ...],
    variables: Mapping[str, str],
    commit: str | None = None,
    url: str | None = None,
    references: str = "",
    patch: bytes | None = None,
) -> Git:
    """Fill a folder with the files of a commit or tree; `commit` is what its HEAD shall be.

    `objects` are the object directories to borrow from, `references` the text of `packed-refs`, `patch`
    what `git diff --binary` said of the tree. Raises SourceError.
    """
    _write_repository(root / ".git", objects, commit=commit, url=url, references=references)
    git = local_git(root, variables)
    import shutil

    if shutil.which("git-lfs", path=variables.get("PATH")) is None:
        git = replace(git, settings=(*_WITHOUT_LFS, *git.settings))
    if patch:
        treeish = _patched(git, treeish, patch)
    git.read("read-tree", "--reset", "-u", treeish)
    return git


def _patched(git: Git, treeish: str, patch: bytes) -> str:
    """The tree that a patch makes of another: in the index alone, where no line ends are converted."""
    git.read("read-tree", treeish)
    exact = replace(git, settings=(*git.settings, "apply.whitespace=nowarn", "apply.ignoreWhitespace=no"))
    exact.read("apply", "--cached", "--binary", "--unidiff-zero", "-", stdin=patch)
    return git.read("write-tree").text


_WITHOUT_LFS = ("filter.lfs.required=false", "filter.lfs.smudge=", "filter.lfs.clean=", "filter.lfs.process=")


def _write_repository(
    folder: Path, objects: tuple[Path, ...], *, commit: str | None, url: str | None, references: str
) -> None:
    """What `git init` and `git remote add` would write, without starting them."""
    for part in ("objects/info", "refs/heads", "info"):
        (folder / part).mkdir(parents=True)
    for path in objects:  # what a shallow clone lacks, its borrower lacks too
        if (path.parent / "shallow").exists():
            files.copy_file(path.parent / "shallow", folder / "shallow")
    (folder / "HEAD").write_text(f"{commit}\n" if commit else "ref: refs/heads/main\n")
    (folder / "objects/info/alternates").write_bytes(
        b"".join(os.fsencode(quoted_path(path)) + b"\n" for path in objects if path.is_dir())
    )
    version = 1 if commit and len(commit) == 64 else 0  # only SHA-256 needs to be said
    lines = ["[core]", f"\trepositoryformatversion = {version}", "\tbare = false"]
    if version:
        lines += ["[extensions]", "\tobjectformat = sha256"]
    lines += ["[gc]", "\tauto = 0", "[lfs]", f"\tstorage = {_config_text(objects[0].parent / 'lfs')}"]
    if url:
        lines += ['[remote "origin"]', f"\turl = {_config_text(url)}"]
        lines += ["\tfetch = +refs/heads/*:refs/remotes/origin/*"]
    (folder / "config").write_text("\n".join(lines) + "\n")
    if references:
        (folder / "packed-refs").write_text(references)


def _config_text(value: Path | str) -> str:
    text = os.fspath(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def references_of(git: Git) -> str:
    """The text of `packed-refs` that a clone of this repository would have."""
    said = git.read("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags").text
    lines = [line.replace(" refs/heads/", " refs/remotes/origin/", 1) for line in said.splitlines()]
    return "".join(f"{line}\n" for line in sorted(lines, key=lambda line: line.partition(" ")[2]))


def check_subdirectory(root: Path, subdirectory: str) -> None:
    """Refuse a project's folder that is not there, or that a link leads out of the repository.

    Raises SourceError.
    """
    top, full = os.path.realpath(root), os.path.realpath(root / subdirectory)
    if full != top and not full.startswith(top.rstrip("/") + "/"):
        raise SourceError(
            f"`{subdirectory}` leads out of the repository through a symbolic link", code="bad-subdirectory"
        )
    if not os.path.isdir(full):
        folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and entry.name[0] != ".")
        raise SourceError(
            f"cannot find the folder `{subdirectory}` in the source",
            hint=f"its folders are {', '.join(f'`{name}`' for name in folders[:10])}" if folders else None,
            code="no-such-subdirectory",
        )


# --- submodules ---------------------------------------------------------------------------------------


@value
class Submodules:
    """Checks out the submodules of a working tree, each from a mirror of its own."""

    cache: Cache
    narrator: Narrator

    def fill(
        self,
        git: Git,
        parent: str,
        *,
        credentials: Credentials | None,
        nearby: Path | None = None,
        depth: int = 0,
    ) -> list[Finding]:
        """Fill the folders of the submodules; one that cannot be had is a finding, and the rest goes on.

        `parent` is the URL of the repository that names them, `nearby` a working tree of the user's that
        may hold them already.
        """
        if depth == _DEPTH or (nearby is None and not (git.directory / ".gitmodules").is_file()):
            return []
        findings: list[Finding] = []
        for path, commit in gitlinks(git):
            own = nearby / path if nearby and (nearby / path / ".git").exists() else None
            address = str(own) if own else _submodule_address(git, path)
            try:
                target = _submodule_target(address, parent, commit, credentials)
                inner = self._lay_out(git, path, target)
            except SourceError as error:
                findings.append(_missing_submodule(path, error.message))
                continue
            findings += self.fill(
                inner, target.location, credentials=target.credentials, nearby=own, depth=depth + 1
            )
        return findings

    def _lay_out(self, git: Git, path: str, target: Target) -> Git:
        check_subdirectory(git.directory, path)
        mirror = Mirror(target, variables=git.variables, cache=self.cache, narrator=self.narrator)
        revision = mirror.find()
        return lay_out(
            git.directory / path,
            revision.commit,
            objects=(revision.objects,),
            variables=git.variables,
            commit=revision.commit,
            url=target.location,
        )


def _submodule_address(git: Git, path: str) -> str | None:
    """What `.gitmodules` gives as the URL for a path."""
    said = git.ask("config", "-z", "-f", ".gitmodules", "--get-regexp", r"^submodule\..*\.(path|url)$")
    values: dict[str, str] = {}
    for entry in said.stdout.split(b"\0"):
        key, _, value = os.fsdecode(entry).partition("\n")
        values[key] = value
    for key, value in values.items():
        if key.endswith(".path") and value.rstrip("/") == path:
            return values.get(key.removesuffix(".path") + ".url")
    return None


def _submodule_target(
    address: str | None, parent: str, commit: str, credentials: Credentials | None
) -> Target:
    """A submodule may lie on this machine only if its parent does; credentials stay with their host."""
    if not address:
        raise SourceError("`.gitmodules` gives no address for it")
    if address.startswith(("./", "../")):
        address = _relative(parent, address)
    target = parse_target(address, commit, directory="/")
    parent_is_local = parent.startswith(("/", "file:"))
    if target.is_local and not parent_is_local:
        raise SourceError("a remote repository cannot name a submodule on this machine")
    if not target.is_local and target.credentials is None and _host(target.location) == _host(parent):
        target = replace(target, credentials=credentials)
    return replace(target, kind="git", subdirectory="")


def _relative(parent: str, address: str) -> str:
    base = parent.rstrip("/")
    while address.startswith(("./", "../")):
        step, _, address = address.partition("/")
        if step == "..":
            cut = max(base.rfind("/"), base.rfind(":"))
            base = base[:cut] if base[cut : cut + 1] == "/" else base[: cut + 1]
    return f"{base}{address}" if base.endswith(":") else f"{base}/{address}"


def _host(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])


def _missing_submodule(path: str, why: str) -> Finding:
    return Finding(
        level="warning",
        code="submodule-missing",
        message=f"the submodule `{path}` is not there: {without_credentials(why)}",
    )


# --- afterwards ---------------------------------------------------------------------------------------


def changed(git: Git) -> tuple[str, ...]:
    """Paths that differ from the index, are gone, or are new; what Python's tools leave does not count."""
    excluded = [f"--exclude={pattern}" for pattern in _LEFTOVERS]
    said = git.ask("ls-files", "-z", "--modified", "--deleted", "--others", *excluded)
    if said.exit_code != 0:
        raise refusal(f"cannot see what changed in {git.directory}", said)
    return tuple(sorted({os.fsdecode(path) for path in said.stdout.split(b"\0") if path}))
