"""From a conda file, or its lock, to a prefix that is ready to be entered."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from mlrun.env.asking.conda_specs import for_conda, parse
from mlrun.env.conda import lock as conda_lock
from mlrun.env.conda import prefix as conda_prefix
from mlrun.env.conda import tools as conda_tools
from mlrun.env.conda.lock import CondaLock, CondaPackage
from mlrun.env.installation import give_pip
from mlrun.env.shelf import Built, distributions_in, stamp_of, utc, write_built
from mlrun.errors import EnvironmentBuildError
from mlrun.files import remove_tree, write_atomic
from mlrun.model import Package
from mlrun.process import capture
from mlrun.value import draft, field, value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlrun.env.conda.tools import CondaTool
    from mlrun.env.uv import Uv
    from mlrun.env.values import Asked, Site
    from mlrun.model import Narrator

_QUOTED_LINES = 20


@value
class Chosen:
    """What is to be built: these packages, or (None) what a program solves while it installs."""

    packages: tuple[CondaPackage, ...] | None
    adaptations: tuple[str, ...] = ()
    as_of: str | None = None


@draft
class Works:
    """Where one prefix is made; `transcript` is all that a conda program said."""

    asked: Asked
    site: Site
    tool: CondaTool
    uv: Uv
    narrator: Narrator
    transcript: list[str] = field(default_factory=list)

    def choose(self) -> Chosen:
        """Solve, where that is a step of its own. Raises EnvironmentBuildError."""
        as_of = self.site.day.as_of
        if self.tool.program is not None:
            said = f"conda packages are those of now, since {self.tool.name} cannot take those of a day"
            return Chosen(packages=None, adaptations=(said,) if as_of else ())
        from mlrun.env.conda import rattler as conda_rattler

        self.narrator.progress("solving", None)
        solved = conda_rattler.solve(self._specs(), self._urls(), as_of=as_of, cache=self.site.cache.conda)
        said = "conda channels are mixed, since the first that has a package has no version that fits"
        return Chosen(packages=solved.packages, adaptations=(said,) if solved.mixed else (), as_of=as_of)

    def fill(self, prefix: Path, chosen: Chosen) -> None:
        """Make the prefix, lock and notes in it; only the marker is left to the caller.

        Raises EnvironmentBuildError.
        """
        if chosen.packages is None:
            arguments = conda_tools.create_arguments(
                self.tool, prefix, specs=self._specs(), channels=self._channels()
            )
            self._run(arguments, prefix)
        else:
            self._install(chosen.packages, prefix)
        added = conda_prefix.AddedByPip()
        if conda_prefix.wants_pip(self.asked):
            self.narrator.progress("installing the `pip:` section", None)
            with self._scratch(prefix) as scratch:
                added = conda_prefix.add_by_pip(self.asked, self.site, self.uv, prefix, scratch)
        packages = conda_lock.installed(prefix)
        lock = CondaLock(
            platform=conda_tools.platform_name(),
            packages=packages,
            python=conda_lock.python_of(packages),
            pip=added.lock,
            folders=added.folders,
        )
        self._complete(prefix, lock)

    def fill_from_lock(self, prefix: Path, lock: CondaLock) -> None:
        """The same from a lock, without a solve. Raises EnvironmentBuildError."""
        here = conda_tools.platform_name()
        if lock.platform not in ("", here):
            raise EnvironmentBuildError(
                f"the lock is of conda packages for {lock.platform}, and this is {here}",
                code="other-platform",
            )
        self._install(lock.packages, prefix)
        added = conda_prefix.AddedByPip(lock=lock.pip, folders=lock.folders)
        with self._scratch(prefix) as scratch:
            conda_prefix.add_from_lock(added, self.site, self.uv, prefix, scratch)
        self._complete(prefix, lock)

    # --- the parts ------------------------------------------------------------------------------------

    def _specs(self) -> list[str]:
        """What conda is asked; where there is a `pip:` section, a Python to put it in."""
        assert self.asked.conda is not None
        specs = [for_conda(item.text, item.place) for item in self.asked.conda.specs]
        names = {parse(item.text).name for item in self.asked.conda.specs}
        if conda_prefix.wants_pip(self.asked) and not names & {"python", "pip"}:
            specs.append("python")
        return specs

    def _channels(self) -> tuple[str, ...]:
        """The file's channels, then those that single packages name."""
        assert self.asked.conda is not None
        named = (parse(item.text).channel for item in self.asked.conda.specs)
        return (*self.asked.conda.channels, *(channel for channel in named if channel))

    def _urls(self) -> tuple[str, ...]:
        assert self.asked.conda is not None
        folder = os.path.dirname(self.site.directory / self.asked.conda.path)
        return conda_tools.channel_urls(self._channels(), variables=self.site.caller.variables, folder=folder)

    def _install(self, packages: Sequence[CondaPackage], prefix: Path) -> None:
        count = len(packages)
        self.narrator.progress(f"installing {count} conda package{'' if count == 1 else 's'}", None)
        if self.tool.program is None:
            from mlrun.env.conda import rattler as conda_rattler

            conda_rattler.install(packages, prefix, cache=self.site.cache.conda)
            return
        with self._scratch(prefix) as scratch:
            explicit = scratch / "explicit.txt"
            lines = ["@EXPLICIT", *(package.line for package in packages)]
            explicit.write_text("".join(f"{line}\n" for line in lines), "utf-8")
            self._run(conda_tools.create_explicit_arguments(self.tool, prefix, lock=explicit), prefix)

    def _run(self, arguments: Sequence[str], prefix: Path) -> None:
        """A conda program to its end; it may write what it likes, we read what is then in the prefix."""
        said = capture(arguments, variables=self.site.caller.variables, cwd=self.site.directory)
        text = conda_lock.public((said.stderr + said.stdout).decode("utf-8", "replace"))
        self.transcript.append(f"$ {' '.join(arguments)}\n{text}")
        if said.exit_code != 0 or not (prefix / "conda-meta").is_dir():
            lines = [line.rstrip() for line in text.splitlines() if line.strip()]
            raise EnvironmentBuildError(
                f"{self.tool.name} could not build the environment (exit code {said.exit_code})",
                hint="`--env-manager venv` takes the packages from PyPI",
                code="conda-failed",
                details=tuple(lines[-_QUOTED_LINES:]),
            )

    def _complete(self, prefix: Path, lock: CondaLock) -> None:
        """All that is to be known of a prefix, beside what it holds."""
        if (prefix / "bin/python").exists() and not (prefix / "bin/pip").exists():
            give_pip(prefix, self.uv.program)
        conda_prefix.note_variables(prefix, self.site.caller.variables)
        write_atomic(prefix / conda_lock.FILE_NAME, conda_lock.write(lock).encode())
        (prefix / ".last-used").touch()
        by_conda = [
            Package(name=package.name, version=package.version, source=conda_lock.public(package.channel))
            for package in lock.packages
        ]
        write_built(
            prefix,
            Built(
                python=lock.python,
                interpreter=str(prefix / "bin/python"),
                stamp=stamp_of(prefix),
                platform=lock.platform,
                created=utc(time.time()),
                asked=self.asked.summary,
                packages=(*by_conda, *conda_prefix.packages_of(lock)),
                distributions=distributions_in(prefix),
            ),
        )

    @contextlib.contextmanager
    def _scratch(self, prefix: Path) -> Iterator[Path]:
        """A folder of our own for a while; what is left of it when we are killed, is collected as garbage."""
        folder = self.site.cache.temporary / f"{prefix.name}.{os.getpid()}.{time.monotonic_ns()}"
        folder.mkdir(parents=True, mode=0o700)
        try:
            yield folder
        finally:
            remove_tree(folder, trash=self.site.cache.trash)
