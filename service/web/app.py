"""The HTTP side: /metrics for Prometheus, /healthz for whoever restarts services."""

import asyncio
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gradloom.service.metrics import Metrics

# Why the service is not well; empty while it is.
Illness = Callable[[], str]


def build_app(metrics: Metrics, illness: Illness) -> Starlette:
    """The app; illness is asked at each /healthz."""

    async def show_metrics(request: Request) -> Response:
        # A scrape asks the store how many jobs there are.
        accept = request.headers.get("accept", "")
        content_type, body = await asyncio.to_thread(metrics.render, accept)
        return Response(body, headers={"Content-Type": content_type})

    async def show_health(_request: Request) -> Response:
        why = illness()
        return PlainTextResponse(why or "ok", status_code=503 if why else 200)

    return Starlette(
        routes=[
            Route("/metrics", show_metrics, methods=["GET"]),
            Route("/healthz", show_health, methods=["GET"]),
        ]
    )
