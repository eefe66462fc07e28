"""The digits job of the examples, long enough to be killed in the middle."""

from pathlib import Path
from typing import Any

import yaml

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.yaml"


def digits(epochs: int = 60) -> dict[str, Any]:
    """The job as a dictionary, with dropout and Adam on and a checkpoint every second."""
    job = yaml.safe_load(EXAMPLE.read_text())
    job["data"]["path"] = str(EXAMPLE.with_name("digits.npz"))
    job["training"]["epochs"] = epochs
    job["checkpoints"] = {"interval": "1s"}
    return dict(job)
