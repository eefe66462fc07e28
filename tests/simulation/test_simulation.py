"""Thousands of runs of the real floor among simulated workers, and proof that they can fail."""

from pathlib import Path

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.simulation import Outcome, simulate

# About a second of one core for every forty seeds.
SEEDS = 500
_A_PART = 50
# A guard that is taken away shows within so many seeds.
_SOON = 400

ONCE_FAILED = [
    int(line.split("#")[0])
    for line in Path(__file__).with_name("seeds.txt").read_text().splitlines()
    if line.split("#")[0].strip()
]


def test_a_seed_is_the_same_run_every_time() -> None:
    first, again = simulate(46), simulate(46)
    assert (first.told, first.seconds, first.states) == (again.told, again.seconds, again.states)


@pytest.mark.parametrize("first", range(0, SEEDS, _A_PART))
def test_every_run_is_sound(first: int) -> None:
    failed = [str(o) for o in map(simulate, range(first, first + _A_PART)) if o.broken]
    assert not failed, "\n\n".join(failed[:3])


@pytest.mark.parametrize("seed", ONCE_FAILED)
def test_a_seed_that_once_failed_is_sound(seed: int) -> None:
    outcome = simulate(seed)
    assert not outcome.broken, str(outcome)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_guard_that_is_taken_away_is_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate, first = MUTATIONS[name]
    mutate(monkeypatch)
    assert _first_broken(first) is not None, f"{name}: {_SOON} seeds from {first} are sound"


def _first_broken(first: int) -> Outcome | None:
    return next((o for o in map(simulate, range(first, first + _SOON)) if o.broken), None)
