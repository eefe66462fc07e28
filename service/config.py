"""What an operator decides about a service, and what a service says when it is up."""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from gradloom.service.errors import CannotServe
from gradloom.worker.engine.profile import PROFILE_DEFAULT


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host and a port to listen on; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def endpoint(text: str) -> Endpoint:
    """The endpoint in HOST:PORT or [HOST]:PORT. Raises CannotServe."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise CannotServe(f"{text!r} is not HOST:PORT, such as 127.0.0.1:50051.", reason="ADDRESS")
    return Endpoint(host.strip("[]"), int(port))


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where a service listens, keeps its files, finds data and runs workers.

    address is that of a running Ray cluster; without it the service starts a Ray of its own.
    data_roots are the folders whose files jobs may name, all files where it is empty; a relative
    path is looked for below each of them. accept_no_auth allows listening beyond this machine
    although nobody has to sign in. cpus are those given to workers, all where left out. profile
    is the arithmetic that jobs are computed with. warm_workers are kept ready,
    so that a job starts at once. segment_folder is where the workers of a node share memory.
    encrypt_workers has what they send from node to node go under TLS.
    """

    data_dir: Path
    listen: str = "127.0.0.1:50051"
    http: str = "127.0.0.1:9464"
    backend: str = "ray"
    address: str | None = None
    data_roots: tuple[Path, ...] = ()
    accept_no_auth: bool = False
    cpus: int | None = None
    profile: str = PROFILE_DEFAULT
    warm_workers: int = 2
    segment_folder: Path = Path("/dev/shm")
    encrypt_workers: bool = False

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders data may be read from; relative paths begin at the working folder."""
        return self.data_roots or (Path.cwd(), Path("/"))

    def endpoints(self) -> tuple[Endpoint, Endpoint]:
        """Where gRPC and HTTP are served. Raises CannotServe where strangers could reach them."""
        found = endpoint(self.listen), endpoint(self.http)
        for each in found:
            if not each.is_loopback and not self.accept_no_auth:
                raise CannotServe(
                    f"{each} can be reached from other machines, and nobody has to sign in: "
                    "listen on 127.0.0.1, or add --i-accept-no-auth on a network you trust.",
                    reason="NO_AUTHENTICATION",
                )
        return found


@dataclass(frozen=True, slots=True)
class Ready:
    """Where a service that is up is reached, what runs its workers, and what to beware of."""

    address: str
    http_address: str
    backend: str
    warning: str = ""
