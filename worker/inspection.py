"""What a node says of itself when a cluster is checked, and what two say of the way between them.

They are written as JSON, since the node may have another version than who asks.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node, by a process that was started as workers are.

    cpu_lacks are the features that the profile needs and the CPU has not: then there is no
    self-test. versions are those of what decides the bits, or whether programs understand each
    other. Ray's authentication is "token" where a node lets in nobody without one.
    """

    cpu: str = ""
    cpu_family: str = ""
    cpu_lacks: tuple[str, ...] = ()
    versions: Mapping[str, str] | None = None
    profile: str = ""
    selftest_sha256: str = ""
    openblas_core: str = ""
    threads: int = 1
    denormals: bool = True
    shm_bytes: int = 0
    shm_free: int = 0
    authentication: str = ""


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """The way from one node to another: a round trip, and bytes a second; or why there is none."""

    round_trip_seconds: float = 0.0
    bytes_per_second: float = 0.0
    failure: str = ""


_Facts = TypeVar("_Facts", NodeFacts, LinkFacts)

# What JSON gives back for the types of fields.
_READ_AS: Mapping[object, type | tuple[type, ...]] = {
    str: str,
    bool: bool,
    int: int,
    float: (float, int),
    tuple[str, ...]: list,
    Mapping[str, str] | None: (dict, type(None)),
}


def encode(facts: NodeFacts | LinkFacts) -> bytes:
    """Facts as they travel."""
    return json.dumps(asdict(facts)).encode()


def decode(kind: type[_Facts], encoded: bytes) -> _Facts:
    """Facts that came; what another version has besides is left out. Raises ValueError."""
    document = json.loads(encoded)
    if not isinstance(document, dict):
        raise ValueError(f"{kind.__name__} came as {type(document).__name__}")
    return kind(
        **{
            field.name: _value(field.name, field.type, document[field.name])
            for field in fields(kind)
            if field.name in document
        }
    )


def _value(name: str, kind: object, value: Any) -> Any:
    if not isinstance(value, _READ_AS[kind]):
        raise ValueError(f"{name} came as {type(value).__name__}")
    return tuple(map(str, value)) if isinstance(value, list) else value
