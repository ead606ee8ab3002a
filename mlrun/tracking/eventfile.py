"""The scalars in one event file of TensorBoard's, read by nothing but the standard library.

A file is a row of records: a payload's length (8 bytes, little-endian), the checksum of these 8 bytes, the
payload, its checksum. A payload is one `Event` message of protocol buffers. Sources, all in TensorFlow's
repository: core/lib/io/record_writer.h (the records), core/lib/hash/crc32c.h (the "masked" checksum),
core/util/event.proto and core/framework/{summary,tensor,tensor_shape,types}.proto (the numbers of fields);
and https://protobuf.dev/programming-guides/encoding (how fields are written down).
"""

from __future__ import annotations

import math
import os
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from mlrun.tracking.metrics import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

_LARGEST = 256 << 20
"""Bytes of a payload that is still read: what is larger holds pictures or graphs."""
_CHECKED = 1 << 20
"""Bytes of a payload whose checksum is worth its time; that of the length is always looked at."""

_HEAD = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_TENSOR_TYPES = {1: "f", 2: "d", 3: "i", 4: "B", 5: "h", 6: "b", 9: "q", 19: "e", 22: "I", 23: "Q"}
"""`DataType` by number, in the letters of `struct`; of the float kinds, bfloat16 has none."""
_SIZES = {1: 8, 5: 4}
"""Bytes of a field, by its wire type."""


class Scalar(NamedTuple):
    """One logged number; `time` is in seconds since the epoch, None where the file tells none."""

    tag: str
    value: float
    step: int
    time: float | None


class EventFile:
    """A file whose scalars are yielded one by one; `problem` is known when they have been."""

    def __init__(self, path: Path) -> None:
        self.problem = ""
        self._path = path
        self._plugins: dict[str, str] = {}  # a tag's plug-in need be told with its first value only

    def __iter__(self) -> Iterator[Scalar]:
        """A file that ends in the middle of a record was cut by a kill: that is no problem."""
        try:
            with opened(self._path) as file:
                for payload in self._payloads(file, os.fstat(file.fileno()).st_size):
                    yield from self._scalars(payload)
        except OSError as error:
            self.problem = f"cannot be read: {error.strerror or error}"

    def _payloads(self, file: BinaryIO, size: int) -> Iterator[bytes]:
        at = 0
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            length, checksum = _HEAD.unpack(head)
            if _of_length(head[:8]) != checksum:
                self.problem = f"is damaged: what follows byte {at:,} is not read"
                return
            at += _HEAD.size + length + _CHECKSUM.size
            if at > size:
                return
            if length > _LARGEST:
                file.seek(at)
                continue
            payload, end = file.read(length), file.read(_CHECKSUM.size)
            if len(end) < _CHECKSUM.size:
                return
            if length <= _CHECKED and masked_crc32c(payload) != _CHECKSUM.unpack(end)[0]:
                self.problem = f"has a damaged record, which is left out, before byte {at:,}"
                continue
            yield payload

    def _scalars(self, event: bytes) -> Iterator[Scalar]:
        time, step, found = None, 0, []
        try:
            for number, value in _fields(event):
                if number == 1 and isinstance(value, bytes):
                    (time,) = struct.unpack("<d", value)
                elif number == 2 and isinstance(value, int):
                    step = value if value < 1 << 63 else value - (1 << 64)
                elif number == 5 and isinstance(value, bytes):  # a Summary, whose field 1 are its values
                    found += [self._value(part) for key, part in _fields(value) if key == 1]
        except (ValueError, struct.error):
            self.problem = "has a record that is no event, which is left out"
            return
        if time is not None and not (math.isfinite(time) and time > 0):
            time = None
        for tag, scalar in found:
            if scalar is not None:
                yield Scalar(tag, scalar, step, time)

    def _value(self, value: int | bytes) -> tuple[str, float | None]:
        """The tag of a Summary.Value and its number; None for a picture, a histogram, a text."""
        tag, scalar, tensor, plugin = "", None, None, ""
        for number, part in _fields(value):
            if number == 1 and isinstance(part, bytes):
                tag = part.decode("utf-8", "replace")
            elif number == 2 and isinstance(part, bytes):
                (scalar,) = struct.unpack("<f", part)
            elif number == 8:
                tensor = part
            elif number == 9:
                plugin = _plugin(part)
        plugin = self._plugins.setdefault(tag, plugin) if plugin else self._plugins.get(tag, "")
        if tensor is not None and plugin == "scalars":
            scalar = _number(tensor)
        return tag, scalar


def _plugin(metadata: int | bytes) -> str:
    """The name in the PluginData of a SummaryMetadata: whose a value is."""
    names = [
        name for key, data in _fields(metadata) if key == 1 for number, name in _fields(data) if number == 1
    ]
    return names[-1].decode("utf-8", "replace") if names and isinstance(names[-1], bytes) else ""


def _number(tensor: int | bytes) -> float | None:
    """The only number in a TensorProto; None where it holds another count of them, or no numbers."""
    kind, raw, scalar = 0, b"", True
    for number, part in _fields(tensor):
        if number == 1 and isinstance(part, int):
            kind = part
        elif number == 2:
            scalar = not any(key == 2 for key, _ in _fields(part))  # no dimension
        elif number in (4, 5, 6) and isinstance(part, bytes):  # tensor_content, float_val, double_val
            raw = part
        elif number in (7, 10) and isinstance(part, bytes):  # int_val, int64_val: packed varints
            kind, raw = 9, struct.pack("<Q", _varint(part, 0)[0])
        elif number in (7, 10) and isinstance(part, int):
            kind, raw = 9, struct.pack("<Q", part)
    letter = _TENSOR_TYPES.get(kind)
    if letter is not None and scalar and not raw:
        return 0.0  # zeros need not be written
    if letter is None or len(raw) != struct.calcsize(f"<{letter}"):
        return None
    return float(struct.unpack(f"<{letter}", raw)[0])


def _fields(message: int | bytes) -> list[tuple[int, int | bytes]]:
    """Number and value of each field: an int, or the bytes of all else. Raises ValueError for no message."""
    if isinstance(message, int):
        raise ValueError("a number where a message should be")  # noqa: TRY004  a value in a file
    found: list[tuple[int, int | bytes]] = []
    at, end = 0, len(message)
    while at < end:
        key = message[at]
        if key < 128:  # a hundred thousand times one byte: not worth a call
            at += 1
        else:
            key, at = _varint(message, at)
        wire = key & 7
        if wire == 0:
            number, at = _varint(message, at)
            found.append((key >> 3, number))
            continue
        if wire == 2 and at < end and message[at] < 128:
            size, at = message[at], at + 1
        elif wire == 2:
            size, at = _varint(message, at)
        else:
            size = _SIZES.get(wire, end)
        if size > end - at:
            raise ValueError("a field is longer than its message, or of no known type")
        found.append((key >> 3, message[at : at + size]))
        at += size
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of up to ten bytes, the lowest seven bits first, and where it ends."""
    number = shift = 0
    for position in range(at, min(at + 10, len(message))):
        byte = message[position]
        if byte < 128:
            return number | (byte << shift) & (1 << 64) - 1, position + 1
        number |= (byte & 127) << shift
        shift += 7
    raise ValueError("a number does not end")


# --- the checksum -------------------------------------------------------------------------------------


def _table() -> list[int]:
    """What two bytes at once make of the remainder, by the polynomial of CRC-32C, its bits reversed."""
    single = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        single.append(byte)
    twice = [single[low] for low in range(256)]
    return [single[(twice[word & 255] ^ word >> 8) & 255] ^ twice[word & 255] >> 8 for word in range(1 << 16)]


_TABLE: list[int] = []


def masked_crc32c(content: bytes) -> int:
    """The checksum as records bear it: turned right by 15 bits, and a constant added."""
    if not _TABLE:
        _TABLE.extend(_table())
    table, remainder = _TABLE, 0xFFFFFFFF
    for word in struct.unpack_from(f"<{len(content) // 2}H", content):
        remainder = table[(remainder ^ word) & 0xFFFF] ^ remainder >> 16
    if len(content) % 2:
        last = (remainder ^ content[-1]) & 0xFF
        for _ in range(8):
            last = last >> 1 ^ (0x82F63B78 if last & 1 else 0)
        remainder = last ^ remainder >> 8
    remainder ^= 0xFFFFFFFF
    return ((remainder >> 15 | remainder << 17) + 0xA282EAD8) & 0xFFFFFFFF


_of_length = lru_cache(maxsize=4096)(masked_crc32c)  # few lengths make up a file
