import math

from gradloom.worker.engine.metrics import summarize
from gradloom.worker.engine.spec import BinaryCrossEntropy, MeanSquaredError, SoftmaxCrossEntropy


def test_classification_is_told_as_loss_and_accuracy() -> None:
    expected = {"loss": 0.5, "accuracy": 0.75}
    assert summarize(SoftmaxCrossEntropy(), (4.0, 2.0, 3.0)) == expected
    assert summarize(BinaryCrossEntropy(), (4.0, 2.0, 3.0)) == expected


def test_regression_is_told_as_loss_and_errors() -> None:
    assert summarize(MeanSquaredError(), (4.0, 9.0, 6.0)) == {"loss": 2.25, "rmse": 1.5, "mae": 1.5}


def test_no_rows_have_no_mean() -> None:
    summary = summarize(SoftmaxCrossEntropy(), (0.0, 0.0, 0.0))
    assert all(math.isnan(value) for value in summary.values())
