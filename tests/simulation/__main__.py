"""Runs seeds and tells of those that are not sound: first seed, and how many."""

import sys
from time import perf_counter

from tests.simulation.simulation import simulate


def main(first: int, count: int) -> int:
    """Tells of seeds that fail with what happened; how many there were."""
    failed, began = [], perf_counter()
    for seed in range(first, first + count):
        outcome = simulate(seed)
        if outcome.broken or count == 1:
            sys.stdout.write(f"{outcome}\n")
        if outcome.broken:
            failed.append(seed)
    rate = 60 * count / (perf_counter() - began)
    sys.stdout.write(
        f"{count} seeds from {first}, {rate:.0f} a minute, {len(failed)} failed {failed or ''}\n"
    )
    return len(failed)


if __name__ == "__main__":
    sys.exit(min(main(int(sys.argv[1]), int(sys.argv[2])), 1))
