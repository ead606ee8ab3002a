"""The plain command lines of `mlrun run`, parsed without typer: its import costs three bare interpreters.

What is not plain (help, an unknown or abbreviated option, a missing value, a second target) is left to
typer, which answers it well. A test holds the two together: every option that typer declares is here, and
both read the same lines alike.
"""

from __future__ import annotations

from mlrun.cli.options import REPEATED, SWITCHES, VALUES, RunOptions


def parse(arguments: list[str]) -> RunOptions | None:
    """The options, or None where typer should look."""
    single: dict[str, str] = {}
    many: dict[str, list[str]] = {}
    switches: dict[str, bool] = {}
    targets: list[str] = []
    rest = iter(arguments)
    for word in rest:
        flag, value = _split(word)
        if flag in SWITCHES and value is None:
            switches[SWITCHES[flag]] = True
        elif flag in VALUES or flag in REPEATED:
            value = next(rest, None) if value is None else value
            if value is None:
                return None
            if flag in VALUES:
                single[VALUES[flag]] = value
            else:
                many.setdefault(REPEATED[flag], []).append(value)
        elif word.startswith("-"):
            return None
        else:
            targets.append(word)
    if len(targets) > 1:
        return None
    lists = {name: tuple(values) for name, values in many.items()}
    return RunOptions(target=targets[0] if targets else ".", **single, **lists, **switches)  # type: ignore[arg-type]  # the tables name only fields of their kind


def _split(word: str) -> tuple[str, str | None]:
    """`--name=value` and `-Pvalue` into the option and its value."""
    if word.startswith("--"):
        flag, equals, value = word.partition("=")
        return flag, value if equals else None
    if word.startswith("-") and len(word) > 2 and (word[:2] in VALUES or word[:2] in REPEATED):
        return word[:2], word[2:]
    return word, None
