"""Which shards are looked at twice."""

from collections import Counter

from gradloom.service.training.spot_checks import drawn


def test_the_draw_follows_from_seed_and_step() -> None:
    assert drawn(3, 200, 8) == drawn(3, 200, 8)
    assert {drawn(3, step, 8) for step in range(200, 20_000, 200)} == set(range(8))
    assert [drawn(3, s, 8) for s in range(9)] != [drawn(4, s, 8) for s in range(9)]


def test_no_shard_is_drawn_much_more_often_than_others() -> None:
    counts = Counter(drawn(7, step, 5) for step in range(0, 1_000_000, 200))
    assert set(counts) == set(range(5))
    assert max(counts.values()) < 1.15 * min(counts.values())


def test_one_shard_is_always_drawn() -> None:
    assert drawn((1 << 63) - 1, 10**9, 1) == 0
