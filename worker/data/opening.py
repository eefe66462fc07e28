"""Reads the datasets of a job whole: the rows to train on, and those of the test."""

from dataclasses import replace

from gradloom.worker.data.comparison import comparison_faults
from gradloom.worker.data.dataset import TEST, Dataset, open_dataset
from gradloom.worker.data.errors import DataError
from gradloom.worker.data.prepared import Classes, Request
from gradloom.worker.data.spec import DataSource
from gradloom.worker.engine.spec import Fault


def read_dataset(
    request: Request, source: DataSource, within: str, faults: list[Fault]
) -> Dataset | None:
    """The dataset, or None and more faults."""
    try:
        return open_dataset(
            request.spec, source, request.roots, request.answers, within, joined=request.joined
        )
    except DataError as error:
        faults += error.faults
        return None


def read_test(
    request: Request, data: Dataset | None, classes: Classes, faults: list[Fault]
) -> Dataset | None:
    """The test rows: the same arrays as the training rows, from another source."""
    spec = request.spec
    if spec.test is None:
        return None
    same = replace(request, spec=replace(spec, inputs=data.names)) if data else request
    test = read_dataset(same, spec.test, TEST, faults)
    if data and test:
        faults += comparison_faults(data, test, request.answers, classes, spec)
    return test
