"""The HTTP side, asked as a server would ask it."""

from dataclasses import dataclass
from typing import Any

import pytest

from gradloom.service.jobs.memory_store import MemoryStore
from gradloom.service.jobs.store import Clock
from gradloom.service.metrics import Metrics
from gradloom.service.web.app import build_app


@dataclass(frozen=True)
class Answer:
    status: int
    content_type: str
    body: str


class Browser:
    """Calls an app without a network."""

    def __init__(self, metrics: Metrics) -> None:
        self.illness = ""
        self._app = build_app(metrics, lambda: self.illness)

    async def ask(self, path: str, *, method: str = "GET", accept: str = "") -> Answer:
        sent: list[dict[str, Any]] = []
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(b"accept", accept.encode())],
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        headers = dict(sent[0]["headers"])
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(sent[0]["status"], headers[b"content-type"].decode(), body.decode())


@pytest.fixture
def browser(clock: Clock) -> Browser:
    store = MemoryStore(clock)
    return Browser(Metrics(now=clock, count_jobs=store.count, build={"version": "1.2.3"}))


async def test_metrics_are_shown(browser: Browser) -> None:
    answer = await browser.ask("/metrics")
    assert (answer.status, answer.content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert 'gradloom_build_info{version="1.2.3"} 1.0' in answer.body


async def test_metrics_are_shown_in_the_format_asked_for(browser: Browser) -> None:
    answer = await browser.ask("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert answer.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert answer.body.endswith("# EOF\n")


async def test_a_well_service_says_ok(browser: Browser) -> None:
    answer = await browser.ask("/healthz")
    assert (answer.status, answer.body) == (200, "ok")


async def test_an_ill_service_says_why(browser: Browser) -> None:
    browser.illness = "the store is gone"
    answer = await browser.ask("/healthz")
    assert (answer.status, answer.body) == (503, "the store is gone")


async def test_there_is_nothing_else(browser: Browser) -> None:
    assert (await browser.ask("/")).status == 404
    assert (await browser.ask("/metrics", method="POST")).status == 405
