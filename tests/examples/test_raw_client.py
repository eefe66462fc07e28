"""The example of a client that has nothing of Gradloom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from gradloom.service.config import ServerConfig
from gradloom.service.server import Embedded

ROOT = Path(__file__).parents[2]
RAW_CLIENT = ROOT / "examples/raw_client.py"


def test_it_imports_grpc_and_protobuf_alone():
    tree = ast.parse(RAW_CLIENT.read_text())
    plain = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    froms = [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    packages = {name.partition(".")[0] for name in (*plain, *froms)}
    assert packages - sys.stdlib_module_names == {"google", "grpc", "grpc_reflection"}


@pytest.mark.process
def test_it_trains_a_job_to_the_end(tmp_path: Path):
    config = ServerConfig(
        data_dir=tmp_path,
        listen="127.0.0.1:0",
        http="127.0.0.1:0",
        backend="local",
        data_roots=(ROOT,),
    )
    with Embedded(config) as ready:
        output = subprocess.check_output([sys.executable, RAW_CLIENT, ready.address], text=True)
    *_, state, weights = output.splitlines()
    assert state.endswith("STATE_SUCCEEDED")
    assert len(weights) == 64
