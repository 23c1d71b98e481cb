"""Messages between server and page: what is packed comes back, and no bytes do more than raise a WireError."""

import json
import math
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_arrays

from tinyconv.web import wire
from tinyconv.web.wire import DTYPES, WireError, pack, unpack

EXACT = [*DTYPES, "float16", "bool"]
arrays = st.sampled_from(EXACT).flatmap(
    lambda dtype: st_arrays.arrays(dtype, st_arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
views = st.builds(
    lambda array, kind: {
        "as it is": lambda: array,
        "columns first": lambda: np.asfortranarray(array),
        "back to front": lambda: array[::-1] if array.ndim else array,
        "every second": lambda: array[..., ::2] if array.ndim else array,
        "read-only": lambda: np.broadcast_to(array, (2, *array.shape)),
        "the other order of bytes": lambda: array.astype(array.dtype.newbyteorder()),
    }[kind](),
    arrays,
    st.sampled_from(
        ["as it is", "columns first", "back to front", "every second", "read-only", "the other order of bytes"]
    ),
)
numbers = st.integers(-(2**53), 2**53) | st.floats(width=64)
messages = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | numbers | st.text(max_size=9) | views,
        lambda parts: (
            st.lists(parts, max_size=4) | st.dictionaries(st.text("abcdefg_é", max_size=5), parts, max_size=4)
        ),
        max_leaves=12,
    ),
    max_size=5,
)


def same(a, b):
    """Whether b is what a must have become."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and repr(a) == repr(b)  # of floats, with NaN and the sign of zero


@given(messages)
def test_what_is_packed_comes_back(message):
    assert same(message, unpack(pack(message)))


@given(arrays)
def test_arrays_lie_at_multiples_of_eight_and_cannot_be_written_to(array):
    packed = pack({"a": array, "b": [array, {"c": array}]})
    for found in (unpack(packed)["a"], unpack(packed)["b"][0], unpack(packed)["b"][1]["c"]):
        assert not found.flags.writeable
        assert found.size == 0 or (found.ctypes.data - np.frombuffer(packed, np.uint8).ctypes.data) % 8 == 0


@pytest.mark.parametrize(
    ("values", "dtype", "sent"),
    [
        ([], np.int64, "int32"),
        ([-(2**31) + 1, 2**31 - 1], np.int64, "int32"),
        ([2**31], np.int64, "float64"),
        ([-(2**53), 2**53], np.int64, "float64"),
        ([2**32 - 1], np.uint64, "uint32"),
        ([2**32], np.uint64, "float64"),
        ([True, False], np.bool_, "uint8"),
        ([1.5, np.inf], np.float16, "float32"),
    ],
)
def test_what_a_page_has_no_array_for_is_sent_as_what_holds_it(values, dtype, sent):
    array = np.array(values, dtype)
    found = unpack(pack({"a": array}))["a"]
    assert found.dtype.name == sent
    assert found.tolist() == array.tolist()


@pytest.mark.parametrize("values", [np.array([2**53 + 1]), np.array([-(2**63)]), np.array([2**64 - 1], np.uint64)])
def test_whole_numbers_that_no_page_holds_are_refused(values):
    with pytest.raises(WireError, match=r"beyond 2\^53"):
        pack({"a": values})


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"bytes", 1j, np.array([None]), np.array(["text"]), np.array([1j]), np.zeros(2, "i4,f4")],
)
def test_what_is_neither_json_nor_an_array_is_refused(value):
    with pytest.raises(TypeError):
        pack({"a": [value]})


def test_numbers_of_numpy_are_numbers():
    message = {"a": np.float32(1.5), "b": np.int64(3), "c": np.bool_(True), "d": np.float16(np.nan), "e": -np.inf}
    found = unpack(pack(message))
    assert [found[key] for key in "abce"] == [1.5, 3, True, -np.inf]
    assert math.isnan(found["d"])


def framed(head, body=b""):
    """A message of that text, whose arrays are `body`."""
    head = head if isinstance(head, bytes) else head.encode()
    return len(head).to_bytes(4, "little") + head + bytes(-(4 + len(head)) % 8) + body


LIES = [
    ["float32", [3], 0], ["float32", [2], 4], ["float32", [2], 1], ["float32", [-1], 0], ["float32", [2.0], 0],
    ["float32", [True], 0], ["float32", "22", 0], ["float32", [10**30], 0], ["float32", [10**9] * 9, 0],
    ["float32", [1] * 100, 0], ["float32", [2], 10**30], ["float32", [2], -8], ["float32", [2], None],
    ["float32", [[2]], 0], ["float32", None, 0], ["float32", {"a": 1}, 0], ["float32", [2]], [], 7, None, "abc",
    {"a": 1, "b": 2, "c": 3}, ["object", [1], 0], ["complex64", [1], 0], ["O", [1], 0], [["float32"], [1], 0],
    [None, [1], 0], ["float32", [9] * 9000, 0], ["uint8", [9], 0], ["uint8", [1], 8], ["float64", [0, 2], 16],
]  # fmt: skip


@pytest.mark.parametrize("place", LIES, ids=lambda place: repr(place)[:40])
def test_an_array_that_lies_is_refused(place):
    assert unpack(framed('{"a": {"$array": ["float32", [2], 0]}}', bytes(8)))["a"].tolist() == [0, 0]
    with pytest.raises(WireError):
        unpack(framed(json.dumps({"a": {"$array": place}}), bytes(8)))


TEXTS = {
    "no object": "[1]", "a number": "3", "nothing": "", "cut": '{"a": ', "nested": '{"a":' + "[" * 100_000,
    "nested and whole": '{"a":' + "[" * 5000 + "]" * 5000 + "}", "a huge number": '{"a": 1' + "0" * 5000 + "}",
    "no number": '{"a": NaN}', "an infinity": '{"a": -Infinity}', "a number that is none": '{"a": {"$number": "7"}}',
    "a number of a list": '{"a": {"$number": [1]}}', "a key twice": '{"a": 1, "a": 2}', "no text": b'{"a": "\xff"}',
    "zero": b"\0",
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_text_that_is_none_of_ours_is_refused(text):
    with pytest.raises(WireError):
        unpack(framed(text))


def test_the_same_memory_is_sent_once():
    a = np.arange(1000.0).reshape(20, 50)
    message = {"a": a, "again": [a, a.reshape(50, 20)], "turned": a.T, "part": a[:10]}
    assert same(message, unpack(pack(message)))
    assert len(pack(message)) < 8000 + 8000 + 4000 + 500


@given(st.binary(max_size=200) | st.builds(framed, st.binary(max_size=50), st.binary(max_size=16)))
def test_any_bytes_are_read_or_refused(data):
    with suppress(WireError):
        assert isinstance(unpack(data), dict)


@given(messages, st.randoms(use_true_random=False))
def test_damaged_messages_are_read_or_refused(message, random):
    data = bytearray(pack(message))
    for _ in range(random.randint(1, 4)):
        data[random.randrange(len(data))] = random.randrange(256)
    with suppress(WireError):
        assert isinstance(unpack(bytes(data[: random.randint(0, len(data))])), dict)


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node on this machine")
def test_a_page_reads_and_writes_the_same():
    """socket.js in Node: what Python packs is read there, packed again, and read here."""
    path = Path(wire.__file__).parent / "static" / "socket.js"
    code = (
        f"import {{ pack, unpack }} from {json.dumps(path.as_uri())};"
        "const chunks = []; for await (const chunk of process.stdin) chunks.push(chunk);"
        "const bytes = new Uint8Array(Buffer.concat(chunks));"
        "process.stdout.write(pack(unpack(bytes.buffer)));"
    )
    message = {"a": {dtype: np.arange(5).astype(dtype) for dtype in DTYPES}, "b": ["é", None, True, 1.5]}
    done = subprocess.run(
        ["node", "--input-type=module", "-e", code], input=pack(message), capture_output=True, check=True
    )
    assert same(message, unpack(done.stdout))
