"""The digits job of the examples, as long as a test wants it."""

from pathlib import Path
from typing import Any

import yaml

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.yaml"


def digits(epochs: int) -> dict[str, Any]:
    """The job as a dictionary, with dropout and Adam on and a checkpoint every second."""
    job = yaml.safe_load(EXAMPLE.read_text())
    job["data"]["path"] = str(EXAMPLE.with_name("digits.npz"))
    job["training"]["epochs"] = epochs
    job["checkpoints"] = {"interval": "1s"}
    return dict(job)
