"""The states of a job, why it is in one, and the table of legal moves."""

from enum import StrEnum


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "QUEUED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    RECOVERING = "RECOVERING"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows it."""
        return not TRANSITIONS[self]

    @property
    def holds_workers(self) -> bool:
        """Whether a job in it has CPUs of its own."""
        return self in _HOLDS_WORKERS


class Reason(StrEnum):
    """Why a job stands where it stands, or what an incident was (see jobs.proto)."""

    CREATED = "CREATED"
    WAITING_FOR_CAPACITY = "WAITING_FOR_CAPACITY"
    INSUFFICIENT_CAPACITY = "INSUFFICIENT_CAPACITY"
    SCHEDULED = "SCHEDULED"
    WORKERS_READY = "WORKERS_READY"
    SERVICE_RESTARTED = "SERVICE_RESTARTED"
    ALL_WORKERS_LOST = "ALL_WORKERS_LOST"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    COMPLETED = "COMPLETED"
    WORKER_LOST = "WORKER_LOST"
    WORKER_START_FAILED = "WORKER_START_FAILED"
    WORKER_ERROR = "WORKER_ERROR"
    WORKER_REFUSED = "WORKER_REFUSED"
    CRASH_LOOP = "CRASH_LOOP"
    TOO_MANY_FAILURES = "TOO_MANY_FAILURES"
    NON_FINITE = "NON_FINITE"
    DATA_CHANGED = "DATA_CHANGED"
    DATA_UNREADABLE = "DATA_UNREADABLE"
    CHECKPOINT_FAILED = "CHECKPOINT_FAILED"
    CHECKPOINT_CORRUPT = "CHECKPOINT_CORRUPT"
    RAY_UNREACHABLE = "RAY_UNREACHABLE"
    INTERNAL_FAULT = "INTERNAL_FAULT"
    STATE_UNREADABLE = "STATE_UNREADABLE"
    ENGINE_CHANGED = "ENGINE_CHANGED"
    STEP_SKIPPED = "STEP_SKIPPED"
    ROLLED_BACK = "ROLLED_BACK"
    WORKER_FROZEN = "WORKER_FROZEN"
    NODE_LOST = "NODE_LOST"
    NETWORK_CUT = "NETWORK_CUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    SHM_TOO_SMALL = "SHM_TOO_SMALL"
    BITS_DIFFER = "BITS_DIFFER"
    WORKERS_CHANGED = "WORKERS_CHANGED"
    OBJECT_STORE_FULL = "OBJECT_STORE_FULL"
    NODE_SUSPECT = "NODE_SUSPECT"
    VERSION_SKEW = "VERSION_SKEW"
    WORKER_RECYCLED = "WORKER_RECYCLED"


# A job that stops can only move to a more severe state: pausing < cancelling < failed.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.STARTING, State.PAUSED, State.CANCELLING, State.FAILED}),
    State.STARTING: frozenset(
        {
            State.RUNNING,
            State.RECOVERING,
            State.QUEUED,
            State.PAUSING,
            State.CANCELLING,
            State.FAILED,
        }
    ),
    State.RUNNING: frozenset(
        {State.RECOVERING, State.PAUSING, State.CANCELLING, State.SUCCEEDED, State.FAILED}
    ),
    State.RECOVERING: frozenset({State.RUNNING, State.PAUSING, State.CANCELLING, State.FAILED}),
    State.PAUSING: frozenset({State.PAUSED, State.CANCELLING, State.FAILED}),
    State.PAUSED: frozenset({State.QUEUED, State.CANCELLING, State.FAILED}),
    State.CANCELLING: frozenset({State.CANCELLED, State.FAILED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

_HOLDS_WORKERS = frozenset(
    {State.STARTING, State.RUNNING, State.RECOVERING, State.PAUSING, State.CANCELLING}
)
