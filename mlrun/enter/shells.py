"""Interactive shells: how each is told about an environment so that the user's own start-up files, which may
set PATH anew, do not undo it.

    bash   `--rcfile`: ours reads ~/.bashrc, then puts the environment first
    zsh    ZDOTDIR: ours reads the user's files from where they are, then the same
    fish   `--init-command`, which runs after config.fish
    sh     ENV (POSIX: read by interactive shells)
    others get the variables and no prompt

The files in `rc/` never change: they take everything from `MLRUN_SHELL…`, so nothing has to be tidied up.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlrun.model import Job

TITLE = "MLRUN_SHELL"
"""Set in a shell of ours: what it is a shell for."""

IN_A_CONTAINER = ("sh", "-c", "if command -v bash >/dev/null; then exec bash; fi; exec sh")

_PATH = "MLRUN_SHELL_PATH"
_PROMPT = "MLRUN_SHELL_PROMPT"
_OURS = (TITLE, _PATH, _PROMPT, "MLRUN_SHELL_ZDOTDIR", "MLRUN_SHELL_ENV")
_RC = Path(__file__).parent / "rc"
_FALLBACKS = ("bash", "sh")
_FISH = """
set -gx PATH (string split : -- $MLRUN_SHELL_PATH) $PATH
functions -c fish_prompt _mlrun_fish_prompt
function fish_prompt; echo -n $MLRUN_SHELL_PROMPT; _mlrun_fish_prompt; end
"""


def greeting(title: str, described: str, variables: Mapping[str, str]) -> str:
    """The one line before a shell: what it is, and how to leave."""
    outer = variables.get(TITLE)
    inside = f", inside the one for {outer}" if outer else ""
    return f"shell for {title}{inside}: {described}; `exit` or Ctrl-D leaves"


def left(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables as they were outside of a shell of ours, so that one environment does not show through
    another."""
    found = dict(variables)
    added = found.get(_PATH, "").split(os.pathsep) if TITLE in found else []
    if added:
        folders = found.get("PATH", "").split(os.pathsep)
        for folder in added:
            if folder in folders:
                folders.remove(folder)
        found["PATH"] = os.pathsep.join(folders)
        found.pop("VIRTUAL_ENV", None)
        found.pop("VIRTUAL_ENV_PROMPT", None)
        _give_back(found, "ZDOTDIR", "MLRUN_SHELL_ZDOTDIR")
        _give_back(found, "ENV", "MLRUN_SHELL_ENV")
    for name in _OURS:
        found.pop(name, None)
    return found


def _give_back(variables: dict[str, str], name: str, kept: str) -> None:
    if variables.get(name, "").startswith(str(_RC)):
        before = variables.get(kept, "")
        if before:
            variables[name] = before
        else:
            del variables[name]


def prepared(job: Job, title: str, path: tuple[str, ...], *, interactive: bool) -> Job:
    """The job as a shell in a place called `title` that puts `path` first.

    One that is not interactive reads no settings that could undo that.
    """
    shell = _shell(job.variables)
    if not interactive:
        return replace(job, argv=(shell,))
    prompt = f"(mlrun {_plain(title)}) "
    variables = {
        **job.variables,
        TITLE: title,
        _PATH: os.pathsep.join(path),
        _PROMPT: prompt,
        "VIRTUAL_ENV_PROMPT": prompt.strip(),
        "VIRTUAL_ENV_DISABLE_PROMPT": "1",
    }
    argv: tuple[str, ...] = (shell, "-i")
    match os.path.basename(shell):
        case "bash":
            argv = (shell, "--rcfile", str(_RC / "bashrc"), "-i")
        case "zsh":
            variables |= {"MLRUN_SHELL_ZDOTDIR": variables.get("ZDOTDIR", ""), "ZDOTDIR": str(_RC / "zsh")}
        case "fish":
            argv = (shell, "-i", "--init-command", _FISH)
        case "sh" | "dash" | "ash" | "busybox" | "ksh" | "mksh":
            variables |= {"MLRUN_SHELL_ENV": variables.get("ENV", ""), "ENV": str(_RC / "shrc")}
    return replace(job, argv=argv, variables=variables)


def prompt_in_a_container(title: str) -> tuple[tuple[str, str], ...]:
    """The image's shell has no settings of the user's: it takes the prompt that it finds."""
    return (("PS1", f"(mlrun {_plain(title)}) \\W \\$ "),)


def _plain(title: str) -> str:
    """A name in a prompt: what a shell would expand there, or a terminal obey, does not get in."""
    return re.sub(r"[^\w.+ -]", "_", title)[:40]


def _shell(variables: Mapping[str, str]) -> str:
    """The caller's own shell, else one that is there."""
    own = variables.get("SHELL", "")
    if os.path.isabs(own) and os.access(own, os.X_OK):
        return own
    for name in _FALLBACKS:
        for folder in (*variables.get("PATH", "").split(os.pathsep), "/bin", "/usr/bin"):
            path = os.path.join(folder, name)
            if os.path.isabs(path) and os.access(path, os.X_OK):
                return path
    return "/bin/sh"
