"""`fast` and typer read the same command lines alike."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from mlrun.cli import data, execute, fast, hashing, run, typed
from mlrun.cli.options import REPEATED, SWITCHES, VALUES, RunOptions
from mlrun.errors import UsageError
from mlrun.value import fields

FLAGS = [*VALUES, *REPEATED, *SWITCHES]


def by_typer(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> RunOptions | None:
    """What `run` hands to `execute`; None where typer refuses or prints help."""
    got: list[RunOptions] = []

    def remember(options: RunOptions) -> int:
        got.append(options)
        return 0

    monkeypatch.setattr(execute, "execute", remember)
    with contextlib.suppress(UsageError):
        typed.invoke(run, "run", arguments)
    return got[0] if got else None


def declared() -> dict[str, Any]:
    command = typer.main.get_command(typed.app_of(run, "run"))
    return {flag: option for option in command.params for flag in option.opts if flag.startswith("-")}


def test_every_option_that_typer_declares_is_known_to_the_fast_parser() -> None:
    assert set(declared()) - {"--help", "-h"} == set(FLAGS)


@pytest.mark.parametrize("flag", FLAGS)
def test_an_option_has_one_nature_and_one_field(flag: str) -> None:
    option = declared()[flag]
    table = SWITCHES if option.is_flag else REPEATED if option.multiple else VALUES
    assert table[flag] == option.name


def test_every_field_can_be_set_from_the_command_line() -> None:
    assert {*fields(RunOptions)} - {"target"} == {*VALUES.values(), *REPEATED.values(), *SWITCHES.values()}


WORDS = st.one_of(
    st.sampled_from(FLAGS),
    st.sampled_from(
        ["-Pa=1", "--param=a=b=c", "-etrain", "--timeout=", "--strict=yes", "--", "-", "-x", "--nope", "-qv"]
    ),
    st.sampled_from([".", "a=1", "a= b", "-5", "https://host/x.git#sub", ""]),
)


@given(st.lists(WORDS, max_size=6))
def test_what_the_fast_parser_reads_typer_reads_alike(arguments: list[str]) -> None:
    quick = fast.parse(arguments)
    if quick is not None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            assert by_typer(arguments, monkeypatch) == quick


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], [".", "other"], ["--nope"], ["-P"], ["--entry", "x"]]
)
def test_what_is_not_plain_is_left_to_typer(arguments: list[str]) -> None:
    assert fast.parse(arguments) is None


@pytest.mark.parametrize(
    ("arguments", "plain"),
    [
        (["hash", "a", "b c"], (["a", "b c"], False)),
        (["hash", "--json", "a"], (["a"], True)),
        (["hash"], None),
        (["hash", "--json"], None),
        (["hash", "a", "--help"], None),
        (["hash", "--", "-a"], None),
        (["status", "a"], None),
        ([], None),
    ],
)
def test_plain_words_of_data_hash_are_read_as_typer_reads_them(
    arguments: list[str], plain: tuple[list[str], bool] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hashing.plain(arguments) == plain
    if plain is not None:
        got: list[tuple[list[str], bool]] = []
        monkeypatch.setattr(hashing, "hash_paths", lambda paths, *, as_json: got.append((paths, as_json)))
        typed.invoke(data, "data", arguments)
        assert got == [plain]
