"""The jobs whose weights must be the same wherever they are trained: small, and each of its kind.

Every model has more than eight blocks of parameters, so that eight workers all have a slice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_DIGITS = Path(__file__).parents[1] / "examples" / "digits.npz"

_TOKENS, _CONTEXT, _ROWS, _SEED = 48, 16, 160, 5

Parts = Mapping[str, Any]

_CONVOLVED: tuple[Parts, ...] = ({"batch_norm": {}}, {"relu": {}}, {"max_pool2d": {"size": [2]}})

MODELS: Mapping[str, tuple[Parts, ...]] = {
    "mlp": (
        {"dense": {"units": 256}},
        {"relu": {}},
        {"dropout": {"rate": 0.2}},
        {"dense": {"units": 256}},
        {"relu": {}},
        {"dropout": {"rate": 0.2}},
        {"dense": {"units": 10}},
    ),
    "cnn": (
        {"reshape": {"shape": [8, 8, 1]}},
        {"conv2d": {"filters": 32, "kernel": [3], "padding": "same"}},
        *_CONVOLVED,
        {"conv2d": {"filters": 64, "kernel": [3], "padding": "same"}},
        *_CONVOLVED,
        {"flatten": {}},
        {"dense": {"units": 256}},
        {"relu": {}},
        {"dense": {"units": 10}},
    ),
    "gpt": (
        {"embedding": {"size": _TOKENS, "width": 64}},
        {"positions": {"length": _CONTEXT}},
        {"transformer_block": {"heads": 4, "causal": True}},
        {"transformer_block": {"heads": 4, "causal": True}},
        {"layer_norm": {}},
        {"dense": {"units": _TOKENS}},
    ),
}

OPTIMIZERS: Mapping[str, Parts] = {
    "sgd momentum": {"sgd": {"learning_rate": 0.05, "momentum": 0.9}, "clip_norm": 1},
    "adam": {"adam": {"learning_rate": 0.002}},
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A model under an optimiser."""

    model: str
    optimizer: str

    def job(self, folder: Path, steps: int) -> dict[str, Any]:
        """The job as a dictionary; what data it needs is written into the folder."""
        return {
            "name": self.model,
            "seed": 11,
            "data": _data(self.model, folder),
            "model": {"layers": list(MODELS[self.model])},
            "loss": {"softmax_cross_entropy": {}},
            "optimizer": dict(OPTIMIZERS[self.optimizer]),
            "schedule": {"cosine": {"warmup_steps": 4}},
            "training": {"batch_size": 64, "steps": steps, "shards": 8},
        }


KINDS = tuple(Kind(model, optimizer) for model in MODELS for optimizer in OPTIMIZERS)


def _data(model: str, folder: Path) -> dict[str, Any]:
    if model != "gpt":
        return {
            "path": str(_DIGITS),
            "inputs": ["images"],
            "target": "labels",
            "validation_fraction": 0.2,
            "normalize": "unit",
        }
    path = folder / "tokens.npz"
    if not path.exists():
        np.savez(path, text=(text := _text())[:, :-1], next=text[:, 1:])
    return {"path": str(path), "inputs": ["text"], "target": "next", "validation_fraction": 0.2}


def _text() -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Rows of tokens, each the one before and a random number of at most three, in a circle."""
    random = np.random.Generator(np.random.Philox(_SEED))
    steps = random.integers(0, 4, (_ROWS, _CONTEXT + 1))
    steps[:, 0] = np.arange(_ROWS)
    return np.cumsum(steps, axis=1, dtype=np.int64) % _TOKENS
