"""Errors over the wire and back."""

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from gradloom.service.api.status import (
    ERRORS,
    STATUS_BYTES,
    error_from_call,
    is_sendable,
    status_of,
)
from gradloom.service.errors import (
    AlreadyExists,
    Conflict,
    GradloomError,
    InvalidRequest,
    InvalidSpec,
    JobFailed,
    MissingExtra,
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

SENT: list[GradloomError] = [
    InvalidRequest([SpecFault("name", "is wrong")]),
    InvalidSpec([SpecFault("job.spec.seed", "is odd"), SpecFault("job.spec.name", "is long")]),
    NotFound("job", "jobs/a"),
    AlreadyExists("r", "jobs/a"),
    WrongState("jobs/a", state="FAILED", needs=("RUNNING", "QUEUED")),
    Conflict("It changed.", reason="ETAG_MISMATCH"),
    OutOfRange("Beyond.", reason="REVISION_AHEAD", metadata={"revision": "1"}),
    NotSignedIn("No token.", reason="TOKEN_MISSING"),
    NotAllowed("Too small.", reason="ROLE_REQUIRED"),
    QuotaExceeded("Full.", reason="DISK_FULL"),
    Unavailable("Later.", reason="DRAINING"),
    TimedOut("Late.", reason="DEADLINE_PASSED"),
    ServiceBug("A bug.", reason="INTERNAL_FAULT", metadata={"incident": "i"}),
]


class Failed(grpc.RpcError):
    """A call that failed, as gRPC shows it to its caller."""

    def __init__(
        self, code: grpc.StatusCode, details: str, trailers: tuple[tuple[str, bytes], ...] = ()
    ) -> None:
        self._code, self._details, self._trailers = code, details, trailers

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return self._trailers


def failed(status: Status) -> Failed:
    code = next(each for each in grpc.StatusCode if each.value[0] == status.code)
    trailers = (("grpc-status-details-bin", status.SerializeToString()),)
    return Failed(code, status.message, trailers)


def detail(status: Status, kind: type) -> object:
    """The one detail of this kind."""
    (found,) = (each for each in status.details if each.Is(kind.DESCRIPTOR))
    message = kind()
    found.Unpack(message)
    return message


@pytest.mark.parametrize("error", SENT, ids=lambda error: type(error).__name__)
def test_an_error_comes_back_as_it_was_raised(error: GradloomError) -> None:
    back = error_from_call(failed(status_of(error, "request-7")))
    assert type(back) is type(error)
    assert (back.message, back.reason, back.metadata) == (
        error.message,
        error.reason,
        error.metadata,
    )
    assert back.request_id == "request-7"
    assert getattr(back, "faults", ()) == getattr(error, "faults", ())


def test_every_code_of_the_tree_is_in_the_table() -> None:
    assert {error.code for error in SENT} == {code.name for code in ERRORS}


def test_errors_of_the_client_alone_are_not_sent() -> None:
    assert not is_sendable(MissingExtra("ray", "a cluster"))
    assert not is_sendable(JobFailed("It failed.", reason="NON_FINITE"))


@pytest.mark.parametrize("error", SENT, ids=lambda error: type(error).__name__)
def test_an_error_has_one_error_info_and_one_request_info(error: GradloomError) -> None:
    status = status_of(error, "request-7")
    info = detail(status, ErrorInfo)
    assert (info.domain, info.reason) == ("gradloom", error.reason)
    assert detail(status, RequestInfo).request_id == "request-7"


def test_who_may_retry_is_told_when() -> None:
    status = status_of(Unavailable("Later.", reason="DRAINING"), "r")
    assert detail(status, RetryInfo).retry_delay.seconds == 1


def test_b000c_of_many_faults_the_first_are_sent_and_the_rest_counted() -> None:
    faults = [SpecFault(f"layers[{index}]", "units is 0") for index in range(57)]
    bad = detail(status_of(InvalidSpec(faults), "r"), BadRequest)
    assert [each.field for each in bad.field_violations[:20]] == [
        f"layers[{index}]" for index in range(20)
    ]
    assert bad.field_violations[20].description == "and 37 more; ValidateJob returns them all"
    assert len(bad.field_violations) == 21


@pytest.mark.parametrize("length", [10, 300, 5_000])
@pytest.mark.parametrize("letter", ["x", "ü", "𝄞"])
def test_b000c_a_status_has_at_most_4_kib(length: int, letter: str) -> None:
    faults = [SpecFault(letter * length, letter * length) for _ in range(100)]
    status = status_of(InvalidSpec(faults), "r")
    assert status.ByteSize() + len(status.message.encode()) <= STATUS_BYTES
    assert detail(status, BadRequest).field_violations[-1].description.startswith("and ")


def test_nobody_there_is_unavailable_and_names_the_address() -> None:
    call = Failed(grpc.StatusCode.UNAVAILABLE, "failed to connect")
    error = error_from_call(call, "localhost:1")
    assert (type(error), error.reason) == (Unavailable, "UNREACHABLE")
    assert "localhost:1" in error.message
    assert error.metadata == {"address": "localhost:1"}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.DEADLINE_EXCEEDED, TimedOut),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, QuotaExceeded),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidRequest),
        (grpc.StatusCode.UNIMPLEMENTED, Unavailable),
        (grpc.StatusCode.CANCELLED, Unavailable),
        (grpc.StatusCode.UNKNOWN, Unavailable),
    ],
)
def test_what_grpc_itself_says_is_an_error_of_ours(
    code: grpc.StatusCode, kind: type[GradloomError]
) -> None:
    assert type(error_from_call(Failed(code, "details"))) is kind


@pytest.mark.parametrize(
    "value", [b"\xff\xff", b"", Status(code=5, message="other").SerializeToString()]
)
def test_details_of_others_are_passed_over(value: bytes) -> None:
    call = Failed(grpc.StatusCode.NOT_FOUND, "nope", (("grpc-status-details-bin", value),))
    error = error_from_call(call)
    assert type(error) is NotFound
    assert "nope" in error.message


def test_a_real_call_to_nobody_is_unavailable() -> None:
    with (
        grpc.insecure_channel("127.0.0.1:1") as channel,
        pytest.raises(grpc.RpcError) as raised,
    ):
        channel.unary_unary("/gradloom.v1.JobService/GetJob")(b"", timeout=5)
    assert error_from_call(raised.value, "127.0.0.1:1").reason == "UNREACHABLE"
