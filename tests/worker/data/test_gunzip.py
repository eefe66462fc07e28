"""B054: gzip that is cut, followed by junk, damaged or a bomb."""

import gzip

import pytest

from gradloom.worker.data.errors import FileError
from gradloom.worker.data.gunzip import gunzip


def test_members_are_unpacked_one_after_another() -> None:
    assert gunzip(gzip.compress(b"one") + gzip.compress(b"two")) == b"onetwo"


def test_b054_a_cut_is_found_and_placed() -> None:
    data = gzip.compress(bytes(range(256)) * 4)[:100]
    with pytest.raises(FileError, match="ends early at byte 100: download it again"):
        gunzip(data)


def test_b054_junk_after_the_end_is_refused() -> None:
    with pytest.raises(FileError, match="After the gzip data stand 4 bytes"):
        gunzip(gzip.compress(b"one") + b"junk")


def test_b054_a_flipped_byte_is_found() -> None:
    data = bytearray(gzip.compress(b"some bytes of text"))
    data[-6] ^= 1
    with pytest.raises(FileError, match="damaged"):
        gunzip(bytes(data))


def test_b054_a_bomb_is_not_unpacked_past_its_limit() -> None:
    with pytest.raises(FileError, match=r"unpacks to more than 3.9 MB, .*200 times its 19 kB"):
        gunzip(gzip.compress(bytes(20_000_000)))


def test_b054_members_share_one_limit() -> None:
    member = gzip.compress(bytes(600_000), 9)
    assert len(member) < 1_000
    with pytest.raises(FileError, match="unpacks to more than"):
        gunzip(member * 2)
