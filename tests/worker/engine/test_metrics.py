import math

import pytest

from gradloom.worker.engine.metrics import (
    SCORE_BINS,
    divisor,
    measures_of,
    statistics_of,
    summarize,
)
from gradloom.worker.engine.spec import (
    BinaryCrossEntropy,
    Huber,
    KlDivergence,
    MeanAbsoluteError,
    MeanSquaredError,
    SoftmaxCrossEntropy,
    Target,
)


def test_labels_are_told_as_loss_accuracy_and_perplexity() -> None:
    assert summarize(SoftmaxCrossEntropy(), (4.0, 2.0, 4.0, 3.0)) == {
        "loss": 0.5,
        "accuracy": 0.75,
        "perplexity": pytest.approx(math.exp(0.5)),
    }


def test_of_more_than_five_classes_the_five_best_are_told() -> None:
    summary = summarize(SoftmaxCrossEntropy(), (4.0, 2.0, 4.0, 2.0, 3.0))
    assert (summary["accuracy"], summary["top_5_accuracy"]) == (0.5, 0.75)


def test_the_loss_is_divided_by_weights_and_the_hits_by_rows() -> None:
    summary = summarize(SoftmaxCrossEntropy(), (8.0, 2.0, 4.0, 3.0))
    assert (summary["loss"], summary["accuracy"]) == (0.25, 0.75)


def test_the_perplexity_of_a_huge_loss_is_finite() -> None:
    assert math.isfinite(summarize(SoftmaxCrossEntropy(), (1.0, 1e6, 1.0, 0.0))["perplexity"])


def test_sides_are_told_as_loss_and_accuracy() -> None:
    assert summarize(BinaryCrossEntropy(), (4.0, 2.0, 3.0)) == {"loss": 0.5, "accuracy": 0.75}


def test_divergence_is_told_as_loss() -> None:
    assert summarize(KlDivergence(), (4.0, 2.0)) == {"loss": 0.5}


@pytest.mark.parametrize("loss", [MeanSquaredError(), MeanAbsoluteError(), Huber()])
def test_regression_is_told_as_loss_and_errors(
    loss: MeanSquaredError | MeanAbsoluteError | Huber,
) -> None:
    expected = {"loss": 0.5, "rmse": 1.5, "mae": 1.25}
    assert summarize(loss, (4.0, 2.0, 9.0, 5.0)) == expected


def test_of_one_number_the_share_of_the_variance_explained_is_told() -> None:
    # Targets 0, 0, 4 and 4: mean 2, variance 4; squared errors add up to 4.
    assert summarize(MeanSquaredError(), (4.0, 4.0, 4.0, 4.0, 8.0, 32.0, 4.0))["r2"] == 0.75


def test_equal_targets_leave_no_variance_to_explain() -> None:
    assert math.isnan(summarize(MeanSquaredError(), (2.0, 2.0, 2.0, 2.0, 6.0, 18.0, 2.0))["r2"])


def test_scores_are_told_as_the_share_of_pairs_in_the_right_order() -> None:
    negatives, positives = [0.0] * SCORE_BINS, [0.0] * SCORE_BINS
    negatives[3] = negatives[7] = positives[7] = positives[9] = 1.0
    summary = summarize(BinaryCrossEntropy(), (4.0, 2.0, 3.0, *negatives, *positives))
    assert summary == {"loss": 0.5, "accuracy": 0.75, "roc_auc": 0.875}


def test_a_target_decides_which_statistics_there_are() -> None:
    of = statistics_of
    assert of(SoftmaxCrossEntropy(), Target("labels", 5))[-1] == "correct"
    assert of(SoftmaxCrossEntropy(), Target("labels", 6))[-1] == "correct_in_top"
    for shape, sums in (((), 3), ((1,), 3), ((2, 4), 24), ((64,), 192), ((65,), 0)):
        assert measures_of(MeanSquaredError(), Target("numbers", shape=shape)) == sums


def test_no_rows_have_no_mean() -> None:
    summary = summarize(SoftmaxCrossEntropy(), (0.0, 0.0, 0.0, 0.0))
    assert all(math.isnan(value) for value in summary.values())


def test_where_no_row_counts_nothing_is_divided() -> None:
    assert (divisor((4.0, 2.0)), divisor((0.0, 0.0))) == (4.0, 1.0)
