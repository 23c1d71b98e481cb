"""Servers that lie, and archives that nobody meant: what is fetched is bounded in bytes and in time."""

import gzip
import io
import tarfile
import threading
import time
import tracemalloc
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from servers import serving

from tinyconv.data import download, sources
from tinyconv.errors import DataError

CONTENT = bytes(range(256)) * 1000


def quiet(message, done, total):
    pass


def redirect(to):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.end_headers()

    return answer


def encoded(handler):
    """40 kB that a browser would unpack to 40 MB."""
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.end_headers()
    handler.wfile.write(BOMB)


BOMB = gzip.compress(bytes(40_000_000))


def endless(handler):
    """Chunk after chunk, of no announced length."""
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def dripping(start):
    """A byte now and then, after `start`: no single read takes long."""

    def answer(handler):
        handler.wfile.write(start)
        for _ in range(600):
            handler.wfile.write(b"x")
            time.sleep(0.05)

    return answer


@pytest.fixture
def server():
    bodies = {
        "/good": CONTENT,
        "/cut/it": CONTENT,
        "/again": redirect("/good"),
        "/file": redirect("file:///etc/passwd"),
        "/ftp": redirect("ftp://127.0.0.1/good"),
        "/loop": redirect("/loop"),
        "/encoded": encoded,
        "/endless": endless,
        "/body": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 256000\r\n\r\n"),
        "/headers": dripping(b"HTTP/1.1 200 OK\r\nX: "),
        "/garbage": lambda handler: handler.wfile.write(b"\0\1\2\3" * 100),
        "/nothing": lambda handler: None,
    }
    with serving(bodies) as server:
        yield server


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("path", ["/good", "/again"])
def test_the_content_and_its_progress(server, path):
    seen = []
    got = download.from_mirror(f"{server.url}{path}", len(CONTENT), lambda *event: seen.append(event))
    assert got.getvalue() == CONTENT
    assert seen[-1] == (f"{server.url}{path}", len(CONTENT), len(CONTENT))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/none", "404 Client Error"),
        ("/cut/it", "IncompleteRead"),
        ("/file", "redirects to file:///etc/passwd, expected http"),
        ("/ftp", "redirects to ftp://127.0.0.1/good, expected http"),
        ("/loop", "Exceeded 30 redirects"),
        ("/endless", "sends more than 256000 bytes"),
        ("/garbage", "x01"),
        ("/nothing", "closed connection without response"),
    ],
)
def test_a_server_that_lies(server, path, reason):
    with pytest.raises(DataError, match=reason) as caught:
        download.from_mirror(f"{server.url}{path}", len(CONTENT), quiet)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


def test_a_longer_body_is_not_read_to_its_end(server):
    with pytest.raises(DataError, match="sends more than 1000 bytes"):
        download.from_mirror(f"{server.url}/good", 1000, quiet)


def test_what_a_server_calls_packed_is_taken_as_it_was_sent(server):
    tracemalloc.start()
    try:
        assert download.from_mirror(f"{server.url}/encoded", 100_000, quiet).getvalue() == BOMB
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("path", ["/body", "/headers"])
def test_a_server_that_drips_is_given_up(server, monkeypatch, path):
    monkeypatch.setattr(download, "seconds_for", lambda size: 0.3)
    started = time.monotonic()
    with pytest.raises(DataError, match=r"given up: .* are slower than 100 kB/s"):
        download.from_mirror(f"{server.url}{path}", len(CONTENT), quiet)
    assert time.monotonic() - started < 10  # of the 30 that it would take


def test_the_time_fits_the_size():
    assert download.seconds_for(0) == download.READ_TIMEOUT
    assert download.seconds_for(170_052_171) == pytest.approx(30 + 1701, abs=1)


def test_an_interrupted_download_leaves_its_thread_to_end(server, monkeypatch):
    def interrupt(*event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download.from_mirror(f"{server.url}/good", len(CONTENT), interrupt)
    for thread in threading.enumerate():
        if thread.name == f"download {server.url}/good":
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    ("here", "to", "refused"),
    [
        ("https://a/x", "http://a/x", True),
        ("https://a/x", "//b/x", False),
        ("https://a/x", "y", False),
        ("https://a/x", "https://b/y", False),
        ("http://a/x", "https://b/y", False),
        ("http://a/x", "http://b/y", False),
        ("http://a/x", "file:///etc/passwd", True),
        ("https://a/x", "data:,x", True),
    ],
)
def test_a_redirect_never_leaves_https(here, to, refused):
    response = SimpleNamespace(is_redirect=True, url=here, headers={"location": to}, close=lambda: None)
    with pytest.raises(DataError, match="redirects to") if refused else nullcontext():
        download._refuse_downgrade(response)


@pytest.mark.parametrize("source", sources.SOURCES.values(), ids=lambda source: source.name)
def test_mirrors_with_https_come_first(source):
    plain = [not mirror.startswith("https://") for mirror in source.mirrors]
    assert plain == sorted(plain)
    assert not plain[0]


# Archives


def member(name, body=b"", **attributes):
    info = tarfile.TarInfo(name)
    info.size = len(body)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info, body


def packed(*members):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for info, body in members:
            archive.addfile(info, io.BytesIO(body))
    return content


GOOD = member("data/x", b"right")
LINK, HARD, PIPE, DEVICE = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE
NO_FILE = "is not the archive it should be: it has no file data/x"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([], NO_FILE),
        ([member("../data/x", b"wrong")], NO_FILE),
        ([member("/data/x", b"wrong")], NO_FILE),
        ([member("data/../data/x", b"wrong")], NO_FILE),
        ([member("data/x", type=LINK, linkname="x")], NO_FILE),
        ([member("data/x", type=LINK, linkname="/etc/passwd")], NO_FILE),
        ([member("data/x", type=HARD, linkname="/etc/passwd")], NO_FILE),
        ([member("data/x", type=PIPE)], NO_FILE),
        ([member("data/x", type=DEVICE)], NO_FILE),
        ([member("data/x", type=tarfile.DIRTYPE)], NO_FILE),
        ([member("data/x", bytes(11))], "has 11 bytes of data/x|has 11 bytes of x, expected at most 10"),
        ([member("data/x", bytes(1 << 24))], "bytes of x, expected at most 10"),
    ],
)
def test_an_archive_of_anything_else(members, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=reason):
        download.members_of(packed(*members), "data", {"x": 10})
    assert not list(tmp_path.iterdir())


def test_nothing_but_what_is_asked_for_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    around = [member("../outside", b"x"), member("/outside", b"x"), member("data/link", type=LINK, linkname="/")]
    found = download.members_of(packed(*around, GOOD, member("data/y", bytes(1 << 24))), "data", {"x": 10})
    assert {name: body.read() for name, body in found.items()} == {"x": b"right"}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cut", [0, 1, 15, 40])
def test_an_archive_that_is_cut(cut):
    whole = packed(member("data/first", bytes(1000)), GOOD).getvalue()
    with pytest.raises(DataError, match="is not the archive it should be"):
        download.members_of(io.BytesIO(whole[:cut]), "data", {"x": 10})


def test_a_header_that_promises_more_than_there_is():
    info, _ = member("data/x", bytes(10))
    lie = gzip.compress(info.tobuf() + b"123")
    with pytest.raises(DataError, match="is not the archive it should be"):
        download.members_of(io.BytesIO(lie), "data", {"x": 10})
