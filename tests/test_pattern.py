"""Regular expressions that wait for their first use."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

import mlrun
from mlrun.pattern import _Pattern, pattern


def test_it_is_what_re_makes_of_it() -> None:
    lazy, usual = pattern(r"(?P<word>\w+)", re.ASCII), re.compile(r"(?P<word>\w+)", re.ASCII)
    assert [match["word"] for match in lazy.finditer("a bé")] == ["a", "b"]
    assert (lazy.pattern, lazy.flags, lazy.groupindex) == (usual.pattern, usual.flags, usual.groupindex)
    assert pattern(rb"a+").sub(b"b", b"caat") == b"cbt"
    assert lazy.fullmatch("abc") is not None


def test_a_mistake_is_told_at_the_first_use() -> None:
    lazy = pattern("(")
    with pytest.raises(re.error):
        lazy.match("")


def test_all_of_ours_can_be_compiled() -> None:
    found = 0
    for module in pkgutil.walk_packages(mlrun.__path__, "mlrun."):
        if module.name.endswith("__main__") or ".hook." in module.name:
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, _Pattern):
                assert value.groups >= 0
                found += 1
    assert found > 50
