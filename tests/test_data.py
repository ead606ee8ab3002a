"""Inputs and outputs: what a declaration finds, what a digest is of, what is told when it goes wrong."""

from __future__ import annotations

import base64
import errno
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from mlrun import data, digest
from mlrun.data import listing, memory, native, trees
from mlrun.data.reading import CHANGED
from mlrun.errors import ParameterError
from mlrun.files import Cache
from mlrun.model import Artifact, DataSpec, Place
from mlrun.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterator


def described(path: Path) -> data.Found:
    return data.describe(path, shown=path.name, kind="data", declared=True)


def manifest_of(path: Path) -> dict[str, object]:
    found = described(path)
    assert found.manifest is not None
    assert digest.of_bytes(found.manifest) == found.artifact.digest
    manifest: dict[str, object] = json.loads(found.manifest.decode("utf-8", "surrogatepass"))
    return manifest


def found_in(folder: Path, *patterns: str) -> list[str]:
    specs = tuple(DataSpec(path=pattern) for pattern in patterns)
    return [item.artifact.path for item in data.collect(specs, folder, required=False).found]


# --- files --------------------------------------------------------------------------------------------


def test_a_file_is_its_content(hostile_path: Path) -> None:
    file = hostile_path / "model.pkl"
    file.write_bytes(b"weights")
    found = data.describe(file, shown="model.pkl", kind="model", declared=True, parameter="m")
    assert found == data.Found(
        artifact=Artifact(
            path="model.pkl",
            kind="model",
            digest=digest.of_bytes(b"weights"),
            size=7,
            files=1,
            parameter="m",
        ),
        contents=((digest.of_bytes(b"weights"), file),),
    )


def test_a_link_to_a_file_is_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").symlink_to("a")
    assert described(tmp_path / "b").artifact.digest == digest.of_bytes(b"a")


def test_what_is_missing_has_no_digest_and_a_finding(tmp_path: Path) -> None:
    found = described(tmp_path / "a")
    assert (found.artifact.digest, found.contents) == (None, ())
    assert [it.message for it in found.findings] == ["`a` has no digest: No such file or directory"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    assert [it.message for it in described(tmp_path / "a").findings] == [
        "`a` has no digest: it is neither a file nor a folder"
    ]


def test_a_file_that_changes_all_the_time_has_no_digest(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"\0" * (64 << 20))
    stop = threading.Event()

    def disturb() -> None:
        with open(file, "r+b", buffering=0) as writer:
            while not stop.is_set():
                writer.seek(0)
                writer.write(os.urandom(1))

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        found = described(file)
    finally:
        stop.set()
        thread.join()
    assert [it.message for it in found.findings] == ["`a` has no digest: it changed while it was read"]
    assert found.artifact.digest is None


# --- folders ------------------------------------------------------------------------------------------


def test_a_folder_is_its_manifest(hostile_path: Path) -> None:
    (hostile_path / "b" / "c").mkdir(parents=True)
    (hostile_path / "empty").mkdir()
    (hostile_path / "b" / "c" / "x.txt").write_text("x")
    (hostile_path / "a.sh").write_text("a")
    (hostile_path / "a.sh").chmod(0o755)
    (hostile_path / "link").symlink_to("a.sh")
    found = described(hostile_path)
    assert manifest_of(hostile_path) == {
        "format": "mlrun/manifest/v1",
        "entries": [
            {"path": "a.sh", "mode": "100755", "size": 1, "digest": digest.of_bytes(b"a")},
            {"path": "b/c/x.txt", "mode": "100644", "size": 1, "digest": digest.of_bytes(b"x")},
            {"path": "empty", "mode": "040000"},
            {"path": "link", "mode": "120000", "target": "a.sh"},
        ],
    }
    assert (found.artifact.size, found.artifact.files, found.findings) == (2, 2, ())
    assert [path.name for _, path in found.contents] == ["a.sh", "x.txt"]


def test_the_same_content_is_the_same_digest_wherever_and_whenever(tmp_path: Path) -> None:
    for name, order in (("one", "ab"), ("two", "ba")):
        (tmp_path / name).mkdir()
        for file in order:
            (tmp_path / name / file).write_text(file)
        os.utime(tmp_path / name / "a", (0, len(name) + ord(order[0])))
    assert described(tmp_path / "one").artifact.digest == described(tmp_path / "two").artifact.digest


def test_names_of_broken_bytes_and_links_to_nowhere_are_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / os.fsdecode(b"\xff")).write_text("x")
    (folder / "loop").symlink_to("loop")
    (folder / "up").symlink_to("../..")
    (folder / "away").symlink_to("/etc/passwd")
    found = described(folder)
    entries = manifest_of(folder)["entries"]
    assert isinstance(entries, list)
    assert [entry["path"] for entry in entries] == ["away", "loop", "up", "\udcff"]
    assert found.artifact.files == 1
    assert [it.message for it in found.findings] == [
        "what 2 links in `d` lead to is not recorded, such as `away`"
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "a").chmod(0)
    assert [it.code for it in described(tmp_path).findings] == ["unreadable-file"]


def test_a_folder_that_may_not_be_read_is_not_taken_for_an_empty_one() -> None:
    above = Path(tempfile.mkdtemp(dir="/tmp"))
    above.chmod(0o711)
    (above / "locked").mkdir(mode=0o000)
    us = os.geteuid()
    try:
        if us == 0:
            os.seteuid(65534)
        found = described(above / "locked")
    finally:
        os.seteuid(us)
        shutil.rmtree(above)
    assert found.artifact.digest is None
    assert [it.message for it in found.findings] == ["`locked` has no digest: Permission denied"]


def test_pipes_in_a_folder_are_told_once(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    os.mkfifo(folder / "a")
    os.mkfifo(folder / "b")
    assert [it.message for it in described(folder).findings] == [
        "2 files in `d` are not recorded, such as `a`: it is neither a file nor a folder"
    ]
    (folder / "b").unlink()
    assert [it.message for it in described(folder).findings] == [
        "a file in `d` is not recorded: `a`: it is neither a file nor a folder"
    ]


def test_an_empty_folder_has_a_digest(tmp_path: Path) -> None:
    assert manifest_of(tmp_path) == {"format": "mlrun/manifest/v1", "entries": []}


def test_a_folder_deeper_than_python_recurses_is_described(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    deepest = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=deepest)
        deeper = os.open("d", os.O_RDONLY, dir_fd=deepest)
        os.close(deepest)
        deepest = deeper
    os.close(deepest)
    try:
        assert manifest_of(top)["entries"] == [{"path": "/".join("d" * 1500), "mode": "040000"}]
    finally:
        subprocess.run(["rm", "-rf", top], check=True)  # neither Python nor pytest can remove it


# --- declarations -------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.csv", "b.csv", ".hidden.csv", "plots/x.png", "plots/deep/y.png", "plots/.cache/z.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "paths"),
    [
        (["a.csv"], ["a.csv"]),
        (["./plots/../a.csv"], ["a.csv"]),
        (["plots/"], ["plots"]),
        (["plots"], ["plots"]),
        (["*.csv"], ["a.csv", "b.csv"]),
        (["?.csv"], ["a.csv", "b.csv"]),
        (["[!b].csv"], ["a.csv"]),
        (["[a-b].csv"], ["a.csv", "b.csv"]),
        ([".*.csv"], [".hidden.csv"]),
        (["*/*.png"], ["plots/x.png"]),
        (["plots/*"], ["plots/deep", "plots/x.png"]),
        (["**/*.png"], ["plots/deep/y.png", "plots/x.png"]),
        (["plots/**"], ["plots/deep/y.png", "plots/x.png"]),
        (["**"], ["a.csv", "b.csv", "plots/deep/y.png", "plots/x.png"]),
        (["*.csv", "a.csv"], ["a.csv", "b.csv"]),
        (["no.csv", "*.no", "", "[", "*["], []),
        (["**/**/**/**/**/**/**/**/*.png"], ["plots/deep/y.png", "plots/x.png"]),
    ],
)
def test_a_declaration_finds(tree: Path, patterns: list[str], paths: list[str]) -> None:
    assert found_in(tree, *[pattern for pattern in patterns if pattern]) == paths


def test_a_name_with_letters_of_a_pattern_is_taken_by_its_word(tree: Path) -> None:
    (tree / "[a].csv").write_text("x")
    (tree / "*").write_text("x")
    assert found_in(tree, "[a].csv") == ["[a].csv"]
    assert found_in(tree, "*") == ["*"]


def test_what_lies_outside_is_told_by_its_absolute_path(tree: Path) -> None:
    assert found_in(tree / "plots", "../a.csv", str(tree / "b*")) == [
        str(tree / "a.csv"),
        str(tree / "b.csv"),
    ]
    assert found_in(tree, str(tree / "a.csv")) == ["a.csv"]


def test_a_declaration_by_word_gives_its_kind_before_a_pattern(tree: Path) -> None:
    specs = (DataSpec(path="*.csv"), DataSpec(path="a.csv", kind="metrics"))
    found = data.collect(specs, tree, required=True).found
    assert {item.artifact.path: item.artifact.kind for item in found} == {"a.csv": "metrics", "b.csv": "file"}


def test_links_that_go_round_do_not_keep_a_pattern_busy(tree: Path) -> None:
    (tree / "one").symlink_to(".")
    (tree / "two").symlink_to(".")
    assert found_in(tree, "**/a.csv") == ["a.csv"]


def test_what_is_required_and_missing_is_an_error_with_its_place(tree: Path) -> None:
    place = Place(file="MLproject", line=7)
    specs = (DataSpec(path="model.pkl", place=place), DataSpec(path="*.no"), DataSpec(path="no/"))
    findings = data.collect(specs, tree, required=True).findings
    assert [(it.level, it.code, it.message) for it in findings] == [
        ("error", "missing-output", "output `model.pkl` was not written"),
        ("error", "missing-output", "output `no/` was not written"),
        ("error", "missing-output", "output `*.no` was not written"),
    ]
    assert findings[0].place == place
    assert data.collect(specs, tree, required=False).findings == ()
    assert [it.message for it in data.collect(specs[:1], tree, required=True, role="input").findings] == [
        "input `model.pkl` is not there"
    ]


def test_what_was_noticed_of_an_output_has_the_place_of_its_declaration(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    place = Place(file="MLproject", line=7)
    findings = data.collect((DataSpec(path="pipe", place=place),), tree, required=True).findings
    assert [(it.code, it.place) for it in findings] == [("unreadable-file", place)]


# --- downloads ----------------------------------------------------------------------------------------


class _Handler(http.server.BaseHTTPRequestHandler):
    seen: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers["Authorization"]))
        path = self.path.partition("?")[0]
        if path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", base64.urlsafe_b64decode(path[4:]).decode())
            self.end_headers()
        elif path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half")
        elif path == "/no":
            self.send_error(404)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"content")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name in http.server
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Handler.seen = []
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    thread.join()
    running.server_close()


def redirect(url: str) -> str:
    return "/to/" + base64.urlsafe_b64encode(url.encode()).decode()


def failure(url: str, folder: Path) -> str:
    with pytest.raises(ParameterError) as caught:
        data.download(url, folder)
    assert caught.value.code == "download-failed"
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    return caught.value.message


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/in.csv", "in.csv"),
        ("/a%20b.csv?key=1#x", "a b.csv"),
        ("/", "download"),
        ("/..", "download"),
        ("/a/..%2f..%2fetc%2fpasswd", ".._.._etc_passwd"),
        ("/a%0Ab", "a_b"),
    ],
)
def test_a_download_bears_the_last_name_of_its_url(server: str, tmp_path: Path, path: str, name: str) -> None:
    file = data.download(server + path, tmp_path)
    assert (file.name, file.read_bytes(), file.parent.parent) == (name, b"content", tmp_path)


def test_two_urls_of_one_name_do_not_meet(server: str, tmp_path: Path) -> None:
    assert data.download(f"{server}/1/in.csv", tmp_path) != data.download(f"{server}/2/in.csv", tmp_path)


def test_a_redirect_is_followed_without_the_credentials(server: str, tmp_path: Path) -> None:
    url = server.replace("://", "://ada:p%40w@") + redirect("/in.csv")
    assert data.download(url, tmp_path).read_bytes() == b"content"
    assert [authorization for _, authorization in _Handler.seen] == [
        "Basic " + base64.b64encode(b"ada:p@w").decode(),
        None,
    ]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_to_another_scheme_is_refused(server: str, tmp_path: Path, target: str) -> None:
    assert "redirect" in failure(server + redirect(target), tmp_path).lower()


def test_a_failed_download_leaves_nothing_and_tells_no_credentials(server: str, tmp_path: Path) -> None:
    host = server.removeprefix("http://")
    assert failure(f"http://ada:pw@{host}/no?key=secret", tmp_path) == (
        f"cannot download http://***@{host}/no?…: HTTP 404, Not Found"
    )
    assert failure(f"{server}/cut", tmp_path).endswith("/cut: it broke off after 4 of 100 bytes")
    assert "Connection refused" in failure("http://127.0.0.1:1/x", tmp_path)
    assert failure("http://[::1/x", tmp_path).startswith("cannot download http://[::1/x: ")
    assert failure("http://a b/x", tmp_path).startswith("cannot download ")
    assert failure("file:///etc/passwd", tmp_path).startswith("cannot download ")


def test_a_manifest_is_canonical_json(hostile_path: Path) -> None:
    folder = hostile_path / "f"
    folder.mkdir()
    for name in ('quote"', "back\\slash", "line\nbreak", "ü", "tab\t", "\x01", "zero", os.fsdecode(b"\xff")):
        (folder / name).write_text(name, "utf-8", "surrogateescape")
    os.symlink('to "nowhere"', folder / "link")
    (folder / "empty").mkdir()
    manifest = described(folder).manifest
    assert manifest is not None
    assert digest.canonical_json(json.loads(manifest)) == manifest


# --- remembering --------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


FEW, MANY = 300, 1100


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, hashing_cache: Path) -> Path:
    """A cache in which the program is ready."""
    root = Path(shutil.copytree(hashing_cache, tmp_path_factory.mktemp("compiled") / "cache"))
    if native.program(Cache(root)) is None:
        pytest.skip("no C compiler")
    return root


@pytest.fixture(params=[FEW, MANY])
def count(request: pytest.FixtureRequest) -> int:
    """How many files: Python looks at few, the program at many."""
    number: int = request.param
    return number


@pytest.fixture
def ready(tmp_path: Path, compiled: Path) -> Cache:
    """An empty cache with the program."""
    shutil.copytree(compiled / "hash-v1", tmp_path / "ready" / "hash-v1")
    return Cache(tmp_path / "ready")


def many(folder: Path, count: int = FEW) -> Path:
    for number in range(count):
        path = folder / f"{number % 7}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
    (folder / "empty").mkdir()
    os.symlink("0/0.txt", folder / "link")
    return folder


def settle() -> None:
    """Let the stamps grow old enough to prove something."""
    time.sleep(2.1)


def digest_by(reader: data.Reader, folder: Path) -> str | None:
    found = data.describe(folder, shown="f", kind="data", declared=True, reader=reader, contents=False)
    return found.artifact.digest


@pytest.mark.slow
def test_an_unchanged_folder_is_only_walked(tmp_path: Path, cache: Cache) -> None:
    folder = many(tmp_path / "f")
    settle()
    first = digest_by(data.Reader(cache), folder)
    assert first == described(folder).artifact.digest
    os.chmod(folder / "0" / "0.txt", 0o000)  # changes its stamp: it is read, and nothing else
    os.chmod(folder / "0" / "0.txt", 0o644)
    opened: list[str] = []
    sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
    assert digest_by(data.Reader(cache), folder) == first
    assert [path for path in opened if path.startswith(str(folder))] == [str(folder / "0" / "0.txt")]


@pytest.mark.slow
def test_what_changed_is_read_again(tmp_path: Path, ready: Cache, count: int) -> None:
    folder = many(tmp_path / "f", count)
    settle()
    before = digest_by(data.Reader(ready), folder)
    target = folder / "3" / "3.txt"
    status = target.stat()
    target.write_text("4")
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))  # who puts the time back cannot hide it
    changed = digest_by(data.Reader(ready), folder)
    assert changed == described(folder).artifact.digest != before
    (folder / "new").write_text("")
    (folder / "5" / "5.txt").unlink()
    assert digest_by(data.Reader(ready), folder) == described(folder).artifact.digest


def test_a_file_written_just_now_proves_nothing(tmp_path: Path, ready: Cache, count: int) -> None:
    folder = many(tmp_path / "f", count)
    for content in "abcdefgh":
        (folder / "0" / "0.txt").write_text(content)
        assert digest_by(data.Reader(ready), folder) == described(folder).artifact.digest


@pytest.mark.slow
def test_damaged_memory_is_no_memory(tmp_path: Path, ready: Cache, count: int) -> None:
    folder = many(tmp_path / "f", count)
    settle()
    digest_by(data.Reader(ready), folder)
    (file,) = ready.stamps.iterdir()
    good = file.read_bytes()
    for bad in (b"", good[:100], good[:-1], good[:200] + b"x" + good[201:]):
        file.write_bytes(bad)
        assert digest_by(data.Reader(ready), folder) == described(folder).artifact.digest
    os.truncate(file, 0)
    file.chmod(0o400)
    assert data.collect_garbage(ready, older_than=time.time() + 10)[0] == 1


# --- both ways: a program of ours, and Python ----------------------------------------------------------


def by_program(
    compiled: Path, folder: Path, old: Path | None = None, lanes: int = 16
) -> tuple[native.Answer, trees.Tree | None]:
    """What the program answers; and what it remembers, in `folder`.memory, unless that is the same."""
    program = native.program(Cache(compiled))
    assert program is not None
    new = folder.with_suffix(".memory")
    new.unlink(missing_ok=True)
    answer = native.ask(
        program, str(folder), None, old=old or compiled / "none", new=new, proven=1 << 62, lanes=lanes
    )
    assert answer is not None
    known = memory.load(new)
    assert (known is None) == answer.is_same
    return answer, known.tree if known else None


SMALL = 4 << 20  # bytes of the largest file that the program reads itself


def varied(folder: Path) -> Path:
    """Sizes around the steps of the algorithm, modes, links, names of all kinds, empty folders, depth."""
    (folder / "a" / "b" / "empty").mkdir(parents=True)
    (folder / "a-b").mkdir()
    (folder / "a.b").mkdir()
    for size in (0, 1, 63, 64, 65, 1023, 1024, 1025, 2047, 2049, 4096, 5000, 65_537):
        for place in ("", "a", "a/b", "a-b"):
            (folder / place / f"{size}.bin").write_bytes(os.urandom(size))
    for size in (SMALL, SMALL + 1):
        (folder / "a" / f"{size}.bin").write_bytes(os.urandom(size))
    (folder / "a" / "run.sh").write_text("")
    (folder / "a" / "run.sh").chmod(0o755)
    (folder / "a.b" / "to a folder").symlink_to("../a")
    (folder / "a.b" / "nowhere").symlink_to('"nowhere"')
    return folder


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_the_program_says_what_python_says(tmp_path: Path, compiled: Path, lanes: int) -> None:
    folder = varied(tmp_path / "f")
    answer, tree = by_program(compiled, folder, lanes=lanes)
    assert tree is not None
    listed = listing.walk(str(folder))
    assert (tree.names, tree.targets, answer.links) == (listed.names, listed.targets, 2)
    for name, its_digest in digests_of(tree):
        path = folder / os.fsdecode(name)
        is_small_file = path.is_file() and not path.is_symlink() and path.stat().st_size <= SMALL
        content = blake3(path.read_bytes()).digest() if is_small_file else bytes(32)
        assert its_digest == content, name


def digests_of(tree: trees.Tree) -> list[tuple[bytes, bytes]]:
    return [(name, tree.digests[at * 32 :][:32]) for at, name in enumerate(tree.split_names())]


NAMES = ('quote"', "back\\slash", "line\nbreak", "ü", "tab\t", "\x01", "\x7f", os.fsdecode(b"\xff"), "\uffff")


@pytest.mark.parametrize("plain", [True, False])
def test_a_folder_of_many_files_has_the_digest_that_python_tells(
    hostile_path: Path, compiled: Path, *, plain: bool
) -> None:
    folder = many(varied(hostile_path / "f"), 1000)
    (folder / "a.b" / "nowhere").unlink()
    for name in () if plain else NAMES:
        (folder / name).write_text(name, "utf-8", "surrogateescape")
        (folder / "a" / name).symlink_to(name)
    expected = described(folder).artifact
    for _ in range(2):  # without and with a memory
        found = data.describe(
            folder, shown="f", kind="data", declared=True, reader=data.Reader(Cache(compiled)), contents=False
        )
        assert found.artifact == replace(expected, path="f")


def test_some_of_many_files_are_the_folder_in_which_only_they_lie(tmp_path: Path, compiled: Path) -> None:
    folder = many(tmp_path / "f", 1200)
    names = (*(f"{number % 7}/{number}.txt" for number in range(1100)), "link")
    only = tmp_path / "only"
    for name in names:
        (only / name).parent.mkdir(parents=True, exist_ok=True)
        (only / name).write_bytes((folder / name).read_bytes())
    expected = described(only).artifact.digest
    for reader in (data.Reader(), data.Reader(Cache(compiled)), data.Reader(Cache(compiled))):
        found = data.describe_some(folder, names, shown="f", kind="data", reader=reader)
        assert (found.artifact.digest, found.artifact.files) == (expected, 1101)
        assert found.tree is not None
        assert found.tree.stamps[trees.SIZE :: trees.STAMP].tolist() == [
            (folder / os.fsdecode(name)).stat().st_size for name in found.tree.split_names()
        ]


def test_the_program_reads_only_what_has_changed(tmp_path: Path, compiled: Path) -> None:
    folder = many(tmp_path / "f", 50)
    first, _ = by_program(compiled, folder)
    tree = listing.walk(str(folder))
    cache = Cache(tmp_path / "cache")
    learned = memory.Remembered(digest=first.digest, size=first.size, files=first.files, tree=tree)
    memory.remember(cache, str(folder), learned, read_at=1 << 62)
    old = memory.place(cache, str(folder))
    assert by_program(compiled, folder, old) == (replace(first, is_same=True), None)
    (folder / "3" / "3.txt").write_text("changed")
    (folder / "0" / "0.txt").unlink()
    (folder / "new").write_text("new")
    _, after = by_program(compiled, folder, old)
    assert after is not None
    read = {name for name, its_digest in digests_of(after) if its_digest != bytes(32)}
    assert read == {b"3/3.txt", b"new"}


def test_what_the_program_cannot_read_is_told(tmp_path: Path, compiled: Path) -> None:
    folder = many(tmp_path / "f", 1100)
    os.mkfifo(folder / "pipe")
    reader = data.Reader(Cache(compiled))
    found = data.describe(folder, shown="f", kind="data", declared=True, reader=reader)
    assert found == described(folder)
    assert [it.code for it in found.findings] == ["unreadable-file"]


def test_files_replaced_under_the_program_have_no_digest_or_that_of_one_state(
    tmp_path: Path, compiled: Path
) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    states = [bytes([number]) * 60_000 for number in range(4)]
    known = {bytes(32), *(blake3(state).digest() for state in states)}
    for number in range(20):
        (folder / f"{number}").write_bytes(states[0])
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            for number in range(20):
                (tmp_path / "next").write_bytes(states[number % 4])
                (tmp_path / "next").replace(folder / f"{number}")

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(20):
            _, tree = by_program(compiled, folder)
            assert tree is not None
            changed = {name for _, name, _ in tree.problems()}
            for name, its_digest in digests_of(tree):
                assert its_digest in known
                assert (its_digest == bytes(32)) == (name in changed)
    finally:
        stop.set()
        thread.join()


def test_a_file_that_tells_another_size_than_it_has_is_told_to_change(tmp_path: Path, compiled: Path) -> None:
    program, new = native.program(Cache(compiled)), tmp_path / "new"
    assert program is not None
    names = [b"kernel/ostype", b"nothing"]
    assert native.ask(program, "/proc/sys", names, old=tmp_path / "none", new=new, proven=0)
    known = memory.load(new)
    assert known is not None
    assert list(known.tree.problems()) == [(0, names[0], CHANGED), (1, names[1], errno.ENOENT)]


def test_a_program_that_cannot_be_had_or_fails_is_not_needed(tmp_path: Path, compiled: Path) -> None:
    folder = many(tmp_path / "f", 1100)
    expected = described(folder).artifact.digest
    refused = tmp_path / "refused"
    refused.write_text("no folder")
    assert digest_by(data.Reader(Cache(refused / "cache")), folder) == expected
    broken = tmp_path / "broken"
    shutil.copytree(compiled, broken)
    (program,) = broken.glob("hash-v1/*/tree")
    for text in ("#!/bin/sh\nexit 1\n", "#!/bin/sh\necho nonsense\n", "#!/bin/sh\nkill $$", "no program"):
        program.write_text(text)
        assert digest_by(data.Reader(Cache(broken)), folder) == expected


def test_many_files_are_read_by_several_processes(
    hostile_path: Path, cache: Cache, hashing_cache: Path
) -> None:
    shutil.copytree(hashing_cache, cache.root)
    folder = hostile_path / "f"
    folder.mkdir()
    for number in range(4200):
        (folder / f"a\n{number}").write_bytes(b"x" * (number % 100))
    (folder / "large").write_bytes(bytes(2 << 20))
    found = described(folder)
    assert found.artifact.files == 4201
    assert {its: path.read_bytes() for its, path in found.contents} == {
        digest.of_bytes(path.read_bytes()): path.read_bytes() for path in folder.iterdir()
    }
    assert digest_by(data.Reader(), folder) == digest_by(data.Reader(cache), folder) == found.artifact.digest


@pytest.mark.slow
def test_a_large_file_is_remembered_too(tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(20 << 20))
    settle()
    first = digest_by(data.Reader(cache), path)
    assert list(cache.stamps.iterdir())
    assert digest_by(data.Reader(cache), path) == first
    with open(path, "r+b") as file:
        file.write(b"1")
    assert digest_by(data.Reader(cache), path) != first
