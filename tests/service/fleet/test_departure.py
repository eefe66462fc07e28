"""A process ends with its own exit code although a thread of it is still in Ray's hands."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

# Stands for Ray, which ends processes that are left with threads of theirs in its hands.
STRICT = "import atexit, os; atexit.register(lambda: os._exit(1))"
IDLE = """
import threading
threading.Thread(target=threading.Event().wait, name={!r}, daemon=True).start()
"""
LEAVE = "from gradloom.service.fleet.departure import leave; print('bye'); leave(6)"


def run(lines: Sequence[str]) -> tuple[int, str]:
    """The exit code and the output of a program."""
    program = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


@pytest.mark.parametrize("name", ["runner-jobs/a-1", "ray-fleet"])
def test_what_is_left_behind_does_not_change_the_exit_code(name: str) -> None:
    assert run([STRICT, IDLE.format(name), LEAVE]) == (6, "bye\n")


@pytest.mark.parametrize("lines", [[], [IDLE.format("another")]])
def test_without_it_a_process_ends_as_ever(lines: list[str]) -> None:
    assert run([STRICT, *lines, LEAVE]) == (1, "bye\n")


# A job's thread that calls an actor without end, while the fleet is closed.
AT_WORK = """
import os, threading, time
from pathlib import Path
from gradloom.service.fleet.ray_environment import prepare
prepare(os.environ, Path({token!r}))
import ray
from gradloom.service.fleet.ray_fleet import RayFleet
from gradloom.worker.engine.profile import PROFILE_DEFAULT
fleet = RayFleet(None, cpus=1, profile=PROFILE_DEFAULT)
@ray.remote(num_cpus=0)
class Actor:
    def answer(self): return 1
actor = Actor.remote()
ray.get(actor.answer.remote())
has_called = threading.Event()
def call():
    while True:
        actor.answer.remote()
        has_called.set()
threading.Thread(target=call, name="runner-jobs/a-1", daemon=True).start()
has_called.wait()
fleet.close()
time.sleep(0.5)
"""


@pytest.mark.process
@pytest.mark.ray
def test_a_fleet_that_is_closed_leaves_ray_to_a_thread_that_still_calls_it(tmp_path: Path) -> None:
    code, said = run([AT_WORK.format(token=str(tmp_path / "token")), LEAVE])
    assert (code, said.splitlines()[-1]) == (6, "bye")
