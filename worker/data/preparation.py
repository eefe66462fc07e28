"""From a data spec to rows ready to be read: opened, checked, split, scaled.

The service calls it to validate a job and a worker to train it, so both see the same data.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from gradloom.worker.data.comparison import comparison_faults
from gradloom.worker.data.container import Array
from gradloom.worker.data.dataset import TEST, TRAINING, Dataset, open_dataset
from gradloom.worker.data.errors import ArrayError, DataError
from gradloom.worker.data.files import Roots
from gradloom.worker.data.indices import Indices, find_indices, joined
from gradloom.worker.data.normalize import Scaling, fit
from gradloom.worker.data.oddities import absence_warnings, constant_warnings
from gradloom.worker.data.reader import Reader
from gradloom.worker.data.spec import DataSource, DataSpec, Normalize
from gradloom.worker.data.split import Rows, split, split_faults
from gradloom.worker.data.target import Answer, TargetKind, class_count
from gradloom.worker.data.wording import quoted
from gradloom.worker.engine.spec import Fault

# How many classes each target has; None for one that is no labels.
Classes = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """One of several targets: the shape of a row, and the classes of labels."""

    shape: tuple[int, ...]
    classes: int | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What there is to learn from; classes only of labels, test_sha256 only of test rows.

    Shapes are those of one row: one of all inputs joined, or one for each of their names. indices
    say whether unscaled inputs can number tokens, one for each shape. Warnings
    are faults one can train with. targets are there where there are several, whose numbers stand in
    a line; classes are then None.
    """

    input_names: tuple[str, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    target_shape: tuple[int, ...]
    classes: int | None
    rows: int
    training_rows: int
    validation_rows: int
    test_rows: int
    sha256: str
    test_sha256: str | None
    warnings: tuple[Fault, ...]
    indices: tuple[Indices, ...] | None = None
    targets: tuple[Answered, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Readers of the training, validation and test rows, and what they are made from.

    There is a scaling for each input.
    """

    training: Reader
    validation: Reader
    test: Reader | None
    scalings: tuple[Scaling, ...]
    summary: Summary


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """Sound datasets, the classes of each target's labels, and how the first one is split."""

    data: Dataset
    test: Dataset | None
    classes: Classes
    training: Rows
    validation: Rows


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the data, and where it may lie; inputs are joined, or each is its own."""

    spec: DataSpec
    roots: Roots
    answers: tuple[Answer, ...]
    joined: bool


# What is asked of the spec's target; or several targets, in place of it.
Asked = TargetKind | tuple[Answer, ...]


def inspect(
    spec: DataSpec, roots: Roots, *, seed: int, kind: Asked, joined: bool = True
) -> Summary:
    """What a job would learn from; raises DataError with every fault."""
    return prepare(spec, roots, seed=seed, kind=kind, joined=joined).summary


def prepare(
    spec: DataSpec, roots: Roots, *, seed: int, kind: Asked, joined: bool = True
) -> Prepared:
    """Open, check, split and scale the data of a job; raises DataError with every fault.

    A pure function of its arguments and the files' bytes. Inputs are joined into one, or each is
    an input of its own.
    """
    answers = (Answer(spec.target, kind),) if isinstance(kind, TargetKind) else kind
    opened = _open(Request(spec, roots, answers, joined), seed)
    scalings = tuple(fit(each, opened.training, spec.normalize) for each in opened.data.inputs)
    return Prepared(
        training=Reader(opened.data, opened.training, scalings),
        validation=Reader(opened.data, opened.validation, scalings),
        test=_test_reader(opened.test, scalings),
        scalings=scalings,
        summary=_summary(spec, answers, opened, scalings),
    )


def _open(request: Request, seed: int) -> Opened:
    spec = request.spec
    faults: list[Fault] = []
    data = _dataset(request, spec.source, TRAINING, faults)
    classes = _classes(request, data, faults)
    faults += split_faults(data.rows if data else None, spec.validation_fraction)
    test = _test(request, data, classes, faults)
    if faults or data is None:
        raise DataError(tuple(faults))
    training, validation = split(data.rows, spec.validation_fraction, seed)
    return Opened(data, test, classes, training, validation)


def _dataset(
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


def _classes(request: Request, data: Dataset | None, faults: list[Fault]) -> Classes:
    """How many classes each target's labels have."""
    if data is None:
        return ()
    pairs = zip(request.answers, data.answers, strict=True)
    return tuple(_class_count(answer, labels, faults) for answer, labels in pairs)


def _class_count(answer: Answer, labels: Array, faults: list[Fault]) -> int | None:
    """None for targets that are no labels, or with one more fault."""
    if answer.kind is not TargetKind.LABELS:
        return None
    try:
        return class_count(labels)
    except ArrayError as error:
        faults.append(Fault(answer.field, f"{quoted(answer.name)} {error}"))
        return None


def _test(
    request: Request, data: Dataset | None, classes: Classes, faults: list[Fault]
) -> Dataset | None:
    """The test rows: the same arrays as the training rows, from another source."""
    spec = request.spec
    if spec.test is None:
        return None
    same = replace(request, spec=replace(spec, inputs=data.names)) if data else request
    test = _dataset(same, spec.test, TEST, faults)
    if data and test:
        faults += comparison_faults(data, test, request.answers, classes, spec)
    return test


def _test_reader(test: Dataset | None, scalings: tuple[Scaling, ...]) -> Reader | None:
    return Reader(test, np.arange(test.rows), scalings) if test else None


def _summary(
    spec: DataSpec,
    answers: tuple[Answer, ...],
    opened: Opened,
    scalings: tuple[Scaling, ...],
) -> Summary:
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


def _answered(target: Array, classes: int | None) -> Answered:
    return Answered(target.shape[1:], classes)


def _absences(answers: tuple[Answer, ...], opened: Opened) -> Iterator[Fault]:
    for answer, target, classes in zip(answers, opened.data.answers, opened.classes, strict=True):
        yield from absence_warnings(target[opened.training], classes, answer.field)


def _indices(spec: DataSpec, opened: Opened) -> tuple[Indices, ...] | None:
    """Those of all rows of each input, where inputs are as they are."""
    if spec.normalize is not Normalize.NONE:
        return None
    found = [find_indices(each, "Row") for each in opened.data.inputs]
    if opened.test is None:
        return tuple(found)
    test = [find_indices(each, "Test row") for each in opened.test.inputs]
    return tuple(joined(pair) for pair in zip(found, test, strict=True))
