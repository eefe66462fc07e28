"""Processes that answer over a pipe, and what becomes of those that do not."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks.contestant import Contestant, ContestantFailed, Program

pytestmark = pytest.mark.process

ECHO = """
from benchmarks.child import peak_bytes, resident_bytes, serve

def memory():
    return {"peak": peak_bytes(), "resident": resident_bytes()}

def leave():
    raise SystemExit

def talk(text):
    print("this is not an answer")
    return {"text": text}

serve({"talk": talk, "memory": memory, "fail": lambda: 1 / 0, "leave": leave})
"""


def program(path: Path) -> Program:
    path.write_text(ECHO)
    root = str(Path(__file__).parents[2])
    return Program("echo", (sys.executable, str(path)), {**os.environ, "PYTHONPATH": root})


def test_it_answers_whatever_else_it_prints(tmp_path: Path):
    with Contestant(program(tmp_path / "echo.py")) as contestant:
        assert contestant.ask("talk", text="ä") == {"text": "ä"}
        assert contestant.ask("talk", text="b") == {"text": "b"}


def test_it_knows_its_memory(tmp_path: Path):
    with Contestant(program(tmp_path / "echo.py")) as contestant:
        answer = contestant.ask("memory")
    # The kernel brings the peak up to date now and then.
    assert answer["peak"] > 0.9 * answer["resident"] > 1_000_000


def test_an_error_is_told_with_the_name_of_who_failed(tmp_path: Path):
    with (
        Contestant(program(tmp_path / "echo.py")) as contestant,
        pytest.raises(ContestantFailed, match=r"(?s)echo failed: .*ZeroDivisionError"),
    ):
        contestant.ask("fail")


def test_one_that_ends_is_told_with_what_it_was_asked(tmp_path: Path):
    with (
        Contestant(program(tmp_path / "echo.py")) as contestant,
        pytest.raises(ContestantFailed, match="it ended when it was asked to leave"),
    ):
        contestant.ask("leave")
