"""How two members make sure of each other: each proves that it knows the formation's key.

Written as generators: each yields what it sends and how many bytes it waits for.
"""

import hmac
import secrets
import struct
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

from gradloom.worker.messages import Formation

_MAGIC = b"gradloom loom 1\n"
_NONCE = 16
_PROOF = 32
# Formation, who calls, whom.
_WHO = struct.Struct("<QII")
_HEARD = struct.Struct("<I")
_HELLO = len(_MAGIC) + _WHO.size + _NONCE
_CALLED, _CALLER = b"called", b"caller"

# Bytes that each side says before the first frame.
SAID_BY_CALLER = _HELLO + _PROOF + _HEARD.size
SAID_BY_CALLED = _NONCE + _PROOF + _HEARD.size

# Yields what is to be sent and how many bytes have to come; what came is sent in.
Greeting = Generator[tuple[bytes, int], bytes, "Greeted"]


class Stranger(Exception):
    """Who is at the other end is not a member of the formation."""


@dataclass(frozen=True, slots=True)
class Greeted:
    """Who is at the other end, and the number of our frames that arrived there before."""

    worker: int
    heard: int


def job_tag(key: bytes) -> int:
    """A number that frames of a job carry."""
    return int.from_bytes(hmac.digest(key, b"job", "sha256")[:4], "little")


def call(formation: Formation, caller: int, called: int, heard: int) -> Greeting:
    """The side that calls. Raises Stranger."""
    who, nonce = _WHO.pack(formation.number, caller, called), secrets.token_bytes(_NONCE)
    answer = yield _MAGIC + who + nonce, _NONCE + _PROOF
    other, proof = answer[:_NONCE], answer[_NONCE:]
    said = who + nonce + other
    if not hmac.compare_digest(proof, _proof(formation.key, _CALLED, said)):
        raise Stranger(f"worker {called} does not know the formation's key")
    mine = _proof(formation.key, _CALLER, said) + _HEARD.pack(heard)
    welcome = yield mine, _HEARD.size
    return Greeted(called, *_HEARD.unpack(welcome))


def answer(formation: Formation, called: int, heard: Mapping[int, Callable[[], int]]) -> Greeting:
    """The side that is called. Raises Stranger.

    heard has the workers that may call; how much of theirs has come is asked when it is said.
    """
    hello = yield b"", _HELLO
    number, caller, asked = _WHO.unpack_from(hello, len(_MAGIC))
    if not hello.startswith(_MAGIC) or (number, asked) != (formation.number, called):
        raise Stranger("a call for another formation")
    if caller not in heard:
        raise Stranger(f"worker {caller} has no business here")
    nonce = secrets.token_bytes(_NONCE)
    said = hello[len(_MAGIC) :] + nonce
    reply = yield nonce + _proof(formation.key, _CALLED, said), _PROOF + _HEARD.size
    if not hmac.compare_digest(reply[:_PROOF], _proof(formation.key, _CALLER, said)):
        raise Stranger(f"worker {caller} does not know the formation's key")
    yield _HEARD.pack(heard[caller]()), 0
    return Greeted(caller, *_HEARD.unpack_from(reply, _PROOF))


def _proof(key: bytes, side: bytes, said: bytes) -> bytes:
    return hmac.digest(key, side + said, "sha256")
