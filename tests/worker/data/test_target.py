"""B062, B063: what a target must hold for each loss."""

import numpy as np
import pytest

from gradloom.worker.data.errors import ArrayError
from gradloom.worker.data.target import (
    TargetKind,
    absent_classes,
    check_known_labels,
    class_count,
    target_rows,
)


@pytest.mark.parametrize("dtype", ["u1", "i4", "f4", "f8"])
def test_whole_numbers_of_any_type_are_labels(dtype: str) -> None:
    labels = target_rows(np.array([0, 2, 1], dtype), TargetKind.LABELS)
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 2, 1]


def test_a_column_of_labels_is_flattened() -> None:
    assert target_rows(np.array([[0], [1]]), TargetKind.LABELS).shape == (2,)


def test_a_row_may_have_a_label_at_each_position() -> None:
    labels = target_rows(np.array([[0, 1, 2], [2, 1, 0]], "u1"), TargetKind.LABELS)
    assert (labels.shape, labels.dtype, class_count(labels)) == ((2, 3), np.int64, 3)
    assert absent_classes(labels, 4) == (1, 3)
    with pytest.raises(ArrayError, match="has label 2 in row 0"):
        check_known_labels(labels, 2)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ([0, 2.5, 3.5], "has 2.5 in row 1: class labels are whole numbers from 0"),
        ([0, 1, -1], "has -1 in row 2: class labels are whole numbers from 0"),
        ([0, 10**6], "has 1e\\+06 in row 1: at most 1,000,000 classes"),
        ([[0, 1], [1, 0.5]], "has 0.5 in row 1: class labels are whole numbers from 0"),
    ],
)
def test_b062_other_numbers_are_no_labels(labels: list[float], text: str) -> None:
    with pytest.raises(ArrayError, match=f"^{text}"):
        target_rows(np.array(labels), TargetKind.LABELS)


def test_b062_a_label_as_large_as_a_type_holds_is_refused() -> None:
    with pytest.raises(ArrayError, match="row 1"):
        target_rows(np.array([0, 2**64 - 1], np.uint64), TargetKind.LABELS)


def test_b062_test_labels_must_be_classes_of_training() -> None:
    with pytest.raises(
        ArrayError, match="has label 10 in row 2: the training data has classes 0 to 9"
    ):
        check_known_labels(np.array([0, 9, 10]), 10)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_numbers_become_a_column(shape: tuple[int, ...]) -> None:
    assert target_rows(np.ones(shape), TargetKind.NUMBERS).shape == (4, 1)


def test_shares_lie_between_0_and_1() -> None:
    assert target_rows(np.array([0, 0.5, 1]), TargetKind.BINARY).tolist() == [[0], [0.5], [1]]
    with pytest.raises(ArrayError, match=r"has 1.5 in row 1: give numbers from 0 to 1"):
        target_rows(np.array([[0, 1], [1, 1.5]]), TargetKind.BINARY)


def test_b063_one_class_only_teaches_nothing() -> None:
    with pytest.raises(ArrayError, match=r"^is 3 in 500 rows: nothing can be learnt"):
        class_count(np.full(500, 3))


def test_classes_are_counted_from_0() -> None:
    assert class_count(np.array([4, 2])) == 5


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([0, 1, 2, 3], (0, 4)), ([1, 2, 3], (1, 0)), ([0, 3, 3], (2, 1)), ([0, 1], (2, 2))],
)
def test_b063_absent_classes_are_counted(labels: list[int], expected: tuple[int, int]) -> None:
    assert absent_classes(np.array(labels), 4) == expected


def test_probabilities_add_up_to_1() -> None:
    sound = np.array([[0.25, 0.75], [1, 0]])
    np.testing.assert_array_equal(target_rows(sound, TargetKind.DISTRIBUTION), sound)
    with pytest.raises(ArrayError, match=r"^adds up to 0.75 in row 1: give probabilities"):
        target_rows(np.array([[0.25, 0.75], [0.5, 0.25]]), TargetKind.DISTRIBUTION)
    with pytest.raises(ArrayError, match=r"^has -0.5 in row 0: give numbers from 0 to 1"):
        target_rows(np.array([[-0.5, 1.5]]), TargetKind.DISTRIBUTION)
