"""One way to wrap the handler of a call, whether it answers once or with a stream."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, TypeAlias

import grpc

# Requests and responses are of whatever type a method has.
Request = Any
Response = Any
Context = grpc.aio.ServicerContext[Any, Any]
# In quotes, since only the stub of RpcMethodHandler is generic.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
FoundHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"

Deserializer = Callable[[bytes], Request]

# What surrounds a call.
Guard = Callable[[Context], AbstractAsyncContextManager[None]]
# What is done with a request before its handler sees it.
Check = Callable[[Request], Request]

_Unary = Callable[[Request, Context], Awaitable[Response]]
_Stream = Callable[[Request, Context], AsyncGenerator[Response, None]]


def guarded(
    handler: Handler,
    guard: Guard,
    read: Deserializer | None = None,
    check: Check = lambda request: request,
) -> Handler:
    """The handler with the guard around each call; read is its deserializer where not its own."""
    kind = ("stream" if handler.request_streaming else "unary") + (
        "_stream" if handler.response_streaming else "_unary"
    )
    behaviour = getattr(handler, kind)
    wrap = _stream if handler.response_streaming else _unary
    return _MAKERS[kind](
        wrap(behaviour, guard, check),
        read or handler.request_deserializer,
        handler.response_serializer,
    )


def _unary(behaviour: _Unary, guard: Guard, check: Check) -> _Unary:
    async def call(request: Request, context: Context) -> Response:
        async with guard(context):
            return await behaviour(check(request), context)

    return call


def _stream(behaviour: _Stream, guard: Guard, check: Check) -> _Stream:
    async def call(request: Request, context: Context) -> AsyncGenerator[Response, None]:
        async with guard(context), aclosing(behaviour(check(request), context)) as responses:
            async for response in responses:
                yield response

    return call


_MAKERS = {
    "unary_unary": grpc.unary_unary_rpc_method_handler,
    "unary_stream": grpc.unary_stream_rpc_method_handler,
    "stream_unary": grpc.stream_unary_rpc_method_handler,
    "stream_stream": grpc.stream_stream_rpc_method_handler,
}
