"""The products of dense layers are right, and of each row whatever stands beside it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.dense_products import (
    ROWS,
    input_gradients,
    outputs,
    room,
    weight_gradients,
)
from gradloom.worker.engine.random import CHECK, Key, normal

# Of rows, inputs and units: about tiles, strips, and the ends of chains.
SIZES = [
    (1, 1, 1),
    (1, 3, 10),
    (7, 20, 14),
    (6, 16, 16),
    (13, 33, 35),
    (ROWS + 1, 17, 9),
    (2 * ROWS + 3, 40, 18),
    (5, 1024, 20),
    (8, 1025, 17),
    (4, 19, 1030),
    (70, 2050, 16),
    (3, 8, 5000),
]
FEW = st.integers(1, 40)


def numbers(stream: int, *shape: int) -> Array:
    found = normal(Key(0, CHECK, layer=stream), int(np.prod(shape))).reshape(shape)
    return found.astype(np.float32)


def scratch(inputs: int, units: int, dtype: type[np.generic] = np.float32) -> Array:
    """Just as much as is asked for, and full of what would show."""
    return np.full(room(inputs, units), np.nan, dtype)


def product(x: Array, w: Array) -> Array:
    y = np.full((len(x), len(w)), np.nan, x.dtype)
    outputs(x, w, y, scratch(*w.shape[::-1], x.dtype.type))
    return y


def towards_inputs(dy: Array, w: Array) -> Array:
    dx = np.full((len(dy), w.shape[1]), np.nan, dy.dtype)
    input_gradients(dy, w, dx, scratch(*w.shape[::-1], dy.dtype.type))
    return dx


def towards_weights(dy: Array, x: Array) -> Array:
    dw = np.full((dy.shape[1], x.shape[1]), np.nan, dy.dtype)
    weight_gradients(dy, x, dw, scratch(*dw.shape[::-1], dy.dtype.type), False)
    return dw


@pytest.mark.parametrize(("rows", "inputs", "units"), SIZES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-13)])
def test_products_are_those_of_the_matrices(
    rows: int, inputs: int, units: int, dtype: type[np.generic], tolerance: float
) -> None:
    x, w, dy = numbers(1, rows, inputs), numbers(2, units, inputs), numbers(3, rows, units)
    wide_x, wide_w, wide_dy = (array.astype(np.float64) for array in (x, w, dy))
    x, w, dy = (array.astype(dtype) for array in (x, w, dy))
    for found, expected in (
        (product(x, w), wide_x @ wide_w.T),
        (towards_inputs(dy, w), wide_dy @ wide_w),
        (towards_weights(dy, x), wide_dy.T @ wide_x),
    ):
        scale = max(1.0, float(np.abs(expected).max()))
        assert np.abs(found - expected).max() < tolerance * scale


@given(rows=FEW, first=st.integers(0, 39), inputs=FEW, units=FEW)
@settings(derandomize=True, max_examples=60, deadline=None)
def test_a_row_has_the_same_bits_alone_and_among_others(
    rows: int, first: int, inputs: int, units: int
) -> None:
    first %= rows
    x, w, dy = numbers(1, rows, inputs), numbers(2, units, inputs), numbers(3, rows, units)
    assert product(x[first:], w).tobytes() == product(x, w)[first:].tobytes()
    assert towards_inputs(dy[first:], w).tobytes() == towards_inputs(dy, w)[first:].tobytes()


@given(rows=FEW, inputs=FEW, units=FEW, more=st.integers(0, 30))
@settings(derandomize=True, max_examples=60, deadline=None)
def test_a_number_has_the_same_bits_whatever_units_and_inputs_stand_beside_it(
    rows: int, inputs: int, units: int, more: int
) -> None:
    x, w = numbers(1, rows, inputs), numbers(2, units + more, inputs)
    dy, wide = numbers(3, rows, units), numbers(4, rows, inputs + more)
    assert product(x, w[:units]).tobytes() == product(x, w)[:, :units].tobytes()
    found = towards_weights(dy, wide)[:, :inputs]
    assert towards_weights(dy, wide[:, :inputs].copy()).tobytes() == found.tobytes()


@pytest.mark.parametrize("rows", [1, 5, 64, ROWS])
def test_a_gradient_that_is_added_has_the_bits_of_one_added_afterwards(rows: int) -> None:
    x, dy, total = numbers(1, rows, 37), numbers(2, rows, 21), numbers(3, 21, 37)
    expected = total + towards_weights(dy, x)
    weight_gradients(dy, x, total, scratch(37, 21), True)
    assert total.tobytes() == expected.tobytes()


def test_more_rows_are_summed_in_lots_one_after_the_other() -> None:
    x, dy = numbers(1, 2 * ROWS + 5, 20), numbers(2, 2 * ROWS + 5, 9)
    total = towards_weights(dy[:ROWS], x[:ROWS])
    for first in (ROWS, 2 * ROWS):
        total += towards_weights(dy[first : first + ROWS], x[first : first + ROWS])
    assert towards_weights(dy, x).tobytes() == total.tobytes()


@pytest.mark.parametrize("place", range(8))
def test_what_is_not_finite_stays_in_its_row(place: int) -> None:
    x, w = numbers(1, 8, 20), numbers(2, 18, 20)
    x[place, 3] = np.inf
    w[:, 3] = 0
    y = product(x, w)
    assert np.isnan(y[place]).all()
    assert np.isfinite(np.delete(y, place, axis=0)).all()


@pytest.mark.parametrize(("rows", "inputs", "units"), SIZES)
def test_nothing_is_written_but_the_result_and_scratch_memory(
    rows: int, inputs: int, units: int
) -> None:
    x, w, dy = numbers(1, rows, inputs), numbers(2, units, inputs), numbers(3, rows, units)
    size, mark, edge = room(inputs, units), np.float32(7), 64
    for compute, result in (
        (lambda out, work: outputs(x, w, out, work), (rows, units)),
        (lambda out, work: input_gradients(dy, w, out, work), (rows, inputs)),
        (lambda out, work: weight_gradients(dy, x, out, work, False), (units, inputs)),
    ):
        memory = np.full(size + 2 * edge, mark)
        around = np.full(result[0] * result[1] + 2 * edge, mark)
        compute(around[edge:-edge].reshape(result), memory[edge:-edge])
        for array in (memory, around):
            assert (array[:edge] == mark).all()
            assert (array[-edge:] == mark).all()
