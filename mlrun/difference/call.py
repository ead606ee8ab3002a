"""How two runs were called: parameters, command, variables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlrun.determinism import FAMILY
from mlrun.difference.items import change_of, lacking, pair, text_item
from mlrun.difference.values import Item
from mlrun.difference.whole import by_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlrun.difference.values import Change, Section
    from mlrun.model import BoundParameter, Determinism, RunRecord

MASKED = "***"
_INFLUENTIAL = re.compile(
    r"PYTHON(?!UNBUFFERED|IOENCODING|STARTUP|DONTWRITE|BREAKPOINT).*|(?:OMP|MKL|OPENBLAS|BLIS|NUMEXPR|VECLIB|GOTO|KMP|TBB)_.*"
    r"|(?:CUDA|CUBLAS|CUDNN|NVIDIA|NCCL|ROCM|HIP|TF|TORCH|PYTORCH|XLA|JAX|NPY|ATEN|KERAS)_.*"
    r"|LD_(?:PRELOAD|LIBRARY_PATH)|DYLD_.*|TZ|LANG|LC_.*|SOURCE_DATE_EPOCH|MALLOC_.*|GLIBC_TUNABLES"
)
"""Variables that are known to change what numerical programs compute, or how they read text."""


def parameters(before: RunRecord, after: RunRecord, *, same_content: frozenset[str]) -> Section:
    """Values and where they came from; a secret is not in the record, so whether it is the same is unknown.

    `same_content` names path parameters that lead to the same bytes.
    """
    ours, theirs = (_by_name(record.parameters) for record in (before, after))
    return pair(
        "parameters",
        (
            _parameter(ours.get(name), theirs.get(name), same_content)
            for name in sorted(dict.fromkeys((*ours, *theirs)))
        ),
    )


def _by_name(parameters: tuple[BoundParameter, ...]) -> dict[str, BoundParameter]:
    return {parameter.name: parameter for parameter in parameters}


def _parameter(
    before: BoundParameter | None, after: BoundParameter | None, same_content: frozenset[str]
) -> Item | None:
    known = before or after
    assert known is not None
    facts = tuple(
        (f"{side}_from", None if parameter is None else parameter.origin)
        for side, parameter in (("before", before), ("after", after))
    )
    if before and after and (before.secret or after.secret):
        note = "secret: its value is in no record"
        return Item(name=known.name, change="unknown", before=MASKED, after=MASKED, note=note, facts=facts)
    shown = [None if it is None else MASKED if it.secret else it.value for it in (before, after)]
    if shown[0] == shown[1]:
        return None
    same = known.name in same_content
    origins = [f"from {it.origin}" for it in (before, after) if it]
    return Item(
        name=known.name,
        change="added" if before is None else "removed" if after is None else "changed",
        before=shown[0],
        after=shown[1],
        note="the same content" if same else " → ".join(dict.fromkeys(origins)),
        because="data" if same else None,
        facts=facts,
    )


def command(before: RunRecord, after: RunRecord) -> Section:
    """Entry point and command line; what a changed parameter put into it is explained by that."""
    items = [
        text_item("project", before.project, after.project),
        text_item("entry point", before.entry_point, after.entry_point),
    ]
    ours, theirs = before.command, after.command
    if ours is None or theirs is None:
        return pair("command", items, missing=lacking("the command", ours, theirs))
    if before.steps and after.steps:
        one, other = by_step(ours), by_step(theirs)
        items += [
            _text(f"command of {step}", one.get(step), other.get(step), before, after)
            for step in dict.fromkeys((*one, *other))
        ]
        return pair("command", items)
    items.append(_text("command", ours.text, theirs.text, before, after))
    items.append(text_item("folder", ours.cwd, theirs.cwd))
    return pair("command", items)


def _text(
    name: str, ours: str | None, theirs: str | None, before: RunRecord, after: RunRecord
) -> Item | None:
    if ours is None or theirs is None:
        return text_item(name, ours, theirs)
    a, b = (_without_place(text, record) for text, record in ((ours, before), (theirs, after)))
    if a == b:
        return None
    because = "parameters" if _is_explained(a, b, before, after) else None
    return text_item(name, ours, theirs, because=because)


def _without_place(text: str, record: RunRecord) -> str:
    """The command without the folder that it ran in, which puts itself into it by paths among the parameters.

    A checkout of ours is named after the run, or after the pipeline that it is a step of.
    """
    for run_id in (record.id, *(it for kind, it in record.parents if kind == "pipeline")):
        text = re.sub(rf"(?<![^\s'\"=:,])/[^\s'\"]*?/{re.escape(run_id)}(?![^/\s'\"])", ".", text)
        text = text.replace(run_id, "RUN")
    if record.source is not None and len(record.source.directory) > 1:
        place = re.escape(record.source.directory)
        text = re.sub(rf"(?<![^\s'\"=:,]){place}(?![^/\s'\"])", ".", text)
    return text.rstrip()


def _is_explained(a: str, b: str, before: RunRecord, after: RunRecord) -> bool:
    """Whether two commands differ only by the values of parameters that differ."""
    from difflib import SequenceMatcher

    ours, theirs = _by_name(before.parameters), _by_name(after.parameters)
    swaps = [
        (_without_place(ours[name].text, before), _without_place(theirs[name].text, after))
        for name in ours.keys() & theirs.keys()
        if ours[name].text != theirs[name].text
    ]
    loose = {
        word
        for one, other in ((ours, theirs), (theirs, ours))
        for name in one.keys() - other.keys()
        for word in (f"--{name}", one[name].text, f"{name}={one[name].text}", f"--{name}={one[name].text}")
    }
    left, right = _words(a), _words(b)
    explains = _swapped(swaps)
    for _, i1, i2, j1, j2 in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        one = [word for word in left[i1:i2] if word not in loose]
        other = [word for word in right[j1:j2] if word not in loose]
        if one != other and not (len(one) == len(other) and all(map(explains, one, other))):
            return False
    return True


def _swapped(swaps: list[tuple[str, str]]) -> Callable[[str, str], bool]:
    def explains(one: str, other: str) -> bool:
        for before, after in sorted(swaps, key=lambda swap: -len(swap[0])):
            if before and one.replace(before, after) == other:
                return True
        for before, after in swaps:  # several in one word
            one = one.replace(before, after) if before else one
        return one == other

    return explains


def _words(text: str) -> list[str]:
    import shlex

    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def variables(before: RunRecord, after: RunRecord) -> Section:
    """Declared ones by value, and those that decide over results by chance; of the caller's others only the
    names are known, and few of them matter."""
    ours, theirs = dict(before.env_vars), dict(after.env_vars)
    items: list[Item | None] = []
    if before.determinism is not None and after.determinism is not None:
        ours, theirs = _with_settings(ours, before.determinism), _with_settings(theirs, after.determinism)
        items.append(_umask(before.determinism, after.determinism))
    others: list[str] = []
    named = {None, *(it.path for it in (*before.inputs, *after.inputs) if it.reference)}
    for name in sorted({*ours, *theirs}):
        a, b = ours.get(name), theirs.get(name)
        if a in named and b in named and a != b:  # where an output of a run lies, which is data
            continue
        if a is not None or b is not None:
            items.append(_declared(name, a, b, in_before=name in ours, in_after=name in theirs))
        elif name not in ours or name not in theirs:
            if _INFLUENTIAL.fullmatch(name):
                change: Change = "added" if name in theirs else "removed"
                items.append(Item(name=name, change=change, note="its value is in no record"))
            else:
                others.append(name)
    facts = (("other_names", others),) if others else ()
    return pair("variables", items, facts=facts)


def _with_settings(variables: dict[str, str | None], facts: Determinism) -> dict[str, str | None]:
    """What a run got besides, whoever set it; but for a date that is its commit's."""
    known = dict((*facts.found, *(pair for pair in facts.variables if pair[0] != "SOURCE_DATE_EPOCH")))
    if "LC_ALL" in known:  # it has the last word
        known = {name: text for name, text in known.items() if name != "LANG" and not name.startswith("LC_")}
        known["LC_ALL"] = dict((*facts.found, *facts.variables))["LC_ALL"]
    others = {name: text for name, text in variables.items() if text is not None or name not in FAMILY}
    return known | others


def _umask(before: Determinism, after: Determinism) -> Item | None:
    texts = [None if it.umask is None else f"{it.umask:03o}" for it in (before, after)]
    return text_item("umask", *texts) if None not in texts else None


def _declared(name: str, a: str | None, b: str | None, *, in_before: bool, in_after: bool) -> Item | None:
    """A variable that at least one side declares; the other may have had it from the caller."""
    if a == b:
        return None
    hidden = "(not recorded)"
    before = a if a is not None else hidden if in_before else None
    after = b if b is not None else hidden if in_after else None
    return Item(name=name, change=change_of(before, after), before=before, after=after)
