"""A table of hashes tells jobs that came to other weights from those that did not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bits import Row, hashes
from benchmarks.bits_jobs import KINDS, Kind
from gradloom.service.jobs.validation import validate_message
from gradloom.service.submission import read_submission
from gradloom.worker.data.files import Roots

ROW = Row("mlp", "adam", "local processes", 1, "a" * 64)


def test_a_job_of_one_hash_has_one() -> None:
    rows = [ROW, replace(ROW, workers=8), replace(ROW, place="Ray on three hosts")]
    assert hashes(rows) == {("mlp", "adam"): {"a" * 64}}


def test_a_job_of_other_weights_somewhere_has_two() -> None:
    rows = [ROW, replace(ROW, workers=8, weights_sha256="b" * 64)]
    assert [len(found) for found in hashes(rows).values()] == [2]


def test_jobs_are_told_apart() -> None:
    assert len(hashes([ROW, replace(ROW, optimizer="sgd momentum")])) == 2


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.model} {kind.optimizer}")
def test_every_job_is_one_with_a_slice_for_eight_workers(kind: Kind, tmp_path: Path) -> None:
    submission = read_submission(kind.job(tmp_path, steps=12))
    checked = validate_message(submission.message, Roots((Path("/"),)))
    assert submission.faults == ()
    assert checked.graph.vector_size > 8 * 8192


def test_tokens_are_the_same_wherever_they_are_made(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        job = Kind("gpt", "adam").job(tmp_path / name, steps=1)
        texts.append(np.load(job["data"]["path"])["text"])
    assert np.array_equal(*texts)
