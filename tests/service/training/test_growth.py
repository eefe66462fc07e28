"""What is a leak and what is not."""

from collections.abc import Iterable

from gradloom.service.training.growth import ROUNDS, Growth

BASE = 150_000_000


def after(sizes: Iterable[float]) -> Growth:
    growth = Growth()
    for size in sizes:
        growth = growth.after(int(size))
    return growth


def test_a_megabyte_a_round_is_a_leak_once_it_is_a_fifth() -> None:
    assert after(BASE + 1e6 * n for n in range(ROUNDS + 1)).is_a_leak
    assert not after(BASE + 1e6 * n for n in range(ROUNDS)).is_a_leak
    assert not after(BASE + 2e5 * n for n in range(10 * ROUNDS)).is_a_leak


def test_what_is_allocated_once_is_no_leak() -> None:
    for when in (1, ROUNDS // 2, ROUNDS - 1):
        growth = Growth()
        for number in range(3 * ROUNDS):
            growth = growth.after(BASE if number < when else 2 * BASE)
            assert not growth.is_a_leak


def test_memory_that_is_not_told_does_not_leak() -> None:
    assert not after([0] * 3 * ROUNDS).is_a_leak


def test_it_says_how_much() -> None:
    growth = after(BASE + 1e6 * n for n in range(ROUNDS + 1))
    assert str(growth) == "from 150 MB to 250 MB in 100 rounds"
