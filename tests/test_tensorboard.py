"""Scalars that a program logged for TensorBoard: read back without it, whatever the files hold."""

from __future__ import annotations

import base64
import json
import math
import os
import struct
from typing import TYPE_CHECKING

import pytest

from mlrun.tracking import tensorboard
from mlrun.tracking.eventfile import EventFile, masked_crc32c
from mlrun.tracking.metrics import MAX_NAMES, points_of
from tests.shells import Shell

if TYPE_CHECKING:
    from pathlib import Path

WRITTEN_BY_TENSORBOARDX = base64.b64decode(
    "GAAAAAAAAACjf0siCcC/5QNuwNpBGg1icmFpbi5FdmVudDoyOAR3whoAAAAAAAAAEpvYLQkAAAAAZc3NQRADKg0KCwoEbG9zcxUA"
    "AAA/SSStTRoAAAAAAAAAEpvYLQkAAIAAZc3NQRAEKg0KCwoEbG9zcxUAAMB/mzCwQQ=="
)
"""`add_scalar("loss", 0.5, 3)` and `add_scalar("loss", nan, 4)`, by tensorboardX 2.6.5."""
WRITTEN_BY_TENSORBOARD = base64.b64decode(
    "SAAAAAAAAAD+kkidCWic9gNuwNpBGg1icmFpbi5FdmVudDoyUi4KLHRlbnNvcmJvYXJkLnN1bW1hcnkud3JpdGVyLmV2ZW50X2Zp"
    "bGVfd3JpdGVyDUJeQy0AAAAAAAAAPEGK+wkAAAAAZc3NQRAHKiAKHgoDYWNjQgoIARIAKgQAAIC+SgsKCQoHc2NhbGFyc6DpUgc="
)
"""The scalar `acc` as TensorFlow 2 writes it, a tensor: -0.25 at step 7, by tensorboard 2.21.0."""


def record_of(payload: bytes) -> bytes:
    head = struct.pack("<Q", len(payload))
    parts = head, struct.pack("<I", masked_crc32c(head)), payload, struct.pack("<I", masked_crc32c(payload))
    return b"".join(parts)


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    low = []
    while number > 127:
        low.append(number & 127 | 128)
        number >>= 7
    return bytes((*low, number))


def within(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def event(value: bytes, *, step: int = 0, time: float = 1e9) -> bytes:
    return b"\x09" + struct.pack("<d", time) + b"\x10" + varint(step) + within(5, within(1, value))


def scalar(tag: str, number: float) -> bytes:
    return within(1, tag.encode()) + b"\x15" + struct.pack("<f", number)


def read(tmp_path: Path, content: bytes) -> tuple[list[tuple[str, float, int]], str]:
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(content)
    file = EventFile(path)
    return [(found.tag, found.value, found.step) for found in file], file.problem


def test_the_checksum_is_the_one_that_was_published() -> None:
    # "123456789" is the check value of the catalogue of CRCs: 0xe3069283, before it is masked.
    turned = 0xE3069283 >> 15 | 0xE3069283 << 17
    assert masked_crc32c(b"123456789") == (turned + 0xA282EAD8) & 0xFFFFFFFF


def test_what_tensorboardx_writes_is_read(tmp_path: Path) -> None:
    found, problem = read(tmp_path, WRITTEN_BY_TENSORBOARDX)
    assert (found[0], problem) == (("loss", 0.5, 3), "")
    assert (found[1][0], math.isnan(found[1][1]), found[1][2]) == ("loss", True, 4)


def test_scalars_that_are_tensors_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, WRITTEN_BY_TENSORBOARD) == ([("acc", -0.25, 7)], "")


@pytest.mark.parametrize(
    ("tensor", "number"),
    [
        (b"\x08\x01\x12\x00" + within(4, struct.pack("<f", 0.5)), 0.5),
        (b"\x08\x02" + within(6, struct.pack("<d", 0.1)), 0.1),
        (b"\x08\x03\x12\x00\x3a\x01\x05", 5.0),
        (b"\x08\x09" + within(10, varint(-2)), -2.0),
        (b"\x08\x13" + within(4, struct.pack("<e", 1.5)), 1.5),
        (b"\x08\x01\x12\x00", 0.0),
        (b"\x08\x01\x12\x04\x12\x02\x08\x02" + within(5, struct.pack("<2f", 1, 2)), None),
        (b"\x08\x07" + within(8, b"text"), None),
    ],
)
def test_tensors_of_every_kind(tensor: bytes, number: float | None, tmp_path: Path) -> None:
    metadata = within(9, within(1, within(1, b"scalars")))
    found, problem = read(tmp_path, record_of(event(within(1, b"t") + within(8, tensor) + metadata)))
    assert ([value for _, value, _ in found], problem) == ([] if number is None else [number], "")


def test_a_tags_plugin_need_be_told_once(tmp_path: Path) -> None:
    tensor = within(8, b"\x08\x01\x12\x00" + within(5, struct.pack("<f", 0.5)))
    told = within(1, b"t") + tensor + within(9, within(1, within(1, b"scalars")))
    later, other = within(1, b"t") + tensor, within(1, b"histogram") + tensor
    content = b"".join(record_of(event(each, step=step)) for step, each in enumerate((told, later, other)))
    assert read(tmp_path, content)[0] == [("t", 0.5, 0), ("t", 0.5, 1)]


def test_steps_may_be_negative_and_numbers_infinite(tmp_path: Path) -> None:
    content = record_of(event(scalar("x", math.inf), step=-3))
    assert read(tmp_path, content)[0] == [("x", math.inf, -3)]


def test_a_record_that_a_kill_cut_is_passed_over(tmp_path: Path) -> None:
    whole = record_of(event(scalar("x", 1), step=1))
    for kept in range(1, len(whole)):
        assert read(tmp_path, whole + whole[:kept]) == ([("x", 1.0, 1)], ""), kept


def test_damage_is_told_and_what_was_before_it_is_kept(tmp_path: Path) -> None:
    first, second = (record_of(event(scalar("x", number))) for number in (1, 2))
    found, problem = read(tmp_path, first + second[:20] + bytes([second[20] ^ 1]) + second[21:] + first)
    assert ([value for _, value, _ in found], "damaged record" in problem) == ([1.0, 1.0], True)
    found, problem = read(tmp_path, first + b"\xff" * 100)
    assert ([value for _, value, _ in found], "is damaged" in problem) == ([1.0], True)


@pytest.mark.parametrize("length", [1 << 40, (1 << 64) - 1, (1 << 64) - 16])
def test_a_length_that_cannot_be_is_no_reason_to_allocate(length: int, tmp_path: Path) -> None:
    head = struct.pack("<Q", length)
    content = record_of(event(scalar("x", 1))) + head + struct.pack("<I", masked_crc32c(head)) + b"x" * 99
    assert read(tmp_path, content) == ([("x", 1.0, 0)], "")


@pytest.mark.parametrize(
    "payload",
    [
        *(b"\xff" * 20, b"\x0a", b"\x2a\xff\xff\xff\xff\x0f", b"\x09\x00", b"\x0b\x00", b"\x2a\x02\x0a\x7f"),
        within(5, within(1, b"\x15\x00")),
        within(5, within(1, b"\x40\x01" + within(9, within(1, within(1, b"scalars"))))),
        b"\x10" + b"\x80" * 11,
    ],
)
def test_what_is_no_event_is_left_out(payload: bytes, tmp_path: Path) -> None:
    found, problem = read(tmp_path, record_of(payload) + record_of(event(scalar("x", 1))))
    assert (found, problem) == ([("x", 1.0, 0)], "has a record that is no event, which is left out")


def test_other_things_in_a_files_place_do_no_harm(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tfevents.pipe")
    (tmp_path / "tfevents.folder").mkdir()
    for name in ("tfevents.pipe", "tfevents.folder", "tfevents.nothing"):
        file = EventFile(tmp_path / name)
        assert (list(file), file.problem.partition(":")[0]) == ([], "cannot be read")


# --- many files ---------------------------------------------------------------------------------------


def test_names_are_tags_below_the_folders_that_differ(tmp_path: Path) -> None:
    files = []
    for number, folder in enumerate((".", "train", "validation/fold 1")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        files.append(tmp_path / folder / "events.out.tfevents.1")
        content = [record_of(event(scalar(tag, number), step=number)) for tag in ("loss", "known", "bad\n")]
        files[-1].write_bytes(b"".join(content))
    series = tmp_path / "metrics.jsonl"
    series.write_text('{"name": "before", "value": 1}\n')
    found = tensorboard.read(files, series, known=["known"])
    names = ["loss", "train/loss", "train/known", "validation/fold 1/loss", "validation/fold 1/known"]
    assert [(metric.name, metric.origin) for metric in found.metrics] == [
        (name, "tensorboard") for name in names
    ]
    assert [point.name for point in points_of(series)] == ["before", *names]
    assert found.findings == ()
    alone = tensorboard.read(files[1:2], series, known=[])
    assert [metric.name for metric in alone.metrics] == ["loss", "known"]


def test_more_names_than_a_record_should_hold_are_told(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(b"".join(record_of(event(scalar(f"t{n}", n))) for n in range(MAX_NAMES + 5)))
    found = tensorboard.read([path], tmp_path / "series", known=[])
    assert len(found.metrics) == MAX_NAMES
    assert "more than 1,000 scalars" in found.findings[0].message


# --- runs ---------------------------------------------------------------------------------------------


@pytest.fixture
def shell(tmp_path: Path, warm_cache: Path) -> Shell:
    project = tmp_path / "project"
    project.mkdir()
    return Shell(tmp_path, project, warm_cache)


@pytest.mark.parametrize("words", [(), ("--observe", "python"), ("--no-observe",)])
def test_a_run_has_what_it_logged_for_tensorboard(words: tuple[str, ...], shell: Shell) -> None:
    project = shell.cwd
    (project / "old").mkdir()
    (project / "old" / "events.out.tfevents.1.old").write_bytes(WRITTEN_BY_TENSORBOARD)
    (project / "made").write_bytes(WRITTEN_BY_TENSORBOARDX)
    outputs = {"outputs": ["runs", "old"]} if words == ("--no-observe",) else {}
    os.utime(project / "old" / "events.out.tfevents.1.old", (1e9, 1e9))
    command = "mkdir -p runs/one && cat made > runs/one/events.out.tfevents.9.host"
    content = {"entry_points": {"main": {"command": command, **outputs}}}
    (project / "MLproject").write_text(json.dumps(content))
    record = shell.record(".", "--env-manager", "system", *words)
    assert list(record["metrics"]) == ["loss"]
    assert (record["metrics"]["loss"]["count"], record["metrics"]["loss"]["origin"]) == (2, "tensorboard")
    assert "loss = nan  (logged by tensorboard)" in shell.mlrun("show", "latest").stdout
    assert "loss" in shell.mlrun("show", "latest", "--metrics").stdout


@pytest.mark.slow
def test_real_writers_are_understood(shell: Shell) -> None:
    program = """
import math
import numpy
from tensorboardX import SummaryWriter
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

writer = SummaryWriter("runs/x")
for step in range(1000):
    writer.add_scalar("loss", 1 / (step + 1), step)
writer.add_histogram("weights", numpy.random.rand(1000), 0)
writer.add_image("image", numpy.zeros((3, 64, 64), dtype="uint8"), 0)
writer.add_text("text", "hello", 0)
writer.add_scalars("split", {"train": 1.0, "test": 2.0}, 0)
writer.add_hparams({"lr": 0.1}, {"accuracy": 0.5}, name="trial")
writer.close()
tensors = EventFileWriter("runs/tensors")
for step, number in enumerate([0.0, -3.25, math.inf]):
    tensors.add_event(Event(wall_time=1e9, step=step, summary=scalar_pb("acc", number)))
tensors.close()
"""
    (shell.cwd / "train.py").write_text(program)
    requirements = ["tensorboardX", "tensorboard", "setuptools<81"]
    content = {
        "environment": {"requirements": requirements},
        "entry_points": {"main": {"command": "python train.py"}},
    }
    (shell.cwd / "MLproject").write_text(json.dumps(content))
    record = shell.record(".")
    told = {name: (metric["count"], metric["last"]) for name, metric in record["metrics"].items()}
    assert told == {
        "tensors/acc": (3, "Infinity"),
        "x/loss": (1000, pytest.approx(0.001)),
        "x/split/test/split": (1, 2.0),
        "x/split/train/split": (1, 1.0),
        "x/trial/accuracy": (1, 0.5),
    }
