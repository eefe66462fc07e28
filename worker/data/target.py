"""What a loss asks of the target, and whether the target has it."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from gradloom.worker.data.container import Array
from gradloom.worker.data.errors import ArrayError
from gradloom.worker.data.wording import counted

MOST_CLASSES = 1_000_000
_SLACK = 1e-3  # what rounding and coarse formats may take off a distribution


class TargetKind(StrEnum):
    """Class labels from 0, shares from 0 to 1, shares that add up to 1, or any numbers."""

    LABELS = "labels"
    BINARY = "binary"
    DISTRIBUTION = "distribution"
    NUMBERS = "numbers"


@dataclass(frozen=True, slots=True)
class Answer:
    """An array to predict: its name, what the loss asks of it, and the field that names it."""

    name: str
    kind: TargetKind
    field: str = "data.target"


def target_rows(array: Array, kind: TargetKind, first_row: int = 0) -> Array:
    """The target as the loss reads it; raises ArrayError, whose message follows the name.

    Labels become int64 of shape (rows,), or (rows, …) where a row has several; shares and numbers
    keep their dtype and get shape (rows, …), (rows, 1) where each row has one. The array holds
    finite numbers. first_row is the number of its first row, where it is a block of more.
    """
    if kind is TargetKind.LABELS:
        return _labels(array, first_row)
    if kind in (TargetKind.BINARY, TargetKind.DISTRIBUTION):
        is_wrong = (array < 0) | (array > 1)
        _check_rows(array, is_wrong, "has {} in row {}: give numbers from 0 to 1.", first_row)
    rows = array[:, None] if array.ndim == 1 else array
    if kind is TargetKind.DISTRIBUTION:
        sums = rows.sum(axis=-1, dtype=np.float64)
        advice = "adds up to {} in row {}: give probabilities that add up to 1."
        _check_rows(sums, np.abs(sums - 1) > _SLACK, advice, first_row)
    return rows


def class_count(labels: Array) -> int:
    """The largest label + 1; raises ArrayError where there is nothing to tell apart."""
    return classes_between(int(labels.min()), int(labels.max()), len(labels))


def classes_between(lowest: int, highest: int, rows: int) -> int:
    """The classes of so many rows, by the lowest and highest label; see class_count."""
    if lowest == highest:
        raise ArrayError(f"is {lowest} in {counted(rows, 'row')}: nothing can be learnt.")
    return highest + 1


def check_known_labels(labels: Array, classes: int) -> None:
    """Raise ArrayError where a label is not among the classes of training."""
    advice = f"has label {{}} in row {{}}: the training data has classes 0 to {classes - 1}."
    _check_rows(labels, labels >= classes, advice)


def absent_classes(labels: Array, classes: int) -> tuple[int, int]:
    """How many of the classes have no row, and the first of them (or the count of classes)."""
    return absent_of(np.bincount(labels.reshape(-1), minlength=classes), classes)


def absent_of(counts: Array, classes: int) -> tuple[int, int]:
    """The same from the labels of each class, counted."""
    absent = np.flatnonzero(counts[:classes] == 0)
    return len(absent), int(absent[0]) if len(absent) else classes


def _labels(array: Array, first_row: int) -> Array:
    labels = array.reshape(len(array)) if array.shape[1:] == (1,) else array
    whole = "has {} in row {}: class labels are whole numbers from 0."
    _check_rows(labels, labels % 1 != 0, whole, first_row)
    _check_rows(labels, labels < 0, whole, first_row)
    most = f"has {{}} in row {{}}: at most {MOST_CLASSES:,} classes can be, counted from 0."
    _check_rows(labels, labels >= MOST_CLASSES, most, first_row)
    return labels.astype(np.int64)


def _check_rows(array: Array, is_wrong: Array, sentence: str, first_row: int = 0) -> None:
    """Raise with the first value that is wrong, and its row, put into the sentence."""
    if is_wrong.any():
        place = np.unravel_index(int(is_wrong.argmax()), array.shape)
        row = first_row + int(place[0])
        raise ArrayError(sentence.format(f"{array[place].item():g}", f"{row:,}"))
