"""A stream as its files say it is: which arrays, where, how they are cut, of what kind a row is.

Blocks and windows follow from the spec and the arrays' shapes and types, never from the machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from gradloom.worker.data.agreement import Part, length_faults
from gradloom.worker.data.blocks import BLOCK_BYTES, Blocked, Blocking, Column, rows_of
from gradloom.worker.data.container import Array
from gradloom.worker.data.dataset import (
    TRAINING,
    Dataset,
    Input,
    Place,
    dataset_of,
    input_field,
    input_names,
)
from gradloom.worker.data.errors import DataError, FileError
from gradloom.worker.data.extents import Extent, Extents, find_extents
from gradloom.worker.data.file_blocks import BlockContainer, FileBlocks
from gradloom.worker.data.files import Roots
from gradloom.worker.data.prepared import Request
from gradloom.worker.data.spec import DataSpec, Stream
from gradloom.worker.data.split import split_faults
from gradloom.worker.data.wording import listed
from gradloom.worker.engine.spec import Fault

# Rows shuffled together where the spec does not say how many: those that take this much.
WINDOW_BYTES = 64 << 20
# Blocks in a window: the more, the better the rows of the file are mixed.
LEAST_BLOCKS = 8
FIELD = "data.stream.window_rows"


@dataclass(frozen=True, slots=True, eq=False)
class Streamed:
    """The arrays that are read, how they are cut into blocks, and how many blocks are a window.

    row is a dataset of the first row alone.
    """

    request: Request
    names: tuple[str, ...]
    extents: tuple[Extent, ...]
    blocking: Blocking
    window_blocks: int
    row: Dataset

    @property
    def place(self) -> Place:
        """Where its faults belong."""
        return Place(self.request.spec, self.request.spec.source, TRAINING)

    @property
    def what(self) -> str:
        """Its files, as the user wrote them."""
        return listed(tuple(dict.fromkeys(extent.path for extent in self.extents)))

    def block(self, number: int, arrays: tuple[Array, ...], *, is_sound: bool = False) -> Dataset:
        """The dataset of a block. Raises DataError where its rows are not sound."""
        return dataset_of(
            BlockContainer(dict(zip(self.names, arrays, strict=True))),
            "",
            self.place,
            self.request.answers,
            joined=self.request.joined,
            first_row=self.blocking.bounds(number)[0],
            is_sound=is_sound,
        )

    def dataset(self, block: Callable[[int], Dataset], sha256: str) -> Dataset:
        """The whole, of which block gives the parts when they are needed."""
        inputs = tuple(
            Input(each.names, each.widths, self._stripes(place, each, block))
            for place, each in enumerate(self.row.inputs)
        )
        targets = tuple(
            self._column(each, partial(_target, block, place))
            for place, each in enumerate(self.row.targets)
        )
        target = self._column(self.row.target, lambda number: block(number).target)
        return Dataset(inputs, target, sha256, targets)

    def _stripes(
        self, place: int, source: Input, block: Callable[[int], Dataset]
    ) -> tuple[Column, ...]:
        return tuple(
            self._column(each, partial(_stripe, block, place, stripe))
            for stripe, each in enumerate(source.blocks)
        )

    def _column(self, row: Column, find: Callable[[int], Column]) -> Blocked:
        shape = (self.blocking.rows, *row.shape[1:])
        return Blocked(self.blocking, shape, row.dtype, find)  # type: ignore[arg-type]  # of a block


def _stripe(block: Callable[[int], Dataset], place: int, stripe: int, number: int) -> Column:
    return block(number).inputs[place].blocks[stripe]


def _target(block: Callable[[int], Dataset], place: int, number: int) -> Column:
    return block(number).targets[place]


class _FirstRows:
    """What a dataset looks like, from the first row of each array that can be streamed."""

    noun = "array"

    def __init__(self, extents: Extents, roots: Roots) -> None:
        self._extents = extents
        self._roots = roots

    @property
    def names(self) -> tuple[str, ...]:
        """See Container."""
        return tuple(self._extents)

    def read(self, name: str) -> Array:
        """See Container."""
        extent = self._extents[name]
        if not isinstance(extent, Extent):
            raise extent
        if not extent.shape or not extent.shape[0]:
            return np.empty(extent.shape, extent.dtype)
        blocking = Blocking(extent.shape[0], 1)
        try:
            return FileBlocks((extent,), self._roots, blocking).hashed(0).arrays[0]
        except OSError as error:
            raise FileError(str(error)) from None


def open_stream(request: Request) -> Streamed:
    """A stream, of which headers and the first row are read. Raises DataError with every fault."""
    spec, stream = request.spec, request.spec.stream or Stream()
    extents = find_extents(spec.source, request.roots, TRAINING)
    place = Place(spec, spec.source, TRAINING)
    first = _FirstRows(extents, request.roots)
    row = _row(first, place, request, _stream_faults(stream))
    targets = tuple(answer.name for answer in request.answers)
    names = tuple(dict.fromkeys((*input_names(spec, first, targets), *targets)))
    used = tuple(extent for name in names if isinstance(extent := extents[name], Extent))
    faults = [
        *length_faults(_parts(spec, names, used, request, place)),
        *split_faults(used[0].shape[0], spec.validation_fraction),
    ]
    if faults:
        raise DataError(tuple(faults))
    row_bytes = sum(extent.row_bytes for extent in used)
    window_rows = stream.window_rows or rows_of(WINDOW_BYTES, row_bytes)
    block_rows = min(rows_of(BLOCK_BYTES, row_bytes), -(-window_rows // LEAST_BLOCKS))
    blocking = Blocking(used[0].shape[0], block_rows)
    return Streamed(request, names, used, blocking, -(-window_rows // block_rows), row)


def _row(first: _FirstRows, place: Place, request: Request, faults: list[Fault]) -> Dataset:
    """The dataset of the first row; raises DataError with these faults too."""
    try:
        row = dataset_of(first, "", place, request.answers, joined=request.joined)
    except DataError as error:
        raise DataError((*faults, *error.faults)) from None
    if faults:
        raise DataError(tuple(faults))
    return row


def _stream_faults(stream: Stream) -> list[Fault]:
    if stream.window_rows >= 0:
        return []
    text = f"window_rows is {stream.window_rows}: it is how many rows are shuffled together."
    return [Fault(FIELD, text)]


def _parts(
    spec: DataSpec,
    names: tuple[str, ...],
    extents: tuple[Extent, ...],
    request: Request,
    place: Place,
) -> list[Part]:
    """The arrays by their shapes alone."""
    fields = {answer.name: answer.field for answer in request.answers}
    return [
        Part(
            place.array(name, fields.get(name, input_field(spec, position))),
            name,
            np.broadcast_to(np.zeros((), extent.dtype), extent.shape),
        )
        for position, (name, extent) in enumerate(zip(names, extents, strict=True))
    ]
