"""What simulated workers compute: hashes that tell any other order, count or state apart.

A state is a few blocks. A step adds up, in the tree, a hash of each shard with the step and the
state, and makes each block new from its old value and that sum. The hash of a tuple of whole
numbers is the same in every process.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gradloom.worker.data.batches import place, shard_bounds
from gradloom.worker.exchange.tree import Node, fold, reduce

BLOCKS = 4
_VALIDATION = 1

Blocks = list[int]


@dataclass(frozen=True, slots=True)
class Sum:
    """The recipe of a job: what its workers' task says, as far as it matters to the result.

    skips maps steps that are not finite to the roll-backs after which they are.
    """

    seed: int
    rows: int
    batch_size: int
    shards: int
    steps: int
    validation_blocks: int = 0
    is_on_plateau: bool = False
    skips: tuple[tuple[int, int], ...] = ()

    def beginning(self) -> Blocks:
        """The blocks of step 0."""
        return [hash((self.seed, block)) for block in range(BLOCKS)]

    def is_finite(self, step: int, roll_backs: int) -> bool:
        """Whether the update that leads to a step can be made."""
        return all(roll_backs >= until for at, until in self.skips if at == step)

    def rows_of(self, step: int, shard: int) -> tuple[int, int, int]:
        """Epoch, first place and end of the rows of a shard, in the order of the epoch."""
        batch = place(step, self.rows, self.batch_size)
        first, last = shard_bounds(batch.last - batch.first, self.shards)[shard]
        return batch.epoch, batch.first + first, batch.first + last

    def leaf(self, step: int, shard: int, digest: int) -> int:
        """What a shard of the batch after a step comes to, computed with a state."""
        return hash((step, *self.rows_of(step, shard), digest))

    def node(self, node: Node, step: int, digest: int) -> int:
        """The sum below a node."""
        return fold(node, self.shards, lambda shard: self.leaf(step, shard, digest), add)

    def total(self, nodes: Mapping[Node, int]) -> int:
        """The sum over all shards. Raises IncompleteTree."""
        return reduce(nodes, self.shards, add)

    def block(self, old: int, total: int, number: int, rate: int) -> int:
        """A block after an update."""
        return hash((old, total, number, rate))

    def measure(self, digest: int, block: int) -> int:
        """What a block of the validation rows adds to the loss."""
        return hash((_VALIDATION, digest, block)) & 0xFFFF


def add(left: int, right: int) -> int:
    """The sum of two nodes; the order matters."""
    return hash((left, right))


def digest_of(blocks: Blocks) -> int:
    """The hash of a state."""
    return hash(tuple(blocks))


def loss_of(total: int) -> float:
    """What is told of a step as its loss."""
    return (total & 0xFFFFFFFF) / 2.0**32
