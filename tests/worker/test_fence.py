"""A process that might still write to shared memory is made to end, whatever state it is in."""

import os
import signal
import subprocess
import sys

from gradloom.worker.fence import fence


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])


def test_a_stopped_process_has_ended_when_the_fence_stands() -> None:
    process = sleeper()
    os.kill(process.pid, signal.SIGSTOP)
    fence([process.pid])
    assert process.wait(timeout=0.5) == -signal.SIGKILL


def test_a_process_that_has_ended_is_no_fault() -> None:
    process = sleeper()
    process.kill()
    process.wait()
    fence([process.pid])


def test_one_that_nobody_has_waited_for_yet_counts_as_ended() -> None:
    process = sleeper()
    process.kill()
    fence([process.pid, process.pid])
    assert process.wait() == -signal.SIGKILL
