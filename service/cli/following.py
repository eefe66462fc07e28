"""Following a job's events on a screen, in a pipe or as JSON Lines."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gradloom.service.cli.output import Output
from gradloom.service.client import Client
from gradloom.service.documents import event_document
from gradloom.service.jobs.job import Job
from gradloom.service.terminal import Display, PlainLines, ProgressBar
from gradloom.service.watching import Event


class JsonLines:
    """Every event as a line of JSON on stdout."""

    def __init__(self, output: Output, job: Job) -> None:
        self._output = output
        self._job = job

    def show(self, event: Event) -> None:
        """Prints the event."""
        self._output.document(event_document(self._job.id, event))


class Several:
    """Several displays of the same events."""

    def __init__(self, *displays: Display) -> None:
        self._displays = displays

    def show(self, event: Event) -> None:
        """Shows the event on each."""
        for display in self._displays:
            display.show(event)


@contextmanager
def displayed(output: Output, job: Job, write: Callable[[str], None]) -> Iterator[Display]:
    """What suits who is looking: JSON Lines, a live bar, or plain lines through `write`."""
    lines = [JsonLines(output, job)] if output.is_json else []
    if output.is_live:
        with ProgressBar(sys.stderr, is_colored=output.is_colored(sys.stderr)) as bar:
            yield Several(bar, *lines)
    else:
        plain = [] if output.is_json or output.is_quiet else [PlainLines(write)]
        yield Several(*plain, *lines)


def follow(client: Client, job: Job, display: Display, *, after_revision: int = 0) -> Job:
    """Shows a job's events to its end, and gives the job as it then is."""
    for event in client.watch(job, after_revision):
        display.show(event)
    return client.get(job)
