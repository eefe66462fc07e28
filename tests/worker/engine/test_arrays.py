import numpy as np
import pytest

from gradloom.worker.engine.arrays import UNKNOWN, fits, side_by_side, size, text


@pytest.mark.parametrize(
    ("shape", "expected"), [((), 1), ((3, 4), 12), ((3, 0), 0), ((3, UNKNOWN), UNKNOWN)]
)
def test_a_shape_has_a_size(shape: tuple[int, ...], expected: int) -> None:
    assert size(shape) == expected


def test_an_unknown_axis_fits_every_length() -> None:
    assert fits((UNKNOWN, 4), (3, 4))


def test_a_known_axis_fits_only_its_own_length() -> None:
    assert not fits((2, 4), (3, 4))


def test_shapes_with_other_numbers_of_axes_do_not_fit() -> None:
    assert not fits((3,), (3, 1))


def test_a_shape_reads_as_people_write_it() -> None:
    assert text((28, UNKNOWN)) == "(28, ?)"


@pytest.mark.parametrize("length", [1, 1000, 1024, 5000])
def test_vectors_side_by_side_share_nothing_and_begin_apart(length: int) -> None:
    vectors = side_by_side(7, length, np.float32)
    for number, vector in enumerate(vectors):
        assert vector.shape == (length,)
        assert not vector.any()
        vector[...] = number
    assert [set(vector) for vector in vectors] == [{number} for number in range(7)]
    assert len({vector.ctypes.data % 4096 for vector in vectors}) == 7
