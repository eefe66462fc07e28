"""Errors of Gradloom, as a tree; each has a gRPC status code, a reason and a sentence.

GradloomError                  code                 what it means
├── InvalidRequest             INVALID_ARGUMENT     wrong whatever the server's state
│   └── InvalidSpec            INVALID_ARGUMENT     a job with faults, all of them listed
├── NotFound                   NOT_FOUND            no such thing
├── AlreadyExists              ALREADY_EXISTS       a request id used with other content
├── WrongState                 FAILED_PRECONDITION  right request, wrong state of the job
├── Conflict                   ABORTED              it changed since it was read
├── OutOfRange                 OUT_OF_RANGE         a position that does not exist yet
├── NotSignedIn                UNAUTHENTICATED      no valid token
├── NotAllowed                 PERMISSION_DENIED    the caller's role is too small
├── QuotaExceeded              RESOURCE_EXHAUSTED   a limit on size, rate or number
├── Unavailable                UNAVAILABLE          not now; retry
│   └── TimedOut               DEADLINE_EXCEEDED    the caller's deadline passed
├── ServiceBug                 INTERNAL             a bug of ours, with an incident id
├── CannotServe                –                    the service refuses to start
├── MissingExtra               –                    a part of Gradloom is not installed
├── JobFailed                  –                    the job waited for ended FAILED
└── JobCancelled               –                    the job waited for ended CANCELLED
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar


class GradloomError(Exception):
    """An error with a gRPC code, a reason in UPPER_SNAKE, a sentence and its variables.

    `metadata` holds every variable of the sentence (camelCase keys), so that a program need not
    read the sentence. `request_id` is the call's, where it came over the wire.
    """

    code: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        metadata: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.request_id = request_id

    def __reduce__(self) -> tuple[object, ...]:
        """Pickles as class and attributes, since subclasses have constructors of their own."""
        return (_restored, (type(self), self.args, self.__dict__))


def _restored(
    kind: type[GradloomError], args: tuple[object, ...], state: dict[str, object]
) -> GradloomError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


@dataclass(frozen=True, slots=True)
class SpecFault:
    """One thing wrong with a request; line and column (from 1) where it came from a file."""

    field: str
    description: str
    line: int = 0
    column: int = 0


class InvalidRequest(GradloomError):
    """Wrong whatever the server's state; `faults` has a field path and a sentence for each."""

    code = "INVALID_ARGUMENT"

    def __init__(
        self, faults: Iterable[SpecFault], *, reason: str = "INVALID_REQUEST", message: str = ""
    ) -> None:
        self.faults = tuple(faults)
        super().__init__(message or _faults_sentence(self.faults), reason=reason)


class InvalidSpec(InvalidRequest):
    """A job with faults, all of them listed."""

    def __init__(self, faults: Iterable[SpecFault], *, message: str = "") -> None:
        super().__init__(faults, reason="INVALID_SPEC", message=message)


def _faults_sentence(faults: tuple[SpecFault, ...]) -> str:
    first = f"{faults[0].field}: {faults[0].description}"
    return first if len(faults) == 1 else f"{len(faults)} faults; the first: {first}"


class NotFound(GradloomError):
    """There is no such thing."""

    code = "NOT_FOUND"

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(
            f'There is no {kind} "{name}".',
            reason=f"{kind.upper()}_NOT_FOUND",
            metadata={"name": name},
        )


class AlreadyExists(GradloomError):
    """A request id was used with other content."""

    code = "ALREADY_EXISTS"

    def __init__(self, request_id: str, name: str) -> None:
        super().__init__(
            f"request_id {request_id} made {name} with other content: use a new id.",
            reason="REQUEST_ID_REUSED",
            metadata={"requestId": request_id, "name": name},
        )


class WrongState(GradloomError):
    """The job is in another state than the request needs."""

    code = "FAILED_PRECONDITION"

    def __init__(self, name: str, *, state: str, needs: Iterable[str]) -> None:
        wanted = ", ".join(sorted(needs))
        super().__init__(
            f"{name} is {state}; this needs {wanted}.",
            reason="WRONG_STATE",
            metadata={"name": name, "state": str(state), "needs": wanted},
        )


class Conflict(GradloomError):
    """It changed since it was read: read it again."""

    code = "ABORTED"


class OutOfRange(GradloomError):
    """A position that does not exist yet."""

    code = "OUT_OF_RANGE"


class NotSignedIn(GradloomError):
    """No valid token."""

    code = "UNAUTHENTICATED"


class NotAllowed(GradloomError):
    """The caller's role is too small for the method."""

    code = "PERMISSION_DENIED"


class QuotaExceeded(GradloomError):
    """A limit on size, rate or number."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(GradloomError):
    """Not now: retry."""

    code = "UNAVAILABLE"


class TimedOut(Unavailable):
    """The caller's deadline passed."""

    code = "DEADLINE_EXCEEDED"


class ServiceBug(GradloomError):
    """A bug of ours; the incident id leads to the service's log."""

    code = "INTERNAL"


class CannotServe(GradloomError):
    """The service refuses to start; `exit_code` is what `gradloom serve` ends with."""

    code = "FAILED_PRECONDITION"

    def __init__(self, message: str, *, reason: str, exit_code: int = 3) -> None:
        super().__init__(message, reason=reason)
        self.exit_code = exit_code


class MissingExtra(GradloomError):
    """A part of Gradloom that is not installed."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs more than is installed: pip install 'gradloom[{extra}]'",
            reason="MISSING_EXTRA",
            metadata={"extra": extra},
        )


class JobFailed(GradloomError):
    """The job waited for ended FAILED; the sentence is the job's own."""


class JobCancelled(GradloomError):
    """The job waited for ended CANCELLED."""
