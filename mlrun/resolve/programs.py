"""Which words bash or a program that it starts takes for program text, by the words before them.

What is not known here (an option of some tool that runs its argument) gets the value as it is: that tool
sees what the user wrote, and what it makes of it is its own affair.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Runs = Literal["shell", "shell, joined", "language", ""]
"""What a word is run by. `eval a b` and `ssh host a b` join their words to one text before they read it."""

VANISHING = ""
"""Stands for a word of expansions alone (`$SUDO`): it may come to nothing, and the next take its place."""

# Patterns are text, compiled when they are first needed: most commands need none of them.
_SHELL = r"(?s:.*/)?(?:ba|da|z|k|mk|a|fi|c|tc)?sh|\$SHELL"
_LANGUAGE = r"(?s:.*/)?(?:i?python[\d.]*|pypy\d?|perl|ruby|node|lua|php|Rscript|julia)|\0"
_EDITOR = r"(?s:.*/)?(?:[gmn]?awk|g?sed)"  # both can run commands from their script
_JOINING = frozenset({"eval", "ssh", "trap", "watch", "parallel"})
_PREFIXES = frozenset({"builtin", "command", "exec", "sudo"})
_RUNNING = frozenset({"su", "runuser", "script", "flock", "sg"})
_NAMING = "declare|typeset|local|export|readonly|read|unset|mapfile|readarray|getopts|wait"
_MOST_OPTIONS = 40

_NAME = r"(?:ba|da|z|k|mk|a|s)?sh"  # `ssh` too: it hands on what it reads
_FEEDS_A_SHELL = (
    rf"\|[^|\n;&]*(?<![\w.-]){_NAME}(?![\w.])"  # … | bash
    rf"|(?:\b{_NAME}|\bsource|(?<!\S)\.)\s(?:[^\n;|&]{{0,200}}\s)?<\("  # source <(…)
    rf"|(?<![\w./-])eval\s[^\n]*\$"  # eval "$x"
    rf"|\b{_NAME}\s+(?:-\S+\s+)*-\w*c\s+\"(?:[^\"\\]|\\.)*\$"  # bash -c "$x"
    r"|\b(?:declare|typeset|local|readonly|export)\s+(?:[-+]\w+\s+)*-\w*[inI]"  # numbers, references
)
_EVALUATES_VARIABLES = r"\(\(|\$\[|\blet\b|\[\[|\$\{!|\s-v\s|\$\{\w+(?:\[|:\s*[\w$(])|\w\["


def feeds_a_shell(text: str) -> bool:
    """Whether a value may become program text on a way that no reader of words can follow."""
    hints = ("sh", "<(", "eval", "declare", "typeset", "local", "readonly", "export")
    return any(hint in text for hint in hints) and re.search(_FEEDS_A_SHELL, text) is not None


def evaluates_variables(text: str) -> bool:
    """Whether the value of a variable may be taken for arithmetic."""
    hints = ("((", "[", "let", "${", "-v")
    return any(hint in text for hint in hints) and re.search(_EVALUATES_VARIABLES, text) is not None


def evaluated(words: Sequence[str]) -> Runs:
    """Whether the next word after these is program text."""
    certain = VANISHING not in words
    words = _without_prefixes([word for word in words if word != VANISHING])
    if not words:
        return ""
    last = words[-1]
    if words[0] in _JOINING:
        return "shell" if certain and len(words) == 1 else "shell, joined"
    if not _RUNNING.isdisjoint(words) and re.fullmatch(r"-\w*c|--command", last):
        return "shell"
    for word, options in _with_options(words, "oO"):
        if re.fullmatch(_SHELL, word) and any(re.fullmatch(r"-[a-zA-Z]*c[a-zA-Z]*", it) for it in options):
            return "shell" if certain else "shell, joined"
    for word, options in _with_options(words):
        if options and re.fullmatch(_LANGUAGE, word) and re.fullmatch(r"-\w*[ceErp]|--eval", last):
            return "language"
    for word, _ in _with_options(words, "vFfil"):
        if re.fullmatch(_EDITOR, word) and last not in {"-v", "-F", "-f"}:
            return "language"
    return ""


def evaluated_input(words: Sequence[str]) -> Runs:
    """Whether a command runs what it reads from its standard input."""
    for word, _ in _with_options(words, "oO"):
        if re.fullmatch(_SHELL, word):
            return "shell"
    for word, _ in _with_options(words):
        if re.fullmatch(_LANGUAGE, word):
            return "language"
    handed_on = "ssh" in words or (
        ("-s" in words or "-c" in words) and any(re.fullmatch(_SHELL, word) for word in words)
    )
    return "shell, joined" if handed_on else ""


def takes_names(words: Sequence[str]) -> bool:
    """Whether a command of the shell takes its next word for a name, whose subscript it would evaluate."""
    if not words:
        return False
    names_next = words[-1] == "-v" and words[0] in {"printf", "test", "["}
    return names_next or re.fullmatch(_NAMING, words[0]) is not None


def _without_prefixes(words: Sequence[str]) -> Sequence[str]:
    while words and words[0] in _PREFIXES:
        words = words[1:]
    return words


def _with_options(words: Sequence[str], with_argument: str = "") -> Iterator[tuple[str, Sequence[str]]]:
    """Each word behind which only options stand, with these: from the last one back.

    `with_argument` are the letters of options that take the word after them (`bash -euo pipefail`).
    """
    for index in range(len(words) - 1, max(len(words) - _MOST_OPTIONS, 0) - 1, -1):
        yield words[index], words[index + 1 :]
        is_argument = with_argument and re.fullmatch(rf"[-+]\w*[{with_argument}]", words[index - 1])
        if words[index][:1] not in ("-", "+") and not (index and is_argument):
            return
