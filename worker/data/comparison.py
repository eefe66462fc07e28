"""Whether test rows are of the same kind as the rows trained on."""

from gradloom.worker.data.dataset import TEST, Dataset
from gradloom.worker.data.errors import ArrayError
from gradloom.worker.data.sources import file_field
from gradloom.worker.data.spec import DataSource, DataSpec
from gradloom.worker.data.target import check_known_labels
from gradloom.worker.data.wording import quoted
from gradloom.worker.engine.spec import Fault


def comparison_faults(
    data: Dataset, test: Dataset, classes: int | None, spec: DataSpec
) -> list[Fault]:
    """Differing shapes of a row, and labels that training has not; the spec has a test source."""
    source = spec.test or DataSource()
    faults = []
    for one, other in zip(data.inputs, test.inputs, strict=True):
        if one.shape != other.shape:
            field = file_field(source, one.names[0], TEST)
            faults.append(Fault(field, _unlike("inputs", other.shape, one.shape)))
    field = file_field(source, spec.target, TEST)
    if data.target_shape != test.target_shape:
        faults.append(Fault(field, _unlike("target", test.target_shape, data.target_shape)))
    return faults + _label_faults(test, classes, field, spec.target)


def _unlike(what: str, found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    return f"A test row's {what} have the shape {found}, a training row's {expected}."


def _label_faults(test: Dataset, classes: int | None, field: str, name: str) -> list[Fault]:
    if classes is None:
        return []
    try:
        check_known_labels(test.target, classes)
    except ArrayError as error:
        return [Fault(field, f"{quoted(name)} {error}")]
    return []
