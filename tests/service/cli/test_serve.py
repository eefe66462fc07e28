"""`gradloom serve`: one ready line, jobs in between, a clean end."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradloom import Client, State
from gradloom.service.cli.serve import default_data_dir

pytestmark = pytest.mark.process

EXAMPLES = Path(__file__).parents[3] / "examples"


def serve(folder: Path, *words: str) -> "subprocess.Popen[str]":
    start = [sys.executable, "-m", "gradloom.service.cli", "serve", "--backend", "local"]
    places = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", str(folder)]
    return subprocess.Popen(
        [*start, *places, "--data-root", str(EXAMPLES), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def service(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    with serve(tmp_path / "data", "--json") as process:
        yield process
        process.kill()


def ready(process: "subprocess.Popen[str]") -> dict[str, str]:
    assert process.stdout is not None
    line: dict[str, str] = json.loads(process.stdout.readline())
    return line


def test_a_job_is_trained_by_a_service(service: "subprocess.Popen[str]", job_file: Path) -> None:
    with Client(ready(service)["grpc"]) as client:
        job = client.wait(client.submit(job_file), timeout=60)
    assert job.state is State.SUCCEEDED
    assert len(job.receipt.weights_sha256) == 64


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_service_in_order(
    service: "subprocess.Popen[str]", number: signal.Signals
) -> None:
    ready(service)
    service.send_signal(number)
    stdout, stderr = service.communicate()
    assert (service.returncode, stdout, stderr) == (0, "", "")


def test_a_service_open_to_strangers_is_refused(tmp_path: Path) -> None:
    with serve(tmp_path, "--listen", "0.0.0.0:0") as process:
        _, stderr = process.communicate()
    assert process.returncode == 3
    assert "--i-accept-no-auth" in stderr


def test_data_is_kept_in_the_users_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_data_dir() == Path("/data/gradloom")
