"""The log of a worker does not grow without end."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

LINE = 100


def log_of(path: Path, program: str) -> bytes:
    """The log after a program, all of whose output is appended to it."""
    words = [sys.executable, "-c", f"import os\nfrom gradloom.worker.shell import *\n{program}"]
    with path.open("ab") as output:
        subprocess.run(words, stdout=output, stderr=output, check=True)
    return path.read_bytes()


def lines(count: int) -> str:
    return f"for i in range({count}): os.write(2, b'%0{LINE - 1}d\\n' % i)\n"


def test_a_long_log_is_cut_to_its_end(tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", lines(200) + "cut_logs(10_000)\nos.write(1, b'and on\\n')")
    assert len(log) == 5_000 + len(b"and on\n")
    assert log.endswith(b"000199\nand on\n")


def test_a_short_log_stays(tmp_path: Path) -> None:
    assert len(log_of(tmp_path / "log", lines(50) + "cut_logs(10_000)")) == 50 * LINE


def test_a_log_that_is_named_anew_is_cut_as_well(tmp_path: Path) -> None:
    named = tmp_path / "named"
    log_of(tmp_path / "log", f"write_to({str(named)!r})\n{lines(200)}cut_logs(10_000)")
    assert named.stat().st_size == 5_000


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from gradloom.worker.shell import *\ncut_logs(0)\nprint('on')"],
        capture_output=True,
        check=True,
    )
    assert ended.stdout == b"on\n"
