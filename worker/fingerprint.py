"""A short word for a vector: two that differ in any bit have, but for a chance, other ones."""

import numpy as np
from xxhash import xxh3_128_hexdigest

from gradloom.worker.exchange.exchange import Vector


def fingerprint(vector: Vector) -> str:
    """The hash of a vector's bits, as letters: XXH3's, which reads about as fast as the memory."""
    return xxh3_128_hexdigest(vector.view(np.uint8).data)
