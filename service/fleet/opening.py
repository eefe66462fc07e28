"""Opens the fleet that a configuration asks for. Imports Ray only where it is asked for."""

import os
from importlib.util import find_spec

from gradloom.service.config import ServerConfig
from gradloom.service.fleet.group import Fleet
from gradloom.service.fleet.local_group import LocalFleet
from gradloom.service.fleet.ray_environment import prepare
from gradloom.service.fleet.worker_process import Spares


def backend_of(config: ServerConfig) -> str:
    """ray where it was asked for and is installed, else local."""
    return "ray" if config.backend == "ray" and find_spec("ray") else "local"


def open_fleet(config: ServerConfig) -> Fleet:
    """The fleet, its spare workers starting. Raises Unavailable where Ray does not answer."""
    if backend_of(config) == "local":
        return LocalFleet(
            config.cpus, Spares(config.spare_workers, config.data_dir / "spares", config.profile)
        )
    prepare(os.environ, None if config.address else config.data_dir / "ray_token")
    # Ray reads its environment when it is imported, so not before prepare.
    from gradloom.service.fleet.ray_group import RayFleet

    return RayFleet(config.address, config.cpus)
