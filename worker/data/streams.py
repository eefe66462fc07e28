"""Readers of rows that are streamed: blocks read ahead, a window of them held."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gradloom.worker.data.blocks import BlockSource
from gradloom.worker.data.dataset import Dataset
from gradloom.worker.data.file_blocks import FileBlocks
from gradloom.worker.data.prepared import Datasets, Prepared, Request
from gradloom.worker.data.read_ahead import ReadAhead
from gradloom.worker.data.reader import Reader
from gradloom.worker.data.survey import Survey, survey_of
from gradloom.worker.data.windows import Split, Windows


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What is known of a job's data by whoever started the worker, so that it need not look.

    datasets are all rows; of a stream there are its survey, where its blocks come from, and the
    test rows, which are no stream.
    """

    datasets: Datasets | None = None
    survey: Survey | None = None
    blocks: BlockSource | None = None
    test: Dataset | None = None


NOTHING_GIVEN = Given()


def prepare_stream(request: Request, seed: int, given: Given) -> Prepared:
    """Readers of a stream, none of whose rows is read yet. Raises DataError."""
    survey = given.survey or survey_of(request, seed)
    streamed, fraction = survey.streamed, request.spec.validation_fraction
    source = given.blocks or FileBlocks(
        streamed.extents, request.roots, streamed.blocking, survey.digests
    )
    count, load = streamed.blocking.count, _load(survey, source)
    window: ReadAhead[Dataset] = ReadAhead(load, streamed.what)
    along: ReadAhead[Dataset] = ReadAhead(
        load, streamed.what, lambda number: (number, (number + 1) % count)
    )
    split = Split(streamed.blocking, fraction, seed, remembered=2 * streamed.window_blocks + 2)
    order = Windows(split.training, streamed.window_blocks, seed, window.want)
    sha256 = survey.summary.sha256
    training, validation = (streamed.dataset(each.get, sha256) for each in (window, along))
    return Prepared(
        training=Reader(training, split.training, survey.scalings, order),
        validation=Reader(validation, split.validation, survey.scalings),
        test=_test(survey, given),
        scalings=survey.scalings,
        summary=survey.summary,
    )


def _load(survey: Survey, source: BlockSource) -> Callable[[int], Dataset]:
    return lambda number: survey.streamed.block(number, source.read(number), is_sound=True)


def _test(survey: Survey, given: Given) -> Reader | None:
    rows = given.test or survey.test()
    return Reader(rows, np.arange(rows.rows), survey.scalings) if rows else None
