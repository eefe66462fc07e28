"""A worker process whose service is gone does nothing more, and least of all load the engine."""

import os
import signal
import socket
import subprocess
import sys
from select import select

import pytest

from gradloom.worker.process import is_abandoned

pytestmark = pytest.mark.process

WORKER = [sys.executable, "-X", "importtime", "-P", "-m", "gradloom.worker.process"]

# Starts a worker, says its process id, and is killed before the worker can have asked to die
# with it; the worker's end of the socket closes with this process.
SERVICE = """
import os, signal, socket, subprocess, sys
ours, theirs = socket.socketpair()
words = [*sys.argv[1:], str(theirs.fileno())]
worker = subprocess.Popen(words, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL)
print(worker.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_whose_service_died_before_loads_nothing() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        ended = subprocess.run(
            [*WORKER, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert ended.returncode == 0
    assert "socket" in ended.stderr
    assert "numpy" not in ended.stderr


def test_f11_a_worker_does_not_outlive_a_service_that_dies_at_once() -> None:
    started = subprocess.run(
        [sys.executable, "-c", SERVICE, *WORKER], stdout=subprocess.PIPE, text=True
    )
    assert started.returncode == -signal.SIGKILL
    assert ends_within(int(started.stdout), seconds=10)


def ends_within(pid: int, seconds: float) -> bool:
    """Whether a process that is no child of ours ends in time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def test_a_socket_is_abandoned_once_its_other_end_is_closed_whatever_that_said_before() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        assert not is_abandoned(theirs.fileno())
        ours.send(b"task")
        assert not is_abandoned(theirs.fileno())
        ours.close()
        assert is_abandoned(theirs.fileno())
