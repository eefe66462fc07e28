"""A service put together: it starts where it may, leaves the process alone, and ends clean."""

import asyncio
import signal
import socket
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from gradloom.service.client import Client
from gradloom.service.config import ServerConfig
from gradloom.service.errors import CannotServe
from gradloom.service.fleet.local_group import LocalFleet
from gradloom.service.fleet.process_pool import ProcessPool
from gradloom.service.server import Embedded, Ready, _store_id, serve
from gradloom.worker.engine.profile import PROFILE_DEFAULT


@pytest.fixture
def config(tmp_path: Path) -> ServerConfig:
    return ServerConfig(
        data_dir=tmp_path / "data", listen="127.0.0.1:0", http="127.0.0.1:0", backend="local"
    )


def test_it_answers_on_both_ports(config: ServerConfig) -> None:
    with Embedded(config) as ready, Client(ready.address) as client:
        assert list(client.list()) == []
        assert health(ready) == b"ok"


def health(ready: Ready) -> bytes:
    with urllib.request.urlopen(f"http://{ready.http_address}/healthz") as answer:
        return bytes(answer.read())


def test_it_leaves_signals_to_its_process(config: ServerConfig) -> None:
    """The HTTP server would take them, and raise them once more when it ends."""
    before = signal.getsignal(signal.SIGTERM)
    found = []

    async def look(ready: Ready, stop: asyncio.Event) -> None:
        await asyncio.to_thread(health, ready)
        found.append(signal.getsignal(signal.SIGTERM))
        stop.set()

    async def main() -> int:
        stop, looks = asyncio.Event(), []
        code = await serve(
            config, lambda ready: looks.append(asyncio.ensure_future(look(ready, stop))), stop
        )
        await asyncio.gather(*looks)
        return code

    assert asyncio.run(main()) == 0
    assert found == [before]


def test_shared_memory_that_an_earlier_service_left_is_swept(
    config: ServerConfig, tmp_path: Path
) -> None:
    config = replace(config, segment_folder=tmp_path)
    with Embedded(config):
        own = f"gradloom-{_store_id(config)}"
    left, anothers = tmp_path / f"{own}-digits-k7m2q9xa-1-x", tmp_path / "gradloom-0-digits-1-x"
    left.touch()
    anothers.touch()
    with Embedded(config):
        assert not left.exists()
    assert anothers.exists()


class Lent(LocalFleet):
    """A fleet that knows whether it was closed."""

    is_closed = False

    def close(self) -> None:
        super().close()
        self.is_closed = True


def test_a_fleet_that_is_given_stays_its_owners_to_close(
    config: ServerConfig, tmp_path: Path
) -> None:
    fleet = Lent(ProcessPool(0, tmp_path / "warm", PROFILE_DEFAULT), cpus=1)
    with Embedded(config, fleet):
        pass
    assert not fleet.is_closed
    fleet.close()


def test_it_ends_without_a_thread_left(config: ServerConfig) -> None:
    before = set(threading.enumerate())
    with Embedded(config):
        pass
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if not thread.daemon]


def test_two_services_do_not_share_a_data_folder(config: ServerConfig) -> None:
    with Embedded(config), pytest.raises(CannotServe, match="is used by pid"), Embedded(config):
        pass


@pytest.mark.parametrize("side", ["listen", "http"])
def test_a_port_in_use_is_said_so(config: ServerConfig, side: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        crowded = replace(config, **{side: address})
        with pytest.raises(CannotServe, match="in use"), Embedded(crowded):
            pass


def test_it_does_not_listen_to_strangers_unless_told_to(config: ServerConfig) -> None:
    open_to_all = replace(config, listen="0.0.0.0:0")
    with pytest.raises(CannotServe, match="nobody has to sign in"), Embedded(open_to_all):
        pass
    with Embedded(replace(open_to_all, accept_no_auth=True)):
        pass


def test_what_it_cannot_listen_on_is_said_so(config: ServerConfig) -> None:
    with pytest.raises(CannotServe, match="HOST:PORT"), Embedded(replace(config, http="here")):
        pass
