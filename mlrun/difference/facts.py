"""What two records say by themselves: everything but the content of code and data."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from mlrun.difference.values import Item, Section
from mlrun.tracking.meaning import judged
from mlrun.views import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlrun.difference.values import Change
    from mlrun.model import Artifact, BoundParameter, EnvironmentFacts, HostFacts, Metric, RunRecord

MASKED = "***"
_INFLUENTIAL = re.compile(
    r"PYTHON(?!UNBUFFERED|IOENCODING|STARTUP|DONTWRITE|BREAKPOINT).*|(?:OMP|MKL|OPENBLAS|BLIS|NUMEXPR|VECLIB|GOTO|KMP|TBB)_.*"
    r"|(?:CUDA|CUBLAS|CUDNN|NVIDIA|NCCL|ROCM|HIP|TF|TORCH|PYTORCH|XLA|JAX|NPY|ATEN|KERAS)_.*"
    r"|LD_(?:PRELOAD|LIBRARY_PATH)|DYLD_.*|TZ|LANG|LC_.*|SOURCE_DATE_EPOCH|MALLOC_.*|GLIBC_TUNABLES"
)
"""Variables that are known to change what numerical programs compute, or how they read text."""


def pair(kind: str, items: Iterable[Item | None], **more: object) -> Section:
    """A section of what differs."""
    return Section(kind=kind, items=tuple(item for item in items if item is not None), **more)  # type: ignore[arg-type]


def text_item(name: str, before: object, after: object, **more: object) -> Item | None:
    """An item for two plain facts; None where they are equal."""
    if before == after:
        return None
    return Item(
        name=name,
        change=_change(before, after),
        before=None if before is None else str(before),
        after=None if after is None else str(after),
        **more,  # type: ignore[arg-type]
    )


def _change(before: object, after: object) -> Change:
    return "added" if before is None else "removed" if after is None else "changed"


# --- parameters, command, variables -------------------------------------------------------------------


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
        return pair("command", items, missing=_lacking("the command", ours, theirs))
    a, b = (_without_place(text, record) for text, record in ((ours.text, before), (theirs.text, after)))
    if a != b:
        explained = _is_explained(a, b, before, after)
        items.append(
            text_item("command", ours.text, theirs.text, because="parameters" if explained else None)
        )
    items.append(text_item("folder", ours.cwd, theirs.cwd))
    return pair("command", items)


def _without_place(text: str, record: RunRecord) -> str:
    """A checkout of ours has a folder named after the run."""
    return text.replace(record.id, "RUN").rstrip()


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
    for what, i1, i2, j1, j2 in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if what == "equal":
            continue
        if what == "replace" and i2 - i1 == j2 - j1:
            if not all(map(_swapped(swaps), left[i1:i2], right[j1:j2])):
                return False
        elif not {*left[i1:i2], *right[j1:j2]} <= loose:
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
    """Declared ones by value; of the caller's only the names are known, and few of them matter."""
    ours, theirs = dict(before.env_vars), dict(after.env_vars)
    items: list[Item | None] = []
    others: list[str] = []
    for name in sorted({*ours, *theirs}):
        a, b = ours.get(name), theirs.get(name)
        if a is not None or b is not None:
            items.append(_declared(name, a, b, in_before=name in ours, in_after=name in theirs))
        elif name not in ours or name not in theirs:
            if _INFLUENTIAL.fullmatch(name):
                change = "added" if name in theirs else "removed"
                items.append(Item(name=name, change=change, note="its value is in no record"))  # type: ignore[arg-type]
            else:
                others.append(name)
    facts = (("other_names", others),) if others else ()
    return pair("variables", items, facts=facts)


def _declared(name: str, a: str | None, b: str | None, *, in_before: bool, in_after: bool) -> Item | None:
    """A variable that at least one side declares; the other may have had it from the caller."""
    if a == b:
        return None
    hidden = "(not recorded)"
    before = a if a is not None else hidden if in_before else None
    after = b if b is not None else hidden if in_after else None
    return Item(name=name, change=_change(before, after), before=before, after=after)


# --- the environment ----------------------------------------------------------------------------------


def environment(before: RunRecord, after: RunRecord, locks: tuple[str | None, str | None]) -> list[Section]:
    """Packages, Python, image, and the rest; `locks` are the texts of both, where they are at hand."""
    ours, theirs = before.environment, after.environment
    if ours is None or theirs is None or ours.key is None or theirs.key is None:
        missing = _lacking("the environment", ours and ours.key, theirs and theirs.key)
        known = [] if ours is None or theirs is None else _surroundings(ours, theirs)
        return [
            Section(kind="packages", missing=missing),
            Section(kind="python"),
            Section(kind="image"),
            pair("environment", known),
        ]
    return [
        pair("packages", _packages(ours, theirs, locks)),
        pair("python", [text_item("Python", ours.python, theirs.python)]),
        pair("image", _image(ours, theirs)),
        pair("environment", _surroundings(ours, theirs)),
    ]


def _packages(
    before: EnvironmentFacts, after: EnvironmentFacts, locks: tuple[str | None, str | None]
) -> list[Item]:
    ours = {package.name: package for package in before.packages}
    theirs = {package.name: package for package in after.packages}
    items = []
    for name in sorted({*ours, *theirs}):
        a, b = ours.get(name), theirs.get(name)
        versions = (a.version if a else None, b.version if b else None)
        if versions[0] != versions[1]:
            note = _direction(*versions)
            items.append(
                Item(
                    name=name,
                    change=_change(*versions),
                    before=versions[0],
                    after=versions[1],
                    note=note,
                    facts=(("direction", note),),
                )
            )
        elif a and b and a.source and b.source and a.source != b.source:
            items.append(
                Item(name=name, change="changed", before=a.source, after=b.source, note="the same version")
            )
    named = {item.name for item in items}
    if before.lock != after.lock and None not in locks:
        items += [item for item in _files(*locks) if item.name not in named]
    return items


def _direction(before: str | None, after: str | None) -> str | None:
    if before is None or after is None:
        return None
    from packaging.version import InvalidVersion, Version

    try:
        a, b = Version(before), Version(after)
    except InvalidVersion:
        return None
    return "up" if b > a else "down" if b < a else None


def _files(before: str | None, after: str | None) -> list[Item]:
    """Packages of one version whose files differ: built again, or replaced, under the same number."""
    ours, theirs = _hashes(before or ""), _hashes(after or "")
    return [
        Item(name=name, change="changed", before=version, after=version, note="the same version, other files")
        for (name, version), hashes in sorted(ours.items())
        if hashes and theirs.get((name, version)) and not hashes & theirs[name, version]
    ]


def _hashes(lock: str) -> dict[tuple[str, str], set[str]]:
    """The hashes of each package of a `pylock.toml` (PEP 751)."""
    import tomllib

    try:
        packages = tomllib.loads(lock).get("packages", [])
        return {
            (str(package["name"]), str(package["version"])): {
                f"{kind}:{digest}"
                for file in (
                    *package.get("wheels", []),
                    *(package[key] for key in ("sdist", "archive") if key in package),
                )
                for kind, digest in file.get("hashes", {}).items()
            }
            for package in packages
            if "name" in package and "version" in package
        }
    except (tomllib.TOMLDecodeError, AttributeError, TypeError, KeyError):
        return {}


def _image(before: EnvironmentFacts, after: EnvironmentFacts) -> list[Item | None]:
    ours, theirs = before.image, after.image
    if ours is None or theirs is None:
        return [text_item("image", ours and ours.name, theirs and theirs.name)]
    # An engine's id and a registry's digest cannot be held against each other.
    digests = (ours.digest, theirs.digest) if ours.digest and theirs.digest else (ours.id, theirs.id)
    if digests[0] == digests[1]:
        return [text_item("image", ours.name, theirs.name, because="image", note="the same content")]
    moved = ours.name == theirs.name
    return [
        Item(
            name=theirs.name,
            change="changed",
            before=digests[0] if moved else f"{ours.name}, {digests[0]}",
            after=digests[1] if moved else f"{theirs.name}, {digests[1]}",
            note="the name has moved to another image" if moved else None,
            facts=(("before_name", ours.name), ("after_name", theirs.name)),
        )
    ]


def _surroundings(before: EnvironmentFacts, after: EnvironmentFacts) -> list[Item | None]:
    adapted = [
        Item(name="adaptation", change=change, before=a, after=b, because="packages")  # type: ignore[arg-type]
        for change, a, b in (
            *(("removed", text, None) for text in before.adaptations if text not in after.adaptations),
            *(("added", None, text) for text in after.adaptations if text not in before.adaptations),
        )
    ]
    return [
        text_item("kind", before.kind, after.kind),
        text_item("platform", before.platform or None, after.platform or None),
        text_item("packages as of", before.as_of, after.as_of, because="packages"),
        text_item("asked", before.asked or None, after.asked or None, because="packages"),
        *adapted,
    ]


# --- the machine --------------------------------------------------------------------------------------

_MEMORY = 0.02  # share by which a machine's memory varies from one start of its kernel to the next


def host(before: RunRecord, after: RunRecord) -> Section:
    """CPU, cores, memory, system, GPUs; another name alone is no difference."""
    ours, theirs = before.host, after.host
    if ours is None or theirs is None:
        return Section(kind="host", missing=_lacking("the machine", ours, theirs))
    return pair(
        "host",
        [
            text_item("CPU", ours.cpu or ours.machine, theirs.cpu or theirs.machine),
            text_item("architecture", ours.machine, theirs.machine, because="host"),
            text_item("cores", ours.cores, theirs.cores),
            _memory(ours, theirs),
            text_item("system", ours.os, theirs.os),
            text_item("GPUs", ", ".join(ours.gpus) or None, ", ".join(theirs.gpus) or None),
        ],
        facts=(("same_machine", ours.name == theirs.name),),
    )


def _memory(before: HostFacts, after: HostFacts) -> Item | None:
    a, b = before.memory, after.memory
    if a and b and abs(a - b) <= _MEMORY * max(a, b):
        return None
    if a == b:
        return None
    texts = [None if it is None else words.size(it) for it in (a, b)]
    return text_item("memory", *texts, facts=(("before_bytes", a), ("after_bytes", b)))


# --- results ------------------------------------------------------------------------------------------


def status(before: RunRecord, after: RunRecord) -> Section:
    """How they ended."""
    running = [record.name for record in (before, after) if record.status == "running"]
    if running:
        verb = "is" if len(running) == 1 else "are"
        return Section(kind="status", missing=f"{' and '.join(running)} {verb} still running")
    ours, theirs = (None if it.error is None else it.error.message for it in (before, after))
    endings = [("finished" if it.status == "cached" else it.status) for it in (before, after)]
    return pair(
        "status",
        [
            text_item("status", *endings),
            text_item("exit code", before.exit_code, after.exit_code),
            text_item("signal", before.signal, after.signal),
            text_item("error", ours, theirs),
        ],
    )


def metrics(before: RunRecord, after: RunRecord) -> Section:
    """The last values; better or worse for names whose meaning is common."""
    ours = {metric.name: metric for metric in before.metrics}
    theirs = {metric.name: metric for metric in after.metrics}
    names = sorted({*ours, *theirs})
    same = sum(
        name in ours and name in theirs and _equal(ours[name].last, theirs[name].last) for name in names
    )
    return pair(
        "metrics", (_metric(ours.get(name), theirs.get(name)) for name in names), facts=(("same", same),)
    )


def _metric(before: Metric | None, after: Metric | None) -> Item | None:
    known = before or after
    assert known is not None
    a = None if before is None else before.last
    b = None if after is None else after.last
    if a is not None and b is not None and _equal(a, b):
        return None
    note, facts = _moved(known.name, a, b)
    return Item(
        name=known.name,
        change=_change(a, b),
        before=_digits(a, b),
        after=_digits(b, a),
        note=note,
        facts=(("before_value", a), ("after_value", b), *facts),
    )


def _moved(name: str, a: float | None, b: float | None) -> tuple[str | None, tuple[tuple[str, object], ...]]:
    """By how much, and whether for the better."""
    if a is None or b is None or not math.isfinite(b - a):
        return None, ()
    delta = b - a
    percent = 100 * delta / abs(a) if a else None
    verdict = judged(name, delta)
    parts = [f"{delta:+.6g}"]
    parts += [f"{percent:+.2f} %"] if percent is not None else []
    parts += [verdict] if verdict else []
    return ", ".join(parts), (("delta", delta), ("percent", percent), ("verdict", verdict))


def _digits(value: float | None, other: float | None) -> str | None:
    """Six digits, or all where six would not tell the two apart."""
    if value is None:
        return None
    short = f"{value:.6g}"
    return repr(value) if other is not None and short == f"{other:.6g}" else short


def _equal(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def outputs(before: RunRecord, after: RunRecord) -> Section:
    """By digest; a metrics file that differs only because the metrics do is told with them."""
    ours = {output.path: output for output in before.outputs}
    theirs = {output.path: output for output in after.outputs}
    names = sorted({*ours, *theirs})
    same = sum(
        name in ours and name in theirs and ours[name].digest == theirs[name].digest is not None
        for name in names
    )
    return pair(
        "outputs", (_output(ours.get(name), theirs.get(name)) for name in names), facts=(("same", same),)
    )


def _output(before: Artifact | None, after: Artifact | None) -> Item | None:
    known = before or after
    assert known is not None
    facts = tuple(
        (f"{side}_{name}", None if it is None else getattr(it, name))
        for side, it in (("before", before), ("after", after))
        for name in ("digest", "size")
    )
    if before and after:
        if before.digest == after.digest is not None:
            return None
        if before.digest is None or after.digest is None:
            return Item(name=known.path, change="unknown", note="it could not be read", facts=facts)
    return Item(
        name=known.path,
        change=_change(before, after),
        before=f"{words.size(before.size)}, {before.digest}" if before else None,
        after=f"{words.size(after.size)}, {after.digest}" if after else None,
        note=known.kind if known.kind != "file" else None,
        because="metrics" if known.kind == "metrics" else None,
        facts=facts,
    )


# --- aside --------------------------------------------------------------------------------------------


def cost(before: RunRecord, after: RunRecord) -> Section:
    """Time and memory, which differ between any two runs."""
    items = [_cost("duration_s", before.duration_s, after.duration_s, words.duration)]
    ours, theirs = before.resources, after.resources
    if ours and theirs:
        memory = (ours.max_rss_bytes, theirs.max_rss_bytes)
        items.append(_cost("cpu_s", ours.cpu_s, theirs.cpu_s, words.duration))
        items.append(_cost("max_rss_bytes", *memory, lambda count: words.size(round(count))))
    return pair("cost", items)


def _cost(name: str, a: float | None, b: float | None, shown: Callable[[float], str]) -> Item | None:
    if any(it is not None and not math.isfinite(it) for it in (a, b)):
        shown = repr
    return text_item(
        name,
        None if a is None else shown(a),
        None if b is None else shown(b),
        note=f"{100 * (b - a) / a:+.0f} %" if a and b is not None else None,
        facts=(("before_value", a), ("after_value", b)),
    )


def circumstances(before: RunRecord, after: RunRecord) -> Section:
    """Who, when, where from."""
    return pair(
        "circumstances",
        [
            text_item(name.replace("_", " "), getattr(before, name) or None, getattr(after, name) or None)
            for name in ("started_at", "target", "user", "trigger", "mlrun_version")
        ]
        + [
            text_item("host", before.host and before.host.name, after.host and after.host.name),
            text_item("tags", _tags(before), _tags(after)),
        ],
    )


def _tags(record: RunRecord) -> str | None:
    return ", ".join(f"{name}={text}" for name, text in record.tags) or None


def _lacking(what: str, before: object, after: object) -> str:
    if not before and not after:
        return f"neither record has {what}"
    return f"the {'first' if not before else 'second'} record lacks {what}"
