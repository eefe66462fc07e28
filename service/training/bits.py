"""Who came to other bits than the others: hashes of the same numbers in, culprits out. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradloom.service.jobs.states import Reason
from gradloom.service.training.breaches import Culprit
from gradloom.worker.messages import Member


@dataclass(frozen=True, slots=True)
class Dispute:
    """Hashes that should be equal are not: who has to leave, and what is told of it."""

    culprits: tuple[Culprit, ...]
    message: str


def dispute(hashes: Mapping[int, str], what: str) -> Dispute | None:
    """What follows from what each of some workers came to; None where all came to the same.

    More than half of them are right. Where no hash has so many nobody knows who is, and all have
    to leave: any of their processes may be at fault.
    """
    votes = Counter(hashes.values())
    if len(votes) < 2:
        return None
    found, count = votes.most_common(1)[0]
    is_known = 2 * count > len(hashes)
    wrong = sorted(w for w, its in hashes.items() if its != found or not is_known)
    told = _OUTVOTED if is_known else _UNKNOWN
    message = f"{_named(wrong)} came to other bits of {what}{told}"
    return Dispute(tuple(Culprit(w, Reason.BITS_DIFFER, message) for w in wrong), message)


_OUTVOTED = " than the majority."
_UNKNOWN = ", and there is no majority that says who is right."


def _named(workers: Sequence[int]) -> str:
    words = [str(worker) for worker in workers]
    if len(words) == 1:
        return f"Worker {words[0]}"
    return f"Workers {', '.join(words[:-1])} and {words[-1]}"


def with_their_cells(found: Dispute, members: Sequence[Member]) -> Dispute:
    """The same dispute, but whole cells have to leave: their members share what is wrong."""
    cells = {member.worker: member.cell for member in members}
    told = {cells[culprit.worker]: culprit for culprit in found.culprits}
    culprits = tuple(
        Culprit(each.worker, Reason.BITS_DIFFER, told[each.cell].message)
        for each in members
        if each.cell in told
    )
    return Dispute(culprits, found.message)
