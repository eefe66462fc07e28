"""What the nemesis does to files, and what /proc tells it of processes."""

import os
import signal
import subprocess
from pathlib import Path

from benchmarks.chaos.generator import AT_REST, HARMLESS, ONE_NODE, Kind
from benchmarks.chaos.nemesis import _DAMAGES, _LIVE, Sparing, chosen, flipped
from benchmarks.chaos.processes import is_alive, process_of, send


def test_every_kind_of_one_node_has_an_act() -> None:
    down = {*AT_REST, Kind.KILL_SERVICE, Kind.STOP_SERVICE}
    assert set(_LIVE) | down == set(ONE_NODE)
    assert set(_DAMAGES) == set(AT_REST)
    assert set(HARMLESS) <= set(_LIVE)


def test_a_flip_changes_one_bit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    flipped(path, 0.5)
    content = path.read_bytes()
    assert len(content) == 100
    assert [place for place, byte in enumerate(content) if byte] == [49]


def test_what_is_torn_on_a_full_disk_is_torn_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "step-000000007.safetensors"
    path.write_bytes(bytes(100))
    (tmp_path / "step-999999999.partial").symlink_to("/dev/full")
    assert _DAMAGES[Kind.TEAR_CHECKPOINT]([path], 0.5) == f"{path.name} cut to 50 bytes"
    assert path.stat().st_size == 50


def test_a_torn_file_is_shorter_and_a_part_of_another_lies_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "step-000000007.safetensors"
    path.write_bytes(bytes(100))
    _DAMAGES[Kind.TEAR_CHECKPOINT]([path], 0.4)
    assert path.stat().st_size == 40
    assert [each.suffix for each in sorted(tmp_path.iterdir())] == [".safetensors", ".partial"]


def test_the_pick_reaches_every_candidate() -> None:
    assert [chosen("abc", pick) for pick in (0.0, 0.34, 0.67, 0.999)] == ["a", "b", "c", "c"]
    assert chosen([], 0.5) is None


def test_a_signal_meets_the_process_it_is_meant_for_and_no_other() -> None:
    child = subprocess.Popen(["sleep", "60"])
    process = process_of(child.pid)
    assert process is not None and is_alive(process) and process.parent == os.getpid()
    assert send(process, signal.SIGKILL)
    child.wait()
    assert not is_alive(process)
    assert not send(process, signal.SIGKILL)


def test_a_job_is_left_alone_until_it_has_moved() -> None:
    sparing = Sparing()
    assert sparing.may_strike("jobs/a", 0)
    sparing.struck("jobs/a", 0)
    assert not sparing.may_strike("jobs/a", 0)
    assert sparing.may_strike("jobs/b", 0)
    assert sparing.may_strike("jobs/a", 7)
    sparing.struck("jobs/a", 7)
    assert not sparing.may_strike("jobs/a", 7)
