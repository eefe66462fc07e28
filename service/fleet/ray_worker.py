"""One worker as an actor: asked for, spoken to, watched, ended; and what its end means."""

import pickle
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    RuntimeEnvSetupError,
)

from gradloom.service.fleet.ending import out_of_memory
from gradloom.service.fleet.ray_cluster import RAY_ERRORS, Cluster, Place
from gradloom.service.jobs.states import Reason
from gradloom.worker.actor import Actor
from gradloom.worker.engine.profile import PROFILES

# Ray's own types say nothing about an actor's methods, nor that a decorated class has options.
_Handle = Any
_ACTOR: Any = Actor
Reference = ray.ObjectRef[bytes]

_GET_SECONDS = 10.0
# One that has said anything at all has said where it is before.
_PLACE_SECONDS = 0.2
# Milliseconds, as a rule.
_KILL_SECONDS = 0.5
_LINE_LENGTH = 300
_NODE_LABEL = "ray.io/node-id"
# Ray has no type for it, and tells of a node's death long before it is in the table of nodes.
_NODE_DIED = "its node has died"


@dataclass(frozen=True, slots=True)
class Terms:
    """How actors are asked for: the CPUs of each, and where they listen (None: node's address).

    Actors ask for CPUs by themselves and not for a bundle of a placement group: one more or one
    less is then a matter of that actor alone, and there are no groups that could leak.
    """

    cpus: float
    host: str | None


class RayWorker:
    """An actor; watch is a call that comes back only by its end, telling one that says where it is.

    profile is that of the arithmetic it was started with; is_warm: it was there before it was asked
    for.
    """

    def __init__(self, handle: _Handle, profile: str, telling: Any, *, is_warm: bool) -> None:
        self.profile = profile
        self.is_warm = is_warm
        self.watch: Reference = handle.watch.remote()
        self._handle = handle
        self._telling = telling
        self._place: Place | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether it is not known yet where it is, nor that it never will be anywhere."""
        return self._place is None and not ray.wait([self._telling], timeout=0)[0]

    def place(self, patience: float = 0.0) -> Place | None:
        """Where it is, once it has been started and has told so."""
        if self._place is None and ray.wait([self._telling], timeout=patience)[0]:
            with suppress(RayError):
                self._place = Place(*ray.get(self._telling, timeout=_GET_SECONDS))
        return self._place

    def send(self, message: object) -> Reference:
        """Sends a message; what comes of it is the answer, or an error of Ray's."""
        reference: Reference = self._handle.answer.remote(
            pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        )
        return reference

    def beat(self) -> Reference:
        """That it lives, half a second from now, whatever else it does."""
        reference: Reference = self._handle.beat.remote()
        return reference

    def end(self, cluster: Cluster) -> bool:
        """Ends it and waits for its end; whether it is known to have ended."""
        place = self._place
        with suppress(*RAY_ERRORS):  # of a cluster that is no more
            place = self.place(_PLACE_SECONDS)
        # While the head is away Ray does not come back from this.
        killing = threading.Thread(target=self._kill, daemon=True)
        killing.start()
        killing.join(_KILL_SECONDS)
        # It takes no message when it is frozen, and Ray waits seconds until it does more.
        return place is None or cluster.end(place)

    def _kill(self) -> None:
        with suppress(*RAY_ERRORS):
            ray.kill(self._handle, no_restart=True)


def ask_for(
    profile: str, terms: Terms, *, is_warm: bool, avoided: tuple[str, ...] = ()
) -> RayWorker:
    """Has Ray start an actor on a node that is not avoided; a warm one loads kernels at once."""
    handle = _ACTOR.options(
        num_cpus=terms.cpus,
        max_restarts=0,
        scheduling_strategy="SPREAD",
        label_selector={_NODE_LABEL: f"!in({','.join(avoided)})"} if avoided else None,
        runtime_env={"env_vars": dict(PROFILES[profile])},
    ).remote(terms.host)
    telling = handle.warm.remote() if is_warm else handle.place.remote()
    return RayWorker(handle, profile, telling, is_warm=is_warm)


def arrived(references: list[Reference], timeout: float) -> list[Reference]:
    """Those of which something has come by now, waiting up to timeout for the first."""
    first, others = ray.wait(references, num_returns=1, timeout=timeout)
    if not first or not others:
        return first
    return first + ray.wait(others, num_returns=len(others), timeout=0)[0]


def answer_of(reference: Reference) -> bytes:
    """The answer that has come. Raises RayError."""
    encoded: bytes = ray.get(reference, timeout=_GET_SECONDS)
    return encoded


def told_by(
    error: Exception, worker: int, node: str, *, node_lives: bool, was_ready: bool
) -> tuple[Reason, str]:
    """What an error of Ray's means for a worker; node is what people call the worker's."""
    named = f"worker {worker} on {node}" if node else f"worker {worker}"
    match error:
        case OutOfMemoryError():
            return Reason.OUT_OF_MEMORY, out_of_memory(worker, node)
        case NodeDiedError():
            return Reason.NODE_LOST, f"{named} is gone: its node is lost"
        case ActorDiedError() if not node_lives or _NODE_DIED in str(error):
            return Reason.NODE_LOST, f"{named} is gone: its node is lost"
        # Of a process that ended its node would have told by now.
        case ActorUnavailableError() if not was_ready:
            return Reason.NETWORK_CUT, f"{named} was starting and cannot be reached"
        case RuntimeEnvSetupError() | ActorDiedError() | RayTaskError() if not was_ready:
            return Reason.WORKER_START_FAILED, f"{named} could not be started: {_cause(error)}"
        case GetTimeoutError():
            why = f"its answer could not be fetched in {_GET_SECONDS:.0f} s"
            return Reason.WORKER_LOST, f"{named}: {why}"
        case _:
            return Reason.WORKER_LOST, f"{named} died: {_cause(error)}"


def _cause(error: Exception) -> str:
    """The line of Ray's many that says what happened."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    said = lines[-1].partition("Worker exit detail: ")[2] or lines[-1]
    return said.partition(" Some common causes")[0][:_LINE_LENGTH]
