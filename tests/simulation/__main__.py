"""Runs seeds and tells of those that are not sound: first seed, and how many."""

import sys
from time import perf_counter

from tests.simulation.simulation import simulate


def main(first: int, count: int) -> int:
    """Prints seeds that fail with what happened; how many there were."""
    failed, began = [], perf_counter()
    for seed in range(first, first + count):
        outcome = simulate(seed)
        if outcome.broken or count == 1:
            print(outcome, flush=True)
        if outcome.broken:
            failed.append(seed)
    rate = 60 * count / (perf_counter() - began)
    print(f"{count} seeds from {first}, {len(failed)} failed, {rate:.0f} a minute", *failed)
    return len(failed)


if __name__ == "__main__":
    sys.exit(min(main(int(sys.argv[1]), int(sys.argv[2])), 1))
