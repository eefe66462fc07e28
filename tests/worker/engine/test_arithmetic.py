import math

import pytest

from gradloom.worker.engine.arithmetic import cosine, power, root_power


@pytest.mark.parametrize("half_turns", [0.0, 0.1, 0.25, 1 / 3, 0.5, 0.77, 1.0])
def test_the_cosine_is_the_cosine(half_turns: float) -> None:
    assert cosine(half_turns) == pytest.approx(math.cos(math.pi * half_turns), abs=1e-15)


def test_the_cosine_ends_exactly_at_one_and_minus_one() -> None:
    assert (cosine(0.0), cosine(1.0)) == (1.0, -1.0)


@pytest.mark.parametrize(("base", "exponent"), [(0.9, 0), (0.999, 1), (0.999, 12345), (2.0, 10)])
def test_a_power_is_the_power(base: float, exponent: int) -> None:
    assert power(base, exponent) == pytest.approx(base**exponent, rel=1e-12)


@pytest.mark.parametrize("base", [0.9, 0.1, 1e-6, 1.0])
@pytest.mark.parametrize("share", [0.0, 0.5, 1 / 3, 1e-9, 1 - 1e-9])
def test_a_root_power_is_the_power(base: float, share: float) -> None:
    assert root_power(base, share) == pytest.approx(base**share, rel=1e-14)
