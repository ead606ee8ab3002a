"""Conda packages and channels made by hand, so that prefixes are built for real without a network."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PLACEHOLDER = "/opt/a_placeholder_for_the_prefix"


def make_package(
    channel: Path,
    name: str,
    version: str = "1.0",
    *,
    files: Mapping[str, str] | None = None,
    depends: tuple[str, ...] = (),
    noarch: str = "generic",
    timestamp: int | None = None,
) -> Path:
    """A package of text files; what lies in `bin` is executable, and the placeholder becomes the prefix.

    `timestamp` is in seconds. A package of Python (`noarch="python"`) has its files under `site-packages`.
    """
    contents = {path: text.encode() for path, text in (files or {}).items()}
    index: dict[str, Any] = {"name": name, "version": version, "build": "0", "build_number": 0}
    index |= {"depends": list(depends), "subdir": "noarch", "noarch": noarch}
    if timestamp is not None:
        index["timestamp"] = timestamp * 1000
    paths = [_path(path, data) for path, data in contents.items()]
    notes = {
        "info/index.json": index,
        "info/paths.json": {"paths": paths, "paths_version": 1},
        "info/link.json": {"noarch": {"type": noarch}, "package_metadata_version": 1},
    }
    target = channel / "noarch" / f"{name}-{version}-0.tar.bz2"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w:bz2") as archive:
        for path, data in contents.items():
            _add(archive, path, data)
        for path, note in notes.items():
            _add(archive, path, json.dumps(note).encode())
        _add(archive, "info/files", "".join(f"{path}\n" for path in contents).encode())
    return target


def make_index(channel: Path) -> str:
    """Write the channel's `repodata.json`, and return its URL.

    When a file was indexed says nothing of when its package was made, so it is left out, as channels of the
    past have it.
    """
    from rattler.index import index_fs

    (channel / "noarch").mkdir(parents=True, exist_ok=True)
    asyncio.run(index_fs(channel, write_zst=False, write_shards=False, force=True))
    for file in channel.glob("*/repodata.json"):
        data = json.loads(file.read_bytes())
        for record in [*data.get("packages", {}).values(), *data.get("packages.conda", {}).values()]:
            record.pop("indexed_timestamp", None)
        file.write_text(json.dumps(data))
    return channel.as_uri()


def pack_python(channel: Path, root: Path, version: str, *, platform: str) -> Path:
    """An installed Python as the conda package `python`, without its tests and whatever else is big."""
    target = channel / platform / f"python-{version}-0.tar.bz2"
    target.parent.mkdir(parents=True, exist_ok=True)
    minor = ".".join(version.split(".")[:2])
    paths: list[dict[str, Any]] = []
    with tarfile.open(target, "w:bz2", compresslevel=1) as archive:
        for file in sorted(_python_files(root, minor)):
            path = str(file.relative_to(root))
            if file.is_symlink():
                paths.append({"_path": path, "path_type": "softlink"})
                archive.add(file, path, recursive=False)
                continue
            data = file.read_bytes()
            paths.append(
                {
                    "_path": path,
                    "path_type": "hardlink",
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "size_in_bytes": len(data),
                }
            )
            archive.add(file, path, recursive=False)
        index = {"name": "python", "version": version, "build": "0", "build_number": 0, "depends": []}
        index |= {"subdir": platform, "platform": platform.split("-")[0], "arch": "x86_64"}
        _add(archive, "info/index.json", json.dumps(index).encode())
        _add(archive, "info/paths.json", json.dumps({"paths": paths, "paths_version": 1}).encode())
        _add(archive, "info/files", "".join(f"{entry['_path']}\n" for entry in paths).encode())
    return target


def _python_files(root: Path, minor: str) -> list[Path]:
    left_out = {
        "test",
        "tests",
        "idlelib",
        "ensurepip",
        "site-packages",
        "__pycache__",
        "tkinter",
        "pydoc_data",
    }
    found = [root / "bin" / name for name in ("python", "python3", f"python{minor}")]
    found += root.glob(f"lib/libpython{minor}*.so*")
    for folder, folders, names in os.walk(root / "lib" / f"python{minor}"):
        folders[:] = [name for name in folders if name not in left_out and not name.startswith("config-")]
        found += [root.joinpath(folder, name) for name in names if not name.endswith((".pyc", ".a"))]
    return [path for path in found if path.exists()]


def _path(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"_path": path, "path_type": "hardlink", "size_in_bytes": len(data)}
    entry["sha256"] = hashlib.sha256(data).hexdigest()
    if PLACEHOLDER.encode() in data:
        entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "text"}
    return entry


def _add(archive: tarfile.TarFile, path: str, data: bytes) -> None:
    entry = tarfile.TarInfo(path)
    entry.size = len(data)
    entry.mode = 0o755 if path.startswith("bin/") else 0o644
    archive.addfile(entry, io.BytesIO(data))
