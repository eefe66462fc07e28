"""`gradloom cluster-check`: what it says of a real Ray, and of what is none."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from gradloom.service.cli import main
from gradloom.service.fleet.ray_environment import prepare

CHECK = (sys.executable, "-m", "gradloom.service.cli", "cluster-check", "--address")

# A Ray of one node, which lives until its input ends.
CLUSTER = """
import sys, ray
ray.init(
    address="local", num_cpus=1, include_dashboard=False, object_store_memory=80_000_000,
    log_to_driver=False,
)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Ray:
    """A Ray that is up, and the variables by which it lets one in."""

    address: str
    variables: dict[str, str]

    def check(self, *options: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*CHECK, self.address, *options],
            env={**self.variables, **variables},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ray]:
    variables = dict(os.environ)
    prepare(variables, tmp_path_factory.mktemp("ray") / "token")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", CLUSTER], env=variables, text=True, **pipes) as up:
        assert up.stdin is not None and up.stdout is not None
        yield Ray(up.stdout.readline().strip(), variables)
        up.stdin.close()


@pytest.mark.ray
@pytest.mark.process
def test_a_healthy_ray_is_said_to_be_so(ray: Ray) -> None:
    done = ray.check("--json")
    document = json.loads(done.stdout)
    assert document["problems"] == [] and document["ok"] and done.returncode == 0
    (node,) = document["nodes"]
    assert node["cpus"] == 1 and node["facts"]["versions"] == document["versions_here"]
    assert abs(node["clock"]["ahead_seconds"]) <= node["clock"]["uncertainty_seconds"] + 0.05


@pytest.mark.ray
@pytest.mark.process
@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        pytest.param(
            {"RAY_AUTH_TOKEN_PATH": ""},
            "it asks for a token: set RAY_AUTH_TOKEN_PATH",
            id="no token",
        ),
        pytest.param(
            {"RAY_AUTH_TOKEN": "f" * 64},
            "it refuses the token, or is no Ray: RAY_AUTH_TOKEN_PATH has to name",
            id="another token",
            marks=pytest.mark.slow,  # Ray's own patience
        ),
    ],
)
def test_a_token_that_is_missing_or_wrong_is_said(
    ray: Ray, tmp_path: Path, variables: dict[str, str], sentence: str
) -> None:
    done = ray.check(HOME=str(tmp_path), **variables)
    assert done.returncode == 5
    assert sentence in done.stderr.splitlines()[-1]


def test_an_address_where_nobody_listens_is_unreachable_at_once() -> None:
    done = subprocess.run([*CHECK, "127.0.0.1:1"], capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert "Ray at 127.0.0.1:1 cannot be reached: " in done.stderr and "refused" in done.stderr


@pytest.mark.parametrize("address", ["auto", "ray://10.0.0.1:10001", "10.0.0.1", ":6379"])
def test_what_is_no_address_is_wrong_usage(address: str) -> None:
    result = CliRunner().invoke(main, ["cluster-check", "--address", address])
    assert result.exit_code == 2
    assert "is not HOST:PORT" in result.stderr
