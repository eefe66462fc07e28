"""Guards of the real thing taken away one at a time: what each keeps out must then show.

A mutation is a function that, given a patch, makes the real thing worse.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from gradloom.service.training.coordinator import Coordinator
from gradloom.service.training.events import Event, RoundBroken, Send, WorkerAnswered
from gradloom.service.training.formations import Formations
from gradloom.service.training.round import Round, Word
from gradloom.service.training.runner import Run
from gradloom.worker.messages import Answer, Work


def _without_round_check(patch: pytest.MonkeyPatch) -> None:
    """An answer counts for the round under way, whichever it was given to."""
    said = Run._said

    def relabelled(self: Run, worker: int, answer: Answer) -> tuple[Event, ...]:
        return said(self, worker, replace(answer, round=self.coordinator.round))

    patch.setattr(Run, "_said", relabelled)


def _at_the_largest_step(patch: pytest.MonkeyPatch) -> None:
    """After a break all are to stand where the one furthest on does."""
    standing = Round.standing

    def furthest(round: Round, holders: Mapping[int, bool]) -> dict[int, int]:
        found = standing(round, holders)
        return dict.fromkeys(found, max(found.values(), default=0))

    patch.setattr(Round, "standing", furthest)


def _without_fence(patch: pytest.MonkeyPatch) -> None:
    """Nobody makes sure that a process that was given up has ended."""
    send = Formations._send

    def unfenced(self: Formations, worker: int, number: int, step: int, work: Work) -> Send:
        return replace(send(self, worker, number, step, work), fence=())

    patch.setattr(Formations, "_send", unfenced)


def _with_late_answers(patch: pytest.MonkeyPatch) -> None:
    """One that was given up, or has answered, is heard again, whatever round it speaks of."""
    _without_round_check(patch)
    heard = Coordinator._heard

    def forgiving(self: Coordinator, word: Word) -> object:
        if self._round and isinstance(word, WorkerAnswered | RoundBroken):
            self._round.answers[word.worker] = word
            self._round.pending.discard(word.worker)
            return self._settled_or_waiting(self._round)
        return heard(self, word)

    answered = Coordinator._answered

    def accepted(self: Coordinator, event: WorkerAnswered) -> object:
        return answered(self, event) or forgiving(self, event)

    patch.setattr(Coordinator, "_heard", forgiving)
    patch.setattr(Coordinator, "_answered", accepted)


def _without_the_state(patch: pytest.MonkeyPatch) -> None:
    """Who comes where nobody holds the state is not given it."""
    send = Formations._send

    def empty(self: Formations, worker: int, number: int, step: int, work: Work) -> Send:
        return replace(send(self, worker, number, step, work), load=False)

    patch.setattr(Formations, "_send", empty)


def _without_a_limit(patch: pytest.MonkeyPatch) -> None:
    """Nobody is ever given up for saying nothing, that it lives or what came of its work."""
    patch.setattr(Coordinator, "_overdue", lambda _self, _number, _time: [])
    patch.setattr(Coordinator, "_fell_silent", lambda _self, _event: [])


# With each the seed from which on it is looked for.
MUTATIONS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], int]] = {
    "no check of the round": (_without_round_check, 0),
    "the largest step instead of the smallest": (_at_the_largest_step, 170),
    "no fence": (_without_fence, 700),
    "late answers count": (_with_late_answers, 0),
    "no state for who joins": (_without_the_state, 0),
    "no limit on a round": (_without_a_limit, 0),
}
