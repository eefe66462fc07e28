"""A dataset: input arrays and a target of as many rows, checked and held in their own types."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby

import numpy as np

from gradloom.worker.data.agreement import Part, join_faults, length_faults
from gradloom.worker.data.blocks import Column
from gradloom.worker.data.checks import check_finite, check_shape
from gradloom.worker.data.container import Array, Container
from gradloom.worker.data.errors import ArrayError, DataError, FileError
from gradloom.worker.data.files import Roots
from gradloom.worker.data.sources import file_field, open_source
from gradloom.worker.data.spec import DataSource, DataSpec
from gradloom.worker.data.target import Answer, target_rows
from gradloom.worker.data.wording import listed, quoted
from gradloom.worker.engine.spec import Fault

TRAINING = "data"
TEST = "data.test"


@dataclass(frozen=True, slots=True, eq=False)
class Input:
    """Arrays that go into a model as one: blocks of shape (rows, …), joined along the last axis.

    Neighbours of one number a row share a block. widths are the lengths of the named arrays along
    that axis.
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]
    blocks: tuple[Column, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return (*self.blocks[0].shape[1:-1], sum(self.widths))


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Rows of inputs and target, in the order of the file.

    target is as target_rows makes it, or several targets side by side, flattened. sha256 is that of
    open_source.
    """

    inputs: tuple[Input, ...]
    target: Column
    sha256: str
    targets: tuple[Column, ...] = ()

    @property
    def answers(self) -> tuple[Column, ...]:
        """The targets one by one."""
        return self.targets or (self.target,)

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays that are read, less the target."""
        return tuple(name for each in self.inputs for name in each.names)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.target)

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of one row of each input."""
        return tuple(each.shape for each in self.inputs)

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of one row of the target; () for one class label a row."""
        return self.target.shape[1:]


@dataclass(frozen=True, slots=True)
class Place:
    """Where faults belong: to the choice of arrays, or to the files of the test rows."""

    spec: DataSpec
    source: DataSource
    within: str

    def array(self, name: str, field: str) -> str:
        """The field of an array: this one, or the file of the test rows that holds it."""
        return self.file(name) if self.within == TEST else field

    def file(self, name: str) -> str:
        """The field of the file in which an array stands."""
        return file_field(self.source, name, self.within)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Reads arrays from a container and collects what is wrong with them.

    check raises ArrayError for one that is not sound.
    """

    container: Container
    place: Place
    faults: list[Fault]
    check: Callable[[Array], None]

    def part(self, name: str, field: str, convert: Callable[[Array], Array]) -> list[Part]:
        """One sound and converted array, or none and one more fault."""
        at, noun = self.place.array(name, field), self.container.noun
        if name not in self.container.names:
            self.faults.append(Fault(at, _missing(name, self.container)))
            return []
        try:
            array = self.container.read(name)
            self.check(array)
            return [Part(at, name, convert(array))]
        except ArrayError as error:
            self.faults.append(Fault(at, f"{noun.capitalize()} {quoted(name)} {error}"))
        except FileError as error:
            self.faults.append(Fault(self.place.file(name), str(error)))
        return []


def input_field(spec: DataSpec, position: int) -> str:
    """The field of an input; that of them all where the spec leaves them out."""
    return f"data.inputs[{position}]" if spec.inputs else "data.inputs"


def open_dataset(
    spec: DataSpec,
    source: DataSource,
    roots: Roots,
    answers: Sequence[Answer],
    within: str = TRAINING,
    *,
    joined: bool = True,
) -> Dataset:
    """Open a source and read what the spec names from it; within is TRAINING or TEST.

    Inputs left out are all arrays but the targets, in the order of the container's names. They are
    joined into one, or each is an input of its own.
    Raises DataError with every fault.
    """
    container, sha256 = open_source(source, roots, within)
    place = Place(spec, source, within)
    return dataset_of(container, sha256, place, answers, joined=joined)


def dataset_of(
    container: Container,
    sha256: str,
    place: Place,
    answers: Sequence[Answer],
    *,
    joined: bool,
    first_row: int = 0,
    is_sound: bool = False,
) -> Dataset:
    """The dataset of a container, or of a block of its rows from first_row on.

    One that is known to be sound is not looked through. Raises DataError with every fault.
    """
    read = [answer.name for answer in answers]
    names = input_names(place.spec, container, read)
    check = _pass if is_sound else partial(_check, first_row=first_row)
    reading = Reading(container, place, _naming_faults(names, read, container, place), check)
    inputs = [
        part
        for position, name in enumerate(names)
        for part in reading.part(name, input_field(place.spec, position), _as_it_is)
    ]
    targets = [
        part
        for answer in answers
        for part in reading.part(
            answer.name,
            answer.field,
            partial(target_rows, kind=answer.kind, first_row=first_row),
        )
    ]
    faults = reading.faults + length_faults(inputs + targets)
    if joined:
        faults += join_faults(inputs)
    if faults:
        raise DataError(tuple(faults))
    groups = [inputs] if joined else [[part] for part in inputs]
    arrays = tuple(part.array for part in targets)
    return Dataset(tuple(map(_input, groups)), _side_by_side(arrays), sha256, arrays)


def input_names(spec: DataSpec, container: Container, targets: Sequence[str]) -> tuple[str, ...]:
    """The arrays that go into the model: those of the spec, or all but the targets."""
    return spec.inputs or tuple(name for name in container.names if name not in targets)


def _side_by_side(targets: Sequence[Array]) -> Array:
    """One target as it is; of several the numbers of each row in a line."""
    if len(targets) == 1:
        return targets[0]
    return np.concatenate([array.reshape(len(array), -1) for array in targets], axis=1)


def _input(parts: list[Part]) -> Input:
    return Input(
        names=tuple(part.name for part in parts),
        widths=tuple(part.row_shape[-1] for part in parts),
        blocks=_blocks([part.array for part in parts]),
    )


def _as_it_is(array: Array) -> Array:
    return array


def _pass(_array: Array) -> None:
    """Of an array that is known to be sound."""


def _check(array: Array, first_row: int) -> None:
    check_shape(array)
    check_finite(array, first_row)


def _missing(name: str, container: Container) -> str:
    noun = container.noun
    return f"There is no {noun} {quoted(name)}. {noun.capitalize()}s: {listed(container.names)}."


def _naming_faults(
    names: Sequence[str], targets: Sequence[str], container: Container, place: Place
) -> list[Fault]:
    """Inputs that cannot be meant as they are named; told once, for the training rows."""
    if place.within == TEST:
        return []
    if not names:
        return [Fault("data.inputs", f"There is no {container.noun} but the target to learn from.")]
    faults = []
    for position, name in enumerate(names):
        if name in targets:
            text = f"{quoted(name)} is the target as well: leave it out of the inputs."
            faults.append(Fault(input_field(place.spec, position), text))
        elif name in names[:position]:
            faults.append(
                Fault(input_field(place.spec, position), f"{quoted(name)} is named twice.")
            )
    return faults


def _blocks(arrays: Sequence[Array]) -> tuple[Array, ...]:
    """The arrays, neighbours of one number a row side by side in one."""
    groups = [(one, list(group)) for one, group in groupby(arrays, lambda array: array.ndim == 1)]
    joined = [[np.stack(group, axis=1)] if one else group for one, group in groups]
    return tuple(chain.from_iterable(joined))
