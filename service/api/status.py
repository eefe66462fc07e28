"""Errors over the wire: our tree to google.rpc.Status and back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped]  # has no stubs
    BadRequest,
    ErrorInfo,
    RequestInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # has no stubs

from gradloom.service.errors import (
    AlreadyExists,
    Conflict,
    GradloomError,
    InvalidRequest,
    InvalidSpec,
    NotAllowed,
    NotFound,
    NotSignedIn,
    OutOfRange,
    QuotaExceeded,
    ServiceBug,
    SpecFault,
    TimedOut,
    Unavailable,
    WrongState,
)

DOMAIN = "gradloom"

# A default client refuses trailers of more than 8 KiB at random; the sentence travels twice.
STATUS_BYTES = 4096
VIOLATIONS = 20
_SENTENCE_BYTES = 600
_RETRY_SECONDS = 1

_DETAILS_KEY = "grpc-status-details-bin"

ERRORS: Mapping[grpc.StatusCode, type[GradloomError]] = {
    grpc.StatusCode[kind.code]: kind
    for kind in (
        InvalidRequest,
        NotFound,
        AlreadyExists,
        WrongState,
        Conflict,
        OutOfRange,
        NotSignedIn,
        NotAllowed,
        QuotaExceeded,
        Unavailable,
        TimedOut,
        ServiceBug,
    )
}

# Reasons that say more than their code.
_KINDS: Mapping[str, type[GradloomError]] = {"INVALID_SPEC": InvalidSpec}


def is_sendable(error: GradloomError) -> bool:
    """Whether the error is one that callers are told of."""
    return error.code in grpc.StatusCode.__members__ and grpc.StatusCode[error.code] in ERRORS


def status_of(error: GradloomError, request_id: str) -> Status:
    """The error with its details, in at most 4 KiB; of many faults the first ones."""
    faults = error.faults if isinstance(error, InvalidRequest) else ()
    shown = min(len(faults), VIOLATIONS)
    status = _status(error, request_id, faults, shown)
    while shown and status.ByteSize() + len(status.message.encode()) > STATUS_BYTES:
        shown -= 1
        status = _status(error, request_id, faults, shown)
    return status


def error_from_call(call: grpc.RpcError, address: str = "") -> GradloomError:
    """The error a call ended with; Unavailable where what answered is no Gradloom."""
    ended = cast(_EndedCall, call)
    sent = _sent(ended)
    if sent is None:
        return _foreign(ended.code(), ended.details() or "", address)
    kind = _KINDS.get(sent.info.reason) or ERRORS.get(ended.code(), Unavailable)
    error = _made(kind, sent.message, sent.info.reason)
    error.metadata = dict(sent.info.metadata)
    error.request_id = sent.request.request_id
    if isinstance(error, InvalidRequest):
        error.faults = tuple(
            SpecFault(each.field, each.description) for each in sent.bad.field_violations
        )
    return error


class _EndedCall(Protocol):
    """What calls of both of gRPC's Python APIs have once they failed."""

    def code(self) -> grpc.StatusCode: ...

    def details(self) -> str | None: ...

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


def _status(
    error: GradloomError, request_id: str, faults: tuple[SpecFault, ...], shown: int
) -> Status:
    status = Status(code=grpc.StatusCode[error.code].value[0], message=_clipped(error.message))
    for detail in (_info(error), RequestInfo(request_id=request_id)):
        status.details.add().Pack(detail)
    if faults:
        status.details.add().Pack(_bad_request(faults, shown))
    if type(error) is Unavailable:
        retry = RetryInfo()
        retry.retry_delay.FromSeconds(_RETRY_SECONDS)
        status.details.add().Pack(retry)
    return status


def _info(error: GradloomError) -> ErrorInfo:
    metadata = {key: _clipped(value) for key, value in error.metadata.items()}
    return ErrorInfo(domain=DOMAIN, reason=error.reason, metadata=metadata)


def _bad_request(faults: tuple[SpecFault, ...], shown: int) -> BadRequest:
    bad = BadRequest()
    for fault in faults[:shown]:
        bad.field_violations.add(
            field=_clipped(fault.field), description=_clipped(fault.description)
        )
    if more := len(faults) - shown:
        bad.field_violations.add(description=f"and {more} more; ValidateJob returns them all")
    return bad


def _clipped(text: str) -> str:
    data = text.encode()
    if len(data) <= _SENTENCE_BYTES:
        return text
    return data[: _SENTENCE_BYTES - len("…".encode())].decode(errors="ignore") + "…"


@dataclass(frozen=True, slots=True)
class _Sent:
    """What our service says of a failed call."""

    message: str
    info: ErrorInfo
    request: RequestInfo
    bad: BadRequest


def _sent(call: _EndedCall) -> _Sent | None:
    """What our service sent, if it did; proxies and gRPC itself send nothing of the kind."""
    value = dict(call.trailing_metadata() or ()).get(_DETAILS_KEY)
    if not isinstance(value, bytes):
        return None
    try:
        sent = _read(Status.FromString(value))
    except DecodeError:
        return None
    return sent if sent.info.domain == DOMAIN else None


def _read(status: Status) -> _Sent:
    sent = _Sent(status.message, ErrorInfo(), RequestInfo(), BadRequest())
    for detail in status.details:
        for message in (sent.info, sent.request, sent.bad):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
    return sent


def _foreign(code: grpc.StatusCode, details: str, address: str) -> GradloomError:
    """The error of a call that failed on its way: nobody there, too large, too late."""
    place = f" at {address}" if address else ""
    kind = ERRORS.get(code, Unavailable)
    sentence = _SENTENCES.get(code, "The call to the service{place} failed: {details}")
    message = sentence.format(place=place, details=_clipped(details))
    error = _made(kind, message, _FOREIGN_REASONS.get(code, code.name))
    error.metadata = {"address": address} if address else {}
    return error


_SENTENCES = {
    grpc.StatusCode.UNAVAILABLE: "No Gradloom service answers{place}: is it running? ({details})",
    grpc.StatusCode.DEADLINE_EXCEEDED: "The service{place} did not answer in time.",
    grpc.StatusCode.UNIMPLEMENTED: "What answers{place} does not know this call: is it a Gradloom "
    "service of this version? ({details})",
    grpc.StatusCode.CANCELLED: "The call to the service{place} was cancelled.",
}
_FOREIGN_REASONS = {
    grpc.StatusCode.UNAVAILABLE: "UNREACHABLE",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DEADLINE_PASSED",
}


def _made(kind: type[GradloomError], message: str, reason: str) -> GradloomError:
    """An error of this kind by its sentence; subclasses' own constructors make the sentence."""
    error = kind.__new__(kind, message)
    GradloomError.__init__(error, message, reason=reason)
    if isinstance(error, InvalidRequest):
        error.faults = ()
    return error
