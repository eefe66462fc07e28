"""What benchmarks on one core have in common: their options, and where their results go."""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.contestant import ROOT
from benchmarks.machine import take_core


def options(description: str | None, quick: str) -> argparse.Namespace:
    """quick and output, as asked for; this process is on its core from now on."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help=f"{quick}, shortly: does it run?")
    parser.add_argument("--core", type=int, help="the core to measure on; the last one if left out")
    parser.add_argument("--output", type=Path, default=ROOT, help="the folder to write below")
    found = parser.parse_args()
    take_core(found.core)
    return found


def write(output: Path, name: str, found: dict[str, Any]) -> None:
    """Writes results of that name."""
    path = output / f"benchmarks/results/{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
