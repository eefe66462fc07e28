"""A Ray of this run on loopback, with a token, and what is left in it."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_START_SECONDS = 90
_ASK_SECONDS = 60
_OBJECT_STORE_BYTES = 100_000_000
# What is ours among its processes.
_OURS = ("gradloom", "ray::Actor", "ray::Warden")

# Run in a process of its own: one that has joined a cluster cannot leave it cleanly.
LEFT = """
import json, sys, ray
from ray._private.state import actors
from ray.util import placement_group_table
ray.init(address=sys.argv[1], namespace="gradloom", logging_level="ERROR", log_to_driver=False)
live = [f"actor {key} {a['State']}" for key, a in actors().items() if a["State"] != "DEAD"]
groups = [f"placement group {g['name']} {g['state']}" for g in placement_group_table().values()
          if g["state"] != "REMOVED"]
print(json.dumps(live + groups))
"""


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A cluster that is up: its address, and the variables that its clients need."""

    address: str
    variables: Mapping[str, str]

    def left(self) -> tuple[str, ...]:
        """Actors that live and placement groups that hold room."""
        asked = subprocess.run(
            [sys.executable, "-c", LEFT, self.address],
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
            timeout=_ASK_SECONDS,
            check=True,
        )
        return parsed(asked.stdout)


def parsed(output: str) -> tuple[str, ...]:
    """What LEFT printed, which Ray may have said something before."""
    return tuple(json.loads(output.splitlines()[-1]))


def is_daemon(words: str) -> bool:
    """Whether these are the words of a process of Ray's own."""
    return "ray" in words and not any(word in words for word in _OURS)


@contextmanager
def ray_cluster(folder: Path, cpus: int) -> Iterator[RayCluster]:
    """Starts a head on loopback; ends it and all its processes afterwards."""
    token = folder / "ray_token"
    token.write_text(secrets.token_hex(32))
    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(folder / "ray"),
    }
    where = ["--node-ip-address=127.0.0.1", "--port=6379", f"--temp-dir={folder / 'ray'}"]
    much = [f"--num-cpus={cpus}", f"--object-store-memory={_OBJECT_STORE_BYTES}"]
    _ray(["start", "--head", "--include-dashboard=false", *where, *much], variables)
    try:
        yield RayCluster("127.0.0.1:6379", variables)
    finally:
        _ray(["stop", "--force"], variables)


def _ray(words: list[str], variables: Mapping[str, str]) -> None:
    """Runs Ray's command line."""
    program = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
    subprocess.run(
        [sys.executable, "-c", program, *words],
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        timeout=_START_SECONDS,
        check=True,
    )
