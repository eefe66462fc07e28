"""Opens the fleet that a configuration asks for. Imports Ray only where it is asked for."""

import os
from collections.abc import Callable
from importlib.util import find_spec

import structlog

from gradloom.service.config import ServerConfig
from gradloom.service.fleet.group import Fleet
from gradloom.service.fleet.local_group import LocalFleet, available_cpus
from gradloom.service.fleet.process_pool import ProcessPool
from gradloom.service.fleet.ray_environment import prepare
from gradloom.service.fleet.sweep import mark, sweep

log = structlog.get_logger()


def backend_of(config: ServerConfig) -> str:
    """ray where it was asked for and is installed, else local."""
    return "ray" if config.backend == "ray" and find_spec("ray") else "local"


def open_fleet(config: ServerConfig, reconnected: Callable[[], None] = lambda: None) -> Fleet:
    """The fleet, its warm workers starting. Raises Unavailable where Ray does not answer.

    reconnected is called, in another thread, when Ray was lost and is connected to anew.
    Ends first what a service on the same data folder has left behind; its caller holds the folder.
    """
    if left := sweep(config.data_dir):
        log.warning("swept", processes=left)
    mark(os.environ, config.data_dir)
    if backend_of(config) == "local":
        folder, cpus = config.data_dir / "warm_workers", config.cpus or available_cpus()
        pool = ProcessPool(config.warm_workers, folder, config.profile, most=cpus)
        return LocalFleet(pool, cpus)
    prepare(os.environ, None if config.address else config.data_dir / "ray_token")
    # Ray reads its environment when it is imported, so not before prepare.
    from gradloom.service.fleet.ray_fleet import RayFleet

    return RayFleet(
        config.address,
        config.cpus,
        warm=config.warm_workers,
        profile=config.profile,
        reconnected=reconnected,
    )
