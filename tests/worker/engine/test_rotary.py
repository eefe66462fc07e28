import numpy as np
import pytest

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.random import Key, normal
from gradloom.worker.engine.rotary import turn, turns

DOUBLE = np.dtype(np.float64)


def heads(tokens: int = 5, width: int = 6) -> Array:
    return normal(Key(1, 0), 2 * tokens * 3 * width).reshape(2, tokens, 3, width)


def turned(array: Array, *, back: bool = False) -> Array:
    result, half = array.copy(), (*array.shape[:3], array.shape[3] // 2)
    turn(result, (np.empty(half), np.empty(half)), back=back)
    return result


def test_angles_are_those_of_the_formula() -> None:
    angles = np.arange(300)[:, None] * 10000.0 ** (-np.arange(8) / 8)
    cosines, sines = turns(300, 8, DOUBLE)
    assert np.abs(cosines - np.cos(angles)).max() < 1e-13
    assert np.abs(sines - np.sin(angles)).max() < 1e-13


def test_the_first_token_is_not_turned() -> None:
    assert turned(heads())[:, 0] == pytest.approx(heads()[:, 0], abs=1e-15)


def test_turning_back_undoes_it() -> None:
    assert turned(turned(heads()), back=True) == pytest.approx(heads())


def test_products_depend_on_the_distance_alone() -> None:
    query, key = (np.repeat(heads(1)[:, :, i : i + 1], 7, axis=1) for i in (0, 1))
    products = turned(query)[0, :, 0] @ turned(key)[0, :, 0].T
    assert products[3, 1] == pytest.approx(products[5, 3])
    assert products[3, 1] != pytest.approx(products[3, 2])
