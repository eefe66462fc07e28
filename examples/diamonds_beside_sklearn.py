"""The diamonds by Gradloom and by scikit-learn's MLPRegressor, at equal budget, as a table.

Both have the same rows, scaling, network, first weights' distribution, epochs, batches and Adam.
Run by a Python that has scikit-learn: python examples/diamonds_beside_sklearn.py
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

JOB = Path(__file__).with_name("diamonds.yaml")
DATA = Path("out/data")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Errors on the test rows in natural logarithms of dollars, and seconds of training."""

    rmse: float
    mae: float
    r2: float
    seconds: float


def gradloom(command: str, seed: int, folder: Path) -> Outcome:
    """Trains the job with another seed."""
    job = folder / f"diamonds-{seed}.yaml"
    job.write_text(JOB.read_text().replace("seed: 7", f"seed: {seed}"))
    run = [command, "run", str(job), "--backend", "local", "--json", "--output", str(folder)]
    lines = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    summary = json.loads(lines[-1])
    metrics = summary["metrics"]
    rows = len(np.load(DATA / "diamonds.npz")["log_price"]) * summary["epochs"]
    return Outcome(
        metrics["test/rmse"],
        metrics["test/mae"],
        metrics["test/r2"],
        rows / summary["samples_per_second"],
    )


def scikit_learn(seed: int) -> Outcome:
    """Trains an MLPRegressor with as many epochs, and no early end."""
    training, test = np.load(DATA / "diamonds.npz"), np.load(DATA / "diamonds_test.npz")
    scaler = StandardScaler().fit(training["stones"])
    stones = scaler.transform(training["stones"]).astype(np.float32)
    model = MLPRegressor(
        hidden_layer_sizes=(64, 64),
        activation="relu",
        solver="adam",
        alpha=0.0,
        batch_size=128,
        learning_rate_init=0.001,
        max_iter=30,
        tol=0.0,
        n_iter_no_change=30,
        random_state=seed,
    )
    began = time.perf_counter()
    with threadpool_limits(1):  # as a worker has
        model.fit(stones, training["log_price"].astype(np.float32))
    seconds = time.perf_counter() - began
    found = model.predict(scaler.transform(test["stones"]).astype(np.float32))
    errors = (root_mean_squared_error, mean_absolute_error, r2_score)
    return Outcome(*(float(error(test["log_price"], found)) for error in errors), seconds)


def table(outcomes: dict[str, list[Outcome]]) -> Iterator[str]:
    """The outcomes as lines, medians of the seeds last."""
    yield f"{'':24} {'RMSE':>7} {'MAE':>7} {'R²':>7} {'seconds':>8}"
    for name, found in outcomes.items():
        for seed, outcome in enumerate(found):
            yield _line(f"{name}, seed {seed}", outcome)
    for name, found in outcomes.items():
        fields = ("rmse", "mae", "r2", "seconds")
        middle = Outcome(*(median(getattr(o, field) for o in found) for field in fields))
        yield _line(f"{name}, median", middle)


def _line(name: str, o: Outcome) -> str:
    return f"{name:24} {o.rmse:7.4f} {o.mae:7.4f} {o.r2:7.4f} {o.seconds:8.1f}"


def main() -> None:
    """Trains both with each seed in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gradloom", default="gradloom", help="the command that runs a job")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    folder = Path("out/diamonds")
    folder.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, list[Outcome]] = {"Gradloom": [], "scikit-learn": []}
    for seed in range(options.seeds):
        outcomes["Gradloom"].append(gradloom(options.gradloom, seed, folder))
        outcomes["scikit-learn"].append(scikit_learn(seed))
    sys.stdout.write("\n".join(table(outcomes)) + "\n")


if __name__ == "__main__":
    main()
