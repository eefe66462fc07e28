"""Named points of the service where a test may have it die or fail; inert without the word.

They are set in the same words as those of a worker, see worker/faults.py; facts: `name`, that of
the file.
"""

import os
from enum import StrEnum

from gradloom.worker.faults import faults_of, is_worker_point


class Point(StrEnum):
    """Where in the writing of a file, in order; CHECKPOINT_ROW comes before the store is told."""

    CHECKPOINT_WRITE = "checkpoint.write"
    CHECKPOINT_FSYNC = "checkpoint.fsync"
    CHECKPOINT_RENAME = "checkpoint.rename"
    CHECKPOINT_ROW = "checkpoint.row"


# All that is not a worker's, so that a misspelt point is told when the service starts.
_ACTIVE = faults_of(os.environ, Point, lambda point: not is_worker_point(point))
reached = _ACTIVE.reached
