"""What becomes of the data of a job: a summary for everybody, readers for those who train."""

from dataclasses import dataclass

from gradloom.worker.data.dataset import Dataset
from gradloom.worker.data.files import Roots
from gradloom.worker.data.indices import Indices
from gradloom.worker.data.normalize import Scaling
from gradloom.worker.data.reader import Reader
from gradloom.worker.data.spec import DataSpec
from gradloom.worker.data.target import Answer, TargetKind
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
    a line; classes are then None. held_rows are those that are in memory at once where they are
    streamed; 0 stands for all.
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
    held_rows: int = 0


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
class Datasets:
    """All rows of a job, sound, and the classes of each target's labels."""

    data: Dataset
    test: Dataset | None
    classes: Classes


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the data, and where it may lie; inputs are joined, or each is its own."""

    spec: DataSpec
    roots: Roots
    answers: tuple[Answer, ...]
    joined: bool


# What is asked of the spec's target; or several targets, in place of it.
Asked = TargetKind | tuple[Answer, ...]
