"""Which shard of a step all workers compute once more, to have their bits compared. Pure."""

_WORD = (1 << 64) - 1


def drawn(seed: int, step: int, shards: int) -> int:
    """A shard drawn by seed and step alone, so that no shard is spared for long.

    The mixing is that of SplitMix64 (Steele, Lea, Flood 2014).
    """
    word = (seed + 0x9E3779B97F4A7C15 * (step + 1)) & _WORD
    word = ((word ^ word >> 30) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ word >> 27) * 0x94D049BB133111EB) & _WORD
    return (word ^ word >> 31) % shards
