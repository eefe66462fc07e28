from dataclasses import replace

import numpy as np
import pytest

from gradloom.worker.engine.random import (
    DROPOUT,
    ORDER,
    Key,
    fill_kept,
    normal,
    permutation,
    uniform,
    words,
)

KEY = Key(seed=7, purpose=DROPOUT, step=3, shard=2, layer=1)


def test_a_stream_is_a_function_of_its_key() -> None:
    np.testing.assert_array_equal(words(KEY, 100), words(replace(KEY), 100))


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    np.testing.assert_array_equal(words(KEY, 100)[:37], words(KEY, 37))


@pytest.mark.parametrize("part", ["seed", "purpose", "step", "shard", "layer"])
def test_every_part_of_the_key_gives_another_stream(part: str) -> None:
    other = replace(KEY, **{part: 2**64 - 1})
    assert not np.intersect1d(words(KEY, 1000), words(other, 1000)).size


def test_the_words_are_those_of_the_published_philox() -> None:
    # NumPy steps the counter before it draws.
    expected = philox((1, KEY.layer, KEY.shard, KEY.step), (KEY.seed, KEY.purpose))
    assert tuple(words(KEY, 4).tolist()) == expected


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Philox4x64 of ten rounds (Salmon et al., Parallel random numbers, 2011)."""
    word = 2**64 - 1
    (a, b, c, d), (left, right) = counter, key
    for _ in range(10):
        first, second = a * 0xD2E7470EE14C6C93, c * 0xCA5A826395121157
        a, b = (second >> 64) ^ b ^ left, second & word
        c, d = (first >> 64) ^ d ^ right, first & word
        left, right = (left + 0x9E3779B97F4A7C15) & word, (right + 0xBB67AE8584CAA73B) & word
    return a, b, c, d


def test_uniform_numbers_stay_between_zero_and_one_and_fill_the_space() -> None:
    numbers = uniform(KEY, 100_000)
    counts, _ = np.histogram(numbers, bins=10, range=(0, 1))
    assert numbers.min() > 0
    assert numbers.max() < 1
    assert np.abs(counts - 10_000).max() < 400


def test_normal_numbers_have_mean_zero_and_deviation_one() -> None:
    numbers = normal(KEY, 100_000)
    assert abs(numbers.mean()) < 0.02
    assert abs(numbers.std() - 1) < 0.02


@pytest.mark.parametrize("count", [0, 1, 2, 3, 64, 1000])
def test_a_permutation_holds_every_number_once(count: int) -> None:
    np.testing.assert_array_equal(np.sort(permutation(KEY, count)), np.arange(count))


def test_permutations_of_different_epochs_differ() -> None:
    first, second = (permutation(Key(7, ORDER, step=epoch), 1000) for epoch in (0, 1))
    assert np.count_nonzero(first == second) < 10


def test_a_permutation_leaves_no_trace_of_the_old_order() -> None:
    order = permutation(KEY, 100_000)
    assert abs(np.corrcoef(order, np.arange(order.size))[0, 1]) < 0.02


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.99])
def test_a_mask_drops_the_rate(rate: float, dtype: type) -> None:
    mask = np.empty((300, 333), dtype)
    fill_kept(KEY, rate, mask)
    assert set(np.unique(mask)) <= {0.0, 1.0}
    assert 1 - mask.mean() == pytest.approx(rate, abs=0.01)


def test_a_mask_does_not_depend_on_the_dtype_or_on_what_follows() -> None:
    small, large = np.empty(8193, np.float32), np.empty(20_000, np.float64)
    fill_kept(KEY, 0.3, small)
    fill_kept(KEY, 0.3, large)
    np.testing.assert_array_equal(small, large[:8193])
