"""What mlrun must know of a Dockerfile: its instructions with their lines, and the images it stands on.

Format: https://docs.docker.com/reference/dockerfile/ (continued lines, comments, here-documents).
"""

from __future__ import annotations

import re

from mlrun.value import value

_HERE_DOCUMENT = re.compile(r"<<-?[\"']?(\w+)[\"']?")
_ESCAPE = re.compile(r"^#\s*escape\s*=\s*`", re.IGNORECASE | re.MULTILINE)
_FROM = re.compile(r"FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)


@value
class Instruction:
    """One instruction on one line (`RUN pip install x`), and where it begins, counted from one."""

    text: str
    line: int


def instructions(text: str) -> tuple[Instruction, ...]:
    """All of them, in their order; a classic build counts its steps so."""
    escape = "`" if _ESCAPE.search(text) else "\\"
    found: list[Instruction] = []
    words: list[str] = []
    endings: list[str] = []
    begun = 0
    for number, line in enumerate(text.splitlines(), 1):
        if endings:
            if line.strip() == endings[0]:
                endings.pop(0)
            continue
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        begun = begun or number
        words.append(stripped.removesuffix(escape).strip())
        if stripped.endswith(escape):
            continue
        found.append(Instruction(text=" ".join(words), line=begun))
        endings = _HERE_DOCUMENT.findall(found[-1].text) if found[-1].text[:4] in ("RUN ", "COPY") else []
        words, begun = [], 0
    if words:
        found.append(Instruction(text=" ".join(words), line=begun))
    return tuple(found)


def bases(text: str) -> tuple[str, ...]:
    """The images that it is built from, but for its own stages and names that a build argument fills in."""
    stages, found = set(), []
    for instruction in instructions(text):
        if match := _FROM.match(instruction.text):
            if match[1] not in stages and "$" not in match[1] and match[1] != "scratch":
                found.append(match[1])
            stages.add(match[2])
    return tuple(dict.fromkeys(found))


def line_of(wanted: str, text: str) -> int | None:
    """Where the instruction stands that a builder quotes, perhaps shortened."""
    wanted = " ".join(wanted.split()).removesuffix("...").strip()
    for instruction in instructions(text):
        if " ".join(instruction.text.split()).startswith(wanted):
            return instruction.line
    return None
