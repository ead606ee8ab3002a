"""Whether two files that differ in bytes say the same: time stamps aside, or but for the last digits.

Nothing that is compared is loaded by the program that it is for: of a pickle only the instructions are read.
Where sameness cannot be shown so, the files are different.
"""

from __future__ import annotations

import bz2
import io
import json
import lzma
import math
import re
import struct
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING, Literal

from mlrun.model import Tolerance
from mlrun.sameness import markup
from mlrun.sameness.moments import Span, alike_but_for_stamps, timeless
from mlrun.value import value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Grade = Literal["identical", "equal", "close", "different"]
GRADES: tuple[Grade, ...] = ("identical", "equal", "close", "different")
"""From the best to the worst."""

LARGEST = 512 << 20
"""Bytes, unpacked, up to which a file is looked into."""
_DEEPEST = 6  # archives in archives
_MOST_INSTRUCTIONS = 3_000_000
EXACT = Tolerance()


@value
class Sameness:
    """How far two contents are the same; `note` says where they differ, and why that matters or does not."""

    grade: Grade
    note: str | None = None


_IDENTICAL = Sameness(grade="identical")
_PLACES_ONLY = Sameness(grade="equal", note="only the folders and ids of the two runs")
_TIMES_ONLY = Sameness(grade="equal", note="only the times at which the two runs were made")

Places = tuple[tuple[str, str], ...]
"""Texts that a run knows of itself, such as its folder and its id, with what each of them stands for."""


@value
class Leeway:
    """What does not count: a little of each number, and where the two contents were made."""

    tolerance: Tolerance = EXACT
    before: Places = ()
    after: Places = ()
    spans: tuple[Span, Span] | None = None


def same(
    a: bytes,
    b: bytes,
    *,
    tolerance: Tolerance = EXACT,
    before: Places = (),
    after: Places = (),
    spans: tuple[Span, Span] | None = None,
) -> Sameness:
    """Compare two contents, by what their first bytes say that they are.

    `before` and `after` are the places of the runs that made them, `spans` when they went on.
    """
    return alike(a, b, Leeway(tolerance=tolerance, before=before, after=after, spans=spans))


def alike(a: bytes, b: bytes, leeway: Leeway) -> Sameness:
    """As `same`."""
    return _same(a, b, leeway, 0)


def _same(a: bytes, b: bytes, leeway: Leeway, depth: int) -> Sameness:
    if a == b:
        return _IDENTICAL
    if (leeway.before or leeway.after or leeway.spans) and _is_text(a) and _is_text(b):
        a, b = (_placeless(it, places) for it, places in ((a, leeway.before), (b, leeway.after)))
        if a == b:
            return _PLACES_ONLY
        if leeway.spans is not None:
            a, b = (timeless(it, span) for it, span in zip((a, b), leeway.spans, strict=True))
        if a == b:
            return _TIMES_ONLY
    if depth < _DEEPEST:
        for is_one, look in _KINDS:
            if is_one(a) and is_one(b):
                try:
                    return look(a, b, leeway, depth + 1)
                except (ValueError, OSError, EOFError, _FailedError, *_BROKEN):
                    return Sameness(grade="different", note="bytes")
    return Sameness(grade="different", note=_first_difference(a, b))


def _placeless(content: bytes, places: Places) -> bytes:
    for text, meaning in sorted(places, key=lambda place: -len(place[0])):
        content = content.replace(text.encode("utf-8", "surrogateescape"), meaning.encode())
    return content


def numbers(a: float, b: float, tolerance: Tolerance = EXACT) -> Grade:
    """How far two numbers are the same; NaN is NaN."""
    if a == b or (math.isnan(a) and math.isnan(b)):
        return "identical"
    near = math.isclose(a, b, rel_tol=tolerance.rtol, abs_tol=tolerance.atol)
    return "close" if near and (tolerance.rtol or tolerance.atol) else "different"


def worst(grades: list[Grade]) -> Grade:
    """The worst of some grades; of none, `identical`."""
    return max(grades, key=GRADES.index, default="identical")


class _FailedError(Exception):
    """It is not what it seemed to be."""


_BROKEN = (
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
    struct.error,
    *(ArithmeticError, LookupError, RuntimeError, TypeError, AttributeError, MemoryError),
)
"""What readers of formats raise besides for bytes that are none of theirs."""


def _first_difference(a: bytes, b: bytes) -> str:
    length = min(len(a), len(b))
    low, high = 0, length
    while low < high:  # the longest common start
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    if not _is_text(a) or not _is_text(b):
        return f"from byte {low} of {len(a)}"
    line = a.count(b"\n", 0, low)
    start = a.rfind(b"\n", 0, low) + 1
    texts = [it[start:].split(b"\n", 1)[0].decode()[:60] for it in (a, b)]
    return f"line {line + 1}: `{texts[0]}` and `{texts[1]}`"


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode("utf-8")
    except UnicodeDecodeError:
        return False


# --- what is packed -----------------------------------------------------------------------------------


def _packed(name: str, unpack: Callable[[bytes], bytes]) -> Callable[[bytes, bytes, Leeway, int], Sameness]:
    """A file packed as a whole."""

    def look(a: bytes, b: bytes, leeway: Leeway, depth: int) -> Sameness:
        inner = _same(unpack(a), unpack(b), leeway, depth)
        if inner.grade == "identical":
            return Sameness(grade="equal", note=f"{name}: only how it is packed, such as its time stamp")
        return Sameness(grade=inner.grade, note=f"in {name}: {inner.note}")

    return look


def _unzlib(bits: int) -> Callable[[bytes], bytes]:
    def unpack(data: bytes) -> bytes:
        parts: list[bytes] = []
        left = LARGEST
        while data:
            unpacker = zlib.decompressobj(bits)
            part = unpacker.decompress(data, left)
            left -= len(part)
            if unpacker.unconsumed_tail or not unpacker.eof or left <= 0:
                raise _FailedError
            parts.append(part)
            data = unpacker.unused_data.lstrip(b"\0")
        return b"".join(parts)

    return unpack


def _unbz2(data: bytes) -> bytes:
    return _bounded(bz2.BZ2Decompressor(), data)


def _unxz(data: bytes) -> bytes:
    return _bounded(lzma.LZMADecompressor(), data)


def _bounded(unpacker: bz2.BZ2Decompressor | lzma.LZMADecompressor, data: bytes) -> bytes:
    unpacked = unpacker.decompress(data, LARGEST)
    if not unpacker.eof or unpacker.unused_data:
        raise _FailedError
    return unpacked


# --- archives -----------------------------------------------------------------------------------------


def _zip(a: bytes, b: bytes, leeway: Leeway, depth: int) -> Sameness:
    return _members("zip", _unzipped(a), _unzipped(b), leeway, depth)


def _unzipped(data: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        _check(len(infos) == len(set(archive.namelist())))
        _check(sum(info.file_size for info in infos) <= LARGEST)
        for info in infos:
            with archive.open(info) as member:
                content = member.read(info.file_size + 1)
            _check(len(content) == info.file_size)
            executable = (info.external_attr >> 16) & 0o100
            found[f"{info.filename}{'*' if executable else ''}"] = content
    return found


def _tar(a: bytes, b: bytes, leeway: Leeway, depth: int) -> Sameness:
    return _members("tar", _untarred(a), _untarred(b), leeway, depth)


def _untarred(data: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for member in archive:
            _check(member.name not in found)
            if member.isfile():
                file = archive.extractfile(member)
                _check(file is not None)
                assert file is not None
                content = file.read()
            else:
                content = member.type + member.linkname.encode("utf-8", "surrogateescape")
            found[f"{member.name}{'*' if member.mode & 0o100 else ''}"] = content
    return found


def _members(
    kind: str, ours: dict[str, bytes], theirs: dict[str, bytes], leeway: Leeway, depth: int
) -> Sameness:
    if ours.keys() != theirs.keys():
        name = min(ours.keys() ^ theirs.keys())
        return Sameness(
            grade="different", note=f"{kind}: `{name}` is only in the {'first' if name in ours else 'second'}"
        )
    found = {name: _same(content, theirs[name], leeway, depth) for name, content in ours.items()}
    grade = worst([each.grade for each in found.values()])
    if grade == "identical":
        what = "the order of members" if list(ours) != list(theirs) else "time stamps of members"
        return Sameness(grade="equal", note=f"{kind}: only {what}")
    name = next(name for name, each in found.items() if each.grade == grade)
    return Sameness(grade=grade, note=f"{kind}: `{name}`: {found[name].note}")


def _check(fits: bool) -> None:
    if not fits:
        raise _FailedError


# --- pictures -----------------------------------------------------------------------------------------

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_ASIDE = (b"tIME", b"tEXt", b"zTXt", b"iTXt", b"eXIf")


def _png(a: bytes, b: bytes, leeway: Leeway, depth: int) -> Sameness:  # noqa: ARG001  the signature
    """By all that is drawn (https://www.w3.org/TR/png-3/): not its texts and time, nor how it is packed."""
    if _drawn(a) == _drawn(b):
        return Sameness(grade="equal", note="PNG: the same picture, other texts, time or packing")
    return Sameness(grade="different", note="PNG: another picture")


def _drawn(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks: list[tuple[bytes, bytes]] = []
    pixels: list[bytes] = []
    position = len(_PNG)
    while position < len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        content = data[position + 8 : position + 8 + length]
        _check(len(content) == length)
        position += length + 12
        if name == b"IDAT":
            pixels.append(content)
        elif name not in _PNG_ASIDE:
            chunks.append((name, content))
    chunks.append((b"IDAT", _unzlib(zlib.MAX_WBITS)(b"".join(pixels))))
    return chunks


# --- pages --------------------------------------------------------------------------------------------

_PDF = b"%PDF-"
_PDF_ASIDE = re.compile(
    rb"/(?:CreationDate|ModDate)\s*\(D:[-+'Z0-9]*\)|/ID\s*\[\s*(?:<[0-9A-Fa-f]*>\s*){2}\]"
)


def _pdf(a: bytes, b: bytes, leeway: Leeway, depth: int) -> Sameness:  # noqa: ARG001  the signature
    """By all but when it was made, and the id that is made of that (ISO 32000, 14.3.3 and 14.4)."""
    if len(a) == len(b) and _PDF_ASIDE.sub(b"", a) == _PDF_ASIDE.sub(b"", b):
        return Sameness(grade="equal", note="PDF: only its dates and id")
    return Sameness(grade="different", note=f"PDF: {_first_difference(a, b)}")


_HDF5 = b"\x89HDF\r\n\x1a\n"


def _hdf5(a: bytes, b: bytes, leeway: Leeway, depth: int) -> Sameness:  # noqa: ARG001  the signature
    """By all but when each object was changed, which PyTables and h5py before 3 note (format, IV.A.2.s)."""
    if leeway.spans is not None and alike_but_for_stamps(a, b, leeway.spans):
        return Sameness(grade="equal", note="HDF5: only the times at which its parts were written")
    return Sameness(grade="different", note=f"HDF5: {_first_difference(a, b)}")


# --- what was logged for TensorBoard ------------------------------------------------------------------

_RECORD = struct.Struct("<QI")  # a payload's length and its checksum; after the payload comes its own
_WALL_TIME = 0x09  # the tag of field 1 of an Event, a double


def _is_events(data: bytes) -> bool:
    return data[_RECORD.size : _RECORD.size + 1] == b"\x09" and b"brain.Event:" in data[:64]


def _events(a: bytes, b: bytes, leeway: Leeway, depth: int) -> Sameness:  # noqa: ARG001  the signature
    """By all that was logged, in its order, but for the times (`core/util/event.proto` of TensorFlow)."""
    ours, theirs = (_timeless(it) for it in (a, b))
    if len(ours) != len(theirs):
        return Sameness(grade="different", note=f"TensorBoard: {len(ours)} and {len(theirs)} events")
    grades = [_event(one, other, leeway.tolerance) for one, other in zip(ours, theirs, strict=True)]
    grade = worst(grades)
    if grade == "identical":
        return Sameness(grade="equal", note="TensorBoard: only the times of events")
    return Sameness(grade=grade, note=f"TensorBoard: event {grades.index(grade)} of {len(ours)}")


def _event(a: bytes, b: bytes, tolerance: Tolerance) -> Grade:
    """Two that differ in one 4-byte number, a `simple_value` or all of a `tensor_content`, may be close."""
    if a == b:
        return "identical"
    first = next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)
    for at in range(max(first - 3, 2), first + 1):
        is_number = a[at - 1 : at] == b"\x15" or a[at - 2 : at] == b"\x22\x04"
        if is_number and a[at + 4 :] == b[at + 4 :] and len(a) == len(b) >= at + 4:
            one, other = (struct.unpack_from("<f", it, at)[0] for it in (a, b))
            return numbers(one, other, tolerance)
    return "different"


def _timeless(data: bytes) -> list[bytes]:
    """The payloads; a last one that was cut off does not count."""
    found, position = [], 0
    while position + _RECORD.size <= len(data):
        length, _ = _RECORD.unpack_from(data, position)
        start = position + _RECORD.size
        position = start + length + 4
        if position > len(data):
            break
        payload = data[start : start + length]
        found.append(payload[9:] if payload[:1] == bytes((_WALL_TIME,)) else payload)
    return found


# --- numbers ------------------------------------------------------------------------------------------


def _json(a: bytes, b: bytes, leeway: Leeway, depth: int) -> Sameness:  # noqa: ARG001  the signature
    ours, theirs = (json.loads(it.decode("utf-8"), object_pairs_hook=_object) for it in (a, b))
    what = "its layout, or the order of keys"
    if markup.is_notebook(ours) and markup.is_notebook(theirs):
        ours, theirs = (markup.without_ids(it) for it in (ours, theirs))
        what = "the ids of cells and how long they took"
    grades = list(_values(ours, theirs, "", leeway.tolerance))
    grade = worst([each for each, _ in grades])
    if grade == "identical":
        return Sameness(grade="equal", note=f"JSON: only {what}")
    return Sameness(grade=grade, note=next(f"JSON: {note}" for each, note in grades if each == grade))


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    _check(len(found) == len(pairs))
    return found


def _values(a: object, b: object, path: str, tolerance: Tolerance) -> Iterator[tuple[Grade, str]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys((*a, *b)):
            if key in a and key in b:
                yield from _values(a[key], b[key], f"{path}.{key}", tolerance)
            else:
                yield "different", f"`{path}.{key}` is only in the {'first' if key in a else 'second'}"
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from _values(one, other, f"{path}[{index}]", tolerance)
    elif isinstance(a, int | float) and isinstance(b, int | float) and bool not in (type(a), type(b)):
        grade = numbers(a, b, tolerance)
        if grade != "identical":
            yield grade, f"`{path or 'it'}` {a!r} and {b!r}"
    elif type(a) is not type(b) or a != b:
        yield "different", f"`{path or 'it'}` {str(a)[:40]!r} and {str(b)[:40]!r}"


_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])")


def _text(a: bytes, b: bytes, leeway: Leeway, depth: int) -> Sameness:  # noqa: ARG001  the signature
    """Text with a tolerance: what is no number is the same, the numbers are close (`.csv`, logs)."""
    tolerance = leeway.tolerance
    if not (tolerance.rtol or tolerance.atol):
        return Sameness(grade="different", note=_first_difference(a, b))
    ours, theirs = a.decode(), b.decode()
    one, other = _NUMBER.findall(ours), _NUMBER.findall(theirs)
    grades = [numbers(float(x), float(y), tolerance) for x, y in zip(one, other, strict=False)]
    if len(one) == len(other) and _NUMBER.sub("0", ours) == _NUMBER.sub("0", theirs):
        grade = worst(grades)
        if grade != "different":
            return Sameness(grade="close" if grade == "close" else "equal", note="numbers in text")
    return Sameness(grade="different", note=_first_difference(a, b))


def _marked_up(a: bytes, b: bytes, leeway: Leeway, depth: int) -> Sameness:
    """SVG, HTML: the ids of their parts, where a library makes them up anew each time, are only numbered."""
    ours, theirs = (markup.numbered(it) for it in (a, b))
    if ours == theirs:
        return Sameness(grade="equal", note="only ids that a library made up")
    return _text(ours, theirs, leeway, depth)


def _is_marked_up(data: bytes) -> bool:
    return markup.is_markup(data) and _is_text(data)


_MLMODEL_ASIDE = re.compile(
    rb"(?m)^(?:artifact_path|model_uuid|model_id|model_size_bytes|run_id|utc_time_created): .*\n?"
)


def _mlmodel(a: bytes, b: bytes, leeway: Leeway, depth: int) -> Sameness:
    """MLflow's description of a model (https://mlflow.org/docs/latest/ml/model/): its ids, its time, and the
    size of its files, which are looked at themselves, aside."""
    if _MLMODEL_ASIDE.sub(b"", a) == _MLMODEL_ASIDE.sub(b"", b):
        return Sameness(grade="equal", note="MLmodel: only the ids of model and run, and the time")
    return _text(_MLMODEL_ASIDE.sub(b"", a), _MLMODEL_ASIDE.sub(b"", b), leeway, depth)


_MLMODEL = (re.compile(rb"(?m)^flavors:"), re.compile(rb"(?m)^(?:mlflow_version|utc_time_created): "))


def _is_mlmodel(data: bytes) -> bool:
    """The version of MLflow stands there since 1.24; the time from early on."""
    start = data[:65536]
    return all(mark.search(start) for mark in _MLMODEL) and _is_text(data)


_NPY = b"\x93NUMPY"


def _npy(a: bytes, b: bytes, leeway: Leeway, depth: int) -> Sameness:  # noqa: ARG001  the signature
    """numpy's format (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html)."""
    (header, ours), (other, theirs) = _array(a), _array(b)
    if header != other or len(ours) != len(theirs):
        return Sameness(grade="different", note="numpy: another shape or type of array")
    code: Literal["d", "f"] = "d" if "'<f8'" in header else "f"
    if "'<f8'" not in header and "'<f4'" not in header:
        return Sameness(grade="different", note="numpy: other values")
    pairs = zip(memoryview(ours).cast(code), memoryview(theirs).cast(code), strict=True)
    unlike = [(index, x, y) for index, (x, y) in enumerate(pairs) if x != y and not (x != x and y != y)]
    if not unlike:
        return Sameness(grade="equal", note="numpy: only how zero or NaN is written")
    grade = worst([numbers(x, y, leeway.tolerance) for _, x, y in unlike])
    index, x, y = unlike[0]
    return Sameness(grade=grade, note=f"numpy: {len(unlike)} values, such as [{index}] {x!r} and {y!r}")


def _array(data: bytes) -> tuple[str, bytes]:
    size = 2 if data[6] == 1 else 4
    start = 8 + size + int.from_bytes(data[8 : 8 + size], "little")
    return data[8 + size : start].decode("latin-1").strip(), data[start:]


# --- pickles ------------------------------------------------------------------------------------------

_LITERALS = frozenset(
    {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"} | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
)
_PLAIN = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "NONE", "NEWTRUE", "NEWFALSE"}
)
_ADDRESS = re.compile(rb"(_stop_words_id(?:\x94|q.|r.{4})\x8a\x06).{6}", re.DOTALL)
"""An attribute of scikit-learn's vectorizers: `id()` of their stop words, where these lay in memory."""
_PUTS = frozenset({"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_ASIDE = frozenset({"PROTO", "FRAME"})


def _pickle(a: bytes, b: bytes, leeway: Leeway, depth: int) -> Sameness:  # noqa: ARG001  the signature
    """By instructions: neither how they are framed and numbered counts, nor the order of a set's members.

    A text or bytes that are written out again are the same as those fetched again, for they never change.
    """
    a, b = (_ADDRESS.sub(rb"\1" + bytes(6), it) for it in (a, b))
    if a == b:  # joblib puts arrays between instructions, so that these cannot be told
        return Sameness(grade="equal", note="pickle: only where the stop words of a vectorizer lay in memory")
    ours, theirs = _instructions(a), _instructions(b)
    if (leeway.before or leeway.after) and ours != theirs:
        ours, theirs = _unplaced(ours, leeway.before), _unplaced(theirs, leeway.after)
        if ours == theirs:
            return _PLACES_ONLY
    if ours == theirs:
        return Sameness(
            grade="equal", note="pickle: the same but for framing, numbering, and how long a search took"
        )
    at = next(
        (at for at, (x, y) in enumerate(zip(ours, theirs, strict=False)) if x != y),
        min(len(ours), len(theirs)),
    )
    words = [_shown(it[at]) if at < len(it) else "its end" for it in (ours, theirs)]
    return Sameness(grade="different", note=f"pickle: {words[0]} and {words[1]} at instruction {at}")


def _unplaced(instructions: list[tuple[str, object]], places: Places) -> list[tuple[str, object]]:
    """A function that was pickled by value names the file that it was written in."""
    return [
        (
            name,
            _placeless(argument.encode("utf-8", "surrogatepass"), places)
            if isinstance(argument, str)
            else argument,
        )
        for name, argument in instructions
    ]


def _shown(instruction: tuple[str, object]) -> str:
    name, argument = instruction
    return f"{name.lower()} {str(argument)[:40]!r}" if argument is not None else name.lower()


def _instructions(data: bytes) -> list[tuple[str, object]]:
    import pickletools

    found: list[tuple[str, object]] = []
    memo: dict[int, tuple[str, object]] = {}
    end = 0
    for count, (opcode, argument, position) in enumerate(pickletools.genops(data)):
        _check(count < _MOST_INSTRUCTIONS)
        name = opcode.name
        end = (position or 0) + 1
        if name in _PUTS:
            _check(bool(found))
            number = len(memo) if name == "MEMOIZE" else int(argument or 0)
            last = found[-1]
            if last[0] == "literal":
                memo[number] = last
            else:
                memo[number] = ("get", len(found))  # what was finished here
        elif name in _GETS:
            _check(int(argument or 0) in memo)
            found.append(memo[int(argument or 0)])
        elif name in _LITERALS:
            found.append(("literal", argument))
        elif name == "ADDITEMS":
            _sort_members(found)
            found.append((name, None))
        elif name not in _ASIDE:
            found.append((name, "nan" if argument != argument else argument))  # which is not itself
    _check(end == len(data))  # what follows would be read by nobody knows whom
    _forget_durations(found)
    return found


_DURATIONS = frozenset({"mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time"})
"""Arrays of seconds that scikit-learn's searches keep with their results."""
_DURATION = "refit_time_"
_DOUBLE = 8  # bytes
_AHEAD = 40  # instructions within which the content of an array follows its name


def _forget_durations(found: list[tuple[str, object]]) -> None:
    """How long each fit of a search took is not what it found."""
    for at, (name, argument) in enumerate(found):
        if name != "literal" or argument not in (*_DURATIONS, _DURATION):
            continue
        if argument == _DURATION:
            if found[at + 1 : at + 2] and found[at + 1][0] == "BINFLOAT":
                found[at + 1] = ("duration", None)
            continue
        for ahead in range(at + 1, min(at + _AHEAD, len(found))):
            content = found[ahead][1]
            if isinstance(content, bytes) and content and len(content) % _DOUBLE == 0:
                found[ahead] = ("durations", len(content))
                break
            if isinstance(content, str) and content in _DURATIONS:
                break


def _sort_members(found: list[tuple[str, object]]) -> None:
    """The members of a set, where all are plain values, in an order of their own."""
    start = next((at + 1 for at in range(len(found) - 1, -1, -1) if found[at][0] == "MARK"), 0)
    _check(start > 0)
    members = found[start:]
    if all(name == "literal" or name in _PLAIN for name, _ in members):
        found[start:] = sorted(members, key=repr)


# --- by the first bytes -------------------------------------------------------------------------------


def _starts(*marks: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(marks)


def _is_tar(data: bytes) -> bool:
    return data[257:262] == b"ustar"


def _is_json(data: bytes) -> bool:
    if data[:64].lstrip()[:1] not in (b"{", b"["):
        return False
    try:
        json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return True


_KINDS: tuple[
    tuple[Callable[[bytes], bool], Callable[[bytes, bytes, Leeway, int], Sameness]], ...
] = (
    (_starts(b"\x1f\x8b"), _packed("gzip", _unzlib(16 + zlib.MAX_WBITS))),
    (_starts(b"BZh"), _packed("bzip2", _unbz2)),
    (_starts(b"\xfd7zXZ\0"), _packed("xz", _unxz)),
    (_starts(b"PK\x03\x04"), _zip),
    (_is_tar, _tar),
    (_starts(_PNG), _png),
    (_starts(_PDF), _pdf),
    (_starts(_HDF5), _hdf5),
    (_starts(_NPY), _npy),
    (_is_events, _events),
    (_starts(*(b"\x80" + bytes([protocol]) for protocol in range(2, 6))), _pickle),
    (_starts(b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"), _packed("zlib", _unzlib(zlib.MAX_WBITS))),
    (_is_json, _json),
    (_is_mlmodel, _mlmodel),
    (_is_marked_up, _marked_up),
    (_is_text, _text),
)  # fmt: skip
