"""What can go wrong, as values with a message, a hint, and a stable code.

Every expected failure is a `MlrunError`. The command line turns it into one message and an exit code
(README, "Exit codes"); nothing else catches it to print it.

    MlrunError
    ├── UsageError              the request itself makes no sense (exit 2)
    ├── ProjectError            the project file, or a file it names, is wrong
    ├── ParameterError          a parameter is missing, misspelt, or out of bounds
    ├── SourceError             the target cannot be found, fetched, or pinned
    ├── EnvironmentBuildError   the environment cannot be resolved or built
    ├── ProcessError            a tool or the program cannot be started
    └── StoreError              the store cannot be read or written, or holds no such run
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlrun.model import Place


class MlrunError(Exception):
    """An expected failure.

    `message` says what was wanted and what was found; `hint` what to type next; `code` is a stable
    kebab-case name for machines; `place` is where in which file; `details` are lines worth quoting
    (the end of a build log, the candidates of an ambiguous name).
    """

    code = "error"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        code: str | None = None,
        place: Place | None = None,
        details: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.place = place
        self.details = details
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class UsageError(MlrunError):
    code = "usage"


class ProjectError(MlrunError):
    code = "bad-project"


class ParameterError(MlrunError):
    code = "bad-parameter"


class SourceError(MlrunError):
    code = "bad-source"


class EnvironmentBuildError(MlrunError):
    code = "environment-failed"


class ProcessError(MlrunError):
    code = "cannot-start"


class StoreError(MlrunError):
    code = "store"
