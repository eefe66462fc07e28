import math
from statistics import NormalDist

import numpy as np
import pytest

from gradloom.worker.engine.normal import inverse_normal, logarithm


@pytest.mark.parametrize(
    "probability", [2.0**-53, 1e-12, 0.001, 0.0749, 0.0751, 0.3, 0.5, 0.9, 1 - 2.0**-53]
)
def test_the_quantile_is_that_of_the_normal_distribution(probability: float) -> None:
    (quantile,) = inverse_normal(np.array([probability]))
    assert quantile == pytest.approx(NormalDist().inv_cdf(probability), rel=1e-14, abs=1e-15)


def test_quantiles_of_mirrored_probabilities_are_mirrored() -> None:
    probability = np.array([0.125, 0.25, 0.4375])
    np.testing.assert_array_equal(inverse_normal(probability), -inverse_normal(1 - probability))


@pytest.mark.parametrize("x", [2.0**-1022, 1e-16, 0.5, 0.7071, 0.7072, 1.0, math.pi, 1e300])
def test_the_logarithm_is_the_logarithm(x: float) -> None:
    (result,) = logarithm(np.array([x]))
    assert result == pytest.approx(math.log(x), rel=1e-15, abs=1e-16)
