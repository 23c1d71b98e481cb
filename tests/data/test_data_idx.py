"""The IDX reader: round trips, every way a file can be damaged, and bytes nobody meant as a file."""

from __future__ import annotations

import gzip
import os
import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyconv.data import idx
from tinyconv.data.idx import CODES, encode_idx, read_idx, write_idx
from tinyconv.errors import DataError

DIGITS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
VALID = encode_idx(DIGITS)


def header(code: int, *shape: int) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape)


@pytest.mark.parametrize("dtype", CODES, ids=str)
@pytest.mark.parametrize("shape", [(1,), (0,), (5,), (0, 3), (2, 3, 4), (1,) * 64], ids=str)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_round_trip(tmp_path, dtype, shape, pack):
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    path = tmp_path / "any-name"
    path.write_bytes(pack(encode_idx(array)))
    back = read_idx(path)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == dtype
    assert back.dtype.isnative
    assert back.flags.writeable
    assert encode_idx(back) == encode_idx(array)


def test_the_bytes_are_those_of_the_format():
    assert encode_idx(np.array([[1, -2]], np.int16)) == bytes.fromhex("00000b02 00000001 00000002 0001 fffe")
    assert encode_idx(np.array([[1, -2]], ">i2")) == encode_idx(np.array([[1, -2]], "<i2"))
    assert encode_idx(DIGITS.transpose(2, 0, 1)[::-1]) == header(8, 4, 2, 3) + DIGITS.transpose(2, 0, 1)[::-1].tobytes()


def test_write_is_atomic_and_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "x-idx3-ubyte"
    write_idx(path, DIGITS)
    assert path.read_bytes() == VALID

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_idx(path, DIGITS + 1)
    assert path.read_bytes() == VALID
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("array", [np.zeros(3, np.int64), np.zeros(3, bool), np.zeros((), np.uint8)], ids=repr)
def test_what_idx_cannot_hold(array):
    with pytest.raises(DataError, match=r"IDX (has no type for|holds 1 to 64 dimensions)"):
        encode_idx(array)


PACKED = gzip.compress(VALID, mtime=0)
DAMAGE = {
    "empty": (b"", "is empty"),
    "html": (b"<!DOCTYPE html>", "starts with 3c 21 44 4f"),
    "three bytes": (VALID[:3], "is not IDX"),
    "type": (b"\0\0\x0a\x01" + VALID[4:], "starts with 00 00 0a 01"),
    "no dimensions": (b"\0\0\x08\x00\x01", "has 0 dimensions"),
    "65 dimensions": (header(8, *[1] * 65) + b"\1", "has 65 dimensions"),
    "header cut": (VALID[:9], "ends inside its header: 5 bytes of sizes, expected 12"),
    "negative": (header(8, 2, 0xFFFFFFFF), r"negative size in its header: \(2, -1\)"),
    "huge": (header(8, *[2**31 - 1] * 4), "too short for its header"),
    "huge and empty": (header(8, 0, *[2**31 - 1] * 4), "impossible shape"),
    "short": (VALID[:-1], r"has only 23 bytes after its header, which says uint8 \(2, 3, 4\): expected 24"),
    "long": (VALID + b"\0", "has more bytes after its header"),
    "gzip short": (gzip.compress(VALID[:-1]), "has only 23 bytes"),
    "gzip long": (gzip.compress(VALID + b"\0"), "has more bytes"),
    "gzip empty": (gzip.compress(b""), "is empty"),
    "gzip huge": (gzip.compress(header(8, 2**31 - 1)), "too short for its header"),
    "gzip cut": (PACKED[:-9], "damaged gzip data .*end-of-stream"),
    "gzip crc": (PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "damaged gzip data .*CRC"),
    "gzip header": (PACKED[:2] + b"\7" + PACKED[3:], "damaged gzip data"),
    "gzip body": (PACKED[:10] + b"\xff" + PACKED[11:], "damaged gzip data"),
    "gzip and more": (PACKED + b"tail", "damaged gzip data"),
}


@pytest.mark.parametrize(("data", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named(tmp_path, data, message):
    path = tmp_path / "broken-idx3-ubyte"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)
    assert "delete it: `tinyconv data fetch mnist`" in str(caught.value)


def test_a_missing_file_a_directory_and_a_pipe(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file; `tinyconv data fetch mnist`"):
        read_idx(tmp_path / "nothing")
    with pytest.raises(DataError, match="is a directory, expected an IDX file"):
        read_idx(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(DataError, match="is a special file"):  # and does not wait for a writer
            read_idx(tmp_path / "pipe")


def test_an_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(VALID)

    def denied(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)"):
        read_idx(path)


def test_a_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(header(8, 10) + bytes(1 << 28)))  # 256 MiB of zeros behind a header that says ten
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="has more bytes after its header"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_gzipped_file_of_no_known_size_unpacks_to_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "MOST_UNPACKED", 1000)
    path = tmp_path / "large.gz"
    path.write_bytes(gzip.compress(encode_idx(np.zeros(1001, np.uint8))))
    with pytest.raises(DataError, match=r"1,001 bytes, expected at most 1,000; unpack it first: gunzip FILE"):
        read_idx(path)
    path.write_bytes(encode_idx(np.zeros(1001, np.uint8)))
    assert len(read_idx(path)) == 1001  # plain, it is what it is


def only_data_error(data: bytes) -> None:
    """`data` is a valid IDX file, and then the very one its array encodes to, or it is a DataError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        path.write_bytes(data)
        try:
            array = read_idx(path)
        except DataError:
            return
        assert encode_idx(array) == (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)


@given(st.binary(max_size=64), st.sampled_from([b"", b"\0\0", b"\0\0\x08\x01", b"\0\0\x0d\x02", b"\x1f\x8b\x08"]))
def test_arbitrary_bytes(data, start):
    only_data_error(start + data)


@given(st.binary(max_size=64), st.sampled_from([b"", b"\0\0\x08\x01", b"\0\0\x08\x02\0\0\0", b"\0\0\x0e\x01\0\0\0"]))
def test_arbitrary_bytes_gzipped(data, start):
    only_data_error(gzip.compress(start + data))


@given(st.sampled_from([VALID, PACKED]), st.integers(0), st.integers(0, 7))
def test_truncation_and_bit_flips(valid, position, bit):
    position %= len(valid)
    only_data_error(valid[:position])
    flipped = bytearray(valid)
    flipped[position] ^= 1 << bit
    only_data_error(bytes(flipped))
