"""`gradloom run`: the embedded whole, in a process of its own."""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from gradloom.service.submission import read_submission

pytestmark = pytest.mark.process

DIGITS = Path(__file__).parents[3] / "examples" / "digits.npz"


def job_text(*, epochs: int = 2, batch_size: int = 64) -> str:
    return (
        "name: digits\n"
        f"data: {{path: {DIGITS}, target: labels, validation_fraction: 0.2, normalize: unit}}\n"
        "model: {layers: [dense: {units: 16}, relu: {}, dense: {units: 10}]}\n"
        "loss: {softmax_cross_entropy: {}}\n"
        "optimizer: {adam: {learning_rate: 0.01}}\n"
        f"training: {{batch_size: {batch_size}, epochs: {epochs}}}\n"
    )


def towers_text(folder: Path) -> str:
    """A job whose model reads two arrays of different shapes by name."""
    digits = np.load(DIGITS)
    images = digits["images"].reshape(-1, 8, 8)
    np.savez(
        folder / "two.npz",
        left=images[:, :, :4] / 16,
        right=images.reshape(-1, 64) / 16,
        y=digits["labels"],
    )
    return (
        "name: towers\n"
        f"data: {{path: {folder / 'two.npz'}, target: y, validation_fraction: 0.2}}\n"
        "model:\n"
        "  nodes:\n"
        "    - {name: out, inputs: [encoded, right], layers: [concat: {}, dense: {units: 10}]}\n"
        "    - {name: encoded, inputs: [left], layers: [flatten: {}, dense: {units: 16}]}\n"
        "  outputs: [out]\n"
        "loss: {softmax_cross_entropy: {}}\n"
        "optimizer: {adam: {learning_rate: 0.01}}\n"
        "training: {batch_size: 64, epochs: 2, shards: 4}\n"
    )


def outputs_text(folder: Path) -> str:
    """A job whose model says which digit it is, and whether it is even."""
    digits = np.load(DIGITS)
    even = (digits["labels"] % 2 == 0).astype(np.float32)
    np.savez(folder / "two.npz", images=digits["images"], digit=digits["labels"], even=even)
    return (
        "name: outputs\n"
        f"data: {{path: {folder / 'two.npz'}, inputs: [images], validation_fraction: 0.2}}\n"
        "model:\n"
        "  nodes:\n"
        "    - {name: which, inputs: [trunk], layers: [dense: {units: 10}]}\n"
        "    - {name: parity, inputs: [trunk], layers: [dense: {units: 1}]}\n"
        "    - {name: trunk, inputs: [images], layers: [dense: {units: 16}, relu: {}]}\n"
        "  outputs: [which, parity]\n"
        "loss:\n"
        "  joint:\n"
        "    parts:\n"
        "      - {output: which, target: digit, loss: {softmax_cross_entropy: {}}}\n"
        "      - {output: parity, target: even, loss: {binary_cross_entropy: {}}, weight: 0.5}\n"
        "optimizer: {adam: {learning_rate: 0.01}}\n"
        "training: {batch_size: 64, epochs: 3, shards: 4}\n"
    )


def command(folder: Path, text: str, *words: str) -> list[str]:
    file = folder / "job.yaml"
    file.write_text(text)
    start = [sys.executable, "-m", "gradloom.service.cli", "run", str(file), "--backend", "local"]
    return [*start, "--output", str(folder / "out"), *words]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any]]:
    """The output folder and the JSON Lines of a run with two workers."""
    folder = tmp_path_factory.mktemp("run")
    words = command(folder, job_text(), "--workers", "2", "--json")
    answer = subprocess.run(words, capture_output=True, text=True, check=True)
    yield folder / "out", [json.loads(line) for line in answer.stdout.splitlines()]


def summary_of(folder: Path, text: str, *words: str) -> Any:
    answer = subprocess.run(
        command(folder, text, "--json", *words), capture_output=True, text=True, check=True
    )
    return json.loads(answer.stdout.splitlines()[-1])


def test_a_model_of_two_inputs_comes_to_the_same_with_any_number_of_workers(tmp_path: Path) -> None:
    text = towers_text(tmp_path)
    one = summary_of(tmp_path, text, "--workers", "1")
    three = summary_of(tmp_path, text, "--workers", "3")
    assert one["weights_sha256"] == three["weights_sha256"]
    assert one["metrics"]["validation/accuracy"] > 0.5
    assert set(load_file(one["model_path"])) == {
        "encoded.1.weight",
        "encoded.1.bias",
        "out.1.weight",
        "out.1.bias",
    }


def test_a_model_of_two_outputs_comes_to_the_same_with_any_number_of_workers(
    tmp_path: Path,
) -> None:
    text = outputs_text(tmp_path)
    one = summary_of(tmp_path, text, "--workers", "1")
    three = summary_of(tmp_path, text, "--workers", "3")
    assert one["weights_sha256"] == three["weights_sha256"]
    metrics = one["metrics"]
    assert metrics["validation/which_accuracy"] > 0.5
    assert metrics["validation/parity_accuracy"] > 0.6
    assert metrics["validation/loss"] == pytest.approx(
        metrics["validation/which_loss"] + 0.5 * metrics["validation/parity_loss"], rel=1e-5
    )


def test_the_last_line_is_the_summary(ran: tuple[Path, Any]) -> None:
    summary = ran[1][-1]
    assert (summary["state"], summary["steps"], summary["epochs"]) == ("SUCCEEDED", 46, 2)
    assert (summary["workers"], summary["backend"]) == (2, "local")
    assert 0 < summary["seconds"]["submit_to_first_step"] <= summary["seconds"]["total"]
    assert summary["metrics"]["validation/accuracy"] > 0.5
    assert summary["samples_per_second"] > 0


def test_events_stand_before_the_summary(ran: tuple[Path, Any]) -> None:
    states = [line["state"] for line in ran[1][:-1] if line["event"] == "state"]
    assert states == ["QUEUED", "STARTING", "RUNNING", "SUCCEEDED"]


def test_the_model_has_the_hash_that_was_told(ran: tuple[Path, Any]) -> None:
    summary = ran[1][-1]
    weights = load_file(summary["model_path"])
    told = hashlib.sha256(b"".join(weights[name].tobytes() for name in sorted(weights)))
    assert summary["weights_sha256"] == told.hexdigest()


def test_the_model_can_be_exported(ran: tuple[Path, Any], tmp_path: Path) -> None:
    words = [sys.executable, "-m", "gradloom.service.cli", "export", ran[1][-1]["model_path"]]
    target = tmp_path / "model.onnx"
    subprocess.run([*words, "-o", str(target)], check=True, stdout=subprocess.DEVNULL)
    assert target.stat().st_size > 1000


def test_only_the_result_stays(ran: tuple[Path, Any]) -> None:
    folder, lines = ran
    assert [path.name for path in folder.iterdir()] == [lines[-1]["job"]]
    assert {path.name for path in (folder / lines[-1]["job"]).iterdir()} == {
        "job.yaml",
        "model.safetensors",
        "progress.jsonl",
        "summary.json",
    }


def test_the_files_say_what_was_printed(ran: tuple[Path, Any]) -> None:
    folder, lines = ran[0] / ran[1][-1]["job"], ran[1]
    written = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
    assert written == [line for line in lines if line.get("event") == "progress"]
    assert json.loads((folder / "summary.json").read_text()) == lines[-1]


def test_the_job_file_reads_as_the_job_that_ran(ran: tuple[Path, Any]) -> None:
    submission = read_submission(ran[0] / ran[1][-1]["job"] / "job.yaml")
    assert submission.faults == ()
    assert submission.message.resources.workers == 2


def test_the_pinned_profile_is_the_default(ran: tuple[Path, Any]) -> None:
    assert ran[1][-1]["profile"] == "x86-64-v3"


def test_a_run_computes_in_the_profile_that_was_asked_for(tmp_path: Path) -> None:
    words = command(tmp_path, job_text(epochs=1), "--profile", "native", "--json")
    answer = subprocess.run(words, capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout.splitlines()[-1])["profile"] == "native"


def test_a_faulty_job_starts_nothing(tmp_path: Path) -> None:
    words = command(tmp_path, job_text(batch_size=0))
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "job.yaml:6:24  training.batch_size" in answer.stderr
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def long_run(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A run that goes on until it is ended; the test's failure ends it too."""
    words = command(tmp_path, job_text(epochs=100_000), "--json")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_ctrl_c_cancels_the_job(tmp_path: Path, long_run: "subprocess.Popen[str]") -> None:
    assert long_run.stdout is not None
    wait_for_progress(long_run.stdout)
    long_run.send_signal(signal.SIGINT)
    last = long_run.stdout.read().splitlines()[-1]
    assert long_run.wait(30) == 130
    assert json.loads(last)["state"] == "CANCELLED"
    assert not list((tmp_path / "out").glob(".run-*"))


def wait_for_progress(lines: IO[str]) -> None:
    next(line for line in lines if json.loads(line)["event"] == "progress")
