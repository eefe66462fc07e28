"""Our products of dense layers beside BLAS's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.products import PRODUCTS

ROOT = Path(__file__).parents[2]


@pytest.mark.process
def test_a_quick_run_writes_a_share_of_every_product(tmp_path: Path):
    subprocess.run(
        [sys.executable, "-m", "benchmarks.products", "--quick", "--output", str(tmp_path)],
        cwd=ROOT,
        env=os.environ,
        check=True,
    )
    found = json.loads((tmp_path / "benchmarks/results/products.json").read_text())
    (row,) = found["rows"]
    names = {*PRODUCTS, *(f"{name} by BLAS" for name in PRODUCTS)}
    assert set(row["shares"]) == names
    assert all(0 < share < 2 for share in row["shares"].values())
