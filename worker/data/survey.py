"""One pass over a stream before it is trained on: hashes, faults, classes, scalings, a summary.

What it finds decides bits, so that workers are given it and do not look for themselves; it is a
pure function of the spec, the seed and the files' bytes.
"""

import hashlib
import os
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from gradloom.worker.data.blocks import Column, Rows, taken, whole
from gradloom.worker.data.dataset import Dataset
from gradloom.worker.data.errors import ArrayError, DataError, DataUnreadable, FileError
from gradloom.worker.data.extents import STREAM_LIMIT_BYTES
from gradloom.worker.data.file_blocks import Digests, FileBlocks, Hashed
from gradloom.worker.data.files import locate
from gradloom.worker.data.indices import Indices, find_indices, joined
from gradloom.worker.data.moments import Moments
from gradloom.worker.data.normalize import Scaling
from gradloom.worker.data.oddities import constant_warnings, missing_class
from gradloom.worker.data.opening import read_test
from gradloom.worker.data.prepared import Answered, Classes, Request, Summary
from gradloom.worker.data.read_ahead import ReadAhead
from gradloom.worker.data.spec import Normalize
from gradloom.worker.data.streamed import Streamed, open_stream
from gradloom.worker.data.target import Answer, TargetKind, absent_of, classes_between
from gradloom.worker.data.windows import Split
from gradloom.worker.data.wording import quoted
from gradloom.worker.engine.spec import Fault

# Surveys that are remembered: validating a job, making it and running it take one pass together.
_REMEMBERED = 4


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """A stream, the hashes of its blocks, the scaling of each input, and what it comes to."""

    streamed: Streamed
    digests: tuple[Digests, ...]
    scalings: tuple[Scaling, ...]
    summary: Summary

    @property
    def classes(self) -> Classes:
        """How many classes each target has."""
        several = tuple(each.classes for each in self.summary.targets)
        return several or (self.summary.classes,)

    def test(self) -> Dataset | None:
        """The test rows, which are read whole. Raises DataError."""
        faults: list[Fault] = []
        shape = self.streamed.dataset(_never, self.summary.sha256)
        test = read_test(self.streamed.request, shape, self.classes, faults)
        if faults:
            raise DataError(tuple(faults))
        return test


@dataclass(slots=True, eq=False)
class Labels:
    """The labels of a target: lowest, highest, and how many training rows have each."""

    lowest: int = 2**62
    highest: int = -1
    counts: np.ndarray[tuple[int], np.dtype[np.int64]] = field(
        default_factory=lambda: np.zeros(0, np.int64)
    )

    def add(self, labels: Column, trained: Rows) -> None:
        """Take note of a block's labels, some of which are trained on."""
        self.lowest = min(self.lowest, int(whole(labels).min()))
        self.highest = max(self.highest, int(whole(labels).max()))
        found = np.bincount(taken(labels, trained).reshape(-1), minlength=len(self.counts))
        found[: len(self.counts)] += self.counts
        self.counts = found


@dataclass(slots=True, eq=False)
class Tally:
    """What a pass has found so far."""

    moments: tuple[tuple[Moments, ...], ...]
    labels: tuple[Labels | None, ...]
    is_indexed: bool
    is_scaled: bool
    indices: list[Indices] = field(default_factory=list)
    digests: list[Digests] = field(default_factory=list)

    def add(self, data: Dataset, trained: Rows, first_row: int) -> None:
        """Take note of a block, some of whose rows are trained on."""
        for labels, target in zip(self.labels, data.answers, strict=True):
            if labels is not None:
                labels.add(target, trained)
        if self.is_indexed:
            found = [find_indices(each, "Row", first_row) for each in data.inputs]
            pairs = zip(self.indices or found, found, strict=True)
            self.indices = [joined(pair) for pair in pairs]
        if self.is_scaled and len(trained):
            for stripes, source in zip(self.moments, data.inputs, strict=True):
                for moments, block in zip(stripes, source.blocks, strict=True):
                    moments.add(taken(block, trained))


def survey_of(request: Request, seed: int) -> Survey:
    """The survey of a stream, remembered while its files are the same. Raises DataError."""
    key = (request, seed, _files(request))
    with _lock:
        if key in _remembered:
            _remembered.move_to_end(key)
            return _remembered[key]
    found = take_survey(request, seed)
    with _lock:
        _remembered[key] = found
        while len(_remembered) > _REMEMBERED:
            _remembered.popitem(last=False)
    return found


_Key = tuple[Request, int, tuple[tuple[int, ...], ...]]
_remembered: OrderedDict[_Key, Survey] = OrderedDict()
_lock = Lock()


def _files(request: Request) -> tuple[tuple[int, ...], ...]:
    """What tells a file from what it was: device, number, size and times."""
    return tuple(_file(request, path) for path in request.spec.paths)


def _file(request: Request, path: str) -> tuple[int, ...]:
    try:
        with locate(request.roots, path, STREAM_LIMIT_BYTES) as file:
            status = os.fstat(file.fileno())
    except FileError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def take_survey(request: Request, seed: int) -> Survey:
    """Reads a stream from its first block to its last. Raises DataError with what it finds."""
    streamed = open_stream(request)
    spec = request.spec
    split = Split(streamed.blocking, spec.validation_fraction, seed, remembered=1)
    tally = _tally(streamed)
    _pass(streamed, split, tally)
    faults: list[Fault] = []
    pairs = zip(request.answers, tally.labels, strict=True)
    classes = tuple(_classes(answer, labels, streamed, faults) for answer, labels in pairs)
    sha256 = _sha256(streamed, tally.digests)
    shape = streamed.dataset(_never, sha256)
    test = read_test(request, shape, classes, faults)
    if faults:
        raise DataError(tuple(faults))
    scalings = tuple(_scaling(stripes, spec.normalize) for stripes in tally.moments)
    summary = _summary(streamed, split, tally, shape, test, classes, scalings)
    return Survey(streamed, tuple(tally.digests), scalings, summary)


def _tally(streamed: Streamed) -> Tally:
    request = streamed.request
    is_label = [answer.kind is TargetKind.LABELS for answer in request.answers]
    return Tally(
        moments=tuple(
            tuple(Moments(block.shape[1:]) for block in each.blocks) for each in streamed.row.inputs
        ),
        labels=tuple(Labels() if each else None for each in is_label),
        is_indexed=request.spec.normalize is Normalize.NONE,
        is_scaled=request.spec.normalize is not Normalize.NONE,
    )


def _pass(streamed: Streamed, split: Split, tally: Tally) -> None:
    source = FileBlocks(streamed.extents, streamed.request.roots, streamed.blocking)
    count = streamed.blocking.count
    ahead: ReadAhead[Hashed] = ReadAhead(
        source.hashed, streamed.what, lambda number: range(number, min(number + 2, count))
    )
    for number in range(count):
        try:
            block = ahead.get(number)
        except DataUnreadable as error:
            raise DataError((Fault(streamed.place.file(streamed.names[0]), str(error)),)) from None
        data = streamed.block(number, block.arrays)
        tally.digests.append(block.digests)
        tally.add(data, split.trained(number), streamed.blocking.bounds(number)[0])


def _never(_number: int) -> Dataset:
    raise AssertionError("only shapes are looked at")


def _classes(
    answer: Answer, labels: Labels | None, streamed: Streamed, faults: list[Fault]
) -> int | None:
    if labels is None:
        return None
    try:
        return classes_between(labels.lowest, labels.highest, streamed.blocking.rows)
    except ArrayError as error:
        faults.append(Fault(answer.field, f"{quoted(answer.name)} {error}"))
        return None


def _scaling(stripes: tuple[Moments, ...], normalize: Normalize) -> Scaling:
    parts = [moments.scaling(normalize) for moments in stripes]
    return Scaling(
        np.concatenate([part.offset for part in parts], axis=-1),
        np.concatenate([part.scale for part in parts], axis=-1),
        np.concatenate([part.constant for part in parts], axis=-1),
    )


def _sha256(streamed: Streamed, digests: list[Digests]) -> str:
    """One hash for all blocks: of how they are cut, and of theirs in order."""
    text = hashlib.sha256()
    for name, extent in zip(streamed.names, streamed.extents, strict=True):
        text.update(f"{name} {extent.dtype.str} {extent.shape}\n".encode())
    text.update(f"{streamed.blocking.block_rows}\n".encode())
    for each in digests:
        text.update("".join(f"{digest}\n" for digest in each).encode())
    return text.hexdigest()


def _summary(
    streamed: Streamed,
    split: Split,
    tally: Tally,
    shape: Dataset,
    test: Dataset | None,
    classes: Classes,
    scalings: tuple[Scaling, ...],
) -> Summary:
    spec, several = streamed.request.spec, len(classes) > 1
    return Summary(
        input_names=shape.names,
        input_shapes=shape.input_shapes,
        target_shape=shape.target_shape,
        classes=None if several else classes[0],
        rows=streamed.blocking.rows,
        training_rows=len(split.training),
        validation_rows=len(split.validation),
        test_rows=test.rows if test else 0,
        sha256=shape.sha256,
        test_sha256=test.sha256 if test else None,
        warnings=(
            *constant_warnings(spec, shape, scalings),
            *_absences(streamed.request, tally, classes),
        ),
        indices=_indices(tally, test),
        targets=tuple(
            Answered(target.shape[1:], its)
            for target, its in zip(shape.answers, classes, strict=True)
        )
        if several
        else (),
        held_rows=min(
            streamed.blocking.rows,
            (2 * streamed.window_blocks + 2) * streamed.blocking.block_rows,
        ),
    )


def _absences(request: Request, tally: Tally, classes: Classes) -> list[Fault]:
    found = []
    for answer, labels, its_classes in zip(request.answers, tally.labels, classes, strict=True):
        if labels is not None and its_classes is not None:
            counts = np.zeros(its_classes, np.int64)
            counts[: len(labels.counts)] = labels.counts
            found += missing_class(*absent_of(counts, its_classes), answer.field)
    return found


def _indices(tally: Tally, test: Dataset | None) -> tuple[Indices, ...] | None:
    if not tally.is_indexed:
        return None
    if test is None:
        return tuple(tally.indices)
    found = [find_indices(each, "Test row") for each in test.inputs]
    return tuple(joined(pair) for pair in zip(tally.indices, found, strict=True))
