"""From a data spec to rows ready to be read: opened, checked, split, scaled.

The service calls it to validate a job and a worker to train it, so both see the same data.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gradloom.worker.data.blocks import Column, taken, whole
from gradloom.worker.data.dataset import TRAINING, Dataset
from gradloom.worker.data.errors import ArrayError, DataError
from gradloom.worker.data.files import Roots
from gradloom.worker.data.indices import Indices, find_indices, joined
from gradloom.worker.data.normalize import Scaling, fit
from gradloom.worker.data.oddities import absence_warnings, constant_warnings
from gradloom.worker.data.opening import read_dataset, read_test
from gradloom.worker.data.prepared import (
    Answered,
    Asked,
    Classes,
    Datasets,
    Prepared,
    Request,
    Summary,
)
from gradloom.worker.data.reader import Reader
from gradloom.worker.data.spec import DataSpec, Normalize
from gradloom.worker.data.split import Rows, split, split_faults
from gradloom.worker.data.streams import NOTHING_GIVEN, Given, prepare_stream
from gradloom.worker.data.survey import survey_of
from gradloom.worker.data.target import Answer, TargetKind, class_count
from gradloom.worker.data.windows import Whole
from gradloom.worker.data.wording import quoted
from gradloom.worker.engine.spec import Fault


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """Sound datasets, and how the first one is split."""

    data: Dataset
    test: Dataset | None
    classes: Classes
    training: Rows
    validation: Rows


def inspect(
    spec: DataSpec, roots: Roots, *, seed: int, kind: Asked, joined: bool = True
) -> Summary:
    """What a job would learn from; raises DataError with every fault."""
    request = request_of(spec, roots, kind, joined=joined)
    if spec.stream is not None:
        return survey_of(request, seed).summary
    return _prepared(request, _open(read_datasets(request), spec, seed), seed).summary


def prepare(
    spec: DataSpec,
    roots: Roots,
    *,
    seed: int,
    kind: Asked,
    joined: bool = True,
    given: Given = NOTHING_GIVEN,
) -> Prepared:
    """Open, check, split and scale the data of a job; raises DataError with every fault.

    A pure function of its arguments and the files' bytes. Inputs are joined into one, or each is
    an input of its own.
    """
    return prepare_request(request_of(spec, roots, kind, joined=joined), seed, given)


def prepare_request(request: Request, seed: int, given: Given = NOTHING_GIVEN) -> Prepared:
    """The same for a request; what is given is not read here."""
    if request.spec.stream is not None:
        return prepare_stream(request, seed, given)
    datasets = given.datasets or read_datasets(request)
    return _prepared(request, _open(datasets, request.spec, seed), seed)


def request_of(spec: DataSpec, roots: Roots, kind: Asked, *, joined: bool) -> Request:
    """What is asked of the data, with the spec's target or the targets in place of it."""
    answers = (Answer(spec.target, kind),) if isinstance(kind, TargetKind) else kind
    return Request(spec, roots, answers, joined)


def _prepared(request: Request, opened: Opened, seed: int) -> Prepared:
    normalize = request.spec.normalize
    scalings = tuple(fit(each, opened.training, normalize) for each in opened.data.inputs)
    order = Whole(len(opened.training), seed)
    return Prepared(
        training=Reader(opened.data, opened.training, scalings, order),
        validation=Reader(opened.data, opened.validation, scalings),
        test=_test_reader(opened.test, scalings),
        scalings=scalings,
        summary=_summary(request, opened, scalings),
    )


def read_datasets(request: Request) -> Datasets:
    """All rows of a job, checked; raises DataError with every fault."""
    spec = request.spec
    faults: list[Fault] = []
    data = read_dataset(request, spec.source, TRAINING, faults)
    classes = _classes(request, data, faults)
    faults += split_faults(data.rows if data else None, spec.validation_fraction)
    test = read_test(request, data, classes, faults)
    if faults or data is None:
        raise DataError(tuple(faults))
    return Datasets(data, test, classes)


def _open(datasets: Datasets, spec: DataSpec, seed: int) -> Opened:
    training, validation = split(datasets.data.rows, spec.validation_fraction, seed)
    return Opened(datasets.data, datasets.test, datasets.classes, training, validation)


def _classes(request: Request, data: Dataset | None, faults: list[Fault]) -> Classes:
    """How many classes each target's labels have."""
    if data is None:
        return ()
    pairs = zip(request.answers, data.answers, strict=True)
    return tuple(_class_count(answer, labels, faults) for answer, labels in pairs)


def _class_count(answer: Answer, labels: Column, faults: list[Fault]) -> int | None:
    """None for targets that are no labels, or with one more fault."""
    if answer.kind is not TargetKind.LABELS:
        return None
    try:
        return class_count(whole(labels))
    except ArrayError as error:
        faults.append(Fault(answer.field, f"{quoted(answer.name)} {error}"))
        return None


def _test_reader(test: Dataset | None, scalings: tuple[Scaling, ...]) -> Reader | None:
    return Reader(test, np.arange(test.rows), scalings) if test else None


def _summary(request: Request, opened: Opened, scalings: tuple[Scaling, ...]) -> Summary:
    spec, answers = request.spec, request.answers
    data, test = opened.data, opened.test
    several = len(answers) > 1
    return Summary(
        input_names=data.names,
        input_shapes=data.input_shapes,
        target_shape=data.target_shape,
        classes=None if several else opened.classes[0],
        rows=data.rows,
        training_rows=len(opened.training),
        validation_rows=len(opened.validation),
        test_rows=test.rows if test else 0,
        sha256=data.sha256,
        test_sha256=test.sha256 if test else None,
        warnings=(
            *constant_warnings(spec, data, scalings),
            *_absences(answers, opened),
        ),
        indices=_indices(spec, opened),
        targets=tuple(map(_answered, data.answers, opened.classes)) if several else (),
    )


def _answered(target: Column, classes: int | None) -> Answered:
    return Answered(target.shape[1:], classes)


def _absences(answers: tuple[Answer, ...], opened: Opened) -> Iterator[Fault]:
    for answer, target, classes in zip(answers, opened.data.answers, opened.classes, strict=True):
        yield from absence_warnings(taken(target, opened.training), classes, answer.field)


def _indices(spec: DataSpec, opened: Opened) -> tuple[Indices, ...] | None:
    """Those of all rows of each input, where inputs are as they are."""
    if spec.normalize is not Normalize.NONE:
        return None
    found = [find_indices(each, "Row") for each in opened.data.inputs]
    if opened.test is None:
        return tuple(found)
    test = [find_indices(each, "Test row") for each in opened.test.inputs]
    return tuple(joined(pair) for pair in zip(found, test, strict=True))
