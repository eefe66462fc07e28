import numpy as np
import pytest

from gradloom.worker.engine.graph import build_graph
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import DROPOUT, Key
from gradloom.worker.engine.spec import Dropout, Layer, MeanSquaredError, Model, Target

KEY, ROWS, WIDTH = Key(1, DROPOUT), 200, 300


def kept(*layers: Layer, key: Key = KEY) -> Plan:
    """A plan of ones through dropout, held to zeros: its input gradient tells the masks."""
    target = Target("numbers", shape=(WIDTH,))
    graph = build_graph(Model(layers), MeanSquaredError(), (WIDTH,), target)
    plan = Plan(graph, ROWS, input_gradient=True)
    plan.inputs(ROWS)[...] = 1
    plan.value_and_grad(ROWS, key)
    return plan


def masks(*layers: Layer, key: Key = KEY) -> np.ndarray:
    return kept(*layers, key=key).input_gradient(ROWS) != 0


def test_the_rate_is_dropped_and_the_rest_scaled_so_that_the_mean_stays() -> None:
    plan = kept(Dropout(0.25))
    # Twice the output times the mask over the width: the mask's scale squared.
    values, counts = np.unique(plan.input_gradient(ROWS), return_counts=True)
    np.testing.assert_allclose(values, [0, 2 / 0.75**2 / WIDTH], rtol=1e-6)
    assert counts[0] == pytest.approx(0.25 * ROWS * WIDTH, rel=0.03)


def test_nothing_is_dropped_outside_training() -> None:
    assert (kept(Dropout(0.9)).predict(ROWS) == 1).all()


def test_a_rate_of_zero_drops_nothing() -> None:
    assert masks(Dropout(0.0)).all()


@pytest.mark.parametrize("key", [Key(2, DROPOUT), Key(1, DROPOUT, 1), Key(1, DROPOUT, 0, 1)])
def test_seed_step_and_shard_have_masks_of_their_own(key: Key) -> None:
    first, other = masks(Dropout(0.5)), masks(Dropout(0.5), key=key)
    assert np.mean(first == other) == pytest.approx(0.5, abs=0.01)


def test_two_layers_have_masks_of_their_own() -> None:
    assert masks(Dropout(0.5), Dropout(0.5)).mean() == pytest.approx(0.25, abs=0.01)


def test_the_purpose_of_the_callers_key_does_not_matter() -> None:
    np.testing.assert_array_equal(masks(Dropout(0.5)), masks(Dropout(0.5), key=Key(1, 0)))
