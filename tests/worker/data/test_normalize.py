"""B065: every column is scaled by what the training rows say of it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gradloom.worker.data.dataset import Input
from gradloom.worker.data.normalize import BLOCK_ROWS, Scaling, apply, fit
from gradloom.worker.data.spec import Normalize

RANDOM = np.random.Generator(np.random.PCG64(1))
ROWS = 2 * BLOCK_ROWS + 100


def joined(*blocks: NDArray[np.generic]) -> Input:
    widths = tuple(block.shape[-1] for block in blocks)
    names = tuple(str(i) for i in range(len(blocks)))
    return Input(names, widths, blocks)


def scaled(x: NDArray[np.generic], scaling: Scaling) -> NDArray[np.float32]:
    out = np.empty(x.shape, np.float32)
    apply(x, scaling.offset, scaling.scale, np.empty(x.shape), out)
    return out


def test_standard_columns_have_mean_0_and_deviation_1() -> None:
    x = RANDOM.normal(5, 3, (ROWS, 4))
    out = scaled(x, fit(joined(x), np.arange(ROWS), Normalize.STANDARD)).astype(np.float64)
    assert np.allclose(out.mean(axis=0), 0, atol=1e-6)
    assert np.allclose(out.std(axis=0), 1, atol=1e-6)


def test_unit_columns_reach_from_0_to_1() -> None:
    x = RANDOM.integers(-50, 200, (ROWS, 4)).astype(np.int16)
    out = scaled(x, fit(joined(x), np.arange(ROWS), Normalize.UNIT))
    assert out.min(axis=0).tolist() == [0] * 4
    assert out.max(axis=0).tolist() == [1] * 4


def test_none_leaves_every_number_as_it_is() -> None:
    x = RANDOM.normal(0, 1, (10, 3)).astype(np.float32)
    assert np.array_equal(scaled(x, fit(joined(x), np.arange(10), Normalize.NONE)), x)


def test_only_the_training_rows_are_looked_at() -> None:
    x = np.array([[0.0], [10.0], [1_000.0]])
    scaling = fit(joined(x), np.array([0, 1]), Normalize.UNIT)
    assert scaled(x, scaling).tolist() == [[0], [1], [100]]


def test_a_large_offset_does_not_swallow_small_differences() -> None:
    x = 1.7e9 + np.arange(4.0)[:, None]
    out = scaled(x, fit(joined(x), np.arange(4), Normalize.STANDARD))
    assert np.allclose(out[:, 0], (np.arange(4) - 1.5) / np.sqrt(1.25))


@pytest.mark.parametrize("normalize", [Normalize.STANDARD, Normalize.UNIT])
@pytest.mark.parametrize("value", [0.0, 0.1, 7.0, 3e38])
def test_b065_a_constant_column_is_only_centred(normalize: Normalize, value: float) -> None:
    x = np.full((ROWS, 1), value)
    scaling = fit(joined(x), np.arange(ROWS), normalize)
    assert scaling.scale.tolist() == [1]
    assert scaling.constant.tolist() == [True]


def test_differences_too_small_to_square_are_not_divided_by_0() -> None:
    x = np.array([[0.0], [1e-200]])
    assert np.isfinite(scaled(x, fit(joined(x), np.arange(2), Normalize.STANDARD))).all()


def test_several_blocks_are_fitted_side_by_side() -> None:
    a, b = RANDOM.normal(0, 1, (50, 2, 3)), RANDOM.integers(0, 9, (50, 2, 1)).astype(np.uint8)
    whole = np.concatenate([a, b], axis=-1)
    apart = fit(joined(a, b), np.arange(50), Normalize.STANDARD)
    whole = fit(joined(whole), np.arange(50), Normalize.STANDARD)
    assert apart.offset.shape == (2, 4)
    assert np.array_equal(apart.offset, whole.offset)
    assert np.array_equal(apart.scale, whole.scale)


def test_d19_a_byte_divided_by_255_is_rounded_once() -> None:
    x = np.arange(256, dtype=np.uint8)[:, None]
    out = scaled(x, fit(joined(x), np.arange(256), Normalize.UNIT))
    assert out[:, 0].tolist() == [float(np.float32(i / 255)) for i in range(256)]
