"""The server of the studio: who may open it, what it refuses, and that it goes on whatever arrives."""

from __future__ import annotations

import gc
import gzip
import http.client
import json
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import numpy as np
import pytest
from campaigns import studio as campaign
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import tinyconv as tc
from tinyconv import nn
from tinyconv.data import synthetic_digits
from tinyconv.web import jobs, server, wire
from tinyconv.web.jobs import job
from tinyconv.web.serving import Served, ServingError
from tinyconv.web.subject import of_model, of_name

DONE = 20  # seconds in which anything here is done, on a machine that others use too


@pytest.fixture(scope="module")
def served():
    with Served(of_name("lenet5", "synthetic")) as one:
        yield one


@pytest.fixture
def table(monkeypatch):
    """A table of jobs for a test alone."""
    monkeypatch.setattr(jobs, "JOBS", dict(jobs.JOBS))


def place(one):
    parts = urlsplit(one.url)
    return parts.hostname, parts.port


def request(one, path=None, method="GET", headers=None):
    """The status, the headers and the body of an answer."""
    parts = urlsplit(one.url)
    connection = http.client.HTTPConnection(*place(one), timeout=DONE)
    try:
        given = headers or {}
        target = path or f"{parts.path}?{parts.query}"
        connection.putrequest(
            method, target, "Host" in given, "Accept-Encoding" in given
        )  # what is not added by itself
        for name, value in given.items():
            for each in value if isinstance(value, list) else [value]:
                connection.putheader(name, each)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def raw(one, data, half=False):
    """What is answered to these bytes until the connection is closed; after `half` of it was, by us."""
    with socket.create_connection(place(one), timeout=DONE) as plain:
        plain.sendall(data)
        if half:
            plain.shutdown(socket.SHUT_WR)
        answer = b""
        while part := plain.recv(1 << 16):
            answer += part
        return answer


class Tab:
    """A page, as the server sees it."""

    def __init__(self, one, token=None, **options):
        parts = urlsplit(one.url)
        query = parts.query if token is None else f"token={token}"
        options = {"max_queue": None, "max_size": None, "proxy": None} | options
        self.connecting = connect(f"ws://{parts.netloc}/socket?{query}", **options)
        self.number, self.told = 0, []

    def __enter__(self):
        self.socket = self.connecting.__enter__()
        return self

    def __exit__(self, *error):
        self.connecting.__exit__(*error)

    def next(self):
        message = wire.unpack(self.socket.recv(DONE))
        if "event" in message:
            self.told.append((message["event"], message["data"]))
        return message

    def hear(self, event):
        """The next report of that kind."""
        while (message := self.next()).get("event") != event:
            pass
        return message["data"]

    def send(self, name, **arguments):
        self.number += 1
        self.socket.send(wire.pack({"id": self.number, "job": name, "arguments": arguments}))
        return self.number

    def answer(self, number):
        while (message := self.next()).get("id") != number:
            pass
        return message

    def ask(self, name, **arguments):
        answer = self.answer(self.send(name, **arguments))
        assert "result" in answer, answer
        return answer["result"]

    def sends_and_hears(self, *data):
        """Send these messages as they are, and hear what comes until the connection is closed."""
        for message in data:
            self.socket.send(message)
        while True:
            self.next()

    def refused(self, name, **arguments):
        return self.answer(self.send(name, **arguments))["error"]["text"]


def status_of_handshake(one, token=None, **headers):
    try:
        with Tab(one, token, additional_headers=headers):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def eventually(holds):
    end = time.monotonic() + DONE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


# --- who may open it ------------------------------------------------------------------------------------------------


def test_the_page_opens_with_its_token(served):
    status, headers, body = request(served)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"<title>tinyconv studio</title>" in body
    assert request(served, method="HEAD")[0] == 200
    assert request(served, "/static/app.js")[1]["content-type"].startswith("text/javascript")
    assert len(served.server.token) >= 32
    with Served(of_name("mlp", "synthetic")) as other:
        assert other.server.token != served.server.token


@pytest.mark.parametrize("given", ["", "x", "{}x", "x{}", "{}&token=x", "%00", "%C3%A9", "%ff", "x" * 5000])
def test_another_token_opens_nothing(served, given):
    token = given.format(served.server.token)
    status, _, body = request(served, f"/?token={token}")
    assert status == 403
    assert b"the whole URL" in body
    assert status_of_handshake(served, token) == 403
    assert request(served, "/")[0] == status_of_handshake(served, "") == 403


def test_tokens_are_compared_in_constant_time(served, monkeypatch):
    seen = []
    whole = server.secrets.compare_digest
    monkeypatch.setattr(server.secrets, "compare_digest", lambda *given: seen.append(given) or whole(*given))
    request(served)
    status_of_handshake(served)
    assert seen == [(served.server.token.encode(),) * 2] * 2


OWN = ["127.0.0.1:{}", "localhost:{}", "LOCALHOST:{}", "[::1]:{}", "localhost", "127.0.0.1:1"]
FOREIGN = [
    "", "evil.example", "evil.example:{}", "127.0.0.1.evil.example:{}", "localhost.:{}", "127.0.0.1@evil.example",
    "[::1",
    "evil.example#127.0.0.1", "localhost:{}:{}", "localhost/..", "0.0.0.0:{}", "192.0.2.1:{}", "[x]:{}",
    "user@127.0.0.1:{}", "2130706433:{}", "127.1:{}", "localhost:999999", "127.0.0.1:{}, evil.example",
]  # fmt: skip


@pytest.mark.parametrize("path", [None, "/static/app.js", "/nothing", "/static/pages/step.js"])
def test_only_this_host_is_served(served, path):
    """A DNS name that leads here gives its page no way in."""
    port = place(served)[1]
    for host in OWN:
        assert request(served, path, headers={"Host": host.format(port)})[0] == (404 if path == "/nothing" else 200), (
            host
        )
    for host in FOREIGN:
        assert request(served, path, headers={"Host": host.format(port, port)})[0] in (400, 403), host


@pytest.mark.parametrize("host", FOREIGN)
def test_no_socket_opens_under_a_foreign_host(served, host):
    port, token = place(served)[1], served.server.token
    head = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    head += "Sec-WebSocket-Version: 13\r\n"
    line = f"GET /socket?token={token} HTTP/1.1\r\n"
    own = raw(served, f"{line}Host: 127.0.0.1:{port}\r\n{head}\r\n".encode(), half=True)
    assert own.startswith(b"HTTP/1.1 101 ")
    answer = raw(served, f"{line}Host: {host.format(port, port)}\r\n{head}\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 400 "))


ORIGINS = [
    "http://evil.example", "null", "http://localhost:{}", "https://127.0.0.1:{}", "http://127.0.0.1", "file://", "",
    "http://127.0.0.1:1", "http://127.0.0.1:{}.evil.example", "http://127.0.0.1:{}/", "chrome-extension://x",
]  # fmt: skip


def test_no_page_of_another_origin_gets_in(served):
    own = f"127.0.0.1:{place(served)[1]}"
    assert status_of_handshake(served, Origin=f"http://{own}") == 101
    assert request(served, headers={"Origin": f"http://{own}"})[0] == 200
    for origin in ORIGINS:
        origin = origin.format(place(served)[1])
        assert status_of_handshake(served, Origin=origin) == 403, origin
        for path in (None, "/static/app.js"):
            assert request(served, path, headers={"Origin": origin})[0] == 403, origin
    assert request(served, headers={"Origin": [f"http://{own}", "http://evil.example"]})[0] == 403


def test_every_answer_has_the_headers(served):
    answers = [
        request(served), request(served, "/"), request(served, "/nothing"), request(served, method="POST"),
        request(served, "/static/app.js"), request(served, "/static/nothing.js"), request(served, "/static"),
        request(served, headers={"Host": "evil.example"}), request(served, "/socket"),
    ]  # fmt: skip
    assert [status for status, _, _ in answers[:6]] == [200, 403, 404, 405, 200, 404]
    for status, headers, _ in answers:
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == policy["frame-ancestors"].split()[0] == "'self'", status
        assert not {"script-src", "style-src", "connect-src"} & policy.keys()
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in headers
        assert "server" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "X" * 50])
def test_other_methods_do_nothing(served, method):
    for path in (None, "/static/app.js"):
        assert request(served, path, method)[0] in (400, 405)


@pytest.mark.parametrize(
    "path",
    ["/static/../server.py", "/static/../../errors.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py", "/..",
     "/static/..%5cserver.py", "/static//etc/passwd", "/static/%00", "/static/app.js%00.txt", "/static/....//server.py",
     "/static/%252e%252e/server.py", "/static/pages/../../server.py", "//etc/passwd", "/static/", "/static/pages",
     "/static/" + "a/" * 2000, "/static/" + "%2e%2e/" * 500 + "etc/passwd", "/server.py", "/static/\u20ac"],
)  # fmt: skip
def test_nothing_but_the_static_files_is_served(served, path):
    answer = raw(served, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    assert answer.split(b" ")[1:2] in ([b"404"], [b"400"], [b"403"], [b"405"], [b"307"], [b"500"]), answer[:200]
    assert answer.split(b" ")[1] != b"500"
    assert b"root:" not in answer
    assert b"import" not in answer


# --- what is too much -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n", b"GET /" + b"a" * (1 << 20),
     b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", b"\0" * 1000, b"\r\n" * 1000, b"GET",
     b"GET / HTTP/1.1\r\nHost: a\r\nHost: 127.0.0.1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
     b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01" + b"tls" * 100, "GET /é HTTP/1.1\r\nHost: é\r\n\r\n".encode()],
    ids=range(12),
)  # fmt: skip
def test_what_is_no_request_is_refused(served, data, caplog):
    try:
        answer = raw(served, data, half=True)
    except OSError:  # it has enough, and closed the connection
        answer = b""
    assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 403")
    assert request(served)[0] == 200


@pytest.mark.parametrize("data", [b"\0" * (server.MOST + 1), "x" * (server.MOST + 1)], ids=["bytes", "text"])
def test_a_frame_that_is_too_large_closes_the_connection(served, data):
    with Tab(served) as tab:
        with pytest.raises(ConnectionClosed) as closed:
            tab.sends_and_hears(data)
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
    with Tab(served) as tab, Tab(served) as other:
        assert "result" in tab.answer(tab.send("look.layers"))
        with pytest.raises(ConnectionClosed):
            other.sends_and_hears([b"\0" * (server.MOST // 4)] * 5)  # one message, in five frames
        assert "result" in tab.answer(tab.send("look.layers"))


def test_no_log_has_the_token_and_a_refusal_says_nothing(caplog):
    with caplog.at_level("DEBUG"), Served(of_name("lenet5", "synthetic")) as one:
        assert status_of_handshake(one) == 101
        assert status_of_handshake(one, "another") == 403
    said = [record.getMessage() for record in caplog.records if record.name != "websockets.client"]
    assert said
    assert not [text for text in said if one.server.token in text or "handshake" in text]


def test_so_many_pages_are_open_at_a_time(served):
    with ExitStack() as stack:
        tabs = [stack.enter_context(Tab(served)) for _ in range(server.TABS)]
        assert status_of_handshake(served) == 503
        assert request(served)[0] == 200
        tabs.pop().socket.close()
        eventually(lambda: status_of_handshake(served) == 101)
    eventually(lambda: not served.studio._tabs)


@pytest.fixture
def gate(table):
    """A job `test.wait` that waits for the gate, and notes that it was done."""
    opened = threading.Event()
    opened.noted = []

    @job("test.wait")
    def wait(studio, value: int = 0) -> int:
        opened.noted.append(value)
        assert opened.wait(DONE)
        return value

    yield opened
    opened.set()


def test_a_page_waits_for_so_many_answers_at_a_time(served, gate):
    with Tab(served) as tab:
        numbers = [tab.send("test.wait", value=i) for i in range(server.WAITING + 3)]
        for number in numbers[server.WAITING :]:
            assert tab.answer(number)["error"]["text"] == "this page waits for 64 answers already"
        gate.set()
        answers = [tab.answer(number)["result"] for number in numbers[: server.WAITING]]
        assert answers == gate.noted == list(range(server.WAITING))
        assert tab.ask("test.wait", value=7) == 7


def test_a_page_that_leaves_is_not_worked_for(served, gate):
    with Tab(served) as tab:
        for _ in range(server.WAITING):
            tab.send("test.wait")
        eventually(lambda: gate.noted)
    eventually(lambda: not served.studio._tabs)  # before its job is done
    gate.set()
    served.studio.submit("look.layers", {}).result(DONE)
    assert len(gate.noted) == 1


def test_a_page_that_asks_and_does_not_listen_is_given_up(served, table, monkeypatch):
    @job("test.big")
    def big(studio) -> object:
        return np.zeros(1 << 20)

    monkeypatch.setattr(server, "BACKLOG", 32 << 20)
    with Tab(served, max_queue=1, close_timeout=0.1) as tab:
        for _ in range(20):
            tab.send("test.big")
            time.sleep(0.01)
        eventually(lambda: tab.send("look.layers") and not served.studio._tabs)


def test_a_page_that_does_not_read_costs_no_memory_and_loses_old_reports_alone(served, table):
    big = {"numbers": np.zeros(1 << 16, np.uint8)}

    @job("test.flood")
    def flood(studio) -> int:
        for i in range(2000):
            studio.report("flood", {"i": i, **big})
        studio.report("last", {})
        return 2000

    with Tab(served, max_queue=1) as slow, Tab(served) as other:
        slow.hear("subject")
        number = slow.send("test.flood")
        other.hear("last")
        time.sleep(0.2)
        kept = [len(tab.outbox) for tab in tabs_of(served)]
        assert max(kept) <= server.QUEUED + server.WAITING
        seen = []
        while "id" not in (message := slow.next()):
            if message["event"] == "flood":
                seen.append(message["data"]["i"])
        assert message["id"] == number  # an answer is never lost
        assert ("last", {}) in slow.told
        assert seen == sorted(seen)
        assert seen[-1] == 1999
        assert len(seen) < 2000


def test_all_six_pages_weigh_less_than_250_kilobytes(served):
    """As they are sent, with every module, style and licence; a file that is there already is not sent again."""
    paths = [path for path in server.STATIC.rglob("*") if path.is_file()]
    sent = 0
    for path in paths:
        at = f"/static/{path.relative_to(server.STATIC).as_posix()}"
        status, headers, body = request(served, at, headers={"Accept-Encoding": "gzip"})
        assert status == 200
        assert (gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body) == path.read_bytes()
        sent += len(body)
        again, _, nothing = request(served, at, headers={"If-None-Match": headers["etag"]})
        assert (again, nothing) == (304, b"")
    assert 50_000 < sent < 250_000, sent


def tabs_of(one):
    return [client for client, _ in one.studio._tabs]


# --- jobs over the socket -------------------------------------------------------------------------------------------


def test_a_page_is_told_the_subject_and_its_role(served):
    with Tab(served) as tab:
        told = dict(
            filter(lambda pair: "event" not in pair, [(m["event"], m["data"]) for m in (tab.next(), tab.next())])
        )
    assert told["role"] == {"writes": True, "tabs": 1}
    assert told["subject"] == json.loads(json.dumps(served.studio.subject.outline()))


def test_an_answer_is_the_result_as_it_was(served, table):
    """It is packed before the thread of the studio goes on, and writes into the array."""
    buffer = np.zeros(1000)

    @job("test.fill")
    def fill(studio, value: int) -> dict:
        buffer[:] = value
        return {"buffer": buffer}

    with Tab(served) as tab:
        for start in range(0, 200, 50):
            numbers = {i: tab.send("test.fill", value=i) for i in range(start, start + 50)}
            assert all((tab.answer(number)["result"]["buffer"] == i).all() for i, number in numbers.items())


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (tc.ShapeError("wide"), "ShapeError", "wide"),
        (jobs.JobError("not now"), "JobError", "not now"),
        (KeyError("key"), "KeyError", "'key'"),
        (SystemExit(3), "JobError", "the model raised SystemExit: 3"),
        (StopIteration("x"), "JobError", "the model raised StopIteration: x"),
        (KeyboardInterrupt(), "JobError", "the model raised KeyboardInterrupt"),
        (MemoryError(), "MemoryError", ""),
        (RuntimeError("x" * 9000 + "\x1b[31m"), "RuntimeError", r"x\x1b[31m"),
    ],
)
def test_an_error_of_a_job_is_its_answer(served, table, capfd, error, kind, said):
    @job("test.raises")
    def raises(studio) -> None:
        raise error

    with Tab(served) as tab:
        found = tab.answer(tab.send("test.raises"))["error"]
        assert (found["kind"], found["refused"]) == (kind, kind == "JobError")
        assert said in found["text"]
        assert len(found["text"]) < 2500
        assert tab.ask("look.layers")
    assert ("Traceback" in capfd.readouterr().err) == (kind in ("KeyError", "RuntimeError"))


def test_a_result_that_no_page_reads_is_an_error(served, table):
    @job("test.object")
    def gives(studio) -> object:
        return {"a": object()}

    with Tab(served) as tab:
        assert "object is not JSON serializable" in tab.refused("test.object")
        assert tab.ask("look.layers")


def test_a_model_whose_forward_raises_answers_so(table):
    class Breaks(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(784, 10)
            self.broken = False

        def forward(self, x):
            if self.broken:
                raise RuntimeError("the user's own mistake")
            return self.fc(x.flatten(1))

    model = Breaks()
    with Served(of_model(model, synthetic_digits(20))) as one, Tab(one) as tab:
        pixels = np.zeros((1, 28, 28), np.uint8)
        assert tab.ask("draw.maps", pixels=pixels)
        model.broken = True
        assert "the user's own mistake" in tab.refused("draw.maps", pixels=pixels)
        model.broken = False
        assert tab.ask("draw.maps", pixels=pixels)


def test_a_second_tab_looks_on_until_it_takes_over_or_the_first_closes(served, table):
    @job("test.write", writes=True)
    def write(studio) -> str:
        return "written"

    with Tab(served) as second:
        with Tab(served) as other:
            assert second.ask("test.write") == "written"
            assert other.refused("test.write").startswith("another tab has the studio: this one looks on. Take it over")
            assert other.ask("look.layers")
            other.ask("studio.take")
            assert other.ask("test.write") == "written"
            assert "looks on" in second.refused("test.write")
            assert other.told[-1] == ("role", {"writes": True, "tabs": 2})
        while second.told[-1] != ("role", {"writes": True, "tabs": 1}):
            second.next()
        assert second.ask("test.write") == "written"


def test_hostile_messages(tmp_path):
    """A small dose of the campaign, in which a page sends what no page does."""
    failures = [attempt.failure for attempt in campaign.attempts(60, 3, tmp_path) if attempt.failure]
    assert failures == []


# --- its life -------------------------------------------------------------------------------------------------------


@contextmanager
def no_threads_left():
    before = set(threading.enumerate())
    yield
    assert not [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("tinyconv")]


def test_closing_ends_threads_and_tells_the_pages(table):
    with no_threads_left(), Tab(one := Served(of_name("mlp", "synthetic"))) as tab:
        tab.ask("look.layers")
        begun = time.monotonic()
        one.close()
        with pytest.raises(ConnectionClosed) as closed:
            tab.sends_and_hears()
        assert closed.value.rcvd.code == 1012  # "restart": the page tries again
        assert time.monotonic() - begun < 5
        one.close()
    with pytest.raises(ConnectionRefusedError):
        request(one)


def test_it_closes_while_a_job_and_a_training_go_on(table):
    started = threading.Event()

    def endless():
        while True:
            started.set()
            time.sleep(0.001)
            yield

    @job("test.begin", writes=True)
    def begin(studio) -> None:
        studio.go_on_with(endless())

    with no_threads_left(), Served(of_name("mlp", "synthetic")) as one, Tab(one) as tab:
        tab.ask("test.begin")
        assert started.wait(DONE)


def test_it_starts_again_on_the_same_port_with_another_token():
    with Served(of_name("mlp", "synthetic")) as one, Tab(one) as tab:
        port, old = place(one)[1], one.server.token
        tab.ask("look.layers")
    with Served(of_name("mlp", "synthetic"), port=port) as again:
        assert place(again)[1] == port
        assert status_of_handshake(again, old) == 403
        assert request(again, f"/?token={old}", "HEAD")[0] == 403  # so does a page learn what became of it
        assert status_of_handshake(again) == 101


def test_two_hundred_visits_leave_nothing(served):
    def visit():
        with Tab(served) as tab:
            tab.ask("look.layers")
        request(served)

    def counted():
        eventually(lambda: not served.studio._tabs and served.server._tabs == 0)
        served.studio.submit("look.layers", {}).result(DONE)
        gc.collect()
        return len(gc.get_objects()), threading.active_count()

    for _ in range(20):
        visit()
    objects, threads = counted()
    for _ in range(200):
        visit()
    now, active = counted()
    assert active == threads
    assert now - objects < 200  # less than one object a visit


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("127.0.0.1", "taken", r"port \d+ is taken, perhaps by another studio: take another, or 0 for any free one"),
        ("192.0.2.77", 0, "'192.0.2.77' is no address of this machine; 127.0.0.1 is"),
        ("nowhere.invalid", 0, "cannot listen to 'nowhere.invalid'"),
        ("x" * 300, 0, "cannot listen to 'xxx"),
        ("\0", 0, "cannot listen to"),
        ("127.0.0.1", 70_000, "a port is 0 to 65535, got 70000"),
        ("127.0.0.1", -1, "a port is 0 to 65535, got -1"),
    ],
)
def test_where_it_cannot_be_served_it_says_why(served, host, port, said):
    before = threading.active_count()
    with pytest.raises(ServingError, match=said) as refused:
        Served(of_name("mlp", "synthetic"), host, place(served)[1] if port == "taken" else port)
    assert isinstance(refused.value, OSError)
    assert threading.active_count() == before


def test_it_is_served_to_other_machines_where_it_is_told_to():
    with Served(of_name("mlp", "synthetic"), "0.0.0.0") as one:
        assert request(one)[0] == 200
        assert status_of_handshake(one) == 101
        name, port = socket.gethostname(), place(one)[1]
        for host in (f"localhost:{port}", f"{name}:{port}", f"192.0.2.5:{port}", f"[fe80::1]:{port}"):
            assert request(one, headers={"Host": host})[0] == 200, host
        for host in (f"evil.example:{port}", f"{name}.evil.example", "x" * 300):
            assert request(one, headers={"Host": host})[0] == 403, host
        assert request(one, headers={"Host": f"{name}:{port}", "Origin": "http://evil.example"})[0] == 403


def test_it_is_served_under_the_name_it_was_given():
    with Served(of_name("mlp", "synthetic"), "localhost") as one:
        assert one.url.startswith("http://localhost:")
        assert request(one)[0] == 200
        assert request(one, headers={"Host": f"evil.example:{place(one)[1]}"})[0] == 403


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 on this machine")
def test_it_is_served_over_ipv6():
    try:
        one = Served(of_name("mlp", "synthetic"), "::1")
    except ServingError as error:
        pytest.skip(str(error))
    with one:
        assert one.url.startswith("http://[::1]:")
        assert request(one)[0] == 200
        assert status_of_handshake(one) == 101
