"""How much a file from a stranger may make us hold in memory."""

from gradloom.worker.data.wording import size

# Of a file as it stands, and of what it unpacks to.
LIMIT_BYTES = 512_000_000
LIMIT_RATIO = 200
# Below this much, any ratio is harmless: an array of one value packs a thousandfold.
HARMLESS_BYTES = 1_000_000


def unpacked_limit(packed_bytes: int) -> int:
    """The most bytes that so many packed bytes may unpack to."""
    return min(LIMIT_BYTES, max(HARMLESS_BYTES, LIMIT_RATIO * packed_bytes))


def over_limit(what: str, unpacked: str, packed_bytes: int) -> str:
    """A sentence for data that unpacks to more than it may."""
    limit = unpacked_limit(packed_bytes)
    reason = "" if limit == LIMIT_BYTES else f" ({LIMIT_RATIO} times its {size(packed_bytes)})"
    return f"The {what} unpacks to {unpacked}, the limit is {size(limit)}{reason}."
