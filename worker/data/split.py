"""Which rows are held out, and in which order the others come: pure functions of the seed."""

import numpy as np
from numpy.typing import NDArray

from gradloom.worker.data.wording import counted
from gradloom.worker.engine.random import ORDER, SPLIT, Key, permutation
from gradloom.worker.engine.spec import Fault

FIELD = "data.validation_fraction"

Rows = NDArray[np.int64]


def split(rows: int, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Numbers of the training rows and of the validation rows, each rising."""
    shuffled = permutation(Key(seed, SPLIT), rows)
    held_out = validation_rows(rows, fraction)
    return np.sort(shuffled[held_out:]), np.sort(shuffled[:held_out])


def order(rows: int, seed: int, epoch: int) -> Rows:
    """Places among the training rows in the order in which an epoch visits them."""
    return permutation(Key(seed, ORDER, step=epoch), rows)


def validation_rows(rows: int, fraction: float) -> int:
    """How many rows are held out: the share of them, rounded."""
    return round(rows * fraction)


def split_faults(rows: int | None, fraction: float) -> list[Fault]:
    """A share that is none, or leaves no row on one side; rows are None where not known."""
    text = _share_fault(fraction) or (rows and _side_fault(rows, fraction))
    return [Fault(FIELD, text)] if text else []


def _share_fault(fraction: float) -> str:
    if 0 <= fraction < 1:
        return ""
    return f"validation_fraction is {fraction:g}: it is the share held out, from 0 up to but not 1."


def _side_fault(rows: int, fraction: float) -> str:
    held_out = validation_rows(rows, fraction)
    if fraction and not held_out:
        return f"{fraction:g} of {counted(rows, 'row')} is no row: use at least {1 / rows:.3g}."
    if held_out == rows:
        return f"{fraction:g} of {counted(rows, 'row')} leaves none to train on: use less."
    return ""
