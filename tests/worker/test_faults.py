"""Fault points: inert unless asked for, and then exactly where they were asked for."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

import pytest

from gradloom.worker import faults
from gradloom.worker.faults import (
    VARIABLE,
    Fault,
    FaultRaised,
    Faults,
    Point,
    faults_of,
    is_worker_point,
)

REACH = (
    "from gradloom.worker.faults import Point, reached; reached(Point.BARRIER, step=7, worker=1)"
)


def set_to(text: str) -> Faults:
    return faults_of({VARIABLE: text}, Point, is_worker_point)


def exit_code(variables: Mapping[str, str], program: str = REACH) -> int:
    """How a process ends that comes by the barrier."""
    return subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **variables}
    ).returncode


def test_without_the_word_every_point_is_inert() -> None:
    assert VARIABLE not in os.environ
    for point in Point:
        faults.reached(point, step=7, worker=1)
    assert exit_code({VARIABLE: ""}) == 0


def test_a_process_dies_at_its_point() -> None:
    assert exit_code({VARIABLE: "worker.barrier:kill@step=7,worker=1"}) == -signal.SIGKILL


@pytest.mark.parametrize(
    "elsewhere", ["worker.join:kill", "worker.barrier:kill@step=8", "worker.barrier:kill@shard=1"]
)
def test_a_process_lives_where_the_facts_are_others(elsewhere: str) -> None:
    assert exit_code({VARIABLE: elsewhere}) == 0


def test_several_faults_are_parted_by_semicolons() -> None:
    both = set_to("worker.join:raise@worker=2; worker.barrier:full;")
    both.reached(Point.JOIN, worker=1)
    with pytest.raises(FaultRaised, match=r"worker\.join"):
        both.reached(Point.JOIN, worker=2)
    with pytest.raises(OSError, match="No space left"):
        both.reached(Point.BARRIER)


def test_a_fault_may_wait_for_the_nth_time() -> None:
    third = set_to("worker.step.start:io@nth=3")
    third.reached(Point.STEP_START)
    third.reached(Point.STEP_START)
    with pytest.raises(OSError, match="Input/output"):
        third.reached(Point.STEP_START)
    third.reached(Point.STEP_START)


def test_a_bit_is_flipped_in_place() -> None:
    data = bytearray(4)
    set_to("worker.slot.write:flip@byte=2,bit=5,shard=0").reached(
        Point.SLOT_WRITE, memoryview(data), shard=0
    )
    assert data == bytes([0, 0, 32, 0])


def test_sleeping_takes_its_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("gradloom.worker.faults.time.sleep", slept.append)
    set_to("worker.slice.sum:sleep@seconds=0.25").reached(Point.SLICE_SUM)
    assert slept == [0.25]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("worker.barier:kill", "no point worker.barier"),
        ("worker.barrier", "has no action"),
        ("worker.barrier:explode", "of kill, freeze"),
        ("worker.barrier:kill@step", "write KEY=VALUE"),
    ],
)
def test_what_is_no_fault_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        set_to(text)


def test_the_services_points_are_none_of_a_workers_business() -> None:
    set_to("checkpoint.write:kill").reached("checkpoint.write")


def test_a_fault_is_data() -> None:
    assert Fault("worker.join", "kill").meets("worker.join", {"step": 1})
