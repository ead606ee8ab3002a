"""`mlrun check`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlrun.cli import context
from mlrun.cli.console import has_colour, printable, styled

if TYPE_CHECKING:
    from mlrun.check import Report


def check_command(
    path: Annotated[
        str, typer.Argument(metavar="[PATH]", help="The project's directory, or its MLproject file.")
    ] = ".",
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> int:
    """Lint a project file without running anything.

    Exit code: 0 fine, or warnings only; 1 errors, with --strict warnings too; 2 cannot tell.

    \b
    Examples:
      mlrun check
      mlrun check examples/wine --strict
      mlrun check . --json
    """
    from mlrun.check import check

    report = check(Path(context.caller().directory, path))
    bad = report.worst == "error" or (strict and report.worst is not None)
    if as_json:
        from mlrun.views.json import dumps

        sys.stdout.write(dumps(_as_json(report, fine=not bad)) + "\n")
        return 1 if bad else 0
    colour = has_colour(sys.stdout, context.caller().variables)
    for finding in report.findings:
        level = styled(finding.level, "red" if finding.level == "error" else "yellow", colour=colour)
        where = f"{printable(str(finding.place))}: " if finding.place else ""
        sys.stdout.write(f"{where}{level}: {printable(finding.message)}\n")
        if finding.hint:
            sys.stdout.write(f"  hint: {printable(finding.hint)}\n")
    if not report.findings:
        names = printable(", ".join(report.entry_points))
        sys.stdout.write(f"{report.file}: fine; entry points: {names}\n")
    return 1 if bad else 0


def _as_json(report: Report, *, fine: bool) -> dict[str, object]:
    return {
        "file": report.file,
        "fine": fine,
        "entry_points": list(report.entry_points),
        "findings": [
            {
                "level": finding.level,
                "code": finding.code,
                "message": finding.message,
                "hint": finding.hint,
                "file": finding.place.file if finding.place else None,
                "line": finding.place.line if finding.place else None,
                "column": finding.place.column if finding.place else None,
            }
            for finding in report.findings
        ],
    }
