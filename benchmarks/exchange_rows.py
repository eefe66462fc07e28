"""What a place and a size come to: one row of figures, as it is written to exchange.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from benchmarks.child import Answer
from benchmarks.figures import Burst, ratio, step_seconds
from gradloom.worker.exchange.frames import PIECE

# Two agreements a step; a member says its note and is told all of them.
_AGREEMENTS = 2


@dataclass(frozen=True, slots=True)
class Settings:
    """What all rows of a run share: the machine, the profile, the time, PyTorch's version."""

    machine: Mapping[str, Any]
    profile: str
    date: str
    torch: str

    def with_torch(self, version: str) -> "Settings":
        """The same, beside this PyTorch."""
        return replace(self, torch=version)


@dataclass(frozen=True, slots=True)
class Row:
    """Medians in milliseconds; best are the fastest steps; None is what was not measured.

    ratio is Gloo's median over ours, low and high its quartiles over paired rounds. The limit is
    what copying takes as many bytes as have to be read and written, and the share is that part of
    our time. Frames and bytes are what all members together send in a step; the design's are what
    two agreements and one exchange of slices take, without headers. Processor time is a member's,
    on average.
    """

    place: str
    workers: int
    cells: int
    megabytes: float
    ours_ms: float
    ours_best_ms: float
    gloo_ms: float | None
    gloo_best_ms: float | None
    gloo_all_reduce_ms: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    ratio_best: float | None
    limit_ms: float | None
    limit_best_ms: float | None
    copy_gb_per_second: float | None
    share_of_limit: float | None
    share_of_limit_best: float | None
    agreement_us: float
    frames_per_step: float
    frames_by_design: int
    bytes_per_step: float
    bytes_by_design: int
    processor_ms: float
    rounds: int
    machine: Mapping[str, Any]
    profile: str
    torch: str
    date: str


def row(
    place: str,
    cells: Sequence[int],
    size: int,
    ours: Sequence[Burst],
    answers: Sequence[Answer],
    theirs: Sequence[Burst],
    reduces: Sequence[float],
    copies: Sequence[float],
    agreements: Sequence[float],
    settings: Settings,
) -> Row:
    """The figures; answers are what all members said of the last round."""
    workers, step = len(cells), step_seconds(ours)
    found = ratio(ours, theirs) if theirs else None
    best, their_best = _best(ours), _best(theirs) if theirs else None
    moved = 4 * size * (workers + 6)
    return Row(
        place=place,
        workers=workers,
        cells=len(set(cells)),
        megabytes=4 * size / 1e6,
        ours_ms=1e3 * step,
        ours_best_ms=1e3 * best,
        gloo_ms=1e3 * step_seconds(theirs) if theirs else None,
        gloo_best_ms=1e3 * their_best if their_best else None,
        gloo_all_reduce_ms=1e3 * median(reduces) if reduces else None,
        ratio=found.value if found else None,
        ratio_low=found.low if found else None,
        ratio_high=found.high if found else None,
        ratio_best=their_best / best if their_best else None,
        limit_ms=1e3 * median(copies) if copies else None,
        limit_best_ms=1e3 * min(copies) if copies else None,
        copy_gb_per_second=moved / median(copies) / 1e9 if copies else None,
        share_of_limit=median(copies) / step if copies else None,
        share_of_limit_best=min(copies) / best if copies else None,
        agreement_us=1e6 * median(agreements),
        frames_per_step=sum(answer["frames"] for answer in answers),
        frames_by_design=frames(cells, size),
        bytes_per_step=sum(answer["bytes"] for answer in answers),
        bytes_by_design=slices(len(set(cells)), size),
        processor_ms=1e3 * sum(answer["busy"] for answer in answers) / workers,
        rounds=len(ours),
        machine=settings.machine,
        profile=settings.profile,
        torch=settings.torch,
        date=settings.date,
    )


def _best(bursts: Sequence[Burst]) -> float:
    return min(seconds for burst in bursts for seconds in burst.seconds)


def frames(cells: Sequence[int], size: int, piece: int = PIECE // 4) -> int:
    """Notes of members to leaders and back, of leaders to each other, and pieces of vectors.

    Exact where each cell's slice is of equal length and each cell hands over one node.
    """
    count = len(set(cells))
    followers = len(cells) - count
    notes = _AGREEMENTS * (2 * followers + count * (count - 1))
    if count == 1:
        return notes
    if count == 2:  # they trade nodes
        return notes + followers + 2 * -(-size // piece)
    pieces = -(-size // count // piece)
    return notes + followers + 2 * count * (count - 1) * pieces


def slices(count: int, size: int) -> int:
    """Bytes of gradients that cells send each other: each all but its own slice, and its sum."""
    return 2 * (count - 1) * 4 * size
