import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.engine.arrays import Array, Shape
from gradloom.worker.engine.gradient_check import check_gradients
from gradloom.worker.engine.graph import Graph, ModelError, build_graph
from gradloom.worker.engine.losses import RULES
from gradloom.worker.engine.metrics import (
    SCORE_BINS,
    STATISTICS,
    Statistics,
    measures_of,
    summarize,
)
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import Key, normal, words
from gradloom.worker.engine.spec import (
    LOSSES,
    BinaryCrossEntropy,
    Dense,
    Dropout,
    Huber,
    KlDivergence,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Model,
    SoftmaxCrossEntropy,
    Target,
)

BY_NUMBER = (MeanSquaredError, BinaryCrossEntropy, MeanAbsoluteError, Huber)


def through(loss: Loss, target: Target, shape: Shape) -> Graph:
    """A model that puts out what comes in, so that the loss stands alone."""
    return build_graph(Model((Dropout(0.0),)), loss, shape, target)


def measured(loss: Loss, outputs: Array, answers: Array) -> Statistics:
    classes = outputs.shape[1]
    labels = Target("labels", classes=classes)
    wanted = labels if answers.dtype == np.int64 else Target("numbers", shape=answers.shape[1:])
    plan = Plan(through(loss, wanted, outputs.shape[1:]), len(outputs))
    plan.inputs(len(outputs))[...] = outputs
    plan.target(len(outputs))[...] = answers
    return plan.evaluate(len(outputs))


def sized(loss: Loss, size: int) -> Graph:
    """A model of so many classes, or of twice as many numbers."""
    if isinstance(loss, SoftmaxCrossEntropy):
        weights = (*loss.class_weights, *(0.5,) * size)[:size] if loss.class_weights else ()
        labels = Target("labels", classes=size)
        return through(replace(loss, class_weights=weights), labels, (size,))
    return through(loss, Target("numbers", shape=(size, 2)), (size, 2))


CHECKED = (
    SoftmaxCrossEntropy(),
    SoftmaxCrossEntropy(label_smoothing=0.1),
    SoftmaxCrossEntropy(ignore_index=1),
    SoftmaxCrossEntropy(class_weights=(2.0, 0.0, 1.0)),
    SoftmaxCrossEntropy(0.3, 0, (0.5, 3.0)),
    MeanSquaredError(),
    BinaryCrossEntropy(),
    MeanAbsoluteError(),
    Huber(),
    Huber(0.3),
    KlDivergence(),
)


def test_every_loss_has_rules_statistics_and_a_check() -> None:
    assert set(LOSSES.values()) == RULES.keys() == STATISTICS.keys() == set(map(type, CHECKED))


@pytest.mark.parametrize("loss", CHECKED, ids=str)
@given(size=st.integers(1, 7), rows=st.integers(1, 5), seed=st.integers(0, 2**64 - 1))
@settings(derandomize=True, max_examples=15, deadline=None)
def test_the_vjp_is_the_gradient(loss: Loss, size: int, rows: int, seed: int) -> None:
    (error,) = check_gradients(sized(loss, size), rows=rows, seed=seed)
    assert error.relative_error < 1e-6


@pytest.mark.parametrize("loss", CHECKED, ids=str)
def test_the_statistics_are_those_the_graph_names(loss: Loss) -> None:
    for size in (1, 3, 7):
        plan = Plan(sized(loss, size), 2)
        assert len(plan.value_and_grad(2, Key(0, 0))) == len(plan.graph.statistics)
        for rows in (0, 2):
            count = len(plan.graph.statistics) + measures_of(loss, plan.graph.target)
            assert len(plan.evaluate(rows)) == count


def peak_bytes(graph: Graph, rows: int) -> int:
    plan = Plan(graph, rows, input_gradient=True)
    plan.value_and_grad(rows, Key(0, 0))
    tracemalloc.start()
    try:
        plan.value_and_grad(rows, Key(0, 0))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("loss", CHECKED, ids=str)
def test_a_step_allocates_nothing_that_grows_with_the_rows(loss: Loss) -> None:
    graph = sized(loss, 32)
    assert abs(peak_bytes(graph, 4000) - peak_bytes(graph, 1000)) < 1000


@pytest.mark.parametrize("loss", [loss for loss in CHECKED if type(loss) in BY_NUMBER])
def test_one_output_answers_a_target_without_axes(loss: Loss) -> None:
    graph = build_graph(Model((Dense(1),)), loss, (3,), Target("numbers"))
    assert max(error.relative_error for error in check_gradients(graph)) < 1e-6


def test_cross_entropy_is_minus_the_log_of_the_labels_probability() -> None:
    logits = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    divisor, loss, rows, correct = measured(SoftmaxCrossEntropy(), logits, np.array([1, 0]))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -math.log(probabilities[0, 1]) - math.log(probabilities[1, 0])
    assert (divisor, loss, rows, correct) == pytest.approx((2, expected, 2, 1), rel=1e-6)


LOGITS = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0], [0.3, 0.1, 0.2], [2.0, 1.0, -2.0]])
LABELS = np.array([1, 0, 2, 0])


def smoothed(smoothing: float, weights: Array, kept: Array) -> tuple[float, float]:
    """The summed loss and its divisor, in the words of torch.nn.CrossEntropyLoss."""
    logs = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
    rows = np.arange(len(LABELS))[kept]
    chosen = -(weights[LABELS] * logs[np.arange(len(LABELS)), LABELS])[rows].sum()
    spread = -(weights * logs)[rows].sum() / 3
    return (1 - smoothing) * chosen + smoothing * spread, weights[LABELS][rows].sum()


def test_smoothing_spreads_a_share_of_the_truth_over_all_classes() -> None:
    _, loss, *_ = measured(SoftmaxCrossEntropy(0.2), LOGITS, LABELS)
    assert loss == pytest.approx(smoothed(0.2, np.ones(3), np.full(4, True))[0], rel=1e-6)


def test_a_row_weighs_what_its_class_does() -> None:
    weights = (0.5, 2.0, 1.0)
    divisor, loss, rows, correct = measured(
        SoftmaxCrossEntropy(0.2, class_weights=weights), LOGITS, LABELS
    )
    expected, weight = smoothed(0.2, np.array(weights), np.full(4, True))
    assert (loss, divisor) == pytest.approx((expected, weight), rel=1e-6)
    assert (rows, correct) == (4, 2)


def test_rows_with_the_ignored_label_do_not_count() -> None:
    loss = SoftmaxCrossEntropy(0.2, ignore_index=0)
    divisor, total, rows, correct = measured(loss, LOGITS, LABELS)
    expected, weight = smoothed(0.2, np.ones(3), LABELS != 0)
    assert (total, divisor) == pytest.approx((expected, weight), rel=1e-6)
    assert (rows, correct) == (2, 1)


def test_the_gradient_of_an_ignored_row_is_zero() -> None:
    graph = through(SoftmaxCrossEntropy(0.2, ignore_index=0), Target("labels", classes=3), (3,))
    plan = Plan(graph, 4, input_gradient=True)
    plan.inputs(4)[...], plan.target(4)[...] = LOGITS, LABELS
    plan.value_and_grad(4, Key(0, 0))
    assert plan.input_gradient(4).any(axis=1).tolist() == [True, False, True, False]


def test_a_label_is_found_among_the_five_largest_and_loses_ties() -> None:
    logits = np.array([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]] * 3 + [[0.0] * 6])
    *_, correct, in_top = measured(SoftmaxCrossEntropy(), logits, np.array([0, 4, 5, 0]))
    assert (correct, in_top) == (2, 2)


def test_class_weights_are_one_for_each_class() -> None:
    with pytest.raises(ModelError) as caught:
        loss = SoftmaxCrossEntropy(class_weights=(1.0, 2.0))
        through(loss, Target("labels", classes=3), (3,))
    (fault,) = caught.value.faults
    assert fault.field == "loss.softmax_cross_entropy.class_weights"
    assert fault.description == "The data has 3 classes, class_weights 2: give one for each class."


def test_squared_error_is_a_mean_over_outputs_and_a_sum_over_rows() -> None:
    outputs, answers = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[0.0, 2.0], [3.0, 1.0]])
    assert measured(MeanSquaredError(), outputs, answers)[:4] == (2.0, 8.5, 8.5, 2.5)


def test_absolute_error_is_a_mean_over_outputs_and_a_sum_over_rows() -> None:
    outputs, answers = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[0.0, 2.0], [3.0, 1.0]])
    assert measured(MeanAbsoluteError(), outputs, answers)[:4] == (2.0, 2.5, 8.5, 2.5)


def test_huber_is_squared_near_the_target_and_absolute_far_from_it() -> None:
    outputs, answers = np.array([[1.0, -4.0], [3.0, 5.5]]), np.array([[0.0, 0.0], [3.0, 5.0]])
    near, far = 1 / 2 + 0.5**2 / 2, 2 * (4 - 1)
    assert measured(Huber(2.0), outputs, answers)[1] == (near + far) / 2


@pytest.mark.parametrize("loss", [MeanSquaredError(), MeanAbsoluteError(), Huber(0.1)], ids=str)
def test_each_outputs_targets_are_summed_with_their_squares_and_errors(loss: Loss) -> None:
    answers = np.array([[3.0, 1.0], [-1.0, 2.0]])
    measures = measured(loss, np.ones((2, 2)), answers)[4:]
    assert measures == (2.0, 3.0, 10.0, 5.0, 8.0, 1.0)


@pytest.mark.parametrize("outputs", [1, 3])
def test_r2_is_the_mean_share_of_the_variance_explained(outputs: int) -> None:
    random = np.random.Generator(np.random.Philox(5))
    answers = random.normal(2, 3, (300, outputs))
    guesses = answers + random.normal(size=answers.shape) * np.arange(1, outputs + 1)
    of_each = 1 - ((guesses - answers) ** 2).sum(axis=0) / (
        (answers - answers.mean(axis=0)) ** 2
    ).sum(axis=0)
    summary = summarize(MeanSquaredError(), measured(MeanSquaredError(), guesses, answers))
    assert summary["r2"] == pytest.approx(of_each.mean(), rel=1e-5)


def test_too_many_outputs_have_no_r2() -> None:
    many = np.ones((2, 65))
    summary = summarize(MeanSquaredError(), measured(MeanSquaredError(), many, many))
    assert summary == {"loss": 0.0, "rmse": 0.0, "mae": 0.0}


def test_divergence_compares_a_distribution_with_that_of_the_logits() -> None:
    shares = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6], [1.0, 0.0, 0.0]])
    logs = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
    safe = np.where(shares > 0, shares, 1)
    expected = (shares * (np.log(safe) - logs)).sum()
    assert measured(KlDivergence(), LOGITS, shares) == pytest.approx((4, expected), rel=1e-6)


def test_the_divergence_of_the_same_distribution_is_nothing() -> None:
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    assert measured(KlDivergence(), LOGITS, shares)[1] == pytest.approx(0, abs=1e-6)


def test_divergence_is_a_mean_over_the_positions_of_a_row() -> None:
    shares = np.full((2, 2, 3), 1 / 3)
    rows = LOGITS.reshape(2, 2, 3)
    whole = measured(KlDivergence(), rows, shares)
    flat = measured(KlDivergence(), LOGITS, shares.reshape(4, 3))
    assert whole == pytest.approx((2, flat[1] / 2), rel=1e-6)


def test_binary_cross_entropy_takes_logits() -> None:
    outputs, answers = np.array([[2.0], [-1.0]]), np.array([[1.0], [1.0]])
    expected = math.log1p(math.exp(-2)) + math.log1p(math.exp(1))
    rows, loss, correct, *_ = measured(BinaryCrossEntropy(), outputs, answers)
    assert (rows, loss, correct) == pytest.approx((2, expected, 1), rel=1e-6)


def roc_auc(logits: Array, positive: Array) -> float:
    """Over all pairs of a positive and a negative."""
    above = logits[positive][:, None] - logits[~positive]
    return float((above > 0).mean() + (above == 0).mean() / 2)


@pytest.mark.parametrize(("centre", "spread"), [(0.0, 3.0), (0.0, 0.05), (-5.0, 1.0), (0.0, 40.0)])
def test_the_area_under_the_roc_curve_is_that_of_all_pairs(centre: float, spread: float) -> None:
    random = np.random.Generator(np.random.Philox(4))
    positive = random.random(3000) < 0.3
    logits = centre + spread * (random.normal(size=3000) + positive)
    rows = logits[:, None].astype(np.float32)
    statistics = measured(BinaryCrossEntropy(), rows, positive[:, None].astype(np.float32))
    negatives, positives = np.split(np.array(statistics[3:]), [SCORE_BINS])
    bound = (negatives * positives).sum() / 2 / (negatives.sum() * positives.sum())
    found = summarize(BinaryCrossEntropy(), statistics)["roc_auc"]
    assert bound < 0.02
    assert abs(found - roc_auc(rows[:, 0], positive)) <= bound


def test_the_area_is_the_same_from_parts_as_from_the_whole() -> None:
    random = np.random.Generator(np.random.Philox(4))
    outputs, answers = random.normal(size=(64, 2)), random.integers(0, 2, (64, 2)).astype(float)
    whole = measured(BinaryCrossEntropy(), outputs, answers)[3:]
    parts = [measured(BinaryCrossEntropy(), outputs[i::2], answers[i::2])[3:] for i in (0, 1)]
    assert tuple(map(sum, zip(*parts, strict=True))) == whole


def test_of_one_side_alone_there_is_no_area_and_nan_is_counted() -> None:
    outputs = np.array([[np.nan], [np.inf], [-np.inf]])
    statistics = measured(BinaryCrossEntropy(), outputs, np.zeros((3, 1)))
    assert sum(statistics[3:]) == 3
    assert math.isnan(summarize(BinaryCrossEntropy(), statistics)["roc_auc"])


def test_huge_logits_do_not_overflow() -> None:
    _, loss, *_ = measured(SoftmaxCrossEntropy(), np.array([[1e30, -1e30]]), np.array([0]))
    assert loss == 0
    _, loss, *_ = measured(BinaryCrossEntropy(), np.array([[1e30]]), np.array([[0.0]]))
    assert loss == pytest.approx(1e30)


def test_the_gradient_of_cross_entropy_sums_to_nothing_in_every_row() -> None:
    plan = Plan(through(SoftmaxCrossEntropy(), Target("labels", 3), (3,)), 4, input_gradient=True)
    plan.inputs(4)[...] = np.arange(12).reshape(4, 3)
    plan.value_and_grad(4, Key(0, 0))
    np.testing.assert_allclose(plan.input_gradient(4).sum(axis=1), np.zeros(4), atol=1e-6)


def several(loss: Loss, rows: int, positions: Shape, seed: int) -> tuple[Plan, Plan]:
    """The same labels, as positions of rows and as rows of their own."""
    count = math.prod(positions)
    plans = (
        Plan(through(loss, Target("labels", 3, positions), (*positions, 3)), rows),
        Plan(through(loss, Target("labels", 3), (3,)), rows * count),
    )
    logits = normal(Key(seed, 0), rows * count * 3)
    labels = words(Key(seed, 1), rows * count) % np.uint64(3)
    for plan in plans:
        inputs, target = plan.inputs(plan.rows), plan.target(plan.rows)
        inputs[...], target[...] = logits.reshape(inputs.shape), labels.reshape(target.shape)
    return plans


@pytest.mark.parametrize(
    "loss", [loss for loss in CHECKED if isinstance(loss, SoftmaxCrossEntropy)], ids=str
)
@pytest.mark.parametrize("positions", [(1,), (4,), (2, 3)])
def test_labels_at_positions_count_as_rows_do(loss: SoftmaxCrossEntropy, positions: Shape) -> None:
    weights = (*loss.class_weights, 0.5)[:3] if loss.class_weights else ()
    together, apart = several(replace(loss, class_weights=weights), 5, positions, 3)
    assert together.evaluate(5) == apart.evaluate(apart.rows)


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), SoftmaxCrossEntropy(0.3, 0, (0.5, 3.0))])
def test_the_vjp_of_labels_at_positions_is_the_gradient(loss: Loss) -> None:
    for shape in ((4, 2), (8,)):
        graph = through(loss, Target("labels", 2, (4,)), shape)
        (error,) = check_gradients(graph, rows=3)
        assert error.relative_error < 1e-6
