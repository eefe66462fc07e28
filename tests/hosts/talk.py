"""What hosts say to each other in tests: echoed datagrams, and streams of bytes that are timed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.hosts.network import Host

PORT = 7000

# Answers every datagram with itself, and says how long each stream took to arrive.
_LISTENER = """
import contextlib, socket, sys, threading

def echo():
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((sys.argv[1], int(sys.argv[2])))
    print("ready", flush=True)
    while True:
        with contextlib.suppress(OSError):
            datagrams.sendto(*datagrams.recvfrom(2000))

streams = socket.create_server((sys.argv[1], int(sys.argv[2])))
threading.Thread(target=echo, daemon=True).start()
while True:
    stream, _ = streams.accept()
    with stream:
        while stream.recv(1 << 16):
            pass
        stream.sendall(b"whole")
"""

_PROBE = """
import socket, sys, time

datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.settimeout(float(sys.argv[4]))
heard = 0
for number in range(int(sys.argv[3])):
    try:
        datagrams.sendto(str(number).encode(), (sys.argv[1], int(sys.argv[2])))
        heard += bool(datagrams.recv(2000))
    except TimeoutError:
        pass
    except OSError:  # refused at once
        time.sleep(datagrams.gettimeout())
print(heard)
"""

_STREAM = """
import socket, sys, time

start = time.monotonic()
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as stream:
    stream.sendall(bytes(int(sys.argv[3])))
    stream.shutdown(socket.SHUT_WR)
    assert stream.recv(10) == b"whole"
print(time.monotonic() - start)
"""


@contextmanager
def listening(host: Host) -> Iterator[None]:
    """Somebody on a host who answers."""
    command = [sys.executable, "-c", _LISTENER, host.address, str(PORT)]
    process = host.start(command, {}, subprocess.PIPE)
    try:
        assert process.entrance.stdout is not None
        assert process.entrance.stdout.readline() == "ready\n"
        yield
    finally:
        process.send(9)
        process.wait(10)
        process.close()


def answers(source: Host, target: Host, datagrams: int = 1, seconds: float = 0.2) -> int:
    """How many datagrams come back from a host that listens."""
    numbers = (target.address, str(PORT), str(datagrams), str(seconds))
    return int(source.run(sys.executable, "-c", _PROBE, *numbers))


def reaches(source: Host, target: Host) -> bool:
    """Whether one of many datagrams comes back: after a cut addresses are asked for anew."""
    return answers(source, target, datagrams=30) > 0


def stream_seconds(source: Host, target: Host, size: int) -> float:
    """How long it takes to bring so many bytes to a host that listens."""
    return float(source.run(sys.executable, "-c", _STREAM, target.address, str(PORT), str(size)))
