"""The cases that are measured, as data. Imports nothing, so that every contestant can read it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """A model by its name, and the rows of a batch."""

    model: str
    batch: int

    def __str__(self) -> str:
        return f"{self.model} {self.batch}"


CASES = (
    Case("mlp", 32),
    Case("mlp", 128),
    Case("mlp", 512),
    Case("cnn", 32),
    Case("cnn", 128),
    Case("gpt", 8),
    Case("gpt", 32),
)

QUICK_CASES = (Case("mlp", 32),)

# The same batch in so many virtual shards.
SHARDED_MODELS = ("mlp", "cnn")
SHARDED_BATCH = 256
SHARD_COUNTS = (1, 2, 4, 8, 16)

# Two workers, against two processes of DDP: rows of the batch of both together.
DDP_WORKERS, DDP_SHARDS = 2, 4
DDP_CASES = (
    Case("mlp", 64),
    Case("mlp", 256),
    Case("mlp", 1024),
    Case("cnn", 64),
    Case("cnn", 256),
    Case("gpt", 16),
    Case("gpt", 64),
)
# How many times as many rows a second are aimed at.
DDP_GOALS = {
    Case("mlp", 256): 1.8,
    Case("cnn", 64): 1.4,
    Case("cnn", 256): 1.4,
    Case("gpt", 16): 1.3,
    Case("gpt", 64): 1.3,
}
