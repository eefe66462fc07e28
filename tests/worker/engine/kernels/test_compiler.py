"""A process knows which kernels it had to compile."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DOUBLED = """
import json, sys
import numpy as np
from gradloom.worker.engine.kernels.compiler import compilations, kernel

@kernel
def doubled(x):
    for index in range(x.shape[0]):
        x[index] *= 2

@kernel
def never(x):
    x[0] = 0

for dtype in sys.argv[1:]:
    doubled(np.ones(3, dtype))
found = compilations()
print(json.dumps([found.compiled, found.found, found.unused]))
"""


def seen(program: Path, cache: Path, *dtypes: str) -> list[object]:
    """What a new process says of its kernels."""
    output = subprocess.check_output(
        [sys.executable, program, *dtypes],
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        text=True,
    )
    answer: list[object] = json.loads(output)
    return answer


@pytest.mark.process
def test_a_process_knows_what_it_compiled_found_and_never_used(tmp_path: Path) -> None:
    program, cache = tmp_path / "doubled.py", tmp_path / "cache"
    program.write_text(DOUBLED)
    never = ["__main__.never"]
    assert seen(program, cache) == [0, 0, ["__main__.doubled", *never]]
    assert seen(program, cache, "float32") == [1, 0, never]
    assert seen(program, cache, "float32", "float64") == [1, 1, never]
    assert seen(program, cache, "float32", "float64") == [0, 2, never]
