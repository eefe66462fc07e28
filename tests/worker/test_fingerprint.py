"""The short word for a vector tells apart what differs in a bit."""

import numpy as np
import pytest

from gradloom.worker.fingerprint import fingerprint

SIZE = 100_000


def vector() -> np.ndarray:
    return np.random.Generator(np.random.Philox(1)).normal(size=SIZE).astype(np.float32)


def test_the_same_numbers_have_the_same_word() -> None:
    assert fingerprint(vector()) == fingerprint(vector().copy())


@pytest.mark.parametrize("element", [0, 16_383, 16_384, SIZE - 1])
@pytest.mark.parametrize("bit", [0, 17, 31])
def test_a_flipped_bit_shows(element: int, bit: int) -> None:
    flipped = vector()
    flipped.view(np.uint32)[element] ^= np.uint32(1 << bit)
    assert fingerprint(flipped) != fingerprint(vector())


def test_two_flips_at_the_same_place_of_two_pieces_show() -> None:
    flipped = vector()
    flipped.view(np.uint32)[[5, 5 + 16_384]] ^= np.uint32(1 << 31)
    assert fingerprint(flipped) != fingerprint(vector())


def test_all_numbers_with_the_other_sign_show() -> None:
    assert fingerprint(-vector()) != fingerprint(vector())


def test_pieces_that_changed_places_show() -> None:
    swapped = np.roll(vector()[: 2 * 16_384], 16_384)
    assert fingerprint(swapped) != fingerprint(vector()[: 2 * 16_384])


def test_zeros_of_either_sign_differ() -> None:
    zeros = np.zeros(8, np.float32)
    assert fingerprint(zeros) != fingerprint(-zeros)
