"""Digests: tagged, canonical, the same whichever way the bytes are read."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from mlrun import digest

if TYPE_CHECKING:
    from pathlib import Path

EMPTY = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


def test_a_digest_names_its_algorithm() -> None:
    assert digest.of_bytes(b"") == EMPTY
    assert digest.hex_of(digest.of_bytes(b"")) == EMPTY.removeprefix("blake3:")


def test_a_digest_of_another_algorithm_is_refused() -> None:
    with pytest.raises(ValueError, match="not a blake3: digest"):
        digest.hex_of("sha256:00")


@pytest.mark.parametrize("size", [0, 1, 4096, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, (9 << 20) + 7])
def test_a_file_has_the_digest_of_its_bytes(size: int, hostile_path: Path) -> None:
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    (hostile_path / "x").write_bytes(content)
    assert digest.of_file(hostile_path / "x") == f"blake3:{blake3(content).hexdigest()}"


def test_a_large_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    block = bytes(range(256)) * 4096
    expected = blake3()
    with open(tmp_path / "x", "wb") as file:
        for _ in range(40):
            file.write(block)
            expected.update(block)
    assert digest.of_file(tmp_path / "x") == f"blake3:{expected.hexdigest()}"
    with open(tmp_path / "x", "r+b") as held_open:  # a file that somebody may write to is read, not mapped
        assert digest.of_file(tmp_path / "x") == f"blake3:{expected.hexdigest()}"
        held_open.write(b"!")
    assert digest.of_file(tmp_path / "x") != f"blake3:{expected.hexdigest()}"


@pytest.mark.slow
def test_a_large_file_may_be_shortened_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    script = "import sys; from mlrun import digest; print(flush=True); print(digest.of_file(sys.argv[1]))"
    for delay in (0.01, 0.03, 0.06):
        with open(path, "wb") as file:
            file.truncate(4 << 30)  # sparse
        reader = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True)
        assert reader.stdout
        reader.stdout.readline()
        time.sleep(delay)
        os.truncate(path, 1 << 20)
        assert reader.stdout.read().startswith("blake3:")
        reader.stdout.close()
        assert reader.wait() == 0


def test_a_file_that_tells_no_size_is_read_to_its_end() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"abc")
    os.close(writer)
    assert digest.of_descriptor(reader) == digest.of_bytes(b"abc")
    os.close(reader)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digest.of_file(tmp_path / "x")


def test_one_value_has_one_text() -> None:
    assert digest.canonical_json({"b": [1, 2.5, None], "a": "ü"}) == '{"a":"ü","b":[1,2.5,null]}'.encode()
    assert digest.of_value({"b": 1, "a": 2}) == digest.of_value({"a": 2, "b": 1})


def test_a_name_of_broken_bytes_has_a_text_too() -> None:
    assert digest.canonical_json(os.fsdecode(b"\xff")) == b'"\xed\xb3\xbf"'


def test_a_value_without_a_canonical_text_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest.of_value(float("nan"))
