"""The small jobs that faults happen to: three kinds of models, several seeds of each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

# A job as a dictionary, as in a job file.
Spec = dict[str, Any]

EXAMPLES = Path(__file__).parents[2] / "examples"
SHARDS = 4
_WINDOWS, _CONTEXT, _SYMBOLS = 2_048, 16, 32


@dataclass(frozen=True, slots=True)
class Case:
    """A spec whose result is known: the weights depend on nothing but this."""

    kind: str
    seed: int
    steps: int

    @property
    def name(self) -> str:
        """What it is called in reports, and its job's name."""
        return f"{self.kind}-{self.seed}"

    def lasting(self, seconds: float, steps_a_second: float) -> "Case":
        """The same with as many steps as take about so long, a round number of them."""
        wanted = max(20, round(seconds * steps_a_second))
        unit = 10 ** max(1, len(str(wanted)) - 2)
        return replace(self, steps=wanted // unit * unit)


def spec_of(case: Case, folder: Path) -> Spec:
    """The job of a case; the folder holds what write_data wrote."""
    model = KINDS[case.kind]
    return {
        "name": case.name,
        "seed": case.seed,
        "loss": {"softmax_cross_entropy": {}},
        **model,
        "data": _located(model["data"], folder),
        "training": {**model["training"], "steps": case.steps, "shards": SHARDS},
        "checkpoints": {"interval": "1s"},
        # Deaths are the harness's doing and not the job's: it is not given up for them.
        "resources": {"workers": 1, "max_failures": 1_000_000},
    }


def _located(data: Mapping[str, Any], folder: Path) -> Spec:
    paths = {"digits": EXAMPLES / "digits.npz", "tokens": folder / "tokens.npz"}
    return {**data, "path": str(paths[data["path"]])}


def write_data(folder: Path) -> None:
    """Windows of symbols, each of which follows from the two before it, mostly."""
    draw = np.random.default_rng(5)
    text = draw.integers(0, _SYMBOLS, _WINDOWS + _CONTEXT + 1)
    for place in range(2, len(text)):
        if draw.random() < 0.9:
            text[place] = (text[place - 1] * 3 + text[place - 2]) % _SYMBOLS
    windows = np.lib.stride_tricks.sliding_window_view(text, _CONTEXT + 1)
    np.savez(folder / "tokens.npz", text=windows[:, :-1], next=windows[:, 1:])


_DIGITS = {"path": "digits", "inputs": ["images"], "target": "labels", "normalize": "unit"}

KINDS: Mapping[str, Spec] = {
    "mlp-dropout": {
        "data": {**_DIGITS, "validation_fraction": 0.2},
        "model": {
            "layers": [
                {"dense": {"units": 96}},
                {"relu": {}},
                {"dropout": {"rate": 0.2}},
                {"dense": {"units": 10}},
            ]
        },
        "optimizer": {"sgd": {"learning_rate": 0.05, "momentum": 0.9}},
        "training": {"batch_size": 64},
    },
    "cnn-batch-norm": {
        "data": _DIGITS,
        "model": {
            "layers": [
                {"reshape": {"shape": [8, 8, 1]}},
                {"conv2d": {"filters": 8, "kernel": [3], "padding": "same"}},
                {"batch_norm": {}},
                {"relu": {}},
                {"max_pool2d": {"size": [2]}},
                {"flatten": {}},
                {"dropout": {"rate": 0.2}},
                {"dense": {"units": 10}},
            ]
        },
        "optimizer": {"adam": {"learning_rate": 0.002}, "average": {"decay": 0.99}},
        "training": {"batch_size": 64},
    },
    "gpt": {
        "data": {"path": "tokens", "inputs": ["text"], "target": "next"},
        "model": {
            "layers": [
                {"embedding": {"size": _SYMBOLS, "width": 32}},
                {"positions": {"length": _CONTEXT}},
                {"transformer_block": {"heads": 2, "causal": True}},
                {"layer_norm": {}},
                {"dense": {"units": _SYMBOLS}},
            ]
        },
        "optimizer": {
            "adamw": {"learning_rate": 0.002, "weight_decay": 0.1},
            "clip_norm": 1,
            "no_decay_on_bias_and_norm": True,
        },
        "schedule": {"cosine": {"warmup_steps": 10}},
        "training": {"batch_size": 16},
    },
}
