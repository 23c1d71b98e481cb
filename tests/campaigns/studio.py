"""Messages that no page of the studio sends: the studio answers, or closes the connection, and goes on."""

import contextlib
import json
import resource
import threading
from inspect import signature
from types import SimpleNamespace
from unittest import mock
from urllib.parse import urlsplit

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from campaigns.attempt import Attempt
from campaigns.fuzz import mutated
from campaigns.hostile import pick
from tinyconv.data import datasets
from tinyconv.web import server, wire
from tinyconv.web.jobs import JOBS
from tinyconv.web.serving import Served
from tinyconv.web.subject import of_name

PROMISE = (
    "Whatever arrives at the studio's socket is answered, or closes that page's connection; no error of it is one that "
    "nobody thought of; the studio goes on, takes no more memory, and the next page gets right answers."
)
COUNT = 3000
DOSE = 400
PATIENCE = 60  # seconds to wait for an answer, on a machine that others use too
MEMORY = 400  # MiB that all of it may take, of which training and maps take most
CHECKED = 50  # attempts between two looks at whether all is well

NUMBERS = [
    0,
    1,
    2,
    3,
    7,
    9,
    27,
    28,
    -1,
    10**6,
    2**31,
    2**53,
    -(2**53),
    2**53 + 1,
    2**63,
    2**64,
    10**300,
    0.5,
    -0.0,
    1e308,
]
TEXTS = ["", "x", "x" * 5000, "\0", "\ud800", "é", "../..", "nan", "0", "-1", "99999999999999999999", "conv1", "relu1",
         "fc3", "default", "best", "lesson", "lenet5", "mnist", "synthetic", "conv 6 5; relu; pool 2; flatten; fc 10",
         "conv 4096 64 padding=1048576", "gap; flatten; fc 10", "fc 10", "; ;", "conv 1 1;" * 400]  # fmt: skip
NAMES = ["value", "pixels", "x", "studio", "self", "", "$array", "__class__", "recipe"]
DTYPES = [*wire.DTYPES, "float16", "int64", "object", "V8", "", "float32 "]
SHAPES = [[], [0], [1], [3], [28, 28], [1, 28, 28], [1, 1, 28, 28], [1, 56, 56], [2**31], [2**62, 4], [-1], [1] * 70]


def value(rng, depth=0):
    """Something that a message may hold; lists and objects nest a little."""
    kinds = [
        lambda: pick(rng, [None, True, False]),
        lambda: pick(rng, NUMBERS),
        lambda: pick(rng, TEXTS),
        lambda: [value(rng, depth + 1) for _ in range(int(rng.integers(0, 4)))] if depth < 4 else [],
        lambda: {pick(rng, NAMES): value(rng, depth + 1) for _ in range(int(rng.integers(0, 3)))} if depth < 4 else {},
        lambda: {"$number": pick(rng, ["nan", "-inf", "1", 3, [1]])},
        lambda: array(rng),
    ]
    return pick(rng, kinds)()


def array(rng):
    """An array that fits no job, but reads well."""
    shape = pick(rng, [shape for shape in SHAPES if len(shape) < 9 and all(0 <= n < 100 for n in shape)])
    return rng.integers(0, 256, shape).astype(pick(rng, wire.DTYPES))


def fitting(rng, parameter):
    """A value of the type that a job asks for, of any size."""
    asked = str(parameter.annotation)
    if "list" in asked:
        return [int(n) for n in rng.integers(-1, 9, int(rng.integers(0, 5)))]
    if "int" in asked and "uint" not in asked:
        return int(pick(rng, [number for number in NUMBERS if isinstance(number, int) and abs(number) <= 2**53]))
    if "bool" in asked:
        return bool(rng.random() < 0.5)
    if "NDArray" in asked:
        shape = pick(rng, [[1, 28, 28], [1, 280, 280], [3, 32, 32], [784], [0], [2, 28, 28], [1, 28, 0]])
        return rng.integers(0, 256, shape).astype(np.uint8)
    if "dict" in asked:
        return {} if rng.random() < 0.5 else {pick(rng, NAMES): value(rng)}
    return pick(rng, TEXTS)


def framed(head, body=b""):
    head = head if isinstance(head, bytes) else json.dumps(head).encode("ascii")
    return len(head).to_bytes(4, "little") + head + bytes(-(4 + len(head)) % 8) + body


# --- kinds of messages ------------------------------------------------------------------------------------------------


def bytes_at_random(rng, i):
    return rng.bytes(int(rng.integers(0, 300)))


def text(rng, i):
    return pick(rng, ["", "{}", json.dumps({"id": i, "job": "look.layers"}), "é" * 100, "\0" * 50])


def anything_as_a_message(rng, i):
    return wire.pack(value(rng) if rng.random() < 0.3 else {key: value(rng) for key in ("id", "job", "arguments")})


def an_array_that_lies(rng, i):
    place = [pick(rng, DTYPES), pick(rng, SHAPES), pick(rng, [0, 1, 4, 8, -8, 2**40, 2**64, None, "0", 0.0])]
    if rng.random() < 0.2:
        place = pick(rng, [*TEXTS[:3], *NUMBERS, [], [1], [[], [], []], {}, {"a": 1, "b": 2, "c": 3}, None])
    return framed({"id": i, "job": "draw.maps", "arguments": {"pixels": {"$array": place}}}, rng.bytes(784))


def nested_deeply(rng, i):
    inside = pick(rng, [b"[", b'{"a":', b'{"$array":', b"[[{"]) * int(rng.integers(100, 20_000))
    return framed(b'{"id": %d, "job": "look.layers", "arguments": ' % i + inside)


def damaged(rng, i):
    whole = [request(rng, i) for _ in range(2)]
    return mutated(whole[0], rng, whole)


def a_job_with_fitting_arguments(rng, i):
    return request(rng, i)


def a_job_with_any_arguments(rng, i):
    name = pick(rng, sorted(JOBS))
    asked = [*signature(JOBS[name].function).parameters][1:]
    given = {key: value(rng) for key in [*asked, *([pick(rng, NAMES)] if rng.random() < 0.2 else [])]}
    return wire.pack({"id": i, "job": name, "arguments": given})


def a_large_message(rng, i):
    size = pick(rng, [(1 << 20) - 200, 1 << 20, (1 << 20) + 1, 3 << 20])
    return wire.pack({"id": i, "job": "draw.maps", "arguments": {"pixels": np.zeros(size, np.uint8)}})


def a_burst(rng, i):
    return [request(rng, i) for _ in range(int(rng.integers(2, 200)))]


def request(rng, i):
    name = pick(rng, sorted(JOBS))
    asked = [*signature(JOBS[name].function).parameters.values()][1:]
    given = {p.name: fitting(rng, p) for p in asked if p.default is p.empty or rng.random() < 0.7}
    return wire.pack({"id": i, "job": name, "arguments": given})


KINDS = [
    bytes_at_random, text, anything_as_a_message, an_array_that_lies, nested_deeply, damaged, a_job_with_any_arguments,
    a_job_with_fitting_arguments, a_job_with_fitting_arguments, a_large_message, a_burst,
]  # fmt: skip


# --- attempts ---------------------------------------------------------------------------------------------------------


class Page:
    """A connection to the studio, opened again where it was closed."""

    def __init__(self, served):
        self.served, self.socket = served, None

    def ask(self, message):
        """What is answered, or None where the connection was closed for it. For several at once the last answer."""
        messages = message if isinstance(message, list) else [message]
        try:
            if self.socket is None:
                parts = urlsplit(self.served.url)
                self.socket = connect(
                    f"ws://{parts.netloc}/socket?{parts.query}", proxy=None, max_size=None
                ).__enter__()
            for message in messages:
                self.socket.send(message)
            for _ in messages:
                while "event" in (answer := wire.unpack(self.socket.recv(PATIENCE))):
                    pass
            return answer
        except ConnectionClosed:
            self.close()
            return None

    def close(self):
        if self.socket is not None:
            self.socket.close()
        self.socket = None


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("tinyconv-s")]


def all_well(served, page, before):
    """What is wrong with the studio by now, or "". `before` are the threads of other studios."""
    pixels = np.arange(784, dtype=np.uint8).reshape(1, 28, 28)
    own = of_name("lenet5", "synthetic")
    served.studio.submit("test.open", {}).result(PATIENCE)
    page.close()  # the next is another page's
    given = page.ask(wire.pack({"id": 1, "job": "draw.maps", "arguments": {"pixels": pixels}})) or {}
    expected = own.model(own.input(pixels[None])).softmax(1).numpy()[0]
    if not np.allclose(given.get("result", {}).get("probabilities", np.nan), expected, atol=1e-6):
        return f"the next page gets {str(given)[:200]}"
    names = sorted(thread.name for thread in threads() if thread not in before)
    return "" if names == ["tinyconv-server", "tinyconv-studio"] else f"threads {names}"


def open_anew(studio):
    studio.open(of_name("lenet5", "synthetic"))


def attempts(count, seed, folder):
    faults = []
    small = mock.patch.multiple(datasets, SYNTHETIC_TRAIN=64, SYNTHETIC_TEST=16)
    seen = mock.patch.object(server, "traceback", SimpleNamespace(print_exception=faults.append))
    own, before = mock.patch.dict(JOBS), threads()
    with contextlib.chdir(folder), small, seen, own, Served(of_name("lenet5", "synthetic")) as served:
        jobs = dict(JOBS)
        page, most = Page(served), None
        for i in range(count):
            rng, kind = np.random.default_rng((seed, i)), KINDS[i % len(KINDS)]
            message = kind(rng, i)
            answer = page.ask(message)
            failure = f"{faults[0]!r}" if faults else ""
            if answer is not None and not {"error", "result", "dropped"} & answer.keys():
                failure = f"the answer is {str(answer)[:100]}"
            if answer is None and kind is not a_large_message:
                failure = "the connection was closed"
            faults.clear()
            if i % CHECKED == CHECKED - 1 or i == count - 1:
                JOBS["test.open"] = type(jobs["look.layers"])("test.open", open_anew, False, False)
                failure = failure or all_well(served, page, before)
                del JOBS["test.open"]
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            most = most or memory
            if memory - most > MEMORY:
                failure = failure or f"{memory - most} MiB more"
            failure = f"{failure}; message {i}" if failure else ""
            yield Attempt(kind.__name__.replace("_", " "), failure, {"MiB more": memory - most})
        page.close()
