"""Which samples of a long job's history are forgotten, so that it does not grow without end. Pure.

States, incidents, diagnoses and checkpoints stay whatever their number; only samples of progress
go, every second of the oldest first, so that the older they are the further they lie apart. Those
that tell what a split was measured to be go when no others are left.
"""

from collections.abc import Iterable, Sequence

MOST_EVENTS = 10_000
# It is looked again once so many events were added.
_EVERY = 500


def is_due(revisions: Iterable[int]) -> bool:
    """Whether one of these new revisions is one after which it is time to look."""
    return any(each > MOST_EVENTS - _EVERY and each % _EVERY == 0 for each in revisions)


def forgotten(trained: Sequence[int], measured: Sequence[int], events: int) -> tuple[int, ...]:
    """The revisions that go, of those of samples in order; events are all there are.

    measured are those of samples with metrics of a split, trained those of the others. So many go
    that there is room until it is looked again. The newest of both stay.
    """
    surplus = max(0, events - (MOST_EVENTS - _EVERY))
    return tuple([*_in_turn(trained[:-1]), *_in_turn(measured[:-1])][:surplus])


def _in_turn(old: Sequence[int]) -> tuple[int, ...]:
    return (*old[1::2], *old[::2])
