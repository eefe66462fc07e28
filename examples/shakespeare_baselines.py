"""What counting characters achieves on the held-out text of make_shakespeare.py.

Prints nats per character of unigrams, bigrams and trigrams, and of a job where its folder is given:
python examples/shakespeare_baselines.py [out/JOB]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

_EM_ROUNDS = 50


def counts(codes: Codes, order: int, size: int) -> Floats:
    """How often each sequence of so many characters occurs: one axis a character."""
    runs = np.lib.stride_tricks.sliding_window_view(codes.astype(np.int64), order)
    places = runs @ size ** np.arange(order - 1, -1, -1)
    return np.bincount(places, minlength=size**order).reshape((size,) * order).astype(np.float64)


def add_one(counted: Floats) -> Floats:
    """Probabilities of the last character given those before it, one added to each count."""
    smoothed: Floats = (counted + 1) / (counted + 1).sum(axis=-1, keepdims=True)
    return smoothed


def frequencies(counted: Floats) -> Floats:
    """Shares of the last character given those before it; 0 where those never occurred."""
    return counted / np.maximum(counted.sum(axis=-1, keepdims=True), 1)


def probabilities(table: Floats, codes: Codes) -> Floats:
    """What a table gives to every character of a text but the first two."""
    order = table.ndim
    runs = np.lib.stride_tricks.sliding_window_view(codes, order)[3 - order :]
    found: Floats = table[tuple(runs.T)]
    return found


def mixture(training: Codes, size: int, codes: Codes, orders: int) -> Floats:
    """Shares that uniform, 1-, … orders-grams of the training text give to a text, side by side."""
    tables = [frequencies(counts(training, order, size)) for order in range(1, orders + 1)]
    uniform = np.full(len(codes) - 2, 1 / size)
    return np.stack([uniform, *(probabilities(table, codes) for table in tables)], axis=1)


def weights(shares: Floats) -> Floats:
    """How to mix the columns so that the rows are likeliest, by expectation and maximisation."""
    mixed: Floats = np.full(shares.shape[1], 1 / shares.shape[1])
    for _ in range(_EM_ROUNDS):
        parts = shares * mixed
        mixed = (parts / parts.sum(axis=1, keepdims=True)).mean(axis=0)
    return mixed


def interpolated(training: Codes, size: int, held_out: Codes, orders: int) -> float:
    """Nats per character of interpolated n-grams (Jelinek and Mercer, 1980).

    Their weights are those that suit the last tenth of the training text, given the rest of it.
    """
    cut = len(training) * 9 // 10
    mixed = weights(mixture(training[:cut], size, training[cut:], orders))
    return nats(mixture(training, size, held_out, orders) @ mixed)


def nats(found: Floats) -> float:
    """Mean of -log probability."""
    return float(-np.log(found).mean())


def baselines(training: Codes, held_out: Codes, size: int) -> dict[str, tuple[float, float]]:
    """Nats per character, one added to every count, and interpolated."""
    names = ("unigram", "bigram", "trigram")
    return {
        name: (
            nats(probabilities(add_one(counts(training, order, size)), held_out)),
            interpolated(training, size, held_out, order),
        )
        for order, name in enumerate(names, start=1)
    }


def report(found: dict[str, tuple[float, float]], model: float | None) -> Sequence[str]:
    """The table as lines."""
    lines = ["nats per character  add-one  interpolated"]
    lines += [f"{name:18}  {one:7.3f}  {mixed:12.3f}" for name, (one, mixed) in found.items()]
    return [*lines, f"{'the model':18}  {model:7.3f}"] if model is not None else lines


def main() -> None:
    """Reads the text, prints the table; ends with 1 where a job is not below the trigrams."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", nargs="?", type=Path, help="a finished job's folder")
    parser.add_argument("--text", type=Path, default=Path("out/data/shakespeare_text.npz"))
    options = parser.parse_args()
    text = np.load(options.text)
    found = baselines(text["training"], text["held_out"], len(text["alphabet"]))
    model = _loss(options.job) if options.job else None
    sys.stdout.write("\n".join(report(found, model)) + "\n")
    sys.exit(model is not None and model >= min(found["trigram"]))


def _loss(job: Path) -> float:
    summary = json.loads((job / "summary.json").read_text())
    return float(summary["metrics"]["test/loss"])


if __name__ == "__main__":
    main()
