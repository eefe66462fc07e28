"""What a worker is told, and what it answers.

Orders come from the service, which the worker trusts, and are pickled. Answers go to the service,
which does not trust the worker: they are a JSON header and raw bytes, parsed by decode alone.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gradloom.worker.data.spec import DataSpec
from gradloom.worker.data.survey import Survey
from gradloom.worker.engine.spec import Learning

# Who was built for another number does not understand what is said here.
PROTOCOL_VERSION = 1

_LENGTH = struct.Struct("<I")
# A look at ten thousand layers fits in it.
_HEADER_LIMIT = 1 << 23


@dataclass(frozen=True, slots=True)
class Task:
    """All a worker needs to compute any shard of a job.

    batch_size are the rows of an update, shards the virtual shards of it, roots the folders data
    may be read from. All learning rates are multiplied by rate_factor. Layers are looked at every
    health_interval steps, never where it is 0. initial_weights_sha256 is set where the model
    begins from a file, survey where the data is streamed and was looked through. depot
    is the name of the actor that has the data, where it comes through Ray.
    """

    learning: Learning
    data: DataSpec
    data_sha256: str
    roots: tuple[str, ...]
    batch_size: int
    shards: int
    rate_factor: float = 1.0
    health_interval: int = 0
    initial_weights_sha256: str = ""
    survey: Survey | None = None
    depot: str = ""


@dataclass(frozen=True, slots=True)
class Train:
    """So many steps from the one stood at, in lock-step with the other members."""

    steps: int


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Loss and metrics of the blocks first … last-1 of a split: validation or test."""

    split: str
    first: int
    last: int


class Content(StrEnum):
    """What a snapshot holds."""

    STATE = "state"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state (parameters and optimiser) or the model (parameters) as a safetensors file."""

    content: Content
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Locate:
    """Where the step stood at, which was skipped, first came to a number that is not finite."""


@dataclass(frozen=True, slots=True)
class Verify:
    """The hash of one shard's gradient at the step stood at, which others compute too."""

    shard: int


Work = Train | Evaluate | Snapshot | Locate | Verify


@dataclass(frozen=True, slots=True)
class Member:
    """A worker that takes part in a formation; it computes the shards first … last-1, if any.

    Members of one cell share memory; address, "host:port", is where it listens for its peers.
    """

    worker: int
    cell: int
    address: str
    pid: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Formation:
    """Who computes what, from the round of this number on until another formation follows.

    Members are in the order of their worker's number. The first of a cell leads it; leaders alone
    talk to other cells. Peers prove that they know the key. segment is what the names of the
    cells' files of shared memory begin with. A peer that says nothing for patience seconds is
    given up as frozen. certificate, PEM with its private key, is what leaders show each other and
    accept; without one they talk in the clear.
    """

    number: int
    members: tuple[Member, ...]
    key: bytes = field(repr=False)
    segment: str
    patience: float
    certificate: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Order:
    """Stand at a step in a formation, then do a piece of work and answer under the round's number.

    worker is the number of the one it goes to.
    state is a snapshot for the leader of a cell where no member holds the job's state; without
    one it begins as the task says. measured are the newest validation losses with their steps.
    fence are processes on this node that must have ended before the formation is entered: they
    might still write to memory that is shared.
    """

    worker: int
    round: int
    step: int
    formation: Formation
    work: Work
    state: bytes | None = field(default=None, repr=False)
    measured: tuple[tuple[int, float], ...] = ()
    fence: tuple[int, ...] = ()


class AnswerKind(StrEnum):
    """What an answer is; a beat answers nothing, and says that an answer is still to come."""

    BEAT = "beat"
    READY = "ready"
    DONE = "done"
    BROKEN = "broken"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Answer:
    """A worker's answer: facts that fit in JSON, and bytes that do not."""

    kind: AnswerKind
    round: int = 0
    facts: Mapping[str, object] = field(default_factory=dict)
    body: bytes | memoryview = field(default=b"", repr=False)


class BadAnswer(ValueError):
    """Bytes that are not an answer."""


def encode(answer: Answer) -> bytes:
    """The answer as bytes: length of the header, header, body."""
    header = json.dumps(
        {"kind": answer.kind, "round": answer.round, "facts": answer.facts}
    ).encode()
    return b"".join((_LENGTH.pack(len(header)), header, answer.body))


def decode(data: bytes) -> Answer:
    """The answer in data; its body is a view, not a copy. Raises BadAnswer."""
    header, body = _parted(memoryview(data))
    try:
        fields = json.loads(bytes(header))
        return Answer(AnswerKind(fields["kind"]), int(fields["round"]), dict(fields["facts"]), body)
    except (ValueError, KeyError, TypeError) as error:
        raise BadAnswer(f"a worker's answer has a header that cannot be read: {error}") from error


def _parted(data: memoryview) -> tuple[memoryview, memoryview]:
    if len(data) < _LENGTH.size:
        raise BadAnswer(f"a worker's answer has {len(data)} bytes, too few for a header")
    (length,) = _LENGTH.unpack(data[: _LENGTH.size])
    end = _LENGTH.size + length
    if length > _HEADER_LIMIT or end > len(data):
        raise BadAnswer(f"a worker's answer promises a header of {length} bytes")
    return data[_LENGTH.size : end], data[end:]
