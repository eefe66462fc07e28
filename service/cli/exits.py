"""Exit codes of the command line: which error and which end of a job gives which."""

from enum import IntEnum

from gradloom.service.errors import (
    AlreadyExists,
    CannotServe,
    Conflict,
    GradloomError,
    InvalidRequest,
    JobCancelled,
    JobFailed,
    MissingExtra,
    NotAllowed,
    NotFound,
    NotSignedIn,
    OutOfRange,
    QuotaExceeded,
    ServiceBug,
    Unavailable,
    WrongState,
)
from gradloom.service.jobs.states import State


class Exit(IntEnum):
    """What a command ends with."""

    DONE = 0
    FAILED = 1
    INVALID = 2
    STATE = 3
    NOT_ALLOWED = 4
    UNREACHABLE = 5
    CANCELLED = 6
    BUG = 70
    INTERRUPTED = 130


MEANINGS = {
    Exit.DONE: "done",
    Exit.FAILED: "the job FAILED, a gradient is wrong, or a cluster has problems",
    Exit.INVALID: "wrong usage or invalid input",
    Exit.STATE: "not found, exists already, or wrong state",
    Exit.NOT_ALLOWED: "not signed in or not allowed",
    Exit.UNREACHABLE: "service unreachable, busy or too slow",
    Exit.CANCELLED: "the job was CANCELLED",
    Exit.BUG: "a bug of Gradloom",
    Exit.INTERRUPTED: "interrupted",
}

_OF_ERRORS: dict[type[BaseException], Exit] = {
    AlreadyExists: Exit.STATE,
    Conflict: Exit.STATE,
    GradloomError: Exit.BUG,
    InvalidRequest: Exit.INVALID,
    JobCancelled: Exit.CANCELLED,
    JobFailed: Exit.FAILED,
    MissingExtra: Exit.INVALID,
    NotAllowed: Exit.NOT_ALLOWED,
    NotFound: Exit.STATE,
    NotSignedIn: Exit.NOT_ALLOWED,
    OutOfRange: Exit.STATE,
    QuotaExceeded: Exit.UNREACHABLE,
    ServiceBug: Exit.BUG,
    Unavailable: Exit.UNREACHABLE,
    WrongState: Exit.STATE,
}

_OF_STATES = {
    State.SUCCEEDED: Exit.DONE,
    State.FAILED: Exit.FAILED,
    State.CANCELLED: Exit.CANCELLED,
}


def exit_of_error(error: GradloomError) -> int:
    """The exit code of an error: its own, its class's, or that of the nearest class above.

    `gradloom serve` has codes of its own, 3 to 6, for why it cannot serve.
    """
    if isinstance(error, CannotServe):
        return error.exit_code
    return next(_OF_ERRORS[kind] for kind in type(error).__mro__ if kind in _OF_ERRORS)


def exit_of_state(state: State) -> Exit:
    """The exit code of a job's state; DONE for one that goes on."""
    return _OF_STATES.get(state, Exit.DONE)


def epilog() -> str:
    """The exit codes, as the end of --help."""
    lines = [f"  {code.value:<4} {meaning}" for code, meaning in MEANINGS.items()]
    return "\b\nExit codes:\n" + "\n".join(lines)
