"""The index that shows what other indexes held on a day."""

from __future__ import annotations

import contextlib
import gzip
import json
import socketserver
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from mlrun.env import loopback as module
from mlrun.env.loopback import File, Loopback, Upstream, on_day, upstream_for
from tests.indexes import Index, serving
from tests.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlrun.model import Caller

DAY = "2020-08-12T23:59:59Z"
OLD, NEW = "2020-08-12T23:59:59.5Z", "2020-08-13T00:00:00Z"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """`alpha` 1.0 of the day itself and 2.0 of the next one."""
    index = Index(tmp_path / "files")
    for version, uploaded in (("1.0", OLD), ("2.0", NEW)):
        index.uploaded[make_wheel(index.folder, "alpha", version).name] = uploaded
    with serving(index):
        yield index


def versions(upstream: Upstream, name: str, *, as_of: str | None = DAY) -> list[str]:
    with Loopback(upstream, as_of) as loopback:
        return sorted(file.version for file in loopback.files(name))


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def test_files_uploaded_after_the_day_are_not_shown(index: Index) -> None:
    upstream = Upstream(indexes=(index.url,))
    assert versions(upstream, "alpha") == ["1.0"]
    assert versions(upstream, "Alpha", as_of=None) == ["1.0", "2.0"]
    assert versions(upstream, "not-there") == []


def test_pip_sees_a_page_with_all_that_it_needs_and_files_where_they_lie(index: Index) -> None:
    name = "alpha-1.0-py3-none-any.whl"
    index.requires_python[name] = ">=3.6,<4"
    index.yanked[name] = 'a "bad" one'
    with Loopback(Upstream(indexes=(index.url,)), DAY) as loopback:
        page = fetched(f"{loopback.url}alpha/")
    assert f'<a href="http://127.0.0.1:{index.port}/files/{name}#sha256=' in page
    assert 'data-requires-python="&gt;=3.6,&lt;4"' in page
    assert 'data-yanked="a &quot;bad&quot; one"' in page
    assert "2.0" not in page


def test_nobody_is_served_who_does_not_know_the_path(index: Index) -> None:
    with Loopback(Upstream(indexes=(index.url,)), DAY) as loopback:
        root = loopback.url.split("/", 3)
        for path in ("", "simple/alpha/", "guess/simple/alpha/", f"{root[3].split('/')[0]}/alpha/"):
            with pytest.raises(urllib.error.HTTPError):
                fetched(f"{'/'.join(root[:3])}/{path}")
        assert loopback.url.startswith("http://127.0.0.1:")
    with pytest.raises(urllib.error.URLError):
        fetched(f"{loopback.url}alpha/")


def test_a_package_is_asked_for_once(index: Index) -> None:
    with Loopback(Upstream(indexes=(index.url,)), DAY) as loopback:
        for _ in range(3):
            fetched(f"{loopback.url}alpha/")
    assert index.asked == ["/simple/alpha/"]


def test_an_index_that_fails_for_a_moment_is_asked_again(index: Index) -> None:
    index.broken = 2
    assert versions(Upstream(indexes=(index.url,)), "alpha") == ["1.0"]


@pytest.mark.parametrize(
    "page",
    [
        {"files": [{"filename": "a-1.tar.gz", "url": "a-1.tar.gz"}]},
        {"files": 5},
        {"files": ["a-1.tar.gz"]},
        [1],
    ],
)
def test_an_index_that_says_nonsense_is_told(
    index: Index, page: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = ("application/vnd.pypi.simple.v1+json", json.dumps(page).encode())
    monkeypatch.setattr(index, "page", lambda _: answer)
    with Loopback(Upstream(indexes=(index.url,)), DAY) as loopback:
        assert loopback.files("a") == ()
        assert "no page of a package index" in loopback.failures[0]


def test_a_page_without_end_is_not_read_to_it(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGEST", 1 << 20)
    monkeypatch.setattr(index, "page", lambda _: ("text/html", bytes(2 << 20)))
    with Loopback(Upstream(indexes=(index.url,)), DAY) as loopback:
        assert loopback.files("a") == ()
        assert "more than 1 MiB" in loopback.failures[0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"nonsense\r\n\r\n", "nonsense"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "ends too early"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(99), mtime=0)[:-9],
            "too early",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8bnonsense", "no sound answer"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(2 << 20), mtime=0),
            "1 MiB",
        ),
    ],
)
def test_an_answer_that_is_no_sound_http_is_told(
    answer: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LARGEST", 1 << 20)
    with answering(answer) as url, Loopback(Upstream(indexes=(url,)), DAY) as loopback:
        assert loopback.files("a") == ()
        assert said in loopback.failures[0]


def test_what_a_storage_service_refuses_is_not_there(index: Index) -> None:
    """PyTorch's index answers 403 for every package that it does not have."""
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    with answering(refusal) as url, Loopback(Upstream(indexes=(url, index.url)), DAY) as loopback:
        assert [file.version for file in loopback.files("alpha")] == ["1.0"]
        assert loopback.failures == ()


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """The URL of an index that says this, byte for byte, and hangs up."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
            self.wfile.write(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/simple"
        server.shutdown()
        thread.join()


def test_an_index_that_fails_is_told(index: Index) -> None:
    index.broken = 9
    with Loopback(Upstream(indexes=(index.url,)), DAY) as loopback:
        assert loopback.files("alpha") == ()
        assert "503" in loopback.failures[0]


def test_what_only_an_index_without_times_knows_stays_available(tmp_path: Path, index: Index) -> None:
    make_wheel(tmp_path / "own", "private", "7.0")
    make_wheel(tmp_path / "own", "alpha", "9.0")
    for extra in (
        Upstream(indexes=(index.url,), folders=(str(tmp_path / "own"),)),
        Upstream(indexes=(index.url,), folders=((tmp_path / "own").as_uri(),)),
    ):
        assert versions(extra, "private") == ["7.0"]
        assert versions(extra, "alpha") == ["1.0"]
    own = Index(tmp_path / "own", as_json=False)
    with serving(own):
        upstream = Upstream(indexes=(index.url, own.url))
        assert versions(upstream, "private") == ["7.0"]
        assert versions(upstream, "alpha") == ["1.0"]


def test_an_index_in_a_folder_is_read(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "own/files", "private", "7.0")
    page = tmp_path / "own/simple/private/index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="../../files/{wheel.name}#sha256=ab">{wheel.name}</a>')
    with Loopback(Upstream(indexes=((tmp_path / "own/simple").as_uri(),)), DAY) as loopback:
        (file,) = loopback.files("private")
    assert (file.url, file.hashes) == (wheel.as_uri(), (("sha256", "ab"),))


def test_a_private_index_gets_its_account_and_so_do_its_files(tmp_path: Path) -> None:
    index = Index(tmp_path / "files", account="ada:s3cret")
    make_wheel(index.folder, "alpha", "1.0")
    with serving(index), Loopback(Upstream(indexes=(index.url,)), DAY) as loopback:
        (file,) = loopback.files("alpha")
        assert file.url == f"http://ada:s3cret@127.0.0.1:{index.port}/files/{file.name}"


def test_only_what_can_be_installed_is_a_file() -> None:
    shown = File(name="a-1.0.tar.gz", url="u", version="1.0", uploaded=NEW)
    assert on_day((shown,), DAY) == ()
    assert on_day((shown,), None) == (shown,)


def test_the_caller_s_indexes_are_those_that_uv_is_given() -> None:
    upstream = upstream_for(
        {
            "UV_DEFAULT_INDEX": "https://own.example/simple",
            "UV_EXTRA_INDEX_URL": "https://a.example/x file:///srv/simple",
            "UV_FIND_LINKS": "/srv/wheels,https://b.example/links",
            "SSL_CERT_FILE": "/etc/ca.pem",
            "UV_INSECURE_HOST": "a.example",
            "HTTPS_PROXY": "http://proxy:3128",
            "UV_HTTP_TIMEOUT": "7",
        },
        no_index=False,
    )
    assert upstream == Upstream(
        indexes=("https://own.example/simple", "https://a.example/x", "file:///srv/simple"),
        folders=("/srv/wheels", "https://b.example/links"),
        certificates="/etc/ca.pem",
        insecure=frozenset({"a.example"}),
        proxies=(("https", "http://proxy:3128"),),
        seconds=7.0,
    )
    assert upstream_for({}, no_index=True).indexes == ()


@pytest.mark.slow
def test_the_real_index_is_shown_as_it_was(caller: Caller) -> None:
    from mlrun.env.pip_settings import for_uv

    variables = {**caller.variables, **for_uv(caller, ())}
    upstream = Upstream(certificates=upstream_for(variables, no_index=False).certificates)
    with Loopback(upstream, "2019-09-12T23:59:59Z") as loopback:
        found = {file.version for file in loopback.files("six")}
        assert loopback.failures == ()
    assert "1.12.0" in found
    assert not {"1.13.0", "1.16.0"} & found
