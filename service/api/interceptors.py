"""Around every call: errors become statuses with details, and calls are counted."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import grpc
import structlog
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from gradloom.service.api.handlers import Context, Deserializer, FoundHandler, Request, guarded
from gradloom.service.api.status import is_sendable, status_of
from gradloom.service.errors import (
    GradloomError,
    InvalidRequest,
    QuotaExceeded,
    ServiceBug,
    SpecFault,
)
from gradloom.service.metrics import OTHER_METHOD, Metrics

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[FoundHandler]]

log = structlog.get_logger()


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Tells callers of errors by google.rpc.Status, and of no more than they need to know.

    new_id makes the ids of requests and incidents.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> FoundHandler:
        """Puts errors of the method's handler into words."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = str(handler_call_details.method)
        read = _reader(handler.request_deserializer, method, handler.request_streaming)
        return guarded(handler, partial(self._told, method), read, _checked)

    @asynccontextmanager
    async def _told(self, method: str, context: Context) -> AsyncIterator[None]:
        try:
            yield
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            request_id = self._new_id()
            told = _told_of(error) or self._incident(method, request_id, error)
            await context.abort_with_status(rpc_status.to_status(status_of(told, request_id)))

    def _incident(self, method: str, incident: str, error: Exception) -> ServiceBug:
        log.error("rpc_failed", method=method, incident=incident, exc_info=error)
        return ServiceBug(
            f"This is a bug of ours, incident {incident}: the service's log has the details.",
            reason="INTERNAL_FAULT",
            metadata={"incident": incident},
        )


class MetricsInterceptor(grpc.aio.ServerInterceptor):
    """Counts calls by method and code; a method that does not exist is counted as "other"."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> FoundHandler:
        """Counts the calls of the method."""
        handler = await continuation(handler_call_details)
        if handler is None:
            self._metrics.rpc_started(OTHER_METHOD)
            self._metrics.rpc_finished(OTHER_METHOD, "UNIMPLEMENTED", None)
            return None
        method = str(handler_call_details.method).removeprefix("/")
        counted = self._stream_counted if handler.response_streaming else self._call_counted
        return guarded(handler, partial(counted, method))

    @asynccontextmanager
    async def _call_counted(self, method: str, context: Context) -> AsyncIterator[None]:
        begun = self._clock()
        self._metrics.rpc_started(method)
        code = "OK"
        try:
            yield
        except BaseException as error:
            code = _code(error, context)
            raise
        finally:
            self._metrics.rpc_finished(method, code, self._clock() - begun)

    @asynccontextmanager
    async def _stream_counted(self, method: str, context: Context) -> AsyncIterator[None]:
        self._metrics.rpc_started(method)
        self._metrics.streams(method, 1)
        code = "OK"
        try:
            yield
        except BaseException as error:
            code = _code(error, context)
            raise
        finally:
            self._metrics.streams(method, -1)
            self._metrics.rpc_finished(method, code, None)


def _code(error: BaseException, context: Context) -> str:
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        remaining = context.time_remaining()
        return "CANCELLED" if remaining is None or remaining > 0 else "DEADLINE_EXCEEDED"
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"


def _told_of(error: Exception) -> GradloomError | None:
    """The error as its caller may know it; None for a bug of ours."""
    if isinstance(error, GradloomError) and is_sendable(error):
        return error
    if isinstance(error, MemoryError) or "can't start new thread" in str(error):
        return QuotaExceeded(
            "The service is out of memory or threads: try again later.", reason="SERVICE_EXHAUSTED"
        )
    return None


def _reader(read: Deserializer | None, method: str, is_stream: bool) -> Deserializer:
    """Reads requests; a single one whose bytes are none becomes an error as a value.

    Were it raised, gRPC would answer by itself, as if the server were at fault.
    """

    def readable(data: bytes) -> Request:
        try:
            return read(data) if read else data
        except DecodeError:
            error = _unreadable(method)
            if is_stream:
                raise error from None
            return error

    return readable


def _checked(request: Request) -> Request:
    if isinstance(request, InvalidRequest):
        raise request
    return request


def _unreadable(method: str) -> InvalidRequest:
    service, _, name = method.removeprefix("/").rpartition("/")
    methods = descriptor_pool.Default().FindServiceByName(service).methods_by_name
    kind = methods[name].input_type.full_name
    sentence = f"The request is not a valid {kind}: build it from the published .proto."
    return InvalidRequest([SpecFault("$", sentence)], reason="REQUEST_UNREADABLE", message=sentence)
