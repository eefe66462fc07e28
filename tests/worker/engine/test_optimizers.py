import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels import optimizers as kernels
from gradloom.worker.engine.kernels.optimizers import FAST_UPDATES
from gradloom.worker.engine.optimizers import (
    Segment,
    Updates,
    clip_elements,
    clip_scale,
    global_norm,
    init,
    segments,
    slots,
    update,
)
from gradloom.worker.engine.random import Key, normal
from gradloom.worker.engine.spec import (
    OPTIMIZERS,
    Adagrad,
    Adam,
    AdamW,
    Lamb,
    Lion,
    Optimizer,
    RmsProp,
    Sgd,
    UpdateRule,
)

RULES: tuple[UpdateRule, ...] = (
    Sgd(0.1),
    Sgd(0.1, weight_decay=0.01),
    Sgd(0.1, momentum=0.9),
    Sgd(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    Adam(0.01),
    Adam(0.01, beta1=0.0, beta2=0.9, epsilon=1e-3, weight_decay=0.1),
    AdamW(0.01),
    AdamW(0.01, weight_decay=0.3),
    Adagrad(0.1),
    Adagrad(0.1, epsilon=1e-3, weight_decay=0.1),
    RmsProp(0.01),
    RmsProp(0.01, decay=0.9, epsilon=1e-3, weight_decay=0.1, momentum=0.5),
    RmsProp(0.01, centered=True),
    RmsProp(0.01, momentum=0.5, centered=True),
    Lion(0.01),
    Lion(0.01, beta1=0.5, beta2=0.9, weight_decay=0.3),
    Lamb(0.01),
    Lamb(0.01, beta1=0.0, beta2=0.9, epsilon=1e-3, weight_decay=0.0),
)
ELEMENTWISE = tuple(rule for rule in RULES if not isinstance(rule, Lamb))
STEPS, SIZE = 5, 20_000

NUMPY: Updates = {}
BOTH = pytest.mark.parametrize("updates", [NUMPY, FAST_UPDATES], ids=["numpy", "kernels"])


def numbers(stream: int, size: int = SIZE) -> Array:
    return normal(Key(0, 0, layer=stream), size).astype(np.float32)


def trained(
    rule: UpdateRule, parts: tuple[slice, ...] = (slice(None),), updates: Updates = NUMPY
) -> list[Array]:
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
                updates=updates,
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


def adagrad(rule: Adagrad) -> Array:
    """torch.optim.Adagrad as its documentation writes it, in float64."""
    p, s = numbers(0).astype(float), np.zeros(SIZE)
    for step in range(1, STEPS + 1):
        g = numbers(step) + rule.weight_decay * p
        s = s + g * g
        p = p - rule.learning_rate / step * g / (np.sqrt(s) + rule.epsilon)
    return p


def rmsprop(rule: RmsProp) -> Array:
    """torch.optim.RMSprop as its documentation writes it, in float64."""
    p = numbers(0).astype(float)
    v, mean, b = np.zeros(SIZE), np.zeros(SIZE), np.zeros(SIZE)
    for step in range(1, STEPS + 1):
        g = numbers(step) + rule.weight_decay * p
        v = rule.decay * v + (1 - rule.decay) * g * g
        mean = rule.decay * mean + (1 - rule.decay) * g
        spread = v - mean**2 if rule.centered else v
        b = rule.momentum * b + g / (np.sqrt(spread) + rule.epsilon)
        p = p - rule.learning_rate / step * b
    return p


def lion(rule: Lion) -> Array:
    """Algorithm 2 of Chen et al. (2023), in float64."""
    p, m = numbers(0).astype(float), np.zeros(SIZE)
    for step in range(1, STEPS + 1):
        g = numbers(step).astype(float)
        c = rule.beta1 * m + (1 - rule.beta1) * g
        p = p - rule.learning_rate / step * (np.sign(c) + rule.weight_decay * p)
        m = rule.beta2 * m + (1 - rule.beta2) * g
    return p


def lamb(rule: Lamb, parts: tuple[slice, ...] = (slice(None),)) -> Array:
    """Algorithm 2 of You et al. (2020) with φ(z) = z, part by part, in float64."""
    p, m, v = numbers(0).astype(float), np.zeros(SIZE), np.zeros(SIZE)
    for step in range(1, STEPS + 1):
        g = numbers(step).astype(float)
        m = rule.beta1 * m + (1 - rule.beta1) * g
        v = rule.beta2 * v + (1 - rule.beta2) * g * g
        m_hat, v_hat = m / (1 - rule.beta1**step), v / (1 - rule.beta2**step)
        u = m_hat / (np.sqrt(v_hat) + rule.epsilon) + rule.weight_decay * p
        for part in parts:
            ratio = np.linalg.norm(p[part]) / np.linalg.norm(u[part])
            p[part] -= rule.learning_rate / step * ratio * u[part]
    return p


REFERENCES: dict[type[UpdateRule], Callable[..., Array]] = {
    Sgd: sgd,
    Adam: adam,
    AdamW: adam,
    Adagrad: adagrad,
    RmsProp: rmsprop,
    Lion: lion,
    Lamb: lamb,
}


def test_every_optimizer_is_checked() -> None:
    assert {type(rule) for rule in RULES} == set(OPTIMIZERS.values())


@BOTH
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_steps_follow_the_published_rule(rule: UpdateRule, updates: Updates) -> None:
    expected = REFERENCES[type(rule)](rule)
    found = trained(rule, updates=updates)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_kernels_come_to_the_slots_of_their_twins(rule: UpdateRule) -> None:
    pairs = zip(trained(rule), trained(rule, updates=FAST_UPDATES), strict=True)
    for twin, found in pairs:
        np.testing.assert_allclose(found, twin, rtol=1e-5, atol=1e-6)


def one_step(rule: UpdateRule, part: slice) -> list[Array]:
    """Parameters and slots of a part after a step of the kernels, from slots that are not 0."""
    slots = tuple(numbers(3 + i, 400)[part] ** 2 for i in range(len(init(rule, numbers(0, 1)))))
    old = (numbers(1, 400)[part], numbers(0, 400)[part], slots)
    new = [np.empty_like(old[1]) for _ in range(1 + len(slots))]
    rates = {"learning_rate": 0.1, "gradient_scale": 0.37}
    update(rule, *old, new[0], new[1:], **rates, step=3, updates=FAST_UPDATES)
    return new


@pytest.mark.parametrize("rule", ELEMENTWISE, ids=str)
def test_kernels_give_an_element_the_same_bits_wherever_it_stands(rule: UpdateRule) -> None:
    whole = one_step(rule, slice(None))
    for length in range(1, 131):
        for offset in range(9):
            part = slice(offset, offset + length)
            for vector, expected in zip(one_step(rule, part), whole, strict=True):
                assert vector.tobytes() == expected[part].tobytes(), (length, offset)


def test_averages_give_an_element_the_same_bits_wherever_it_stands() -> None:
    parameters, old = numbers(0, 400), numbers(1, 400)

    def averaged(part: slice) -> Array:
        new = np.empty_like(old[part])
        kernels.average(0.9, 100, parameters[part], old[part], new)
        return new

    whole = averaged(slice(None))
    np.testing.assert_allclose(whole, 0.9 * old + 0.1 * parameters, rtol=1e-5, atol=1e-6)
    for length in range(1, 131):
        for offset in range(9):
            part = slice(offset, offset + length)
            assert averaged(part).tobytes() == whole[part].tobytes()


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_kernels_in_place_come_close_to_the_same_update(rule: UpdateRule) -> None:
    parameters, state = numbers(0), init(rule, numbers(0))
    for step in range(1, STEPS + 1):
        arrays = (numbers(step), parameters, state, parameters, state)
        rates = {"learning_rate": rule.learning_rate / step, "step": step}
        update(rule, *arrays, **rates, updates=FAST_UPDATES)
    np.testing.assert_allclose(parameters, trained(rule)[0], rtol=1e-5, atol=1e-6)


@BOTH
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_gradient_may_be_scaled_on_the_way(rule: UpdateRule, updates: Updates) -> None:
    old = (numbers(0), init(rule, numbers(0)))
    halved, scaled = ([np.empty_like(v) for v in (old[0], *old[1])] for _ in range(2))
    half = np.float32(0.5)
    steps = {"learning_rate": 0.1, "step": 1, "updates": updates}
    update(rule, numbers(1) * half, *old, halved[0], halved[1:], **steps)
    update(rule, numbers(1), *old, scaled[0], scaled[1:], gradient_scale=0.5, **steps)
    for expected, found in zip(halved, scaled, strict=True):
        assert found.tobytes() == expected.tobytes()


@BOTH
def test_lamb_scales_each_parameter_to_its_own_norm(updates: Updates) -> None:
    rule, parts = Lamb(0.01), (slice(0, 3), slice(3, 12_000), slice(12_000, SIZE))
    pieces = tuple(map(Segment, parts))
    parameters, state = numbers(0), init(rule, numbers(0))
    for step in range(1, STEPS + 1):
        new = (np.empty_like(parameters), tuple(map(np.empty_like, state)))
        steps = {"learning_rate": 0.01 / step, "step": step, "segments": pieces}
        update(rule, numbers(step), parameters, state, *new, **steps, updates=updates)
        parameters, state = new
    np.testing.assert_allclose(parameters, lamb(rule, parts), rtol=1e-5, atol=1e-6)


def test_a_parameter_of_zeros_takes_lambs_step_unscaled() -> None:
    parameters = np.zeros(4, np.float32)
    state = init(Lamb(0.1), parameters)
    arrays = (np.ones(4, np.float32), parameters, state, parameters, state)
    update(Lamb(0.1), *arrays, learning_rate=0.1, step=1)
    np.testing.assert_allclose(parameters, np.full(4, -0.1), rtol=1e-5)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_segment_without_decay_is_updated_as_by_a_rule_without(rule: UpdateRule) -> None:
    old = [numbers(1), numbers(0), *init(rule, numbers(0))]
    without, none = ([np.empty_like(vector) for vector in old[1:]] for _ in range(2))
    pieces = (Segment(slice(None), decays=False),)
    arrays = (old[0], old[1], old[2:])
    update(rule, *arrays, without[0], without[1:], learning_rate=0.1, step=1, segments=pieces)
    bare = replace(rule, weight_decay=0.0)
    update(bare, *arrays, none[0], none[1:], learning_rate=0.1, step=1)
    assert without[0].tobytes() == none[0].tobytes()


PLACES = ((slice(0, 6), (2, 3)), (slice(6, 8), (2,)))


def test_biases_and_norms_are_left_out_of_weight_decay_where_asked() -> None:
    optimizer = Optimizer(AdamW(0.1), no_decay_on_bias_and_norm=True)
    assert segments(optimizer, PLACES) == (Segment(slice(0, 6)), Segment(slice(6, 8), False))


def test_the_vectors_are_cut_at_parameters_only_where_a_rule_has_to_know_them() -> None:
    assert segments(Optimizer(AdamW(0.1)), PLACES) == (Segment(slice(None)),)
    assert segments(Optimizer(Lamb(0.1)), PLACES) == (Segment(slice(0, 6)), Segment(slice(6, 8)))


@pytest.mark.parametrize("rule", ELEMENTWISE, ids=str)
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
    assert slots(Lamb(0.1)) == ("first_moment", "second_moment")
    assert (slots(Adagrad(0.1)), slots(Lion(0.1))) == (("sum_of_squares",), ("momentum",))
    assert slots(RmsProp(0.1)) == ("second_moment",)
    assert slots(RmsProp(0.1, momentum=0.9, centered=True)) == (
        "second_moment",
        "first_moment",
        "momentum",
    )
    assert not any(slot.any() for slot in init(Adam(0.1), numbers(0)))


NORMS = pytest.mark.parametrize("norm", [global_norm, kernels.global_norm], ids=["numpy", "kernel"])


@NORMS
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 8192, 20_000])
def test_the_norm_is_euclidean(size: int, norm: Callable[[Array], float]) -> None:
    gradient = numbers(1, size)
    assert norm(gradient) == pytest.approx(np.linalg.norm(gradient.astype(float)))


@NORMS
def test_the_norm_of_huge_numbers_does_not_overflow(norm: Callable[[Array], float]) -> None:
    assert norm(np.full(4, 1e38, np.float32)) == pytest.approx(2e38)


@NORMS
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_norm_is_not_finite_where_an_element_is_not(
    bad: float, norm: Callable[[Array], float]
) -> None:
    for place in range(12):
        gradient = numbers(1, 12)
        gradient[place] = bad
        assert not math.isfinite(norm(gradient))


def test_a_long_gradient_is_scaled_to_the_norm() -> None:
    assert clip_scale(5.0, 2.0) == 0.4


@pytest.mark.parametrize(("norm", "clip"), [(1.0, 2.0), (2.0, 2.0), (0.0, 2.0), (1e9, None)])
def test_a_short_gradient_stays(norm: float, clip: float | None) -> None:
    assert clip_scale(norm, clip) == 1.0


def test_a_gradient_that_is_not_a_number_is_not_hidden_by_clipping() -> None:
    assert clip_scale(math.nan, 1.0) == 1.0


def test_elements_are_cut_off_at_both_sides_and_what_is_no_number_stays() -> None:
    gradient = np.array([0.5, -3.0, 2.0, math.nan, math.inf], np.float32)
    clip_elements(gradient, 1.0)
    np.testing.assert_array_equal(gradient, [0.5, -1.0, 1.0, math.nan, 1.0])
