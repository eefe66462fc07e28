"""The products of attention over short rows, in tiles: what is hidden is hardly computed.

For some hundred tokens, products of BLAS take longer to begin than to compute.
"""

import numpy as np

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.attention import kv_heads
from gradloom.worker.engine.kernels.batched_products import (
    LEFT_ABOVE,
    LEFT_BELOW,
    RESULT_BELOW,
    WHOLE,
    Place,
    multiply,
)
from gradloom.worker.engine.kernels.tiles import COLUMNS
from gradloom.worker.engine.operation import Call
from gradloom.worker.engine.spec import Attention

# Up to so many tokens this is faster than products of whole matrices.
_MOST_TOKENS = 256


# An array in one line, the place of its matrices, and the step in their lines or the group of heads
# that share one.
Factor = tuple[Array, Place, int]


class Products:
    """The products of one call; tokens and the width of a head divide by 16."""

    def __init__(self, call: Call[Attention]) -> None:
        self._call = call
        self._tokens: int = call.inputs[0].shape[1]
        self._rows, _, self._numbers = call.inputs[0].shape
        self._heads, self._shared = call.layer.heads, kv_heads(call.layer)
        self._width: int = call.output.shape[-1] // self._heads
        self._group = self._heads // self._shared
        compared = call.saved[1] if call.layer.rotary else call.inputs[0]
        self._compared, self._qkv = compared.reshape(-1), call.inputs[0].reshape(-1)
        self._apart = compared.shape[-1]
        self._probabilities = call.saved[0].reshape(-1)

    @property
    def suit(self) -> bool:
        """Whether they are short, and fill tiles."""
        is_short: bool = self._tokens <= _MOST_TOKENS
        return is_short and self._tokens % COLUMNS == 0 and self._width % COLUMNS == 0

    def scores(self) -> None:
        """Queries times keys, in place of the probabilities."""
        keys = self._turned_over(self._compared, self._apart, self._heads * self._width)
        into = self._probabilities, self._square, 1
        self._multiply(self._queries(self._apart, self._compared), keys, into, RESULT_BELOW)

    def mixture(self) -> None:
        """Probabilities times values."""
        left = self._probabilities, self._square, 1
        right = self._qkv, self._in(self._numbers, self._values), self._group
        into = self._call.output.reshape(-1), self._in(self._heads * self._width), 1
        self._multiply(left, right, into, LEFT_BELOW)

    def probability_gradients(self) -> None:
        """The output's gradient times values, into scratch."""
        values = self._turned_over(self._qkv, self._numbers, self._values)
        left = self._given, self._in(self._heads * self._width), 1
        self._multiply(left, values, (self._slopes, self._square, 1), RESULT_BELOW)

    def input_gradients(self, dqkv: Array) -> None:
        """Of queries, keys and values, from the gradients of the scores in scratch."""
        out, keys = dqkv.reshape(-1), self._heads * self._width
        right = self._compared, self._in(self._apart, keys), self._group
        self._multiply(
            (self._slopes, self._square, 1), right, self._queries(self._numbers, out), LEFT_BELOW
        )
        over = (*self._square[:3], 1)
        right = self._queries(self._apart, self._compared)
        into = out, self._in(self._numbers, keys), self._group
        self._multiply((self._slopes, over, self._tokens), right, into, LEFT_ABOVE)
        right = self._given, self._in(self._heads * self._width), 1
        into = out, self._in(self._numbers, self._values), self._group
        self._multiply((self._probabilities, over, self._tokens), right, into, LEFT_ABOVE)

    @property
    def _values(self) -> int:
        """Where the values of a token begin."""
        return (self._heads + self._shared) * self._width

    @property
    def _square(self) -> Place:
        """The place of matrices of tokens by tokens."""
        size = self._tokens * self._tokens
        return 0, self._heads * size, size, self._tokens

    @property
    def _given(self) -> Array:
        return self._call.output_gradient.reshape(-1)

    @property
    def _slopes(self) -> Array:
        return self._call.scratch[0].reshape(-1)

    def _in(self, numbers: int, begin: int = 0) -> Place:
        """The place of heads that stand side by side in tokens of so many numbers."""
        return begin, self._tokens * numbers, self._width, numbers

    def _queries(self, numbers: int, array: Array) -> Factor:
        return array, self._in(numbers), 1

    def _turned_over(self, array: Array, numbers: int, begin: int) -> Factor:
        """Keys or values with their axes exchanged, in scratch."""
        end = begin + self._shared * self._width
        lines = array.reshape(self._rows, self._tokens, numbers)[:, :, begin:end]
        out = self._call.scratch[-1]
        np.copyto(out, lines.transpose(0, 2, 1))
        head = self._width * self._tokens
        return out.reshape(-1), (0, self._shared * head, head, self._tokens), self._group

    def _multiply(self, left: Factor, right: Factor, out: Factor, triangle: int) -> None:
        """The third part of the left factor is the step in its lines, of the others the group."""
        by_columns = triangle == RESULT_BELOW
        columns, depth = (self._tokens, self._width)[:: 1 if by_columns else -1]
        counts = self._rows, self._heads, self._tokens, columns, depth
        kind = triangle if self._call.layer.causal else WHOLE
        multiply(*left, *right, *out, counts, kind)
