"""Ray Train from fit() to the first step of the digits' network, job after job: `WORKERS TIMES`.

Run by benchmarks/start.py with an interpreter that has torch and ray[train]; uses nothing of ours.
Prints a JSON list of seconds. Workers write the time of their first step to a file.
"""

import json
import logging
import sys
import tempfile
import time
from pathlib import Path

import ray
import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, prepare_model

_ROWS, _INPUTS, _UNITS, _CLASSES = 64, 64, 128, 10


def train(config: dict[str, str]) -> None:
    """One step on random rows, as every worker does it; then the time of day."""
    inputs, units = torch.nn.Linear(_INPUTS, _UNITS), torch.nn.Linear(_UNITS, _CLASSES)
    model = prepare_model(torch.nn.Sequential(inputs, torch.nn.ReLU(), units))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    labels = torch.arange(_ROWS) % _CLASSES
    loss = torch.nn.functional.cross_entropy(model(torch.rand(_ROWS, _INPUTS)), labels)
    loss.backward()
    optimizer.step()
    if ray.train.get_context().get_world_rank() == 0:
        Path(config["file"]).write_text(str(time.time()))


def first_step(workers: int, folder: str) -> float:
    """Seconds from fit() to the end of the first step."""
    file = Path(folder) / "first_step"
    trainer = TorchTrainer(
        train,
        train_loop_config={"file": str(file)},
        scaling_config=ScalingConfig(num_workers=workers),
        run_config=RunConfig(storage_path=folder),
    )
    began = time.time()
    trainer.fit()
    return float(file.read_text()) - began


def main() -> None:
    """Measures and prints."""
    workers, times = map(int, sys.argv[1:])
    ray.init(
        address="local", include_dashboard=False, num_cpus=workers + 1, logging_level=logging.ERROR
    )
    with tempfile.TemporaryDirectory() as folder:
        seconds = [first_step(workers, folder) for _ in range(times + 1)][1:]
    ray.shutdown()
    sys.stdout.write(json.dumps(seconds) + "\n")


if __name__ == "__main__":
    main()
