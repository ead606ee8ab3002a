"""What a `[tool.poetry]` table asks for, in pip's words.

The format: https://python-poetry.org/docs/pyproject/ and https://python-poetry.org/docs/dependency-specification/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def is_package(poetry: dict[str, Any], manifest: Path) -> bool:
    """Whether there is something to build: a module of the project's name, or the packages that it lists."""
    if poetry.get("package-mode") is False or "name" not in poetry:
        return False
    if poetry.get("packages"):
        return True
    module = str(poetry["name"]).replace("-", "_").replace(".", "_")
    folders = (manifest.parent, manifest.parent / "src")
    return any((folder / module).is_dir() or (folder / f"{module}.py").is_file() for folder in folders)


def dependencies(poetry: dict[str, Any]) -> tuple[str | None, list[str]]:
    """The Python that is asked for, and requirements as pip writes them."""
    python, lines = None, []
    table = poetry.get("dependencies")
    for name, wanted in table.items() if isinstance(table, dict) else ():
        if name.lower() == "python":
            python = _version(str(wanted.get("version", "")) if isinstance(wanted, dict) else str(wanted))
        else:
            lines += [_requirement(name, each) for each in (wanted if isinstance(wanted, list) else [wanted])]
    return python, [line for line in lines if line]


def _requirement(name: str, wanted: Any) -> str:
    details = wanted if isinstance(wanted, dict) else {"version": str(wanted)}
    if details.get("optional"):
        return ""
    extras = f"[{','.join(details['extras'])}]" if details.get("extras") else ""
    if path := details.get("path"):
        return ("-e " if details.get("develop") else "") + f"./{path}{extras}"
    if repository := details.get("git"):
        revision = next((details[key] for key in ("rev", "tag", "branch") if key in details), None)
        text = f"{name}{extras} @ git+{repository}" + (f"@{revision}" if revision else "")
    elif url := details.get("url"):
        text = f"{name}{extras} @ {url}"
    else:
        text = name + extras + _version(str(details.get("version", "")))
    markers = " and ".join(_markers(details))
    return f"{text} ; {markers}" if markers else text


def _markers(details: dict[str, Any]) -> Iterator[str]:
    if python := details.get("python"):
        for clause in _version(str(python)).split(","):
            if match := re.fullmatch(r"([<>=!~]+)([\d.*]+)", clause):
                yield f'python_version {match[1]} "{match[2]}"'
    if markers := details.get("markers"):
        yield f"({markers})"
    if platform := details.get("platform"):
        yield f'sys_platform == "{platform}"'


def _version(text: str) -> str:
    """`^1.2`, `~1.2`, `1.2`, `*` and `>=1,<2` as PEP 440 has them; of alternatives the last."""
    last = text.split("||")[-1]
    return ",".join(
        filter(None, (_clause(part.strip()) for part in re.split(r",|(?<=\d) (?=[<>=^~!])", last)))
    )


def _clause(text: str) -> str:
    if text in ("", "*"):
        return ""
    match = re.fullmatch(r"([\^~]?=?)\s*v?(\d[\w.*+!-]*)", text)
    if match is None:
        return text.replace(" ", "")
    sign, version = match[1], match[2]
    if sign == "^":
        return f">={version},<{_next(version, caret=True)}"
    if sign == "~":
        return f">={version},<{_next(version, caret=False)}"
    return f"{'~=' if sign == '~=' else '=='}{version}"


def _next(version: str, *, caret: bool) -> str:
    """The first version that a caret or a tilde excludes.

    A caret raises the leftmost number that is not zero, a tilde the second.
    """
    release = re.split(r"[^\d.]", version, maxsplit=1)[0].strip(".")
    numbers = [int(number) for number in release.split(".")]
    if caret:
        position = next((at for at, number in enumerate(numbers) if number), len(numbers) - 1)
    else:
        position = min(1, len(numbers) - 1)
    return ".".join(str(number) for number in (*numbers[:position], numbers[position] + 1))
