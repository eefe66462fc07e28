"""Whether test rows are of the same kind as the rows trained on."""

from collections.abc import Sequence

from gradloom.worker.data.blocks import Column, whole
from gradloom.worker.data.dataset import TEST, Dataset
from gradloom.worker.data.errors import ArrayError
from gradloom.worker.data.sources import file_field
from gradloom.worker.data.spec import DataSource, DataSpec
from gradloom.worker.data.target import Answer, check_known_labels
from gradloom.worker.data.wording import quoted
from gradloom.worker.engine.spec import Fault


def comparison_faults(
    data: Dataset,
    test: Dataset,
    answers: Sequence[Answer],
    classes: Sequence[int | None],
    spec: DataSpec,
) -> list[Fault]:
    """Differing shapes of a row, and labels that training has not; the spec has a test source."""
    source = spec.test or DataSource()
    faults = []
    for one, other in zip(data.inputs, test.inputs, strict=True):
        if one.shape != other.shape:
            field = file_field(source, one.names[0], TEST)
            faults.append(Fault(field, _unlike("inputs", other.shape, one.shape)))
    for answer, its_classes, known, found in zip(
        answers, classes, data.answers, test.answers, strict=True
    ):
        field = file_field(source, answer.name, TEST)
        if known.shape[1:] != found.shape[1:]:
            faults.append(Fault(field, _unlike("target", found.shape[1:], known.shape[1:])))
        faults += _label_faults(found, its_classes, field, answer.name)
    return faults


def _unlike(what: str, found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    return f"A test row's {what} have the shape {found}, a training row's {expected}."


def _label_faults(labels: Column, classes: int | None, field: str, name: str) -> list[Fault]:
    if classes is None:
        return []
    try:
        check_known_labels(whole(labels), classes)
    except ArrayError as error:
        return [Fault(field, f"{quoted(name)} {error}")]
    return []
