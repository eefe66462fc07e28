import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.optimizers import clip_scale, global_norm, init, slots, update
from gradloom.worker.engine.random import Key, normal
from gradloom.worker.engine.spec import OPTIMIZERS, Adam, AdamW, Sgd, UpdateRule

RULES: tuple[UpdateRule, ...] = (
    Sgd(0.1),
    Sgd(0.1, weight_decay=0.01),
    Sgd(0.1, momentum=0.9),
    Sgd(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    Adam(0.01),
    Adam(0.01, beta1=0.0, beta2=0.9, epsilon=1e-3, weight_decay=0.1),
    AdamW(0.01),
    AdamW(0.01, weight_decay=0.3),
)
STEPS, SIZE = 5, 20_000


def numbers(stream: int, size: int = SIZE) -> Array:
    return normal(Key(0, 0, layer=stream), size).astype(np.float32)


def trained(rule: UpdateRule, parts: tuple[slice, ...] = (slice(None),)) -> list[Array]:
    """Parameters and slots after some steps, updated part by part."""
    state = [numbers(0), *init(rule, numbers(0))]
    for step in range(1, STEPS + 1):
        new = [np.empty_like(vector) for vector in state]
        for part in parts:
            old_part, new_part = ([vector[part] for vector in vectors] for vectors in (state, new))
            update(
                rule,
                numbers(step)[part],
                old_part[0],
                old_part[1:],
                new_part[0],
                new_part[1:],
                learning_rate=rule.learning_rate / step,
                step=step,
            )
        state = new
    return state


def sgd(rule: Sgd) -> Array:
    """torch.optim.SGD as its documentation writes it, in float64."""
    p, b = numbers(0).astype(float), None
    for step in range(1, STEPS + 1):
        g = numbers(step) + rule.weight_decay * p
        if rule.momentum:
            b = g if b is None else rule.momentum * b + g
            g = g + rule.momentum * b if rule.nesterov else b
        p = p - rule.learning_rate / step * g
    return p


def adam(rule: Adam | AdamW) -> Array:
    """torch.optim.Adam and AdamW as their documentation writes them, in float64."""
    p, decoupled = numbers(0).astype(float), isinstance(rule, AdamW)
    m, v = np.zeros(SIZE), np.zeros(SIZE)
    for step in range(1, STEPS + 1):
        rate, g = rule.learning_rate / step, numbers(step).astype(float)
        if decoupled:
            p = p - rate * rule.weight_decay * p
        else:
            g = g + rule.weight_decay * p
        m = rule.beta1 * m + (1 - rule.beta1) * g
        v = rule.beta2 * v + (1 - rule.beta2) * g * g
        m_hat, v_hat = m / (1 - rule.beta1**step), v / (1 - rule.beta2**step)
        p = p - rate * m_hat / (np.sqrt(v_hat) + rule.epsilon)
    return p


def test_every_optimizer_is_checked() -> None:
    assert {type(rule) for rule in RULES} == set(OPTIMIZERS.values())


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_steps_follow_the_published_rule(rule: UpdateRule) -> None:
    expected = sgd(rule) if isinstance(rule, Sgd) else adam(rule)
    np.testing.assert_allclose(trained(rule)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", RULES, ids=str)
@given(cut=st.integers(0, SIZE), other=st.integers(0, SIZE))
@settings(derandomize=True, max_examples=5, deadline=None)
def test_slices_updated_apart_come_to_the_same_bits(rule: UpdateRule, cut: int, other: int) -> None:
    low, high = sorted((cut, other))
    parts = (slice(low), slice(low, high), slice(high, SIZE))
    for whole, sliced in zip(trained(rule), trained(rule, parts), strict=True):
        assert whole.tobytes() == sliced.tobytes()


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_an_update_leaves_the_old_state_and_the_gradient_whole(rule: UpdateRule) -> None:
    old = [numbers(1), numbers(0), *init(rule, numbers(0))]
    before = [vector.copy() for vector in old]
    new = [np.empty_like(vector) for vector in old[1:]]
    update(rule, old[0], old[1], old[2:], new[0], new[1:], learning_rate=0.1, step=1)
    for vector, copy in zip(old, before, strict=True):
        np.testing.assert_array_equal(vector, copy)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_an_update_in_place_is_the_same_update(rule: UpdateRule) -> None:
    parameters, state = numbers(0), init(rule, numbers(0))
    for step in range(1, STEPS + 1):
        rate = rule.learning_rate / step
        arrays = (numbers(step), parameters, state, parameters, state)
        update(rule, *arrays, learning_rate=rate, step=step)
    assert parameters.tobytes() == trained(rule)[0].tobytes()


def test_slots_begin_at_zero_and_have_names() -> None:
    assert slots(Sgd(0.1)) == ()
    assert slots(Sgd(0.1, momentum=0.9)) == ("momentum",)
    assert slots(Adam(0.1)) == slots(AdamW(0.1)) == ("first_moment", "second_moment")
    assert not any(slot.any() for slot in init(Adam(0.1), numbers(0)))


@pytest.mark.parametrize("size", [0, 1, 8192, 20_000])
def test_the_norm_is_euclidean(size: int) -> None:
    gradient = numbers(1, size)
    assert global_norm(gradient) == pytest.approx(np.linalg.norm(gradient.astype(float)))


def test_the_norm_of_huge_numbers_does_not_overflow() -> None:
    assert global_norm(np.full(4, 1e38, np.float32)) == pytest.approx(2e38)


def test_a_long_gradient_is_scaled_to_the_norm() -> None:
    assert clip_scale(5.0, 2.0) == 0.4


@pytest.mark.parametrize(("norm", "clip"), [(1.0, 2.0), (2.0, 2.0), (0.0, 2.0), (1e9, None)])
def test_a_short_gradient_stays(norm: float, clip: float | None) -> None:
    assert clip_scale(norm, clip) == 1.0


def test_a_gradient_that_is_not_a_number_is_not_hidden_by_clipping() -> None:
    assert clip_scale(math.nan, 1.0) == 1.0
