"""Answers cross a process as bytes, and other bytes are refused."""

import math
import struct

import pytest

from gradloom.worker.messages import Answer, AnswerKind, BadAnswer, decode, encode


def test_an_answer_comes_back_as_it_went() -> None:
    answer = Answer(AnswerKind.DONE, 7, {"loss": 0.1 + 0.2, "nodes": [[1, 0]]}, b"\x00\x01")
    back = decode(encode(answer))
    assert (back.kind, back.round, back.facts, bytes(back.body)) == (
        answer.kind,
        answer.round,
        answer.facts,
        answer.body,
    )


def test_a_loss_that_is_no_number_crosses_too() -> None:
    back = decode(encode(Answer(AnswerKind.DONE, 1, {"loss": math.nan})))
    assert math.isnan(float(str(back.facts["loss"])))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc",
        struct.pack("<I", 1 << 30),
        struct.pack("<I", 2) + b"{}",
        struct.pack("<I", 2) + b"\xff\xff",
        struct.pack("<I", 4) + b"null",
        encode(Answer(AnswerKind.DONE)).replace(b"done", b"gone"),
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        decode(data)
