"""F53, F54: memory between processes of a node, and files that have no names."""

import os
from pathlib import Path

import numpy as np
import pytest

from gradloom.worker.exchange import segment
from gradloom.worker.exchange.exchange import NoRoom
from gradloom.worker.exchange.segment import attached, private, shared, sweep


def test_what_one_writes_the_other_reads(tmp_path: Path) -> None:
    made = shared(f"{tmp_path}/run", 3, 1001)
    assert made.descriptor is not None
    other = attached(os.dup(made.descriptor), 3, 1001)
    made.vectors[2][1000] = 7
    assert other.vectors[2][1000] == 7
    assert other.is_at(made.descriptor)


def test_words_are_where_they_were_however_many_vectors_are_looked_at(tmp_path: Path) -> None:
    made = shared(f"{tmp_path}/run", 3, 1001, words=5)
    assert made.descriptor is not None
    made.words[4] = 7
    made.vectors[0][0] = 8
    other = attached(os.dup(made.descriptor), 1, 1001, words=5)
    assert (other.words[4], other.vectors[0][0]) == (7, 8)


def test_it_has_no_name_and_outlives_its_maker(tmp_path: Path) -> None:
    made = shared(f"{tmp_path}/run", 1, 10)
    assert made.descriptor is not None
    vectors = attached(os.dup(made.descriptor), 1, 10).vectors
    made.vectors[0][:] = 3
    del made
    assert np.all(vectors[0] == 3)
    assert not list(tmp_path.iterdir())


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_descriptors_are_closed_with_the_memory(tmp_path: Path) -> None:
    before = descriptors()
    made = shared(f"{tmp_path}/run", 2, 10)
    assert descriptors() > before
    del made
    assert descriptors() == before


def test_other_memory_than_agreed_on_is_refused(tmp_path: Path) -> None:
    made = shared(f"{tmp_path}/run", 1, 10)
    assert made.descriptor is not None
    with pytest.raises(ValueError, match="for 5 vectors of 100000"):
        attached(os.dup(made.descriptor), 5, 100_000)


def test_a_folder_that_is_too_small_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(segment.os, "posix_fallocate", full)
    with pytest.raises(NoRoom) as caught:
        shared(f"{tmp_path}/run", 2, 4_000_000)
    assert str(caught.value).startswith("needs 32 MB, ")
    assert f"free in {tmp_path}: start the container with a larger shm size" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_sweep_removes_what_a_dead_process_left_of_a_run(tmp_path: Path) -> None:
    for name in ("run-7-x1", "run-7-x2", "run-70-x3", "other"):
        (tmp_path / name).touch()
    sweep(f"{tmp_path}/run-7")
    assert {path.name for path in tmp_path.iterdir()} == {"run-70-x3", "other"}


def test_private_memory_is_nobody_elses() -> None:
    memory = private(2, 10)
    assert not memory.is_shared
    assert [vector.size for vector in memory.vectors] == [10, 10]
