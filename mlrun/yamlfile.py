"""The one door to YAML: text in, small frozen nodes with their places out.

A scalar keeps the text that was written beside the type that YAML 1.1 gives it, so `python: 3.10` can stay
`3.10`, and every message about a node can say file, line and column. Nodes are built from the parser's
events, not by a constructor: a file can ask for no Python object, and depth, size and aliases are bounded.
"""

from __future__ import annotations

import binascii
import contextlib
import os
import re
import stat
from typing import TYPE_CHECKING, Any

from mlrun.errors import ParameterError, ProjectError
from mlrun.model import Finding, Place
from mlrun.pattern import pattern
from mlrun.value import positional_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 100
MAX_NODES = 100_000
"""Nodes after every alias is followed; a page of text can otherwise stand for billions."""

_PREFIX = "tag:yaml.org,2002:"
_SCALAR_KINDS = frozenset({"str", "int", "float", "bool", "null", "timestamp", "binary", "merge", "value"})
_COLLECTION_TAGS = frozenset(
    {None, "!", *(_PREFIX + kind for kind in ("map", "seq", "set", "omap", "python/tuple", "python/list"))}
)
_TEXTS_OF_PYTHON = frozenset({"python/unicode", "python/str"})
"""Python 2 wrote its lists and texts so (`channels: !!python/tuple`, in conda 4); no object is made."""
_SAFE_PLAIN = pattern(r"[A-Za-z_./][A-Za-z0-9_./=~<>+-]*( [A-Za-z0-9_./=~<>+-]+)*")
_PLAIN_INTEGER = pattern(r"-?[1-9][0-9]{0,15}|0")
_PLAIN_FRACTION = pattern(r"-?[0-9]+\.[0-9]+")
"""Numbers that Python writes as YAML does, so that PyYAML need not be asked."""
_PACKED = 1  # the format of what a memory keeps
_WORTH_KEEPING = 1 << 16  # bytes
_WINDOWS = "cp1252"
_CONTROL = pattern(rb"[\x00-\x08\x0e-\x1f]")
_TAB_WIDTHS = (4, 8, 2)
_UNPRINTABLE = pattern("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


@positional_value
class Scalar:
    """One plain or quoted value: `text` as written, `kind` what YAML 1.1 takes it for (`int`, `null`, …)."""

    place: Place
    text: str
    kind: str = "str"


@positional_value
class ListNode:
    """`- a` or `[a]`."""

    place: Place
    items: tuple[Node, ...] = ()


@positional_value
class MapNode:
    """`a: b` or `{a: b}`; merges are done, and of a doubled key the last value counts."""

    place: Place
    entries: tuple[tuple[Scalar, Node], ...] = ()

    def get(self, key: str) -> Node | None:
        """The value under a key; None where there is no such key."""
        return next((value for name, value in self.entries if name.text == key), None)


Node = Scalar | ListNode | MapNode


@positional_value
class Document:
    """A file's one value (None where the file is empty), and what was noticed on the way."""

    root: Node | None
    findings: tuple[Finding, ...] = ()


# --- reading ------------------------------------------------------------------------------------------


def read(path: str | Path, *, file: str | None = None, memory: Memory | None = None) -> Document:
    """Read a file into nodes; messages call it `file`, or by its path. What `memory` knows is not parsed.

    Raises ProjectError where it cannot be read (`no-such-file`, `unreadable-file`, `not-text`) or is no YAML
    (`bad-yaml`).
    """
    shown = file if file is not None else os.fspath(path)
    data = _bytes_of(path, shown)
    if memory is None:
        return parse(data, file=shown)
    root = memory.known(data, shown)
    if root is not None:
        return Document(root)
    document = parse(data, file=shown)
    if document.root is not None and not document.findings:
        memory.keep(data, document.root)
    return document


def parse(data: bytes | str, *, file: str) -> Document:
    """Read text into nodes; bytes may be UTF-8 or UTF-16, with or without a byte order mark, or Windows-1252.

    Raises ProjectError (`not-text`, `bad-yaml`).
    """
    import yaml

    text, findings = _decoded(data, file) if isinstance(data, bytes) else (data, ())
    try:
        document = _Builder(text, file).document()
    except yaml.YAMLError as error:
        found = _without_tabs(text, file)
        if found is None:
            raise _explained(error, text, file) from None
        document = found
    return Document(document.root, (*findings, *document.findings))


def _without_tabs(text: str, file: str) -> Document | None:
    """Tabs where YAML allows none, taken for as many blanks as make sense of the text; else None."""
    import yaml

    position = text.find("\t")
    if position < 0:
        return None
    for width in _TAB_WIDTHS:
        try:
            document = _Builder(text.expandtabs(width), file).document()
        except (yaml.YAMLError, ProjectError):
            continue
        line = text.count("\n", 0, position) + 1
        finding = Finding(
            level="warning",
            code="tabs",
            message=f"a tab cannot indent YAML: it is taken for {width} blanks",
            place=Place(file=file, line=line, column=position - text.rfind("\n", 0, position)),
            hint="use spaces",
        )
        return Document(document.root, (finding, *document.findings))
    return None


def load(path: str | Path) -> object:
    """A file as plain Python values; keys are text. Raises ProjectError as `read` does."""
    root = read(path).root
    return None if root is None else plain(root)


def load_texts(path: str | Path) -> tuple[tuple[str, str], ...]:
    """A YAML or JSON file of parameters, as (name, text that a command sees); null values are left out.

    Raises ProjectError as `read` does, ParameterError (`bad-params-file`) where it is no mapping.
    """
    shown = os.fspath(path)
    if shown.lower().endswith(".json"):
        return _json_texts(_decoded(_bytes_of(path, shown), shown)[0], shown)
    root = read(path).root
    if not isinstance(root, MapNode):
        raise _no_parameters(shown)
    return tuple((key.text, as_text(value)) for key, value in root.entries if not is_null(value))


@positional_value
class Memory:
    """Nodes of texts that were read before, in a folder: to import PyYAML and to parse takes a tenth of a
    warm run.

    A file holds the text itself, which is compared, so that nothing else can be taken for it.
    """

    folder: Path

    def known(self, data: bytes, file: str) -> Node | None:
        """The nodes of this text; None where it was not kept, or cannot be read any more."""
        if (data, file) not in _recent:
            root = self._read(data, file)
            if root is None:
                return None
            _recent[data, file] = root
        return _recent[data, file]

    def _read(self, data: bytes, file: str) -> Node | None:
        try:
            with open(self._path(data), "rb") as kept:
                content = kept.read()
            if not content.endswith(data):
                return None
            import json

            return _unpacked(json.loads(content[: len(content) - len(data)]), file)
        except (OSError, ValueError, TypeError, LookupError, RecursionError):
            return None

    def keep(self, data: bytes, root: Node) -> None:
        """Remember a text without findings; one of some size is not worth it."""
        if len(data) > _WORTH_KEEPING:
            return
        import json

        content = json.dumps(_packed(root)).encode() + b"\n" + data
        path = self._path(data)
        temporary = f"{path}.{os.getpid()}"
        with contextlib.suppress(OSError):
            os.makedirs(self.folder, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(content)
            os.replace(temporary, path)

    def _path(self, data: bytes) -> str:
        return f"{self.folder}/{len(data):x}-{binascii.crc32(data):08x}.{_PACKED}"


_recent: dict[tuple[bytes, str], Node] = {}
"""What this process has read already: a project file is asked about its commands, too."""


def _packed(node: Node) -> list[Any]:
    where = [node.place.line, node.place.column]
    match node:
        case Scalar():
            return [*where, node.kind, node.text]
        case ListNode():
            return [*where, [_packed(item) for item in node.items]]
        case MapNode():
            return [*where, *([_packed(key), _packed(value)] for key, value in node.entries), None]


def _unpacked(packed: list[Any], file: str) -> Node:
    line, column, *rest = packed
    place = Place(file=file, line=line, column=column)
    if rest[-1] is None:
        pairs: Any = ((_unpacked(key, file), _unpacked(value, file)) for key, value in rest[:-1])
        return MapNode(place, tuple(pairs))
    if isinstance(rest[0], str):
        return Scalar(place, rest[1], rest[0])
    return ListNode(place, tuple(_unpacked(item, file) for item in rest[0]))


# --- nodes as values ----------------------------------------------------------------------------------


def is_null(node: Node | None) -> bool:
    """Whether there is no value: an absent key, `null`, `~`, or nothing after the colon."""
    return node is None or (isinstance(node, Scalar) and node.kind == "null")


def plain(node: Node) -> object:
    """The node as Python's own values, as a safe YAML loader would give them; keys are text."""
    match node:
        case Scalar():
            return _scalar_value(node)
        case ListNode():
            return [plain(item) for item in node.items]
        case MapNode():
            return {key.text: plain(value) for key, value in node.entries}


def as_text(node: Node) -> str:
    """What `str()` makes of the value, as MLflow does with a default: `yes` is `True`, `0.50` is `0.5`."""
    if isinstance(node, Scalar) and node.kind == "str":
        return node.text
    try:
        return str(plain(node))
    except ValueError:  # Python refuses to write integers of thousands of digits
        return node.text if isinstance(node, Scalar) else ""


def quoted(text: str) -> str:
    """A YAML scalar that reads back as exactly this text, bare where that is safe.

    Raises ValueError for text that YAML cannot hold (an unpaired surrogate).
    """
    if _SAFE_PLAIN.fullmatch(text) and _stays_text(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return '"' + _UNPRINTABLE.sub(_escape, escaped) + '"'


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` is most likely a slip of, if any is near enough."""
    import difflib

    known = {candidate.lower(): candidate for candidate in candidates}
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.75)
    return known[near[0]] if near else None


def _scalar_value(node: Scalar) -> object:
    if node.kind in ("str", "value", "merge"):
        return node.text
    if node.kind == "null":
        return None
    if node.kind == "int" and _PLAIN_INTEGER.fullmatch(node.text):
        return int(node.text)
    if node.kind == "float" and _PLAIN_FRACTION.fullmatch(node.text):
        return float(node.text)
    import yaml

    try:
        return yaml.constructor.SafeConstructor().construct_object(
            yaml.ScalarNode(_PREFIX + node.kind, node.text)
        )
    except (yaml.YAMLError, ValueError, LookupError, OverflowError, AttributeError):
        return node.text  # 2024-13-45 looks like a date and is none, `!!timestamp soon` only says it is one


def _stays_text(text: str) -> bool:
    root = parse(text, file="").root
    return isinstance(root, Scalar) and root.kind == "str" and root.text == text


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xD800 <= code <= 0xDFFF:
        raise ValueError(f"YAML cannot hold the unpaired surrogate U+{code:04X}")
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


# --- bytes to text ------------------------------------------------------------------------------------


def _bytes_of(path: str | Path, shown: str) -> bytes:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ProjectError(f"{shown} is not a file", code="unreadable-file")
        if status.st_size > MAX_BYTES:
            raise ProjectError(f"{shown} is larger than {MAX_BYTES >> 20} MiB", code="unreadable-file")
        with open(path, "rb") as file:
            return file.read(MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise ProjectError(f"{shown} does not exist", code="no-such-file") from None
    except OSError as error:
        raise ProjectError(f"cannot read {shown}: {error.strerror}", code="unreadable-file") from error


def _decoded(data: bytes, file: str) -> tuple[str, tuple[Finding, ...]]:
    """The text; what is no UTF-8 may be of a Windows editor."""
    encoding = _encoding(data)
    try:
        return data.decode(encoding).removeprefix("\ufeff"), ()
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line_start = before.rfind(b"\n") + 1
        place = Place(file=file, line=before.count(b"\n") + 1, column=error.start - line_start + 1)
        wrong = f"byte 0x{data[error.start]:02x} is no {encoding.upper().removesuffix('-SIG')} text"
        if encoding == "utf-8" and not _CONTROL.search(data):
            with contextlib.suppress(UnicodeDecodeError):
                message = f"{wrong}: the file is read as {_WINDOWS}"
                return data.decode(_WINDOWS), (
                    Finding(
                        level="warning",
                        code="not-utf8",
                        message=message,
                        place=place,
                        hint="save the file as UTF-8",
                    ),
                )
        raise ProjectError(wrong, place=place, hint="save the file as UTF-8", code="not-text") from None


def _encoding(data: bytes) -> str:
    """Windows tools write UTF-16, with a byte order mark or without."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if len(data) >= 2 and data[0] and not data[1]:
        return "utf-16-le"
    if len(data) >= 2 and not data[0] and data[1]:
        return "utf-16-be"
    return "utf-8"


def _json_texts(text: str, shown: str) -> tuple[tuple[str, str], ...]:
    import json

    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ProjectError(
            f"this is no JSON: {error.msg[:1].lower()}{error.msg[1:]}",
            place=Place(file=shown, line=error.lineno, column=error.colno),
            code="bad-json",
        ) from None
    except (RecursionError, ValueError) as error:
        raise ProjectError(f"{shown} is no JSON that can be read: {error}", code="bad-json") from None
    if not isinstance(values, dict):
        raise _no_parameters(shown)
    return tuple((name, str(value)) for name, value in values.items() if value is not None)


def _no_parameters(shown: str) -> ParameterError:
    return ParameterError(
        f"{shown} holds no parameters: expected a mapping of names to values",
        hint="a line a parameter: `alpha: 0.5`",
        code="bad-params-file",
    )


# --- events to nodes ----------------------------------------------------------------------------------


class _Builder:
    """One parse: takes the parser's events in order and bounds what they may grow into."""

    def __init__(self, text: str, file: str) -> None:
        import yaml

        self._yaml: Any = yaml
        self._loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        self._file = file
        self._anchors: dict[str, tuple[Node, int] | None] = {}  # None: the anchor's node is not complete yet
        self._nodes = 0
        self._findings: list[Finding] = []

    def document(self) -> Document:
        """Raises yaml.YAMLError as well as ProjectError."""
        try:
            events = self._events()
            start = next(events)
            root = None if self._is(start, "StreamEnd") else self._node(next(events), events, depth=0)
            for event in events:
                if self._is(event, "DocumentStart"):
                    raise self._refusal(
                        "a second document starts here; expected one", event, hint="remove the line `---`"
                    )
            return Document(root, tuple(self._findings))
        finally:
            self._loader.dispose()

    def _events(self) -> Iterator[Any]:
        while self._loader.check_event():
            event = self._loader.get_event()
            if not self._is(event, "StreamStart"):
                yield event

    def _is(self, event: Any, kind: str) -> bool:
        return isinstance(event, getattr(self._yaml.events, kind + "Event"))

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        if self._is(event, "Alias"):
            return self._aliased(event)
        before = self._nodes
        self._count(1, event)
        if depth > MAX_DEPTH:
            raise self._refusal(f"nested more than {MAX_DEPTH} levels deep", event)
        if event.anchor:
            self._anchors[event.anchor] = None
        node = self._built(event, events, depth)
        if event.anchor:
            self._anchors[event.anchor] = (node, self._nodes - before)
        return node

    def _built(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        place = self._place(event)
        if self._is(event, "Scalar"):
            return Scalar(place, event.value, self._kind(event))
        if event.tag not in _COLLECTION_TAGS:
            raise self._unknown_tag(event)
        if self._is(event, "SequenceStart"):
            return ListNode(place, tuple(self._children("SequenceEnd", events, depth)))
        children = list(self._children("MappingEnd", events, depth))
        return MapNode(place, self._entries(children[::2], children[1::2]))

    def _children(self, end: str, events: Iterator[Any], depth: int) -> Iterator[Node]:
        while not self._is(event := next(events), end):
            yield self._node(event, events, depth + 1)

    def _entries(self, keys: list[Node], values: list[Node]) -> tuple[tuple[Scalar, Node], ...]:
        own: dict[str, tuple[Scalar, Node]] = {}
        merged: dict[str, tuple[Scalar, Node]] = {}
        for key, value in zip(keys, values, strict=True):
            if not isinstance(key, Scalar):
                raise ProjectError(
                    "expected a key, found a list or a mapping",
                    place=key.place,
                    hint="text that starts with `{` or `[` needs quotes",
                    code="bad-yaml",
                )
            if key.kind == "merge":
                for name, entry in _merged(value).items():
                    merged.setdefault(name, entry)
                continue
            if key.text in own:
                self._findings.append(_doubled(own[key.text][0], key))
            own[key.text] = (key, value)
        return tuple((merged | own).values())

    def _aliased(self, event: Any) -> Node:
        if event.anchor not in self._anchors:
            raise self._refusal(
                f"no anchor `&{event.anchor}` comes before this",
                event,
                hint="text that starts with `*` needs quotes",
            )
        known = self._anchors[event.anchor]
        if known is None:
            raise self._refusal(f"`*{event.anchor}` stands inside of what it names", event)
        node, size = known
        self._count(size, event)
        return node

    def _kind(self, event: Any) -> str:
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._loader.resolve(self._yaml.ScalarNode, event.value, event.implicit)
        kind: str = tag.removeprefix(_PREFIX)
        if kind in _TEXTS_OF_PYTHON:
            return "str"
        if not tag.startswith(_PREFIX) or kind not in _SCALAR_KINDS:
            raise self._unknown_tag(event)
        return kind

    def _count(self, nodes: int, event: Any) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise self._refusal(f"more than {MAX_NODES:,} values once its aliases are followed", event)

    def _unknown_tag(self, event: Any) -> ProjectError:
        tag = event.tag.replace(_PREFIX, "!!")
        return self._refusal(f"unknown tag `{tag}`", event, hint="text that starts with `!` needs quotes")

    def _refusal(self, message: str, event: Any, hint: str | None = None) -> ProjectError:
        return ProjectError(message, place=self._place(event), hint=hint, code="bad-yaml")

    def _place(self, event: Any) -> Place:
        return _place_of(event.start_mark, self._file)


def _merged(value: Node) -> dict[str, tuple[Scalar, Node]]:
    """What `<<` brings in; of several mappings the first that has a key wins."""
    sources = value.items if isinstance(value, ListNode) else (value,)
    found: dict[str, tuple[Scalar, Node]] = {}
    for source in sources:
        if not isinstance(source, MapNode):
            raise ProjectError("`<<` takes a mapping or a list of them", place=value.place, code="bad-yaml")
        for key, node in source.entries:
            found.setdefault(key.text, (key, node))
    return found


def _doubled(first: Scalar, second: Scalar) -> Finding:
    return Finding(
        level="warning",
        code="doubled-key",
        message=f"`{second.text}` is written twice (first in line {first.place.line}); the last one counts",
        place=second.place,
    )


# --- the parser's complaints, in words ----------------------------------------------------------------


def _explained(error: Exception, text: str, file: str) -> ProjectError:
    """A sentence for what libyaml or PyYAML found; the two word it differently."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return _unprintable(text, file)
    problem = str(getattr(error, "problem", ""))
    context = str(getattr(error, "context", ""))
    opened = getattr(error, "context_mark", None)
    message, hint = _sentence(problem, context, _character_at(text, mark))
    if (
        opened is not None
        and re.search("quoted scalar|flow [sm]|simple key", context)
        and "escape" not in problem
    ):
        mark = opened
    return ProjectError(message, place=_place_of(mark, file), hint=hint, code="bad-yaml")


def _sentence(problem: str, context: str, character: str) -> tuple[str, str | None]:
    if "cannot start any token" in problem and character == "\t":
        return "a tab cannot indent YAML", "use spaces"
    if "cannot start any token" in problem:
        return f"a value cannot start with `{character}`", "put it in quotes"
    if "escape" in problem:
        return "unknown `\\` escape in double quotes", "use single quotes, or write `\\\\`"
    if "quoted scalar" in context:
        return "this quote is never closed", None
    if "flow node" in context:
        return "a bracket is never closed before here", "text that starts with `{` or `[` needs quotes"
    if "flow" in context:
        bracket = "`[`" if "sequence" in context else "`{`"
        return f"this {bracket} is never closed", "text that starts with `{` or `[` needs quotes"
    if "mapping values are not allowed" in problem:
        return "a `key: value` cannot start here", "check the indentation; text that holds `: ` needs quotes"
    if "could not find expected ':'" in problem:
        return "this is neither a `key: value` nor a `- item`", "a key ends in `:`"
    if "entries are not allowed" in problem:
        return "a `- item` cannot start here", "begin the list on the next line"
    if "parsing a block" in context:
        return (
            "expected the next `key: value` or `- item`, found something else",
            "check the indentation; a value that starts with a quote or a bracket must end with it",
        )
    return f"this is no YAML: {problem}", None


def _unprintable(text: str, file: str) -> ProjectError:
    found = _UNPRINTABLE.search(text.replace("\r", "\n").replace("\x85", "\n"))
    position = found.start() if found else 0
    before = text[:position]
    return ProjectError(
        f"the character U+{ord(text[position]):04X} is not allowed in YAML" if text else "this is no YAML",
        place=Place(file=file, line=before.count("\n") + 1, column=position - (before.rfind("\n") + 1) + 1),
        hint='write it as an escape in double quotes ("\\x1b")',
        code="bad-yaml",
    )


def _character_at(text: str, mark: Any) -> str:
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    return line[mark.column] if mark.column < len(line) else ""


def _place_of(mark: Any, file: str) -> Place:
    return Place(file=file, line=mark.line + 1, column=mark.column + 1)
