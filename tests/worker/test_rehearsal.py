"""A worker rehearses while nobody waits for it, and no longer."""

import tempfile
from pathlib import Path

import pytest

from gradloom.worker.rehearsal import TYPICAL, rehearse
from gradloom.worker.warmup import trials


def test_every_typical_job_is_one_of_the_warmups() -> None:
    assert {trial.name for trial in trials()} >= TYPICAL


def test_a_worker_that_is_wanted_stops_at_once() -> None:
    wanted = iter((False, False, True))
    assert rehearse(lambda: next(wanted)) <= 2


def test_nobody_wants_it_and_all_is_rehearsed() -> None:
    """Twice: what the first had to compile is at hand for the second."""
    while (count := rehearse(lambda: False)) < len(TYPICAL):
        pass
    assert count == len(TYPICAL)


def test_a_worker_that_is_killed_meanwhile_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left: list[Path] = []

    def is_wanted() -> bool:
        left.extend(tmp_path.iterdir())
        return False

    assert rehearse(is_wanted) > 0
    assert left == []
