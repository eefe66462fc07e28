"""What a killed service left behind is found by its mark, and ended."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gradloom.service.fleet.sweep import mark, sweep
from tests.service.fleet.workers import is_running

pytestmark = pytest.mark.process


@contextmanager
def process(data_dir: Path, name: str) -> Iterator[int]:
    variables = dict(os.environ)
    mark(variables, data_dir)
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", name]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=variables, stdin=pipe, stdout=pipe) as started:
        assert started.stdout is not None
        started.stdout.readline()
        yield started.pid
        started.kill()


def test_a_worker_of_the_killed_service_is_ended(tmp_path: Path) -> None:
    with process(tmp_path, "gradloom.worker.process") as pid:
        assert sweep(tmp_path) == (pid,)
        assert not is_running(pid)


def test_those_of_another_folder_are_left_alone(tmp_path: Path) -> None:
    with process(tmp_path / "another", "gradloom.worker.process") as pid:
        assert sweep(tmp_path) == ()
        assert is_running(pid)


def test_what_is_none_of_ours_is_left_alone(tmp_path: Path) -> None:
    with process(tmp_path, "a program around an embedded service") as pid:
        assert sweep(tmp_path) == ()
        assert is_running(pid)
