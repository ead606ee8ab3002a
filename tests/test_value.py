"""Our records mean what the standard library's frozen dataclasses mean."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from mlrun.value import draft, field, fields, positional_value, replace, value


@value
class Ours:
    a: int
    b: str = "x"
    c: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Theirs:
    a: int
    b: str = "x"
    c: tuple[int, ...] = ()


@positional_value
class Pair:
    left: int
    right: int = 2


@draft
class Sketch:
    lines: list[str] = field(default_factory=list)


def test_text_equality_and_hash_are_by_content() -> None:
    assert repr(Ours(a=1)) == repr(Theirs(a=1)).replace("Theirs", "Ours")
    assert Ours(a=1) == Ours(a=1, b="x")
    assert hash(Ours(a=1)) == hash(Ours(a=1))
    assert Ours(a=1) != Ours(a=2)
    assert Ours(a=1) != object()


def test_nothing_can_be_changed() -> None:
    ours = Ours(a=1)
    with pytest.raises(AttributeError, match="frozen"):
        ours.a = 2  # type: ignore[misc]  # the point of the test
    with pytest.raises(AttributeError, match="frozen"):
        del ours.a
    assert replace(ours, a=2) == Ours(a=2)
    assert ours == Ours(a=1)


@pytest.mark.parametrize("values", [{}, {"a": 1, "z": 2}, {"b": "y"}])
def test_wrong_fields_are_refused_as_theirs_are(values: dict[str, int]) -> None:
    for kind in (Ours, Theirs):
        with pytest.raises(TypeError):
            kind(**values)  # type: ignore[arg-type]  # the point of the test


def test_positions_only_where_declared() -> None:
    assert Pair(1) == Pair(left=1, right=2)
    for arguments in ((1, 2, 3), ()):
        with pytest.raises(TypeError):
            Pair(*arguments)
    with pytest.raises(TypeError):
        Pair(1, left=1)  # type: ignore[misc]  # the point of the test
    with pytest.raises(TypeError):
        Ours(1)  # type: ignore[call-arg]  # the point of the test


def test_a_draft_is_filled_in_and_shares_nothing() -> None:
    one, other = Sketch(), Sketch()
    one.lines.append("x")
    one.lines = [*one.lines, "y"]
    assert (one.lines, other.lines) == (["x", "y"], [])
    assert Sketch() != Sketch()


def test_they_match_copy_and_travel() -> None:
    match Pair(3, 4):
        case Pair(left, right):
            assert (left, right) == (3, 4)
    assert copy.deepcopy(Ours(a=1)) == pickle.loads(pickle.dumps(Ours(a=1))) == Ours(a=1)
    assert fields(Ours) == ("a", "b", "c")
