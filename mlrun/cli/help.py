"""`mlrun --help`: the table of commands, written without importing any of them."""

from __future__ import annotations

import sys

from mlrun import __version__
from mlrun.cli import COMMANDS

_EXAMPLES = """\
Examples:
  mlrun run .                                   run the project in this folder
  mlrun run . -P alpha=0.5 -e train             with a parameter, another entry point
  mlrun run https://host/team/wine.git#models -v v1.2
  mlrun runs --where 'metrics.rmse < 0.8'       which runs did well
  mlrun show latest                             everything about the last one
  mlrun shell latest                            its code and its packages, in a shell
"""

_EXIT_CODES = """\
Exit codes of `mlrun run`, `exec` and `shell`: the program's own; 124 timed out; 125 mlrun could
not do its part; 126/127 not executable / not found; 128+n ended by signal n. Of those that judge
(`check`, `doctor`, `lock --check`, `env diff`): 0 fine or the same, 1 not, 2 cannot tell. Wrong
usage: 2.

MLRUN_HOME holds the records (default: your data folder), MLRUN_CACHE what can be built again.
"""


def answer(words: list[str]) -> int:
    """What `mlrun` says where the first word is no command: help, its version, or that there is none."""
    if words[0] in ("--version", "-V"):
        sys.stdout.write(f"mlrun {__version__}\n")
        return 0
    if words[0] == "help" and len(words) > 1:
        return unknown(words[1])
    return overview() if words[0] in ("-h", "--help", "help") else unknown(words[0])


def overview() -> int:
    """Print the list of commands."""
    sys.stdout.write(text())
    return 0


def text() -> str:
    """The help of `mlrun` itself."""
    parts = [
        "Usage: mlrun COMMAND [ARGUMENTS]\n",
        "Run machine-learning projects so that anyone can repeat them.\n",
    ]
    group = ""
    for name, (_, its_group, summary) in COMMANDS.items():
        if its_group != group:
            group = its_group
            parts.append(f"\n{group}:")
        parts.append(f"  {name:<8} {summary}")
    parts.append("\n`mlrun COMMAND --help` tells more; `mlrun --version` the version.\n")
    return "\n".join((*parts, _EXAMPLES, _EXIT_CODES))


def unknown(word: str) -> int:
    """Say that there is no such command, and which was perhaps meant."""
    from difflib import get_close_matches

    near = get_close_matches(word, COMMANDS, n=1, cutoff=0.6)
    hint = f"did you mean `mlrun {near[0]}`?" if near else "`mlrun --help` lists the commands"
    sys.stderr.write(f"error: no such command: {word!r}\nhint: {hint}\n")
    return 2
