"""Tells which files a Python program opens, by an audit hook (PEP 578); for any Python from 3.8 on.

It comes first on PYTHONPATH, so that the interpreter imports it at its start, and makes room at once for the
`sitecustomize` that it has displaced. Events go to `$MLRUN_OBSERVE/log.*` in the format of the shim.
"""

# mypy: ignore-errors
# ruff: noqa: BLE001, C901, F401, S110, SIM105, TID251, UP031, UP
# It runs in any Python, as it is, before anything else, and must not fail.

import os
import sys


def _observe():
    import struct
    import time
    from _thread import get_ident

    folder = os.environ.get("MLRUN_OBSERVE")
    if not folder or not hasattr(sys, "addaudithook"):
        return
    with open(os.path.join(folder, "rules"), "rb") as file:
        rules = [os.fsdecode(text) for text in file.read().split(b"\0")[1:-1]]
    head, record = struct.Struct("<QQ"), struct.Struct("<IIQQqII")
    state = {"pid": None, "log": None, "busy": set(), "told": set()}
    writing = os.O_WRONLY | os.O_RDWR

    def wanted(path):
        for rule in rules:
            if path.startswith(rule[1:]):
                if rule[0] == "-":
                    return False
                break
        parts = ("/site-packages/", "/dist-packages/", "/lib/python", "/.git/")
        return not any(part in path for part in parts)

    def tell(kind, path, second, flags):
        path = os.path.abspath(os.fsdecode(path))
        second = os.path.abspath(os.fsdecode(second)) if second else ""
        key = (kind, path, second)
        if not wanted(second or path) or (kind in "RWU" and key in state["told"]):
            return
        size, modified = 0, 0
        if kind in "RU":
            try:
                status = os.stat(path)
            except OSError:
                if kind == "R":
                    return
            else:
                if status.st_mode & 0o170000 != 0o100000:
                    return
                size, modified = status.st_size, status.st_mtime_ns
            if kind == "U" and not modified:
                kind = "W"
        state["told"].add(key)
        texts = os.fsencode(path) + b"\0" + (os.fsencode(second) + b"\0" if second else b"")
        length = (record.size + len(texts) + 7) & ~7
        data = record.pack(length, ord(kind), time.time_ns(), size, modified, flags & 0xFFFFFFFF, os.getpid())
        data += texts.ljust(length - record.size, b"\0")
        if state["pid"] != os.getpid():
            state["pid"] = os.getpid()
            state["log"] = os.path.join(folder, "log.%d.%d" % (os.getpid(), time.time_ns()))
            data = head.pack(2**63, 2**63) + data
        descriptor = os.open(state["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)

    def hook(event, arguments):
        if event not in ("open", "os.rename", "os.link", "os.truncate", "sqlite3.connect"):
            return
        thread = get_ident()
        if thread in state["busy"]:  # it is us who open a file
            return
        state["busy"].add(thread)
        try:
            path = arguments[0]
            if not isinstance(path, (str, bytes, os.PathLike)):
                return
            if event == "open":
                flags = arguments[2] or 0
                if flags & os.O_TRUNC or flags & writing == os.O_WRONLY:
                    kind = "W"
                else:
                    kind = "U" if flags & os.O_RDWR else "R"
                tell(kind, path, "", flags)
            elif event == "sqlite3.connect":
                if os.fsdecode(path) not in ("", ":memory:") and not os.fsdecode(path).startswith("file:"):
                    tell("U", path, "", os.O_RDWR)
            elif event == "os.truncate":
                tell("W", path, "", os.O_WRONLY)
            else:
                tell("M" if event == "os.rename" else "L", path, arguments[1], 0)
        except Exception:
            pass
        finally:
            state["busy"].discard(thread)

    sys.addaudithook(hook)


def _make_room():
    here = os.path.dirname(os.path.abspath(__file__))
    ours = sys.modules.pop("sitecustomize", None)
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != here or not path]
    try:
        import sitecustomize
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
        if ours is not None:
            sys.modules["sitecustomize"] = ours


try:
    _observe()
except Exception:
    pass
_make_room()
