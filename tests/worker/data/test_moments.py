"""Scalings from one pass are those of NumPy, whatever the pieces; the pieces alone decide bits."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.data.moments import Moments
from gradloom.worker.data.spec import Normalize
from gradloom.worker.engine.profile import PROFILE_DEFAULT, environment

ROWS = np.random.Generator(np.random.Philox(3)).normal(1e4, 3, size=(5_000, 4))


def moments(*cuts: int) -> Moments:
    found = Moments((4,))
    for piece in np.split(ROWS, cuts):
        found.add(piece)
    return found


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.lists(st.integers(1, 4_999), max_size=6).map(sorted))
def test_any_pieces_come_to_the_same_up_to_rounding(cuts: list[int]) -> None:
    scaling = moments(*cuts).scaling(Normalize.STANDARD)
    np.testing.assert_allclose(scaling.offset, ROWS.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaling.scale, ROWS.std(axis=0), rtol=1e-12)


def test_the_same_pieces_come_to_the_same_bits() -> None:
    one, other = (moments(17, 3_000).scaling(Normalize.STANDARD) for _ in range(2))
    assert one.offset.tobytes() == other.offset.tobytes()
    assert one.scale.tobytes() == other.scale.tobytes()


def test_unit_is_from_the_smallest_to_the_largest() -> None:
    scaling = moments(100).scaling(Normalize.UNIT)
    assert np.array_equal(scaling.offset, ROWS.min(axis=0))
    assert np.array_equal(scaling.scale, ROWS.max(axis=0) - ROWS.min(axis=0))


@pytest.mark.parametrize("normalize", [Normalize.STANDARD, Normalize.UNIT])
def test_a_constant_column_is_only_centred(normalize: Normalize) -> None:
    found = Moments((2,))
    found.add(np.column_stack([np.full(3_000, 0.1), np.arange(3_000)]))
    scaling = found.scaling(normalize)
    assert scaling.constant.tolist() == [True, False]
    assert scaling.scale[0] == 1


ALONE = """
import hashlib
import numpy as np
from gradloom.worker.data.moments import Moments
from gradloom.worker.data.spec import Normalize

for width in (1, 2, 3, 64, 1_001):
    found = Moments((width,))
    rows = np.random.Generator(np.random.Philox(3)).normal(1e4, 3, size=(3_000, width))
    found.add(rows[:1_700])
    found.add(rows[1_700:].astype(np.float32))
    scaling = found.scaling(Normalize.STANDARD)
    print(hashlib.sha256(scaling.offset.tobytes() + scaling.scale.tobytes()).hexdigest())
"""


def test_the_service_which_has_no_profile_comes_to_the_bits_of_a_worker() -> None:
    """NumPy's kernels for this CPU, for AVX2 and for none: adds, squares and quotients alone."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("NPY_")}
    environments = [
        plain,
        environment(PROFILE_DEFAULT, plain),
        {**plain, "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4"},
    ]
    printed = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", ALONE],
            env=each,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for each in environments
    }
    assert len(printed) == 1
