"""The command that starts a service and stays with it."""

import asyncio
import os
import signal
from pathlib import Path

import click

from gradloom.service.cli.extras import needing, require_backend
from gradloom.service.cli.interrupts import leave_on_next
from gradloom.service.cli.output import Output, prints
from gradloom.worker.engine.profile import PROFILE_DEFAULT, PROFILES


@click.command("serve")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:50051",
    show_default=True,
    help="Where gRPC is served; port 0 takes a free one.",
)
@click.option(
    "--http",
    metavar="HOST:PORT",
    default="127.0.0.1:9464",
    show_default=True,
    help="Where /metrics and /healthz are served.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where jobs and models are kept.  [default: ~/.local/share/gradloom]",
)
@click.option("--backend", type=click.Choice(["ray", "local"]), help="What runs the workers.")
@click.option("--ray-address", metavar="ADDRESS", help="A running Ray cluster to use.")
@click.option(
    "--data-root",
    "data_roots",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    multiple=True,
    help="Folder whose files jobs may read; may be given often.  [default: all files]",
)
@click.option("--cpus", type=int, metavar="N", help="CPUs for workers.  [default: all]")
@click.option(
    "--warm-workers",
    "--spare-workers",
    "warm_workers",
    type=click.IntRange(0, 1024),
    metavar="N",
    default=2,
    show_default=True,
    help="Idle workers kept ready, so that jobs start at once.",
)
@click.option(
    "--segment-folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default="/dev/shm",
    show_default=True,
    help="Folder in memory, on each node, in which the workers of a job share their state.",
)
@click.option(
    "--encrypt-workers",
    is_flag=True,
    help="Have workers on different nodes talk under TLS 1.3, by a certificate for each run.",
)
@click.option(
    "--i-accept-no-auth",
    "accept_no_auth",
    is_flag=True,
    help="Listen beyond this machine although nobody has to sign in.",
)
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    default=PROFILE_DEFAULT,
    show_default=True,
    help="The arithmetic of new jobs: pinned for every CPU of that level, or this CPU's best.",
)
@prints
def serve_command(
    output: Output,
    listen: str,
    http: str,
    data_dir: Path | None,
    backend: str | None,
    ray_address: str | None,
    data_roots: tuple[Path, ...],
    cpus: int | None,
    warm_workers: int,
    segment_folder: Path,
    encrypt_workers: bool,
    accept_no_auth: bool,
    profile: str,
) -> int:
    """\b
    Examples:
      gradloom serve
      gradloom serve --listen 127.0.0.1:0 --data-dir /var/lib/gradloom --data-root /data

    Starts a service, prints one line when it is ready, and is quiet from then on. Ctrl-C and
    SIGTERM stop it; jobs go on when it is started again.
    """
    require_backend(backend)
    with needing("local", "gradloom serve"):
        from gradloom.service.cli.logs import log_to_stderr
        from gradloom.service.config import ServerConfig
        from gradloom.service.server import Ready, serve

    log_to_stderr()
    config = ServerConfig(
        listen=listen,
        http=http,
        data_dir=data_dir or default_data_dir(),
        backend=backend or "ray",
        address=ray_address,
        data_roots=tuple(root.absolute() for root in data_roots),
        accept_no_auth=accept_no_auth,
        cpus=cpus,
        profile=profile,
        segment_folder=segment_folder.absolute(),
        encrypt_workers=encrypt_workers,
        warm_workers=warm_workers,
    )

    def announce(ready: Ready) -> None:
        if ready.warning:
            output.note(ready.warning)
        if output.is_json:
            output.document({"event": "ready", "grpc": ready.address, "http": ready.http_address})
        else:
            output.data(f"gradloom ready: grpc {ready.address}, http {ready.http_address}")

    async def serve_until_stopped() -> int:
        stop = asyncio.Event()
        heed_signals(stop)
        loop = asyncio.get_running_loop()

        def heed_again() -> None:
            loop.call_soon_threadsafe(heed_signals, stop)

        def ready_to_stop(ready: Ready) -> None:
            heed_signals(stop)
            announce(ready)

        # Ray puts a handler of its own in the place of ours, which ends the process at once.
        return await serve(config, ready_to_stop, stop, reconnected=heed_again)

    return asyncio.run(serve_until_stopped())


def default_data_dir() -> Path:
    """The user's own folder for data."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "gradloom"


def heed_signals(stop: asyncio.Event) -> None:
    """Has the first SIGTERM or Ctrl-C set the event, and the second one leave at once."""

    def stop_once() -> None:
        if not stop.is_set():
            stop.set()
            leave_on_next()

    if stop.is_set():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop_once)
